/* test_bus.c - bus.h: who answers an access, and who does not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/num.h"
#include "bus/bus.h"
#include "sync/rcu.h"

/* A device that remembers its last access and answers with its tag. */
struct probe {
	uint8_t tag;
	unsigned reads, writes, len;
	uint64_t offset, data;
};

static void probe_read(void *ctx, uint64_t offset, void *data, unsigned len)
{
	struct probe *p = ctx;
	p->reads++;
	p->offset = offset;
	p->len = len;
	memset(data, p->tag, len);
}

static void probe_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	struct probe *p = ctx;
	p->writes++;
	p->offset = offset;
	p->len = len;
	p->data = 0;
	memcpy(&p->data, data, len);
}

static const struct bus_ops probe_ops = { .name = "probe",
					  .read = probe_read,
					  .write = probe_write };

struct fixture {
	struct bus *pio, *mmio;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	assert_int_equal(bus_create(&f->pio, BUS_PIO), 0);
	assert_int_equal(bus_create(&f->mmio, BUS_MMIO), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	bus_destroy(f->pio);
	bus_destroy(f->mmio);
	free(f);
	rcu_drain();
	return 0;
}

static void hands_the_handler_offset_length_and_data(void **state)
{
	struct fixture *f = *state;
	struct probe p = { .tag = 0x5a };
	uint32_t v = 0;
	assert_int_equal(bus_add(f->mmio, 0xc0000000, 0x1000, &probe_ops, &p), 0);
	assert_true(bus_read(f->mmio, 0xc0000010, &v, 4));
	assert_int_equal(v, 0x5a5a5a5a);
	assert_int_equal(p.offset, 0x10);
	assert_int_equal(p.len, 4);
	v = 0x12345678;
	assert_true(bus_write(f->mmio, 0xc0000ffe, &v, 2));
	assert_int_equal(p.offset, 0xffe);
	assert_int_equal(p.data, 0x5678);
}

static void reads_ones_and_drops_writes_where_nothing_answers(void **state)
{
	struct fixture *f = *state;
	static const uint64_t addrs[] = { 0, 0xffff, 0x10000, 0xc0000000, 1ull << 32, UINT64_MAX };
	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++) {
		uint64_t v = 0;
		assert_false(bus_read(f->mmio, addrs[i], &v, 8));
		assert_true(v == UINT64_MAX);
		assert_false(bus_write(f->mmio, addrs[i], &v, 8));
		v = 0;
		assert_false(bus_read(f->pio, addrs[i], &v, 1));
		assert_int_equal(v, 0xff);
	}
}

/* Accesses around a range [base, base+len). */
static const struct {
	const char *what;
	bool is_pio;
	uint64_t base, len;
} places[] = {
	{ "one port", true, 0x80, 1 },
	{ "eight ports", true, 0x3f8, 8 },
	{ "first ports", true, 0, 4 },
	{ "last port", true, 0xffff, 1 },
	{ "all ports", true, 0, 0x10000 },
	{ "ports over chunks, unaligned", true, 0x1ff, 0x602 },
	{ "page", false, 0xd0000000, 0x1000 },
	{ "less than a page", false, 0xd0000010, 16 },
	{ "page and a bit", false, 0xd0000ff8, 0x1010 },
	{ "chunk of 2 MiB", false, 0x200000, 0x200000 },
	{ "chunks and both ends", false, 0x1ff000, 0x402000 },
	{ "256 MiB", false, 0xe0000000, 0x10000000 },
	{ "to 4 GiB", false, 0xfffff000, 0x1000 },
	{ "across 4 GiB", false, 0xfffff000, 0x2000 },
	{ "chunks across 4 GiB", false, 0xffc00000, 0x800000 },
	{ "from 4 GiB", false, 0x100000000, 0x1000 },
	{ "64-bit", false, 0x8000000000, 0x4000 },
	{ "a little less than 4 GiB", false, 0x80001ff000, 0xffc02000 },
	{ "4 GiB", false, 0x8000200000, 0x100000000 },
	{ "more than 4 GiB", false, 0x8000200000, 0x100001000 },
	{ "end of addresses", false, UINT64_MAX - 0xfff, 0x1000 },
	{ "everything from 0", false, 0, UINT64_MAX },
};

static void check_place(struct bus *b, uint64_t base, uint64_t len, struct probe *p)
{
	for (unsigned n = 1; n <= 8; n *= 2) {
		uint64_t v = 0;
		bool fits = n <= len;
		assert_int_equal(bus_read(b, base, &v, n), fits);
		assert_int_equal(bus_read(b, base + len - n, &v, n), fits);
		if (fits)
			assert_true(p->offset == len - n);
		if (base)
			assert_false(bus_read(b, base - 1, &v, n));
		if (base + len)
			assert_false(bus_read(b, base + len - n + 1, &v, n));
	}
}

