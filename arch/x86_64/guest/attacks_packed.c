/*
 * attacks_packed.c - packed rings that break the rules of VIRTIO 1.2 §2.8, where they are offered.
 */
#include <linux/virtio_blk.h>
#include "acpi.h"
#include "attack.h"
#include "clock.h"
#include "cpu.h"
#include "mem.h"
#include "attack_packed.h"

#define SIZE     16
#define NEXT     VRING_DESC_F_NEXT
#define IN       VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

/* Wait for an answer to the request at descriptor 0. */
static bool is_decided(const struct pk *k, unsigned ms)
{
	for (uint64_t end = clock_after_ms(ms); !clock_passed(end);) {
		if (pk_is_used(k, 0) || virtio_needs_reset(&k->p.dev))
			return true;
		clock_delay_us(50);
	}
	return false;
}

/* Spoil the good request of descriptors 0 to 2; it must be refused. */
static enum verdict refused(uint64_t spoil)
{
	struct pk k;
	CHECK_PASS(pk_open(&k, SIZE, VF_INDIRECT));
	pk_good(&k, 0, 7);
	((void (*)(struct pk *))spoil)(&k);
	pk_kick(&k);
	if (!is_decided(&k, CLOCK_PATIENCE_MS))
		return test_fail("no answer, status 0x%x", virtio_status(&k.p.dev));
	CHECK(k.p.status[0] != VIRTIO_BLK_S_OK);
	return PASS;
}

/* The same without a claim on the answer. */
static enum verdict anything(uint64_t spoil)
{
	struct pk k;
	CHECK_PASS(pk_open(&k, SIZE, VF_INDIRECT));
	pk_good(&k, 0, 7);
	((void (*)(struct pk *))spoil)(&k);
	pk_kick(&k);
	(void)is_decided(&k, 20);
	return PASS;
}

static void chain_of_all(struct pk *k)
{
	for (uint16_t i = 0; i < SIZE; i++)
		pk_set(k, i, (uintptr_t)k->p.data[0], 16, NEXT, i);
	pk_show(k, 0, SIZE); /* the last one goes on to the first */
}

static void chain_without_end(struct pk *k)
{
	k->desc[2].flags |= NEXT; /* to a descriptor that is not available */
	pk_show(k, 0, 3);
}

static void data_nowhere(struct pk *k)
{
	k->desc[1].addr = NOWHERE;
	pk_show(k, 0, 3);
}

static void status_nowhere(struct pk *k)
{
	k->desc[2].addr = NOWHERE;
	pk_show(k, 0, 3);
}

static void huge_data(struct pk *k)
{
	k->desc[1].len = 0xffffffff;
	pk_show(k, 0, 3);
}

static void readable_behind_writable(struct pk *k)
{
	k->desc[2].flags = 0;
	pk_show(k, 0, 3);
}

static void indirect_table(struct pk *k, uint32_t bytes, unsigned flags, unsigned inner)
{
	struct vring_packed_desc *table = heap_alloc(64 * sizeof(*table), 16);
	for (unsigned i = 0; i < 3; i++)
		table[i] = k->desc[i];
	table[1].flags |= (uint16_t)inner;
	pk_set(k, 0, (uintptr_t)table, bytes, INDIRECT | flags, 7);
	pk_show(k, 0, 1);
}

static void indirect_in_indirect(struct pk *k)
{
	indirect_table(k, 3 * 16, 0, INDIRECT);
}

static void indirect_odd(struct pk *k)
{
	indirect_table(k, 3 * 16 + 1, 0, 0);
}

static void indirect_empty(struct pk *k)
{
	indirect_table(k, 0, 0, 0);
}

static void indirect_huge(struct pk *k)
{
	indirect_table(k, 0xfffffff0, 0, 0);
}

static void indirect_and_next(struct pk *k)
{
	indirect_table(k, 3 * 16, NEXT, 0);
}

static void indirect_good(struct pk *k)
{
	indirect_table(k, 3 * 16, 0, 0);
}

static void ids_wild(struct pk *k)
{
	for (unsigned i = 0; i < 3; i++)
		k->desc[i].id = (uint16_t)(0xffff - i);
	pk_show(k, 0, 3);
}

static void ids_alike(struct pk *k)
{
	pk_good(k, 3, 7);
	pk_good(k, 6, 7);
	pk_show(k, 0, 9);
}

static void all_ones(struct pk *k)
{
	mem_fill(k->desc, 0xff, SIZE * sizeof(*k->desc));
}

/* Available in this turn and the next at once: the wrap counter run away. */
static void wrong_turn(struct pk *k)
{
	for (uint16_t i = 3; i + 3 <= SIZE; i = (uint16_t)(i + 3)) {
		pk_good(k, i, i);
		k->desc[i].flags |= PACKED_USED;
	}
	pk_show(k, 0, SIZE);
}

