/*
 * bench_queue.c - nanoseconds a request costs in the ring engine.
 *
 * One thread plays driver and device in turn: offer a batch, take and complete it, publish, reap. A
 * request is 16 readable bytes, 4096 writable, and a status byte, as virtio-blk makes them. The
 * cases called "driver" do the same with the device's part replaced by stores of the known results:
 * what remains when they are subtracted is the engine. It would disprove the claim that the engine
 * takes 10 ns or less for such a request in batches of 32, as workers do.
 */
#include <errno.h>
#include <stdlib.h>
#include "base/num.h"
#include "bench/cases.h"
#include "support/guest.h"

#define QUEUE_SIZE 256
#define MAX_BATCH  64
#define DATA_AT    (1 * MIB)
#define RAM_BYTES  (4 * MIB)

struct bench_queue {
	struct guest guest;
	struct guest_queue gq;
	struct vq *q;
	unsigned batch;
	bool is_indirect, has_engine;
	uint16_t ids[MAX_BATCH];
	uint64_t interrupts; /* wanted; keeps the compiler honest */
};

static int setup(void **out, int64_t batch, uint64_t features, bool is_indirect, bool has_engine)
{
	struct bench_queue *b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->batch = (unsigned)batch;
	b->is_indirect = is_indirect;
	b->has_engine = has_engine;
	guest_init(&b->guest, RAM_BYTES);
	guest_queue_init(&b->gq, &b->guest, QUEUE_SIZE, GUEST_FEATURES | features);
	struct vq_setup s = guest_queue_setup(&b->gq, NULL);
	int err = vq_create(&b->q, &s);
	if (err)
		abort(); /* a ring this file made itself */
	*out = b;
	return 0;
}

static void teardown(void *ctx)
{
	struct bench_queue *b = ctx;
	vq_destroy(b->q);
	guest_queue_fini(&b->gq);
	guest_fini(&b->guest);
	free(b);
}

static void offer(struct bench_queue *b)
{
	for (unsigned i = 0; i < b->batch; i++) {
		uint64_t at = DATA_AT + 8192 * (uint64_t)i;
		const struct guest_buf bufs[3] = {
			{ at, 16, false },
			{ at + 4096, 4096, true },
			{ at + 16, 1, true },
		};
		int id = guest_add(&b->gq, bufs, 3, b->is_indirect);
		BUG_ON(id < 0);
		b->ids[i] = (uint16_t)id;
	}
	guest_show(&b->gq);
}

static void serve(struct bench_queue *b)
{
	struct vq_chain *c[MAX_BATCH];
	unsigned n = 0;
	for (int got = 1; n < b->batch && got > 0; n += (unsigned)got) {
		got = vq_pop_batch(b->q, &c[n], b->batch - n);
		BUG_ON(got < 0);
	}
	BUG_ON(n != b->batch);
	for (unsigned i = 0; i < n; i++)
		vq_push(b->q, c[i], 4097);
	b->interrupts += vq_publish(b->q);
}

/* The least a device can do: results where the driver looks for them. */
static void serve_blindly(struct bench_queue *b)
{
	struct guest_queue *q = &b->gq;
	uint16_t at = q->used_seen;
	bool wrap = q->used_wrap;
	for (unsigned i = 0; i < b->batch; i++) {
		if (!(q->features & GUEST_PACKED)) {
			q->used->ring[at++ & (QUEUE_SIZE - 1)] =
				(struct vring_used_elem){ b->ids[i], 4097 };
			continue;
		}
		struct vring_packed_desc *d = &q->packed[at];
		d->id = b->ids[i];
		d->len = 4097;
		d->flags = (uint16_t)(VRING_DESC_F_WRITE |
				      (wrap ? 1 << VRING_PACKED_DESC_F_AVAIL |
						       1 << VRING_PACKED_DESC_F_USED
					    : 0));
		at = (uint16_t)(at + q->nr_descs[b->ids[i]]);
		if (at >= QUEUE_SIZE) {
			at = (uint16_t)(at - QUEUE_SIZE);
			wrap = !wrap;
		}
	}
	if (!(q->features & GUEST_PACKED))
		__atomic_store_n(&q->used->idx, at, __ATOMIC_RELEASE);
}

static void reap(struct bench_queue *b)
{
	uint16_t id;
	uint32_t len;
	for (unsigned i = 0; i < b->batch; i++)
		BUG_ON(!guest_take(&b->gq, &id, &len));
	b->interrupts += guest_arm(&b->gq, 0);
}

static void run(void *ctx, unsigned thread, uint64_t n)
{
	struct bench_queue *b = ctx;
	(void)thread;
	for (uint64_t done = 0; done < n; done += b->batch) {
		offer(b);
		if (b->has_engine)
			serve(b);
		else
			serve_blindly(b);
		reap(b);
	}
}

#define CASE(ident, title, features, is_indirect, has_engine)                                      \
	static int setup_##ident(void **out, int64_t batch)                                        \
	{                                                                                          \
		return setup(out, batch, features, is_indirect, has_engine);                       \
	}                                                                                          \
	const struct bench_case bench_queue_##ident = {                                            \
		.name = "virtio/queue/" title,                                                     \
		.setup = setup_##ident,                                                            \
		.run = run,                                                                        \
		.teardown = teardown,                                                              \
		.args = { 1, 4, 16, 32, 64 }, /* requests a batch */                               \
	}

CASE(split_direct, "split/direct", 0, false, true);
CASE(split_direct_driver, "split/direct/driver", 0, false, false);
CASE(split_indirect, "split/indirect", 0, true, true);
CASE(split_indirect_driver, "split/indirect/driver", 0, true, false);
CASE(packed_direct, "packed/direct", GUEST_PACKED, false, true);
CASE(packed_direct_driver, "packed/direct/driver", GUEST_PACKED, false, false);
CASE(packed_indirect, "packed/indirect", GUEST_PACKED, true, true);
CASE(packed_indirect_driver, "packed/indirect/driver", GUEST_PACKED, true, false);
