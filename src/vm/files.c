/* files.c - open and check everything the user named, before anything is made. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/err.h"
#include "base/host_err.h"
#include "base/num.h"
#include "vm_priv.h"

#define DISK_LOCK_WAIT_NS (2 * NSEC_PER_SEC)
#define DISK_LOCK_TICK_NS (2 * 1000 * 1000ull)

/* Open @path for reading; only regular files will do. A FIFO must not make us wait. */
static enum vm_status files_open(int *out, const char *option, const char *path, uint64_t *bytes)
{
	struct stat st;
	CLEANUP(fd_cleanup) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return vm_fail_named(-errno, option, path, "check the path and its permissions");
	if (!S_ISREG(st.st_mode))
		return vm_fail(VM_EXIT_USAGE, "%s: %s: %s; give a regular file", option, path,
			       S_ISDIR(st.st_mode) ? "is a directory" : "is not a file");
	if (!st.st_size)
		return vm_fail(VM_EXIT_USAGE, "%s: %s: is empty; give the file that was meant",
			       option, path);
	if (bytes)
		*bytes = (uint64_t)st.st_size;
	*out = take_fd(fd);
	return VM_EXIT_OK;
}

static enum vm_status files_open_kernel(struct vm *vm)
{
	const struct vm_config *c = vm->c;
	const char *why = "not a kernel";
	enum vm_status st = files_open(&vm->files.kernel, "kernel", c->kernel, NULL);
	if (st)
		return st;
	int err = machine_probe_kernel(&vm->files.kernel_info, vm->files.kernel, &why);
	if (host_err_is(err))
		return vm_fail_named(err, "kernel", c->kernel, NULL);
	if (err)
		return vm_fail(VM_EXIT_USAGE,
			       "kernel: %s: %s; give an x86_64 bzImage or ELF vmlinux", c->kernel,
			       why);
	return VM_EXIT_OK;
}

/* A name for what afile_open() found, and what to do about it. */
static enum vm_status files_disk_error(const struct vm_disk_config *d, int err)
{
	const char *why = strerror(-err), *remedy = "check the path";
	char option[40];
	(void)snprintf(option, sizeof(option), "--%s", d->option); /* fits */
	if (host_err_is(err))
		return vm_fail_named(err, option, d->path, NULL);
	switch (err) {
	case -EISDIR:
	case -EINVAL:
	case -ENXIO:
	case -ENODEV:
		why = err == -EISDIR ? "is a directory"
				     : "is not a file or block device that can do this";
		remedy = d->is_direct ? "give an image file, or leave out 'direct'"
				      : "give an image file or block device";
		break;
	case -EOPNOTSUPP:
		why = "its file system has no direct I/O";
		remedy = "leave out 'direct'";
		break;
	case -EACCES:
	case -EPERM:
	case -EROFS:
		remedy = d->is_readonly ? "check its permissions"
					: "make it writable, or attach it with 'ro'";
		break;
	case -EAGAIN:
		why = "is in use by another VM, or given twice here";
		remedy = "stop that one, give each disk an image of its own, or attach it "
			 "read-only in both";
		break;
	default:
		break;
	}
	return vm_fail(VM_EXIT_USAGE, "%s: %s: %s; %s", option, d->path, why, remedy);
}

/* Formats whose header would be taken for data, to the user's surprise. */
static bool files_is_foreign(const struct afile *f)
{
	static const char qcow2[4] = { 'Q', 'F', 'I', (char)0xfb };
	void *buf;
	if (posix_memalign(&buf, 4096, 4096))
		return false;
	ssize_t n = pread(f->fd, buf, 4096, 0);
	bool is_foreign = n >= 4 && !memcmp(buf, qcow2, sizeof(qcow2));
	free(buf);
	return is_foreign;
}

uint32_t vm_disk_block_bytes(const struct vm_disk_config *d, const struct afile *f)
{
	if (d->block_bytes)
		return d->block_bytes;
	return f && f->io_align > 512 ? f->io_align : 512;
}

