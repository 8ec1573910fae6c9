/*
 * json_memory.h - memory of jansson that runs out when a test says so, and is counted.
 *
 * Layer:   tests
 * Threads: one.
 * Errors:  none.
 * Spec:    json_set_alloc_funcs().
 */
#ifndef TESTS_SUPPORT_JSON_MEMORY_H
#define TESTS_SUPPORT_JSON_MEMORY_H
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>

static unsigned json_memory_left = UINT_MAX; /* allocations that succeed from now on */
static unsigned json_memory_out;             /* not freed yet */

static inline void *json_memory_alloc(size_t bytes)
{
	if (!json_memory_left)
		return NULL;
	if (json_memory_left != UINT_MAX)
		json_memory_left--;
	void *p = malloc(bytes);
	json_memory_out += p != NULL;
	return p;
}

static inline void json_memory_free(void *p)
{
	json_memory_out -= p != NULL;
	free(p);
}

/* Before anything of jansson's is made. */
static inline void json_memory_begin(void)
{
	json_set_alloc_funcs(json_memory_alloc, json_memory_free);
}

#endif
