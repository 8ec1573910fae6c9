/* test_condvar.c - waiting for a change of the world under a mutex. */
#include "sync/condvar.h"
#include <errno.h>
#include "support/threads.h"

struct room {
	struct mutex m;
	struct condvar c;
	unsigned here, tokens, taken; /* under m */
};

static void room_init(struct room *r)
{
	mutex_init(&r->m);
	condvar_init(&r->c);
	r->here = r->tokens = r->taken = 0;
}

static void room_fini(struct room *r)
{
	condvar_fini(&r->c);
	mutex_fini(&r->m);
}

static void take_token(void *arg)
{
	struct room *r = arg;
	mutex_lock(&r->m);
	r->here++;
	while (!r->tokens)
		condvar_wait(&r->c, &r->m);
	r->tokens--;
	r->taken++;
	mutex_unlock(&r->m);
}

static void see_token(void *arg)
{
	struct room *r = arg;
	mutex_lock(&r->m);
	r->here++;
	mutex_unlock(&r->m);
	mutex_lock_shared(&r->m);
	while (!r->tokens)
		condvar_wait_shared(&r->c, &r->m);
	mutex_unlock_shared(&r->m);
	mutex_lock(&r->m);
	r->taken++;
	mutex_unlock(&r->m);
}

/* All @nr are in the queue: they said so under the mutex and let it go only there. */
static void await(struct room *r, unsigned nr)
{
	for (bool all = false; !all;) {
		mutex_lock(&r->m);
		all = r->here == nr;
		mutex_unlock(&r->m);
		sleep_ms(1);
	}
	sleep_ms(3);
}

static unsigned taken(struct room *r)
{
	mutex_lock(&r->m);
	unsigned n = r->taken;
	mutex_unlock(&r->m);
	return n;
}

static void give(struct room *r, unsigned tokens)
{
	mutex_lock(&r->m);
	r->tokens += tokens;
	mutex_unlock(&r->m);
}

static void a_signal_wakes_one_a_broadcast_all(void **state)
{
	(void)state;
	static struct room r;
	struct thread *t[4];
	room_init(&r);
	for (unsigned i = 0; i < 4; i++)
		t[i] = start(take_token, &r);
	await(&r, 4);
	give(&r, 4);
	condvar_signal(&r.c);
	while (taken(&r) < 1)
		sleep_ms(1);
	sleep_ms(5);
	assert_int_equal(taken(&r), 1);
	condvar_broadcast(&r.c);
	for (unsigned i = 0; i < 4; i++)
		thread_join(t[i]);
	assert_int_equal(r.taken, 4);
	room_fini(&r);
}

static void readers_are_signalled_together(void **state)
{
	(void)state;
	static struct room r;
	struct thread *t[3];
	room_init(&r);
	for (unsigned i = 0; i < 3; i++)
		t[i] = start(see_token, &r);
	await(&r, 3);
	give(&r, 1);
	condvar_signal(&r.c);
	for (unsigned i = 0; i < 3; i++)
		thread_join(t[i]);
	assert_int_equal(r.taken, 3);
	room_fini(&r);
}

static void a_deadline_ends_the_wait_with_the_mutex_held(void **state)
{
	(void)state;
	static struct room r;
	room_init(&r);
	mutex_lock(&r.m);
	uint64_t before_ns = now_ns();
	assert_int_equal(condvar_wait_until(&r.c, &r.m, before_ns + 5 * MS), -ETIMEDOUT);
	assert_true(now_ns() >= before_ns + 5 * MS);
	assert_false(mutex_try_lock(&r.m));
	mutex_unlock(&r.m);
	mutex_lock_shared(&r.m);
	assert_int_equal(condvar_wait_shared_until(&r.c, &r.m, 0), -ETIMEDOUT);
	assert_false(mutex_try_lock(&r.m));
	mutex_unlock_shared(&r.m);
	room_fini(&r); /* would find it in the queue */
}

static void signals_without_waiters_are_lost(void **state)
{
	(void)state;
	static struct room r;
	room_init(&r);
	condvar_signal(&r.c);
	condvar_broadcast(&r.c);
	mutex_lock(&r.m);
	assert_int_equal(condvar_wait_until(&r.c, &r.m, now_ns() + MS), -ETIMEDOUT);
	mutex_unlock(&r.m);
	room_fini(&r);
}

#define HANDED 3000
struct queue {
	struct mutex m;
	struct condvar more, room;
	unsigned len, put, got; /* under m */
};

static void put_all(void *arg)
{
	struct queue *q = arg;
	for (unsigned i = 0; i < HANDED; i++) {
		mutex_lock(&q->m);
		while (q->len == 2)
			condvar_wait(&q->room, &q->m);
		q->len++;
		q->put++;
		mutex_unlock(&q->m);
		condvar_signal(&q->more);
	}
}

static void get_all(void *arg)
{
	struct queue *q = arg;
	for (unsigned i = 0; i < HANDED; i++) {
		mutex_lock(&q->m);
		while (!q->len)
			condvar_wait(&q->more, &q->m);
		q->len--;
		q->got++;
		mutex_unlock(&q->m);
		condvar_signal(&q->room);
	}
}

static void a_bounded_queue_never_gets_stuck(void **state)
{
	(void)state;
	static struct queue q;
	struct thread *t[4];
	mutex_init(&q.m);
	condvar_init(&q.more);
	condvar_init(&q.room);
	for (unsigned i = 0; i < 4; i++)
		t[i] = start(i % 2 ? put_all : get_all, &q);
	for (unsigned i = 0; i < 4; i++)
		thread_join(t[i]);
	assert_int_equal(q.put, 2 * HANDED);
	assert_int_equal(q.got, 2 * HANDED);
	condvar_fini(&q.more);
	condvar_fini(&q.room);
	mutex_fini(&q.m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_signal_wakes_one_a_broadcast_all),
		cmocka_unit_test(readers_are_signalled_together),
		cmocka_unit_test(a_deadline_ends_the_wait_with_the_mutex_held),
		cmocka_unit_test(signals_without_waiters_are_lost),
		cmocka_unit_test(a_bounded_queue_never_gets_stuck),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
