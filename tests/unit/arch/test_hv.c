/* test_hv.c - the hypervisor device, the VM and its memory. */
#include "unit/arch/box.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "arch/kvm/kvm_priv.h"

static void refuses_what_is_no_hypervisor(void **state)
{
	(void)state;
	struct hv_info i;
	struct hv *h = NULL;
	assert_int_equal(hv_probe(&i, "/nonexistent"), -ENOENT);
	assert_int_equal(hv_probe(&i, "/dev/null"), -EPROTO);
	assert_non_null(strstr(hv_missing(), "KVM"));
	assert_int_equal(hv_create(&h, "/nonexistent"), -ENOENT);
	assert_int_equal(hv_create(&h, "/dev/null"), -EPROTO);
	assert_int_equal(hv_create(&h, "/"), -EISDIR);
	assert_null(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_what_is_no_hypervisor),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
