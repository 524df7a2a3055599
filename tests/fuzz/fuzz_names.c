// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Random policies and first payloads: what the kernel decides by a name is what the
 * daemon would have decided, with the same rule; or the daemon is asked. Hellos and
 * request heads that are as they should be are settled wherever a policy lets them be.
 *
 *	fuzz_names [SECONDS [SEED]]
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <arpa/inet.h>

#include "harness.h"
#include "policy.h"
#include "random.h"

#define PAYLOAD_MAX 3000

#define PICK(list) ((list)[rnd(sizeof(list) / sizeof((list)[0]))])

/* Names that rules list and clients send; so that they meet, few. */
static const char *const listed[] = {
	"a.test", "*.a.test", "b.a.test", "*.b.a.test", "c.b.a.test", "*.test", "test", "x", "*.x", "aa.test",
	"d.test", "*.d.test", "10.2.0.2", "under_score.test", "xn--bcher-kva.test",
	"very-long-label-that-goes-on-and-on-and-on-and-on-and-on-and-on.test",
	"w.w.w.w.w.w.w.w.w.w.w.w.w.w.w.w.w.w.test", "*.w.w.w.w.w.w.w.w.w.w.w.w.w.w.w.w.w.w.test",
	"sixty-three-bytes-are-as-many-as-one-label-may-have-and-no-more.sixty-three-bytes-are-as-many-as-one-label-may-"
	"have-and-no-more.a",
	"sixty-three-bytes-are-as-many-as-one-label-may-have-and-no-more.sixty-three-bytes-are-as-many-as-one-label-may-"
	"have-and-no-more.ab",
};
static const char *const sent[] = {
	"a.test", "A.Test", "a.test.", "b.a.test", "z.b.a.test", "c.b.a.test", "C.b.a.TEST.", "test", "nobody.test", "x", "y.x",
	"aa.test", "xa.test", "d.test", "e.d.test", "10.2.0.2", "under_score.test", "xn--bcher-kva.test", "other.example",
	"very-long-label-that-goes-on-and-on-and-on-and-on-and-on-and-on.test",
	"w.w.w.w.w.w.w.w.w.w.w.w.w.w.w.w.w.w.test",
	"sixty-three-bytes-are-as-many-as-one-label-may-have-and-no-more.sixty-three-bytes-are-as-many-as-one-label-may-"
	"have-and-no-more.a",
	"sixty-three-bytes-are-as-many-as-one-label-may-have-and-no-more.sixty-three-bytes-are-as-many-as-one-label-may-"
	"have-and-no-more.ab",
	"a..test", ".a.test", "a.test..", "-", "a b", "[fd02::2]", "*.a.test",
};

/* ---- policies ---- */

struct text {
	char at[16384];
	size_t n;
};

static __attribute__((format(printf, 2, 3))) void say(struct text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	t->n += vsnprintf(t->at + t->n, sizeof(t->at) - t->n, fmt, ap);
	va_end(ap);
}

static void say_names(struct text *t, const char *key)
{
	__u32 all = sizeof(listed) / sizeof(listed[0]), n = 1 + rnd(4), at = rnd(all), by = 1 + rnd(4), i;

	say(t, "%s = [", key);
	for (i = 0; i < n; i++)
		say(t, "%s\"%s\"", i ? ", " : "", listed[(at + i * by) % all]);
	say(t, "]; ");
}

static void random_rule(struct text *t, __u32 number)
{
	static const char *const servers[] = { "10.2.0.0/24", "10.3.0.0/16", "fd02::/16", "[\"10.2.0.2\", \"fd02::2\"]", "2000::/3" };
	static const char *const ports[] = { "443", "80", "\"79-444\"", "[\"1-79\", \"8080\"]", "8080" };
	static const char *const actions[] = { "pass", "pass", "block", "block", "inspect" };
	const char *action = PICK(actions), *server = PICK(servers);

	say(t, "%s{ name = \"r%u\"; ", number ? ", " : "", number);
	if (!rnd(4))
		say(t, *server == '[' ? "server = %s; " : "server = \"%s\"; ", server);
	if (!rnd(3))
		say(t, "server_port = %s; ", PICK(ports));
	if (rnd(8)) {
		if (rnd(2))
			say_names(t, "sni");
		if (!rnd(3))
			say_names(t, "host");
	}
	if (!rnd(10))
		say(t, "alpn = \"h2\"; ");
	if (!rnd(12))
		say(t, "unrecognised = %s; ", rnd(2) ? "true" : "false");
	if (!rnd(12))
		say(t, "server_first = %s; ", rnd(2) ? "true" : "false");
	say(t, "action = \"%s\"; ", action);
	if (*action == 'i')
		say(t, "inspectors = \"tls\"; ");
	if (*action == 'b' && rnd(2))
		say(t, "with = \"drop\"; ");
	say(t, "}");
}

