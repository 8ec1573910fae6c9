/* test_seqlock.c - values are read whole. */
#include "sync/seqlock.h"
#include <string.h>
#include "support/threads.h"

struct reading {
	uint64_t a, b;
	uint32_t c;
};

struct shared {
	SYNC_UNIT(seqlock, lock, _Atomic uint64_t words[SEQLOCK_WORDS(struct reading)];);
	_Atomic bool is_over;
	_Atomic unsigned torn;
};

static void a_value_comes_back_as_it_was(void **state)
{
	(void)state;
	static struct shared s;
	struct reading in = { 1, 2, 3 }, out;
	char odd[5] = "wxyz", odd_out[6] = "......";
	seqlock_init(&s.lock);
	seqlock_store(&s.lock, s.words, &in, sizeof(in));
	seqlock_load(&s.lock, s.words, &out, sizeof(out));
	assert_int_equal(out.a, 1);
	assert_int_equal(out.b, 2);
	assert_int_equal(out.c, 3);
	seqlock_store(&s.lock, s.words, odd, sizeof(odd));
	seqlock_load(&s.lock, s.words, odd_out, sizeof(odd));
	assert_memory_equal(odd_out, "wxyz\0.", 6); /* and not one byte more */
}

static void read_on(void *arg)
{
	struct shared *s = arg;
	while (!atomic_load(&s->is_over)) {
		struct reading r;
		seqlock_load(&s->lock, s->words, &r, sizeof(r));
		if (r.a != r.b || r.c != (uint32_t)r.a)
			atomic_fetch_add(&s->torn, 1);
	}
}

static void nobody_sees_half_a_store(void **state)
{
	(void)state;
	static struct shared s;
	struct thread *t[2];
	seqlock_init(&s.lock);
	for (unsigned i = 0; i < 2; i++)
		t[i] = start(read_on, &s);
	for (uint64_t i = 1; i < 50000; i++) {
		struct reading r = { i, i, (uint32_t)i };
		seqlock_store(&s.lock, s.words, &r, sizeof(r));
	}
	atomic_store(&s.is_over, true);
	for (unsigned i = 0; i < 2; i++)
		thread_join(t[i]);
	assert_int_equal(atomic_load(&s.torn), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_value_comes_back_as_it_was),
		cmocka_unit_test(nobody_sees_half_a_store),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
