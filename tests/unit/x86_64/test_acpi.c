/* test_acpi.c - the ACPI tables: found, summed, consistent, and readable by ACPICA's compiler. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "arch/x86_64/acpi_wire.h"
#include "kernels.h"

static void load(struct test_board *t, uint64_t ram_bytes, unsigned nr_cpus)
{
	test_board_make_elf(t, ram_bytes);
	t->boot.nr_cpus = nr_cpus;
	test_board_load(t);
}

/* Table @signature, its checksum proven. */
static const void *table_of(const struct test_board *t, const char *signature, uint32_t *len)
{
	uint64_t at = test_acpi_table(t, signature);
	assert_int_not_equal(at, 0);
	*len = (uint32_t)le_load(test_at(t, at + 4, 4), 4);
	const void *p = test_at(t, at, *len);
	assert_int_equal(test_sum(p, *len), 0);
	return p;
}

static const struct acpi_fadt *fadt_of(const struct test_board *t)
{
	uint32_t len;
	const struct acpi_fadt *f = table_of(t, "FACP", &len);
	assert_int_equal(len, 276);
	return f;
}

static void rsdp_leads_to_every_table(void **state)
{
	(void)state;
	struct test_board t;
	uint32_t len;
	load(&t, 64 * MIB, 2);
	const struct acpi_rsdp *r = test_at(&t, LAYOUT_ACPI, sizeof(*r));
	assert_memory_equal(r->signature, "RSD PTR ", 8);
	assert_int_equal(r->revision, 2);
	assert_int_equal(test_sum(r, 20), 0);
	assert_int_equal(test_sum(r, 36), 0);
	const char *const all[] = { "FACP", "APIC", "MCFG" };
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		(void)table_of(&t, all[i], &len);
	test_board_drop(&t);
}

static void fadt_names_the_fixed_hardware(void **state)
{
	(void)state;
	struct test_board t;
	load(&t, 64 * MIB, 1);
	const struct acpi_fadt *f = fadt_of(&t);
	assert_int_equal(le16_get(f->sci_int), 9);
	assert_int_equal(le32_get(f->pm1a_evt), 0x600);
	assert_int_equal(le32_get(f->pm1a_cnt), 0x604);
	assert_int_equal(le32_get(f->pm_tmr), 0x608);
	assert_int_equal(f->pm1_evt_len, 4);
	assert_int_equal(f->pm1_cnt_len, 2);
	assert_int_equal(f->pm_tmr_len, 4);
	assert_int_equal(f->century, 0x32);
	assert_int_equal(le32_get(f->smi_cmd), 0);
	assert_int_equal(f->reset_register.space, ACPI_SPACE_IO);
	assert_int_equal(le64_get(f->reset_register.address), 0xcf9);
	assert_int_equal(f->reset_value, 6);
	assert_int_equal(le32_get(f->flags) & 1u << 20, 0);      /* not hardware-reduced */
	assert_int_equal(le32_get(f->flags) & 1u << 4, 0);       /* a fixed power button */
	assert_int_equal(le32_get(f->flags) & 1u << 8, 1u << 8); /* a timer of 32 bits */
	assert_int_equal(le16_get(f->boot_arch) & 1u << 1, 0);   /* no 8042 to probe */
	assert_int_equal(le64_get(f->x_pm_tmr.address), 0x608);
	test_board_drop(&t);
}

static void fadt_leads_to_facs_and_dsdt(void **state)
{
	(void)state;
	struct test_board t;
	load(&t, 64 * MIB, 1);
	const struct acpi_fadt *f = fadt_of(&t);
	assert_int_equal(le32_get(f->facs) % 64, 0);
	assert_memory_equal(test_at(&t, le32_get(f->facs), 64), "FACS", 4);
	uint64_t dsdt = le64_get(f->x_dsdt);
	assert_int_equal(le32_get(f->dsdt), dsdt);
	size_t len = (size_t)le_load(test_at(&t, dsdt + 4, 4), 4);
	assert_memory_equal(test_at(&t, dsdt, 4), "DSDT", 4);
	assert_int_equal(test_sum(test_at(&t, dsdt, len), len), 0);
	test_board_drop(&t);
}

