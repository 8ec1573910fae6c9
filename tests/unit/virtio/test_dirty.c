/* test_dirty.c - pages that the device writes are marked: all of them, in time, and no other. */
#include <stdatomic.h>
#include <stdlib.h>
#include "base/err.h"
#include "sync/thread.h"
#include "unit/virtio/queue_fixture.h"
#include "../../../virtio/inflight_priv.h"

#define PAGES (RAM / DIRTY_LOG_PAGE)
#define BYTES (PAGES / 8)
#define GUARD 64

struct rig {
	struct fixture f;
	struct vq_setup setup;
	struct dirty_log log;
	struct notifier call;
	unsigned calls;
	void *account; /* of what is in flight; NULL: the queue keeps none */
	uint8_t bits[BYTES + GUARD], want[BYTES + GUARD];
	unsigned results; /* published so far */
};

static void count_log_call(void *ctx)
{
	((struct rig *)ctx)->calls++;
}

/* One page after the other, so that the test has a way of its own. */
static void want(struct rig *r, uint64_t addr, uint64_t len)
{
	for (uint64_t at = addr & ~(DIRTY_LOG_PAGE - 1ull); at < addr + len; at += DIRTY_LOG_PAGE)
		r->want[at / DIRTY_LOG_PAGE / 8] |= (uint8_t)(1u << at / DIRTY_LOG_PAGE % 8);
}

static void forget(struct rig *r)
{
	memset(r->bits, 0, sizeof(r->bits));
	memset(r->want, 0, sizeof(r->want));
}

static void check(struct rig *r)
{
	assert_memory_equal(r->bits, r->want, sizeof(r->bits));
	forget(r);
}

static bool is_packed(const struct rig *r)
{
	return r->f.gq.features & GUEST_PACKED;
}

static void want_ring(struct rig *r)
{
	const struct guest_queue *q = &r->f.gq;
	if (is_packed(r)) {
		want(r, q->desc_gpa, 16ull * q->size);
		want(r, r->setup.dirty_device, 4);
	} else {
		want(r, r->setup.dirty_device, 6 + 8ull * q->size);
	}
}

/* The next @nr results, of requests of one descriptor. */
static void want_results(struct rig *r, unsigned nr)
{
	const struct guest_queue *q = &r->f.gq;
	for (unsigned i = 0; i < nr; i++) {
		uint64_t at = r->results++ % q->size;
		if (is_packed(r))
			want(r, q->desc_gpa + 16 * at, 16);
		else
			want(r, r->setup.dirty_device + 4 + 8 * at, 8);
	}
	if (!is_packed(r))
		want(r, r->setup.dirty_device + 2, 2);
}

static void want_event(struct rig *r)
{
	bool has_index = r->f.gq.features & (1ull << VIRTIO_RING_F_EVENT_IDX);
	if (is_packed(r))
		want(r, r->setup.dirty_device, 4);
	else
		want(r, r->setup.dirty_device + (has_index ? 4 + 8ull * r->f.gq.size : 0), 2);
}

static void make_queue(struct rig *r)
{
	assert_int_equal(vq_create(&r->f.q, &r->setup), 0);
}

static struct rig *rig_make(uint16_t size, uint64_t features, bool has_account)
{
	struct rig *r = calloc(1, sizeof(*r));
	assert_non_null(r);
	guest_init(&r->f.guest, RAM);
	guest_queue_init(&r->f.gq, &r->f.guest, size, features);
	notifier_init_fn(&r->f.call, count_call, &r->f);
	notifier_init_fn(&r->call, count_log_call, r);
	r->log = (struct dirty_log){ r->bits, BYTES, &r->call };
	r->setup = guest_queue_setup(&r->f.gq, &r->f.call);
	r->setup.dirty = &r->log;
	r->setup.dirty_device = r->f.gq.device_gpa;
	if (has_account) {
		r->setup.log_bytes = vq_log_bytes(size);
		r->setup.log = r->account = calloc(1, r->setup.log_bytes);
	}
	make_queue(r);
	want_ring(r);
	check(r);
	return r;
}

