/*
 * test_front_blk.c - a driver, our frontend, and our server with a real disk in another process,
 * which is killed again and again: what is read is what was written, and every request comes back
 * once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/err.h"
#include "base/log.h"
#include "base/num.h"
#include "dev/virtio_devs.h"
#include "sync/rcu.h"
#include "unit/dev/drive.h"
#include "unit/vhost/front_player.h"
#include "virtio/vhost_front.h"
#include "virtio/vhost_user.h"

#define KILLS  60
#define PACKED (1ull << VIRTIO_F_RING_PACKED)
#define ALL    (~0ull & ~PACKED)

extern char **environ;

/* --- the server's process: this program again --- */

static int serve(int fd, const char *path)
{
	struct afile file;
	struct vdev *d;
	struct vhost_user_server *s;
	const struct afile_config fc = { .path = path };
	if (afile_open(&file, &fc))
		return 3;
	struct blk_config cfg = { .name = "served",
				  .file = &file,
				  .nr_queues = NR_QUEUES,
				  .nr_workers = 1,
				  .queue_size = 128,
				  .block_bytes = 512 };
	int stop = eventfd(0, EFD_CLOEXEC);
	if (blk_create(&d, NULL, &cfg) || vhost_user_server_create(&s, d))
		return 4;
	int err = vhost_user_server_serve(s, fd, stop);
	vhost_user_server_destroy(s);
	return err ? 5 : 0;
}

/* --- the owner of the frontend --- */

struct owner {
	struct drive v;
	char path[32];
	struct vdev *d;
	_Atomic pid_t pid; /* 0: none */
	_Atomic unsigned spawned, killed;
	_Atomic int refuse; /* what connect() says instead; 0: nothing */
};

static void owner_reap(struct owner *o)
{
	pid_t pid = atomic_exchange(&o->pid, 0);
	if (pid > 0)
		assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* From any thread: the frontend's may be reaping it, and 0 would mean all of us. */
static void owner_shoot(const struct owner *o)
{
	pid_t pid = o->pid;
	if (pid > 0)
		(void)kill(pid, SIGKILL);
}

static void owner_kill(void *ctx)
{
	struct owner *o = ctx;
	owner_shoot(o);
	owner_reap(o);
	o->killed++;
}

/* I/O of the one before is over when the lock on the image, which goes with its files, is free. */
static int owner_wait_lock(const struct owner *o)
{
	CLEANUP(fd_cleanup) int fd = open(o->path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	return fcntl(fd, F_OFD_SETLK, &l) ? -EBUSY : 0;
}

static int owner_connect(void *ctx)
{
	struct owner *o = ctx;
	int pair[2];
	char fd_text[16];
	pid_t pid;
	posix_spawn_file_actions_t actions;
	if (o->refuse)
		return o->refuse;
	owner_reap(o);
	if (owner_wait_lock(o))
		return -EBUSY;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	(void)snprintf(fd_text, sizeof(fd_text), "%d", 3);
	char *argv[] = { (char *)(uintptr_t) "test", (char *)(uintptr_t) "serve", fd_text, o->path,
			 NULL };
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, pair[1], 3), 0);
	assert_int_equal(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ), 0);
	(void)posix_spawn_file_actions_destroy(&actions);
	fd_close(pair[1]);
	o->pid = pid;
	o->spawned++;
	return pair[0];
}

static int setup_with(void **state, unsigned answer_ms)
{
	struct owner *o = calloc(1, sizeof(*o));
	drive_init(&o->v);
	strcpy(o->path, "front-XXXXXX");
	CLEANUP(fd_cleanup) int fd = mkostemp(o->path, O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, NR_QUEUES * REGION_BYTES), 0);
	struct vhost_front_config cfg = { .name = "front0",
					  .id = VIRTIO_ID_BLOCK,
					  .queue_size = 128,
					  .connect = owner_connect,
					  .kill = owner_kill,
					  .ctx = o,
					  .answer_ms = answer_ms };
	assert_int_equal(vhost_front_create(&o->d, o->v.mem, &cfg), 0);
	assert_int_equal(o->d->nr_queues, NR_QUEUES);
	drive_attach(&o->v, o->d);
	*state = o;
	return 0;
}

/* On a busy machine a good server may take long: it shall not be taken for a hung one. */
static int setup(void **state)
{
	return setup_with(state, 20000);
}

static int setup_impatient(void **state)
{
	return setup_with(state, 0);
}

static int teardown(void **state)
{
	struct owner *o = *state;
	drive_fini(&o->v);
	owner_reap(o); /* it ends when its frontend hangs up */
	(void)unlink(o->path);
	free(o);
	return 0;
}

