/*
 * cpuid.c - what a vCPU says of itself: what KVM supports, less what a guest cannot use, plus its
 * place in the machine: thread, core, die and package (topology.h).
 */
#include <errno.h>
#include <string.h>
#include "arch/x86_64/x86_priv.h"
#include "base/num.h"
#include "topology.h"

/* Values that several leaves need. */
struct cpuid_shape {
	uint32_t apic_id;
	struct x86_topology at;
	enum hv_kind host;
	bool is_amd, has_tsc_deadline;
};

#define CPUID_1_ECX_MONITOR       (1u << 3)
#define CPUID_1_ECX_TSC_DEADLINE  (1u << 24)
#define CPUID_1_ECX_HYPERVISOR    (1u << 31)
#define CPUID_1_EDX_HTT           (1u << 28)
#define CPUID_6_ECX_EPB           (1u << 3)
#define CPUID_7_EBX_SGX           (1u << 2)
#define CPUID_7_ECX_SGX_LC        (1u << 30)
#define CPUID_EXT1_ECX_CMP_LEGACY (1u << 1)
#define CPUID_EXT1_ECX_TOPOEXT    (1u << 22)
#define CPUID_EXT1_ECX_MWAITX     (1u << 29)
/* cpuid.rst: features that make a guest call the hypervisor by VMCALL. */
#define CPUID_KVM_PV_UNHALT      (1u << 7)
#define CPUID_KVM_PV_SEND_IPI    (1u << 11)
#define CPUID_KVM_PV_SCHED_YIELD (1u << 13)
#define CPUID_KVM_MAP_GPA_RANGE  (1u << 16)
#define CPUID_KVM_MIGRATION      (1u << 17)
#define CPUID_KVM_BY_CALL                                                                          \
	(CPUID_KVM_PV_UNHALT | CPUID_KVM_PV_SEND_IPI | CPUID_KVM_PV_SCHED_YIELD |                  \
	 CPUID_KVM_MAP_GPA_RANGE | CPUID_KVM_MIGRATION)

#define CPUID_LEAF_TOPOLOGY  0xbu
#define CPUID_LEAF_TOPOLOGY2 0x1fu

int x86_cpuid_supported(struct x86_cpuid *out, int kvm_fd)
{
	memset(out, 0, sizeof(*out));
	out->nent = X86_CPUID_MAX;
	return kvm_ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, out);
}

struct kvm_cpuid_entry2 *x86_cpuid_find(struct x86_cpuid *c, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->e[i];
		bool has_index = e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		if (e->function == function && (!has_index || e->index == index))
			return e;
	}
	return NULL;
}

/* --- one function a leaf; each edits what KVM supports --- */

static void cpuid_leaf_0(struct kvm_cpuid_entry2 *e, const struct cpuid_shape *s)
{
	/* every vCPU has the topology leaf; only the second one knows of dies */
	uint32_t least = s->at.dies > 1 ? CPUID_LEAF_TOPOLOGY2 : CPUID_LEAF_TOPOLOGY;
	if (e->eax < least)
		e->eax = least;
}

static void cpuid_leaf_1(struct kvm_cpuid_entry2 *e, const struct cpuid_shape *s)
{
	uint32_t ids = min_u32(1u << s->at.package_shift, 0xff);
	e->ebx = (e->ebx & 0xffff) | ids << 16 | s->apic_id << 24;
	e->ecx |= CPUID_1_ECX_HYPERVISOR;
	if (s->has_tsc_deadline) /* api.rst: KVM does not list it, for it hangs on the chips */
		e->ecx |= CPUID_1_ECX_TSC_DEADLINE;
	e->ecx &= ~CPUID_1_ECX_MONITOR; /* it would wait for what never comes, or exit each time */
	e->edx &= ~CPUID_1_EDX_HTT;
	if (x86_package_cpus(&s->at) > 1)
		e->edx |= CPUID_1_EDX_HTT;
}

