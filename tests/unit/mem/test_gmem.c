/* test_gmem.c - guest memory: translation, copies, sealing, placement. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/num.h"
#include "mem/gmem.h"

#define LOW_END    (4 * MIB)
#define HIGH_START (16 * MIB)
#define HIGH_END   (18 * MIB)

static const struct gmem_place plain = { GMEM_PAGES_4K, false, PLACE_NODE_ANY };
static const struct gmem_extent two[] = { { 0, LOW_END }, { HIGH_START, HIGH_END - HIGH_START } };

static int setup(void **state)
{
	struct gmem *m = NULL;
	assert_int_equal(gmem_create(&m, two, 2, &plain), 0);
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	gmem_destroy(*state);
	return 0;
}

static const struct {
	uint64_t addr, len;
	bool is_ram;
} ranges[] = {
	{ 0, 1, true },
	{ 0, LOW_END, true },
	{ LOW_END - 1, 1, true },
	{ LOW_END - 1, 2, false },
	{ LOW_END, 1, false },
	{ HIGH_START - 1, 2, false },
	{ HIGH_START, HIGH_END - HIGH_START, true },
	{ HIGH_END, 1, false },
	{ UINT64_MAX, 1, false },
	{ HIGH_START, UINT64_MAX, false },
	{ 0, UINT64_MAX, false },
	{ UINT64_MAX - 1, UINT64_MAX, false },
};

static void only_whole_ranges_of_ram_translate(void **state)
{
	const struct gmem *m = *state;
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		void *p = gmem_host(m, gpa(ranges[i].addr), ranges[i].len);
		assert_int_equal(p != NULL, ranges[i].is_ram);
		if (p)
			assert_ptr_equal(p, gmem_map_of(m)->base + ranges[i].addr);
	}
}

static void copies_are_all_or_nothing(void **state)
{
	struct gmem *m = *state;
	char buf[8] = "unmoved";
	assert_int_equal(gmem_read(m, gpa(LOW_END - 4), buf, 8), -EFAULT);
	assert_string_equal(buf, "unmoved");
	assert_int_equal(gmem_write(m, gpa(LOW_END - 4), "12345678", 8), -EFAULT);
	assert_int_equal(gmem_read(m, gpa(LOW_END - 4), buf, 4), 0);
	assert_memory_equal(buf, "\0\0\0\0ved", 7);
	assert_int_equal(gmem_write(m, gpa(HIGH_START), "abc", 3), 0);
	assert_int_equal(gmem_read(m, gpa(HIGH_START), buf, 3), 0);
	assert_memory_equal(buf, "abc", 3);
	assert_int_equal(gmem_zero(m, gpa(HIGH_START + 1), 1), 0);
	assert_int_equal(gmem_read(m, gpa(HIGH_START), buf, 3), 0);
	assert_memory_equal(buf, "a\0c", 3);
	assert_int_equal(gmem_zero(m, gpa(HIGH_END - 1), 2), -EFAULT);
	assert_int_equal(gmem_read(m, gpa(UINT64_MAX), buf, 0), 0);
}

static void files_load_straight_and_say_when_short(void **state)
{
	struct gmem *m = *state;
	char buf[4] = { 0 };
	int fd = memfd_create("file", MFD_CLOEXEC);
	assert_int_equal(write(fd, "0123456789", 10), 10);
	assert_int_equal(gmem_load(m, gpa(0x1000), fd, 6, 4), 0);
	assert_int_equal(gmem_read(m, gpa(0x1000), buf, 4), 0);
	assert_memory_equal(buf, "6789", 4);
	assert_int_equal(gmem_load(m, gpa(0x1000), fd, 7, 4), -ENODATA);
	assert_int_equal(gmem_load(m, gpa(LOW_END), fd, 0, 1), -EFAULT);
	assert_int_equal(gmem_load(m, gpa(0), -1, 0, 1), -EBADF);
	close(fd);
}

static void large_files_load_from_any_offset(void **state)
{
	struct gmem *m = *state;
	enum { BYTES = 300 * 1024 };
	static uint8_t want[BYTES], got[BYTES];
	for (size_t i = 0; i < BYTES; i++)
		want[i] = (uint8_t)(i * 7 + i / 251);
	int fd = memfd_create("file", MFD_CLOEXEC);
	assert_int_equal(write(fd, want, BYTES), BYTES);
	static const size_t offs[] = { 0, 1, 4095, 4096, 8193 };
	for (size_t i = 0; i < ARRAY_SIZE(offs); i++) {
		size_t len = BYTES - offs[i];
		assert_int_equal(gmem_load(m, gpa(HIGH_START + 3), fd, offs[i], len), 0);
		assert_int_equal(gmem_read(m, gpa(HIGH_START + 3), got, len), 0);
		assert_memory_equal(got, want + offs[i], len);
	}
	assert_int_equal(gmem_load(m, gpa(HIGH_START), fd, 8, BYTES), -ENODATA);
	assert_int_equal(gmem_load(m, gpa(HIGH_START), fd, BYTES, BYTES), -ENODATA);
	close(fd);
}

static void nobody_can_resize_or_inherit_the_file(void **state)
{
	const struct gmem_region *r = gmem_region_at(*state, 0);
	assert_int_equal(ftruncate(r->fd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(r->fd, (off_t)GIB), -1);
	assert_int_equal(errno, EPERM);
	/* one that stops no mapping: only the seal against seals refuses it */
	assert_int_equal(fcntl(r->fd, F_ADD_SEALS, F_SEAL_SHRINK), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(fcntl(r->fd, F_GETFD), FD_CLOEXEC);
}

