/*
 * child_inherited.c - see vm/device_server.h: one program becomes another in a device's process.
 * The old one writes down what the device is and executes the new, which makes its own jail: a
 * program needs files to begin with, and in the jail there are none.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/err.h"
#include "base/log.h"
#include "children.h"
#include "handover.h"
#include "sandbox.h"
#include "vm/device_server.h"

/* --- the old program --- */

/*
 * In a user namespace where it is nobody it would lose its rights over that namespace. The jail
 * wants these two, and gives them up.
 */
static void inherit_rights(void)
{
	static const unsigned rights[] = { CAP_SYS_ADMIN, CAP_SETPCAP };
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct now[2];
	if (syscall(SYS_capget, &h, now))
		return; /* the jail will say what it lacks */
	for (size_t i = 0; i < ARRAY_SIZE(rights); i++)
		now[0].inheritable |= now[0].permitted & 1u << rights[i];
	if (syscall(SYS_capset, &h, now))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(rights); i++)
		(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, rights[i], 0, 0);
}

/* All that is open here is meant for the new program, but for the program itself. */
static int inherit_descriptors(const struct zygote_child *c)
{
	int fds[ZYGOTE_MAX_FDS + 4] = { c->sock, c->file, c->ready, c->gift.counters };
	unsigned nr = 4;
	for (unsigned i = 0; i < c->gift.nr_fds; i++)
		fds[nr++] = c->gift.fds[i];
	for (unsigned i = 0; i < nr; i++)
		if (fds[i] >= 0 && fcntl(fds[i], F_SETFD, 0))
			return -errno;
	return 0;
}

static void inherit_console(struct handover *h, const struct vm *vm, const struct zygote_gift *g)
{
	h->kind = HANDOVER_CONSOLE;
	uint16_t cols = g->cols, rows = g->rows;
	child_window(vm, &cols, &rows);
	h->cols = cols;
	h->rows = rows;
	for (unsigned i = 0; i < vm->c->nr_serial; i++) {
		const struct vm_serial_config *s = &vm->c->serial[i];
		unsigned n = h->nr_ports;
		if (!s->is_virtio)
			continue;
		h->ports[n].is_console = s->is_console;
		h->ports[n].owns_in = s->input;
		h->ports[n].owns_out = s->type == VM_SERIAL_FILE;
		h->ports[n].name = s->name;
		h->ports[n].in_fd = 2 * n < g->nr_fds ? g->fds[2 * n] : -1;
		h->ports[n].out_fd = 2 * n < g->nr_fds ? g->fds[2 * n + 1] : -1;
		h->nr_ports++;
	}
	h->keep = g->nr_fds > 2 * h->nr_ports ? g->fds[2 * h->nr_ports] : -1;
}

static void inherit_disk(struct handover *h, const struct vm *vm, unsigned dev)
{
	const struct vm_disk_config *d = &vm->c->disks[dev];
	h->kind = HANDOVER_DISK;
	h->number = dev;
	h->queues = vm_auto_queues(vm);
	h->option = d->option;
	h->text = d->text;
	h->limits = vm->has_ordered_limits[dev] ? vm->ordered_limits[dev] : d->limits;
	h->has_lost = vm->files.has_lost[dev];
	h->has_cpus = d->cpus;
	if (d->cpus)
		h->cpus = *d->cpus;
}

int child_become(const struct vm *vm, const struct zygote_child *c)
{
	struct handover h = { .kind = HANDOVER_RNG,
			      .is_trial = c->is_trial,
			      .has_lists = vm->has_lists,
			      .logs_violations = vm->c->logs_violations,
			      .ns = c->ns,
			      .sock = c->sock,
			      .file = c->file,
			      .ready = c->ready,
			      .counters = c->gift.counters,
			      .log_level = log_get_level() };
	if (child_is_disk(vm, c->dev))
		inherit_disk(&h, vm, c->dev);
	else if (!child_is_rng(vm, c->dev))
		inherit_console(&h, vm, &c->gift);
	CLEANUP(free_cleanup) char *text = handover_write(&h);
	char *argv[] = { "vmm", "device", DEVICE_INHERITED, text, NULL };
	int err = text ? inherit_descriptors(c) : -ENOMEM;
	/* without lists nobody has said so yet */
	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		err = -errno;
	if (!err) {
		inherit_rights();
		(void)syscall(SYS_execveat, c->binary, "", argv, environ, AT_EMPTY_PATH);
		err = -errno;
	}
	zygote_unfit(c, err);
	return VM_EXIT_HOST;
}

/* --- the new program --- */

