/* test_boot.c - what fits, where it is put, and what the kernel is told about it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "arch/x86_64/pvh_wire.h"
#include "base/le.h"
#include "kernels.h"

static uint8_t initrd[100000];

static int elf_file(bool is_pvh)
{
	struct test_elf e;
	test_elf_make(&e);
	if (is_pvh)
		test_elf_be_pvh(&e);
	return test_file(&e, sizeof(e));
}

static int bzimage_file(void)
{
	struct test_bzimage z;
	test_bzimage_make(&z);
	return test_file(&z, sizeof(z));
}

static void load(struct test_board *t, uint64_t ram_bytes, int kernel_fd, bool has_initrd)
{
	const char *why = NULL;
	test_board_make(t, ram_bytes, kernel_fd);
	if (has_initrd) {
		memset(initrd, 0x99, sizeof(initrd));
		t->boot.initrd_fd = test_file(initrd, sizeof(initrd));
		t->boot.initrd_bytes = sizeof(initrd);
	}
	assert_int_equal(machine_check_boot(&t->boot, &why), 0);
	assert_int_equal(machine_load(&t->boot, NULL, t->ram, &why), 0);
	assert_null(why);
}

/* --- the 64-bit entry --- */

static void boot_params_describe_a_bzimage(void **state)
{
	(void)state;
	struct test_board t;
	load(&t, 64 * MIB, bzimage_file(), true);
	const struct boot_params *z = test_at(&t, LAYOUT_ZERO_PAGE, sizeof(*z));
	assert_int_equal(z->hdr.header, 0x53726448);
	assert_int_equal(z->hdr.version, 0x020f);
	assert_int_equal(z->hdr.init_size, TEST_BZIMAGE_INIT); /* the file's header, whole */
	assert_int_equal(z->hdr.type_of_loader, 0xff);
	assert_int_equal(z->hdr.code32_start, TEST_BZIMAGE_START);
	assert_int_equal(z->hdr.cmd_line_ptr, LAYOUT_CMDLINE);
	assert_int_equal(z->hdr.ramdisk_size, sizeof(initrd));
	assert_int_equal(z->acpi_rsdp_addr, LAYOUT_ACPI);
	assert_int_equal(z->sentinel, 0);
	assert_string_equal(test_at(&t, LAYOUT_CMDLINE, 64), "console=ttyS0");
	/* the header ends where its jump goes: kernel_info_offset lies behind that */
	assert_int_equal(z->_pad7[0], 0);
	test_board_drop(&t);
}

static void the_header_is_copied_as_far_as_it_goes(void **state)
{
	(void)state;
	struct test_bzimage k;
	struct test_board t;
	test_bzimage_make(&k);
	k.hdr.jump = 0x62eb; /* ends after init_size: protocol 2.12 without what came later */
	k.hdr.handover_offset = 0x12345678;
	load(&t, 64 * MIB, test_file(&k, sizeof(k)), false);
	const struct boot_params *z = test_at(&t, LAYOUT_ZERO_PAGE, sizeof(*z));
	assert_int_equal(z->hdr.init_size, TEST_BZIMAGE_INIT);
	assert_int_equal(z->hdr.handover_offset, 0);
	test_board_drop(&t);
}

static void boot_params_are_made_up_for_elf(void **state)
{
	(void)state;
	struct test_board t;
	load(&t, 64 * MIB, elf_file(false), true);
	const struct boot_params *z = test_at(&t, LAYOUT_ZERO_PAGE, sizeof(*z));
	assert_int_equal(z->hdr.header, 0x53726448);
	assert_int_equal(z->hdr.boot_flag, 0xaa55);
	assert_int_equal(z->hdr.type_of_loader, 0xff);
	assert_int_equal(z->hdr.cmd_line_ptr, LAYOUT_CMDLINE);
	assert_int_equal(z->hdr.cmdline_size, 2047);
	assert_memory_equal(test_at(&t, z->hdr.ramdisk_image, sizeof(initrd)), initrd,
			    sizeof(initrd));
	test_board_drop(&t);
}

static void no_initrd_is_told_as_none(void **state)
{
	(void)state;
	struct test_board t;
	load(&t, 64 * MIB, bzimage_file(), false);
	const struct boot_params *z = test_at(&t, LAYOUT_ZERO_PAGE, sizeof(*z));
	assert_int_equal(z->hdr.ramdisk_image, 0);
	assert_int_equal(z->hdr.ramdisk_size, 0);
	test_board_drop(&t);
}

/* --- PVH --- */

