/*
 * trap.c - interrupt descriptor table, exceptions, counters of interrupts taken.
 */
#include "cpu.h"
#include "clock.h"
#include "io.h"
#include "power.h"
#include "print.h"

#define GATE_BYTES 16 /* also the size of a stub in entry.S */
#define VEC_GP     13

struct gate {
	uint16_t offset_low, selector, flags, offset_mid;
	uint32_t offset_high, zero;
};

struct PACKED idt_pointer {
	uint16_t limit;
	uint64_t base;
};

extern const char trap_stubs[], idle_begin[], idle_end[];
static _Alignas(16) struct gate idt[256];
static struct {
	unsigned count, last_cpu;
} taken[256];

void trap_dispatch(struct trap_frame *f);

static void gate_set(unsigned v)
{
	uintptr_t at = (uintptr_t)trap_stubs + v * GATE_BYTES;
	idt[v] = (struct gate){
		.offset_low = (uint16_t)at,
		.selector = SEL_CODE64,
		.flags = 0x8e00, /* present, 64-bit interrupt gate */
		.offset_mid = (uint16_t)(at >> 16),
		.offset_high = (uint32_t)(at >> 32),
	};
}

void trap_load(void)
{
	const struct idt_pointer p = { sizeof(idt) - 1, (uintptr_t)idt };
	__asm__ volatile("lidt %0" : : "m"(p));
}

void trap_init_early(void)
{
	gate_set(VEC_GP);
	trap_load();
}

void trap_init(void)
{
	for (unsigned v = 0; v < 256; v++)
		gate_set(v);
}

static void exception(struct trap_frame *f)
{
	struct cpu *c = cpu_this();
	if (c->recover_rip) {
		c->fault_vector = f->vector;
		f->rip = c->recover_rip;
		c->recover_rip = 0;
		return;
	}
	print("FAIL trap: exception %lu error %lx at %lx, sp %lx, cpu %u\n", f->vector, f->error,
	      f->rip, f->rsp, c->index);
	power_reset();
}

void trap_dispatch(struct trap_frame *f)
{
	if (f->vector < 32) {
		exception(f);
		return;
	}
	taken[f->vector].last_cpu = cpu_this()->index;
	__atomic_fetch_add(&taken[f->vector].count, 1,
			   __ATOMIC_RELEASE); /* pairs with irq_count() */
	if (f->rip >= (uintptr_t)idle_begin && f->rip < (uintptr_t)idle_end)
		f->rip = (uintptr_t)idle_end;
	if (f->vector != VEC_SPURIOUS)
		apic_eoi();
}

unsigned irq_count(uint8_t v)
{
	return __atomic_load_n(&taken[v].count, __ATOMIC_ACQUIRE);
}

unsigned irq_last_cpu(uint8_t v)
{
	return taken[v].last_cpu;
}

bool irq_wait(uint8_t v, unsigned before, unsigned ms)
{
	for (uint64_t end = clock_after_ms(ms); irq_count(v) == before;) {
		if (clock_passed(end))
			return false;
		cpu_pause();
	}
	return true;
}

bool msr_read_safe(uint32_t msr, uint64_t *value)
{
	struct cpu *c = cpu_this();
	uint32_t lo, hi;
	c->fault_vector = 0;
	__asm__ volatile("movq $1f, %[recover]\n"
			 "	rdmsr\n"
			 "1:	movq $0, %[recover]"
			 : [recover] "=m"(c->recover_rip), "=&a"(lo), "=&d"(hi)
			 : "c"(msr)
			 : "memory");
	if (c->fault_vector)
		return false;
	*value = (uint64_t)hi << 32 | lo;
	return true;
}
