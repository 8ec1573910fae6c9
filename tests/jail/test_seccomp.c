/*
 * test_seccomp.c - the list of system calls of every role: each number that is not on it is denied
 * and reported, and so are the calls whose arguments are not those that a role needs.
 */
#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "in_jail.h"
#include "iouring/reactor.h"
#include "src/vm/sandbox.h"
#include "src/vm/seccomp_priv.h"

#define LAST_NUMBER 600 /* beyond the newest */

static volatile sig_atomic_t trapped;

/* The call is not made and we return to behind it. */
static void on_violation(int sig, siginfo_t *si, void *context)
{
	(void)sig;
	(void)context;
	trapped = si->si_syscall;
}

static int begin(enum sandbox_role role)
{
	struct sandbox_options o = { .self = getpid() };
	struct sigaction sa = { .sa_sigaction = on_violation, .sa_flags = SA_SIGINFO };
	if (sigaction(SIGSYS, &sa, NULL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return 90;
	if (sandbox_prepare(role, &o))
		return 91;
	return sandbox_enter(role, false) ? 92 : 0;
}

/* Is call @nr with these arguments stopped by the filter? */
static bool is_denied_5(long nr, const long a[5])
{
	trapped = -1;
	long got = syscall(nr, a[0], a[1], a[2], a[3], a[4], 0);
	return trapped == nr || (nr == SYS_clone3 && got < 0 && errno == ENOSYS);
}

static bool is_denied(long nr, long a, long b, long c)
{
	return is_denied_5(nr, (long[5]){ a, b, c, 0, 0 });
}

/* Calls that the kernel makes user space make, and lets through any filter: SIGILL from elsewhere.
 */
static bool is_the_kernels_own(long nr)
{
#if defined(__x86_64__)
	return nr == 335 || nr == 336; /* uretprobe, uprobe */
#else
	return false & nr;
#endif
}

static int every_other_number(void *arg)
{
	enum sandbox_role role = *(enum sandbox_role *)arg;
	int err = begin(role);
	if (err)
		return err;
	for (long nr = 0; nr < LAST_NUMBER; nr++)
		if (!is_the_kernels_own(nr) && !sandbox_allows(role, (int)nr) &&
		    !is_denied(nr, 0, 0, 0)) {
			fprintf(stderr, "%s: call %ld is not denied\n", sandbox_role_name(role),
				nr);
			return 1;
		}
	return 0;
}

static void every_number_outside_the_list_is_denied(void **state)
{
	(void)state;
	for (enum sandbox_role role = 0; role < SANDBOX_NR_ROLES; role++) {
		struct in_jail j = { .fn = every_other_number, .arg = &role };
		assert_int_equal(in_jail(&j), 0);
	}
}

/* --- no role of a device process, and no vCPU, has any of these --- */

static void dangerous_calls_are_on_no_list(void **state)
{
	static const int never[] = {
		SYS_execve,      SYS_ptrace,       SYS_process_vm_readv, SYS_process_vm_writev,
		SYS_setuid,      SYS_setresuid,    SYS_unshare,          SYS_bpf,
		SYS_init_module, SYS_finit_module, SYS_kexec_load,       SYS_keyctl,
		SYS_add_key,     SYS_userfaultfd,  SYS_perf_event_open,  SYS_open_by_handle_at,
		SYS_reboot,      SYS_chroot,       SYS_mknodat,          SYS_personality,
		SYS_pidfd_getfd
	};
	static const int not_in_devices[] = { SYS_openat,     SYS_openat2,    SYS_socket,
					      SYS_connect,    SYS_bind,       SYS_kill,
					      SYS_mount,      SYS_pivot_root, SYS_io_uring_setup,
					      SYS_socketpair, SYS_wait4,      SYS_unlinkat,
					      SYS_seccomp,    SYS_setns,      SYS_execveat };
	(void)state;
	for (enum sandbox_role role = 0; role < SANDBOX_NR_ROLES; role++)
		for (size_t i = 0; i < sizeof(never) / sizeof(*never); i++)
			assert_false(sandbox_allows(role, never[i]));
	for (enum sandbox_role role = SANDBOX_VCPU; role < SANDBOX_NR_ROLES; role++)
		for (size_t i = 0;
		     role != SANDBOX_ZYGOTE && i < sizeof(not_in_devices) / sizeof(int); i++)
			assert_false(sandbox_allows(role, not_in_devices[i]));
}

/* --- arguments --- */

static const struct argument_row {
	const char *what;
	long nr, args[5];
	unsigned allowed; /* bit of each role that may; all others are denied */
} argument_rows[] = {
#define ROLE(r)  (1u << SANDBOX_##r)
#define ZYGOTE_S (ROLE(ZYGOTE))
	{ "open a path", SYS_openat, { AT_FDCWD }, ZYGOTE_S },
	{ "open a path another way", SYS_openat2, { AT_FDCWD }, 0 },
	{ "run a program", SYS_execve, { 0 }, 0 },
	{ "become a program by its path", SYS_execveat, { AT_FDCWD }, 0 },
	{ "become a program that is open", SYS_execveat, { -1, 0, 0, 0, AT_EMPTY_PATH }, ZYGOTE_S },
	{ "make a socket", SYS_socket, { AF_UNIX, SOCK_STREAM }, 0 },
	{ "connect a socket", SYS_connect, { -1 }, 0 },
	{ "listen for others", SYS_bind, { -1 }, 0 },
	{ "trace another process", SYS_ptrace, { PTRACE_ATTACH, 4194303 }, 0 },
	{ "read another's memory", SYS_process_vm_readv, { 4194303 }, 0 },
	{ "write another's memory", SYS_process_vm_writev, { 4194303 }, 0 },
	{ "take another's descriptor", SYS_pidfd_getfd, { -1 }, 0 },
	{ "end another process", SYS_kill, { 4194303 }, ZYGOTE_S },
	{ "become another user", SYS_setuid, { 0 }, 0 },
	{ "make namespaces", SYS_unshare, { 0 }, 0 },
	{ "enter the host's network", SYS_setns, { -1, CLONE_NEWNET }, 0 },
	{ "enter the host's files", SYS_setns, { -1, CLONE_NEWNS }, ZYGOTE_S },
	{ "be looked into", SYS_prctl, { PR_SET_DUMPABLE, 1 }, ZYGOTE_S },
	{ "listen to another's calls", SYS_seccomp, { SECCOMP_GET_NOTIF_SIZES }, 0 },
	{ "make a ring", SYS_io_uring_setup, { 0 }, ZYGOTE_S },
	{ "memory to run",
	  SYS_mmap,
	  { 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS },
	  0 },
	{ "a file to run",
	  SYS_mmap,
	  { 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, -1 },
	  ZYGOTE_S },
	{ "make memory run", SYS_mprotect, { 0, 4096, PROT_EXEC }, 0 },
	{ "type into a terminal", SYS_ioctl, { 0, TIOCSTI }, 0 },
	{ "any ioctl", SYS_ioctl, { 0, 0x1234 }, 0 },
	{ "signal another process", SYS_tgkill, { 4194303, 4194303 }, ZYGOTE_S },
	{ "a new process", SYS_clone, { SIGCHLD }, ZYGOTE_S },
	{ "new namespaces", SYS_clone, { CLONE_NEWUSER | SIGCHLD }, ZYGOTE_S },
	{ "a thread in a namespace",
	  SYS_clone,
	  { CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_NEWNET },
	  ZYGOTE_S },
	{ "register buffers of a ring",
	  SYS_io_uring_register,
	  { -1, IORING_REGISTER_BUFFERS },
	  ZYGOTE_S },
	{ "lend a ring one's rights",
	  SYS_io_uring_register,
	  { -1, IORING_REGISTER_PERSONALITY },
	  ZYGOTE_S },
	{ "tracer", SYS_prctl, { PR_SET_PTRACER, 1 }, ZYGOTE_S },
};

struct argument_case {
	enum sandbox_role role;
	const struct argument_row *row;
};

static int one_argument(void *arg)
{
	const struct argument_case *c = arg;
	int err = begin(c->role);
	if (err)
		return err;
	const struct argument_row *r = c->row;
	pid_t before = getpid();
	bool denied = is_denied_5(r->nr, r->args);
	if (getpid() != before)
		_exit(0); /* the new process of a clone() */
	return denied ? 1 : 0;
}

static void arguments_are_looked_at(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(argument_rows) / sizeof(*argument_rows); i++)
		for (enum sandbox_role role = 0; role < SANDBOX_NR_ROLES; role++) {
			struct argument_case c = { role, &argument_rows[i] };
			struct in_jail j = { .fn = one_argument, .arg = &c };
			bool may = argument_rows[i].allowed >> role & 1;
			int status = in_jail(&j);
			if (status != (may ? 0 : 1))
				print_message("%s, %s: %d\n", sandbox_role_name(role),
					      argument_rows[i].what, status);
			assert_int_equal(status, may ? 0 : 1);
		}
}

static int signal_to_oneself(void *arg)
{
	int err = begin(*(enum sandbox_role *)arg);
	if (err)
		return err;
	long pid = syscall(SYS_getpid), tid = syscall(SYS_gettid);
	return (is_denied(SYS_tgkill, pid, tid, 0) ? 1 : 0) |
	       (is_denied(SYS_tgkill, pid + 1, tid, 0) ? 0 : 2);
}

/* A filter is made before anybody knows the process's id: that is filled in. */
static void a_process_may_signal_itself_only(void **state)
{
	static const enum sandbox_role roles[] = { SANDBOX_MAIN, SANDBOX_VCPU, SANDBOX_BLOCK,
						   SANDBOX_SERVER };
	(void)state;
	for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++) {
		enum sandbox_role role = roles[i];
		struct in_jail j = { .fn = signal_to_oneself, .arg = &role };
		assert_int_equal(in_jail(&j), 0);
	}
}

