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
#include <poll.h>
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
#include "base/le.h"
#include "base/log.h"
#include "base/num.h"
#include "dev/virtio_devs.h"
#include "sync/rcu.h"
#include "unit/dev/drive.h"
#include "virtio/vhost_front.h"
#include "virtio/vhost_user.h"

#define NR_QUEUES    2u
#define NR_SLOTS     16u
#define SLOT_BYTES   4096u
#define REGION_BYTES (256u << 10) /* of the image, for each queue */
#define PACKED       (1ull << VIRTIO_F_RING_PACKED)
#define ALL          (~0ull & ~PACKED)

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

static void owner_kill(void *ctx)
{
	struct owner *o = ctx;
	if (o->pid > 0)
		(void)kill(o->pid, SIGKILL);
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

static int setup(void **state)
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
					  .ctx = o };
	assert_int_equal(vhost_front_create(&o->d, o->v.mem, &cfg), 0);
	assert_int_equal(o->d->nr_queues, NR_QUEUES);
	drive_attach(&o->v, o->d);
	*state = o;
	return 0;
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

/* --- the driver --- */

struct player {
	struct owner *o;
	uint16_t q;
	uint64_t seed;
	unsigned ops, goal;
	_Atomic unsigned done;
	_Atomic bool *is_over; /* go on until then, when there is one */
	uint8_t model[REGION_BYTES / SLOT_BYTES];
	struct {
		bool is_busy, is_write;
		uint16_t head;
		uint32_t block;
		uint8_t fill;
	} slot[NR_SLOTS];
};

static uint64_t player_random(struct player *p)
{
	p->seed = p->seed * 6364136223846793005ull + 1442695040888963407ull;
	return p->seed >> 33;
}

static uint64_t slot_addr(const struct player *p, unsigned i)
{
	return DRIVE_DATA + (p->q * NR_SLOTS + i) * 4ull * SLOT_BYTES;
}

static void player_ask(struct player *p, unsigned i)
{
	uint8_t *ram = p->o->v.ram;
	uint64_t addr = slot_addr(p, i), data = addr + SLOT_BYTES;
	uint32_t block = (uint32_t)(player_random(p) % ARRAY_SIZE(p->model));
	for (unsigned k = 0; k < NR_SLOTS; k++)
		if (p->slot[k].is_busy && p->slot[k].block == block)
			return;
	bool is_write = player_random(p) % 2;
	uint8_t fill = (uint8_t)player_random(p);
	struct drive_seg s[3] = { { addr, 16 }, { data, SLOT_BYTES }, { addr + 0x100, 1 } };
	le_store(ram + addr, is_write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, 4);
	le_store(ram + addr + 8, ((uint64_t)p->q * REGION_BYTES + block * SLOT_BYTES) / 512, 8);
	ram[addr + 0x100] = 0xff;
	memset(ram + data, is_write ? fill : (uint8_t)~p->model[block], SLOT_BYTES);
	p->slot[i].is_busy = true;
	p->slot[i].is_write = is_write;
	p->slot[i].block = block;
	p->slot[i].fill = fill;
	p->slot[i].head = drive_offer(&p->o->v, p->q, s, is_write ? 2 : 1, is_write ? 1 : 2);
	p->ops++;
}

static void player_check(struct player *p, unsigned i)
{
	const uint8_t *ram = p->o->v.ram;
	uint64_t addr = slot_addr(p, i);
	uint8_t *model = &p->model[p->slot[i].block];
	assert_int_equal(ram[addr + 0x100], VIRTIO_BLK_S_OK);
	if (p->slot[i].is_write)
		*model = p->slot[i].fill;
	for (unsigned b = 0; b < SLOT_BYTES; b++)
		if (ram[addr + SLOT_BYTES + b] != *model)
			fail_msg("queue %u: wrong data", p->q);
	p->slot[i].is_busy = false;
	p->done++;
}

static unsigned player_take(struct player *p)
{
	uint16_t head;
	uint32_t len;
	unsigned n = 0;
	for (; drive_used(&p->o->v, p->q, &head, &len); n++) {
		unsigned i = 0;
		while (i < NR_SLOTS && !(p->slot[i].is_busy && p->slot[i].head == head))
			i++;
		if (i == NR_SLOTS)
			fail_msg("queue %u: %u came back, and was not out", p->q, head);
		player_check(p, i);
	}
	return n;
}

