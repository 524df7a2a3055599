// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Names in the first payload that the kernel decides by; and all that it leaves to the daemon. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "policy.h"

#define UP(...) { .flags = "PA", .wnd = 502, .opts = "nop nop ts=110:905", .seq = 1, .ack = 1, __VA_ARGS__ }
#define FIXTURES "tests/fixtures/tls/"

struct bytes {
	__u8 at[3200];
	size_t len;
};

static const struct conn v4 = { .cisn = 0xffffff00, .sisn = 99, .sport = 443 }, v6 = { .v6 = true, .cisn = 7, .sisn = 99, .sport = 443 };
static __u32 generation;

static const char rules[] =
	"{ name = \"reset\"; sni = \"reset.com\"; action = \"block\"; },"
	"{ name = \"drop\"; sni = [\"drop.com\", \"*.dropped.com\"]; host = \"no\"; action = \"block\"; with = \"drop\"; },"
	"{ name = \"dropped\"; host = [\"drop.com\", \"*.dropped.com\"]; action = \"block\"; with = \"drop\"; },"
	"{ name = \"look\"; sni = \"inspected.com\"; action = \"inspect\"; inspectors = \"tls\"; },"
	"{ name = \"good\"; sni = [\"example.com\", \"*.example.com\", \"*.dropped.com\"]; action = \"pass\"; },"
	"{ name = \"far\"; server = \"10.3.0.0/16\"; host = \"example.com\"; action = \"block\"; },"
	"{ name = \"web\"; host = \"example.com\"; action = \"pass\"; }";

static void in_force(const char *settings, const char *list)
{
	static struct seam_rule lines[SEAM_RULES_MAX];
	struct policy_name *names;
	char text[2048];
	struct policy *p;
	int n, n_names;

	n = snprintf(text, sizeof(text), "client = \"c0\"; server = \"s0\"; %s rules = ( %s );", settings, list);
	if (policy_load_text("test", text, n, &p, stderr))
		exit(1);
	n = policy_compile(p, lines, SEAM_RULES_MAX, ++generation);
	n_names = policy_names(p, &names);
	policy_listed(names, n_names, generation);
	policy(lines, n);
	free(names);
	policy_put(p);
}

static void begin_with(const struct conn *c, const char *settings, const char *list)
{
	fresh(c);
	in_force(settings, list);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set("c.rtt_us=50000000"); /* no timer comes in between */
}

static void begin(const struct conn *c)
{
	begin_with(c, "", rules);
}

/* A recorded hello whose name is another of the same length. */
static void hello(struct bytes *b, const char *file, const char *was, const char *name)
{
	char path[128];
	__u8 *at;
	FILE *f;

	snprintf(path, sizeof(path), FIXTURES "%s.bin", file);
	f = fopen(path, "r");
	b->len = f ? fread(b->at, 1, sizeof(b->at), f) : 0;
	if (f)
		fclose(f);
	at = was ? memmem(b->at, b->len, was, strlen(was)) : NULL;
	if (!b->len || (was && (!at || strlen(was) != strlen(name)))) {
		check(false, "%s has %s, and %s is as long", path, was, name);
		exit(1);
	}
	if (was)
		memcpy(at, name, strlen(name));
}

#define OF(b) .data = (b).at, .len = (b).len

