/*
 * pci_priv.h - layout of the PCI transport, shared by its function and its register table.
 *
 * Layer:   virtio
 * Threads: registers from vCPUs; reset_done and signals from any thread.
 * Errors:  none of its own.
 * Spec:    VIRTIO 1.2 §4.1.4.
 */
#ifndef VIRTIO_PCI_PRIV_H
#define VIRTIO_PCI_PRIV_H
#include <stdatomic.h>
#include "virtio/virtio_pci.h"

/* Parts of BAR 0, a page each so that a host may map or trap them apart. */
#define VPCI_BAR         0
#define VPCI_BAR_BYTES   0x8000
#define VPCI_COMMON      0x0000
#define VPCI_ISR         0x1000
#define VPCI_DEVICE      0x2000
#define VPCI_NOTIFY      0x3000
#define VPCI_NOTIFY_STEP 4 /* bytes from one queue's doorbell to the next */
#define VPCI_TABLE       0x6000
#define VPCI_PBA         0x7000
#define VPCI_PART_BYTES  0x1000u

/* Bytes of the common configuration: up to queue_reset. VIRTIO 1.2 §4.1.4.3 */
#define VPCI_COMMON_BYTES 0x3c

/* A source of interrupts; its eventfd lives as long as the function. */
struct vpci_wire {
	struct notifier call;
	uint16_t vector; /* under lock; MSIX_NO_VECTOR: none */
};

struct vpci_queue {
	struct vpci_wire wire;
	int kick_fd;       /* a blocking eventfd, for readers that wait in the kernel */
	bool has_doorbell; /* under the function's lock: the kernel signals kick_fd itself */
};

struct virtio_pci {
	struct pci_func func;
	/* immutable after create */
	struct vdev *dev;
	uint16_t nr_queues, nr_vectors;
	uint16_t window_cap; /* offset of the configuration access capability */
	/* registers that are no more than that */
	_Atomic uint32_t device_select, driver_select;
	_Atomic uint16_t queue_select;
	_Atomic uint8_t isr;
	/* under lock: the vectors of all wires, and whether they go to INTx */
	struct mutex lock;
	bool is_msix;
	struct vpci_wire config;
	struct vpci_queue q[VDEV_MAX_QUEUES];
};

/* Route @w to @vector, or to none if that cannot be. */
void vpci_set_vector(struct virtio_pci *v, struct vpci_wire *w, uint16_t vector);
uint16_t vpci_vector(struct virtio_pci *v, const struct vpci_wire *w);

/* Accesses to the common configuration; bytes past its end read as zero. */
void vpci_common_read(struct virtio_pci *v, uint32_t off, void *data, unsigned len);
void vpci_common_write(struct virtio_pci *v, uint32_t off, const void *data, unsigned len);

#endif