static void rig_free(struct rig *r)
{
	fixture_fini(&r->f);
	free(r->account);
	free(r);
}

/* Each ring format, with and without indirect tables, event indices, and an account. */
static void on_every_logged_ring(uint16_t size, void (*body)(struct rig *r, bool is_indirect))
{
	static const uint64_t features[] = { 0, GUEST_FEATURES, GUEST_PACKED,
					     GUEST_FEATURES | GUEST_PACKED };
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(features); i++) {
		uint64_t f = features[i / 2];
		bool can_indirect = f & (1ull << VIRTIO_RING_F_INDIRECT_DESC);
		for (int indirect = 0; indirect <= can_indirect; indirect++) {
			struct rig *r = rig_make(size, f, i % 2);
			body(r, indirect);
			rig_free(r);
		}
	}
}

/* --- the bitmap --- */

static const struct {
	uint64_t addr, len;
	int first, last; /* pages; -1: none */
} ranges[] = {
	{ 0, 0, -1, -1 },
	{ 0, 1, 0, 0 },
	{ 4095, 1, 0, 0 },
	{ 4095, 2, 0, 1 },
	{ 4096, 4096, 1, 1 },
	{ 7 * 4096, 4096, 7, 7 },
	{ 7 * 4096, 4097, 7, 8 },
	{ 8 * 4096, 8 * 4096, 8, 15 },
	{ 3 * 4096 + 5, 20 * 4096, 3, 23 },
	{ 31 * 4096, 100 * 4096, 31, 31 }, /* the log ends there */
	{ 32 * 4096, 4096, -1, -1 },
	{ UINT64_MAX - 4095, 4096, -1, -1 },
	{ 30 * 4096, UINT64_MAX, 30, 31 }, /* wraps */
	{ UINT64_MAX, UINT64_MAX, -1, -1 },
};

static void marks_exactly_the_pages_of_a_range(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		uint8_t bits[4 + GUARD] = { 0 }, expect[4 + GUARD] = { 0 };
		struct dirty_log l = { bits, 4, NULL };
		for (int p = ranges[i].first; p >= 0 && p <= ranges[i].last; p++)
			expect[p / 8] |= (uint8_t)(1 << p % 8);
		dirty_log_mark(&l, ranges[i].addr, ranges[i].len);
		assert_memory_equal(bits, expect, sizeof(bits));
		memset(bits, 0x5a, 4);
		dirty_log_mark(&l, ranges[i].addr, ranges[i].len);
		for (unsigned k = 0; k < 4; k++)
			assert_int_equal(bits[k], 0x5a | expect[k]);
	}
}

static void knows_what_it_covers(void **state)
{
	(void)state;
	uint8_t bits[2];
	struct dirty_log l = { bits, sizeof(bits), NULL }, none = { 0 };
	assert_true(dirty_log_covers(&l, 0, 16 * 4096));
	assert_true(dirty_log_covers(&l, 15 * 4096, 1));
	assert_true(dirty_log_covers(&l, UINT64_MAX, 0));
	assert_false(dirty_log_covers(&l, 0, 16 * 4096 + 1));
	assert_false(dirty_log_covers(&l, 16 * 4096, 1));
	assert_false(dirty_log_covers(&l, 4096, UINT64_MAX));
	assert_false(dirty_log_covers(&none, 0, 0));
	assert_false(dirty_log_covers(&none, 0, 1));
}

/* --- a request --- */

static const struct guest_buf apart[] = {
	{ BUF, 16, false },
	{ BUF + 0x1000, 4096, true },
	{ BUF + 0x5010, 1, true },
};

