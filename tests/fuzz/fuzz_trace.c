// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The input is a list of things that `seam trace` may see: packets as they are on the
 * wire, packets whose fields are the input, histories. What is made of them is
 * well-formed and not large.
 */
#include "fuzz.h"

#include <arpa/inet.h>

#include <jansson.h>

#include "../unit/xml.h"
#include "trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_the_wire(struct trace *t, const uint8_t *data, size_t size, uint64_t ns)
{
	uint16_t proto = data[0] & 1 ? htons(0x86dd) : htons(0x0800);
	uint8_t *copy = fuzz_copy(data + 1, size - 1);
	struct trace_packet p;

	/* The flow is the one of all zeroes, which an input finds easily. */
	if (trace_read(t, copy, size - 1, size - 1 + (data[0] >> 1) * 512, proto, data[0] & 2, &p)) {
		CHECK(p.n_sack <= TRACE_SACK_MAX && p.dir < 2 && p.side < 2);
		p.ns = ns;
		CHECK(!trace_add(t, &p));
	}
	free(copy);
}

static void as_fields(struct trace *t, const uint8_t *data, size_t size, uint64_t ns)
{
	struct trace_packet p = {};

	memcpy(&p, data, size < sizeof(p) ? size : sizeof(p));
	p.ns = ns + (p.ns & 0xfffff);
	p.n_sack %= TRACE_SACK_MAX + 1;
	p.dir &= 1;
	p.side &= 1;
	CHECK(!trace_add(t, &p));
}

static void as_history(struct trace *t, const uint8_t *data, size_t size)
{
	struct history h = {};

	memcpy(&h, data, size < sizeof(h) ? size : sizeof(h));
	CHECK(!trace_history(t, &h, 1ULL << 50));
}

static void outputs(const struct trace *t)
{
	char *text = NULL, *next, *end;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	json_t *object;

	CHECK(f && !trace_svg(t, f) && !fclose(f));
	CHECK(len < 1000000 && xml_ok(text));
	free(text);
	f = open_memstream(&text, &len);
	CHECK(f);
	trace_json(t, f);
	CHECK(!fclose(f));
	for (next = text; *next; next = end + 1) {
		end = strchr(next, '\n');
		CHECK(end);
		object = json_loadb(next, end - next, 0, NULL);
		CHECK(json_is_object(object));
		json_decref(object);
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct trace t = { .id = 1, .max_packets = TRACE_PACKETS_MAX, .stop_ns = 1ULL << 40 };
	uint64_t ns = 0;
	size_t n;

	if (size < 8)
		return 0;
	t.key.client[2] = t.key.server[2] = data[0] & 1 ? htonl(0xffff) : 0;
	t.state = data[0] >> 1;
	t.wscale[0] = data[1] % 15;
	t.wscale[1] = data[2] % 15;
	memcpy(&t.isn[0], data + 4, 4);
	t.nxt[0] = t.isn[0];
	for (data += 8, size -= 8; size > 2; data += n, size -= n) {
		uint8_t kind = *data >> 6;

		ns += (*data & 63) * 10000;
		n = data[1] < size - 2 ? data[1] : size - 2;
		data += 2;
		size -= 2;
		if (!n)
			continue;
		if (kind == 0)
			on_the_wire(&t, data, n, ns);
		else if (kind == 1)
			as_history(&t, data, n);
		else
			as_fields(&t, data, n, ns);
	}
	trace_sort(&t);
	outputs(&t);
	trace_free(&t);
	return 0;
}
