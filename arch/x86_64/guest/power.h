/*
 * power.h - the ways out.
 */
#ifndef GUEST_POWER_H
#define GUEST_POWER_H

__attribute__((noreturn)) void power_off(void);         /* ACPI S5 */
__attribute__((noreturn)) void power_reset(void);       /* reset register 0xcf9 */
__attribute__((noreturn)) void power_reset_i8042(void); /* keyboard controller, pulse line 0 */
__attribute__((noreturn)) void power_triple_fault(void);
__attribute__((noreturn)) void power_reset_and_fault(void);
__attribute__((noreturn)) void power_button(void); /* wait for it, then off */
__attribute__((noreturn)) void power_hang(void);   /* interrupts off, forever */

#endif
