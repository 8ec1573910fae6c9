/*
 * topology.h - where a CPU sits: thread, core, die, package, and the APIC ID that says so.
 *
 * Layer:   arch
 * Threads: no state; safe anywhere.
 * Errors:  none.
 * Spec:    Intel SDM 3A §9.9; AMD APM 3, Fn8000_001E.
 *
 * Each level has bits of its own in the APIC ID, so IDs have gaps where a count is no power of two.
 */
#ifndef X86_64_TOPOLOGY_H
#define X86_64_TOPOLOGY_H
#include <stdint.h>
#include "arch/machine.h"

struct x86_topology {
	uint32_t nr_cpus;
	uint32_t threads, cores, dies;                 /* in the next larger thing */
	uint32_t core_shift, die_shift, package_shift; /* lowest bit of each in the APIC ID */
};

void x86_topology_make(struct x86_topology *out, const struct machine_topology *t,
		       unsigned nr_cpus);
uint32_t x86_apic_id(const struct x86_topology *t, unsigned index);

static inline uint32_t x86_package_cpus(const struct x86_topology *t)
{
	return t->threads * t->cores * t->dies;
}

#endif
