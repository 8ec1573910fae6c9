/* machine.c - host check, guest memory, hypervisor, buses, and what boots. */
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>
#include "base/host_err.h"
#include "base/log.h"
#include "base/num.h"
#include "vm_priv.h"

static enum vm_status host_no_kvm(const struct vm_config *c, int err)
{
	const char *remedy = "check --kvm-device";
	if (err == -ENOENT || err == -ENODEV || err == -ENXIO)
		remedy = "load the kvm module (modprobe kvm_intel or kvm_amd), and enable "
			 "virtualization in "
			 "the firmware";
	if (err == -EACCES || err == -EPERM)
		remedy = "join the group kvm, or run as root";
	if (host_err_is(err))
		return vm_fail_errno(err, c->kvm_device);
	if (err == -EPROTO)
		return vm_fail(VM_EXIT_HOST, "%s: lacks %s; a newer kernel is needed",
			       c->kvm_device, hv_missing());
	if (err == -ENOTTY || err == -EISDIR)
		return vm_fail(VM_EXIT_USAGE,
			       "--kvm-device: %s: is not a KVM device; give /dev/kvm",
			       c->kvm_device);
	return vm_fail(VM_EXIT_HOST, "%s: %s; %s", c->kvm_device, strerror(-err), remedy);
}

/* Memory that is bound to a node takes its pages there, whatever others have. */
static enum vm_status host_check_hugepages(const struct vm_config *c, uint64_t page)
{
	char dir[PLACE_DIR_BYTES], who[32] = "the host";
	int node = c->place.node;
	long need = (long)(c->ram_bytes / page), have = place_free_hugepages(page, node);
	if (have >= need)
		return VM_EXIT_OK;
	place_hugepages_dir(dir, page, node);
	if (node != PLACE_NODE_ANY)
		(void)snprintf(who, sizeof(who), "NUMA node %d", node); /* fits */
	return vm_fail(VM_EXIT_HOST,
		       "--mem: needs %ld huge pages of %llu MiB, %s has %ld free; reserve them in "
		       "%s/nr_hugepages",
		       need, (unsigned long long)(page / MIB), who, have < 0 ? 0 : have, dir);
}

static enum vm_status host_check_memory(const struct vm *vm)
{
	const struct vm_config *c = vm->c;
	struct sysinfo si;
	uint64_t page = place_page_bytes(c->place.pages), max = machine_max_ram(vm->host.phys_bits);
	if (c->ram_bytes > max)
		return vm_fail(VM_EXIT_USAGE,
			       "--mem: more than the %llu GiB this host's KVM can address; "
			       "give less",
			       (unsigned long long)(max / GIB));
	if (page > 4 * KIB)
		return host_check_hugepages(c, page);
	if (sysinfo(&si))
		return VM_EXIT_OK;
	uint64_t total = ((uint64_t)si.totalram + si.totalswap) * si.mem_unit;
	if (c->ram_bytes > total)
		return vm_fail(VM_EXIT_USAGE,
			       "--mem: more than the %llu MiB this host has; give less",
			       (unsigned long long)(total / MIB));
	return VM_EXIT_OK;
}

/* Pinning to CPUs that are not ours to use would fail later, half-way up. */
static enum vm_status host_check_cpus(const char *option, const cpu_set_t *want)
{
	cpu_set_t mine, both;
	if (!want || sched_getaffinity(0, sizeof(mine), &mine))
		return VM_EXIT_OK;
	CPU_AND(&both, &mine, want);
	if (CPU_EQUAL(&both, want))
		return VM_EXIT_OK;
	return vm_fail(VM_EXIT_USAGE,
		       "--%s: not all of these CPUs may be used here; 'taskset -p $$' and "
		       "'lscpu -e' show which may",
		       option);
}

