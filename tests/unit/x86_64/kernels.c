/* kernels.c - kernels made in memory, and a board to load them. */
#include "kernels.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/le.h"

/* In place of the hypervisor's: what was mapped last. */
struct test_rom test_rom;
MUST_CHECK int __wrap_hv_map_rom(struct hv *h, uint64_t start, const void *host, uint64_t len);
int __wrap_hv_map_rom(struct hv *h, uint64_t start, const void *host, uint64_t len)
{
	(void)h;
	test_rom.start = start;
	test_rom.host = host;
	test_rom.len = len;
	return test_rom.answer;
}

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

int test_file(const void *bytes, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	return fd;
}

void test_expect_refusal(const struct test_broken *row, const void *file, size_t len)
{
	uint8_t *copy = malloc(len);
	assert_non_null(copy);
	memcpy(copy, file, len);
	for (unsigned i = 0; i < ARRAY_SIZE(row->p); i++)
		le_store(copy + row->p[i].off, row->p[i].value, row->p[i].len);
	int fd = test_file(copy, len);
	struct kernel_info k = { .entry = 1 };
	const char *why = NULL;
	int err = machine_probe_kernel(&k, fd, &why);
	if (err != row->err || !why || !strstr(why, row->why))
		fail_msg("%s: error %d, \"%s\"", row->what, err, why ? why : "no reason");
	assert_int_equal(k.entry, 1); /* untouched */
	close(fd);
	free(copy);
}

void test_board_make(struct test_board *t, uint64_t ram_bytes, int kernel_fd)
{
	static const struct gmem_place plain = { GMEM_PAGES_4K, false, PLACE_NODE_ANY };
	struct gmem_extent e[2];
	const char *why = NULL;
	*t = (struct test_board){ 0 };
	assert_int_equal(gmem_create(&t->ram, e, machine_ram_extents(ram_bytes, e), &plain), 0);
	machine_pci_windows(ram_bytes, 40, &t->pci);
	if (kernel_fd >= 0)
		assert_int_equal(machine_probe_kernel(&t->kernel, kernel_fd, &why), 0);
	t->boot = (struct machine_boot){
		.kernel_fd = kernel_fd,
		.kernel = kernel_fd >= 0 ? &t->kernel : NULL,
		.initrd_fd = -1,
		.cmdline = "console=ttyS0",
		.bios_fd = -1,
		.ram_bytes = ram_bytes,
		.nr_cpus = 2,
		.pci = &t->pci,
	};
}

void test_board_drop(struct test_board *t)
{
	gmem_destroy(t->ram);
	if (t->boot.kernel_fd >= 0)
		close(t->boot.kernel_fd);
	if (t->boot.initrd_fd >= 0)
		close(t->boot.initrd_fd);
	if (t->boot.bios_fd >= 0)
		close(t->boot.bios_fd);
}

const void *test_at(const struct test_board *t, uint64_t addr, size_t len)
{
	const void *p = gmem_host(t->ram, gpa(addr), len);
	assert_non_null(p);
	return p;
}

uint8_t test_sum(const void *p, size_t len)
{
	const uint8_t *bytes = p;
	uint8_t sum = 0;
	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + bytes[i]);
	return sum;
}

uint64_t test_acpi_table(const struct test_board *t, const char *signature)
{
	uint64_t xsdt = le_load(test_at(t, LAYOUT_ACPI + 24, 8), 8);
	uint64_t len = le_load(test_at(t, xsdt + 4, 4), 4);
	for (uint64_t at = xsdt + 36; at + 8 <= xsdt + len; at += 8) {
		uint64_t table = le_load(test_at(t, at, 8), 8);
		if (memcmp(test_at(t, table, 4), signature, 4) == 0)
			return table;
	}
	return 0;
}
