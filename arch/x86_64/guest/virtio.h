/*
 * virtio.h - driver side of virtio-pci, modern only. VIRTIO 1.2 §4.1.
 *
 * Registers are found by the capabilities, never by fixed offsets.
 */
#ifndef GUEST_VIRTIO_H
#define GUEST_VIRTIO_H
#include <stdbool.h>
#include <stdint.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>

#define VIRTIO_VENDOR 0x1af4
#define VIRTIO_DEVICE 0x1040 /* plus the type */

#define VSTATUS_ACK       0x01
#define VSTATUS_DRIVER    0x02
#define VSTATUS_DRIVER_OK 0x04
#define VSTATUS_FEATURES  0x08
#define VSTATUS_RESET     0x40 /* the device needs a reset */
#define VSTATUS_FAILED    0x80

#define VF_INDIRECT   (1ul << 28)
#define VF_EVENT_IDX  (1ul << 29)
#define VF_VERSION_1  (1ul << 32)
#define VF_PACKED     (1ul << 34)
#define VF_RING_RESET (1ul << 40)

#define VIRTIO_NO_VECTOR 0xffff

struct pci_dev;

struct virtio {
	struct pci_dev *pci;
	uint16_t type;
	uint64_t common, isr, notify, config; /* addresses; 0: missing */
	uint32_t common_bytes, config_bytes, notify_bytes, notify_multiplier;
	uint64_t features;   /* as accepted */
	bool has_no_msix;    /* set before virtio_begin(): use INTx */
	bool has_no_vectors; /* set before ring_setup(): queues interrupt nobody */
};

/* The @nth device of @type, reset. False: there is none. */
bool virtio_find(struct virtio *v, uint16_t type, unsigned nth);

/* Registers of the common configuration, by the names of struct virtio_pci_common_cfg. */
#define COMMON_AT(field)            offsetof(struct virtio_pci_common_cfg, field)
#define COMMON_READ8(v, field)      mmio_read8((v)->common + COMMON_AT(field))
#define COMMON_READ16(v, field)     mmio_read16((v)->common + COMMON_AT(field))
#define COMMON_READ32(v, field)     mmio_read32((v)->common + COMMON_AT(field))
#define COMMON_WRITE8(v, field, x)  mmio_write8((v)->common + COMMON_AT(field), (x))
#define COMMON_WRITE16(v, field, x) mmio_write16((v)->common + COMMON_AT(field), (x))
#define COMMON_WRITE32(v, field, x) mmio_write32((v)->common + COMMON_AT(field), (x))
/* Behind struct virtio_pci_common_cfg, VIRTIO 1.2 §4.1.4.3. */
#define COMMON_NOTIFY_DATA 0x38
#define COMMON_QUEUE_RESET 0x3a

/* Write 0, wait until it reads 0. False: it does not within a second. */
bool virtio_reset(const struct virtio *v);
uint8_t virtio_status(const struct virtio *v);
void virtio_add_status(const struct virtio *v, uint8_t bits);
uint64_t virtio_offered(const struct virtio *v);
void virtio_accept(const struct virtio *v, uint64_t features);
unsigned virtio_queues(const struct virtio *v);

/*
 * Reset, then up to FEATURES_OK with VERSION_1 and whatever of @wanted is offered (packed rings
 * too with the parameter `packed=1`, never without); MSI-X on where the device has it, vector 0 for
 * configuration. False: the device refused.
 */
bool virtio_begin(struct virtio *v, uint64_t wanted);
/* DRIVER_OK. */
void virtio_go(struct virtio *v);

bool virtio_needs_reset(const struct virtio *v);
/* Wait for DEVICE_NEEDS_RESET. False: not within @ms. */
bool virtio_wait_needs_reset(const struct virtio *v, unsigned ms);

#endif
