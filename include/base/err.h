/*
 * err.h - cleanup of the two things almost every function owns: a descriptor, a heap block.
 *
 * Layer:   base
 * Threads: no state; safe anywhere.
 * Errors:  the project's convention: int, 0 or negative errno; a count is the non-negative result.
 * Spec:    docs/architecture.md, "Faults".
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/compiler.h"

/* For a MUST_CHECK result that does not matter here; the line says why. */
static inline void ignore(int err)
{
	(void)err;
}

/* Close @fd unless it is negative. Keeps errno. */
static inline void fd_close(int fd)
{
	if (fd >= 0) {
		int saved = errno;
		(void)close(fd); /* nothing can be done about a failed close */
		errno = saved;
	}
}

/* For CLEANUP(fd_cleanup) int fd = -1; */
static inline void fd_cleanup(int *fd)
{
	fd_close(*fd);
}

/*
 * @bytes of zeroed heap at a multiple of CACHE_ALIGN, for objects with CACHE_ALIGNED members (of
 * which sizeof is such a multiple). NULL: no memory. Ends with free().
 */
static inline void *zalloc_aligned(size_t bytes)
{
	void *p = aligned_alloc(CACHE_ALIGN, bytes);
	return p ? memset(p, 0, bytes) : NULL;
}

/* For CLEANUP(free_cleanup) T *p = ...; */
static inline void free_cleanup(void *pp)
{
	free(*(void **)pp);
}

#endif
