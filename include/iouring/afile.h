/*
 * afile.h - a disk image file or block device, opened and probed, for asynchronous I/O.
 *
 * Layer:   iouring
 * Threads: open, close, resize queries on the control thread; the accessors anywhere.
 * Errors:  negative errno. -EISDIR, -EINVAL: not a regular file or block device (FIFO, socket).
 *          -EROFS, -EACCES, -EPERM: may not be written. -EAGAIN: somebody else holds the lock.
 *          -EOPNOTSUPP: O_DIRECT does not work there. -EBADF: no such inherited descriptor.
 * Spec:    open(2), flock(2), fcntl(2) F_OFD_SETLK, sync_file_range(2); docs/io.md, "Files",
 * "Flush".
 */
#ifndef IOURING_AFILE_H
#define IOURING_AFILE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"

struct afile_config {
	const char *path; /* /proc/self/fd/N, /dev/fd/N: a duplicate of an inherited descriptor */
	bool is_readonly;
	bool is_direct; /* O_DIRECT */
	bool no_lock;   /* do not take the image lock */
};

/* What open found out. Immutable. Sizes in bytes. */
struct afile {
	int fd;
	bool is_readonly, is_direct, is_blockdev;
	bool can_punch;       /* FALLOC_FL_PUNCH_HOLE works: discard, and zeroing */
	bool can_zero;        /* zeroing works: by FALLOC_FL_ZERO_RANGE, on -EOPNOTSUPP by a hole */
	bool has_lost;        /* what others wrote before may be lost: the caller's to say */
	uint32_t mem_align;   /* of buffers, 1 unless O_DIRECT */
	uint32_t io_align;    /* of offset and length, 1 unless O_DIRECT */
	uint32_t block_bytes; /* preferred unit, for the guest's topology */
	uint64_t size_bytes;  /* at open */
};

/*
 * Open, check, lock (shared for reading, exclusive for writing, whole file, released with the last
 * descriptor). Never blocks on what is no disk image, never changes the file.
 */
MUST_CHECK int afile_open(struct afile *out, const struct afile_config *cfg);
void afile_close(struct afile *f);
/*
 * A witness of write-backs that fail from now on, into *out: the image once more, for reading,
 * without a lock. The kernel tells each open file of such a loss once, and on another one whoever
 * asked may have died with the answer. -EOPNOTSUPP: the system cannot say.
 */
MUST_CHECK int afile_witness(const struct afile *f, int *out);
/* Has one failed since the last call? Waits for no I/O. */
bool afile_saw_loss(int witness);
/* Size now: files and devices grow. */
MUST_CHECK int afile_size(const struct afile *f, uint64_t *out);

#endif
