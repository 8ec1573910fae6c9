/* pci.c - see virtio/virtio_pci.h: the PCI function around a device. VIRTIO 1.2 §4.1. */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include "base/err.h"
#include "base/le.h"
#include "base/num.h"
#include "pci_priv.h"

#define VPCI_VENDOR      0x1af4
#define VPCI_DEVICE_BASE 0x1040 /* VIRTIO 1.2 §4.1.2 */
#define VPCI_SUBDEVICE   0x40   /* §4.1.2.1: this or above, so that no legacy driver matches */
#define VPCI_CAP_VENDOR  0x09
#define VPCI_CLASS_OTHER 0xff0000

#define VPCI_ISR_QUEUE  0x01
#define VPCI_ISR_CONFIG 0x02

static struct virtio_pci *vpci_of(struct pci_func *f)
{
	return container_of(f, struct virtio_pci, func);
}

/* --- interrupts --- */

static bool vpci_is_msix(const struct virtio_pci *v)
{
	return v->func.msix && msix_is_enabled(v->func.msix);
}

/*
 * INTx: the line follows ISR. Who lowers the line may meet a signaller between its two steps, so it
 * looks again: at worst the line stays up with nothing in ISR, and the next read lowers it.
 */
static void vpci_intx_lower(struct virtio_pci *v)
{
	pci_func_set_intx(&v->func, false);
	if (v->isr && !vpci_is_msix(v))
		pci_func_set_intx(&v->func, true);
}

/* A driver that has just chosen MSI-X is told by that too: notifier.h */
static void vpci_intx_raise(struct virtio_pci *v, uint8_t why)
{
	v->isr |= why;
	pci_func_set_intx(&v->func, true);
	if (vpci_is_msix(v))
		vpci_intx_lower(v);
}

static void vpci_intx_queue(void *ctx)
{
	vpci_intx_raise(ctx, VPCI_ISR_QUEUE);
}

static void vpci_intx_config(void *ctx)
{
	vpci_intx_raise(ctx, VPCI_ISR_CONFIG);
}

static uint8_t vpci_isr_read(struct virtio_pci *v)
{
	uint8_t why = atomic_exchange(&v->isr, 0);
	vpci_intx_lower(v);
	return why;
}

/*
 * Direct @w to the eventfd that MSI-X wires up, or to INTx. What is still to be told by the old
 * road goes by the new one: a driver in this mode does not look at the other. ISR does not say
 * which queue it was, so all are told; without a vector nobody is to be told.
 */
static void vpci_direct_locked(struct virtio_pci *v, struct vpci_wire *w, uint8_t why)
	MUST_HOLD(&v->lock)
{
	void (*intx)(void *ctx) = why == VPCI_ISR_CONFIG ? vpci_intx_config : vpci_intx_queue;
	notifier_set_fn(&w->call, v->is_msix ? NULL : intx, v);
	if (w->vector == MSIX_NO_VECTOR)
		return;
	if (v->is_msix && (v->isr & why))
		notifier_signal_shared(&w->call);
	else if (!v->is_msix && notifier_consume(&w->call))
		v->isr |= why;
}

static void vpci_irq_mode_changed(struct pci_func *f)
{
	struct virtio_pci *v = vpci_of(f);
	mutex_lock(&v->lock);
	bool is_msix = vpci_is_msix(v), is_other = is_msix != v->is_msix;
	v->is_msix = is_msix;
	if (is_other)
		vpci_direct_locked(v, &v->config, VPCI_ISR_CONFIG);
	for (uint16_t i = 0; is_other && i < v->nr_queues; i++)
		vpci_direct_locked(v, &v->q[i].wire, VPCI_ISR_QUEUE);
	mutex_unlock(&v->lock);
	vdev_wires_changed(v->dev);
	if (!is_msix && v->isr)
		pci_func_set_intx(f, true);
	else
		vpci_intx_lower(v);
}

/* Who meets another vCPU here looks again, so that the last to leave leaves what the bit says. */
static void vpci_master_changed(struct pci_func *f)
{
	bool may;
	do {
		may = pci_func_is_master(f);
		vdev_set_master(vpci_of(f)->dev, may);
	} while (pci_func_is_master(f) != may);
}

static void vpci_detach_locked(struct virtio_pci *v, struct vpci_wire *w) MUST_HOLD(&v->lock)
{
	if (w->vector != MSIX_NO_VECTOR)
		msix_detach(v->func.msix, &w->call);
	w->vector = MSIX_NO_VECTOR;
}