/* What the policy in force says. */
static struct text text;

static struct policy *random_policy(__u32 generation)
{
	static struct seam_rule lines[SEAM_RULES_MAX];
	static const char *const defaults[] = { "pass", "pass", "block", "inspect" };
	struct policy_name *found;
	__u32 n = rnd(4) ? rnd(6) : rnd(60), i;
	struct policy *p;
	int rules, names;

	text.n = 0;
	say(&text, "client = \"c0\"; server = \"s0\"; default = \"%s\"; %s rules = (", PICK(defaults),
	    rnd(20) ? "" : "decide = \"daemon\";");
	for (i = 0; i < n; i++)
		random_rule(&text, i);
	say(&text, ");");
	if (policy_load_text("fuzz", text.at, text.n, &p, stderr)) {
		fprintf(stderr, "%s\n", text.at);
		return NULL;
	}
	rules = policy_compile(p, lines, SEAM_RULES_MAX, generation);
	names = policy_names(p, &found);
	if (rules < 0 || names < 0)
		return NULL;
	policy_listed(found, names, generation);
	policy(lines, rules);
	free(found);
	return p;
}

/* ---- payloads ---- */

struct bytes {
	__u8 at[65536];
	size_t n;
};

static void put(struct bytes *b, const void *data, size_t len)
{
	memcpy(b->at + b->n, data, len);
	b->n += len;
}

static void put_n(struct bytes *b, __u32 v, int size)
{
	while (size--)
		b->at[b->n++] = v >> 8 * size;
}

/* Fills in the length, of `size` bytes, of what is behind it. */
static void end_n(struct bytes *b, size_t at, int size)
{
	__u32 v = b->n - at - size;

	while (size--)
		b->at[at++] = v >> 8 * size;
}

static void put_some(struct bytes *b, __u32 n)
{
	while (n--)
		b->at[b->n++] = rnd(256);
}

/* Now and then, of what should not be. */
static bool slip(bool odd)
{
	return odd && !rnd(6);
}

static void put_extension(struct bytes *b, __u32 type, const char *name, bool odd)
{
	static const char *const protocols[] = { "h2", "http/1.1", "\x1a\x1a", "acme-tls/1" };
	size_t len, list;
	__u32 n, i;

	put_n(b, type, 2);
	len = b->n;
	put_n(b, 0, 2);
	switch (type) {
	case 0:
		list = b->n;
		put_n(b, 0, 2);
		do {
			put_n(b, slip(odd), 1);
			put_n(b, strlen(name) + slip(odd), 2);
			put(b, name, strlen(name));
		} while (slip(odd));
		end_n(b, list, 2);
		b->at[list + 1] += slip(odd);
		break;
	case 16:
		put_n(b, 0, 2);
		for (i = 0, n = 1 + rnd(3); i < n; i++) {
			const char *p = PICK(protocols);

			put_n(b, strlen(p) + slip(odd), 1);
			put(b, p, strlen(p));
		}
		end_n(b, len + 2, 2);
		b->at[len + 3] -= slip(odd);
		break;
	case 43:
		put_n(b, 0, 1);
		put_n(b, 0x0304, 2);
		put_n(b, 0x0303, 2 + slip(odd));
		end_n(b, len + 2, 1);
		b->at[len + 2] += slip(odd);
		break;
	case 13:
		put_n(b, 0, 2);
		put_some(b, 2 * (1 + rnd(12)) + slip(odd));
		end_n(b, len + 2, 2);
		b->at[len + 3] += slip(odd);
		break;
	default:
		put_some(b, rnd(8) ? rnd(80) : rnd(1200));
	}
	end_n(b, len, 2);
}

