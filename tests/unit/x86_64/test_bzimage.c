/* test_bzimage.c - compressed kernels: what is accepted, where it goes, what is refused. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "kernels.h"

static void reports_where_the_kernel_lies(void **state)
{
	(void)state;
	struct test_bzimage z;
	struct kernel_info k;
	const char *why = NULL;
	test_bzimage_make(&z);
	int fd = test_file(&z, sizeof(z));
	assert_int_equal(machine_probe_kernel(&k, fd, &why), 0);
	close(fd);
	assert_int_equal(k.format, KERNEL_BZIMAGE);
	assert_false(k.is_pvh);
	assert_int_equal(k.load_start, TEST_BZIMAGE_START);
	assert_int_equal(k.load_end, TEST_BZIMAGE_START + TEST_BZIMAGE_INIT);
	assert_int_equal(k.entry, TEST_BZIMAGE_START + 0x200);
	assert_int_equal(k.initrd_max, 0x7fffffff);
	assert_int_equal(k.cmdline_max, 2047);
}

#define H(f) 0x1f1 + offsetof(struct setup_header, f), sizeof(((struct setup_header *)0)->f)

static const struct test_broken broken[] = {
	{ "magic", { { H(header), 0 } }, -ENOEXEC, "neither" },
	{ "magic reversed", { { H(header), 0x48647253 } }, -ENOEXEC, "neither" },
	{ "boot flag", { { H(boot_flag), 0x55aa } }, -ENOEXEC, "neither" },
	{ "version 2.05", { { H(version), 0x0205 } }, -ENOEXEC, "older" },
	{ "version 0", { { H(version), 0 } }, -ENOEXEC, "older" },
	{ "version 2.11", { { H(version), 0x020b } }, -ENOEXEC, "64-bit entry" },
	{ "32-bit kernel", { { H(xloadflags), 0 } }, -ENOEXEC, "64-bit entry" },
	{ "zImage", { { H(loadflags), 0 } }, -ENOEXEC, "zImage" },
	{ "address 0", { { H(pref_address), 0 } }, -ENOEXEC, "below 1 MiB" },
	{ "address below", { { H(pref_address), MIB - 1 } }, -ENOEXEC, "below 1 MiB" },
	{ "address in the hole", { { H(pref_address), 0xc0000000 } }, -E2BIG, "3 GiB" },
	{ "address above 4 GiB", { { H(pref_address), 1ull << 32 } }, -E2BIG, "3 GiB" },
	{ "address that wraps", { { H(pref_address), -0x200000ull } }, -ENOEXEC, "wraps" },
	{ "address of odd alignment", { { H(pref_address), 0x1000200 } }, -ENOEXEC, "alignment" },
	{ "alignment 0", { { H(kernel_alignment), 0 } }, -ENOEXEC, "odd alignment" },
	{ "alignment 3", { { H(kernel_alignment), 3 } }, -ENOEXEC, "odd alignment" },
	{ "4 GiB of work", { { H(init_size), UINT32_MAX } }, -E2BIG, "3 GiB" },
	{ "no code", { { H(syssize), 0 } }, -ENOEXEC, "without code" },
	{ "less than the entry", { { H(syssize), 32 } }, -ENOEXEC, "without code" },
	{ "code past the end", { { H(syssize), 4096 / 16 + 1 } }, -ENODATA, "ends before" },
	{ "64 GiB of code", { { H(syssize), UINT32_MAX } }, -ENODATA, "ends before" },
	{ "set-up past the end", { { H(setup_sects), 255 } }, -ENODATA, "ends before" },
	{ "set-up longer", { { H(setup_sects), 5 } }, -ENODATA, "ends before" },
};

static void refuses_what_is_broken(void **state)
{
	(void)state;
	struct test_bzimage z;
	test_bzimage_make(&z);
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++)
		test_expect_refusal(&broken[i], &z, sizeof(z));
}

static void refuses_every_truncation(void **state)
{
	(void)state;
	struct test_bzimage z;
	test_bzimage_make(&z);
	for (size_t len = 0; len < sizeof(z); len++) {
		struct kernel_info k;
		const char *why = NULL;
		int fd = test_file(&z, len);
		bool has_header = len >= 0x1f1 + sizeof(struct setup_header);
		int err = machine_probe_kernel(&k, fd, &why);
		assert_int_equal(err, len == 0 || has_header ? -ENODATA : -ENOEXEC);
		assert_non_null(why);
		close(fd);
	}
}

static void refuses_what_is_no_file(void **state)
{
	(void)state;
	struct kernel_info k;
	const char *why = NULL;
	int p[2], dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(machine_probe_kernel(&k, dir, &why), -EINVAL);
	assert_string_equal(why, "not a regular file");
	assert_int_equal(machine_probe_kernel(&k, p[0], &why), -EINVAL);
	assert_int_equal(machine_probe_kernel(&k, -1, &why), -EBADF);
	close(p[0]);
	close(p[1]);
	close(dir);
}

static void no_setup_sectors_mean_four(void **state)
{
	(void)state;
	struct test_bzimage z;
	struct test_board t;
	test_bzimage_make(&z);
	z.hdr.setup_sects = 0;
	test_board_make(&t, 32 * MIB, test_file(&z, sizeof(z)));
	test_board_load(&t);
	assert_memory_equal(test_at(&t, TEST_BZIMAGE_START, sizeof(z.code)), z.code,
			    sizeof(z.code));
	test_board_drop(&t);
}

static void loads_the_kernel_and_not_one_byte_more(void **state)
{
	(void)state;
	struct {
		struct test_bzimage z;
		uint8_t signature[100]; /* behind the kernel: not part of it */
	} file;
	struct test_board t;
	memset(&file, 0x77, sizeof(file));
	test_bzimage_make(&file.z);
	test_board_make(&t, 32 * MIB, test_file(&file, sizeof(file)));
	test_board_load(&t);
	const uint8_t *code = test_at(&t, TEST_BZIMAGE_START - 1, sizeof(file.z.code) + 2);
	assert_memory_equal(code + 1, file.z.code, sizeof(file.z.code));
	assert_int_equal(code[0], 0);
	assert_int_equal(code[1 + sizeof(file.z.code)], 0);
	test_board_drop(&t);
}