static void do_three(struct rig *r, bool is_indirect)
{
	struct fixture *f = &r->f;
	assert_true(guest_add(&f->gq, apart, 3, is_indirect) >= 0);
	guest_show(&f->gq);
	struct vq_chain *c = pop_one(f);
	check(r); /* nothing was written */
	vq_push(f->q, c, 4097);
	want(r, BUF + 0x1000, 4096);
	want(r, BUF + 0x5010, 1);
	check(r); /* before anybody can see the result */
	assert_int_equal(r->calls, 0);
	(void)vq_publish(f->q);
	want_results(r, 1);
	check(r);
	assert_int_equal(r->calls, 1);
	(void)vq_publish(f->q);
	check(r);
	assert_int_equal(r->calls, 1);
	assert_false(vq_arm(f->q));
	want_event(r);
	check(r);
	vq_disarm(f->q);
	want_event(r);
	check(r);
	vq_disarm(f->q); /* already */
	check(r);
}

static void marks_what_a_request_and_its_result_write(void **state)
{
	(void)state;
	on_every_logged_ring(8, do_three);
}

/* How many bytes were written of the data and the status behind it; which pages that makes. */
static const struct {
	uint32_t written;
	bool is_spoiled;
	unsigned pages; /* of data */
	bool has_status;
} parts[] = {
	{ 0, false, 0, false },   { 1, false, 1, true },     { 4096, false, 1, true },
	{ 4097, false, 2, true }, { 16385, false, 4, true }, { UINT32_MAX, false, 4, true },
	{ 1, true, 4, true },     { 0, true, 4, true },
};

static void do_parts(struct rig *r, bool is_indirect)
{
	struct fixture *f = &r->f;
	struct guest_buf b[] = { { BUF, 16, false },
				 { BUF + 0x8000, 0x3000, true },
				 { BUF + 0x3000, 0x1000, true },
				 { BUF + 0x20fff, 1, true } };
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		uint16_t id;
		uint32_t len;
		assert_true(guest_add(&f->gq, b, 4, is_indirect) >= 0);
		guest_show(&f->gq);
		struct vq_chain *c = pop_one(f);
		if (parts[i].is_spoiled)
			vq_spoiled(f->q, c);
		vq_push(f->q, c, parts[i].written);
		for (unsigned p = 0; p < parts[i].pages; p++)
			want(r, p < 3 ? BUF + 0x8000 + 0x1000 * p : BUF + 0x3000, 1);
		if (parts[i].has_status)
			want(r, BUF + 0x20fff, 1);
		check(r);
		(void)vq_publish(f->q);
		forget(r);
		assert_true(guest_take(&f->gq, &id, &len));
	}
}

static void marks_as_much_as_was_written(void **state)
{
	(void)state;
	on_every_logged_ring(8, do_parts);
}

/* An indirect chain of a readable and @nr - 1 writable buffers, each 8 bytes in a page of its own.
 */
static void add_scattered(struct rig *r, unsigned nr, uint64_t table)
{
	struct guest_queue *q = &r->f.gq;
	for (unsigned i = 0; i < nr; i++)
		guest_table(q, table, (uint16_t)i, BUF + 0x1000ull * i, 8,
			    (uint16_t)((i ? VRING_DESC_F_WRITE : 0) |
				       (!is_packed(r) && i + 1 < nr ? VRING_DESC_F_NEXT : 0)),
			    (uint16_t)(i + 1));
	struct guest_buf one = { BUF, 8, false };
	int id = guest_add(q, &one, 1, false);
	if (!is_packed(r)) {
		guest_desc(q, (uint16_t)id, table, 16 * nr, VRING_DESC_F_INDIRECT, 0);
	} else {
		q->packed[q->gate].addr = htole64(table);
		q->gate_len = 16 * nr;
		q->gate_flags = (uint16_t)(q->gate_flags | VRING_DESC_F_INDIRECT);
	}
	guest_show(q);
}

