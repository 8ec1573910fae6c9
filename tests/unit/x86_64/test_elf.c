/* test_elf.c - ELF kernels: what is accepted, where it goes, and every way to be refused. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "kernels.h"

static struct kernel_info probe(const struct test_elf *e)
{
	struct kernel_info k;
	const char *why = NULL;
	int fd = test_file(e, sizeof(*e));
	assert_int_equal(machine_probe_kernel(&k, fd, &why), 0);
	assert_null(why);
	close(fd);
	return k;
}

static void reports_where_the_kernel_lies(void **state)
{
	(void)state;
	struct test_elf e;
	test_elf_make(&e);
	struct kernel_info k = probe(&e);
	assert_int_equal(k.format, KERNEL_ELF);
	assert_int_equal(k.load_start, TEST_ELF_TEXT);
	assert_int_equal(k.load_end, TEST_ELF_END);
	assert_int_equal(k.cmdline_max, 2047);
	assert_int_equal(k.initrd_max, UINT32_MAX);
}

static void enters_at_e_entry_without_notes(void **state)
{
	(void)state;
	struct test_elf e;
	test_elf_make(&e);
	assert_false(probe(&e).is_pvh);
	assert_int_equal(probe(&e).entry, TEST_ELF_ENTRY);
}

static void enters_by_pvh_where_only_that_is_known(void **state)
{
	(void)state;
	struct test_elf e;
	test_elf_make(&e);
	test_elf_be_pvh(&e);
	assert_true(probe(&e).is_pvh);
	assert_int_equal(probe(&e).entry, TEST_ELF_PVH);
	e.pvh_note.n.n_descsz = 4; /* as some write it */
	e.ph[2].p_filesz -= 4;
	assert_true(probe(&e).is_pvh);
}

static void enters_linux_in_64_bit_mode_even_with_pvh(void **state)
{
	(void)state;
	struct test_elf e;
	test_elf_make(&e);
	test_elf_be_pvh(&e);
	test_elf_be_linux(&e);
	assert_false(probe(&e).is_pvh);
	assert_int_equal(probe(&e).entry, TEST_ELF_ENTRY);
	e.eh.e_entry = 0xffffffff81000010; /* virtual: of no use */
	assert_true(probe(&e).is_pvh);
}

static void ignores_notes_that_reach_too_far(void **state)
{
	(void)state;
	struct test_elf e;
	test_elf_make(&e);
	test_elf_be_pvh(&e);
	static const uint32_t huge[] = { 0x7fffffff, 0xffffffff, 0xfffffff0, 60 };
	for (size_t i = 0; i < ARRAY_SIZE(huge); i++) {
		e.linux_note.n.n_namesz = huge[i];
		assert_false(probe(&e).is_pvh);
		e.linux_note.n.n_namesz = 6;
		e.linux_note.n.n_descsz = huge[i];
		assert_false(probe(&e).is_pvh);
		e.linux_note.n.n_descsz = 8;
	}
	e.pvh_note.n.n_descsz = 2; /* no address */
	assert_false(probe(&e).is_pvh);
}

#define EH(f)    offsetof(struct test_elf, eh.f), sizeof(((Elf64_Ehdr *)0)->f)
#define ID(i)    offsetof(struct test_elf, eh.e_ident[i]), 1
#define PH(i, f) offsetof(struct test_elf, ph[i].f), sizeof(((Elf64_Phdr *)0)->f)
#define NO_ELF   -ENOEXEC

