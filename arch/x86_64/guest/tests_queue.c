/*
 * tests_queue.c - the split ring and its notifications, on the probe device.
 */
#include "clock.h"
#include "cpu.h"
#include "io.h"
#include "mem.h"
#include "pci.h"
#include "probe.h"

#define WAIT_MS CLOCK_PATIENCE_MS

static enum verdict ten_requests(uint64_t features, bool is_indirect)
{
	struct probe p;
	CHECK_PASS(probe_open(&p, features, 0));
	if (is_indirect && !p.ring.has_indirect)
		return test_skip("not offered");
	for (unsigned i = 0; i < 10; i++)
		CHECK_PASS(probe_once(&p, is_indirect));
	CHECK(virtio_reset(&p.dev));
	return PASS;
}

static enum verdict direct(void)
{
	return ten_requests(0, false);
}

static enum verdict indirect(void)
{
	return ten_requests(VF_INDIRECT, true);
}

static enum verdict event_idx(void)
{
	return ten_requests(VF_EVENT_IDX, false);
}

static enum verdict all_features(void)
{
	return ten_requests(~0ul, true);
}

/* Offer @n requests, ring once, take @n completions; any order. */
static enum verdict burst(struct probe *p, unsigned n, bool is_indirect)
{
	for (unsigned i = 0; i < n; i++)
		CHECK(probe_put(p, i, is_indirect));
	ring_kick(&p->ring);
	for (unsigned i = 0; i < n; i++) {
		uint32_t written;
		int head = ring_take_wait(&p->ring, &written, WAIT_MS);
		if (head < 0)
			return test_fail("%u of %u completed, status 0x%x", i, n,
					 virtio_status(&p->dev));
		CHECK(probe_is_good(p, head, written));
	}
	return PASS;
}

static enum verdict every_size(void)
{
	struct probe p;
	CHECK_PASS(probe_find(&p));
	COMMON_WRITE16(&p.dev, queue_select, 0);
	uint16_t most = COMMON_READ16(&p.dev, queue_size);
	for (uint16_t size = 4; size <= most && size; size = (uint16_t)(size * 2)) {
		heap_empty();
		CHECK_PASS(probe_open(&p, VF_INDIRECT, size));
		for (unsigned i = 0; i < 4; i++) {
			CHECK_PASS(burst(&p, p.slots / 4, false));
			if (p.ring.has_indirect)
				CHECK_PASS(burst(&p, p.slots, true));
		}
	}
	CHECK(virtio_reset(&p.dev));
	return PASS;
}

/* Indices are 16 bits and wrap: 70000 requests, the ring always full. */
static enum verdict wrap(uint64_t features)
{
	struct probe p;
	CHECK_PASS(probe_open(&p, features, 0));
	unsigned n = p.ring.has_indirect ? p.slots : p.slots / 4;
	for (unsigned done = 0; done < 70000; done += n)
		CHECK_PASS(burst(&p, n, p.ring.has_indirect));
	CHECK_EQ(p.ring.used->idx, p.ring.offered);
	CHECK(virtio_reset(&p.dev));
	return PASS;
}

static enum verdict index_wraps(void)
{
	return wrap(VF_INDIRECT);
}

static enum verdict index_wraps_event_idx(void)
{
	return wrap(VF_INDIRECT | VF_EVENT_IDX);
}

static enum verdict interrupt_once(struct probe *p)
{
	uint8_t vector = (uint8_t)(VEC_MSI + p->ring.vector);
	unsigned before = irq_count(vector);
	uint32_t written;
	ring_want_irq(&p->ring, true);
	CHECK(probe_put(p, 0, false));
	ring_kick(&p->ring);
	CHECK(irq_wait(vector, before, WAIT_MS));
	int head = ring_take(&p->ring, &written);
	CHECK(head >= 0);
	CHECK(probe_is_good(p, head, written));
	return PASS;
}

static enum verdict interrupts(uint64_t features)
{
	struct probe p;
	CHECK_PASS(probe_open(&p, features, 0));
	if (!p.dev.pci->msix_cap)
		return test_skip("no MSI-X");
	if (features && !p.dev.features)
		return test_skip("not offered");
	for (unsigned i = 0; i < 100; i++)
		CHECK_PASS(interrupt_once(&p));
	CHECK(virtio_reset(&p.dev));
	return PASS;
}

static enum verdict interrupt_each(void)
{
	return interrupts(0);
}

static enum verdict interrupt_each_event_idx(void)
{
	return interrupts(VF_EVENT_IDX);
}

/* The sleeper's way: halt until the interrupt; a lost one hangs, the host's time limit tells. */
static enum verdict interrupt_wakes(void)
{
	struct probe p;
	uint32_t written;
	CHECK_PASS(probe_open(&p, VF_EVENT_IDX, 0));
	if (!p.dev.pci->msix_cap)
		return test_skip("no MSI-X");
	for (unsigned i = 0; i < 500; i++) {
		ring_want_irq(&p.ring, true);
		CHECK(probe_put(&p, 0, false));
		ring_kick(&p.ring);
		irq_off();
		while (p.ring.used->idx == p.ring.used_seen)
			cpu_idle();
		irq_on();
		CHECK(ring_take(&p.ring, &written) >= 0);
	}
	CHECK(virtio_reset(&p.dev));
	return PASS;
}

