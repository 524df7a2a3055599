// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* How flows are shown, and what is kept of an inspector's record. */
#define _GNU_SOURCE /* strptime() */
#include "record.h"
#include "show.h"
#include "tap.h"

#include <arpa/inet.h>
#include <string.h>
#include <time.h>

static void is(const char *got, const char *want)
{
	if (!ok(!strcmp(got, want), "%s", want))
		diag("got: %s", got);
}

static void test_names(void)
{
	ok(show_state_find("merged") == FLOW_MERGED, "a state by its name");
	ok(show_state_find("none") == -1 && show_state_find("") == -1, "and no others");
	for (int i = 0; i < FLOW_STATE_MAX; i++)
		ok(strcmp(show_state(i), "?"), "state %d has a name: %s", i, show_state(i));
	is(show_state(FLOW_STATE_MAX), "?");
	ok(!strncmp(show_states(), "handshake monitored ", 20) && !strcmp(show_states(), show_states()),
	   "the list of states, twice the same");
	is(show_reason(SEAM_R_SIMULTANEOUS), "simultaneous_open");
	is(show_reason(SEAM_R_MAX), "?");
	is(show_reason_text(SEAM_R_MALFORMED), "header fields contradict each other");
}

static void test_addresses(void)
{
	__u32 v4[4] = { 0, 0, htonl(0xffff), htonl(0x0a010203) };
	__u32 v6[4] = { htonl(0x20010db8), 0, 0, htonl(1) };
	char buf[SHOW_ENDPOINT_LEN];

	is(show_endpoint(v4, htons(80), buf), "10.1.2.3:80");
	is(show_endpoint(v6, htons(65535), buf), "[2001:db8::1]:65535");
	memset(v6, 0xff, sizeof(v6));
	is(show_endpoint(v6, 0xffff, buf), "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
}

static void test_quantities(void)
{
	char buf[SHOW_SHORT_LEN];

	is(show_duration(0, buf), "0us");
	is(show_duration(870999, buf), "870us");
	is(show_duration(999999999, buf), "999ms");
	is(show_duration(12345000000, buf), "12.3s");
	is(show_duration(245000000000, buf), "4m05s");
	is(show_duration(7800000000000, buf), "2h10m");
	is(show_duration(273600000000000, buf), "3d04h");
	ok(strlen(show_duration(UINT64_MAX, buf)) < sizeof(buf), "the longest: %s", buf);
	is(show_bytes(1023, buf), "1023");
	is(show_bytes(1024, buf), "1.0k");
	is(show_bytes(1536, buf), "1.5k");
	is(show_bytes(1024 * 1024 - 1, buf), "1023k");
	is(show_bytes(20 << 20, buf), "20M");
	is(show_bytes(UINT64_MAX, buf), "15E");
}

static void test_time(void)
{
	char buf[SHOW_TIME_LEN];
	struct timespec mono;
	struct tm tm = {};
	const char *rest;

	clock_gettime(CLOCK_MONOTONIC, &mono);
	show_time(mono.tv_sec * 1000000000ULL + mono.tv_nsec, buf);
	rest = strptime(buf, "%Y-%m-%dT%H:%M:%S", &tm);
	ok(rest && strlen(rest) == 12 && rest[0] == '.', "ISO 8601: %s", buf);
	tm.tm_isdst = -1;
	ok(labs((long)(mktime(&tm) - time(NULL))) <= 1, "and it is now");
}

static void test_flags(void)
{
	char buf[SHOW_FLAGS_LEN];
	json_t *json;
	int bit;

	for (bit = 0; bit < 32; bit++)
		ok(*show_flow_flags(1U << bit, buf), "bit %d of a flow has a name: %s", bit, buf);
	for (bit = 0; 1U << bit <= END_F_LEARNS; bit++)
		ok(*show_end_flags(1U << bit, buf), "bit %d of an end has a name: %s", bit, buf);
	json = show_words_json(show_flow_flags(~0U, buf));
	ok(json_array_size(json) == 32 && strlen(buf) < sizeof(buf) - 1, "there is room for all of them");
	json_decref(json);
	json = show_words_json("");
	ok(json && !json_array_size(json), "no flags");
	json_decref(json);
}

static void test_record(void)
{
	static struct flow_record from;
	static struct seam_record to;
	json_t *json = json_object();

	from.tls.seen = true;
	from.tls.version = 0x0304;
	memset(from.tls.sni, 'a', sizeof(from.tls.sni) - 1);
	memset(from.tls.ja4, 'b', sizeof(from.tls.ja4) - 1);
	strcpy(from.tls.alpn, "h2,http/1.1");
	from.pattern.matches = 1;
	strcpy(from.pattern.name, "eicar");
	from.pattern.offset = 1ULL << 40;
	from.pattern.dir = SEAM_DOWN;
	memset(&to, 0xff, sizeof(to));
	record_from(&from, &to);
	ok(strlen(to.tls_sni) == sizeof(to.tls_sni) - 1, "a long name is cut");
	ok(strlen(to.tls_ja4) == sizeof(to.tls_ja4) - 1, "one that fits is not");
	ok(to.flags == RECORD_F_TLS, "flags");
	record_json(&to, true, json);
	is(json_string_value(json_object_get(json_object_get(json, "tls"), "version")), "TLS 1.3");
	ok(json_array_size(json_object_get(json_object_get(json, "tls"), "client_alpns")) == 2,
	   "two protocols");
	ok(!json_object_get(json, "http"), "no HTTP");
	is(json_string_value(json_object_get(json_object_get(json, "alert"), "action")), "blocked");
	is(json_string_value(json_object_get(json_object_get(json, "alert"), "direction")),
	   "to_client");
	json_decref(json);

	memset(&from, 0, sizeof(from));
	from.http.malformed = true;
	record_from(&from, &to);
	json = json_object();
	record_json(&to, false, json);
	ok(json_is_true(json_object_get(json_object_get(json, "http"), "malformed")),
	   "malformed from the first byte on");
	json_decref(json);
}

int main(void)
{
	test_names();
	test_addresses();
	test_quantities();
	test_time();
	test_flags();
	test_record();
	return tap_end();
}
