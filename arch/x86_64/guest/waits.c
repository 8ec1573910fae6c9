/*
 * waits.c - see waits.h.
 */
#include "waits.h"
#include "clock.h"
#include "print.h"

#define LINE 8

void waits_begin(struct waits *w)
{
	w->since_us = clock_us();
}

void waits_note(struct waits *w)
{
	uint64_t now = clock_us(), us = now - w->since_us;
	w->since_us = now;
	w->count++;
	if (us <= w->us[w->least])
		return;
	w->us[w->least] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
	for (unsigned i = 0; i < WAITS; i++)
		if (w->us[i] < w->us[w->least])
			w->least = i;
}

void waits_print(const struct waits *w, const char *name)
{
	for (unsigned i = 0; i < WAITS; i += LINE)
		print("info waits %s %lu: %u %u %u %u %u %u %u %u\n", name, w->count, w->us[i],
		      w->us[i + 1], w->us[i + 2], w->us[i + 3], w->us[i + 4], w->us[i + 5],
		      w->us[i + 6], w->us[i + 7]);
}
