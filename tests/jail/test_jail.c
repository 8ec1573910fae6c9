/*
 * test_jail.c - walls around a device process, without its list of system calls: what each denies,
 * that the same is possible outside, and that a wall which is missing is noticed.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "attempts.h"
#include "base/err.h"
#include "base/num.h"
#include "in_jail.h"

static bool is_missing_here(void)
{
	struct in_jail j = { .fn = try_open, .arg = "/", .has_jail = true };
	return in_jail(&j) == IN_JAIL_LACKS;
}

static void is_complete_on_this_host(void **state)
{
	(void)state;
	if (is_missing_here()) {
		print_message("this host refuses a part of the jail\n");
		skip();
	}
}

/* NULL: denied. Else what can be done in a jail here. */
static const char *attempt_in_jail(const struct attempt *a)
{
	struct in_jail j = { .fn = a->fn, .arg = (void *)(uintptr_t)a->arg, .has_jail = true };
	int status = in_jail(&j);
	if (status == IN_JAIL_LACKS)
		return "nothing: the jail itself says that it is not whole";
	return status && status < 129 ? NULL : a->what;
}

static void denies_every_attempt(void **state)
{
	(void)state;
	if (is_missing_here())
		skip();
	unsigned failed = 0;
	for (size_t i = 0; i < ARRAY_SIZE(attempts); i++) {
		const char *what = attempt_in_jail(&attempts[i]);
		if (what)
			print_message("in the jail one can: %s\n", what);
		failed += what != NULL;
	}
	assert_int_equal(failed, 0);
}

/* Else the test above says nothing. */
static void attempts_succeed_outside(void **state)
{
	(void)state;
	unsigned failed = 0;
	for (size_t i = 0; i < ARRAY_SIZE(attempts); i++) {
		struct in_jail j = { .fn = attempts[i].fn,
				     .arg = (void *)(uintptr_t)attempts[i].arg };
		if (attempts[i].is_harmful || (attempts[i].needs_root && geteuid()))
			continue;
		int status = in_jail(&j);
		if (status)
			print_message("outside one cannot: %s (%s)\n", attempts[i].what,
				      strerror(status));
		failed += status != 0;
	}
	unlink("/tmp/vmm-jail-created");
	assert_int_equal(failed, 0);
}

/* --- mutations: a host that says that it has put a wall up, and has not --- */

/* A call that answers 0 and does nothing. */
struct lie {
	const char *wall;
	int nr;
	int arg; /* only if this argument is @value; -1: always */
	unsigned value;
	int set; /* and only if this argument is not 0; 0: always */
};

#define ROOT_FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC)
#define ROOMS      (CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | (unsigned)CLONE_NEWCGROUP)

/* Left out: the empty ambient set, and limits that are 0 on most hosts (nice, real time). */
static const struct lie lies[] = {
	{ "a root of its own", SYS_mount, 3, ROOT_FLAGS, 0 },
	{ "that this is the root", SYS_pivot_root, -1, 0, 0 },
	{ "that the old root is gone", SYS_umount2, -1, 0, 0 },
	{ "that the root is read-only", SYS_mount, 3, MS_REMOUNT | MS_BIND | MS_RDONLY | ROOT_FLAGS,
	  0 },
	{ "that devices begin in the empty root", SYS_setns, -1, 0, 0 },
	{ "a network, ipc, uts and cgroup of its own", SYS_unshare, 0, ROOMS, 0 },
	{ "closed descriptors", SYS_close_range, -1, 0, 0 },
	{ "no core", SYS_prlimit64, 1, RLIMIT_CORE, 2 },
	{ "few files", SYS_prlimit64, 1, RLIMIT_NOFILE, 2 },
	{ "few threads", SYS_prlimit64, 1, RLIMIT_NPROC, 2 },
	{ "no message queues", SYS_prlimit64, 1, RLIMIT_MSGQUEUE, 2 },
	{ "few signals", SYS_prlimit64, 1, RLIMIT_SIGPENDING, 2 },
	{ "no capabilities", SYS_capset, -1, 0, 0 },
	{ "an empty bounding set", SYS_prctl, 0, PR_CAPBSET_DROP, 0 },
	{ "locked securebits", SYS_prctl, 0, PR_SET_SECUREBITS, 0 },
	{ "no new privileges", SYS_prctl, 0, PR_SET_NO_NEW_PRIVS, 0 },
	{ "that it cannot be looked into", SYS_prctl, 0, PR_SET_DUMPABLE, 0 },
	{ "that it dies with the zygote", SYS_prctl, 0, PR_SET_PDEATHSIG, 0 },
};

#define LOW_HALF(arg) (offsetof(struct seccomp_data, args) + 8u * (unsigned)(arg))

/* For this process and all below it. Root needs no no_new_privs for it, which is a wall itself. */
static int believe(const struct lie *l)
{
	unsigned arg = (unsigned)(l->arg < 0 ? 0 : l->arg);
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)l->nr, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, LOW_HALF(arg)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, l->value, 0, l->arg < 0 ? 0 : 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, LOW_HALF(l->set)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, l->set ? 1 : 0, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { ARRAY_SIZE(code), code };
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p);
}