static void verdicts(const struct conn *c)
{
	struct seam_record rec;
	struct bytes b;
	struct flow f;

	hello(&b, "ja4_spec", "example.com", "example.com");
	begin(c);
	STEPS({ "a name that a rule lists: passed, and never held", CLIENT, UP(OF(b)), PASS, .counts = "settled rule",
		.flow = "state=passed reason=rule rule=5 held_in=0 -bypass -want_up -want_down -by_name +history" });
	flow_get(&f);
	check(f.policy == (__u16)generation && f.end[SEAM_CLIENT].nxt - conn.cisn == 1 + b.len, "by this policy, and its payload is known");
	check(!record_get(f.id, &rec) && rec.flags == (RECORD_F_TLS | RECORD_F_KERNEL) && !strcmp(rec.tls_sni, "example.com"),
	      "its name is on record");

	hello(&b, "ja4_spec", "example.com", "wXample.com");
	begin(c);
	STEPS({ "one that none lists: the default", CLIENT, UP(OF(b)), PASS, .counts = "settled default",
		.flow = "state=passed reason=default rule=0 held_in=0" });
	hello(&b, "openssl_tls13", "www.example.com", "wwW.Example.COM");
	begin(c);
	STEPS({ "below one, in whatever case", CLIENT, UP(OF(b)), PASS, .counts = "settled rule", .flow = "state=passed rule=5" });
	hello(&b, "openssl_tls13", "www.example.com", "w.a.dropped.com");
	begin(c);
	STEPS({ "of two rules that list it the first", CLIENT, UP(OF(b)), PASS, .counts = "settled rule", .flow = "state=passed rule=5" });
	hello(&b, "openssl_nosni", NULL, NULL);
	begin(c);
	STEPS({ "without a name: the default", CLIENT, UP(OF(b)), PASS, .counts = "settled default", .flow = "state=passed rule=0" });
	hello(&b, "no_extensions", NULL, NULL);
	begin(c);
	STEPS({ "without extensions", CLIENT, UP(OF(b)), PASS, .counts = "settled default", .flow = "state=passed rule=0" });
	hello(&b, "mlkem768", "example.com", "w.reset.com");
	begin_with(c, "", "{ name = \"r\"; sni = \"*.reset.com\"; action = \"block\"; }");
	STEPS({ "a long one, blocked: both ends are told", CLIENT, UP(OF(b)), REDIRECT, .counts = "settled rule block_rst=2",
		.flow = "state=blocked reason=rule rule=1 +block_rst -rst_both s+rst_sent c+rst_sent",
		.out = &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .flags = "RA", .seq = 1, .ack = 1 + b.len, .ttl = 63,
				       .opts = "nop nop ts=905:110" } });
	begin_with(c, "", "{ name = \"r\"; sni = \"*.reset.com\"; action = \"block\"; with = \"drop\"; }");
	STEPS({ "in silence", CLIENT, UP(OF(b)), DROP, .counts = "settled rule block_drop", .flow = "state=blocked rule=1 -block_rst" });
	begin_with(c, "default = \"block\";", "{ name = \"r\"; sni = \"other.com\"; action = \"pass\"; }");
	STEPS({ "by default", CLIENT, UP(OF(b)), REDIRECT, .counts = "settled rule block_rst=2", .flow = "state=blocked rule=0",
		.out = &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .flags = "RA", .seq = 1, .ack = 1 + b.len, .ttl = 63,
				       .opts = "nop nop ts=905:110" } });

	begin(c);
	STEPS({ "a request", CLIENT, UP(.data = "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"), PASS, .counts = "settled rule",
		.flow = "state=passed rule=7" });
	flow_get(&f);
	check(!record_get(f.id, &rec) && rec.flags == (RECORD_F_HTTP | RECORD_F_KERNEL) && !strcmp(rec.http_host, "example.com") &&
	      !strcmp(rec.http_method, "GET") && !strcmp(rec.http_target, "/"), "it is on record");
	begin(c);
	STEPS({ "with a port, the root's dot, and a body", CLIENT,
		UP(.data = "POST /x HTTP/1.1\r\nContent-Length: 3\r\nHOST:A.dropped.COM.:8080\r\n\r\nabc"), DROP,
		.counts = "settled rule block_drop", .flow = "state=blocked rule=3" });
	begin(c);
	STEPS({ "of another host", CLIENT, UP(.data = "HEAD /a?b HTTP/1.0\r\nhost:  nobody\r\nx: y\r\n\r\n"), PASS,
		.counts = "settled default", .flow = "state=passed rule=0" });
}

/*
 * What the daemon may understand, or not. It is held; and with one hold hard upon the other there
 * may be no memory for its timer, which is counted.
 */