/* VMM_TEST_KERNELS: paths of real kernels, separated by colons. */
static void loads_real_kernels(void **state)
{
	(void)state;
	const char *paths = getenv("VMM_TEST_KERNELS");
	if (!paths || !*paths) {
		print_message("VMM_TEST_KERNELS is not set: no real kernel to look at\n");
		skip();
	}
	char *list = strdup(paths), *rest = list;
	for (char *path = strsep(&rest, ":"); path; path = strsep(&rest, ":")) {
		struct test_board t;
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		test_board_make(&t, 256 * MIB, fd);
		test_board_load(&t);
		print_message("%s: %s at %#llx..%#llx, entry %#llx%s\n", path,
			      t.kernel.format == KERNEL_ELF ? "ELF" : "bzImage",
			      (unsigned long long)t.kernel.load_start,
			      (unsigned long long)t.kernel.load_end,
			      (unsigned long long)t.kernel.entry, t.kernel.is_pvh ? " (PVH)" : "");
		assert_int_not_equal(*(const uint32_t *)test_at(&t, t.kernel.entry & ~3ull, 4), 0);
		test_board_drop(&t);
	}
	free(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reports_where_the_kernel_lies),
		cmocka_unit_test(refuses_what_is_broken),
		cmocka_unit_test(refuses_every_truncation),
		cmocka_unit_test(refuses_what_is_no_file),
		cmocka_unit_test(no_setup_sectors_mean_four),
		cmocka_unit_test(loads_the_kernel_and_not_one_byte_more),
		cmocka_unit_test(loads_real_kernels),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