void vpci_set_vector(struct virtio_pci *v, struct vpci_wire *w, uint16_t vector)
{
	mutex_lock(&v->lock);
	/* what nobody was to be told of while there was no vector stays untold */
	if (w->vector == MSIX_NO_VECTOR)
		(void)notifier_consume(&w->call); /* how many does not matter */
	vpci_detach_locked(v, w);
	/* VIRTIO 1.2 §4.1.5.1.2.1: NO_VECTOR is the answer when it cannot be mapped */
	if (vector < v->nr_vectors && v->func.msix && !msix_attach(v->func.msix, vector, &w->call))
		w->vector = vector;
	mutex_unlock(&v->lock);
}

uint16_t vpci_vector(struct virtio_pci *v, const struct vpci_wire *w)
{
	mutex_lock(&v->lock);
	uint16_t vector = w->vector;
	mutex_unlock(&v->lock);
	return vector;
}

/* --- what the device asks of its transport --- */

static void vpci_config_changed(void *host)
{
	struct virtio_pci *v = host;
	/* VIRTIO 1.2 §4.1.4.5.1: this bit is set whatever carries the interrupt */
	v->isr |= VPCI_ISR_CONFIG;
	notifier_signal(&v->config.call);
}

static int vpci_queue_wires(void *host, uint16_t idx, int *kick_fd, struct notifier **call)
{
	struct virtio_pci *v = host;
	*kick_fd = v->q[idx].kick_fd;
	*call = &v->q[idx].wire.call;
	return 0;
}

/* Doorbells stay: a kick between here and the next start is read by the start. */
static void vpci_reset_done(void *host)
{
	struct virtio_pci *v = host;
	mutex_lock(&v->lock);
	vpci_detach_locked(v, &v->config);
	for (uint16_t i = 0; i < v->nr_queues; i++)
		vpci_detach_locked(v, &v->q[i].wire);
	mutex_unlock(&v->lock);
	v->device_select = 0;
	v->driver_select = 0;
	v->queue_select = 0;
	(void)vpci_isr_read(v);
}

static const struct vdev_host_ops vpci_host_ops = {
	.config_changed = vpci_config_changed,
	.queue_wires = vpci_queue_wires,
	.reset_done = vpci_reset_done,
};

/* --- BAR 0 --- */

/* A kick that the kernel did not take: no doorbell to be had, or an odd write. */
static void vpci_kick(struct virtio_pci *v, uint64_t off)
{
	uint64_t idx = off / VPCI_NOTIFY_STEP;
	if (idx < v->nr_queues)
		notifier_signal_fd(v->q[idx].kick_fd);
}

static void vpci_bar_read(void *ctx, uint64_t at, void *data, unsigned len)
{
	struct virtio_pci *v = ctx;
	uint32_t part = (uint32_t)at & ~(VPCI_PART_BYTES - 1), off = (uint32_t)at - part;
	memset(data, 0, len);
	if (part == VPCI_COMMON)
		vpci_common_read(v, off, data, len);
	else if (part == VPCI_ISR && !off)
		*(uint8_t *)data = vpci_isr_read(v);
	else if (part == VPCI_DEVICE)
		vdev_config_read(v->dev, off, data, len);
	else if (part == VPCI_TABLE)
		msix_table_read(v->func.msix, off, data, len);
	else if (part == VPCI_PBA)
		msix_pba_read(v->func.msix, off, data, len);
}

static void vpci_bar_write(void *ctx, uint64_t at, const void *data, unsigned len)
{
	struct virtio_pci *v = ctx;
	uint32_t part = (uint32_t)at & ~(VPCI_PART_BYTES - 1), off = (uint32_t)at - part;
	if (part == VPCI_COMMON)
		vpci_common_write(v, off, data, len);
	else if (part == VPCI_DEVICE)
		vdev_config_write(v->dev, off, data, len);
	else if (part == VPCI_NOTIFY)
		vpci_kick(v, off);
	else if (part == VPCI_TABLE)
		msix_table_write(v->func.msix, off, data, len);
}

static const struct bus_ops vpci_bar_ops = {
	.name = "virtio-pci",
	.read = vpci_bar_read,
	.write = vpci_bar_write,
};

static void vpci_bar_mapped(struct pci_func *f, unsigned bar, uint64_t addr, bool is_on)
{
	struct virtio_pci *v = vpci_of(f);
	const struct doorbell_chip *bell = f->host->doorbell;
	(void)bar; /* there is but one */
	for (uint16_t i = 0; bell && i < v->nr_queues; i++) {
		struct vpci_queue *q = &v->q[i];
		uint64_t at = addr + VPCI_NOTIFY + i * VPCI_NOTIFY_STEP;
		if (q->has_doorbell)
			bell->ops->del(bell->ctx, BUS_MMIO, at, q->kick_fd);
		q->has_doorbell = is_on && !bell->ops->add(bell->ctx, BUS_MMIO, at, q->kick_fd);
	}
}

/* --- configuration access capability: a window to the BAR. VIRTIO 1.2 §4.1.4.9 --- */

