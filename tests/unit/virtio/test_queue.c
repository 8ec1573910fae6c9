/* test_queue.c - both ring formats in front of a driver that keeps the rules. */
#include "unit/virtio/queue_fixture.h"
#include "virtio/queue_priv.h"

static void pop_none(struct fixture *f)
{
	struct vq_chain *c = NULL;
	assert_int_equal(vq_pop(f->q, &c), 0);
	assert_null(c);
}

static void check_three(struct fixture *f, bool is_indirect)
{
	pop_none(f);
	int id = guest_add(&f->gq, three, 3, is_indirect);
	pop_none(f); /* not shown yet */
	guest_show(&f->gq);
	assert_true(vq_has_work(f->q));
	struct vq_chain *c = pop_one(f);
	assert_int_equal(c->nr_out, 1);
	assert_int_equal(c->nr_in, 2);
	assert_int_equal(c->out_bytes, 16);
	assert_int_equal(c->in_bytes, 4097);
	for (unsigned i = 0; i < 3; i++) {
		assert_ptr_equal(c->iov[i].iov_base, f->guest.ram + three[i].addr);
		assert_int_equal(c->iov[i].iov_len, three[i].len);
	}
	assert_int_equal(vq_in_flight(f->q), 1);
	assert_false(vq_has_work(f->q));
	uint16_t got;
	uint32_t len;
	vq_push(f->q, c, 4097);
	assert_false(guest_take(&f->gq, &got, &len)); /* not published yet */
	assert_true(vq_publish(f->q));
	assert_false(vq_publish(f->q)); /* nothing new */
	assert_int_equal(vq_in_flight(f->q), 0);
	assert_true(guest_take(&f->gq, &got, &len));
	assert_int_equal(got, id);
	assert_int_equal(len, 4097);
	assert_false(guest_take(&f->gq, &got, &len));
}

static void a_request_comes_out_as_it_was_put_in(void **state)
{
	(void)state;
	on_every_ring(8, check_three);
}

/* Many turns of the ring, several in flight, completed out of order. */
static void churn(struct fixture *f, bool is_indirect)
{
	struct vq_chain *held[4];
	uint32_t seen = 0;
	for (uint32_t turn = 0; turn < 70000; turn += 4) {
		int ids[4];
		for (uint32_t i = 0; i < 4; i++) {
			struct guest_buf b[2] = {
				{ BUF + 64 * i, 16 + i, false },
				{ BUF + 0x1000, 32, true },
			};
			ids[i] = guest_add(&f->gq, b, 1 + (turn + i) % 2, is_indirect);
			assert_true(ids[i] >= 0);
		}
		guest_show(&f->gq);
		for (uint32_t i = 0; i < 4; i++)
			held[i] = pop_one(f);
		pop_none(f);
		for (uint32_t i = 4; i-- > 0;) {
			assert_int_equal(held[i]->out_bytes, 16 + i);
			vq_push(f->q, held[i], i + 1);
		}
		(void)vq_publish(f->q);
		for (uint32_t i = 4; i-- > 0; seen++) {
			uint16_t id;
			uint32_t len;
			assert_true(guest_take(&f->gq, &id, &len));
			assert_int_equal(id, ids[i]);
			assert_int_equal(len, i + 1);
		}
	}
	assert_int_equal(vq_stats_of(f->q)->requests, seen);
	assert_int_equal(f->gq.nr_free, f->gq.size);
}

static void results_keep_their_requests_over_many_turns(void **state)
{
	(void)state;
	on_every_ring(8, churn);
}

static void a_packed_ring_may_have_any_size(void **state)
{
	(void)state;
	for (unsigned i = 2; i < ARRAY_SIZE(all_features); i++) {
		struct fixture f;
		fixture_init(&f, 11, all_features[i]);
		churn(&f, false);
		fixture_fini(&f);
	}
}

static void fill_it_up(struct fixture *f, bool is_indirect)
{
	struct vq_chain *c[16];
	struct guest_buf b = { BUF, 8, true };
	for (int round = 0; round < 3; round++) {
		assert_false(guest_arm(&f->gq, 0));
		for (unsigned i = 0; i < 16; i++)
			assert_true(guest_add(&f->gq, &b, 1, is_indirect) >= 0);
		assert_int_equal(guest_add(&f->gq, &b, 1, is_indirect), -1);
		guest_show(&f->gq);
		for (unsigned i = 0; i < 16; i++)
			c[i] = pop_one(f);
		pop_none(f);
		assert_int_equal(vq_in_flight(f->q), 16);
		for (unsigned i = 0; i < 16; i++)
			vq_push(f->q, c[(i * 5) % 16], 8);
		assert_true(vq_publish(f->q));
		uint16_t id;
		uint32_t len;
		for (unsigned i = 0; i < 16; i++)
			assert_true(guest_take(&f->gq, &id, &len));
	}
}

