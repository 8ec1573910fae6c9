/* test_num.c - the one function of num.h that is not inline. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/num.h"

static void a_median_is_the_middle_one_in_order(void **state)
{
	(void)state;
	uint64_t one[] = { 7 }, odd[] = { UINT64_MAX, 0, 3 }, even[] = { 1ull << 40, 1, 2, 9 };
	assert_int_equal(median_u64(one, 1), 7);
	assert_int_equal(median_u64(odd, 3), 3);
	assert_int_equal(median_u64(even, 4), 9); /* the upper one */
	for (unsigned i = 1; i < 4; i++)
		assert_true(even[i - 1] < even[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_median_is_the_middle_one_in_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
