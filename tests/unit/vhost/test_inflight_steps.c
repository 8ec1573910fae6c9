/*
 * test_inflight_steps.c - a device that dies after each single instruction: the account loses no
 * request and doubles none, whichever store was the last; and so when its successor dies.
 */
#include <sys/ptrace.h>
#include "unit/vhost/inflight_fixture.h"

#define MAX_STATES 1024
#define LATE       (SIZE - 1) /* the request that is offered when the device is dead */

/* What a process leaves behind: the rings, the buffers, the account. */
struct remains {
	uint8_t rings[2048], bufs[64 * SIZE],
		log[sizeof(struct inflight_packed) + SIZE * sizeof(struct inflight_packed_desc)];
};

struct states {
	struct remains *of; /* each differs from the one before */
	unsigned nr;
};

/* What the driver knows; its results come out of the rings. */
struct driver {
	struct guest_queue gq;
	uint16_t next_free[SIZE], nr_descs[SIZE];
};

struct steps {
	struct fixture *f;
	struct driver driver;
	unsigned slot_of[SIZE]; /* request + 1 by id; 0: none */
	uint32_t is_out;        /* requests that are not done, a bit each */
};

static void remains_save(const struct fixture *f, struct remains *r)
{
	memcpy(r->rings, f->guest.ram + f->gq.desc_gpa, sizeof(r->rings));
	memcpy(r->bufs, f->guest.ram + buf_of(0), sizeof(r->bufs));
	memcpy(r->log, f->log, sizeof(r->log));
}

static void remains_restore(struct fixture *f, const struct remains *r)
{
	memcpy(f->guest.ram + f->gq.desc_gpa, r->rings, sizeof(r->rings));
	memcpy(f->guest.ram + buf_of(0), r->bufs, sizeof(r->bufs));
	memcpy(f->log, r->log, sizeof(r->log));
}

static void driver_save(struct steps *s)
{
	s->driver.gq = s->f->gq;
	memcpy(s->driver.next_free, s->f->gq.next_free, sizeof(s->driver.next_free));
	memcpy(s->driver.nr_descs, s->f->gq.nr_descs, sizeof(s->driver.nr_descs));
}

static void driver_restore(struct steps *s)
{
	s->f->gq = s->driver.gq;
	memcpy(s->f->gq.next_free, s->driver.next_free, sizeof(s->driver.next_free));
	memcpy(s->f->gq.nr_descs, s->driver.nr_descs, sizeof(s->driver.nr_descs));
}

/* --- the driver --- */

static void request(struct steps *s, unsigned i, bool is_indirect)
{
	int id = offer(s->f, i, 100 + i, is_indirect);
	assert_true(id >= 0);
	s->slot_of[id] = i + 1;
	s->is_out |= 1u << i;
	guest_show(&s->f->gq);
}

static void take_results(struct steps *s)
{
	uint16_t id;
	uint32_t len;
	while (guest_take(&s->f->gq, &id, &len)) {
		assert_true(id < SIZE && s->slot_of[id]);
		unsigned i = s->slot_of[id] - 1;
		s->slot_of[id] = 0;
		assert_true(s->is_out & 1u << i);
		assert_int_equal(len, 8);
		assert_int_equal(*host_of(s->f, buf_of(i) + 32), 100 + i);
		s->is_out &= ~(1u << i);
	}
}

/* --- the device --- */

static void complete_all(struct fixture *f)
{
	struct vq_chain *c;
	while (vq_pop(f->q, &c) > 0)
		complete(f, c);
	vq_signal(f->q);
}

static void live_alone(struct fixture *f)
{
	complete_all(f);
}

static void take_some(struct fixture *f, struct vq_chain **c, int nr)
{
	for (int got; nr; nr -= got, c += got) {
		got = vq_pop_batch(f->q, c, (unsigned)nr);
		if (got <= 0)
			_exit(1);
	}
}

/* Out of order, in batches, one of them put back. */
static void live_busy(struct fixture *f)
{
	struct vq_chain *c[4];
	take_some(f, c, 2);
	complete(f, c[1]);
	vq_signal(f->q);
	take_some(f, c + 1, 1);
	vq_unpop(f->q, c[1]);
	take_some(f, c + 1, 3);
	for (unsigned i = 4; i--;)
		complete(f, c[i]);
	vq_signal(f->q);
}

