/*
 * print.h - lines of text on COM1.
 */
#ifndef GUEST_PRINT_H
#define GUEST_PRINT_H
#include <stdarg.h>
#include <stddef.h>

#define PACKED            __attribute__((packed))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

/*
 * A subset of printf: %s %c %u %x %d %lu %lx %ld, %02x-style widths filled with zeros, %%. At most
 * 511 bytes; each call leaves in one string instruction. Only the boot processor prints.
 */
PRINTF_LIKE(1, 2) void print(const char *fmt, ...);

/* The same into @buf of @size bytes, always ended by NUL. Returns the length. */
PRINTF_LIKE(3, 4) size_t format(char *buf, size_t size, const char *fmt, ...);
size_t format_v(char *buf, size_t size, const char *fmt, va_list ap);

#endif
