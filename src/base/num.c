/* num.c - see base/num.h. */
#include "base/num.h"
#include <stdlib.h>

static int num_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

uint64_t median_u64(uint64_t *v, size_t nr)
{
	qsort(v, nr, sizeof(v[0]), num_compare);
	return v[nr / 2];
}
