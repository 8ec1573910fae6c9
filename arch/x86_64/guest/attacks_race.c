/*
 * attacks_race.c - a second processor changes what the device reads, or resets it, while requests
 * are under way. Every buffer lies in a sandbox, whatever halves of two addresses a device sees.
 */
#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include "acpi.h"
#include "attack.h"
#include "blk.h"
#include "clock.h"
#include "cpu.h"
#include "io.h"
#include "mem.h"
#include "pci.h"

#define ROUNDS        200
#define SANDBOX_BYTES 0x40000u /* a buffer begins in the first half and is no longer than it */
#define BURST         8

static struct race {
	struct scene s;
	uint8_t *sandbox;
	struct rand rand;
	bool is_over;
} race;

static bool race_is_over(void)
{
	return __atomic_load_n(&race.is_over, __ATOMIC_ACQUIRE); /* pairs with race_end() */
}

static void wild_desc(struct vring_desc *d, unsigned more_flags, unsigned nr)
{
	uint64_t x = rand_next(&race.rand);
	volatile struct vring_desc *v = d;
	v->addr = (uintptr_t)race.sandbox + (x & (SANDBOX_BYTES / 2 - 1));
	v->len = (uint32_t)(x >> 20) & (SANDBOX_BYTES / 2 - 1);
	v->flags = (uint16_t)((x >> 40 & (VRING_DESC_F_NEXT | VRING_DESC_F_WRITE)) | more_flags);
	v->next = (uint16_t)((x >> 44) % nr);
}

/* --- what the second processor does, again and again; @i counts --- */

static void flip_descriptor(unsigned i)
{
	(void)i;
	wild_desc(&race.s.d[rand_next(&race.rand) % SCENE_QUEUE], 0, SCENE_QUEUE + 1);
}

static void flip_table(unsigned i)
{
	(void)i;
	wild_desc(&race.s.table[rand_next(&race.rand) % SCENE_TABLE], 0, SCENE_TABLE + 1);
}

/* Between direct and indirect, with tables inside and outside of the sandbox. */
static void flip_indirect(unsigned i)
{
	volatile struct vring_desc *d = &race.s.d[0];
	(void)i;
	d->addr = (uintptr_t)race.s.table;
	d->len = (uint32_t)(rand_next(&race.rand) % 70) * 16;
	d->flags = VRING_DESC_F_INDIRECT;
	wild_desc(&race.s.table[rand_next(&race.rand) % SCENE_TABLE], 0, SCENE_TABLE);
	d->flags = VRING_DESC_F_NEXT;
	d->addr = (uintptr_t)race.s.p.header;
}

static void flip_index(unsigned i)
{
	(void)i;
	*(volatile uint16_t *)&race.s.p.ring.avail->idx = (uint16_t)rand_next(&race.rand);
}

static void flip_entry(unsigned i)
{
	(void)i;
	*(volatile uint16_t *)&race.s.p.ring.avail->ring[rand_next(&race.rand) % 16] =
		(uint16_t)(rand_next(&race.rand) % (SCENE_QUEUE + 2));
}

static void flip_used(unsigned i)
{
	(void)i;
	*(volatile uint16_t *)&race.s.p.ring.used->idx = (uint16_t)rand_next(&race.rand);
	*(volatile uint16_t *)&race.s.p.ring.used->flags = (uint16_t)rand_next(&race.rand);
}

/* The type and the place of a request after it was checked; ranges stay out: they have data. */
static void flip_header(unsigned i)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH,
					  VIRTIO_BLK_T_GET_ID, 77 };
	volatile struct virtio_blk_outhdr *h = race.s.p.header;
	(void)i;
	h->type = types[rand_next(&race.rand) % 5];
	h->sector = rand_next(&race.rand) & 0x80000000000000ff;
}

static void reset_device(unsigned i)
{
	(void)i;
	COMMON_WRITE8(&race.s.p.dev, device_status, 0);
	COMMON_WRITE8(&race.s.p.dev, device_status, 0x0f);
}

static void reset_queue(unsigned i)
{
	(void)i;
	COMMON_WRITE16(&race.s.p.dev, queue_select, 0);
	mmio_write16(race.s.p.dev.common + COMMON_QUEUE_RESET, 1);
	COMMON_WRITE16(&race.s.p.dev, queue_enable, 1);
}

static void ring_doorbell(unsigned i)
{
	mmio_write16(race.s.p.dev.notify + (i % 4) * race.s.p.dev.notify_multiplier, 0);
}

