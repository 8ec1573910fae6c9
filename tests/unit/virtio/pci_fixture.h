/*
 * pci_fixture.h - the PCI transport: a real PCI function and MSI-X, a chip and doorbells that
 * record, a body that stops when told to.
 *
 * Layer:   tests
 * Threads: the test's own.
 * Errors:  cmocka assertions.
 * Spec:    VIRTIO 1.2 §4.1.
 */
#ifndef TESTS_UNIT_VIRTIO_PCI_FIXTURE_H
#define TESTS_UNIT_VIRTIO_PCI_FIXTURE_H
#include <stdarg.h>
#include <setjmp.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/le.h"
#include "base/num.h"
#include "support/fake_vdev.h"
#include "support/guest.h"
#include "sync/rcu.h"
#include "unit/bus/fake_chip.h"
#include "virtio/virtio_pci.h"

#define BAR_AT     0xc0000000ull
#define COMMON     0x0000
#define ISR        0x1000
#define DEVCFG     0x2000
#define NOTIFY     0x3000
#define TABLE      0x6000
#define PBA        0x7000
#define NR_VECTORS (FAKE_QUEUES + 1)
#define INTX_GSI   10

#define R_DEVICE_SELECT  0x00
#define R_DEVICE_FEATURE 0x04
#define R_DRIVER_SELECT  0x08
#define R_DRIVER_FEATURE 0x0c
#define R_CONFIG_VECTOR  0x10
#define R_STATUS         0x14
#define R_QUEUE_SELECT   0x16
#define R_QUEUE_SIZE     0x18
#define R_QUEUE_VECTOR   0x1a
#define R_QUEUE_ENABLE   0x1c
#define R_QUEUE_DESC     0x20
#define R_QUEUE_RESET    0x3a

#define LIVE                                                                                       \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |      \
	 VIRTIO_CONFIG_S_DRIVER_OK)

struct fake_bells {
	struct doorbell_chip chip;
	struct {
		uint64_t addr;
		int fd;
	} bell[16];
	unsigned nr, adds, room;
};

struct fixture {
	struct guest guest;
	struct guest_queue gq[FAKE_QUEUES];
	struct fake_vdev fake;
	struct fake_chip chip;
	struct fake_bells bells;
	struct pci_host host;
	struct virtio_pci *v;
	struct pci_func *func;
};

int bell_at(const struct fake_bells *b, uint64_t addr);
int setup(void **state);
int teardown(void **state);
uint64_t get(struct fixture *f, uint64_t off, unsigned len);
void put(struct fixture *f, uint64_t off, uint64_t value, unsigned len);
uint32_t config_get(struct fixture *f, unsigned off, unsigned len);
void config_put(struct fixture *f, unsigned off, uint32_t value, unsigned len);
/* Offset of the capability with @id (and virtio type @type), 0: none. */
unsigned find_cap(struct fixture *f, unsigned id, unsigned type);
void enable_msix(struct fixture *f);
void set_up_queue(struct fixture *f, uint16_t idx);
void negotiate(struct fixture *f);
void go_live(struct fixture *f);
bool has_count(int fd);

#endif
