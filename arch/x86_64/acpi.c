/*
 * acpi.c - RSDP, XSDT, FADT, FACS, MADT, MCFG, and the tables a user adds. ACPI 6.5 §5.2.
 *
 * Ours are built in one buffer that mirrors the area at LAYOUT_ACPI. The user's lie at the end of
 * low RAM; a DSDT among them takes the place of ours.
 */
#include "acpi_wire.h"
#include "base/err.h"
#include "base/num.h"
#include "boot_priv.h"

#define ACPI_EXTRA_MAX   MIB /* bytes of one table */
#define ACPI_NR_EXTRA    32u
#define ACPI_EXTRA_ALIGN 16u
#define ACPI_PAGE        4096u
#define ACPI_OEM         "VMM   "
#define ACPI_OEM_TABLE   "VMMBOARD"
#define ACPI_CREATOR     "VMM "

/* --- the user's tables --- */

static const struct {
	char signature[5];
} acpi_own[] = { { "RSDT" }, { "XSDT" }, { "FACP" }, { "FACS" }, { "APIC" }, { "MCFG" } };

static int acpi_check_table(const uint8_t *t, size_t bytes, const char **why)
{
	const struct acpi_header *h = (const void *)t;
	if (le32_get(h->length) != bytes)
		return boot_refuse(why, -EINVAL, "an ACPI table's length is not its file's size");
	if (blob_checksum(t, bytes) != 0)
		return boot_refuse(why, -EINVAL, "an ACPI table's checksum is wrong");
	for (unsigned i = 0; i < ARRAY_SIZE(acpi_own); i++)
		if (memcmp(h->signature, acpi_own[i].signature, sizeof(h->signature)) == 0)
			return boot_refuse(why, -EINVAL, "an ACPI table the board makes itself");
	return 0;
}

/* Read and check the table in @fd. The caller frees *out. */
static int acpi_read_extra(uint8_t **out, size_t *bytes, int fd, const char **why)
{
	uint64_t size;
	int err = boot_file_bytes(&size, fd, why);
	if (err)
		return err;
	if (size < sizeof(struct acpi_header))
		return boot_refuse(why, -EINVAL, "an ACPI table is shorter than its header");
	if (size > ACPI_EXTRA_MAX)
		return boot_refuse(why, -E2BIG, "an ACPI table is larger than 1 MiB");
	CLEANUP(free_cleanup) uint8_t *t = malloc(size);
	if (!t)
		return -ENOMEM;
	err = boot_pread(fd, t, size, 0);
	if (!err)
		err = acpi_check_table(t, size, why);
	if (err)
		return err;
	*bytes = size;
	*out = take(t);
	return 0;
}

/* One table after another, as they will lie; @m NULL: only count. */
struct acpi_extra {
	struct gmem *m;
	uint64_t base, bytes;
	uint64_t dsdt; /* address, 0: none among them */
	uint64_t table[ACPI_NR_EXTRA];
	unsigned nr;
};

static int acpi_add_extra(struct acpi_extra *x, int fd, const char **why)
{
	CLEANUP(free_cleanup) uint8_t *t = NULL;
	size_t bytes = 0;
	int err = acpi_read_extra(&t, &bytes, fd, why);
	if (err)
		return err;
	uint64_t at = x->base + x->bytes;
	if (memcmp(t, "DSDT", 4) != 0)
		x->table[x->nr++] = at;
	else if (x->dsdt)
		return boot_refuse(why, -EINVAL, "two ACPI tables are a DSDT");
	else
		x->dsdt = at;
	x->bytes += align_up(bytes, ACPI_EXTRA_ALIGN);
	return x->m ? gmem_write(x->m, gpa(at), t, bytes) : 0;
}

static int acpi_each_extra(struct acpi_extra *x, const struct machine_boot *b, const char **why)
{
	int err = 0;
	if (b->nr_acpi_tables > ACPI_NR_EXTRA)
		return boot_refuse(why, -E2BIG, "too many ACPI tables");
	for (unsigned i = 0; !err && i < b->nr_acpi_tables; i++)
		err = acpi_add_extra(x, b->acpi_table_fds[i], why);
	return err;
}

int acpi_check_extra(uint64_t *bytes, const struct machine_boot *b, const char **why)
{
	struct acpi_extra x = { .base = MIB }; /* any address but 0 */
	int err = acpi_each_extra(&x, b, why);
	*bytes = align_up(x.bytes, ACPI_PAGE);
	return err;
}

/* --- ours --- */

/* Where in the guest the next byte of @t will lie. */
static uint64_t acpi_here(const struct blob *t)
{
	return LAYOUT_ACPI + t->len;
}

