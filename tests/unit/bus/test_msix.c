/* test_msix.c - msix.h: when a signal reaches the guest, and when it waits as a pending bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "bus/msix.h"
#include "unit/bus/fake_chip.h"

#define NR     5
#define ROUTE0 FAKE_MSI

struct fixture {
	struct fake_chip chip;
	struct msix *m;
	struct notifier n[3];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	fake_chip_init(&f->chip);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(notifier_init(&f->n[i]), 0);
	assert_int_equal(msix_create(&f->m, &f->chip.chip, NR), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < 3; i++) {
		msix_detach(f->m, &f->n[i]);
		notifier_fini(&f->n[i]);
	}
	msix_destroy(f->m);
	for (unsigned i = 0; i < FAKE_GSIS; i++) {
		assert_int_equal(f->chip.wires[i], 0);
		assert_false(f->chip.used[i]);
	}
	free(f);
	return 0;
}

static void write32(struct fixture *f, unsigned off, uint32_t v)
{
	msix_table_write(f->m, off, &v, 4);
}

static uint32_t read32(struct fixture *f, unsigned off)
{
	uint32_t v = 0xdeadbeef;
	msix_table_read(f->m, off, &v, 4);
	return v;
}

/* What a driver does to one vector. */
static void program(struct fixture *f, unsigned vector, uint64_t addr, uint32_t data)
{
	write32(f, vector * 16 + 12, 1);
	write32(f, vector * 16 + 0, (uint32_t)addr);
	write32(f, vector * 16 + 4, (uint32_t)(addr >> 32));
	write32(f, vector * 16 + 8, data);
	write32(f, vector * 16 + 12, 0);
}

static uint64_t pending(struct fixture *f)
{
	uint64_t v = ~0ull;
	msix_pba_read(f->m, 0, &v, 8);
	return v;
}

static void starts_disabled_with_every_vector_masked(void **state)
{
	struct fixture *f = *state;
	assert_false(msix_is_enabled(f->m));
	for (unsigned v = 0; v < NR; v++) {
		assert_int_equal(read32(f, v * 16 + 8), 0);
		assert_int_equal(read32(f, v * 16 + 12), 1);
	}
}

static void an_unmasked_vector_is_wired_with_its_message(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(msix_attach(f->m, 2, &f->n[0]), 0);
	msix_control(f->m, true, false);
	assert_int_equal(f->chip.wires[ROUTE0], 0);
	program(f, 2, 0x1fee01000, 0x4041);
	assert_int_equal(f->chip.wires[ROUTE0], 1);
	assert_int_equal(f->chip.last_fd, f->n[0].fd);
	assert_true(f->chip.addr[ROUTE0] == 0x1fee01000);
	assert_int_equal(f->chip.data[ROUTE0], 0x4041);
}

static void a_source_attached_late_is_wired_at_once(void **state)
{
	struct fixture *f = *state;
	msix_control(f->m, true, false);
	program(f, 0, 0xfee00000, 0x31);
	assert_int_equal(f->chip.adds, 0);
	assert_int_equal(msix_attach(f->m, 0, &f->n[0]), 0);
	assert_int_equal(f->chip.wires[ROUTE0], 1);
	assert_int_equal(f->chip.data[ROUTE0], 0x31);
}

static void masking_and_unmasking_does_not_route_again(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(msix_attach(f->m, 0, &f->n[0]), 0);
	msix_control(f->m, true, false);
	program(f, 0, 0xfee00000, 0x31);
	for (unsigned i = 0; i < 10; i++) {
		write32(f, 12, 1);
		assert_int_equal(f->chip.wires[ROUTE0], 0);
		write32(f, 12, 0);
		assert_int_equal(f->chip.wires[ROUTE0], 1);
	}
	assert_int_equal(f->chip.sets, 1);
	write32(f, 8, 0x32);
	assert_int_equal(f->chip.sets, 2);
	assert_int_equal(f->chip.data[ROUTE0], 0x32);
}

static void a_signal_to_a_masked_vector_is_its_pending_bit(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(msix_attach(f->m, 3, &f->n[0]), 0);
	msix_control(f->m, true, false);
	assert_true(pending(f) == 0);
	notifier_signal(&f->n[0]);
	assert_true(pending(f) == 1u << 3);
	program(f, 3, 0xfee00000, 0x31);
	assert_true(pending(f) == 0);                    /* the kernel has the eventfd now */
	assert_int_equal(notifier_consume(&f->n[0]), 1); /* and finds the count there */
}

