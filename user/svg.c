// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "svg.h"

#include <stdarg.h>
#include <stdlib.h>

void svg_escape(FILE *f, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '&':
			fputs("&amp;", f);
			break;
		case '<':
			fputs("&lt;", f);
			break;
		case '>':
			fputs("&gt;", f);
			break;
		case '"':
			fputs("&quot;", f);
			break;
		default:
			putc(*text >= ' ' && *text < 0x7f ? *text : '?', f);
		}
	}
}

static void escaped(FILE *f, const char *fmt, va_list args)
{
	char text[512];

	vsnprintf(text, sizeof(text), fmt, args);
	svg_escape(f, text);
}

/* "12", "12.3", "-.5" */
static void number(FILE *f, int tenths)
{
	int whole = abs(tenths) / 10, rest = abs(tenths) % 10;

	if (tenths < 0)
		putc('-', f);
	if (whole || !rest)
		fprintf(f, "%d", whole);
	if (rest)
		fprintf(f, ".%d", rest);
}

static void attribute(FILE *f, const char *name, int tenths)
{
	fprintf(f, " %s=\"", name);
	number(f, tenths);
	putc('"', f);
}

void svg_text(FILE *f, int x, int y, const char *class, const char *fmt, ...)
{
	va_list args;

	fprintf(f, "<text class=\"%s\"", class);
	attribute(f, "x", x);
	attribute(f, "y", y);
	putc('>', f);
	va_start(args, fmt);
	escaped(f, fmt, args);
	va_end(args);
	fputs("</text>\n", f);
}

void svg_title(FILE *f, const char *fmt, ...)
{
	va_list args;

	fputs("<title>", f);
	va_start(args, fmt);
	escaped(f, fmt, args);
	va_end(args);
	fputs("</title>\n", f);
}

void svg_line(FILE *f, const char *class, int x1, int y1, int x2, int y2)
{
	fprintf(f, "<line class=\"%s\"", class);
	attribute(f, "x1", x1);
	attribute(f, "y1", y1);
	attribute(f, "x2", x2);
	attribute(f, "y2", y2);
	fputs("/>\n", f);
}

void svg_rect(FILE *f, const char *class, int x, int y, int width, int height)
{
	fprintf(f, "<rect class=\"%s\"", class);
	attribute(f, "x", x);
	attribute(f, "y", y);
	attribute(f, "width", width);
	attribute(f, "height", height);
	fputs("/>\n", f);
}

/* The letter of a command need not be repeated. */
static void command(struct svg_path *p, char c)
{
	if (c != p->last)
		putc(c, p->f);
	p->last = c;
}

/* A number after another of the same command needs a space, unless it has a sign. */
static void next(struct svg_path *p, char c, int tenths)
{
	if (c == p->last && tenths >= 0)
		putc(' ', p->f);
	command(p, c);
	number(p->f, tenths);
}

void svg_path(struct svg_path *p, FILE *f, const char *class)
{
	*p = (struct svg_path){ .f = f };
	fprintf(f, "<path class=\"%s\" d=\"M0 0", class);
}

void svg_move(struct svg_path *p, int x, int y)
{
	next(p, 'm', x - p->x);
	next(p, 'm', y - p->y);
	/* Numbers after a move, without a letter, would be a line. */
	p->last = 0;
	p->x = x;
	p->y = y;
}

void svg_across(struct svg_path *p, int x)
{
	if (x != p->x)
		next(p, 'h', x - p->x);
	p->x = x;
}

void svg_up(struct svg_path *p, int y)
{
	if (y != p->y)
		next(p, 'v', y - p->y);
	p->y = y;
}

void svg_close(struct svg_path *p)
{
	putc('z', p->f);
	p->last = 'z';
}

void svg_path_end(struct svg_path *p)
{
	fputs("\"/>\n", p->f);
}
