/* child.c - see children.h: in the zygote, and in the processes of devices. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/err.h"
#include "base/log.h"
#include "base/num.h"
#include "children.h"
#include "jail.h"
#include "sandbox.h"
#include "virtio/vhost_user.h"

#define CHILD_RING_ENTRIES 64
#define CHILD_MAX_FILES    1024 /* four for each queue, the frontend's memory, a ring each */
#define CHILD_MAX_THREADS  256  /* the kernel's, for its rings, are counted too */

static unsigned child_keep(void *ctx, int *fds, unsigned max)
{
	const struct vm *vm = ctx;
	unsigned nr = 0;
	for (unsigned i = 0; i < vm->c->nr_disks && nr + 1 < max; i++) {
		if (vm->files.places[i] >= 0)
			fds[nr++] = vm->files.places[i];
		else if (vm->files.disk_is_open[i])
			fds[nr++] = vm->files.disks[i].fd;
		if (vm->files.witnesses[i] >= 0)
			fds[nr++] = vm->files.witnesses[i];
	}
	return nr;
}

static enum sandbox_role child_role(const struct vm *vm, unsigned dev)
{
	if (child_is_disk(vm, dev))
		return SANDBOX_BLOCK;
	return child_is_rng(vm, dev) ? SANDBOX_RNG : SANDBOX_CONSOLE;
}

/* Before anything of the guest's is read: nobody shall silence another device. */
static void child_unshare_errors(struct vm *vm)
{
	log_share_errors(NULL);
	if (vm->said)
		(void)munmap(vm->said, sizeof(*vm->said)); /* cannot fail: it is ours */
	vm->said = NULL;
}

/* The lists of all that will live below the zygote are made here, once. */
static void child_begin(void *ctx)
{
	struct vm *vm = ctx;
	struct sandbox_options o = { .self = 1, .only_log = vm->c->logs_violations };
	unsigned nr = vm_nr_children(vm->c);
	int err = sandbox_is_possible() ? sandbox_prepare(SANDBOX_SERVER, &o) : -ENOSYS;
	for (unsigned i = 0; i < nr && !err; i++)
		err = sandbox_prepare(child_role(vm, i), &o);
	if (!err)
		err = sandbox_prepare(SANDBOX_ZYGOTE, &o);
	vm->has_lists = !err;
	if (err)
		return; /* each device says that it lacks them */
	sandbox_catch(SANDBOX_ZYGOTE);
	vm->has_lists = !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
			!sandbox_enter(SANDBOX_ZYGOTE, false);
}

/*
 * Has an earlier process been told, or died before it was, that what it had taken is lost? The lock
 * is ours: none of them asks any more.
 */
static void child_look_for_loss(struct vm *vm, unsigned dev)
{
	struct vm_files *f = &vm->files;
	char name[16];
	if (f->witnesses[dev] >= 0 && !f->has_lost[dev] && afile_saw_loss(f->witnesses[dev])) {
		f->has_lost[dev] = true;
		child_name(vm, dev, name);
		log_error("%s: the host could not store what an earlier process had taken: flushes "
			  "fail; check the image's storage, and start anew",
			  name);
	}
	f->disks[dev].has_lost = f->has_lost[dev];
}

/* What it found out about the image is left in vm->files, where the new process finds it. */
static int child_open(void *ctx, unsigned dev, int *fd)
{
	struct vm *vm = ctx;
	if (!child_is_disk(vm, dev) || !vm->c->disks[dev].path)
		return 0;
	struct afile *f = &vm->files.disks[dev];
	if (vm->files.places[dev] >= 0) {
		int err = vm_disk_reopen(&vm->c->disks[dev], vm->files.places[dev], f);
		*fd = err ? -1 : f->fd;
		if (!err)
			child_look_for_loss(vm, dev);
		return err;
	}
	/* inherited, and not to be opened again: there is only this one */
	if (!vm->files.disk_is_open[dev])
		return -ESTALE;
	vm->files.disk_is_open[dev] = false;
	*fd = f->fd;
	return 0;
}

/* --- orders --- */

static int child_resize(struct vm *vm, unsigned dev, uint64_t bytes)
{
	const struct vm_disk_config *d = &vm->c->disks[dev];
	struct stat st;
	char path[48];
	if (!d->path)
		return -EINVAL;
	if (vm->files.places[dev] < 0)
		return -EOPNOTSUPP;
	(void)snprintf(path, sizeof(path), "/proc/thread-self/fd/%d", vm->files.places[dev]);
	CLEANUP(fd_cleanup)
	int fd = open(path, (d->is_readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st))
		return -errno;
	uint32_t block = vm_disk_block_bytes(d, &vm->files.disks[dev]);
	if (!bytes || bytes > INT64_MAX || !is_aligned(bytes, block))
		return -EINVAL;
	off_t now = S_ISREG(st.st_mode) ? st.st_size : lseek(fd, 0, SEEK_END);
	if (now == (off_t)bytes)
		return 0;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (d->is_readonly)
		return -EROFS;
	return ftruncate(fd, (off_t)bytes) ? -errno : 0;
}