enum vm_status vm_host_check(struct vm *vm)
{
	const struct vm_config *c = vm->c;
	int err = hv_probe(&vm->host, c->kvm_device);
	if (err)
		return host_no_kvm(c, err);
	if (c->nr_cpus > vm->host.max_vcpus)
		return vm_fail(VM_EXIT_USAGE,
			       "--cpus: %u vCPUs, this host's KVM allows %u; give fewer",
			       c->nr_cpus, vm->host.max_vcpus);
	uint32_t last_id = machine_cpu_id(&c->topology, c->nr_cpus, c->nr_cpus - 1);
	if (last_id >= vm->host.max_vcpu_id)
		return vm_fail(VM_EXIT_USAGE,
			       "--cpus: topology= needs CPU numbers up to %u, this host's KVM has "
			       "them up to %u; give powers of two, or fewer CPUs",
			       last_id, vm->host.max_vcpu_id - 1);
	enum vm_status st = host_check_memory(vm);
	for (unsigned i = 0; !st && i < c->nr_cpus; i++)
		st = host_check_cpus("cpu-affinity", c->vcpu_affinity[i]);
	for (unsigned i = 0; !st && i < c->nr_disks; i++)
		st = host_check_cpus(c->disks[i].option, c->disks[i].cpus);
	return st;
}

enum vm_status vm_memory_build(struct vm *vm)
{
	struct gmem_extent extents[2];
	unsigned nr = machine_ram_extents(vm->c->ram_bytes, extents);
	int err = gmem_create(&vm->mem, extents, nr, &vm->c->place);
	return err ? vm_fail_errno(err, "--mem: guest memory") : VM_EXIT_OK;
}

void vm_memory_undo(struct vm *vm)
{
	if (!vm->io_hangs)
		gmem_destroy(vm->mem);
}

enum vm_status vm_hypervisor_build(struct vm *vm)
{
	int err = hv_create(&vm->hv, vm->c->kvm_device);
	if (err)
		return host_no_kvm(vm->c, err);
	err = hv_map_memory(vm->hv, vm->mem);
	return err ? vm_fail_errno(err, "setting up memory and chips of the VM") : VM_EXIT_OK;
}

void vm_hypervisor_undo(struct vm *vm)
{
	if (!vm->io_hangs)
		hv_destroy(vm->hv);
}

static void buses_irq_refused(void *ctx)
{
	struct vm *vm = ctx;
	/* relaxed: what it says is looked up under locks */
	atomic_store_explicit(&vm->owes_irqs, true, memory_order_relaxed);
	notifier_signal(&vm->wake);
}

enum vm_status vm_buses_build(struct vm *vm)
{
	machine_pci_windows(vm->c->ram_bytes, vm->host.phys_bits, &vm->windows);
	int err = bus_create(&vm->pio, BUS_PIO);
	if (!err)
		err = bus_create(&vm->mmio, BUS_MMIO);
	vm->pci_host = (struct pci_host){
		vm->mmio,          vm->pio, hv_irq_chip(vm->hv), hv_doorbell_chip(vm->hv),
		buses_irq_refused, vm
	};
	if (!err)
		err = pci_bus_create(&vm->pci, &vm->pci_host, &vm->windows);
	return err ? vm_fail_errno(err, "making the buses") : VM_EXIT_OK;
}

void vm_buses_undo(struct vm *vm)
{
	if (vm->io_hangs)
		return;
	pci_bus_destroy(vm->pci);
	bus_destroy(vm->mmio);
	bus_destroy(vm->pio);
}

/* --- what boots --- */

struct text {
	char *s;
	bool failed;
};

PRINTF(2, 3) static void text_add(struct text *t, const char *fmt, ...)
{
	char *more = NULL, *joined = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&more, fmt, ap);
	va_end(ap);
	if (n < 0 || asprintf(&joined, "%s%s%s", t->s ? t->s : "", t->s ? " " : "", more) < 0)
		t->failed = true;
	else
		free(t->s);
	if (!t->failed)
		t->s = joined;
	if (n >= 0)
		free(more);
}

