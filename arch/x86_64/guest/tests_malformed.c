/*
 * tests_malformed.c - chains and indices that break the rules of the ring: the device asks for a
 * reset or fails the request, touches no memory it was not given, and works again after a reset.
 *
 * A row spoils the good request of scene.h (header, data, status) and offers it.
 */
#include <linux/virtio_blk.h>
#include "clock.h"
#include "mem.h"
#include "scene.h"

#define OUTCOME_MS  CLOCK_PATIENCE_MS
#define ANYTHING_MS 500 /* nothing at all is an outcome too */
#define NEXT        VRING_DESC_F_NEXT
#define IN          VRING_DESC_F_WRITE
#define INDIRECT    VRING_DESC_F_INDIRECT

enum expect {
	REFUSED,        /* the device needs a reset, or the request failed */
	REFUSED_STRICT, /* with strict=1; else ANYTHING */
	SERVED,         /* unusual but allowed: a correct answer */
	ANYTHING,       /* as long as nothing breaks */
};

static void indirect(struct scene *s, uint32_t bytes, unsigned flags)
{
	desc_set(&s->d[0], (uintptr_t)s->table, bytes, INDIRECT | flags, 1);
	scene_offer(s, 0);
}

static void head_past_table(struct scene *s)
{
	scene_offer(s, SCENE_QUEUE);
}

static void head_far_past_table(struct scene *s)
{
	scene_offer(s, 0xffff);
}

static void next_past_table(struct scene *s)
{
	s->d[1].next = SCENE_QUEUE;
	scene_offer(s, 0);
}

static void next_far_past_table(struct scene *s)
{
	s->d[0].next = 0xfff0;
	scene_offer(s, 0);
}

static void loop_of_one(struct scene *s)
{
	s->d[0].next = 0;
	scene_offer(s, 0);
}

static void loop_of_two(struct scene *s)
{
	s->d[1].next = 0;
	scene_offer(s, 0);
}

static void loop_at_the_end(struct scene *s)
{
	s->d[2].flags |= NEXT;
	s->d[2].next = 2;
	scene_offer(s, 0);
}

static void loop_of_all(struct scene *s)
{
	for (uint16_t i = 0; i < SCENE_QUEUE; i++)
		desc_set(&s->d[i], (uintptr_t)s->p.data[0], 16, NEXT,
			 (uint16_t)((i + 1) % SCENE_QUEUE));
	scene_offer(s, 0);
}

static void data_nowhere(struct scene *s)
{
	s->d[1].addr = NOWHERE;
	scene_offer(s, 0);
}

static void data_past_ram(struct scene *s)
{
	s->d[1].addr = s->ram_end;
	scene_offer(s, 0);
}

static void data_over_the_end(struct scene *s)
{
	s->d[1].addr = s->ram_end - 16;
	scene_offer(s, 0);
}

static void data_in_a_hole(struct scene *s)
{
	s->d[1].addr = 0xd0000000;
	scene_offer(s, 0);
}

static void data_in_own_registers(struct scene *s)
{
	s->d[1].addr = s->p.dev.common & ~0xffful;
	scene_offer(s, 0);
}

static void data_wraps(struct scene *s)
{
	s->d[1].addr = NOWHERE;
	s->d[1].len = 0x2000;
	scene_offer(s, 0);
}

static void header_nowhere(struct scene *s)
{
	s->d[0].addr = NOWHERE;
	scene_offer(s, 0);
}

static void status_nowhere(struct scene *s)
{
	s->d[2].addr = NOWHERE;
	scene_offer(s, 0);
}

static void huge_data(struct scene *s)
{
	s->d[1].len = 0xffffffff;
	scene_offer(s, 0);
}

static void lengths_overflow(struct scene *s)
{
	for (uint16_t i = 1; i < 6; i++)
		desc_set(&s->d[i], 0x100000, 0x80000000, IN | NEXT, (uint16_t)(i + 1));
	desc_set(&s->d[6], (uintptr_t)s->p.status, 1, IN, 0);
	scene_offer(s, 0);
}

static void zero_length_data(struct scene *s)
{
	s->d[1].len = 0;
	scene_offer(s, 0);
}

static void zero_length_header(struct scene *s)
{
	s->d[0].len = 0;
	scene_offer(s, 0);
}

static void zero_length_status(struct scene *s)
{
	s->d[2].len = 0;
	scene_offer(s, 0);
}