static void answers_from_the_first_byte_to_the_last(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct bus *b = places[i].is_pio ? f->pio : f->mmio;
		struct probe p = { 0 };
		uint8_t v;
		assert_int_equal(bus_add(b, places[i].base, places[i].len, &probe_ops, &p), 0);
		check_place(b, places[i].base, places[i].len, &p);
		assert_int_equal(bus_remove(b, places[i].base, places[i].len), 0);
		assert_false(bus_read(b, places[i].base, &v, 1));
	}
}

static const struct {
	const char *what;
	bool is_pio;
	uint64_t base, len;
	int err;
} refused[] = {
	{ "empty", false, 0x5000, 0, -EINVAL },
	{ "wraps", false, UINT64_MAX, 2, -EINVAL },
	{ "wraps far", false, 0x1000, UINT64_MAX, -EINVAL },
	{ "past the last port", true, 0xffff, 2, -EINVAL },
	{ "no such port", true, 0x10000, 1, -EINVAL },
	{ "the same", false, 0x10000, 0x1000, -EEXIST },
	{ "inside", false, 0x10800, 1, -EEXIST },
	{ "around", false, 0xf000, 0x4000, -EEXIST },
	{ "first byte", false, 0xf000, 0x1001, -EEXIST },
	{ "last byte", false, 0x10fff, 0x1000, -EEXIST },
	{ "from zero", false, 0, UINT64_MAX, -EEXIST },
};

static void refuses_ranges_that_overlap_or_leave_the_space(void **state)
{
	struct fixture *f = *state;
	struct probe p = { .tag = 1 };
	uint8_t v;
	assert_int_equal(bus_add(f->mmio, 0x10000, 0x1000, &probe_ops, &p), 0);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct bus *b = refused[i].is_pio ? f->pio : f->mmio;
		assert_int_equal(bus_add(b, refused[i].base, refused[i].len, &probe_ops, &p),
				 refused[i].err);
	}
	assert_int_equal(bus_add(f->mmio, 0xf000, 0x1000, &probe_ops, &p), 0);
	assert_int_equal(bus_add(f->mmio, 0x11000, 0x1000, &probe_ops, &p), 0);
	assert_true(bus_read(f->mmio, 0x10000, &v, 1));
}

static void an_access_across_two_ranges_reaches_neither(void **state)
{
	struct fixture *f = *state;
	struct probe a = { .tag = 1 }, b = { .tag = 2 };
	uint32_t v = 0;
	assert_int_equal(bus_add(f->mmio, 0x1000, 0x10, &probe_ops, &a), 0);
	assert_int_equal(bus_add(f->mmio, 0x1010, 0x10, &probe_ops, &b), 0);
	assert_false(bus_read(f->mmio, 0x100e, &v, 4));
	assert_int_equal(v, 0xffffffff);
	assert_false(bus_write(f->mmio, 0x100e, &v, 4));
	assert_int_equal(a.reads + a.writes + b.reads + b.writes, 0);
}

static void sizes_no_handler_knows_reach_none(void **state)
{
	struct fixture *f = *state;
	struct probe p = { 0 };
	uint64_t v = 0;
	assert_int_equal(bus_add(f->mmio, 0x1000, 0x1000, &probe_ops, &p), 0);
	static const unsigned odd[] = { 0, 3, 5, 6, 7 };
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		assert_false(bus_read(f->mmio, 0x1000, &v, odd[i]));
		assert_false(bus_write(f->mmio, 0x1000, &v, odd[i]));
	}
	assert_int_equal(p.reads + p.writes, 0);
}

static void many_ranges_may_share_a_page(void **state)
{
	struct fixture *f = *state;
	struct probe p[16] = { 0 };
	uint8_t v;
	for (unsigned i = 0; i < 16; i++) {
		p[i].tag = (uint8_t)(i + 1);
		assert_int_equal(bus_add(f->mmio, 0x7000 + i * 0x20, 0x10, &probe_ops, &p[i]), 0);
	}
	for (unsigned i = 0; i < 16; i++) {
		assert_true(bus_read(f->mmio, 0x700f + i * 0x20, &v, 1));
		assert_int_equal(v, i + 1);
		assert_false(bus_read(f->mmio, 0x7010 + i * 0x20, &v, 1));
	}
}

static void hides_only_the_very_range_that_was_added(void **state)
{
	struct fixture *f = *state;
	struct probe p = { 0 };
	assert_int_equal(bus_add(f->mmio, 0x4000, 0x1000, &probe_ops, &p), 0);
	assert_int_equal(bus_hide(f->mmio, 0x4000, 0x800), -ENOENT);
	assert_int_equal(bus_hide(f->mmio, 0x4800, 0x800), -ENOENT);
	assert_int_equal(bus_hide(f->mmio, 0x0, 0x1000), -ENOENT);
	assert_int_equal(bus_hide(f->mmio, 0x0, 0), -ENOENT);
	assert_int_equal(bus_hide(f->mmio, 0x4000, 0x1000), 0);
	assert_int_equal(bus_hide(f->mmio, 0x4000, 0x1000), -ENOENT);
	assert_int_equal(bus_remove(f->mmio, 0x4000, 0x1000), -ENOENT);
}

