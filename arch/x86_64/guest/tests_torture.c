/*
 * tests_torture.c - everything at once: four queues on two processors, requests of random kind,
 * size and number under way, queues reset in the middle, while the host changes size and limits.
 *
 * Each queue has a stripe of the disk. Of each block it knows what may be there: what was written
 * last, or, when a reset took the request away, that or what was before. `seconds=N`; `sizes=1`:
 * the host resizes the disk, and that must be seen.
 */
#include <linux/virtio_blk.h>
#include "acpi.h"
#include "blk.h"
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "io.h"
#include "mem.h"
#include "pci.h"

#define QUEUES        4u
#define BLOCK         4096u
#define BLOCK_SECTORS (BLOCK / SECTOR)
#define BLOCKS        256u /* of a stripe */
#define DEPTH         32u
#define LONGEST       8u /* blocks of a request */
#define PIECES        3u /* of its data */
#define GUESSES       4u
#define RESET_EVERY   150u /* requests, about */
#define NOTHING       0u   /* the seed of a block of zeroes */

/* What a block may hold: patterns of these seeds. None: anything. */
struct place {
	uint64_t seeds[GUESSES];
	unsigned n;
	bool is_locked; /* a request is on its way */
};

struct job {
	struct virtio_blk_outhdr header;
	struct virtio_blk_discard_write_zeroes range;
	uint8_t status;
	bool is_busy;
	uint16_t head;
	unsigned first, count; /* blocks */
	uint64_t seed;
	uint8_t *data;
};

struct lane {
	struct ring ring;
	struct virtio *dev;
	uint64_t sector; /* where the stripe begins */
	struct job *jobs;
	struct place places[BLOCKS];
	struct rand rand;
	unsigned busy, depth;
	uint64_t done, lost, resets, until_reset;
	uint64_t alive; /* something has to happen until then */
	char why[96];   /* empty: fine */
};

/* A processor's share. */
struct crew {
	struct lane *lanes[QUEUES];
	unsigned n;
	uint64_t end;
	struct blk *blk;         /* of the one that looks at the size; NULL: the other one */
	uint64_t sizes, sectors; /* how often it changed, and what it is */
};

static uint8_t select_lock; /* queue_select and what it selects */

static void lock_select(void)
{
	while (__atomic_test_and_set(&select_lock, __ATOMIC_ACQUIRE))
		cpu_pause();
}

static void unlock_select(void)
{
	__atomic_clear(&select_lock, __ATOMIC_RELEASE);
}

static void lane_fail(struct lane *l, const char *why, const struct job *j)
{
	if (!l->why[0])
		(void)format(l->why, sizeof(l->why), "%s: type %u, sector %lu, request %lu", why,
			     j ? j->header.type : 99, j ? (uint64_t)j->header.sector : 0, l->done);
}

/* --- what a block may hold --- */

static void place_is(struct place *p, uint64_t seed)
{
	p->n = 1;
	p->seeds[0] = seed;
}

static void place_may_be(struct place *p, uint64_t seed)
{
	for (unsigned i = 0; i < p->n; i++)
		if (p->seeds[i] == seed)
			return;
	if (!p->n || p->n == GUESSES)
		p->n = 0; /* too much to tell */
	else
		p->seeds[p->n++] = seed;
}

static bool is_zero(const uint8_t *data)
{
	const uint64_t *word = (const uint64_t *)(const void *)data;
	for (unsigned i = 0; i < BLOCK / 8; i++)
		if (word[i])
			return false;
	return true;
}

/* Is @data what may be there? Then that is what is there. */
static bool place_agrees(struct place *p, const uint8_t *data, uint64_t sector)
{
	for (unsigned i = 0; i < p->n; i++) {
		uint64_t seed = p->seeds[i];
		if (seed == NOTHING ? is_zero(data) : blk_pattern_is(data, sector, BLOCK, seed)) {
			place_is(p, seed);
			return true;
		}
	}
	return !p->n;
}

/* --- requests --- */

static bool lane_has(const struct lane *l, unsigned feature)
{
	return l->dev->features >> feature & 1;
}

static uint32_t lane_pick_type(struct lane *l)
{
	switch (rand_next(&l->rand) % 16) {
	case 0:
		return lane_has(l, VIRTIO_BLK_F_DISCARD) ? VIRTIO_BLK_T_DISCARD : VIRTIO_BLK_T_OUT;
	case 1:
		return lane_has(l, VIRTIO_BLK_F_WRITE_ZEROES) ? VIRTIO_BLK_T_WRITE_ZEROES
							      : VIRTIO_BLK_T_OUT;
	case 2:
		return lane_has(l, VIRTIO_BLK_F_FLUSH) ? VIRTIO_BLK_T_FLUSH : VIRTIO_BLK_T_IN;
	case 3:
	case 4:
	case 5:
	case 6:
	case 7:
	case 8:
		return VIRTIO_BLK_T_OUT;
	default:
		return VIRTIO_BLK_T_IN;
	}
}

