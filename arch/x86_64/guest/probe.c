/*
 * probe.c - see probe.h.
 */
#include "probe.h"
#include <linux/virtio_blk.h>
#include "boot.h"
#include "mem.h"

#define SLOTS_MAX     256
#define STATUS_UNSEEN 0xee

enum verdict probe_find(struct probe *p)
{
	char dut[8];
	bool is_rng = boot_param("dut", dut, sizeof(dut)) && str_equal(dut, "rng");
	*p = (struct probe){ 0 };
	if (!is_rng && virtio_find(&p->dev, VIRTIO_ID_BLOCK, 0))
		return PASS;
	if (virtio_find(&p->dev, VIRTIO_ID_RNG, 0))
		return PASS;
	return test_skip("no block or rng device");
}

enum verdict probe_start(struct probe *p, uint64_t wanted, uint16_t size)
{
	CHECK(virtio_begin(&p->dev, wanted));
	CHECK(ring_setup(&p->ring, &p->dev, 0, size));
	p->slots = p->ring.size < SLOTS_MAX ? p->ring.size : SLOTS_MAX;
	p->data = heap_alloc(p->slots * sizeof(*p->data), 4096);
	p->status = heap_alloc(p->slots, 1);
	p->slot_of = heap_alloc(p->ring.size * sizeof(*p->slot_of), 2);
	p->header = heap_alloc(sizeof(*p->header), 16);
	p->header->type = VIRTIO_BLK_T_IN;
	virtio_go(&p->dev);
	return PASS;
}

enum verdict probe_open(struct probe *p, uint64_t wanted, uint16_t size)
{
	CHECK_PASS(probe_find(p));
	return probe_start(p, wanted, size);
}

bool probe_put(struct probe *p, unsigned slot, bool is_indirect)
{
	struct seg segs[3] = {
		{ p->header, sizeof(*p->header), false },
		{ p->data[slot], PROBE_BYTES, true },
		{ &p->status[slot], 1, true },
	};
	bool is_blk = p->dev.type == VIRTIO_ID_BLOCK;
	p->status[slot] = STATUS_UNSEEN;
	int head = ring_put(&p->ring, is_blk ? segs : segs + 1, is_blk ? 3 : 1, is_indirect);
	if (head < 0)
		return false;
	p->slot_of[head] = (uint16_t)slot;
	ring_offer(&p->ring, (uint16_t)head);
	return true;
}

bool probe_is_good(const struct probe *p, int head, uint32_t written)
{
	if (p->dev.type == VIRTIO_ID_BLOCK)
		return p->status[p->slot_of[head]] == VIRTIO_BLK_S_OK && written == PROBE_BYTES + 1;
	return written > 0 && written <= PROBE_BYTES;
}

enum verdict probe_once(struct probe *p, bool is_indirect)
{
	uint32_t written = 0;
	CHECK(probe_put(p, 0, is_indirect));
	ring_kick(&p->ring);
	int head = ring_take_wait(&p->ring, &written, 2000);
	if (head < 0)
		return test_fail("no completion, status 0x%x", virtio_status(&p->dev));
	if (!probe_is_good(p, head, written))
		return test_fail("wrong answer: %u bytes, status %u", written, p->status[0]);
	return PASS;
}
