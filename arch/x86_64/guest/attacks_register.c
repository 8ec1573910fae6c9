/*
 * attacks_register.c - every register of the transport written and read with every width, in every
 * state of the device. VIRTIO 1.2 §4.1.4.
 */
#include "attack.h"
#include "boot.h"
#include "io.h"
#include "mem.h"
#include "pci.h"

#define COMMON_END 0x40u

enum state { RESET, DRIVER, FEATURES, ENABLED, RUNNING, BROKEN, NR_STATES };

static void write_wide(uint64_t at, uint64_t value, unsigned width)
{
	switch (width) {
	case 0:
		mmio_write8(at, (uint8_t)value);
		(void)mmio_read8(at);
		break;
	case 1:
		mmio_write16(at, (uint16_t)value);
		(void)mmio_read16(at);
		break;
	case 2:
		mmio_write32(at, (uint32_t)value);
		(void)mmio_read32(at);
		break;
	default:
		mmio_write64(at, value);
		(void)mmio_read64(at);
	}
}

/* Bring a disk or an entropy device to @state, with requests under way where it runs. */
static enum verdict state_enter(struct probe *p, enum state state)
{
	heap_empty();
	CHECK(virtio_reset(&p->dev));
	if (state == RESET)
		return PASS;
	virtio_add_status(&p->dev, VSTATUS_ACK | VSTATUS_DRIVER);
	if (state == DRIVER)
		return PASS;
	if (state >= RUNNING) {
		CHECK_PASS(probe_start(p, VF_INDIRECT | VF_RING_RESET, 8));
		(void)probe_put(p, 0, false);
		if (state == BROKEN)
			ring_offer(&p->ring, 0xffff);
		ring_kick_always(&p->ring);
		return PASS;
	}
	CHECK(virtio_begin(&p->dev, VF_RING_RESET));
	if (state == ENABLED)
		CHECK(ring_setup(&p->ring, &p->dev, 0, 8));
	return PASS;
}

static const uint64_t values[] = { 0, 1, 2, ~0ul, 0x80000000ffff, 0x8080808080808080 };

/* The register at @at, @bytes long. */
static enum verdict hammer(struct probe *p, uint64_t at, uint32_t bytes)
{
	struct rand r = { boot_param_number("seed", 1) + at };
	for (unsigned state = 0; state < NR_STATES; state++)
		for (unsigned width = 0; width < 4; width++) {
			CHECK_PASS(state_enter(p, (enum state)state));
			for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++)
				write_wide(at + i % bytes, values[i], width);
			write_wide(at, rand_next(&r), width);
			uint64_t before = (1ul << width) - 1, most = at - p->dev.common;
			write_wide(at - (before < most ? before : most), rand_next(&r), width);
		}
	return PASS;
}

/* @arg: offset in the common configuration, and length above 8 bits. */
static enum verdict common_of_disk(uint64_t arg)
{
	struct probe p;
	CHECK_PASS(probe_find(&p));
	return hammer(&p, p.dev.common + (arg & 0xff), (uint32_t)(arg >> 8));
}

/* Another kind of device: all of its registers, fewer states. */
static enum verdict common_of(uint64_t type)
{
	struct rand r = { boot_param_number("seed", 1) };
	struct virtio v;
	if (!virtio_find(&v, (uint16_t)type, 0))
		return test_skip("no device of type %lu", type);
	for (uint8_t status = 0; status < 0x20; status = (uint8_t)(status * 2 + 1))
		for (uint32_t at = 0; at < COMMON_END; at++) {
			CHECK(virtio_reset(&v));
			virtio_accept(&v, VF_VERSION_1);
			COMMON_WRITE8(&v, device_status, status);
			for (unsigned width = 0; width < 4; width++)
				write_wide(v.common + at, rand_next(&r), width);
			write_wide(v.common + at, ~0ul, at & 3);
		}
	for (uint32_t at = 0; v.config && at < v.config_bytes + 8 && at < 256; at++)
		write_wide(v.config + at, rand_next(&r), at & 3);
	return PASS;
}

/* All of the BAR, whatever is there; @arg: the width. */
static enum verdict whole_bar(uint64_t width)
{
	struct probe p;
	CHECK_PASS(probe_find(&p));
	CHECK_PASS(state_enter(&p, RUNNING));
	struct rand r = { boot_param_number("seed", 1) };
	const struct pci_bar *bar = &p.dev.pci->bars[0];
	for (unsigned n = 0; n < PCI_BARS && !bar->bytes; n++)
		bar++;
	const uint64_t step = bar->bytes > 0x1000 ? bar->bytes / 0x1000 : 1;
	for (uint64_t at = 0; at + 8 <= bar->bytes; at += step * 4) {
		bool is_table = bar->at + at >= p.dev.pci->msix_table &&
				bar->at + at < p.dev.pci->msix_table + 0x1000;
		if (!is_table) /* attacks_pci.c has its own ways with that */
			write_wide(bar->at + at + (rand_next(&r) & 3), rand_next(&r),
				   (unsigned)width);
	}
	return PASS;
}

