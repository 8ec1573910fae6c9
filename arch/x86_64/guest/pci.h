/*
 * pci.h - configuration space by both roads, base address registers, capabilities, MSI-X.
 */
#ifndef GUEST_PCI_H
#define GUEST_PCI_H
#include <stdbool.h>
#include <stdint.h>

#define PCI_MAX_DEVICES 64
#define PCI_BARS        6

struct pci_bar {
	uint64_t at, bytes; /* bytes 0: not there, or the upper half of the one before */
	bool is_io, is_wide;
};

struct pci_dev {
	uint8_t bus, slot, fn;
	uint16_t vendor, device;
	struct pci_bar bars[PCI_BARS];
	/* MSI-X, where the device has it (msix_cap != 0) */
	uint8_t msix_cap;
	unsigned msix_vectors;
	uint64_t msix_table, msix_pba;
};

/* Find every function of bus 0, size BARs, place those that have no address yet. */
void pci_init(void);
unsigned pci_count(void);
struct pci_dev *pci_nth(unsigned n);

/* Through ECAM where the machine has it, else through ports. @offset is aligned to the width. */
uint32_t pci_read32(const struct pci_dev *d, unsigned offset);
uint16_t pci_read16(const struct pci_dev *d, unsigned offset);
uint8_t pci_read8(const struct pci_dev *d, unsigned offset);
void pci_write32(const struct pci_dev *d, unsigned offset, uint32_t v);
void pci_write16(const struct pci_dev *d, unsigned offset, uint16_t v);
void pci_write8(const struct pci_dev *d, unsigned offset, uint8_t v);

/* One road each, for comparing them. pci_ecam_at() is 0 where there is no ECAM. */
uint32_t pci_port_read32(uint8_t bus, uint8_t slot, uint8_t fn, unsigned offset);
uint8_t pci_port_read8(uint8_t bus, uint8_t slot, uint8_t fn, unsigned offset);
uint16_t pci_port_read16(uint8_t bus, uint8_t slot, uint8_t fn, unsigned offset);
uint64_t pci_ecam_at(uint8_t bus, uint8_t slot, uint8_t fn, unsigned offset);

/* Offset of the next capability @id behind @from (0: the first); 0: no more. Bounded. */
uint8_t pci_capability(const struct pci_dev *d, uint8_t id, uint8_t from);

/* Size BAR @n again, the way drivers do, and leave it as it was. */
struct pci_bar pci_bar_probe(const struct pci_dev *d, unsigned n);

void msix_enable(const struct pci_dev *d, bool is_on);
void msix_mask_all(const struct pci_dev *d, bool is_masked); /* the function mask */
/* Entry @n delivers vector VEC_MSI + @n to @apic_id. */
void msix_route(const struct pci_dev *d, unsigned n, uint32_t apic_id);
void msix_mask(const struct pci_dev *d, unsigned n, bool is_masked);
bool msix_is_pending(const struct pci_dev *d, unsigned n);

#endif
