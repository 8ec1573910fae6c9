/* config_cpus.c - options of CPUs and memory. */
#include "config_opts.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/num.h"

/* "SET" for every vCPU, or "0=SET:1=SET". */
int opt_cpu_affinity(struct config_builder *b, const char *value)
{
	if (!strchr(value, '='))
		return opt_cpu_set(b, value, &b->c->affinity_all);
	char *copy = strdup(value), *rest = NULL;
	int err = copy ? 0 : -ENOMEM;
	for (char *s = copy ? strtok_r(copy, ":", &rest) : NULL; s && !err;
	     s = strtok_r(NULL, ":", &rest)) {
		char *eq = strchr(s, '=');
		uint64_t cpu = 0;
		if (eq)
			*eq = 0;
		if (!eq || !kv_number(s, 0, VM_MAX_CPUS - 1, &cpu))
			err = config_fail(b, "'%s' is not VCPU=SET; give e.g. 0=2:1=3", s);
		else if (b->c->vcpu_affinity[cpu])
			err = config_fail(b, "vCPU %s is given twice", s);
		else
			err = opt_cpu_set(b, eq + 1, &b->c->vcpu_affinity[cpu]);
	}
	free(copy);
	return err;
}

int opt_rt_cpus(struct config_builder *b, const char *v)
{
	return opt_cpu_set(b, v, &b->c->rt_cpus);
}

int opt_no_smt(struct config_builder *b, const char *v)
{
	(void)v;
	b->c->no_smt = true;
	return 0;
}

int opt_cpus(struct config_builder *b, const char *value)
{
	struct kv_iter it = { .at = value };
	for (bool is_first = true; kv_next(&it); is_first = false) {
		uint64_t n;
		int err = 0;
		if (is_first && !it.has_val) {
			if (!kv_number(it.val, 1, VM_MAX_CPUS, &n))
				return config_fail(b, "'%s' vCPUs; give a number from 1 to %d",
						   it.val, VM_MAX_CPUS);
			b->c->nr_cpus = (unsigned)n;
		} else if (it.has_val && !strcmp(it.key, "affinity")) {
			err = opt_cpu_affinity(b, it.val);
		} else if (!strcmp(it.key, "max") || !strcmp(it.key, "topology")) {
			return config_fail(
				b,
				"%s=: not supported: vCPUs are fixed, two threads a core "
				"(or --no-smt)",
				it.key);
		} else {
			return config_fail(b, "unknown part '%s'; known: N, affinity=", it.key);
		}
		if (err)
			return err;
	}
	return 0;
}

/* --- memory --- */

static int opt_mem_pages(struct config_builder *b, const char *v)
{
	static const struct {
		const char *name;
		enum gmem_pages pages;
	} kinds[] = { { "2M", GMEM_PAGES_2M }, { "1G", GMEM_PAGES_1G }, { "thp", GMEM_PAGES_THP } };
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!strcmp(v, kinds[i].name)) {
			b->c->place.pages = kinds[i].pages;
			return 0;
		}
	}
	return config_fail(b, "hugepages=%s is unknown; give 2M, 1G or thp", v);
}

static int opt_mem_numa(struct config_builder *b, const char *v)
{
	uint64_t node;
	b->c->numa_auto = !strcmp(v, "auto");
	if (b->c->numa_auto)
		return 0;
	if (!kv_number(v, 0, 1023, &node) || !place_node_exists((int)node))
		return config_fail(b,
				   "numa=%s is not a node of this host; give a number that "
				   "'numactl -H' lists, or auto",
				   v);
	b->c->place.node = (int)node;
	return 0;
}

static int opt_mem_size(struct config_builder *b, const char *v)
{
	uint64_t bytes;
	if (!kv_size(v, MIB, &bytes))
		return config_fail(
			b, "'%s' is not a size; give " SIZE_HINT " (a bare number is MiB)", v);
	if (bytes < MIB || !is_aligned(bytes, 4 * KIB))
		return config_fail(
			b, "'%s' is too small or odd; give at least 1M, in whole 4K pages", v);
	b->c->ram_bytes = bytes;
	return 0;
}

int opt_mem(struct config_builder *b, const char *value)
{
	struct kv_iter it = { .at = value };
	for (bool is_first = true; kv_next(&it); is_first = false) {
		int err = 0;
		if (is_first && !it.has_val)
			err = opt_mem_size(b, it.val);
		else if (it.has_val && !strcmp(it.key, "size"))
			err = opt_mem_size(b, it.val);
		else if (it.has_val && !strcmp(it.key, "hugepages"))
			err = opt_mem_pages(b, it.val);
		else if (it.has_val && !strcmp(it.key, "numa"))
			err = opt_mem_numa(b, it.val);
		else if (!strcmp(it.key, "prefault")) {
			if (!kv_bool(it.has_val ? it.val : NULL, &b->c->place.prefault))
				err = config_fail(b, "prefault=%s; give on or off", it.val);
		} else
			err = config_fail(
				b, "unknown part '%s'; known: SIZE, hugepages=, numa=, prefault",
				it.key);
		if (err)
			return err;
	}
	return 0;
}
