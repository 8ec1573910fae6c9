/*
 * bench_blk.c - see bench.h: a disk kept busy by one processor for each queue.
 *
 * Like a driver of a real system it sleeps when there is nothing to do, so each lane asks for an
 * interrupt when it has run dry and for none while it works.
 */
#include <linux/virtio_blk.h>
#include "acpi.h"
#include "bench.h"
#include "blk.h"
#include "cpu.h"
#include "io.h"
#include "mem.h"
#include "pci.h"

#define DRAIN_MS 5000
#define WATCH_TICKS                                                                                \
	500000000u /* half a second where the timer counts nanoseconds, as KVM's does              \
		    */

struct lane_slot {
	struct virtio_blk_outhdr header;
	uint8_t status;
	uint8_t *data;
	uint64_t started;
};

/* A queue, and the requests that go round on it. */
struct lane {
	struct ring ring;
	const struct bench_job *job;
	struct lane_slot *slots;
	uint16_t *free, *slot_of; /* stack of free slots; slot by head */
	uint32_t nfree;
	uint64_t blocks; /* of the disk */
	struct rand rand;
	uint64_t end; /* no request is started after this moment */
	uint64_t ops, errors, lost;
	uint32_t hist[BENCH_HIST_BUCKETS];
};

static void lane_fill(struct lane *l, const struct virtio *v, uint16_t index)
{
	const struct bench_job *j = l->job;
	uint64_t sectors = mmio_read32(v->config) | (uint64_t)mmio_read32(v->config + 4) << 32;
	l->blocks = sectors / (j->bytes / SECTOR);
	l->rand.state = 0x9e3779b97f4a7c15ul * (index + 1u);
	l->slots = heap_alloc(j->depth * sizeof(*l->slots), 64);
	l->free = heap_alloc(j->depth * sizeof(*l->free), 64);
	l->slot_of = heap_alloc(l->ring.size * sizeof(*l->slot_of), 64);
	for (l->nfree = 0; l->nfree < j->depth; l->nfree++) {
		l->slots[l->nfree].data = heap_alloc(j->bytes, 4096);
		l->free[l->nfree] = (uint16_t)l->nfree;
	}
}

static bool lane_take(struct lane *l)
{
	uint32_t written;
	bool any = false;
	uint64_t now = rdtsc();
	for (int head; (head = ring_take(&l->ring, &written)) >= 0; any = true) {
		uint16_t slot = l->slot_of[head];
		struct lane_slot *s = &l->slots[slot];
		bench_count(l->hist, now - s->started);
		l->errors += *(volatile uint8_t *)&s->status != VIRTIO_BLK_S_OK;
		l->ops++;
		l->free[l->nfree++] = slot;
	}
	return any;
}

static bool lane_give(struct lane *l)
{
	const struct bench_job *j = l->job;
	uint64_t now = rdtsc();
	bool any = false;
	for (; now < l->end && l->nfree; any = true) {
		uint16_t slot = l->free[l->nfree - 1];
		struct lane_slot *s = &l->slots[slot];
		s->header.type = j->is_write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
		s->header.sector = rand_next(&l->rand) % l->blocks * (j->bytes / SECTOR);
		s->status = BLK_PENDING;
		s->started = now;
		struct seg segs[] = { { &s->header, sizeof(s->header), false },
				      { s->data, j->bytes, !j->is_write },
				      { &s->status, 1, true } };
		int head = ring_put(&l->ring, segs, 3, l->ring.has_indirect);
		if (head < 0)
			break;
		l->nfree--;
		l->slot_of[head] = slot;
		ring_offer(&l->ring, (uint16_t)head);
	}
	if (any)
		ring_kick(&l->ring);
	return any;
}