static void short_header(struct scene *s)
{
	s->d[0].len = 8;
	scene_offer(s, 0);
}

static void only_header(struct scene *s)
{
	s->d[0].flags = 0;
	scene_offer(s, 0);
}

static void only_writable(struct scene *s)
{
	s->d[0].flags |= IN;
	scene_offer(s, 0);
}

static void status_readable(struct scene *s)
{
	s->p.header->type = VIRTIO_BLK_T_OUT;
	s->d[1].flags &= (uint16_t)~IN;
	s->d[2].flags &= (uint16_t)~IN;
	scene_offer(s, 0);
}

static void readable_behind_writable(struct scene *s)
{
	s->d[2].flags = NEXT;
	desc_set(&s->d[3], (uintptr_t)s->p.status, 1, IN, 0);
	s->d[2].next = 3;
	scene_offer(s, 0);
}

static void indirect_good(struct scene *s)
{
	scene_good_chain(s, s->table);
	indirect(s, 3 * 16, 0);
}

static void indirect_marked_writable(struct scene *s)
{
	scene_good_chain(s, s->table);
	indirect(s, 3 * 16, IN);
}

static void indirect_behind_direct(struct scene *s)
{
	scene_good_chain(s, s->table);
	s->d[1] = (struct vring_desc){ (uintptr_t)(s->table + 1), 2 * 16, INDIRECT, 0 };
	s->table[1].next = 1;
	scene_offer(s, 0);
}

static void indirect_in_indirect(struct scene *s)
{
	scene_good_chain(s, s->table + 4);
	desc_set(&s->table[0], (uintptr_t)(s->table + 4), 3 * 16, INDIRECT, 0);
	indirect(s, 16, 0);
}

static void indirect_of_itself(struct scene *s)
{
	desc_set(&s->table[0], (uintptr_t)s->table, 16, INDIRECT, 0);
	indirect(s, 16, 0);
}

static void indirect_and_next(struct scene *s)
{
	scene_good_chain(s, s->table);
	indirect(s, 3 * 16, NEXT);
}

static void indirect_odd_length(struct scene *s)
{
	scene_good_chain(s, s->table);
	indirect(s, 3 * 16 + 1, 0);
}

static void indirect_empty(struct scene *s)
{
	indirect(s, 0, 0);
}

static void indirect_huge(struct scene *s)
{
	for (uint16_t i = 0; i < 8; i++)
		desc_set(&s->table[i], (uintptr_t)s->p.data[0], 1, NEXT, (uint16_t)((i + 1) % 8));
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
	scene_good_chain(s, s->table);
	s->table[1].next = 3;
	indirect(s, 3 * 16, 0);
}

static void indirect_loop(struct scene *s)
{
	scene_good_chain(s, s->table);
	s->table[1].next = 0;
	indirect(s, 3 * 16, 0);
}

static void index_jumps(struct scene *s)
{
	s->p.ring.offered = SCENE_QUEUE;
	scene_offer(s, 0);
}

static void index_runs_back(struct scene *s)
{
	s->p.ring.offered = (uint16_t)(s->p.ring.offered - 2);
	scene_offer(s, 0);
}

static void same_head_twice(struct scene *s)
{
	scene_offer(s, 0);
	scene_offer(s, 0);
}

static void chains_share_descriptors(struct scene *s)
{
	desc_set(&s->d[3], (uintptr_t)s->p.header, sizeof(*s->p.header), NEXT, 1);
	scene_offer(s, 0);
	scene_offer(s, 3);
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

/* Wait until the device has made up its mind. */
static bool is_decided(const struct scene *s, uint16_t used_before, unsigned ms)
{
	for (uint64_t end = clock_after_ms(ms); !clock_passed(end);) {
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
	bool is_known = is_decided(&s, 0, expect == ANYTHING ? ANYTHING_MS : OUTCOME_MS);
	if (!is_known && expect != ANYTHING)
		return test_fail("no answer, status 0x%x", virtio_status(&s.p.dev));
	CHECK_PASS(judge(&s, expect));
	for (unsigned i = 0; i < CANARY_BYTES; i++)
		CHECK_EQ(canary[i], CANARY);
	CHECK(virtio_reset(&s.p.dev));
	return scene_works_again();
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

const struct test malformed_tests[] = {
	{ "hostile.malformed-rings", malformed_rings },
	{ "hostile.indirect-not-negotiated", indirect_unasked },
	{ NULL, NULL },
};
