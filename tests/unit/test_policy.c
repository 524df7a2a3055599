// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The policy: what is read and refused, which rule matches, and that the
 * kernel's table and the daemon never disagree.
 *
 *	test_policy [FIXTURES [EXAMPLE]]
 */
#include "header_edits.h"
#include "policy.h"
#include "tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

int cmd_check(int argc, char **argv);

#define PORTS_LINE "client = \"eth0\"; server = \"eth1\";\n"

static struct policy *load(const char *text)
{
	struct policy *p = NULL;

	if (policy_load_text("test", text, strlen(text), &p, stderr))
		return NULL;
	return p;
}

static char *read_file(const char *path, size_t *len)
{
	FILE *f = fopen(path, "r");
	char *text = NULL;
	size_t size;
	FILE *mem;
	int c;

	if (!f)
		return NULL;
	mem = open_memstream(&text, &size);
	while ((c = getc(f)) != EOF)
		putc(c, mem);
	fclose(mem);
	fclose(f);
	if (len)
		*len = size;
	return text;
}

/* ---- reading ---- */

static void test_bad_files(const char *dir)
{
	char pattern[512];
	glob_t files;

	snprintf(pattern, sizeof(pattern), "%s/*.conf", dir);
	if (!ok(!glob(pattern, 0, NULL, &files), "bad policies in %s", dir))
		return;
	for (size_t i = 0; i < files.gl_pathc; i++) {
		const char *path = files.gl_pathv[i], *name = strrchr(path, '/') + 1;
		struct policy *p = NULL;
		char *text, *expected, *said = NULL;
		char err_path[512];
		size_t len = 0, size;
		FILE *err = open_memstream(&said, &size);
		int ret;

		snprintf(err_path, sizeof(err_path), "%.*s.err", (int)(strlen(path) - 5), path);
		text = read_file(path, &len);
		expected = read_file(err_path, NULL);
		ret = policy_load_text(name, text, len, &p, err);
		fclose(err);
		if (!ok(ret == -EINVAL && !p && expected && !strcmp(said, expected), "%s", name))
			diag("returned %d and said:\n%s", ret, said);
		free(text);
		free(expected);
		free(said);
	}
	globfree(&files);
}

static void test_not_text(void)
{
	static const char text[] = PORTS_LINE "\0default = \"block\";\n";
	char name[] = "/tmp/seam-policy-XXXXXX";
	int fd = mkstemp(name);
	struct policy *p = NULL;

	ok(policy_load_text("nul", text, sizeof(text) - 1, &p, NULL) == -EINVAL && !p,
	   "a NUL byte is refused");
	ok(policy_load("/nonexistent/seam.conf", &p, NULL) == -ENOENT && !p, "a missing file");
	ok(policy_load("/tmp", &p, NULL) == -EISDIR && !p, "a directory");
	ok(fd >= 0 && !ftruncate(fd, (1 << 20) + 1) && policy_load(name, &p, NULL) == -EINVAL && !p,
	   "a file that is too large");
	close(fd);
	unlink(name);
}

static void test_bad_regex(void)
{
	static const char text[] =
		PORTS_LINE
		"rules = ( { name = \"a\"; action = \"inspect\"; inspectors = \"pattern\";\n"
		"patterns = (\n"
		"{ name = \"good\"; regex = \"x+\"; action = \"block\"; },\n"
		"{ name = \"open\"; regex = \"(\"; action = \"block\"; },\n"
		"{ name = \"range\"; regex = \"[z-a]\"; action = \"let go\"; } ); } );\n";
	struct policy *p = NULL;
	char *said = NULL;
	size_t size;
	FILE *err = open_memstream(&said, &size);
	int ret = policy_load_text("f", text, strlen(text), &p, err);

	fclose(err);
	if (!ok(ret == -EINVAL && !strncmp(said, "f:5: ", 5) && strstr(said, "\nf:6: ") &&
			strstr(said, "open") && strstr(said, "range") && !strstr(said, "good"),
		"each bad regex is reported at its line"))
		diag("%s", said);
	free(said);
}

static void test_defaults(void)
{
	struct policy *p = load(PORTS_LINE);

	if (!ok(p != NULL, "a policy of interfaces only"))
		return;
	ok(p->client.n == 1 && !strcmp(p->client.v[0], "eth0") && p->server.n == 1 &&
		   !strcmp(p->server.v[0], "eth1"), "interfaces");
	ok(!strcmp(p->instance, "default") && !*p->congestion && p->xdp == POLICY_XDP_AUTO &&
		   p->log == LOG_INFO && !p->fail_block && !policy_fails_closed(p) && p->decide == DECIDE_KERNEL, "defaults of names and choices");
	ok(p->backlog == 32 << 20 && !p->workers && p->max_flows == 262144 && p->max_embryos == 65536 && p->grace_ns == 5000000000ULL &&
		   p->hold.time_ns == 5000000000ULL && p->hold.bytes == 65536 && p->hold.answer == HOLD_FAIL && !p->block_untracked,
	   "defaults of limits");
	ok(p->timeout_ns[FLOW_MONITORED] == 432000000000000ULL &&
		   p->timeout_ns[FLOW_RELAYED] == p->timeout_ns[FLOW_SPLIT] &&
		   p->timeout_ns[FLOW_CLOSING] == 10000000000ULL, "defaults of timeouts");
	ok(p->default_rule.number == 0 && p->default_rule.action == RULE_PASS &&
		   !strcmp(p->default_rule.name, "default"), "the default rule");
	policy_put(p);
}

/* A rule that blocks by address does not match what is in fragments: that has to fail closed as well. */
static void test_fails_closed(void)
{
	static const struct {
		const char *text;
		bool closed;
	} cases[] = {
		{ "rules = ( { name = \"r\"; server_port = 23; action = \"block\"; fail = \"block\"; } );", true },
		{ "fail = \"block\"; rules = ( { name = \"r\"; server_port = 23; action = \"block\"; } );", true },
		{ "rules = ( { name = \"r\"; server_port = 23; action = \"block\"; } );", false },
		{ "fail = \"block\"; rules = ( { name = \"r\"; server_port = 23; action = \"pass\"; } );", false },
		{ "fail = \"block\"; default = \"block\";", true },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[256];
		struct policy *p;

		snprintf(text, sizeof(text), PORTS_LINE "%s\n", cases[i].text);
		p = load(text);
		ok(p && policy_fails_closed(p) == cases[i].closed, "%s: %s", cases[i].text,
		   cases[i].closed ? "fails closed" : "nothing fails closed");
		policy_put(p);
	}
}

