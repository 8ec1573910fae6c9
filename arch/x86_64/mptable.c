/*
 * mptable.c - MultiProcessor tables, for guests that do not read ACPI. Intel MP 1.4 §4.
 *
 * The floating pointer lies where PCs have their extended BIOS data, the table among the ROMs,
 * where there is room for 255 processors. More than that only ACPI can say.
 */
#include "base/num.h"
#include "boot_priv.h"

#define MP_SPEC_REV     4u
#define MP_APIC_VERSION 0x14u
#define MP_MAX_CPUS     255u
#define MP_ALL_APICS    0xffu
#define MP_NR_ISA       16u
#define MP_CASCADE      2u /* ISA interrupt 2 is the second controller's */
#define MP_NR_SLOTS     32u
#define MP_NR_PINS      4u

enum mp_type { MP_CPU = 0, MP_BUS = 1, MP_IOAPIC = 2, MP_IO_INT = 3, MP_LOCAL_INT = 4 };
enum mp_int { MP_INT = 0, MP_NMI = 1, MP_EXTINT = 3 };
enum mp_bus { MP_BUS_PCI = 0, MP_BUS_ISA = 1 };
enum { MP_CONFORMS = 0, MP_HIGH_LEVEL = 0xd }; /* polarity and trigger */
enum { MP_ENABLED = 1, MP_BOOT_CPU = 2 };

struct mp_floating {
	char signature[4];
	le32_t table;
	uint8_t length, revision, checksum, features[5];
};
static_assert(sizeof(struct mp_floating) == 16, "MP 1.4 table 4-1");

struct mp_header {
	char signature[4];
	le16_t length;
	uint8_t revision, checksum;
	char oem_id[8], product_id[12];
	le32_t oem_table;
	le16_t oem_bytes, nr_entries;
	le32_t lapic;
	le16_t extended_bytes;
	uint8_t extended_checksum, reserved;
};
static_assert(sizeof(struct mp_header) == 44, "MP 1.4 table 4-2");

struct mp_cpu {
	uint8_t type, apic_id, apic_version, flags;
	le32_t signature, features, reserved[2];
};
static_assert(sizeof(struct mp_cpu) == 20, "MP 1.4 table 4-4");

struct mp_bus_entry {
	uint8_t type, id;
	char name[6];
};
static_assert(sizeof(struct mp_bus_entry) == 8, "MP 1.4 table 4-7");

struct mp_ioapic {
	uint8_t type, id, version, flags;
	le32_t address;
};
static_assert(sizeof(struct mp_ioapic) == 8, "MP 1.4 table 4-9");

struct mp_interrupt {
	uint8_t type, kind;
	le16_t flags;
	uint8_t bus, source, apic, pin;
};
static_assert(sizeof(struct mp_interrupt) == 8, "MP 1.4 tables 4-10, 4-12");

/* IDs are eight bits wide here: a CPU with a larger one is found through ACPI only. */
static void mptable_cpus(struct blob *t, const struct machine_boot *b)
{
	for (unsigned i = 0; i < b->nr_cpus && i < MP_MAX_CPUS; i++) {
		uint32_t id = machine_cpu_id(&b->topology, b->nr_cpus, i);
		if (id >= MP_ALL_APICS)
			break;
		struct mp_cpu c = {
			.type = MP_CPU,
			.apic_id = (uint8_t)id,
			.apic_version = MP_APIC_VERSION,
			.flags = (uint8_t)(MP_ENABLED | (i == 0 ? MP_BOOT_CPU : 0)),
			.signature = le32_of(0x600),
			.features = le32_of(0x201), /* FPU, APIC */
		};
		blob_put(t, &c, sizeof(c));
	}
}

static void mptable_boards(struct blob *t)
{
	struct mp_bus_entry pci = { MP_BUS, MP_BUS_PCI, { 'P', 'C', 'I', ' ', ' ', ' ' } };
	struct mp_bus_entry isa = { MP_BUS, MP_BUS_ISA, { 'I', 'S', 'A', ' ', ' ', ' ' } };
	struct mp_ioapic io = {
		.type = MP_IOAPIC,
		.id = LAYOUT_IOAPIC_ID,
		.version = 0x11,
		.flags = MP_ENABLED,
		.address = le32_of((uint32_t)LAYOUT_IOAPIC),
	};
	blob_put(t, &pci, sizeof(pci));
	blob_put(t, &isa, sizeof(isa));
	blob_put(t, &io, sizeof(io));
}

