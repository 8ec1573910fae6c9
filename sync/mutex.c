/* mutex.c - see sync/mutex.h. */
#include "sync/mutex.h"

static_assert(sizeof(struct mutex) % CACHE_ALIGN == 0, "a mutex shares its unit with nothing");

void mutex_init(struct mutex *m)
{
	BUG_ON(pthread_rwlock_init(&m->rw, NULL));
}

void mutex_fini(struct mutex *m)
{
	BUG_ON(pthread_rwlock_destroy(&m->rw));
}

void mutex_lock(struct mutex *m) NO_THREAD_SAFETY
{
	int err = pthread_rwlock_wrlock(&m->rw);
	BUG_ON(err);
}

void mutex_unlock(struct mutex *m) NO_THREAD_SAFETY
{
	int err = pthread_rwlock_unlock(&m->rw);
	BUG_ON(err);
}

void mutex_lock_shared(struct mutex *m) NO_THREAD_SAFETY
{
	int err = pthread_rwlock_rdlock(&m->rw);
	BUG_ON(err);
}

void mutex_unlock_shared(struct mutex *m) NO_THREAD_SAFETY
{
	int err = pthread_rwlock_unlock(&m->rw);
	BUG_ON(err);
}