static void test_settings(void)
{
	struct policy *p = load(
		"client = [ \"a\", \"b\" ]; server = ( \"c\" ); instance = \"two\"; xdp = \"off\";\n"
		"hold = { time = \"200ms\"; bytes = 1000; answer = \"block\"; };\n"
		"backlog = \"2M\"; workers = 4; max_flows = 10; max_embryos = 20; timeouts = { split = \"2h\"; passed = \"1m\"; };\n"
		"grace = \"0s\"; decide = \"split\"; congestion = \"bbr\"; log = \"debug\"; default = \"inspect\";\n"
		"rules = ( { name = \"r\"; action = \"inspect\"; inspectors = [ \"http\", \"count\" ];\n"
		"  until = { bytes = \"1M\"; time = \"3s\"; verdict = false; }; },\n"
		"  { name = \"s\"; action = \"block\"; with = \"drop\"; fail = \"pass\"; } );\n"
		"fail = \"block\"; untracked = \"block\";\n");
	const struct policy_rule *r;

	if (!ok(p != NULL, "a policy with every setting"))
		return;
	ok(p->client.n == 2 && p->server.n == 1 && !strcmp(p->instance, "two") &&
		   !strcmp(p->congestion, "bbr") && p->xdp == POLICY_XDP_OFF && p->log == LOG_DEBUG && p->decide == DECIDE_SPLIT,
	   "names and choices");
	ok(p->hold.time_ns == 200000000 && p->hold.bytes == 1000 && p->hold.answer == HOLD_BLOCK && p->block_untracked && policy_fails_closed(p) &&
		   p->backlog == 2 << 20 && p->workers == 4 && p->max_flows == 10 && p->max_embryos == 20 &&
		   !p->grace_ns, "limits");
	ok(p->timeout_ns[FLOW_MERGING] == 7200000000000ULL &&
		   p->timeout_ns[FLOW_PASSED] == 60000000000ULL, "timeouts");
	ok(p->default_rule.action == RULE_INSPECT && p->default_rule.fail_block &&
		   p->default_rule.inspectors[0] == &inspector_tls &&
		   p->default_rule.inspectors[1] == &inspector_http &&
		   !p->default_rule.inspectors[2], "default = inspect");
	r = &p->rules[0];
	ok(r->number == 1 && r->line == 5 && r->action == RULE_INSPECT && r->fail_block &&
		   r->block_rst && r->inspectors[0] == &inspector_http &&
		   r->inspectors[1] == &inspector_count && !r->inspectors[2] && !r->setup.patterns,
	   "an inspect rule inherits fail from behind it");
	ok(r->until.bytes == 1 << 20 && r->until.time_ns == 3000000000ULL &&
		   !r->until.messages && !r->until.verdict, "until");
	ok(!policy_rule_later(r) && r->after.bytes == AFTER_NEVER, "without after");
	r = &p->rules[1];
	ok(r->number == 2 && r->action == RULE_BLOCK && !r->block_rst && !r->fail_block,
	   "a block rule");
	policy_put(p);
}

static bool adds(const struct header_edits *e, size_t i, const char *name, const char *value)
{
	return i < e->n_add && !strcmp(e->add[i].name, name) && !strcmp(e->add[i].value, value);
}

static void test_edits(void)
{
	struct policy *p = load(
		PORTS_LINE
		"rules = ( { name = \"a\"; action = \"inspect\"; inspectors = [ \"proxy\", \"headers\" ];\n"
		"  proxy = \"v2\"; until = { message = 1; }; fail = \"block\";\n"
		"  request = { add = ( { name = \"X-A\"; value = \"\"; } ); remove = [ \"Cookie\", \"x-b\" ];\n"
		"    set = ( { name = \"Host\"; value = \"$server\"; }, { name = \"X-A\"; value = \"b\"; } ); };\n"
		"  response = { remove = \"Server\"; }; },\n"
		"  { name = \"b\"; action = \"inspect\"; inspectors = \"headers\"; until = { verdict = true; };\n"
		"  response = { remove = \"Server\"; }; },\n"
		"  { name = \"c\"; action = \"inspect\"; inspectors = \"proxy\"; proxy = \"v1\"; } );\n");
	const struct inspect_setup *s;
	const struct header_edits *e;

	if (!ok(p != NULL, "a policy with edits"))
		return;
	s = &p->rules[0].setup;
	e = s->request;
	ok(s->proxy == PROXY_V2 && s->fail_block && p->rules[1].setup.proxy == PROXY_NONE &&
		   !p->rules[1].setup.fail_block && p->rules[2].setup.proxy == PROXY_V1,
	   "proxy, and what inspectors know of fail");
	ok(e && e->n_remove == 4 && !strcmp(e->remove[0], "Cookie") && !strcmp(e->remove[1], "x-b") &&
		   !strcmp(e->remove[2], "Host") && !strcmp(e->remove[3], "X-A"),
	   "what is set is removed as well");
	ok(e && e->n_add == 3 && adds(e, 0, "X-A", "") && adds(e, 1, "Host", "$server") &&
		   adds(e, 2, "X-A", "b"), "fields are added in their order");
	ok(s->response && s->response->n_remove == 1 && !s->response->n_add &&
		   !p->rules[1].setup.request && p->rules[1].setup.response,
	   "responses by themselves");
	policy_put(p);
}