static enum verdict interrupts_off(uint64_t features)
{
	struct probe p;
	CHECK_PASS(probe_open(&p, features, 0));
	if (!p.dev.pci->msix_cap)
		return test_skip("no MSI-X");
	uint8_t vector = (uint8_t)(VEC_MSI + p.ring.vector);
	CHECK_PASS(interrupt_once(&p)); /* the first one may always come */
	ring_want_irq(&p.ring, false);
	unsigned before = irq_count(vector);
	for (unsigned i = 0; i < 20; i++) {
		CHECK_PASS(probe_once(&p, false));
		ring_want_irq(&p.ring, false);
	}
	clock_delay_us(2000);
	CHECK_EQ(irq_count(vector), before);
	CHECK_PASS(interrupt_once(&p)); /* and on again */
	CHECK(virtio_reset(&p.dev));
	return PASS;
}

static enum verdict no_interrupt_flag(void)
{
	return interrupts_off(0);
}

static enum verdict used_event_behind(void)
{
	return interrupts_off(VF_EVENT_IDX);
}

/* One interrupt when the tenth completes, none for the nine before. */
static enum verdict used_event_ahead(void)
{
	struct probe p;
	CHECK_PASS(probe_open(&p, VF_EVENT_IDX, 0));
	if (!p.dev.pci->msix_cap || !p.ring.has_event_idx)
		return test_skip("no MSI-X or no event index");
	uint8_t vector = (uint8_t)(VEC_MSI + p.ring.vector);
	CHECK_PASS(interrupt_once(&p)); /* the first one may always come */
	for (unsigned round = 0; round < 20; round++) {
		unsigned before = irq_count(vector);
		ring_want_irq_at(&p.ring, (uint16_t)(p.ring.used_seen + 9));
		for (unsigned i = 0; i < 9; i++)
			CHECK_PASS(probe_once(&p, false));
		clock_delay_us(500);
		CHECK_EQ(irq_count(vector), before);
		CHECK_PASS(probe_once(&p, false));
		CHECK(irq_wait(vector, before, WAIT_MS));
		CHECK_EQ(irq_count(vector), before + 1);
	}
	CHECK(virtio_reset(&p.dev));
	return PASS;
}

/*
 * Arm and re-check: requests offered one at a time, the doorbell rung only when the device asks for
 * it, with pauses around the time the device goes to sleep. A lost kick times out.
 */
static enum verdict lost_kick(uint64_t features)
{
	struct probe p;
	struct rand r = { 7 };
	CHECK_PASS(probe_open(&p, features, 0));
	for (unsigned i = 0; i < 3000; i++) {
		CHECK_PASS(probe_once(&p, false));
		for (uint64_t n = rand_next(&r) % 400; n; n--)
			cpu_pause();
	}
	print("info %lu doorbells for 3000 requests\n", p.ring.kicks);
	CHECK(virtio_reset(&p.dev));
	return PASS;
}

static enum verdict no_lost_kick(void)
{
	return lost_kick(0);
}

static enum verdict no_lost_kick_event_idx(void)
{
	return lost_kick(VF_EVENT_IDX);
}

/* Doorbells without requests, many: nothing happens. */
static enum verdict idle_doorbells(void)
{
	struct probe p;
	CHECK_PASS(probe_open(&p, 0, 0));
	for (unsigned i = 0; i < 1000; i++)
		ring_kick_always(&p.ring);
	CHECK_PASS(probe_once(&p, false));
	CHECK_EQ(p.ring.used->idx, 1);
	CHECK(virtio_reset(&p.dev));
	return PASS;
}

const struct test queue_tests[] = {
	{ "queue.direct", direct },
	{ "queue.indirect", indirect },
	{ "queue.event-idx", event_idx },
	{ "queue.all-features", all_features },
	{ "queue.every-size", every_size },
	{ "queue.index-wraps", index_wraps },
	{ "queue.index-wraps-event-idx", index_wraps_event_idx },
	{ "queue.interrupts", interrupt_each },
	{ "queue.interrupts-event-idx", interrupt_each_event_idx },
	{ "queue.interrupt-wakes", interrupt_wakes },
	{ "queue.no-interrupt-flag", no_interrupt_flag },
	{ "queue.used-event-behind", used_event_behind },
	{ "queue.used-event-ahead", used_event_ahead },
	{ "queue.no-lost-kick", no_lost_kick },
	{ "queue.no-lost-kick-event-idx", no_lost_kick_event_idx },
	{ "queue.idle-doorbells", idle_doorbells },
	{ NULL, NULL },
};
