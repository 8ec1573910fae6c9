/*
 * coalesce.h - when one interrupt for several results is worth a short wait.
 *
 * Layer:   dev
 * Threads: the queue's worker.
 * Errors:  none.
 * Spec:    docs/io.md, "Coalescing interrupts".
 *
 * A driver with many requests to post is thrown off that work by each interrupt, and an interrupt
 * of a guest costs what many requests cost. So results are shown at once, but their interrupt is
 * held while more requests or results keep coming, at most COALESCE_MAX results or COALESCE_MAX_NS.
 * Holding one that gained nothing is not repeated for the next few, then for the next 64 at most:
 * so a driver that waits for each single request waits a little longer for one in 65 only. The
 * others are told at once, or after a delay that does it good (moment.h).
 */
#ifndef DEV_COALESCE_H
#define DEV_COALESCE_H
#include <stdbool.h>
#include <stdint.h>
#include "dev/moment.h"

#define COALESCE_MAX     32
#define COALESCE_MAX_NS  50000ull
#define COALESCE_IDLE_NS 5000ull /* without news nobody waits longer */

/* All zero: nothing held, nothing learnt. */
struct coalesce {
	bool is_holding;
	bool is_single;       /* that one is not held for more to come */
	uint64_t since_ns;    /* when that began; monotonic clock */
	uint64_t delay_ns;    /* of a single one */
	uint64_t told;        /* results up to the last interrupt */
	uint64_t first;       /* results when it began */
	uint32_t skip, pause; /* interrupts yet to be sent singly; how many it was last */
	struct moment moment; /* of those */
};

/*
 * An interrupt is owed at @now_ns, @shown results were ever shown. Until when to hold it if nothing
 * new comes; 0: send it now.
 */
uint64_t coalesce_until(struct coalesce *c, uint64_t shown, uint64_t now_ns);
/* The interrupt for the first @shown results is sent now. */
void coalesce_sent(struct coalesce *c, uint64_t shown);

#endif
