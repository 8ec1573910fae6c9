/*
 * blob.h - bytes written one after another into a buffer of known size: tables for firmware users.
 *
 * Layer:   arch
 * Threads: none of its own.
 * Errors:  none: a table that outgrows its area is our mistake, sizes are checked before.
 * Spec:    none.
 */
#ifndef X86_64_BLOB_H
#define X86_64_BLOB_H
#include <string.h>
#include "base/compiler.h"
#include "base/le.h"

struct blob {
	uint8_t *bytes; /* not owned */
	size_t len, cap;
};

static inline struct blob blob_of(void *bytes, size_t cap)
{
	return (struct blob){ .bytes = bytes, .cap = cap };
}

/* Make room for @len bytes, zeroed. */
static inline void *blob_add(struct blob *b, size_t len)
{
	BUG_ON(len > b->cap - b->len);
	void *p = b->bytes + b->len;
	memset(p, 0, len);
	b->len += len;
	return p;
}

static inline void blob_put(struct blob *b, const void *src, size_t len)
{
	memcpy(blob_add(b, len), src, len);
}

/* A little-endian integer of @len bytes. */
static inline void blob_int(struct blob *b, uint64_t v, unsigned len)
{
	le_store(blob_add(b, len), v, len);
}

static inline void blob_align(struct blob *b, size_t align)
{
	blob_add(b, (align - b->len % align) % align);
}

/* What makes the bytes of [p, p+len) sum up to 0 modulo 256, their checksum byte being 0. */
static inline uint8_t blob_checksum(const void *p, size_t len)
{
	const uint8_t *bytes = p;
	unsigned sum = 0;
	for (size_t i = 0; i < len; i++)
		sum += bytes[i];
	return (uint8_t)(0u - sum);
}

#endif
