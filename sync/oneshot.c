/* oneshot.c - see sync/oneshot.h. */
#include "sync/oneshot.h"
#include <errno.h>
#include <limits.h>
#include "futex_priv.h"

#define ONESHOT_UNSET   0u
#define ONESHOT_AWAITED 1u /* unset, and somebody sleeps */
#define ONESHOT_SET     2u

void oneshot_init(struct oneshot *o)
{
	atomic_init(&o->state, ONESHOT_UNSET);
}

void oneshot_set(struct oneshot *o)
{
	/* release: pairs with the acquire in oneshot_is_set() */
	uint32_t before = atomic_exchange_explicit(&o->state, ONESHOT_SET, memory_order_release);
	if (before == ONESHOT_AWAITED)
		futex_wake(&o->state, INT_MAX);
}

bool oneshot_is_set(const struct oneshot *o)
{
	/* acquire: pairs with the release in oneshot_set() */
	return atomic_load_explicit(&o->state, memory_order_acquire) == ONESHOT_SET;
}

int oneshot_wait_until(struct oneshot *o, uint64_t deadline_ns)
{
	while (!oneshot_is_set(o)) {
		uint32_t unset = ONESHOT_UNSET;
		atomic_compare_exchange_strong_explicit(&o->state, &unset, ONESHOT_AWAITED,
							memory_order_relaxed, memory_order_relaxed);
		if (futex_wait(&o->state, ONESHOT_AWAITED, deadline_ns) == -ETIMEDOUT)
			return oneshot_is_set(o) ? 0 : -ETIMEDOUT;
	}
	return 0;
}

void oneshot_wait(struct oneshot *o)
{
	int err = oneshot_wait_until(o, FUTEX_FOREVER);
	BUG_ON(err); /* no deadline, no time-out */
}
