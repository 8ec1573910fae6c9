/*
 * device_ops.h - a virtio device as its VM's operator sees it, wherever its body runs.
 *
 * Layer:   vm
 * Threads: control thread; a call may take as long as a system call on the image does.
 * Errors:  negative errno. -EOPNOTSUPP: this device, or its body, has no such thing. -EINVAL,
 *          -EROFS and others of the device itself.
 * Spec:    docs/control.md.
 *
 * Devices have numbers, in the order they were plugged: disk n is device n. Each has a table of its
 * own in struct vm, because one machine may have bodies of several kinds.
 */
#ifndef VM_DEVICE_OPS_H
#define VM_DEVICE_OPS_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/compiler.h"
#include "dev/virtio_devs.h"

struct vm;

struct vm_device_info {
	pid_t pid;         /* of its process; 0: it lives in this one */
	unsigned restarts; /* processes that took over from another */
	uint64_t last_pause_ns,
		longest_pause_ns; /* without one, while the driver used the device */
	bool has_disk;            /* @disk is filled in */
	struct blk_info disk;
};

struct vm_device_ops {
	/* Disks. The image is made so large, where it is a file, and the driver told. */
	int (*resize)(struct vm *vm, unsigned dev, uint64_t bytes);
	int (*set_limits)(struct vm *vm, unsigned dev, const struct blk_limits *l);
	/* Put a new process in its place, of @binary (NULL: of the same program). */
	int (*restart)(struct vm *vm, unsigned dev, const char *binary);
	void (*info)(struct vm *vm, unsigned dev, struct vm_device_info *out);
};

/* Of devices whose body is in this process. */
extern const struct vm_device_ops vm_device_here;
/* Of devices in processes of their own. */
extern const struct vm_device_ops vm_device_child;

#endif
