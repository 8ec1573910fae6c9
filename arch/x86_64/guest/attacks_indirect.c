/*
 * attacks_indirect.c - indirect tables that break the rules of VIRTIO 1.2 §2.7.5.3.
 */
#include <linux/virtio_blk.h>
#include "attack.h"
#include "mem.h"

#define NEXT     VRING_DESC_F_NEXT
#define IN       VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

static void indirect(struct scene *s, uint32_t bytes, unsigned flags)
{
	desc_set(&s->d[0], (uintptr_t)s->table, bytes, INDIRECT | flags, 1);
	scene_offer(s, 0);
}

/* A good chain in the table, and a descriptor of it with @flags. */
static void indirect_chain(struct scene *s, unsigned flags)
{
	scene_good_chain(s, s->table);
	indirect(s, 3 * 16, flags);
}

static void indirect_good(struct scene *s)
{
	indirect_chain(s, 0);
}

static void indirect_marked_writable(struct scene *s)
{
	indirect_chain(s, IN);
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
	indirect_chain(s, NEXT);
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

/* @n entries at @table: the header, then data of @bytes each, then the status. */
static void long_table(const struct scene *s, struct vring_desc *table, uint32_t n, uint32_t bytes)
{
	desc_set(&table[0], (uintptr_t)s->p.header, sizeof(*s->p.header), NEXT, 1);
	for (uint32_t i = 1; i < n - 1; i++)
		desc_set(&table[i], (uintptr_t)s->p.data[0], bytes, IN | NEXT, (uint16_t)(i + 1));
	desc_set(&table[n - 1], (uintptr_t)s->p.status, 1, IN, 0);
}

/* As the driver must not (§2.7.5.3.1); devices may be generous. */
static void longer_than_queue(struct scene *s)
{
	long_table(s, s->table, SCENE_TABLE, PROBE_BYTES);
	indirect(s, SCENE_TABLE * 16, 0);
}

static void giant(struct scene *s)
{
	const uint32_t n = 65536;
	struct vring_desc *table = heap_alloc(n * sizeof(*table), 16);
	long_table(s, table, n, 1);
	indirect(s, n * 16, 0);
	s->d[0].addr = (uintptr_t)table;
}

static void giant_of_giants(struct scene *s)
{
	const uint32_t n = 65536;
	struct vring_desc *table = heap_alloc(n * sizeof(*table), 16);
	long_table(s, table, n, 0xfffffe00);
	indirect(s, n * 16, 0);
	s->d[0].addr = (uintptr_t)table;
}

static void unaligned(struct scene *s)
{
	scene_good_chain(s, s->table);
	uint8_t *odd = (uint8_t *)(s->table + 8) + 1;
	mem_copy(odd, s->table, 3 * sizeof(*s->table));
	indirect(s, 3 * 16, 0);
	s->d[0].addr = (uintptr_t)odd;
}

static void data_on_table(struct scene *s)
{
	scene_good_chain(s, s->table);
	s->table[1].addr = (uintptr_t)s->table;
	indirect(s, 3 * 16, 0);
}

static void table_in_ring(struct scene *s)
{
	indirect(s, 3 * 16, 0);
	s->d[0].addr = (uintptr_t)s->d;
}

static void table_in_used_ring(struct scene *s)
{
	indirect(s, 3 * 16, 0);
	s->d[0].addr = (uintptr_t)s->p.ring.used;
}

static void all_of_one_table(struct scene *s)
{
	scene_good_chain(s, s->table);
	for (uint16_t i = 0; i < SCENE_QUEUE; i++) {
		desc_set(&s->d[i], (uintptr_t)s->table, 3 * 16, INDIRECT, 0);
		scene_offer(s, i);
	}
}

static void rubbish(struct scene *s)
{
	struct rand r = { 77 };
	for (unsigned i = 0; i < SCENE_TABLE; i++)
		desc_set(&s->table[i], rand_next(&r), (uint32_t)rand_next(&r),
			 (unsigned)rand_next(&r) & 0xffff, (uint16_t)rand_next(&r));
	indirect(s, SCENE_TABLE * 16, 0);
}

const struct attack attacks_indirect[] = {
	ATTACK_REQUEST("indirect.good", "indirect, good", SERVED, indirect_good),
	ATTACK_REQUEST("indirect.marked-writable", "indirect marked writable", SERVED,
		       indirect_marked_writable),
	ATTACK_REQUEST("indirect.behind-direct", "indirect behind direct", ANYTHING,
		       indirect_behind_direct),
	ATTACK_REQUEST("indirect.in-indirect", "indirect in indirect", REFUSED,
		       indirect_in_indirect),
	ATTACK_REQUEST("indirect.of-itself", "indirect of itself", REFUSED, indirect_of_itself),
	ATTACK_REQUEST("indirect.and-next", "indirect and next", REFUSED_STRICT, indirect_and_next),
	ATTACK_REQUEST("indirect.odd-length", "indirect of odd length", REFUSED,
		       indirect_odd_length),
	ATTACK_REQUEST("indirect.empty", "indirect of no length", REFUSED, indirect_empty),
	ATTACK_REQUEST("indirect.huge", "indirect of 4 GiB that loops", REFUSED, indirect_huge),
	ATTACK_REQUEST("indirect.nowhere", "indirect nowhere", REFUSED_STRICT, indirect_nowhere),
	ATTACK_REQUEST("indirect.over-the-end", "indirect over the end of RAM", REFUSED_STRICT,
		       indirect_over_the_end),
	ATTACK_REQUEST("indirect.next-past-table", "indirect, next past its table", REFUSED,
		       indirect_next_past_table),
	ATTACK_REQUEST("indirect.loop", "indirect that loops", REFUSED, indirect_loop),
	ATTACK_REQUEST("indirect.longer-than-queue", "indirect table longer than the queue",
		       ANYTHING, longer_than_queue),
	ATTACK_REQUEST("indirect.giant", "indirect chain of 65536 bytes, one each", REFUSED, giant),
	ATTACK_REQUEST("indirect.giant-of-giants", "indirect chain of 65536 buffers of 4 GiB",
		       REFUSED, giant_of_giants),
	ATTACK_REQUEST("indirect.unaligned", "indirect table at an odd address", SERVED, unaligned),
	ATTACK_REQUEST("indirect.data-on-table", "data into the indirect table", ANYTHING,
		       data_on_table),
	ATTACK_REQUEST("indirect.table-in-ring", "the descriptor table as indirect table", REFUSED,
		       table_in_ring),
	ATTACK_REQUEST("indirect.table-in-used-ring", "the used ring as indirect table", REFUSED,
		       table_in_used_ring),
	ATTACK_REQUEST("indirect.all-of-one-table", "16 requests of one table", ANYTHING,
		       all_of_one_table),
	ATTACK_REQUEST("indirect.rubbish", "indirect table of random bytes", REFUSED, rubbish),
	{ .name = "attack.indirect.not-negotiated",
	  .what = "indirect, not negotiated",
	  .holds = REFUSED_STRICT,
	  .arrange = indirect_good,
	  .arg = 1 },
	ATTACK_END,
};
