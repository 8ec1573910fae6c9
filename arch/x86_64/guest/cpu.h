/*
 * cpu.h - processors: interrupts on and off, traps, local APIC, starting a second one.
 *
 * Two kinds of host run this guest. Hardware KVM (or an emulator) is the plain processor. The
 * software KVM interprets ring 0 until it is given a page (native.c); from then on the interrupt
 * flag is byte 0 of that page and sti, cli and popf change nothing. Everybody therefore goes
 * through irq_on(), irq_off() and cpu_idle(); exceptions, handlers and iretq are the same on both.
 */
#ifndef GUEST_CPU_H
#define GUEST_CPU_H
#include <stdbool.h>
#include <stdint.h>
#include "image.h"

#define VEC_SPURIOUS 0xff
#define VEC_TIMER    0x30 /* LAPIC timer */
#define VEC_PIC      0x31 /* IOAPIC pins used by tests start here: pin p is VEC_PIC + p */
#define VEC_CALL     0x50 /* a processor has work for another */
#define VEC_MSI      0x60 /* MSI-X vector n of the device under test is VEC_MSI + n */
#define MAX_CPUS     2

struct cpu {
	unsigned index;
	uint32_t apic_id;
	uint8_t *native_page;  /* NULL where the processor is a plain one */
	uint64_t recover_rip;  /* where the next exception continues; 0: it is fatal */
	uint64_t fault_vector; /* the last exception recovered from */
};

/* Pushed by trap_stubs in entry.S. */
struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

/* The processor that runs this code. */
static inline struct cpu *cpu_this(void)
{
	uintptr_t sp;
	__asm__("mov %%rsp, %0" : "=r"(sp));
	return (struct cpu *)(sp & ~(uintptr_t)(STACK_BYTES - 1));
}

/* Boot processor only, in this order: traps can be taken; full speed; all vectors, APIC, interrupts
 * on. */
void trap_init_early(void);
void native_init(struct cpu *c);
void trap_init(void);

/* Load the table made by trap_init() on an application processor. */
void trap_load(void);

void apic_init(struct cpu *c);
void apic_eoi(void);
void apic_timer(uint32_t count, bool is_periodic); /* divide by 1; 0 stops it */
uint32_t apic_timer_left(void);
void apic_self_ipi(uint8_t vector);
uint32_t apic_read(uint32_t reg);

void pic_disable(void); /* mask both 8259s */
unsigned ioapic_pins(void);
/* Pin @pin to vector VEC_PIC + @pin of the boot processor; or nowhere. */
void ioapic_open(unsigned pin, bool is_level);
void ioapic_close(unsigned pin);

void irq_on(void);
void irq_off(void);

/*
 * With interrupts off and nothing left to do: sleep until an interrupt was taken. No wake-up is
 * lost between the caller's look at its condition and the sleep. Interrupts are off again on
 * return.
 */
void cpu_idle(void);

/* How often vector @v was taken by any processor, and which one took it last. */
unsigned irq_count(uint8_t v);
unsigned irq_last_cpu(uint8_t v);

/* Wait with interrupts on until vector @v was taken more than @before times. False: not within @ms.
 */
bool irq_wait(uint8_t v, unsigned before, unsigned ms);

/* True and *value set; false where the register raises #GP. */
bool msr_read_safe(uint32_t msr, uint64_t *value);

/* True where the host is the software KVM and this guest runs natively on it. */
bool cpu_is_native(void);

/* Start processor @index and have it run @fn(@arg); false where none answers. Waits for earlier
 * work. */
bool smp_run(void (*fn)(void *), void *arg);
/* False: it did not finish within @ms. */
bool smp_wait(unsigned ms);

#endif
