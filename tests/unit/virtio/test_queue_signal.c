/* test_queue_signal.c - interrupts and notifications of both ring formats. */
#include "unit/virtio/queue_fixture.h"

/* --- interrupts and notifications --- */

static void serve_one(struct fixture *f, bool is_indirect)
{
	assert_true(guest_add(&f->gq, three, 3, is_indirect) >= 0);
	guest_show(&f->gq);
	vq_push(f->q, pop_one(f), 0);
}

static void take_all(struct fixture *f)
{
	uint16_t id;
	uint32_t len;
	while (guest_take(&f->gq, &id, &len))
		;
}

static void interrupt_rules(struct fixture *f, bool is_indirect)
{
	for (unsigned i = 1; i <= 20; i++) {
		assert_false(guest_arm(&f->gq, 0));
		serve_one(f, is_indirect);
		vq_signal(f->q);
		assert_int_equal(f->calls, i);
		vq_signal(f->q); /* nothing new: no second one */
		assert_int_equal(f->calls, i);
		take_all(f);
		if (f->gq.features & GUEST_PACKED ||
		    !(f->gq.features & (1ull << VIRTIO_RING_F_EVENT_IDX))) {
			guest_disarm(&f->gq);
			serve_one(f, is_indirect);
			vq_signal(f->q);
			assert_int_equal(f->calls, i);
			take_all(f);
		}
	}
	assert_int_equal(vq_stats_of(f->q)->interrupts, f->calls);
}

static void interrupts_come_when_wanted_and_only_then(void **state)
{
	(void)state;
	on_every_ring(8, interrupt_rules);
}

static void postponed_rules(struct fixture *f, bool is_indirect)
{
	assert_false(guest_arm(&f->gq, 0));
	for (unsigned i = 0; i < 2; i++) {
		serve_one(f, is_indirect);
		assert_true(
			vq_show(f->q)); /* owed since the first, whatever the driver wants since */
		assert_int_equal(f->calls, 0);
	}
	vq_signal(f->q);
	assert_int_equal(f->calls, 1);
	take_all(f);
	assert_false(vq_show(f->q));
	vq_signal(f->q);
	assert_int_equal(f->calls, 1);
}

static void an_interrupt_that_is_put_off_is_still_owed(void **state)
{
	(void)state;
	on_every_ring(8, postponed_rules);
}

static void skip_rules(struct fixture *f, bool is_indirect)
{
	(void)is_indirect;
	struct guest_buf b = { BUF, 8, true };
	if (!(f->gq.features & (1ull << VIRTIO_RING_F_EVENT_IDX)))
		return;
	for (unsigned round = 0; round < 40; round++) {
		f->calls = 0;
		assert_false(guest_arm(&f->gq, 2)); /* with the third result */
		for (unsigned i = 0; i < 5; i++) {
			assert_true(guest_add(&f->gq, &b, 1, false) >= 0);
			guest_show(&f->gq);
			vq_push(f->q, pop_one(f), 0);
			vq_signal(f->q);
			assert_int_equal(f->calls, i >= 2);
			if (i >= 2)
				take_all(f);
		}
	}
	/* a batch that passes the wanted index interrupts once */
	f->calls = 0;
	assert_false(guest_arm(&f->gq, 1));
	for (unsigned i = 0; i < 4; i++)
		assert_true(guest_add(&f->gq, &b, 1, false) >= 0);
	guest_show(&f->gq);
	for (unsigned i = 0; i < 4; i++)
		vq_push(f->q, pop_one(f), 0);
	vq_signal(f->q);
	assert_int_equal(f->calls, 1);
}

static void the_event_index_delays_the_interrupt(void **state)
{
	(void)state;
	on_every_ring(8, skip_rules);
}

static void kick_rules(struct fixture *f, bool is_indirect)
{
	for (unsigned i = 0; i < 20; i++) {
		assert_false(vq_arm(f->q));
		assert_true(guest_add(&f->gq, three, 3, is_indirect) >= 0);
		guest_show(&f->gq);
		assert_true(guest_wants_kick(&f->gq));
		vq_disarm(f->q);
		vq_push(f->q, pop_one(f), 0);
		(void)vq_publish(f->q);
		take_all(f);
		assert_true(guest_add(&f->gq, three, 3, is_indirect) >= 0);
		guest_show(&f->gq);
		assert_false(guest_wants_kick(&f->gq));
		assert_true(vq_arm(f->q)); /* it came meanwhile: do not sleep */
		vq_push(f->q, pop_one(f), 0);
		(void)vq_publish(f->q);
		take_all(f);
		(void)guest_wants_kick(&f->gq);
	}
}

static void kicks_come_when_armed_and_none_is_lost(void **state)
{
	(void)state;
	on_every_ring(8, kick_rules);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(interrupts_come_when_wanted_and_only_then),
		cmocka_unit_test(an_interrupt_that_is_put_off_is_still_owed),
		cmocka_unit_test(the_event_index_delays_the_interrupt),
		cmocka_unit_test(kicks_come_when_armed_and_none_is_lost),
	};
	return cmocka_run_group_tests_name("virtio/queue", tests, NULL, NULL);
}
