/* kernels.c - a board to load kernels. */
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

void test_board_make_elf(struct test_board *t, uint64_t ram_bytes)
{
	struct test_elf e;
	test_elf_make(&e);
	test_board_make(t, ram_bytes, test_file(&e, sizeof(e)));
}

void test_board_load(struct test_board *t)
{
	const char *why = NULL;
	assert_int_equal(machine_load(&t->boot, NULL, t->ram, &why), 0);
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
