/*
 * tests_reset.c - resets at any moment: nothing is written after a reset is complete, and the
 * device comes back as often as it is asked.
 */
#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include "acpi.h"
#include "blk.h"
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "io.h"
#include "mem.h"
#include "pci.h"
#include "probe.h"

#define CANARY       0xc3
#define FLIGHT       16     /* requests under way */
#define FLIGHT_BYTES 65536u /* each */
#define QUIET_US     3000   /* how long to watch for late writes */
#define DEAF_MS      20     /* without an answer, a device has stopped */
#define PATIENCE_MS  2000
#define MAX_ANSWERS  1000

struct flight {
	struct virtio_blk_outhdr headers[FLIGHT];
	uint8_t status[FLIGHT];
	uint8_t *data; /* FLIGHT * FLIGHT_BYTES */
};

static struct flight *flight_alloc(void)
{
	struct flight *f = heap_alloc(sizeof(*f), 64);
	f->data = heap_alloc(FLIGHT * FLIGHT_BYTES, 4096);
	return f;
}

static enum verdict flight_start(struct ring *r, struct flight *f, uint32_t type)
{
	for (unsigned i = 0; i < FLIGHT; i++) {
		f->headers[i] = (struct virtio_blk_outhdr){
			.type = type,
			.sector = i * (FLIGHT_BYTES / SECTOR),
		};
		f->status[i] = BLK_PENDING;
		struct seg segs[] = {
			{ &f->headers[i], sizeof(f->headers[i]), false },
			{ f->data + i * FLIGHT_BYTES, FLIGHT_BYTES, type == VIRTIO_BLK_T_IN },
			{ &f->status[i], 1, true },
		};
		int head = ring_put(r, segs, 3, false);
		CHECK(head >= 0);
		ring_offer(r, (uint16_t)head);
	}
	ring_kick(r);
	return PASS;
}

/* Everything the device may have written is filled; after a while it still is. */
static enum verdict stays_quiet(struct ring *r, struct flight *f)
{
	size_t used_bytes = sizeof(*r->used) + r->size * sizeof(r->used->ring[0]);
	mem_fill(f->data, CANARY, FLIGHT * FLIGHT_BYTES);
	mem_fill(f->status, CANARY, FLIGHT);
	mem_fill(r->used, CANARY, used_bytes);
	clock_delay_us(QUIET_US);
	for (size_t i = 0; i < FLIGHT * FLIGHT_BYTES; i += 8)
		if (*(uint64_t *)(void *)(f->data + i) != 0xc3c3c3c3c3c3c3c3)
			return test_fail("data written after the reset, byte %lu", i);
	for (unsigned i = 0; i < FLIGHT; i++)
		CHECK_EQ(f->status[i], CANARY);
	for (size_t i = 0; i < used_bytes; i++)
		CHECK_EQ(((uint8_t *)r->used)[i], CANARY);
	return PASS;
}

static enum verdict reactivate(void)
{
	for (unsigned i = 0; i < boot_param_number("rounds", 200); i++) {
		struct probe p;
		heap_empty();
		CHECK_PASS(probe_open(&p, i & 1 ? ~0ul : 0, (uint16_t)(4 << (i % 5))));
		CHECK_PASS(probe_once(&p, p.ring.has_indirect));
		CHECK(virtio_reset(&p.dev));
	}
	return PASS;
}

static enum verdict reads_in_flight(void)
{
	struct rand r = { boot_param_number("seed", 1) };
	for (unsigned i = 0; i < 100; i++) {
		struct blk b;
		heap_empty();
		CHECK_PASS(blk_open(&b, true, i & 1 ? VF_EVENT_IDX : 0));
		if (b.sectors < FLIGHT * FLIGHT_BYTES / SECTOR)
			return test_skip("%lu sectors", b.sectors);
		struct flight *f = flight_alloc();
		CHECK_PASS(flight_start(&b.ring, f, VIRTIO_BLK_T_IN));
		clock_delay_us((unsigned)(rand_next(&r) % 300));
		CHECK(virtio_reset(&b.dev));
		CHECK_PASS(stays_quiet(&b.ring, f));
	}
	return PASS;
}

