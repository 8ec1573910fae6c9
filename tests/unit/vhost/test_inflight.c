/*
 * test_inflight.c - the account of requests in flight: what a device that died left is done by the
 * next one, all of it, once, in order.
 */
#include "unit/vhost/inflight_fixture.h"

/* --- one crash, at a chosen moment --- */

static void what_was_in_flight_comes_again_in_order(void **state)
{
	struct fixture *f = *state;
	uint16_t id;
	uint32_t len;
	for (unsigned i = 0; i < 6; i++)
		assert_true(offer(f, i, 100 + i, i & 1) >= 0);
	guest_show(&f->gq);
	assert_int_equal(take_over(f), 0);
	struct vq_chain *c[4];
	for (unsigned i = 0; i < 4; i++)
		c[i] = pop(f);
	complete(f, c[2]);
	vq_signal(f->q);
	complete(f, c[0]); /* pushed, never shown */
	assert_int_equal(take_over(f), 0);
	assert_true(vq_has_backlog(f->q));
	assert_true(vq_has_work(f->q));
	static const unsigned want[] = { 100, 101, 103, 104, 105 };
	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		struct vq_chain *n = pop(f);
		assert_int_equal(number_of(n), want[i]);
		complete(f, n);
	}
	assert_false(vq_has_backlog(f->q));
	vq_signal(f->q);
	for (unsigned i = 0; i < 6; i++)
		assert_true(guest_take(&f->gq, &id, &len));
	assert_false(guest_take(&f->gq, &id, &len));
	assert_int_equal(vq_in_flight(f->q), 0);
}

static void a_successor_calls_even_if_nothing_is_left(void **state)
{
	struct fixture *f = *state;
	assert_true(offer(f, 0, 1, false) >= 0);
	guest_show(&f->gq);
	assert_int_equal(take_over(f), 0);
	complete(f, pop(f));
	(void)vq_publish(f->q); /* dies before the call */
	assert_int_equal(take_over(f), 0);
	assert_false(vq_has_backlog(f->q));
	unsigned before = f->calls;
	vq_signal(f->q);
	assert_int_equal(f->calls, before + 1);
	vq_signal(f->q);
	assert_int_equal(f->calls, before + 1);
}

static void a_request_put_back_is_not_in_flight(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < 3; i++)
		assert_true(offer(f, i, 10 + i, false) >= 0);
	guest_show(&f->gq);
	assert_int_equal(take_over(f), 0);
	(void)pop(f);
	vq_unpop(f->q, pop(f));
	assert_int_equal(take_over(f), 0);
	struct vq_chain *c = pop(f);
	assert_int_equal(number_of(c), 10);
	vq_unpop(f->q, c); /* one of a predecessor */
	assert_true(vq_has_backlog(f->q));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(number_of(pop(f)), 10 + i);
}

/*
 * A batch that was never shown must not be seen through the first result of the successor, and not
 * be mistaken for one that was shown by who comes after that one.
 */
static void a_batch_that_was_never_shown_is_forgotten(void **state)
{
	struct fixture *f = *state;
	uint16_t id;
	uint32_t len;
	for (unsigned i = 0; i < 4; i++)
		assert_true(offer(f, i, 10 + i, true) >= 0);
	guest_show(&f->gq);
	assert_int_equal(take_over(f), 0);
	struct vq_chain *c[4];
	for (unsigned i = 0; i < 4; i++)
		c[i] = pop(f);
	for (unsigned i = 4; i--;)
		complete(f, c[i]);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(take_over(f), 0);
		struct vq_chain *n = pop(f);
		assert_int_equal(number_of(n), 10 + i);
		complete(f, n);
		vq_signal(f->q);
		assert_true(guest_take(&f->gq, &id, &len));
		assert_false(guest_take(&f->gq, &id, &len));
	}
}

