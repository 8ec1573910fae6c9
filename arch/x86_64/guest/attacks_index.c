/*
 * attacks_index.c - indices, flags and entries of the rings: VIRTIO 1.2 §2.7.6 to §2.7.8.
 */
#include <linux/virtio_blk.h>
#include "attack.h"
#include "clock.h"
#include "mem.h"

#define NEXT VRING_DESC_F_NEXT

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

static void jump(struct scene *s, uint16_t by)
{
	s->p.ring.offered = (uint16_t)(s->p.ring.offered + by - 1);
	scene_offer(s, 0);
}

static void index_half_around(struct scene *s)
{
	jump(s, 0x8000);
}

static void index_all_around(struct scene *s)
{
	jump(s, 0xffff);
}

static void index_one_too_many(struct scene *s)
{
	jump(s, SCENE_QUEUE + 1);
}

/* Again and again, each time with a doorbell. */
static void index_runs_away(struct scene *s)
{
	for (unsigned i = 0; i < 200; i++) {
		jump(s, (uint16_t)(SCENE_QUEUE + 1 + 3 * i));
		ring_kick_always(&s->p.ring);
	}
}

/* What the device has no business to read. */
static void used_ring_rubbish(struct scene *s)
{
	struct vring_used *u = s->p.ring.used;
	mem_fill(u->ring, 0xff, SCENE_QUEUE * sizeof(u->ring[0]));
	u->flags = 0xffff;
	scene_offer(s, 0);
}

static void available_flags(struct scene *s)
{
	s->p.ring.avail->flags = 0xffff;
	scene_offer(s, 0);
}

static void entries_rubbish(struct scene *s)
{
	scene_offer(s, 0);
	for (unsigned i = 1; i < SCENE_QUEUE; i++)
		scene_offer(s, (uint16_t)(0x8000 + 17 * i));
}

/* Everything is changed after the doorbell. */
static void taken_back(struct scene *s)
{
	scene_offer(s, 0);
	ring_kick_always(&s->p.ring);
	mem_fill(s->d, 0, SCENE_QUEUE * sizeof(*s->d));
	s->p.ring.avail->idx = 0;
	s->p.ring.avail->ring[0] = 0xffff;
}

static void descriptors_all_ones(struct scene *s)
{
	mem_fill(s->d, 0xff, SCENE_QUEUE * sizeof(*s->d));
	scene_offer(s, 0);
}

/* The device is told of completions long past and far ahead, and asked for interrupts there. */
static enum verdict event_index_rubbish(uint64_t arg)
{
	struct probe p;
	(void)arg;
	CHECK_PASS(probe_open(&p, VF_EVENT_IDX | VF_INDIRECT, SCENE_QUEUE));
	struct rand r = { 5 };
	for (unsigned i = 0; i < 64; i++) {
		ring_want_irq_at(&p.ring, (uint16_t)rand_next(&r));
		mem_fill(&p.ring.used->ring[SCENE_QUEUE], (uint8_t)rand_next(&r), 2);
		uint32_t written;
		CHECK(probe_put(&p, 0, i & 1));
		ring_kick_always(&p.ring);
		CHECK(ring_take_wait(&p.ring, &written, CLOCK_PATIENCE_MS) >= 0);
	}
	return PASS;
}

const struct attack attacks_index[] = {
	ATTACK_REQUEST("index.jumps", "index jumps ahead", REFUSED, index_jumps),
	ATTACK_REQUEST("index.runs-back", "index runs back", REFUSED, index_runs_back),
	ATTACK_REQUEST("index.same-head-twice", "the same head twice", ANYTHING, same_head_twice),
	ATTACK_REQUEST("index.chains-share-descriptors", "chains that share descriptors", ANYTHING,
		       chains_share_descriptors),
	ATTACK_REQUEST("index.half-around", "index 32768 ahead", REFUSED, index_half_around),
	ATTACK_REQUEST("index.all-around", "index 65535 ahead", REFUSED, index_all_around),
	ATTACK_REQUEST("index.one-too-many", "index one more than the queue ahead", REFUSED,
		       index_one_too_many),
	ATTACK_REQUEST("index.runs-away", "index running away, a doorbell each", REFUSED,
		       index_runs_away),
	ATTACK_REQUEST("index.used-ring-rubbish", "rubbish in the used ring", SERVED,
		       used_ring_rubbish),
	ATTACK_REQUEST("index.available-flags", "all flags of the available ring", SERVED,
		       available_flags),
	ATTACK_REQUEST("index.entries-rubbish", "a good entry, then rubbish", ANYTHING,
		       entries_rubbish),
	ATTACK_REQUEST("index.taken-back", "everything erased behind the doorbell", ANYTHING,
		       taken_back),
	ATTACK_REQUEST("index.descriptors-all-ones", "descriptors of all ones", REFUSED,
		       descriptors_all_ones),
	ATTACK_ACT("index.event-index-rubbish", "event indices of random value",
		   event_index_rubbish, 0),
	ATTACK_END,
};
