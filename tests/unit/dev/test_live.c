/*
 * test_live.c - the devices on real workers: threads, io_uring, files and pipes. The driver runs on
 * threads of its own, so that the thread sanitizer sees both sides.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_console.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <termios.h>
#include <unistd.h>
#include "base/le.h"
#include "dev/virtio_devs.h"
#include "drive.h"
#include "sync/rcu.h"

#define NR_QUEUES    4u
#define REGION_BYTES (1u << 20) /* of the image, for each queue */
#define NR_SLOTS     8u         /* requests of one queue at a time */
#define SLOT_BYTES   0x8000u
#define ALL          (~0ull)

struct fixture {
	struct drive v;
	char path[32];
	struct afile file;
	struct vworker *worker;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	drive_init(&f->v);
	(void)snprintf(f->path, sizeof(f->path), "live-XXXXXX");
	int fd = mkostemp(f->path, O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, NR_QUEUES * REGION_BYTES), 0);
	(void)close(fd);
	f->file.fd = -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	drive_fini(&f->v);
	vworker_destroy(f->worker);
	(void)unlink(f->path);
	free(f);
	return 0;
}

static void start_block_on(struct fixture *f, bool is_direct, uint16_t nr_workers)
{
	struct vdev *d;
	const struct afile_config fc = { .path = f->path, .is_direct = is_direct };
	int err = afile_open(&f->file, &fc);
	if (err == -EINVAL && is_direct)
		skip(); /* a file system without O_DIRECT */
	assert_int_equal(err, 0);
	struct blk_config cfg = { .name = "block0",
				  .file = &f->file,
				  .nr_queues = NR_QUEUES,
				  .nr_workers = nr_workers,
				  .spin_ns = nr_workers ? REACTOR_SPIN_AUTO : 0,
				  .queue_size = 128,
				  .has_discard = true,
				  .serial = "live",
				  .block_bytes = f->file.io_align > 512 ? f->file.io_align : 512 };
	assert_int_equal(blk_create(&d, f->v.mem, &cfg), 0);
	assert_int_equal(f->file.fd, -1);
	drive_attach(&f->v, d);
	drive_up(&f->v, ALL);
}

static void start_block(struct fixture *f, bool is_direct)
{
	start_block_on(f, is_direct, 0);
}

static enum reactor_engine engine;

static void start_worker(struct fixture *f)
{
	const struct vworker_config wc = { .name = "io", .entries = 64, .engine = engine };
	assert_int_equal(vworker_create(&f->worker, &wc), 0);
}

/* --- block: random work with a model of what each sector holds --- */