/* APIC IDs that share a cache of @level, less one: the last level is the die's. */
static uint32_t cpuid_cache_sharing(uint32_t level, const struct cpuid_shape *s)
{
	uint32_t bits = level >= 3 ? s->at.die_shift : s->at.core_shift;
	return min_u32((1u << bits) - 1, 0xfff);
}

static void cpuid_leaf_4(struct kvm_cpuid_entry2 *e, const struct cpuid_shape *s)
{
	if ((e->eax & 0x1f) == 0)
		return; /* no cache here */
	uint32_t cores = min_u32((1u << (s->at.package_shift - s->at.core_shift)) - 1, 0x3f);
	e->eax = (e->eax & 0x3fff) | cpuid_cache_sharing(e->eax >> 5 & 7, s) << 14 | cores << 26;
}

static void cpuid_leaf_6(struct kvm_cpuid_entry2 *e, const struct cpuid_shape *s)
{
	(void)s;
	e->ecx &= ~CPUID_6_ECX_EPB; /* the host's business */
}

static void cpuid_leaf_7(struct kvm_cpuid_entry2 *e, const struct cpuid_shape *s)
{
	(void)s;
	if (e->index == 0) { /* there is no enclave memory */
		e->ebx &= ~CPUID_7_EBX_SGX;
		e->ecx &= ~CPUID_7_ECX_SGX_LC;
	}
}

static void cpuid_leaf_kvm_features(struct kvm_cpuid_entry2 *e, const struct cpuid_shape *s)
{
	if (s->host == HV_SOFTWARE) /* where VMCALL does not reach KVM */
		e->eax &= ~CPUID_KVM_BY_CALL;
}

static void cpuid_leaf_ext_1(struct kvm_cpuid_entry2 *e, const struct cpuid_shape *s)
{
	e->ecx &= ~(CPUID_EXT1_ECX_MWAITX | CPUID_EXT1_ECX_CMP_LEGACY);
	if (s->is_amd && x86_package_cpus(&s->at) > 1)
		e->ecx |= CPUID_EXT1_ECX_CMP_LEGACY;
}

static void cpuid_leaf_ext_8(struct kvm_cpuid_entry2 *e, const struct cpuid_shape *s)
{
	if (s->is_amd)
		e->ecx = min_u32(x86_package_cpus(&s->at) - 1, 0xff) | s->at.package_shift << 12;
}

static void cpuid_leaf_ext_1d(struct kvm_cpuid_entry2 *e, const struct cpuid_shape *s)
{
	if (e->eax & 0x1f)
		e->eax = (e->eax & 0x3fff) | cpuid_cache_sharing(e->eax >> 5 & 7, s) << 14;
}

static void cpuid_leaf_ext_1e(struct kvm_cpuid_entry2 *e, const struct cpuid_shape *s)
{
	e->eax = e->ebx = e->ecx = e->edx = 0;
	if (s->is_amd) {
		e->eax = s->apic_id;
		uint32_t in_package = s->apic_id & ((1u << s->at.package_shift) - 1);
		e->ebx = (in_package >> s->at.core_shift & 0xff) | (s->at.threads - 1) << 8;
		e->ecx = (s->apic_id >> s->at.die_shift & 0xff) | min_u32(s->at.dies - 1, 7) << 8;
	}
}

/* MONITOR's sizes; SGX; memory encryption: nothing a guest of ours has. */
static void cpuid_leaf_none(struct kvm_cpuid_entry2 *e, const struct cpuid_shape *s)
{
	(void)s;
	e->eax = e->ebx = e->ecx = e->edx = 0;
}

