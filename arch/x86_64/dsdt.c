/*
 * dsdt.c - the board's namespace: processors, PCI root bridge, legacy devices, S5.
 *
 * Static data only, no methods: nothing for the guest to interpret at boot.
 */
#include <stdio.h>
#include "aml.h"
#include "boot_priv.h"

#define DSDT_NR_SLOTS 32u
#define DSDT_NR_PINS  4u

static void dsdt_hid(struct blob *t, const char *id, unsigned uid)
{
	aml_name(t, "_HID");
	aml_eisaid(t, id);
	aml_name(t, "_UID");
	aml_int(t, uid);
}

/* §8.4: one device per processor, its _UID that of the MADT. */
static void dsdt_cpus(struct blob *t, unsigned nr_cpus)
{
	size_t box = aml_open_device(t, "CPUS");
	aml_name(t, "_HID");
	aml_string(t, "ACPI0010");
	for (unsigned i = 0; i < nr_cpus; i++) {
		char name[5];
		(void)snprintf(name, sizeof(name), "C%03X", i & 0xfff); /* fits */
		size_t cpu = aml_open_device(t, name);
		aml_name(t, "_HID");
		aml_string(t, "ACPI0007");
		aml_name(t, "_UID");
		aml_int(t, i);
		aml_close(t, cpu);
	}
	aml_close(t, box);
}

/* §6.2.13: device in the high half, all functions; pin; no link device; interrupt. */
static void dsdt_prt(struct blob *t, const struct pci_windows *w)
{
	aml_name(t, "_PRT");
	size_t all = aml_open_package(t, DSDT_NR_SLOTS * DSDT_NR_PINS);
	for (unsigned i = 0; i < DSDT_NR_SLOTS * DSDT_NR_PINS; i++) {
		unsigned slot = i / DSDT_NR_PINS, pin = i % DSDT_NR_PINS;
		size_t one = aml_open_package(t, 4);
		aml_int(t, (uint64_t)slot << 16 | 0xffff);
		aml_int(t, pin);
		aml_int(t, 0);
		aml_int(t, w->intx_gsi_base + (slot + pin) % w->intx_gsi_count);
		aml_close(t, one);
	}
	aml_close(t, all);
}

static void dsdt_pci(struct blob *t, const struct pci_windows *w)
{
	size_t dev = aml_open_device(t, "PCI0");
	dsdt_hid(t, "PNP0A08", 0);
	aml_name(t, "_CID");
	aml_eisaid(t, "PNP0A03");
	aml_name(t, "_SEG");
	aml_int(t, 0);
	aml_name(t, "_BBN");
	aml_int(t, 0);
	struct aml_crs crs = aml_open_crs(t);
	aml_window_bus(t, 0, LAYOUT_PCI_LAST_BUS);
	aml_io(t, LAYOUT_PORT_PCI, LAYOUT_PORT_PCI_LEN);
	aml_window_io(t, w->io_base, w->io_len);
	aml_window_memory32(t, (uint32_t)w->mmio32_base, (uint32_t)w->mmio32_len);
	aml_window_memory64(t, w->mmio64_base, w->mmio64_len);
	aml_close_crs(t, crs);
	dsdt_prt(t, w);
	aml_close(t, dev);
}

/* PCI Firmware 3.3 §4.1.2: the configuration window is a motherboard resource. */
static void dsdt_ecam(struct blob *t)
{
	size_t dev = aml_open_device(t, "ECAM");
	dsdt_hid(t, "PNP0C02", 0);
	struct aml_crs crs = aml_open_crs(t);
	aml_memory32(t, (uint32_t)LAYOUT_ECAM_START, (uint32_t)LAYOUT_ECAM_LEN);
	aml_close_crs(t, crs);
	aml_close(t, dev);
}

static void dsdt_legacy(struct blob *t, const struct machine_dev *d)
{
	char name[5] = "RTC_";
	bool is_serial = d->kind == MACHINE_DEV_SERIAL;
	if (!is_serial && d->kind != MACHINE_DEV_RTC)
		return;
	if (is_serial)
		(void)snprintf(name, sizeof(name), "COM%c", (char)('1' + d->index)); /* fits */
	size_t dev = aml_open_device(t, name);
	dsdt_hid(t, is_serial ? "PNP0501" : "PNP0B00", is_serial ? d->index + 1 : 0);
	struct aml_crs crs = aml_open_crs(t);
	aml_io(t, (uint16_t)d->base, (uint8_t)d->len);
	aml_irq(t, d->gsi);
	aml_close_crs(t, crs);
	aml_close(t, dev);
}

/* §7.4.2: the sleep type that PM1a control takes for soft-off. */
static void dsdt_s5(struct blob *t)
{
	aml_name(t, "_S5_");
	size_t s5 = aml_open_package(t, 4);
	aml_int(t, machine_s5_slp_typ);
	aml_int(t, machine_s5_slp_typ);
	aml_int(t, 0);
	aml_int(t, 0);
	aml_close(t, s5);
}

void dsdt_build(struct blob *t, const struct machine_boot *b)
{
	dsdt_s5(t);
	size_t sb = aml_open_scope(t, "\\_SB_");
	dsdt_cpus(t, b->nr_cpus);
	dsdt_pci(t, b->pci);
	dsdt_ecam(t);
	for (unsigned i = 0; i < machine_nr_devs; i++)
		dsdt_legacy(t, &machine_devs[i]);
	aml_close(t, sb);
}
