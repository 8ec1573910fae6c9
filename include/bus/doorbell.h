/*
 * doorbell.h - guest writes that become a count in an eventfd without leaving the kernel.
 *
 * Layer:   bus
 * Threads: control and vCPU threads.
 * Errors:  negative errno. -ENOSPC: the hypervisor has no slot left. -ENOSYS: it cannot; the caller
 *          then serves the write through its bus handler.
 * Spec:    KVM_IOEVENTFD; docs/io.md, "Kick".
 */
#ifndef BUS_DOORBELL_H
#define BUS_DOORBELL_H
#include <stdint.h>
#include "base/compiler.h"
#include "bus/bus.h"

/* arch implements it, tests script it. A write of any length at @addr signals @fd. */
struct doorbell_ops {
	int (*add)(void *ctx, enum bus_space space, uint64_t addr, int fd);
	void (*del)(void *ctx, enum bus_space space, uint64_t addr, int fd);
};

struct doorbell_chip {
	const struct doorbell_ops *ops;
	void *ctx;
};

#endif
