/* devices.c - the fixed devices of the board, the PCI bridge, and the virtio devices behind it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "base/err.h"
#include "base/log.h"
#include "base/num.h"
#include "vm_priv.h"

#define PORT_DRAIN_NS   (2 * NSEC_PER_SEC) /* for output that nobody reads */
#define PORT_ABORT_NS   (5 * NSEC_PER_SEC) /* for the I/O thread, where the CPUs are busy */
#define IO_RING_ENTRIES 64
#define MAX_AUTO_QUEUES 16

static void machine_event(void *ctx, enum machine_event ev)
{
	vm_post_event(ctx, ev == MACHINE_POWEROFF ? VM_EVENT_POWEROFF : VM_EVENT_RESET);
}

static void user_quit(void *ctx)
{
	vm_post_event(ctx, VM_EVENT_STOP);
}

/* --- the worker of everything that is not a disk --- */

enum vm_status vm_io_build(struct vm *vm)
{
	struct vworker_config cfg = { .name = "vmm-io", .entries = IO_RING_ENTRIES };
	int err = vworker_create(&vm->io, &cfg);
	return err ? vm_fail_errno(err, "starting an I/O thread") : VM_EXIT_OK;
}

void vm_io_undo(struct vm *vm)
{
	if (!vm->io_hangs)
		vworker_destroy(vm->io);
}

/* --- serial ports and consoles: the host's end --- */

/* A pseudo-terminal and the system log have no path that could be wrong. */
static enum vm_status ports_failed(const struct vm_serial_config *s, int err, const char *why)
{
	bool is_named = s->path || s->input;
	return vm_fail_named(err, "--serial", why, is_named ? "check the path" : NULL);
}

enum vm_status vm_ports_build(struct vm *vm)
{
	int err = terminal_open(&vm->terminal, user_quit, vm);
	if (err)
		return vm_fail_errno(err, "the terminal");
	for (unsigned i = 0; i < vm->c->nr_serial; i++) {
		const struct vm_serial_config *s = &vm->c->serial[i];
		char why[ENDPOINT_WHY];
		err = endpoint_open(&vm->ports[i], s, vm->terminal, vm->c->syslog_tag, why);
		if (err)
			return ports_failed(s, err, why);
	}
	return VM_EXIT_OK;
}

void vm_ports_undo(struct vm *vm)
{
	/* to close a file that hangs would hang, too */
	for (unsigned i = 0; i < vm->c->nr_serial && !vm->io_hangs; i++)
		endpoint_close(&vm->ports[i], vm->has_run);
	terminal_close(vm->terminal);
}

/* --- the board --- */

/* The host's end of serial port @index; closed when the user named none. */
static const struct endpoint *platform_port(const struct vm *vm, unsigned index)
{
	for (unsigned i = 0; i < vm->c->nr_serial; i++)
		if (!vm->c->serial[i].is_virtio && vm->c->serial[i].num == index + 1)
			return &vm->ports[i];
	return NULL;
}

static int platform_add_serial(struct vm *vm, const struct machine_dev *d,
			       const struct irq_line *irq, const struct bus_ops **ops, void **ctx)
{
	const struct endpoint *e = platform_port(vm, d->index);
	struct serial_config cfg = {
		.reactor = vworker_reactor(vm->io),
		.in_fd = e ? e->in_fd : -1,
		.out_fd = e ? e->out_fd : -1,
		.irq = { irq_share_chip(vm->serial_irqs), irq->gsi },
	};
	BUG_ON(d->index >= VM_NR_SERIAL);
	int err = serial_create(&vm->serial[d->index], &cfg);
	if (err)
		return err;
	serial_start(vm->serial[d->index]);
	*ops = &serial_bus_ops;
	*ctx = vm->serial[d->index];
	return 0;
}

static int platform_add_rtc(struct vm *vm, const struct irq_line *irq, const struct bus_ops **ops,
			    void **ctx)
{
	uint64_t low = 0, high = 0;
	struct gmem_extent e[2];
	unsigned nr = machine_ram_extents(vm->c->ram_bytes, e);
	for (unsigned i = 0; i < nr; i++)
		*(e[i].start < 4 * GIB ? &low : &high) += e[i].len;
	struct rtc_config cfg = {
		.reactor = vworker_reactor(vm->io),
		.low_ram_bytes = low,
		.high_ram_bytes = high,
		.irq = *irq,
	};
	int err = rtc_create(&vm->rtc, &cfg);
	*ops = &rtc_bus_ops;
	*ctx = vm->rtc;
	return err;
}