/* Nothing to do: ask for an interrupt, look once more, sleep. Interrupts are off. */
static void lane_rest(struct lane *l)
{
	ring_want_irq(&l->ring, true);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* the wish before the look, §2.7.7.1 */
	if (__atomic_load_n(&l->ring.used->idx, __ATOMIC_ACQUIRE) == l->ring.used_seen)
		cpu_idle();
}

static void lane_run(void *arg)
{
	struct lane *l = arg;
	uint64_t give_up = l->end + bench_ticks(l->job, DRAIN_MS, 0);
	irq_off();
	apic_timer(WATCH_TICKS, true); /* should an interrupt get lost, the job ends all the same */
	while (rdtsc() < l->end || l->nfree < l->job->depth) {
		bool is_moving = lane_take(l);
		is_moving |= lane_give(l);
		if (!is_moving && l->nfree < l->job->depth)
			lane_rest(l);
		if (rdtsc() > give_up) {
			l->lost = l->job->depth - l->nfree;
			break;
		}
	}
	apic_timer(0, false);
	irq_on();
}

static void lanes_run(struct lane *lanes, const struct bench_job *j, uint32_t ms)
{
	uint64_t end = rdtsc() + bench_ticks(j, ms, 0);
	for (unsigned i = 0; i < j->queues; i++) {
		lanes[i].end = end;
		lanes[i].ops = lanes[i].ring.kicks = 0;
		mem_fill(lanes[i].hist, 0, sizeof(lanes[i].hist));
	}
	if (j->queues > 1 && !smp_run(lane_run, &lanes[1]))
		lanes[1].lost = 1;
	lane_run(&lanes[0]);
	if (j->queues > 1 && !smp_wait(2 * DRAIN_MS))
		lanes[1].lost = 1;
}

static bool lanes_open(struct lane *lanes, struct virtio *v, const struct bench_job *j)
{
	if (!virtio_find(v, VIRTIO_ID_BLOCK, j->disk) ||
	    !virtio_begin(v, VF_INDIRECT | VF_EVENT_IDX | 1ul << VIRTIO_BLK_F_MQ |
				     1ul << VIRTIO_BLK_F_FLUSH) ||
	    virtio_queues(v) < j->queues || !v->pci->msix_cap)
		return false;
	for (uint16_t i = 0; i < j->queues; i++) {
		lanes[i].job = j;
		if (!ring_setup(&lanes[i].ring, v, i, 0))
			return false;
		lane_fill(&lanes[i], v, i);
	}
	int second = j->queues > 1 ? acpi_second_cpu(cpu_this()->apic_id) : 0;
	if (second < 0)
		return false;
	if (j->queues > 1)
		msix_route(v->pci, lanes[1].ring.vector, (uint32_t)second);
	virtio_go(v);
	return true;
}

static uint64_t lanes_interrupts(const struct lane *lanes, const struct bench_job *j)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < j->queues; i++)
		n += irq_count((uint8_t)(VEC_MSI + lanes[i].ring.vector));
	return n;
}

void bench_disk(const struct bench_job *j, struct bench_result *r)
{
	struct virtio v;
	struct lane *lanes = heap_alloc(MAX_CPUS * sizeof(*lanes), 128);
	if (!j->queues || j->queues > MAX_CPUS || !lanes_open(lanes, &v, j)) {
		r->errors = 1;
		return;
	}
	lanes_run(lanes, j, j->ms / 4 + 1);
	uint64_t before = lanes_interrupts(lanes, j);
	bench_begin();
	lanes_run(lanes, j, j->ms);
	bench_end();
	r->interrupts = lanes_interrupts(lanes, j) - before;
	for (unsigned i = 0; i < j->queues; i++) {
		const struct lane *l = &lanes[i];
		r->ops += l->ops;
		r->kicks += l->ring.kicks;
		r->errors += l->errors + l->lost;
		for (unsigned b = 0; b < BENCH_HIST_BUCKETS; b++)
			r->hist[b] += l->hist[b];
	}
	r->errors += !virtio_reset(&v);
}