/* Old or new, sector by sector: nothing else is on the disk after a reset in the middle of writes.
 */
static enum verdict old_or_new(struct blk *b, struct flight *f, uint64_t old, uint64_t new)
{
	for (uint64_t at = 0; at < FLIGHT * FLIGHT_BYTES / SECTOR; at += FLIGHT_BYTES / SECTOR) {
		CHECK_EQ(blk_read(b, at, f->data, FLIGHT_BYTES), VIRTIO_BLK_S_OK);
		for (uint32_t k = 0; k < FLIGHT_BYTES / SECTOR; k++) {
			const uint8_t *sector = f->data + k * SECTOR;
			if (!blk_pattern_is(sector, at + k, SECTOR, old) &&
			    !blk_pattern_is(sector, at + k, SECTOR, new))
				return test_fail("sector %lu is neither old nor new", at + k);
		}
	}
	return PASS;
}

static enum verdict write_all(struct blk *b, struct flight *f, uint64_t seed)
{
	blk_pattern(f->data, 0, FLIGHT * FLIGHT_BYTES, seed);
	for (unsigned i = 0; i < FLIGHT; i++)
		CHECK_EQ(blk_write(b, i * (FLIGHT_BYTES / SECTOR), f->data + i * FLIGHT_BYTES,
				   FLIGHT_BYTES),
			 VIRTIO_BLK_S_OK);
	return PASS;
}

static enum verdict writes_in_flight(void)
{
	struct rand r = { boot_param_number("seed", 1) };
	for (uint64_t i = 0; i < 30; i++) {
		struct blk b;
		heap_empty();
		CHECK_PASS(blk_open(&b, true, 0));
		if (b.sectors < FLIGHT * FLIGHT_BYTES / SECTOR)
			return test_skip("%lu sectors", b.sectors);
		struct flight *f = flight_alloc();
		CHECK_PASS(write_all(&b, f, 100 + i));
		blk_pattern(f->data, 0, FLIGHT * FLIGHT_BYTES, 200 + i);
		CHECK_PASS(flight_start(&b.ring, f, VIRTIO_BLK_T_OUT));
		clock_delay_us((unsigned)(rand_next(&r) % 300));
		CHECK(virtio_reset(&b.dev));
		CHECK_PASS(stays_quiet(&b.ring, f));
		heap_empty();
		CHECK_PASS(blk_open(&b, true, 0));
		f = flight_alloc();
		CHECK_PASS(old_or_new(&b, f, 100 + i, 200 + i));
		blk_close(&b);
	}
	return PASS;
}

/* VIRTIO 1.2 §2.6.1, §4.1.4.3: queue_reset reads 1 until the queue is quiet, then 0. */
static bool queue_reset(const struct virtio *v, uint16_t index)
{
	COMMON_WRITE16(v, queue_select, index);
	mmio_write16(v->common + COMMON_QUEUE_RESET, 1);
	for (uint64_t end = clock_after_ms(CLOCK_PATIENCE_MS);
	     mmio_read16(v->common + COMMON_QUEUE_RESET);)
		if (clock_passed(end))
			return false;
	return true;
}

