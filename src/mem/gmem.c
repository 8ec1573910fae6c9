/* gmem.c - see mem/gmem.h. */
#include "mem/gmem.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/err.h"
#include "base/num.h"

#ifndef MFD_HUGE_SHIFT
#define MFD_HUGE_SHIFT 26
#endif

#define GMEM_PAGE_BYTES    4096u
#define GMEM_LOAD_FAST_MIN (64u << 10) /* below, a mapping costs more than it saves */

struct gmem {
	/* immutable after create */
	struct gmem_map map;
	struct gmem_region regions[GMEM_MAX_REGIONS];
	void *window; /* the whole reservation, MAP_FAILED: none */
	size_t window_len;
	bool owns_fds;
};

const struct gmem_map *gmem_map_of(const struct gmem *m)
{
	return &m->map;
}

unsigned gmem_nr_regions(const struct gmem *m)
{
	return m->map.nr;
}

const struct gmem_region *gmem_region_at(const struct gmem *m, unsigned i)
{
	BUG_ON(i >= m->map.nr);
	return &m->regions[i];
}

/* A sealed memory file of @len bytes: nobody who holds it can pull pages from under a mapping. */
static int gmem_memfd(uint64_t len, enum gmem_pages pages)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	if (pages == GMEM_PAGES_2M)
		flags |= MFD_HUGETLB | (21u << MFD_HUGE_SHIFT);
	if (pages == GMEM_PAGES_1G)
		flags |= MFD_HUGETLB | (30u << MFD_HUGE_SHIFT);
	CLEANUP(fd_cleanup) int fd = memfd_create("guest-ram", flags);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)len) < 0)
		return -errno;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	return take_fd(fd);
}

/* Reserve address space for guest-physical 0 to @end, host-aligned to @align. */
static int gmem_reserve(struct gmem *m, uint64_t end, uint64_t align)
{
	uint64_t len;
	if (!add_ok(end, align, &len) || len > SIZE_MAX / 2)
		return -ENOMEM;
	m->window = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->window == MAP_FAILED)
		return -errno;
	m->window_len = len;
	m->map.base = (uint8_t *)align_up((uintptr_t)m->window, align);
	return 0;
}

static int gmem_map_region(struct gmem *m, const struct gmem_region *r)
{
	uint8_t *at = m->map.base + r->start;
	void *p = mmap(at, r->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, r->fd,
		       (off_t)r->fd_offset);
	if (p == MAP_FAILED)
		return -errno;
	(void)madvise(p, r->len, MADV_DONTDUMP); /* a core file is about us, not the tenant */
	unsigned i = m->map.nr++;
	m->regions[i] = *r;
	m->map.r[i].start = r->start;
	m->map.r[i].end = r->start + r->len;
	return 0;
}

/* Ascending, disjoint, aligned, not wrapping; *end gets the end of the last. */
static int gmem_check(const struct gmem_region *r, unsigned nr, uint64_t page, uint64_t *end)
{
	uint64_t at = 0;
	if (!nr || nr > GMEM_MAX_REGIONS)
		return -EINVAL;
	for (unsigned i = 0; i < nr; i++) {
		uint64_t stop, fd_stop;
		if (!r[i].len || r[i].start < at || !add_ok(r[i].start, r[i].len, &stop) ||
		    !add_ok(r[i].fd_offset, r[i].len, &fd_stop) || fd_stop > INT64_MAX)
			return -EINVAL;
		if (!is_aligned(r[i].start, page) || !is_aligned(r[i].len, page) ||
		    !is_aligned(r[i].fd_offset, page))
			return -EINVAL;
		at = stop;
	}
	*end = at;
	return 0;
}

static void gmem_cleanup(struct gmem **m)
{
	gmem_destroy(*m);
}

static struct gmem *gmem_new(void)
{
	struct gmem *m = calloc(1, sizeof(*m));
	if (m)
		m->window = MAP_FAILED;
	return m;
}

/*
 * Placement must be told before the first touch. What is told of huge pages is true of this mapping
 * only, not of those of other processes, and what was reserved for them may lie on another node: a
 * touch that finds none would end the guest. So those of a node are touched at once.
 */
static int gmem_place_region(const struct gmem *m, const struct gmem_region *r,
			     const struct gmem_place *place)
{
	void *at = m->map.base + r->start;
	bool is_bound = place->node != PLACE_NODE_ANY;
	bool is_huge = place->pages == GMEM_PAGES_2M || place->pages == GMEM_PAGES_1G;
	if (is_bound) {
		int err = place_bind(at, r->len, place->node);
		if (err)
			return err;
	}
	if (place->pages == GMEM_PAGES_THP)
		(void)madvise(at, r->len, MADV_HUGEPAGE); /* advice: a host may have it off */
	int err = place->prefault || (is_bound && is_huge) ? place_prefault(at, r->len) : 0;
	return err == -EFAULT ? -ENOMEM : err; /* so the kernel says that there are none left */
}

