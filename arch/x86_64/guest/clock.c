/*
 * clock.c - see clock.h.
 */
#include "clock.h"
#include "acpi.h"
#include "io.h"

#define PM_TIMER_HZ   3579545u
#define PM_TIMER_MASK 0xffffffu

static uint64_t tsc_khz = 2000000; /* a guess, where there is no ACPI timer */

void clock_init(void)
{
	uint16_t port = acpi_pm_timer();
	if (!port)
		return;
	uint32_t first = in32(port), ticks;
	uint64_t tsc = rdtsc();
	do {
		ticks = (in32(port) - first) & PM_TIMER_MASK;
	} while (ticks < PM_TIMER_HZ / 1000 && rdtsc() - tsc < 1000000000);
	tsc = rdtsc() - tsc;
	if (ticks)
		tsc_khz = tsc * PM_TIMER_HZ / ticks / 1000;
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
