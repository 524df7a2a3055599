// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "address.h"
#include "show.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define USEC 1000ULL
#define MSEC 1000000ULL
#define SEC 1000000000ULL

static const char *const states[FLOW_STATE_MAX] = {
	[FLOW_NONE] = "none",
	[FLOW_HANDSHAKE] = "handshake",
	[FLOW_MONITORED] = "monitored",
	[FLOW_HELD] = "held",
	[FLOW_SPLITTING] = "splitting",
	[FLOW_SPLIT] = "split",
	[FLOW_RELAYED] = "relayed",
	[FLOW_MERGING] = "merging",
	[FLOW_MERGED] = "merged",
	[FLOW_PASSED] = "passed",
	[FLOW_BLOCKED] = "blocked",
	[FLOW_CLOSING] = "closing",
};

static const struct {
	const char *name, *text;
} reasons[SEAM_R_MAX] = {
#define X(sym, num, name, text) [num] = { name, text },
	SEAM_REASONS(X)
#undef X
};

const char *show_state(unsigned int state)
{
	return state < FLOW_STATE_MAX && states[state] ? states[state] : "?";
}

int show_state_find(const char *name)
{
	for (int i = FLOW_NONE + 1; i < FLOW_STATE_MAX; i++)
		if (states[i] && !strcmp(states[i], name))
			return i;
	return -1;
}

const char *show_states(void)
{
	static char list[256];
	size_t n = 0;

	for (int i = FLOW_NONE + 1; i < FLOW_STATE_MAX && n < sizeof(list); i++)
		n += snprintf(list + n, sizeof(list) - n, "%s%s", n ? " " : "", states[i]);
	return list;
}

const char *show_reason(unsigned int reason)
{
	return reason < SEAM_R_MAX && reasons[reason].name ? reasons[reason].name : "?";
}

const char *show_reason_text(unsigned int reason)
{
	return reason < SEAM_R_MAX && reasons[reason].text ? reasons[reason].text :
							     "unknown to this version of seam";
}

const char *show_xdp(unsigned int mode)
{
	return mode == PORT_XDP_NATIVE ? "native" : mode == PORT_XDP_GENERIC ? "generic" : "off";
}

const char *show_endpoint(const __u32 addr[4], __u16 port, char buf[SHOW_ENDPOINT_LEN])
{
	bool v4 = address_is_v4(addr);
	char text[ADDRESS_LEN];

	snprintf(buf, SHOW_ENDPOINT_LEN, v4 ? "%s:%u" : "[%s]:%u", address_text(addr, text),
		 ntohs(port));
	return buf;
}

const char *show_duration(uint64_t ns, char buf[SHOW_SHORT_LEN])
{
	unsigned long long s = ns / SEC;

	if (ns < MSEC)
		snprintf(buf, SHOW_SHORT_LEN, "%lluus", (unsigned long long)(ns / USEC));
	else if (ns < SEC)
		snprintf(buf, SHOW_SHORT_LEN, "%llums", (unsigned long long)(ns / MSEC));
	else if (s < 60)
		snprintf(buf, SHOW_SHORT_LEN, "%llu.%llus", s,
			 (unsigned long long)(ns % SEC / (SEC / 10)));
	else if (s < 3600)
		snprintf(buf, SHOW_SHORT_LEN, "%llum%02llus", s / 60, s % 60);
	else if (s < 86400)
		snprintf(buf, SHOW_SHORT_LEN, "%lluh%02llum", s / 3600, s % 3600 / 60);
	else
		snprintf(buf, SHOW_SHORT_LEN, "%llud%02lluh", s / 86400, s % 86400 / 3600);
	return buf;
}

