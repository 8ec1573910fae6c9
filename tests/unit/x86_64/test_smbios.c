/* test_smbios.c - SMBIOS 3: the entry point, and structures that add up. */
#include <string.h>
#include "base/le.h"
#include "kernels.h"

struct smbios_view {
	const uint8_t *of[128]; /* first structure of each type */
	unsigned count[128];
};

/* Bytes of the structure at @s, strings included; @left is what remains. */
static size_t structure_bytes(const uint8_t *s, size_t left)
{
	assert_true(left >= 6 && s[1] >= 4 && s[1] + 2u <= left);
	for (size_t i = s[1]; i + 1 < left; i++)
		if (s[i] == 0 && s[i + 1] == 0)
			return i + 2;
	fail_msg("type %u has no end", s[0]);
	return 0;
}

static void walk(struct smbios_view *v, const struct test_board *t)
{
	const uint8_t *e = test_at(t, LAYOUT_SMBIOS, 24);
	memset(v, 0, sizeof(*v));
	assert_memory_equal(e, "_SM3_", 5);
	assert_int_equal(e[6], 24);
	assert_int_equal(test_sum(e, 24), 0);
	size_t len = (size_t)le_load(e + 12, 4);
	const uint8_t *s = test_at(t, le_load(e + 16, 8), len);
	while (len) {
		size_t bytes = structure_bytes(s, len);
		if (!v->count[s[0]]++)
			v->of[s[0]] = s;
		len -= bytes;
		assert_true(s[0] != 127 || len == 0); /* the end is the end */
		s += bytes;
	}
}

static void load(struct test_board *t, struct smbios_view *v, uint64_t ram_bytes, unsigned cpus)
{
	test_board_make_elf(t, ram_bytes);
	t->boot.nr_cpus = cpus;
	test_board_load(t);
	walk(v, t);
}

static void has_every_required_structure(void **state)
{
	(void)state;
	static const uint8_t types[] = { 0, 1, 3, 4, 16, 17, 19, 32, 127 };
	struct test_board t;
	struct smbios_view v;
	load(&t, &v, 64 * MIB, 2);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		assert_int_equal(v.count[types[i]], 1);
	assert_string_equal((const char *)v.of[1] + v.of[1][1], "VMM");
	assert_int_equal(v.of[0][0x13], 1u << 4); /* a virtual machine */
	test_board_drop(&t);
}

static void tells_memory_of_any_size(void **state)
{
	(void)state;
	static const struct {
		uint64_t ram;
		unsigned mapped;
		uint16_t size;
		uint32_t extended;
	} rows[] = {
		{ 64 * MIB, 1, 64, 0 },
		{ 4 * GIB, 2, 4096, 0 },
		{ 32 * GIB, 2, 0x7fff, 32768 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct test_board t;
		struct smbios_view v;
		load(&t, &v, rows[i].ram, 1);
		assert_int_equal(v.count[19], rows[i].mapped);
		assert_int_equal(le_load(v.of[17] + 0x0c, 2), rows[i].size);
		assert_int_equal(le_load(v.of[17] + 0x1c, 4), rows[i].extended);
		assert_int_equal(le_load(v.of[16] + 0x0f, 8), rows[i].ram);
		assert_int_equal(le_load(v.of[19] + 0x17, 8), min_u64(rows[i].ram, 3 * GIB) - 1);
		test_board_drop(&t);
	}
}

static void tells_cores_and_threads(void **state)
{
	(void)state;
	static const struct {
		unsigned cpus;
		uint8_t cores8, threads8;
		uint16_t cores, threads;
	} rows[] = { { 1, 1, 1, 1, 1 },
		     { 4, 2, 4, 2, 4 },
		     { 3, 3, 3, 3, 3 },
		     { 1024, 255, 255, 512, 1024 } };
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct test_board t;
		struct smbios_view v;
		load(&t, &v, 64 * MIB, rows[i].cpus);
		assert_int_equal(v.of[4][0x23], rows[i].cores8);
		assert_int_equal(v.of[4][0x25], rows[i].threads8);
		assert_int_equal(le_load(v.of[4] + 0x2a, 2), rows[i].cores);
		assert_int_equal(le_load(v.of[4] + 0x2e, 2), rows[i].threads);
		test_board_drop(&t);
	}
}

static void shows_every_socket(void **state)
{
	(void)state;
	struct test_board t;
	struct smbios_view v;
	test_board_make_elf(&t, 64 * MIB);
	t.boot.nr_cpus = 255;
	t.boot.topology = (struct machine_topology){ 1, 1, 1, 255 };
	test_board_load(&t);
	walk(&v, &t);
	assert_int_equal(v.count[4], 255);
	assert_int_equal(v.of[4][0x23], 1);
	assert_int_equal(v.count[127], 1);
	test_board_drop(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_every_required_structure),
		cmocka_unit_test(tells_memory_of_any_size),
		cmocka_unit_test(tells_cores_and_threads),
		cmocka_unit_test(shows_every_socket),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
