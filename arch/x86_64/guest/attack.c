/*
 * attack.c - see attack.h: one attack, and the look at everything after it.
 */
#include "attack.h"
#include <linux/virtio_blk.h>
#include "blk.h"
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "mem.h"
#include "pci.h"

#define OUTCOME_MS     CLOCK_PATIENCE_MS
#define ANYTHING_MS    20 /* nothing at all is an outcome too */
#define PAUSE_MS       30
#define TICK           1000000u /* of the APIC timer: wakes the sleeper up now and then */
#define GUARD_BYTES    0x400000ul
#define FRONT_BYTES    65536u
#define CHECKED_SECTOR 2048u /* from here on nobody may write but we */
#define CHECKED_BYTES  65536u
#define SCRATCH_SECTOR (CHECKED_SECTOR + CHECKED_BYTES / SECTOR)
#define SCRATCH_BYTES  4096u
#define SEED_VICTIM    21u
#define SEED_BYSTANDER 22u
#define BYSTANDER      1 /* which disk */
/* With FLUSH a write need not reach the disk before it is done. */
#define DISK_FEATURES   (VF_INDIRECT | VF_EVENT_IDX | 1ul << VIRTIO_BLK_F_FLUSH)
#define DRIVER_ALL_DONE 0x0f

/* The disk that nobody attacks; kept from one attack to the next. */
static struct {
	struct blk disk;
	uint8_t *buf, *front;
	uint64_t requests;
} bystander;

/* Read what was written once, write something and read it back. */
static enum verdict disk_serves(struct blk *b, uint8_t *buf, uint64_t seed, uint64_t round)
{
	CHECK_EQ(blk_read(b, CHECKED_SECTOR, buf, CHECKED_BYTES), VIRTIO_BLK_S_OK);
	CHECK(blk_pattern_is(buf, CHECKED_SECTOR, CHECKED_BYTES, seed));
	blk_pattern(buf, SCRATCH_SECTOR, SCRATCH_BYTES, seed + round);
	CHECK_EQ(blk_write(b, SCRATCH_SECTOR, buf, SCRATCH_BYTES), VIRTIO_BLK_S_OK);
	mem_fill(buf, 0, SCRATCH_BYTES);
	CHECK_EQ(blk_read(b, SCRATCH_SECTOR, buf, SCRATCH_BYTES), VIRTIO_BLK_S_OK);
	CHECK(blk_pattern_is(buf, SCRATCH_SECTOR, SCRATCH_BYTES, seed + round));
	return PASS;
}

static enum verdict disk_prepare(struct blk *b, uint8_t *buf, uint64_t seed)
{
	if (b->sectors < SCRATCH_SECTOR + SCRATCH_BYTES / SECTOR)
		return test_skip("%lu sectors", b->sectors);
	blk_pattern(buf, CHECKED_SECTOR, CHECKED_BYTES, seed);
	CHECK_EQ(blk_write(b, CHECKED_SECTOR, buf, CHECKED_BYTES), VIRTIO_BLK_S_OK);
	return PASS;
}

/* Once: both disks get their contents, and the second stays up. */
static enum verdict bystander_open(void)
{
	struct blk victim;
	uint8_t *buf = heap_alloc(CHECKED_BYTES, 4096);
	CHECK_PASS(blk_open_nth(&victim, 0, DISK_FEATURES));
	CHECK_PASS(disk_prepare(&victim, buf, SEED_VICTIM));
	blk_close(&victim);
	heap_empty();
	bystander.buf = heap_alloc(CHECKED_BYTES, 4096);
	CHECK_PASS(blk_open_nth(&bystander.disk, BYSTANDER, DISK_FEATURES));
	CHECK_PASS(disk_prepare(&bystander.disk, bystander.buf, SEED_BYSTANDER));
	bystander.front = heap_alloc(FRONT_BYTES, 4096);
	heap_keep();
	return PASS;
}

/* Other tests reset all devices: then it is brought up again. */
static enum verdict bystander_ready(void)
{
	if (!bystander.front)
		return bystander_open();
	if (virtio_status(&bystander.disk.dev) == DRIVER_ALL_DONE)
		return PASS;
	CHECK_PASS(blk_open_nth(&bystander.disk, BYSTANDER, DISK_FEATURES));
	heap_keep();
	return PASS;
}

static enum verdict bystander_serves(void)
{
	CHECK_EQ(virtio_status(&bystander.disk.dev), DRIVER_ALL_DONE);
	return disk_serves(&bystander.disk, bystander.buf, SEED_BYSTANDER, ++bystander.requests);
}

static enum verdict victim_serves(void)
{
	struct blk b;
	heap_empty();
	CHECK_PASS(blk_open_polled(&b, 0, DISK_FEATURES));
	CHECK_PASS(
		disk_serves(&b, heap_alloc(CHECKED_BYTES, 4096), SEED_VICTIM, bystander.requests));
	CHECK(virtio_reset(&b.dev));
	return PASS;
}

