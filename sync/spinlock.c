/* spinlock.c - see sync/spinlock.h. */
#include "sync/spinlock.h"
#include "futex_priv.h"

void spinlock_lock_slow(struct spinlock *l) NO_THREAD_SAFETY
{
	for (unsigned round = 0; !spinlock_try_lock(l);)
		/* look without writing: the line stays shared until the holder is done */
		while (atomic_load_explicit(&l->s.is_held, memory_order_relaxed))
			futex_relax(round++);
}
