/* test_bios.c - firmware: where the image and its shadow lie, what is refused. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/le.h"
#include "kernels.h"

/* A board with an image of @bytes, every 4 KiB of which begins with its number. */
static void bios_board(struct test_board *t, size_t bytes)
{
	uint8_t *image = calloc(1, bytes + 1);
	assert_non_null(image);
	for (size_t at = 0; at + 4096 <= bytes; at += 4096)
		le_store(image + at, at / 4096 + 1, 4);
	test_board_make(t, 32 * MIB, -1);
	t->boot.bios_fd = test_file(image, bytes);
	test_rom = (struct test_rom){ 0 };
	free(image);
}

static void unmap_rom(void)
{
	assert_int_equal(munmap((void *)(uintptr_t)test_rom.host, test_rom.len), 0);
}

static void the_image_ends_at_4_gib(void **state)
{
	(void)state;
	static const size_t sizes[] = { 4096, 64 * KIB, 256 * KIB, 2 * MIB, 16 * MIB };
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct test_board t;
		const char *why = NULL;
		bios_board(&t, sizes[i]);
		assert_int_equal(machine_check_boot(&t.boot, &why), 0);
		test_board_load(&t);
		assert_int_equal(test_rom.len, sizes[i]);
		assert_int_equal(test_rom.start + test_rom.len, 4 * GIB);
		assert_int_equal(le_load(test_rom.host + sizes[i] - 4096, 4), sizes[i] / 4096);
		assert_true(test_rom.start >= LAYOUT_KVM_PAGES + LAYOUT_KVM_PAGES_LEN);
		unmap_rom();
		test_board_drop(&t);
	}
}

static void its_end_is_shadowed_below_1_mib(void **state)
{
	(void)state;
	struct test_board t;
	bios_board(&t, 256 * KIB);
	test_board_load(&t);
	assert_memory_equal(test_at(&t, 0xe0000, 128 * KIB), test_rom.host + 128 * KIB, 128 * KIB);
	assert_int_equal(le_load(test_at(&t, 0xdf000, 4), 4), 0);     /* nothing before */
	assert_int_equal(le_load(test_at(&t, LAYOUT_EBDA, 4), 4), 0); /* no tables of ours */
	unmap_rom();
	test_board_drop(&t);
	bios_board(&t, 8192);
	test_board_load(&t);
	assert_memory_equal(test_at(&t, 0xfe000, 8192), test_rom.host, 8192);
	unmap_rom();
	test_board_drop(&t);
}

static const struct {
	size_t bytes;
	int err;
	const char *why;
} broken[] = {
	{ 0, -ENODATA, "empty" },
	{ 1, -EINVAL, "multiple of 4 KiB" },
	{ 4095, -EINVAL, "multiple of 4 KiB" },
	{ 65537, -EINVAL, "multiple of 4 KiB" },
	{ 16 * MIB + 4096, -E2BIG, "larger than 16 MiB" },
};

static void refuses_images_of_odd_size(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		struct test_board t;
		const char *why = NULL;
		bios_board(&t, broken[i].bytes);
		assert_int_equal(machine_check_boot(&t.boot, &why), broken[i].err);
		assert_non_null(strstr(why, broken[i].why));
		assert_int_equal(machine_load(&t.boot, NULL, t.ram, &why), broken[i].err);
		assert_int_equal(test_rom.len, 0); /* never got so far */
		test_board_drop(&t);
	}
}

static void refuses_a_kernel_beside_it(void **state)
{
	(void)state;
	struct test_elf e;
	struct test_board t;
	const char *why = NULL;
	test_elf_make(&e);
	bios_board(&t, 4096);
	t.boot.kernel_fd = test_file(&e, sizeof(e));
	assert_int_equal(machine_check_boot(&t.boot, &why), -EINVAL);
	assert_non_null(strstr(why, "exclude"));
	test_board_drop(&t);
}

static void a_mapping_that_fails_is_reported(void **state)
{
	(void)state;
	struct test_board t;
	const char *why = NULL;
	bios_board(&t, 4096);
	test_rom.answer = -ENOSPC;
	assert_int_equal(machine_load(&t.boot, NULL, t.ram, &why), -ENOSPC);
	test_board_drop(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_image_ends_at_4_gib),
		cmocka_unit_test(its_end_is_shadowed_below_1_mib),
		cmocka_unit_test(refuses_images_of_odd_size),
		cmocka_unit_test(refuses_a_kernel_beside_it),
		cmocka_unit_test(a_mapping_that_fails_is_reported),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
