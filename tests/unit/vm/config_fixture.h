/*
 * config_fixture.h - a configuration of nothing but defaults, and the command line that changes it.
 *
 * Layer:   tests
 * Threads: one.
 * Errors:  set() returns what the configuration says; the rest is asserted.
 * Spec:    vm/config.h.
 */
#ifndef TESTS_UNIT_VM_CONFIG_FIXTURE_H
#define TESTS_UNIT_VM_CONFIG_FIXTURE_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include "vm/config.h"

struct fixture {
	struct vm_config c;
	struct config_builder b;
};

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	config_init(&f->c);
	f->b = (struct config_builder){ .c = &f->c, .origin = CONFIG_FROM_ARGS };
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;
	config_fini(&f->c);
	free(f);
	return 0;
}

/* As the option --@name with @value. */
static inline int set(struct fixture *f, const char *name, const char *value)
{
	int i = config_find(name);
	assert_true(i >= 0);
	return config_set(&f->b, (unsigned)i, value);
}

#endif