/* A ClientHello as clients send it, or an `odd` one; the name may be none. */
static void random_hello(struct bytes *b, const char *name, bool odd)
{
	static const __u32 types[] = { 0, 13, 16, 43, 0xfe0d, 10, 11, 51, 0x0a0a, 35, 23, 65281, 45 };
	__u32 order[sizeof(types) / sizeof(types[0])], n = sizeof(types) / sizeof(types[0]), i, j, was;
	size_t extensions;

	put_n(b, 0x160301, 3);
	put_n(b, 0, 2);
	put_n(b, 1, 1);
	put_n(b, 0, 3);
	put_n(b, 0x0303, 2);
	put_some(b, 32);
	i = (rnd(2) ? 32 : rnd(33)) + slip(odd);
	put_n(b, i, 1);
	put_some(b, i);
	i = 2 * (1 + rnd(30)) + slip(odd);
	put_n(b, i, 2);
	put_some(b, i);
	if (slip(odd))
		put_n(b, 0, 1);
	else
		put_n(b, 0x0100, 2);
	if (name || rnd(4)) {
		for (i = 0; i < n; i++)
			order[i] = i;
		for (i = n - 1; i; i--) {
			j = rnd(i + 1);
			was = order[i];
			order[i] = order[j];
			order[j] = was;
		}
		extensions = b->n;
		put_n(b, 0, 2);
		for (i = 0; i < n; i++)
			if (types[order[i]] ? rnd(3) : !!name)
				put_extension(b, types[order[i]], name, odd);
		if (slip(odd)) /* twice, perhaps */
			put_extension(b, types[1 + rnd(4)], name, odd);
		if (slip(odd) && name)
			put_extension(b, 0, name, odd);
		end_n(b, extensions, 2);
	}
	end_n(b, 6, 3);
	end_n(b, 3, 2);
	if (!rnd(8))
		put_some(b, rnd(60)); /* early data */
}

static void put_text(struct bytes *b, const char *text)
{
	put(b, text, strlen(text));
}

/* Text that a parser may take for something else. */
static const char *const misleading[] = {
	"\r\n", "\n", "\r", " ", "\t", ":", "Host: a.test\r\n", "Host: b.a.test\r\n", " Host: d.test\r\n", "Host : d.test\r\n",
	"\r\nHost: a.test\r\n\r\n", "http://d.test/", "CONNECT d.test:443 HTTP/1.1\r\n", "#", "@", "\0", "\x7f", "\x80", "%",
	"Transfer-Encoding: chunked\r\n", "transfer-encoding:x\r\nContent-Length: 2\r\n", "Content-Length: 1\r\n",
	"Content-Length: x\r\n", "Content-Length: 1 2\r\n", "HTTP/1.1", "HTTP/2.0", "*", ".", "..", "99999", ":", "[", "]", "65536",
};

