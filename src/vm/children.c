/* children.c - see children.h: main's side, a frontend for each process. */
#include "children.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/err.h"
#include "base/le.h"
#include "base/log.h"
#include "base/num.h"
#include "jail.h"
#include "virtio/vhost_front.h"

#define CHILD_RNG_QUEUE     64
#define CHILD_CONSOLE_QUEUE 128
#define CHILD_BEGINNINGS    5
#define CHILD_MAX_DEATHS    3 /* of another program: fewer than end a device */

bool child_is_disk(const struct vm *vm, unsigned dev)
{
	return dev < vm->c->nr_disks;
}

bool child_is_rng(const struct vm *vm, unsigned dev)
{
	return dev == vm->c->nr_disks;
}

bool child_is_console(const struct vm *vm, unsigned dev)
{
	return dev == vm->c->nr_disks + 1 && dev < vm_nr_children(vm->c);
}

unsigned vm_nr_children(const struct vm_config *c)
{
	return c->nr_disks + 1 + (vm_nr_consoles(c) > 0);
}

void child_name(const struct vm *vm, unsigned dev, char name[16])
{
	if (child_is_disk(vm, dev))
		(void)snprintf(name, 16, "block%u", dev); /* fits */
	else
		strcpy(name, child_is_rng(vm, dev) ? "rng" : "console");
}

/* Main's threads have no use for the rights it may have been started with; see vm_zygote_build().
 */
static void main_thread_prologue(void)
{
	(void)jail_give_up_rights(); /* vm_confine() says if main could not */
}

/*
 * What all devices lack, and main perhaps too, is said by one of them. Where there is no memory for
 * that, each says it.
 */
