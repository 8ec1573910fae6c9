/* test_mptable.c - the MultiProcessor tables, walked as an operating system does. */
#include <string.h>
#include "base/le.h"
#include "kernels.h"

enum { CPU, BUS, IOAPIC, IO_INT, LOCAL_INT, NR_TYPES };

struct mp_view {
	const uint8_t *table;
	size_t len;
	unsigned count[NR_TYPES];
	unsigned pci[32][4]; /* pin of slot and INTx pin, 0: none */
	unsigned isa[16];    /* pin of ISA interrupt, 255: none */
};

static void load(struct test_board *t, unsigned nr_cpus)
{
	test_board_make_elf(t, 32 * MIB);
	t->boot.nr_cpus = nr_cpus;
	test_board_load(t);
}

static void take_interrupt(struct mp_view *v, const uint8_t *e)
{
	assert_int_equal(e[6], 0); /* the only IOAPIC */
	assert_true(e[7] < 24);
	if (e[4] == 0)
		v->pci[e[5] >> 2][e[5] & 3] = e[7];
	else
		v->isa[e[5]] = e[7];
}

static void walk(struct mp_view *v, const struct test_board *t)
{
	const uint8_t *f = test_at(t, LAYOUT_EBDA, 16);
	assert_memory_equal(f, "_MP_", 4);
	assert_int_equal(test_sum(f, 16), 0);
	assert_int_equal(f[8], 1);
	assert_int_equal(f[9], 4);
	memset(v, 0, sizeof(*v));
	memset(v->isa, 0xff, sizeof(v->isa));
	uint64_t at = le_load(f + 4, 4);
	v->len = (size_t)le_load(test_at(t, at + 4, 2), 2);
	v->table = test_at(t, at, v->len);
	assert_memory_equal(v->table, "PCMP", 4);
	assert_int_equal(test_sum(v->table, v->len), 0);
	unsigned entries = 0, last = CPU;
	for (size_t i = 44; i < v->len; i += v->table[i] == CPU ? 20 : 8, entries++) {
		unsigned type = v->table[i];
		assert_true(type < NR_TYPES && type >= last); /* sorted: MP 1.4 §4.3 */
		last = type;
		if (type == CPU)
			assert_int_equal(v->table[i + 1], v->count[CPU]);
		if (type == IO_INT)
			take_interrupt(v, v->table + i);
		v->count[type]++;
	}
	assert_int_equal(entries, le_load(v->table + 34, 2));
}

static void lists_cpus_up_to_255(void **state)
{
	(void)state;
	static const unsigned cpus[][2] = {
		{ 1, 1 }, { 4, 4 }, { 255, 255 }, { 256, 255 }, { 1024, 255 }
	};
	for (size_t i = 0; i < ARRAY_SIZE(cpus); i++) {
		struct test_board t;
		struct mp_view v;
		load(&t, cpus[i][0]);
		walk(&v, &t);
		assert_int_equal(v.count[CPU], cpus[i][1]);
		assert_int_equal(v.count[BUS], 2);
		assert_int_equal(v.count[IOAPIC], 1);
		assert_int_equal(v.count[LOCAL_INT], 2);
		test_board_drop(&t);
	}
}

static void names_cpus_by_their_apic_id(void **state)
{
	(void)state;
	struct test_board t;
	test_board_make_elf(&t, 32 * MIB);
	t.boot.nr_cpus = 6;
	t.boot.topology = (struct machine_topology){ 1, 3, 1, 2 };
	test_board_load(&t);
	const uint8_t *f = test_at(&t, LAYOUT_EBDA, 16);
	static const uint8_t want[] = { 0, 1, 2, 4, 5, 6 };
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		const uint8_t *cpu = test_at(&t, le_load(f + 4, 4) + 44 + 20 * i, 20);
		assert_int_equal(cpu[0], CPU);
		assert_int_equal(cpu[1], want[i]);
	}
	test_board_drop(&t);
}

static void routes_agree_with_the_board(void **state)
{
	(void)state;
	struct test_board t;
	struct mp_view v;
	load(&t, 1);
	walk(&v, &t);
	for (unsigned slot = 0; slot < 32; slot++)
		for (unsigned pin = 0; pin < 4; pin++)
			assert_int_equal(v.pci[slot][pin], 16 + (slot + pin) % 8);
	assert_int_equal(v.isa[0], 2);
	assert_int_equal(v.isa[2], UINT32_MAX);
	for (unsigned i = 3; i < 16; i++)
		assert_int_equal(v.isa[i], i);
	test_board_drop(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_cpus_up_to_255),
		cmocka_unit_test(names_cpus_by_their_apic_id),
		cmocka_unit_test(routes_agree_with_the_board),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
