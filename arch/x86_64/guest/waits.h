/*
 * waits.h - how long a queue with requests under way gave nothing back: the longest times.
 */
#ifndef GUEST_WAITS_H
#define GUEST_WAITS_H
#include <stdint.h>

#define WAITS 64

struct waits {
	uint64_t since_us; /* the last result, or the first request after a rest */
	uint64_t count;    /* results */
	uint32_t us[WAITS];
	unsigned least; /* the place of the shortest */
};

/* There is a request, and was none. */
void waits_begin(struct waits *w);
/* A result. */
void waits_note(struct waits *w);
/* A line `info waits NAME COUNT: US ...` for each eight, in no order. */
void waits_print(const struct waits *w, const char *name);

#endif
