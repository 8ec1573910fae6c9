/*
 * attacks_place.c - rings and buffers where no RAM is, rings on top of each other, queues set up
 * against the rules of VIRTIO 1.2 §4.1.4.3 and §4.1.5.1.3.
 */
#include "attack.h"
#include "boot.h"
#include "clock.h"
#include "io.h"
#include "mem.h"

enum part { HEADER, DATA, STATUS, TABLE };

/* One of the four at each place that is no RAM. */
static enum verdict part_nowhere(uint64_t part)
{
	struct bad_place place;
	for (unsigned n = 0; (place = attack_bad_place(n)).what; n++) {
		struct scene s;
		CHECK_PASS(scene_open(&s, false));
		if (part == TABLE)
			desc_set(&s.d[0], place.at, 3 * 16, VRING_DESC_F_INDIRECT, 0);
		else
			s.d[part].addr = place.at;
		scene_offer(&s, 0);
		ring_kick_always(&s.p.ring);
		if (!is_strict())
			continue;
		if (!attack_is_decided(&s, CLOCK_PATIENCE_MS))
			return test_fail("%s: no answer", place.what);
		if (s.p.status[0] == 0)
			return test_fail("%s: served", place.what);
	}
	return PASS;
}

static const uint8_t area_registers[] = { COMMON_AT(queue_desc_lo), COMMON_AT(queue_avail_lo),
					  COMMON_AT(queue_used_lo) };

/* A queue that is ready to be enabled. */
static enum verdict queue_prepare(struct scene *s)
{
	heap_empty();
	CHECK_PASS(probe_find(&s->p));
	CHECK(virtio_begin(&s->p.dev, 0));
	ring_alloc(&s->p.ring, &s->p.dev, 0, 8); /* any device has as many */
	ring_program(&s->p.ring, &s->p.dev);
	return PASS;
}

static void area_move(const struct scene *s, unsigned area, uint64_t at)
{
	mmio_write32(s->p.dev.common + area_registers[area], (uint32_t)at);
	mmio_write32(s->p.dev.common + area_registers[area] + 4, (uint32_t)(at >> 32));
}

static void queue_go(struct scene *s)
{
	ring_enable(&s->p.ring, &s->p.dev);
	virtio_go(&s->p.dev);
	for (unsigned i = 0; i < 10; i++)
		ring_kick_always(&s->p.ring);
}

static enum verdict area_nowhere(uint64_t area)
{
	struct bad_place place;
	for (unsigned n = 0; (place = attack_bad_place(n)).what; n++) {
		struct scene s;
		CHECK_PASS(queue_prepare(&s));
		area_move(&s, (unsigned)area, place.at);
		queue_go(&s);
		if (is_strict() && !virtio_wait_needs_reset(&s.p.dev, CLOCK_PATIENCE_MS))
			return test_fail("%s: no request for a reset", place.what);
	}
	return PASS;
}

/* Of the last bytes of RAM, all and one too few. */
static enum verdict areas_at_the_end(uint64_t arg)
{
	static const uint16_t bytes[] = { 8 * 16, 4 + 2 * 8, 4 + 8 * 8 };
	(void)arg;
	for (unsigned area = 0; area < 3; area++)
		for (unsigned less = 0; less <= 16; less += 16) {
			struct scene s;
			CHECK_PASS(queue_prepare(&s));
			uint64_t at = boot_ram_end() - bytes[area] + less;
			area_move(&s, area, at & ~15ul);
			queue_go(&s);
			clock_delay_us(500);
		}
	return PASS;
}

static enum verdict areas_odd(uint64_t by)
{
	for (unsigned area = 0; area < 3; area++) {
		struct scene s;
		CHECK_PASS(queue_prepare(&s));
		const uint64_t at[] = { (uintptr_t)s.p.ring.desc, (uintptr_t)s.p.ring.avail,
					(uintptr_t)s.p.ring.used };
		area_move(&s, area, at[area] + by);
		queue_go(&s);
		clock_delay_us(500);
	}
	return PASS;
}

/* All three areas in one place; and at address 0, where the first page of RAM is. */
static enum verdict areas_on_each_other(uint64_t is_at_zero)
{
	struct scene s;
	CHECK_PASS(queue_prepare(&s));
	uint8_t *page = heap_alloc(4096, 4096);
	struct rand r = { 9 };
	for (unsigned i = 0; i < 4096; i++)
		page[i] = (uint8_t)(rand_next(&r) & 3);
	for (unsigned area = 0; area < 3; area++)
		area_move(&s, area, is_at_zero && area < 2 ? 0 : (uintptr_t)page);
	queue_go(&s);
	clock_delay_us(1000);
	return PASS;
}

/* Registers of a queue that runs are changed: all of them keep what they had or break the queue. */
static enum verdict moved_while_running(uint64_t arg)
{
	struct probe p;
	(void)arg;
	CHECK_PASS(probe_open(&p, 0, SCENE_QUEUE));
	CHECK_PASS(probe_once(&p, false));
	struct scene s = { .p = p };
	for (unsigned area = 0; area < 3; area++)
		area_move(&s, area, NOWHERE);
	COMMON_WRITE16(&p.dev, queue_size, 2);
	ring_enable(&p.ring, &p.dev);
	if (is_strict()) /* VIRTIO 1.2 §4.1.4.3.2: those of an enabled queue are settled */
		CHECK_PASS(probe_once(&p, false));
	return PASS;
}