static int child_order(void *ctx, unsigned dev, unsigned what, const void *arg, size_t len)
{
	struct vm *vm = ctx;
	uint64_t bytes;
	switch (what) {
	case CHILD_RESIZE:
		if (!child_is_disk(vm, dev) || len != sizeof(bytes))
			return -EINVAL;
		memcpy(&bytes, arg, sizeof(bytes));
		return child_resize(vm, dev, bytes);
	case CHILD_LIMITS:
		if (!child_is_disk(vm, dev) || len != sizeof(vm->ordered_limits[dev]))
			return -EINVAL;
		memcpy(&vm->ordered_limits[dev], arg, len);
		vm->has_ordered_limits[dev] = true;
		return 0;
	case CHILD_WINDOW:
		if (!child_is_console(vm, dev) || len != sizeof(vm->ordered_window))
			return -EINVAL;
		memcpy(&vm->ordered_window, arg, len);
		vm->has_ordered_window = true;
		return 0;
	default:
		return -EINVAL;
	}
}

void child_window(const struct vm *vm, uint16_t *cols, uint16_t *rows)
{
	if (!vm->has_ordered_window)
		return;
	*cols = vm->ordered_window.cols;
	*rows = vm->ordered_window.rows;
}

/* --- in a device's process --- */

static enum vm_status child_make_disk(struct vm *vm, const struct zygote_child *c,
				      struct vdev **out)
{
	const struct vm_disk_config *d = &vm->c->disks[c->dev];
	struct afile *f = d->path ? &vm->files.disks[c->dev] : NULL;
	char name[16];
	child_name(vm, c->dev, name);
	if (f)
		f->fd = c->file;
	struct vm_disk_config now = *d;
	if (vm->has_ordered_limits[c->dev])
		now.limits = vm->ordered_limits[c->dev];
	int err = vm_disk_create(out, NULL, &now, f, name, vm_auto_queues(vm));
	return err ? vm_disk_failed(d, err) : VM_EXIT_OK;
}

static int child_make_console(struct vm *vm, const struct zygote_child *c, struct vdev **out)
{
	struct zygote_gift now = c->gift;
	child_window(vm, &now.cols, &now.rows);
	return vm_console_create(out, vm, &now);
}

static enum vm_status child_make_slow(struct vm *vm, const struct zygote_child *c,
				      struct vdev **out)
{
	struct vworker_config cfg = { .entries = CHILD_RING_ENTRIES };
	char name[16];
	child_name(vm, c->dev, name);
	cfg.name = name;
	int err = vworker_create(&vm->io, &cfg);
	if (err)
		return vm_fail_errno(err, "starting an I/O thread");
	if (child_is_rng(vm, c->dev))
		err = rng_create(out, NULL, vm->io, NULL);
	else
		err = child_make_console(vm, c, out);
	return err ? vm_fail_errno(err, "making a virtio device") : VM_EXIT_OK;
}

/* Where main can see them, and whoever comes after us finds them. */
static int child_count(const struct zygote_child *c, struct vdev *dev)
{
	if (c->gift.counters < 0)
		return 0;
	void *mem = mmap(NULL, CHILD_COUNTER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			 c->gift.counters, 0);
	if (mem == MAP_FAILED)
		return -errno;
	vdev_count_in(dev, mem);
	fd_close(c->gift.counters);
	return 0;
}

enum vm_status child_make(struct vm *vm, const struct zygote_child *c,
			  struct vhost_user_server **out)
{
	struct vdev *dev = NULL;
	enum vm_status st = child_is_disk(vm, c->dev) ? child_make_disk(vm, c, &dev)
						      : child_make_slow(vm, c, &dev);
	if (st)
		return st;
	int err = child_count(c, dev);
	if (!err)
		err = vhost_user_server_create(out, dev);
	if (err)
		vdev_destroy(dev);
	return err ? vm_fail_errno(err, "making a vhost-user server") : VM_EXIT_OK;
}

static enum sandbox_role child_worker_role; /* of this process */

static void child_worker_prologue(void)
{
	int err = sandbox_enter(child_worker_role, false);
	BUG_ON(err); /* the zygote could */
}

/* Lists were compiled for a process that calls itself 1, as it does in a namespace of its own. */
static int child_prepare_lists(const struct vm *vm, const struct zygote_child *c,
			       enum sandbox_role main_role)
{
	struct sandbox_options o = { .self = getpid(), .only_log = vm->c->logs_violations };
	if (o.self != 1)
		sandbox_forget(); /* else they are there, unless this is another program */
	int err = sandbox_prepare(main_role, &o);
	return err ? err : sandbox_prepare(child_role(vm, c->dev), &o);
}

