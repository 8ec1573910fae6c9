/*
 * tests_hostile.c - a driver that breaks the rules of the ring: the device asks for a reset or
 * fails the request, touches no memory it was not given, and works again after a reset.
 *
 * The rows are block requests (header, data, status).
 */
#include <linux/virtio_blk.h>
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "io.h"
#include "mem.h"
#include "pci.h"
#include "probe.h"

#define OUTCOME_MS   500
#define QUEUE_SIZE   16
#define CANARY_BYTES 65536
#define CANARY	     0xc3
#define NEXT	     VRING_DESC_F_NEXT
#define IN	     VRING_DESC_F_WRITE
#define INDIRECT     VRING_DESC_F_INDIRECT
#define NOWHERE	     0xfffffffffffff000ul

enum expect {
	REFUSED,	/* the device needs a reset, or the request failed */
	REFUSED_STRICT, /* with strict=1; else ANYTHING */
	SERVED,		/* unusual but allowed: a correct answer */
	ANYTHING,	/* as long as nothing breaks */
};

/* What a row works with: a device that is up, a good chain 0-1-2, a table for indirect chains. */
struct scene {
	struct probe p;
	struct vring_desc *d, *table;
	uint64_t ram_end;
};

static void set(struct vring_desc *d, uint64_t addr, uint32_t len, unsigned flags, uint16_t next)
{
	*d = (struct vring_desc){ addr, len, (uint16_t)flags, next };
}

/* A request that would succeed, in @d[0..2]. */
static void good(const struct scene *s, struct vring_desc *d)
{
	set(&d[0], (uintptr_t)s->p.header, sizeof(*s->p.header), NEXT, 1);
	set(&d[1], (uintptr_t)s->p.data[0], PROBE_BYTES, IN | NEXT, 2);
	set(&d[2], (uintptr_t)s->p.status, 1, IN, 0);
}

static void head_is(struct scene *s, uint16_t head)
{
	ring_offer(&s->p.ring, head);
}

static void indirect(struct scene *s, uint32_t bytes, unsigned flags)
{
	set(&s->d[0], (uintptr_t)s->table, bytes, INDIRECT | flags, 1);
	head_is(s, 0);
}

static void head_past_table(struct scene *s)
{
	head_is(s, QUEUE_SIZE);
}

static void head_far_past_table(struct scene *s)
{
	head_is(s, 0xffff);
}

static void next_past_table(struct scene *s)
{
	s->d[1].next = QUEUE_SIZE;
	head_is(s, 0);
}

static void next_far_past_table(struct scene *s)
{
	s->d[0].next = 0xfff0;
	head_is(s, 0);
}

static void loop_of_one(struct scene *s)
{
	s->d[0].next = 0;
	head_is(s, 0);
}

static void loop_of_two(struct scene *s)
{
	s->d[1].next = 0;
	head_is(s, 0);
}

static void loop_at_the_end(struct scene *s)
{
	s->d[2].flags |= NEXT;
	s->d[2].next = 2;
	head_is(s, 0);
}

static void loop_of_all(struct scene *s)
{
	for (uint16_t i = 0; i < QUEUE_SIZE; i++)
		set(&s->d[i], (uintptr_t)s->p.data[0], 16, NEXT, (uint16_t)((i + 1) % QUEUE_SIZE));
	head_is(s, 0);
}

static void data_nowhere(struct scene *s)
{
	s->d[1].addr = NOWHERE;
	head_is(s, 0);
}

static void data_past_ram(struct scene *s)
{
	s->d[1].addr = s->ram_end;
	head_is(s, 0);
}

static void data_over_the_end(struct scene *s)
{
	s->d[1].addr = s->ram_end - 16;
	head_is(s, 0);
}

static void data_in_a_hole(struct scene *s)
{
	s->d[1].addr = 0xd0000000;
	head_is(s, 0);
}

static void data_in_own_registers(struct scene *s)
{
	s->d[1].addr = s->p.dev.common & ~0xffful;
	head_is(s, 0);
}

static void data_wraps(struct scene *s)
{
	s->d[1].addr = NOWHERE;
	s->d[1].len = 0x2000;
	head_is(s, 0);
}

static void header_nowhere(struct scene *s)
{
	s->d[0].addr = NOWHERE;
	head_is(s, 0);
}

static void status_nowhere(struct scene *s)
{
	s->d[2].addr = NOWHERE;
	head_is(s, 0);
}

static void huge_data(struct scene *s)
{
	s->d[1].len = 0xffffffff;
	head_is(s, 0);
}

