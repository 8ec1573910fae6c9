/*
 * apic.c - local APIC and the start of a second processor. xAPIC: one page of registers.
 */
#include "acpi.h"
#include "clock.h"
#include "cpu.h"
#include "io.h"
#include "mem.h"

#define APIC_BASE       0xfee00000ul
#define APIC_ID         0x020
#define APIC_EOI        0x0b0
#define APIC_SVR        0x0f0
#define APIC_ICR_LOW    0x300
#define APIC_ICR_HIGH   0x310
#define APIC_LVT_TIMER  0x320
#define APIC_TIMER_INIT 0x380
#define APIC_TIMER_NOW  0x390
#define APIC_TIMER_DIV  0x3e0

#define SVR_ENABLE   0x100
#define ICR_SELF     (1u << 18)
#define ICR_PENDING  (1u << 12)
#define ICR_INIT     0x4500 /* INIT, assert */
#define ICR_SIPI     0x4600 /* start-up, assert */
#define LVT_MASKED   (1u << 16)
#define LVT_PERIODIC (1u << 17)

extern const char ap_trampoline[], ap_trampoline_end[];
void ap_main(void);

static struct {
	bool is_up;         /* by the second processor, once */
	void (*fn)(void *); /* set by the first, cleared by the second when done */
	void *arg;
} mailbox;

uint32_t apic_read(uint32_t reg)
{
	return mmio_read32(APIC_BASE + reg);
}

static void apic_write(uint32_t reg, uint32_t v)
{
	mmio_write32(APIC_BASE + reg, v);
}

void apic_init(struct cpu *c)
{
	c->apic_id = apic_read(APIC_ID) >> 24;
	apic_write(APIC_SVR, SVR_ENABLE | VEC_SPURIOUS);
}

void apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

void apic_timer(uint32_t count, bool is_periodic)
{
	apic_write(APIC_TIMER_DIV, 0xb); /* by 1 */
	apic_write(APIC_LVT_TIMER,
		   VEC_TIMER | (is_periodic ? LVT_PERIODIC : 0) | (count ? 0 : LVT_MASKED));
	apic_write(APIC_TIMER_INIT, count);
}

uint32_t apic_timer_left(void)
{
	return apic_read(APIC_TIMER_NOW);
}

static void icr_send(uint32_t apic_id, uint32_t low)
{
	apic_write(APIC_ICR_HIGH, apic_id << 24);
	apic_write(APIC_ICR_LOW, low);
	while (apic_read(APIC_ICR_LOW) & ICR_PENDING)
		cpu_pause();
}

void apic_self_ipi(uint8_t vector)
{
	icr_send(0, ICR_SELF | vector);
}

/* The second processor's life: switch over, say so, run what the mailbox holds. */
void ap_main(void)
{
	struct cpu *c = cpu_this();
	c->index = 1;
	trap_load();
	native_init(c);
	apic_init(c);
	irq_off();
	__atomic_store_n(&mailbox.is_up, true, __ATOMIC_RELEASE); /* pairs with ap_start() */
	for (;;) {
		/* acquire: pairs with the release in smp_run() */
		void (*fn)(void *) = __atomic_load_n(&mailbox.fn, __ATOMIC_ACQUIRE);
		if (!fn) {
			cpu_idle(); /* until VEC_CALL: a processor that spins disturbs measurements
				     */
			continue;
		}
		irq_on();
		fn(mailbox.arg);
		irq_off();
		__atomic_store_n(&mailbox.fn, NULL, __ATOMIC_RELEASE); /* pairs with smp_wait() */
	}
}

static bool ap_start(void)
{
	int apic_id = acpi_second_cpu(cpu_this()->apic_id);
	if (apic_id < 0)
		return false;
	mem_copy((void *)AP_TRAMPOLINE, ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
	icr_send((uint32_t)apic_id, ICR_INIT);
	clock_delay_us(200);
	icr_send((uint32_t)apic_id, ICR_SIPI | (AP_TRAMPOLINE >> 12));
	for (uint64_t end = clock_after_ms(CLOCK_PATIENCE_MS); !clock_passed(end);) {
		if (__atomic_load_n(&mailbox.is_up, __ATOMIC_ACQUIRE))
			return true;
		cpu_pause();
	}
	return false;
}

bool smp_run(void (*fn)(void *), void *arg)
{
	if (!mailbox.is_up && !ap_start())
		return false;
	if (!smp_wait(CLOCK_PATIENCE_MS))
		return false;
	mailbox.arg = arg;
	__atomic_store_n(&mailbox.fn, fn,
			 __ATOMIC_RELEASE); /* pairs with the acquire in ap_main() */
	icr_send((uint32_t)acpi_second_cpu(cpu_this()->apic_id), VEC_CALL);
	return true;
}

bool smp_wait(unsigned ms)
{
	for (uint64_t end = clock_after_ms(ms); __atomic_load_n(&mailbox.fn, __ATOMIC_ACQUIRE);) {
		if (clock_passed(end))
			return false;
		cpu_pause();
	}
	return true;
}