struct player {
	struct fixture *f;
	uint16_t q;
	uint64_t seed;
	unsigned ops, unit;                /* unit: bytes, of the logical block */
	bool unaligned;                    /* memory */
	uint8_t model[REGION_BYTES / 512]; /* what each sector of the region is filled with */
	struct {
		bool is_busy;
		uint16_t head;
		uint32_t type, first, nr; /* sectors of the region */
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
	return DRIVE_DATA + 0x20000 + (p->q * NR_SLOTS + i) * (uint64_t)SLOT_BYTES;
}

static bool player_overlaps(const struct player *p, uint32_t first, uint32_t nr)
{
	for (unsigned i = 0; i < NR_SLOTS; i++)
		if (p->slot[i].is_busy && p->slot[i].type != VIRTIO_BLK_T_FLUSH &&
		    first < p->slot[i].first + p->slot[i].nr && p->slot[i].first < first + nr)
			return true;
	return false;
}

static void player_ask(struct player *p, unsigned i)
{
	static const uint32_t types[8] = { VIRTIO_BLK_T_IN,           VIRTIO_BLK_T_IN,
					   VIRTIO_BLK_T_IN,           VIRTIO_BLK_T_OUT,
					   VIRTIO_BLK_T_OUT,          VIRTIO_BLK_T_FLUSH,
					   VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_DISCARD };
	uint8_t *ram = p->f->v.ram;
	uint32_t step = p->unit / 512, type = types[player_random(p) % 8];
	uint32_t nr = (uint32_t)(1 + player_random(p) % 3) * step;
	uint32_t first = (uint32_t)(player_random(p) % (REGION_BYTES / 512 - nr)) / step * step;
	if (player_overlaps(p, first, nr))
		return;
	uint64_t addr = slot_addr(p, i), data = addr + 0x1000 + (p->unaligned ? 3 : 0);
	uint64_t sector = p->q * (REGION_BYTES / 512) + first;
	uint8_t fill = (uint8_t)player_random(p);
	struct drive_seg s[4] = {
		{ addr, 16 }, { data, 512 }, { data + 512, nr * 512 - 512 }, { addr + 0x100, 1 }
	};
	unsigned nr_data = nr > 1 ? 2 : 1;
	if (nr == 1)
		s[2] = s[3];
	le_store(ram + addr, type, 4);
	le_store(ram + addr + 8, sector, 8);
	ram[addr + 0x100] = 0xff;
	if (type == VIRTIO_BLK_T_FLUSH) {
		s[1] = (struct drive_seg){ addr + 0x100, 1 };
		nr_data = 0;
	} else if (type != VIRTIO_BLK_T_IN && type != VIRTIO_BLK_T_OUT) {
		le_store(ram + data, sector, 8);
		le_store(ram + data + 8, nr, 4);
		le_store(ram + data + 12, 0, 4);
		s[1].len = 16;
		s[2] = (struct drive_seg){ addr + 0x100, 1 };
		nr_data = 1;
	} else {
		memset(ram + data, type == VIRTIO_BLK_T_OUT ? fill : 0xee, nr * 512);
	}
	p->slot[i].is_busy = true;
	p->slot[i].type = type;
	p->slot[i].first = first;
	p->slot[i].nr = nr;
	p->slot[i].fill = type == VIRTIO_BLK_T_OUT ? fill : 0;
	unsigned nr_out = type == VIRTIO_BLK_T_IN ? 1 : 1 + nr_data;
	p->slot[i].head = drive_offer(&p->f->v, p->q, s, nr_out, 2 + nr_data - nr_out);
	p->ops++;
}

static void player_check(struct player *p, unsigned i)
{
	const uint8_t *ram = p->f->v.ram;
	uint64_t addr = slot_addr(p, i), data = addr + 0x1000 + (p->unaligned ? 3 : 0);
	if (ram[addr + 0x100] != VIRTIO_BLK_S_OK)
		fail_msg("queue %u: type %u: status %u", p->q, p->slot[i].type, ram[addr + 0x100]);
	for (uint32_t s = 0; s < p->slot[i].nr; s++) {
		uint8_t *model = &p->model[p->slot[i].first + s];
		if (p->slot[i].type == VIRTIO_BLK_T_IN) {
			for (unsigned b = 0; b < 512; b++)
				if (ram[data + s * 512 + b] != *model)
					fail_msg("queue %u: wrong data", p->q);
		} else if (p->slot[i].type != VIRTIO_BLK_T_FLUSH) {
			*model = p->slot[i].fill;
		}
	}
	p->slot[i].is_busy = false;
}

static void player_take(struct player *p)
{
	uint16_t head;
	uint32_t len;
	while (drive_used(&p->f->v, p->q, &head, &len)) {
		unsigned i = 0;
		while (i < NR_SLOTS && !(p->slot[i].is_busy && p->slot[i].head == head))
			i++;
		assert_true(i < NR_SLOTS);
		player_check(p, i);
	}
}

static bool player_is_idle(const struct player *p)
{
	for (unsigned i = 0; i < NR_SLOTS; i++)
		if (p->slot[i].is_busy)
			return false;
	return true;
}

static void *player_run(void *arg)
{
	struct player *p = arg;
	while (p->ops < 1500) {
		for (unsigned i = 0; i < NR_SLOTS; i++)
			if (!p->slot[i].is_busy)
				player_ask(p, i);
		drive_kick(&p->f->v, p->q);
		player_take(p);
		if (player_random(p) % 8 == 0) {
			struct pollfd pfd = { .fd = p->f->v.q[p->q].call.fd, .events = POLLIN };
			(void)poll(&pfd, 1, 1);
			(void)notifier_consume(&p->f->v.q[p->q].call);
		}
	}
	for (unsigned n = 0; !player_is_idle(p); n++) {
		assert_true(n < 100000);
		player_take(p);
		drive_idle(&p->f->v);
	}
	return NULL;
}

static void play(struct fixture *f, bool unaligned)
{
	static struct player players[NR_QUEUES];
	pthread_t t[NR_QUEUES];
	struct virtio_blk_config c;
	memset(players, 0, sizeof(players));
	vdev_config_read(f->v.dev, 0, &c, sizeof(c));
	for (unsigned i = 0; i < NR_QUEUES; i++) {
		players[i] = (struct player){ .f = f,
					      .q = (uint16_t)i,
					      .seed = i + 1,
					      .unit = c.blk_size,
					      .unaligned = unaligned };
		assert_int_equal(pthread_create(&t[i], NULL, player_run, &players[i]), 0);
	}
	for (unsigned i = 0; i < NR_QUEUES; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	/* and the file says the same */
	uint8_t *image = malloc(NR_QUEUES * REGION_BYTES);
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, image, NR_QUEUES * REGION_BYTES, 0), NR_QUEUES * REGION_BYTES);
	(void)close(fd);
	for (unsigned i = 0; i < NR_QUEUES * REGION_BYTES; i++)
		if (image[i] != players[i / REGION_BYTES].model[i % REGION_BYTES / 512])
			fail_msg("the image differs at %u", i);
	free(image);
}

