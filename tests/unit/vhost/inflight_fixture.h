/* inflight_fixture.h - a queue whose device dies, and the account that its successor finds. */
#ifndef TESTS_UNIT_VHOST_INFLIGHT_FIXTURE_H
#define TESTS_UNIT_VHOST_INFLIGHT_FIXTURE_H
#include <stdarg.h>
#include <setjmp.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/num.h"
#include "support/guest.h"
#include "virtio/queue.h"
#include "../../../virtio/inflight_priv.h"

#define SIZE 32

struct fixture {
	struct guest guest;
	struct guest_queue gq;
	struct notifier call;
	unsigned calls;
	void *log;
	struct vq *q;
	pid_t device;
	atomic_uint *looks; /* how often the driver has looked; both processes see it */
};

static inline void count_call(void *ctx)
{
	((struct fixture *)ctx)->calls++;
}

static inline int setup_with(void **state, uint64_t features)
{
	struct fixture *f = calloc(1, sizeof(*f));
	guest_init(&f->guest, MIB);
	guest_queue_init(&f->gq, &f->guest, SIZE, features);
	notifier_init_fn(&f->call, count_call, f);
	f->log = mmap(NULL, vq_log_bytes(SIZE), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	f->looks = mmap(NULL, sizeof(*f->looks), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	*state = f;
	return 0;
}

static inline int setup_split(void **state)
{
	return setup_with(state, GUEST_FEATURES);
}

static inline int setup_packed(void **state)
{
	return setup_with(state, GUEST_FEATURES | GUEST_PACKED);
}

static inline void kill_device(struct fixture *f, int *status)
{
	(void)kill(f->device, SIGKILL);
	assert_int_equal(waitpid(f->device, status, 0), f->device);
	f->device = 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;
	if (f->device) /* a claim about it did not hold */
		kill_device(f, &(int){ 0 });
	vq_destroy(f->q);
	(void)munmap(f->log, vq_log_bytes(SIZE));
	(void)munmap(f->looks, sizeof(*f->looks));
	guest_queue_fini(&f->gq);
	guest_fini(&f->guest);
	free(f);
	return 0;
}

/* A device takes over; what there was before it just stops, as by SIGKILL. */
static inline int take_over(struct fixture *f)
{
	vq_destroy(take(f->q));
	struct vq_setup s = guest_queue_setup(&f->gq, &f->call);
	s.log = f->log;
	s.log_bytes = vq_log_bytes(SIZE);
	return vq_create(&f->q, &s);
}

/* Where the buffers of request @i are: a number to be copied from the first to the second. */
static inline uint64_t buf_of(unsigned i)
{
	return 0x40000 + 64ull * i;
}

static inline uint64_t *host_of(struct fixture *f, uint64_t addr)
{
	return (uint64_t *)(void *)(f->guest.ram + addr);
}

static inline int offer(struct fixture *f, unsigned i, uint64_t number, bool is_indirect)
{
	*host_of(f, buf_of(i)) = number;
	*host_of(f, buf_of(i) + 32) = 0;
	struct guest_buf b[2] = { { buf_of(i), 8, false }, { buf_of(i) + 32, 8, true } };
	return guest_add(&f->gq, b, 2, is_indirect);
}

static inline struct vq_chain *pop(struct fixture *f)
{
	struct vq_chain *c = NULL;
	assert_int_equal(vq_pop(f->q, &c), 1);
	return c;
}

static inline uint64_t number_of(const struct vq_chain *c)
{
	uint64_t number = 0;
	assert_true(vq_chain_read(c, 0, &number, sizeof(number)));
	return number;
}

static inline void complete(struct fixture *f, struct vq_chain *c)
{
	uint64_t number = number_of(c);
	assert_true(vq_chain_write(c, 0, &number, sizeof(number)));
	vq_push(f->q, c, sizeof(number));
}

#define SPLIT(f)                                                                                   \
	{                                                                                          \
#f "/split", f, setup_split, teardown, NULL                                        \
	}
#define PACKED(f)                                                                                  \
	{                                                                                          \
#f "/packed", f, setup_packed, teardown, NULL                                      \
	}

#endif