static void taken_back(struct pk *k)
{
	pk_show(k, 0, 3);
	pk_kick(k);
	mem_fill(k->desc, 0, SIZE * sizeof(*k->desc));
}

static void event_rubbish(struct pk *k)
{
	k->driver->off_wrap = 0xffff;
	k->driver->flags = 0xffff;
	pk_show(k, 0, 3);
}

static void data_on_ring(struct pk *k)
{
	k->desc[1].addr = (uintptr_t)k->desc;
	pk_show(k, 0, 3);
}

static void table_nowhere(struct pk *k)
{
	pk_set(k, 0, NOWHERE, 3 * 16, INDIRECT, 7);
	pk_show(k, 0, 1);
}

/* --- sizes and turns --- */

static enum verdict good_turns(uint64_t size)
{
	struct pk k;
	CHECK_PASS(pk_open(&k, (uint16_t)size, VF_INDIRECT));
	pk_good(&k, 0, 1);
	pk_show(&k, 0, 3);
	pk_kick(&k);
	CHECK(is_decided(&k, CLOCK_PATIENCE_MS));
	CHECK_EQ(k.p.status[0], VIRTIO_BLK_S_OK);
	return PASS;
}

static struct {
	struct pk k;
	uint8_t *sandbox;
	bool is_over;
} race;

/* Descriptors of the sandbox with any flags, all the time. */
static void flip(void *arg)
{
	struct rand r = { 3 };
	(void)arg;
	while (!__atomic_load_n(&race.is_over, __ATOMIC_ACQUIRE)) { /* pairs with flipped() */
		uint64_t x = rand_next(&r);
		volatile struct vring_packed_desc *d = &race.k.desc[x % SIZE];
		d->addr = (uintptr_t)race.sandbox + (x >> 8 & 0xffff);
		d->len = (uint32_t)(x >> 24) & 0xffff;
		d->id = (uint16_t)(x >> 40);
		d->flags = (uint16_t)((x >> 48) & (NEXT | IN | PACKED_AVAIL | PACKED_USED));
	}
}

static enum verdict flipped(uint64_t arg)
{
	(void)arg;
	if (acpi_cpus() < 2)
		return test_skip("one processor");
	CHECK_PASS(pk_open(&race.k, SIZE, VF_INDIRECT));
	race.sandbox = heap_alloc(0x20000, 4096);
	mem_fill(race.sandbox, 0xff, 0x20000);
	race.is_over = false;
	CHECK(smp_run(flip, NULL));
	for (unsigned i = 0; i < 300; i++)
		pk_kick(&race.k);
	__atomic_store_n(&race.is_over, true, __ATOMIC_RELEASE); /* pairs with flip() */
	CHECK(smp_wait(CLOCK_PATIENCE_MS));
	CHECK(virtio_reset(&race.k.p.dev));
	return PASS;
}

#define REFUSE(n, w, f) ATTACK_ACT("packed." n, w, refused, (uint64_t)(f))
#define ALLOW(n, w, f)  ATTACK_ACT("packed." n, w, anything, (uint64_t)(f))

const struct attack attacks_packed[] = {
	ATTACK_ACT("packed.size-16", "a good request", good_turns, 16),
	ATTACK_ACT("packed.size-3", "a good request in a ring of 3", good_turns, 3),
	REFUSE("chain-of-all", "chain of all descriptors without end", chain_of_all),
	ALLOW("chain-without-end", "chain into what is not available", chain_without_end),
	REFUSE("data-nowhere", "data nowhere", data_nowhere),
	REFUSE("status-nowhere", "status nowhere", status_nowhere),
	REFUSE("huge-data", "data of 4 GiB", huge_data),
	REFUSE("readable-behind-writable", "readable behind writable", readable_behind_writable),
	ALLOW("indirect-good", "indirect, good", indirect_good),
	REFUSE("indirect-in-indirect", "indirect in indirect", indirect_in_indirect),
	REFUSE("indirect-odd", "indirect of odd length", indirect_odd),
	REFUSE("indirect-empty", "indirect of no length", indirect_empty),
	REFUSE("indirect-huge", "indirect of 4 GiB", indirect_huge),
	REFUSE("indirect-and-next", "indirect and next", indirect_and_next),
	REFUSE("indirect-nowhere", "indirect nowhere", table_nowhere),
	ALLOW("ids-wild", "buffer ids beyond the ring", ids_wild),
	ALLOW("ids-alike", "three requests with one id", ids_alike),
	ALLOW("all-ones", "descriptors of all ones", all_ones),
	ALLOW("wrong-turn", "descriptors of this turn and the next", wrong_turn),
	ALLOW("taken-back", "everything erased behind the doorbell", taken_back),
	ALLOW("event-rubbish", "rubbish in the event structure", event_rubbish),
	ALLOW("data-on-ring", "data into the ring", data_on_ring),
	ATTACK_ACT("packed.flipped", "descriptors changed while in use", flipped, 0),
	ATTACK_END,
};