/* Begin a table; returns its offset for acpi_close(). */
static size_t acpi_open(struct blob *t, const char *signature, uint8_t revision)
{
	blob_align(t, ACPI_EXTRA_ALIGN);
	size_t at = t->len;
	struct acpi_header h = { .revision = revision,
				 .oem_revision = le32_of(1),
				 .creator_revision = le32_of(1) };
	memcpy(h.signature, signature, sizeof(h.signature));
	memcpy(h.oem_id, ACPI_OEM, sizeof(h.oem_id));
	memcpy(h.oem_table_id, ACPI_OEM_TABLE, sizeof(h.oem_table_id));
	memcpy(h.creator_id, ACPI_CREATOR, sizeof(h.creator_id));
	blob_put(t, &h, sizeof(h));
	return at;
}

/* Fill in length and checksum; returns the table's guest address. */
static uint64_t acpi_close(struct blob *t, size_t at)
{
	struct acpi_header *h = (void *)(t->bytes + at);
	h->length = le32_of((uint32_t)(t->len - at));
	h->checksum = blob_checksum(t->bytes + at, t->len - at);
	return LAYOUT_ACPI + at;
}

static struct acpi_gas acpi_port(uint32_t port, uint8_t bits, uint8_t access)
{
	return (struct acpi_gas){ ACPI_SPACE_IO, bits, 0, access, le64_of(port) };
}

static uint64_t acpi_build_facs(struct blob *t)
{
	blob_align(t, 64);
	uint64_t at = acpi_here(t);
	struct acpi_facs f = { .signature = { 'F', 'A', 'C', 'S' },
			       .version = 2,
			       .length = le32_of(sizeof(f)) };
	blob_put(t, &f, sizeof(f));
	return at;
}

/* The fixed hardware: event, control and timer blocks, reset register. §4.8.3. */
static void acpi_fill_ports(struct acpi_fadt *f)
{
	const uint32_t evt = LAYOUT_PORT_PM, cnt = evt + 4, tmr = evt + 8;
	f->pm1a_evt = le32_of(evt);
	f->pm1a_cnt = le32_of(cnt);
	f->pm_tmr = le32_of(tmr);
	f->pm1_evt_len = 4;
	f->pm1_cnt_len = 2;
	f->pm_tmr_len = 4;
	f->x_pm1a_evt = acpi_port(evt, 32, ACPI_ACCESS_WORD);
	f->x_pm1a_cnt = acpi_port(cnt, 16, ACPI_ACCESS_WORD);
	f->x_pm_tmr = acpi_port(tmr, 32, ACPI_ACCESS_DWORD);
	f->reset_register = acpi_port(LAYOUT_PORT_RESET, 8, ACPI_ACCESS_BYTE);
	f->reset_value = LAYOUT_RESET_VALUE;
}

static uint64_t acpi_build_fadt(struct blob *t, uint64_t facs, uint64_t dsdt)
{
	size_t at = acpi_open(t, "FACP", 6);
	struct acpi_fadt f = {
		.facs = le32_of((uint32_t)facs),
		.dsdt = le32_of((uint32_t)dsdt), /* both below 4 GiB */
		.x_dsdt = le64_of(dsdt),
		.minor_version = 5,
		.pm_profile = 4, /* enterprise server */
		.sci_int = le16_of(LAYOUT_GSI_SCI),
		.c2_latency = le16_of(0xffff), /* no C2, no C3 */
		.c3_latency = le16_of(0xffff),
		.century = 0x32,
		/* No 8042: port 0x64 resets, but there is nothing to probe for. */
		.boot_arch = le16_of(FADT_BOOT_LEGACY_DEVICES | FADT_BOOT_NO_VGA |
				     FADT_BOOT_NO_ASPM),
		/* The power button is a bit of PM1a. */
		.flags = le32_of(FADT_WBINVD | FADT_PROC_C1 | FADT_NO_FIXED_SLEEP_BUTTON |
				 FADT_NO_FIXED_RTC_WAKE | FADT_TIMER_32_BITS | FADT_RESET_REGISTER),
	};
	acpi_fill_ports(&f);
	const size_t body = sizeof(f.header);
	blob_put(t, (const uint8_t *)&f + body, sizeof(f) - body);
	return acpi_close(t, at);
}

/* Identifiers above 254 need the long form; 255 means "all" in the short one. */
static void acpi_madt_cpu(struct blob *t, unsigned index, uint32_t id)
{
	if (id < 255) {
		struct acpi_madt_lapic c = {
			.type = MADT_LAPIC,
			.length = sizeof(c),
			.uid = (uint8_t)index,
			.apic_id = (uint8_t)id,
			.flags = le32_of(MADT_ENABLED),
		};
		blob_put(t, &c, sizeof(c));
		return;
	}
	struct acpi_madt_x2apic c = {
		.type = MADT_X2APIC,
		.length = sizeof(c),
		.apic_id = le32_of(id),
		.flags = le32_of(MADT_ENABLED),
		.uid = le32_of(index),
	};
	blob_put(t, &c, sizeof(c));
}

static void acpi_madt_override(struct blob *t, uint8_t source, uint32_t gsi, uint16_t flags)
{
	struct acpi_madt_override o = {
		.type = MADT_OVERRIDE,
		.length = sizeof(o),
		.source = source,
		.gsi = le32_of(gsi),
		.flags = le16_of(flags),
	};
	blob_put(t, &o, sizeof(o));
}