static void start_info_leads_to_everything(void **state)
{
	(void)state;
	struct test_board t;
	load(&t, 64 * MIB, elf_file(true), true);
	const struct pvh_start_info *s = test_at(&t, LAYOUT_PVH_INFO, sizeof(*s));
	assert_int_equal(le32_get(s->magic), 0x336ec578);
	assert_int_equal(le32_get(s->version), 1);
	assert_int_equal(le64_get(s->rsdp), LAYOUT_ACPI);
	assert_string_equal(test_at(&t, le64_get(s->cmdline), 64), "console=ttyS0");
	assert_int_equal(le32_get(s->nr_modules), 1);
	const struct pvh_module *m = test_at(&t, le64_get(s->modlist), sizeof(*m));
	assert_int_equal(le64_get(m->bytes), sizeof(initrd));
	assert_memory_equal(test_at(&t, le64_get(m->start), sizeof(initrd)), initrd,
			    sizeof(initrd));
	assert_int_equal(le32_get(s->memmap_entries), 5);
	const struct pvh_memmap_entry *e = test_at(&t, le64_get(s->memmap), 5 * sizeof(*e));
	assert_int_equal(le64_get(e[2].start), MIB);
	assert_int_equal(le64_get(e[2].bytes), 63 * MIB);
	assert_int_equal(le32_get(e[2].type), 1);
	test_board_drop(&t);
}

/* --- memory map --- */

static const struct {
	uint64_t ram, low_end, high_bytes;
} maps[] = {
	{ 32 * MIB, 32 * MIB, 0 },       { 3 * GIB - 4096, 3 * GIB - 4096, 0 },
	{ 3 * GIB, 3 * GIB, 0 },         { 3 * GIB + 4096, 3 * GIB, 4096 },
	{ 64 * GIB, 3 * GIB, 61 * GIB },
};

static void the_memory_map_has_all_ram_and_no_more(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		struct test_board t;
		uint64_t ram = 0, end = 0;
		load(&t, maps[i].ram, bzimage_file(), false);
		const struct boot_params *z = test_at(&t, LAYOUT_ZERO_PAGE, sizeof(*z));
		for (unsigned j = 0; j < z->e820_entries; j++) {
			const struct boot_e820_entry *e = &z->e820_table[j];
			assert_true(e->addr >= end && e->size > 0); /* ascending, disjoint */
			end = e->addr + e->size;
			if (e->type == 1) {
				assert_non_null(gmem_host(t.ram, gpa(e->addr), e->size));
				ram += e->size;
			}
		}
		/* all but what lies between 639 KiB and 1 MiB */
		assert_int_equal(ram, maps[i].ram - (MIB - 0x9fc00));
		assert_int_equal(end,
				 maps[i].high_bytes ? 4 * GIB + maps[i].high_bytes : 0xff000000);
		test_board_drop(&t);
	}
}

/* --- the initrd --- */

static void the_initrd_lies_as_high_as_allowed(void **state)
{
	(void)state;
	static const struct {
		uint64_t ram;
		uint32_t max;
		uint64_t end;
	} rows[] = {
		{ 64 * MIB, 0x7fffffff, 64 * MIB },
		{ 64 * MIB, 0x2ffffff, 0x3000000 },
		{ 64 * MIB, 0x2fe8000 + 100000 - 2, 0x3000000 }, /* one byte less than fits */
		{ 64 * MIB, 0xffffffff, 64 * MIB },
		{ 4 * GIB, 0x7fffffff, 2 * GIB },
		{ 4 * GIB, 0xffffffff, 3 * GIB },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct test_bzimage k;
		struct test_board t;
		test_bzimage_make(&k);
		k.hdr.initrd_addr_max = rows[i].max;
		load(&t, rows[i].ram, test_file(&k, sizeof(k)), true);
		const struct boot_params *z = test_at(&t, LAYOUT_ZERO_PAGE, sizeof(*z));
		assert_int_equal(z->hdr.ramdisk_image % 4096, 0);
		assert_true(z->hdr.ramdisk_image + sizeof(initrd) - 1 <= rows[i].max);
		assert_int_equal(align_up(z->hdr.ramdisk_image + sizeof(initrd), 4096),
				 rows[i].end);
		assert_memory_equal(test_at(&t, z->hdr.ramdisk_image, sizeof(initrd)), initrd,
				    sizeof(initrd));
		test_board_drop(&t);
	}
}

static void the_initrd_may_fill_all_the_room(void **state)
{
	(void)state;
	struct test_board t;
	const char *why = NULL;
	const uint64_t room = 32 * MIB - (TEST_BZIMAGE_START + TEST_BZIMAGE_INIT);
	test_board_make(&t, 32 * MIB, bzimage_file());
	t.boot.initrd_fd = test_file(initrd, 1);
	t.boot.initrd_bytes = room;
	assert_int_equal(machine_check_boot(&t.boot, &why), 0);
	t.boot.initrd_bytes = room + 1;
	assert_int_equal(machine_check_boot(&t.boot, &why), -EFBIG);
	assert_non_null(strstr(why, "initrd"));
	test_board_drop(&t);
}

/* --- what does not fit --- */

static char long_line[LAYOUT_CMDLINE_MAX + 2];

