/*
 * mem.c - see mem.h.
 */
#include "mem.h"
#include "power.h"
#include "print.h"

#define PT_LINK    0x07ul /* present, writable, user */
#define PT_BIG     0xe7ul /* the same, accessed, dirty, 2 MiB */
#define PT_ADDRESS 0x000ffffffffff000ul
#define BIG_PAGE   0x200000ul
#define MAPPED_RAM 0x40000000ul /* by entry.S */

extern uint64_t pml4[512];
extern char image_end[];

#define GUARD_WORD 0xc3c3c3c3c3c3c3c3ul

static uint64_t heap_at, heap_limit, heap_floor;
static uint64_t guard_at, guard_end; /* what of the guard was never allocated */

void *memcpy(void *dst, const void *src, size_t n)
{
	void *ret = dst;
	__asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
	return ret;
}

void *memset(void *dst, int c, size_t n)
{
	void *ret = dst;
	__asm__ volatile("rep stosb" : "+D"(dst), "+c"(n) : "a"(c) : "memory");
	return ret;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;
	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t str_len(const char *s)
{
	size_t n = 0;
	while (s[n])
		n++;
	return n;
}

bool str_equal(const char *a, const char *b)
{
	return str_starts(a, b) && str_len(a) == str_len(b);
}

bool str_starts(const char *s, const char *prefix)
{
	while (*prefix)
		if (*s++ != *prefix++)
			return false;
	return true;
}

void heap_init(uint64_t end)
{
	heap_limit = end < MAPPED_RAM ? end : MAPPED_RAM;
	heap_floor = (uintptr_t)image_end;
	heap_empty();
}

void heap_empty(void)
{
	heap_at = heap_floor;
}

void heap_keep(void)
{
	heap_floor = heap_at;
}

void heap_guard(size_t bytes)
{
	guard_at = (heap_at + 7) & ~7ul;
	guard_end = guard_at + bytes < heap_limit ? guard_at + bytes : heap_limit;
	mem_fill((void *)guard_at, (uint8_t)GUARD_WORD, guard_end - guard_at);
}

bool heap_guard_is_whole(void)
{
	for (uint64_t at = guard_at; at + 8 <= guard_end; at += 8)
		if (*(volatile uint64_t *)at != GUARD_WORD)
			return false;
	return true;
}

void *heap_alloc(size_t bytes, size_t align)
{
	uint64_t at = (heap_at + align - 1) & ~(align - 1);
	if (at > heap_limit || bytes > heap_limit - at) {
		print("FAIL heap: %lu bytes wanted, %lu left\n", bytes, heap_limit - heap_at);
		power_reset();
	}
	heap_at = at + bytes;
	if (guard_at < heap_at)
		guard_at = (heap_at + 7) & ~7ul;
	mem_fill((void *)at, 0, bytes);
	return (void *)at;
}

/* The table that entry @i of @table points to, made if missing. */
static uint64_t *table_below(uint64_t *table, unsigned i)
{
	static _Alignas(4096) uint64_t pool[8][512];
	static unsigned used;
	if (!(table[i] & 1)) {
		if (used == sizeof(pool) / sizeof(pool[0])) {
			print("FAIL map: out of page tables\n");
			power_reset();
		}
		table[i] = (uintptr_t)pool[used++] | PT_LINK;
	}
	return (uint64_t *)(table[i] & PT_ADDRESS);
}

void mem_map(uint64_t at, uint64_t bytes)
{
	for (uint64_t a = at & ~(BIG_PAGE - 1); a < at + bytes; a += BIG_PAGE) {
		uint64_t *pdpt = table_below(pml4, a >> 39 & 511);
		uint64_t *pd = table_below(pdpt, a >> 30 & 511);
		if (!(pd[a >> 21 & 511] & 1))
			pd[a >> 21 & 511] = a | PT_BIG;
	}
}

/* xorshift64*, G. Marsaglia and S. Vigna. */
uint64_t rand_next(struct rand *r)
{
	uint64_t x = r->state ? r->state : 0x9e3779b97f4a7c15ul;
	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	r->state = x;
	return x * 0x2545f4914f6cdd1dul;
}