/* NMI arrives at input 1 of every local APIC. */
static void acpi_madt_nmi(struct blob *t, uint32_t last_id)
{
	struct acpi_madt_lapic_nmi n = {
		.type = MADT_LAPIC_NMI,
		.length = sizeof(n),
		.uid = 0xff,
		.lint = 1,
	};
	blob_put(t, &n, sizeof(n));
	if (last_id < 255)
		return;
	struct acpi_madt_x2apic_nmi x = {
		.type = MADT_X2APIC_NMI,
		.length = sizeof(x),
		.uid = le32_of(UINT32_MAX),
		.lint = 1,
	};
	blob_put(t, &x, sizeof(x));
}

static uint64_t acpi_build_madt(struct blob *t, const struct machine_boot *b)
{
	size_t at = acpi_open(t, "APIC", 5);
	blob_int(t, LAYOUT_LAPIC, 4);
	blob_int(t, MADT_PCAT_COMPAT, 4);
	for (unsigned i = 0; i < b->nr_cpus; i++)
		acpi_madt_cpu(t, i, machine_cpu_id(&b->topology, b->nr_cpus, i));
	struct acpi_madt_ioapic io = {
		.type = MADT_IOAPIC,
		.length = sizeof(io),
		.id = LAYOUT_IOAPIC_ID,
		.address = le32_of((uint32_t)LAYOUT_IOAPIC),
	};
	blob_put(t, &io, sizeof(io));
	acpi_madt_override(t, 0, LAYOUT_GSI_PIT, MADT_BUS_DEFAULT);
	acpi_madt_override(t, LAYOUT_GSI_SCI, LAYOUT_GSI_SCI, MADT_ACTIVE_HIGH_LEVEL);
	acpi_madt_nmi(t, machine_cpu_id(&b->topology, b->nr_cpus, b->nr_cpus - 1));
	return acpi_close(t, at);
}

static uint64_t acpi_build_mcfg(struct blob *t)
{
	size_t at = acpi_open(t, "MCFG", 1);
	struct acpi_mcfg c = { .base = le64_of(LAYOUT_ECAM_START),
			       .bus_last = LAYOUT_PCI_LAST_BUS };
	const size_t body = sizeof(c.header);
	blob_put(t, (const uint8_t *)&c + body, sizeof(c) - body);
	return acpi_close(t, at);
}

static uint64_t acpi_build_dsdt(struct blob *t, const struct machine_boot *b)
{
	size_t at = acpi_open(t, "DSDT", 2); /* 2: integers have 64 bits */
	dsdt_build(t, b);
	return acpi_close(t, at);
}

static void acpi_fill_rsdp(struct blob *t, uint64_t xsdt)
{
	struct acpi_rsdp r = { .revision = 2, .length = le32_of(sizeof(r)), .xsdt = le64_of(xsdt) };
	memcpy(r.signature, "RSD PTR ", sizeof(r.signature));
	memcpy(r.oem_id, ACPI_OEM, sizeof(r.oem_id));
	r.checksum = blob_checksum(&r, 20);
	r.extended_checksum = blob_checksum(&r, sizeof(r));
	memcpy(t->bytes, &r, sizeof(r));
}

static void acpi_build(struct blob *t, const struct machine_boot *b, const struct acpi_extra *x)
{
	blob_add(t, sizeof(struct acpi_rsdp)); /* filled last */
	uint64_t facs = acpi_build_facs(t);
	uint64_t dsdt = x->dsdt ? x->dsdt : acpi_build_dsdt(t, b);
	uint64_t own[] = {
		acpi_build_fadt(t, facs, dsdt),
		acpi_build_madt(t, b),
		acpi_build_mcfg(t),
	};
	size_t at = acpi_open(t, "XSDT", 1);
	for (unsigned i = 0; i < ARRAY_SIZE(own); i++)
		blob_int(t, own[i], 8);
	for (unsigned i = 0; i < x->nr; i++)
		blob_int(t, x->table[i], 8);
	acpi_fill_rsdp(t, acpi_close(t, at));
}

int acpi_write(struct gmem *m, const struct machine_boot *b, const struct boot_plan *p,
	       const char **why)
{
	struct acpi_extra count = { .base = p->tables }, x = { .m = m, .base = p->tables };
	/* Again, and without writing: the files may have grown since the place was made. */
	int err = acpi_each_extra(&count, b, why);
	if (!err && count.bytes > p->tables_bytes)
		return boot_refuse(why, -EINVAL, "an ACPI table changed while it was read");
	if (!err)
		err = acpi_each_extra(&x, b, why);
	if (err)
		return err;
	CLEANUP(free_cleanup) uint8_t *area = malloc(LAYOUT_ACPI_LEN);
	if (!area)
		return -ENOMEM;
	struct blob t = blob_of(area, LAYOUT_ACPI_LEN);
	acpi_build(&t, b, &x);
	return gmem_write(m, gpa(LAYOUT_ACPI), t.bytes, t.len);
}
