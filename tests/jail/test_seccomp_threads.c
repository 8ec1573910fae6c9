/* test_seccomp_threads.c - a list of system calls binds all threads of a process at once. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "in_jail.h"
#include "src/vm/sandbox.h"

static volatile sig_atomic_t trapped = -1;

/* The call is not made and we return to behind it. */
static void on_violation(int sig, siginfo_t *si, void *context)
{
	(void)sig;
	(void)context;
	trapped = si->si_syscall;
}

struct other_thread {
	bool has_filter; /* of its own, which allows everything */
	bool is_denied;
	atomic_int step; /* 1: it runs, 2: it may ask, 3: it has asked */
};

/* It does not end: that takes calls as well. */
static void *live_beside(void *arg)
{
	struct other_thread *o = arg;
	struct sock_filter all = { BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW };
	struct sock_fprog p = { 1, &all };
	if (o->has_filter && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p))
		return NULL;
	o->step = 1;
	while (o->step != 2)
		;
	(void)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
	o->is_denied = trapped == SYS_socket;
	o->step = 3;
	for (;;)
		;
}

/* 0: the other thread is confined, too; 1: it is not; 2: nobody can be. */
static int confine_all(void *arg)
{
	struct other_thread *o = arg;
	struct sandbox_options opt = { .self = getpid() };
	struct sigaction sa = { .sa_sigaction = on_violation, .sa_flags = SA_SIGINFO };
	pthread_t t;
	if (sigaction(SIGSYS, &sa, NULL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    sandbox_prepare(SANDBOX_MAIN, &opt) || pthread_create(&t, NULL, live_beside, o))
		return 90;
	while (o->step != 1)
		;
	int err = sandbox_enter(SANDBOX_MAIN, true);
	if (err)
		return err == -EBUSY ? 2 : 92;
	o->step = 2;
	while (o->step != 3)
		;
	return o->is_denied ? 0 : 1;
}

/* Or it is an error: one that has a filter of its own cannot get ours. */
static void all_threads_are_confined_at_once(void **state)
{
	struct other_thread o = { 0 };
	struct in_jail j = { .fn = confine_all, .arg = &o };
	(void)state;
	assert_int_equal(in_jail(&j), 0);
	o = (struct other_thread){ .has_filter = true };
	assert_int_equal(in_jail(&j), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_threads_are_confined_at_once),
	};
#if defined(COMPILER_ASAN) || defined(COMPILER_TSAN)
	printf("a sanitizer is allowed what no role is\n");
	return 77;
#endif
	if (!sandbox_is_possible()) {
		printf("this kernel has no seccomp filters\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