static void four_queues_on_a_cached_file(void **state)
{
	struct fixture *f = *state;
	start_block(f, false);
	play(f, false);
}

static void four_queues_indirect(void **state)
{
	struct fixture *f = *state;
	f->v.use_indirect = true;
	start_block(f, false);
	play(f, true);
}

static void four_queues_on_three_workers(void **state)
{
	struct fixture *f = *state;
	start_block_on(f, false, 3);
	play(f, false);
}

static void four_queues_past_the_page_cache(void **state)
{
	struct fixture *f = *state;
	start_block(f, true);
	play(f, false);
}

static void four_queues_past_the_page_cache_unaligned(void **state)
{
	struct fixture *f = *state;
	start_block(f, true);
	play(f, true);
}

static void flood(struct fixture *f)
{
	for (uint16_t q = 0; q < NR_QUEUES; q++) {
		struct player p = { .f = f, .q = q, .seed = q + 7, .unit = 512 };
		for (unsigned i = 0; i < NR_SLOTS; i++)
			player_ask(&p, i);
		drive_kick(&f->v, q);
	}
}

static void resets_in_the_middle_of_everything(void **state)
{
	struct fixture *f = *state;
	start_block(f, false);
	for (unsigned i = 0; i < 200; i++) {
		flood(f);
		if (i % 3 == 0)
			drive_idle(&f->v);
		if (i % 2) {
			drive_queue_reset(&f->v, (uint16_t)(i % NR_QUEUES));
			drive_queue_up(&f->v, (uint16_t)(i % NR_QUEUES));
		}
		drive_reset(&f->v);
		/* what a late transfer would overwrite */
		memset(f->v.ram + DRIVE_DATA, (int)i, DRIVE_RAM_BYTES - DRIVE_DATA);
		drive_idle(&f->v);
		for (uint64_t at = DRIVE_DATA; at < DRIVE_RAM_BYTES; at += 509)
			assert_int_equal(f->v.ram[at], (uint8_t)i);
		drive_up(&f->v, ALL);
	}
	drive_reset(&f->v);
	int fd = open(f->path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, NR_QUEUES * REGION_BYTES), 0);
	(void)close(fd);
	drive_up(&f->v, ALL);
	play(f, false);
}

/* A limit on the size of files: writes past it fail, and nothing else. */
static void a_full_host_fails_the_write_alone(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, lim;
	struct player p = { .f = f, .unit = 512 };
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	start_block(f, false);
	uint64_t addr = slot_addr(&p, 0);
	const struct drive_seg s[] = { { addr, 16 }, { addr + 0x1000, 4096 }, { addr + 0x100, 1 } };
	lim = (struct rlimit){ REGION_BYTES, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &lim), 0);
	for (unsigned i = 0; i < 4; i++) {
		bool too_far = i == 1 || i == 2;
		le_store(f->v.ram + addr, VIRTIO_BLK_T_OUT, 4);
		/* the second begins before the limit, and ends behind it */
		le_store(f->v.ram + addr + 8, i == 2 ? 4000 : REGION_BYTES / 512 - (i == 1 ? 4 : 8),
			 8);
		f->v.ram[addr + 0x100] = 0xff;
		drive_offer(&f->v, 0, s, 2, 1);
		drive_kick(&f->v, 0);
		(void)drive_wait(&f->v, 0, NULL);
		assert_int_equal(f->v.ram[addr + 0x100],
				 too_far ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
	}
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_false(drive_needs_reset(&f->v));
}

/* --- console and rng: on one worker --- */