static bool player_is_idle(const struct player *p)
{
	for (unsigned i = 0; i < NR_SLOTS; i++)
		if (p->slot[i].is_busy)
			return false;
	return true;
}

/* Sleeps for interrupts: one that is lost hangs it. */
static void player_wait(struct player *p)
{
	struct notifier *call = &p->o->v.q[p->q].call;
	struct pollfd pfd = { .fd = call->fd, .events = POLLIN };
	if (guest_arm(&p->o->v.q[p->q].ring, 0))
		return;
	if (poll(&pfd, 1, 60000) != 1)
		fail_msg("queue %u: no interrupt came", p->q);
	(void)notifier_consume(call);
}

static bool player_goes_on(const struct player *p)
{
	return p->is_over ? !*p->is_over : p->ops < p->goal;
}

static void *player_run(void *arg)
{
	struct player *p = arg;
	for (;;) {
		for (unsigned i = 0; i < NR_SLOTS && player_goes_on(p); i++)
			if (!p->slot[i].is_busy)
				player_ask(p, i);
		drive_kick(&p->o->v, p->q);
		if (!player_take(p) && !player_is_idle(p))
			player_wait(p);
		if (player_is_idle(p) && !player_goes_on(p))
			return NULL;
	}
}

static struct player players[NR_QUEUES];

static void players_start(struct owner *o, pthread_t *t, unsigned goal, _Atomic bool *is_over)
{
	memset(players, 0, sizeof(players));
	for (unsigned i = 0; i < NR_QUEUES; i++) {
		players[i] = (struct player){
			.o = o, .q = (uint16_t)i, .seed = i + 1, .goal = goal, .is_over = is_over
		};
		assert_int_equal(pthread_create(&t[i], NULL, player_run, &players[i]), 0);
	}
}

static void players_join(struct owner *o, pthread_t *t)
{
	for (unsigned i = 0; i < NR_QUEUES; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	CLEANUP(free_cleanup) uint8_t *image = malloc(NR_QUEUES * REGION_BYTES);
	CLEANUP(fd_cleanup) int fd = open(o->path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, image, NR_QUEUES * REGION_BYTES, 0), NR_QUEUES * REGION_BYTES);
	for (unsigned i = 0; i < NR_QUEUES * REGION_BYTES; i++)
		if (image[i] != players[i / REGION_BYTES].model[i % REGION_BYTES / SLOT_BYTES])
			fail_msg("the image differs at %u", i);
}

static void play(struct owner *o, unsigned goal)
{
	pthread_t t[NR_QUEUES];
	players_start(o, t, goal, NULL);
	players_join(o, t);
}

/* --- tests --- */

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

static void goes_on_after_resets(void **state)
{
	struct owner *o = *state;
	for (unsigned i = 0; i < 20; i++) {
		struct player p = { .o = o, .seed = i };
		drive_up(&o->v, i % 2 ? ALL : ~0ull);
		for (unsigned k = 0; k < NR_SLOTS; k++)
			player_ask(&p, k);
		drive_kick(&o->v, 0);
		if (i % 3 == 0) {
			drive_queue_reset(&o->v, 0);
			drive_queue_up(&o->v, 0);
		}
		drive_reset(&o->v);
		memset(o->v.ram + DRIVE_DATA, (int)i, DRIVE_RAM_BYTES - DRIVE_DATA);
		drive_idle(&o->v);
		for (uint64_t at = DRIVE_DATA; at < DRIVE_RAM_BYTES; at += 509)
			assert_int_equal(o->v.ram[at], (uint8_t)i);
	}
	assert_int_equal(truncate(o->path, 0), 0);
	assert_int_equal(truncate(o->path, NR_QUEUES * REGION_BYTES), 0);
	drive_up(&o->v, ALL);
	play(o, 500);
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
	for (unsigned n = 0; players[0].done == before && n < 200000; n++)
		nap_us(100);
	assert_int_not_equal(players[0].done, before);
	assert_false(drive_needs_reset(&o->v));
}

