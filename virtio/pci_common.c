/* pci_common.c - the common configuration registers as a table. VIRTIO 1.2 §4.1.4.3. */
#include <string.h>
#include "base/le.h"
#include "base/num.h"
#include "pci_priv.h"

struct vpci_reg {
	uint8_t off, width, arg;
	uint32_t (*read)(struct virtio_pci *v, unsigned arg);
	void (*write)(struct virtio_pci *v, unsigned arg, uint32_t value); /* NULL: read only */
};

/* --- features --- */

static uint32_t vpci_read_device_select(struct virtio_pci *v, unsigned arg)
{
	(void)arg;
	return v->device_select;
}

static void vpci_write_device_select(struct virtio_pci *v, unsigned arg, uint32_t value)
{
	(void)arg;
	v->device_select = value;
}

static uint32_t vpci_read_device_feature(struct virtio_pci *v, unsigned arg)
{
	uint32_t word = v->device_select;
	(void)arg;
	return word > 1 ? 0 : (uint32_t)(vdev_offered(v->dev) >> (32 * word));
}

static uint32_t vpci_read_driver_select(struct virtio_pci *v, unsigned arg)
{
	(void)arg;
	return v->driver_select;
}

static void vpci_write_driver_select(struct virtio_pci *v, unsigned arg, uint32_t value)
{
	(void)arg;
	v->driver_select = value;
}

static uint32_t vpci_read_driver_feature(struct virtio_pci *v, unsigned arg)
{
	(void)arg;
	return vdev_accepted(v->dev, v->driver_select);
}

static void vpci_write_driver_feature(struct virtio_pci *v, unsigned arg, uint32_t value)
{
	(void)arg;
	vdev_accept(v->dev, v->driver_select, value);
}

/* --- device --- */

static uint32_t vpci_read_config_vector(struct virtio_pci *v, unsigned arg)
{
	(void)arg;
	return vpci_vector(v, &v->config);
}

static void vpci_write_config_vector(struct virtio_pci *v, unsigned arg, uint32_t value)
{
	(void)arg;
	vpci_set_vector(v, &v->config, (uint16_t)value);
}

static uint32_t vpci_read_num_queues(struct virtio_pci *v, unsigned arg)
{
	(void)arg;
	return v->nr_queues;
}

static uint32_t vpci_read_status(struct virtio_pci *v, unsigned arg)
{
	(void)arg;
	return vdev_status(v->dev);
}

static void vpci_write_status(struct virtio_pci *v, unsigned arg, uint32_t value)
{
	(void)arg;
	vdev_set_status(v->dev, (uint8_t)value);
}

static uint32_t vpci_read_generation(struct virtio_pci *v, unsigned arg)
{
	(void)arg;
	return vdev_generation(v->dev);
}

/* --- the selected queue --- */

static uint32_t vpci_read_queue_select(struct virtio_pci *v, unsigned arg)
{
	(void)arg;
	return v->queue_select;
}

static void vpci_write_queue_select(struct virtio_pci *v, unsigned arg, uint32_t value)
{
	(void)arg;
	v->queue_select = (uint16_t)value;
}

static uint32_t vpci_read_queue_size(struct virtio_pci *v, unsigned arg)
{
	(void)arg;
	return vdev_queue_size(v->dev, v->queue_select);
}

static void vpci_write_queue_size(struct virtio_pci *v, unsigned arg, uint32_t value)
{
	(void)arg;
	vdev_queue_set_size(v->dev, v->queue_select, (uint16_t)value);
}

static uint32_t vpci_read_queue_vector(struct virtio_pci *v, unsigned arg)
{
	uint16_t idx = v->queue_select;
	(void)arg;
	return idx < v->nr_queues ? vpci_vector(v, &v->q[idx].wire) : MSIX_NO_VECTOR;
}

static void vpci_write_queue_vector(struct virtio_pci *v, unsigned arg, uint32_t value)
{
	uint16_t idx = v->queue_select;
	(void)arg;
	if (idx < v->nr_queues)
		vpci_set_vector(v, &v->q[idx].wire, (uint16_t)value);
}

static uint32_t vpci_read_queue_enable(struct virtio_pci *v, unsigned arg)
{
	(void)arg;
	return vdev_queue_enabled(v->dev, v->queue_select);
}

/* VIRTIO 1.2 §4.1.4.3.2: the driver MUST NOT write a 0. */
static void vpci_write_queue_enable(struct virtio_pci *v, unsigned arg, uint32_t value)
{
	(void)arg;
	if (value == 1)
		vdev_queue_enable(v->dev, v->queue_select);
}

static uint32_t vpci_read_notify_off(struct virtio_pci *v, unsigned arg)
{
	uint16_t idx = v->queue_select;
	(void)arg;
	return idx < v->nr_queues ? idx : 0;
}

/* @arg: which area, and which half of its address. */
#define VPCI_LOW(area)  ((area) << 1)
#define VPCI_HIGH(area) ((area) << 1 | 1)

static uint32_t vpci_read_area(struct virtio_pci *v, unsigned arg)
{
	uint64_t addr = vdev_queue_area(v->dev, v->queue_select, (enum vdev_area)(arg >> 1));
	return (uint32_t)(arg & 1 ? addr >> 32 : addr);
}

