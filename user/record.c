// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <stdio.h>
#include <string.h>

#include "record.h"

static void cut(char *to, size_t size, const char *from)
{
	size_t n = strnlen(from, size - 1);

	memcpy(to, from, n);
	to[n] = '\0';
}

void record_from(const struct flow_record *from, struct seam_record *to)
{
	memset(to, 0, sizeof(*to));
	to->bytes[SEAM_UP] = from->bytes[SEAM_UP];
	to->bytes[SEAM_DOWN] = from->bytes[SEAM_DOWN];
	to->edits = from->edits;
	to->flags = (from->tls.seen ? RECORD_F_TLS : 0) | (from->tls.ech ? RECORD_F_ECH : 0) |
		    (from->http.seen ? RECORD_F_HTTP : 0) |
		    (from->http.malformed ? RECORD_F_MALFORMED : 0);
	to->tls_version = from->tls.version;
	cut(to->tls_sni, sizeof(to->tls_sni), from->tls.sni);
	cut(to->tls_alpn, sizeof(to->tls_alpn), from->tls.alpn);
	cut(to->tls_ja4, sizeof(to->tls_ja4), from->tls.ja4);
	to->http_status = from->http.status;
	to->http_requests = from->http.requests;
	to->http_responses = from->http.responses;
	cut(to->http_method, sizeof(to->http_method), from->http.method);
	cut(to->http_host, sizeof(to->http_host), from->http.host);
	cut(to->http_target, sizeof(to->http_target), from->http.target);
	to->pattern_matches = from->pattern.matches;
	to->pattern_offset = from->pattern.offset;
	to->pattern_dir = from->pattern.dir;
	cut(to->pattern_name, sizeof(to->pattern_name), from->pattern.name);
}

const char *record_tls_version(__u16 version, char *buf, size_t len)
{
	if (version == 0x0300)
		snprintf(buf, len, "SSLv3");
	else if (version >= 0x0301 && version <= 0x0304)
		snprintf(buf, len, "TLS 1.%u", version - 0x0301);
	else
		snprintf(buf, len, "0x%04x", version);
	return buf;
}

static json_t *alpn_list(const char *names)
{
	json_t *list = json_array();
	size_t n;

	for (; *names; names += n + (names[n] == ',')) {
		n = strcspn(names, ",");
		json_array_append_new(list, json_stringn(names, n));
	}
	return list;
}

void record_json(const struct seam_record *rec, bool blocked, json_t *to)
{
	const char *sni = *rec->tls_sni ? rec->tls_sni : NULL;
	const char *host = *rec->http_host ? rec->http_host : NULL;
	char version[16];

	if ((rec->flags & (RECORD_F_TLS | RECORD_F_KERNEL)) == (RECORD_F_TLS | RECORD_F_KERNEL))
		json_object_set_new(to, "tls", json_pack("{s:s*}", "sni", sni));
	else if (rec->flags & RECORD_F_TLS)
		json_object_set_new(to, "tls",
			json_pack("{s:s*, s:s, s:s, s:o, s:b}", "sni", sni, "version",
				  record_tls_version(rec->tls_version, version, sizeof(version)),
				  "ja4", rec->tls_ja4, "client_alpns", alpn_list(rec->tls_alpn), "ech",
				  !!(rec->flags & RECORD_F_ECH)));
	/* Without a first head there is nothing but that it was malformed. */
	if (rec->flags & (RECORD_F_HTTP | RECORD_F_MALFORMED)) {
		bool head = rec->flags & RECORD_F_HTTP;
		json_t *http = json_pack("{s:s*, s:s*, s:s*}", "hostname", host, "url",
					 head ? rec->http_target : NULL, "http_method",
					 head ? rec->http_method : NULL);

		/* Where an inspector reads on after the head. */
		if (rec->http_requests || rec->http_responses) {
			json_object_set_new(http, "requests", json_integer(rec->http_requests));
			json_object_set_new(http, "responses", json_integer(rec->http_responses));
		}
		if (rec->http_status)
			json_object_set_new(http, "status", json_integer(rec->http_status));
		if (rec->flags & RECORD_F_MALFORMED)
			json_object_set_new(http, "malformed", json_true());
		json_object_set_new(to, "http", http);
	}
	if (rec->bytes[SEAM_UP] || rec->bytes[SEAM_DOWN] || rec->edits)
		json_object_set_new(to, "inspected",
			json_pack("{s:I, s:I, s:I}", "bytes_toserver",
				  (json_int_t)rec->bytes[SEAM_UP], "bytes_toclient",
				  (json_int_t)rec->bytes[SEAM_DOWN], "edits",
				  (json_int_t)rec->edits));
	if (rec->pattern_matches)
		json_object_set_new(to, "alert",
			json_pack("{s:s, s:s, s:s, s:I, s:s, s:i}", "action",
				  blocked ? "blocked" : "allowed", "signature", rec->pattern_name,
				  "category", "pattern", "offset", (json_int_t)rec->pattern_offset,
				  "direction",
				  rec->pattern_dir == SEAM_UP ? "to_server" : "to_client",
				  "matches", (int)rec->pattern_matches));
}