#define VPCI_WINDOW_DATA offsetof(struct virtio_pci_cfg_cap, pci_cfg_data)

/* What the window points to; false: nowhere. */
static bool vpci_window(struct virtio_pci *v, uint32_t *off, uint32_t *len)
{
	const uint8_t *cap = v->func.config + v->window_cap;
	mutex_lock_shared(&v->func.lock);
	uint8_t bar = cap[offsetof(struct virtio_pci_cap, bar)];
	*off = (uint32_t)le_load(cap + offsetof(struct virtio_pci_cap, offset), 4);
	*len = (uint32_t)le_load(cap + offsetof(struct virtio_pci_cap, length), 4);
	mutex_unlock_shared(&v->func.lock);
	if (bar != VPCI_BAR || (*len != 1 && *len != 2 && *len != 4))
		return false;
	return is_aligned(*off, *len) && *off < VPCI_BAR_BYTES;
}

static void vpci_config_reading(struct pci_func *f, uint16_t at, unsigned size)
{
	struct virtio_pci *v = vpci_of(f);
	uint8_t data[4] = { 0 };
	uint32_t off, len;
	(void)size; /* the window's own length decides */
	if (at != v->window_cap + VPCI_WINDOW_DATA || !vpci_window(v, &off, &len))
		return;
	vpci_bar_read(v, off, data, len);
	mutex_lock(&f->lock);
	memcpy(f->config + at, data, sizeof(data));
	mutex_unlock(&f->lock);
}

static void vpci_config_written(struct pci_func *f, uint16_t at, unsigned size)
{
	struct virtio_pci *v = vpci_of(f);
	uint8_t data[4];
	uint32_t off, len;
	(void)size;
	if (at != v->window_cap + VPCI_WINDOW_DATA || !vpci_window(v, &off, &len))
		return;
	mutex_lock_shared(&f->lock);
	memcpy(data, f->config + at, sizeof(data));
	mutex_unlock_shared(&f->lock);
	vpci_bar_write(v, off, data, len);
}

static const struct pci_func_ops vpci_func_ops = {
	.bar_mapped = vpci_bar_mapped,
	.irq_mode_changed = vpci_irq_mode_changed,
	.master_changed = vpci_master_changed,
	.config_written = vpci_config_written,
	.config_reading = vpci_config_reading,
};

/* --- building --- */

/* PCI class by device type; drivers do not care, people who list devices do. */
static uint32_t vpci_class(uint32_t id)
{
	static const struct {
		uint32_t id, class_code;
	} classes[] = {
		{ VIRTIO_ID_NET, 0x020000 },     { VIRTIO_ID_BLOCK, 0x018000 },
		{ VIRTIO_ID_CONSOLE, 0x078000 }, { VIRTIO_ID_SCSI, 0x010000 },
		{ VIRTIO_ID_GPU, 0x038000 },     { VIRTIO_ID_INPUT, 0x098000 },
		{ VIRTIO_ID_VSOCK, 0x028000 },   { VIRTIO_ID_FS, 0x018000 },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(classes); i++)
		if (classes[i].id == id)
			return classes[i].class_code;
	return VPCI_CLASS_OTHER;
}

/* One of the capabilities that say where things lie; @extra goes behind it. */
static int vpci_add_cap(struct virtio_pci *v, uint8_t type, uint32_t off, uint32_t len,
			const uint32_t *extra, bool is_writable)
{
	struct virtio_pci_cap cap = { .cfg_type = type, .bar = VPCI_BAR };
	uint8_t raw[sizeof(cap) + 4] = { 0 }, writable[sizeof(raw)] = { 0 };
	uint8_t size = sizeof(cap) + (extra ? 4 : 0);
	cap.cap_len = size;
	cap.offset = htole32(off);
	cap.length = htole32(len);
	memcpy(raw, &cap, sizeof(cap));
	if (extra)
		le_store(raw + sizeof(cap), *extra, 4);
	if (is_writable) {
		writable[offsetof(struct virtio_pci_cap, bar)] = 0xff;
		memset(writable + offsetof(struct virtio_pci_cap, offset), 0xff,
		       size - offsetof(struct virtio_pci_cap, offset));
	}
	/* pci_func_add_cap() writes the first two bytes, id and next, itself */
	return pci_func_add_cap(&v->func, VPCI_CAP_VENDOR, raw + 2, writable + 2,
				(uint8_t)(size - 2));
}

