/*
 * rtc_priv.h - registers of the MC146818, and how they show a time.
 *
 * Layer:   dev, private
 * Threads: no state; safe anywhere.
 * Errors:  none: bytes that make no sense come out as some time.
 * Spec:    MC146818A data sheet; register B says how numbers are written.
 */
#ifndef DEV_RTC_PRIV_H
#define DEV_RTC_PRIV_H
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum {
	RTC_SECONDS = 0x00,
	RTC_SECONDS_ALARM = 0x01,
	RTC_MINUTES = 0x02,
	RTC_MINUTES_ALARM = 0x03,
	RTC_HOURS = 0x04,
	RTC_HOURS_ALARM = 0x05,
	RTC_WEEKDAY = 0x06,
	RTC_DAY = 0x07,
	RTC_MONTH = 0x08,
	RTC_YEAR = 0x09,
	RTC_A = 0x0a,
	RTC_B = 0x0b,
	RTC_C = 0x0c,
	RTC_D = 0x0d,
	RTC_EQUIPMENT = 0x14,
	RTC_BASE_MEMORY = 0x15, /* KiB, 16 bits */
	RTC_EXT_MEMORY = 0x17,  /* KiB above 1 MiB, 16 bits */
	RTC_EXT_MEMORY2 = 0x30, /* the same, as found */
	RTC_CENTURY = 0x32,
	RTC_MEMORY_16M = 0x34, /* 64 KiB units above 16 MiB, 16 bits */
	RTC_MEMORY_4G = 0x5b,  /* 64 KiB units above 4 GiB, 24 bits */
	RTC_BYTES = 0x80,
};

#define RTC_A_UIP      0x80
#define RTC_A_RATE     0x0f
#define RTC_B_SET      0x80
#define RTC_B_BINARY   0x04
#define RTC_B_24H      0x02
#define RTC_C_IRQ      0x80
#define RTC_C_PERIODIC 0x40 /* these three: the same bits of B enable them */
#define RTC_C_ALARM    0x20
#define RTC_C_UPDATE   0x10
#define RTC_C_SOURCES  (RTC_C_PERIODIC | RTC_C_ALARM | RTC_C_UPDATE)
#define RTC_D_VALID    0x80
#define RTC_PM         0x80 /* of hours, in 12-hour mode */
#define RTC_ANY        0xc0 /* of an alarm byte: matches always */

/* What time register @reg shows for @tm under register B of @b. */
uint8_t rtc_time_get(const struct tm *tm, unsigned reg, uint8_t b);
/* Put @v of time register @reg into @tm; nothing is normalised. */
void rtc_time_put(struct tm *tm, unsigned reg, uint8_t v, uint8_t b);
/* Does the alarm in the registers @cmos match this second of the day? */
bool rtc_time_is_alarm(const uint8_t cmos[RTC_BYTES], int second_of_day);

#endif
