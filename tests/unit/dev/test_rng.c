/* test_rng.c - the entropy device with a scripted source. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "dev/virtio_devs.h"
#include "drive.h"
#include "fake_reactor.h"

#define DATA DRIVE_DATA

struct fixture {
	struct drive v;
	struct vworker *worker;
	size_t has; /* bytes left in the source */
	size_t given;
};

static int source(void *ctx, void *buf, size_t len)
{
	struct fixture *f = ctx;
	if (len > f->has)
		return -EAGAIN;
	f->has -= len;
	f->given += len;
	memset(buf, 7, len);
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct vworker_config wc = { .name = "rng", .entries = 64 };
	assert_non_null(f);
	fake_forget();
	drive_init(&f->v);
	f->v.step = fake_step;
	f->v.destroy_waits = true;
	f->has = SIZE_MAX;
	assert_int_equal(vworker_create(&f->worker, &wc), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	drive_fini(&f->v);
	vworker_destroy(f->worker);
	free(f);
	return 0;
}

static void start(struct fixture *f, bool real)
{
	struct vdev *d;
	const struct rng_source src = { source, f };
	assert_int_equal(rng_create(&d, f->v.mem, f->worker, real ? NULL : &src), 0);
	drive_attach(&f->v, d);
	drive_up(&f->v, ~0ull);
}

static uint32_t ask(struct fixture *f, const struct drive_seg *s, unsigned nr)
{
	drive_offer(&f->v, 0, s, 0, nr);
	drive_kick(&f->v, 0);
	return drive_wait(&f->v, 0, NULL);
}

static void writes_the_buffer_and_not_one_byte_more(void **state)
{
	struct fixture *f = *state;
	start(f, false);
	memset(f->v.ram + DATA, 0xee, 64);
	assert_int_equal(ask(f, &(struct drive_seg){ DATA, 4 }, 1), 4);
	assert_memory_equal(f->v.ram + DATA, "\7\7\7\7\xee", 5);
}

static void fills_every_segment(void **state)
{
	struct fixture *f = *state;
	start(f, false);
	const struct drive_seg s[] = { { DATA, 3 }, { DATA + 16, 1 }, { DATA + 32, 5 } };
	assert_int_equal(ask(f, s, 3), 9);
	assert_memory_equal(f->v.ram + DATA, "\7\7\7\0", 4);
	assert_memory_equal(f->v.ram + DATA + 16, "\7\0", 2);
	assert_memory_equal(f->v.ram + DATA + 32, "\7\7\7\7\7\0", 6);
}

static void the_kernel_is_the_source_of_the_product(void **state)
{
	struct fixture *f = *state;
	static const uint8_t nothing[256];
	start(f, true);
	assert_int_equal(ask(f, &(struct drive_seg){ DATA, 256 }, 1), 256);
	assert_memory_not_equal(f->v.ram + DATA, nothing, 256);
	assert_int_equal(ask(f, &(struct drive_seg){ DATA + 256, 256 }, 1), 256);
	assert_memory_not_equal(f->v.ram + DATA, f->v.ram + DATA + 256, 256);
}

static void a_dry_source_completes_short(void **state)
{
	struct fixture *f = *state;
	start(f, false);
	f->has = 10;
	const struct drive_seg s[] = { { DATA, 8 }, { DATA + 16, 8 } };
	assert_int_equal(ask(f, s, 2), 8);
	f->has = 100;
	assert_int_equal(ask(f, s, 2), 16);
}

static void a_huge_buffer_gets_a_bounded_answer(void **state)
{
	struct fixture *f = *state;
	start(f, false);
	assert_int_equal(ask(f, &(struct drive_seg){ DATA, 4u << 20 }, 1), 16u << 10);
	assert_int_equal(f->given, 16u << 10);
}

static void many_huge_buffers_take_several_passes(void **state)
{
	struct fixture *f = *state;
	uint16_t head;
	uint32_t len;
	start(f, false);
	fake_pass();
	for (unsigned i = 0; i < 32; i++)
		drive_offer(&f->v, 0, &(struct drive_seg){ DATA, 1u << 20 }, 0, 1);
	size_t before = f->given;
	fake_pass();
	assert_in_range(f->given - before, 1, 80u << 10);
	for (unsigned i = 0; i < 32; i++)
		drive_until(&f->v, drive_used(&f->v, 0, &head, &len));
}

static const struct {
	const char *what;
	struct drive_seg seg;
	unsigned nr_out, nr_in;
	bool is_fatal;
} hostile[] = {
	{ "buffer to read from", { DATA, 16 }, 1, 0, false },
	{ "empty buffer", { DATA, 0 }, 0, 1, false },
	{ "buffer past RAM", { DRIVE_RAM_BYTES - 1, 2 }, 0, 1, true },
	{ "buffer that wraps", { UINT64_MAX, 2 }, 0, 1, true },
};

static void survives_a_hostile_driver(void **state)
{
	struct fixture *f = *state;
	start(f, false);
	for (unsigned i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		drive_offer(&f->v, 0, &hostile[i].seg, hostile[i].nr_out, hostile[i].nr_in);
		drive_kick(&f->v, 0);
		fake_passes(5);
		if (drive_needs_reset(&f->v) != hostile[i].is_fatal)
			fail_msg("%s", hostile[i].what);
		if (!hostile[i].is_fatal)
			assert_int_equal(drive_wait(&f->v, 0, NULL), 0);
		drive_reset(&f->v);
		drive_up(&f->v, ~0ull);
	}
	assert_int_equal(f->given, 0);
	assert_int_equal(ask(f, &(struct drive_seg){ DATA, 4 }, 1), 4);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(writes_the_buffer_and_not_one_byte_more),
		T(fills_every_segment),
		T(the_kernel_is_the_source_of_the_product),
		T(a_dry_source_completes_short),
		T(a_huge_buffer_gets_a_bounded_answer),
		T(many_huge_buffers_take_several_passes),
		T(survives_a_hostile_driver),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