static void mptable_io_int(struct blob *t, enum mp_bus bus, unsigned source, unsigned pin)
{
	bool is_sci = bus == MP_BUS_ISA && pin == LAYOUT_GSI_SCI;
	struct mp_interrupt e = {
		.type = MP_IO_INT,
		.kind = MP_INT,
		.flags = le16_of(is_sci ? MP_HIGH_LEVEL : MP_CONFORMS),
		.bus = (uint8_t)bus,
		.source = (uint8_t)source,
		.apic = LAYOUT_IOAPIC_ID,
		.pin = (uint8_t)pin,
	};
	blob_put(t, &e, sizeof(e));
}

/* The two inputs of every local APIC: the old controller, and NMI. */
static void mptable_local_ints(struct blob *t)
{
	struct mp_interrupt e = {
		.type = MP_LOCAL_INT,
		.kind = MP_EXTINT,
		.flags = le16_of(MP_CONFORMS),
		.bus = MP_BUS_ISA,
		.apic = MP_ALL_APICS,
		.pin = 0,
	};
	blob_put(t, &e, sizeof(e));
	e.kind = MP_NMI;
	e.pin = 1;
	blob_put(t, &e, sizeof(e));
}

static void mptable_interrupts(struct blob *t)
{
	for (unsigned i = 0; i < MP_NR_ISA; i++)
		if (i != MP_CASCADE)
			mptable_io_int(t, MP_BUS_ISA, i, i == 0 ? LAYOUT_GSI_PIT : i);
	for (unsigned i = 0; i < MP_NR_SLOTS * MP_NR_PINS; i++) {
		unsigned slot = i / MP_NR_PINS, pin = i % MP_NR_PINS;
		/* MP 1.4 §D.3: device number in bits 2 to 6, pin in bits 0 and 1 */
		mptable_io_int(t, MP_BUS_PCI, slot << 2 | pin,
			       LAYOUT_GSI_PCI + (slot + pin) % LAYOUT_NR_GSI_PCI);
	}
}

/* Entries are counted by walking them: those of processors have 20 bytes, all others 8. */
static uint16_t mptable_count(const struct blob *t)
{
	uint16_t n = 0;
	for (size_t at = sizeof(struct mp_header); at < t->len; n++)
		at += t->bytes[at] == MP_CPU ? sizeof(struct mp_cpu) : sizeof(struct mp_interrupt);
	return n;
}

static void mptable_build(struct blob *t, const struct machine_boot *b)
{
	struct mp_header *h = blob_add(t, sizeof(*h));
	memcpy(h->signature, "PCMP", sizeof(h->signature));
	memcpy(h->oem_id, "VMM     ", sizeof(h->oem_id));
	memcpy(h->product_id, "VMM         ", sizeof(h->product_id));
	h->revision = MP_SPEC_REV;
	h->lapic = le32_of((uint32_t)LAYOUT_LAPIC);
	mptable_cpus(t, b);
	mptable_boards(t);
	mptable_interrupts(t);
	mptable_local_ints(t);
	h->nr_entries = le16_of(mptable_count(t));
	h->length = le16_of((uint16_t)t->len);
	h->checksum = blob_checksum(t->bytes, t->len);
}

int mptable_write(struct gmem *m, const struct machine_boot *b)
{
	uint8_t area[sizeof(struct mp_header) + MP_MAX_CPUS * sizeof(struct mp_cpu) +
		     (MP_NR_ISA + MP_NR_SLOTS * MP_NR_PINS + 8) * sizeof(struct mp_interrupt)];
	static_assert(sizeof(area) <= LAYOUT_MPTABLE_LEN, "layout.h");
	struct blob t = blob_of(area, sizeof(area));
	mptable_build(&t, b);
	struct mp_floating f = {
		.length = sizeof(f) / 16,
		.revision = MP_SPEC_REV,
		.table = le32_of((uint32_t)LAYOUT_MPTABLE),
	};
	memcpy(f.signature, "_MP_", sizeof(f.signature));
	f.checksum = blob_checksum(&f, sizeof(f));
	int err = gmem_write(m, gpa(LAYOUT_MPTABLE), t.bytes, t.len);
	return err ? err : gmem_write(m, gpa(LAYOUT_EBDA), &f, sizeof(f));
}
