/*
 * crowd_priv.h - does somebody else want the CPU that the reactor runs on, and is another one
 * better?
 *
 * Layer:   iouring, private
 * Threads: the reactor's.
 * Errors:  none: what the host refuses leaves things as they are.
 * Spec:    docs/io.md, "Sharing a CPU".
 *
 * The scheduler likes to wake a worker on the CPU of the vCPU that kicked it, and when the others
 * are busy it leaves it there. Then each kick throws the vCPU off its CPU, and looking out for more
 * is time taken from who is to bring it. So every now and then, before it sleeps, a reactor yields
 * and looks at the clock: nobody else there costs less than a microsecond. If the CPU is shared,
 * twice in a row, it does not spin, and tries the next CPU it may use; later it looks who waits
 * longer, and goes back if that is so here. Affinity is as before after each move. A yield may cost
 * a time slice, so it is done the less often the longer the sharing lasts.
 */
#ifndef IOURING_CROWD_PRIV_H
#define IOURING_CROWD_PRIV_H
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

struct crowd {
	uint64_t next_ns; /* the next look, on the monotonic clock */
	uint64_t wait_ns; /* from a look that found company to the next but one */
	uint64_t left_ns; /* how long we waited on the CPU we came from */
	bool is_shared;   /* so the last look said */
	bool has_moved;   /* since the CPU was last our own */
};

/* What a look leads to. */
enum crowd_move { CROWD_STAY, CROWD_MOVE };

void crowd_init(struct crowd *c);
/* About to sleep at @now_ns: is it time to look? */
static inline bool crowd_is_due(const struct crowd *c, uint64_t now_ns)
{
	return now_ns >= c->next_ns;
}
/* A yield at @now_ns took @took_ns. */
enum crowd_move crowd_note(struct crowd *c, uint64_t now_ns, uint64_t took_ns);
/* Yield, and move if that is what comes out. */
void crowd_look(struct crowd *c, uint64_t now_ns);
/* The CPU of @set that comes after @cpu, going round; @cpu when there is no other. */
int crowd_next_cpu(const cpu_set_t *set, int cpu);

#endif
