/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Command line of tcpload: what its connections do. Included by tcpload.c only. */
#ifndef LAB_TCPLOAD_OPTIONS_H
#define LAB_TCPLOAD_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER	65536
#define MSEC	1000000ULL
#define NSEC	1000000000ULL
#define NEVER	UINT64_MAX

enum role { ECHO, SINK, SOURCE, BOTH };
enum end { END_FIN, END_WAIT };

static struct options {
	enum role role;
	enum end end;
	const char *bind;
	const char *arrivals;
	uint64_t send, recv, seed, expect, after_rx;
	uint64_t rate, pause, read_pause, every;	/* bytes/s; nanoseconds */
	uint64_t timeout;
	uint32_t chunk, read_chunk, count;
	int rcvbuf, mss;
	bool listen, nodelay, pingpong, no_hash, has_expect;
} opt = {
	.chunk = BUFFER, .read_chunk = BUFFER, .count = 1, .seed = 1,
};

static void usage(FILE *out)
{
	fputs("usage: tcpload [options] MODE HOST PORT     (MODE: echo, sink, source, both)\n"
	      "       tcpload --listen [options] MODE ADDRESS PORT\n"
	      "echo returns what it receives, sink reads to the end, source sends --send bytes, both\n"
	      "does the two at once. source reads, too: what comes back is counted. One line of\n"
	      "JSON per connection, at its end. Exit status 1 if a connection ended badly.\n"
	      "\n"
	      "  --send BYTES, --seed N     what to send (default seed 1)\n"
	      "  --recv BYTES               at least this much must come back\n"
	      "  --expect SEED              received bytes must be that stream\n"
	      "  --after-rx BYTES           send only once that much was received\n"
	      "  --chunk BYTES, --pause MS  send in chunks, with a pause after each\n"
	      "  --rate BYTES/S             average send rate\n"
	      "  --pingpong                 next chunk only when all sent bytes have come back\n"
	      "  --read-chunk BYTES, --read-pause MS   a slow reader\n"
	      "  --end fin|wait             after the last byte: half-close and read to the end\n"
	      "                             (default), or wait for the peer's end\n"
	      "  --count N, --every MS      client: N connections, at once or one per MS\n"
	      "  --bind ADDRESS[@PORT]      client: source address and port\n"
	      "  --timeout S                client: give up after that\n"
	      "  --nodelay, --rcvbuf B, --mss B\n"
	      "  --arrivals FILE            every read: its time (CLOCK_MONOTONIC, ns) and length,\n"
	      "                             two 64-bit numbers in host order\n"
	      "  --no-hash                  leave the SHA-256 out (5 ns a byte)\n"
	      "SIGUSR1: what was sent by now is all that is to be sent.\n"
	      "SIGTERM ends it: connections still open are printed with \"end\": \"killed\".\n", out);
}

static void bad_option(const char *name, const char *arg)
{
	fprintf(stderr, "tcpload: --%s %s: bad value\n", name, arg);
	exit(2);
}

static void parse(int argc, char **argv)
{
	enum { SEND = 256, SEED, RECV, EXPECT, AFTER, CHUNK, PAUSE, RATE, PINGPONG, RCHUNK, RPAUSE, END,
	       COUNT, EVERY, BIND, TIMEOUT, NODELAY, RCVBUF, MSS, ARRIVALS, NOHASH, LISTEN, HELP };
	static const struct option longopts[] = {
		{ "send", 1, NULL, SEND }, { "seed", 1, NULL, SEED }, { "recv", 1, NULL, RECV },
		{ "expect", 1, NULL, EXPECT }, { "after-rx", 1, NULL, AFTER },
		{ "chunk", 1, NULL, CHUNK }, { "pause", 1, NULL, PAUSE }, { "rate", 1, NULL, RATE },
		{ "pingpong", 0, NULL, PINGPONG }, { "read-chunk", 1, NULL, RCHUNK },
		{ "read-pause", 1, NULL, RPAUSE }, { "end", 1, NULL, END },
		{ "count", 1, NULL, COUNT }, { "every", 1, NULL, EVERY },
		{ "bind", 1, NULL, BIND }, { "timeout", 1, NULL, TIMEOUT },
		{ "nodelay", 0, NULL, NODELAY }, { "rcvbuf", 1, NULL, RCVBUF }, { "mss", 1, NULL, MSS },
		{ "arrivals", 1, NULL, ARRIVALS },
		{ "no-hash", 0, NULL, NOHASH }, { "listen", 0, NULL, LISTEN },
		{ "help", 0, NULL, HELP }, {},
	};
	static const char *const roles[] = { "echo", "sink", "source", "both" };
	static const char *const ends[] = { "fin", "wait" };
	int o, idx = 0;
	uint32_t i;

	while ((o = getopt_long(argc, argv, "+h", longopts, &idx)) != -1) {
		char *rest = "";
		uint64_t v = 0;

		if (o == HELP || o == 'h') {
			usage(stdout);
			exit(0);
		}
		if (o == '?') {
			usage(stderr);
			exit(2);
		}
		if (optarg && o != END && o != BIND && o != ARRIVALS) {
			v = strtoull(optarg, &rest, 10);
			if (*rest || rest == optarg)
				bad_option(longopts[idx].name, optarg);
		}
		switch (o) {
		case SEND: opt.send = v; break;
		case SEED: opt.seed = v; break;
		case RECV: opt.recv = v; break;
		case EXPECT: opt.expect = v; opt.has_expect = true; break;
		case AFTER: opt.after_rx = v; break;
		case CHUNK: opt.chunk = v; break;
		case PAUSE: opt.pause = v * MSEC; break;
		case RATE: opt.rate = v; break;
		case PINGPONG: opt.pingpong = true; break;
		case RCHUNK: opt.read_chunk = v; break;
		case RPAUSE: opt.read_pause = v * MSEC; break;
		case COUNT: opt.count = v; break;
		case EVERY: opt.every = v * MSEC; break;
		case BIND: opt.bind = optarg; break;
		case TIMEOUT: opt.timeout = v * NSEC; break;
		case NODELAY: opt.nodelay = true; break;
		case RCVBUF: opt.rcvbuf = v; break;
		case MSS: opt.mss = v; break;
		case ARRIVALS: opt.arrivals = optarg; break;
		case NOHASH: opt.no_hash = true; break;
		case LISTEN: opt.listen = true; break;
		case END:
			for (i = 0; i < 2 && strcmp(optarg, ends[i]); i++)
				;
			if (i == 2)
				bad_option("end", optarg);
			opt.end = i;
			break;
		}
	}
	for (i = 0; i < 4 && argc - optind == 3 && strcmp(argv[optind], roles[i]); i++)
		;
	if (argc - optind != 3 || i == 4 || !opt.chunk || !opt.read_chunk || opt.read_chunk > BUFFER) {
		usage(stderr);
		exit(2);
	}
	opt.role = i;
}

#endif
