/*
 * test_confine.c - the main process before the guest runs: what the host refuses it, what the host
 * lacks, and how a process ends that makes a call that is not on its list.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "src/vm/sandbox.h"
#include "src/vm/vm_priv.h"
#include "support/said.h"
#include "sync/rcu.h"

/* What fn(@arg) returns or dies of, as waitpid(2) tells it, in a process of its own. */
static int in_child(int (*fn)(const void *arg), const void *arg, struct said *s)
{
	int status = -1;
	said_begin(s);
	pid_t pid = fork();
	if (!pid)
		_exit(fn(arg));
	BUG_ON(pid < 0 || waitpid(pid, &status, 0) != pid);
	said_end(s);
	return status;
}

static void expect_exit(int status, int code, const struct said *s)
{
	if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
		fail_msg("status %#x, not exit %d: %s", (unsigned)status, code, s->text);
}

/* From now on call @nr is answered with @action, and so is @nr2 with @action2. */
static int filter_calls(int nr, unsigned action, int nr2, unsigned action2)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action2),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

/* --- confining main --- */

static int confine(enum vm_sandbox sandbox)
{
	static struct vm vm;
	static struct vm_config c;
	config_init(&c);
	c.sandbox = sandbox;
	vm.c = &c;
	rcu_enter_thread();
	return (int)vm_confine(&vm);
}

static int without_descriptors(const void *arg)
{
	int next = dup(STDIN_FILENO);
	struct rlimit none = { (rlim_t)next, (rlim_t)next };
	close(next);
	return setrlimit(RLIMIT_NOFILE, &none) ? 99 : confine(*(const enum vm_sandbox *)arg);
}

static int without_seccomp(const void *arg)
{
	const unsigned no = SECCOMP_RET_ERRNO | ENOSYS;
	return filter_calls(SYS_seccomp, no, SYS_seccomp, no)
		       ? 99
		       : confine(*(const enum vm_sandbox *)arg);
}

static void a_host_without_seccomp_is_gone_without_or_not_at_all(void **state)
{
	(void)state;
	static const struct {
		enum vm_sandbox wish;
		int status;
		const char *words;
	} rows[] = {
		{ VM_SANDBOX_AUTO, VM_EXIT_OK, "seccomp; it runs without" },
		{ VM_SANDBOX_REQUIRE, VM_EXIT_HOST, "--sandbox=require: this host refuses" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct said s;
		int status = in_child(without_seccomp, &rows[i].wish, &s);
		expect_exit(status, rows[i].status, &s);
		assert_int_equal(said_lines(&s), 1);
		assert_non_null(strstr(s.text, rows[i].words));
	}
}

static void without_a_sandbox_nothing_is_tried(void **state)
{
	(void)state;
	static const enum vm_sandbox off = VM_SANDBOX_OFF;
	struct said s;
	expect_exit(in_child(without_descriptors, &off, &s), VM_EXIT_OK, &s);
	assert_string_equal(s.text, "");
}

/* --- a call that is not on the list --- */

static const unsigned refused = SECCOMP_RET_ERRNO | EPERM;

/* Its own name for the process, and a second call that no filter allows, which ends it. */
static int make_a_call(const void *acct)
{
	sandbox_catch(SANDBOX_ZYGOTE);
	if (filter_calls(SYS_getppid, SECCOMP_RET_TRAP, SYS_acct, *(const unsigned *)acct))
		return 99;
	(void)syscall(SYS_getppid);
	return 98; /* it went on */
}

static void it_is_named_and_ends_the_process(void **state)
{
	(void)state;
	static const unsigned trap = SECCOMP_RET_TRAP;
	struct said s;
	char want[160];
	int status = in_child(make_a_call, &trap, &s);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
	(void)snprintf(want, sizeof(want),
		       "vmm: %s: system call getppid (%d) is not on its list: the process ends\n",
		       sandbox_role_name(SANDBOX_ZYGOTE), SYS_getppid);
	assert_string_equal(s.text, want);
}

/*
 * The first process of a namespace is not ended by a signal of its own while somebody traces it:
 * acct(), which is to end it, comes back, and the next step does.
 */
static void it_ends_the_process_that_no_signal_ends(void **state)
{
	(void)state;
	struct said s;
	expect_exit(in_child(make_a_call, &refused, &s), 128 + SIGSYS, &s);
	assert_int_equal(said_lines(&s), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_host_without_seccomp_is_gone_without_or_not_at_all),
		cmocka_unit_test(without_a_sandbox_nothing_is_tried),
		cmocka_unit_test(it_is_named_and_ends_the_process),
		cmocka_unit_test(it_ends_the_process_that_no_signal_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