static void both_ends_see_the_same_bytes(void **state)
{
	struct gmem *m = *state, *peer = NULL;
	struct gmem_region r[2] = { *gmem_region_at(m, 0), *gmem_region_at(m, 1) };
	r[0].fd = dup(r[0].fd);
	r[1].fd = dup(r[1].fd);
	assert_int_equal(gmem_create_from(&peer, r, 2), 0);
	assert_int_equal(gmem_write(peer, gpa(HIGH_START), "peer", 4), 0);
	char buf[4];
	assert_int_equal(gmem_read(m, gpa(HIGH_START), buf, 4), 0);
	assert_memory_equal(buf, "peer", 4);
	gmem_destroy(peer);
	assert_int_equal(fcntl(r[1].fd, F_GETFD), -1);
}

/* A file of huge pages is mapped at multiples of their size only; some are 1 GiB large. */
static void memory_of_others_lies_where_its_pages_may(void **state)
{
	(void)state;
	static const uint64_t pages[] = { 2 * MIB, GIB };
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		const struct gmem_extent e = { 0, pages[i] };
		struct gmem *m, *peer;
		assert_int_equal(gmem_create(&m, &e, 1, &plain), 0);
		struct gmem_region r = *gmem_region_at(m, 0);
		r.fd = dup(r.fd);
		assert_int_equal(gmem_create_from(&peer, &r, 1), 0);
		assert_true(is_aligned((uintptr_t)gmem_map_of(peer)->base, pages[i]));
		gmem_destroy(peer);
		gmem_destroy(m);
	}
}

static const struct {
	const char *what;
	struct gmem_extent e[2];
	unsigned nr;
} odd[] = {
	{ "nothing", { { 0, 0 } }, 0 },
	{ "empty extent", { { 0, 0 } }, 1 },
	{ "unaligned length", { { 0, 4097 } }, 1 },
	{ "unaligned start", { { 1, 4096 } }, 1 },
	{ "overlap", { { 0, 8192 }, { 4096, 4096 } }, 2 },
	{ "descending", { { 8192, 4096 }, { 0, 4096 } }, 2 },
	{ "wraps", { { UINT64_MAX - 4095, 8192 } }, 1 },
	{ "sum wraps", { { 0, 1ull << 63 }, { 1ull << 63, 1ull << 63 } }, 2 },
};

static void odd_extents_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		struct gmem *m = NULL;
		int err = gmem_create(&m, odd[i].e, odd[i].nr, &plain);
		if (err != -EINVAL)
			fail_msg("%s: %d", odd[i].what, err);
		assert_null(m);
	}
}

static const struct {
	const char *what;
	struct gmem_region r[2];
} odd_regions[] = {
	{ "ends past what a file can be", { { 0, 8192, -1, INT64_MAX - 4095 } } },
	{ "wraps in its file", { { 0, 8192, -1, UINT64_MAX - 4095 } } },
	{ "overlap", { { 0, 8192, -1, 0 }, { 4096, 4096, -1, 0 } } },
};