/* 64 KiB of fields, or more names than a line can be compared with. */
static void test_too_many_edits(void)
{
	struct policy *p = NULL;
	char *text, *said = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size), *err = open_memstream(&said, &size);

	fprintf(f, PORTS_LINE "rules = ( { name = \"a\"; action = \"inspect\"; inspectors = \"headers\";"
		   " until = { message = 1; };\nrequest = { add = ( { name = \"A\"; value = \"%040000d\"; } ); };\n"
		   "response = { remove = ( ", 0);
	for (int i = 0; i < 65; i++)
		fprintf(f, "%s\"a%d\"", i ? ", " : "", i);
	fprintf(f, " ); }; } );\n");
	fclose(f);
	ok(policy_load_text("f", text, strlen(text), &p, err) == -EINVAL && !p, "too many edits");
	fclose(err);
	ok(strstr(said, "f:3: request: the fields are too long; expected at most 32768 bytes together\n") &&
		   strstr(said, "f:4: remove: too many fields; expected at most 64\n"),
	   "... and where");
	free(text);
	free(said);
}

static void test_after(void)
{
	struct policy *p = load(
		PORTS_LINE "rules = (\n"
		"{ name = \"all\"; server_port = 80; action = \"inspect\"; inspectors = \"http\";\n"
		"  after = { bytes = \"10M\"; time = \"30s\"; request = 3; again = true; }; },\n"
		"{ name = \"once\"; server_port = 25; action = \"inspect\"; inspectors = \"tls\"; after = { bytes = 0; }; },\n"
		"{ name = \"starttls\"; server_port = 587; action = \"inspect\"; inspectors = \"tls\"; after = { request = 3; }; },\n"
		"{ name = \"named\"; host = \"a\"; action = \"inspect\"; inspectors = \"http\"; after = { request = 2; }; } );\n");
	const struct policy_after *a;
	struct seam_rule lines[8];

	if (!ok(p != NULL, "a policy with after"))
		return;
	a = &p->rules[0].after;
	ok(a->bytes == 10 << 20 && a->time_ns == 30000000000ULL && a->request == 3 && a->again, "all of after");
	a = &p->rules[1].after;
	ok(!a->bytes && !a->time_ns && !a->request && !a->again && policy_rule_later(&p->rules[1]), "at once");
	ok(!policy_rule_later(&p->default_rule), "the default is not later");
	ok(policy_compile(p, lines, 8, 1) == 5, "a line for each rule");
	ok(lines[0].flags == (RULE_F_BLOCK_RST | RULE_F_AFTER | RULE_F_AGAIN) &&
		   lines[0].after.bytes == 10 << 20 && lines[0].after.ms == 30000 && lines[0].after.request == 3,
	   "the kernel's line: whichever comes first, and again");
	ok(lines[1].flags == (RULE_F_BLOCK_RST | RULE_F_AFTER | RULE_F_AT_ONCE) && !lines[1].after.bytes &&
		   !lines[1].after.ms && !lines[1].after.request, "at once");
	ok(lines[3].action == RULE_ASK && lines[3].after.request == 2, "what the first payload decides");
	ok(!(lines[4].flags & RULE_F_AFTER) && !lines[4].after.bytes, "the default");
	policy_put(p);
}

static void test_wires(void)
{
	struct policy *p = load("client = [ \"a\", \"b\" ]; server = [ \"c\", \"d\" ]; mode = \"wire\"; mirror_link = true; xdp = \"off\"; bypass = true;\n");
	struct policy *q = load(PORTS_LINE);
	const char *names[POLICY_FIXED_MAX];
	size_t n;

	if (!ok(p && q, "policies with and without wires"))
		return;
	ok(p->mode == MODE_WIRE && p->mirror_link && !strcmp(policy_mode_name(p->mode), "wire"), "wires");
	ok(q->mode == MODE_ROUTE && !q->mirror_link && !strcmp(policy_mode_name(q->mode), "route"), "none");
	n = policy_fixed(p, q, names);
	ok(n == 6 && !strcmp(names[2], "mode") && !strcmp(names[3], "mirror_link"), "a reload changes neither");
	ok(p->bypass && !q->bypass && !strcmp(names[5], "bypass"), "nor whether passed flows bypass the stack");
	policy_put(p);
	policy_put(q);
}

static void test_relay(void)
{
	struct policy *p = load(
		PORTS_LINE
		"rules = ( { name = \"own\"; action = \"inspect\"; inspectors = \"tls\"; relay = \"userspace\"; },\n"
		"  { name = \"inherits\"; action = \"inspect\"; inspectors = \"tls\"; } );\n"
		"relay = \"kernel\";\n");
	struct policy *q = load(PORTS_LINE "default = \"inspect\";\n");

	if (!ok(p && q, "policies with and without a relay"))
		return;
	ok(p->relay == POLICY_RELAY_KERNEL && p->default_rule.relay == POLICY_RELAY_KERNEL &&
		   p->rules[0].relay == POLICY_RELAY_USERSPACE &&
		   p->rules[1].relay == POLICY_RELAY_KERNEL,
	   "a rule's own relay, and one from behind it");
	ok(q->relay == POLICY_RELAY_AUTO && q->default_rule.relay == POLICY_RELAY_AUTO,
	   "the relay is chosen where nothing is said");
	policy_put(p);
	policy_put(q);
}

static void test_references(void)
{
	struct policy *p = load(PORTS_LINE);
	struct policy *q = policy_get(p);

	policy_put(p);
	ok(q == p && q->refs == 1 && !strcmp(q->path, "test"), "a reference keeps a policy");
	policy_put(q);
	policy_put(NULL);
}

/* ---- matching ---- */

struct flow_case {
	const char *what;
	const char *conditions;		/* of a rule */
	struct policy_facts facts;	/* rec is filled in from the next three */
	const char *sni, *alpn, *host;
	enum policy_match expect;
};

#define TLS .facts = { .tls_known = true, .tls = CLASSIFY_YES }
#define HTTP .facts = { .http_known = true, .http = CLASSIFY_YES }
#define OTHER .facts = { .tls_known = true, .tls = CLASSIFY_NO, .http_known = true, .http = CLASSIFY_NO }
#define NOT_TLS .facts = { .tls_known = true, .tls = CLASSIFY_NO }
#define PARTIAL .facts = { .tls_known = true, .tls = CLASSIFY_MORE, .http_known = true }
#define GREETED .facts = { .server_first_known = true, .server_first = true }
#define CLIENT_FIRST .facts = { .server_first_known = true }

