/*
 * tests_kills.c - all devices busy at once for a while, in which the host kills their processes.
 *
 * `seconds=N`: how long. `null=N`: the number of the disk that keeps nothing. Each device's longest
 * waits are printed; of disks and the entropy device everything is compared here, of consoles the
 * host looks at what came out (lines.h).
 */
#include "blk.h"
#include "blk_load.h"
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "io.h"
#include "lines.h"
#include "mem.h"

#define DISKS    4u
#define QUEUES   2u /* of each disk, if it has them */
#define ASKS     4u /* of the entropy device at once */
#define ASK      64u
#define PACE_US  200u
#define GRACE_MS 20000 /* for what is under way at the end */
#define INPUT_MS 60000 /* for more input of consoles */
#define FOREVER  (~0u)

struct disk {
	struct virtio dev;
	struct load *loads[QUEUES];
	unsigned nr;
	struct waits waits[QUEUES];
};

struct ask {
	uint8_t *data; /* ASK bytes, and as many that stay zero */
	uint16_t head;
	bool is_busy;
};

struct entropy {
	struct virtio dev;
	struct ring ring;
	struct ask asks[ASKS];
	uint8_t last[ASK];
	unsigned busy;
	uint64_t next_us, bytes;
	struct waits waits;
	const char *why; /* NULL: fine */
};

/* --- disks --- */

static enum verdict disk_open(struct disk *d, unsigned nth)
{
	*d = (struct disk){ 0 };
	if (!virtio_find(&d->dev, VIRTIO_ID_BLOCK, nth))
		return test_skip("no disk %u", nth);
	CHECK(virtio_begin(&d->dev, VF_INDIRECT | VF_EVENT_IDX | 1ul << 12 /* MQ */));
	unsigned queues = virtio_queues(&d->dev);
	d->nr = queues < QUEUES ? queues : QUEUES;
	for (unsigned i = 0; i < d->nr; i++) {
		struct load *l = d->loads[i] = heap_alloc(sizeof(*l), 64);
		CHECK(ring_setup(&l->ring, &d->dev, (uint16_t)i, 0));
		ring_want_irq(&l->ring, false);
		load_prepare(l, i);
		l->waits = &d->waits[i];
		l->is_null = boot_param_number("null", DISKS) == nth;
	}
	virtio_go(&d->dev);
	return PASS;
}

static bool disk_turn(struct disk *d, bool goes_on)
{
	bool is_busy = false;
	for (unsigned i = 0; i < d->nr; i++) {
		(void)load_turn(d->loads[i], goes_on ? FOREVER : 0);
		is_busy |= d->loads[i]->busy;
	}
	return is_busy;
}

static enum verdict disk_verdict(const struct disk *d, unsigned nth)
{
	for (unsigned i = 0; i < d->nr; i++) {
		char name[16];
		(void)format(name, sizeof(name), "block%u", nth);
		waits_print(&d->waits[i], name);
		if (d->loads[i]->why[0])
			return test_fail("disk %u queue %u: %s", nth, i, d->loads[i]->why);
		if (d->loads[i]->busy)
			return test_fail("disk %u queue %u: requests are missing", nth, i);
	}
	return PASS;
}

/* --- entropy --- */

static enum verdict entropy_open(struct entropy *e)
{
	*e = (struct entropy){ 0 };
	if (!virtio_find(&e->dev, VIRTIO_ID_RNG, 0))
		return test_skip("no entropy device");
	CHECK(virtio_begin(&e->dev, ~0ul));
	CHECK(ring_setup(&e->ring, &e->dev, 0, 0));
	ring_want_irq(&e->ring, false);
	for (unsigned i = 0; i < ASKS; i++)
		e->asks[i].data = heap_alloc(2 * ASK, 64);
	virtio_go(&e->dev);
	return PASS;
}

static void entropy_fail(struct entropy *e, const char *why)
{
	if (!e->why)
		e->why = why;
}

/* All it says it wrote is there, nothing beyond, and nothing is what was there before. */
static void entropy_check(struct entropy *e, const struct ask *a, uint32_t written)
{
	unsigned zeroes = 0;
	if (written != ASK)
		entropy_fail(e, "an answer of another length");
	for (unsigned i = 0; i < ASK; i++)
		zeroes += !a->data[i];
	for (unsigned i = ASK; i < 2 * ASK; i++)
		if (a->data[i])
			entropy_fail(e, "bytes behind the buffer");
	if (zeroes > ASK / 4)
		entropy_fail(e, "an answer that was not written");
	if (mem_equal(e->last, a->data, ASK))
		entropy_fail(e, "the same answer twice");
	mem_copy(e->last, a->data, ASK);
	e->bytes += written;
}

