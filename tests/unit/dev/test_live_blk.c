/*
 * test_live_blk.c - block devices on real workers: threads, io_uring, files. The driver runs on
 * threads of its own, so that the thread sanitizer sees both sides.
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
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

/* Header, data and status of a request for slot @i, whose type and place are set; @s: where they
 * are. How many of them are data. */
static unsigned player_lay_out(struct player *p, unsigned i, uint64_t sector, struct drive_seg s[4])
{
	uint8_t *ram = p->f->v.ram;
	uint32_t type = p->slot[i].type, nr = p->slot[i].nr;
	uint64_t addr = slot_addr(p, i), data = addr + 0x1000 + (p->unaligned ? 3 : 0);
	const struct drive_seg status = { addr + 0x100, 1 };
	unsigned nr_data = nr > 1 ? 2 : 1;
	le_store(ram + addr, type, 4);
	le_store(ram + addr + 8, sector, 8);
	ram[addr + 0x100] = 0xff;
	s[0] = (struct drive_seg){ addr, 16 };
	s[1] = (struct drive_seg){ data, 512 };
	s[2] = (struct drive_seg){ data + 512, nr * 512 - 512 };
	if (type == VIRTIO_BLK_T_FLUSH) {
		nr_data = 0;
	} else if (type != VIRTIO_BLK_T_IN && type != VIRTIO_BLK_T_OUT) {
		le_store(ram + data, sector, 8);
		le_store(ram + data + 8, nr, 4);
		le_store(ram + data + 12, 0, 4);
		s[1].len = 16;
		nr_data = 1;
	} else {
		memset(ram + data, type == VIRTIO_BLK_T_OUT ? p->slot[i].fill : 0xee, nr * 512);
	}
	s[1 + nr_data] = status;
	return nr_data;
}

static void player_ask(struct player *p, unsigned i)
{
	static const uint32_t types[8] = { VIRTIO_BLK_T_IN,           VIRTIO_BLK_T_IN,
					   VIRTIO_BLK_T_IN,           VIRTIO_BLK_T_OUT,
					   VIRTIO_BLK_T_OUT,          VIRTIO_BLK_T_FLUSH,
					   VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_DISCARD };
	uint32_t step = p->unit / 512, type = types[player_random(p) % 8];
	uint32_t nr = (uint32_t)(1 + player_random(p) % 3) * step;
	uint32_t first = (uint32_t)(player_random(p) % (REGION_BYTES / 512 - nr)) / step * step;
	if (player_overlaps(p, first, nr))
		return;
	uint8_t fill = (uint8_t)player_random(p);
	p->slot[i].is_busy = true;
	p->slot[i].type = type;
	p->slot[i].first = first;
	p->slot[i].nr = nr;
	p->slot[i].fill = type == VIRTIO_BLK_T_OUT ? fill : 0;
	struct drive_seg s[4];
	unsigned nr_data = player_lay_out(p, i, p->q * (REGION_BYTES / 512) + first, s);
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

static void four_queues_without_a_write_cache(void **state)
{
	struct fixture *f = *state;
	start_block(f, false);
	vdev_config_write(f->v.dev, offsetof(struct virtio_blk_config, wce), &(uint8_t){ 0 }, 1);
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

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(four_queues_on_a_cached_file),       T(four_queues_indirect),
		T(four_queues_on_three_workers),       T(four_queues_without_a_write_cache),
		T(four_queues_past_the_page_cache),    T(four_queues_past_the_page_cache_unaligned),
		T(resets_in_the_middle_of_everything), T(a_full_host_fails_the_write_alone),
	};
	rcu_enter_thread();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rcu_leave_thread();
	return failed;
}
