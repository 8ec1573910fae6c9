/* config_cpus.c - options of CPUs and memory. */
#include "config_opts.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/num.h"

void config_affinity_fini(struct vm_config *c)
{
	for (unsigned i = 0; i < VM_MAX_CPUS; i++) {
		free(c->vcpu_affinity[i]);
		c->vcpu_affinity[i] = NULL;
	}
	free(c->affinity_all);
	c->affinity_all = NULL;
}

/* "SET" for every vCPU, or "0=SET:1=SET"; on the command line all that the file says is void. */
int opt_cpu_affinity(struct config_builder *b, const char *value)
{
	if (b->affinity_from != b->origin)
		config_affinity_fini(b->c);
	b->affinity_from = b->origin;
	b->affinity_by = b->now;
	if (!strchr(value, '=') && b->c->affinity_all)
		return config_fail(b, "a CPU set for all vCPUs is given twice; give it once");
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

/* "threads:cores:dies:packages" */
static int cpus_topology(struct config_builder *b, const char *value)
{
	struct machine_topology *t = &b->c->topology;
	unsigned *const fields[] = { &t->threads, &t->cores, &t->dies, &t->packages };
	char *copy = strdup(value), *rest = NULL;
	if (!copy)
		return -ENOMEM;
	size_t i = 0;
	bool is_good = true;
	for (char *s = strtok_r(copy, ":", &rest); s && is_good; s = strtok_r(NULL, ":", &rest)) {
		uint64_t n = 0;
		is_good = i < ARRAY_SIZE(fields) && kv_number(s, 1, VM_MAX_CPUS, &n);
		if (is_good)
			*fields[i++] = (unsigned)n;
	}
	free(copy);
	if (is_good && i == ARRAY_SIZE(fields))
		return 0;
	return config_fail(b,
			   "topology=%s; give threads:cores:dies:packages, each the number in one "
			   "of the next, such as 2:4:1:1",
			   value);
}

static int cpus_key(struct config_builder *b, const struct kv_iter *it)
{
	uint64_t n;
	if (!it->has_val)
		return config_fail(
			b, "unknown part '%s'; known: N, affinity=, topology=, max=", it->key);
	if (!strcmp(it->key, "affinity"))
		return opt_cpu_affinity(b, it->val);
	if (!strcmp(it->key, "topology"))
		return cpus_topology(b, it->val);
	if (strcmp(it->key, "max"))
		return config_fail(
			b, "unknown part '%s='; known: N, affinity=, topology=, max=", it->key);
	if (!kv_number(it->val, 1, VM_MAX_CPUS, &n))
		return config_fail(b, "max=%s; give a number from 1 to %d", it->val, VM_MAX_CPUS);
	b->c->max_cpus = (unsigned)n;
	return 0;
}

/* What the file says of it is void, not just what is said anew. */
static void cpus_begin(struct config_builder *b)
{
	b->c->nr_cpus = 1;
	b->c->max_cpus = 0;
	b->c->topology = (struct machine_topology){ 0 };
	if (b->affinity_by == b->now)
		config_affinity_fini(b->c);
}

int opt_cpus(struct config_builder *b, const char *value)
{
	cpus_begin(b);
	struct kv_iter it = { .at = value };
	int err = 0;
	for (bool is_first = true; !err && kv_next(&it); is_first = false) {
		uint64_t n;
		if (it.is_bad)
			return opt_bad_part(b, &it, value);
		if (!is_first || it.has_val) {
			err = cpus_key(b, &it);
			continue;
		}
		if (!kv_number(it.val, 1, VM_MAX_CPUS, &n))
			return config_fail(b, "'%s' vCPUs; give a number from 1 to %d", it.val,
					   VM_MAX_CPUS);
		b->c->nr_cpus = (unsigned)n;
	}
	return err;
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

/* Device processes map guest RAM, so it is shared whatever the user says: but no can't be had. */
static int opt_mem_shared(struct config_builder *b, const struct kv_iter *it)
{
	bool on;
	int err = opt_bool(b, it, &on);
	if (err || on)
		return err;
	return config_fail(b, "shared=off: not supported: guest memory is always a shared memfd");
}

static int opt_mem_key(struct config_builder *b, const struct kv_iter *it)
{
	const char *k = it->key;
	if (!strcmp(k, "prefault"))
		return opt_bool(b, it, &b->c->place.prefault);
	if (!strcmp(k, "shared"))
		return opt_mem_shared(b, it);
	if (!strcmp(k, "hotplug"))
		return config_fail(b, "hotplug=: not supported: memory cannot be added to a "
				      "running VM yet; give all of it now");
	if (it->has_val && !strcmp(k, "size"))
		return opt_mem_size(b, it->val);
	if (it->has_val && !strcmp(k, "hugepages"))
		return opt_mem_pages(b, it->val);
	if (it->has_val && !strcmp(k, "numa"))
		return opt_mem_numa(b, it->val);
	return config_fail(b, "unknown part '%s'; known: SIZE, hugepages=, numa=, prefault, shared",
			   k);
}

int opt_mem(struct config_builder *b, const char *value)
{
	b->c->ram_bytes = CONFIG_DEFAULT_RAM; /* what the file says of it is void */
	b->c->place = (struct gmem_place)CONFIG_DEFAULT_PLACE;
	b->c->numa_auto = false;
	struct kv_iter it = { .at = value };
	int err = 0;
	for (bool is_first = true; !err && kv_next(&it); is_first = false) {
		if (it.is_bad)
			return opt_bad_part(b, &it, value);
		err = is_first && !it.has_val ? opt_mem_size(b, it.val) : opt_mem_key(b, &it);
	}
	return err;
}
