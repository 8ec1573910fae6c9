/*
 * pci_fixture.h - a PCI bus with devices that have a BAR of each kind.
 *
 * Layer:   tests
 * Threads: the test's own.
 * Errors:  cmocka assertions.
 * Spec:    bus/pci.h.
 */
#ifndef TESTS_UNIT_BUS_PCI_FIXTURE_H
#define TESTS_UNIT_BUS_PCI_FIXTURE_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <linux/pci_regs.h>
#include "base/num.h"
#include "bus/pci.h"
#include "sync/rcu.h"
#include "unit/bus/fake_chip.h"

#define COMMAND_ON (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)

/* A device with a BAR of each kind; BAR handlers answer with their number. */
struct dev {
	struct pci_func func;
	uint8_t bar_tag[PCI_NR_BARS];
	struct {
		unsigned bar;
		uint64_t addr;
		bool is_on;
	} mapped[32];
	unsigned nr_mapped, mode_changes, written, reading;
	uint16_t last_off;
};

struct fixture {
	struct fake_chip chip;
	struct bus *pio, *mmio;
	struct pci_bus *bus;
	struct dev a, b;
};

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

extern const struct pci_windows windows;
extern const struct bus_ops tag_ops; /* of a BAR: its context is the tag, a byte */

int setup(void **state);
int teardown(void **state);
uint32_t get(struct fixture *f, unsigned slot, unsigned off, unsigned len);
void put(struct fixture *f, unsigned slot, unsigned off, uint32_t v, unsigned len);
unsigned find_cap(struct fixture *f, unsigned slot, uint8_t id);
/* The tag of whoever answers at @addr, 0: nobody. */
unsigned who(struct bus *b, uint64_t addr);
int group_setup(void **state);
int group_teardown(void **state);

#endif
