/*
 * tests_hostile.c - ring areas where none can be, doorbells nobody asked for, garbage in registers
 * and rings: the machine goes on and the device works again after a reset.
 */
#include "boot.h"
#include "clock.h"
#include "io.h"
#include "mem.h"
#include "scene.h"

#define OUTCOME_MS CLOCK_PATIENCE_MS
#define NEXT       VRING_DESC_F_NEXT
#define IN         VRING_DESC_F_WRITE
#define INDIRECT   VRING_DESC_F_INDIRECT

/* One ring area at an address that cannot be: desc, avail, used. */
static enum verdict bad_area(unsigned area, uint64_t at)
{
	static const uint8_t registers[] = { COMMON_AT(queue_desc_lo), COMMON_AT(queue_avail_lo),
					     COMMON_AT(queue_used_lo) };
	struct scene s;
	heap_empty();
	CHECK_PASS(probe_find(&s.p));
	CHECK(virtio_begin(&s.p.dev, 0));
	COMMON_WRITE16(&s.p.dev, queue_select, 0);
	ring_alloc(&s.p.ring, &s.p.dev, 0, SCENE_QUEUE / 2); /* any device has as many */
	ring_program(&s.p.ring, &s.p.dev);
	mmio_write32(s.p.dev.common + registers[area], (uint32_t)at);
	mmio_write32(s.p.dev.common + registers[area] + 4, (uint32_t)(at >> 32));
	ring_enable(&s.p.ring, &s.p.dev);
	virtio_go(&s.p.dev);
	for (unsigned i = 0; i < 10; i++)
		ring_kick_always(&s.p.ring);
	if (is_strict() && !virtio_wait_needs_reset(&s.p.dev, OUTCOME_MS))
		return test_fail("area %u at 0x%lx: no request for a reset", area, at);
	return scene_works_again();
}

static enum verdict bad_ring_areas(void)
{
	const uint64_t end = boot_ram_end();
	const uint64_t bad[] = { end, end - 16, NOWHERE, ~0ul & ~15ul, 0xd0000000 };
	for (unsigned area = 0; area < 3; area++)
		for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
			CHECK_PASS(bad_area(area, bad[i]));
	return PASS;
}

/* Used index and elements land on the descriptors. */
static enum verdict overlapping_areas(void)
{
	struct scene s;
	CHECK_PASS(scene_open(&s, false));
	CHECK(virtio_begin(&s.p.dev, 0));
	s.p.ring.used = (void *)s.p.ring.desc;
	ring_program(&s.p.ring, &s.p.dev);
	ring_enable(&s.p.ring, &s.p.dev);
	virtio_go(&s.p.dev);
	for (unsigned i = 0; i < 8; i++) {
		scene_offer(&s, 0);
		ring_kick_always(&s.p.ring);
	}
	clock_delay_us(1000);
	return scene_works_again();
}

/* Doorbells before the queue is enabled, before DRIVER_OK, for queues there are not. */
static enum verdict wild_doorbells(void)
{
	struct probe p;
	CHECK_PASS(probe_find(&p));
	for (uint32_t at = 0; at < p.dev.notify_bytes && at < 4096; at += 2)
		mmio_write16(p.dev.notify + at, (uint16_t)at);
	CHECK(virtio_begin(&p.dev, 0));
	for (uint16_t i = 0; i < 64; i++)
		mmio_write16(p.dev.notify, i);
	mmio_write8(p.dev.notify, 0);
	mmio_write32(p.dev.notify, 0xffffffff);
	CHECK_EQ(virtio_status(&p.dev), VSTATUS_ACK | VSTATUS_DRIVER | VSTATUS_FEATURES);
	return scene_works_again();
}

static void write_any_width(uint64_t at, uint64_t value, unsigned width)
{
	switch (width) {
	case 0:
		mmio_write8(at, (uint8_t)value);
		break;
	case 1:
		mmio_write16(at, (uint16_t)value);
		break;
	case 2:
		mmio_write32(at, (uint32_t)value);
		break;
	default:
		mmio_write64(at, value);
	}
}