/* What a MADT holds, by kind of entry. */
struct madt_count {
	unsigned lapic, x2apic, ioapic, overrides, nmi;
	uint32_t last_id;
};

static struct madt_count count_madt(const struct test_board *t)
{
	struct madt_count c = { 0 };
	uint32_t len;
	const uint8_t *p = table_of(t, "APIC", &len);
	assert_int_equal(le_load(p + 36, 4), LAYOUT_LAPIC);
	for (uint32_t at = 44; at < len; at += p[at + 1]) {
		assert_true(p[at + 1] >= 6 && p[at + 1] <= len - at);
		c.lapic += p[at] == MADT_LAPIC;
		c.x2apic += p[at] == MADT_X2APIC;
		c.ioapic += p[at] == MADT_IOAPIC;
		c.overrides += p[at] == MADT_OVERRIDE;
		c.nmi += p[at] == MADT_LAPIC_NMI || p[at] == MADT_X2APIC_NMI;
		if (p[at] == MADT_LAPIC)
			assert_int_equal(p[at + 3], c.last_id++);
		if (p[at] == MADT_X2APIC)
			assert_int_equal(le_load(p + at + 4, 4), c.last_id++);
	}
	return c;
}

static void madt_lists_every_cpu_once(void **state)
{
	(void)state;
	static const struct {
		unsigned cpus, lapic, x2apic, nmi;
	} rows[] = {
		{ 1, 1, 0, 1 },     { 2, 2, 0, 1 },       { 255, 255, 0, 1 },
		{ 256, 255, 1, 2 }, { 512, 255, 257, 2 }, { 1024, 255, 769, 2 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct test_board t;
		load(&t, 64 * MIB, rows[i].cpus);
		struct madt_count c = count_madt(&t);
		assert_int_equal(c.lapic, rows[i].lapic);
		assert_int_equal(c.x2apic, rows[i].x2apic);
		assert_int_equal(c.nmi, rows[i].nmi);
		assert_int_equal(c.ioapic, 1);
		assert_int_equal(c.overrides, 2);
		test_board_drop(&t);
	}
}

static void madt_names_cpus_by_their_apic_id(void **state)
{
	(void)state;
	struct test_board t;
	uint32_t len;
	test_board_make_elf(&t, 64 * MIB);
	t.boot.nr_cpus = 6;
	t.boot.topology = (struct machine_topology){ 1, 3, 1, 2 };
	test_board_load(&t);
	const uint8_t *p = (const uint8_t *)table_of(&t, "APIC", &len) + 44;
	static const uint8_t want[] = { 0, 1, 2, 4, 5, 6 };
	for (uint8_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_int_equal(p[8 * i], MADT_LAPIC);
		assert_int_equal(p[8 * i + 2], i); /* as in the DSDT */
		assert_int_equal(p[8 * i + 3], want[i]);
	}
	test_board_drop(&t);
}

static void mcfg_covers_the_buses_there_are(void **state)
{
	(void)state;
	struct test_board t;
	uint32_t len;
	load(&t, 64 * MIB, 1);
	const struct acpi_mcfg *c = table_of(&t, "MCFG", &len);
	assert_int_equal(len, 60);
	assert_int_equal(le64_get(c->base), 0xe0000000);
	assert_int_equal(c->bus_first, 0);
	assert_int_equal(c->bus_last, 0);
	test_board_drop(&t);
}

/* --- iasl --- */

static int run_iasl(const char *dir, char *const argv[])
{
	pid_t pid = fork();
	if (pid == 0) {
		if (chdir(dir) == 0) {
			int fd = open("iasl.log", O_WRONLY | O_CREAT | O_APPEND, 0600);
			(void)dup2(fd, 1);
			(void)dup2(fd, 2);
			(void)execvp("iasl", argv);
		}
		_exit(errno == ENOENT ? 127 : 126);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void save_table(const struct test_board *t, const char *dir, const char *name, uint64_t at)
{
	char path[128];
	size_t len = (size_t)le_load(test_at(t, at + 4, 4), 4);
	(void)snprintf(path, sizeof(path), "%s/%s.dat", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, test_at(t, at, len), len), len);
	close(fd);
}

/* Number of lines of @dir/@file that contain @what. */
static unsigned count_lines(const char *dir, const char *file, const char *what)
{
	char path[128], line[4096];
	unsigned n = 0;
	(void)snprintf(path, sizeof(path), "%s/%s", dir, file);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, what) != NULL;
	(void)fclose(f);
	return n;
}

static void remove_dir(const char *dir)
{
	char command[160];
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	assert_int_equal(system(command), 0);
}

static void acpica_reads_and_compiles_the_tables(void **state)
{
	(void)state;
	char dir[] = "/tmp/vmm-acpi-XXXXXX";
	static const char *const names[] = { "FACP", "APIC", "MCFG" };
	struct test_board t;
	assert_non_null(mkdtemp(dir));
	load(&t, 5 * GIB, 3);
	save_table(&t, dir, "DSDT", le64_get(fadt_of(&t)->x_dsdt));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		save_table(&t, dir, names[i], test_acpi_table(&t, names[i]));
	test_board_drop(&t);
	int status = run_iasl(dir, (char *[]){ "iasl", "-d", "DSDT.dat", "FACP.dat", "APIC.dat",
					       "MCFG.dat", NULL });
	if (status == 127) {
		remove_dir(dir);
		print_message("iasl is not installed: package acpica-tools\n");
		skip();
	}
	assert_int_equal(status, 0);
	assert_int_equal(run_iasl(dir, (char *[]){ "iasl", "-we", "-vr", "DSDT.dsl", NULL }), 0);
	assert_int_equal(count_lines(dir, "DSDT.dsl", "Device (C0"), 3);
	assert_int_equal(count_lines(dir, "DSDT.dsl", "Device (COM"), 4);
	assert_int_equal(count_lines(dir, "DSDT.dsl", "EisaId (\"PNP0A08\")"), 1);
	assert_int_equal(count_lines(dir, "DSDT.dsl", "EisaId (\"PNP0501\")"), 4);
	assert_int_equal(count_lines(dir, "DSDT.dsl", "QWordMemory ("), 1);
	assert_int_equal(count_lines(dir, "DSDT.dsl", "0x0000000180000000, // Range Minimum"), 1);
	assert_int_equal(count_lines(dir, "FACP.dsl", "Warning") +
				 count_lines(dir, "FACP.dsl", "rror :"),
			 0);
	assert_int_equal(count_lines(dir, "APIC.dsl", "Interrupt Source Override"), 2);
	remove_dir(dir);
}

/* --- the user's tables --- */

static struct acpi_header *table_make(void *buf, const char *signature, uint32_t len)
{
	struct acpi_header *h = buf;
	memset(buf, 0x11, len);
	memcpy(h->signature, signature, 4);
	h->length = le32_of(len);
	h->checksum = 0;
	h->checksum = (uint8_t)(0u - test_sum(buf, len));
	return h;
}

static void extra_tables_are_listed_and_a_dsdt_replaces_ours(void **state)
{
	(void)state;
	static uint8_t ssdt[50], dsdt[70000];
	struct test_board t;
	uint32_t len;
	const char *why = NULL;
	table_make(ssdt, "SSDT", sizeof(ssdt));
	table_make(dsdt, "DSDT", sizeof(dsdt));
	int fds[] = { test_file(ssdt, sizeof(ssdt)), test_file(dsdt, sizeof(dsdt)) };
	test_board_make_elf(&t, 64 * MIB);
	t.boot.acpi_table_fds = fds;
	t.boot.nr_acpi_tables = 2;
	assert_int_equal(machine_check_boot(&t.boot, &why), 0);
	test_board_load(&t);
	assert_memory_equal(table_of(&t, "SSDT", &len), ssdt, sizeof(ssdt));
	uint64_t at = le64_get(fadt_of(&t)->x_dsdt);
	assert_memory_equal(test_at(&t, at, sizeof(dsdt)), dsdt, sizeof(dsdt));
	/* 50 bytes and 70000, each to the next 16, in whole pages at the end of RAM */
	const struct boot_params *z = test_at(&t, LAYOUT_ZERO_PAGE, sizeof(*z));
	assert_int_equal(z->e820_table[3].type, 3);
	assert_int_equal(z->e820_table[3].addr, 64 * MIB - 18 * 4096);
	assert_int_equal(z->e820_table[3].size, 18 * 4096);
	close(fds[0]);
	close(fds[1]);
	test_board_drop(&t);
}

static void expect_table_refused(const void *table, size_t len, unsigned times, int err,
				 const char *part)
{
	struct test_board t;
	const char *why = NULL;
	int fds[40];
	for (unsigned i = 0; i < times; i++)
		fds[i] = test_file(table, len);
	test_board_make_elf(&t, 48 * MIB);
	t.boot.acpi_table_fds = fds;
	t.boot.nr_acpi_tables = times;
	assert_int_equal(machine_check_boot(&t.boot, &why), err);
	assert_non_null(why);
	assert_non_null(strstr(why, part));
	for (unsigned i = 0; i < times; i++)
		close(fds[i]);
	test_board_drop(&t);
}

static void refuses_tables_that_are_broken(void **state)
{
	(void)state;
	static uint8_t t[MIB + 1];
	table_make(t, "SSDT", 100);
	expect_table_refused(t, 0, 1, -EINVAL, "shorter");
	expect_table_refused(t, 35, 1, -EINVAL, "shorter");
	expect_table_refused(t, 99, 1, -EINVAL, "length");
	expect_table_refused(t, 101, 1, -EINVAL, "length");
	expect_table_refused(t, 100, 33, -E2BIG, "too many");
	t[50] ^= 1;
	expect_table_refused(t, 100, 1, -EINVAL, "checksum");
	table_make(t, "DSDT", 100);
	expect_table_refused(t, 100, 2, -EINVAL, "two ACPI tables");
	table_make(t, "SSDT", sizeof(t));
	expect_table_refused(t, sizeof(t), 1, -E2BIG, "larger than 1 MiB");
	table_make(t, "SSDT", MIB); /* of 48 MiB the kernel leaves 30 */
	expect_table_refused(t, MIB, 32, -E2BIG, "do not fit");
}

static void refuses_tables_of_the_board(void **state)
{
	(void)state;
	static const char *const own[] = { "RSDT", "XSDT", "FACP", "FACS", "APIC", "MCFG" };
	uint8_t t[64];
	for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
		table_make(t, own[i], sizeof(t));
		expect_table_refused(t, sizeof(t), 1, -EINVAL, "board makes itself");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rsdp_leads_to_every_table),
		cmocka_unit_test(fadt_names_the_fixed_hardware),
		cmocka_unit_test(fadt_leads_to_facs_and_dsdt),
		cmocka_unit_test(madt_lists_every_cpu_once),
		cmocka_unit_test(madt_names_cpus_by_their_apic_id),
		cmocka_unit_test(mcfg_covers_the_buses_there_are),
		cmocka_unit_test(acpica_reads_and_compiles_the_tables),
		cmocka_unit_test(extra_tables_are_listed_and_a_dsdt_replaces_ours),
		cmocka_unit_test(refuses_tables_that_are_broken),
		cmocka_unit_test(refuses_tables_of_the_board),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