/* Queue @index of the device serves one buffer. */
static enum verdict queue_serves(struct virtio *v, uint16_t index, const struct seg *s)
{
	struct ring r;
	uint32_t written;
	v->has_no_msix = v->has_no_vectors = true; /* routes take the host long, and polling does */
	CHECK(virtio_begin(v, 0));
	CHECK(ring_setup(&r, v, index, 0));
	virtio_go(v);
	int head = ring_put(&r, s, 1, false);
	ring_offer(&r, (uint16_t)head);
	ring_kick(&r);
	CHECK(ring_take_wait(&r, &written, OUTCOME_MS) == head);
	CHECK(virtio_reset(v));
	return PASS;
}

static enum verdict small_devices_serve(void)
{
	struct virtio v;
	uint8_t *buf = heap_alloc(64, 64);
	struct seg in = { buf, 64, true }, out = { "attacked\n", 9, false };
	if (virtio_find(&v, VIRTIO_ID_RNG, 0)) {
		CHECK_PASS(queue_serves(&v, 0, &in));
		unsigned zeroes = 0;
		for (unsigned i = 0; i < 64; i++)
			zeroes += buf[i] == 0;
		CHECK(zeroes < 16);
	}
	if (virtio_find(&v, VIRTIO_ID_CONSOLE, 0))
		CHECK_PASS(queue_serves(&v, 1, &out));
	return PASS;
}

/* Sleep, for others to see who does not. */
static void sleep_a_while(void)
{
	print("pause\n");
	irq_off();
	apic_timer(TICK, true);
	for (uint64_t end = clock_after_ms(PAUSE_MS); !clock_passed(end);)
		cpu_idle();
	apic_timer(0, false);
	irq_on();
	print("resume\n");
}

bool attack_is_decided(const struct scene *s, unsigned ms)
{
	for (uint64_t end = clock_after_ms(ms); !clock_passed(end);) {
		if (*(volatile uint16_t *)&s->p.ring.used->idx || virtio_needs_reset(&s->p.dev))
			return true;
		clock_delay_us(50);
	}
	return false;
}

static void request_spoil(struct scene *s, const struct spoil *p)
{
	struct vring_desc *d = &s->d[p->desc];
	if (p->field == SPOIL_ADDR)
		d->addr = p->value;
	else if (p->field == SPOIL_LEN)
		d->len = (uint32_t)p->value;
	else if (p->field == SPOIL_FLAGS)
		d->flags = (uint16_t)p->value;
	else
		d->next = (uint16_t)p->value;
	scene_offer(s, 0);
}

static enum verdict request_run(const struct attack *a)
{
	struct scene s;
	enum holds holds = a->holds;
	if (holds == REFUSED_STRICT)
		holds = is_strict() ? REFUSED : ANYTHING;
	CHECK_PASS(scene_open(&s, a->arg));
	if (a->arrange)
		a->arrange(&s);
	else
		request_spoil(&s, &a->spoil);
	ring_kick_always(&s.p.ring);
	bool is_known = attack_is_decided(&s, holds == ANYTHING ? ANYTHING_MS : OUTCOME_MS);
	if (holds == ANYTHING)
		return PASS;
	if (!is_known)
		return test_fail("no answer, status 0x%x", virtio_status(&s.p.dev));
	bool is_good = s.p.ring.used->idx && s.p.status[0] == VIRTIO_BLK_S_OK;
	if (is_good != (holds == SERVED))
		return test_fail("%s, status 0x%x", is_good ? "served" : "not served",
				 virtio_status(&s.p.dev));
	return PASS;
}

static enum verdict memory_is_whole(void)
{
	for (unsigned i = 0; i < FRONT_BYTES; i++)
		CHECK_EQ(bystander.front[i], CANARY);
	CHECK(heap_guard_is_whole());
	return PASS;
}

enum verdict attack_run(const struct attack *a)
{
	CHECK_PASS(bystander_ready());
	heap_empty();
	mem_fill(bystander.front, CANARY, FRONT_BYTES);
	heap_guard(GUARD_BYTES);
	CHECK_PASS(a->act ? a->act(a->arg) : request_run(a));
	sleep_a_while();
	CHECK_PASS(memory_is_whole());
	CHECK_PASS(bystander_serves());
	CHECK_PASS(victim_serves());
	return small_devices_serve();
}

const char *attack_promise(enum holds h)
{
	static const char *const words[] = {
		[REFUSED] = "refused",
		[REFUSED_STRICT] = "refused",
		[SERVED] = "served",
		[ANYTHING] = "no claim on the answer",
	};
	return words[h];
}

/* Neither RAM nor to be given to a device. */
struct bad_place attack_bad_place(unsigned n)
{
	struct virtio v;
	uint64_t bar = virtio_find(&v, VIRTIO_ID_BLOCK, 0) ? v.common & ~0xffful : 0xd0000000;
	const struct bad_place places[] = {
		{ "behind RAM", boot_ram_end() },
		{ "over the end of RAM", boot_ram_end() - 8 },
		{ "nowhere", NOWHERE },
		{ "the last bytes there are", ~0ul & ~15ul },
		{ "a hole", 0xd0000000 },
		{ "configuration space", pci_ecam_at(0, 0, 0, 0) },
		{ "the IOAPIC", 0xfec00000 },
		{ "the local APIC", 0xfee00000 },
		{ "the device's own registers", bar },
		{ "the reset vector", 0xfffffff0 },
	};
	return n < sizeof(places) / sizeof(places[0]) ? places[n] : (struct bad_place){ 0 };
}