/* A BAR register: writing it moves the range the write came through. */
struct mover {
	struct bus *bus;
	uint64_t at;
	int err;
};

static const struct bus_ops mover_ops;

static void mover_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	struct mover *m = ctx;
	(void)offset;
	(void)len;
	m->err = bus_hide(m->bus, m->at, 0x1000);
	memcpy(&m->at, data, sizeof(m->at));
	if (!m->err)
		m->err = bus_add(m->bus, m->at, 0x1000, &mover_ops, m);
}

static const struct bus_ops mover_ops = { .name = "mover",
					  .read = probe_read,
					  .write = mover_write };

static void a_handler_may_move_its_own_range(void **state)
{
	struct fixture *f = *state;
	struct mover m = { .bus = f->mmio, .at = 0x1000 };
	assert_int_equal(bus_add(f->mmio, 0x1000, 0x1000, &mover_ops, &m), 0);
	static const uint64_t to[] = { 0x2000, 0xfffff000, 0x100000000, 0x1800 };
	for (size_t i = 0; i < ARRAY_SIZE(to); i++) {
		uint64_t from = m.at;
		assert_true(bus_write(f->mmio, from, &to[i], 8));
		assert_int_equal(m.err, 0);
		assert_false(bus_write(f->mmio, from & ~0xfffull, &to[i], 8));
	}
}

/* --- against a model that looks at every range --- */

#define MODEL_MAX 64
struct model {
	struct {
		uint64_t base, len;
		struct probe probe;
	} r[MODEL_MAX];
	unsigned seed;
};

static unsigned model_random(struct model *m)
{
	m->seed = m->seed * 1103515245 + 12345;
	return m->seed >> 8;
}

/* Bunched around the places where the two roads meet; the high ones are whole 4 GiB apart. */
static uint64_t model_addr(struct model *m)
{
	static const uint64_t centres[] = { 0,           0x1ff000,   0xc0000000,   0xfffff000,
					    0x100000000, 1ull << 40, 0x10100000000 };
	return centres[model_random(m) % ARRAY_SIZE(centres)] + model_random(m) % 0x4000;
}

static bool model_overlaps(const struct model *m, uint64_t base, uint64_t len)
{
	for (unsigned i = 0; i < MODEL_MAX; i++)
		if (ranges_overlap(m->r[i].base, m->r[i].len, base, len))
			return true;
	return false;
}

static void model_change(struct model *m, struct bus *b)
{
	unsigned i = model_random(m) % MODEL_MAX;
	if (m->r[i].len) {
		assert_int_equal(bus_hide(b, m->r[i].base, m->r[i].len), 0);
		m->r[i].len = 0;
		return;
	}
	uint64_t base = model_addr(m), len = 1 + model_random(m) % 0x800;
	if (model_random(m) % 32 == 0)
		len += model_random(m) % 4 ? 0x400000 : 0x100000000 - 0x400000;
	int err = bus_add(b, base, len, &probe_ops, &m->r[i].probe);
	assert_int_equal(err, model_overlaps(m, base, len) ? -EEXIST : 0);
	if (err)
		return;
	m->r[i].base = base;
	m->r[i].len = len;
}

static void model_check(struct model *m, struct bus *b)
{
	uint64_t addr = model_addr(m), v = 0;
	unsigned n = 1u << model_random(m) % 4, expect = 0xff;
	for (unsigned i = 0; i < MODEL_MAX; i++)
		if (addr >= m->r[i].base && addr - m->r[i].base < m->r[i].len &&
		    n <= m->r[i].len - (addr - m->r[i].base))
			expect = i;
	assert_int_equal(bus_read(b, addr, &v, n), expect != 0xff);
	assert_int_equal(v & 0xff, expect);
}

static void agrees_with_a_search_of_all_ranges(void **state)
{
	struct fixture *f = *state;
	static struct model m = { .seed = 1 };
	for (unsigned i = 0; i < MODEL_MAX; i++)
		m.r[i].probe.tag = (uint8_t)i;
	for (unsigned step = 0; step < 4000; step++) {
		model_change(&m, f->mmio);
		for (unsigned i = 0; i < 32; i++)
			model_check(&m, f->mmio);
	}
}

static int group_setup(void **state)
{
	(void)state;
	rcu_enter_thread();
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	rcu_drain();
	rcu_leave_thread();
	return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(hands_the_handler_offset_length_and_data),
		T(reads_ones_and_drops_writes_where_nothing_answers),
		T(answers_from_the_first_byte_to_the_last),
		T(refuses_ranges_that_overlap_or_leave_the_space),
		T(an_access_across_two_ranges_reaches_neither),
		T(sizes_no_handler_knows_reach_none),
		T(many_ranges_may_share_a_page),
		T(hides_only_the_very_range_that_was_added),
		T(a_handler_may_move_its_own_range),
		T(agrees_with_a_search_of_all_ranges),
	};
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