/* The successor stops in the middle: what it did not even begin is left to the next. */
static void a_chain_of_successors_loses_nothing(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < 10; i++)
		assert_true(offer(f, i, i, true) >= 0);
	guest_show(&f->gq);
	uint64_t seen = 0;
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(take_over(f), 0);
		for (unsigned n = i; n < 10; n++)
			(void)pop(f);
		assert_int_equal(take_over(f), 0);
		struct vq_chain *c = pop(f);
		seen |= 1ull << number_of(c);
		complete(f, c);
		vq_signal(f->q);
	}
	assert_int_equal(seen, 0x3ff);
}

/*
 * Entries are reused last in, first out: what was taken last lies first. The counter goes on where
 * the predecessor's stopped, or what is new would come before what is old.
 */
static void the_order_is_that_of_taking_whatever_the_place(void **state)
{
	struct fixture *f = *state;
	struct vq_chain *c[6];
	uint16_t id;
	uint32_t len;
	for (unsigned i = 0; i < 6; i++)
		assert_true(offer(f, i, i, false) >= 0);
	guest_show(&f->gq);
	assert_int_equal(take_over(f), 0);
	for (unsigned i = 0; i < 6; i++)
		c[i] = pop(f);
	for (unsigned i = 0; i < 6; i++)
		complete(f, c[i]);
	vq_signal(f->q);
	while (guest_take(&f->gq, &id, &len))
		;
	for (unsigned i = 6; i < 9; i++)
		assert_true(offer(f, i, i, false) >= 0);
	guest_show(&f->gq);
	for (unsigned i = 6; i < 9; i++)
		(void)pop(f);
	assert_int_equal(take_over(f), 0);
	for (unsigned i = 9; i < 11; i++)
		assert_true(offer(f, i, i, false) >= 0);
	guest_show(&f->gq);
	for (unsigned i = 6; i < 11; i++)
		assert_int_equal(number_of(pop(f)), i);
	assert_int_equal(take_over(f), 0);
	for (unsigned i = 6; i < 11; i++)
		assert_int_equal(number_of(pop(f)), i);
}

/* It dies between the ring's index and the account: the links of the batch say what was shown. */
static void a_batch_that_was_shown_is_done_though_the_account_lags(void **state)
{
	struct fixture *f = *state;
	struct vq_chain *c[4];
	size_t bytes = vq_log_bytes(SIZE);
	void *saved = malloc(bytes);
	static const unsigned left[] = { 10, 12, 14 };
	for (unsigned i = 0; i < 5; i++)
		assert_true(offer(f, i, 10 + i, false) >= 0);
	guest_show(&f->gq);
	assert_int_equal(take_over(f), 0);
	for (unsigned i = 0; i < 4; i++)
		c[i] = pop(f);
	complete(f, c[1]);
	complete(f, c[3]);
	memcpy(saved, f->log, bytes);
	(void)vq_publish(f->q);
	memcpy(f->log, saved, bytes);
	free(saved);
	assert_int_equal(take_over(f), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(left); i++) {
		c[i] = pop(f);
		assert_int_equal(number_of(c[i]), left[i]);
	}
	complete(f, c[0]); /* never shown, and not one of the batch before */
	assert_int_equal(take_over(f), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(left); i++)
		assert_int_equal(number_of(pop(f)), left[i]);
	assert_false(vq_has_work(f->q));
}

/* Taking from a packed ring shows results: who signals next tells of them. */
static void a_result_shown_early_is_told_of_later(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < 2; i++)
		assert_true(offer(f, i, i, false) >= 0);
	guest_show(&f->gq);
	assert_int_equal(take_over(f), 0);
	complete(f, pop(f));
	(void)pop(f);
	assert_int_equal(f->calls, 0);
	vq_signal(f->q);
	assert_int_equal(f->calls, 1);
	vq_signal(f->q);
	assert_int_equal(f->calls, 1);
}

/* --- damaged accounts --- */

