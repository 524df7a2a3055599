// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Any text as a policy: it is refused with a message, or it is whole, fits the
 * kernel's table and decides.
 */
#include "policy.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 forgets the strings it has read when the syntax is wrong behind them. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct seam_rule lines[SEAM_RULES_MAX];
	struct policy_facts facts = { .missing = 0 };
	struct policy *p = NULL;
	char *said = NULL;
	size_t len;
	FILE *err = open_memstream(&said, &len);
	bool need_more;
	int ret;

	ret = policy_load_text("fuzz", (const char *)data, size, &p, err);
	fclose(err);
	if (!ret != !len || !ret != !!p)
		abort();
	free(said);
	if (ret)
		return 0;

	if (policy_compile(p, lines, SEAM_RULES_MAX, 1) < 1 || !p->client.n || !p->server.n)
		abort();
	for (size_t i = 0; i < p->n_rules; i++) {
		const struct policy_rule *r = &p->rules[i];

		if (!r->name || r->number != i + 1 || r->action == RULE_ASK ||
		    (r->action == RULE_INSPECT) != !!r->inspectors[0])
			abort();
	}
	if (!policy_decide(p, &facts, &need_more) != need_more)
		abort();
	facts.server_first_known = facts.server_first = true;
	if (!policy_decide(p, &facts, &need_more))
		abort();
	policy_put(p);
	return 0;
}
