/* test_mutex.c - exclusion, shared holders, trying, deadlines, and who goes first. */
#include "sync/mutex.h"
#include "support/threads.h"
#include "sync/oneshot.h"

static uint32_t bits(struct mutex *m)
{
	return atomic_load(&m->s.bits);
}

/* Until @m's bits have all of @set. */
static void await_bits(struct mutex *m, uint32_t set)
{
	while ((bits(m) & set) != set || (bits(m) & MUTEX_SPIN))
		sleep_ms(1);
}

#define ROUNDS 20000
struct table {
	SYNC_UNIT(mutex, lock, unsigned a; unsigned b; unsigned torn;);
	_Atomic unsigned neighbour;
};
static_assert(offsetof(struct table, a) < CACHE_ALIGN, "data on the unit of its lock");
static_assert(offsetof(struct table, neighbour) == CACHE_ALIGN, "and nothing else");

static void write_both(void *arg)
{
	struct table *s = arg;
	for (unsigned i = 0; i < ROUNDS; i++) {
		mutex_lock(&s->lock);
		s->a++;
		s->b++;
		mutex_unlock(&s->lock);
	}
}

static void read_both(void *arg)
{
	struct table *s = arg;
	unsigned torn = 0;
	for (unsigned i = 0; i < ROUNDS; i++) {
		mutex_lock_shared(&s->lock);
		torn += s->a != s->b;
		mutex_unlock_shared(&s->lock);
	}
	mutex_lock(&s->lock);
	s->torn += torn;
	mutex_unlock(&s->lock);
}

static void writers_exclude_writers_and_readers(void **state)
{
	(void)state;
	static struct table s;
	struct thread *t[4];
	mutex_init(&s.lock);
	for (unsigned i = 0; i < 4; i++)
		t[i] = start(i < 2 ? write_both : read_both, &s);
	for (unsigned i = 0; i < 4; i++)
		thread_join(t[i]);
	assert_int_equal(s.a, 2 * ROUNDS);
	assert_int_equal(s.b, 2 * ROUNDS);
	assert_int_equal(s.torn, 0);
	mutex_fini(&s.lock);
}

static void trying_succeeds_only_when_it_may(void **state) NO_THREAD_SAFETY
{
	(void)state;
	struct mutex m;
	mutex_init(&m);
	assert_true(mutex_try_lock(&m));
	assert_false(mutex_try_lock(&m));
	assert_false(mutex_try_lock_shared(&m));
	mutex_unlock(&m);
	assert_true(mutex_try_lock_shared(&m));
	assert_true(mutex_try_lock_shared(&m));
	assert_false(mutex_try_lock(&m));
	mutex_unlock_shared(&m);
	assert_false(mutex_try_lock(&m));
	mutex_unlock_shared(&m);
	assert_true(mutex_try_lock(&m));
	mutex_unlock(&m);
	mutex_fini(&m);
}

static void a_deadline_ends_the_wait(void **state) NO_THREAD_SAFETY
{
	(void)state;
	struct mutex m;
	mutex_init(&m);
	mutex_lock(&m);
	uint64_t before_ns = now_ns();
	assert_false(mutex_lock_until(&m, before_ns + 5 * MS));
	assert_true(now_ns() >= before_ns + 5 * MS);
	assert_false(mutex_lock_shared_until(&m, 0));
	assert_int_equal(bits(&m), MUTEX_LOCKED); /* no trace of those who left */
	mutex_unlock(&m);
	assert_true(mutex_lock_shared_until(&m, now_ns() + MS));
	assert_false(mutex_lock_until(&m, now_ns() + MS));
	assert_int_equal(bits(&m), MUTEX_READER);
	mutex_unlock_shared(&m);
	assert_true(mutex_lock_until(&m, 0)); /* free: no wait, no deadline */
	mutex_unlock(&m);
	mutex_fini(&m);
}

struct actor {
	struct mutex *m;
	bool is_shared, got;
	uint64_t deadline_ns;
	struct oneshot holds, release;
	unsigned *order, turn; /* under m */
};

static void act(void *arg) NO_THREAD_SAFETY
{
	struct actor *a = arg;
	a->got = a->is_shared ? mutex_lock_shared_until(a->m, a->deadline_ns)
			      : mutex_lock_until(a->m, a->deadline_ns);
	if (a->got && a->order)
		a->turn = ++*a->order;
	oneshot_set(&a->holds);
	oneshot_wait(&a->release);
	if (a->got && a->is_shared)
		mutex_unlock_shared(a->m);
	else if (a->got)
		mutex_unlock(a->m);
}

static struct thread *actor_start(struct actor *a, struct mutex *m, bool is_shared)
{
	a->m = m;
	a->is_shared = is_shared;
	a->deadline_ns = UINT64_MAX;
	oneshot_init(&a->holds);
	oneshot_init(&a->release);
	return start(act, a);
}

static void a_waiting_writer_holds_off_new_readers(void **state) NO_THREAD_SAFETY
{
	(void)state;
	struct mutex m;
	struct actor w = { 0 };
	mutex_init(&m);
	mutex_lock_shared(&m);
	struct thread *t = actor_start(&w, &m, false);
	await_bits(&m, MUTEX_HAS_WAITERS | MUTEX_WRITER_WAITING);
	assert_false(mutex_try_lock_shared(&m));
	assert_false(mutex_lock_shared_until(&m, now_ns() + MS));
	mutex_unlock_shared(&m);
	oneshot_wait(&w.holds);
	assert_true(w.got);
	oneshot_set(&w.release);
	thread_join(t);
	assert_int_equal(bits(&m), 0);
	mutex_fini(&m);
}

