/* kernel_files.c - a sound ELF kernel, a sound bzImage. */
#include "support/kernel_files.h"
#include <string.h>
#include "base/le.h"
#include "base/num.h"

static Elf64_Phdr test_load(size_t off, size_t bytes, uint64_t start, uint64_t end)
{
	return (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = off,
		.p_filesz = bytes,
		.p_paddr = start,
		.p_vaddr = 0xffffffff80000000ull + start,
		.p_memsz = end - start,
	};
}

static void test_elf_notes(struct test_elf *e)
{
	const size_t at = offsetof(struct test_elf, linux_note);
	e->ph[2] = (Elf64_Phdr){
		.p_type = PT_NOTE,
		.p_offset = at,
		.p_filesz = offsetof(struct test_elf, text) - at,
		.p_align = 4,
	};
	e->linux_note.n = (Elf64_Nhdr){ .n_namesz = 6, .n_descsz = 8, .n_type = 0x100 };
	memcpy(e->linux_note.name, "Limux", 6);
	e->pvh_note.n = (Elf64_Nhdr){ .n_namesz = 4, .n_descsz = 8, .n_type = 18 };
	memcpy(e->pvh_note.name, "Xem", 4);
	le_store(e->pvh_note.desc, TEST_ELF_PVH, 8);
}

void test_elf_make(struct test_elf *e)
{
	*e = (struct test_elf){ .eh = {
					.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB,
						     EV_CURRENT },
					.e_type = ET_EXEC,
					.e_machine = EM_X86_64,
					.e_version = EV_CURRENT,
					.e_entry = TEST_ELF_ENTRY,
					.e_phoff = offsetof(struct test_elf, ph),
					.e_ehsize = sizeof(Elf64_Ehdr),
					.e_phentsize = sizeof(Elf64_Phdr),
					.e_phnum = ARRAY_SIZE(e->ph),
				} };
	e->ph[0] = test_load(offsetof(struct test_elf, text), sizeof(e->text), TEST_ELF_TEXT,
			     TEST_ELF_TEXT + sizeof(e->text));
	e->ph[1] = test_load(offsetof(struct test_elf, data), sizeof(e->data), TEST_ELF_DATA,
			     TEST_ELF_END);
	test_elf_notes(e);
	memset(e->text, 0xcc, sizeof(e->text));
	memset(e->data, 0xdd, sizeof(e->data));
}

void test_elf_be_linux(struct test_elf *e)
{
	e->linux_note.name[2] = 'n';
}

void test_elf_be_pvh(struct test_elf *e)
{
	e->pvh_note.name[2] = 'n';
}

void test_bzimage_make(struct test_bzimage *z)
{
	*z = (struct test_bzimage){ .hdr = {
					    .setup_sects = 4,
					    .syssize = sizeof(z->code) / 16,
					    .boot_flag = 0xaa55,
					    .jump = 0x6aeb, /* header ends at 0x202 + 0x6a */
					    .header = 0x53726448,
					    .version = 0x020f,
					    .loadflags = LOADED_HIGH,
					    .initrd_addr_max = 0x7fffffff,
					    .kernel_alignment = 0x200000,
					    .relocatable_kernel = 1,
					    .xloadflags = XLF_KERNEL_64,
					    .cmdline_size = 2047,
					    .pref_address = TEST_BZIMAGE_START,
					    .init_size = TEST_BZIMAGE_INIT,
				    } };
	memset(z->setup, 0x55, sizeof(z->setup));
	memset(z->code, 0x66, sizeof(z->code));
}
