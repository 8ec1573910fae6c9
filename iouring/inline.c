/* inline.c - see inline_priv.h. */
#include "inline_priv.h"
#include <errno.h>
#include "base/clock.h"
#include "base/compiler.h"
#include "base/num.h"
#include "ring_priv.h"

#define INLINE_SLOW_NS     500000ull
#define INLINE_MAX_PENANCE 1024u
#define INLINE_MAX_BYTES                                                                           \
	(64 * KIB) /* beyond, copying outweighs the thread, and holds up others                    \
		    */

static void inline_note(struct inline_writes *w, uint64_t took_ns)
{
	if (likely(took_ns < INLINE_SLOW_NS)) {
		w->next_penance = 0;
		return;
	}
	w->next_penance = w->next_penance ? min_u32(2 * w->next_penance, INLINE_MAX_PENANCE) : 16;
	w->penance = w->next_penance;
}

static bool inline_is_small(const struct iovec *iov, unsigned nr)
{
	size_t bytes = 0;
	for (unsigned i = 0; i < nr && bytes <= INLINE_MAX_BYTES; i++)
		bytes += iov[i].iov_len;
	return bytes <= INLINE_MAX_BYTES;
}

/* A write that must not block, to see whether the file knows such. True: it did its work, too. */
static bool inline_probe(struct inline_writes *w, const struct uring_sys *sys, int fd,
			 const struct iovec *iov, unsigned nr, int64_t off, int32_t *res)
{
	ssize_t n = sys->writev(fd, iov, (int)nr, off, RWF_NOWAIT);
	w->kind = n < 0 && errno == EOPNOTSUPP ? INLINE_MAY : INLINE_NEVER;
	*res = (int32_t)n;
	return n >= 0;
}

bool inline_write(struct inline_writes *w, const struct uring_sys *sys, int fd,
		  const struct iovec *iov, unsigned nr, int64_t off, int32_t *res)
{
	if (unlikely(w->kind == INLINE_UNKNOWN) && inline_probe(w, sys, fd, iov, nr, off, res))
		return true;
	if (w->kind == INLINE_NEVER || !inline_is_small(iov, nr))
		return false;
	if (unlikely(w->penance)) {
		w->penance--;
		return false;
	}
	uint64_t start_ns = clock_ns();
	ssize_t n;
	atomic_store_explicit(&w->is_busy, true, memory_order_relaxed); /* orders nothing */
	do {
		n = sys->writev(fd, iov, (int)nr, off, 0);
	} while (n < 0 && errno == EINTR);
	int err = n < 0 ? errno : 0;
	atomic_store_explicit(&w->is_busy, false, memory_order_relaxed);
	*res = err ? -err : (int32_t)n; /* at most MAX_RW_COUNT */
	inline_note(w, clock_ns() - start_ns);
	return *res != -EAGAIN;
}