static void a_full_ring_comes_out_whole(void **state)
{
	(void)state;
	on_every_ring(16, fill_it_up);
}

static void pop_unpop(struct fixture *f, bool is_indirect)
{
	for (unsigned i = 0; i < 21; i++) { /* past the end of the ring */
		assert_true(guest_add(&f->gq, three, 3, is_indirect) >= 0);
		guest_show(&f->gq);
		struct vq_chain *c = pop_one(f);
		vq_unpop(f->q, c);
		assert_int_equal(vq_in_flight(f->q), 0);
		assert_true(vq_has_work(f->q));
		c = pop_one(f);
		assert_int_equal(c->in_bytes, 4097);
		vq_push(f->q, c, 1);
		(void)vq_publish(f->q);
		uint16_t id;
		uint32_t len;
		assert_true(guest_take(&f->gq, &id, &len));
		pop_none(f);
	}
}

static void an_unpopped_request_comes_again(void **state)
{
	(void)state;
	on_every_ring(8, pop_unpop);
}

static void empty_buffers(struct fixture *f, bool is_indirect)
{
	const struct guest_buf b[] = {
		{ BUF, 0, false },
		{ BUF, 4, false },
		{ ~0ull, 0, true },
		{ BUF, 5, true },
	};
	assert_true(guest_add(&f->gq, b, 4, is_indirect) >= 0);
	guest_show(&f->gq);
	struct vq_chain *c = pop_one(f);
	assert_int_equal(c->nr_out, 1);
	assert_int_equal(c->nr_in, 1);
	assert_int_equal(c->out_bytes, 4);
	assert_int_equal(c->in_bytes, 5);
	vq_push(f->q, c, 0);
}

static void empty_buffers_are_left_out(void **state)
{
	(void)state;
	on_every_ring(8, empty_buffers);
}

static void next_round_trip(struct fixture *f, bool is_indirect)
{
	for (unsigned i = 0; i < 13; i++) {
		assert_true(guest_add(&f->gq, three, 3, is_indirect) >= 0);
		guest_show(&f->gq);
		vq_push(f->q, pop_one(f), i);
		(void)vq_publish(f->q);
		uint16_t id;
		uint32_t len;
		assert_true(guest_take(&f->gq, &id, &len));
		struct vq_setup s = guest_queue_setup(&f->gq, &f->call);
		s.next = vq_next(f->q);
		vq_destroy(take(f->q));
		assert_int_equal(vq_create(&f->q, &s), 0);
	}
}

static void a_successor_goes_on_where_the_queue_stopped(void **state)
{
	(void)state;
	on_every_ring(8, next_round_trip);
}

/* --- long chains --- */

static void check_long(struct fixture *f, unsigned nr, uint64_t table)
{
	assert_true(add_long(f, nr, table) >= 0);
	struct vq_chain *c = pop_one(f);
	assert_int_equal(c->nr_out, 1);
	assert_int_equal(c->nr_in, nr - 1);
	assert_int_equal(c->in_bytes, 8 * (nr - 1));
	for (unsigned i = 0; i < nr; i++)
		assert_ptr_equal(c->iov[i].iov_base, f->guest.ram + BUF + 8 * i);
	vq_push(f->q, c, 0);
	(void)vq_publish(f->q);
	uint16_t id;
	uint32_t len;
	assert_true(guest_take(&f->gq, &id, &len));
}

static void long_chains_keep_every_segment(void **state)
{
	static const unsigned lengths[] = { 5, 6, 7, 8, 127, 128, 129, 130, 600, 1023, 1024 };
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		struct fixture f;
		fixture_init(&f, 8, GUEST_FEATURES | (packed ? GUEST_PACKED : 0));
		uint64_t table = guest_alloc(&f.guest, 16 * 1024, 16, 0);
		for (unsigned round = 0; round < 20; round++)
			for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++)
				check_long(&f, lengths[i], table);
		fixture_fini(&f);
	}
}