static const struct flow_case flow_cases[] = {
	{ "sni", "sni = \"www.a.example\";", TLS, .sni = "www.a.example", .expect = MATCH_YES },
	{ "sni, other case", "sni = \"WWW.A.example.\";", TLS, .sni = "www.a.example", .expect = MATCH_YES },
	{ "sni, another name", "sni = \"www.a.example\";", TLS, .sni = "a.example", .expect = MATCH_NO },
	{ "sni, longer name", "sni = \"a.example\";", TLS, .sni = "a.example.org", .expect = MATCH_NO },
	{ "suffix", "sni = \"*.a.example\";", TLS, .sni = "www.a.example", .expect = MATCH_YES },
	{ "suffix, deep", "sni = \"*.a.example\";", TLS, .sni = "x.y.z.a.example", .expect = MATCH_YES },
	{ "suffix itself", "sni = \"*.a.example\";", TLS, .sni = "a.example", .expect = MATCH_NO },
	{ "suffix, empty label", "sni = \"*.a.example\";", TLS, .sni = ".a.example", .expect = MATCH_NO },
	{ "suffix without its dot", "sni = \"*.a.example\";", TLS, .sni = "bada.example", .expect = MATCH_NO },
	{ "second of a list", "sni = [ \"b\", \"*.c\" ];", TLS, .sni = "d.c", .expect = MATCH_YES },
	{ "TLS without sni", "sni = \"*.a.example\";", TLS, .sni = "", .expect = MATCH_NO },
	{ "TLS without record", "sni = \"*.a.example\";", TLS, .expect = MATCH_NO },
	{ "sni, part of a hello", "sni = \"a\";", PARTIAL, .sni = "a", .expect = MATCH_UNKNOWN },
	{ "sni, HTTP", "sni = \"a\";", HTTP, .host = "a", .expect = MATCH_NO },
	{ "sni, not TLS", "sni = \"a\";", NOT_TLS, .expect = MATCH_NO },
	{ "sni, server first", "sni = \"a\";", GREETED, .expect = MATCH_NO },
	{ "sni, client first", "sni = \"a\";", CLIENT_FIRST, .expect = MATCH_UNKNOWN },
	{ "alpn", "alpn = \"h2\";", TLS, .alpn = "h2,http/1.1", .expect = MATCH_YES },
	{ "alpn, last", "alpn = \"http/1.1\";", TLS, .alpn = "h2,http/1.1", .expect = MATCH_YES },
	{ "alpn, part of one", "alpn = \"http\";", TLS, .alpn = "h2,http/1.1", .expect = MATCH_NO },
	{ "alpn, other case", "alpn = \"H2\";", TLS, .alpn = "h2", .expect = MATCH_NO },
	{ "alpn, none offered", "alpn = \"h2\";", TLS, .alpn = "", .expect = MATCH_NO },
	{ "host", "host = \"*.a.example\";", HTTP, .host = "www.a.example", .expect = MATCH_YES },
	{ "host, trailing dot", "host = \"www.a.example\";", HTTP, .host = "www.a.example.", .expect = MATCH_YES },
	{ "host, address", "host = \"[2001:DB8::1]\";", HTTP, .host = "2001:db8:0::1", .expect = MATCH_YES },
	{ "host, another address", "host = \"[2001:DB8::1]\";", HTTP, .host = "2001:db8::2", .expect = MATCH_NO },
	{ "host, none", "host = \"a\";", HTTP, .host = "", .expect = MATCH_NO },
	{ "host, TLS", "host = \"a\";", TLS, .sni = "a", .expect = MATCH_NO },
	{ "host, not TLS", "host = \"a\";", NOT_TLS, .expect = MATCH_UNKNOWN },
	{ "unrecognised", "unrecognised = true;", OTHER, .expect = MATCH_YES },
	{ "unrecognised, TLS", "unrecognised = true;", TLS, .expect = MATCH_NO },
	{ "unrecognised, not TLS", "unrecognised = true;", NOT_TLS, .expect = MATCH_UNKNOWN },
	{ "unrecognised, server first", "unrecognised = true;", GREETED, .expect = MATCH_YES },
	{ "recognised, HTTP", "unrecognised = false;", HTTP, .expect = MATCH_YES },
	{ "recognised, neither", "unrecognised = false;", OTHER, .expect = MATCH_NO },
	{ "server_first", "server_first = true;", GREETED, .expect = MATCH_YES },
	{ "server_first, client was", "server_first = true;", CLIENT_FIRST, .expect = MATCH_NO },
	{ "server_first = false", "server_first = false;", CLIENT_FIRST, .expect = MATCH_YES },
	{ "server_first, not known", "server_first = true;", TLS, .expect = MATCH_UNKNOWN },
	{ "false beats unknown", "server_first = true; sni = \"a\";", TLS, .sni = "b", .expect = MATCH_NO },
	{ "unknown beats true", "server_first = true; sni = \"a\";", TLS, .sni = "a", .expect = MATCH_UNKNOWN },
	{ "no condition", "", PARTIAL, .expect = MATCH_YES },
};

static void test_flow_cases(void)
{
	for (size_t i = 0; i < sizeof(flow_cases) / sizeof(flow_cases[0]); i++) {
		const struct flow_case *c = &flow_cases[i];
		struct policy_facts facts = c->facts;
		static const char *const words[] = { "no", "yes", "unknown" };
		const struct policy_rule *r;
		struct flow_record rec = { 0 };
		enum policy_match got;
		struct policy *p;
		bool need_more;
		char text[512];

		snprintf(text, sizeof(text),
			 PORTS_LINE "rules = ( { name = \"r\"; action = \"block\"; %s } );\n",
			 c->conditions);
		p = load(text);
		if (!p) {
			ok(false, "%s: load", c->what);
			continue;
		}
		if (c->sni || c->alpn || c->host)
			facts.rec = &rec;
		snprintf(rec.tls.sni, sizeof(rec.tls.sni), "%s", c->sni ? c->sni : "");
		snprintf(rec.tls.alpn, sizeof(rec.tls.alpn), "%s", c->alpn ? c->alpn : "");
		snprintf(rec.http.host, sizeof(rec.http.host), "%s", c->host ? c->host : "");
		got = policy_rule_match(&p->rules[0], &facts, NULL);
		r = policy_decide(p, &facts, &need_more);
		ok(got == c->expect && need_more == (c->expect == MATCH_UNKNOWN) &&
			   r == (c->expect == MATCH_YES ? &p->rules[0] :
				 c->expect == MATCH_NO	? &p->default_rule :
							  NULL),
		   "%s: %s", c->what, words[c->expect]);
		policy_put(p);
	}
}

