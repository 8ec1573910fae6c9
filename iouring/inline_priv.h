/*
 * inline_priv.h - writes into the page cache by the reactor's own thread.
 *
 * Layer:   iouring, private
 * Threads: the reactor's.
 * Errors:  none of its own.
 * Spec:    docs/io.md, "Cached writes"; pwritev2(2).
 *
 * Where a file system cannot write without the chance of blocking (ext4, tmpfs), io_uring has a
 * kernel thread do each write: 30 us of CPU for what takes 2. So we write ourselves, and measure:
 * one that took long blocked (too many dirty pages, the journal, a page to be read first), and the
 * next ones go to the kernel's threads again, as large ones always do. Where the file system can
 * (XFS, btrfs, block devices), io_uring does the best there is.
 */
#ifndef IOURING_INLINE_PRIV_H
#define IOURING_INLINE_PRIV_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct uring_sys;

enum inline_kind { INLINE_UNKNOWN, INLINE_NEVER, INLINE_MAY };

struct inline_writes {
	enum inline_kind kind; /* found out with the first write */
	unsigned penance;      /* writes yet to go to the kernel's threads */
	unsigned next_penance;
	_Atomic bool is_busy; /* in a write; read by any thread */
};

/* Write now, if that is likely to be quick. True: done, *res is as of a completion. */
bool inline_write(struct inline_writes *w, const struct uring_sys *sys, int fd,
		  const struct iovec *iov, unsigned nr, int64_t off, int32_t *res);

#endif