static void begin_some(struct fixture *f)
{
	for (unsigned i = 0; i < 4; i++)
		assert_true(offer(f, i, i, false) >= 0);
	guest_show(&f->gq);
	assert_int_equal(take_over(f), 0);
	for (unsigned i = 0; i < 4; i++)
		(void)pop(f);
}

/* Every byte of the account changed to anything: refused, or harmless. */
static void a_damaged_account_is_refused_or_harmless(void **state)
{
	struct fixture *f = *state;
	static const uint8_t values[] = { 0, 1, 7, 31, 32, 0x7f, 0x80, 0xff };
	size_t bytes = vq_log_bytes(SIZE);
	uint8_t *saved = malloc(bytes);
	begin_some(f);
	memcpy(saved, f->log, bytes);
	for (size_t i = 0; i < bytes; i++) {
		for (size_t v = 0; v < ARRAY_SIZE(values); v++) {
			memcpy(f->log, saved, bytes);
			((uint8_t *)f->log)[i] = values[v];
			int err = take_over(f);
			assert_true(!err || err == -EINVAL);
			struct vq_chain *c;
			for (unsigned n = 0; !err && n < 2 * SIZE && vq_pop(f->q, &c) > 0; n++)
				vq_push(f->q, c, 0);
			if (!err)
				vq_signal(f->q);
			/* the ring as it was: nothing shown */
			if (!(f->gq.features & GUEST_PACKED))
				f->gq.used->idx = 0;
		}
	}
	free(saved);
}

static void a_batch_that_leaves_the_account_is_refused(void **state)
{
	struct fixture *f = *state;
	struct inflight_split *log = f->log;
	begin_some(f);
	f->gq.used->idx = htole16(1);
	log->last_batch_head = SIZE;
	assert_int_equal(take_over(f), -EINVAL);
	f->gq.used->idx = htole16(2);
	log->last_batch_head = 1;
	log->desc[1].next = SIZE;
	assert_int_equal(take_over(f), -EINVAL);
	log->desc[1].next = SIZE - 1;
	assert_int_equal(take_over(f), 0);
}

static void an_account_of_another_size_is_refused(void **state)
{
	struct fixture *f = *state;
	begin_some(f);
	struct vq_setup s = guest_queue_setup(&f->gq, &f->call);
	struct vq *q = NULL;
	s.log = f->log;
	s.log_bytes = 64;
	assert_int_equal(vq_create(&q, &s), -EINVAL);
	s.log_bytes = vq_log_bytes(SIZE);
	s.log = (uint8_t *)f->log + 4;
	assert_int_equal(vq_create(&q, &s), -EINVAL);
	s.log = f->log;
	s.size = SIZE / 2;
	assert_int_equal(vq_create(&q, &s), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SPLIT(what_was_in_flight_comes_again_in_order),
		PACKED(what_was_in_flight_comes_again_in_order),
		SPLIT(a_successor_calls_even_if_nothing_is_left),
		PACKED(a_successor_calls_even_if_nothing_is_left),
		SPLIT(a_request_put_back_is_not_in_flight),
		PACKED(a_request_put_back_is_not_in_flight),
		SPLIT(a_batch_that_was_never_shown_is_forgotten),
		PACKED(a_batch_that_was_never_shown_is_forgotten),
		SPLIT(a_chain_of_successors_loses_nothing),
		PACKED(a_chain_of_successors_loses_nothing),
		SPLIT(the_order_is_that_of_taking_whatever_the_place),
		PACKED(the_order_is_that_of_taking_whatever_the_place),
		SPLIT(a_batch_that_was_shown_is_done_though_the_account_lags),
		SPLIT(a_result_shown_early_is_told_of_later),
		PACKED(a_result_shown_early_is_told_of_later),
		SPLIT(a_damaged_account_is_refused_or_harmless),
		PACKED(a_damaged_account_is_refused_or_harmless),
		SPLIT(a_batch_that_leaves_the_account_is_refused),
		SPLIT(an_account_of_another_size_is_refused),
		PACKED(an_account_of_another_size_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