const char *show_bytes(uint64_t n, char buf[SHOW_SHORT_LEN])
{
	static const char units[] = "kMGTPE";
	int unit = -1;
	uint64_t tenths;

	if (n < 1024) {
		snprintf(buf, SHOW_SHORT_LEN, "%u", (unsigned int)n);
		return buf;
	}
	for (; n >= 1024 * 1024; n /= 1024)
		unit++;
	unit++;
	tenths = n * 10 / 1024;
	if (tenths < 100)
		snprintf(buf, SHOW_SHORT_LEN, "%u.%u%c", (unsigned int)(tenths / 10),
			 (unsigned int)(tenths % 10), units[unit]);
	else
		snprintf(buf, SHOW_SHORT_LEN, "%u%c", (unsigned int)(tenths / 10), units[unit]);
	return buf;
}

const char *show_time(uint64_t ns, char buf[SHOW_TIME_LEN])
{
	struct timespec mono, real;
	char offset[8];
	struct tm tm;
	int64_t wall;
	time_t s;
	size_t n;

	clock_gettime(CLOCK_MONOTONIC, &mono);
	clock_gettime(CLOCK_REALTIME, &real);
	wall = ((int64_t)real.tv_sec - mono.tv_sec) * (int64_t)SEC + real.tv_nsec - mono.tv_nsec +
	       (int64_t)ns;
	s = wall / (int64_t)SEC;
	localtime_r(&s, &tm);
	n = strftime(buf, SHOW_TIME_LEN, "%Y-%m-%dT%H:%M:%S", &tm);
	strftime(offset, sizeof(offset), "%z", &tm);
	snprintf(buf + n, SHOW_TIME_LEN - n, ".%06u%s",
		 (unsigned int)(wall % (int64_t)SEC / (int64_t)USEC), offset);
	return buf;
}

struct bit_name {
	__u32 bit;
	const char *name;
};

static const char *bit_names(const struct bit_name *names, size_t count, __u32 flags,
			     char buf[SHOW_FLAGS_LEN])
{
	size_t n = 0;

	*buf = '\0';
	for (size_t i = 0; i < count && n < SHOW_FLAGS_LEN; i++)
		if (flags & names[i].bit)
			n += snprintf(buf + n, SHOW_FLAGS_LEN - n, "%s%s", n ? " " : "", names[i].name);
	return buf;
}

json_t *show_words_json(const char *words)
{
	json_t *out = json_array();
	size_t n;

	for (; *words; words += n + (words[n] == ' ')) {
		n = strcspn(words, " ");
		json_array_append_new(out, json_stringn(words, n));
	}
	return out;
}

const char *show_flow_flags(__u32 flags, char buf[SHOW_FLAGS_LEN])
{
	static const struct bit_name names[] = {
		{ FLOW_F_BYPASS, "bypass" },	     { FLOW_F_WANT_UP, "want_up" },
		{ FLOW_F_WANT_DOWN, "want_down" },   { FLOW_F_RELEASE, "release" },
		{ FLOW_F_TSTAMP, "tstamp" },	     { FLOW_F_SACK, "sack" },
		{ FLOW_F_WSCALE, "wscale" },	     { FLOW_F_ECN, "ecn" },
		{ FLOW_F_IPV4, "ipv4" },	     { FLOW_F_NO_SPLIT, "no_split" },
		{ FLOW_F_BLOCK_RST, "block_rst" },   { FLOW_F_INSPECT, "inspect" },
		{ FLOW_F_FAIL_BLOCK, "fail_block" }, { FLOW_F_RST_BOTH, "rst_both" },
		{ FLOW_F_TSDELTA, "tsdelta" },	     { FLOW_F_HISTORY, "history" },
		{ FLOW_F_ABORTED, "aborted" },	     { FLOW_F_EDITED, "edited" },
		{ FLOW_F_WAITS, "waits" },	     { FLOW_F_ARMED, "armed" },
		{ FLOW_F_AGAIN, "again" },	     { FLOW_F_ANSWERED, "answered" },
		{ FLOW_F_SOCKMAP, "sockmap" },	     { FLOW_F_TSCATCHUP, "tscatchup" },
		{ FLOW_F_CLOSED, "closed" },	     { FLOW_F_LEGS, "legs" },
		{ FLOW_F_CLIENT_FAR, "client_far" }, { FLOW_F_SERVER_FAR, "server_far" },
		{ FLOW_F_BY_NAME, "by_name" },	     { FLOW_F_EXACT, "exact" },
		{ FLOW_F_QUEUED_UP, "queued_up" },   { FLOW_F_QUEUED_DOWN, "queued_down" },
	};

	return bit_names(names, sizeof(names) / sizeof(names[0]), flags, buf);
}