#define BOOT(f)   offsetof(struct test_board, boot.f), sizeof(((struct machine_boot *)0)->f)
#define KERNEL(f) offsetof(struct test_board, kernel.f), sizeof(((struct kernel_info *)0)->f)

/* One change of a boot that fits; a command line of so many bytes, 0: leave it. */
static const struct {
	size_t off, len;
	uint64_t value;
	size_t line;
	int err;
	const char *why;
} misfits[] = {
	{ BOOT(ram_bytes), 19 * MIB - 1, 0, -E2BIG, "above the end of guest RAM" },
	{ BOOT(ram_bytes), 0, 0, -E2BIG, "above the end of guest RAM" },
	{ KERNEL(load_end), 3 * GIB, 0, -E2BIG, "above the end of guest RAM" },
	{ KERNEL(load_end), UINT64_MAX, 0, -E2BIG, "above the end of guest RAM" },
	{ BOOT(initrd_bytes), 48 * MIB, 0, -EFBIG, "initrd does not fit" },
	{ BOOT(initrd_bytes), UINT64_MAX, 0, -EFBIG, "initrd does not fit" },
	{ BOOT(initrd_bytes), 0, 0, -EINVAL, "initrd is empty" },
	{ KERNEL(initrd_max), 0, 0, -EFBIG, "initrd does not fit" },
	{ KERNEL(initrd_max), TEST_BZIMAGE_START, 0, -EFBIG, "initrd does not fit" },
	{ BOOT(nr_cpus), 0, 0, -E2BIG, "CPUs" },
	{ BOOT(nr_cpus), 1025, 0, -E2BIG, "CPUs" },
	{ BOOT(kernel), 0, 0, -EINVAL, "neither a kernel" },
	{ BOOT(kernel_fd), UINT32_MAX, 0, -EINVAL, "neither a kernel" },
	{ KERNEL(cmdline_max), 2047, 2048, -ENAMETOOLONG, "command line is longer" },
	{ KERNEL(cmdline_max), UINT32_MAX, LAYOUT_CMDLINE_MAX, -ENAMETOOLONG,
	  "command line is longer" },
};

static void refuses_what_does_not_fit(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(misfits); i++) {
		struct test_board t;
		const char *why = NULL;
		int kernel_fd = bzimage_file();
		test_board_make(&t, 64 * MIB, kernel_fd);
		t.boot.initrd_fd = test_file(initrd, 4096);
		t.boot.initrd_bytes = 4096;
		memset(long_line, 0, sizeof(long_line));
		memset(long_line, 'x', misfits[i].line);
		if (misfits[i].line)
			t.boot.cmdline = long_line;
		le_store((uint8_t *)&t + misfits[i].off, misfits[i].value,
			 (unsigned)misfits[i].len);
		int err = machine_check_boot(&t.boot, &why);
		if (err != misfits[i].err || !strstr(why, misfits[i].why))
			fail_msg("row %zu: error %d, \"%s\"", i, err, why ? why : "");
		assert_int_equal(machine_load(&t.boot, NULL, t.ram, &why), misfits[i].err);
		t.boot.kernel_fd = kernel_fd;
		test_board_drop(&t);
	}
}

static void a_command_line_of_the_limit_fits(void **state)
{
	(void)state;
	struct test_board t;
	test_board_make(&t, 64 * MIB, bzimage_file());
	memset(long_line, 0, sizeof(long_line));
	memset(long_line, 'x', 2047);
	t.boot.cmdline = long_line;
	test_board_load(&t);
	assert_memory_equal(test_at(&t, LAYOUT_CMDLINE, 2048), long_line, 2048);
	test_board_drop(&t);
}

static void an_initrd_that_shrank_is_refused(void **state)
{
	(void)state;
	struct test_board t;
	const char *why = NULL;
	test_board_make(&t, 64 * MIB, bzimage_file());
	t.boot.initrd_fd = test_file(initrd, 4095);
	t.boot.initrd_bytes = 4096;
	assert_int_equal(machine_load(&t.boot, NULL, t.ram, &why), -ENODATA);
	assert_non_null(strstr(why, "initrd"));
	test_board_drop(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(boot_params_describe_a_bzimage),
		cmocka_unit_test(the_header_is_copied_as_far_as_it_goes),
		cmocka_unit_test(boot_params_are_made_up_for_elf),
		cmocka_unit_test(no_initrd_is_told_as_none),
		cmocka_unit_test(start_info_leads_to_everything),
		cmocka_unit_test(the_memory_map_has_all_ram_and_no_more),
		cmocka_unit_test(the_initrd_lies_as_high_as_allowed),
		cmocka_unit_test(the_initrd_may_fill_all_the_room),
		cmocka_unit_test(refuses_what_does_not_fit),
		cmocka_unit_test(a_command_line_of_the_limit_fits),
		cmocka_unit_test(an_initrd_that_shrank_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
