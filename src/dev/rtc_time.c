/* rtc_time.c - see rtc_priv.h. */
#include <stddef.h>
#include "base/compiler.h"
#include "rtc_priv.h"

/* Unsigned, for nonsense that a guest has set may be negative. */
static uint8_t rtc_encode(int value, uint8_t b)
{
	unsigned v = (unsigned)value;
	return (uint8_t)(b & RTC_B_BINARY ? v : v / 10 << 4 | v % 10);
}

static int rtc_decode(uint8_t v, uint8_t b)
{
	return b & RTC_B_BINARY ? v : (v >> 4) * 10 + (v & 0x0f);
}

static uint8_t rtc_encode_hour(int hour, uint8_t b)
{
	if (b & RTC_B_24H)
		return rtc_encode(hour, b);
	return (uint8_t)(rtc_encode(hour % 12 ? hour % 12 : 12, b) | (hour >= 12 ? RTC_PM : 0));
}

static int rtc_decode_hour(uint8_t v, uint8_t b)
{
	if (b & RTC_B_24H)
		return rtc_decode(v, b);
	return rtc_decode(v & (uint8_t)~RTC_PM, b) % 12 + (v & RTC_PM ? 12 : 0);
}

/* The registers that are one field of struct tm. */
static const struct rtc_field {
	uint8_t reg, bias; /* what the register has more than the field */
	uint8_t offset;
} rtc_fields[] = {
	{ RTC_SECONDS, 0, offsetof(struct tm, tm_sec) },
	{ RTC_MINUTES, 0, offsetof(struct tm, tm_min) },
	{ RTC_WEEKDAY, 1, offsetof(struct tm, tm_wday) },
	{ RTC_DAY, 0, offsetof(struct tm, tm_mday) },
	{ RTC_MONTH, 1, offsetof(struct tm, tm_mon) },
};

/* The row of @reg, or NULL: hours, year and century are not that simple. */
static const struct rtc_field *rtc_field_of(unsigned reg)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rtc_fields); i++)
		if (rtc_fields[i].reg == reg)
			return &rtc_fields[i];
	return NULL;
}

uint8_t rtc_time_get(const struct tm *tm, unsigned reg, uint8_t b)
{
	const struct rtc_field *f = rtc_field_of(reg);
	if (f)
		return rtc_encode(
			*(const int *)(const void *)((const char *)tm + f->offset) + f->bias, b);
	if (reg == RTC_HOURS)
		return rtc_encode_hour(tm->tm_hour, b);
	int year = tm->tm_year + 1900;
	return rtc_encode(reg == RTC_YEAR ? year % 100 : year / 100, b);
}

void rtc_time_put(struct tm *tm, unsigned reg, uint8_t v, uint8_t b)
{
	const struct rtc_field *f = rtc_field_of(reg);
	int year = tm->tm_year + 1900;
	if (f)
		*(int *)(void *)((char *)tm + f->offset) = rtc_decode(v, b) - f->bias;
	else if (reg == RTC_HOURS)
		tm->tm_hour = rtc_decode_hour(v, b);
	else if (reg == RTC_YEAR)
		tm->tm_year = year / 100 * 100 + rtc_decode(v, b) - 1900;
	else
		tm->tm_year = rtc_decode(v, b) * 100 + year % 100 - 1900;
}

static bool rtc_alarm_byte(uint8_t alarm, uint8_t v)
{
	return (alarm & RTC_ANY) == RTC_ANY || alarm == v;
}

bool rtc_time_is_alarm(const uint8_t cmos[RTC_BYTES], int second_of_day)
{
	uint8_t b = cmos[RTC_B];
	return rtc_alarm_byte(cmos[RTC_SECONDS_ALARM], rtc_encode(second_of_day % 60, b)) &&
	       rtc_alarm_byte(cmos[RTC_MINUTES_ALARM], rtc_encode(second_of_day / 60 % 60, b)) &&
	       rtc_alarm_byte(cmos[RTC_HOURS_ALARM], rtc_encode_hour(second_of_day / 3600, b));
}