static enum vm_status files_check_disk(const struct vm_disk_config *d, const struct afile *f)
{
	uint32_t block = vm_disk_block_bytes(d, f);
	if (!f->size_bytes)
		return vm_fail(VM_EXIT_USAGE,
			       "--%s: %s: is empty; make it larger: truncate -s 1G %s", d->option,
			       d->path, d->path);
	if (block < f->io_align || block > 4096)
		return vm_fail(VM_EXIT_USAGE,
			       "--%s: %s: direct I/O to it works in units of %u bytes; give "
			       "block-size=%u, or leave out 'direct'",
			       d->option, d->path, f->io_align, f->io_align);
	if (!is_aligned(f->size_bytes, block))
		return vm_fail(VM_EXIT_USAGE,
			       "--%s: %s: its size of %llu bytes is not a multiple of %u; pad it: "
			       "truncate -s %%%u %s",
			       d->option, d->path, (unsigned long long)f->size_bytes, block, block,
			       d->path);
	if (d->may_be_any_format && files_is_foreign(f))
		return vm_fail(
			VM_EXIT_USAGE,
			"--%s: %s: is a qcow2 image: not supported: convert it with 'qemu-img "
			"convert -O raw', or say format=raw",
			d->option, d->path);
	if (d->discard == VM_ON && (d->is_readonly || !f->can_punch))
		return vm_fail(VM_EXIT_USAGE, "--%s: %s: discard=on: %s; leave it out", d->option,
			       d->path,
			       d->is_readonly ? "the disk is read-only"
					      : "its file system cannot discard");
	return VM_EXIT_OK;
}

/*
 * A process that was killed lets go of its image only when the last of its I/O has ended, a moment
 * after it is gone itself. Whoever takes its place has to wait for that, or old writes could land
 * after new ones. Unless @wait is false.
 */
static int files_open_image(struct afile *f, const struct afile_config *cfg, bool wait)
{
	const struct timespec tick = { 0, (long)DISK_LOCK_TICK_NS };
	int err = afile_open(f, cfg);
	uint64_t left_ns = wait ? DISK_LOCK_WAIT_NS : 0;
	for (; err == -EAGAIN && left_ns; left_ns -= DISK_LOCK_TICK_NS) {
		(void)nanosleep(&tick, NULL); /* a short sleep is as good */
		err = afile_open(f, cfg);
	}
	return err;
}

static enum vm_status files_open_checked(const struct vm_disk_config *d, bool wait, struct afile *f)
{
	struct afile_config cfg = { d->path, d->is_readonly, d->is_direct, false };
	int err = files_open_image(f, &cfg, wait);
	if (err)
		return files_disk_error(d, err);
	enum vm_status st = files_check_disk(d, f);
	if (st)
		afile_close(f);
	return st;
}

enum vm_status vm_disk_open(const struct vm_disk_config *d, struct afile *f)
{
	return files_open_checked(d, true, f);
}

/* Not /proc/self, which would mean a duplicate: this is opened anew, with a lock of its own. */
static int files_reopen(const struct vm_disk_config *d, int place, bool wait, struct afile *f)
{
	char path[48];
	(void)snprintf(path, sizeof(path), "/proc/thread-self/fd/%d", place); /* fits */
	struct afile_config cfg = { path, d->is_readonly, d->is_direct, false };
	return files_open_image(f, &cfg, wait);
}

int vm_disk_reopen(const struct vm_disk_config *d, int place, struct afile *f)
{
	int err = files_reopen(d, place, false, f);
	if (err)
		return err;
	if (!files_check_disk(d, f))
		return 0;
	afile_close(f); /* shrunk meanwhile: it was told */
	return -EINVAL;
}

/* The number in a path that names an inherited descriptor; NULL: another path. */
static const char *files_inherited(const char *path)
{
	static const char *const prefixes[] = { "/proc/self/fd/", "/dev/fd/" };
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (!strncmp(path, prefixes[i], strlen(prefixes[i])))
			return path + strlen(prefixes[i]);
	return NULL;
}

/* A lock that we have ourselves, for a disk before @i, is not worth waiting for. */
static bool files_may_wait(const struct vm *vm, unsigned i)
{
	struct stat st, before;
	if (stat(vm->c->disks[i].path, &st))
		return true; /* whoever opens it says why */
	for (unsigned j = 0; j < i; j++)
		if (vm->files.disk_is_open[j] && !fstat(vm->files.disks[j].fd, &before) &&
		    before.st_dev == st.st_dev && before.st_ino == st.st_ino)
			return false;
	return true;
}

/*
 * A process of its own will open the image, and whoever has it open has its lock: here only its
 * place is kept. An inherited descriptor may be all that we are allowed, or the lock its giver's:
 * then it stays as it is, and there can be one process only.
 */
