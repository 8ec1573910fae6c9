/* crowd.c - see crowd_priv.h. */
#include "crowd_priv.h"
#include "base/clock.h"

#define CROWD_SHARED_NS (10 * 1000ull) /* two context switches, and somebody's work in between */
#define CROWD_AGAIN_NS  (1 * NSEC_PER_MSEC)
#define CROWD_ALONE_NS  (10 * NSEC_PER_MSEC)
#define CROWD_MAX_NS    NSEC_PER_SEC

void crowd_init(struct crowd *c)
{
	*c = (struct crowd){ .wait_ns = CROWD_ALONE_NS };
}

/* Company on two CPUs, or nowhere to go: leave it at that for a while. */
static void crowd_settle(struct crowd *c, uint64_t now_ns)
{
	c->has_moved = false;
	c->next_ns = now_ns + c->wait_ns;
	c->wait_ns = min_u64(2 * c->wait_ns, CROWD_MAX_NS);
}

enum crowd_move crowd_note(struct crowd *c, uint64_t now_ns, uint64_t took_ns)
{
	bool was_shared = c->is_shared;
	c->is_shared = took_ns >= CROWD_SHARED_NS;
	c->next_ns = now_ns + took_ns + CROWD_AGAIN_NS;
	if (!c->is_shared) {
		c->has_moved = false;
		c->wait_ns = CROWD_ALONE_NS;
		c->next_ns = now_ns + CROWD_ALONE_NS;
		return CROWD_STAY;
	}
	if (!was_shared)
		return CROWD_STAY; /* a short visitor, perhaps */
	if (!c->has_moved) {
		c->has_moved = true;
		c->left_ns = took_ns;
		c->is_shared = false; /* of the next CPU we know nothing */
		return CROWD_MOVE;
	}
	crowd_settle(c, now_ns);
	return took_ns > c->left_ns ? CROWD_MOVE : CROWD_STAY;
}

int crowd_next_cpu(const cpu_set_t *set, int cpu)
{
	for (int i = 1; i < CPU_SETSIZE; i++) {
		int next = (cpu + i) % CPU_SETSIZE;
		if (CPU_ISSET((size_t)next, set))
			return next;
	}
	return cpu;
}

/* To the next CPU we may use; then all of them are allowed again, and the scheduler's choice. */
static void crowd_go(void)
{
	cpu_set_t all, one;
	int cpu = sched_getcpu();
	if (cpu < 0 || sched_getaffinity(0, sizeof(all), &all))
		return;
	CPU_ZERO(&one);
	CPU_SET((size_t)crowd_next_cpu(&all, cpu), &one);
	if (CPU_EQUAL(&one, &all) || sched_setaffinity(0, sizeof(one), &one))
		return;
	(void)sched_setaffinity(0, sizeof(all), &all); /* refused: a CPU of those we may use */
}

void crowd_look(struct crowd *c, uint64_t now_ns)
{
	(void)sched_yield(); /* cannot fail */
	if (crowd_note(c, now_ns, clock_ns() - now_ns) == CROWD_MOVE)
		crowd_go();
}
