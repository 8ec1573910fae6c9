/*
 * pty.h - the near end of a pseudo-terminal that may have nobody at the far end.
 *
 * Layer:   dev
 * Threads: any; none of these waits.
 * Errors:  as pwritev2(2).
 * Spec:    pty(7), poll(2).
 *
 * Whoever has the far end open may be slow, and is waited for (POLLOUT). When nobody has, POLLHUP
 * is up, and what the kernel holds is never taken: then POLLOUT need not come, a read says -EIO.
 */
#ifndef DEV_PTY_H
#define DEV_PTY_H
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#define PTY_LOOK_NS (100 * 1000 * 1000ull) /* one that nobody has open is looked at that often */
#define PTY_PTMX    makedev(5, 2)          /* Documentation/admin-guide/devices.txt */

/* The near end: opened again, it is the end of another one. */
static inline bool pty_is_near_end(int fd)
{
	struct stat st;
	return fd >= 0 && !fstat(fd, &st) && S_ISCHR(st.st_mode) && st.st_rdev == PTY_PTMX;
}

/* ... which does not block, as type=pty makes it. */
static inline bool pty_may_be_left(int fd)
{
	int flags = fd >= 0 ? fcntl(fd, F_GETFL) : -1;
	return flags >= 0 && (flags & O_NONBLOCK) && pty_is_near_end(fd);
}

/*
 * Nobody is there: leave of @iov what the kernel holds for who comes next. Bytes, or 0: it holds
 * no more.
 */
static inline ssize_t pty_leave(int fd, const struct iovec *iov, unsigned nr)
{
	ssize_t n = pwritev2(fd, iov, (int)nr, -1, 0);
	return n > 0 ? n : 0;
}

#endif