/* Doorbells of every width at every place, in every state. */
static enum verdict doorbells(uint64_t arg)
{
	struct probe p;
	(void)arg;
	CHECK_PASS(probe_find(&p));
	for (unsigned state = 0; state < NR_STATES; state++) {
		CHECK_PASS(state_enter(&p, (enum state)state));
		for (uint32_t at = 0; at < p.dev.notify_bytes && at < 64; at++)
			for (unsigned width = 0; width < 4; width++)
				write_wide(p.dev.notify + at, at, width);
	}
	return PASS;
}

/* As fast as it goes, with nothing to do. */
static enum verdict doorbell_storm(uint64_t arg)
{
	struct probe p;
	(void)arg;
	CHECK_PASS(probe_open(&p, 0, 0));
	for (unsigned i = 0; i < 20000; i++)
		ring_kick_always(&p.ring);
	return probe_once(&p, false);
}

/* The queue is reset again and again with requests under way, and used in between. */
static enum verdict queue_reset_storm(uint64_t arg)
{
	struct probe p;
	(void)arg;
	CHECK_PASS(probe_open(&p, VF_RING_RESET, 16));
	if (!(p.dev.features & VF_RING_RESET))
		return test_skip("RING_RESET is not offered");
	for (unsigned i = 0; i < 100; i++) {
		(void)probe_put(&p, 0, false);
		ring_kick_always(&p.ring);
		mmio_write16(p.dev.common + COMMON_QUEUE_RESET, 1);
		mmio_write16(p.dev.common + COMMON_QUEUE_RESET, (uint16_t)i);
		ring_enable(&p.ring, &p.dev);
		ring_kick_always(&p.ring);
	}
	return PASS;
}

#define COMMON(n, field, bytes)                                                                    \
	ATTACK_ACT("register." n, n " in every state, with every width", common_of_disk,           \
		   COMMON_AT(field) | (bytes) << 8)

const struct attack attacks_register[] = {
	COMMON("device-feature-select", device_feature_select, 4),
	COMMON("device-feature", device_feature, 4),
	COMMON("driver-feature-select", guest_feature_select, 4),
	COMMON("driver-feature", guest_feature, 4),
	COMMON("config-vector", msix_config, 2),
	COMMON("num-queues", num_queues, 2),
	COMMON("device-status", device_status, 1),
	COMMON("config-generation", config_generation, 1),
	COMMON("queue-select", queue_select, 2),
	COMMON("queue-size", queue_size, 2),
	COMMON("queue-vector", queue_msix_vector, 2),
	COMMON("queue-enable", queue_enable, 2),
	COMMON("queue-notify-off", queue_notify_off, 2),
	COMMON("queue-desc", queue_desc_lo, 8),
	COMMON("queue-driver", queue_avail_lo, 8),
	COMMON("queue-device", queue_used_lo, 8),
	ATTACK_ACT("register.queue-notify-data", "queue-notify-data in every state", common_of_disk,
		   COMMON_NOTIFY_DATA | 2 << 8),
	ATTACK_ACT("register.queue-reset", "queue-reset in every state", common_of_disk,
		   COMMON_QUEUE_RESET | 2 << 8),
	ATTACK_ACT("register.entropy", "all registers of the entropy device", common_of,
		   VIRTIO_ID_RNG),
	ATTACK_ACT("register.console", "all registers of the console", common_of,
		   VIRTIO_ID_CONSOLE),
	ATTACK_ACT("register.bar-by-1", "the whole BAR in bytes", whole_bar, 0),
	ATTACK_ACT("register.bar-by-2", "the whole BAR in two bytes", whole_bar, 1),
	ATTACK_ACT("register.bar-by-4", "the whole BAR in four bytes", whole_bar, 2),
	ATTACK_ACT("register.bar-by-8", "the whole BAR in eight bytes", whole_bar, 3),
	ATTACK_ACT("register.doorbells", "doorbells of every width in every state", doorbells, 0),
	ATTACK_ACT("register.doorbell-storm", "20000 doorbells for nothing", doorbell_storm, 0),
	ATTACK_ACT("register.queue-reset-storm", "queue resets under I/O", queue_reset_storm, 0),
	ATTACK_END,
};
