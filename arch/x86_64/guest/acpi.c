/*
 * acpi.c - RSDP, XSDT or RSDT, FADT, MADT, MCFG, and _S5 out of the DSDT. ACPI 6.4 §5.2.
 */
#include "acpi.h"
#include "boot.h"
#include "mem.h"
#include "print.h"

#define BIOS_AREA     0xe0000ul
#define BIOS_AREA_END 0x100000ul

#define FADT_DSDT     40
#define FADT_PM1A_EVT 56
#define FADT_PM1A_CNT 64
#define FADT_PM_TMR   76
#define FADT_X_DSDT   140

#define MADT_ENTRIES    44
#define MADT_LAPIC      0
#define MADT_IOAPIC     1
#define MCFG_FIRST_BASE 44

#define PM1A_CNT_USUAL 0x604
#define S5_USUAL       5
#define IOAPIC_USUAL   0xfec00000ul

static const struct acpi_rsdp *rsdp;

bool acpi_sum_is_zero(const void *at, uint32_t bytes)
{
	const uint8_t *p = at;
	uint8_t sum = 0;
	for (uint32_t i = 0; i < bytes; i++)
		sum = (uint8_t)(sum + p[i]);
	return sum == 0;
}

void acpi_init(void)
{
	uint64_t told = boot_info()->rsdp;
	if (told) {
		rsdp = (const struct acpi_rsdp *)told;
		return;
	}
	for (uint64_t at = BIOS_AREA; at < BIOS_AREA_END; at += 16)
		if (mem_equal((const void *)at, "RSD PTR ", 8)) {
			rsdp = (const struct acpi_rsdp *)at;
			return;
		}
}

const struct acpi_rsdp *acpi_rsdp(void)
{
	return rsdp;
}

/* Tables may lie at any alignment. */
static uint32_t field32(const void *table, unsigned offset)
{
	uint32_t v;
	mem_copy(&v, (const uint8_t *)table + offset, sizeof(v));
	return v;
}

static uint64_t field64(const void *table, unsigned offset)
{
	return field32(table, offset) | (uint64_t)field32(table, offset + 4) << 32;
}

const struct acpi_header *acpi_find(const char *signature)
{
	if (!rsdp)
		return NULL;
	bool is_wide = rsdp->revision >= 2 && rsdp->xsdt;
	unsigned entry = is_wide ? 8 : 4;
	const struct acpi_header *root = (const void *)(is_wide ? rsdp->xsdt : rsdp->rsdt);
	for (uint32_t at = sizeof(*root); at + entry <= root->length; at += entry) {
		uint64_t where = is_wide ? field64(root, at) : field32(root, at);
		if (where && mem_equal((const void *)where, signature, 4))
			return (const struct acpi_header *)where;
	}
	return NULL;
}

uint16_t acpi_pm_timer(void)
{
	const struct acpi_header *fadt = acpi_find("FACP");
	return fadt ? (uint16_t)field32(fadt, FADT_PM_TMR) : 0;
}

uint16_t acpi_pm1a_control(void)
{
	const struct acpi_header *fadt = acpi_find("FACP");
	uint16_t port = fadt ? (uint16_t)field32(fadt, FADT_PM1A_CNT) : 0;
	return port ? port : PM1A_CNT_USUAL;
}

uint16_t acpi_pm1a_event(void)
{
	const struct acpi_header *fadt = acpi_find("FACP");
	return fadt ? (uint16_t)field32(fadt, FADT_PM1A_EVT) : 0;
}

static const struct acpi_header *find_dsdt(void)
{
	const struct acpi_header *fadt = acpi_find("FACP");
	if (!fadt)
		return NULL;
	uint64_t wide = fadt->length >= FADT_X_DSDT + 8 ? field64(fadt, FADT_X_DSDT) : 0;
	return (const struct acpi_header *)(wide ? wide : field32(fadt, FADT_DSDT));
}

/*
 * Name (_S5_, Package () { type, … }): the encoding of the first element follows the package's
 * length and count. Zero and One have opcodes of their own, 0x0a precedes any other byte.
 */
unsigned acpi_s5_type(void)
{
	const struct acpi_header *dsdt = find_dsdt();
	if (!dsdt)
		return S5_USUAL;
	const uint8_t *aml = (const uint8_t *)dsdt;
	for (uint32_t i = sizeof(*dsdt); i + 9 < dsdt->length; i++)
		if (mem_equal(aml + i, "_S5_\x12", 5)) {
			const uint8_t *p = aml + i + 5;
			p += (*p >> 6) + 1 + 1; /* package length, element count */
			return *p == 0x0a ? p[1] : *p;
		}
	return S5_USUAL;
}

uint64_t acpi_ecam(void)
{
	const struct acpi_header *mcfg = acpi_find("MCFG");
	return mcfg && mcfg->length >= MCFG_FIRST_BASE + 16 ? field64(mcfg, MCFG_FIRST_BASE) : 0;
}

/* Walk MADT entries of @type: the @nth, or NULL. Returns how many there are through @count. */
static const uint8_t *madt_entry(unsigned type, unsigned nth, unsigned *count)
{
	const struct acpi_header *madt = acpi_find("APIC");
	const uint8_t *found = NULL;
	*count = 0;
	if (!madt)
		return NULL;
	const uint8_t *p = (const uint8_t *)madt, *end = p + madt->length;
	for (p += MADT_ENTRIES; p + 2 <= end && p[1] >= 2; p += p[1])
		if (p[0] == type && (*count)++ == nth)
			found = p;
	return found;
}

unsigned acpi_cpus(void)
{
	unsigned n;
	(void)madt_entry(MADT_LAPIC, 0, &n); /* only the count */
	return n;
}

int acpi_second_cpu(uint32_t first_apic_id)
{
	unsigned n;
	for (unsigned i = 0;; i++) {
		const uint8_t *e = madt_entry(MADT_LAPIC, i, &n);
		if (!e)
			return -1;
		if (e[3] != first_apic_id && (e[4] & 1))
			return e[3];
	}
}

uint64_t acpi_ioapic(void)
{
	unsigned n;
	const uint8_t *e = madt_entry(MADT_IOAPIC, 0, &n);
	return e ? field32(e, 4) : IOAPIC_USUAL;
}