static void entropy_take(struct entropy *e)
{
	uint32_t written;
	int head;
	while ((head = ring_take(&e->ring, &written)) >= 0) {
		struct ask *a = e->asks;
		while (a < e->asks + ASKS && !(a->is_busy && a->head == head))
			a++;
		if (a == e->asks + ASKS) {
			entropy_fail(e, "completed twice or never offered");
			return;
		}
		waits_note(&e->waits);
		entropy_check(e, a, written);
		a->is_busy = false;
		e->busy--;
	}
}

static void entropy_ask(struct entropy *e)
{
	struct ask *a = e->asks;
	while (a < e->asks + ASKS && a->is_busy)
		a++;
	if (a == e->asks + ASKS || clock_us() < e->next_us)
		return;
	mem_fill(a->data, 0, 2 * ASK);
	struct seg s = { a->data, ASK, true };
	int head = ring_put(&e->ring, &s, 1, false);
	if (head < 0) {
		entropy_fail(e, "there is no room in the queue");
		return;
	}
	a->head = (uint16_t)head;
	a->is_busy = true;
	if (!e->busy++)
		waits_begin(&e->waits);
	ring_offer(&e->ring, a->head);
	ring_kick(&e->ring);
	e->next_us = clock_us() + PACE_US;
}

static bool entropy_turn(struct entropy *e, bool goes_on)
{
	entropy_take(e);
	if (goes_on)
		entropy_ask(e);
	return e->busy;
}

/* --- all of them --- */

static struct {
	struct disk disks[DISKS];
	unsigned nr_disks;
	struct entropy entropy;
	struct lines lines;
} all;

static enum verdict open_all(bool is_multiport)
{
	for (all.nr_disks = 0; all.nr_disks < DISKS; all.nr_disks++) {
		enum verdict v = disk_open(&all.disks[all.nr_disks], all.nr_disks);
		if (v == FAIL || (v == SKIP && !all.nr_disks))
			return v;
		if (v == SKIP)
			break;
	}
	CHECK_PASS(entropy_open(&all.entropy));
	return lines_open(&all.lines, is_multiport);
}

static bool all_turn(bool goes_on)
{
	bool is_busy = false;
	for (unsigned i = 0; i < all.nr_disks; i++)
		is_busy |= disk_turn(&all.disks[i], goes_on);
	is_busy |= entropy_turn(&all.entropy, goes_on);
	lines_turn(&all.lines, goes_on);
	return is_busy || !lines_are_done(&all.lines);
}

static enum verdict verdict_of_all(void)
{
	for (unsigned i = 0; i < all.nr_disks; i++)
		CHECK_PASS(disk_verdict(&all.disks[i], i));
	waits_print(&all.entropy.waits, "rng");
	if (all.entropy.why)
		return test_fail("rng: %s", all.entropy.why);
	waits_print(&all.lines.waits, "console");
	lines_print(&all.lines);
	if (all.lines.why)
		return test_fail("console: %s", all.lines.why);
	if (!lines_have_input(&all.lines))
		return test_fail("console: no more input came");
	if (all.entropy.busy || !lines_are_done(&all.lines))
		return test_fail("rng or console: requests are missing");
	return PASS;
}

/* Everything for @ms at least, and until input has come that was asked for after that. */
static void load_for(unsigned ms)
{
	uint64_t end = clock_after_ms(ms);
	for (; !clock_passed(end); cpu_pause())
		(void)all_turn(true);
	lines_want_input(&all.lines);
	end = clock_after_ms(INPUT_MS);
	for (; !lines_have_input(&all.lines) && !clock_passed(end); cpu_pause())
		(void)all_turn(true);
}

static enum verdict run(bool is_multiport)
{
	CHECK_PASS(open_all(is_multiport));
	print("info load begins\n");
	load_for((unsigned)boot_param_number("seconds", 2) * 1000);
	print("info load ends\n");
	uint64_t end;
	for (end = clock_after_ms(GRACE_MS); all_turn(false) && !clock_passed(end);)
		cpu_pause();
	return verdict_of_all();
}

static enum verdict one_port(void)
{
	return run(false);
}

static enum verdict many_ports(void)
{
	return run(true);
}

const struct test kills_tests[] = {
	{ "kills.one-port", one_port },
	{ "kills.many-ports", many_ports },
	{ NULL, NULL },
};