static void too_many_long_chains_wait_for_a_push(void **state)
{
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		struct fixture f;
		struct vq_chain *c[64], *extra;
		unsigned n = 0;
		fixture_init(&f, 64, GUEST_FEATURES | (packed ? GUEST_PACKED : 0));
		uint64_t table = guest_alloc(&f.guest, 16 * 1024, 16, 0);
		for (unsigned i = 0; i < 64; i++)
			assert_true(add_long(&f, 200, table) >= 0);
		int got;
		while ((got = vq_pop(f.q, &c[n])) == 1)
			n++;
		assert_int_equal(got, -ENOBUFS);
		assert_int_equal(n, VQ_NR_LARGE);
		assert_int_equal(vq_pop(f.q, &extra), -ENOBUFS);
		assert_int_equal(vq_in_flight(f.q), n);
		vq_push(f.q, c[0], 0);
		c[0] = pop_one(&f);
		assert_int_equal(c[0]->nr_in, 199);
		assert_int_equal(vq_pop(f.q, &extra), -ENOBUFS);
		unsigned served = 0;
		for (; n; served++) {
			vq_push(f.q, c[--n], 0);
			if (served + n < 63) {
				c[n] = pop_one(&f);
				n++;
				served++;
			}
		}
		assert_int_equal(vq_in_flight(f.q), 0);
		/* the room for all of them is there again */
		(void)vq_publish(f.q);
		uint16_t id;
		uint32_t len;
		while (guest_take(&f.gq, &id, &len))
			;
		for (; n < VQ_NR_LARGE; n++) {
			assert_true(add_long(&f, 200, table) >= 0);
			c[n] = pop_one(&f);
		}
		fixture_fini(&f);
	}
}

/* --- copies --- */

static void copies_respect_the_parts(void **state)
{
	(void)state;
	struct fixture f;
	uint8_t buf[16];
	const struct guest_buf b[] = {
		{ BUF, 3, false },
		{ BUF + 3, 5, false },
		{ BUF + 0x100, 2, true },
		{ BUF + 0x102, 3, true },
	};
	fixture_init(&f, 8, GUEST_FEATURES);
	memcpy(f.guest.ram + BUF, "abcdefgh", 8);
	assert_true(guest_add(&f.gq, b, 4, true) >= 0);
	guest_show(&f.gq);
	struct vq_chain *c = pop_one(&f);
	assert_true(vq_chain_read(c, 0, buf, 8));
	assert_memory_equal(buf, "abcdefgh", 8);
	assert_true(vq_chain_read(c, 2, buf, 3));
	assert_memory_equal(buf, "cde", 3);
	assert_true(vq_chain_read(c, 8, buf, 0));
	assert_false(vq_chain_read(c, 1, buf, 8));
	assert_false(vq_chain_read(c, 9, buf, 0));
	assert_false(vq_chain_read(c, UINT32_MAX, buf, 2));
	assert_true(vq_chain_write(c, 1, "wxyz", 4));
	assert_memory_equal(f.guest.ram + BUF + 0x100, "\xeewxyz\xee", 6);
	assert_false(vq_chain_write(c, 1, "vwxyz", 5));
	assert_memory_equal(f.guest.ram + BUF + 0x100, "\xeewxyz\xee", 6);
	vq_push(f.q, c, 5);
	fixture_fini(&f);
}

/* Chains that the short road takes, and in between some that it leaves to the long one. */
static int add_nth(struct fixture *f, unsigned n)
{
	const struct guest_buf b[8] = { { BUF, 16, false },    { BUF + 4096, n + 1, true },
					{ BUF + 16, 1, true }, { BUF, 1, true },
					{ BUF, 2, true },      { BUF, 3, true },
					{ BUF, 4, true },      { BUF + 64, 0, true } };
	if (n % 7 == 3) /* more segments than fit a slot */
		return guest_add(&f->gq, b, 7, true);
	if (n % 7 == 5) /* an empty buffer */
		return guest_add(&f->gq, &b[7], 1, false);
	if (n % 7 == 6) /* nothing to write to */
		return guest_add(&f->gq, b, 1, false);
	return guest_add(&f->gq, b, 3, n % 2);
}

static void check_nth(const struct vq_chain *c, unsigned n)
{
	unsigned kind = n % 7;
	assert_int_equal(c->nr_out, kind != 5);
	assert_int_equal(c->nr_in, kind == 3 ? 6 : kind < 5 ? 2 : 0);
	if (kind < 5)
		assert_int_equal(c->iov[1].iov_len, n + 1);
}