const char *show_end_flags(__u16 flags, char buf[SHOW_FLAGS_LEN])
{
	static const struct bit_name names[] = {
		{ END_F_FIN, "fin" },	      { END_F_FIN_ACKED, "fin_acked" },
		{ END_F_RST, "rst" },	      { END_F_RST_OK, "rst_ok" },
		{ END_F_ASTRAY, "astray" }, { END_F_CE, "ce" },
		{ END_F_CWR, "cwr" },	      { END_F_DATA, "data" },
		{ END_F_URG, "urg" },	      { END_F_CLAMPED, "clamped" },
		{ END_F_RST_SENT, "rst_sent" }, { END_F_URG_OUT, "urg_out" },
		{ END_F_PACED, "paced" },     { END_F_LEARNS, "learns" },
		{ END_F_ASKED, "asked" },     { END_F_ANNOUNCE, "announce" },
	};

	return bit_names(names, sizeof(names) / sizeof(names[0]), flags, buf);
}

void show_tuple_json(json_t *to, uint64_t id, const struct flow_key *key)
{
	char addr[ADDRESS_LEN];

	if (id)
		json_object_set_new(to, "flow_id", json_integer((json_int_t)id));
	json_object_set_new(to, "src_ip", json_string(address_text(key->client, addr)));
	json_object_set_new(to, "src_port", json_integer(ntohs(key->client_port)));
	json_object_set_new(to, "dest_ip", json_string(address_text(key->server, addr)));
	json_object_set_new(to, "dest_port", json_integer(ntohs(key->server_port)));
	json_object_set_new(to, "proto", json_string("TCP"));
	json_object_set_new(to, "ip_v", json_integer(address_is_v4(key->client) ? 4 : 6));
}

json_t *show_transition_json(const struct transition *t)
{
	char when[SHOW_TIME_LEN];
	json_t *out;

	out = json_pack("{s:s, s:s, s:s, s:s, s:{s:I, s:I}, s:{s:I, s:I}, s:{s:i, s:i}, s:I}", "timestamp",
			show_time(t->time_ns, when), "from", show_state(t->from), "to",
			show_state(t->to), "reason", show_reason(t->reason), "seq", "client",
			(json_int_t)t->nxt[SEAM_CLIENT], "server", (json_int_t)t->nxt[SEAM_SERVER],
			"ack", "client", (json_int_t)t->ack[SEAM_CLIENT], "server",
			(json_int_t)t->ack[SEAM_SERVER], "seq_delta", "client",
			(int)t->seq_delta[SEAM_CLIENT], "server", (int)t->seq_delta[SEAM_SERVER],
			"packets_held", (json_int_t)t->held);
	if (out && t->data_ns)
		json_object_set_new(out, "payload_age_us",
				    json_integer((__s64)(t->time_ns - t->data_ns) / 1000));
	return out;
}

json_t *show_text(const char *text)
{
	json_t *out = json_string(text);
	char *copy, *c;

	if (out)
		return out;
	copy = strdup(text);
	for (c = copy; c && *c; c++)
		*c = *c & 0x80 ? '?' : *c;
	out = copy ? json_string(copy) : NULL;
	free(copy);
	return out;
}

void show_print(json_t *json)
{
	json_dumpf(json, stdout, JSON_INDENT(2) | SHOW_JSON);
	putchar('\n');
	json_decref(json);
}
