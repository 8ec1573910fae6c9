/*
 * virtio.c - see virtio.h.
 */
#include "virtio.h"
#include <linux/pci_regs.h>
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "io.h"
#include "pci.h"

/* A structure described by one vendor capability; 0 where its BAR is not usable memory. */
static uint64_t cap_address(const struct pci_dev *d, uint8_t cap)
{
	uint8_t n = pci_read8(d, cap + offsetof(struct virtio_pci_cap, bar));
	if (n >= PCI_BARS || !d->bars[n].bytes || d->bars[n].is_io)
		return 0;
	return d->bars[n].at + pci_read32(d, cap + offsetof(struct virtio_pci_cap, offset));
}

static void take_capability(struct virtio *v, uint8_t cap)
{
	const struct pci_dev *d = v->pci;
	uint64_t at = cap_address(d, cap);
	uint32_t bytes = pci_read32(d, cap + offsetof(struct virtio_pci_cap, length));
	switch (pci_read8(d, cap + offsetof(struct virtio_pci_cap, cfg_type))) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		v->common = at;
		v->common_bytes = bytes;
		break;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		v->notify = at;
		v->notify_bytes = bytes;
		v->notify_multiplier = pci_read32(d, cap + sizeof(struct virtio_pci_cap));
		break;
	case VIRTIO_PCI_CAP_ISR_CFG:
		v->isr = at;
		break;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		v->config = at;
		v->config_bytes = bytes;
		break;
	default:
		break;
	}
}

bool virtio_find(struct virtio *v, uint16_t type, unsigned nth)
{
	for (unsigned i = 0; i < pci_count(); i++) {
		struct pci_dev *d = pci_nth(i);
		if (d->vendor != VIRTIO_VENDOR || d->device != VIRTIO_DEVICE + type || nth--)
			continue;
		*v = (struct virtio){ .pci = d, .type = type };
		for (uint8_t c = pci_capability(d, PCI_CAP_ID_VNDR, 0); c;
		     c = pci_capability(d, PCI_CAP_ID_VNDR, c))
			take_capability(v, c);
		return v->common && virtio_reset(v);
	}
	return false;
}

uint8_t virtio_status(const struct virtio *v)
{
	return COMMON_READ8(v, device_status);
}

void virtio_add_status(const struct virtio *v, uint8_t bits)
{
	COMMON_WRITE8(v, device_status, virtio_status(v) | bits);
}

bool virtio_reset(const struct virtio *v)
{
	COMMON_WRITE8(v, device_status, 0);
	for (uint64_t end = clock_after_ms(CLOCK_PATIENCE_MS); virtio_status(v);)
		if (clock_passed(end))
			return false;
	return true;
}

uint64_t virtio_offered(const struct virtio *v)
{
	COMMON_WRITE32(v, device_feature_select, 0);
	uint64_t low = COMMON_READ32(v, device_feature);
	COMMON_WRITE32(v, device_feature_select, 1);
	return low | (uint64_t)COMMON_READ32(v, device_feature) << 32;
}

void virtio_accept(const struct virtio *v, uint64_t features)
{
	COMMON_WRITE32(v, guest_feature_select, 0);
	COMMON_WRITE32(v, guest_feature, (uint32_t)features);
	COMMON_WRITE32(v, guest_feature_select, 1);
	COMMON_WRITE32(v, guest_feature, (uint32_t)(features >> 32));
}

unsigned virtio_queues(const struct virtio *v)
{
	return COMMON_READ16(v, num_queues);
}

bool virtio_begin(struct virtio *v, uint64_t wanted)
{
	if (!virtio_reset(v))
		return false;
	virtio_add_status(v, VSTATUS_ACK);
	virtio_add_status(v, VSTATUS_DRIVER);
	uint64_t packed = boot_param_number("packed", 0) ? VF_PACKED : 0;
	v->features = virtio_offered(v) & ((wanted & ~VF_PACKED) | packed | VF_VERSION_1);
	virtio_accept(v, v->features);
	virtio_add_status(v, VSTATUS_FEATURES);
	if (!(virtio_status(v) & VSTATUS_FEATURES))
		return false;
	msix_enable(v->pci, !v->has_no_msix);
	if (v->pci->msix_cap && !v->has_no_msix) {
		msix_mask_all(v->pci, false);
		for (unsigned n = 0; n < v->pci->msix_vectors; n++)
			msix_route(v->pci, n, cpu_this()->apic_id);
		COMMON_WRITE16(v, msix_config, 0);
	}
	return true;
}

void virtio_go(struct virtio *v)
{
	virtio_add_status(v, VSTATUS_DRIVER_OK);
}

bool virtio_needs_reset(const struct virtio *v)
{
	return virtio_status(v) & VSTATUS_RESET;
}

bool virtio_wait_needs_reset(const struct virtio *v, unsigned ms)
{
	for (uint64_t end = clock_after_ms(ms); !virtio_needs_reset(v);) {
		if (clock_passed(end))
			return false;
		cpu_pause();
	}
	return true;
}