static void flip_memory_decoding(unsigned i)
{
	pci_write16(race.s.p.dev.pci, PCI_COMMAND,
		    i & 1 ? PCI_COMMAND_MEMORY
			  : PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
}

/* Off and on, so that doorbells are added and taken away under the other processor's writes. */
static void flip_bar(unsigned i)
{
	const struct pci_dev *d = race.s.p.dev.pci;
	(void)i;
	pci_write16(d, PCI_COMMAND, 0);
	pci_write16(d, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void flip_msix(unsigned i)
{
	const struct pci_dev *d = race.s.p.dev.pci;
	msix_enable(d, i & 1);
	msix_mask_all(d, i & 2);
	msix_mask(d, i % 2, i & 4);
}

static void flip_vectors(unsigned i)
{
	COMMON_WRITE16(&race.s.p.dev, queue_msix_vector, (uint16_t)(i % 4));
	COMMON_WRITE16(&race.s.p.dev, msix_config, (uint16_t)(i % 3));
}

static void sweep_configuration(unsigned i)
{
	const struct virtio *v = &race.s.p.dev;
	uint32_t at = i % 16 * 4;
	(void)mmio_read32(v->config + at);
	mmio_write32(v->config + at, (uint32_t)rand_next(&race.rand));
	(void)mmio_read32(v->common + at);
}

static void spoil_until_over(void *step)
{
	for (unsigned i = 0; !race_is_over(); i++)
		((void (*)(unsigned))step)(i);
}

/* --- the first processor --- */

static enum verdict race_begin(void (*step)(unsigned i))
{
	if (acpi_cpus() < 2)
		return test_skip("one processor");
	CHECK_PASS(scene_open(&race.s, false));
	race.sandbox = heap_alloc(SANDBOX_BYTES, 4096);
	mem_fill(race.sandbox, 0xff, SANDBOX_BYTES);
	race.rand.state = 1;
	race.is_over = false;
	CHECK(smp_run(spoil_until_over, (void *)step));
	return PASS;
}

static enum verdict race_end(void)
{
	__atomic_store_n(&race.is_over, true, __ATOMIC_RELEASE); /* pairs with race_is_over() */
	CHECK(smp_wait(CLOCK_PATIENCE_MS));
	return PASS;
}

/* Offer what the other one spoils; a device that gave up is reset and set up anew. */
static enum verdict offer_all_the_time(uint64_t step)
{
	struct rand r = { 11 };
	CHECK_PASS(race_begin((void (*)(unsigned))step));
	enum verdict v = PASS;
	struct scene *s = &race.s;
	unsigned resets = 0;
	for (unsigned round = 0; round < ROUNDS && v == PASS; round++) {
		for (unsigned i = 0; i < BURST; i++)
			scene_offer(s, (uint16_t)(rand_next(&r) % SCENE_QUEUE));
		ring_kick_always(&s->p.ring);
		if (!virtio_needs_reset(&s->p.dev))
			continue;
		resets++;
		if (!virtio_reset(&s->p.dev) || !virtio_begin(&s->p.dev, VF_INDIRECT))
			v = test_fail("no reset");
		mem_fill(s->p.ring.used, 0, sizeof(*s->p.ring.used));
		*(volatile uint16_t *)&s->p.ring.avail->idx = 0;
		s->p.ring.offered = 0;
		ring_program(&s->p.ring, &s->p.dev);
		ring_enable(&s->p.ring, &s->p.dev);
		virtio_go(&s->p.dev);
	}
	CHECK_PASS(race_end());
	print("info %u requests for a reset in %u rounds\n", resets, ROUNDS);
	CHECK(virtio_reset(&s->p.dev)); /* before the sandbox is used for something else */
	return v;
}

/* Bring the device up and use it as if nothing was; whether that works does not matter. */
static enum verdict use_all_the_time(uint64_t step)
{
	CHECK_PASS(race_begin((void (*)(unsigned))step));
	struct ring *r = &race.s.p.ring;
	for (unsigned round = 0; round < ROUNDS; round++) {
		scene_offer(&race.s, 0);
		ring_kick_always(r);
		(void)mmio_read8(race.s.p.dev.isr);
		if (round % 16 == 0)
			virtio_add_status(&race.s.p.dev, 0x0f);
	}
	CHECK_PASS(race_end());
	pci_write16(race.s.p.dev.pci, PCI_COMMAND,
		    PCI_COMMAND_MEMORY | PCI_COMMAND_IO | PCI_COMMAND_MASTER);
	CHECK(virtio_reset(&race.s.p.dev));
	return PASS;
}

/* Both processors write the status register; requests are under way all the time. */
static enum verdict reset_against_reset(uint64_t arg)
{
	(void)arg;
	CHECK_PASS(race_begin(reset_device));
	for (unsigned round = 0; round < ROUNDS; round++) {
		COMMON_WRITE8(&race.s.p.dev, device_status, 0);
		ring_program(&race.s.p.ring, &race.s.p.dev);
		ring_enable(&race.s.p.ring, &race.s.p.dev);
		COMMON_WRITE8(&race.s.p.dev, device_status, 0x0f);
		ring_kick_always(&race.s.p.ring);
	}
	CHECK_PASS(race_end());
	CHECK(virtio_reset(&race.s.p.dev));
	return PASS;
}

#define RACE(n, w, first, second)                                                                  \
	{                                                                                          \
		.name = "attack.race." n, .what = w, .holds = ANYTHING, .act = first,              \
		.arg = (uint64_t)(second)                                                          \
	}

const struct attack attacks_race[] = {
	RACE("descriptors", "descriptors changed while in use", offer_all_the_time,
	     flip_descriptor),
	RACE("table", "indirect tables changed while in use", offer_all_the_time, flip_table),
	RACE("indirect", "direct and indirect in turns", offer_all_the_time, flip_indirect),
	RACE("index", "the available index at random", offer_all_the_time, flip_index),
	RACE("entries", "entries of the available ring at random", offer_all_the_time, flip_entry),
	RACE("used", "the used ring written by the driver", offer_all_the_time, flip_used),
	RACE("header", "type and place changed while served", offer_all_the_time, flip_header),
	RACE("resets", "resets against I/O", use_all_the_time, reset_device),
	RACE("queue-resets", "queue resets against I/O", use_all_the_time, reset_queue),
	RACE("doorbells", "doorbells against I/O", use_all_the_time, ring_doorbell),
	RACE("commands", "the PCI command against I/O", use_all_the_time, flip_memory_decoding),
	RACE("bar", "the BAR there and away against I/O", use_all_the_time, flip_bar),
	RACE("msix", "MSI-X on, off and masked against I/O", use_all_the_time, flip_msix),
	RACE("vectors", "vectors changed against I/O", use_all_the_time, flip_vectors),
	RACE("configuration", "configuration read and written against I/O", use_all_the_time,
	     sweep_configuration),
	RACE("reset-against-reset", "two processors reset one device", reset_against_reset, 0),
	ATTACK_END,
};
