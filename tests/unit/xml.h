/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether a text is well-formed XML, as far as a drawing uses XML. */
#ifndef SEAM_XML_H
#define SEAM_XML_H

#include <stdbool.h>
#include <string.h>

#define XML_DEPTH 16

static inline bool xml_text(const char *s, const char *end)
{
	static const char *const known[] = { "&amp;", "&lt;", "&gt;", "&quot;" };

	for (; s < end; s++) {
		bool entity = *s != '&';

		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]) && !entity; i++)
			entity = !strncmp(s, known[i], strlen(known[i]));
		if (!entity || *s == '<' || ((unsigned char)*s < ' ' && *s != '\n') || (unsigned char)*s > 126)
			return false;
	}
	return true;
}

/* name="value" ... up to `end` */
static inline bool xml_attributes(const char *s, const char *end)
{
	const char *q;

	while (s < end) {
		if (*s++ != ' ')
			return false;
		q = memchr(s, '=', end - s);
		if (!q || q == s || q[1] != '"')
			return false;
		s = memchr(q + 2, '"', end - q - 2);
		if (!s || !xml_text(q + 2, s))
			return false;
		s++;
	}
	return true;
}

/* One element with all that is in it, and a newline. */
static inline bool xml_ok(const char *s)
{
	const char *stack[XML_DEPTH], *end;
	size_t len[XML_DEPTH], n;
	int depth = 0;

	do {
		end = strchr(s, '<');
		if (!end || !xml_text(s, end))
			return false;
		s = end;
		end = strncmp(s, "<!--", 4) ? strchr(s, '>') : strstr(s, "-->");
		if (!end)
			return false;
		if (s[1] == '/') {
			n = end - s - 2;
			if (!depth || len[depth - 1] != n || memcmp(stack[depth - 1], s + 2, n))
				return false;
			depth--;
		} else if (s[1] != '!') {
			n = strcspn(s + 1, " />");
			if (!n || !xml_attributes(s + 1 + n, end[-1] == '/' ? end - 1 : end))
				return false;
			if (end[-1] != '/') {
				if (depth == XML_DEPTH)
					return false;
				stack[depth] = s + 1;
				len[depth++] = n;
			}
		}
		s = strchr(end, '>') + 1;
	} while (depth);
	return !strcmp(s, "\n");
}

#endif