/* --- reports --- */

static int violate(void *arg)
{
	int *out = arg;
	struct sandbox_options o = { .self = getpid() };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || sandbox_prepare(SANDBOX_RNG, &o))
		return 90;
	if (dup2(*out, STDERR_FILENO) < 0)
		return 91;
	sandbox_catch(SANDBOX_RNG);
	if (sandbox_enter(SANDBOX_RNG, false))
		return 92;
	(void)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
	return 0;
}

static void a_violation_is_told_and_ends_the_process(void **state)
{
	int p[2];
	char line[256] = "";
	(void)state;
	assert_int_equal(pipe(p), 0);
	pid_t pid = fork(); /* the zygote would keep nothing of the pipe */
	if (!pid)
		_exit(violate(&p[1]));
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
	assert_true(read(p[0], line, sizeof(line) - 1) > 0);
	assert_non_null(strstr(line, "rng: system call socket ("));
	close(p[0]);
	close(p[1]);
}

static int only_log(void *arg)
{
	struct sandbox_options o = { .self = getpid(), .only_log = true };
	(void)arg;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || sandbox_prepare(SANDBOX_RNG, &o) ||
	    sandbox_enter(SANDBOX_RNG, false))
		return 90;
	return socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? 1 : 0;
}

static void a_violation_passes_when_it_is_only_logged(void **state)
{
	struct in_jail j = { .fn = only_log };
	(void)state;
	assert_int_equal(in_jail(&j), 0);
}