/* The device takes its segments to pieces while it works, as our disk does. */
static void do_scattered(struct rig *r, bool is_indirect)
{
	static const unsigned nrs[] = { 2, 6, 7, 8, 128, 129, 300, 600 };
	for (size_t i = 0; i < ARRAY_SIZE(nrs) && is_indirect; i++) {
		uint16_t id;
		uint32_t len;
		add_scattered(r, nrs[i], 0x300000);
		struct vq_chain *c = pop_one(&r->f);
		assert_int_equal(c->nr_in, nrs[i] - 1);
		for (unsigned s = 0; s < nrs[i]; s++)
			c->iov[s] = (struct iovec){ (uint8_t *)c->iov[s].iov_base + 5, 0 };
		vq_push(r->f.q, c, 8 * (nrs[i] - 1));
		for (unsigned s = 1; s < nrs[i]; s++)
			want(r, BUF + 0x1000ull * s, 8);
		check(r);
		(void)vq_publish(r->f.q);
		forget(r);
		assert_true(guest_take(&r->f.gq, &id, &len));
	}
}

static void marks_chains_of_any_length(void **state)
{
	(void)state;
	on_every_logged_ring(16, do_scattered);
}

static void do_unpop(struct rig *r, bool is_indirect)
{
	assert_true(guest_add(&r->f.gq, apart, 3, is_indirect) >= 0);
	guest_show(&r->f.gq);
	vq_unpop(r->f.q, pop_one(&r->f));
	check(r);
	assert_int_equal(vq_in_flight(r->f.q), 0);
	vq_push(r->f.q, pop_one(&r->f), 1);
	want(r, BUF + 0x1000, 1);
	want(r, BUF + 0x5010, 1);
	check(r);
}

static void what_was_put_back_is_marked_when_it_is_done(void **state)
{
	(void)state;
	on_every_logged_ring(8, do_unpop);
}

/* --- the ring --- */

/* @batch results at a time, round and round. */
static void turns(struct rig *r, unsigned batch)
{
	struct guest_buf b = { BUF, 8, true };
	struct vq_chain *c[1024];
	for (unsigned done = 0; done < 3u * r->f.gq.size; done += batch) {
		for (unsigned i = 0; i < batch; i++)
			assert_true(guest_add(&r->f.gq, &b, 1, false) >= 0);
		guest_show(&r->f.gq);
		for (unsigned i = 0; i < batch; i++)
			c[i] = pop_one(&r->f);
		for (unsigned i = batch; i-- > 0;)
			vq_push(r->f.q, c[i], 8);
		want(r, BUF, 8);
		check(r);
		(void)vq_publish(r->f.q);
		want_results(r, batch);
		check(r);
		for (unsigned i = 0; i < batch; i++) {
			uint16_t id;
			uint32_t len;
			assert_true(guest_take(&r->f.gq, &id, &len));
		}
	}
}

static void do_turns(struct rig *r, bool is_indirect)
{
	if (!is_indirect) {
		turns(r, 100); /* over the end, in the middle of a batch */
		turns(r, r->f.gq.size);
		turns(r, 1);
	}
}

static void marks_the_ring_over_its_end(void **state)
{
	(void)state;
	on_every_logged_ring(1024, do_turns);
}

static void a_packed_ring_of_any_size_is_marked_over_its_end(void **state)
{
	(void)state;
	struct rig *r = rig_make(777, GUEST_PACKED, false);
	do_turns(r, false);
	rig_free(r);
}

static void do_elsewhere(struct rig *r, bool is_indirect)
{
	vq_destroy(r->f.q);
	r->setup.dirty_device = 0x3a0000;
	make_queue(r);
	want_ring(r);
	check(r);
	do_three(r, is_indirect);
}

static void the_device_area_lies_where_the_log_says(void **state)
{
	(void)state;
	struct rig *r = rig_make(8, GUEST_FEATURES, false);
	do_elsewhere(r, false);
	rig_free(r);
	r = rig_make(8, GUEST_FEATURES | GUEST_PACKED, false);
	do_elsewhere(r, true);
	rig_free(r);
}

