/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Inspectors look at the bytes of a flow while it is split. An inspector is a table of
 * functions over a fixed-size block of memory that the caller allocates and accounts; it never
 * allocates on its own.
 */
#ifndef SEAM_INSPECT_H
#define SEAM_INSPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edit.h"
#include "seam/flow.h"

enum inspect_answer {
	INSPECT_MORE = 0, /* wants to see more */
	INSPECT_MIDST,	  /* ... and is in the middle of an edit: letting go must wait */
	INSPECT_LET_GO,	  /* has seen enough */
	INSPECT_BLOCK,	  /* this flow must not go on */
};

/* What inspectors and classification found out about a flow. Strings are
 * NUL-terminated, printable (anything else is replaced by '.') and cut to fit. */
struct flow_record {
	struct {
		bool seen;		/* a complete ClientHello was parsed */
		bool ech;		/* encrypted_client_hello present */
		uint16_t version;	/* highest version offered, GREASE ignored */
		char sni[256];		/* lower case, without trailing dot */
		char alpn[64];		/* protocols offered, comma-separated */
		char ja4[40];
	} tls;
	struct {
		bool seen;		/* a request line and its headers */
		char method[16];
		char target[256];
		char host[256];		/* lower case, without port */
		uint16_t status;	/* of the first response, 0 if none */
		uint32_t requests;	/* messages complete, up */
		uint32_t responses;	/* messages complete, down */
		bool malformed;		/* not HTTP/1, or a head over 64 KiB: let go */
	} http;
	struct {
		uint32_t matches;
		char name[64];		/* the pattern that matched last */
		uint64_t offset;	/* end of that match in its direction */
		uint8_t dir;		/* enum seam_dir */
	} pattern;
	uint32_t edits;			/* made, in both directions */
	uint64_t bytes[2];		/* seen by the inspectors, by direction */
};

/* Compiled once per policy for rules that use the `pattern` inspector. */
struct pattern_db;

/* What the `headers` inspector changes: header_edits.h. */
struct header_edits;

enum proxy_version {
	PROXY_NONE = 0,
	PROXY_V1,
	PROXY_V2,
};

/* What a rule says to its inspectors. */
struct inspect_setup {
	struct pattern_db *patterns;	/* NULL: none */
	struct replacements *replacements; /* NULL: none */
	enum proxy_version proxy;
	struct header_edits *request, *response; /* NULL: none */
	bool fail_block;		/* block what cannot be followed, else let it go */
};

struct inspector {
	const char *name;
	const char *help;		/* one line */
	bool edits;			/* it may change what passes */
	/* Bytes of per-flow memory it needs with this setup. */
	size_t (*size)(const struct inspect_setup *setup);
	/* Prepares `state` (zeroed, size() bytes). 0 or negative errno. */
	int (*open)(void *state, struct flow_record *rec, const struct inspect_setup *setup,
		    const struct flow_key *key);
	/*
	 * Called with the next `len` bytes of direction `dir`, in order, each byte once. `end`:
	 * the direction ended after them (len may then be 0). Before the first byte of either
	 * direction it is called with no bytes of SEAM_UP. It tells `edit` what to change, also
	 * in its last call. Once it has answered INSPECT_LET_GO or INSPECT_BLOCK it is not
	 * called again.
	 */
	enum inspect_answer (*data)(void *state, enum seam_dir dir, const uint8_t *data,
				    size_t len, bool end, struct editor *edit);
	void (*close)(void *state);
};

extern const struct inspector inspector_tls;
extern const struct inspector inspector_http;
extern const struct inspector inspector_pattern;
extern const struct inspector inspector_count;
extern const struct inspector inspector_replace;
extern const struct inspector inspector_proxy;
extern const struct inspector inspector_headers;

/* All built-in inspectors, ended by NULL. */
extern const struct inspector *const inspectors[];

/* Frees what inspectors keep for the calling thread, which ends. */
void inspect_thread_end(void);

/* The inspector of that name, or NULL. */
const struct inspector *inspector_find(const char *name);

/* One pattern of a rule. */
struct pattern {
	const char *name;
	const char *regex;		/* Perl-compatible, as vectorscan takes it */
	bool block;			/* a match blocks the flow; else it lets go */
};

/*
 * Compiles patterns for streaming. On error returns NULL and writes a message
 * (which pattern, what is wrong) into err. The strings are copied.
 */
struct pattern_db *pattern_db_new(const struct pattern *patterns, size_t n, char *err,
				  size_t errlen);
void pattern_db_free(struct pattern_db *db);

#define REPLACEMENTS_MAX 16
#define REPLACE_FIND_MAX 256
#define REPLACE_WITH_MAX 65536
/* Up to 64 KiB are shown at once; they must not grow so much that sequence numbers wrap. */
#define REPLACE_GROWTH_MAX 4096

/* What the `replace` inspector looks for, and what it writes instead. */
struct replacement {
	char *find, *with;
	size_t find_len, with_len;
	unsigned int dirs;		/* 1 << enum seam_dir of each that it looks at */
	uint16_t border[REPLACE_FIND_MAX]; /* longest proper border of each prefix of `find` */
};

struct replacements {
	size_t n;
	struct replacement at[];
};

/* Room for `n`, zeroed; NULL: no memory. Freed with its strings, which are malloc'ed. */
struct replacements *replacements_new(size_t n);
void replacements_free(struct replacements *all);
/* Call once `find` and `with` are set. */
void replacement_prepare(struct replacement *r);

/*
 * Classification of a flow's first client bytes, for the rules. Both parse the whole prefix
 * [data, data + len) seen so far, from its first byte, however it was segmented; both are pure
 * and allocation-free. The second form of each takes only the new bytes, and must not be called
 * again after an answer other than CLASSIFY_MORE.
 */
struct tls_hello;
struct http_head;

enum classify {
	CLASSIFY_MORE = 0,	/* may still become it */
	CLASSIFY_YES,		/* it is: the record is filled in */
	CLASSIFY_NO,		/* it is not */
};

/* A TLS ClientHello, over as many records and segments as it takes. */
enum classify tls_classify(const uint8_t *data, size_t len, struct flow_record *rec);
enum classify tls_classify_next(struct tls_hello *h, const uint8_t *data, size_t len,
				struct flow_record *rec);
/* An HTTP/1 request head, to the empty line. */
enum classify http_classify(const uint8_t *data, size_t len, struct flow_record *rec);
enum classify http_classify_next(struct http_head *h, const uint8_t *data, size_t len,
				 struct flow_record *rec);

#endif