static void main_share_errors(struct vm *vm)
{
	void *p = mmap(NULL, sizeof(*vm->said), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	vm->said = p == MAP_FAILED ? NULL : p;
	log_share_errors(vm->said);
}

/*
 * The memory that the processes of a device count in, one after the other. It is sealed, so that
 * none can take it away under us; what they write there is shown and nothing else.
 */
static int child_make_counters(struct vm_child *ch)
{
	CLEANUP(fd_cleanup) int fd = memfd_create("counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, CHILD_COUNTER_BYTES) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return -errno;
	void *mem = mmap(NULL, CHILD_COUNTER_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		return -errno;
	ch->counters = mem;
	ch->gift = (struct zygote_gift){ .counters = take_fd(fd) };
	zygote_set_gift(ch->zygote, &ch->gift);
	return 0;
}

static int children_make(struct vm *vm)
{
	int err = 0;
	for (unsigned i = 0; i < vm_nr_children(vm->c) && !err; i++) {
		vm->children[i].zygote = zygote_device(vm->zygote, i);
		err = child_make_counters(&vm->children[i]);
	}
	return err;
}

enum vm_status vm_zygote_build(struct vm *vm)
{
	char names[VM_MAX_VDEVS][16];
	const char *list[VM_MAX_VDEVS];
	unsigned nr = vm_nr_children(vm->c);
	if (vm->c->sandbox == VM_SANDBOX_OFF)
		return VM_EXIT_OK;
	/* further arenas read a setting of the host when they shrink, which no list allows */
	(void)mallopt(M_ARENA_MAX, 1);
	main_share_errors(vm);
	for (unsigned i = 0; i < nr; i++) {
		child_name(vm, i, names[i]);
		list[i] = names[i];
	}
	struct zygote_config cfg = {
		.ops = &child_ops, .ctx = vm, .nr_devices = nr, .names = list, .is_jailed = true
	};
	int err = zygote_create(&vm->zygote, &cfg);
	vm_files_drop_witnesses(vm);
	if (!err)
		err = children_make(vm);
	if (err)
		return vm_fail_errno(err, "making the process that makes devices");
	for (unsigned i = 0; i < nr; i++)
		if (child_is_disk(vm, i) || child_is_rng(vm, i))
			zygote_start(zygote_device(vm->zygote, i)); /* while we go on */
	/* main keeps what it has until all is built; of the rest threads to come get nothing */
	(void)jail_forgo_rights(); /* vm_confine() tries again, and says so */
	thread_set_prologue(main_thread_prologue);
	return VM_EXIT_OK;
}

void vm_zygote_undo(struct vm *vm)
{
	if (vm->console_keep) {
		(void)munmap(vm->console_keep, CONSOLE_KEEP_BYTES); /* our own mapping */
		fd_close(vm->console_keep_fd);
	}
	thread_set_prologue(NULL);
	zygote_destroy(vm->zygote);
	log_share_errors(NULL);
	if (vm->said)
		(void)munmap(vm->said, sizeof(*vm->said)); /* cannot fail: it is ours */
	for (unsigned i = 0; i < ARRAY_SIZE(vm->children); i++) {
		struct vm_child *ch = &vm->children[i];
		if (!ch->counters)
			continue;
		(void)munmap((void *)(uintptr_t)ch->counters, CHILD_COUNTER_BYTES); /* is one */
		fd_close(ch->gift.counters);
	}
}

/* As struct vhost_front_config wants it: is it worth asking again? */
static int child_connect(void *ctx)
{
	struct vm_child *ch = ctx;
	struct vhost_front_info info = { 0 };
	/* acquire: pairs with the release in vm_child_create() */
	struct vdev *front = atomic_load_explicit(&ch->front, memory_order_acquire);
	if (front)
		vhost_front_info(front, &info);
	if (info.deaths >= CHILD_MAX_DEATHS)
		zygote_distrust(ch->zygote);
	int sock = zygote_connect(ch->zygote);
	if (sock == -EAGAIN)
		return -EBUSY; /* the last process's I/O holds the lock */
	return sock == -ECANCELED ? -EAGAIN : sock;
}

static void child_kill(void *ctx)
{
	zygote_kill(((struct vm_child *)ctx)->zygote);
}

/* A process may die while it is introduced, too: that is no reason not to start. */
static bool child_was_killed(const struct zygote_device *d, int err)
{
	return err == -ECONNRESET || err == -EPIPE || (err == -EAGAIN && zygote_status(d) > 128);
}

/* Where a first process fails it has mostly said why itself. */
static enum vm_status child_failed(struct zygote_device *d, const char *name, int err)
{
	int status = zygote_status(d);
	if (err != -EAGAIN || !status) {
		char what[64];
		(void)snprintf(what, sizeof(what), "%s: starting its process", name); /* fits */
		return vm_fail_errno(err, what);
	}
	if (status > 128)
		return vm_fail(VM_EXIT_HOST, "%s: its process was ended by signal %d (%s)", name,
			       status - 128, strsignal(status - 128));
	return (enum vm_status)status;
}

/* What the driver is offered is the same as with the device in this process. */
static void child_describe(const struct vm *vm, unsigned dev, struct vhost_front_config *cfg)
{
	if (!child_is_disk(vm, dev) || !vm->c->disks[dev].has_packed)
		cfg->hidden = 1ull << VIRTIO_F_RING_PACKED;
	if (child_is_disk(vm, dev)) {
		const struct vm_disk_config *d = &vm->c->disks[dev];
		cfg->id = VIRTIO_ID_BLOCK;
		cfg->nr_queues = (uint16_t)(d->queues ? d->queues : vm_auto_queues(vm));
		cfg->queue_size = vm_disk_queue_size(d);
	} else if (child_is_rng(vm, dev)) {
		cfg->id = VIRTIO_ID_RNG;
		cfg->nr_queues = 1;
		cfg->queue_size = CHILD_RNG_QUEUE;
	} else {
		cfg->id = VIRTIO_ID_CONSOLE;
		cfg->queue_size = CHILD_CONSOLE_QUEUE;
		cfg->has_no_stop = true; /* output taken over from one that died would be cut */
		cfg->forget = console_keep_forget;
		cfg->forget_queue = console_keep_forget_queue;
		cfg->forget_ctx = vm->console_keep;
	}
}

/* Memory of the console's processes, one after the other: none can shrink it under the next. */
static int child_keep_create(struct vm *vm)
{
	CLEANUP(fd_cleanup) int fd = memfd_create("vmm-console", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, CONSOLE_KEEP_BYTES))
		return -errno;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	void *mem = mmap(NULL, CONSOLE_KEEP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		return -errno;
	vm->console_keep = mem;
	vm->console_keep_fd = take_fd(fd);
	return 0;
}

/* What the console's processes start with. */
static int child_give_console(struct vm *vm, const struct vm_child *ch)
{
	struct zygote_gift g;
	int err = child_keep_create(vm);
	if (err)
		return err;
	vm_console_gift(vm, &g);
	g.fds[g.nr_fds++] = vm->console_keep_fd;
	g.counters = ch->gift.counters;
	zygote_set_gift(ch->zygote, &g);
	return 0;
}

enum vm_status vm_child_create(struct vdev **out, struct vm *vm, unsigned dev)
{
	struct vm_child *ch = &vm->children[dev];
	struct zygote_device *d = ch->zygote;
	char name[16];
	child_name(vm, dev, name);
	struct vhost_front_config cfg = { .name = name,
					  .connect = child_connect,
					  .kill = child_kill,
					  .ctx = ch,
					  .counters = ch->counters };
	int err = 0;
	if (!child_is_disk(vm, dev) && !child_is_rng(vm, dev))
		err = child_give_console(vm, ch);
	if (err)
		return vm_fail_errno(err, "memory that outlives the console's process");
	child_describe(vm, dev, &cfg);
	err = vhost_front_create(out, vm->mem, &cfg);
	for (unsigned i = 1; i < CHILD_BEGINNINGS && child_was_killed(d, err); i++)
		err = vhost_front_create(out, vm->mem, &cfg);
	if (err)
		return child_failed(d, name, err);
	/* release: pairs with the acquire in child_connect() */
	atomic_store_explicit(&ch->front, *out, memory_order_release);
	return VM_EXIT_OK;
}

enum vm_status child_check_jail(const struct vm_config *c, uint32_t lacks)
{
	char words[256];
	if (!lacks)
		return VM_EXIT_OK;
	jail_words(lacks, words, sizeof(words));
	if (c->sandbox == VM_SANDBOX_REQUIRE)
		return vm_fail(VM_EXIT_HOST,
			       "--sandbox=require: this host refuses devices: %s; allow it, or say "
			       "--sandbox=auto",
			       words);
	log_warn("sandbox: this host refuses devices: %s; they run without", words);
	return VM_EXIT_OK;
}

enum vm_status vm_children_check(struct vm *vm)
{
	uint32_t lacks = 0;
	for (unsigned i = 0; vm->zygote && i < vm_nr_children(vm->c); i++)
		lacks |= zygote_lacks(zygote_device(vm->zygote, i));
	return child_check_jail(vm->c, lacks);
}

/* --- for the operator --- */

/* A process that does not do it is replaced by one that begins with it. */
static int child_order(struct vm *vm, unsigned dev, enum child_order what, const void *arg,
		       size_t len)
{
	bool is_done;
	int err = zygote_order(vm->zygote, dev, what, arg, len, &is_done);
	if (!err && !is_done)
		vhost_front_restart(virtio_pci_vdev(vm->vdevs[dev]));
	return err;
}

static int child_op_resize(struct vm *vm, unsigned dev, uint64_t bytes)
{
	if (!child_is_disk(vm, dev))
		return -EOPNOTSUPP;
	int err = child_order(vm, dev, CHILD_RESIZE, &bytes, sizeof(bytes));
	if (!err)
		vm->ordered_bytes[dev] = bytes;
	return err;
}

static int child_op_set_limits(struct vm *vm, unsigned dev, const struct blk_limits *l)
{
	if (!child_is_disk(vm, dev))
		return -EOPNOTSUPP;
	return child_order(vm, dev, CHILD_LIMITS, l, sizeof(*l));
}

static int child_op_set_window(struct vm *vm, unsigned dev, const struct vm_window *w)
{
	if (!child_is_console(vm, dev))
		return -EOPNOTSUPP;
	return child_order(vm, dev, CHILD_WINDOW, w, sizeof(*w));
}

static void child_less_jail(uint32_t lacks, char why[VM_WHY_BYTES])
{
	char words[VM_WHY_BYTES - 32];
	jail_words(lacks, words, sizeof(words));
	(void)snprintf(why, VM_WHY_BYTES, "would lack of its jail: %s", words); /* fits */
}

static void child_refusal(int err, const struct zygote_verdict *v, char why[VM_WHY_BYTES])
{
	const char *text = strerror(-err);
	if (err == -EISDIR)
		text = "is a directory";
	else if (err == -EACCES)
		text = "is no file that may be executed, or an image of this VM";
	else if (err == -ENOEXEC)
		text = "is no program of this machine";
	else if (err == -ENOENT)
		text = "is a script, or lacks what it needs to begin";
	else if (err == -EPROTO)
		text = "is no vmm";
	else if (err == -ETIMEDOUT)
		text = "is not ready in time";
	else if (err == -EBUSY)
		text = "has to wait: another program is being tried for the device";
	(void)snprintf(why, VM_WHY_BYTES, "%s", text); /* fits, as the others do */
	if (err == -EPROTONOSUPPORT)
		(void)snprintf(why, VM_WHY_BYTES, "is vmm %s, of handover version %u; this is %u",
			       v->version, v->handover, ZYGOTE_HANDOVER);
	else if (err == -EPERM && v->lacks)
		child_less_jail(v->lacks, why);
	else if (err == -ECANCELED && v->status > 128)
		(void)snprintf(why, VM_WHY_BYTES, "was ended by signal %d (%s)", v->status - 128,
			       strsignal(v->status - 128));
	else if (err == -ECANCELED)
		(void)snprintf(why, VM_WHY_BYTES, "ended with status %d instead of being ready",
			       v->status);
}

static int child_op_restart(struct vm *vm, unsigned dev)
{
	vhost_front_restart(virtio_pci_vdev(vm->vdevs[dev]));
	return 0;
}

static int child_op_try(struct vm *vm, unsigned dev, const struct vm_binary *binary, int *trial,
			char why[VM_WHY_BYTES])
{
	const struct zygote_verdict none = { 0 };
	if (binary->fd < 0)
		return -EBADF;
	int err = zygote_try(vm->zygote, dev, binary->fd, binary->path, trial);
	if (err)
		child_refusal(err, &none, why);
	return err;
}

static int child_op_judge(struct vm *vm, unsigned dev, int trial, char why[VM_WHY_BYTES])
{
	struct zygote_verdict v;
	int err = zygote_verdict(trial, &v);
	if (err)
		child_refusal(err, &v, why);
	return err ? err : child_op_restart(vm, dev);
}

static uint64_t child_capacity(struct vm *vm, unsigned dev)
{
	le64_t sectors;
	vdev_config_read(virtio_pci_vdev(vm->vdevs[dev]), 0, &sectors, sizeof(sectors));
	return le64_get(sectors) * 512;
}

static void child_op_info(struct vm *vm, unsigned dev, struct vm_device_info *out)
{
	static struct child_about about; /* its strings stay until the next call: control thread */
	struct zygote_device *d = zygote_device(vm->zygote, dev);
	struct vhost_front_info front;
	vhost_front_info(virtio_pci_vdev(vm->vdevs[dev]), &front);
	*out = (struct vm_device_info){ .pid = zygote_pid(d),
					.restarts = front.restarts,
					.last_pause_ns = front.last_ns,
					.longest_pause_ns = front.longest_ns };
	zygote_program(d, out->version, out->binary);
	out->has_disk = child_is_disk(vm, dev);
	if (!out->has_disk)
		return;
	zygote_about(d, &about, sizeof(about));
	out->disk = about.info;
	out->disk.engine = about.engine;
	out->disk.file = about.file;
	out->disk.size_bytes = vm->ordered_bytes[dev] ? vm->ordered_bytes[dev]
						      : child_capacity(vm, dev);
}

const struct vm_device_ops vm_device_child = {
	.resize = child_op_resize,
	.set_limits = child_op_set_limits,
	.set_window = child_op_set_window,
	.restart = child_op_restart,
	.try = child_op_try,
	.judge = child_op_judge,
	.info = child_op_info,
};