/* --- tests --- */

static void play(struct owner *o, unsigned goal)
{
	pthread_t t[NR_QUEUES];
	players_start(&o->v, t, goal, NULL);
	players_join(o->path, t);
}

static void reads_what_it_wrote(void **state)
{
	struct owner *o = *state;
	struct virtio_blk_config c;
	vdev_config_read(o->d, 0, &c, sizeof(c));
	assert_int_equal(c.capacity, NR_QUEUES * REGION_BYTES / 512);
	assert_int_equal(c.num_queues, NR_QUEUES);
	drive_up(&o->v, ALL);
	play(o, 2000);
	assert_int_equal(o->spawned, 1);
	assert_false(drive_needs_reset(&o->v));
}

/* A driver starts, its rings packed every other time, and has as much under way as it can. */
static void ask_all(struct owner *o, unsigned round)
{
	struct player p = { .v = &o->v, .seed = round };
	drive_up(&o->v, round % 2 ? ALL : ~0ull);
	for (unsigned k = 0; k < NR_SLOTS; k++)
		player_ask(&p, k);
	drive_kick(&o->v, 0);
}

/* After a reset memory is the driver's own, also when a server can be had again. */
static void reset_and_watch(struct owner *o, unsigned round)
{
	drive_reset(&o->v);
	memset(o->v.ram + DRIVE_DATA, (int)round, DRIVE_RAM_BYTES - DRIVE_DATA);
	o->refuse = 0;
	drive_idle(&o->v);
	for (uint64_t at = DRIVE_DATA; at < DRIVE_RAM_BYTES; at += 509)
		assert_int_equal(o->v.ram[at], (uint8_t)round);
}

/* What the image held is unknown. */
static void play_on_zeros(struct owner *o)
{
	assert_int_equal(truncate(o->path, 0), 0);
	assert_int_equal(truncate(o->path, NR_QUEUES * REGION_BYTES), 0);
	drive_up(&o->v, ALL);
	play(o, 500);
}

static void goes_on_after_resets(void **state)
{
	struct owner *o = *state;
	for (unsigned i = 0; i < 20; i++) {
		ask_all(o, i);
		if (i % 3 == 0) {
			drive_queue_reset(&o->v, 0);
			drive_queue_up(&o->v, 0);
		}
		reset_and_watch(o, i);
	}
	play_on_zeros(o);
	assert_int_equal(o->spawned, 1);
}

static void nap_us(uint64_t us)
{
	const struct timespec nap = { .tv_nsec = (long)us * 1000 };
	(void)nanosleep(&nap, NULL);
}

/* Eight in a row that got nothing done would be given up, with good reason. */
static void wait_for_progress(struct owner *o)
{
	unsigned before = players[0].done;
	drive_until(&o->v, players[0].done != before);
	assert_false(drive_needs_reset(&o->v));
}

static bool is_settled(struct owner *o, struct vhost_front_info *info)
{
	vhost_front_info(o->d, info);
	return info->is_connected;
}

/* At random moments: also while it is being introduced. */
static void survive_kills(struct owner *o, uint64_t features)
{
	static _Atomic bool is_over;
	struct player dice = { .seed = 99 };
	struct vhost_front_info info;
	pthread_t t[NR_QUEUES];
	is_over = false;
	drive_up(&o->v, features);
	assert_int_equal(o->v.features & PACKED, features & PACKED);
	players_start(&o->v, t, 0, &is_over);
	for (unsigned i = 0; i < KILLS; i++) {
		if (i % 3 == 0)
			wait_for_progress(o);
		unsigned before = o->spawned;
		pid_t pid = o->pid;
		nap_us(player_random(&dice) % 20000);
		if (pid > 0 && o->spawned == before)
			(void)kill(pid, SIGKILL);
		drive_until(&o->v, o->spawned != before);
	}
	is_over = true;
	players_join(o->path, t);
	/* the last requests may be done before it has told everything to the last server */
	drive_until(&o->v, is_settled(o, &info));
	assert_false(drive_needs_reset(&o->v));
	assert_true(info.restarts && info.outages);
	print_message("    %u requests, %u servers, longest outage %llu us\n",
		      players[0].ops + players[1].ops, o->spawned,
		      (unsigned long long)info.longest_ns / 1000);
}

static void no_kill_is_noticed(void **state)
{
	survive_kills(*state, ALL);
}

static void no_kill_is_noticed_packed(void **state)
{
	survive_kills(*state, ~0ull);
}

