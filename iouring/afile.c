/* afile.c - see iouring/afile.h. */
#include "iouring/afile.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "base/err.h"
#include "base/num.h"

/* The descriptor that @path names, or -1 when it is an ordinary path. */
static int afile_inherited_fd(const char *path)
{
	static const char *const prefixes[] = { "/proc/self/fd/", "/dev/fd/" };
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		size_t len = strlen(prefixes[i]);
		if (strncmp(path, prefixes[i], len) || path[len] < '0' || path[len] > '9')
			continue;
		char *end;
		errno = 0;
		long fd = strtol(path + len, &end, 10);
		if (!errno && !*end && fd <= INT32_MAX)
			return (int)fd;
	}
	return -1;
}

/* A duplicate shares position, lock and flags with what we inherited: just what its giver meant. */
static int afile_dup(int fd, const struct afile_config *cfg)
{
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0)
		return -errno;
	int mode = flags & O_ACCMODE;
	if ((flags & O_PATH) || mode == O_WRONLY || (mode == O_RDONLY && !cfg->is_readonly))
		return -EACCES;
	int wanted = (flags & ~O_NONBLOCK) | (cfg->is_direct ? O_DIRECT : 0);
	if (wanted != flags && fcntl(fd, F_SETFL, wanted))
		return errno == EINVAL ? -EOPNOTSUPP : -errno;
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return copy < 0 ? -errno : copy;
}

/* O_NONBLOCK: a FIFO without a peer, a drive without a tape must not hang us. Off again after. */
static int afile_open_path(const struct afile_config *cfg)
{
	int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (cfg->is_readonly ? O_RDONLY : O_RDWR);
	CLEANUP(fd_cleanup) int fd = open(cfg->path, flags | (cfg->is_direct ? O_DIRECT : 0));
	if (fd < 0 && errno == EINVAL && cfg->is_direct) {
		fd = open(cfg->path, flags);
		return fd < 0 ? -errno : -EOPNOTSUPP;
	}
	if (fd < 0)
		return errno == ENXIO ? -EINVAL : -errno; /* ENXIO: a socket */
	if (fcntl(fd, F_SETFL, cfg->is_direct ? O_DIRECT : 0))
		return -errno;
	return take_fd(fd);
}

static int afile_check_kind(struct afile *f, struct stat *st)
{
	if (fstat(f->fd, st))
		return -errno;
	if (S_ISDIR(st->st_mode))
		return -EISDIR;
	if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
		return -EINVAL;
	f->is_blockdev = S_ISBLK(st->st_mode);
	if (f->is_readonly)
		return 0;
	int is_ro = 0;
	if (f->is_blockdev && !ioctl(f->fd, BLKROGET, &is_ro) && is_ro)
		return -EROFS;
	int seals = fcntl(f->fd, F_GET_SEALS); /* fails where there are none */
	return seals >= 0 && (seals & F_SEAL_WRITE) ? -EPERM : 0;
}

static int afile_lock(const struct afile *f)
{
	struct flock l = {
		.l_type = f->is_readonly ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET, /* from 0, length 0: all of it, and what it will grow to */
	};
	if (!fcntl(f->fd, F_OFD_SETLK, &l))
		return 0;
	return errno == EACCES ? -EAGAIN : -errno;
}

/* Does a direct read at this alignment work? An empty file answers yes to everything. */
static bool afile_try_align(const struct afile *f, uint32_t align)
{
	CLEANUP(free_cleanup) void *buf = aligned_alloc(align, align);
	return buf && pread(f->fd, buf, align, 0) >= 0;
}

static void afile_guess_align(struct afile *f, const struct stat *st)
{
	int sector = 0;
	uint32_t align = st->st_blksize > 0 ? (uint32_t)st->st_blksize : 4096;
	if (f->is_blockdev) {
		align = !ioctl(f->fd, BLKSSZGET, &sector) && sector > 0 ? (uint32_t)sector : 512;
	} else if (f->size_bytes >= 4096) {
		align = 512;
		while (align < 4096 && !afile_try_align(f, align))
			align *= 2;
	}
	f->mem_align = f->io_align = align;
}

static int afile_probe_align(struct afile *f, const struct stat *st)
{
	f->mem_align = f->io_align = 1;
	if (!f->is_direct)
		return 0;
	struct statx s = { 0 };
	/* from Linux 6.1 on */
	if (!statx(f->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &s) && (s.stx_mask & STATX_DIOALIGN)) {
		f->mem_align = s.stx_dio_mem_align;
		f->io_align = s.stx_dio_offset_align;
		if (!f->mem_align || !f->io_align)
			return -EOPNOTSUPP; /* this very file cannot: encrypted, compressed, ... */
		return 0;
	}
	afile_guess_align(f, st);
	return 0;
}

