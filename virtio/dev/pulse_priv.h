/*
 * pulse_priv.h - does a thread that leaves a message unread hang, or does the host give it no CPU?
 *
 * Layer:   dev
 * Threads: the one that asks.
 * Errors:  none.
 * Spec:    docs/isolation.md, "Death of a device".
 *
 * Wall-clock time does not tell: on a host with much more work than CPUs a good thread may be late
 * by many seconds. So what counts is the CPU time the thread itself has got meanwhile.
 *
 * It hangs when it has run for PULSE_RAN_NS and not come to its messages, or when it is blocked
 * where it should not be: who looks also sends it a signal, which ends a sleep (but for one in
 * which the kernel waits for a disk), so a blocked thread runs for a moment between two looks, and
 * only for a moment. One that waits for a CPU runs not at all, or for a time slice.
 */
#ifndef DEV_PULSE_PRIV_H
#define DEV_PULSE_PRIV_H
#include <stdbool.h>
#include <stdint.h>
#include "base/num.h"

#define PULSE_RAN_NS    (10 * NSEC_PER_SEC)
#define PULSE_MOMENT_NS (500 * 1000ull) /* shorter than any time slice */
#define PULSE_LOOKS     10              /* in a row that find it blocked */

struct pulse {
	uint64_t cpu_ns; /* of the thread, at the last look */
	uint64_t ran_ns; /* since it was asked */
	unsigned blocked;
};

/* It is asked now; @cpu_ns: the CPU time it has had in its life. */
void pulse_ask(struct pulse *p, uint64_t cpu_ns);
/* It has not answered yet. True: it hangs. */
bool pulse_is_lost(struct pulse *p, uint64_t cpu_ns);

#endif