static void an_operator_may_replace_it_under_load(void **state)
{
	struct owner *o = *state;
	static _Atomic bool is_over;
	pthread_t t[NR_QUEUES];
	is_over = false;
	drive_up(&o->v, ALL);
	players_start(&o->v, t, 0, &is_over);
	for (unsigned i = 1; i <= 10; i++) {
		vhost_front_restart(o->d);
		drive_until(&o->v, o->spawned == i + 1);
	}
	is_over = true;
	players_join(o->path, t);
	assert_int_equal(o->killed, 10);
}

static void read_image(const struct owner *o, uint8_t to[NR_QUEUES * REGION_BYTES])
{
	CLEANUP(fd_cleanup) int fd = open(o->path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, to, NR_QUEUES * REGION_BYTES, 0), NR_QUEUES * REGION_BYTES);
}

/* Nothing is done as long as it is held, whoever comes and goes. */
static void expect_stillness(struct owner *o)
{
	static uint8_t before[NR_QUEUES * REGION_BYTES], after[NR_QUEUES * REGION_BYTES];
	unsigned done = players[0].done + players[1].done;
	read_image(o, before);
	nap_us(2000);
	read_image(o, after);
	assert_memory_equal(before, after, sizeof(before));
	assert_in_range(players[0].done + players[1].done, done, done + NR_QUEUES * NR_SLOTS);
}

/* Servers are killed and replaced before, while and after their device is held. */
static void survive_holds(struct owner *o, uint64_t features)
{
	static _Atomic bool is_over;
	struct player dice = { .seed = 7 };
	pthread_t t[NR_QUEUES];
	is_over = false;
	drive_up(&o->v, features);
	players_start(&o->v, t, 0, &is_over);
	for (unsigned i = 0; i < KILLS; i++) {
		if (i % 2 == 0)
			wait_for_progress(o);
		if (i % 4 == 1)
			owner_shoot(o);
		vdev_hold(o->d, VDEV_HOLD_OWNER);
		if (i % 4 == 2) {
			nap_us(player_random(&dice) % 3000);
			owner_shoot(o);
		}
		if (i % 5 == 4)
			vhost_front_restart(o->d);
		if (i % 3)
			drive_until(&o->v, vdev_is_quiet(o->d));
		if (i % 3 == 2)
			expect_stillness(o);
		if (i % 4 == 3)
			owner_shoot(o);
		vdev_let_go(o->d, VDEV_HOLD_OWNER);
	}
	is_over = true;
	players_join(o->path, t);
	assert_false(drive_needs_reset(&o->v));
}

static void no_hold_is_noticed(void **state)
{
	survive_holds(*state, ALL);
}

static void no_hold_is_noticed_packed(void **state)
{
	survive_holds(*state, ~0ull);
}

/* Resets, and one queue's, while the server is dead: they end, and nothing is written afterwards.
 */
static void resets_end_whoever_is_dead(void **state)
{
	struct owner *o = *state;
	for (unsigned i = 0; i < 20; i++) {
		ask_all(o, i);
		if (i % 4 >= 2)
			o->refuse = -EAGAIN;
		owner_shoot(o);
		if (i % 4 == 1) {
			drive_queue_reset(&o->v, 0);
			drive_queue_up(&o->v, 0);
		}
		reset_and_watch(o, i);
	}
	play_on_zeros(o);
}

/* One that is stopped does not answer: it is killed, and the next does the work. */
static void a_hung_server_is_replaced(void **state)
{
	struct owner *o = *state;
	struct player p = { .v = &o->v, .seed = 5 };
	drive_up(&o->v, ALL);
	assert_int_equal(kill(o->pid, SIGSTOP), 0);
	for (unsigned k = 0; k < NR_SLOTS; k++)
		player_ask(&p, k);
	drive_kick(&o->v, 0);
	while (!player_is_idle(&p)) {
		player_wait(&p);
		(void)player_take(&p);
	}
	assert_true(o->spawned >= 2); /* more: so busy a machine that a good one seemed to hang */
	assert_int_equal(o->killed, o->spawned - 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(reads_what_it_wrote),
		T(goes_on_after_resets),
		T(no_kill_is_noticed),
		T(no_kill_is_noticed_packed),
		T(an_operator_may_replace_it_under_load),
		T(no_hold_is_noticed),
		T(no_hold_is_noticed_packed),
		T(resets_end_whoever_is_dead),
		cmocka_unit_test_setup_teardown(a_hung_server_is_replaced, setup_impatient,
						teardown),
	};
	if (argc == 4 && !strcmp(argv[1], "serve"))
		return serve(atoi(argv[2]), argv[3]);
	log_set_level(LOG_LEVEL_ERROR);
	rcu_enter_thread();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rcu_leave_thread();
	return failed;
}
