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
 * so a driver that waits for each single request waits a little longer for one in 65 only.
 */
#ifndef DEV_COALESCE_H
#define DEV_COALESCE_H
#include <stdbool.h>
#include <stdint.h>

#define COALESCE_MAX    32
#define COALESCE_MAX_NS 50000ull

/* All zero: nothing held, nothing learnt. */
struct coalesce {
	bool is_holding;
	uint64_t since_ns;    /* when that began; monotonic clock */
	uint64_t told;        /* results up to the last interrupt */
	uint64_t first;       /* results when it began */
	uint32_t skip, pause; /* interrupts yet to be sent at once; how many it was last */
};

/* An interrupt is owed at @now_ns, @shown results were ever shown. True: hold it. */
bool coalesce_holds(struct coalesce *c, uint64_t shown, uint64_t now_ns);
/* The interrupt for the first @shown results is sent now. */
void coalesce_sent(struct coalesce *c, uint64_t shown);

#endif
