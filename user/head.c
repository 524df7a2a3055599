// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A conn's head: the first bytes of its client, and what they tell a policy. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "http_head.h"
#include "tls_hello.h"

/* Each byte goes through this once, in however many pieces a client sends them. */
struct classifier {
	struct tls_hello tls;
	struct http_head http;
	size_t fed;		/* bytes of the head that they have seen */
};

static void classifier_begin(struct classifier *k)
{
	tls_hello_init(&k->tls);
	http_head_init(&k->http, HTTP_REQUEST);
	k->fed = 0;
}

/*
 * How much a rule may wait for: the policy's limit, or all that the client can send while the
 * server acknowledges nothing. A client waits rather than fill a window to the last byte (RFC
 * 9293 3.8.6.2.1).
 */
static size_t head_limit(const struct policy *p, const struct flow *f)
{
	const struct flow_end *server = &f->end[SEAM_SERVER];
	__u32 window = server->edge - f->end[SEAM_CLIENT].nxt;
	__u32 segment = server->mss ? server->mss : 536;
	__u32 most = window - (segment < window / 2 ? segment : window / 2) + 1;

	return most < p->hold.bytes ? most : p->hold.bytes;
}

int head_begin(struct conn *c, const struct flow *f)
{
	c->classifier = malloc(sizeof(*c->classifier));
	if (!c->classifier)
		return -ENOMEM;
	c->head_limit = head_limit(c->policy, f);
	head_read_anew(c);
	return 0;
}

void head_free(struct conn *c)
{
	free(c->classifier);
	free(c->head);
	c->classifier = NULL;
	c->head = NULL;
	c->head_len = 0;
}

static void classify(struct conn *c)
{
	struct classifier *k = c->classifier;
	const uint8_t *data;
	size_t len;

	if (!c->head_len)
		return;
	if (!c->facts.server_first_known) {
		c->facts.server_first_known = true;
		c->facts.server_first = false;
	}
	data = c->head + k->fed;
	len = c->head_len - k->fed;
	k->fed = c->head_len;
	if (!c->facts.tls_known) {
		c->facts.tls = tls_classify_next(&k->tls, data, len, &c->rec);
		c->facts.tls_known = c->facts.tls != CLASSIFY_MORE;
	}
	if (!c->facts.http_known) {
		c->facts.http = http_classify_next(&k->http, data, len, &c->rec);
		c->facts.http_known = c->facts.http != CLASSIFY_MORE;
	}
}

void head_read_anew(struct conn *c)
{
	c->head_len = 0;
	classifier_begin(c->classifier);
	memset(&c->rec, 0, sizeof(c->rec));
	c->facts = (struct policy_facts){ .key = c->key, .rec = &c->rec };
}

void head_client_done(struct conn *c)
{
	classify(c);
	c->facts.tls_known = c->facts.http_known = c->facts.server_first_known = true;
	if (c->facts.tls == CLASSIFY_MORE)
		c->facts.tls = CLASSIFY_NO;
	if (c->facts.http == CLASSIFY_MORE)
		c->facts.http = CLASSIFY_NO;
}

void head_server_spoke(struct conn *c)
{
	if (!c->facts.server_first_known && !c->head_len)
		c->facts.server_first = true;
	head_client_done(c);
}

const struct policy_rule *head_decide(struct conn *c)
{
	bool more = false;

	if (c->rule)
		return c->rule;
	classify(c);
	return policy_decide(c->policy, &c->facts, &more);
}