static void set_address(__u32 addr[4], const char *text)
{
	addr[0] = addr[1] = 0;
	addr[2] = htonl(0xffff);
	if (inet_pton(AF_INET, text, &addr[3]) != 1)
		inet_pton(AF_INET6, text, addr);
}

static void test_addresses(void)
{
	static const struct {
		const char *prefix, *address;
		bool match;
	} cases[] = {
		{ "10.0.0.0/8", "10.255.255.255", true },
		{ "10.0.0.0/8", "11.0.0.0", false },
		{ "192.0.2.7", "192.0.2.7", true },
		{ "192.0.2.7", "192.0.2.6", false },
		{ "192.0.2.128/25", "192.0.2.127", false },
		{ "192.0.2.128/25", "192.0.2.128", true },
		{ "0.0.0.0/0", "203.0.113.1", true },
		{ "0.0.0.0/0", "2001:db8::1", false },
		{ "2001:db8::/33", "2001:db8:7fff::1", true },
		{ "2001:db8::/33", "2001:db8:8000::1", false },
		{ "2001:db8::1", "2001:db8::1", true },
		{ "2000::/3", "192.0.2.1", false },
		{ "::/90", "192.0.2.1", false },
		{ "::ffff:192.0.2.0/120", "192.0.2.1", true },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct policy_facts facts = { 0 };
		struct policy *p;
		char text[256];

		snprintf(text, sizeof(text), PORTS_LINE "rules = ( { name = \"r\"; action = "
			 "\"block\"; server = \"%s\"; } );\n", cases[i].prefix);
		p = load(text);
		set_address(facts.key.server, cases[i].address);
		ok(p && policy_rule_match(&p->rules[0], &facts, NULL) ==
				(cases[i].match ? MATCH_YES : MATCH_NO),
		   "%s %s %s", cases[i].address, cases[i].match ? "in" : "not in", cases[i].prefix);
		policy_put(p);
	}
}

/* ---- the kernel's table ---- */

/* As the BPF side reads a line. */
static bool line_matches(const struct seam_rule *line, const struct flow_key *key)
{
	__u16 cp = ntohs(key->client_port), sp = ntohs(key->server_port);

	if (line->flags & RULE_F_LAST)
		return true;
	for (int i = 0; i < 4; i++) {
		if ((key->client[i] & line->client_mask[i]) != line->client[i] ||
		    (key->server[i] & line->server_mask[i]) != line->server[i])
			return false;
	}
	return cp >= line->client_port_lo && cp <= line->client_port_hi &&
	       sp >= line->server_port_lo && sp <= line->server_port_hi;
}

static void test_compile(void)
{
	struct seam_rule lines[16];
	struct policy *p = load(
		PORTS_LINE
		"fail = \"block\"; default = \"block\";\n"
		"rules = (\n"
		"{ name = \"a\"; client = [ \"10.0.0.0/8\", \"2001:db8::/32\" ]; fail = \"pass\";\n"
		"  server_port = ( 80, \"8000-8099\" ); action = \"block\"; with = \"drop\"; },\n"
		"{ name = \"b\"; sni = \"x.example\"; action = \"pass\"; },\n"
		"{ name = \"c\"; client_port = 1024; action = \"inspect\"; inspectors = \"tls\"; } );\n");
	int n;

	if (!ok(p != NULL, "a policy to compile"))
		return;
	memset(lines, 0xff, sizeof(lines));
	n = policy_compile(p, lines, 16, 77);
	ok(n == 7, "two prefixes by two ports, two rules, the default: %d lines", n);
	ok(lines[0].rule == 1 && lines[3].rule == 1 && lines[4].rule == 2 && lines[5].rule == 3 &&
		   lines[6].rule == 0, "lines are in the order of the rules");
	ok(lines[1].server_port_lo == 8000 && lines[1].server_port_hi == 8099 &&
		   lines[1].client_port_lo == 0 && lines[1].client_port_hi == 65535 &&
		   lines[1].client[3] == htonl(0x0a000000) && lines[1].client[2] == htonl(0xffff) &&
		   lines[1].client_mask[3] == htonl(0xff000000) &&
		   lines[1].client_mask[0] == 0xffffffff && !lines[1].server_mask[0],
	   "prefixes and ports of a line");
	ok(lines[0].action == RULE_BLOCK && !lines[0].flags && lines[0].policy == 77,
	   "with = drop, fail = pass, generation");
	ok(lines[4].action == RULE_ASK && lines[4].flags == (RULE_F_FAIL_BLOCK | RULE_F_BLOCK_RST | RULE_F_PASSES),
	   "a condition that the SYN does not decide asks");
	ok(lines[5].action == RULE_INSPECT && lines[6].action == RULE_BLOCK &&
		   lines[6].flags == (RULE_F_LAST | RULE_F_FAIL_BLOCK | RULE_F_BLOCK_RST),
	   "the last line is the default");
	ok(lines[4].by[PROTO_TLS] == BY_NAME && lines[4].by[PROTO_HTTP] == BY_NONE && !lines[5].by[0] &&
		   !lines[6].by[0] && !lines[6].by[1], "what asks says what by name");
	ok(policy_compile(p, lines, 7, 0) == 7 && policy_compile(p, lines, 6, 0) == -E2BIG &&
		   policy_compile(p, lines, 3, 0) == -E2BIG && policy_compile(p, lines, 0, 0) == -E2BIG,
	   "a table that is too small");
	policy_put(p);
}