static void random_head(struct bytes *b, const char *name, bool odd)
{
	static const char *const port[] = { ":8080\r\n", ":65536\r\n", ":x\r\n", ":\r\n", ":123456\r\n", " :80\r\n", ":80 \r\n" };
	static const char *const methods[] = { "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH" };
	static const char *const targets[] = { "/", "/index.html?a=b&c=%20", "/a/very/deep/path;v=1", "//x", "/http://y/" };
	static const char *const fields[] = {
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n", "Accept: */*\r\n", "Cookie: a=b; c=\"d\"\r\n", "X_y-z:\r\n",
		"Connection: keep-alive, Upgrade\r\n", "Upgrade: websocket\r\n", "Referer:http://a.test/\r\n", "Hosts: b.test\r\n",
		"If-Modified-Since: Sat\tin May\r\n", "Content-Type: text/html\r\n",
	};
	__u32 n = rnd(8), at = rnd(n + 1), i;

	put_text(b, PICK(methods));
	put_text(b, " ");
	put_text(b, PICK(targets));
	put_text(b, rnd(8) ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n");
	for (i = 0; i <= n; i++) {
		if (slip(odd))
			put_text(b, PICK(misleading));
		if (i == at) {
			put_text(b, rnd(2) ? "Host: " : rnd(2) ? "host:" : "HOST:   ");
			put_text(b, name);
			put_text(b, rnd(4) ? "\r\n" : odd ? PICK(port) : port[0]);
		} else {
			put_text(b, PICK(fields));
		}
	}
	if (!rnd(4))
		put_text(b, "Content-Length: 5\r\n");
	put_text(b, "\r\n");
	if (!rnd(4))
		put_text(b, "12345");
}

static void mutate(struct bytes *b)
{
	static const __u8 edges[] = { 0, 1, 2, 3, 0x16, 0x7f, 0x80, 0xfe, 0xff, '.', ':', ' ', '\r', '\n' };
	__u32 times = 1 + rnd(3), at, n;
	const char *text;

	while (times-- && b->n > 8) {
		/* Mostly where the lengths are. */
		at = rnd(2) ? rnd(b->n) : rnd(b->n < 120 ? b->n : 120);
		switch (rnd(5)) {
		case 0:
			b->at[at] = rnd(2) ? rnd(256) : PICK(edges);
			break;
		case 1:
			b->at[at] += rnd(2) ? 1 : -1;
			break;
		case 2:
			b->n = rnd(3) ? b->n - 1 - rnd(b->n < 20 ? b->n - 1 : 20) : 1 + rnd(b->n);
			break;
		case 3:
			text = PICK(misleading);
			n = *text ? strlen(text) : 1;
			memmove(b->at + at + n, b->at + at, b->n - at);
			memcpy(b->at + at, text, n);
			b->n += n;
			break;
		case 4: /* without it, or twice */
			n = 1 + rnd(12);
			if (at + n > b->n)
				break;
			if (rnd(2)) {
				memmove(b->at + at + n, b->at + at, b->n - at);
				b->n += n;
			} else {
				memmove(b->at + at, b->at + at + n, b->n - at - n);
				b->n -= n;
			}
			break;
		}
	}
}

/* ---- what must be true ---- */

static bool plain_name(const char *name)
{
	size_t label = 0, dots = 0, n = strlen(name);

	if (n && name[n - 1] == '.')
		n--;
	for (size_t i = 0; i < n; i++) {
		if (name[i] == '.' && (!label || ++dots >= 16))
			return false;
		label = name[i] == '.' ? 0 : label + 1;
		if (strchr(" *[]:", name[i]))
			return false;
	}
	return label && n <= SEAM_NAME_MAX;
}

static bool same_record(const struct flow *f, const struct flow_record *rec, bool tls)
{
	struct seam_record got;

	if (record_get(f->id, &got) || !(got.flags & RECORD_F_KERNEL))
		return false;
	if (tls)
		return (got.flags & RECORD_F_TLS) && !strcmp(got.tls_sni, rec->tls.sni);
	return (got.flags & RECORD_F_HTTP) && !strcmp(got.http_host, rec->http.host) &&
	       !strcmp(got.http_method, rec->http.method) &&
	       !strncmp(got.http_target, rec->http.target, sizeof(got.http_target) - 2);
}

struct counts {
	__u64 cases, settled, asked, by_syn;
};

