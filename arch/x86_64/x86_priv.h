/*
 * x86_priv.h - CPUID, MSRs and registers of x86 vCPUs.
 *
 * Layer:   arch
 * Threads: control thread.
 * Errors:  negative errno.
 * Spec:    Intel SDM; AMD APM 3; Linux Documentation/virt/kvm/x86/cpuid.rst.
 */
#ifndef X86_64_X86_PRIV_H
#define X86_64_X86_PRIV_H
#include <stdbool.h>
#include <stdint.h>
#include "arch/kvm/kvm_priv.h"
#include "arch/machine.h"

/* KVM takes no more. */
#define X86_CPUID_MAX 256
struct x86_cpuid {
	uint32_t nent, padding;
	struct kvm_cpuid_entry2 e[X86_CPUID_MAX]; /* nent of them */
};
static_assert(offsetof(struct x86_cpuid, e) == offsetof(struct kvm_cpuid2, entries),
	      "a kvm_cpuid2");

struct hv_board {
	struct x86_cpuid supported; /* what KVM can give a guest here */
};

/* The CPUID leaves that KVM at @kvm_fd supports. */
MUST_CHECK int x86_cpuid_supported(struct x86_cpuid *out, int kvm_fd);
/* The entry of @function and @index, or NULL. */
struct kvm_cpuid_entry2 *x86_cpuid_find(struct x86_cpuid *c, uint32_t function, uint32_t index);

/* What the leaves of one vCPU depend on, beside what is supported. */
struct x86_cpu {
	unsigned index, nr_cpus;
	struct machine_topology topology;
	enum hv_kind host;
	bool has_tsc_deadline; /* the local APIC's timer can be set in units of the TSC */
};
/* -E2BIG: more leaves than KVM takes. */
MUST_CHECK int x86_cpuid_build(struct x86_cpuid *out, const struct x86_cpuid *supported,
			       const struct x86_cpu *cpu);

/* Write @n MSRs. One that KVM refuses is passed over: none we set is essential to a guest. */
MUST_CHECK int x86_set_msrs(struct vcpu *c, const struct kvm_msr_entry *e, unsigned n);
/* The MSRs firmware would have set: memory types, fast strings. */
MUST_CHECK int x86_boot_msrs(struct vcpu *c, unsigned phys_bits);

/* Registers of the vCPU that starts the kernel of @b; page tables and GDT go to guest memory. */
MUST_CHECK int x86_boot_regs(struct vcpu *c, const struct machine_boot *b);

#endif
