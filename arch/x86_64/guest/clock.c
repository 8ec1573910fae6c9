/*
 * clock.c - see clock.h.
 */
#include "clock.h"
#include "acpi.h"
#include "io.h"

#define PM_TIMER_HZ   3579545u
#define PM_TIMER_MASK 0xffffffu
#define PAIR_TRIES    8

static uint64_t tsc_khz = 2000000; /* a guess, where there is no ACPI timer */

/* The host may hold us up between two instructions: the tightest of several tries. */
void clock_read_pair(struct clock_pair *p, uint16_t pm_port)
{
	p->slack = ~0ul;
	for (unsigned i = 0; i < PAIR_TRIES; i++) {
		uint64_t before = rdtsc();
		uint32_t pm = in32(pm_port);
		uint64_t slack = rdtsc() - before;
		if (slack < p->slack)
			*p = (struct clock_pair){ before + slack / 2, slack, pm };
	}
}

void clock_init(void)
{
	struct clock_pair a, b;
	uint16_t port = acpi_pm_timer();
	if (!port)
		return;
	clock_read_pair(&a, port);
	do {
		clock_read_pair(&b, port);
		b.pm = (b.pm - a.pm) & PM_TIMER_MASK;
	} while (b.pm < PM_TIMER_HZ / 1000 && b.tsc - a.tsc < 1000000000);
	if (b.pm)
		tsc_khz = (b.tsc - a.tsc) * PM_TIMER_HZ / b.pm / 1000;
}

uint64_t clock_tsc_khz(void)
{
	return tsc_khz;
}

uint64_t clock_after_ms(unsigned ms)
{
	return rdtsc() + ms * tsc_khz;
}

bool clock_passed(uint64_t moment)
{
	return (int64_t)(rdtsc() - moment) >= 0;
}

void clock_delay_us(unsigned us)
{
	for (uint64_t end = rdtsc() + us * tsc_khz / 1000; !clock_passed(end);)
		cpu_pause();
}

uint64_t clock_us(void)
{
	return rdtsc() * 1000 / tsc_khz;
}
