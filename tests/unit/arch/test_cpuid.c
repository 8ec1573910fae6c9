/* test_cpuid.c - what a vCPU says of itself, for invented processors. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>
#include "arch/x86_64/x86_priv.h"
#include "base/num.h"

#define ALL 0xffffffffu

/* What an invented KVM supports: every bit, but where a value has a meaning of its own. */
static void support(struct x86_cpuid *c, uint32_t f, uint32_t i, uint32_t eax, uint32_t ebx)
{
	bool is_indexed = f == 4 || f == 7 || f == 0xb || f == 0x8000001d;
	c->e[c->nent++] = (struct kvm_cpuid_entry2){
		.function = f,
		.index = i,
		.flags = is_indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
		.eax = eax,
		.ebx = ebx,
		.ecx = ALL,
		.edx = ALL,
	};
}

static struct x86_cpuid supported(uint32_t vendor_ebx, uint32_t max_basic)
{
	struct x86_cpuid c = { 0 };
	support(&c, 0, 0, max_basic, vendor_ebx);
	support(&c, 1, 0, ALL, ALL);
	support(&c, 4, 0, 1u | 1u << 5, ALL); /* L1 data */
	support(&c, 4, 3, 3u | 3u << 5, ALL); /* L3 */
	support(&c, 4, 4, 0, 0);              /* the end */
	support(&c, 5, 0, ALL, ALL);
	support(&c, 6, 0, 4, 0);
	support(&c, 7, 0, 0, ALL);
	support(&c, 0xb, 0, 7, 99); /* the host's own topology */
	support(&c, 0xb, 1, 7, 99);
	support(&c, 0x40000000, 0, 0x40000001, 0x4b4d564b);
	support(&c, 0x40000001, 0, ALL, 0);
	support(&c, 0x80000001, 0, 0, 0);
	support(&c, 0x80000008, 0, 48, 0);
	support(&c, 0x8000001d, 3, 3u | 3u << 5, ALL);
	support(&c, 0x8000001e, 0, ALL, ALL);
	support(&c, 0x8000001f, 0, ALL, ALL);
	return c;
}

#define INTEL 0x756e6547u
#define AMD   0x68747541u

static struct x86_cpuid built(uint32_t vendor, uint32_t max_basic, struct x86_cpu cpu)
{
	const struct x86_cpuid s = supported(vendor, max_basic);
	struct x86_cpuid c;
	assert_int_equal(x86_cpuid_build(&c, &s, &cpu), 0);
	return c;
}

static struct x86_cpu cpu_of(unsigned index, unsigned nr_cpus, bool no_smt)
{
	struct machine_topology t = no_smt ? (struct machine_topology){ 1, nr_cpus, 1, 1 }
					   : (struct machine_topology){ 0 };
	return (struct x86_cpu){ index, nr_cpus, t, HV_HARDWARE, true };
}

static struct kvm_cpuid_entry2 leaf(struct x86_cpuid *c, uint32_t f, uint32_t i)
{
	struct kvm_cpuid_entry2 *e = x86_cpuid_find(c, f, i);
	assert_non_null(e);
	return *e;
}

static const struct {
	unsigned nr_cpus;
	bool no_smt;
	unsigned threads, thread_bits, package_bits;
} shapes[] = {
	{ 1, false, 1, 0, 0 },   { 2, false, 2, 1, 1 },   { 2, true, 1, 0, 1 },
	{ 3, false, 1, 0, 2 },   { 4, false, 2, 1, 2 },   { 6, false, 2, 1, 3 },
	{ 16, true, 1, 0, 4 },   { 64, false, 2, 1, 6 },  { 7, true, 1, 0, 3 },
	{ 254, false, 2, 1, 8 }, { 255, false, 1, 0, 8 },
};

static void gives_every_vcpu_its_place(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
		unsigned n = shapes[i].nr_cpus;
		for (unsigned cpu = 0; cpu < n; cpu++) {
			struct x86_cpuid c = built(INTEL, 0x20, cpu_of(cpu, n, shapes[i].no_smt));
			struct kvm_cpuid_entry2 e = leaf(&c, 1, 0);
			assert_int_equal(e.ebx >> 24, cpu);
			assert_int_equal(e.edx >> 28 & 1, n > 1);
			for (unsigned f = 0xb; f <= 0x1f; f += 0x14) {
				e = leaf(&c, f, 0);
				assert_int_equal(e.eax, shapes[i].thread_bits);
				assert_int_equal(e.ebx, shapes[i].threads);
				assert_int_equal(e.ecx, 1 << 8);
				assert_int_equal(e.edx, cpu);
				e = leaf(&c, f, 1);
				assert_int_equal(e.eax, shapes[i].package_bits);
				assert_int_equal(e.ebx, n);
				assert_int_equal(e.ecx, 1 | 2 << 8);
				assert_int_equal(e.edx, cpu);
				e = leaf(&c, f, 2);
				assert_int_equal(e.ebx, 0);
				assert_int_equal(e.ecx, 2);
			}
		}
	}
}

