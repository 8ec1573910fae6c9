/* seqlock.c - see sync/seqlock.h. */
#include "sync/seqlock.h"
#include <string.h>
#include "base/num.h"
#include "futex_priv.h"

void seqlock_init(struct seqlock *l)
{
	atomic_init(&l->s.seq, 0);
}

void seqlock_store(struct seqlock *l, _Atomic uint64_t *words, const void *src, size_t len)
{
	uint32_t seq = atomic_load_explicit(&l->s.seq, memory_order_relaxed);
	atomic_store_explicit(&l->s.seq, seq + 1, memory_order_relaxed);
	for (size_t at = 0; at < len; at += sizeof(uint64_t)) {
		uint64_t word = 0;
		memcpy(&word, (const char *)src + at, min_size(len - at, sizeof(word)));
		/* release: who sees this word sees the odd count before it */
		atomic_store_explicit(&words[at / sizeof(word)], word, memory_order_release);
	}
	/* release: pairs with the acquire of the first look in seqlock_load() */
	atomic_store_explicit(&l->s.seq, seq + 2, memory_order_release);
}

static void seqlock_copy(const _Atomic uint64_t *words, void *dst, size_t len)
{
	for (size_t at = 0; at < len; at += sizeof(uint64_t)) {
		/* acquire: pairs with the release of the word, the second look comes after it */
		uint64_t word = atomic_load_explicit(&words[at / sizeof(word)],
						     memory_order_acquire);
		memcpy((char *)dst + at, &word, min_size(len - at, sizeof(word)));
	}
}

void seqlock_load(const struct seqlock *l, const _Atomic uint64_t *words, void *dst, size_t len)
{
	for (unsigned round = 0;; futex_relax(round++)) {
		/* acquire: pairs with the release at the end of seqlock_store() */
		uint32_t before = atomic_load_explicit(&l->s.seq, memory_order_acquire);
		if (before & 1)
			continue;
		seqlock_copy(words, dst, len);
		if (atomic_load_explicit(&l->s.seq, memory_order_relaxed) == before)
			return;
	}
}
