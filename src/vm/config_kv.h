/*
 * config_kv.h - the small languages of option values: lists of key=value, sizes, CPU sets.
 *
 * Layer:   vm
 * Threads: no state; safe anywhere.
 * Errors:  false for text that is not of the language; the caller words the message.
 * Spec:    docs/config.md, "Values".
 */
#ifndef VM_CONFIG_KV_H
#define VM_CONFIG_KV_H
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"

/*
 * Walks "first,key=value,flag,set=[1,2-3]". Commas in brackets around a value do not separate, ",,"
 * is a literal comma, there too. Zero-initialise with the text.
 */
struct kv_iter {
	const char *at; /* rest of the text */
	const char *whole;
	char key[64];
	char val[4096];
	bool has_val;  /* "key=value", as opposed to "key" */
	bool is_bad;   /* an item was too long or empty, or ... */
	bool is_twice; /* ... its key stood there before; a first item without a value has none */
};
bool kv_next(struct kv_iter *it);

/* A decimal number within [min, max]. */
MUST_CHECK bool kv_number(const char *text, uint64_t min, uint64_t max, uint64_t *out);
/* Digits and an optional K, M, G or T; without one the number counts @unit bytes. */
MUST_CHECK bool kv_size(const char *text, uint64_t unit, uint64_t *out);
/* "0,2-3" or "[0,2-3]"; not empty, every CPU below CPU_SETSIZE. */
MUST_CHECK bool kv_cpus(const char *text, cpu_set_t *out);
/* true, false, on, off, 1, 0, yes, no; NULL (a bare flag) is true. */
MUST_CHECK bool kv_bool(const char *text, bool *out);

#endif