/* What the kernel makes of conditions on the first payload. */
static void test_by_payload(void)
{
	static const char rules[] =
		"rules = (\n"
		"{ name = \"a\"; sni = \"x\"; alpn = \"h2\"; action = \"pass\"; },\n"
		"{ name = \"b\"; alpn = \"h2\"; action = \"block\"; },\n"
		"{ name = \"c\"; sni = \"x\"; host = \"x\"; action = \"block\"; },\n"
		"{ name = \"d\"; host = \"x\"; action = \"inspect\"; inspectors = \"http\"; },\n"
		"{ name = \"e\"; unrecognised = true; action = \"block\"; },\n"
		"{ name = \"f\"; unrecognised = false; action = \"block\"; },\n"
		"{ name = \"g\"; server_first = true; action = \"block\"; },\n"
		"{ name = \"h\"; server_first = false; action = \"pass\"; } );\n";
	static const struct {
		__u8 tls, http, flags;
	} want[] = {
		{ BY_NAME, BY_NONE, 0 }, { BY_ALL, BY_NONE, 0 }, { BY_NONE, BY_NONE, RULE_F_BLOCKS },
		{ BY_NONE, BY_NAME, 0 }, { BY_NONE, BY_NONE, RULE_F_BLOCKS }, { BY_ALL, BY_ALL, RULE_F_BLOCKS },
		{ BY_NONE, BY_NONE, RULE_F_BLOCKS }, { BY_ALL, BY_ALL, RULE_F_PASSES },
	};
	struct seam_rule lines[16];
	char text[1024];
	struct policy *p;

	snprintf(text, sizeof(text), PORTS_LINE "%s", rules);
	p = load(text);
	if (!ok(p && policy_compile(p, lines, 16, 1) == 9, "rules that ask"))
		return;
	for (size_t i = 0; i < 8; i++)
		ok(lines[i].by[PROTO_TLS] == want[i].tls && lines[i].by[PROTO_HTTP] == want[i].http &&
			   (lines[i].flags & (RULE_F_PASSES | RULE_F_BLOCKS)) == want[i].flags, "rule %zu", i + 1);
	policy_put(p);
	snprintf(text, sizeof(text), PORTS_LINE "decide = \"daemon\"; %s", rules);
	p = load(text);
	if (!ok(p && policy_compile(p, lines, 16, 1) == 9, "the daemon is to decide"))
		return;
	for (size_t i = 0; i < 8; i++)
		if (lines[i].by[0] || lines[i].by[1] || (lines[i].flags & (RULE_F_PASSES | RULE_F_BLOCKS)))
			ok(false, "rule %zu leaves it to the daemon", i + 1);
	policy_put(p);
}

static const struct policy_name *named(const struct policy_name *all, int n, enum rule_proto proto, const char *backwards)
{
	for (int i = 0; i < n; i++) {
		if (all[i].name.proto == proto && !strcmp(all[i].name.text, backwards))
			return &all[i];
	}
	return NULL;
}

static void test_names(void)
{
	struct policy *p = load(
		PORTS_LINE
		"rules = (\n"
		"{ name = \"a\"; sni = [ \"b.x\", \"*.x\" ]; action = \"pass\"; },\n"
		"{ name = \"b\"; host = [ \"b.x\", \"[2001:db8::1]\" ]; action = \"pass\"; },\n"
		"{ name = \"c\"; sni = [ \"*.b.x\", \"b.x\" ]; action = \"block\"; },\n"
		"{ name = \"d\"; sni = \"bb.x\"; action = \"block\"; } );\n");
	const struct policy_name *e;
	struct policy_name *all;
	int n;

	if (!ok(p != NULL, "a policy with names"))
		return;
	n = policy_names(p, &all);
	ok(n == 5, "each name once, and no address: %d", n);
	e = named(all, n, PROTO_TLS, "x.");
	ok(e && e->rules.bits[0] == 1 << 1, "an ending");
	e = named(all, n, PROTO_TLS, "x.b");
	ok(e && e->rules.bits[0] == (1 << 1 | 1 << 3), "a name that two rules list");
	e = named(all, n, PROTO_TLS, "x.b.");
	ok(e && e->rules.bits[0] == (1 << 1 | 1 << 3), "an ending of an ending");
	e = named(all, n, PROTO_TLS, "x.bb");
	ok(e && e->rules.bits[0] == (1 << 1 | 1 << 4), "a name with an ending that is listed");
	e = named(all, n, PROTO_HTTP, "x.b");
	ok(e && e->rules.bits[0] == 1 << 2, "hosts are others");
	free(all);
	policy_put(p);
}

/* ---- agreement of kernel and daemon, at random ---- */

static unsigned int pick(unsigned int n)
{
	return (unsigned int)random() % n;
}

static const char *const prefixes[] = {
	"10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "0.0.0.0/0", "2001:db8::/32", "2001:db8::1",
	"2000::/3",
};
static const char *const addresses[] = {
	"10.1.2.3", "10.1.9.9", "10.9.9.9", "192.0.2.1", "2001:db8::1", "2001:db8::2", "2a00::1",
};
static const char *const port_texts[] = { "80", "443", "\"80-90\"", "\"1-1023\"", "\"1024-65535\"" };
static const __u16 port_numbers[] = { 22, 80, 85, 443, 1024, 50000, 65535 };
static const char *const names[] = { "a.example", "www.a.example", "b.example", "" };
static const char *const l7[] = {
	"sni = \"*.a.example\";", "sni = [ \"a.example\", \"b.example\" ];", "alpn = \"h2\";",
	"host = \"a.example\";", "unrecognised = true;", "unrecognised = false;",
	"server_first = true;", "server_first = false;",
};
static const char *const ends[] = {
	"action = \"pass\";", "action = \"block\";", "action = \"inspect\"; inspectors = \"tls\";",
};

#define PICK(array) (array)[pick(sizeof(array) / sizeof((array)[0]))]