static enum verdict sizes_that_cannot_be(uint64_t arg)
{
	static const uint16_t sizes[] = { 0, 3, 7, 100, 0x7fff, 0x8000, 0xffff, 1 };
	(void)arg;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct scene s;
		CHECK_PASS(queue_prepare(&s));
		COMMON_WRITE16(&s.p.dev, queue_size, sizes[i]);
		queue_go(&s);
		clock_delay_us(200);
	}
	return PASS;
}

/* The steps of §3.1.1 in any order but the right one. */
static enum verdict wrong_order(uint64_t arg)
{
	struct scene s;
	(void)arg;
	for (unsigned i = 0; i < 4; i++) {
		CHECK_PASS(queue_prepare(&s));
		CHECK(virtio_reset(&s.p.dev));
		if (i & 1)
			queue_go(&s); /* no features, no addresses */
		ring_program(&s.p.ring, &s.p.dev);
		ring_enable(&s.p.ring, &s.p.dev);
		COMMON_WRITE8(&s.p.dev, device_status, i & 2 ? VSTATUS_DRIVER_OK : 0x0f);
		ring_kick_always(&s.p.ring);
		virtio_accept(&s.p.dev, ~0ul);
		COMMON_WRITE8(&s.p.dev, device_status, 0x0f);
		ring_kick_always(&s.p.ring);
	}
	return PASS;
}

/* Features are changed under a device that runs; status bits are taken away. */
static enum verdict features_while_running(uint64_t arg)
{
	struct probe p;
	(void)arg;
	CHECK_PASS(probe_open(&p, 0, SCENE_QUEUE));
	virtio_accept(&p.dev, ~0ul);
	COMMON_WRITE8(&p.dev, device_status, VSTATUS_ACK);
	COMMON_WRITE8(&p.dev, device_status, 0x0f);
	virtio_accept(&p.dev, 0);
	COMMON_WRITE8(&p.dev, device_status, VSTATUS_FAILED);
	COMMON_WRITE8(&p.dev, device_status, 0xff);
	(void)probe_once(&p, false); /* after FAILED anything goes */
	return PASS;
}

/* Every queue the device has, all with the rings of the first. */
static enum verdict queues_share_rings(uint64_t arg)
{
	struct scene s;
	(void)arg;
	CHECK_PASS(scene_open(&s, false));
	CHECK(virtio_begin(&s.p.dev, ~0ul));
	unsigned queues = virtio_queues(&s.p.dev);
	for (uint16_t i = 0; i < queues; i++) {
		s.p.ring.index = i;
		ring_program(&s.p.ring, &s.p.dev);
		ring_enable(&s.p.ring, &s.p.dev);
	}
	virtio_go(&s.p.dev);
	for (unsigned round = 0; round < 50; round++) {
		scene_offer(&s, 0);
		for (uint16_t i = 0; i < queues; i++)
			mmio_write16(s.p.dev.notify + i * s.p.dev.notify_multiplier, i);
	}
	clock_delay_us(1000);
	return PASS;
}

const struct attack attacks_place[] = {
	ATTACK_ACT("place.header-nowhere", "header where no RAM is", part_nowhere, HEADER),
	ATTACK_ACT("place.data-nowhere", "data where no RAM is", part_nowhere, DATA),
	ATTACK_ACT("place.status-nowhere", "status byte where no RAM is", part_nowhere, STATUS),
	ATTACK_ACT("place.table-nowhere", "indirect table where no RAM is", part_nowhere, TABLE),
	ATTACK_ACT("place.descriptors-nowhere", "descriptors where no RAM is", area_nowhere, 0),
	ATTACK_ACT("place.available-nowhere", "available ring where no RAM is", area_nowhere, 1),
	ATTACK_ACT("place.used-nowhere", "used ring where no RAM is", area_nowhere, 2),
	ATTACK_ACT("place.at-the-end", "rings in the last bytes of RAM", areas_at_the_end, 0),
	ATTACK_ACT("place.odd-by-one", "rings at odd addresses", areas_odd, 1),
	ATTACK_ACT("place.odd-by-two", "rings at addresses of two bytes", areas_odd, 2),
	ATTACK_ACT("place.on-each-other", "three rings in one page", areas_on_each_other, 0),
	ATTACK_ACT("place.at-zero", "rings at address 0", areas_on_each_other, 1),
	ATTACK_ACT("place.moved-while-running", "a running queue moved", moved_while_running, 0),
	ATTACK_ACT("place.sizes", "queue sizes that cannot be", sizes_that_cannot_be, 0),
	ATTACK_ACT("place.wrong-order", "initialisation in the wrong order", wrong_order, 0),
	ATTACK_ACT("place.features-while-running", "features changed late", features_while_running,
		   0),
	ATTACK_ACT("place.queues-share-rings", "all queues with one set of rings",
		   queues_share_rings, 0),
	ATTACK_END,
};