static void vpci_write_area(struct virtio_pci *v, unsigned arg, uint32_t value)
{
	enum vdev_area area = (enum vdev_area)(arg >> 1);
	uint16_t idx = v->queue_select;
	uint64_t addr = vdev_queue_area(v->dev, idx, area);
	unsigned shift = arg & 1 ? 32 : 0;
	addr = (addr & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
	vdev_queue_set_area(v->dev, idx, area, addr);
}

static uint32_t vpci_read_queue_reset(struct virtio_pci *v, unsigned arg)
{
	(void)arg;
	return vdev_queue_resetting(v->dev, v->queue_select);
}

static void vpci_write_queue_reset(struct virtio_pci *v, unsigned arg, uint32_t value)
{
	(void)arg;
	if (value == 1)
		vdev_queue_reset(v->dev, v->queue_select);
}

/* Without NOTIF_CONFIG_DATA, which is not offered, there is no notification data. */
static uint32_t vpci_read_zero(struct virtio_pci *v, unsigned arg)
{
	(void)v;
	(void)arg;
	return 0;
}

/* Sorted; without gaps. */
static const struct vpci_reg vpci_regs[] = {
	{ 0x00, 4, 0, vpci_read_device_select, vpci_write_device_select },
	{ 0x04, 4, 0, vpci_read_device_feature, NULL },
	{ 0x08, 4, 0, vpci_read_driver_select, vpci_write_driver_select },
	{ 0x0c, 4, 0, vpci_read_driver_feature, vpci_write_driver_feature },
	{ 0x10, 2, 0, vpci_read_config_vector, vpci_write_config_vector },
	{ 0x12, 2, 0, vpci_read_num_queues, NULL },
	{ 0x14, 1, 0, vpci_read_status, vpci_write_status },
	{ 0x15, 1, 0, vpci_read_generation, NULL },
	{ 0x16, 2, 0, vpci_read_queue_select, vpci_write_queue_select },
	{ 0x18, 2, 0, vpci_read_queue_size, vpci_write_queue_size },
	{ 0x1a, 2, 0, vpci_read_queue_vector, vpci_write_queue_vector },
	{ 0x1c, 2, 0, vpci_read_queue_enable, vpci_write_queue_enable },
	{ 0x1e, 2, 0, vpci_read_notify_off, NULL },
	{ 0x20, 4, VPCI_LOW(VDEV_DESC), vpci_read_area, vpci_write_area },
	{ 0x24, 4, VPCI_HIGH(VDEV_DESC), vpci_read_area, vpci_write_area },
	{ 0x28, 4, VPCI_LOW(VDEV_DRIVER), vpci_read_area, vpci_write_area },
	{ 0x2c, 4, VPCI_HIGH(VDEV_DRIVER), vpci_read_area, vpci_write_area },
	{ 0x30, 4, VPCI_LOW(VDEV_DEVICE), vpci_read_area, vpci_write_area },
	{ 0x34, 4, VPCI_HIGH(VDEV_DEVICE), vpci_read_area, vpci_write_area },
	{ 0x38, 2, 0, vpci_read_zero, NULL },
	{ 0x3a, 2, 0, vpci_read_queue_reset, vpci_write_queue_reset },
};

/* The bytes that register @r and an access to [@off, @off+@len) have in common. */
struct vpci_overlap {
	unsigned in_reg, in_data, len;
};

static struct vpci_overlap vpci_overlap(const struct vpci_reg *r, uint32_t off, unsigned len)
{
	uint32_t start = r->off > off ? r->off : off;
	uint32_t end = min_u32(r->off + (uint32_t)r->width, off + len);
	if (start >= end)
		return (struct vpci_overlap){ 0, 0, 0 };
	return (struct vpci_overlap){ start - r->off, start - off, end - start };
}

/* Any access reads the bytes it covers: no register changes by being read. */
void vpci_common_read(struct virtio_pci *v, uint32_t off, void *data, unsigned len)
{
	memset(data, 0, len);
	for (unsigned i = 0; i < ARRAY_SIZE(vpci_regs); i++) {
		const struct vpci_reg *r = &vpci_regs[i];
		struct vpci_overlap o = vpci_overlap(r, off, len);
		if (!o.len)
			continue;
		uint8_t bytes[4];
		le_store(bytes, r->read(v, r->arg), sizeof(bytes));
		memcpy((uint8_t *)data + o.in_data, bytes + o.in_reg, o.len);
	}
}

/* Drivers use the natural width; part of a register keeps the rest, a wide write is several. */
void vpci_common_write(struct virtio_pci *v, uint32_t off, const void *data, unsigned len)
{
	for (unsigned i = 0; i < ARRAY_SIZE(vpci_regs); i++) {
		const struct vpci_reg *r = &vpci_regs[i];
		struct vpci_overlap o = vpci_overlap(r, off, len);
		if (!o.len || !r->write)
			continue;
		uint8_t bytes[4] = { 0 };
		if (o.len < r->width)
			le_store(bytes, r->read(v, r->arg), sizeof(bytes));
		memcpy(bytes + o.in_reg, (const uint8_t *)data + o.in_data, o.len);
		r->write(v, r->arg, (uint32_t)le_load(bytes, sizeof(bytes)));
	}
}
