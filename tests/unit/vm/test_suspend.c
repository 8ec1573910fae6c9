/* test_suspend.c - a VM comes to rest and goes on: vCPUs are threads of the test, devices are none.
 */
#include "unit/vm/machine.h"
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include "base/clock.h"
#include "support/open_fds.h"

#define CPUS 3

struct fixture {
	struct machine *m;
	struct vm *vm;
	pthread_t cpu[CPUS];
	_Atomic unsigned turns[CPUS];
	_Atomic bool has_ended[CPUS];
	_Atomic bool is_deaf[CPUS]; /* is not asked to stop yet */
	unsigned nr;                /* vCPUs that were started */
};

struct cpu {
	struct fixture *f;
	unsigned index;
};

/* A guest that does nothing but stop. */
static void *cpu_main(void *arg)
{
	struct cpu *c = arg;
	while (c->f->is_deaf[c->index] || vm_cpu_park(c->f->vm)) {
		atomic_fetch_add(&c->f->turns[c->index], 1);
		sched_yield();
	}
	atomic_store(&c->f->has_ended[c->index], true);
	free(c);
	return NULL;
}

static void cpu_start(struct fixture *f)
{
	struct cpu *c = malloc(sizeof(*c));
	assert_non_null(c);
	*c = (struct cpu){ f, f->nr };
	assert_int_equal(pthread_create(&f->cpu[f->nr++], NULL, cpu_main, c), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	void *m = NULL;
	assert_non_null(f);
	assert_int_equal(machine_setup(&m), 0);
	f->m = m;
	f->vm = &f->m->vm;
	f->m->c.nr_cpus = CPUS;
	f->vm->cpus = calloc(CPUS, sizeof(*f->vm->cpus)); /* without threads to interrupt */
	assert_non_null(f->vm->cpus);
	assert_int_equal(vm_suspend_build(f->vm), VM_EXIT_OK);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	void *m = f->m;
	vm_cpus_unpark(f->vm);
	for (unsigned i = 0; i < f->nr; i++)
		pthread_join(f->cpu[i], NULL);
	vm_suspend_undo(f->vm);
	free(f->vm->cpus);
	machine_teardown(&m);
	free(f);
	return 0;
}

static bool is_readable(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };
	return poll(&p, 1, 0) == 1;
}

static const char *state_of(struct fixture *f)
{
	return vm_state_name(f->vm);
}

/* Ask, and see to it until it is over. */
static void suspend(struct fixture *f)
{
	int later;
	assert_int_equal(vm_suspend(f->vm, &later), 0);
	assert_true(later >= 0);
	while (!is_readable(later)) {
		assert_string_equal(state_of(f), "suspending");
		assert_true(vm_suspend_wait_ms(f->vm) > 0);
		vm_suspend_step(f->vm);
		sched_yield();
	}
	close(later);
}

/* Every vCPU has a turn. */
static void expect_running(struct fixture *f)
{
	for (unsigned i = 0; i < f->nr; i++)
		for (unsigned seen = f->turns[i]; f->turns[i] == seen;)
			sched_yield();
}

static void all_rests_and_goes_on(void **state)
{
	struct fixture *f = *state;
	int later;
	for (unsigned i = 0; i < CPUS; i++)
		cpu_start(f);
	assert_int_equal(vm_suspend_wait_ms(f->vm), -1);
	for (unsigned round = 0; round < 200; round++) {
		suspend(f);
		assert_string_equal(state_of(f), "suspended");
		assert_int_equal(vm_suspend_wait_ms(f->vm), -1);
		unsigned turns[CPUS];
		for (unsigned i = 0; i < CPUS; i++)
			turns[i] = f->turns[i];
		for (unsigned i = 0; i < MACHINE_DEVICES; i++)
			assert_int_equal(f->m->dev[i]->dev.holds, VDEV_HOLD_OWNER);
		assert_int_equal(vm_suspend(f->vm, &later), 0); /* it rests already */
		assert_int_equal(later, -1);
		sched_yield();
		for (unsigned i = 0; i < CPUS; i++)
			assert_int_equal(f->turns[i], turns[i]);
		vm_resume(f->vm);
		assert_string_equal(state_of(f), "running");
		for (unsigned i = 0; i < MACHINE_DEVICES; i++)
			assert_int_equal(f->m->dev[i]->dev.holds, 0);
		expect_running(f);
		vm_resume(f->vm);
	}
}