static int platform_add_i8042(struct vm *vm, bool is_data, const struct bus_ops **ops, void **ctx)
{
	struct machine_sink sink = { machine_event, vm };
	int err = vm->i8042 ? 0 : i8042_create(&vm->i8042, &sink);
	*ops = is_data ? &i8042_data_bus_ops : &i8042_command_bus_ops;
	*ctx = vm->i8042;
	return err;
}

static int platform_add_pm(struct vm *vm, const struct irq_line *irq, const struct bus_ops **ops,
			   void **ctx)
{
	struct acpi_pm_config cfg = {
		.sink = { machine_event, vm },
		.sci = *irq,
		.s5_slp_typ = machine_s5_slp_typ,
	};
	int err = acpi_pm_create(&vm->pm, &cfg);
	*ops = &acpi_pm_bus_ops;
	*ctx = vm->pm;
	return err;
}

static int platform_add_pci(struct vm *vm, bool is_ecam, const struct bus_ops **ops, void **ctx)
{
	struct machine_sink sink = { machine_event, vm };
	int err = vm->root ? 0 : pci_root_create(&vm->root, vm->pci, &sink);
	*ops = is_ecam ? &pci_root_ecam_bus_ops : &pci_root_cf8_bus_ops;
	*ctx = vm->root;
	return err;
}

static int platform_add(struct vm *vm, const struct machine_dev *d)
{
	const struct bus_ops *ops = NULL;
	void *ctx = NULL;
	struct irq_line irq = { d->gsi == MACHINE_NO_GSI ? NULL : hv_irq_chip(vm->hv), d->gsi };
	int err = -EINVAL;
	switch (d->kind) {
	case MACHINE_DEV_SERIAL:
		err = platform_add_serial(vm, d, &irq, &ops, &ctx);
		break;
	case MACHINE_DEV_RTC:
		err = platform_add_rtc(vm, &irq, &ops, &ctx);
		break;
	case MACHINE_DEV_I8042_DATA:
	case MACHINE_DEV_I8042_COMMAND:
		err = platform_add_i8042(vm, d->kind == MACHINE_DEV_I8042_DATA, &ops, &ctx);
		break;
	case MACHINE_DEV_ACPI_PM:
		err = platform_add_pm(vm, &irq, &ops, &ctx);
		break;
	case MACHINE_DEV_PCI_CF8:
	case MACHINE_DEV_PCI_ECAM:
		err = platform_add_pci(vm, d->kind == MACHINE_DEV_PCI_ECAM, &ops, &ctx);
		break;
	}
	if (err)
		return err;
	return bus_add(d->space == BUS_PIO ? vm->pio : vm->mmio, d->base, d->len, ops, ctx);
}

enum vm_status vm_platform_build(struct vm *vm)
{
	int err = irq_share_create(&vm->serial_irqs, hv_irq_chip(vm->hv));
	if (err)
		return vm_fail_errno(err, "making the serial ports' interrupts");
	for (unsigned i = 0; i < machine_nr_devs; i++) {
		err = platform_add(vm, &machine_devs[i]);
		if (err)
			return vm_fail_errno(err, "making a platform device");
	}
	return VM_EXIT_OK;
}

/* Once one hangs the others lose their patience: the I/O thread may be inside that write. */
static void platform_stop_ports(struct vm *vm)
{
	for (unsigned i = 0; i < VM_NR_SERIAL; i++) {
		uint64_t abort_ns = vm->io_hangs ? 0 : PORT_ABORT_NS;
		if (!vm->serial[i] || serial_stop(vm->serial[i], PORT_DRAIN_NS, abort_ns))
			continue;
		if (!vm->io_hangs)
			log_warn("serial port %u: its output hangs; what was left of it is lost",
				 i + 1);
		vm->io_hangs = true;
	}
}

void vm_platform_undo(struct vm *vm)
{
	platform_stop_ports(vm);
	if (vm->io_hangs)
		return;
	for (unsigned i = 0; i < machine_nr_devs; i++) {
		const struct machine_dev *d = &machine_devs[i];
		/* -ENOENT: was never added */
		ignore(bus_remove(d->space == BUS_PIO ? vm->pio : vm->mmio, d->base, d->len));
	}
	for (unsigned i = 0; i < VM_NR_SERIAL; i++)
		serial_destroy(vm->serial[i]);
	irq_share_destroy(vm->serial_irqs);
	rtc_destroy(vm->rtc);
	i8042_destroy(vm->i8042);
	acpi_pm_destroy(vm->pm);
	pci_root_destroy(vm->root);
}

