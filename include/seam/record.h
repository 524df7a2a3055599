/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What inspectors found out about a flow, kept after it was let go: the value of the `records`
 * map, keyed by flow id.
 */
#ifndef SEAM_RECORD_H
#define SEAM_RECORD_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/* seam_record.flags */
#define RECORD_F_TLS	   (1U << 0) /* a complete ClientHello was parsed */
#define RECORD_F_ECH	   (1U << 1) /* with encrypted_client_hello */
#define RECORD_F_HTTP	   (1U << 2) /* a request line and its headers */
#define RECORD_F_MALFORMED (1U << 3) /* not HTTP/1, or a head over 64 KiB */
#define RECORD_F_KERNEL	   (1U << 4) /* the kernel decided: of TLS only the SNI is known */

/* Strings are printable ASCII, cut to fit, NUL-terminated. */
struct seam_record {
	__u64 bytes[2];	  /* seen by the inspectors, by enum seam_dir */
	__u64 pattern_offset; /* end of the last match in its direction */
	__u32 pattern_matches;
	__u32 http_requests; /* complete messages, up */
	__u32 http_responses; /* complete messages, down */
	__u16 http_status; /* of the first response, 0 if none */
	__u16 tls_version; /* highest version offered */
	__u16 flags;	  /* RECORD_F_* */
	__u8 pattern_dir; /* enum seam_dir */
	__u8 reserved;
	__u32 edits;	  /* made, in both directions */
	char tls_sni[128];
	char tls_alpn[64]; /* protocols offered, comma-separated */
	char tls_ja4[40];
	char http_method[16];
	char http_host[128];
	char http_target[192];
	char pattern_name[64]; /* the pattern that matched last */
};

_Static_assert(sizeof(struct seam_record) == 680, "layout of pinned records");

#endif