static void shares_the_small_caches_by_core_and_the_last_by_package(void **state)
{
	(void)state;
	struct x86_cpuid c = built(INTEL, 0x20, cpu_of(5, 8, false));
	assert_int_equal(leaf(&c, 4, 0).eax, 1u | 1u << 5 | 1u << 14 | 3u << 26);
	assert_int_equal(leaf(&c, 4, 3).eax, 3u | 3u << 5 | 7u << 14 | 3u << 26);
	assert_int_equal(leaf(&c, 4, 4).eax, 0);
	c = built(AMD, 0x10, cpu_of(5, 8, true));
	assert_int_equal(leaf(&c, 0x8000001d, 3).eax, 3u | 3u << 5 | 7u << 14);
}

static void speaks_amd_to_amd(void **state)
{
	(void)state;
	struct x86_cpuid c = built(AMD, 0x10, cpu_of(5, 8, false));
	struct kvm_cpuid_entry2 e = leaf(&c, 0x8000001e, 0);
	assert_int_equal(e.eax, 5);
	assert_int_equal(e.ebx, 2 | 1 << 8);
	assert_int_equal(leaf(&c, 0x80000008, 0).ecx, 7 | 3 << 12);
	assert_int_equal(leaf(&c, 0x80000001, 0).ecx >> 1 & 1, 1);
	assert_null(x86_cpuid_find(&c, 0x1f, 0)); /* past the last leaf it claims */
	c = built(INTEL, 0x10, cpu_of(5, 8, false));
	assert_int_equal(leaf(&c, 0x8000001e, 0).eax, 0);
	assert_int_equal(leaf(&c, 0x80000001, 0).ecx >> 1 & 1, 0);
}

/* Three cores of two threads in each of two dies of each of two packages. */
static const struct machine_topology uneven = { 2, 3, 2, 2 };

static void every_level_has_bits_of_its_own(void **state)
{
	(void)state;
	static const uint32_t first[] = { 0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 16, 17 };
	for (unsigned i = 0; i < ARRAY_SIZE(first); i++)
		assert_int_equal(machine_cpu_id(&uneven, 24, i), first[i]);
	assert_int_equal(machine_cpu_id(&uneven, 24, 23), 29);
	const struct machine_topology flat = { 1, 1, 1, 7 }, none = { 0 };
	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(machine_cpu_id(&flat, 7, i), i);
	for (unsigned i = 0; i < 254; i++)
		assert_int_equal(machine_cpu_id(&none, 254, i), i);
}

static void tells_dies_and_packages(void **state)
{
	(void)state;
	struct x86_cpuid c = built(INTEL, 0xd,
				   (struct x86_cpu){ 21, 24, uneven, HV_HARDWARE, true });
	const uint32_t id = 16 + 8 + 3; /* thread 1 of core 1, second die, second package */
	assert_int_equal(leaf(&c, 0, 0).eax, 0x1f); /* raised: leaf 0xb knows no dies */
	assert_int_equal(leaf(&c, 1, 0).ebx >> 16, id << 8 | 16);
	static const uint32_t want[4][3] = {
		{ 1, 2, 1 << 8 },
		{ 3, 6, 1 | 2 << 8 },
		{ 4, 12, 2 | 5 << 8 },
		{ 0, 0, 3 },
	};
	for (unsigned i = 0; i < 4; i++) {
		struct kvm_cpuid_entry2 e = leaf(&c, 0x1f, i);
		assert_int_equal(e.eax, want[i][0]);
		assert_int_equal(e.ebx, want[i][1]);
		assert_int_equal(e.ecx, want[i][2]);
		assert_int_equal(e.edx, id);
	}
	assert_int_equal(leaf(&c, 0xb, 1).eax, 4); /* the package, dies unmentioned */
	assert_int_equal(leaf(&c, 0xb, 1).ebx, 12);
	assert_int_equal(leaf(&c, 0xb, 2).ecx, 2);
	/* cores of a package in the leaf, the last cache by die */
	assert_int_equal(leaf(&c, 4, 0).eax, 1u | 1u << 5 | 1u << 14 | 7u << 26);
	assert_int_equal(leaf(&c, 4, 3).eax, 3u | 3u << 5 | 7u << 14 | 7u << 26);
	c = built(AMD, 0x10, (struct x86_cpu){ 21, 24, uneven, HV_HARDWARE, true });
	struct kvm_cpuid_entry2 e = leaf(&c, 0x8000001e, 0);
	assert_int_equal(e.eax, id);
	assert_int_equal(e.ebx, (8 + 3) >> 1 | 1 << 8); /* core within the package */
	assert_int_equal(e.ecx, id >> 3 | 1 << 8);      /* node, two in a package */
	assert_int_equal(leaf(&c, 0x80000008, 0).ecx, 11 | 4 << 12);
	assert_int_equal(leaf(&c, 0x8000001d, 3).eax, 3u | 3u << 5 | 7u << 14);
}

