// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "header_edits.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "inspect_text.h"

/* They say where a message ends, or what comes after it: if they change, it ends elsewhere. */
static const char *const framing[] = {
	"Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Trailer", "TE", NULL,
};

enum variable {
	VAR_NONE = 0,
	VAR_CLIENT,
	VAR_CLIENT_PORT,
	VAR_SERVER,
	VAR_SERVER_PORT,
	VAR_DOLLAR,
};

static const struct {
	const char *name;
	enum variable var;
	size_t max;	/* bytes of its value */
} variables[] = {
	{ "client", VAR_CLIENT, INET6_ADDRSTRLEN },
	{ "client_port", VAR_CLIENT_PORT, 5 },
	{ "server", VAR_SERVER, INET6_ADDRSTRLEN },
	{ "server_port", VAR_SERVER_PORT, 5 },
};

/* A character of a field name, as a variable of CGI has it; what no name has stays as it is. */
static char folded(char c)
{
	return text_token((uint8_t)c) && !text_alnum((uint8_t)c) ? '-' : text_lower(c);
}

bool header_same_name(const char *a, const char *b, size_t n)
{
	while (n && folded(*a) == folded(*b))
		a++, b++, n--;
	return !n;
}

const char *header_name_check(const char *name)
{
	size_t n = strlen(name);

	if (!n || n >= HEADER_NAME_MAX)
		return "is not a field name; expected 1 to 63 characters, as in \"X-Client\"";
	for (size_t i = 0; i < n; i++) {
		if (!text_token((uint8_t)name[i]))
			return "is not a field name; expected letters, digits and "
			       "!#$%&'*+-.^_`|~ only";
	}
	for (const char *const *f = framing; *f; f++) {
		if (strlen(*f) == n && header_same_name(*f, name, n))
			return "says where messages end; expected a field that does not";
	}
	return NULL;
}

/* The variable that begins at *s, a '$'; moves past it. VAR_NONE if there is none. */
static enum variable variable_next(const char **s, size_t *max)
{
	const char *p = *s + 1;
	size_t n = 0;

	if (*p == '$') {
		*s = p + 1;
		*max = 1;
		return VAR_DOLLAR;
	}
	while (text_alnum((uint8_t)p[n]) || p[n] == '_')
		n++;
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
		if (strlen(variables[i].name) == n && !memcmp(variables[i].name, p, n)) {
			*s = p + n;
			*max = variables[i].max;
			return variables[i].var;
		}
	}
	return VAR_NONE;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

const char *header_value_check(const char *value)
{
	size_t n = strlen(value), max;

	if (n && (is_blank(value[0]) || is_blank(value[n - 1])))
		return "begins or ends with white space; expected none there";
	while (*value) {
		uint8_t c = (uint8_t)*value;

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return "has a control character; expected the value of a header field, on "
			       "one line";
		if (c != '$')
			value++;
		else if (!variable_next(&value, &max))
			return "has a variable that there is not; expected $client, $client_port, "
			       "$server, $server_port, or $$ for a dollar sign";
	}
	return NULL;
}

static size_t value_max(const char *value)
{
	size_t n = 0, max;

	while (*value) {
		if (*value == '$' && variable_next(&value, &max)) {
			n += max;
		} else {
			value++;
			n++;
		}
	}
	return n;
}

size_t header_text_max(const struct header_edits *e)
{
	size_t n = 0;

	for (size_t i = 0; e && i < e->n_add; i++)
		n += strlen(e->add[i].name) + strlen(": \r\n") + value_max(e->add[i].value);
	return n;
}

static size_t put(char *out, const char *text)
{
	size_t n = strlen(text);

	memcpy(out, text, n);
	return n;
}

static size_t put_address(char *out, const __u32 addr[4])
{
	char text[ADDRESS_LEN];

	return put(out, address_text(addr, text));
}

static size_t put_port(char *out, __u16 port)
{
	char text[8];

	snprintf(text, sizeof(text), "%u", ntohs(port));
	return put(out, text);
}

static size_t put_value(char *out, const char *value, const struct flow_key *key)
{
	size_t n = 0, max;

	while (*value) {
		switch (*value == '$' ? variable_next(&value, &max) : VAR_NONE) {
		case VAR_NONE:
			out[n++] = *value++;
			break;
		case VAR_DOLLAR:
			out[n++] = '$';
			break;
		case VAR_CLIENT:
			n += put_address(out + n, key->client);
			break;
		case VAR_CLIENT_PORT:
			n += put_port(out + n, key->client_port);
			break;
		case VAR_SERVER:
			n += put_address(out + n, key->server);
			break;
		case VAR_SERVER_PORT:
			n += put_port(out + n, key->server_port);
			break;
		}
	}
	return n;
}

size_t header_text(const struct header_edits *e, const struct flow_key *key, char *out)
{
	size_t n = 0;

	for (size_t i = 0; e && i < e->n_add; i++) {
		n += put(out + n, e->add[i].name);
		n += put(out + n, ": ");
		n += put_value(out + n, e->add[i].value, key);
		n += put(out + n, "\r\n");
	}
	return n;
}

void header_edits_free(struct header_edits *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->n_remove; i++)
		free(e->remove[i]);
	for (size_t i = 0; i < e->n_add; i++) {
		free(e->add[i].name);
		free(e->add[i].value);
	}
	free(e->remove);
	free(e->add);
	free(e);
}
