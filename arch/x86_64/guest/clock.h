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
uint64_t clock_us(void); /* since some moment before clock_init() */

#endif