/* At random moments: also while it is being introduced. */
static void survive_kills(struct owner *o, unsigned kills)
{
	static _Atomic bool is_over;
	struct player dice = { .seed = 99 };
	struct vhost_front_info info;
	pthread_t t[NR_QUEUES];
	is_over = false;
	players_start(o, t, 0, &is_over);
	for (unsigned i = 0; i < kills; i++) {
		if (i % 3 == 0)
			wait_for_progress(o);
		unsigned before = o->spawned;
		pid_t pid = o->pid;
		nap_us(player_random(&dice) % 20000);
		if (pid > 0 && o->spawned == before)
			(void)kill(pid, SIGKILL);
		for (unsigned n = 0; o->spawned == before && n < 200000; n++)
			nap_us(100);
		assert_int_not_equal(o->spawned, before);
	}
	is_over = true;
	players_join(o, t);
	vhost_front_info(o->d, &info);
	assert_false(drive_needs_reset(&o->v));
	assert_true(info.is_connected);
	assert_true(info.restarts && info.outages);
	print_message("    %u requests, %u servers, longest outage %llu us\n",
		      players[0].ops + players[1].ops, o->spawned,
		      (unsigned long long)info.longest_ns / 1000);
}

static void no_kill_is_noticed(void **state)
{
	struct owner *o = *state;
	drive_up(&o->v, ALL);
	survive_kills(o, 60);
}

static void no_kill_is_noticed_packed(void **state)
{
	struct owner *o = *state;
	drive_up(&o->v, ~0ull);
	assert_true(o->v.features & PACKED);
	survive_kills(o, 60);
}

static void an_operator_may_replace_it_under_load(void **state)
{
	struct owner *o = *state;
	static _Atomic bool is_over;
	pthread_t t[NR_QUEUES];
	is_over = false;
	drive_up(&o->v, ALL);
	players_start(o, t, 0, &is_over);
	for (unsigned i = 1; i <= 10; i++) {
		vhost_front_restart(o->d);
		drive_until(&o->v, o->spawned == i + 1);
	}
	is_over = true;
	players_join(o, t);
	assert_int_equal(o->killed, 10);
}

/* Resets, and one queue's, while the server is dead: they end, and nothing is written afterwards.
 */
static void resets_end_whoever_is_dead(void **state)
{
	struct owner *o = *state;
	for (unsigned i = 0; i < 20; i++) {
		struct player p = { .o = o, .seed = i };
		drive_up(&o->v, i % 2 ? ALL : ~0ull);
		for (unsigned k = 0; k < NR_SLOTS; k++)
			player_ask(&p, k);
		drive_kick(&o->v, 0);
		if (i % 4 >= 2)
			o->refuse = -EAGAIN;
		if (o->pid > 0)
			(void)kill(o->pid, SIGKILL);
		if (i % 4 == 1) {
			drive_queue_reset(&o->v, 0);
			drive_queue_up(&o->v, 0);
		}
		drive_reset(&o->v);
		memset(o->v.ram + DRIVE_DATA, (int)i, DRIVE_RAM_BYTES - DRIVE_DATA);
		o->refuse = 0;
		drive_idle(&o->v);
		for (uint64_t at = DRIVE_DATA; at < DRIVE_RAM_BYTES; at += 509)
			assert_int_equal(o->v.ram[at], (uint8_t)i);
	}
	assert_int_equal(truncate(o->path, 0), 0);
	assert_int_equal(truncate(o->path, NR_QUEUES * REGION_BYTES), 0);
	drive_up(&o->v, ALL);
	play(o, 500);
}

/* One that is stopped does not answer: it is killed, and the next does the work. */
static void a_hung_server_is_replaced(void **state)
{
	struct owner *o = *state;
	struct player p = { .o = o, .seed = 5 };
	drive_up(&o->v, ALL);
	assert_int_equal(kill(o->pid, SIGSTOP), 0);
	for (unsigned k = 0; k < NR_SLOTS; k++)
		player_ask(&p, k);
	drive_kick(&o->v, 0);
	while (!player_is_idle(&p)) {
		player_wait(&p);
		(void)player_take(&p);
	}
	assert_int_equal(o->spawned, 2);
	assert_int_equal(o->killed, 1);
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
		T(resets_end_whoever_is_dead),
		T(a_hung_server_is_replaced),
	};
	if (argc == 4 && !strcmp(argv[1], "serve"))
		return serve(atoi(argv[2]), argv[3]);
	log_set_level(LOG_LEVEL_ERROR);
	rcu_enter_thread();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rcu_leave_thread();
	return failed;
}
