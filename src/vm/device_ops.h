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
#include "zygote.h"

struct vm;

/* A terminal's size in letters; 0: unknown. */
struct vm_window {
	uint16_t cols, rows;
};

struct vm_device_info {
	pid_t pid;                          /* of its process; 0: it lives in this one */
	char version[ZYGOTE_VERSION_BYTES]; /* of the program that serves it; empty: not known */
	char binary[ZYGOTE_PATH_BYTES];     /* ... and its path; empty: the one that runs the VM */
	unsigned restarts;                  /* processes that took over from another */
	uint64_t last_pause_ns,
		longest_pause_ns; /* without one, while the driver used the device */
	bool has_disk;            /* @disk is filled in */
	struct blk_info disk;
};

/* Another program for a device's process: @path is for people, @fd (-1: none came) what is run. */
struct vm_binary {
	int fd;
	const char *path;
};

#define VM_WHY_BYTES 160

struct vm_device_ops {
	/* Disks. The image is made so large, where it is a file, and the driver told. */
	int (*resize)(struct vm *vm, unsigned dev, uint64_t bytes);
	int (*set_limits)(struct vm *vm, unsigned dev, const struct blk_limits *l);
	/* The console. The driver is told. NULL: somebody else's device. */
	int (*set_window)(struct vm *vm, unsigned dev, const struct vm_window *w);
	/* Put a new process in its place. */
	int (*restart)(struct vm *vm, unsigned dev);
	/*
	 * Begin to try another program: *trial, the caller's, is readable when it is over. One that
	 * is not even tried: @why says what is wrong with it. -EBADF: @binary has no file. NULL:
	 * none can be chosen.
	 */
	int (*try)(struct vm *vm, unsigned dev, const struct vm_binary *binary, int *trial,
		   char why[VM_WHY_BYTES]);
	/* Put a process of it in the place of the one there is; or say why not. NULL as try(). */
	int (*judge)(struct vm *vm, unsigned dev, int trial, char why[VM_WHY_BYTES]);
	void (*info)(struct vm *vm, unsigned dev, struct vm_device_info *out);
};

/* Of devices whose body is in this process. */
extern const struct vm_device_ops vm_device_here;
/* Of devices in processes of their own. */
extern const struct vm_device_ops vm_device_child;

#endif
