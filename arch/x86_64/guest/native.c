/*
 * native.c - full speed on the software KVM, whose ring 0 is otherwise interpreted.
 *
 * MSR 0x4b564d11 reads "PVM" on such a host; writing a page's address to MSR 0x4b564d10 switches
 * this processor over. Conditions that entry.S meets: user bit at every level of the page tables,
 * CR0.WP set, PML4 slot 256 unused. Byte 0 of the page is the interrupt flag, byte 1 says one is
 * pending; a pending interrupt is delivered at the first exit after the flag is set. Interrupt
 * entry clears the flag and iretq restores it.
 */
#include "cpu.h"
#include "io.h"

#define MSR_NATIVE_PAGE 0x4b564d10
#define MSR_NATIVE_ID   0x4b564d11
#define NATIVE_ID       0x4d5650 /* "PVM" */

static _Alignas(4096) uint8_t native_pages[MAX_CPUS][4096];

void native_init(struct cpu *c)
{
	uint64_t id;
	if (!msr_read_safe(MSR_NATIVE_ID, &id) || id != NATIVE_ID)
		return;
	uint8_t *page = native_pages[c->index];
	*(uint64_t *)page = 0; /* touched: the host wants it present */
	wrmsr(MSR_NATIVE_PAGE, (uintptr_t)page);
	c->native_page = page;
}

bool cpu_is_native(void)
{
	return cpu_this()->native_page != NULL;
}

static void flag_set(uint8_t *page, uint8_t v)
{
	__atomic_store_n(&page[0], v, __ATOMIC_SEQ_CST);
}

void irq_on(void)
{
	uint8_t *page = cpu_this()->native_page;
	if (!page) {
		__asm__ volatile("sti" : : : "memory");
		return;
	}
	flag_set(page, 1);
	if (__atomic_load_n(&page[1], __ATOMIC_SEQ_CST))
		(void)cpuid(0, 0); /* an exit, for delivery */
}

void irq_off(void)
{
	uint8_t *page = cpu_this()->native_page;
	if (!page)
		__asm__ volatile("cli" : : : "memory");
	else
		flag_set(page, 0);
}

/*
 * Between setting the flag and hlt an interrupt may slip in; trap_dispatch() then resumes behind
 * the hlt (idle_begin <= RIP < idle_end).
 */
void cpu_idle(void)
{
	uint8_t *page = cpu_this()->native_page;
	if (!page) {
		__asm__ volatile("sti; hlt; cli" : : : "memory");
		return;
	}
	__asm__ volatile("movb $1, (%0)\n"
			 ".globl idle_begin, idle_end\n"
			 "idle_begin:\n"
			 "	hlt\n"
			 "idle_end:\n"
			 "	movb $0, (%0)"
			 :
			 : "r"(page)
			 : "memory");
}