static void start_console(struct fixture *f, int in, int out)
{
	const struct console_port_config port = { .in_fd = in, .out_fd = out, .is_console = true };
	const struct console_config cfg = { .ports = &port, .nr_ports = 1 };
	struct vdev *d;
	start_worker(f);
	assert_int_equal(console_create(&d, f->v.mem, f->worker, &cfg), 0);
	drive_attach(&f->v, d);
	drive_up(&f->v, ALL);
}

static void a_blocking_pipe_does_not_block_the_worker(void **state)
{
	struct fixture *f = *state;
	int in[2], out[2];
	char sink[4096];
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	start_console(f, in[0], out[1]);
	struct vdev *d = f->v.dev;
	for (unsigned i = 0; i < 10; i++) {
		/* nobody reads the output ... */
		drive_offer(&f->v, 1, &(struct drive_seg){ DRIVE_DATA + 0x10000, 1u << 20 }, 1, 0);
		drive_kick(&f->v, 1);
		/* ... but input comes in ... */
		drive_offer(&f->v, 0, &(struct drive_seg){ DRIVE_DATA, 64 }, 0, 1);
		drive_kick(&f->v, 0);
		assert_int_equal(write(in[1], "input", 5), 5);
		assert_int_equal(drive_wait(&f->v, 0, NULL), 5);
		/* ... and a reset goes through */
		drive_reset(&f->v);
		drive_up(&f->v, ALL);
	}
	assert_int_equal(fcntl(out[0], F_SETFL, O_NONBLOCK), 0);
	while (read(out[0], sink, sizeof(sink)) > 0)
		;
	memcpy(f->v.ram + DRIVE_DATA, "end", 3);
	drive_offer(&f->v, 1, &(struct drive_seg){ DRIVE_DATA, 3 }, 1, 0);
	drive_kick(&f->v, 1);
	(void)drive_wait(&f->v, 1, NULL);
	assert_int_equal(read(out[0], sink, sizeof(sink)), 3);
	console_resize(d, 90, 30);
	drive_until(&f->v, f->v.config_changes > 0);
	vdev_quiesce(d);
	drive_until(&f->v, vdev_is_quiet(d));
	vdev_destroy(d);
	f->v.dev = NULL;
	for (unsigned i = 0; i < 2; i++) {
		(void)close(in[i]);
		(void)close(out[i]);
	}
}

static void a_terminal_on_both_ends(void **state)
{
	struct fixture *f = *state;
	struct termios raw;
	char got[16];
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(master >= 0 && !grantpt(master) && !unlockpt(master));
	int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(slave >= 0 && !tcgetattr(slave, &raw));
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
	start_console(f, slave, slave);
	for (unsigned i = 0; i < 20; i++) {
		drive_offer(&f->v, 0, &(struct drive_seg){ DRIVE_DATA, 64 }, 0, 1);
		drive_kick(&f->v, 0);
		if (i % 2)
			drive_idle(&f->v);
		assert_int_equal(write(master, "key", 3), 3);
		assert_int_equal(drive_wait(&f->v, 0, NULL), 3);
		drive_offer(&f->v, 1, &(struct drive_seg){ DRIVE_DATA, 3 }, 1, 0);
		drive_kick(&f->v, 1);
		(void)drive_wait(&f->v, 1, NULL);
		for (unsigned n = 0; n < 3;) {
			ssize_t k = read(master, got + n, 3 - n);
			assert_true(k > 0);
			n += (unsigned)k;
		}
		assert_memory_equal(got, "key", 3);
	}
	drive_reset(&f->v); /* also with its buffers full: nobody reads the master */
	drive_up(&f->v, ALL);
	drive_offer(&f->v, 1, &(struct drive_seg){ DRIVE_DATA, 1u << 20 }, 1, 0);
	drive_kick(&f->v, 1);
	for (unsigned i = 0; i < 20; i++)
		drive_idle(&f->v);
	drive_reset(&f->v);
	(void)close(master);
	drive_up(&f->v, ALL);
	drive_offer(&f->v, 1, &(struct drive_seg){ DRIVE_DATA, 3 }, 1, 0);
	drive_kick(&f->v, 1);
	(void)drive_wait(&f->v, 1, NULL); /* hung up: dropped */
	drive_reset(&f->v);
	(void)close(slave);
}

