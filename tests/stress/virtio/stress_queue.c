/*
 * stress_queue.c - driver and device on two threads that sleep whenever they may.
 *
 * Each side arms and rechecks before it sleeps, so one lost notification, in either direction,
 * stops both for good: a sleep of several seconds is a failure. Every request carries a number that
 * must come back in its place.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>
#include "base/num.h"
#include "support/guest.h"

#define RING     16
#define REQUESTS 60000u
#define DATA_AT  0x40000ull
#define PATIENCE 20 /* seconds */

struct stress {
	struct guest guest;
	struct guest_queue gq;
	struct vq *q;
	sem_t kick, call;
	bool is_indirect;
	unsigned kicks, calls; /* of the driver and the device thread */
	uint64_t slot_of[RING];
};

static void sleep_on(sem_t *s)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE;
	while (sem_timedwait(s, &until) < 0)
		BUG_ON(errno != EINTR); /* a notification was lost */
	while (!sem_trywait(s))         /* one wake-up, however often it was asked for */
		;
}

/* Widen the gap between looking and arming, in which a notification gets lost if it can. */
static void dawdle(unsigned n)
{
	if (n % 2)
		sched_yield();
}

/* --- device --- */

static unsigned serve(struct stress *s, unsigned max)
{
	struct vq_chain *c[VQ_BATCH];
	unsigned n = 0;
	for (int got = 1; n < max && got; n += (unsigned)got) {
		got = vq_pop_batch(s->q, c, max - n);
		BUG_ON(got < 0);
		for (int i = 0; i < got; i++) {
			uint32_t number;
			BUG_ON(!vq_chain_read(c[i], 0, &number, sizeof(number)));
			number = ~number;
			BUG_ON(!vq_chain_write(c[i], 0, &number, sizeof(number)));
			vq_push(s->q, c[i], sizeof(number));
		}
	}
	if (vq_publish(s->q)) {
		s->calls++;
		sem_post(&s->call);
	}
	return n;
}

static void *device(void *arg)
{
	struct stress *s = arg;
	for (unsigned done = 0; done < REQUESTS;) {
		unsigned n = serve(s, 1 + done % 7);
		done += n;
		if (n || done == REQUESTS)
			continue;
		dawdle(done);
		if (!vq_arm(s->q))
			sleep_on(&s->kick);
		vq_disarm(s->q);
	}
	return NULL;
}

/* --- driver --- */

static bool offer(struct stress *s, uint32_t number, uint64_t at)
{
	struct guest_buf b[2] = { { at, 4, false }, { at + 8, 4, true } };
	memcpy(s->guest.ram + at, &number, sizeof(number));
	int id = guest_add(&s->gq, b, 2, s->is_indirect);
	if (id < 0)
		return false;
	s->slot_of[id] = at;
	return true;
}

static unsigned reap(struct stress *s)
{
	uint16_t id;
	uint32_t len;
	unsigned n = 0;
	while (guest_take(&s->gq, &id, &len)) {
		uint32_t sent, back;
		memcpy(&sent, s->guest.ram + s->slot_of[id], sizeof(sent));
		memcpy(&back, s->guest.ram + s->slot_of[id] + 8, sizeof(back));
		BUG_ON(len != sizeof(back) || back != ~sent);
		n++;
	}
	return n;
}

static void show(struct stress *s)
{
	guest_show(&s->gq);
	if (guest_wants_kick(&s->gq)) {
		s->kicks++;
		sem_post(&s->kick);
	}
}

static void drive(struct stress *s)
{
	uint32_t sent = 0, done = 0;
	while (done < REQUESTS) {
		/* requests complete in order here, so a window of RING data slots is enough */
		uint32_t window = 1 + sent / 16 % (RING / 2), before = sent;
		while (sent < REQUESTS && sent - done < window &&
		       offer(s, sent, DATA_AT + 16ull * (sent % RING)))
			sent++;
		if (sent != before)
			show(s);
		unsigned n = reap(s);
		done += n;
		if (n || done == sent)
			continue;
		dawdle(sent);
		if (!guest_arm(&s->gq, (uint16_t)((sent - done) / 2)))
			sleep_on(&s->call);
		guest_disarm(&s->gq);
	}
}

static void run(uint64_t features, bool is_indirect)
{
	struct stress s = { .is_indirect = is_indirect };
	pthread_t worker;
	guest_init(&s.guest, MIB);
	guest_queue_init(&s.gq, &s.guest, RING, features);
	struct vq_setup setup = guest_queue_setup(&s.gq, NULL);
	assert_int_equal(vq_create(&s.q, &setup), 0);
	assert_int_equal(sem_init(&s.kick, 0, 0), 0);
	assert_int_equal(sem_init(&s.call, 0, 0), 0);
	assert_int_equal(pthread_create(&worker, NULL, device, &s), 0);
	drive(&s);
	pthread_join(worker, NULL);
	assert_int_equal(vq_in_flight(s.q), 0);
	print_message("%u requests, %u kicks, %u interrupts\n", REQUESTS, s.kicks, s.calls);
	vq_destroy(s.q);
	guest_queue_fini(&s.gq);
	guest_fini(&s.guest);
	sem_destroy(&s.kick);
	sem_destroy(&s.call);
}

#define EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT  (1ull << VIRTIO_RING_F_INDIRECT_DESC)

static void split_by_flags(void **state)
{
	(void)state;
	run(0, false);
}

static void split_by_event_index(void **state)
{
	(void)state;
	run(EVENT_IDX | INDIRECT, true);
}

static void packed_by_flags(void **state)
{
	(void)state;
	run(GUEST_PACKED, false);
}

static void packed_by_event_index(void **state)
{
	(void)state;
	run(GUEST_PACKED | EVENT_IDX | INDIRECT, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_by_flags),
		cmocka_unit_test(split_by_event_index),
		cmocka_unit_test(packed_by_flags),
		cmocka_unit_test(packed_by_event_index),
	};
	return cmocka_run_group_tests_name("virtio/queue, two threads", tests, NULL, NULL);
}
