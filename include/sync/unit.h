/*
 * unit.h - a primitive and the data it protects, together on 128-byte units of their own.
 *
 * Layer:   sync
 * Threads: layout only.
 * Errors:  none.
 * Spec:    docs/concurrency.md, "Units".
 *
 * Why 128: the adjacent-line prefetcher fetches pairs of lines, some arm cores have lines so long.
 * Why together: who takes the lock is about to touch the data; one transfer of the line does both.
 * Why alone: who polls a neighbour must not slow the owner down.
 */
#ifndef SYNC_UNIT_H
#define SYNC_UNIT_H
#include "base/compiler.h"

/*
 * Members of the enclosing struct: "struct KIND name" and, in the room behind its state, the fields
 * given. KIND is mutex, spinlock or seqlock:
 *
 *	struct table {
 *		SYNC_UNIT(mutex, lock, unsigned nr; struct entry *first;);
 *	};
 *	mutex_lock(&t->lock); t->nr++; mutex_unlock(&t->lock);
 *
 * What comes before and behind lies on other units, however many fields there are.
 */
#define SYNC_UNIT(kind, name, ...)                                                                 \
	union CACHE_ALIGNED {                                                                      \
		struct kind name;                                                                  \
		struct {                                                                           \
			struct kind##_state name##_state_; /* the same bytes as name */            \
			__VA_ARGS__                                                                \
		};                                                                                 \
	}

/* A primitive alone fills whole units. */
#define SYNC_UNIT_ASSERT(kind)                                                                     \
	static_assert(sizeof(struct kind) == CACHE_ALIGN && _Alignof(struct kind) == CACHE_ALIGN,  \
		      #kind " stands on a unit of its own")

#endif