/* --- virtio --- */

/* Put @d behind PCI and plug it; takes @d over, on failure too. @ops: of its body. */
static int vdevs_plug(struct vm *vm, struct vdev *d, const struct vm_device_ops *ops)
{
	struct virtio_pci *v = NULL;
	BUG_ON(vm->nr_vdevs == VM_MAX_VDEVS);
	int err = virtio_pci_create(&v, d);
	if (err) {
		vdev_destroy(d);
		return err;
	}
	int slot = pci_bus_add(vm->pci, virtio_pci_func(v), -1);
	if (slot < 0) {
		virtio_pci_destroy(v);
		return slot;
	}
	vm->slots[vm->nr_vdevs] = (unsigned)slot;
	vm->device_ops[vm->nr_vdevs] = ops;
	vm->vdevs[vm->nr_vdevs++] = v;
	return 0;
}

unsigned vm_auto_queues(const struct vm *vm)
{
	return min_u32(vm->c->nr_cpus, MAX_AUTO_QUEUES);
}

static enum vm_status vdevs_make_disk(struct vdev **out, struct vm *vm, unsigned i)
{
	const struct vm_disk_config *d = &vm->c->disks[i];
	char name[16];
	(void)snprintf(name, sizeof(name), "block%u", i); /* fits */
	int err = vm_disk_create(out, vm->mem, d, d->path ? &vm->files.disks[i] : NULL, name,
				 vm_auto_queues(vm));
	if (err)
		return vm_disk_failed(d, err);
	vm->files.disk_is_open[i] = false; /* the device's now */
	return VM_EXIT_OK;
}

bool vm_serial_is_hvc(const struct vm_serial_config *s)
{
	return s->is_virtio && (!s->name[0] || s->is_console);
}

unsigned vm_nr_consoles(const struct vm_config *c)
{
	unsigned nr = 0;
	for (unsigned i = 0; i < c->nr_serial; i++)
		nr += c->serial[i].is_virtio;
	return nr;
}

/* Behind the ports' descriptors may stand the memory that its processes share. */
static int vm_console_keep(const struct zygote_gift *g, unsigned nr_ports, void **out)
{
	*out = NULL;
	if (g->nr_fds == 2 * nr_ports)
		return 0;
	void *mem = mmap(NULL, CONSOLE_KEEP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			 g->fds[2 * nr_ports], 0);
	if (mem == MAP_FAILED)
		return -errno;
	*out = mem;
	return 0;
}

/* All virtio consoles are ports of one device. */
int vm_console_create(struct vdev **out, struct vm *vm, const struct zygote_gift *g)
{
	struct console_port_config ports[2 * VM_NR_SERIAL] = { 0 };
	struct console_config cfg = { .ports = ports, .cols = g->cols, .rows = g->rows };
	for (unsigned i = 0; i < vm->c->nr_serial; i++) {
		const struct vm_serial_config *s = &vm->c->serial[i];
		if (!s->is_virtio)
			continue;
		struct console_port_config *p = &ports[cfg.nr_ports];
		p->in_fd = g->fds[2 * cfg.nr_ports];
		p->out_fd = g->fds[2 * cfg.nr_ports + 1];
		p->owns_in = s->input != NULL;
		p->owns_out = s->type == VM_SERIAL_FILE;
		p->is_console = vm_serial_is_hvc(s);
		memcpy(p->name, s->name, sizeof(p->name));
		cfg.nr_ports++;
	}
	int err = vm_console_keep(g, cfg.nr_ports, &cfg.keep);
	return err ? err : console_create(out, vm->mem, vm->io, &cfg);
}

/* Of the terminal behind a port; unknown where none has one. */
static struct vm_window vm_console_window(const struct vm *vm)
{
	struct winsize ws;
	for (unsigned i = 0; i < vm->c->nr_serial; i++) {
		const struct vm_serial_config *s = &vm->c->serial[i];
		if (s->is_virtio && s->is_stdin && !ioctl(STDIN_FILENO, TIOCGWINSZ, &ws))
			return (struct vm_window){ ws.ws_col, ws.ws_row };
	}
	return (struct vm_window){ 0 };
}

