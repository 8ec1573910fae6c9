/*
 * bench.c - see bench.h: the loop over jobs, exits, and latencies of kicks and interrupts.
 */
#include "bench.h"
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "io.h"
#include "mem.h"

#define VEC_PEER         0x51
#define PEER_REST_US     100  /* for the peer to fall asleep again */
#define PEER_WAIT_MS     2000 /* then it is lost */
#define PEER_WATCH_TICKS 500000000u
#define MSI_ADDRESS      0xfee00000ul

static struct {
	uint64_t regs;
	uint16_t ports;
	uint64_t begun;
	struct bench_page *page;
} bench;

bool bench_is_wanted(void)
{
	return boot_param_number("bench", 0) != 0;
}

void bench_begin(void)
{
	mmio_write64(bench.regs + BENCH_REG_BEGIN, 0);
	bench.begun = rdtsc();
}

void bench_end(void)
{
	bench.page->result.ticks = rdtsc() - bench.begun;
	mmio_write64(bench.regs + BENCH_REG_END, 0);
}

uint64_t bench_ticks(const struct bench_job *j, uint32_t ms, uint32_t us)
{
	uint64_t khz = j->tsc_khz ? j->tsc_khz : clock_tsc_khz();
	return ms * khz + us * khz / 1000;
}

/* --- exits --- */

static void exit_port(void)
{
	out32((uint16_t)(bench.ports + BENCH_PORT_NOP), 0);
}

static void exit_mmio(void)
{
	mmio_write32(bench.regs + BENCH_REG_NOP, 0);
}

static void exit_port_bell(void)
{
	out32((uint16_t)(bench.ports + BENCH_PORT_BELL), 0);
}

static void exit_mmio_bell(void)
{
	mmio_write32(bench.regs + BENCH_REG_BELL, 0);
}

static void measure_exit(const struct bench_job *j, struct bench_result *r)
{
	static void (*const exits[BENCH_NR_OPS])(void) = {
		[BENCH_OP_PORT] = exit_port,
		[BENCH_OP_MMIO] = exit_mmio,
		[BENCH_OP_PORT_BELL] = exit_port_bell,
		[BENCH_OP_MMIO_BELL] = exit_mmio_bell,
	};
	void (*fn)(void) = exits[j->op];
	for (unsigned i = 0; i < 16; i++)
		fn();
	bench_begin();
	uint64_t now = rdtsc(), end = now + bench_ticks(j, j->ms, 0);
	for (uint64_t before = now; before < end; before = now, r->ops++) {
		fn();
		now = rdtsc();
		bench_count(r->hist, now - before);
	}
	bench_end();
}

/* --- the peer --- */

static uint64_t ask(void)
{
	uint64_t n = bench.page->asked + 1;
	__atomic_store_n(&bench.page->asked, n, __ATOMIC_SEQ_CST);
	return n;
}

static bool peer_called(uint64_t give_up)
{
	uint64_t n = ask();
	mmio_write32(bench.regs + BENCH_REG_CALL, 0);
	while (__atomic_load_n(&bench.page->answered, __ATOMIC_ACQUIRE) != n) {
		if (rdtsc() > give_up)
			return false;
		cpu_pause();
	}
	return true;
}

static bool peer_interrupted(uint64_t give_up, bool halts)
{
	unsigned before = irq_count(VEC_PEER);
	if (halts)
		irq_off();
	(void)ask();
	while (irq_count(VEC_PEER) == before && rdtsc() < give_up) {
		if (halts)
			cpu_idle();
		else
			cpu_pause();
	}
	if (halts)
		irq_on();
	return irq_count(VEC_PEER) != before;
}

static void measure_peer(const struct bench_job *j, struct bench_result *r)
{
	uint64_t delay = bench_ticks(j, 0, j->delay_us);
	apic_timer(PEER_WATCH_TICKS, true); /* ends the sleep that nobody interrupts */
	bench_begin();
	for (uint64_t end = rdtsc() + bench_ticks(j, j->ms, 0); rdtsc() < end && !r->errors;
	     r->ops++) {
		clock_delay_us(PEER_REST_US);
		uint64_t start = rdtsc(), give_up = start + bench_ticks(j, PEER_WAIT_MS, 0);
		bool ok = j->op == BENCH_OP_CALL
				  ? peer_called(give_up)
				  : peer_interrupted(give_up, j->op == BENCH_OP_IRQ_HALT);
		uint64_t took = rdtsc() - start;
		bench_count(r->hist, took > delay ? took - delay : 0);
		r->errors += !ok;
	}
	bench_end();
	apic_timer(0, false);
}

/* --- the loop --- */

static void take_job(struct bench_job *j)
{
	mmio_write64(bench.regs + BENCH_REG_NEXT, (uintptr_t)bench.page);
	*j = bench.page->job;
	mem_fill(&bench.page->result, 0, sizeof(bench.page->result));
}

void bench_run(void)
{
	static _Alignas(4096) struct bench_page page;
	struct bench_job j;
	bench.regs = boot_param_number("bench", 0);
	bench.ports = (uint16_t)boot_param_number("bench-port", 0);
	bench.page = &page;
	page.msi_addr = MSI_ADDRESS | (uint64_t)cpu_this()->apic_id << 12;
	page.msi_data = VEC_PEER;
	for (take_job(&j); j.op != BENCH_OP_STOP; take_job(&j)) {
		heap_empty();
		if (j.op == BENCH_OP_DISK)
			bench_disk(&j, &page.result);
		else if (j.op >= BENCH_OP_CALL)
			measure_peer(&j, &page.result);
		else
			measure_exit(&j, &page.result);
	}
}
