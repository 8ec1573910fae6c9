/*
 * bus.h - dispatch of guest port and MMIO accesses to device handlers.
 *
 * Layer:   bus
 * Threads: bus_read, bus_write from RCU-registered threads (vCPUs), no lock, no wait; handlers run
 *          inside an RCU read section. bus_add, bus_hide from any RCU-registered thread, handlers
 *          included; bus_remove not from a handler, and with no lock held that a handler takes.
 * Errors:  negative errno. -EEXIST: the range meets another. -EINVAL: empty, wraps, past the limit.
 *          -ENOENT: no such range. -ENOMEM.
 * Spec:    docs/concurrency.md, "Device tables".
 *
 * The table is an immutable snapshot published by RCU; every change publishes a new one, which
 * shares with the old what did not change.
 */
#ifndef BUS_BUS_H
#define BUS_BUS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"

struct bus; /* from bus_create() to bus_destroy() */

/* A handler. @offset is from the start of its range; @len 1, 2, 4 or 8; data is little-endian. */
struct bus_ops {
	const char *name;
	void (*read)(void *ctx, uint64_t offset, void *data, unsigned len);
	void (*write)(void *ctx, uint64_t offset, const void *data, unsigned len);
};

enum bus_space { BUS_PIO, BUS_MMIO };

MUST_CHECK int bus_create(struct bus **out, enum bus_space space);
/* No thread uses it any more; ranges may be left. NULL is fine. */
void bus_destroy(struct bus *b);

/* Answer [base, base+len) with @ops, from the next access on. @ops and @ctx outlive the range. */
MUST_CHECK int bus_add(struct bus *b, uint64_t base, uint64_t len, const struct bus_ops *ops,
		       void *ctx);

/*
 * Stop answering exactly the range that was added. When it returns no thread is inside the handler.
 * Not from a vCPU thread: it waits for a grace period.
 */
MUST_CHECK int bus_remove(struct bus *b, uint64_t base, uint64_t len);

/*
 * Withdraw a range without waiting: a handler may still run for a moment, so ops and ctx stay
 * valid. With bus_add() the one change a vCPU thread may make (BAR writes).
 */
MUST_CHECK int bus_hide(struct bus *b, uint64_t base, uint64_t len);

/*
 * One access of @len bytes, 8 at most. An access of 3, 5, 6 or 7 bytes (what KVM leaves of one that
 * crosses a page) or one that no range contains wholly reads as all ones and is dropped when
 * written; false says so.
 */
bool bus_read(struct bus *b, uint64_t addr, void *data, unsigned len);
bool bus_write(struct bus *b, uint64_t addr, const void *data, unsigned len);

#endif
