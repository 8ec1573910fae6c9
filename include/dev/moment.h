/*
 * moment.h - the right moment to interrupt a driver that waits for each single result.
 *
 * Layer:   dev
 * Threads: the queue's worker.
 * Errors:  none.
 * Spec:    docs/io.md, "The right moment".
 *
 * A vCPU that has posted a request goes on to halt. On some hosts an interrupt that finds it on its
 * way there costs much more than one that finds it just halted: it throws the vCPU out of the
 * guest. Who completes a request at once then does better to wait a few microseconds first; on
 * other hosts (posted interrupts) that only costs time. So we try: now and then results are told
 * after one delay and after another by turns, and the times until the next request are compared. A
 * longer delay has to win clearly, twice; a shorter one at all.
 */
#ifndef DEV_MOMENT_H
#define DEV_MOMENT_H
#include <stdbool.h>
#include <stdint.h>

#define MOMENT_SAMPLES 32 /* of each of the two delays that are compared */

/* All zero: no delay, nothing known. */
struct moment {
	uint8_t level, rival; /* the delay in force, and the one it is compared with: of a table */
	uint8_t wins;         /* of the rival, in a row */
	uint8_t nr;           /* samples so far, by turns of both */
	bool is_timed;        /* the next request ends a sample */
	uint32_t left, rest;  /* results until the next comparison; how many it was last */
	uint64_t shown_ns;
	uint64_t gap_ns[2][MOMENT_SAMPLES]; /* ours, the rival's */
};

/* A single result was shown at @now_ns, monotonic clock. How long its interrupt is to wait. */
uint64_t moment_delay_ns(struct moment *m, uint64_t now_ns);
/* When is_timed: the next request was seen at @now_ns. */
void moment_came(struct moment *m, uint64_t now_ns);

#endif
