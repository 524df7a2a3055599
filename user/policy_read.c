// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Reads single settings of the policy: types, limits, messages. */
#include "policy_read.h"
#include "policy_value.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- messages ---- */

static void vreport(struct load *l, unsigned int line, const char *fmt, va_list ap)
{
	char text[1024];

	l->errors++;
	if (!l->err)
		return;
	vsnprintf(text, sizeof(text), fmt, ap);
	/* messages quote values of the file: these must not control the terminal */
	for (char *c = text; *c; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	}
	if (line)
		fprintf(l->err, "%s:%u: %s\n", l->p->path, line, text);
	else
		fprintf(l->err, "%s: %s\n", l->p->path, text);
}

void report(struct load *l, unsigned int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vreport(l, line, fmt, ap);
	va_end(ap);
}

void bad(struct load *l, const config_setting_t *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vreport(l, config_setting_source_line(s), fmt, ap);
	va_end(ap);
}

void *allocate(struct load *l, size_t n, size_t size)
{
	void *mem = calloc(n, size);

	if (!mem)
		l->no_memory = true;
	return mem;
}

char *duplicate(struct load *l, const char *s)
{
	char *copy = strdup(s);

	if (!copy)
		l->no_memory = true;
	return copy;
}

static const char *type_name(const config_setting_t *s)
{
	switch (config_setting_type(s)) {
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		return config_setting_get_format(s) == CONFIG_FORMAT_DEFAULT ? "a number" : "hexadecimal, or the like";
	case CONFIG_TYPE_FLOAT:
		return "a fraction";
	case CONFIG_TYPE_STRING:
		return "a string";
	case CONFIG_TYPE_BOOL:
		return "a boolean";
	case CONFIG_TYPE_ARRAY:
	case CONFIG_TYPE_LIST:
		return "a list";
	case CONFIG_TYPE_GROUP:
		return "a group";
	}
	return "empty";
}

static void wrong_type(struct load *l, const config_setting_t *s, const struct key *k,
		       const char *expected)
{
	bad(l, s, "\"%s\" is %s; expected %s", k->name, type_name(s), expected);
}

const char *get_string(struct load *l, const config_setting_t *s, const struct key *k,
		       const char *expected)
{
	const char *v = config_setting_get_string(s);

	if (!v)
		wrong_type(l, s, k, expected);
	return v;
}

/* Whether it is a decimal integer: of a hexadecimal one libconfig may keep 32 bits. */
static bool is_integer(const config_setting_t *s)
{
	int type = config_setting_type(s);

	return (type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64) &&
	       config_setting_get_format(s) == CONFIG_FORMAT_DEFAULT;
}

/* libconfig has no unsigned type: negative numbers become too large to be valid. */
static __u64 get_integer(const config_setting_t *s)
{
	if (config_setting_type(s) == CONFIG_TYPE_INT)
		return (__s64)config_setting_get_int(s);
	return config_setting_get_int64(s);
}

/* ---- lists: one value, or several in [] or () ---- */

static bool is_several(const config_setting_t *s)
{
	return config_setting_is_array(s) || config_setting_is_list(s);
}

size_t count(struct load *l, const config_setting_t *s, const struct key *k)
{
	if (!is_several(s))
		return 1;
	if (!config_setting_length(s))
		bad(l, s, "\"%s\" is an empty list; expected at least one value", k->name);
	return config_setting_length(s);
}

const config_setting_t *element(const config_setting_t *s, size_t i)
{
	return is_several(s) ? config_setting_get_elem(s, i) : s;
}

/* Copies `text` to the end of a list that has room for it, unless it is there already. */
static void append(struct load *l, const config_setting_t *s, const struct key *k,
		   struct policy_strings *list, const char *text)
{
	for (size_t i = 0; i < list->n; i++) {
		if (!strcmp(list->v[i], text)) {
			bad(l, s, "%s: \"%s\" is given twice; expected it once", k->name, text);
			return;
		}
	}
	list->v[list->n] = duplicate(l, text);
	if (list->v[list->n])
		list->n++;
}

/* Reads a list of strings; `check` converts a value to the form it is kept in. */
static void read_strings(struct load *l, const config_setting_t *s, struct policy_strings *list,
			 const struct key *k, const char *expected,
			 const char *(*check)(const char *s, char out[256]))
{
	size_t n = count(l, s, k);

	list->v = n ? allocate(l, n, sizeof(*list->v)) : NULL;
	if (!list->v)
		return;
	for (size_t i = 0; i < n; i++) {
		const config_setting_t *e = element(s, i);
		const char *text = get_string(l, e, k, expected), *wrong;
		char value[256];

		if (!text)
			continue;
		wrong = check(text, value);
		if (wrong)
			bad(l, e, "%s: \"%s\" %s", k->name, text, wrong);
		else
			append(l, e, k, list, value);
	}
}

/* ---- one reader per kind of value ---- */

