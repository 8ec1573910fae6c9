/*
 * acpi.h - the tables that tell where things are; with fallbacks where there are none.
 */
#ifndef GUEST_ACPI_H
#define GUEST_ACPI_H
#include <stdbool.h>
#include <stdint.h>

struct acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision, creator_id, creator_revision;
};

struct acpi_rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum, reserved[3];
} __attribute__((packed));

/* Find the root pointer: as told by the loader, else by searching the BIOS area. */
void acpi_init(void);
const struct acpi_rsdp *acpi_rsdp(void); /* NULL: none */

/* The table with this signature, NULL where there is none. */
const struct acpi_header *acpi_find(const char *signature);
bool acpi_sum_is_zero(const void *at, uint32_t bytes);

uint16_t acpi_pm_timer(void); /* port; 0: none */
uint16_t acpi_pm1a_control(void);
uint16_t acpi_pm1a_event(void); /* status; 2 further: enable */
unsigned acpi_s5_type(void);
uint64_t acpi_ecam(void); /* of bus 0; 0: none */
unsigned acpi_cpus(void);
int acpi_second_cpu(uint32_t first_apic_id); /* APIC id of another one; -1: none */
uint64_t acpi_ioapic(void);

#endif