static void lengths_overflow(struct scene *s)
{
	for (uint16_t i = 1; i < 6; i++)
		set(&s->d[i], 0x100000, 0x80000000, IN | NEXT, (uint16_t)(i + 1));
	set(&s->d[6], (uintptr_t)s->p.status, 1, IN, 0);
	head_is(s, 0);
}

static void zero_length_data(struct scene *s)
{
	s->d[1].len = 0;
	head_is(s, 0);
}

static void zero_length_header(struct scene *s)
{
	s->d[0].len = 0;
	head_is(s, 0);
}

static void zero_length_status(struct scene *s)
{
	s->d[2].len = 0;
	head_is(s, 0);
}

static void short_header(struct scene *s)
{
	s->d[0].len = 8;
	head_is(s, 0);
}

static void only_header(struct scene *s)
{
	s->d[0].flags = 0;
	head_is(s, 0);
}

static void only_writable(struct scene *s)
{
	s->d[0].flags |= IN;
	head_is(s, 0);
}

static void status_readable(struct scene *s)
{
	s->p.header->type = VIRTIO_BLK_T_OUT;
	s->d[1].flags &= (uint16_t)~IN;
	s->d[2].flags &= (uint16_t)~IN;
	head_is(s, 0);
}

static void readable_behind_writable(struct scene *s)
{
	s->d[2].flags = NEXT;
	set(&s->d[3], (uintptr_t)s->p.status, 1, IN, 0);
	s->d[2].next = 3;
	head_is(s, 0);
}

static void indirect_good(struct scene *s)
{
	good(s, s->table);
	indirect(s, 3 * 16, 0);
}

static void indirect_marked_writable(struct scene *s)
{
	good(s, s->table);
	indirect(s, 3 * 16, IN);
}

static void indirect_behind_direct(struct scene *s)
{
	good(s, s->table);
	s->d[1] = (struct vring_desc){ (uintptr_t)(s->table + 1), 2 * 16, INDIRECT, 0 };
	s->table[1].next = 1;
	head_is(s, 0);
}

static void indirect_in_indirect(struct scene *s)
{
	good(s, s->table + 4);
	set(&s->table[0], (uintptr_t)(s->table + 4), 3 * 16, INDIRECT, 0);
	indirect(s, 16, 0);
}

static void indirect_of_itself(struct scene *s)
{
	set(&s->table[0], (uintptr_t)s->table, 16, INDIRECT, 0);
	indirect(s, 16, 0);
}

static void indirect_and_next(struct scene *s)
{
	good(s, s->table);
	indirect(s, 3 * 16, NEXT);
}

static void indirect_odd_length(struct scene *s)
{
	good(s, s->table);
	indirect(s, 3 * 16 + 1, 0);
}

static void indirect_empty(struct scene *s)
{
	indirect(s, 0, 0);
}

static void indirect_huge(struct scene *s)
{
	for (uint16_t i = 0; i < 8; i++)
		set(&s->table[i], (uintptr_t)s->p.data[0], 1, NEXT, (uint16_t)((i + 1) % 8));
	indirect(s, 0xfffffff0, 0);
}

static void indirect_nowhere(struct scene *s)
{
	indirect(s, 3 * 16, 0);
	s->d[0].addr = NOWHERE;
}

static void indirect_over_the_end(struct scene *s)
{
	indirect(s, 3 * 16, 0);
	s->d[0].addr = s->ram_end - 16;
}

static void indirect_next_past_table(struct scene *s)
{
	good(s, s->table);
	s->table[1].next = 3;
	indirect(s, 3 * 16, 0);
}

static void indirect_loop(struct scene *s)
{
	good(s, s->table);
	s->table[1].next = 0;
	indirect(s, 3 * 16, 0);
}

static void index_jumps(struct scene *s)
{
	s->p.ring.offered = QUEUE_SIZE;
	head_is(s, 0);
}

static void index_runs_back(struct scene *s)
{
	s->p.ring.offered = (uint16_t)(s->p.ring.offered - 2);
	head_is(s, 0);
}

static void same_head_twice(struct scene *s)
{
	head_is(s, 0);
	head_is(s, 0);
}

static void chains_share_descriptors(struct scene *s)
{
	set(&s->d[3], (uintptr_t)s->p.header, sizeof(*s->p.header), NEXT, 1);
	head_is(s, 0);
	head_is(s, 3);
}