static enum verdict ring_in_flight(void)
{
	struct rand r = { boot_param_number("seed", 1) };
	struct blk b;
	CHECK_PASS(blk_begin(&b, true, VF_RING_RESET));
	if (!(b.dev.features & VF_RING_RESET))
		return test_skip("not offered");
	if (b.sectors < FLIGHT * FLIGHT_BYTES / SECTOR)
		return test_skip("%lu sectors", b.sectors);
	struct flight *f = flight_alloc();
	struct ring rings[2];
	CHECK(ring_setup(&b.ring, &b.dev, 0, 64));
	virtio_go(&b.dev);
	for (unsigned i = 0; i < 50; i++) {
		CHECK_PASS(flight_start(&b.ring, f, VIRTIO_BLK_T_IN));
		clock_delay_us((unsigned)(rand_next(&r) % 300));
		CHECK(queue_reset(&b.dev, 0));
		CHECK_EQ(COMMON_READ16(&b.dev, queue_enable), 0);
		CHECK_PASS(stays_quiet(&b.ring, f));
		CHECK_EQ(virtio_status(&b.dev), 0x0f);
		ring_alloc(&rings[i & 1], &b.dev, 0, (uint16_t)(i & 2 ? 64 : 128));
		b.ring = rings[i & 1];
		ring_program(&b.ring, &b.dev);
		ring_enable(&b.ring, &b.dev);
		CHECK_EQ(blk_read(&b, 0, f->data, FLIGHT_BYTES), VIRTIO_BLK_S_OK);
	}
	blk_close(&b);
	return PASS;
}

struct storm {
	uint64_t notify;
	bool is_over;
};

static void storm(void *arg)
{
	struct storm *s = arg;
	while (!__atomic_load_n(&s->is_over, __ATOMIC_ACQUIRE)) /* pairs with doorbell_storm() */
		mmio_write16(s->notify, 0);
}

/* One processor rings without pause while the other resets and uses the device. */
static enum verdict doorbell_storm(void)
{
	static struct storm s;
	struct probe p;
	if (acpi_cpus() < 2)
		return test_skip("one processor");
	CHECK_PASS(probe_open(&p, 0, 0));
	s = (struct storm){ .notify = p.ring.notify };
	CHECK(smp_run(storm, &s));
	enum verdict v = PASS;
	for (unsigned i = 0; i < 50 && v == PASS; i++) {
		heap_empty();
		v = probe_open(&p, 0, 0);
		if (v == PASS)
			v = probe_once(&p, false);
	}
	__atomic_store_n(&s.is_over, true, __ATOMIC_RELEASE);
	CHECK(smp_wait(CLOCK_PATIENCE_MS));
	CHECK(virtio_reset(&p.dev));
	return v;
}

static void resetter(void *arg)
{
	const struct virtio *v = arg;
	for (unsigned i = 0; i < 200; i++) {
		COMMON_WRITE8(v, device_status, 0);
		COMMON_WRITE8(v, device_status, 0x0f);
	}
}

/* Two processors fight over the status register while requests are under way. */
static enum verdict reset_storm(void)
{
	static struct blk b;
	if (acpi_cpus() < 2)
		return test_skip("one processor");
	CHECK_PASS(blk_open(&b, true, 0));
	if (b.sectors < FLIGHT * FLIGHT_BYTES / SECTOR)
		return test_skip("%lu sectors", b.sectors);
	struct flight *f = flight_alloc();
	CHECK_PASS(flight_start(&b.ring, f, VIRTIO_BLK_T_IN));
	CHECK(smp_run(resetter, &b.dev));
	for (unsigned i = 0; i < 200; i++) {
		ring_enable(&b.ring, &b.dev);
		ring_kick_always(&b.ring);
		COMMON_WRITE8(&b.dev, device_status, 0);
	}
	CHECK(smp_wait(20000));
	CHECK(virtio_reset(&b.dev));
	CHECK_PASS(stays_quiet(&b.ring, f));
	struct probe p;
	CHECK_PASS(probe_open(&p, 0, 0));
	CHECK_PASS(probe_once(&p, false));
	CHECK(virtio_reset(&p.dev));
	return PASS;
}

static void set_master(const struct probe *p, bool may)
{
	pci_write16(p->dev.pci, PCI_COMMAND,
		    (uint16_t)(PCI_COMMAND_MEMORY | (may ? PCI_COMMAND_MASTER : 0)));
}

/* The device stops in its own time: offer requests until one is not answered, which waits. */
static enum verdict master_off(struct probe *p)
{
	uint32_t written = 0;
	unsigned answers = 0;
	set_master(p, false);
	CHECK(!(virtio_status(&p->dev) & VSTATUS_DRIVER_OK));
	do {
		CHECK(answers++ < MAX_ANSWERS && probe_put(p, 0, false));
		ring_kick_always(&p->ring);
	} while (ring_take_wait(&p->ring, &written, DEAF_MS) >= 0);
	return PASS;
}