static void left_to_daemon(const struct conn *c)
{
	static const struct {
		const char *what, *head;
	} heads[] = {
		{ "a head that goes on", "GET / HTTP/1.1\r\nHost: example.com\r\n" },
		{ "no Host", "GET / HTTP/1.1\r\n\r\n" },
		{ "an empty one", "GET / HTTP/1.1\r\nHost:\r\n\r\n" },
		{ "two", "GET / HTTP/1.1\r\nHost: example.com\r\nHost: example.com\r\n\r\n" },
		{ "a space behind its name", "GET / HTTP/1.1\r\nHost : example.com\r\n\r\n" },
		{ "one behind its value", "GET / HTTP/1.1\r\nHost: example.com \r\n\r\n" },
		{ "a folded one", "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n" },
		{ "an empty label", "GET / HTTP/1.1\r\nHost: a..b\r\n\r\n" },
		{ "an address in brackets", "GET / HTTP/1.1\r\nHost: [fd02::2]\r\n\r\n" },
		{ "a port that is none", "GET / HTTP/1.1\r\nHost: example.com:99999\r\n\r\n" },
		{ "lines that end with LF", "GET / HTTP/1.1\nHost: example.com\n\n" },
		{ "an empty line before the head", "\r\nGET / HTTP/1.1\r\nHost: example.com\r\n\r\n" },
		{ "absolute-form", "GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n" },
		{ "asterisk-form", "OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n" },
		{ "CONNECT", "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n" },
		{ "a method in small letters", "get / HTTP/1.1\r\nHost: example.com\r\n\r\n" },
		{ "a method that is not usual", "BREW / HTTP/1.1\r\nHost: example.com\r\n\r\n" },
		{ "HTTP/2.0", "GET / HTTP/2.0\r\nHost: example.com\r\n\r\n" },
		{ "two spaces", "GET  / HTTP/1.1\r\nHost: example.com\r\n\r\n" },
		{ "a target that is not ASCII", "GET /\x80 HTTP/1.1\r\nHost: example.com\r\n\r\n" },
		{ "Transfer-Encoding", "GET / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n" },
		{ "two lengths", "GET / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n" },
		{ "a length that is no number", "GET / HTTP/1.1\r\nHost: example.com\r\nContent-Length: x\r\n\r\n" },
		{ "SSH", "SSH-2.0-OpenSSH\r\n" },
		{ "a byte", "G" },
	};
	struct bytes b;
	size_t i;

	for (i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		begin(c);
		STEPS({ heads[i].what, CLIENT, UP(.data = heads[i].head), REDIRECT, .flow = "state=held held_in=1 -by_name" });
	}
	hello(&b, "two_records", NULL, NULL);
	begin(c);
	STEPS({ "a hello in two records", CLIENT, UP(OF(b)), REDIRECT, .flow = "state=held" });
	hello(&b, "ja4_spec", NULL, NULL);
	begin(c);
	STEPS({ "in two segments", CLIENT, UP(.data = b.at, .len = 200), REDIRECT, .flow = "state=held" },
	      { "whose second is held, too", CLIENT, UP(.data = b.at + 200, .len = b.len - 200, .seq = 201), REDIRECT, .flow = "held_in=2" });
	begin(c);
	STEPS({ "which come in disorder", CLIENT, UP(.data = b.at + 200, .len = b.len - 200, .seq = 201), REDIRECT, .flow = "state=held" },
	      { "and whole in the end", CLIENT, UP(OF(b)), REDIRECT, .flow = "state=held held_in=2" });
	for (i = 1; i < b.len; i += 37) {
		begin(c);
		STEPS({ "cut off anywhere", CLIENT, UP(.data = b.at, .len = i), REDIRECT, .flow = "state=held" });
	}
	begin(c);
	STEPS({ "with urgent data", CLIENT, UP(OF(b), .flags = "PAU", .urg = 5), REDIRECT, .flow = "state=held" });
	begin(c);
	STEPS({ "with a FIN", CLIENT, UP(OF(b), .flags = "PAF"), REDIRECT, .flow = "state=held" });
	begin(c);
	STEPS({ "after what the server has said", SERVER, { .dir = SEAM_DOWN, .flags = "A", .seq = 1, .ack = 1, .wnd = 509, .len = 9,
		.opts = "nop nop ts=910:108" }, REDIRECT },
	      { "it is the daemon's", CLIENT, UP(OF(b)), REDIRECT, .flow = "state=held held_in=2" });
	begin(c);
	STEPS({ "more than the server has room for", CLIENT, UP(OF(b)), DROP, .set = "s.edge=100",
		.flow = "state=monitored" });

	hello(&b, "openssl_tls13", "www.example.com", "w.inspected.com");
	begin_with(c, "", "{ name = \"look\"; sni = \"*.inspected.com\"; action = \"inspect\"; inspectors = \"tls\"; }");
	STEPS({ "what is inspected", CLIENT, UP(OF(b)), REDIRECT, .flow = "state=held" });
	begin_with(c, "", "{ name = \"alpn\"; alpn = \"h3\"; action = \"pass\"; }");
	STEPS({ "what depends on ALPN", CLIENT, UP(OF(b)), REDIRECT, .flow = "state=held" });
	begin_with(c, "decide = \"daemon\";", rules);
	STEPS({ "what the policy says so of", CLIENT, UP(OF(b)), REDIRECT, .flow = "state=held -by_name" });
}

