// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <string.h>

#include "show.h"
#include "trace.h"

static const char *side_name(int end)
{
	return end == SEAM_CLIENT ? "client" : "server";
}

static void line(FILE *to, json_t *object)
{
	json_dumpf(object, to, JSON_COMPACT | SHOW_JSON);
	putc('\n', to);
	json_decref(object);
}

static json_t *ends(uint32_t client, uint32_t server)
{
	return json_pack("{s:I, s:I}", "client", (json_int_t)client, "server", (json_int_t)server);
}

static json_t *flow_json(const struct trace *t)
{
	static const char *const why[] = {
		[TRACE_TIME] = "time", [TRACE_SIGNAL] = "signal",
		[TRACE_FLOW_OVER] = "flow_over", [TRACE_FULL] = "packets",
		[TRACE_FAILED] = "failed",
	};
	json_t *out = json_pack("{s:s}", "event_type", "trace");
	char when[SHOW_TIME_LEN];

	show_tuple_json(out, t->id, &t->key);
	json_object_set_new(out, "timestamp", json_string(show_time(t->start_ns, when)));
	json_object_set_new(out, "seconds", json_real((t->stop_ns - t->start_ns) / 1e9));
	json_object_set_new(out, "ended_by", json_string(why[t->end]));
	json_object_set_new(out, "state", json_string(show_state(t->state)));
	json_object_set_new(out, "isn", ends(t->isn[SEAM_CLIENT], t->isn[SEAM_SERVER]));
	json_object_set_new(out, "wscale", ends(t->wscale[SEAM_CLIENT], t->wscale[SEAM_SERVER]));
	json_object_set_new(out, "packets", json_integer((json_int_t)t->n_packets));
	json_object_set_new(out, "transitions", json_integer((json_int_t)t->n_transitions));
	json_object_set_new(out, "packets_lost", json_integer((json_int_t)t->lost));
	json_object_set_new(out, "transitions_missed", json_integer((json_int_t)t->missed));
	json_object_set_new(out, "xdp", json_boolean(t->xdp));
	json_object_set_new(out, "edited", json_boolean(t->edited));
	return out;
}

/* As Wireshark and tcpdump abbreviate them. */
static const char *flag_letters(uint8_t flags, char buf[9])
{
	int n = 0;

	for (int i = 0; i < 8; i++)
		if (flags & 1 << i)
			buf[n++] = "FSRPAUEW"[i];
	buf[n] = '\0';
	return buf;
}

static double seconds(const struct trace *t, uint64_t ns)
{
	return (double)(int64_t)(ns - t->start_ns) / 1e9;
}

static json_t *packet_json(const struct trace *t, const struct trace_packet *p)
{
	json_t *out, *sack;
	char flags[9];

	out = json_pack("{s:s, s:f, s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "event_type", "packet", "at",
			seconds(t, p->ns), "side", side_name(p->side), "direction",
			p->dir == SEAM_UP ? "to_server" : "to_client", "flags",
			flag_letters(p->flags, flags), "seq", (json_int_t)p->seq, "len",
			(json_int_t)p->len, "ack", (json_int_t)p->ack, "window",
			(json_int_t)p->wnd);
	if (p->n_sack) {
		sack = json_array();
		for (int i = 0; i < p->n_sack; i++)
			json_array_append_new(sack, json_pack("[I,I]", (json_int_t)p->sack[i][0],
							      (json_int_t)p->sack[i][1]));
		json_object_set_new(out, "sack", sack);
	}
	return out;
}

static json_t *transition_json(const struct trace *t, const struct transition *transition)
{
	json_t *out = json_pack("{s:s, s:f}", "event_type", "transition", "at",
				seconds(t, transition->time_ns));

	json_object_update_new(out, show_transition_json(transition));
	return out;
}

void trace_json(const struct trace *t, FILE *to)
{
	size_t i, n = 0;

	line(to, flow_json(t));
	for (i = 0; i < t->n_packets; i++) {
		for (; n < t->n_transitions && t->transitions[n].time_ns <= t->packets[i].ns; n++)
			line(to, transition_json(t, &t->transitions[n]));
		line(to, packet_json(t, &t->packets[i]));
	}
	for (; n < t->n_transitions; n++)
		line(to, transition_json(t, &t->transitions[n]));
}