static struct policy *random_policy(void)
{
	unsigned int rules = pick(8);
	struct policy *p;
	char *text;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	fprintf(f, PORTS_LINE "default = \"%s\"; rules = (",
		(const char *[]){ "pass", "inspect", "block" }[pick(3)]);
	for (unsigned int i = 0; i < rules; i++) {
		fprintf(f, "%s\n{ name = \"r%u\"; ", i ? "," : "", i);
		if (!pick(3))
			fprintf(f, "client = [ \"%s\", \"%s\" ]; ", PICK(prefixes), PICK(prefixes));
		if (!pick(3))
			fprintf(f, "server = \"%s\"; ", PICK(prefixes));
		if (!pick(4))
			fprintf(f, "client_port = %s; ", PICK(port_texts));
		if (!pick(2))
			fprintf(f, "server_port = ( %s, %s ); ", PICK(port_texts), PICK(port_texts));
		if (!pick(3))
			fprintf(f, "%s ", PICK(l7));
		fprintf(f, "%s }", PICK(ends));
	}
	fprintf(f, " );\n");
	fclose(f);
	p = load(text);
	if (!p)
		diag("%s", text);
	free(text);
	return p;
}

static void random_key(struct flow_key *key)
{
	set_address(key->client, PICK(addresses));
	set_address(key->server, PICK(addresses));
	key->client_port = htons(PICK(port_numbers));
	key->server_port = htons(PICK(port_numbers));
}

/* Everything about a flow, without contradictions. */
static void random_facts(struct policy_facts *f, struct flow_record *rec)
{
	memset(rec, 0, sizeof(*rec));
	f->rec = rec;
	f->tls_known = f->http_known = f->server_first_known = true;
	f->tls = f->http = CLASSIFY_NO;
	f->server_first = false;
	switch (pick(4)) {
	case 0:
		f->tls = CLASSIFY_YES;
		strcpy(rec->tls.sni, PICK(names));
		strcpy(rec->tls.alpn, pick(2) ? "h2,http/1.1" : "");
		break;
	case 1:
		f->http = CLASSIFY_YES;
		strcpy(rec->http.host, PICK(names));
		break;
	case 2:
		f->server_first = true;
		break;
	}
}

/* The same flow earlier on: some of it is not known yet. */
static void forget_some(struct policy_facts *f)
{
	if (pick(2))
		f->tls_known = false;
	else if (pick(2))
		f->tls = CLASSIFY_MORE;
	if (pick(2))
		f->http_known = false;
	else if (pick(2))
		f->http = CLASSIFY_MORE;
	if (pick(2))
		f->server_first_known = false;
}

static void test_agreement(void)
{
	static struct seam_rule lines[SEAM_RULES_MAX];
	unsigned int seen[4] = { 0 }, wrong_final = 0, wrong_ask = 0, wrong_early = 0, undecided = 0;
	unsigned int early = 0;

	srandom(1);
	for (int round = 0; round < 2000; round++) {
		struct policy *p = random_policy();
		int n = p ? policy_compile(p, lines, SEAM_RULES_MAX, 1) : 0;

		for (int i = 0; i < 50 && n > 0; i++) {
			const struct seam_rule *line = lines;
			const struct policy_rule *all, *none, *some;
			struct policy_facts f = { 0 };
			struct flow_record rec;
			bool need_more;

			random_key(&f.key);
			while (!line_matches(line, &f.key))
				line++;
			none = policy_decide(p, &f, &need_more);
			random_facts(&f, &rec);
			all = policy_decide(p, &f, &need_more);
			undecided += !all || need_more;
			forget_some(&f);
			some = policy_decide(p, &f, &need_more);
			if (!all)
				continue;
			seen[line->action]++;
			if (line->action == RULE_ASK)
				wrong_ask += none != NULL || (all->number && all->number < line->rule);
			else
				wrong_final += all->number != line->rule || all != none ||
					       all != some || all->action != line->action;
			early += line->action == RULE_ASK && some;
			wrong_early += (some && some != all) || !some != need_more;
		}
		policy_put(p);
	}
	ok(seen[RULE_PASS] > 1000 && seen[RULE_INSPECT] > 1000 && seen[RULE_BLOCK] > 1000 &&
		   seen[RULE_ASK] > 1000, "random flows: %u pass, %u inspect, %u block, %u ask",
	   seen[RULE_PASS], seen[RULE_INSPECT], seen[RULE_BLOCK], seen[RULE_ASK]);
	ok(!wrong_final, "what a line of the kernel decides, the policy decides: %u differ",
	   wrong_final);
	ok(!wrong_ask, "a line that asks is needed, and no rule before it decides: %u differ",
	   wrong_ask);
	ok(!undecided, "with all facts every flow is decided: %u are not", undecided);
	ok(early > 1000 && !wrong_early, "of %u early decisions none changes later: %u do", early,
	   wrong_early);
}

/* ---- seam check ---- */

