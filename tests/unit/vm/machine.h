/*
 * machine.h - a machine with a disk and an entropy device that are not there: bodies that do
 * nothing, behind real PCI transports, and operations that note what they are asked for.
 *
 * Layer:   tests
 * Threads: the test's own.
 * Errors:  asserted.
 * Spec:    src/vm/device_ops.h.
 */
#ifndef TESTS_UNIT_VM_MACHINE_H
#define TESTS_UNIT_VM_MACHINE_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/err.h"
#include "base/num.h"
#include "src/vm/vm_priv.h"
#include "support/fake_vdev.h"
#include "sync/rcu.h"

enum { MACHINE_DISK, MACHINE_RNG, MACHINE_DEVICES };

struct machine {
	struct vm vm;
	struct vm_config c;
	struct fake_vdev *dev[MACHINE_DEVICES];
	struct vm_device_info info; /* of the disk */
	int err;                    /* what operations answer */
	const char *why;            /* ... in words, for a program; NULL: none */
	bool is_tried;              /* a program begins its trial, whatever @err says */
	/* what they were asked for */
	unsigned calls, of;
	uint64_t bytes;
	struct blk_limits limits;
	char binary[64];
	int trial; /* an eventfd: a count ends the trial */
};

static inline struct machine *machine_of(struct vm *vm)
{
	return container_of(vm, struct machine, vm);
}

static inline int machine_resize(struct vm *vm, unsigned dev, uint64_t bytes)
{
	struct machine *m = machine_of(vm);
	m->calls++;
	m->of = dev;
	m->bytes = bytes;
	return m->err;
}

static inline int machine_set_limits(struct vm *vm, unsigned dev, const struct blk_limits *l)
{
	struct machine *m = machine_of(vm);
	m->calls++;
	m->of = dev;
	m->limits = *l;
	return m->err;
}

static inline int machine_restart(struct vm *vm, unsigned dev)
{
	struct machine *m = machine_of(vm);
	m->calls++;
	m->of = dev;
	(void)snprintf(m->binary, sizeof(m->binary), "(ours)");
	return m->err;
}

static inline int machine_answer(struct machine *m, char why[VM_WHY_BYTES])
{
	(void)snprintf(why, VM_WHY_BYTES, "%s", m->why ? m->why : "");
	return m->err;
}

static inline int machine_try(struct vm *vm, unsigned dev, const struct vm_binary *binary,
			      int *trial, char why[VM_WHY_BYTES])
{
	struct machine *m = machine_of(vm);
	m->of = dev;
	(void)snprintf(m->binary, sizeof(m->binary), "%s", binary->path);
	if (!m->is_tried)
		return machine_answer(m, why);
	m->trial = eventfd(0, EFD_CLOEXEC);
	assert_true(m->trial >= 0);
	*trial = dup(m->trial);
	return 0;
}

static inline int machine_judge(struct vm *vm, unsigned dev, int trial, char why[VM_WHY_BYTES])
{
	struct machine *m = machine_of(vm);
	eventfd_t over;
	assert_int_equal(dev, m->of);
	assert_int_equal(eventfd_read(trial, &over), 0);
	return machine_answer(m, why);
}

static inline void machine_info(struct vm *vm, unsigned dev, struct vm_device_info *out)
{
	*out = dev == MACHINE_DISK ? machine_of(vm)->info : (struct vm_device_info){ 0 };
}

static const struct vm_device_ops machine_ops = {
	.resize = machine_resize,
	.set_limits = machine_set_limits,
	.restart = machine_restart,
	.try = machine_try,
	.judge = machine_judge,
	.info = machine_info,
};

/* Only queue 0 of a device counts what it does. */
static inline bool machine_queue_stats(struct vdev *d, uint16_t idx, struct vq_stats *out)
{
	(void)d;
	*out = (struct vq_stats){ .requests = 7, .kicks = 3, .interrupts = 2, .errors = 1 };
	return idx == 0;
}

/* Put @d behind PCI as the next device, under @id. */
static inline void machine_plug(struct vm *vm, struct vdev *d, const char *id,
				const struct vm_device_ops *ops)
{
	unsigned n = vm->nr_vdevs;
	strcpy(d->id, id);
	assert_int_equal(virtio_pci_create(&vm->vdevs[n], d), 0);
	vm->device_ops[n] = ops;
	vm->slots[n] = 3 + n;
	vm->nr_vdevs++;
}

static inline void machine_unplug_all(struct vm *vm)
{
	while (vm->nr_vdevs)
		virtio_pci_destroy(vm->vdevs[--vm->nr_vdevs]);
}

static inline int machine_setup(void **state)
{
	static struct vdev_ops body;
	struct machine *m = zalloc_aligned(sizeof(*m));
	assert_non_null(m);
	body = fake_vdev_ops;
	body.queue_stats = machine_queue_stats;
	config_init(&m->c);
	m->vm.c = &m->c;
	m->c.nr_disks = 1;
	m->c.disks[0].option = "block";
	m->info = (struct vm_device_info){ .has_disk = true };
	m->info.disk = (struct blk_info){ .engine = "io_uring",
					  .file = "file",
					  .block_bytes = 512,
					  .nr_queues = 2,
					  .queue_size = 256,
					  .nr_workers = 1,
					  .size_bytes = 8 * MIB };
	assert_int_equal(notifier_init(&m->vm.wake), 0);
	for (unsigned i = 0; i < MACHINE_DEVICES; i++) {
		m->dev[i] = zalloc_aligned(align_up(sizeof(*m->dev[i]), CACHE_ALIGN));
		assert_non_null(m->dev[i]);
		fake_vdev_init(m->dev[i], NULL);
		m->dev[i]->dev.ops = &body;
		machine_plug(&m->vm, &m->dev[i]->dev, i == MACHINE_DISK ? "block0" : "rng",
			     &machine_ops);
	}
	*state = m;
	return 0;
}

static inline int machine_teardown(void **state)
{
	struct machine *m = *state;
	machine_unplug_all(&m->vm);
	for (unsigned i = 0; i < MACHINE_DEVICES; i++)
		free(m->dev[i]);
	notifier_fini(&m->vm.wake);
	m->c.nr_disks = 0; /* its strings are the test's */
	config_fini(&m->c);
	free(m);
	return 0;
}

static inline int machine_group_setup(void **state)
{
	(void)state;
	rcu_enter_thread();
	return 0;
}

static inline int machine_group_teardown(void **state)
{
	(void)state;
	rcu_drain();
	rcu_leave_thread();
	return 0;
}

#endif
