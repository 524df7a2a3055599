// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Reads what a rule has its inspectors change: the fields of HTTP/1 heads, the version of the
 * PROXY protocol.
 */
#include "header_edits.h"
#include "policy_read.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Each line of a head is compared with all names, each head gets all fields. */
#define FIELDS_MAX 64

const struct choice policy_proxy_versions[] = { { "v1", PROXY_V1 }, { "v2", PROXY_V2 }, { NULL, 0 } };

/* Room for one more element, zeroed, after the `n` that there are. */
static void *grow(struct load *l, const config_setting_t *s, const struct key *k, void *list,
		  size_t n, size_t size)
{
	void *more;

	if (n == FIELDS_MAX) {
		bad(l, s, "%s: too many fields; expected at most %d", k->name, FIELDS_MAX);
		return NULL;
	}
	more = realloc(list, (n + 1) * size);
	if (!more) {
		l->no_memory = true;
		return NULL;
	}
	memset((char *)more + n * size, 0, size);
	return more;
}

static bool is_host(const char *name)
{
	return !strcasecmp(name, "Host");
}

static void add_removed(struct load *l, const config_setting_t *s, const struct key *k,
			struct header_edits *e, const char *name)
{
	char **list;

	for (size_t i = 0; i < e->n_remove; i++) {
		if (!strcasecmp(e->remove[i], name)) {
			bad(l, s, "%s: \"%s\" is removed or set already; expected it once", k->name,
			    name);
			return;
		}
	}
	list = grow(l, s, k, e->remove, e->n_remove, sizeof(*list));
	if (!list)
		return;
	e->remove = list;
	list[e->n_remove] = duplicate(l, name);
	if (list[e->n_remove])
		e->n_remove++;
}

static void add_added(struct load *l, const config_setting_t *s, const struct key *k,
		      struct header_edits *e, const struct header_field *field)
{
	struct header_field *list = grow(l, s, k, e->add, e->n_add, sizeof(*list));

	if (!list)
		return;
	e->add = list;
	list += e->n_add++;
	list->name = duplicate(l, field->name);
	list->value = duplicate(l, field->value);
}

static void read_field_name(struct load *l, const config_setting_t *s, void *field,
			    const struct key *k)
{
	const char *v = get_string(l, s, k, "the name of a header field"), *wrong;

	wrong = v ? header_name_check(v) : NULL;
	if (wrong)
		bad(l, s, "%s: \"%s\" %s", k->name, v, wrong);
	else if (v)
		*(const char **)field = v;
}

static void read_field_value(struct load *l, const config_setting_t *s, void *field,
			     const struct key *k)
{
	const char *v = get_string(l, s, k, "the value of a header field"), *wrong;

	wrong = v ? header_value_check(v) : NULL;
	if (wrong)
		bad(l, s, "%s: \"%s\" %s", k->name, v, wrong);
	else if (v)
		*(const char **)field = v;
}

static const struct key field_keys[] = {
	{ "name", read_field_name, offsetof(struct header_field, name), 0, 0, NULL },
	{ "value", read_field_value, offsetof(struct header_field, value), 0, 0, NULL },
	{ NULL, NULL, 0, 0, 0, NULL },
};

/* Reads `add`, and `set`, which also removes what was there. */
static void read_fields(struct load *l, const config_setting_t *s, struct header_edits *e,
			const struct key *k, bool set)
{
	size_t n;

	if (!is_list(l, s, k->name))
		return;
	n = count(l, s, k);
	for (size_t i = 0; i < n; i++) {
		const config_setting_t *g = config_setting_get_elem(s, i);
		struct header_field field = { NULL, NULL };

		if (!is_group_in(l, g, k->name))
			continue;
		read_keys(l, g, &field, field_keys);
		require(l, g, "name", "field", "a name, as in \"X-Client\"");
		require(l, g, "value", "field", "a value, as in \"$client\"");
		if (!field.name || !field.value)
			continue;
		if (set)
			add_removed(l, g, k, e, field.name);
		else if (is_host(field.name))
			bad(l, g, "%s: there must not be two of \"%s\"; expected it in set", k->name,
			    field.name);
		add_added(l, g, k, e, &field);
	}
}

static void read_add(struct load *l, const config_setting_t *s, void *field, const struct key *k)
{
	read_fields(l, s, field, k, false);
}

static void read_set(struct load *l, const config_setting_t *s, void *field, const struct key *k)
{
	read_fields(l, s, field, k, true);
}

static void read_remove(struct load *l, const config_setting_t *s, void *field,
			const struct key *k)
{
	size_t n = count(l, s, k);

	for (size_t i = 0; i < n; i++) {
		const config_setting_t *e = element(s, i);
		const char *name = NULL;

		read_field_name(l, e, &name, k);
		if (name && is_host(name))
			bad(l, e, "%s: a request must have \"%s\"; expected it in set", k->name, name);
		else if (name)
			add_removed(l, e, k, field, name);
	}
}

static const struct key edit_keys[] = {
	{ "add", read_add, 0, 0, 0, NULL },
	{ "set", read_set, 0, 0, 0, NULL },
	{ "remove", read_remove, 0, 0, 0, NULL },
	{ NULL, NULL, 0, 0, 0, NULL },
};

void read_header_edits(struct load *l, const config_setting_t *s, void *field,
		       const struct key *k)
{
	const struct key group = { k->name, NULL, 0, 0, 0, edit_keys };
	unsigned int before = l->errors;
	struct header_edits *e = allocate(l, 1, sizeof(*e));

	*(struct header_edits **)field = e;
	if (!e)
		return;
	read_group(l, s, e, &group);
	if (l->errors == before && !e->n_remove && !e->n_add)
		bad(l, s, "\"%s\" changes nothing; expected add, set or remove in it", k->name);
	if (header_text_max(e) > HEADER_TEXT_MAX)
		bad(l, s, "%s: the fields are too long; expected at most %d bytes together", k->name,
		    HEADER_TEXT_MAX);
}

/* Checks settings that only one inspector uses, and that this inspector does nothing without. */
void check_edits(struct load *l, const config_setting_t *s, const struct policy_rule *rule)
{
	const config_setting_t *proxy = config_setting_get_member(s, "proxy");
	const config_setting_t *request = config_setting_get_member(s, "request");
	const config_setting_t *response = config_setting_get_member(s, "response");
	bool headers = rule_uses(rule, &inspector_headers);

	if (rule_uses(rule, &inspector_proxy) && !proxy)
		bad(l, s, "inspector \"proxy\" does not know what to send; expected proxy = \"v1\" "
		    "or \"v2\"");
	if (proxy && !rule_uses(rule, &inspector_proxy))
		bad(l, proxy, "nobody sends this header; expected \"proxy\" among the inspectors");
	if (headers && !request && !response)
		bad(l, s, "inspector \"headers\" has nothing to change; expected request or "
		    "response = { add, set, remove }");
	if (request && !headers)
		bad(l, request, "nobody changes requests; expected \"headers\" among the inspectors");
	if (response && !headers)
		bad(l, response, "nobody changes responses; expected \"headers\" among the "
		    "inspectors");
}
