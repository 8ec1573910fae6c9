/* test_host_err.c - which errors are the host's, and what it takes to mend them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "base/compiler.h"
#include "base/host_err.h"

static const struct {
	int err;
	bool is_host;
	const char *remedy; /* a word of it; "": none */
} rows[] = {
	{ -EMFILE, true, "RLIMIT_NOFILE" },
	{ -EMFILE, true, "ulimit -n" },
	{ -ENFILE, true, "fs.file-max" },
	{ -ENOMEM, true, "ulimit -v" },
	{ -ENOBUFS, true, "memory" },
	{ -ENOSPC, true, "room" },
	{ -EDQUOT, true, "quota" },
	{ -EIO, true, "dmesg" },
	{ -ENOENT, false, "" },
	{ -EACCES, false, "" },
	{ -EPERM, false, "" },
	{ -EISDIR, false, "" },
	{ -EINVAL, false, "" },
	{ -EROFS, false, "" },
	{ -ELOOP, false, "" },
	{ -ENAMETOOLONG, false, "" },
	{ -EAGAIN, false, "ulimit -u" }, /* a lock as well as a limit: the call decides */
	{ -EFBIG, false, "ulimit -f" },
	{ 0, false, "" },
	{ 3, false, "" },
	{ EMFILE, false, "" }, /* not by our convention */
};

static void the_host_is_blamed_for_what_it_lacks(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *remedy = host_err_remedy(rows[i].err);
		if (host_err_is(rows[i].err) != rows[i].is_host || !strstr(remedy, rows[i].remedy))
			fail_msg("%d: '%s'", rows[i].err, remedy);
		if (!*rows[i].remedy)
			assert_string_equal(remedy, "");
		else
			assert_memory_equal(remedy, "; ", 2); /* goes on after a reason */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_host_is_blamed_for_what_it_lacks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