static const struct test_broken broken[] = {
	{ "magic", { { ID(0), 0x7e } }, NO_ELF, "neither an ELF file nor a bzImage" },
	{ "magic, last byte", { { ID(3), 'f' } }, NO_ELF, "neither an ELF file nor a bzImage" },
	{ "32 bits", { { ID(EI_CLASS), ELFCLASS32 } }, NO_ELF, "32-bit" },
	{ "no class", { { ID(EI_CLASS), 0 } }, NO_ELF, "32-bit" },
	{ "big-endian", { { ID(EI_DATA), ELFDATA2MSB } }, NO_ELF, "another processor" },
	{ "version 0", { { ID(EI_VERSION), 0 } }, NO_ELF, "not an executable" },
	{ "arm64", { { EH(e_machine), EM_AARCH64 } }, NO_ELF, "another processor" },
	{ "i386", { { EH(e_machine), EM_386 } }, NO_ELF, "another processor" },
	{ "relocatable", { { EH(e_type), ET_REL } }, NO_ELF, "not an executable" },
	{ "shared object", { { EH(e_type), ET_DYN } }, NO_ELF, "not an executable" },
	{ "core dump", { { EH(e_type), ET_CORE } }, NO_ELF, "not an executable" },
	{ "no headers", { { EH(e_phnum), 0 } }, NO_ELF, "without program headers" },
	{ "65 headers", { { EH(e_phnum), 65 } }, NO_ELF, "too many" },
	{ "PN_XNUM headers", { { EH(e_phnum), 0xffff } }, NO_ELF, "too many" },
	{ "short headers", { { EH(e_phentsize), 32 } }, NO_ELF, "odd size" },
	{ "long headers", { { EH(e_phentsize), 57 } }, NO_ELF, "odd size" },
	{ "no header size", { { EH(e_phentsize), 0 } }, NO_ELF, "odd size" },
	{ "headers past the end",
	  { { EH(e_phoff), sizeof(struct test_elf) } },
	  -ENODATA,
	  "headers" },
	{ "headers half past", { { EH(e_phnum), 64 } }, -ENODATA, "program headers" },
	{ "headers that wrap", { { EH(e_phoff), UINT64_MAX - 8 } }, -ENODATA, "program headers" },
	{ "headers at 2^63", { { EH(e_phoff), 1ull << 63 } }, -ENODATA, "program headers" },
	{ "nothing to load",
	  { { PH(0, p_type), PT_NULL }, { PH(1, p_type), PT_NULL } },
	  NO_ELF,
	  "nothing to load" },
	{ "empty segments only",
	  { { PH(0, p_type), PT_NULL }, { PH(1, p_filesz), 0 }, { PH(1, p_memsz), 0 } },
	  NO_ELF,
	  "nothing to load" },
	{ "larger in the file", { { PH(0, p_filesz), 65 } }, NO_ELF, "larger in the file" },
	{ "no memory", { { PH(0, p_memsz), 0 } }, NO_ELF, "larger in the file" },
	{ "bytes past the end", { { PH(1, p_filesz), 33 } }, -ENODATA, "one of its segments" },
	{ "offset past the end",
	  { { PH(1, p_offset), 1 << 20 } },
	  -ENODATA,
	  "one of its segments" },
	{ "offset that wraps", { { PH(1, p_offset), UINT64_MAX } }, NO_ELF, "wraps" },
	{ "address that wraps", { { PH(1, p_paddr), UINT64_MAX - 16 } }, NO_ELF, "wraps" },
	{ "size that wraps", { { PH(1, p_memsz), UINT64_MAX } }, NO_ELF, "wraps" },
	{ "address 0", { { PH(0, p_paddr), 0 } }, NO_ELF, "below 1 MiB" },
	{ "over the tables", { { PH(0, p_paddr), 0x9fc00 } }, NO_ELF, "below 1 MiB" },
	{ "1 byte below 1 MiB", { { PH(0, p_paddr), MIB - 1 } }, NO_ELF, "below 1 MiB" },
	{ "in the hole", { { PH(1, p_paddr), 0xc0000000 } }, -E2BIG, "3 GiB" },
	{ "into the hole", { { PH(1, p_paddr), 0xbfffffff } }, -E2BIG, "3 GiB" },
	{ "above 4 GiB", { { PH(1, p_paddr), 1ull << 32 } }, -E2BIG, "3 GiB" },
	{ "1 TiB of zeros", { { PH(1, p_memsz), 1ull << 40 } }, -E2BIG, "3 GiB" },
	{ "same address", { { PH(1, p_paddr), TEST_ELF_TEXT } }, NO_ELF, "overlap" },
	{ "overlap by a byte", { { PH(1, p_paddr), TEST_ELF_TEXT + 63 } }, NO_ELF, "overlap" },
	{ "one in the other", { { PH(1, p_paddr), TEST_ELF_TEXT - 0x800 } }, NO_ELF, "overlap" },
	{ "entry 0", { { EH(e_entry), 0 } }, NO_ELF, "entry point" },
	{ "entry below", { { EH(e_entry), TEST_ELF_TEXT - 1 } }, NO_ELF, "entry point" },
	{ "entry behind", { { EH(e_entry), TEST_ELF_TEXT + 64 } }, NO_ELF, "entry point" },
	{ "entry in zeros", { { EH(e_entry), TEST_ELF_DATA + 32 } }, NO_ELF, "entry point" },
	{ "entry all ones", { { EH(e_entry), UINT64_MAX } }, NO_ELF, "entry point" },
	{ "notes past the end", { { PH(2, p_offset), 1 << 20 } }, -ENODATA, "notes" },
	{ "notes that wrap", { { PH(2, p_offset), UINT64_MAX } }, -ENODATA, "notes" },
	{ "endless notes", { { PH(2, p_filesz), UINT64_MAX } }, -ENODATA, "notes" },
	{ "PVH entry outside",
	  { { offsetof(struct test_elf, pvh_note.name[2]), 1, 'n' },
	    { offsetof(struct test_elf, pvh_note.desc), 8, 0x100 } },
	  NO_ELF,
	  "PVH entry" },
};

