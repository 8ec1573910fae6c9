/*
 * le.h - little-endian wire integers as types of their own, and unaligned loads and stores.
 *
 * Layer:   base
 * Threads: no state; safe anywhere.
 * Errors:  none.
 * Spec:    VIRTIO 1.2 §1.4 (le16, le32, le64).
 */
#ifndef BASE_LE_H
#define BASE_LE_H
#include <endian.h>
#include <stdint.h>
#include <string.h>

/* A struct each, so that a wire value cannot be used as a number without saying so. */
typedef struct {
	uint16_t raw;
} le16_t;
typedef struct {
	uint32_t raw;
} le32_t;
typedef struct {
	uint64_t raw;
} le64_t;

static inline uint16_t le16_get(le16_t v)
{
	return le16toh(v.raw);
}

static inline uint32_t le32_get(le32_t v)
{
	return le32toh(v.raw);
}

static inline uint64_t le64_get(le64_t v)
{
	return le64toh(v.raw);
}

static inline le16_t le16_of(uint16_t v)
{
	return (le16_t){ htole16(v) };
}

static inline le32_t le32_of(uint32_t v)
{
	return (le32_t){ htole32(v) };
}

static inline le64_t le64_of(uint64_t v)
{
	return (le64_t){ htole64(v) };
}

/* A little-endian integer of @len bytes (1 to 8) at @p, whatever its alignment. */
static inline uint64_t le_load(const void *p, unsigned len)
{
	uint64_t v = 0;
	memcpy(&v, p, len > 8 ? 8 : len);
	return le64toh(v);
}

static inline void le_store(void *p, uint64_t v, unsigned len)
{
	v = htole64(v);
	memcpy(p, &v, len > 8 ? 8 : len);
}

#endif