static bool lane_is_free(const struct lane *l, unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++)
		if (l->places[i].is_locked)
			return false;
	return true;
}

static void job_lock(struct lane *l, const struct job *j, bool is_locked)
{
	for (unsigned i = j->first; i < j->first + j->count; i++)
		l->places[i].is_locked = is_locked;
}

static void job_make(struct lane *l, struct job *j, uint32_t type)
{
	uint64_t sector = l->sector + j->first * BLOCK_SECTORS;
	uint32_t bytes = j->count * BLOCK;
	bool has_range = type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES;
	j->seed = rand_next(&l->rand) | 1;
	j->header = (struct virtio_blk_outhdr){ .type = type,
						.sector = has_range || !bytes ? 0 : sector };
	j->range = (struct virtio_blk_discard_write_zeroes){ .sector = sector,
							     .num_sectors = bytes / SECTOR };
	j->status = BLK_PENDING;
	if (type == VIRTIO_BLK_T_OUT)
		blk_pattern(j->data, sector, bytes, j->seed);
	else if (type == VIRTIO_BLK_T_IN)
		mem_fill(j->data, 0x77, bytes);
}

/* The data in pieces cut anywhere. */
static unsigned job_cut(struct lane *l, const struct job *j, struct seg *segs)
{
	uint32_t left = j->count * BLOCK, at = 0;
	bool is_in = j->header.type == VIRTIO_BLK_T_IN;
	unsigned n = 0;
	for (; n + 1 < PIECES && left > 1 && (rand_next(&l->rand) & 1); n++) {
		uint32_t piece = 1 + (uint32_t)(rand_next(&l->rand) % (left - 1));
		if (rand_next(&l->rand) & 3)
			piece = (piece + SECTOR - 1) & ~(SECTOR - 1);
		if (piece >= left)
			break;
		segs[n] = (struct seg){ j->data + at, piece, is_in };
		at += piece;
		left -= piece;
	}
	segs[n++] = (struct seg){ j->data + at, left, is_in };
	return n;
}

static int job_put(struct lane *l, struct job *j)
{
	struct seg segs[PIECES + 2] = { { &j->header, sizeof(j->header), false } };
	unsigned n = 1;
	if (j->header.type == VIRTIO_BLK_T_DISCARD || j->header.type == VIRTIO_BLK_T_WRITE_ZEROES)
		segs[n++] = (struct seg){ &j->range, sizeof(j->range), false };
	else if (j->header.type != VIRTIO_BLK_T_FLUSH)
		n += job_cut(l, j, segs + n);
	segs[n++] = (struct seg){ &j->status, 1, true };
	return ring_put(&l->ring, segs, n, l->ring.has_indirect && (rand_next(&l->rand) & 1));
}

/* Offer one more request, if a job, its blocks and descriptors are free. */
static bool lane_offer(struct lane *l)
{
	struct job *j = l->jobs;
	uint32_t type = lane_pick_type(l);
	while (j < l->jobs + DEPTH && j->is_busy)
		j++;
	if (j == l->jobs + DEPTH || l->busy >= l->depth)
		return false;
	j->count = type == VIRTIO_BLK_T_FLUSH ? 0 : 1 + (unsigned)(rand_next(&l->rand) % LONGEST);
	j->first = (unsigned)(rand_next(&l->rand) % (BLOCKS - LONGEST));
	if (!lane_is_free(l, j->first, j->count))
		return false;
	job_make(l, j, type);
	int head = job_put(l, j);
	if (head < 0)
		return false;
	j->head = (uint16_t)head;
	j->is_busy = true;
	job_lock(l, j, true);
	l->busy++;
	ring_offer(&l->ring, j->head);
	return true;
}

/* What a request that succeeded leaves in each of its blocks. */
static void job_took_place(struct lane *l, struct job *j)
{
	for (unsigned i = 0; i < j->count; i++) {
		struct place *p = &l->places[j->first + i];
		uint64_t sector = l->sector + (j->first + i) * BLOCK_SECTORS;
		if (j->header.type == VIRTIO_BLK_T_OUT)
			place_is(p, j->seed);
		else if (j->header.type == VIRTIO_BLK_T_WRITE_ZEROES)
			place_is(p, NOTHING);
		else if (j->header.type == VIRTIO_BLK_T_DISCARD)
			place_may_be(p, NOTHING); /* §5.2.6.2: or as it was */
		else if (!place_agrees(p, j->data + i * BLOCK, sector))
			lane_fail(l, "wrong data", j);
	}
}

