/* test_front_log.c - the frontend's memory for a server's account of requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "virtio/inflight_wire.h"
#include "virtio/vhost/front_priv.h"

#define QUEUES 3
#define STRIDE 128

static void sizes_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	struct front_log l = { .fd = -1 };
	static const uint64_t odd[] = { 0, 1, 63 * QUEUES, 65 * QUEUES, 24u << 20, UINT64_MAX };
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		assert_int_equal(front_log_make(&l, odd[i], QUEUES), -EPROTO);
	assert_int_equal(l.fd, -1);
}

/* A server died before it asked for one, or what it asked for made no sense. */
static void without_memory_there_is_no_account(void **state)
{
	(void)state;
	struct front_log l = { .fd = -1 };
	uint16_t at = 7;
	assert_false(front_log_packed_base(&l, 0, &at));
	assert_false(front_log_packed_base(&l, QUEUES - 1, &at));
	front_log_clear(&l, QUEUES - 1);
	assert_int_equal(at, 7);
	front_log_fini(&l);
}

static void the_account_of_a_queue_tells_where_it_has_come_to(void **state)
{
	(void)state;
	struct front_log l;
	uint16_t at = 7;
	assert_int_equal(front_log_make(&l, QUEUES * STRIDE, QUEUES), 0);
	struct inflight_packed *p = (void *)(l.mem + 1 * l.stride);
	assert_false(front_log_packed_base(&l, 1, &at)); /* not begun */
	*p = (struct inflight_packed){
		.version = 1, .desc_num = 3, .old_used_idx = 5, .old_used_wrap = 1
	};
	assert_true(front_log_packed_base(&l, 1, &at));
	assert_int_equal(at, 5 | 0x8000);
	assert_false(front_log_packed_base(&l, 0, &at));
	assert_false(front_log_packed_base(&l, 2, &at));
	front_log_clear(&l, 1);
	assert_false(front_log_packed_base(&l, 1, &at));
	assert_int_equal(p->desc_num, 3); /* some servers write it only once */
	assert_int_equal(p->old_used_idx, 0);
	front_log_fini(&l);
	assert_null(l.mem);
}

/* The server has it as well: what it did to its size would end us. It is gone after. */
static void the_memory_keeps_its_size_while_there_is_an_account(void **state)
{
	(void)state;
	struct front_log l;
	assert_int_equal(front_log_make(&l, QUEUES * STRIDE, QUEUES), 0);
	int fd = l.fd;
	assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	front_log_fini(&l);
	assert_int_equal(l.fd, -1);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_that_make_no_sense_are_refused),
		cmocka_unit_test(without_memory_there_is_no_account),
		cmocka_unit_test(the_account_of_a_queue_tells_where_it_has_come_to),
		cmocka_unit_test(the_memory_keeps_its_size_while_there_is_an_account),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