void vm_window_changed(struct vm *vm)
{
	struct vm_window w = vm_console_window(vm);
	for (unsigned i = 0; w.cols && i < vm->nr_vdevs; i++) {
		const struct vm_device_ops *ops = vm->device_ops[i];
		int err = ops->set_window ? ops->set_window(vm, i, &w) : -EOPNOTSUPP;
		if (err && err != -EOPNOTSUPP)
			log_warn("console: the size of the terminal: %s", strerror(-err));
	}
}

void vm_console_gift(const struct vm *vm, struct zygote_gift *g)
{
	struct vm_window w = vm_console_window(vm);
	*g = (struct zygote_gift){ .counters = -1, .cols = w.cols, .rows = w.rows };
	for (unsigned i = 0; i < vm->c->nr_serial; i++) {
		const struct vm_serial_config *s = &vm->c->serial[i];
		if (!s->is_virtio)
			continue;
		g->fds[g->nr_fds++] = vm->ports[i].in_fd;
		g->fds[g->nr_fds++] = vm->ports[i].out_fd;
	}
}

/* A device of the numbers of children.c that lives here. */
static enum vm_status vdevs_make_here(struct vdev **out, struct vm *vm, unsigned dev)
{
	struct zygote_gift g;
	if (dev < vm->c->nr_disks)
		return vdevs_make_disk(out, vm, dev);
	int err;
	if (dev == vm->c->nr_disks) {
		err = rng_create(out, vm->mem, vm->io, NULL);
	} else {
		vm_console_gift(vm, &g);
		err = vm_console_create(out, vm, &g);
	}
	return err ? vm_fail_errno(err, "making a virtio device") : VM_EXIT_OK;
}

static enum vm_status vdevs_add_vhost(struct vm *vm, unsigned i)
{
	struct vdev *dev = NULL;
	enum vm_status st = vm_vhost_create(&dev, vm->mem, &vm->c->vhost[i], i);
	int err = st ? 0 : vdevs_plug(vm, dev, &vm_device_vhost);
	return err ? vm_fail_errno(err, "plugging a vhost-user device") : st;
}

/* Once for the machine: where one ring cannot be, mostly none can. */
static void vdevs_tell_engine(struct vm *vm)
{
	bool is_told = vm_tell_engine(reactor_engine_name(vworker_reactor(vm->io)));
	for (unsigned i = 0; i < vm->c->nr_disks && !is_told; i++) {
		struct vm_device_info info;
		vm->device_ops[i]->info(vm, i, &info);
		is_told = vm_tell_engine(info.disk.engine);
	}
}

enum vm_status vm_vdevs_build(struct vm *vm)
{
	unsigned nr = vm_nr_children(vm->c);
	for (unsigned dev = 0; dev < nr; dev++) {
		struct vdev *d = NULL;
		enum vm_status st = vm->zygote ? vm_child_create(&d, vm, dev)
					       : vdevs_make_here(&d, vm, dev);
		if (st)
			return st;
		int err = vdevs_plug(vm, d, vm->zygote ? &vm_device_child : &vm_device_here);
		if (err)
			return vm_fail_errno(err, "making a virtio device");
	}
	/* behind those that children.c counts */
	for (unsigned i = 0; i < vm->c->nr_vhost; i++) {
		enum vm_status st = vdevs_add_vhost(vm, i);
		if (st)
			return st;
	}
	vdevs_tell_engine(vm);
	return vm_children_check(vm);
}

/* Wait for I/O in flight: its buffers are guest memory. Says so when it takes long. */
static void vdevs_wait_quiet(struct vdev *d)
{
	const struct timespec tick = { 0, 100000 };
	for (unsigned i = 1; !vdev_is_quiet(d); i++) {
		(void)nanosleep(&tick, NULL); /* a short sleep is as good */
		if (i % 50000 == 0)
			log_warn("%s: still waiting for I/O in flight", d->id);
	}
}

void vm_vdevs_undo(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nr_vdevs; i++)
		vdev_hold(virtio_pci_vdev(vm->vdevs[i]), VDEV_HOLD_END);
	while (vm->nr_vdevs) {
		struct virtio_pci *v = vm->vdevs[--vm->nr_vdevs];
		vdevs_wait_quiet(virtio_pci_vdev(v));
		pci_bus_remove(vm->pci, virtio_pci_func(v));
		virtio_pci_destroy(v);
	}
}