static bool lane_take(struct lane *l)
{
	uint32_t written;
	int head = ring_take(&l->ring, &written);
	struct job *j = l->jobs;
	if (head < 0)
		return false;
	while (j < l->jobs + DEPTH && !(j->is_busy && j->head == head))
		j++;
	if (j == l->jobs + DEPTH) {
		lane_fail(l, "completed twice or never offered", NULL);
		return false;
	}
	if (j->status != VIRTIO_BLK_S_OK)
		lane_fail(l, "request failed", j);
	else
		job_took_place(l, j);
	j->is_busy = false;
	job_lock(l, j, false);
	l->busy--;
	l->done++;
	return true;
}

/* --- resets --- */

/* What was under way has happened or not, each request as a whole. */
static void job_is_lost(struct lane *l, struct job *j)
{
	for (unsigned i = j->first; i < j->first + j->count; i++) {
		if (j->header.type == VIRTIO_BLK_T_OUT)
			place_may_be(&l->places[i], j->seed);
		else if (j->header.type != VIRTIO_BLK_T_IN)
			place_may_be(&l->places[i], NOTHING);
	}
	job_lock(l, j, false);
	j->is_busy = false;
	l->busy--;
	l->lost++;
}

static bool lane_reset_done(struct lane *l)
{
	lock_select();
	COMMON_WRITE16(l->dev, queue_select, l->ring.index);
	bool is_done = !mmio_read16(l->dev->common + COMMON_QUEUE_RESET);
	unlock_select();
	return is_done;
}

static void lane_reset(struct lane *l)
{
	lock_select();
	COMMON_WRITE16(l->dev, queue_select, l->ring.index);
	mmio_write16(l->dev->common + COMMON_QUEUE_RESET, 1);
	unlock_select();
	for (uint64_t end = clock_after_ms(CLOCK_PATIENCE_MS); !lane_reset_done(l);) {
		if (clock_passed(end)) {
			lane_fail(l, "the reset of a queue does not end", NULL);
			return;
		}
		cpu_pause();
	}
	for (unsigned i = 0; i < DEPTH; i++)
		if (l->jobs[i].is_busy)
			job_is_lost(l, &l->jobs[i]);
	ring_rewind(&l->ring);
	ring_want_irq(&l->ring, false);
	lock_select();
	ring_program(&l->ring, l->dev);
	ring_enable(&l->ring, l->dev);
	unlock_select();
	l->resets++;
}

/* --- the run --- */

static void lane_prepare(struct lane *l, struct virtio *dev, unsigned index)
{
	l->dev = dev;
	l->sector = (uint64_t)index * BLOCKS * BLOCK_SECTORS;
	l->rand.state = boot_param_number("seed", 1) * 6151 + index;
	l->depth = 1;
	l->until_reset = RESET_EVERY;
	l->jobs = heap_alloc(DEPTH * sizeof(*l->jobs), 64);
	for (unsigned i = 0; i < DEPTH; i++)
		l->jobs[i].data = heap_alloc(LONGEST * BLOCK, 4096);
}

static void lane_turn(struct lane *l, bool is_over)
{
	unsigned offered = 0;
	bool is_moving = false;
	while (lane_take(l))
		is_moving = true;
	if (is_moving || !l->busy)
		l->alive = clock_after_ms(CLOCK_PATIENCE_MS);
	if (clock_passed(l->alive))
		lane_fail(l, "stuck", NULL);
	if (is_over || l->why[0])
		return;
	if (l->done + l->lost > l->until_reset && l->busy) {
		lane_reset(l);
		l->until_reset = l->done + l->lost + rand_next(&l->rand) % (2 * RESET_EVERY);
	}
	if (rand_next(&l->rand) % 64 == 0)
		l->depth = 1 + (unsigned)(rand_next(&l->rand) % DEPTH);
	for (unsigned tries = 0; tries < l->depth; tries++)
		offered += lane_offer(l);
	if (offered)
		ring_kick(&l->ring);
}

static void crew_look_at_size(struct crew *c)
{
	uint64_t now = mmio_read32(c->blk->dev.config) |
		       (uint64_t)mmio_read32(c->blk->dev.config + 4) << 32;
	c->sizes += now != c->sectors;
	c->sectors = now;
}

