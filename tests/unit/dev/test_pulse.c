/* test_pulse.c - which threads are taken for hung, by the CPU time they got between two looks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/err.h"
#include "virtio/dev/pulse_priv.h"

#define US 1000ull
#define MS (1000 * US)

/* Looks at a thread that does not answer, each after it ran as long as @ran_ns has it, in turns. */
static const struct {
	const char *what;
	uint64_t ran_ns[4];
	unsigned nr_turns;
	unsigned lost_at; /* the look that says so; 0: none of a thousand */
} threads[] = {
	{ "runs all the time", { 1000 * MS }, 1, 10 },
	{ "runs all the time, on half a CPU", { 500 * MS }, 1, 20 },
	{ "runs all the time, one of fifty", { 20 * MS }, 1, 500 },
	{ "runs all the time, now and then", { 1000 * MS, 0, 0, 0 }, 4, 37 },
	{ "blocked: only our signals make it run", { 30 * US }, 1, 10 },
	{ "blocked, and late to run for a signal", { 0, 0, 30 * US }, 3, 30 },
	{ "gets no CPU", { 0 }, 1, 0 },
	{ "gets a time slice now and then", { 0, 0, 3 * MS }, 3, 0 },
	{ "is cut short now and then", { 100 * US, 100 * US, 100 * US, 3 * MS }, 4, 0 },
};

static void only_its_own_cpu_time_speaks_against_a_thread(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		struct pulse p;
		uint64_t cpu_ns = 77 * NSEC_PER_SEC;
		unsigned look = 0, lost_at = 0;
		pulse_ask(&p, cpu_ns);
		while (!lost_at && look < 1000) {
			cpu_ns += threads[i].ran_ns[look % threads[i].nr_turns];
			look++;
			if (pulse_is_lost(&p, cpu_ns))
				lost_at = look;
		}
		if (lost_at != threads[i].lost_at)
			fail_msg("%s: lost at look %u", threads[i].what, lost_at);
	}
}

static void who_answers_begins_anew(void **state)
{
	struct pulse p;
	uint64_t cpu_ns = 0;
	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		pulse_ask(&p, cpu_ns);
		for (unsigned look = 1; look < PULSE_LOOKS; look++)
			assert_false(pulse_is_lost(&p, cpu_ns += 1000 * MS));
	}
	pulse_ask(&p, cpu_ns);
	assert_false(pulse_is_lost(&p, 0)); /* a clock that cannot be read says nothing */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_its_own_cpu_time_speaks_against_a_thread),
		cmocka_unit_test(who_answers_begins_anew),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