static void the_function_mask_masks_every_vector(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(msix_attach(f->m, 0, &f->n[0]), 0);
	assert_int_equal(msix_attach(f->m, 1, &f->n[1]), 0);
	msix_control(f->m, true, true);
	program(f, 0, 0xfee00000, 1);
	program(f, 1, 0xfee00000, 2);
	assert_int_equal(f->chip.adds, 0);
	msix_control(f->m, true, false);
	assert_int_equal(f->chip.wires[ROUTE0] + f->chip.wires[ROUTE0 + 1], 2);
	msix_control(f->m, true, true);
	assert_int_equal(f->chip.wires[ROUTE0] + f->chip.wires[ROUTE0 + 1], 0);
	msix_control(f->m, false, false);
	assert_int_equal(f->chip.wires[ROUTE0] + f->chip.wires[ROUTE0 + 1], 0);
}

static void sources_may_share_a_vector(void **state)
{
	struct fixture *f = *state;
	msix_control(f->m, true, false);
	program(f, 1, 0xfee00000, 1);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(msix_attach(f->m, 1, &f->n[i]), 0);
	assert_int_equal(f->chip.wires[ROUTE0], 3);
	assert_false(f->chip.used[ROUTE0 + 1]);
	write32(f, 16 + 12, 1);
	assert_int_equal(f->chip.wires[ROUTE0], 0);
	notifier_signal(&f->n[2]);
	assert_true(pending(f) == 2);
	msix_detach(f->m, &f->n[2]);
	assert_true(pending(f) == 0);
	write32(f, 16 + 12, 0);
	assert_int_equal(f->chip.wires[ROUTE0], 2);
}

static void no_vector_is_no_wire(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(msix_attach(f->m, MSIX_NO_VECTOR, &f->n[0]), 0);
	msix_control(f->m, true, false);
	msix_detach(f->m, &f->n[0]);
	assert_int_equal(f->chip.adds + f->chip.dels, 0);
}

static void refuses_what_cannot_be_wired(void **state)
{
	struct fixture *f = *state;
	struct notifier fn_only = { .fd = -1 };
	f->chip.max_routes = 1;
	assert_int_equal(msix_attach(f->m, NR, &f->n[0]), -EINVAL);
	assert_int_equal(msix_attach(f->m, 0, &fn_only), -EINVAL);
	assert_int_equal(msix_attach(f->m, 0, &f->n[0]), 0);
	assert_int_equal(msix_attach(f->m, 0, &f->n[0]), -EEXIST);
	assert_int_equal(msix_attach(f->m, 1, &f->n[1]), -ENOSPC);
	assert_int_equal(msix_attach(f->m, 0, &f->n[1]), 0);
}

static void a_host_that_refuses_leaves_the_signal_pending(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(msix_attach(f->m, 0, &f->n[0]), 0);
	msix_control(f->m, true, false);
	notifier_signal(&f->n[0]);
	f->chip.fail_next = ENOSPC; /* msi_set */
	program(f, 0, 0xfee00000, 1);
	assert_int_equal(f->chip.wires[ROUTE0], 0);
	assert_true(pending(f) == 1);
	write32(f, 12, 0); /* the driver unmasks again: tried again */
	assert_int_equal(f->chip.wires[ROUTE0], 1);
	write32(f, 12, 1);
	f->chip.fail_next = EMFILE; /* irqfd_add */
	write32(f, 12, 0);
	assert_int_equal(f->chip.wires[ROUTE0], 0);
	assert_true(pending(f) == 1);
}

/* A host short of something for a moment: the driver of a vector does nothing more, but wait. */
static void what_the_host_refused_is_tried_again(void **state)
{
	struct fixture *f = *state;
	static const int calls[] = { ENOSPC, EMFILE }; /* of msi_set, and of irqfd_add */
	assert_int_equal(msix_attach(f->m, 0, &f->n[0]), 0);
	msix_control(f->m, true, false);
	program(f, 0, 0xfee00000, 1);
	for (unsigned i = 0; i < 6; i++) {
		write32(f, 12, 1);
		if (i % 2 == 0)
			write32(f, 8, 2 + i); /* a route has to be set */
		f->chip.fail_next = calls[i % 2];
		write32(f, 12, 0);
		assert_int_equal(f->chip.wires[ROUTE0], 0);
		notifier_signal(&f->n[0]);
		if (i < 2) {
			program(f, 1, 0xfee00000, 3); /* another vector */
		} else if (i < 4) {
			assert_int_equal(msix_attach(f->m, 1, &f->n[1]), 0);
			msix_detach(f->m, &f->n[1]);
		} else {
			assert_true(pending(f) == 1);
		}
		assert_int_equal(f->chip.wires[ROUTE0], 1);
		assert_int_equal(notifier_consume(&f->n[0]), 1);
	}
	unsigned sets = f->chip.sets, adds = f->chip.adds;
	program(f, 1, 0xfee00000, 3); /* nothing is left to try */
	assert_int_equal(f->chip.sets + f->chip.adds, sets + adds);
}

