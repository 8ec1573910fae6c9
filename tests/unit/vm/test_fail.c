/* test_fail.c - who is to blame for what cannot be had, and the one line about it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "src/vm/vm_priv.h"
#include "support/said.h"

static const struct {
	int err;
	const char *remedy; /* for a wrong name; NULL: nothing was named */
	enum vm_status status;
	const char *line;
} named[] = {
	{ -ENOENT, "check the path", VM_EXIT_USAGE,
	  "vmm: --initrd: x: No such file or directory; check the path\n" },
	{ -EACCES, "check the path", VM_EXIT_USAGE,
	  "vmm: --initrd: x: Permission denied; check the path\n" },
	{ -EMFILE, "check the path", VM_EXIT_HOST,
	  "vmm: --initrd: x: Too many open files; raise the limit of descriptors (RLIMIT_NOFILE) "
	  "with 'ulimit -n'\n" },
	{ -ENFILE, "check the path", VM_EXIT_HOST,
	  "vmm: --initrd: x: Too many open files in system; the host is out of file descriptors: "
	  "raise fs.file-max with sysctl\n" },
	{ -ENOSPC, "check the path", VM_EXIT_HOST,
	  "vmm: --initrd: x: No space left on device; make room there\n" },
	{ -EAGAIN, "check the path", VM_EXIT_USAGE,
	  "vmm: --initrd: x: Resource temporarily unavailable; check the path\n" },
	{ -EAGAIN, NULL, VM_EXIT_HOST,
	  "vmm: --initrd: x: Resource temporarily unavailable; raise the limit of threads with "
	  "'ulimit -u' or pids.max\n" },
	{ -ENOENT, NULL, VM_EXIT_HOST, "vmm: --initrd: x: No such file or directory\n" },
};

static void a_limit_is_the_hosts_fault_and_a_wrong_name_is_not(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(named); i++) {
		struct said s;
		said_begin(&s);
		enum vm_status st = vm_fail_named(named[i].err, "--initrd", "x", named[i].remedy);
		said_end(&s);
		assert_int_equal(st, named[i].status);
		assert_string_equal(s.text, named[i].line);
	}
}

static void of_a_long_name_the_middle_is_left_out(void **state)
{
	(void)state;
	static const char tail[] = "xx: No such file or directory; check the path\n";
	char name[4000];
	struct said s;
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = 0;
	said_begin(&s);
	(void)vm_fail_named(-ENOENT, "--initrd", name, "check the path");
	said_end(&s);
	assert_int_equal(strlen(s.text), 5 + 511 + 1); /* "vmm: ", "\n" */
	assert_non_null(strstr(s.text, "vmm: --initrd: xx"));
	assert_non_null(strstr(s.text, "xx[...]xx"));
	assert_string_equal(s.text + strlen(s.text) - strlen(tail), tail);
}

static void a_call_that_failed_is_the_hosts_fault(void **state)
{
	(void)state;
	struct said s;
	said_begin(&s);
	enum vm_status st = vm_fail_errno(-EPERM, "a call");
	said_end(&s);
	assert_int_equal(st, VM_EXIT_HOST);
	assert_string_equal(s.text, "vmm: a call: Operation not permitted\n");
}

static void a_long_line_is_cut_and_stays_one(void **state)
{
	(void)state;
	char name[3000];
	struct said s;
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = 0;
	said_begin(&s);
	(void)vm_fail(VM_EXIT_USAGE, "%s", name);
	said_end(&s);
	assert_int_equal(said_lines(&s), 1);
	assert_true(strlen(s.text) > 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_limit_is_the_hosts_fault_and_a_wrong_name_is_not),
		cmocka_unit_test(of_a_long_name_the_middle_is_left_out),
		cmocka_unit_test(a_call_that_failed_is_the_hosts_fault),
		cmocka_unit_test(a_long_line_is_cut_and_stays_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