/* The lines of /proc/thread-self/status on speculation. */
static void speculation(char *out, size_t size)
{
	char line[256];
	FILE *f = fopen("/proc/thread-self/status", "r");
	for (*out = 0; f && fgets(line, sizeof(line), f);)
		if (!strncmp(line, "Specul", 6))
			strncat(out, line, size - strlen(out) - 1);
	if (f)
		fclose(f);
}

static int keeps_speculation(void *arg)
{
	char before[512], after[512];
	struct sandbox_options o = { .self = getpid(), .only_log = true }; /* so that it may look */
	(void)arg;
	speculation(before, sizeof(before));
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || sandbox_prepare(SANDBOX_RNG, &o) ||
	    sandbox_enter(SANDBOX_RNG, false))
		return 90;
	speculation(after, sizeof(after));
	return strcmp(before, after) ? 1 : 0;
}

/* Kernels before 5.16 take it away from who has a filter, unless they are asked not to. */
static void a_filter_does_not_slow_down_the_cpu(void **state)
{
	struct in_jail j = { .fn = keeps_speculation };
	(void)state;
	assert_int_equal(in_jail(&j), 0);
}

static int with_options(void *arg)
{
	struct sandbox_options *o = arg;
	struct sigaction sa = { .sa_sigaction = on_violation, .sa_flags = SA_SIGINFO };
	o->self = getpid();
	if (sigaction(SIGSYS, &sa, NULL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    sandbox_prepare(SANDBOX_MAIN, o) || sandbox_enter(SANDBOX_MAIN, false))
		return 90;
	return (is_denied(SYS_connect, -1, 0, 0) ? 1 : 0) |
	       (is_denied(SYS_accept4, -1, 0, 0) ? 2 : 0) |
	       (is_denied(SYS_socket, AF_INET, SOCK_STREAM, 0) ? 4 : 0);
}

static void main_has_what_its_options_need(void **state)
{
	struct sandbox_options o = { 0 };
	struct in_jail j = { .fn = with_options, .arg = &o };
	(void)state;
	assert_int_equal(in_jail(&j), 7);
	o.has_sockets = true;
	assert_int_equal(in_jail(&j), 6);
	o = (struct sandbox_options){ .has_control = true };
	assert_int_equal(in_jail(&j), 5);
}

/* What a ring's thread asks of io_uring_register() is on its lists. */
static int registers_of_a_ring(void *arg)
{
	int err = begin(*(enum sandbox_role *)arg);
	for (unsigned i = 0; !err && i < reactor_restrict.nr_registers; i++)
		if (is_denied(SYS_io_uring_register, -1, reactor_restrict.registers[i], 0)) {
			fprintf(stderr, "register %u is denied\n", reactor_restrict.registers[i]);
			return 1;
		}
	return err;
}

static void a_ring_may_be_tuned_by_its_worker(void **state)
{
	static const enum sandbox_role roles[] = { SANDBOX_BLOCK, SANDBOX_RNG, SANDBOX_CONSOLE,
						   SANDBOX_IO, SANDBOX_MAIN };
	(void)state;
	for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++) {
		enum sandbox_role role = roles[i];
		struct in_jail j = { .fn = registers_of_a_ring, .arg = &role };
		assert_int_equal(in_jail(&j), 0);
	}
}

static void names_are_those_of_this_architecture(void **state)
{
	(void)state;
	assert_string_equal(seccomp_names[SYS_openat], "openat");
	assert_string_equal(seccomp_names[SYS_io_uring_enter], "io_uring_enter");
	assert_true(seccomp_nr_names > 400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_number_outside_the_list_is_denied),
		cmocka_unit_test(dangerous_calls_are_on_no_list),
		cmocka_unit_test(arguments_are_looked_at),
		cmocka_unit_test(a_process_may_signal_itself_only),
		cmocka_unit_test(a_violation_is_told_and_ends_the_process),
		cmocka_unit_test(a_violation_passes_when_it_is_only_logged),
		cmocka_unit_test(a_filter_does_not_slow_down_the_cpu),
		cmocka_unit_test(main_has_what_its_options_need),
		cmocka_unit_test(a_ring_may_be_tuned_by_its_worker),
		cmocka_unit_test(names_are_those_of_this_architecture),
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
