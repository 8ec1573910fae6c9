/*
 * notifier.h - one bit of "something happened", carried by an eventfd or by a function.
 *
 * Layer:   sync
 * Threads: notifier_signal from any; notifier_set_fn as its comment says; the rest from the owner.
 * Errors:  negative errno. -EMFILE, -ENFILE: descriptors ran out.
 * Spec:    eventfd(2).
 */
#ifndef SYNC_NOTIFIER_H
#define SYNC_NOTIFIER_H
#include <stdatomic.h>
#include <stdint.h>
#include "base/compiler.h"

/*
 * The eventfd is stable from init to fini, so KVM or another process can hold it. While @fn is set
 * signals go to fn(ctx) on the signalling thread instead (INTx lines, tests).
 */
struct notifier {
	int fd;                          /* immutable; -1: function only */
	bool owns_fd;                    /* immutable; fini of a zeroed one closes nothing */
	_Atomic(void (*)(void *ctx)) fn; /* NULL: the eventfd */
	void *ctx;                       /* immutable once fn was set */
	_Atomic bool has_roads;          /* notifier_set_fn() was called */
};

/* With an eventfd, non-blocking and close-on-exec. */
MUST_CHECK int notifier_init(struct notifier *n);
/* Without one: only @fn. */
void notifier_init_fn(struct notifier *n, void (*fn)(void *), void *ctx);
void notifier_fini(struct notifier *n);

/*
 * Direct signals to @fn (which must be safe from any thread), or back to the eventfd with NULL.
 * @ctx may be set once. A signal under way may take both roads, but not the old one alone: either
 * it takes the new one too, or whoever looks at the old one after this finds it there. So from the
 * first call on, which meets no signal, @n outlives every signal; without one, whoever receives the
 * signal may free it at once.
 */
void notifier_set_fn(struct notifier *n, void (*fn)(void *), void *ctx);

/*
 * Do signals go to a function now? Whoever else writes to the eventfd (another process) is not
 * heard then, unless somebody moves what arrives there on with notifier_signal().
 */
bool notifier_has_fn(const struct notifier *n);

/* Never blocks, never fails: an eventfd that is already pending stays pending. */
void notifier_signal(struct notifier *n);

/*
 * The same, and to eventfd @fd alone, where another process holds the eventfd: what one process
 * makes of its O_NONBLOCK is true for all, so a plain write could wait for ever. These take a
 * millisecond at worst, and some system calls more.
 */
void notifier_signal_shared(struct notifier *n);
void notifier_signal_fd(int fd);

/* Take the pending count of the eventfd (0: none). */
uint64_t notifier_consume(struct notifier *n);
/* Is a count pending? Does not take it. */
bool notifier_is_pending(const struct notifier *n);

#endif