/* A number from the queue directory of a block device; a partition's lies one level up. */
static uint64_t afile_queue_limit(dev_t dev, const char *name)
{
	static const char *const where[] = { "", "../" };
	for (size_t i = 0; i < ARRAY_SIZE(where); i++) {
		char path[128];
		(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%squeue/%s", major(dev),
			       minor(dev), where[i], name);
		CLEANUP(fd_cleanup) int fd = open(path, O_RDONLY | O_CLOEXEC);
		char text[32] = "";
		if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
			return strtoull(text, NULL, 10);
	}
	return 0;
}

/*
 * A hole punched behind the end changes nothing, yet answers -EOPNOTSUPP where holes cannot be
 * made. A block device zeroes without writing only if it says so in its limits.
 */
static void afile_probe_discard(struct afile *f, const struct stat *st)
{
	if (f->is_readonly)
		return;
	if (f->is_blockdev) {
		f->can_punch = afile_queue_limit(st->st_rdev, "write_zeroes_max_bytes") > 0;
		f->can_zero = true; /* the kernel writes zeroes if the device cannot */
		return;
	}
	if (f->size_bytes > INT64_MAX - 2 * MIB)
		return;
	f->can_punch = !fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  (off_t)align_up(f->size_bytes, MIB), MIB);
	f->can_zero = f->can_punch;
}

static void afile_probe_block_size(struct afile *f, const struct stat *st)
{
	unsigned physical = 0;
	f->block_bytes = st->st_blksize > 0 ? (uint32_t)st->st_blksize : 4096;
	if (f->is_blockdev && !ioctl(f->fd, BLKPBSZGET, &physical) && physical)
		f->block_bytes = physical;
}

static int afile_probe(struct afile *f, const struct afile_config *cfg)
{
	struct stat st;
	int err = afile_check_kind(f, &st);
	if (!err && !cfg->no_lock)
		err = afile_lock(f);
	if (!err)
		err = afile_size(f, &f->size_bytes);
	if (!err)
		err = afile_probe_align(f, &st);
	if (err)
		return err;
	afile_probe_discard(f, &st);
	afile_probe_block_size(f, &st);
	return 0;
}

int afile_open(struct afile *out, const struct afile_config *cfg)
{
	struct afile f = { .is_readonly = cfg->is_readonly, .is_direct = cfg->is_direct };
	int inherited = afile_inherited_fd(cfg->path);
	f.fd = inherited >= 0 ? afile_dup(inherited, cfg) : afile_open_path(cfg);
	if (f.fd < 0)
		return f.fd;
	int err = afile_probe(&f, cfg);
	if (err) {
		fd_close(f.fd);
		return err;
	}
	*out = f;
	return 0;
}

void afile_close(struct afile *f)
{
	if (!f || !f->block_bytes) /* never opened: its descriptor says nothing */
		return;
	fd_close(f->fd);
	*f = (struct afile){ .fd = -1 };
}

/* Where no image has pages that could be waited for. */
#define AFILE_NOWHERE (1ll << 62)

static int afile_ask_witness(int fd)
{
	return sync_file_range(fd, AFILE_NOWHERE, 1, SYNC_FILE_RANGE_WAIT_BEFORE) ? -errno : 0;
}

int afile_witness(const struct afile *f, int *out)
{
	char path[48];
	(void)snprintf(path, sizeof(path), "/proc/thread-self/fd/%d", f->fd); /* fits */
	CLEANUP(fd_cleanup) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	int err = afile_ask_witness(fd); /* the first time may tell of a loss before it was there */
	if (err == -ENOSYS || err == -EINVAL || err == -EPERM)
		return -EOPNOTSUPP;
	*out = take_fd(fd);
	return 0;
}

bool afile_saw_loss(int witness)
{
	return afile_ask_witness(witness) != 0;
}

int afile_size(const struct afile *f, uint64_t *out)
{
	if (f->is_blockdev)
		return ioctl(f->fd, BLKGETSIZE64, out) ? -errno : 0;
	struct stat st;
	if (fstat(f->fd, &st))
		return -errno;
	*out = (uint64_t)st.st_size;
	return 0;
}