static void live_again(struct fixture *f)
{
	if (take_over(f))
		_exit(1);
	complete_all(f);
}

/* All states in which @live, a process's whole life, can leave the memory. False: not possible. */
static bool walk(struct fixture *f, void (*live)(struct fixture *f), struct states *out)
{
	int status;
	remains_save(f, &out->of[0]);
	out->nr = 1;
	f->device = fork();
	assert_true(f->device >= 0);
	if (!f->device) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(77);
		(void)raise(SIGSTOP);
		live(f);
		_exit(0);
	}
	while (waitpid(f->device, &status, 0) == f->device && WIFSTOPPED(status)) {
		struct remains *now = &out->of[out->nr];
		assert_true(out->nr < MAX_STATES);
		remains_save(f, now);
		out->nr += !!memcmp(now - 1, now, sizeof(*now));
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, f->device, NULL, NULL), 0);
	}
	f->device = 0;
	assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77));
	return !WEXITSTATUS(status);
}

static void states_begin(struct states *st)
{
	st->of = mmap(NULL, MAX_STATES * sizeof(*st->of), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_true(st->of != MAP_FAILED);
}

static void states_end(struct states *st)
{
	(void)munmap(st->of, MAX_STATES * sizeof(*st->of));
}

/*
 * From @r on, all that was asked for is done once; and what is asked for then, by a driver that
 * looks before there is a successor (@is_eager) or after it has come.
 */
static void all_is_done(const struct steps *was, const struct remains *r, bool is_eager)
{
	struct steps s = *was;
	driver_restore(&s);
	remains_restore(s.f, r);
	if (is_eager) {
		take_results(&s);
		request(&s, LATE, false);
	}
	assert_int_equal(take_over(s.f), 0);
	complete_all(s.f);
	take_results(&s);
	assert_int_equal(s.is_out, 0);
	if (!is_eager) {
		request(&s, LATE, false);
		complete_all(s.f);
		take_results(&s);
	}
	assert_int_equal(s.is_out, 0);
	assert_int_equal(vq_in_flight(s.f->q), 0);
	vq_destroy(take(s.f->q));
}

/* Of @live's deaths each, and after every @nth each of the successor's. */
static void dies_anywhere(struct steps *s, void (*live)(struct fixture *f), unsigned nth)
{
	struct states first, second;
	unsigned total = 0;
	driver_save(s);
	states_begin(&first);
	states_begin(&second);
	if (!walk(s->f, live, &first))
		skip(); /* a host that lets nobody trace */
	vq_destroy(take(s->f->q));
	for (unsigned i = 0; i < first.nr; i++) {
		all_is_done(s, &first.of[i], false);
		all_is_done(s, &first.of[i], true);
		if (i % nth)
			continue;
		driver_restore(s);
		remains_restore(s->f, &first.of[i]);
		assert_true(walk(s->f, live_again, &second));
		for (unsigned k = 0; k < second.nr; k++)
			all_is_done(s, &second.of[k], false);
		total += second.nr;
	}
	assert_true(first.nr > 4 && total > first.nr);
	print_message("%u states, %u of successors\n", first.nr, total);
	states_end(&second);
	states_end(&first);
}

/*
 * One descriptor before the end of the ring: so results come round it, to where, of the turn
 * before, there is the inside of a chain.
 */
static void come_near_the_end(struct steps *s)
{
	assert_int_equal(take_over(s->f), 0);
	for (unsigned i = 0; i < SIZE / 2; i++) {
		request(s, i, i + 1 == SIZE / 2);
		complete_all(s->f);
		take_results(s);
	}
	assert_int_equal(s->is_out, 0);
}

static void a_device_dies_with_one_request(void **state)
{
	struct steps s = { .f = *state };
	come_near_the_end(&s);
	request(&s, 0, false);
	dies_anywhere(&s, live_alone, 1);
}

static void a_device_dies_with_many_requests(void **state)
{
	struct steps s = { .f = *state };
	come_near_the_end(&s);
	for (unsigned i = 0; i < 5; i++)
		request(&s, i, i == 2);
	dies_anywhere(&s, live_busy, 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SPLIT(a_device_dies_with_one_request),
		PACKED(a_device_dies_with_one_request),
		SPLIT(a_device_dies_with_many_requests),
		PACKED(a_device_dies_with_many_requests),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
