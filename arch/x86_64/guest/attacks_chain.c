/*
 * attacks_chain.c - chains that break the rules of VIRTIO 1.2 §2.7.5, each of them a good request
 * spoilt.
 */
#include "attack.h"
#include <linux/virtio_blk.h>
#include "mem.h"

#define NEXT VRING_DESC_F_NEXT
#define IN   VRING_DESC_F_WRITE

static void head_past_table(struct scene *s)
{
	scene_offer(s, SCENE_QUEUE);
}

static void head_far_past_table(struct scene *s)
{
	scene_offer(s, 0xffff);
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

static void lengths_overflow(struct scene *s)
{
	for (uint16_t i = 1; i < 6; i++)
		desc_set(&s->d[i], 0x100000, 0x80000000, IN | NEXT, (uint16_t)(i + 1));
	desc_set(&s->d[6], (uintptr_t)s->p.status, 1, IN, 0);
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

/* The device writes what it read into structures it reads. */
static void data_at(struct scene *s, const void *at, uint32_t bytes)
{
	s->d[1].addr = (uintptr_t)at;
	s->d[1].len = bytes;
	scene_offer(s, 0);
}

static void data_on_descriptors(struct scene *s)
{
	data_at(s, s->d, 2 * PROBE_BYTES);
}

static void data_on_available_ring(struct scene *s)
{
	data_at(s, s->p.ring.avail, PROBE_BYTES);
}

static void data_on_used_ring(struct scene *s)
{
	data_at(s, s->p.ring.used, PROBE_BYTES);
}

static void data_on_header(struct scene *s)
{
	data_at(s, s->p.header, PROBE_BYTES);
}

static void data_on_status(struct scene *s)
{
	data_at(s, s->p.status, PROBE_BYTES);
}

static void status_on_used_index(struct scene *s)
{
	s->d[2].addr = (uintptr_t)&s->p.ring.used->idx;
	scene_offer(s, 0);
}

static void status_on_header(struct scene *s)
{
	s->d[2].addr = (uintptr_t)s->p.header;
	scene_offer(s, 0);
}

static void status_on_descriptors(struct scene *s)
{
	s->d[2].addr = (uintptr_t)&s->d[0].flags;
	scene_offer(s, 0);
}

static void header_on_used_ring(struct scene *s)
{
	s->d[0].addr = (uintptr_t)s->p.ring.used;
	scene_offer(s, 0);
}

/* 15 buffers that are one. */
static void data_on_itself(struct scene *s)
{
	for (uint16_t i = 1; i < SCENE_QUEUE - 1; i++)
		desc_set(&s->d[i], (uintptr_t)s->p.data[0], PROBE_BYTES, IN | NEXT,
			 (uint16_t)(i + 1));
	desc_set(&s->d[SCENE_QUEUE - 1], (uintptr_t)s->p.status, 1, IN, 0);
	scene_offer(s, 0);
}

static void all_empty(struct scene *s)
{
	for (uint16_t i = 0; i < SCENE_QUEUE; i++)
		desc_set(&s->d[i], (uintptr_t)s->p.data[0], 0, i + 1 < SCENE_QUEUE ? NEXT : 0,
			 (uint16_t)(i + 1));
	scene_offer(s, 0);
}

static void all_huge(struct scene *s)
{
	for (uint16_t i = 0; i < SCENE_QUEUE; i++)
		desc_set(&s->d[i], 0, 0xffffffff, i + 1 < SCENE_QUEUE ? IN | NEXT : IN,
			 (uint16_t)(i + 1));
	scene_offer(s, 0);
}

static void status_alone(struct scene *s)
{
	scene_offer(s, 2);
}

static void header_in_bytes(struct scene *s)
{
	for (uint16_t i = 0; i < 13; i++)
		desc_set(&s->d[i], (uintptr_t)s->p.header + i, 1, NEXT, (uint16_t)(i + 1));
	desc_set(&s->d[13], (uintptr_t)s->p.header + 13, 3, NEXT, 14);
	desc_set(&s->d[14], (uintptr_t)s->p.data[0], PROBE_BYTES, IN | NEXT, 15);
	desc_set(&s->d[15], (uintptr_t)s->p.status, 1, IN, 0);
	scene_offer(s, 0);
}

static void unknown_flags(struct scene *s)
{
	for (unsigned i = 0; i < 3; i++)
		s->d[i].flags |= 0xfff8;
	scene_offer(s, 0);
}

const struct attack attacks_chain[] = {
	ATTACK_REQUEST("chain.head-past-table", "head past the table", REFUSED, head_past_table),
	ATTACK_REQUEST("chain.head-far-past-table", "head far past the table", REFUSED,
		       head_far_past_table),
	ATTACK_SPOIL("chain.next-past-table", "next past the table", REFUSED, 1, NEXT, SCENE_QUEUE),
	ATTACK_SPOIL("chain.next-far-past-table", "next far past the table", REFUSED, 0, NEXT,
		     0xfff0),
	ATTACK_SPOIL("chain.loop-of-one", "chain of one that loops", REFUSED, 0, NEXT, 0),
	ATTACK_SPOIL("chain.loop-of-two", "chain of two that loops", REFUSED, 1, NEXT, 0),
	ATTACK_REQUEST("chain.loop-at-the-end", "chain that loops at its end", REFUSED,
		       loop_at_the_end),
	ATTACK_REQUEST("chain.loop-of-all", "chain of all descriptors that loops", REFUSED,
		       loop_of_all),
	ATTACK_SPOIL("chain.data-nowhere", "data nowhere", REFUSED_STRICT, 1, ADDR, NOWHERE),
	ATTACK_REQUEST("chain.data-past-ram", "data behind RAM", REFUSED_STRICT, data_past_ram),
	ATTACK_REQUEST("chain.data-over-the-end", "data over the end of RAM", REFUSED_STRICT,
		       data_over_the_end),
	ATTACK_SPOIL("chain.data-in-a-hole", "data in a hole", REFUSED_STRICT, 1, ADDR, 0xd0000000),
	ATTACK_REQUEST("chain.data-in-own-registers", "data in the device's registers",
		       REFUSED_STRICT, data_in_own_registers),
	ATTACK_REQUEST("chain.data-wraps", "data that wraps around", REFUSED_STRICT, data_wraps),
	ATTACK_SPOIL("chain.header-nowhere", "header nowhere", REFUSED_STRICT, 0, ADDR, NOWHERE),
	ATTACK_SPOIL("chain.status-nowhere", "status nowhere", REFUSED_STRICT, 2, ADDR, NOWHERE),
	ATTACK_SPOIL("chain.huge-data", "data of 4 GiB", REFUSED_STRICT, 1, LEN, 0xffffffff),
	ATTACK_REQUEST("chain.lengths-overflow", "lengths that overflow 32 bits", REFUSED_STRICT,
		       lengths_overflow),
	ATTACK_SPOIL("chain.zero-length-data", "data of no length", ANYTHING, 1, LEN, 0),
	ATTACK_SPOIL("chain.zero-length-header", "header of no length", REFUSED, 0, LEN, 0),
	ATTACK_SPOIL("chain.zero-length-status", "status of no length", REFUSED_STRICT, 2, LEN, 0),
	ATTACK_SPOIL("chain.short-header", "header too short", REFUSED, 0, LEN, 8),
	ATTACK_SPOIL("chain.only-header", "header alone", REFUSED, 0, FLAGS, 0),
	ATTACK_SPOIL("chain.only-writable", "nothing readable", REFUSED, 0, FLAGS, NEXT | IN),
	ATTACK_REQUEST("chain.status-readable", "status not writable", REFUSED, status_readable),
	ATTACK_REQUEST("chain.readable-behind-writable", "readable behind writable", REFUSED,
		       readable_behind_writable),
	ATTACK_REQUEST("chain.data-on-descriptors", "data into the descriptor table", ANYTHING,
		       data_on_descriptors),
	ATTACK_REQUEST("chain.data-on-available-ring", "data into the available ring", ANYTHING,
		       data_on_available_ring),
	ATTACK_REQUEST("chain.data-on-used-ring", "data into the used ring", ANYTHING,
		       data_on_used_ring),
	ATTACK_REQUEST("chain.data-on-header", "data into the request's header", ANYTHING,
		       data_on_header),
	ATTACK_REQUEST("chain.data-on-status", "data into the status byte", ANYTHING,
		       data_on_status),
	ATTACK_REQUEST("chain.data-on-itself", "14 data buffers at one place", SERVED,
		       data_on_itself),
	ATTACK_REQUEST("chain.status-on-used-index", "status byte in the used index", ANYTHING,
		       status_on_used_index),
	ATTACK_REQUEST("chain.status-on-header", "status byte in the header", ANYTHING,
		       status_on_header),
	ATTACK_REQUEST("chain.status-on-descriptors", "status byte in a descriptor", ANYTHING,
		       status_on_descriptors),
	ATTACK_REQUEST("chain.header-on-used-ring", "header in the used ring", ANYTHING,
		       header_on_used_ring),
	ATTACK_REQUEST("chain.all-empty", "a full table of empty buffers", REFUSED, all_empty),
	ATTACK_REQUEST("chain.all-huge", "a full table of 4 GiB buffers", REFUSED, all_huge),
	ATTACK_REQUEST("chain.status-alone", "one writable byte", REFUSED, status_alone),
	ATTACK_REQUEST("chain.header-in-bytes", "a header of 14 pieces", SERVED, header_in_bytes),
	ATTACK_REQUEST("chain.unknown-flags", "flags that nobody defined", ANYTHING, unknown_flags),
	ATTACK_END,
};