/* A limit that is as low already would hide that ours is missing. */
static void raise_limits(void)
{
	static const struct {
		__rlimit_resource_t what;
		rlim_t value;
	} limits[] = {
		{ RLIMIT_CORE, RLIM_INFINITY },       { RLIMIT_NOFILE, 4096 },
		{ RLIMIT_NPROC, RLIM_INFINITY },      { RLIMIT_MSGQUEUE, RLIM_INFINITY },
		{ RLIMIT_SIGPENDING, RLIM_INFINITY },
	};
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		struct rlimit r = { limits[i].value, limits[i].value };
		ignore(setrlimit(limits[i].what, &r)); /* the test tells */
	}
}

/* 0: nobody noticed; 1: an attempt succeeded, or the jail said that it lacks something. */
static int is_noticed(const struct lie *l)
{
	raise_limits();
	if (believe(l))
		return 2;
	for (size_t i = 0; i < ARRAY_SIZE(attempts); i++) {
		const char *what = attempt_in_jail(&attempts[i]);
		if (!what)
			continue;
		fprintf(stderr, "without %s one can: %s\n", l->wall, what);
		return 1;
	}
	return 0;
}

static void a_wall_less_is_noticed(void **state)
{
	(void)state;
	if (geteuid() || is_missing_here())
		skip(); /* who is not root must give up new privileges to say so */
	unsigned failed = 0;
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		int status;
		pid_t pid = fork();
		if (!pid)
			_exit(is_noticed(&lies[i]));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 1)
			continue;
		print_message("nobody notices a jail without %s (0x%x)\n", lies[i].wall, status);
		failed++;
	}
	assert_int_equal(failed, 0);
}

/* Where namespaces are refused Landlock alone keeps files and ports away. */
static int without_namespaces(void *arg)
{
	if (!jail_drop_rights() || !jail_forbid_files())
		return 90;
	return try_open(arg) && try_create("/tmp/vmm-jail-created") ? EACCES : 0;
}

static void landlock_alone_keeps_files_away(void **state)
{
	(void)state;
	struct in_jail j = { .fn = without_namespaces, .arg = "/etc/passwd" };
	int status = in_jail(&j);
	if (status == 90) {
		print_message("this kernel has no Landlock\n");
		skip();
	}
	assert_int_equal(status, EACCES);
}

static void landlock_less_is_noticed(void **state)
{
	static const struct lie lie = { "Landlock", SYS_landlock_restrict_self, -1, 0, 0 };
	struct in_jail j = { .fn = without_namespaces, .arg = "/etc/passwd" };
	int status;
	(void)state;
	if (geteuid() || in_jail(&j) == 90)
		skip();
	pid_t pid = fork();
	if (!pid)
		_exit(believe(&lie) || in_jail(&j) == EACCES);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	unlink("/tmp/vmm-jail-created");
	assert_int_equal(status, 0);
}

/* It could make no namespaces, so the host's root is still there. */
static int jailed_on_the_hosts_root(void *arg)
{
	struct jail_config cfg = { .max_files = 256, .max_threads = 64 };
	uint32_t lacks = jail_enter(&cfg);
	if (!(lacks & JAIL_ROOT))
		return 91;
	if (lacks & JAIL_FILES)
		return 90;
	return try_open(arg) && try_create("/tmp/vmm-jail-created") ? EACCES : 0;
}

static void landlock_stands_in_for_an_empty_root(void **state)
{
	static const struct lie lie = { "Landlock", SYS_landlock_create_ruleset, -1, 0, 0 };
	struct in_jail j = { .fn = jailed_on_the_hosts_root, .arg = "/etc/passwd" };
	int status = in_jail(&j);
	(void)state;
	if (status == 90)
		skip();
	assert_int_equal(status, EACCES);
	if (geteuid())
		skip();
	pid_t pid = fork();
	if (!pid)
		_exit(believe(&lie) || in_jail(&j) != 90); /* neither: the jail says so */
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void words_say_what_is_missing(void **state)
{
	char buf[256];
	(void)state;
	assert_string_equal(jail_words(0, buf, sizeof(buf)), "");
	assert_string_equal(jail_words(JAIL_ROOT | JAIL_USER_NS, buf, sizeof(buf)),
			    "user namespaces, an empty root");
	jail_words(~0u, buf, 8); /* cut, and ended */
	assert_true(strlen(buf) < 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_complete_on_this_host),
		cmocka_unit_test(denies_every_attempt),
		cmocka_unit_test(attempts_succeed_outside),
		cmocka_unit_test(a_wall_less_is_noticed),
		cmocka_unit_test(landlock_alone_keeps_files_away),
		cmocka_unit_test(landlock_less_is_noticed),
		cmocka_unit_test(landlock_stands_in_for_an_empty_root),
		cmocka_unit_test(words_say_what_is_missing),
	};
	return cmocka_run_group_tests(tests, make_victims, end_victims);
}
