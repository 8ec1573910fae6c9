/*
 * counter.h - a sum that many threads add to all the time and few ask for.
 *
 * Layer:   sync
 * Threads: any.
 * Errors:  counter_create: -ENOMEM.
 * Spec:    docs/concurrency.md, "Counter".
 *
 * Together?  everything with everything: freely.
 * Order:     none: the sum contains every addition that happened before the call.
 * Progress:  add wait-free, on a unit that few others use; sum walks all units.
 * Lifetime:  all have left before counter_destroy().
 */
#ifndef SYNC_COUNTER_H
#define SYNC_COUNTER_H
#include <stdint.h>
#include "base/compiler.h"

struct counter; /* from counter_create() to counter_destroy() */

/* One shard for each CPU of the host. */
MUST_CHECK int counter_create(struct counter **out);
void counter_destroy(struct counter *c);
void counter_add(struct counter *c, int64_t n);
int64_t counter_sum(const struct counter *c);

#endif