static void crew_run(void *arg)
{
	struct crew *c = arg;
	for (uint64_t turn = 0, left = 1; left; turn++) {
		bool is_over = clock_passed(c->end);
		left = !is_over;
		for (unsigned i = 0; i < c->n; i++) {
			struct lane *l = c->lanes[i];
			if (l->why[0])
				continue;
			lane_turn(l, is_over);
			left += l->busy;
		}
		if (c->blk && turn % 256 == 0)
			crew_look_at_size(c);
		cpu_pause();
	}
}

static enum verdict lanes_open(struct blk *b, struct lane *lanes)
{
	uint64_t wanted = VF_INDIRECT | VF_EVENT_IDX | VF_RING_RESET | 1ul << VIRTIO_BLK_F_MQ |
			  1ul << VIRTIO_BLK_F_FLUSH | 1ul << VIRTIO_BLK_F_DISCARD |
			  1ul << VIRTIO_BLK_F_WRITE_ZEROES;
	CHECK_PASS(blk_begin(b, true, wanted));
	if (virtio_queues(&b->dev) < QUEUES || !(b->dev.features & VF_RING_RESET))
		return test_skip("%u queues, features %lx", virtio_queues(&b->dev),
				 b->dev.features);
	CHECK(b->sectors >= (uint64_t)QUEUES * BLOCKS * BLOCK_SECTORS);
	for (uint16_t i = 0; i < QUEUES; i++) {
		CHECK(ring_setup(&lanes[i].ring, &b->dev, i, 0));
		lane_prepare(&lanes[i], &b->dev, i);
		ring_want_irq(&lanes[i].ring, false);
	}
	virtio_go(&b->dev);
	return PASS;
}

/* All that may be there is there, told by a device that was reset. */
static enum verdict lanes_verify(struct lane *lanes)
{
	struct blk b;
	CHECK_PASS(blk_open(&b, true, 0));
	uint8_t *data = heap_alloc(BLOCK, 4096);
	for (unsigned q = 0; q < QUEUES; q++)
		for (unsigned i = 0; i < BLOCKS; i++) {
			uint64_t sector = lanes[q].sector + i * BLOCK_SECTORS;
			CHECK_EQ(blk_read(&b, sector, data, BLOCK), VIRTIO_BLK_S_OK);
			if (!place_agrees(&lanes[q].places[i], data, sector))
				return test_fail("in the end, sector %lu is wrong", sector);
		}
	blk_close(&b);
	return PASS;
}

static enum verdict lanes_report(const struct lane *lanes, const struct crew *c)
{
	uint64_t done = 0, lost = 0, resets = 0;
	for (unsigned i = 0; i < QUEUES; i++) {
		if (lanes[i].why[0])
			return test_fail("queue %u: %s", i, lanes[i].why);
		CHECK(lanes[i].done);
		done += lanes[i].done;
		lost += lanes[i].lost;
		resets += lanes[i].resets;
	}
	print("info torture %lu requests, %lu taken away by %lu resets, %lu sizes\n", done, lost,
	      resets, c->sizes);
	if (boot_param_number("sizes", 0))
		CHECK(c->sizes > 1);
	return PASS;
}

static enum verdict everything_at_once(void)
{
	struct blk b;
	static struct crew crews[MAX_CPUS];
	struct lane *lanes = heap_alloc(QUEUES * sizeof(*lanes), 64);
	unsigned cpus = acpi_cpus() < MAX_CPUS ? acpi_cpus() : MAX_CPUS;
	mem_fill(crews, 0, sizeof(crews));
	CHECK_PASS(lanes_open(&b, lanes));
	uint64_t ms = boot_param_number("seconds", 2) * 1000, end = clock_after_ms((unsigned)ms);
	for (unsigned i = 0; i < QUEUES; i++) {
		struct crew *c = &crews[i % cpus];
		c->lanes[c->n++] = &lanes[i];
		c->end = end;
		lanes[i].alive = clock_after_ms(CLOCK_PATIENCE_MS);
	}
	crews[0].blk = &b;
	crews[0].sectors = b.sectors;
	if (cpus > 1)
		CHECK(smp_run(crew_run, &crews[1]));
	crew_run(&crews[0]);
	CHECK(smp_wait(2 * CLOCK_PATIENCE_MS));
	CHECK_PASS(lanes_report(lanes, &crews[0]));
	return lanes_verify(lanes);
}

const struct test torture_tests[] = {
	{ "torture.everything-at-once", everything_at_once },
	{ NULL, NULL },
};