/* --- other queues before and after --- */

static void complete_all(struct rig *r, uint32_t written)
{
	struct vq_chain *c[VQ_BATCH];
	int got;
	while ((got = vq_pop_batch(r->f.q, c, VQ_BATCH)) > 0)
		for (int i = 0; i < got; i++)
			vq_push(r->f.q, c[i], written);
	assert_int_equal(got, 0);
	(void)vq_publish(r->f.q);
}

/* The log is switched on between two queues on one ring, and off again: requests go on. */
static void do_switch(struct rig *r, bool is_indirect)
{
	uint16_t id;
	uint32_t len;
	for (int turn = 0; turn < 6; turn++) {
		bool is_on = turn % 2;
		r->setup.next = vq_next(r->f.q);
		vq_destroy(r->f.q);
		r->setup.dirty = is_on ? &r->log : NULL;
		make_queue(r);
		forget(r);
		assert_true(guest_add(&r->f.gq, apart, 3, is_indirect) >= 0);
		guest_show(&r->f.gq);
		struct vq_chain *c = pop_one(&r->f);
		vq_spoiled(r->f.q, c); /* means nothing without a log */
		vq_push(r->f.q, c, 4097);
		(void)vq_publish(r->f.q);
		assert_true(guest_take(&r->f.gq, &id, &len));
		assert_int_equal(r->bits[(BUF + 0x1000) / DIRTY_LOG_PAGE / 8] != 0, is_on);
		if (!is_on)
			check(r); /* not a bit */
	}
}

static void the_log_comes_and_goes_between_two_queues(void **state)
{
	(void)state;
	on_every_logged_ring(8, do_switch);
}

/* A predecessor that died had results in the ring that it never showed: whoever cleans up marks. */
static void what_a_predecessor_left_is_marked(void **state)
{
	(void)state;
	static const uint64_t features[] = { 0, GUEST_PACKED };
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		struct rig *r = rig_make(1024, features[i], true);
		struct guest_buf b = { BUF + 0x7000, 8, true };
		struct vq_chain *c[500];
		for (unsigned k = 0; k < 600; k++)
			assert_true(guest_add(&r->f.gq, &b, 1, false) >= 0);
		guest_show(&r->f.gq);
		for (unsigned k = 0; k < 500; k++)
			c[k] = pop_one(&r->f);
		for (unsigned k = 0; k < 500; k++)
			vq_push(r->f.q, c[k], 8);
		vq_destroy(r->f.q); /* as good as killed */
		forget(r);
		make_queue(r);
		want_ring(r);
		check(r);
		complete_all(r, 8);
		want(r, BUF + 0x7000, 8);
		want_results(r, 600);
		check(r);
		rig_free(r);
	}
}

static void do_small(struct rig *r, bool is_indirect)
{
	uint16_t id;
	uint32_t len;
	memset(r->bits, 0, sizeof(r->bits));
	r->log.bytes = BUF / DIRTY_LOG_PAGE / 8; /* up to the buffers */
	assert_true(guest_add(&r->f.gq, apart, 3, is_indirect) >= 0);
	guest_show(&r->f.gq);
	complete_all(r, 4097);
	for (size_t i = r->log.bytes; i < sizeof(r->bits); i++)
		assert_int_equal(r->bits[i], 0);
	assert_true(guest_take(&r->f.gq, &id, &len));
}

static void nothing_is_written_behind_the_end_of_the_bitmap(void **state)
{
	(void)state;
	on_every_logged_ring(8, do_small);
}

/* --- a migration --- */

struct copier {
	struct rig *r;
	uint8_t *copy; /* of all guest memory */
	_Atomic bool is_over;
};

