// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * From a policy to the names that the kernel looks up.
 */
#include "policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct entry {
	struct seam_name name;
	struct seam_name_rules rules;
	UT_hash_handle hh;
};

/* The key of a listed name, or of an ending; false if the kernel does not look it up. */
static bool name_key(enum rule_proto proto, const char *listed, struct seam_name *key)
{
	size_t n;

	if (*listed == '*')
		listed++;
	n = strlen(listed);
	if (n > SEAM_NAME_MAX || strchr(listed, ':'))
		return false;
	memset(key, 0, sizeof(*key));
	key->proto = proto;
	for (size_t i = 0; i < n; i++)
		key->text[i] = listed[n - 1 - i];
	return true;
}

static int add(struct entry **all, enum rule_proto proto, const char *listed, __u16 rule)
{
	struct seam_name key;
	struct entry *e;

	if (!name_key(proto, listed, &key))
		return 0;
	HASH_FIND(hh, *all, &key, sizeof(key), e);
	if (!e) {
		e = calloc(1, sizeof(*e));
		if (!e)
			return -ENOMEM;
		e->name = key;
		HASH_ADD(hh, *all, name, sizeof(e->name), e);
		if (!e->hh.tbl) {
			free(e);
			return -ENOMEM;
		}
	}
	e->rules.bits[rule / 64] |= 1ULL << rule % 64;
	return 0;
}

static int add_list(struct entry **all, enum rule_proto proto, const struct policy_strings *list,
		    __u16 rule)
{
	int err = 0;

	for (size_t i = 0; i < list->n && !err; i++)
		err = add(all, proto, list->v[i], rule);
	return err;
}

/* What rules say of its endings counts for a name, too; these are what its key begins with. */
static void add_endings(struct entry *all, const struct entry *e, struct seam_name_rules *rules)
{
	struct seam_name key = { .proto = e->name.proto };
	struct entry *ending;

	*rules = e->rules;
	for (size_t i = 0; i < sizeof(key.text) && e->name.text[i]; i++) {
		key.text[i] = e->name.text[i];
		if (key.text[i] != '.')
			continue;
		HASH_FIND(hh, all, &key, sizeof(key), ending);
		for (size_t w = 0; ending && w < sizeof(rules->bits) / sizeof(rules->bits[0]); w++)
			rules->bits[w] |= ending->rules.bits[w];
	}
}

int policy_names(const struct policy *p, struct policy_name **out)
{
	struct entry *all = NULL, *e, *next;
	int err = 0, n = 0;

	*out = NULL;
	for (size_t i = 0; i < p->n_rules && !err && p->decide == DECIDE_KERNEL; i++) {
		const struct policy_rule *r = &p->rules[i];

		err = add_list(&all, PROTO_TLS, &r->sni, r->number);
		if (!err)
			err = add_list(&all, PROTO_HTTP, &r->host, r->number);
	}
	if (!err && all) {
		*out = malloc(HASH_COUNT(all) * sizeof(**out));
		err = *out ? 0 : -ENOMEM;
	}
	HASH_ITER(hh, all, e, next) {
		if (err)
			break;
		(*out)[n].name = e->name;
		add_endings(all, e, &(*out)[n++].rules);
	}
	HASH_ITER(hh, all, e, next) {
		HASH_DEL(all, e);
		free(e);
	}
	return err ? err : n;
}
