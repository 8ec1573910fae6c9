/*
 * print.c - formatting, and COM1 as the way out.
 */
#include "print.h"
#include "image.h"
#include "io.h"

struct text {
	char *buf;
	size_t len, size;
};

static void put(struct text *t, char c)
{
	if (t->len + 1 < t->size)
		t->buf[t->len++] = c;
}

static void put_number(struct text *t, uint64_t v, unsigned base, unsigned width)
{
	char digits[24];
	unsigned n = 0;
	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	for (unsigned pad = n; pad < width; pad++)
		put(t, '0');
	while (n)
		put(t, digits[--n]);
}

static void put_signed(struct text *t, int64_t v, unsigned width)
{
	if (v < 0)
		put(t, '-');
	put_number(t, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10, width);
}

static void put_string(struct text *t, const char *s)
{
	while (*s)
		put(t, *s++);
}

size_t format_v(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct text t = { buf, 0, size };
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			put(&t, *fmt);
			continue;
		}
		unsigned width = 0;
		for (fmt++; *fmt >= '0' && *fmt <= '9'; fmt++)
			width = width * 10 + (unsigned)(*fmt - '0');
		bool is_long = false;
		for (; *fmt == 'l' || *fmt == 'z'; fmt++)
			is_long = true;
		switch (*fmt) {
		case 's':
			put_string(&t, va_arg(ap, const char *));
			break;
		case 'c':
			put(&t, (char)va_arg(ap, int));
			break;
		case 'd':
			put_signed(&t, is_long ? va_arg(ap, int64_t) : va_arg(ap, int), width);
			break;
		case 'u':
		case 'x':
			put_number(&t, is_long ? va_arg(ap, uint64_t) : va_arg(ap, unsigned),
				   *fmt == 'u' ? 10 : 16, width);
			break;
		default:
			put(&t, *fmt);
		}
	}
	buf[t.len] = '\0';
	return t.len;
}

size_t format(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	size_t len = format_v(buf, size, fmt, ap);
	va_end(ap);
	return len;
}

void print(const char *fmt, ...)
{
	char line[512];
	va_list ap;
	va_start(ap, fmt);
	size_t len = format_v(line, sizeof(line), fmt, ap);
	va_end(ap);
	out8_string(COM1, line, len);
}