int gmem_create(struct gmem **out, const struct gmem_extent *extents, unsigned nr,
		const struct gmem_place *place)
{
	uint64_t page = place_page_bytes(place->pages), total = 0, end = 0;
	struct gmem_region r[GMEM_MAX_REGIONS] = { 0 };
	if (nr > GMEM_MAX_REGIONS)
		return -EINVAL;
	for (unsigned i = 0; i < nr; i++) {
		r[i] = (struct gmem_region){ extents[i].start, extents[i].len, -1, total };
		if (!add_ok(total, extents[i].len, &total))
			return -EINVAL;
	}
	int err = gmem_check(r, nr, page, &end);
	if (err)
		return err;
	CLEANUP(gmem_cleanup) struct gmem *m = gmem_new();
	if (!m)
		return -ENOMEM;
	m->owns_fds = true;
	int fd = gmem_memfd(total, place->pages);
	if (fd < 0)
		return fd;
	m->regions[0].fd = fd; /* from here on gmem_destroy() closes it */
	err = gmem_reserve(m, end, max_u64(page, 2 * MIB));
	for (unsigned i = 0; !err && i < nr; i++) {
		r[i].fd = fd;
		err = gmem_map_region(m, &r[i]);
		if (!err)
			err = gmem_place_region(m, &r[i], place);
	}
	if (err)
		return err;
	*out = take(m);
	return 0;
}

int gmem_create_from(struct gmem **out, const struct gmem_region *regions, unsigned nr)
{
	uint64_t end = 0;
	int err = gmem_check(regions, nr, place_page_bytes(GMEM_PAGES_4K), &end);
	if (err)
		return err;
	CLEANUP(gmem_cleanup) struct gmem *m = gmem_new();
	if (!m)
		return -ENOMEM;
	m->regions[0].fd = -1;
	/* the files may have pages of any size, and are mapped at multiples of that only */
	err = gmem_reserve(m, end, end < GIB ? 2 * MIB : GIB);
	for (unsigned i = 0; !err && i < nr; i++)
		err = gmem_map_region(m, &regions[i]);
	if (err)
		return err;
	m->owns_fds = true;
	*out = take(m);
	return 0;
}

/* The regions of one gmem_create() share a descriptor; those of a frontend have one each. */
static void gmem_close_fds(struct gmem *m)
{
	fd_close(m->regions[0].fd);
	for (unsigned i = 1; i < m->map.nr; i++)
		if (m->regions[i].fd != m->regions[0].fd)
			fd_close(m->regions[i].fd);
}

void gmem_destroy(struct gmem *m)
{
	if (!m)
		return;
	if (m->window != MAP_FAILED)
		(void)munmap(m->window, m->window_len); /* our own reservation */
	if (m->owns_fds)
		gmem_close_fds(m);
	free(m);
}

void *gmem_host(const struct gmem *m, gpa_t a, uint64_t len)
{
	return gmem_map_host(&m->map, a, len);
}

int gmem_read(const struct gmem *m, gpa_t src, void *dst, size_t len)
{
	if (!len)
		return 0;
	const void *p = gmem_host(m, src, len);
	if (!p)
		return -EFAULT;
	memcpy(dst, p, len);
	return 0;
}

int gmem_write(struct gmem *m, gpa_t dst, const void *src, size_t len)
{
	if (!len)
		return 0;
	void *p = gmem_host(m, dst, len);
	if (!p)
		return -EFAULT;
	memcpy(p, src, len);
	return 0;
}

int gmem_zero(struct gmem *m, gpa_t dst, size_t len)
{
	if (!len)
		return 0;
	void *p = gmem_host(m, dst, len);
	if (!p)
		return -EFAULT;
	memset(p, 0, len);
	return 0;
}

static const struct gmem_region *gmem_region_of(const struct gmem *m, gpa_t a)
{
	for (unsigned i = 0; i < m->map.nr; i++)
		if (a.raw >= m->map.r[i].start && a.raw < m->map.r[i].end)
			return &m->regions[i];
	return NULL;
}

/*
 * Copy file to memory file inside the kernel, where new pages are neither zeroed first nor faulted
 * in one by one: half the time of a read into the mapping. Returns how many bytes that moved; the
 * caller reads the rest (a hugetlb memory file takes no write; a file may end early).
 */
static size_t gmem_load_fast(const struct gmem *m, gpa_t dst, int fd, uint64_t off, size_t len)
{
	const struct gmem_region *r = gmem_region_of(m, dst);
	uint64_t skip = off % GMEM_PAGE_BYTES;
	if (len < GMEM_LOAD_FAST_MIN || off > INT64_MAX)
		return 0;
	uint8_t *src = mmap(NULL, len + skip, PROT_READ, MAP_SHARED | MAP_POPULATE, fd,
			    (off_t)(off - skip));
	if (src == MAP_FAILED)
		return 0;
	size_t done = 0;
	for (ssize_t n = 1; n > 0 && done<len; done += n> 0 ? (size_t)n : 0)
		n = pwrite(r->fd, src + skip + done, len - done,
			   (off_t)(r->fd_offset + (dst.raw - r->start) + done));
	(void)munmap(src, len + skip); /* our own mapping */
	return done;
}

int gmem_load(struct gmem *m, gpa_t dst, int fd, uint64_t off, size_t len)
{
	if (!len)
		return 0;
	uint8_t *p = gmem_host(m, dst, len);
	if (!p)
		return -EFAULT;
	size_t done = gmem_load_fast(m, dst, fd, off, len);
	p += done;
	off += done;
	len -= done;
	while (len) {
		ssize_t n = pread(fd, p, len, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return -ENODATA;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}
