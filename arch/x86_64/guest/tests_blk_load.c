/*
 * tests_blk_load.c - many block requests at once: queues full, two processors on four queues.
 *
 * Each queue owns a stripe of the disk and remembers the seed it wrote to each block, so that every
 * read is checked.
 */
#include <linux/virtio_blk.h>
#include "acpi.h"
#include "blk.h"
#include "blk_load.h"
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "io.h"
#include "mem.h"

#define BLOCK         4096u
#define BLOCK_SECTORS (BLOCK / SECTOR)
#define DEPTH         16
#define MAX_QUEUES    4

struct slot {
	struct virtio_blk_outhdr header;
	uint8_t status;
	bool is_busy, is_write;
	uint16_t head;
	unsigned block;
	uint64_t seed;
	uint8_t *data;
};

/* A processor's share. */
struct share {
	struct load *loads[MAX_QUEUES];
	unsigned nloads, requests;
};

void load_prepare(struct load *l, unsigned index)
{
	l->first_sector = (uint64_t)index * LOAD_SECTORS;
	l->rand.state = boot_param_number("seed", 1) * 977 + index;
	l->slots = heap_alloc(DEPTH * sizeof(*l->slots), 64);
	for (unsigned i = 0; i < DEPTH; i++)
		l->slots[i].data = heap_alloc(BLOCK, 4096);
}

static void slot_fill(struct load *l, struct slot *s)
{
	uint64_t sector = l->first_sector + s->block * BLOCK_SECTORS;
	s->is_write = !l->seeds[s->block] || (rand_next(&l->rand) & 1);
	s->seed = s->is_write ? rand_next(&l->rand) | 1 : l->seeds[s->block];
	s->header = (struct virtio_blk_outhdr){
		.type = s->is_write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
		.sector = sector,
	};
	s->status = BLK_PENDING;
	if (s->is_write)
		blk_pattern(s->data, sector, BLOCK, s->seed);
	else
		mem_fill(s->data, 0x77, BLOCK);
}

/* Offer one more request, if a slot, a block and descriptors are free. */
static bool load_offer(struct load *l)
{
	unsigned block = (unsigned)(rand_next(&l->rand) % LOAD_BLOCKS);
	struct slot *s = l->slots;
	while (s < l->slots + DEPTH && s->is_busy)
		s++;
	if (s == l->slots + DEPTH || l->is_locked[block])
		return false;
	s->block = block;
	slot_fill(l, s);
	struct seg segs[] = { { &s->header, sizeof(s->header), false },
			      { s->data, BLOCK / 2, !s->is_write },
			      { s->data + BLOCK / 2, BLOCK / 2, !s->is_write },
			      { &s->status, 1, true } };
	int head = ring_put(&l->ring, segs, 4, l->ring.has_indirect && (rand_next(&l->rand) & 1));
	if (head < 0)
		return false;
	s->head = (uint16_t)head;
	s->is_busy = l->is_locked[block] = true;
	if (!l->busy++ && l->waits)
		waits_begin(l->waits);
	ring_offer(&l->ring, s->head);
	return true;
}

static void load_fail(struct load *l, const char *why, const struct slot *s)
{
	if (!l->why[0])
		(void)format(l->why, sizeof(l->why), "%s, sector %lu, request %u", why,
			     s ? (uint64_t)s->header.sector : 0, l->done);
}

static void slot_check(struct load *l, struct slot *s, uint32_t written)
{
	if (s->status != VIRTIO_BLK_S_OK)
		load_fail(l, "request failed", s);
	else if (written != (s->is_write ? 1 : BLOCK + 1))
		load_fail(l, "wrong length", s);
	else if (!s->is_write && !l->is_null &&
		 !blk_pattern_is(s->data, s->header.sector, BLOCK, s->seed))
		load_fail(l, "wrong data", s);
	if (s->is_write)
		l->seeds[s->block] = s->seed;
}

static bool load_take(struct load *l)
{
	uint32_t written;
	int head = ring_take(&l->ring, &written);
	if (head < 0)
		return false;
	struct slot *s = l->slots;
	while (s < l->slots + DEPTH && !(s->is_busy && s->head == head))
		s++;
	if (s == l->slots + DEPTH) {
		load_fail(l, "completed twice or never offered", NULL);
		return false;
	}
	if (l->waits)
		waits_note(l->waits);
	slot_check(l, s, written);
	s->is_busy = l->is_locked[s->block] = false;
	l->busy--;
	l->done++;
	return true;
}

