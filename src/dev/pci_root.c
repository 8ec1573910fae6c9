/*
 * pci_root.c - the host bridge 00:00.0, the roads into configuration space, reset control; see
 * dev/platform.h.
 *
 * Spec: PCI 3.0 §3.2.2.3.2 (mechanism #1: 0xcf8, 0xcfc); PCI Express 5.0 §7.2.2 (ECAM); reset
 * control register 0xcf9 as in Intel's chipsets.
 */
#include <errno.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/le.h"
#include "dev/platform.h"

#define PCI_ROOT_VENDOR 0x8086
#define PCI_ROOT_DEVICE 0x0d57 /* a host bridge without quirks in any guest we know */
#define PCI_ROOT_CLASS  0x060000

/* Offsets from 0xcf8. */
#define PCI_ROOT_ADDRESS 0
#define PCI_ROOT_RESET   1
#define PCI_ROOT_DATA    4

#define PCI_ROOT_ADDRESS_ENABLE (1u << 31)
#define PCI_ROOT_ADDRESS_BITS   (PCI_ROOT_ADDRESS_ENABLE | 0x00fffffc)
#define PCI_ROOT_RESET_HARD     0x02
#define PCI_ROOT_RESET_CPU      0x04
#define PCI_ROOT_RESET_FULL     0x08

struct pci_root {
	struct pci_func func;
	/* immutable after create */
	struct pci_bus *bus;
	struct machine_sink sink;
	/* any vCPU; the guest's own lock keeps its address and data writes together */
	_Atomic uint32_t address;
	_Atomic uint8_t reset;
};

/* --- mechanism #1 --- */

/* Where an access at data port + @offset goes; false: nowhere. */
static bool pci_root_target(const struct pci_root *r, uint64_t offset, uint16_t *bdf, uint16_t *reg)
{
	uint32_t a = atomic_load_explicit(&r->address, memory_order_relaxed);
	*bdf = (uint16_t)(a >> 8);
	*reg = (uint16_t)((a & 0xfc) + (offset - PCI_ROOT_DATA));
	return a & PCI_ROOT_ADDRESS_ENABLE;
}

static void pci_root_cf8_read(void *ctx, uint64_t offset, void *data, unsigned len)
{
	struct pci_root *r = ctx;
	uint16_t bdf, reg;
	memset(data, 0xff, len);
	if (offset >= PCI_ROOT_DATA) {
		if (pci_root_target(r, offset, &bdf, &reg))
			pci_bus_config_read(r->bus, bdf, reg, data, len);
	} else if (offset == PCI_ROOT_ADDRESS && len == 4) {
		le_store(data, atomic_load_explicit(&r->address, memory_order_relaxed), 4);
	} else if (offset == PCI_ROOT_RESET && len == 1) {
		*(uint8_t *)data = atomic_load_explicit(&r->reset, memory_order_relaxed);
	}
}

static void pci_root_write_reset(struct pci_root *r, uint8_t v)
{
	uint8_t kept = v & (PCI_ROOT_RESET_HARD | PCI_ROOT_RESET_FULL);
	atomic_store_explicit(&r->reset, kept, memory_order_relaxed);
	if (v & PCI_ROOT_RESET_CPU)
		r->sink.event(r->sink.ctx, MACHINE_RESET);
}

/* Only a dword at 0xcf8 is the address register; other sizes pass it by (PCI 3.0 §3.2.2.3.2). */
static void pci_root_cf8_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	struct pci_root *r = ctx;
	uint16_t bdf, reg;
	if (offset >= PCI_ROOT_DATA) {
		if (pci_root_target(r, offset, &bdf, &reg))
			pci_bus_config_write(r->bus, bdf, reg, data, len);
	} else if (offset == PCI_ROOT_ADDRESS && len == 4) {
		atomic_store_explicit(&r->address,
				      (uint32_t)le_load(data, 4) & PCI_ROOT_ADDRESS_BITS,
				      memory_order_relaxed);
	} else if (offset == PCI_ROOT_RESET && len == 1) {
		pci_root_write_reset(r, *(const uint8_t *)data);
	}
}

const struct bus_ops pci_root_cf8_bus_ops = {
	.name = "pci-cf8",
	.read = pci_root_cf8_read,
	.write = pci_root_cf8_write,
};

/* --- ECAM --- */

static void pci_root_ecam_read(void *ctx, uint64_t offset, void *data, unsigned len)
{
	struct pci_root *r = ctx;
	pci_bus_config_read(r->bus, (uint16_t)(offset / PCI_CONFIG_BYTES),
			    (uint16_t)(offset % PCI_CONFIG_BYTES), data, len);
}

static void pci_root_ecam_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	struct pci_root *r = ctx;
	pci_bus_config_write(r->bus, (uint16_t)(offset / PCI_CONFIG_BYTES),
			     (uint16_t)(offset % PCI_CONFIG_BYTES), data, len);
}

const struct bus_ops pci_root_ecam_bus_ops = {
	.name = "pci-ecam",
	.read = pci_root_ecam_read,
	.write = pci_root_ecam_write,
};

int pci_root_create(struct pci_root **out, struct pci_bus *bus, const struct machine_sink *sink)
{
	static const struct pci_ident id = {
		.vendor = PCI_ROOT_VENDOR,
		.device = PCI_ROOT_DEVICE,
		.class_code = PCI_ROOT_CLASS,
	};
	struct pci_root *r = aligned_alloc(alignof(struct pci_root), sizeof(*r));
	if (!r)
		return -ENOMEM;
	memset(r, 0, sizeof(*r));
	r->bus = bus;
	r->sink = *sink;
	int err = pci_func_init(&r->func, &id, NULL);
	if (!err) {
		err = pci_bus_add(bus, &r->func, 0);
		if (err)
			pci_func_fini(&r->func);
	}
	if (err) {
		free(r);
		return err;
	}
	*out = r;
	return 0;
}

void pci_root_destroy(struct pci_root *r)
{
	if (!r)
		return;
	pci_bus_remove(r->bus, &r->func);
	pci_func_fini(&r->func);
	free(r);
}