/* With DRIVER_OK set anew, before or after, it goes on where it was. */
static enum verdict master_off_and_on(struct probe *p, bool is_before)
{
	uint32_t written = 0;
	CHECK_PASS(master_off(p));
	if (is_before)
		virtio_add_status(&p->dev, VSTATUS_DRIVER_OK);
	set_master(p, true);
	if (!is_before)
		virtio_add_status(&p->dev, VSTATUS_DRIVER_OK);
	int head = ring_take_wait(&p->ring, &written, PATIENCE_MS);
	CHECK(head >= 0 && probe_is_good(p, head, written));
	return probe_once(p, p->ring.has_indirect);
}

static enum verdict bus_master(void)
{
	for (unsigned i = 0; i < 30; i++) {
		struct probe p;
		heap_empty();
		CHECK_PASS(probe_open(&p, i & 1 ? ~0ul : 0, (uint16_t)(4 << (i % 5))));
		for (unsigned k = 0; k < i % 3; k++)
			CHECK_PASS(probe_once(&p, false));
		CHECK_PASS(master_off_and_on(&p, true));
		CHECK_PASS(master_off_and_on(&p, false));
		CHECK(virtio_reset(&p.dev));
	}
	return PASS;
}

/* Each request is done once, before, while or after the device may not reach memory. */
static enum verdict bus_master_in_flight(void)
{
	struct probe p;
	heap_empty();
	CHECK_PASS(probe_open(&p, 0, 64));
	for (unsigned i = 0; i < 100; i++) {
		uint32_t written = 0;
		for (unsigned k = 0; k < FLIGHT; k++)
			CHECK(probe_put(&p, k, false));
		ring_kick_always(&p.ring);
		set_master(&p, false);
		if (i & 1)
			clock_delay_us(i * 10);
		set_master(&p, true);
		virtio_add_status(&p.dev, VSTATUS_DRIVER_OK);
		for (unsigned k = 0; k < FLIGHT; k++) {
			int head = ring_take_wait(&p.ring, &written, PATIENCE_MS);
			CHECK(head >= 0 && probe_is_good(&p, head, written));
		}
		CHECK(ring_take(&p.ring, &written) < 0);
	}
	CHECK(virtio_reset(&p.dev));
	return PASS;
}

/* As after kexec: the rings of the kernel before are still there when the bit comes back. */
static enum verdict bus_master_by_another(void)
{
	struct probe p;
	uint32_t written = 0;
	for (unsigned i = 0; i < 10; i++) {
		heap_empty();
		CHECK_PASS(probe_open(&p, 0, 64));
		CHECK_PASS(probe_once(&p, false));
		CHECK_PASS(master_off(&p));
		set_master(&p, true);
		CHECK(ring_take_wait(&p.ring, &written, DEAF_MS) < 0);
		CHECK(virtio_reset(&p.dev));
		CHECK(ring_take_wait(&p.ring, &written, DEAF_MS) < 0);
	}
	CHECK_PASS(probe_open(&p, 0, 0));
	CHECK_PASS(probe_once(&p, false));
	CHECK(virtio_reset(&p.dev));
	return PASS;
}

const struct test reset_tests[] = {
	{ "resets.reactivate", reactivate },
	{ "resets.reads-in-flight", reads_in_flight },
	{ "resets.writes-in-flight", writes_in_flight },
	{ "resets.ring-in-flight", ring_in_flight },
	{ "resets.doorbell-storm", doorbell_storm },
	{ "resets.reset-storm", reset_storm },
	{ "resets.bus-master", bus_master },
	{ "resets.bus-master-in-flight", bus_master_in_flight },
	{ "resets.bus-master-by-another", bus_master_by_another },
	{ NULL, NULL },
};
