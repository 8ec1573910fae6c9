/* place.c - see mem/place.h. */
#include "mem/place.h"
#include <errno.h>
#include <numa.h>
#include <numaif.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include "base/num.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

uint64_t place_page_bytes(enum gmem_pages pages)
{
	switch (pages) {
	case GMEM_PAGES_2M:
		return 2 * MIB;
	case GMEM_PAGES_1G:
		return GIB;
	case GMEM_PAGES_4K:
	case GMEM_PAGES_THP:
		break;
	}
	return 4 * KIB;
}

bool place_node_exists(int node)
{
	if (numa_available() < 0)
		return node == 0;
	struct bitmask *allowed = numa_get_mems_allowed();
	bool is_there = allowed && node >= 0 && node <= numa_max_node() &&
			numa_bitmask_isbitset(allowed, (unsigned)node);
	if (allowed)
		numa_bitmask_free(allowed);
	return is_there;
}

int place_node_of_cpu(int cpu)
{
	int node = numa_available() < 0 ? -1 : numa_node_of_cpu(cpu);
	return node < 0 ? PLACE_NODE_ANY : node;
}

bool place_cpus_of_node(int node, cpu_set_t *out)
{
	CPU_ZERO(out);
	if (numa_available() < 0 || node < 0 || node > numa_max_node())
		return false;
	struct bitmask *mask = numa_allocate_cpumask();
	bool is_known = mask && !numa_node_to_cpus(node, mask);
	for (unsigned i = 0; is_known && i < CPU_SETSIZE && i < mask->size; i++)
		if (numa_bitmask_isbitset(mask, i))
			CPU_SET(i, out);
	if (mask)
		numa_bitmask_free(mask);
	return is_known;
}

bool place_narrow(cpu_set_t *set, const cpu_set_t *allowed)
{
	CPU_AND(set, set, allowed);
	return CPU_COUNT(set) && !CPU_EQUAL(set, allowed);
}

void place_hugepages_dir(char out[PLACE_DIR_BYTES], uint64_t bytes, int node)
{
	char of[48] = "kernel/mm"; /* both fit */
	if (node != PLACE_NODE_ANY)
		(void)snprintf(of, sizeof(of), "devices/system/node/node%d", node);
	(void)snprintf(out, PLACE_DIR_BYTES, "/sys/%s/hugepages/hugepages-%llukB", of,
		       (unsigned long long)(bytes / KIB));
}

long place_free_hugepages(uint64_t bytes, int node)
{
	char dir[PLACE_DIR_BYTES], path[PLACE_DIR_BYTES + 16];
	place_hugepages_dir(dir, bytes, node);
	(void)snprintf(path, sizeof(path), "%s/free_hugepages", dir); /* fits */
	FILE *f = fopen(path, "re");
	if (!f)
		return -1;
	long n = -1;
	if (fscanf(f, "%ld", &n) != 1)
		n = -1;
	(void)fclose(f); /* was only read */
	return n;
}

int place_bind(void *addr, size_t len, int node)
{
	if (!place_node_exists(node))
		return -EINVAL;
	if (numa_available() < 0)
		return 0; /* one node and no say */
	struct bitmask *mask = numa_allocate_nodemask();
	if (!mask)
		return -ENOMEM;
	numa_bitmask_setbit(mask, (unsigned)node);
	int err = mbind(addr, len, MPOL_BIND, mask->maskp, mask->size + 1, 0) < 0 ? -errno : 0;
	numa_bitmask_free(mask);
	return err;
}

struct place_slice {
	pthread_t thread;
	uint8_t *addr;
	size_t len;
	int err;
	bool is_started;
};

static void *place_populate(void *arg)
{
	struct place_slice *s = arg;
	s->err = madvise(s->addr, s->len, MADV_POPULATE_WRITE) < 0 ? -errno : 0;
	return NULL;
}

#define PLACE_MAX_THREADS 16
#define PLACE_SLICE_MIN   (256 * MIB)

int place_prefault(void *addr, size_t len)
{
	cpu_set_t cpus;
	unsigned nr = 1;
	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		nr = (unsigned)min_u64((uint64_t)CPU_COUNT(&cpus), PLACE_MAX_THREADS);
	nr = (unsigned)max_u64(1, min_u64(nr, len / PLACE_SLICE_MIN));
	struct place_slice s[PLACE_MAX_THREADS] = { 0 };
	size_t each = align_down(len / nr, GIB) ? align_down(len / nr, GIB)
						: align_down(len / nr, 2 * MIB);
	if (!each)
		nr = 1;
	for (unsigned i = 0; i < nr; i++) {
		s[i].addr = (uint8_t *)addr + i * each;
		s[i].len = i + 1 < nr ? each : len - i * each;
		s[i].is_started = i && !pthread_create(&s[i].thread, NULL, place_populate, &s[i]);
	}
	int err = 0;
	for (unsigned i = 0; i < nr; i++) {
		if (s[i].is_started)
			(void)pthread_join(s[i].thread, NULL); /* ours, joinable */
		else
			(void)place_populate(&s[i]);
		err = s[i].err ? s[i].err : err;
	}
	return err;
}
