/*
 * suspend.c - a VM that stands still: its vCPUs are parked, no queue runs, nothing is in flight.
 *
 *     vm_suspend()        ask every vCPU to stop         the guest stands
 *     vm_suspend_step()   all parked: hold the devices   what is in flight ends
 *     vm_suspend_step()   all quiet: tell who waits      nobody writes guest memory or images
 *     vm_resume()         let the devices go, wake the vCPUs
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/num.h"
#include "vm_priv.h"

#define SUSPEND_LOOK_MS 2 /* between two looks at devices that come to rest */

enum vm_status vm_suspend_build(struct vm *vm)
{
	struct vm_suspend *s = &vm->suspend;
	mutex_init(&s->lock);
	condvar_init(&s->changed);
	s->done_fd = -1;
	return VM_EXIT_OK;
}

void vm_suspend_undo(struct vm *vm)
{
	struct vm_suspend *s = &vm->suspend;
	fd_close(s->done_fd);
	condvar_fini(&s->changed);
	mutex_fini(&s->lock);
}

const char *vm_state_name(const struct vm *vm)
{
	static const char *const names[] = {
		[VM_RUNS] = "running", [VM_SUSPENDING] = "suspending", [VM_SUSPENDED] = "suspended"
	};
	return names[vm->suspend.state];
}

/* --- vCPUs --- */

bool vm_cpu_park(struct vm *vm)
{
	struct vm_suspend *s = &vm->suspend;
	mutex_lock(&s->lock);
	if (s->is_wanted && ++s->nr_parked == vm->c->nr_cpus)
		notifier_signal(&vm->wake);
	bool was_parked = s->is_wanted;
	while (s->is_wanted && !s->is_over)
		condvar_wait(&s->changed, &s->lock);
	s->nr_parked -= was_parked;
	bool goes_on = !s->is_over;
	mutex_unlock(&s->lock);
	return goes_on;
}

/* What vCPUs that stop are to do. */
static void suspend_want(struct vm *vm, bool is_wanted, bool is_over)
{
	struct vm_suspend *s = &vm->suspend;
	mutex_lock(&s->lock);
	s->is_wanted = is_wanted;
	s->is_over |= is_over;
	mutex_unlock(&s->lock);
	condvar_broadcast(&s->changed);
}

void vm_cpus_unpark(struct vm *vm)
{
	suspend_want(vm, false, true);
}

static bool suspend_all_parked(struct vm *vm)
{
	struct vm_suspend *s = &vm->suspend;
	mutex_lock(&s->lock);
	bool all = s->nr_parked == vm->c->nr_cpus;
	mutex_unlock(&s->lock);
	return all;
}

/* --- devices --- */

static void suspend_hold_devices(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nr_vdevs && !vm->suspend.holds_devices; i++)
		vdev_hold(virtio_pci_vdev(vm->vdevs[i]), VDEV_HOLD_OWNER);
	vm->suspend.holds_devices = true;
}

static void suspend_let_devices_go(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nr_vdevs && vm->suspend.holds_devices; i++)
		vdev_let_go(virtio_pci_vdev(vm->vdevs[i]), VDEV_HOLD_OWNER);
	vm->suspend.holds_devices = false;
}

/* One that has not come to rest; NULL: all have. */
static struct vdev *suspend_busy_device(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nr_vdevs; i++)
		if (!vdev_is_quiet(virtio_pci_vdev(vm->vdevs[i])))
			return virtio_pci_vdev(vm->vdevs[i]);
	return NULL;
}

/* --- the whole --- */

/* Everybody who waits for the end of the suspending hears of it. */
static void suspend_tell(struct vm *vm)
{
	if (vm->suspend.done_fd >= 0)
		notifier_signal_fd(vm->suspend.done_fd);
	fd_close(take_fd(vm->suspend.done_fd));
}

static int suspend_begin(struct vm *vm)
{
	struct vm_suspend *s = &vm->suspend;
	s->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->done_fd < 0)
		return -errno;
	s->state = VM_SUSPENDING;
	s->until_ns = clock_ns() + VM_SUSPEND_WAIT_S * NSEC_PER_SEC;
	s->why[0] = 0;
	suspend_want(vm, true, false);
	vm_cpus_interrupt(vm);
	return 0;
}

int vm_suspend(struct vm *vm, int *later)
{
	struct vm_suspend *s = &vm->suspend;
	bool is_first = s->state == VM_RUNS;
	*later = -1;
	if (s->state == VM_SUSPENDED)
		return 0;
	int err = is_first ? suspend_begin(vm) : 0;
	if (err)
		return err;
	*later = fcntl(s->done_fd, F_DUPFD_CLOEXEC, 0);
	err = *later < 0 ? -errno : 0;
	if (err && is_first)
		vm_resume(vm); /* whoever asked for it hears that it failed */
	return err;
}

void vm_resume(struct vm *vm)
{
	struct vm_suspend *s = &vm->suspend;
	if (s->state == VM_RUNS)
		return;
	suspend_let_devices_go(vm);
	suspend_want(vm, false, false);
	s->state = VM_RUNS;
	suspend_tell(vm);
	log_info("the VM goes on");
}

/* @busy: the device that does not come to rest; NULL: it has not come to that. */
static void suspend_give_up(struct vm *vm, const struct vdev *busy)
{
	struct vm_suspend *s = &vm->suspend;
	if (busy) /* cut is fine */
		(void)snprintf(s->why, sizeof(s->why), "%s has I/O in flight that does not end",
			       busy->id);
	else
		(void)snprintf(s->why, sizeof(s->why), "a vCPU does not stop"); /* fits */
	vm_resume(vm);
}

void vm_suspend_step(struct vm *vm)
{
	struct vm_suspend *s = &vm->suspend;
	const struct vdev *busy = NULL;
	if (s->state != VM_SUSPENDING)
		return;
	if (suspend_all_parked(vm)) {
		suspend_hold_devices(vm);
		busy = suspend_busy_device(vm);
		if (!busy) {
			s->state = VM_SUSPENDED;
			suspend_tell(vm);
			log_info("the VM is suspended");
			return;
		}
	}
	if (clock_ns() > s->until_ns)
		suspend_give_up(vm, busy);
}

int vm_suspend_wait_ms(const struct vm *vm)
{
	return vm->suspend.state == VM_SUSPENDING ? SUSPEND_LOOK_MS : -1;
}