static const struct row {
	const char *what;
	void (*arrange)(struct scene *s);
	enum expect expect;
} rows[] = {
	{ "head past the table", head_past_table, REFUSED },
	{ "head far past the table", head_far_past_table, REFUSED },
	{ "next past the table", next_past_table, REFUSED },
	{ "next far past the table", next_far_past_table, REFUSED },
	{ "chain of one that loops", loop_of_one, REFUSED },
	{ "chain of two that loops", loop_of_two, REFUSED },
	{ "chain that loops at its end", loop_at_the_end, REFUSED },
	{ "chain of all descriptors that loops", loop_of_all, REFUSED },
	{ "data nowhere", data_nowhere, REFUSED_STRICT },
	{ "data behind RAM", data_past_ram, REFUSED_STRICT },
	{ "data over the end of RAM", data_over_the_end, REFUSED_STRICT },
	{ "data in a hole", data_in_a_hole, REFUSED_STRICT },
	{ "data in the device's registers", data_in_own_registers, REFUSED_STRICT },
	{ "data that wraps around", data_wraps, REFUSED_STRICT },
	{ "header nowhere", header_nowhere, REFUSED_STRICT },
	{ "status nowhere", status_nowhere, REFUSED_STRICT },
	{ "data of 4 GiB", huge_data, REFUSED_STRICT },
	{ "lengths that overflow 32 bits", lengths_overflow, REFUSED_STRICT },
	{ "data of no length", zero_length_data, ANYTHING },
	{ "header of no length", zero_length_header, REFUSED },
	{ "status of no length", zero_length_status, REFUSED_STRICT },
	{ "header too short", short_header, REFUSED },
	{ "header alone", only_header, REFUSED },
	{ "nothing readable", only_writable, REFUSED },
	{ "status not writable", status_readable, REFUSED },
	{ "readable behind writable", readable_behind_writable, REFUSED },
	{ "indirect, good", indirect_good, SERVED },
	{ "indirect marked writable", indirect_marked_writable, SERVED },
	{ "indirect behind direct", indirect_behind_direct, ANYTHING },
	{ "indirect in indirect", indirect_in_indirect, REFUSED },
	{ "indirect of itself", indirect_of_itself, REFUSED },
	{ "indirect and next", indirect_and_next, REFUSED_STRICT },
	{ "indirect of odd length", indirect_odd_length, REFUSED },
	{ "indirect of no length", indirect_empty, REFUSED },
	{ "indirect of 4 GiB that loops", indirect_huge, REFUSED },
	{ "indirect nowhere", indirect_nowhere, REFUSED_STRICT },
	{ "indirect over the end of RAM", indirect_over_the_end, REFUSED_STRICT },
	{ "indirect, next past its table", indirect_next_past_table, REFUSED },
	{ "indirect that loops", indirect_loop, REFUSED },
	{ "index jumps ahead", index_jumps, REFUSED },
	{ "index runs back", index_runs_back, REFUSED },
	{ "the same head twice", same_head_twice, ANYTHING },
	{ "chains that share descriptors", chains_share_descriptors, ANYTHING },
};

static bool is_strict(void)
{
	return boot_param_number("strict", 0);
}

static enum verdict scene_open(struct scene *s, bool is_plain)
{
	heap_empty();
	s->ram_end = boot_ram_end();
	CHECK_PASS(probe_open(&s->p, is_plain ? 0 : VF_INDIRECT, QUEUE_SIZE));
	if (s->p.dev.type != VIRTIO_ID_BLOCK)
		return test_skip("no block device");
	s->table = heap_alloc(64 * sizeof(*s->table), 16);
	s->d = s->p.ring.desc;
	good(s, s->d);
	return PASS;
}

/* Wait until the device has made up its mind. */
static bool is_decided(const struct scene *s, uint16_t used_before)
{
	for (uint64_t end = clock_after_ms(OUTCOME_MS); !clock_passed(end);) {
		if (*(volatile uint16_t *)&s->p.ring.used->idx != used_before)
			return true;
		if (virtio_needs_reset(&s->p.dev))
			return true;
		clock_delay_us(50);
	}
	return false;
}

static enum verdict judge(const struct scene *s, enum expect expect)
{
	bool is_good = s->p.ring.used->idx && s->p.status[0] == VIRTIO_BLK_S_OK;
	if (expect == ANYTHING)
		return PASS;
	if (expect == SERVED)
		return is_good ? PASS
			       : test_fail("not served, status 0x%x", virtio_status(&s->p.dev));
	return is_good ? test_fail("served") : PASS;
}

/* After a reset the device serves as before. */
static enum verdict works_again(void)
{
	struct probe p;
	heap_empty();
	CHECK_PASS(probe_open(&p, VF_INDIRECT, QUEUE_SIZE));
	CHECK_PASS(probe_once(&p, false));
	CHECK(virtio_reset(&p.dev));
	return PASS;
}