/* One connection with this first payload; `plain`: nothing about it is odd. */
static bool one(const struct policy *p, __u32 generation, const struct bytes *b, bool plain, struct counts *n)
{
	struct policy_facts facts = { .key = flow_key(), .tls_known = true, .http_known = true, .server_first_known = true };
	const struct spec first = { .flags = rnd(8) ? "PA" : "A", .seq = 1, .ack = 1, .wnd = 502, .len = b->n, .data = b->at, .opts = LINUX_TS };
	static struct packet in, out;
	struct flow_record rec = { 0 };
	const struct policy_rule *rule;
	bool broken = !rnd(20), more, decides;
	struct flow f;
	int rc;

	facts.rec = &rec;
	facts.tls = tls_classify(b->at, b->n, &rec);
	facts.http = http_classify(b->at, b->n, &rec);
	/* What would still be waited for is nothing that is settled. */
	facts.tls_known = facts.tls != CLASSIFY_MORE;
	facts.http_known = facts.http != CLASSIFY_MORE;
	rule = policy_decide(p, &facts, &more);
	decides = policy_kernel_decides(p, &facts);

	ctl(CTL_DELETE, 0, 0); /* who had these ports before */
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	n->cases++;
	if (flow_get(&f) || f.state == FLOW_PASSED || (f.state == FLOW_MONITORED && (f.flags & FLOW_F_INSPECT))) {
		n->by_syn++;
		return true;
	}
	build(&first, &in);
	if (broken)
		in.data[14 + (conn.v6 ? 40 : 20) + 16] ^= 1 << rnd(8); /* the checksum */
	rc = run_packet(CLIENT, &in, &out, 0);
	if (flow_get(&f)) {
		note("the flow is gone");
		return false;
	}
	if (f.state == FLOW_HELD || f.state == FLOW_SPLITTING) { /* the latter by its timer, meanwhile */
		n->asked++;
		if (plain && !broken && decides)
			note("was not settled, by rule %d", rule ? rule->number : -1);
		return rc == REDIRECT && !(plain && !broken && decides);
	}
	n->settled++;
	if (broken || !rule || rule->number != f.rule || f.policy != (__u16)generation || !decides) {
		note("settled by rule %u of generation %u, not %d%s%s", f.rule, f.policy, rule ? rule->number : -1,
		     broken ? ", broken" : "", decides ? "" : ", against expectation");
		note("state %s by %u, rc %d, %s: tls %d http %d need more %d, %zu rules", state_names[f.state], f.reason, rc, rule ? rule->name : "", facts.tls, facts.http, more, p->n_rules);
		return false;
	}
	if (f.state == FLOW_PASSED)
		return rc == PASS && rule->action == RULE_PASS && !(f.flags & FLOW_F_BYPASS) &&
		       packet_is("as it came", &in, &in, &out) && same_record(&f, &rec, facts.tls == CLASSIFY_YES);
	return f.state == FLOW_BLOCKED && rule->action == RULE_BLOCK && rc == (rule->block_rst ? REDIRECT : DROP) &&
	       same_record(&f, &rec, facts.tls == CLASSIFY_YES);
}

int main(int argc, char **argv)
{
	int seconds = argc > 1 ? atoi(argv[1]) : 3;
	__u64 seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	static struct bytes b;
	static const __u16 ports[] = { 443, 80, 8080 };
	time_t stop;
	struct counts n = { 0 };
	struct policy *p = NULL;
	__u32 generation = 0, isn = 1;
	bool good = true, plain, odd;
	const char *name;

	harness_start("fuzz-names");
	rnd_seed(seed);
	fresh(NULL);
	stop = time(NULL) + seconds; /* loading may take as long */
	while (good && time(NULL) < stop) {
		if (!(n.cases % 100)) {
			daemon_beat();
			policy_put(p);
			p = random_policy(++generation);
			good = p;
			if (!good)
				break;
		}
		conn = (struct conn){ .v6 = rnd(2), .cport = 40000 + rnd(200), .sport = PICK(ports), .cisn = isn, .sisn = rnd(~0U) };
		isn += 1000003;
		b.n = 0;
		name = PICK(sent);
		if (!rnd(20))
			name = NULL;
		odd = !rnd(3);
		if (!name || rnd(2))
			random_hello(&b, name, odd);
		else
			random_head(&b, name, odd);
		plain = !odd && (!name || plain_name(name));
		if (!rnd(3)) {
			mutate(&b);
			plain = false;
		}
		if (b.n > PAYLOAD_MAX)
			continue;
		good = one(p, generation, &b, plain, &n);
	}
	if (!good) {
		struct packet in;

		build(&(struct spec){ .flags = "PA", .seq = 1, .ack = 1, .wnd = 502, .len = b.n, .data = b.at, .opts = LINUX_TS }, &in);
		packet_save("fuzz-names", (const struct packet *[]){ &in }, 1);
		for (size_t i = 0; i < text.n; i += 200)
			note("%.200s", text.at + i);
		note("case %llu of seed %llu", n.cases, seed);
	}
	policy_put(p);
	note("seed %llu: %llu connections, %llu settled in the kernel, %llu left to the daemon, %llu by their SYN", seed, n.cases,
	     n.settled, n.asked, n.by_syn);
	check(good, "what the kernel decides is what the daemon would have decided");
	check(n.settled > n.cases / 20 && n.asked > n.cases / 20, "and it does decide");
	return harness_end();
}
