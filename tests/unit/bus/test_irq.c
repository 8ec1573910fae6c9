/* test_irq.c - irq.h: lines, and inputs that several lines share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "bus/irq.h"

struct script {
	bool level[32];
	unsigned changes;
};

static void script_set_level(void *ctx, uint32_t gsi, bool level)
{
	struct script *s = ctx;
	s->level[gsi] = level;
	s->changes++;
}

static const struct irq_chip_ops script_ops = { .set_level = script_set_level };

static void a_pulse_goes_up_and_down(void **state)
{
	(void)state;
	struct script s = { 0 };
	struct irq_chip chip = { &script_ops, &s };
	irq_line_pulse(&(struct irq_line){ &chip, 4 });
	assert_int_equal(s.changes, 2);
	assert_false(s.level[4]);
}

static void a_line_to_nowhere_is_harmless(void **state)
{
	(void)state;
	irq_line_pulse(&(struct irq_line){ 0 });
}

static void a_shared_input_is_high_while_any_line_is(void **state)
{
	(void)state;
	struct script s = { 0 };
	struct irq_chip chip = { &script_ops, &s };
	struct irq_share *share;
	assert_int_equal(irq_share_create(&share, &chip), 0);
	struct irq_line a = { irq_share_chip(share), 17 }, b = a, other = { a.chip, 18 };
	irq_line_set(&a, true);
	irq_line_set(&b, true);
	irq_line_set(&a, false);
	assert_true(s.level[17]);
	assert_false(s.level[18]);
	irq_line_set(&other, true);
	irq_line_set(&b, false);
	assert_false(s.level[17]);
	assert_true(s.level[18]);
	assert_int_equal(s.changes, 3);
	irq_share_destroy(share);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pulse_goes_up_and_down),
		cmocka_unit_test(a_line_to_nowhere_is_harmless),
		cmocka_unit_test(a_shared_input_is_high_while_any_line_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
