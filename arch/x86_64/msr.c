/* msr.c - model-specific registers a vCPU starts with, as firmware would leave them. */
#include "arch/x86_64/layout.h"
#include "arch/x86_64/x86_priv.h"
#include "base/num.h"

#define MSR_MISC_ENABLE         0x1a0u
#define MSR_MTRR_PHYS_BASE0     0x200u
#define MSR_MTRR_PHYS_MASK0     0x201u
#define MSR_MTRR_DEF_TYPE       0x2ffu
#define MISC_ENABLE_FAST_STRING 0x1ull
#define MTRR_UNCACHEABLE        0x0ull
#define MTRR_WRITE_BACK         0x6ull
#define MTRR_ENABLE             0x800ull /* in DEF_TYPE: MTRRs work; in a mask: the pair is valid */

int x86_set_msrs(struct vcpu *c, const struct kvm_msr_entry *e, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct {
			uint32_t nmsrs, pad;
			struct kvm_msr_entry e;
		} m = { .nmsrs = 1, .e = e[i] };
		static_assert(offsetof(typeof(m), e) == offsetof(struct kvm_msrs, entries), "");
		int done = kvm_ioctl(c->fd, KVM_SET_MSRS, &m);
		if (done < 0)
			return done; /* 0: refused; 1: written */
	}
	return 0;
}

int x86_boot_msrs(struct vcpu *c, unsigned phys_bits)
{
	/* Write-back but between low RAM and 4 GiB: a power of two, so one pair. SDM 3A §11.11. */
	const uint64_t hole_len = LAYOUT_HIGH_RAM_START - LAYOUT_LOW_RAM_END;
	const uint64_t mask = ((1ull << phys_bits) - 1) & ~(hole_len - 1);
	const struct kvm_msr_entry e[] = {
		{ .index = MSR_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING },
		{ .index = MSR_MTRR_PHYS_BASE0, .data = LAYOUT_LOW_RAM_END | MTRR_UNCACHEABLE },
		{ .index = MSR_MTRR_PHYS_MASK0, .data = mask | MTRR_ENABLE },
		{ .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLE | MTRR_WRITE_BACK },
	};
	return x86_set_msrs(c, e, ARRAY_SIZE(e));
}