static void count_refusal(void *ctx)
{
	(*(unsigned *)ctx)++;
}

static void its_owner_is_told_once_and_tries_until_it_works(void **state)
{
	struct fixture *f = *state;
	unsigned told = 0;
	msix_watch(f->m, count_refusal, &told);
	assert_int_equal(msix_attach(f->m, 0, &f->n[0]), 0);
	msix_control(f->m, true, false);
	assert_false(msix_retry(f->m));
	for (unsigned i = 0; i < 3; i++) {
		f->chip.fail_next = ENOMEM;
		program(f, 0, 0xfee00000, i);
		assert_int_equal(told, i + 1);
		for (unsigned tries = 0; tries < 3; tries++) {
			f->chip.fail_next = ENOMEM;
			assert_true(msix_retry(f->m));
		}
		assert_int_equal(told, i + 1);
		assert_int_equal(f->chip.wires[ROUTE0], 0);
		assert_false(msix_retry(f->m));
		assert_int_equal(f->chip.wires[ROUTE0], 1);
		assert_int_equal(f->chip.data[ROUTE0], i);
	}
	assert_int_equal(told, 3);
}

static void reset_masks_and_forgets_but_keeps_sources(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(msix_attach(f->m, 0, &f->n[0]), 0);
	msix_control(f->m, true, false);
	program(f, 0, 0xfee00000, 1);
	msix_reset(f->m);
	assert_false(msix_is_enabled(f->m));
	assert_int_equal(f->chip.wires[ROUTE0], 0);
	assert_int_equal(read32(f, 0), 0);
	assert_int_equal(read32(f, 12), 1);
	msix_control(f->m, true, false);
	program(f, 0, 0xfee01000, 2);
	assert_int_equal(f->chip.wires[ROUTE0], 1);
}

static const struct {
	const char *what;
	uint64_t off, value;
	unsigned len;
	uint64_t read;
} accesses[] = {
	{ "address, low bits fixed", 0x00, 0xfee01003, 4, 0xfee01000 },
	{ "upper address", 0x04, 0x12345678, 4, 0x12345678 },
	{ "data", 0x08, 0xffffffff, 4, 0xffffffff },
	{ "control, one bit", 0x0c, 0xfffffffe, 4, 0 },
	{ "both addresses", 0x10, 0x1122334455667788, 8, 0x1122334455667788 },
	{ "data and control", 0x18, 0xffffffff00004321, 8, 0x100004321 },
	{ "last entry", 0x4c, 0, 4, 0 },
	{ "past the end", 0x50, 0xffffffff, 4, 0 },
	{ "far past the end", UINT64_MAX - 3, 0xffffffff, 4, 0 },
	{ "unaligned", 0x02, 0xffffffff, 4, 0 },
	{ "over two entries", 0x1c, 0x1111111111111111, 8, 0 },
};

static void the_table_is_read_back_as_far_as_it_is_writable(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < sizeof(accesses) / sizeof(accesses[0]); i++) {
		uint64_t v = 0;
		msix_table_write(f->m, accesses[i].off, &accesses[i].value, accesses[i].len);
		msix_table_read(f->m, accesses[i].off, &v, accesses[i].len);
		if (v != accesses[i].read)
			fail_msg("%s: read %llx", accesses[i].what, (unsigned long long)v);
	}
}

static void pending_bits_past_the_last_vector_are_zero(void **state)
{
	struct fixture *f = *state;
	uint64_t v = ~0ull;
	msix_pba_read(f->m, 8, &v, 8);
	assert_true(v == 0);
	v = ~0ull;
	msix_pba_read(f->m, UINT64_MAX / 8 + 1, &v, 8); /* times 8 is 0 again */
	assert_true(v == 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(starts_disabled_with_every_vector_masked),
		T(an_unmasked_vector_is_wired_with_its_message),
		T(a_source_attached_late_is_wired_at_once),
		T(masking_and_unmasking_does_not_route_again),
		T(a_signal_to_a_masked_vector_is_its_pending_bit),
		T(the_function_mask_masks_every_vector),
		T(sources_may_share_a_vector),
		T(no_vector_is_no_wire),
		T(refuses_what_cannot_be_wired),
		T(a_host_that_refuses_leaves_the_signal_pending),
		T(what_the_host_refused_is_tried_again),
		T(its_owner_is_told_once_and_tries_until_it_works),
		T(reset_masks_and_forgets_but_keeps_sources),
		T(the_table_is_read_back_as_far_as_it_is_writable),
		T(pending_bits_past_the_last_vector_are_zero),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