/* Before anything is mapped: that would say -EBADF, or -EOVERFLOW. */
static void odd_regions_of_others_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(odd_regions); i++) {
		struct gmem *m = NULL;
		unsigned nr = odd_regions[i].r[1].len ? 2 : 1;
		int err = gmem_create_from(&m, odd_regions[i].r, nr);
		if (err != -EINVAL)
			fail_msg("%s: %d", odd_regions[i].what, err);
		assert_null(m);
	}
}

static void more_pieces_than_there_is_room_for_are_refused(void **state)
{
	(void)state;
	struct gmem *m = NULL;
	enum { MANY = 2 * GMEM_MAX_REGIONS };
	struct gmem_region r[MANY];
	struct gmem_extent e[MANY];
	for (unsigned i = 0; i < MANY; i++) {
		e[i] = (struct gmem_extent){ i * MIB, MIB };
		r[i] = (struct gmem_region){ i * MIB, MIB, -1, i * MIB };
	}
	assert_int_equal(gmem_create_from(&m, r, GMEM_MAX_REGIONS + 1), -EINVAL);
	assert_int_equal(gmem_create(&m, e, GMEM_MAX_REGIONS + 1, &plain), -EINVAL);
	assert_int_equal(gmem_create(&m, e, MANY, &plain), -EINVAL);
	assert_null(m);
}

static void the_file_goes_with_its_memory(void **state)
{
	(void)state;
	struct gmem *m = NULL;
	assert_int_equal(gmem_create(&m, two, 2, &plain), 0);
	int fd = gmem_region_at(m, 1)->fd;
	gmem_destroy(m);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void prefault_leaves_no_page_for_later(void **state)
{
	(void)state;
	struct gmem *m = NULL;
	struct gmem_place place = { GMEM_PAGES_4K, true, 0 };
	struct gmem_extent e = { 0, 8 * MIB };
	assert_int_equal(gmem_create(&m, &e, 1, &place), 0);
	unsigned char seen[8 * MIB / 4096];
	assert_int_equal(mincore(gmem_host(m, gpa(0), 8 * MIB), 8 * MIB, seen), 0);
	for (size_t i = 0; i < sizeof(seen); i++)
		assert_int_equal(seen[i] & 1, 1);
	gmem_destroy(m);
}

/* Else a node that has none left would show when the guest touches them. */
static void huge_pages_of_a_node_are_taken_at_once(void **state)
{
	(void)state;
	struct gmem *m = NULL;
	struct gmem_place place = { GMEM_PAGES_2M, false, 0 };
	struct gmem_extent e = { 0, 2 * MIB };
	long before = place_free_hugepages(2 * MIB, 0);
	if (before < 1)
		skip();
	assert_int_equal(gmem_create(&m, &e, 1, &place), 0);
	assert_true(place_free_hugepages(2 * MIB, 0) < before);
	gmem_destroy(m);
}

static void impossible_placement_is_an_error(void **state)
{
	(void)state;
	struct gmem *m = NULL;
	struct gmem_extent e = { 0, GIB };
	struct gmem_place nowhere = { GMEM_PAGES_4K, false, 9999 };
	assert_int_equal(gmem_create(&m, &e, 1, &nowhere), -EINVAL);
	struct gmem_place huge = { GMEM_PAGES_1G, false, PLACE_NODE_ANY };
	if (place_free_hugepages(GIB, PLACE_NODE_ANY) <= 0)
		assert_int_not_equal(gmem_create(&m, &e, 1, &huge), 0);
	assert_null(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(only_whole_ranges_of_ram_translate, setup,
						teardown),
		cmocka_unit_test_setup_teardown(copies_are_all_or_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(files_load_straight_and_say_when_short, setup,
						teardown),
		cmocka_unit_test_setup_teardown(large_files_load_from_any_offset, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_can_resize_or_inherit_the_file, setup,
						teardown),
		cmocka_unit_test_setup_teardown(both_ends_see_the_same_bytes, setup, teardown),
		cmocka_unit_test(memory_of_others_lies_where_its_pages_may),
		cmocka_unit_test(odd_extents_are_refused),
		cmocka_unit_test(odd_regions_of_others_are_refused),
		cmocka_unit_test(more_pieces_than_there_is_room_for_are_refused),
		cmocka_unit_test(the_file_goes_with_its_memory),
		cmocka_unit_test(prefault_leaves_no_page_for_later),
		cmocka_unit_test(huge_pages_of_a_node_are_taken_at_once),
		cmocka_unit_test(impossible_placement_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
