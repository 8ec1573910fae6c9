/* topology.c - see topology.h. */
#include "topology.h"

/* Bits that number @n things. */
static uint32_t topology_bits(uint32_t n)
{
	return n <= 1 ? 0 : 32u - (uint32_t)__builtin_clz(n - 1);
}

void x86_topology_make(struct x86_topology *out, const struct machine_topology *t, unsigned nr_cpus)
{
	*out = (struct x86_topology){ .nr_cpus = nr_cpus };
	if (t->threads) {
		out->threads = t->threads;
		out->cores = t->cores;
		out->dies = t->dies;
	} else {
		out->threads = nr_cpus % 2 ? 1 : 2;
		out->cores = nr_cpus / out->threads;
		out->dies = 1;
	}
	out->core_shift = topology_bits(out->threads);
	out->die_shift = out->core_shift + topology_bits(out->cores);
	out->package_shift = out->die_shift + topology_bits(out->dies);
}

uint32_t x86_apic_id(const struct x86_topology *t, unsigned index)
{
	uint32_t thread = index % t->threads, core = index / t->threads;
	uint32_t die = core / t->cores, package = die / t->dies;
	return thread | core % t->cores << t->core_shift | die % t->dies << t->die_shift |
	       package << t->package_shift;
}

uint32_t machine_cpu_id(const struct machine_topology *t, unsigned nr_cpus, unsigned index)
{
	struct x86_topology x;
	x86_topology_make(&x, t, nr_cpus);
	return x86_apic_id(&x, index);
}
