/*
 * gmem.h - guest physical memory: the only road from a guest address to host bytes.
 *
 * Layer:   mem
 * Threads: translation and copies from any thread; creation and destruction on the control thread.
 *          The guest runs meanwhile: bytes may tear, and may differ between two reads.
 * Errors:  0 or negative errno. -EFAULT: some byte of the range is not guest RAM. -ENOMEM: the host
 *          has not that much memory or address space. -EINVAL: regions that overlap or are odd.
 * Spec:    docs/memory.md.
 *
 * One address window is reserved for the whole guest-physical space, so translation is a bounds
 * check and one addition. Holes stay PROT_NONE: even the kernel cannot be made to write there.
 */
#ifndef MEM_GMEM_H
#define MEM_GMEM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"
#include "mem/place.h"

struct gmem; /* from gmem_create() to gmem_destroy() */

/* Guest physical address. A struct, so it can be neither dereferenced nor mixed with a length. */
typedef struct {
	uint64_t raw;
} gpa_t;

static inline gpa_t gpa(uint64_t raw)
{
	return (gpa_t){ raw };
}

#define GMEM_MAX_REGIONS 32 /* a frontend of vhost-user may plug memory by the slot */

/* A run of guest RAM. Addresses and sizes are multiples of the page size of the backing. */
struct gmem_region {
	uint64_t start;     /* guest-physical */
	uint64_t len;       /* bytes */
	int fd;             /* memory file behind it */
	uint64_t fd_offset; /* where it starts there */
};

/*
 * The translation table, read on the data path. Immutable after create. Copy it by value where a
 * hot structure wants it near.
 */
struct gmem_map {
	uint8_t *base; /* host address of guest-physical 0 */
	unsigned nr;
	struct {
		uint64_t start, end; /* [start, end) */
	} r[GMEM_MAX_REGIONS];
};

/* Host address of [@a, @a+@len), or NULL when a byte of it is not RAM of one region. */
static inline void *gmem_map_host(const struct gmem_map *m, gpa_t a, uint64_t len)
{
	for (unsigned i = 0; i < m->nr; i++)
		if (a.raw >= m->r[i].start && a.raw < m->r[i].end)
			return len <= m->r[i].end - a.raw ? m->base + a.raw : NULL;
	return NULL;
}

struct gmem_extent {
	uint64_t start, len;
};

/*
 * Make guest RAM at the @nr extents (ascending, disjoint), all in one sealed memfd, placed as
 * @place says. With place->prefault every page is there when this returns.
 */
MUST_CHECK int gmem_create(struct gmem **out, const struct gmem_extent *extents, unsigned nr,
			   const struct gmem_place *place);

/* RAM that somebody else made (vhost-user): maps @nr regions; takes the fds on success only. */
MUST_CHECK int gmem_create_from(struct gmem **out, const struct gmem_region *regions, unsigned nr);

void gmem_destroy(struct gmem *m);

const struct gmem_map *gmem_map_of(const struct gmem *m);
unsigned gmem_nr_regions(const struct gmem *m);
const struct gmem_region *gmem_region_at(const struct gmem *m, unsigned i);

/* As gmem_map_host(). */
void *gmem_host(const struct gmem *m, gpa_t a, uint64_t len);

/*
 * Copy @len bytes (0 is fine) of guest RAM at @src to @dst. All or nothing: on error @dst is
 * untouched. Each guest byte is read exactly once, so what the caller checks is what it then uses.
 */
MUST_CHECK int gmem_read(const struct gmem *m, gpa_t src, void *dst, size_t len);

/* Copy @len bytes at @src to guest RAM at @dst. All or nothing. */
MUST_CHECK int gmem_write(struct gmem *m, gpa_t dst, const void *src, size_t len);

/* Read @len bytes of file @fd at @off straight into guest RAM. -ENODATA: the file ends before. */
MUST_CHECK int gmem_load(struct gmem *m, gpa_t dst, int fd, uint64_t off, size_t len);

/* Set @len bytes to zero. */
MUST_CHECK int gmem_zero(struct gmem *m, gpa_t dst, size_t len);

#endif