static void refuses_what_is_broken(void **state)
{
	(void)state;
	struct test_elf e;
	test_elf_make(&e);
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++)
		test_expect_refusal(&broken[i], &e, sizeof(e));
}

static void refuses_every_truncation(void **state)
{
	(void)state;
	struct test_elf e;
	test_elf_make(&e);
	for (size_t len = 0; len < sizeof(e); len++) {
		struct kernel_info k;
		const char *why = NULL;
		int fd = test_file(&e, len);
		int err = machine_probe_kernel(&k, fd, &why);
		assert_int_equal(err, len >= 1 && len < 4 ? -ENOEXEC : -ENODATA);
		assert_non_null(why);
		close(fd);
	}
}

static void loads_segments_and_not_one_byte_more(void **state)
{
	(void)state;
	struct test_elf e;
	struct test_board t;
	test_elf_make(&e);
	test_board_make(&t, 32 * MIB, test_file(&e, sizeof(e)));
	test_board_load(&t);
	const uint8_t *text = test_at(&t, TEST_ELF_TEXT - 1, sizeof(e.text) + 2);
	assert_memory_equal(text + 1, e.text, sizeof(e.text));
	assert_int_equal(text[0], 0);
	assert_int_equal(text[1 + sizeof(e.text)], 0);
	const uint8_t *data = test_at(&t, TEST_ELF_DATA - 1, sizeof(e.data) + 2);
	assert_memory_equal(data + 1, e.data, sizeof(e.data));
	assert_int_equal(data[0], 0);
	assert_int_equal(data[1 + sizeof(e.data)], 0);
	test_board_drop(&t);
}

static void survives_a_file_that_shrinks_after_the_probe(void **state)
{
	(void)state;
	struct test_elf e;
	struct test_board t;
	const char *why = NULL;
	test_elf_make(&e);
	test_board_make(&t, 32 * MIB, test_file(&e, sizeof(e)));
	assert_int_equal(ftruncate(t.boot.kernel_fd, sizeof(e) - 1), 0);
	assert_int_equal(machine_load(&t.boot, NULL, t.ram, &why), -ENODATA);
	assert_non_null(why);
	test_board_drop(&t);
}

/* A descriptor that may only be written: each read fails. */
static void says_why_when_the_file_cannot_be_read(void **state)
{
	(void)state;
	struct test_elf e;
	struct kernel_info k;
	const char *why = NULL;
	char path[64];
	test_elf_make(&e);
	int fd = test_file(&e, sizeof(e));
	assert_true(snprintf(path, sizeof(path), "/proc/self/fd/%d", fd) > 0);
	int blind = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(blind >= 0);
	assert_int_equal(machine_probe_kernel(&k, blind, &why), -EBADF);
	assert_non_null(why);
	close(blind);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reports_where_the_kernel_lies),
		cmocka_unit_test(enters_at_e_entry_without_notes),
		cmocka_unit_test(enters_by_pvh_where_only_that_is_known),
		cmocka_unit_test(enters_linux_in_64_bit_mode_even_with_pvh),
		cmocka_unit_test(ignores_notes_that_reach_too_far),
		cmocka_unit_test(refuses_what_is_broken),
		cmocka_unit_test(refuses_every_truncation),
		cmocka_unit_test(loads_segments_and_not_one_byte_more),
		cmocka_unit_test(survives_a_file_that_shrinks_after_the_probe),
		cmocka_unit_test(says_why_when_the_file_cannot_be_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
