// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Durations, sizes, prefixes, ports and names, as the policy writes them.
 */
#include "policy_value.h"

#include <arpa/inet.h>
#include <string.h>

/* Reads a decimal number at *s and moves past it; false if there is none or it is too big. */
static bool number(const char **s, __u64 *out)
{
	const char *p = *s;
	__u64 n = 0;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (n > (1ULL << 56))
			return false;
		n = n * 10 + (*p - '0');
	}
	*out = n;
	if (p == *s)
		return false;
	*s = p;
	return true;
}

struct unit {
	const char *name;
	__u64 factor;
};

static bool quantity(const char *s, const struct unit *units, __u64 *out)
{
	__u64 n;

	if (!number(&s, &n))
		return false;
	for (; units->name; units++) {
		if (!strcmp(s, units->name))
			return !__builtin_mul_overflow(n, units->factor, out);
	}
	return false;
}

const char *value_duration(const char *s, __u64 *ns)
{
	static const struct unit units[] = {
		{ "ms", 1000000ULL },
		{ "s", 1000000000ULL },
		{ "m", 60 * 1000000000ULL },
		{ "h", 3600 * 1000000000ULL },
		{ "d", 86400 * 1000000000ULL },
		{ NULL, 0 },
	};

	if (quantity(s, units, ns))
		return NULL;
	return "is not a duration; expected a whole number and a unit: ms, s, m, h or d, "
	       "as in \"5s\"";
}

const char *value_size(const char *s, __u64 *bytes)
{
	static const struct unit units[] = {
		{ "", 1 },
		{ "k", 1ULL << 10 },
		{ "K", 1ULL << 10 },
		{ "M", 1ULL << 20 },
		{ "G", 1ULL << 30 },
		{ "T", 1ULL << 40 },
		{ NULL, 0 },
	};

	if (quantity(s, units, bytes))
		return NULL;
	return "is not a size; expected a whole number of bytes, or of k, M, G or T, as in \"64k\"";
}

static void make_mask(__u32 mask[4], unsigned int bits)
{
	unsigned char *m = (unsigned char *)mask;

	for (unsigned int i = 0; i < 16; i++, bits -= bits < 8 ? bits : 8)
		m[i] = bits < 8 ? 0xff00 >> bits : 0xff;
}

const char *value_prefix(const char *s, struct policy_prefix *prefix)
{
	static const char wrong[] =
		"is not an address; expected an IPv4 or IPv6 address or prefix, "
		"as in \"192.0.2.0/24\" or \"2001:db8::/32\"";
	const char *slash = strchr(s, '/');
	size_t len = slash ? (size_t)(slash - s) : strlen(s);
	char text[INET6_ADDRSTRLEN];
	__u32 v4;
	unsigned int max = 128;
	__u64 bits;

	if (len >= sizeof(text))
		return wrong;
	memcpy(text, s, len);
	text[len] = '\0';
	memset(prefix, 0, sizeof(*prefix));
	if (inet_pton(AF_INET, text, &v4) == 1) {
		max = 32;
		prefix->addr[2] = htonl(0xffff);
		prefix->addr[3] = v4;
	} else if (inet_pton(AF_INET6, text, prefix->addr) != 1) {
		return wrong;
	}

	bits = max;
	if (slash) {
		s = slash + 1;
		if (!number(&s, &bits) || *s || bits > max)
			return max == 32 ? "has a wrong prefix length; expected 0 to 32" :
					   "has a wrong prefix length; expected 0 to 128";
	}
	make_mask(prefix->mask, 128 - max + bits);
	for (int i = 0; i < 4; i++) {
		if (prefix->addr[i] & ~prefix->mask[i])
			return "has bits set behind the prefix length; expected the address of "
			       "the network itself, or a longer prefix";
	}
	/* ::ffff:0:0/96 stands for IPv4: an IPv6 prefix around it would match both */
	if (max == 128 && bits < 96 && !prefix->addr[0] && !prefix->addr[1] &&
	    prefix->addr[2] == (htonl(0xffff) & prefix->mask[2]))
		return "covers the IPv4 addresses as well, which are mapped into ::ffff:0:0/96; "
		       "expected a prefix beside them, as in \"2000::/3\", or no condition for "
		       "every address";
	return NULL;
}

