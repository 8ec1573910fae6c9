/*
 * virtio_pci.h - the modern PCI transport: registers in front of a struct vdev.
 *
 * Layer:   virtio
 * Threads: create, destroy on the control thread; registers from vCPUs.
 * Errors:  negative errno.
 * Spec:    VIRTIO 1.2 §4.1.
 */
#ifndef VIRTIO_VIRTIO_PCI_H
#define VIRTIO_VIRTIO_PCI_H
#include "base/compiler.h"
#include "bus/pci.h"
#include "virtio/vdev.h"

struct virtio_pci; /* from virtio_pci_create() to virtio_pci_destroy() */

/* Put @d behind PCI registers. Takes over @d on success: destroy destroys it too. */
MUST_CHECK int virtio_pci_create(struct virtio_pci **out, struct vdev *d);
/* Unplugged, and vdev_is_quiet(). NULL is fine. */
void virtio_pci_destroy(struct virtio_pci *v);

/* The function to hand to pci_bus_add(). */
struct pci_func *virtio_pci_func(struct virtio_pci *v);
struct vdev *virtio_pci_vdev(struct virtio_pci *v);

#endif