static const struct {
	uint32_t function;
	void (*edit)(struct kvm_cpuid_entry2 *e, const struct cpuid_shape *s);
} cpuid_edits[] = {
	{ 0x00000000, cpuid_leaf_0 },      { 0x00000001, cpuid_leaf_1 },
	{ 0x00000004, cpuid_leaf_4 },      { 0x00000005, cpuid_leaf_none },
	{ 0x00000006, cpuid_leaf_6 },      { 0x00000007, cpuid_leaf_7 },
	{ 0x00000012, cpuid_leaf_none },   { 0x40000001, cpuid_leaf_kvm_features },
	{ 0x80000001, cpuid_leaf_ext_1 },  { 0x80000008, cpuid_leaf_ext_8 },
	{ 0x8000001d, cpuid_leaf_ext_1d }, { 0x8000001e, cpuid_leaf_ext_1e },
	{ 0x8000001f, cpuid_leaf_none },
};

static void cpuid_edit(struct kvm_cpuid_entry2 *e, const struct cpuid_shape *s)
{
	for (unsigned i = 0; i < ARRAY_SIZE(cpuid_edits); i++)
		if (cpuid_edits[i].function == e->function)
			cpuid_edits[i].edit(e, s);
}

/*
 * Append the levels of topology leaf @function: threads, cores, in the second leaf dies, end. A
 * level gives the bits up to the next one, and the CPUs in one of those. SDM 2A, CPUID, leaves 0BH,
 * 1FH.
 */
static int cpuid_add_topology(struct x86_cpuid *out, uint32_t function, const struct cpuid_shape *s)
{
	enum { SMT = 1, CORE = 2, DIE = 5 };
	const struct x86_topology *t = &s->at;
	bool has_dies = function == CPUID_LEAF_TOPOLOGY2 && t->dies > 1;
	const struct {
		uint32_t shift, nr, type;
	} levels[] = {
		{ t->core_shift, t->threads, SMT },
		{ has_dies ? t->die_shift : t->package_shift,
		  has_dies ? t->threads * t->cores : x86_package_cpus(t), CORE },
		{ has_dies ? t->package_shift : 0, has_dies ? x86_package_cpus(t) : 0,
		  has_dies ? DIE : 0 },
		{ 0, 0, 0 },
	};
	for (uint32_t i = 0; i < (has_dies ? 4u : 3u); i++) {
		if (out->nent == X86_CPUID_MAX)
			return -E2BIG;
		out->e[out->nent++] = (struct kvm_cpuid_entry2){
			.function = function,
			.index = i,
			.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.eax = levels[i].shift,
			.ebx = levels[i].nr,
			.ecx = i | levels[i].type << 8,
			.edx = s->apic_id,
		};
	}
	return 0;
}

static bool cpuid_is_amd(const struct x86_cpuid *c)
{
	for (uint32_t i = 0; i < c->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &c->e[i];
		if (e->function == 0) /* AuthenticAMD, HygonGenuine: by the first four letters */
			return e->ebx == 0x68747541 || e->ebx == 0x6f677948;
	}
	return false;
}

int x86_cpuid_build(struct x86_cpuid *out, const struct x86_cpuid *supported,
		    const struct x86_cpu *cpu)
{
	struct cpuid_shape s = {
		.host = cpu->host,
		.is_amd = cpuid_is_amd(supported),
		.has_tsc_deadline = cpu->has_tsc_deadline,
	};
	x86_topology_make(&s.at, &cpu->topology, cpu->nr_cpus);
	s.apic_id = x86_apic_id(&s.at, cpu->index);
	memset(out, 0, sizeof(*out));
	uint32_t max_basic = 0;
	for (uint32_t i = 0; i < supported->nent; i++) {
		struct kvm_cpuid_entry2 e = supported->e[i];
		if (e.function == CPUID_LEAF_TOPOLOGY || e.function == CPUID_LEAF_TOPOLOGY2)
			continue; /* the host's own; ours come below */
		cpuid_edit(&e, &s);
		if (e.function == 0)
			max_basic = e.eax;
		out->e[out->nent++] = e;
	}
	int err = cpuid_add_topology(out, CPUID_LEAF_TOPOLOGY, &s);
	if (!err && max_basic >= CPUID_LEAF_TOPOLOGY2)
		err = cpuid_add_topology(out, CPUID_LEAF_TOPOLOGY2, &s);
	return err;
}
