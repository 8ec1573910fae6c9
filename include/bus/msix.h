/*
 * msix.h - the MSI-X table and pending bits of one PCI function.
 *
 * Layer:   bus
 * Threads: all functions lock inside; table accesses come from vCPUs, attach and detach from
 *          control or vCPU threads. Signals never pass through here: they are eventfd writes.
 * Errors:  negative errno. -ENOSPC: no message route left. -EINVAL: no such vector, no eventfd.
 *          A host that refuses to wire a vector while the guest runs leaves it pending; it is asked
 *          again whenever something is done to the function's vectors, and by msix_retry().
 * Spec:    PCI 3.0 §6.8.2; PCIe 5.0 §7.7.2.
 *
 * A source of interrupts is an eventfd. While its vector may fire, the eventfd is wired to the
 * vector's route in the kernel; while masked it is not, and a count in it *is* the pending bit.
 */
#ifndef BUS_MSIX_H
#define BUS_MSIX_H
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "bus/irq.h"
#include "sync/notifier.h"

struct msix; /* from msix_create() to msix_destroy() */

#define MSIX_NO_VECTOR   0xffff
#define MSIX_ENTRY_BYTES 16

MUST_CHECK int msix_create(struct msix **out, const struct irq_chip *chip, uint16_t nr_vectors);
/* All sources have been detached. NULL is fine. */
void msix_destroy(struct msix *m);
/*
 * @refused(@ctx) is called when the host refuses to wire a vector, once until msix_retry() has
 * mended it: by whichever thread, under locks, so it may only note it. Before the guest runs; NULL:
 * nobody.
 */
void msix_watch(struct msix *m, void (*refused)(void *ctx), void *ctx);
/* Ask the host again. True: it still refuses. */
bool msix_retry(struct msix *m);
uint16_t msix_nr_vectors(const struct msix *m);

/* Guest accesses to the table (16 bytes a vector) and to the pending bit array. */
void msix_table_read(struct msix *m, uint64_t off, void *data, unsigned len);
void msix_table_write(struct msix *m, uint64_t off, const void *data, unsigned len);
void msix_pba_read(struct msix *m, uint64_t off, void *data, unsigned len);

/* Message Control changed: enable bit, function mask. */
void msix_control(struct msix *m, bool is_enabled, bool is_masked);
bool msix_is_enabled(struct msix *m);

/*
 * Wire @n->fd to @vector (MSIX_NO_VECTOR: to none). Several may share a vector. -EEXIST: @n is
 * attached; detach to change.
 */
MUST_CHECK int msix_attach(struct msix *m, uint16_t vector, struct notifier *n);
/* A count that could not go out stays in the eventfd. */
void msix_detach(struct msix *m, struct notifier *n);

/* Function reset: all vectors masked, disabled, table zeroed. Sources stay attached. */
void msix_reset(struct msix *m);

#endif