static void read_choice_to(struct load *l, const config_setting_t *s, const struct key *k,
			   int *value)
{
	char expected[128] = "";
	const char *v;

	for (const struct choice *c = k->arg; c->name; c++) {
		size_t n = strlen(expected);

		snprintf(expected + n, sizeof(expected) - n, "%s\"%s\"",
			 n ? c[1].name ? ", " : " or " : "", c->name);
	}
	v = get_string(l, s, k, expected);
	if (!v)
		return;
	for (const struct choice *c = k->arg; c->name; c++) {
		if (!strcmp(c->name, v)) {
			*value = c->value;
			return;
		}
	}
	bad(l, s, "%s: \"%s\" is unknown; expected %s", k->name, v, expected);
}

void read_choice(struct load *l, const config_setting_t *s, void *field,
		 const struct key *k)
{
	read_choice_to(l, s, k, field);
}

/* One of two words into a bool. */
void read_either(struct load *l, const config_setting_t *s, void *field,
		 const struct key *k)
{
	int value = *(bool *)field;

	read_choice_to(l, s, k, &value);
	*(bool *)field = value;
}

void read_bool(struct load *l, const config_setting_t *s, void *field, const struct key *k)
{
	if (config_setting_type(s) == CONFIG_TYPE_BOOL)
		*(bool *)field = config_setting_get_bool(s);
	else
		wrong_type(l, s, k, "true or false");
}

void read_want(struct load *l, const config_setting_t *s, void *field, const struct key *k)
{
	bool value = false;

	read_bool(l, s, &value, k);
	*(enum policy_want *)field = value ? WANT_TRUE : WANT_FALSE;
}

void read_number(struct load *l, const config_setting_t *s, void *field,
		 const struct key *k)
{
	if (!is_integer(s)) {
		wrong_type(l, s, k, "a whole number");
		return;
	}
	if (get_integer(s) < k->min || get_integer(s) > k->max)
		bad(l, s, "%s: %lld is out of range; expected %llu to %llu", k->name,
		    (long long)get_integer(s), (unsigned long long)k->min,
		    (unsigned long long)k->max);
	else
		*(__u32 *)field = get_integer(s);
}

void read_duration(struct load *l, const config_setting_t *s, void *field,
		   const struct key *k)
{
	const char *v = get_string(l, s, k, "a duration as in \"5s\" (ms, s, m, h or d)");
	const char *wrong;
	__u64 ns;

	if (!v)
		return;
	wrong = value_duration(v, &ns);
	if (wrong)
		bad(l, s, "%s: \"%s\" %s", k->name, v, wrong);
	else if (ns < k->min || ns > k->max)
		bad(l, s, "%s: \"%s\" is out of range; expected %llums to %llud", k->name, v,
		    (unsigned long long)(k->min / 1000000), (unsigned long long)(k->max / DAY));
	else
		*(__u64 *)field = ns;
}

void read_size(struct load *l, const config_setting_t *s, void *field, const struct key *k)
{
	__u64 bytes;

	if (is_integer(s)) {
		bytes = get_integer(s);
	} else {
		const char *v = get_string(l, s, k, "a size as in \"64k\" (k, M, G or T)");
		const char *wrong;

		if (!v)
			return;
		wrong = value_size(v, &bytes);
		if (wrong) {
			bad(l, s, "%s: \"%s\" %s", k->name, v, wrong);
			return;
		}
	}
	if (bytes < k->min || bytes > k->max)
		bad(l, s, "%s: size is out of range; expected %llu to %llu bytes", k->name,
		    (unsigned long long)k->min, (unsigned long long)k->max);
	else
		*(__u64 *)field = bytes;
}

/* A name of up to k->max - 1 characters. */
void read_name(struct load *l, const config_setting_t *s, void *field, const struct key *k)
{
	const char *v = get_string(l, s, k, "a name");

	if (!v)
		return;
	if (value_is_name(v, k->max, false))
		strcpy(field, v);
	else
		bad(l, s, "%s: \"%s\" is not a name; expected 1 to %llu of letters, digits, "
		    "'-' and '_'", k->name, v, (unsigned long long)k->max - 1);
}

/* The same, or empty. */
void read_congestion(struct load *l, const config_setting_t *s, void *field,
		     const struct key *k)
{
	const char *v = config_setting_get_string(s);

	if (v && !*v)
		*(char *)field = '\0';
	else
		read_name(l, s, field, k);
}

/* Interface names, by the kernel's dev_valid_name(). */
static const char *check_interface(const char *s, char out[256])
{
	size_t n = strlen(s);

	if (!n || n > 15 || !strcmp(s, ".") || !strcmp(s, "..") || strpbrk(s, "/: \t\n\v\f\r"))
		return "is not an interface name; expected 1 to 15 characters without '/', ':' "
		       "or spaces";
	memcpy(out, s, n + 1);
	return NULL;
}

void read_interfaces(struct load *l, const config_setting_t *s, void *field,
		     const struct key *k)
{
	read_strings(l, s, field, k, "an interface name or a list of them", check_interface);
}