static void cmdline_add_console(struct text *t, const struct vm_config *c)
{
	unsigned hvc = 0;
	for (unsigned i = 0; i < c->nr_serial; i++) {
		const struct vm_serial_config *s = &c->serial[i];
		if (s->is_earlycon)
			text_add(t, "earlycon=%s", machine_serial_earlycon(s->num - 1));
		if (s->is_console && s->is_virtio)
			text_add(t, "console=hvc%u", hvc);
		else if (s->is_console)
			text_add(t, "console=%s", machine_serial_tty(s->num - 1));
		hvc += vm_serial_is_hvc(s);
	}
}

static char *cmdline_make(const struct vm *vm)
{
	const struct vm_config *c = vm->c;
	struct text t = { 0 };
	text_add(&t, "%s", machine_base_cmdline(&vm->host));
	cmdline_add_console(&t, c);
	for (unsigned i = 0; i < c->nr_disks; i++)
		if (c->disks[i].is_root)
			text_add(&t, "root=/dev/vd%c %s", 'a' + i,
				 c->disks[i].is_readonly ? "ro" : "rw");
	if (*c->params)
		text_add(&t, "%s", c->params);
	if (!t.failed)
		return t.s;
	free(t.s);
	return NULL;
}

/* What does not boot, in the user's words: which option, and what to do. */
static enum vm_status boot_refused(const struct vm *vm, int err, const char *why)
{
	const struct vm_config *c = vm->c;
	switch (err) {
	case 0:
		return VM_EXIT_OK;
	case -ENOMEM:
		return vm_fail_errno(err, "loading the guest");
	case -ENAMETOOLONG:
		return vm_fail(VM_EXIT_USAGE, "--params: %s; shorten it", why);
	case -EFBIG:
		return vm_fail(VM_EXIT_USAGE, "--initrd: %s: %s; give more memory with --mem",
			       c->initrd, why);
	case -E2BIG:
		return vm_fail(VM_EXIT_USAGE, "%s: %s; give more memory with --mem",
			       c->bios ? "--bios" : c->kernel, why);
	case -EINVAL:
		if (c->nr_acpi_tables)
			return vm_fail(VM_EXIT_USAGE, "--acpi-table: %s", why);
		__attribute__((fallthrough));
	default:
		if (c->bios)
			return vm_fail(VM_EXIT_USAGE, "--bios: %s: %s; give another image", c->bios,
				       why);
		return vm_fail(VM_EXIT_USAGE, "kernel: %s: %s", c->kernel, why);
	}
}

enum vm_status vm_load_build(struct vm *vm)
{
	const char *why = "does not fit";
	int err = machine_load(&vm->boot, vm->hv, vm->mem, &why);
	return boot_refused(vm, err, why);
}

/* Sizes and places, before there is any memory: the last of the checks. */
enum vm_status vm_boot_check(struct vm *vm)
{
	const char *why = "does not fit";
	if (vm->host.kind == HV_SOFTWARE && vm->c->kernel &&
	    vm->files.kernel_info.format == KERNEL_BZIMAGE)
		log_warn("kernel: this host's KVM works in software; a stock kernel will not get "
			 "far on it");
	vm->cmdline = cmdline_make(vm);
	if (!vm->cmdline)
		return vm_fail_errno(-ENOMEM, "kernel arguments");
	machine_pci_windows(vm->c->ram_bytes, vm->host.phys_bits, &vm->windows);
	vm->boot = (struct machine_boot){
		.kernel_fd = vm->files.kernel,
		.kernel = vm->c->kernel ? &vm->files.kernel_info : NULL,
		.initrd_fd = vm->files.initrd,
		.initrd_bytes = vm->files.initrd_bytes,
		.cmdline = vm->cmdline,
		.bios_fd = vm->files.bios,
		.acpi_table_fds = vm->files.tables,
		.nr_acpi_tables = vm->c->nr_acpi_tables,
		.ram_bytes = vm->c->ram_bytes,
		.nr_cpus = vm->c->nr_cpus,
		.topology = vm->c->topology,
		.pci = &vm->windows,
	};
	int err = machine_check_boot(&vm->boot, &why);
	return boot_refused(vm, err, why);
}

void vm_boot_undo(struct vm *vm)
{
	free(vm->cmdline);
}
