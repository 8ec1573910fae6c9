/*
 * mem.h - bytes, a heap that grows upwards and is emptied at once, further mappings.
 */
#ifndef GUEST_MEM_H
#define GUEST_MEM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The compiler calls these by name. */
void *memcpy(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);

static inline void mem_copy(void *dst, const void *src, size_t n)
{
	memcpy(dst, src, n);
}

static inline void mem_fill(void *dst, uint8_t c, size_t n)
{
	memset(dst, c, n);
}

static inline bool mem_equal(const void *a, const void *b, size_t n)
{
	return memcmp(a, b, n) == 0;
}

size_t str_len(const char *s);
bool str_equal(const char *a, const char *b);
bool str_starts(const char *s, const char *prefix);

/* RAM from the end of the image to @end, at most to 1 GiB, is the heap. */
void heap_init(uint64_t end);

/* Zeroed, aligned to @align (a power of two). Never NULL: running out resets the machine. */
void *heap_alloc(size_t bytes, size_t align);

/* Forget everything allocated, but what heap_keep() was told to keep. */
void heap_empty(void);
/* What is allocated now stays until the machine ends. */
void heap_keep(void);

/*
 * Fill @bytes of the heap from its lowest free byte with a pattern; and look whether those that
 * were never allocated since still hold it.
 */
void heap_guard(size_t bytes);
bool heap_guard_is_whole(void);

/* Make physical [@at, @at + @bytes) reachable at the same virtual address. */
void mem_map(uint64_t at, uint64_t bytes);

/* A repeatable sequence; never 0. */
struct rand {
	uint64_t state;
};
uint64_t rand_next(struct rand *r);

#endif
