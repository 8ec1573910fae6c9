/* fuzz_bzimage.c - every field of a bzImage changed to anything. */
#include "fuzz/kernel_fuzz.h"
#include "support/kernel_files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct kernel_fuzz f;
	struct test_bzimage k;
	test_bzimage_make(&k);
	kernel_fuzz_run(&f, (uint8_t *)&k, kernel_fuzz_patch((uint8_t *)&k, sizeof(k), data, len));
	return 0;
}