bool load_turn(struct load *l, unsigned requests)
{
	bool is_moving = false;
	while (load_take(l))
		is_moving = true;
	unsigned offered = 0;
	for (unsigned tries = 0; tries < DEPTH && l->done + l->busy < requests; tries++)
		offered += load_offer(l);
	if (offered)
		ring_kick(&l->ring);
	return is_moving || offered;
}

static void share_run(void *arg)
{
	struct share *s = arg;
	uint64_t end = clock_after_ms(10000);
	for (unsigned left = 1; left;) {
		left = 0;
		for (unsigned i = 0; i < s->nloads; i++) {
			struct load *l = s->loads[i];
			if (l->why[0])
				continue;
			if (load_turn(l, s->requests))
				end = clock_after_ms(10000);
			else if (clock_passed(end))
				load_fail(l, "stuck", NULL);
			left += l->done < s->requests;
		}
		cpu_pause();
	}
}

static enum verdict loads_start(struct blk *b, struct load *loads, unsigned n, uint64_t features)
{
	CHECK_PASS(blk_begin(b, true, features));
	if (virtio_queues(&b->dev) < n)
		return test_skip("%u queues", virtio_queues(&b->dev));
	CHECK(b->sectors >= (uint64_t)n * LOAD_SECTORS);
	for (uint16_t i = 0; i < n; i++) {
		CHECK(ring_setup(&loads[i].ring, &b->dev, i, 0));
		load_prepare(&loads[i], i);
		ring_want_irq(&loads[i].ring, false);
	}
	virtio_go(&b->dev);
	return PASS;
}

static enum verdict run(unsigned queues, unsigned cpus, uint64_t features)
{
	struct blk b;
	struct load *loads = heap_alloc(queues * sizeof(*loads), 64);
	static struct share shares[MAX_CPUS];
	mem_fill(shares, 0, sizeof(shares));
	if (cpus > acpi_cpus())
		return test_skip("%u processors", acpi_cpus());
	CHECK_PASS(loads_start(&b, loads, queues, features));
	for (unsigned i = 0; i < queues; i++) {
		struct share *s = &shares[i % cpus];
		s->loads[s->nloads++] = &loads[i];
		s->requests = (unsigned)boot_param_number("requests", 2000);
	}
	uint64_t begin = clock_us();
	if (cpus > 1)
		CHECK(smp_run(share_run, &shares[1]));
	share_run(&shares[0]);
	CHECK(smp_wait(20000));
	uint64_t us = clock_us() - begin, kicks = 0;
	for (unsigned i = 0; i < queues; i++) {
		kicks += loads[i].ring.kicks;
		if (loads[i].why[0])
			return test_fail("queue %u: %s", i, loads[i].why);
	}
	print("info load %s %u queues %u cpus: %u requests in %lu us, %lu doorbells\n",
	      loads[0].ring.is_packed ? "packed" : "split", queues, cpus,
	      queues * shares[0].requests, us, kicks);
	blk_close(&b);
	return PASS;
}

static enum verdict one_queue(void)
{
	return run(1, 1, VF_INDIRECT);
}

static enum verdict one_queue_event_idx(void)
{
	return run(1, 1, VF_INDIRECT | VF_EVENT_IDX);
}

static enum verdict four_queues(void)
{
	return run(4, 1, VF_INDIRECT | VF_EVENT_IDX | 1ul << VIRTIO_BLK_F_MQ);
}

static enum verdict four_queues_two_cpus(void)
{
	return run(4, 2, VF_INDIRECT | VF_EVENT_IDX | 1ul << VIRTIO_BLK_F_MQ);
}

static enum verdict four_queues_two_cpus_plain(void)
{
	return run(4, 2, 1ul << VIRTIO_BLK_F_MQ);
}

const struct test blk_load_tests[] = {
	{ "load.one-queue", one_queue },
	{ "load.one-queue-event-idx", one_queue_event_idx },
	{ "load.four-queues", four_queues },
	{ "load.four-queues-two-cpus", four_queues_two_cpus },
	{ "load.four-queues-two-cpus-plain", four_queues_two_cpus_plain },
	{ NULL, NULL },
};
