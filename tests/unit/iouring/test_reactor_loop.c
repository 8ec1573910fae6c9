/* test_reactor_loop.c - messages and sources of the loop, on every engine. */
#include "rig.h"
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- messages --- */

#define POSTERS 3
#define POSTS   3000
struct poster {
	struct reactor *r;
	struct note {
		struct reactor_msg msg;
		struct poster *from;
	} notes[POSTS];
	unsigned ran; /* reactor's thread */
	sem_t turn;
};

static void on_note(struct reactor_msg *m)
{
	struct note *n = container_of(m, struct note, msg);
	if (n == &n->from->notes[n->from->ran]) /* in order */
		n->from->ran++;
	sem_post(&n->from->turn);
}

/* Half of the posts go out at once, half wait for the answer: the loop falls asleep in between. */
static void post_all(void *arg)
{
	struct poster *p = arg;
	for (unsigned i = 0; i < POSTS; i++) {
		p->notes[i].msg.fn = on_note;
		p->notes[i].from = p;
		reactor_post(p->r, &p->notes[i].msg);
		if (i >= POSTS / 2)
			rig_sem_wait(&p->turn);
		else if (i == POSTS / 2 - 1)
			for (unsigned k = 0; k < POSTS / 2; k++)
				rig_sem_wait(&p->turn);
	}
}

static void every_message_runs_in_its_senders_order(void **state)
{
	(void)state;
	struct rig g;
	struct thread *t[POSTERS];
	struct poster *p = calloc(POSTERS, sizeof(*p));
	struct thread_attr attr = { .name = "poster" };
	rig_make(&g, 8);
	rig_start(&g);
	for (unsigned i = 0; i < POSTERS; i++) {
		p[i].r = g.r;
		sem_init(&p[i].turn, 0, 0);
		assert_int_equal(thread_create(&t[i], &attr, post_all, &p[i]), 0);
	}
	for (unsigned i = 0; i < POSTERS; i++)
		thread_join(t[i]);
	rig_end(&g);
	for (unsigned i = 0; i < POSTERS; i++)
		assert_int_equal(p[i].ran, POSTS);
	free(p);
}

static void count_run(struct reactor_msg *m)
{
	struct note *n = container_of(m, struct note, msg);
	n->from->ran++;
}

static void messages_posted_before_the_stop_run(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 50; round++) {
		struct rig g;
		struct poster p = { .ran = 0 };
		rig_make(&g, 8);
		rig_start(&g);
		for (unsigned i = 0; i < 5; i++) {
			p.notes[i] = (struct note){ .msg.fn = count_run, .from = &p };
			reactor_post(g.r, &p.notes[i].msg);
		}
		rig_end(&g);
		assert_int_equal(p.ran, 5);
	}
}

/* --- sources --- */

struct probe {
	struct reactor_source s;
	struct reactor *r;
	char log[64];
	unsigned len, work, late_work;
	_Atomic unsigned armed;
};

static void probe_log(struct probe *p, char what)
{
	if (p->len < sizeof(p->log) - 1)
		p->log[p->len++] = what;
}

static bool probe_poll(struct reactor_source *s)
{
	struct probe *p = container_of(s, struct probe, s);
	probe_log(p, 'p');
	return p->work && p->work--;
}

static void probe_flush(struct reactor_source *s)
{
	probe_log(container_of(s, struct probe, s), 'f');
}

static bool probe_arm(struct reactor_source *s)
{
	struct probe *p = container_of(s, struct probe, s);
	probe_log(p, 'a');
	atomic_fetch_add(&p->armed, 1);
	if (!p->late_work)
		return false;
	p->late_work--;
	return true;
}

static void probe_disarm(struct reactor_source *s)
{
	probe_log(container_of(s, struct probe, s), 'd');
}

static const struct probe probe_init = {
	.s = { .poll = probe_poll, .flush = probe_flush, .arm = probe_arm, .disarm = probe_disarm },
};

static void a_source_is_polled_flushed_armed_and_looked_at_again(void **state)
{
	(void)state;
	struct rig g;
	struct probe p = probe_init;
	p.work = 2;      /* two passes find something */
	p.late_work = 1; /* and something comes in while arming */
	rig_make(&g, 8);
	reactor_add_source(g.r, &p.s);
	rig_start(&g);
	while (atomic_load(&p.armed) < 2)
		usleep(100);
	usleep(1000);
	rig_end(&g);
	p.log[12] = 0; /* then it sleeps, and wakes up to be stopped */
	assert_string_equal(p.log, "pfpfpfadpfad");
}

static bool probe_poll_once(struct reactor_source *s)
{
	struct probe *p = container_of(s, struct probe, s);
	probe_log(p, 'p');
	reactor_del_source(p->r, s);
	return false;
}

static void sources_may_leave_while_they_are_polled(void **state)
{
	(void)state;
	struct rig g;
	struct probe p[3] = { probe_init, probe_init, probe_init };
	rig_make(&g, 8);
	for (unsigned i = 0; i < 3; i++) {
		p[i].r = g.r;
		p[i].s.poll = i < 2 ? probe_poll_once : probe_poll;
		reactor_add_source(g.r, &p[i].s);
	}
	rig_start(&g);
	while (!atomic_load(&p[2].armed))
		usleep(100);
	rig_end(&g);
	assert_string_equal(p[0].log, "p");
	assert_string_equal(p[1].log, "p");
	assert_memory_equal(p[2].log, "pfad", 4);
}

/* It comes to rest, however long that takes on a busy machine. */
static void a_quiet_reactor_sleeps(void **state)
{
	(void)state;
	struct rig g;
	struct probe p = probe_init;
	rig_make(&g, 8);
	reactor_add_source(g.r, &p.s);
	rig_start(&g);
	while (!atomic_load(&p.armed))
		usleep(100);
	uint64_t before, passes = 0;
	unsigned looks = 0;
	do {
		before = passes;
		assert_true(looks++ < 1000);
		usleep(5000);
		passes = atomic_load(&reactor_stats_of(g.r)->passes);
	} while (passes != before || !atomic_load(&reactor_stats_of(g.r)->sleeps));
	rig_end(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_message_runs_in_its_senders_order),
		cmocka_unit_test(messages_posted_before_the_stop_run),
		cmocka_unit_test(a_source_is_polled_flushed_armed_and_looked_at_again),
		cmocka_unit_test(sources_may_leave_while_they_are_polled),
		cmocka_unit_test(a_quiet_reactor_sleeps),
	};
	return rig_run_all(tests);
}