/* The image is what we were given, open already. */
static int inherited_image(struct vm *vm, const struct vm_config *config, struct zygote_child *c,
			   const struct handover *h)
{
	char path[48];
	struct vm_disk_config d = config->disks[c->dev];
	struct afile *f = &vm->files.disks[c->dev];
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", h->file); /* fits */
	d.path = path;
	if (vm_disk_open(&d, f))
		return -EINVAL;
	f->has_lost = h->has_lost;
	fd_close(h->file); /* a duplicate is open */
	c->file = f->fd;
	return 0;
}

/* Whoever chose them did it for all of the machine. */
static int inherited_cpus(struct vm_disk_config *d, const struct handover *h)
{
	if (d->cpus || !h->has_cpus)
		return 0;
	d->cpus = malloc(sizeof(*d->cpus));
	if (!d->cpus)
		return -ENOMEM;
	*d->cpus = h->cpus;
	return 0;
}

/* Its settings are what the user once said. */
static int inherited_disk(struct vm *vm, struct vm_config *config, struct zygote_child *c,
			  const struct handover *h)
{
	struct config_builder b = { .c = config, .origin = CONFIG_FROM_ARGS };
	int option = config_find(h->option);
	config->nr_disks = c->dev = h->number; /* the next one gets this number */
	config->nr_cpus = h->queues;
	int err = option < 0 ? -EINVAL : config_set(&b, (unsigned)option, h->text);
	if (err || config->nr_disks != h->number + 1) {
		log_error("%s", b.err.text[0] ? b.err.text : "a disk that nobody knows");
		return -EINVAL;
	}
	vm->ordered_limits[c->dev] = h->limits;
	vm->has_ordered_limits[c->dev] = true;
	err = inherited_cpus(&config->disks[c->dev], h);
	return !err && h->file >= 0 ? inherited_image(vm, config, c, h) : err;
}

static void inherited_console(struct vm_config *config, struct zygote_child *c,
			      const struct handover *h)
{
	c->dev = 1; /* behind no disk and the entropy device */
	c->gift.cols = (uint16_t)h->cols;
	c->gift.rows = (uint16_t)h->rows;
	for (unsigned i = 0; i < h->nr_ports; i++) {
		const struct handover_port *p = &h->ports[i];
		struct vm_serial_config *s = &config->serial[config->nr_serial++];
		*s = (struct vm_serial_config){ .is_virtio = true, .is_console = p->is_console };
		/* what they are of does not matter, only that they are the port's own */
		s->type = p->owns_out ? VM_SERIAL_FILE : VM_SERIAL_STDOUT;
		s->input = p->owns_in ? strdup("") : NULL;
		strcpy(s->name, p->name); /* its length was checked */
		c->gift.fds[c->gift.nr_fds++] = p->in_fd;
		c->gift.fds[c->gift.nr_fds++] = p->out_fd;
	}
	if (h->keep >= 0)
		c->gift.fds[c->gift.nr_fds++] = h->keep;
}

static int inherited_make(struct vm *vm, struct vm_config *config, struct zygote_child *c,
			  const struct handover *h)
{
	config_init(config);
	config->logs_violations = h->logs_violations;
	vm->c = config;
	vm->has_lists = h->has_lists;
	log_set_level(h->log_level);
	int err = 0;
	if (h->kind == HANDOVER_DISK)
		err = inherited_disk(vm, config, c, h);
	else if (h->kind == HANDOVER_CONSOLE)
		inherited_console(config, c, h);
	if (err)
		return err;
	char name[16]; /* as the zygote has it; a program that is executed has its file's */
	child_name(vm, c->dev, name);
	(void)prctl(PR_SET_NAME, name); /* a nicety */
	return 0;
}

enum vm_status device_serve_inherited(const char *text)
{
	static struct vm vm; /* one device in a process */
	static struct vm_config config;
	struct handover h;
	(void)mallopt(M_ARENA_MAX, 1); /* as the zygote's */
	sandbox_catch(SANDBOX_ZYGOTE); /* whose list we came with */
	int err = handover_read(&h, text);
	struct zygote_child c = { .sock = h.sock,
				  .file = h.file,
				  .ready = h.ready,
				  .ns = h.ns,
				  .binary = -1,
				  .is_trial = h.is_trial,
				  .gift = { .counters = h.counters } };
	int status = VM_EXIT_USAGE;
	if (err == -EPROTONOSUPPORT)
		zygote_ready(&c, 0, NULL, 0); /* with our version, which says it all */
	else if (err)
		log_error("device: %s: is for 'vmm run' to call", DEVICE_INHERITED);
	else if (inherited_make(&vm, &config, &c, &h))
		status = VM_EXIT_HOST;
	else
		_exit(child_ops.serve(&vm, &c)); /* as the zygote's do: exit() is of no jail */
	config_fini(&config);
	handover_fini(&h);
	return (enum vm_status)status;
}