static enum verdict row_run(const struct row *r, bool is_plain)
{
	struct scene s;
	enum expect expect = r->expect;
	if (expect == REFUSED_STRICT)
		expect = is_strict() ? REFUSED : ANYTHING;
	CHECK_PASS(scene_open(&s, is_plain));
	uint8_t *canary = heap_alloc(CANARY_BYTES, 4096);
	mem_fill(canary, CANARY, CANARY_BYTES);
	r->arrange(&s);
	ring_kick_always(&s.p.ring);
	bool is_known = is_decided(&s, 0);
	if (!is_known && expect != ANYTHING)
		return test_fail("no answer, status 0x%x", virtio_status(&s.p.dev));
	CHECK_PASS(judge(&s, expect));
	for (unsigned i = 0; i < CANARY_BYTES; i++)
		CHECK_EQ(canary[i], CANARY);
	CHECK(virtio_reset(&s.p.dev));
	return works_again();
}

static enum verdict malformed_rings(void)
{
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum verdict v = row_run(&rows[i], false);
		if (v == FAIL)
			print("info row '%s':\n", rows[i].what);
		if (v != PASS)
			return v;
	}
	return PASS;
}

static enum verdict indirect_unasked(void)
{
	static const struct row r = { "indirect not negotiated", indirect_good, REFUSED_STRICT };
	return row_run(&r, true);
}

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
	ring_alloc(&s.p.ring, &s.p.dev, 0, QUEUE_SIZE);
	ring_program(&s.p.ring, &s.p.dev);
	mmio_write32(s.p.dev.common + registers[area], (uint32_t)at);
	mmio_write32(s.p.dev.common + registers[area] + 4, (uint32_t)(at >> 32));
	ring_enable(&s.p.ring, &s.p.dev);
	virtio_go(&s.p.dev);
	for (unsigned i = 0; i < 10; i++)
		ring_kick_always(&s.p.ring);
	if (is_strict() && !virtio_wait_needs_reset(&s.p.dev, OUTCOME_MS))
		return test_fail("area %u at 0x%lx: no request for a reset", area, at);
	return works_again();
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
		head_is(&s, 0);
		ring_kick_always(&s.p.ring);
	}
	clock_delay_us(1000);
	return works_again();
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
	return works_again();
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
	return works_again();
}

/* Garbage in the tables, with addresses that lie in a sandbox or nowhere. */
static void scramble(const struct scene *s, struct rand *r, uint8_t *sandbox)
{
	for (unsigned i = 0; i < QUEUE_SIZE + 64; i++) {
		struct vring_desc *d = i < QUEUE_SIZE ? &s->d[i] : &s->table[i - QUEUE_SIZE];
		uint64_t x = rand_next(r);
		uint32_t offset = (uint32_t)(x >> 8) % CANARY_BYTES;
		uint32_t len = (uint32_t)(x >> 24) % (CANARY_BYTES - offset);
		set(d, (uintptr_t)sandbox + offset, len, (unsigned)(x >> 40) & (NEXT | IN),
		    (uint16_t)((x >> 48) % (QUEUE_SIZE + 1)));
		if ((x & 15) == 0)
			set(d, NOWHERE - offset, len, d->flags, d->next);
		if ((x & 15) ==
		    1) /* either 16 descriptors of the table, or any bytes: the table itself */
			set(d, (uintptr_t)s->table, 16 * (1 + (len & 31)), INDIRECT, d->next);
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
		for (unsigned i = 0; i < QUEUE_SIZE; i++)
			head_is(&s, (uint16_t)(rand_next(&r) % (QUEUE_SIZE + 1)));
		ring_kick_always(&s.p.ring);
		clock_delay_us(500);
		resets += virtio_needs_reset(&s.p.dev);
		CHECK(virtio_reset(&s.p.dev));
		for (unsigned i = 0; i < CANARY_BYTES; i++)
			CHECK(before[i] == CANARY && behind[i] == CANARY);
	}
	print("info %u of the random rings ended in a request for a reset\n", resets);
	return works_again();
}

const struct test hostile_tests[] = {
	{ "hostile.malformed-rings", malformed_rings },
	{ "hostile.indirect-not-negotiated", indirect_unasked },
	{ "hostile.bad-ring-areas", bad_ring_areas },
	{ "hostile.overlapping-areas", overlapping_areas },
	{ "hostile.wild-doorbells", wild_doorbells },
	{ "hostile.register-garbage", register_garbage },
	{ "hostile.random-rings", random_rings },
	{ NULL, NULL },
};