static enum vm_status child_begin_jail(struct vm *vm, const struct zygote_child *c,
				       enum sandbox_role main_role, uint32_t *lacks)
{
	struct jail_config jail = { .ns = c->ns,
				    .max_files = CHILD_MAX_FILES,
				    .max_threads = CHILD_MAX_THREADS };
	*lacks = jail_enter(&jail);
	if (!vm->has_lists) {
		*lacks |= JAIL_SYSCALLS;
		return VM_EXIT_OK;
	}
	child_worker_role = child_role(vm, c->dev);
	int err = child_prepare_lists(vm, c, main_role);
	if (err)
		return vm_fail_errno(err, "making lists of system calls");
	sandbox_catch(child_worker_role);
	thread_set_prologue(child_worker_prologue);
	return VM_EXIT_OK;
}

static void child_say_ready(const struct vm *vm, const struct zygote_child *c,
			    struct vhost_user_server *s, uint32_t lacks)
{
	struct child_about about = { 0 };
	if (child_is_disk(vm, c->dev)) {
		blk_info(vhost_user_server_vdev(s), &about.info);
		strncpy(about.engine, about.info.engine, sizeof(about.engine) - 1);
		strncpy(about.file, about.info.file, sizeof(about.file) - 1);
		about.info.engine = about.info.file = NULL;
	}
	zygote_ready(c, lacks, &about, sizeof(about));
}

static int child_obey_disk(struct vdev *dev, const struct zygote_order *o)
{
	struct blk_limits limits;
	uint64_t bytes;
	switch (o->what) {
	case CHILD_RESIZE:
		memcpy(&bytes, o->arg, sizeof(bytes));
		return o->len == sizeof(bytes) ? blk_set_size(dev, bytes) : -EINVAL;
	case CHILD_LIMITS:
		memcpy(&limits, o->arg, sizeof(limits));
		if (o->len != sizeof(limits))
			return -EINVAL;
		blk_set_limits(dev, &limits);
		return 0;
	default:
		return -EOPNOTSUPP; /* of a newer program than ours */
	}
}

static int child_obey_console(struct vdev *dev, const struct zygote_order *o)
{
	struct vm_window w;
	if (o->what != CHILD_WINDOW)
		return -EOPNOTSUPP;
	if (o->len != sizeof(w))
		return -EINVAL;
	memcpy(&w, o->arg, sizeof(w));
	console_resize(dev, w.cols, w.rows);
	return 0;
}

/* What the zygote has noted for the next process is in force in this one too. */
static int child_obey(struct vdev *dev, const struct zygote_order *o)
{
	switch (dev->ops->id) {
	case VIRTIO_ID_BLOCK:
		return child_obey_disk(dev, o);
	case VIRTIO_ID_CONSOLE:
		return child_obey_console(dev, o);
	default:
		return -EOPNOTSUPP;
	}
}

struct child_orders {
	const struct zygote_child *c;
	struct vdev *dev;
};

static bool child_on_order(void *ctx)
{
	const struct child_orders *from = ctx;
	struct zygote_order o;
	int err = zygote_next_order(from->c, &o);
	if (!err)
		zygote_order_done(from->c, &o, child_obey(from->dev, &o));
	return !err || err == -EAGAIN;
}

enum vm_status child_begin_service(struct vm *vm, const struct zygote_child *c,
				   enum sandbox_role main_role, struct vhost_user_server **out,
				   uint32_t *lacks)
{
	enum vm_status st = child_begin_jail(vm, c, main_role, lacks);
	if (!st && !c->is_trial)
		st = child_make(vm, c, out);
	if (st)
		return st;
	child_unshare_errors(vm);
	thread_set_prologue(NULL); /* threads to come inherit the list of who makes them */
	if (vm->has_lists && sandbox_enter(main_role, false))
		return VM_EXIT_HOST;
	return VM_EXIT_OK;
}

static int child_serve(void *ctx, const struct zygote_child *c)
{
	struct vm *vm = ctx;
	struct vhost_user_server *s = NULL;
	uint32_t lacks;
	if (c->binary >= 0)
		return child_become(vm, c);
	enum vm_status st = child_begin_service(vm, c, SANDBOX_SERVER, &s, &lacks);
	if (st)
		return (int)st;
	if (c->is_trial) {
		zygote_ready(c, lacks, NULL, 0);
		return VM_EXIT_OK;
	}
	struct child_orders orders = { c, vhost_user_server_vdev(s) };
	vhost_user_server_watch(s, c->ready, child_on_order, &orders);
	child_say_ready(vm, c, s, lacks);
	int err = vhost_user_server_serve(s, c->sock, -1);
	vhost_user_server_destroy(s);
	vworker_destroy(vm->io);
	return err ? VM_EXIT_HOST : VM_EXIT_OK;
}

const struct zygote_ops child_ops = {
	.begin = child_begin,
	.open = child_open,
	.serve = child_serve,
	.order = child_order,
	.keep = child_keep,
};