static void devices_are_not_held_before_the_last_cpu_rests(void **state)
{
	struct fixture *f = *state;
	int later;
	for (unsigned i = 0; i < CPUS - 1; i++)
		cpu_start(f);
	assert_int_equal(vm_suspend(f->vm, &later), 0);
	for (unsigned i = 0; i < 1000; i++) {
		vm_suspend_step(f->vm);
		sched_yield();
	}
	assert_string_equal(state_of(f), "suspending");
	assert_int_equal(f->m->dev[0]->dev.holds, 0);
	assert_false(is_readable(f->vm->wake.fd));
	cpu_start(f);
	while (!is_readable(f->vm->wake.fd)) /* the last one tells */
		sched_yield();
	vm_suspend_step(f->vm);
	assert_true(is_readable(later));
	assert_string_equal(state_of(f), "suspended");
	close(later);
}

/* In whatever order they come, however often they did. */
static void no_cpu_is_counted_twice(void **state)
{
	struct fixture *f = *state;
	int later;
	for (unsigned i = 0; i < CPUS; i++)
		cpu_start(f);
	for (unsigned round = 0; round < 10; round++) {
		unsigned last = round % CPUS;
		atomic_store(&f->is_deaf[last], true);
		expect_running(f);
		assert_int_equal(vm_suspend(f->vm, &later), 0);
		for (unsigned i = 0; i < 300; i++) {
			vm_suspend_step(f->vm);
			sched_yield();
		}
		assert_string_equal(state_of(f), "suspending");
		assert_int_equal(f->m->dev[0]->dev.holds, 0);
		atomic_store(&f->is_deaf[last], false);
		while (!is_readable(later))
			vm_suspend_step(f->vm);
		assert_string_equal(state_of(f), "suspended");
		close(later);
		vm_resume(f->vm);
	}
}

/* A queue that runs, with requests in flight. */
static void make_busy(struct fixture *f)
{
	f->m->dev[MACHINE_RNG]->dev.q[0].state = VDEV_Q_RUNNING;
}

static void what_is_in_flight_ends_first(void **state)
{
	struct fixture *f = *state;
	int later;
	for (unsigned i = 0; i < CPUS; i++)
		cpu_start(f);
	make_busy(f);
	assert_int_equal(vm_suspend(f->vm, &later), 0);
	while (!f->m->dev[MACHINE_RNG]->stops[0])
		vm_suspend_step(f->vm);
	vm_suspend_step(f->vm);
	assert_string_equal(state_of(f), "suspending");
	vdev_queue_stopped_at(&f->m->dev[MACHINE_RNG]->dev, 0, 5);
	vm_suspend_step(f->vm);
	assert_string_equal(state_of(f), "suspended");
	assert_true(is_readable(later));
	close(later);
}