/* Every register of the common configuration, any width, random values, in every state. */
static enum verdict register_garbage(void)
{
	static const uint8_t states[] = { 0, VSTATUS_ACK | VSTATUS_DRIVER,
					  VSTATUS_ACK | VSTATUS_DRIVER | VSTATUS_FEATURES, 0x0f,
					  0x80 };
	struct rand r = { boot_param_number("seed", 1) };
	struct probe p;
	CHECK_PASS(probe_find(&p));
	for (unsigned state = 0; state < sizeof(states); state++) {
		for (uint32_t at = 0; at < 0x40; at++) {
			CHECK(virtio_reset(&p.dev));
			virtio_accept(&p.dev, VF_VERSION_1);
			COMMON_WRITE8(&p.dev, device_status, states[state]);
			write_any_width(p.dev.common + at, rand_next(&r), at & 3);
			write_any_width(p.dev.common + at, ~0ul, (unsigned)(rand_next(&r) & 3));
		}
		for (uint32_t at = 0; p.dev.config && at < p.dev.config_bytes + 8; at++)
			write_any_width(p.dev.config + at, rand_next(&r), at & 3);
	}
	return scene_works_again();
}

/* Garbage in the tables, with addresses that lie in a sandbox or nowhere. */
static void scramble(const struct scene *s, struct rand *r, uint8_t *sandbox)
{
	for (unsigned i = 0; i < SCENE_QUEUE + SCENE_TABLE; i++) {
		struct vring_desc *d = i < SCENE_QUEUE ? &s->d[i] : &s->table[i - SCENE_QUEUE];
		uint64_t x = rand_next(r);
		uint32_t offset = (uint32_t)(x >> 8) % CANARY_BYTES;
		uint32_t len = (uint32_t)(x >> 24) % (CANARY_BYTES - offset);
		desc_set(d, (uintptr_t)sandbox + offset, len, (unsigned)(x >> 40) & (NEXT | IN),
			 (uint16_t)((x >> 48) % (SCENE_QUEUE + 1)));
		if ((x & 15) == 0)
			desc_set(d, NOWHERE - offset, len, d->flags, d->next);
		if ((x & 15) ==
		    1) /* either 16 descriptors of the table, or any bytes: the table itself */
			desc_set(d, (uintptr_t)s->table, 16 * (1 + (len & 31)), INDIRECT, d->next);
	}
}

static enum verdict random_rings(void)
{
	struct rand r = { boot_param_number("seed", 1) };
	unsigned resets = 0;
	for (unsigned round = 0; round < boot_param_number("rounds", 100); round++) {
		struct scene s;
		CHECK_PASS(scene_open(&s, round & 1));
		uint8_t *before = heap_alloc(CANARY_BYTES, 4096);
		uint8_t *sandbox = heap_alloc(CANARY_BYTES, 4096);
		uint8_t *behind = heap_alloc(CANARY_BYTES, 4096);
		mem_fill(before, CANARY, CANARY_BYTES);
		mem_fill(behind, CANARY, CANARY_BYTES);
		for (unsigned i = 0; i < CANARY_BYTES; i += 8)
			*(uint64_t *)(void *)(sandbox + i) = rand_next(&r) & 0xff;
		scramble(&s, &r, sandbox);
		for (unsigned i = 0; i < SCENE_QUEUE; i++)
			scene_offer(&s, (uint16_t)(rand_next(&r) % (SCENE_QUEUE + 1)));
		ring_kick_always(&s.p.ring);
		clock_delay_us(500);
		resets += virtio_needs_reset(&s.p.dev);
		CHECK(virtio_reset(&s.p.dev));
		for (unsigned i = 0; i < CANARY_BYTES; i++)
			CHECK(before[i] == CANARY && behind[i] == CANARY);
	}
	print("info %u of the random rings ended in a request for a reset\n", resets);
	return scene_works_again();
}

const struct test hostile_tests[] = {
	{ "hostile.bad-ring-areas", bad_ring_areas },
	{ "hostile.overlapping-areas", overlapping_areas },
	{ "hostile.wild-doorbells", wild_doorbells },
	{ "hostile.register-garbage", register_garbage },
	{ "hostile.random-rings", random_rings },
	{ NULL, NULL },
};