static void one_cpu_in_a_package_has_no_siblings(void **state)
{
	(void)state;
	const struct machine_topology t = { 1, 1, 1, 4 };
	struct x86_cpuid c = built(AMD, 0x10, (struct x86_cpu){ 3, 4, t, HV_HARDWARE, true });
	assert_int_equal(leaf(&c, 1, 0).edx >> 28 & 1, 0);
	assert_int_equal(leaf(&c, 1, 0).ebx >> 24, 3);
	assert_int_equal(leaf(&c, 0xb, 1).eax, 0);
	assert_int_equal(leaf(&c, 0xb, 1).ebx, 1);
	assert_int_equal(leaf(&c, 0x80000001, 0).ecx >> 1 & 1, 0);
}

static void claims_the_topology_leaf_on_old_processors(void **state)
{
	(void)state;
	struct x86_cpuid c = built(INTEL, 7, cpu_of(0, 2, false));
	assert_int_equal(leaf(&c, 0, 0).eax, 0xb);
	assert_int_equal(leaf(&c, 0xb, 1).ebx, 2);
}

static void hides_what_a_guest_cannot_use(void **state)
{
	(void)state;
	struct x86_cpuid c = built(INTEL, 0x20, cpu_of(0, 1, false));
	assert_int_equal(leaf(&c, 1, 0).ecx >> 3 & 1, 0);  /* MONITOR */
	assert_int_equal(leaf(&c, 1, 0).ecx >> 31 & 1, 1); /* a hypervisor is here */
	assert_int_equal(leaf(&c, 5, 0).eax, 0);
	assert_int_equal(leaf(&c, 6, 0).ecx >> 3 & 1, 0);           /* EPB */
	assert_int_equal(leaf(&c, 7, 0).ebx >> 2 & 1, 0);           /* SGX */
	assert_int_equal(leaf(&c, 0x8000001f, 0).eax, 0);           /* SEV */
	assert_int_equal(leaf(&c, 0x80000001, 0).ecx >> 29 & 1, 0); /* MONITORX */
	assert_int_equal(leaf(&c, 0x40000000, 0).ebx, 0x4b4d564b);
}

static void hides_hypercalls_where_they_do_not_arrive(void **state)
{
	(void)state;
	const uint32_t by_call = 1u << 7 | 1u << 11 | 1u << 13 | 1u << 16 | 1u << 17;
	const struct x86_cpu software = { .nr_cpus = 1, .host = HV_SOFTWARE };
	struct x86_cpuid c = built(INTEL, 0x20, software);
	assert_int_equal(leaf(&c, 0x40000001, 0).eax, ~by_call);
	c = built(INTEL, 0x20, cpu_of(0, 1, false));
	assert_int_equal(leaf(&c, 0x40000001, 0).eax, ALL);
}

/* KVM_GET_SUPPORTED_CPUID does not tell of this one. */
static void has_the_deadline_timer_that_comes_with_the_chips(void **state)
{
	(void)state;
	struct x86_cpu cpu = cpu_of(0, 1, false);
	struct x86_cpuid s = supported(INTEL, 0x20), c;
	x86_cpuid_find(&s, 1, 0)->ecx = 0;
	for (unsigned has = 0; has < 2; has++) {
		cpu.has_tsc_deadline = has;
		assert_int_equal(x86_cpuid_build(&c, &s, &cpu), 0);
		assert_int_equal(leaf(&c, 1, 0).ecx >> 24 & 1, has);
	}
}

static void refuses_more_leaves_than_kvm_takes(void **state)
{
	(void)state;
	struct x86_cpuid s = supported(INTEL, 0x20), c;
	while (s.nent < X86_CPUID_MAX)
		support(&s, 0x80000002, 0, 0, 0);
	const struct x86_cpu cpu = cpu_of(0, 1, false);
	assert_int_equal(x86_cpuid_build(&c, &s, &cpu), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_every_vcpu_its_place),
		cmocka_unit_test(shares_the_small_caches_by_core_and_the_last_by_package),
		cmocka_unit_test(speaks_amd_to_amd),
		cmocka_unit_test(every_level_has_bits_of_its_own),
		cmocka_unit_test(tells_dies_and_packages),
		cmocka_unit_test(one_cpu_in_a_package_has_no_siblings),
		cmocka_unit_test(claims_the_topology_leaf_on_old_processors),
		cmocka_unit_test(hides_what_a_guest_cannot_use),
		cmocka_unit_test(hides_hypercalls_where_they_do_not_arrive),
		cmocka_unit_test(has_the_deadline_timer_that_comes_with_the_chips),
		cmocka_unit_test(refuses_more_leaves_than_kvm_takes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