static void copy_marked(struct copier *m)
{
	for (unsigned i = 0; i < BYTES; i++) {
		/* acquire: pairs with the release in dirty_log_mark() */
		unsigned bits = __atomic_exchange_n(&m->r->bits[i], 0, __ATOMIC_ACQUIRE);
		for (unsigned k = 0; bits >> k; k++)
			if (bits >> k & 1)
				memcpy(m->copy + (8 * i + k) * DIRTY_LOG_PAGE,
				       m->r->f.guest.ram + (8 * i + k) * DIRTY_LOG_PAGE,
				       DIRTY_LOG_PAGE);
	}
}

static void copier_main(void *arg)
{
	struct copier *m = arg;
	while (!m->is_over)
		copy_marked(m);
}

/* Some work of the driver, whose own writes are marked by others, and of the device. */
static void work(struct rig *r, unsigned turn)
{
	struct guest_queue *q = &r->f.gq;
	struct vq_chain *c;
	for (unsigned i = 0; i < 5; i++) {
		struct guest_buf b[] = { { BUF + 0x1000 * ((turn + i) % 50), 4096, true },
					 { BUF + 0x80000 + 512 * i, 1, true } };
		assert_true(guest_add(q, b, 2, false) >= 0);
	}
	guest_show(q);
	dirty_log_mark(&r->log, q->desc_gpa, 16ull * q->size);
	dirty_log_mark(&r->log, q->driver_gpa, is_packed(r) ? 4 : 6 + 2ull * q->size);
	while (vq_pop(r->f.q, &c) > 0) {
		memset(c->iov[0].iov_base, (int)turn, 4096);
		*(uint8_t *)c->iov[1].iov_base = (uint8_t)turn;
		vq_push(r->f.q, c, 4097);
	}
	(void)vq_publish(r->f.q);
	uint16_t id;
	uint32_t len;
	while (guest_take(q, &id, &len))
		assert_int_equal(len, 4097);
}

static void migrate(uint64_t features, bool has_account)
{
	struct rig *r = rig_make(64, features, has_account);
	struct copier m = { .r = r, .copy = malloc(RAM) };
	struct thread *t;
	struct thread_attr attr = { .name = "copier" };
	assert_non_null(m.copy);
	memcpy(m.copy, r->f.guest.ram, RAM);
	assert_int_equal(thread_create(&t, &attr, copier_main, &m), 0);
	for (unsigned turn = 0; turn < 5000; turn++)
		work(r, turn);
	m.is_over = true;
	thread_join(t);
	copy_marked(&m); /* the last, while all stands still */
	assert_memory_equal(m.copy, r->f.guest.ram, RAM);
	free(m.copy);
	rig_free(r);
}

static void a_copy_made_under_way_is_complete(void **state)
{
	(void)state;
#ifdef COMPILER_TSAN
	skip(); /* who copies memory that is written races with who writes it: that is what marks
		 * are for */
#endif
	migrate(GUEST_FEATURES, false);
	migrate(GUEST_FEATURES, true);
	migrate(GUEST_FEATURES | GUEST_PACKED, false);
	migrate(GUEST_FEATURES | GUEST_PACKED, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(marks_exactly_the_pages_of_a_range),
		cmocka_unit_test(knows_what_it_covers),
		cmocka_unit_test(marks_what_a_request_and_its_result_write),
		cmocka_unit_test(marks_as_much_as_was_written),
		cmocka_unit_test(marks_chains_of_any_length),
		cmocka_unit_test(what_was_put_back_is_marked_when_it_is_done),
		cmocka_unit_test(marks_the_ring_over_its_end),
		cmocka_unit_test(a_packed_ring_of_any_size_is_marked_over_its_end),
		cmocka_unit_test(the_device_area_lies_where_the_log_says),
		cmocka_unit_test(the_log_comes_and_goes_between_two_queues),
		cmocka_unit_test(what_a_predecessor_left_is_marked),
		cmocka_unit_test(nothing_is_written_behind_the_end_of_the_bitmap),
		cmocka_unit_test(a_copy_made_under_way_is_complete),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