void read_hosts(struct load *l, const config_setting_t *s, void *field,
		const struct key *k)
{
	read_strings(l, s, field, k, "a host name or a list of them", value_host);
}

void read_http_hosts(struct load *l, const config_setting_t *s, void *field,
		     const struct key *k)
{
	read_strings(l, s, field, k, "a host name or a list of them", value_http_host);
}

static const char *check_alpn(const char *s, char out[256])
{
	size_t n = strlen(s);

	/* what is recorded of a ClientHello is cut to 64 bytes and separated by commas */
	if (!n || n > 32)
		return "is not a protocol name; expected 1 to 32 characters, as in \"h2\"";
	for (const char *c = s; *c; c++) {
		if (*c <= ' ' || *c > '~' || *c == ',')
			return "is not a protocol name; expected printable characters without "
			       "spaces and commas, as in \"http/1.1\"";
	}
	memcpy(out, s, n + 1);
	return NULL;
}

void read_alpn(struct load *l, const config_setting_t *s, void *field, const struct key *k)
{
	read_strings(l, s, field, k, "a protocol name or a list of them", check_alpn);
}

void read_prefixes(struct load *l, const config_setting_t *s, void *field,
		   const struct key *k)
{
	struct policy_prefixes *set = field;
	size_t n = count(l, s, k);

	set->v = n ? allocate(l, n, sizeof(*set->v)) : NULL;
	if (!set->v)
		return;
	for (size_t i = 0; i < n; i++) {
		const config_setting_t *e = element(s, i);
		const char *v = get_string(l, e, k, "an address or prefix, or a list of them");
		const char *wrong = v ? value_prefix(v, &set->v[set->n]) : NULL;

		if (wrong)
			bad(l, e, "%s: \"%s\" %s", k->name, v, wrong);
		else if (v)
			set->n++;
	}
}

void read_ports(struct load *l, const config_setting_t *s, void *field,
		const struct key *k)
{
	struct policy_port_ranges *set = field;
	size_t n = count(l, s, k);

	set->v = n ? allocate(l, n, sizeof(*set->v)) : NULL;
	if (!set->v)
		return;
	for (size_t i = 0; i < n; i++) {
		const config_setting_t *e = element(s, i);
		const char *v, *wrong;
		char text[24];

		if (is_integer(e)) {
			snprintf(text, sizeof(text), "%lld", (long long)get_integer(e));
			v = text;
		} else {
			v = get_string(l, e, k, "a port, a range as in \"8000-8099\", or a list "
				       "of them in ( )");
		}
		wrong = v ? value_ports(v, &set->v[set->n]) : NULL;
		if (wrong)
			bad(l, e, "%s: \"%s\" %s", k->name, v, wrong);
		else if (v)
			set->n++;
	}
}

/* ---- groups ---- */

static void unknown_key(struct load *l, const config_setting_t *s, const struct key *keys)
{
	const char *names[32], *close;
	char all[512];
	size_t n = 0, used = 0;

	for (; keys[n].name; n++) {
		names[n] = keys[n].name;
		used += snprintf(all + used, sizeof(all) - used, "%s%s", n ? ", " : "",
				 keys[n].name);
	}
	names[n] = NULL;
	close = value_closest(config_setting_name(s), names);
	if (close)
		bad(l, s, "there is no setting \"%s\" here; did you mean \"%s\"?",
		    config_setting_name(s), close);
	else
		bad(l, s, "there is no setting \"%s\" here; expected one of %s",
		    config_setting_name(s), all);
}

void read_keys(struct load *l, const config_setting_t *group, void *base,
	       const struct key *keys)
{
	for (int i = 0; i < config_setting_length(group); i++) {
		const config_setting_t *s = config_setting_get_elem(group, i);
		const struct key *k = keys;

		while (k->name && strcmp(k->name, config_setting_name(s)))
			k++;
		if (k->name)
			k->read(l, s, (char *)base + k->offset, k);
		else
			unknown_key(l, s, keys);
	}
}

void read_group(struct load *l, const config_setting_t *s, void *field,
		const struct key *k)
{
	if (config_setting_is_group(s))
		read_keys(l, s, field, k->arg);
	else
		wrong_type(l, s, k, "a group: { name = value; ... }");
}

bool is_list(struct load *l, const config_setting_t *s, const char *name)
{
	if (config_setting_is_list(s))
		return true;
	bad(l, s, "\"%s\" is %s; expected a list of groups: ( { ... }, { ... } )", name,
	    type_name(s));
	return false;
}

bool is_group_in(struct load *l, const config_setting_t *s, const char *name)
{
	if (config_setting_is_group(s))
		return true;
	bad(l, s, "\"%s\" has an element that is %s; expected a group: { ... }", name,
	    type_name(s));
	return false;
}

void require(struct load *l, const config_setting_t *group, const char *name,
	     const char *what, const char *expected)
{
	if (!config_setting_get_member(group, name))
		bad(l, group, "%s has no \"%s\"; expected %s", what, name, expected);
}