static void readers_in_the_queue_are_woken_together(void **state) NO_THREAD_SAFETY
{
	(void)state;
	struct mutex m;
	struct actor r[4] = { 0 };
	struct thread *t[4];
	mutex_init(&m);
	mutex_lock(&m);
	for (unsigned i = 0; i < 4; i++)
		t[i] = actor_start(&r[i], &m, true);
	await_bits(&m, MUTEX_HAS_WAITERS);
	sleep_ms(5);
	mutex_unlock(&m);
	for (unsigned i = 0; i < 4; i++)
		oneshot_wait(&r[i].holds); /* all hold it at once, none has let go */
	assert_int_equal(bits(&m) / MUTEX_READER, 4);
	for (unsigned i = 0; i < 4; i++) {
		oneshot_set(&r[i].release);
		thread_join(t[i]);
	}
	assert_int_equal(bits(&m), 0);
	mutex_fini(&m);
}

static void a_writer_that_gives_up_lets_the_readers_in(void **state) NO_THREAD_SAFETY
{
	(void)state;
	struct mutex m;
	struct actor w = { 0 }, r = { 0 };
	mutex_init(&m);
	mutex_lock(&m);
	w.m = &m;
	oneshot_init(&w.holds);
	oneshot_init(&w.release);
	oneshot_set(&w.release);
	w.deadline_ns = now_ns() + 20 * MS;
	struct thread *tw = start(act, &w);
	/* a busy machine may let us look only when it has gone again */
	while (!(bits(&m) & MUTEX_WRITER_WAITING) && !oneshot_is_set(&w.holds))
		sleep_ms(1);
	struct thread *tr = actor_start(&r, &m, true);
	thread_join(tw);
	assert_false(w.got);
	assert_false(bits(&m) & MUTEX_WRITER_WAITING);
	mutex_unlock(&m);
	oneshot_wait(&r.holds);
	assert_true(r.got);
	assert_true(mutex_try_lock_shared(&m));
	mutex_unlock_shared(&m);
	oneshot_set(&r.release);
	thread_join(tr);
	assert_int_equal(bits(&m), 0);
	mutex_fini(&m);
}

/* The reader who has the lock may wait for the one in the queue. */
static void a_writer_that_gives_up_lets_readers_join_a_reader(void **state) NO_THREAD_SAFETY
{
	(void)state;
	struct mutex m;
	struct actor r = { 0 };
	mutex_init(&m);
	mutex_lock_shared(&m);
	/* as if a writer were in the queue: the reader goes behind it */
	atomic_fetch_or(&m.s.bits, MUTEX_WRITER_WAITING);
	m.s.nr_writers++;
	struct thread *t = actor_start(&r, &m, true);
	await_bits(&m, MUTEX_HAS_WAITERS);
	m.s.nr_writers--;
	assert_false(mutex_lock_until(&m, now_ns() + MS));
	oneshot_wait(&r.holds);
	assert_true(r.got);
	assert_int_equal(bits(&m), 2 * MUTEX_READER);
	oneshot_set(&r.release);
	thread_join(t);
	mutex_unlock_shared(&m);
	assert_int_equal(bits(&m), 0);
	mutex_fini(&m);
}

/* Someone who lost patience holds off everybody else until he had his turn. */
static void a_long_wait_holds_off_newcomers(void **state) NO_THREAD_SAFETY
{
	(void)state;
	struct mutex m;
	mutex_init(&m);
	atomic_store(&m.s.bits, MUTEX_LONG_WAIT);
	assert_false(mutex_try_lock(&m));
	assert_false(mutex_try_lock_shared(&m));
	assert_false(mutex_lock_until(&m, now_ns() + MS));
	atomic_store(&m.s.bits, 0);
	mutex_fini(&m);
}

struct hog {
	struct mutex m;
	_Atomic bool is_over;
	_Atomic unsigned nr;
};

static void hog_it(void *arg)
{
	struct hog *h = arg;
	while (!atomic_load_explicit(&h->is_over, memory_order_relaxed)) {
		mutex_lock(&h->m);
		for (unsigned i = 0; i < 200; i++)
			cpu_relax();
		mutex_unlock(&h->m);
	}
}

static void nobody_starves_among_hogs(void **state)
{
	(void)state;
	static struct hog h;
	struct thread *t[3];
	mutex_init(&h.m);
	for (unsigned i = 0; i < 3; i++)
		t[i] = start(hog_it, &h);
	for (unsigned i = 0; i < 50; i++) {
		bool got = mutex_lock_until(&h.m, now_ns() + 20000 * MS);
		assert_true(got);
		if (got)
			mutex_unlock(&h.m);
	}
	atomic_store(&h.is_over, true);
	for (unsigned i = 0; i < 3; i++)
		thread_join(t[i]);
	mutex_fini(&h.m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writers_exclude_writers_and_readers),
		cmocka_unit_test(trying_succeeds_only_when_it_may),
		cmocka_unit_test(a_deadline_ends_the_wait),
		cmocka_unit_test(a_waiting_writer_holds_off_new_readers),
		cmocka_unit_test(readers_in_the_queue_are_woken_together),
		cmocka_unit_test(a_writer_that_gives_up_lets_the_readers_in),
		cmocka_unit_test(a_writer_that_gives_up_lets_readers_join_a_reader),
		cmocka_unit_test(a_long_wait_holds_off_newcomers),
		cmocka_unit_test(nobody_starves_among_hogs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
