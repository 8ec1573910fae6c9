/*
 * heir.h - consoles that die and are succeeded, on the fixture of term.h.
 *
 * Layer:   tests
 * Threads: one.
 * Errors:  cmocka assertions.
 * Spec:    docs/isolation.md, "Death of a device".
 *
 * A death is played: memory of the guest, of the account and of the console is set back to what it
 * was, after the console was taken down in order.
 */
#ifndef TESTS_UNIT_DEV_HEIR_H
#define TESTS_UNIT_DEV_HEIR_H
#include "../../../virtio/dev/console_priv.h"
#include "term.h"

/* What the consoles leave to each other. */
extern union heir_keep {
	struct console_keep k;
	uint8_t bytes[CONSOLE_KEEP_BYTES];
} heir_keep;

/* A console with an account of what is in flight, not started. */
void heir_attach(struct term *f, const struct console_port_config *p, unsigned nr);
/* The first one, with a driver. */
void heir_up(struct term *f, const struct console_port_config *p, unsigned nr);
void heir_remember(struct term *f);
/* As it was at heir_remember(), and nobody there. */
void heir_die(struct term *f);
/* The next one, where the last was. */
void heir_take_over(struct term *f);
/* All three. */
void heir_killed(struct term *f);
/* After heir_die(): it had taken the chain @head of queue @q, and not given it back. */
void heir_had_taken(uint16_t q, uint16_t head);
/* The accounts are empty, as after a reset. */
void heir_clear_logs(void);
/* Queue @q, which does not run, keeps its account. */
void heir_set_log(struct term *f, uint16_t q);

#endif