/* Runs cmd_check() in a child; returns its exit code and what it wrote. */
static int run_check(char *out, size_t size, const char *const argv[])
{
	char *args[8] = { "seam check" };
	int argc = 1, status = -1;
	size_t n;
	pid_t pid;
	FILE *f = tmpfile();

	for (; argv[argc - 1]; argc++)
		args[argc] = (char *)argv[argc - 1];
	fflush(NULL);
	pid = fork();
	if (!pid) {
		dup2(fileno(f), 1);
		dup2(fileno(f), 2);
		status = cmd_check(argc, args);
		fflush(NULL);
		_exit(status);
	}
	waitpid(pid, &status, 0);
	rewind(f);
	n = fread(out, 1, size - 1, f);
	out[n] = '\0';
	fclose(f);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define RUN(...) run_check(out, sizeof(out), (const char *const[]){ __VA_ARGS__, NULL })

static void test_check(const char *fixtures, const char *example)
{
	char out[8192], expected[1024], bad[512];

	snprintf(expected, sizeof(expected), "%s: ok, 9 rules, 15 kernel lines\n", example);
	ok(RUN(example) == 0 && !strcmp(out, expected), "seam check of the example");
	snprintf(expected, sizeof(expected),
		 "%s: ok, 9 rules, 15 kernel lines\n"
		 "rule 1 \"backup\" (%s:49): not matched because server_port is 443\n"
		 "rule 2 \"telnet\" (%s:57): not matched because server_port is 443\n"
		 "rule 3 \"private\" (%s:63): matched\n"
		 "decision: pass, by rule 3 \"private\"\n"
		 "decided: the first payload is needed, for rule 3 \"private\"; in the kernel, if it comes in one packet, else by the daemon\n",
		 example, example, example, example);
	if (!ok(RUN("--explain", "sni=www.bank.example port=443", example) == 0 &&
			!strcmp(out, expected), "--explain with sni"))
		diag("%s", out);
	ok(RUN("-e", "port=23", example) == 0 &&
		   strstr(out, "decision: block, by rule 2 \"telnet\"\n"
			       "decided: in the kernel, at the SYN\n"), "--explain at the SYN");
	ok(RUN("-e", "port=80", example) == 0 && strstr(out, "rule 3 \"private\"") &&
		   strstr(out, ": needs sni\ndecision: none yet\n"), "--explain needs sni");
	ok(RUN("-e", "port=443 sni=foo.com", example) == 0 && strstr(out, "rule 5 \"tls\"") &&
		   strstr(out, ": needs alpn\ndecision: none yet\n"), "--explain needs alpn (it took none for offered)");
	ok(RUN("-e", "port=443 sni=foo.com alpn=", example) == 0 && strstr(out, ": not matched because there is no alpn\n") &&
		   strstr(out, "decision: pass, the default\n"), "--explain of a client that offers none");
	ok(RUN("-e", "client=10.1.0.1 port=873", example) == 0 && strstr(out, ": needs server\n") &&
		   strstr(out, "decided: cannot be told without server\n"), "--explain needs server");
	ok(RUN("-e", "server=198.51.100.82 port=8443 client=192.0.2.1 sni=a", example) == 0 &&
		   strstr(out, "decision: inspect, by rule 8 \"api\"\nedits: a PROXY protocol header, "
			       "v2, in front of what the client sends\ndecided: "), "--explain proxy");
	ok(RUN("-e", "server=198.51.100.81 port=80 client=192.0.2.1 host=a", example) == 0 &&
		   strstr(out, "\nedits: requests without X-Internal\n") &&
		   strstr(out, "\nedits: requests with X-Forwarded-For: $client\n") &&
		   strstr(out, "\nedits: responses without X-Powered-By\n"), "--explain headers");
	ok(RUN("-j", "-e", "server=198.51.100.81 port=80 client=192.0.2.1 host=a", example) == 0 &&
		   strstr(out, "\"name\": \"X-Forwarded-For\"") && strstr(out, "\"value\": \"$client\""),
	   "--json headers");
	ok(RUN("-j", "-e", "port=25 server_first=yes", example) == 0 &&
		   strstr(out, "\"decided_at\": \"first_payload\"") && strstr(out, "\"decided_by\": \"daemon\"") &&
		   strstr(out, "\"ok\": true") &&
		   strstr(out, "\"action\": \"pass\"") && strstr(out, "\"rule\": 0"), "--json");
	snprintf(bad, sizeof(bad), "%s/wrong-type.conf", fixtures);
	ok(RUN(bad) == 1 && strstr(out, "wrong-type.conf:2: "), "exit code 1 for errors");
	ok(RUN("-j", bad) == 1 && strstr(out, "\"ok\": false") && strstr(out, "wrong-type.conf:9: "),
	   "errors as JSON");
	snprintf(bad, sizeof(bad), "%s/after.txt", fixtures);
	ok(RUN("-e", "port=80", bad) == 0 &&
		   strstr(out, "decision: inspect, by rule 1 \"late\"\n"
			       "inspected: after 1048576 bytes or after 2000 ms or at the client's request 3, and again after each merge\n"),
	   "--explain tells when");
	ok(RUN("-e", "port=25", bad) == 0 && strstr(out, "inspected: as soon as the handshake is complete\n"),
	   "--explain tells: at once");
	ok(RUN("-j", "-e", "port=80", bad) == 0 && strstr(out, "\"time\": 2.0") && strstr(out, "\"request\": 3"),
	   "and so does --json");
	{
		char odd[] = "/tmp/seam-caf\xe9-XXXXXX";
		int fd = mkstemp(odd);
		static const char text[] = PORTS_LINE "rules = ( { name = \"a\"; action = \"block\"; sni = \"b\xfc" "cher.example\"; } );\n";

		ok(fd >= 0 && write(fd, text, sizeof(text) - 1) > 0 && RUN("-j", odd) == 1 &&
			   strstr(out, "seam-caf?-") && strstr(out, "b?cher.example"),
		   "errors and a path that are not UTF-8, as JSON");
		close(fd);
		unlink(odd);
	}
	ok(RUN("/nonexistent") == 1, "exit code 1 for no file");
	ok(RUN("--nonsense", example) == 2 && RUN("-j") == 2 && RUN(example, example) == 2,
	   "exit code 2 for usage");
	ok(RUN("-e", "sni=a host=b", example) == 2 && RUN("-e", "port=http", example) == 2 &&
		   RUN("-e", "colour=blue", example) == 2 && RUN("-e", "client=10.0.0.0/8", example) == 2 &&
		   RUN("-e", "server_first=yes sni=a", example) == 2 && RUN("-e", "sni", example) == 2,
	   "exit code 2 for facts that are none");
	ok(RUN("-e", "sni=a port=0", example) == 2 && strstr(out, "\"port=0\" is not one port, 1 to 65535\n") &&
		   RUN("-e", "sni=a host=b", example) == 2 && strstr(out, "\"host=b\" says another protocol"),
	   "and why");
	ok(RUN("--help") == 0 && strstr(out, "usage: seam check"), "--help");
}

int main(int argc, char **argv)
{
	const char *fixtures = argc > 1 ? argv[1] : "tests/fixtures/policy";
	const char *example = argc > 2 ? argv[2] : "examples/seam.conf";

	test_bad_files(fixtures);
	test_not_text();
	test_bad_regex();
	test_defaults();
	test_fails_closed();
	test_settings();
	test_edits();
	test_too_many_edits();
	test_after();
	test_wires();
	test_relay();
	test_references();
	test_flow_cases();
	test_addresses();
	test_compile();
	test_by_payload();
	test_names();
	test_agreement();
	test_check(fixtures, example);
	return tap_end();
}
