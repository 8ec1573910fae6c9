/*
 * vm.c - the stage table: every part of a machine in the order it is built, and undone in reverse.
 */
#include "vm/vm.h"
#include <errno.h>
#include <stdlib.h>
#include "base/err.h"
#include "base/log.h"
#include "sync/rcu.h"
#include "vm_priv.h"

static enum vm_status vm_extra_build(struct vm *vm)
{
	return vm->extra ? vm->extra->build(vm, vm->extra->ctx) : VM_EXIT_OK;
}

static void vm_extra_undo(struct vm *vm)
{
	if (vm->extra)
		vm->extra->undo(vm, vm->extra->ctx);
}

/*
 * What checks comes first: until "memory" nothing exists that would have to go away again. The
 * zygote is forked when everything has been checked, and there is no thread and no guest memory.
 */
static const struct vm_stage vm_stages[] = {
	{ "files", vm_files_open, vm_files_close },
	{ "host", vm_host_check, NULL },
	{ "boot", vm_boot_check, vm_boot_undo },
	{ "zygote", vm_zygote_build, vm_zygote_undo },
	{ "signals", vm_signals_build, vm_signals_undo },
	{ "suspend", vm_suspend_build, vm_suspend_undo },
	{ "control", vm_control_build, vm_control_undo },
	{ "memory", vm_memory_build, vm_memory_undo },
	{ "hypervisor", vm_hypervisor_build, vm_hypervisor_undo },
	{ "buses", vm_buses_build, vm_buses_undo },
	{ "io", vm_io_build, vm_io_undo },
	{ "ports", vm_ports_build, vm_ports_undo },
	{ "platform", vm_platform_build, vm_platform_undo },
	{ "vdevs", vm_vdevs_build, vm_vdevs_undo },
	{ "extra", vm_extra_build, vm_extra_undo },
	{ "load", vm_load_build, NULL },
	{ "cpus", vm_cpus_build, vm_cpus_undo },
};

void vm_post_event(struct vm *vm, enum vm_event e)
{
	unsigned none = 0;
	/* release: pairs with the acquire in the control loop; the vCPU's exit is visible there */
	(void)atomic_compare_exchange_strong_explicit(&vm->event, &none, (unsigned)e,
						      memory_order_release, memory_order_relaxed);
	notifier_signal(&vm->wake);
}

static struct vm *vm_new(const struct vm_config *c)
{
	struct vm *vm = zalloc_aligned(sizeof(*vm));
	if (!vm)
		return NULL;
	vm->c = c;
	vm->signal_fd = -1;
	vm->wake.fd = -1;
	vm_files_init(&vm->files);
	vm->cpus = calloc(c->nr_cpus, sizeof(*vm->cpus));
	if (!vm->cpus) {
		free(vm);
		return NULL;
	}
	return vm;
}

enum vm_status vm_run(const struct vm_config *c)
{
	return vm_run_with(c, NULL);
}

enum vm_status vm_run_with(const struct vm_config *c, const struct vm_extra *extra)
{
	struct vm *vm = vm_new(c);
	if (!vm)
		return vm_fail_errno(-ENOMEM, "memory for the VM's own state");
	vm->extra = extra;
	rcu_enter_thread();
	size_t built = 0;
	enum vm_status status = VM_EXIT_OK;
	while (built < ARRAY_SIZE(vm_stages) && status == VM_EXIT_OK) {
		log_debug("stage %s", vm_stages[built].name);
		status = vm_stages[built++].build(vm);
	}
	if (status == VM_EXIT_OK)
		status = c->dry_run ? vm_print_choices(vm) : vm_cpus_run(vm);
	while (built--)
		if (vm_stages[built].undo)
			vm_stages[built].undo(vm);
	rcu_leave_thread();
	if (vm->io_hangs)
		return status; /* not long before the process ends */
	free(vm->cpus);
	free(vm);
	return status;
}
