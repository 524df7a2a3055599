// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The input is what is given to `seam check --explain`: it is refused, or it is a
 * flow that the policy's rules are tried on, with a decision or the want of one.
 */
#include "../../user/cmd_check.c"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char text[] =
	"client = \"c\"; server = \"s\"; rules = ("
	"{ name = \"from\"; client = [\"10.0.0.0/8\", \"fd00::/8\"]; client_port = \"1-1023\"; action = \"block\"; },"
	"{ name = \"to\"; server = \"192.0.2.0/24\"; server_port = 25; server_first = true; action = \"pass\"; },"
	"{ name = \"tls\"; sni = [\"*.bank.example\", \"www.example.com\"]; action = \"pass\"; },"
	"{ name = \"alpn\"; alpn = \"h2\"; action = \"block\"; },"
	"{ name = \"host\"; host = [\"*.example\", \"[2001:db8::1]\"]; action = \"inspect\"; inspectors = [\"http\"]; },"
	"{ name = \"other\"; unrecognised = true; action = \"block\"; });";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct policy *p;
	static struct scenario sc;
	char *facts = malloc(size + 1);
	json_t *told, *decision;
	bool need_more;

	if (!p)
		CHECK(!policy_load_text("fuzz", text, sizeof(text) - 1, &p, stderr));
	CHECK(facts);
	if (size)
		memcpy(facts, data, size);
	facts[size] = '\0';
	if (!parse_facts(facts, &sc)) {
		CHECK(memchr(sc.rec.tls.sni, 0, sizeof(sc.rec.tls.sni)));
		CHECK(memchr(sc.rec.http.host, 0, sizeof(sc.rec.http.host)));
		told = explain(p, &sc.facts, true);
		decision = json_object_get(told, "decision");
		CHECK(!policy_decide(p, &sc.facts, &need_more) == json_is_null(decision));
		CHECK(json_is_null(decision) == need_more);
		CHECK(json_array_size(json_object_get(told, "walk")));
		json_decref(told);
	}
	free(facts);
	return 0;
}