static void a_file_is_typed_in(void **state)
{
	struct fixture *f = *state;
	int in = open(f->path, O_RDWR | O_CLOEXEC);
	assert_int_equal(ftruncate(in, 0), 0);
	assert_int_equal(pwrite(in, "script", 6, 0), 6);
	start_console(f, in, -1);
	for (unsigned i = 0; i < 2; i++) {
		drive_offer(&f->v, 0, &(struct drive_seg){ DRIVE_DATA + i * 4, 4 }, 0, 1);
		drive_kick(&f->v, 0);
		assert_int_equal(drive_wait(&f->v, 0, NULL), i ? 2 : 4);
	}
	assert_memory_equal(f->v.ram + DRIVE_DATA, "script", 6);
	drive_offer(&f->v, 0, &(struct drive_seg){ DRIVE_DATA, 4 }, 0, 1);
	drive_kick(&f->v, 0);
	for (unsigned i = 0; i < 20; i++)
		drive_idle(&f->v);
	const struct reactor_stats *st = reactor_stats_of(vworker_reactor(f->worker));
	uint64_t before = st->passes;
	for (unsigned i = 0; i < 20; i++)
		drive_idle(&f->v);
	assert_int_equal(st->passes, before); /* the end of the file is no reason to be awake */
	drive_reset(&f->v);
	(void)close(in);
}

static int sevens(void *ctx, void *buf, size_t len)
{
	(void)ctx;
	memset(buf, 7, len);
	return 0;
}

static void *rng_run(void *arg)
{
	struct vworker *w = arg;
	const struct rng_source src = { .fill = sevens };
	struct drive v;
	struct vdev *d;
	rcu_enter_thread();
	drive_init(&v);
	assert_int_equal(rng_create(&d, v.mem, w, &src), 0);
	drive_attach(&v, d);
	for (unsigned i = 0; i < 300; i++) {
		drive_up(&v, ALL);
		for (unsigned k = 0; k < i % 7; k++) {
			drive_offer(&v, 0, &(struct drive_seg){ DRIVE_DATA, 64 }, 0, 1);
			drive_kick(&v, 0);
			if (k % 2)
				assert_int_equal(drive_wait(&v, 0, NULL), 64);
		}
		drive_reset(&v);
	}
	drive_fini(&v);
	rcu_leave_thread();
	return NULL;
}

static void devices_share_a_worker(void **state)
{
	struct fixture *f = *state;
	pthread_t t[3];
	start_worker(f);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL, rng_run, f->worker), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
}

/* The driver's side of arm-and-recheck against the worker's: a lost wake-up hangs, and fails. */
static void no_wake_up_is_lost(void **state)
{
	struct fixture *f = *state;
	const struct rng_source src = { .fill = sevens };
	struct vdev *d;
	start_worker(f);
	assert_int_equal(rng_create(&d, f->v.mem, f->worker, &src), 0);
	drive_attach(&f->v, d);
	drive_up(&f->v, ALL);
	uint16_t head;
	uint32_t len;
	for (unsigned i = 0; i < 20000; i++) {
		drive_offer(&f->v, 0, &(struct drive_seg){ DRIVE_DATA, 8 }, 0, 1);
		drive_kick(&f->v, 0);
		for (unsigned spin = i % 500; spin; spin--)
			__asm__ volatile("" ::: "memory"); /* hit the moment it falls asleep */
		if (i % 4 == 0)
			continue;
		drive_until(&f->v, drive_used(&f->v, 0, &head, &len));
		while (drive_used(&f->v, 0, &head, &len))
			;
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(four_queues_on_a_cached_file),
		T(four_queues_indirect),
		T(four_queues_on_three_workers),
		T(four_queues_past_the_page_cache),
		T(four_queues_past_the_page_cache_unaligned),
		T(resets_in_the_middle_of_everything),
		T(a_full_host_fails_the_write_alone),
		T(a_blocking_pipe_does_not_block_the_worker),
		T(a_terminal_on_both_ends),
		T(a_file_is_typed_in),
		T(devices_share_a_worker),
		T(no_wake_up_is_lost),
	};
	const struct CMUnitTest shared[] = {
		T(a_blocking_pipe_does_not_block_the_worker),
		T(a_terminal_on_both_ends),
		T(a_file_is_typed_in),
		T(devices_share_a_worker),
		T(no_wake_up_is_lost),
	};
	rcu_enter_thread();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	engine = REACTOR_POOL; /* where io_uring is forbidden */
	failed += cmocka_run_group_tests_name("without io_uring", shared, NULL, NULL);
	rcu_leave_thread();
	return failed;
}