static void batches_come_out_in_order_whatever_is_in_them(void **state)
{
	(void)state;
	static const uint64_t formats[] = { 0, GUEST_PACKED };
	for (unsigned k = 0; k < 2 * VQ_BATCH; k++) {
		struct fixture f;
		unsigned max = 1 + k / 2, n = 0, turn = 0;
		fixture_init(&f, 64, GUEST_FEATURES | formats[k % 2]);
		for (; n < 300 && turn < 1000; turn++) {
			unsigned first = n, to = n;
			while (to < n + 20 && add_nth(&f, to) >= 0)
				to++;
			guest_show(&f.gq);
			while (n < to) {
				struct vq_chain *c[VQ_BATCH];
				int got = vq_pop_batch(f.q, c, max);
				assert_in_range(got, 1, max);
				for (int i = 0; i < got; i++, n++) {
					check_nth(c[i], n);
					vq_push(f.q, c[i], n);
				}
			}
			struct vq_chain *none = NULL;
			assert_int_equal(vq_pop_batch(f.q, &none, max), 0);
			assert_int_equal(vq_in_flight(f.q), 0);
			(void)vq_publish(f.q);
			uint16_t id;
			for (uint32_t len; first < to; first++) {
				assert_true(guest_take(&f.gq, &id, &len));
				assert_int_equal(len, first);
			}
		}
		assert_true(n >= 300);
		fixture_fini(&f);
	}
}

static void an_indirect_table_may_lie_anywhere(void **state)
{
	(void)state;
	static const uint64_t formats[] = { 0, GUEST_PACKED };
	for (uint64_t off = 0; off < 2 * 64; off++) {
		struct fixture f;
		fixture_init(&f, 8, GUEST_FEATURES | formats[off % 2]);
		for (unsigned i = 0; i < 2; i++) { /* the first makes the region known */
			(void)add_long(&f, 3, 0x80000 + off / 2);
			struct vq_chain *c = pop_one(&f);
			assert_int_equal(c->nr_out, 1);
			assert_int_equal(c->nr_in, 2);
			assert_ptr_equal(c->iov[2].iov_base, f.guest.ram + BUF + 16);
			vq_push(f.q, c, 0);
		}
		fixture_fini(&f);
	}
}

/* What the flags of its last buffer say is no index, even if the table goes so far. */
static void an_indirect_table_may_be_of_any_length(void **state)
{
	(void)state;
	enum { NR = 70000, FAR = 0x10000 };
	const uint64_t at = 0x80000;
	struct fixture f;
	fixture_init(&f, 8, GUEST_FEATURES);
	struct vring_desc *table = (struct vring_desc *)(void *)(f.guest.ram + at);
	table[FAR] = (struct vring_desc){ htole64(BUF), htole32(8), htole16(VRING_DESC_F_WRITE),
					  htole16(NR - FAR) };
	for (unsigned i = 0; i < 2; i++) { /* the first makes the region known */
		int id = add_long(&f, 2, at);
		table[1].next = 0;
		guest_desc(&f.gq, (uint16_t)id, at, 16 * NR, VRING_DESC_F_INDIRECT, 0);
		struct vq_chain *c = pop_one(&f);
		assert_int_equal(c->nr_out, 1);
		assert_int_equal(c->nr_in, 1);
		vq_push(f.q, c, 0);
	}
	fixture_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_comes_out_as_it_was_put_in),
		cmocka_unit_test(results_keep_their_requests_over_many_turns),
		cmocka_unit_test(a_packed_ring_may_have_any_size),
		cmocka_unit_test(a_full_ring_comes_out_whole),
		cmocka_unit_test(an_unpopped_request_comes_again),
		cmocka_unit_test(empty_buffers_are_left_out),
		cmocka_unit_test(a_successor_goes_on_where_the_queue_stopped),
		cmocka_unit_test(long_chains_keep_every_segment),
		cmocka_unit_test(too_many_long_chains_wait_for_a_push),
		cmocka_unit_test(copies_respect_the_parts),
		cmocka_unit_test(an_indirect_table_may_lie_anywhere),
		cmocka_unit_test(an_indirect_table_may_be_of_any_length),
		cmocka_unit_test(batches_come_out_in_order_whatever_is_in_them),
	};
	return cmocka_run_group_tests_name("virtio/queue", tests, NULL, NULL);
}
