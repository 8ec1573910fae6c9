/* queue_fixture.h - a queue and the driver in front of it, for the tests of the ring engine. */
#ifndef TESTS_UNIT_VIRTIO_QUEUE_FIXTURE_H
#define TESTS_UNIT_VIRTIO_QUEUE_FIXTURE_H
#include <stdarg.h>
#include <setjmp.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>
#include "base/num.h"
#include "support/guest.h"
#include "virtio/queue.h"

#define BUF 0x40000ull /* where requests live; the rings lie below */
#define RAM (4 * MIB)

struct fixture {
	struct guest guest;
	struct guest_queue gq;
	struct notifier call;
	unsigned calls;
	struct vq *q;
};

static inline void count_call(void *ctx)
{
	struct fixture *f = ctx;
	f->calls++;
}

static inline void fixture_init(struct fixture *f, uint16_t size, uint64_t features)
{
	memset(f, 0, sizeof(*f));
	guest_init(&f->guest, RAM);
	guest_queue_init(&f->gq, &f->guest, size, features);
	notifier_init_fn(&f->call, count_call, f);
	struct vq_setup s = guest_queue_setup(&f->gq, &f->call);
	assert_int_equal(vq_create(&f->q, &s), 0);
}

static inline void fixture_fini(struct fixture *f)
{
	vq_destroy(f->q);
	guest_queue_fini(&f->gq);
	guest_fini(&f->guest);
}

static inline struct vq_chain *pop_one(struct fixture *f)
{
	struct vq_chain *c = NULL;
	assert_int_equal(vq_pop(f->q, &c), 1);
	assert_non_null(c);
	return c;
}

/* Offer an indirect chain of one readable and @nr - 1 writable buffers of 8 bytes. */
static inline int add_long(struct fixture *f, unsigned nr, uint64_t table)
{
	bool packed = f->gq.features & GUEST_PACKED;
	for (unsigned i = 0; i < nr; i++)
		guest_table(&f->gq, table, (uint16_t)i, BUF + 8 * i, 8,
			    (uint16_t)((i ? VRING_DESC_F_WRITE : 0) |
				       (!packed && i + 1 < nr ? VRING_DESC_F_NEXT : 0)),
			    (uint16_t)(i + 1));
	struct guest_buf one = { BUF, 8, false };
	int id = guest_add(&f->gq, &one, 1, false);
	uint16_t flags = VRING_DESC_F_INDIRECT;
	if (!packed) {
		guest_desc(&f->gq, (uint16_t)id, table, 16 * nr, flags, 0);
	} else {
		struct vring_packed_desc *d = &f->gq.packed[f->gq.gate];
		d->addr = htole64(table);
		f->gq.gate_len = 16 * nr;
		f->gq.gate_flags = (uint16_t)(f->gq.gate_flags | flags);
	}
	guest_show(&f->gq);
	return id;
}

static const uint64_t all_features[] = {
	0,
	GUEST_FEATURES,
	GUEST_PACKED,
	GUEST_FEATURES | GUEST_PACKED,
};

/* Run @body with each ring format, with and without indirect tables and event indices. */
static inline void on_every_ring(uint16_t size, void (*body)(struct fixture *f, bool is_indirect))
{
	for (unsigned i = 0; i < ARRAY_SIZE(all_features); i++) {
		struct fixture f;
		bool can_indirect = all_features[i] & (1ull << VIRTIO_RING_F_INDIRECT_DESC);
		for (int indirect = 0; indirect <= can_indirect; indirect++) {
			fixture_init(&f, size, all_features[i]);
			body(&f, indirect);
			fixture_fini(&f);
		}
	}
}

static const struct guest_buf three[] = {
	{ BUF, 16, false },
	{ BUF + 0x1000, 4096, true },
	{ BUF + 0x10, 1, true },
};

#endif
