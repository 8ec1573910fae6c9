/*
 * mutex.h - exclusive and shared lock for control paths, alone on its own 128-byte unit.
 *
 * Layer:   sync
 * Threads: any; not in signal handlers. No data-path code takes one.
 * Errors:  none. Unlocking what one does not hold is a mistake of ours.
 * Spec:    docs/concurrency.md, "Mutex".
 *
 * Together?  lock excludes everything; lock_shared excludes lock only.
 * Order:     an unlock happens before the next lock that succeeds.
 * Progress:  blocking.
 * Lifetime:  nobody holds or waits for it at mutex_fini().
 */
#ifndef SYNC_MUTEX_H
#define SYNC_MUTEX_H
#include <pthread.h>
#include "base/compiler.h"

struct CAPABILITY("mutex") mutex {
	pthread_rwlock_t rw;
} CACHE_ALIGNED;

void mutex_init(struct mutex *m);
void mutex_fini(struct mutex *m);
void mutex_lock(struct mutex *m) ACQUIRES(m);
void mutex_unlock(struct mutex *m) RELEASES(m);
void mutex_lock_shared(struct mutex *m) ACQUIRES_SHARED(m);
void mutex_unlock_shared(struct mutex *m) RELEASES_SHARED(m);

#endif
