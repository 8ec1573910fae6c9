/*
 * inflight_priv.h - queues that keep an account of what is in flight, for who comes after a crash.
 *
 * Layer:   virtio
 * Threads: the owner of the queue.
 * Errors:  as queue.h. -EINVAL: the account is damaged, or of another queue.
 * Spec:    QEMU docs/interop/vhost-user.rst, "Inflight I/O tracking".
 *
 * The frontend can write to the account as well: it is read when the queue is made, and checked;
 * from then on only written. All that a crash can tear apart is what the order of the stores below
 * allows, as the memory outlives us: no fence is needed beyond that order.
 */
#ifndef VIRTIO_INFLIGHT_PRIV_H
#define VIRTIO_INFLIGHT_PRIV_H
#include "inflight_wire.h"
#include "queue_priv.h"

struct vq_log {
	union {
		void *mem;
		struct inflight_split *split;
		struct inflight_packed *packed;
	};
	uint64_t counter;
	uint16_t redo[VQ_MAX_SIZE]; /* what our predecessor left unfinished: heads or entries, in
				       order */
	uint16_t nr_redo, redone;
	bool was_redo;    /* the request popped last */
	bool owes_signal; /* results were shown early, and the driver wants to hear of it */
	uint16_t batch[VQ_MAX_SIZE]; /* pushed since the last publication: heads or entries */
	uint16_t nr_batch;
	/* packed: our own copy of the lists */
	uint16_t free_head;
	uint16_t next[VQ_MAX_SIZE], last[VQ_MAX_SIZE], num[VQ_MAX_SIZE];
	uint16_t entry_of[VQ_MAX_SIZE]; /* by slot */
};

/* Bytes that the account of a queue of @size entries takes in either format. */
size_t vq_log_bytes(uint16_t size);
/* Go on with the account at @s->log, or begin it. @q is otherwise complete. */
MUST_CHECK int vq_log_open(struct vq *q, const struct vq_setup *s);
void vq_log_close(struct vq *q);

/* As queue.h says of the functions without "log". */
int vq_log_pop(struct vq *q, struct vq_chain **out, unsigned max);
void vq_log_unpop(struct vq *q, struct vq_slot *s);
void vq_log_push(struct vq *q, struct vq_slot *s, uint32_t written);
bool vq_log_publish(struct vq *q);

/* A store that stays before the ones after it. The reader is whoever maps this after our death. */
#define log_store(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)

/* Where results of a packed ring go on. */
struct log_place {
	uint16_t free_head, used_idx;
	bool used_wrap;
};

/*
 * In a ring that comes round both halves of a place change: whoever found but one of them changed
 * would take the rest of the turn before for requests. So it is one store, of both places.
 */
static inline void log_store_place(struct inflight_packed *p, struct log_place now,
				   struct log_place old)
{
	struct inflight_packed at = { .used_idx = now.used_idx,
				      .used_wrap = now.used_wrap,
				      .old_used_idx = old.used_idx,
				      .old_used_wrap = old.used_wrap };
	log_store(&p->place, at.place);
}

/* How many requests of our predecessor are still to be popped. */
static inline uint16_t vq_log_backlog(const struct vq *q)
{
	return q->log ? (uint16_t)(q->log->nr_redo - q->log->redone) : 0;
}

#endif