static void what_does_not_end_is_given_up(void **state)
{
	struct fixture *f = *state;
	int later;
	cpu_start(f);
	assert_int_equal(vm_suspend(f->vm, &later), 0);
	assert_true(f->vm->suspend.until_ns > clock_ns() + 20 * NSEC_PER_SEC);
	f->vm->suspend.until_ns = clock_ns() - 1;
	vm_suspend_step(f->vm);
	assert_string_equal(state_of(f), "running");
	assert_string_equal(f->vm->suspend.why, "a vCPU does not stop");
	assert_true(is_readable(later));
	close(later);
	cpu_start(f);
	cpu_start(f);
	expect_running(f);
	make_busy(f);
	assert_int_equal(vm_suspend(f->vm, &later), 0);
	while (!f->m->dev[MACHINE_RNG]->stops[0])
		vm_suspend_step(f->vm);
	f->vm->suspend.until_ns = clock_ns() - 1;
	vm_suspend_step(f->vm);
	assert_string_equal(state_of(f), "running");
	assert_string_equal(f->vm->suspend.why, "rng has I/O in flight that does not end");
	assert_true(is_readable(later));
	close(later);
	expect_running(f);
	vdev_queue_stopped_at(&f->m->dev[MACHINE_RNG]->dev, 0, 5);
	suspend(f);
	assert_string_equal(f->vm->suspend.why, "");
}

static void a_resume_ends_the_suspending(void **state)
{
	struct fixture *f = *state;
	int first, second;
	cpu_start(f);
	assert_int_equal(vm_suspend(f->vm, &first), 0);
	assert_int_equal(vm_suspend(f->vm, &second), 0);
	vm_resume(f->vm);
	assert_string_equal(state_of(f), "running");
	assert_true(is_readable(first) && is_readable(second));
	assert_string_equal(f->vm->suspend.why, "");
	close(first);
	close(second);
	expect_running(f);
}

/* So many descriptors are to be had; returns what to give to setrlimit() afterwards. */
static struct rlimit spare_descriptors(unsigned nr)
{
	struct rlimit old;
	int first = dup(1);
	assert_true(first >= 0);
	close(first);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	const struct rlimit now = { (rlim_t)first + nr, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	return old;
}

/* Who is told that it failed finds a VM that runs. */
static void what_cannot_be_waited_for_is_not_begun(void **state)
{
	struct fixture *f = *state;
	int first, second;
	cpu_start(f);
	for (unsigned spare = 0; spare < 2; spare++) {
		struct rlimit old = spare_descriptors(spare);
		assert_int_equal(vm_suspend(f->vm, &first), -EMFILE);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		assert_int_equal(first, -1);
		assert_string_equal(state_of(f), "running");
		expect_running(f);
	}
	assert_int_equal(vm_suspend(f->vm, &first), 0);
	struct rlimit old = spare_descriptors(0);
	assert_int_equal(vm_suspend(f->vm, &second), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_string_equal(state_of(f), "suspending"); /* the other one waits for it */
	close(first);
}

static void no_descriptor_is_left(void **state)
{
	struct fixture *f = *state;
	unsigned before = open_fds();
	int later;
	for (unsigned i = 0; i < 3; i++) {
		vm_suspend_undo(f->vm);
		assert_int_equal(open_fds(), before);
		assert_int_equal(vm_suspend_build(f->vm), VM_EXIT_OK);
		f->vm->suspend.state = VM_RUNS;
		assert_int_equal(vm_suspend(f->vm, &later), 0);
		close(later);
		if (i == 1)
			vm_resume(f->vm);
	}
	vm_resume(f->vm);
	assert_int_equal(open_fds(), before);
}

/* The end of the VM does not wait for a resume. */
static void it_may_end_while_it_rests(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < CPUS; i++)
		cpu_start(f);
	suspend(f);
	vm_cpus_unpark(f->vm);
	for (unsigned i = 0; i < CPUS; i++)
		while (!f->has_ended[i])
			sched_yield();
	vm_resume(f->vm);
	assert_false(vm_cpu_park(f->vm)); /* nor does one that comes late */
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(all_rests_and_goes_on),        T(devices_are_not_held_before_the_last_cpu_rests),
		T(what_is_in_flight_ends_first), T(what_does_not_end_is_given_up),
		T(a_resume_ends_the_suspending), T(what_cannot_be_waited_for_is_not_begun),
		T(no_descriptor_is_left),        T(no_cpu_is_counted_twice),
		T(it_may_end_while_it_rests),
	};
	return cmocka_run_group_tests(tests, machine_group_setup, machine_group_teardown);
}
