/* futex.c - see futex_priv.h. */
#include "futex_priv.h"
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/num.h"

int futex_wait(_Atomic uint32_t *word, uint32_t seen, uint64_t deadline_ns)
{
	struct timespec until = {
		.tv_sec = (time_t)(deadline_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(deadline_ns % NSEC_PER_SEC),
	};
	/* the bitset variant takes an absolute time, so that interrupted waits do not grow */
	long err = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, seen,
			   deadline_ns == FUTEX_FOREVER ? NULL : &until, NULL,
			   FUTEX_BITSET_MATCH_ANY);
	return err && errno == ETIMEDOUT ? -ETIMEDOUT : 0;
}

void futex_wake(_Atomic uint32_t *word, int nr)
{
	(void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, nr, NULL, NULL, 0); /* EFAULT: gone */
}

bool futex_is_late(uint64_t deadline_ns)
{
	return deadline_ns != FUTEX_FOREVER && clock_ns() >= deadline_ns;
}

void futex_relax(unsigned round)
{
	/* 1, 2, 4 ... 64 pauses; by then the other has lost its CPU, and may want ours */
	if (round > 6) {
		sched_yield();
		return;
	}
	for (unsigned i = 0; i < 1u << round; i++)
		cpu_relax();
}