/* A segment that its receiver discards is not what it gets. */
static void discarded(const struct conn *c)
{
	struct packet in, out;
	struct bytes b;
	__u32 ip = 14, tcp = 14 + (c->v6 ? 40 : 20);

	hello(&b, "ja4_spec", NULL, NULL);
	begin(c);
	STEPS({ "acknowledges what was never sent", CLIENT, UP(OF(b), .ack = 2), DROP, .flow = "state=monitored" },
	      { "the next is the daemon's: there is one try", CLIENT, UP(OF(b)), REDIRECT, .flow = "state=held" });
	begin(c);
	STEPS({ "a keepalive probe is none", CLIENT, UP(.seq = 0, .len = 1), PASS, .flow = "state=monitored +by_name" },
	      { "and the hello after it settles", CLIENT, UP(OF(b)), PASS, .counts = "settled rule", .flow = "state=passed" });

	begin(c);
	build(&(struct spec)UP(OF(b)), &in);
	in.data[tcp + 16] ^= 1;
	check(run_packet(CLIENT, &in, &out, 0) == REDIRECT && flow_is("state=held"), "with a wrong checksum it is the daemon's");
	begin(c);
	build(&(struct spec)UP(OF(b)), &in);
	in.data[in.len - 1] ^= 0x80;
	check(run_packet(CLIENT, &in, &out, 0) == REDIRECT && flow_is("state=held"), "and where the last byte is another");
	begin(c);
	build(&(struct spec)UP(OF(b)), &in);
	check(run_packet(CLIENT, &in, &out, 1000) == REDIRECT && flow_is("state=held"),
	      "a packet of several segments whose checksum nobody vouches for");
	if (c->v6)
		return;
	begin(c);
	build(&(struct spec)UP(OF(b)), &in);
	in.data[ip + 10] ^= 1;
	check(run_packet(CLIENT, &in, &out, 0) == REDIRECT && flow_is("state=held"), "or with a wrong checksum of its IP header");
}

static void others(void)
{
	struct bytes b;

	hello(&b, "ja4_spec", NULL, NULL);
	begin(&v4);
	in_force("", "{ name = \"first\"; sni = \"nobody\"; action = \"pass\"; },"
		     "{ name = \"now\"; sni = \"example.com\"; action = \"block\"; with = \"drop\"; }");
	STEPS({ "the policy that is in force as the hello comes", CLIENT, UP(OF(b)), DROP, .counts = "settled rule block_drop",
		.flow = "state=blocked rule=2" });
	begin(&v4);
	in_force("", "{ name = \"now\"; sni = \"nobody\"; action = \"block\"; }");
	in_force("default = \"inspect\";", "");
	STEPS({ "which may want to look", CLIENT, UP(OF(b)), REDIRECT, .flow = "state=held" });

	begin(&v4);
	daemon_gone();
	STEPS({ "it needs no daemon", CLIENT, UP(OF(b)), PASS, .counts = "settled rule", .flow = "state=passed reason=rule" });
	begin_with(&v4, "", "{ name = \"look\"; sni = \"example.com\"; action = \"inspect\"; inspectors = \"tls\"; fail = \"block\"; }");
	daemon_gone();
	STEPS({ "what is not settled gets the fail answer", CLIENT, UP(OF(b)), REDIRECT, .counts = "daemon_gone block_rst=2",
		.flow = "state=blocked reason=daemon_gone",
		.out = &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .flags = "RA", .seq = 1, .ack = 1 + b.len, .ttl = 63,
				       .opts = "nop nop ts=905:110" } });

	fresh(&v4);
	in_force("", rules);
	STEPS({ "SYN from the servers' side", SERVER, { .flags = "S", .wnd = 64240, .opts = LINUX_SYN }, PASS },
	      { "SYN-ACK", CLIENT, { .dir = SEAM_DOWN, .flags = "SA", .ack = 1, .wnd = 65160, .opts = LINUX_SYNACK }, PASS },
	      { "ACK", SERVER, { .flags = "A", .seq = 1, .ack = 1, .wnd = 502, .opts = LINUX_TS }, PASS },
	      { "first payload", SERVER, UP(OF(b)), PASS, .counts = "settled rule", .flow = "state=passed rule=5" });
}

int main(void)
{
	harness_start("names");
	verdicts(&v4);
	verdicts(&v6);
	left_to_daemon(&v4);
	left_to_daemon(&v6);
	discarded(&v4);
	discarded(&v6);
	others();
	return harness_end();
}