static enum vm_status files_open_place(struct vm *vm, unsigned i)
{
	const struct vm_disk_config *d = &vm->c->disks[i];
	const char *number = files_inherited(d->path);
	struct afile *f = &vm->files.disks[i];
	char path[48] = "/proc/thread-self/fd/";
	bool may_wait = files_may_wait(vm, i);
	if (number)
		strncat(path, number, 11);
	CLEANUP(fd_cleanup) int place = open(number ? path : d->path, O_PATH | O_CLOEXEC);
	int err = place < 0 ? -errno : 0;
	if (!err)
		err = number && vm->files.shares_inherited
			      ? -EBUSY
			      : files_reopen(d, place, !number && may_wait, f);
	if (err && !number)
		return files_disk_error(d, err);
	enum vm_status st = err ? files_open_checked(d, may_wait, f) : files_check_disk(d, f);
	vm->files.disk_is_open[i] = !st;
	if (!err && st)
		afile_close(f);
	if (!err && !st)
		vm->files.places[i] = take_fd(place);
	if (vm->files.places[i] >= 0 && !f->is_readonly &&
	    afile_witness(f, &vm->files.witnesses[i]))
		log_debug("%s: the host does not tell twice of a failed write", d->path);
	return st;
}

static enum vm_status files_open_disk(struct vm *vm, unsigned i)
{
	const struct vm_disk_config *d = &vm->c->disks[i];
	if (!d->path)
		return VM_EXIT_OK;
	if (vm->c->sandbox != VM_SANDBOX_OFF)
		return files_open_place(vm, i);
	enum vm_status st = files_open_checked(d, files_may_wait(vm, i), &vm->files.disks[i]);
	vm->files.disk_is_open[i] = st == VM_EXIT_OK;
	return st;
}

/* All are checked, against each other too: leave them to the processes that will have them. */
static void files_let_go(struct vm *vm)
{
	for (unsigned i = 0; i < vm->c->nr_disks; i++) {
		if (vm->files.places[i] < 0)
			continue;
		afile_close(&vm->files.disks[i]);
		vm->files.disk_is_open[i] = false;
	}
}

static enum vm_status files_open_tables(struct vm *vm)
{
	enum vm_status st = VM_EXIT_OK;
	for (unsigned i = 0; i < vm->c->nr_acpi_tables && !st; i++)
		st = files_open(&vm->files.tables[i], "--acpi-table", vm->c->acpi_tables[i], NULL);
	return st;
}

void vm_files_init(struct vm_files *f)
{
	f->kernel = f->initrd = f->bios = -1;
	for (unsigned i = 0; i < VM_MAX_TABLES; i++)
		f->tables[i] = -1;
	for (unsigned i = 0; i < VM_MAX_DISKS; i++)
		f->places[i] = f->witnesses[i] = -1;
}

enum vm_status vm_files_open(struct vm *vm)
{
	const struct vm_config *c = vm->c;
	enum vm_status st = c->kernel ? files_open_kernel(vm) : VM_EXIT_OK;
	if (!st && c->initrd)
		st = files_open(&vm->files.initrd, "--initrd", c->initrd, &vm->files.initrd_bytes);
	if (!st && c->bios)
		st = files_open(&vm->files.bios, "--bios", c->bios, NULL);
	if (!st)
		st = files_open_tables(vm);
	for (unsigned i = 0; !st && i < c->nr_disks; i++)
		st = files_open_disk(vm, i);
	files_let_go(vm);
	return st;
}

void vm_files_drop_witnesses(struct vm *vm)
{
	for (unsigned i = 0; i < VM_MAX_DISKS; i++)
		fd_close(take_fd(vm->files.witnesses[i]));
}

void vm_files_close(struct vm *vm)
{
	vm_files_drop_witnesses(vm);
	fd_close(vm->files.kernel);
	fd_close(vm->files.initrd);
	fd_close(vm->files.bios);
	for (unsigned i = 0; i < VM_MAX_TABLES; i++)
		fd_close(vm->files.tables[i]);
	for (unsigned i = 0; i < VM_MAX_DISKS; i++)
		if (vm->files.disk_is_open[i])
			afile_close(&vm->files.disks[i]);
	for (unsigned i = 0; i < VM_MAX_DISKS; i++)
		fd_close(vm->files.places[i]);
}