const char *value_ports(const char *s, struct policy_ports *ports)
{
	static const char wrong[] =
		"is not a port; expected 1 to 65535 or a range as in \"8000-8099\"";
	__u64 lo, hi;

	if (!number(&s, &lo))
		return wrong;
	hi = lo;
	if (*s == '-') {
		s++;
		if (!number(&s, &hi))
			return wrong;
	}
	if (*s || lo < 1 || lo > 65535 || hi < 1 || hi > 65535)
		return wrong;
	if (lo > hi)
		return "is an empty range; expected the lower port first";
	ports->lo = lo;
	ports->hi = hi;
	return NULL;
}

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool value_is_name(const char *s, size_t size, bool dots)
{
	size_t n = strlen(s);

	if (!n || n >= size)
		return false;
	for (; *s; s++) {
		if (!is_alnum(*s) && *s != '-' && *s != '_' && !(dots && *s == '.'))
			return false;
	}
	return true;
}

const char *value_host(const char *s, char out[256])
{
	static const char wrong[] =
		"is not a host name; expected a name as in \"www.example.com\", or "
		"\"*.example.com\" for everything below one";
	const char *p = strncmp(s, "*.", 2) ? s : s + 2;
	size_t label = 0, n = strlen(s);

	for (const char *c = s; *c; c++) {
		if ((unsigned char)*c >= 0x80)
			return "has characters that are not ASCII; expected the name as it is "
			       "sent, in punycode (\"xn--...\")";
	}
	/* RFC 1035 2.3.4: 253 characters, labels of 63; the trailing dot does not count */
	if (n && s[n - 1] == '.')
		n--;
	if (n > 253)
		return wrong;
	for (; p < s + n; p++) {
		if (*p == '.') {
			if (!label)
				return wrong;
			label = 0;
			continue;
		}
		/* '_' is not allowed in a host name, but is looked up and sent all the same */
		if ((!is_alnum(*p) && *p != '-' && *p != '_') || ++label > 63)
			return wrong;
	}
	if (!label)
		return wrong;
	for (size_t i = 0; i < n; i++)
		out[i] = s[i] >= 'A' && s[i] <= 'Z' ? s[i] + ('a' - 'A') : s[i];
	out[n] = '\0';
	return NULL;
}

const char *value_http_host(const char *s, char out[256])
{
	size_t n = strlen(s);
	char text[INET6_ADDRSTRLEN];
	__u32 addr[4];

	if (s[0] != '[') {
		const char *colon = strchr(s, ':');

		if (colon && colon[1 + strspn(colon + 1, "0123456789")] == '\0')
			return "has a port; expected the name alone, and server_port for the port";
		return value_host(s, out);
	}
	if (n >= 4 && n - 2 < sizeof(text) && s[n - 1] == ']') {
		memcpy(text, s + 1, n - 2);
		text[n - 2] = '\0';
		if (inet_pton(AF_INET6, text, addr) == 1) {
			inet_ntop(AF_INET6, addr, out, INET6_ADDRSTRLEN);
			return NULL;
		}
	}
	return "is not an address in brackets; expected one as in \"[2001:db8::1]\"";
}

#define CLOSEST_MAX 31

/* Levenshtein distance; both at most CLOSEST_MAX long. */
static unsigned int distance(const char *a, const char *b)
{
	unsigned int row[CLOSEST_MAX + 1];
	size_t n = strlen(b);

	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		unsigned int diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			unsigned int best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[n];
}

const char *value_closest(const char *s, const char *const *names)
{
	const char *best = NULL;
	unsigned int best_distance;

	if (strlen(s) > CLOSEST_MAX)
		return NULL;
	/* two slips, but never most of the word */
	best_distance = strlen(s) < 4 ? 2 : 3;
	for (; *names; names++) {
		unsigned int d;

		if (strlen(*names) > CLOSEST_MAX)
			continue;
		d = distance(s, *names);
		if (d < best_distance && d < strlen(*names)) {
			best = *names;
			best_distance = d;
		}
	}
	return best;
}
