/*
 * acpi_wire.h - the ACPI tables as they lie in memory.
 *
 * Layer:   arch
 * Threads: types only.
 * Errors:  none.
 * Spec:    ACPI 6.5 §5.2; PCI Firmware 3.3 §4.1.2 (MCFG).
 */
#ifndef X86_64_ACPI_WIRE_H
#define X86_64_ACPI_WIRE_H
#include <assert.h>
#include <stddef.h>
#include "base/le.h"

#define ACPI_PACKED __attribute__((packed))

/* §5.2.5.3 */
struct acpi_rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	le32_t rsdt, length;
	le64_t xsdt;
	uint8_t extended_checksum, reserved[3];
} ACPI_PACKED;
static_assert(sizeof(struct acpi_rsdp) == 36, "ACPI 6.5 table 5.3");

/* §5.2.6: every table begins so. */
struct acpi_header {
	char signature[4];
	le32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	le32_t oem_revision;
	char creator_id[4];
	le32_t creator_revision;
} ACPI_PACKED;
static_assert(sizeof(struct acpi_header) == 36, "ACPI 6.5 table 5.4");

/* §5.2.3.2, generic address */
enum { ACPI_SPACE_IO = 1 };
enum { ACPI_ACCESS_BYTE = 1, ACPI_ACCESS_WORD = 2, ACPI_ACCESS_DWORD = 3 };
struct acpi_gas {
	uint8_t space, bits, offset, access;
	le64_t address;
} ACPI_PACKED;
static_assert(sizeof(struct acpi_gas) == 12, "ACPI 6.5 table 5.1");

/* §5.2.9 */
enum {
	FADT_WBINVD = 1 << 0,
	FADT_PROC_C1 = 1 << 2,
	FADT_NO_FIXED_SLEEP_BUTTON = 1 << 5,
	FADT_NO_FIXED_RTC_WAKE = 1 << 6,
	FADT_TIMER_32_BITS = 1 << 8,
	FADT_RESET_REGISTER = 1 << 10,
};
enum {
	FADT_BOOT_LEGACY_DEVICES = 1 << 0,
	FADT_BOOT_NO_VGA = 1 << 2,
	FADT_BOOT_NO_ASPM = 1 << 4,
};
struct acpi_fadt {
	struct acpi_header header;
	le32_t facs, dsdt;
	uint8_t reserved0, pm_profile;
	le16_t sci_int;
	le32_t smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
	le32_t pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr, gpe0, gpe1;
	uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_len, gpe1_len, gpe1_base;
	uint8_t cst_cnt;
	le16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	le16_t boot_arch;
	uint8_t reserved1;
	le32_t flags;
	struct acpi_gas reset_register;
	uint8_t reset_value;
	le16_t arm_boot_arch;
	uint8_t minor_version;
	le64_t x_facs, x_dsdt;
	struct acpi_gas x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt, x_pm2_cnt, x_pm_tmr;
	struct acpi_gas x_gpe0, x_gpe1, sleep_control, sleep_status;
	le64_t hypervisor_id;
} ACPI_PACKED;
static_assert(sizeof(struct acpi_fadt) == 276, "ACPI 6.5 table 5.9");
static_assert(offsetof(struct acpi_fadt, sci_int) == 46, "ACPI 6.5 table 5.9");
static_assert(offsetof(struct acpi_fadt, century) == 108, "ACPI 6.5 table 5.9");
static_assert(offsetof(struct acpi_fadt, flags) == 112, "ACPI 6.5 table 5.9");
static_assert(offsetof(struct acpi_fadt, reset_register) == 116, "ACPI 6.5 table 5.9");
static_assert(offsetof(struct acpi_fadt, x_facs) == 132, "ACPI 6.5 table 5.9");
static_assert(offsetof(struct acpi_fadt, x_pm_tmr) == 208, "ACPI 6.5 table 5.9");

/* §5.2.10; lies on a 64-byte boundary and has no checksum */
struct acpi_facs {
	char signature[4];
	le32_t length, hardware_signature, waking_vector, global_lock, flags;
	le64_t x_waking_vector;
	uint8_t version, reserved0[3];
	le32_t ospm_flags;
	uint8_t reserved1[24];
} ACPI_PACKED;
static_assert(sizeof(struct acpi_facs) == 64, "ACPI 6.5 table 5.13");

/* §5.2.12 */
enum { MADT_PCAT_COMPAT = 1 };
enum { MADT_ENABLED = 1 };
enum {
	MADT_LAPIC = 0,
	MADT_IOAPIC = 1,
	MADT_OVERRIDE = 2,
	MADT_LAPIC_NMI = 4,
	MADT_X2APIC = 9,
	MADT_X2APIC_NMI = 10
};
enum { MADT_ACTIVE_HIGH_LEVEL = 0xd, MADT_BUS_DEFAULT = 0 };
struct acpi_madt {
	struct acpi_header header;
	le32_t lapic, flags;
} ACPI_PACKED;
struct acpi_madt_lapic {
	uint8_t type, length, uid, apic_id;
	le32_t flags;
} ACPI_PACKED;
static_assert(sizeof(struct acpi_madt_lapic) == 8, "ACPI 6.5 table 5.21");
struct acpi_madt_ioapic {
	uint8_t type, length, id, reserved;
	le32_t address, gsi_base;
} ACPI_PACKED;
static_assert(sizeof(struct acpi_madt_ioapic) == 12, "ACPI 6.5 table 5.23");
struct acpi_madt_override {
	uint8_t type, length, bus, source;
	le32_t gsi;
	le16_t flags;
} ACPI_PACKED;
static_assert(sizeof(struct acpi_madt_override) == 10, "ACPI 6.5 table 5.25");
struct acpi_madt_lapic_nmi {
	uint8_t type, length, uid;
	le16_t flags;
	uint8_t lint;
} ACPI_PACKED;
static_assert(sizeof(struct acpi_madt_lapic_nmi) == 6, "ACPI 6.5 table 5.28");
struct acpi_madt_x2apic {
	uint8_t type, length;
	le16_t reserved;
	le32_t apic_id, flags, uid;
} ACPI_PACKED;
static_assert(sizeof(struct acpi_madt_x2apic) == 16, "ACPI 6.5 table 5.34");
struct acpi_madt_x2apic_nmi {
	uint8_t type, length;
	le16_t flags;
	le32_t uid;
	uint8_t lint, reserved[3];
} ACPI_PACKED;
static_assert(sizeof(struct acpi_madt_x2apic_nmi) == 12, "ACPI 6.5 table 5.35");

struct acpi_mcfg {
	struct acpi_header header;
	le64_t reserved0;
	le64_t base;
	le16_t segment;
	uint8_t bus_first, bus_last;
	le32_t reserved1;
} ACPI_PACKED;
static_assert(sizeof(struct acpi_mcfg) == 60, "PCI Firmware 3.3 tables 4-2, 4-3");

#endif
