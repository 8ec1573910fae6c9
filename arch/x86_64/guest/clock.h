/*
 * clock.h - time by the TSC, measured once against the ACPI timer.
 */
#ifndef GUEST_CLOCK_H
#define GUEST_CLOCK_H
#include <stdbool.h>
#include <stdint.h>

void clock_init(void); /* after acpi_init(); takes about 1 ms */
uint64_t clock_tsc_khz(void);
uint64_t clock_after_ms(unsigned ms); /* a moment, for clock_passed() */
bool clock_passed(uint64_t moment);
void clock_delay_us(unsigned us);

/* How long to wait for what must come: far longer than a busy host takes. */
#define CLOCK_PATIENCE_MS 10000

/* The ACPI timer and the TSC, read together; @slack: TSC ticks that passed meanwhile. */
struct clock_pair {
	uint64_t tsc, slack;
	uint32_t pm;
};
void clock_read_pair(struct clock_pair *p, uint16_t pm_port);
uint64_t clock_us(void); /* since some moment before clock_init() */

#endif