static int vpci_add_caps(struct virtio_pci *v)
{
	const uint32_t step = VPCI_NOTIFY_STEP, no_data = 0;
	uint32_t notify_bytes = v->nr_queues * step;
	int at = vpci_add_cap(v, VIRTIO_PCI_CAP_COMMON_CFG, VPCI_COMMON, VPCI_COMMON_BYTES, NULL,
			      false);
	if (at >= 0)
		at = vpci_add_cap(v, VIRTIO_PCI_CAP_ISR_CFG, VPCI_ISR, 1, NULL, false);
	if (at >= 0 && v->dev->config_bytes)
		at = vpci_add_cap(v, VIRTIO_PCI_CAP_DEVICE_CFG, VPCI_DEVICE, v->dev->config_bytes,
				  NULL, false);
	if (at >= 0)
		at = vpci_add_cap(v, VIRTIO_PCI_CAP_NOTIFY_CFG, VPCI_NOTIFY, notify_bytes, &step,
				  false);
	if (at >= 0)
		at = vpci_add_cap(v, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, &no_data, true);
	if (at < 0)
		return at;
	v->window_cap = (uint16_t)at;
	at = pci_func_add_msix(&v->func, v->nr_vectors, VPCI_BAR, VPCI_TABLE, VPCI_PBA);
	return at < 0 ? at : 0;
}

static int vpci_wire_init(struct vpci_wire *w, void (*intx)(void *), struct virtio_pci *v)
{
	w->vector = MSIX_NO_VECTOR;
	int err = notifier_init(&w->call);
	if (!err)
		notifier_set_fn(&w->call, intx, v);
	return err;
}

static int vpci_init_wires(struct virtio_pci *v)
{
	int err = vpci_wire_init(&v->config, vpci_intx_config, v);
	for (uint16_t i = 0; !err && i < v->nr_queues; i++) {
		err = vpci_wire_init(&v->q[i].wire, vpci_intx_queue, v);
		if (err)
			break;
		v->q[i].kick_fd = eventfd(0, EFD_CLOEXEC);
		if (v->q[i].kick_fd < 0)
			err = -errno;
	}
	return err;
}

static int vpci_init_func(struct virtio_pci *v)
{
	uint32_t type = v->dev->ops->id;
	struct pci_ident ident = {
		.vendor = VPCI_VENDOR,
		.device = (uint16_t)(VPCI_DEVICE_BASE + type),
		.subvendor = VPCI_VENDOR,
		.subdevice = VPCI_SUBDEVICE,
		.class_code = vpci_class(type),
		.revision = 1,
		.has_intx = true,
	};
	int err = pci_func_init(&v->func, &ident, &vpci_func_ops);
	if (!err)
		err = pci_func_add_bar(&v->func, VPCI_BAR, PCI_BAR_MEM32, VPCI_BAR_BYTES,
				       &vpci_bar_ops, v);
	return err ? err : vpci_add_caps(v);
}

/* All but the device. */
static void vpci_free(struct virtio_pci *v)
{
	notifier_fini(&v->config.call);
	for (uint16_t i = 0; i < v->nr_queues; i++) {
		notifier_fini(&v->q[i].wire.call);
		fd_close(v->q[i].kick_fd);
	}
	if (v->func.ops)
		pci_func_fini(&v->func);
	mutex_fini(&v->lock);
	free(v);
}

int virtio_pci_create(struct virtio_pci **out, struct vdev *d)
{
	size_t bytes = align_up(sizeof(struct virtio_pci), alignof(struct virtio_pci));
	struct virtio_pci *v = aligned_alloc(alignof(struct virtio_pci), bytes);
	if (!v)
		return -ENOMEM;
	memset(v, 0, bytes);
	mutex_init(&v->lock);
	v->dev = d;
	v->nr_queues = d->nr_queues;
	v->nr_vectors = (uint16_t)(d->nr_queues + 1);
	notifier_init_fn(&v->config.call, NULL, NULL); /* until vpci_init_wires(): no eventfds */
	for (uint16_t i = 0; i < v->nr_queues; i++) {
		notifier_init_fn(&v->q[i].wire.call, NULL, NULL);
		v->q[i].kick_fd = -1;
	}
	int err = vpci_init_wires(v);
	if (!err)
		err = vpci_init_func(v);
	if (err) {
		vpci_free(v);
		return err;
	}
	vdev_attach(d, &vpci_host_ops, v);
	*out = v;
	return 0;
}

void virtio_pci_destroy(struct virtio_pci *v)
{
	if (!v)
		return;
	/* the body first: its threads may signal until they are gone */
	vdev_destroy(v->dev);
	mutex_lock(&v->lock);
	vpci_detach_locked(v, &v->config);
	for (uint16_t i = 0; i < v->nr_queues; i++)
		vpci_detach_locked(v, &v->q[i].wire);
	mutex_unlock(&v->lock);
	vpci_free(v);
}

struct pci_func *virtio_pci_func(struct virtio_pci *v)
{
	return &v->func;
}

struct vdev *virtio_pci_vdev(struct virtio_pci *v)
{
	return v->dev;
}
