/* front_player.c - see front_player.h. */
#include "unit/vhost/front_player.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/err.h"
#include "base/le.h"

uint64_t player_random(struct player *p)
{
	p->seed = p->seed * 6364136223846793005ull + 1442695040888963407ull;
	return p->seed >> 33;
}

static uint64_t slot_addr(const struct player *p, unsigned i)
{
	return DRIVE_DATA + (p->q * NR_SLOTS + i) * 4ull * SLOT_BYTES;
}

void player_ask(struct player *p, unsigned i)
{
	uint8_t *ram = p->v->ram;
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
	p->slot[i].head = drive_offer(p->v, p->q, s, is_write ? 2 : 1, is_write ? 1 : 2);
	p->ops++;
}

static void player_check(struct player *p, unsigned i)
{
	const uint8_t *ram = p->v->ram;
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

unsigned player_take(struct player *p)
{
	uint16_t head;
	uint32_t len;
	unsigned n = 0;
	for (; drive_used(p->v, p->q, &head, &len); n++) {
		unsigned i = 0;
		while (i < NR_SLOTS && !(p->slot[i].is_busy && p->slot[i].head == head))
			i++;
		if (i == NR_SLOTS)
			fail_msg("queue %u: %u came back, and was not out", p->q, head);
		player_check(p, i);
	}
	return n;
}

bool player_is_idle(const struct player *p)
{
	for (unsigned i = 0; i < NR_SLOTS; i++)
		if (p->slot[i].is_busy)
			return false;
	return true;
}

/* Sleeps for interrupts: one that is lost hangs it. */
void player_wait(struct player *p)
{
	struct notifier *call = &p->v->q[p->q].call;
	struct pollfd pfd = { .fd = call->fd, .events = POLLIN };
	if (guest_arm(&p->v->q[p->q].ring, 0))
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
		drive_kick(p->v, p->q);
		if (!player_take(p) && !player_is_idle(p))
			player_wait(p);
		if (player_is_idle(p) && !player_goes_on(p))
			return NULL;
	}
}

struct player players[NR_QUEUES];

void players_start(struct drive *v, pthread_t *t, unsigned goal, _Atomic bool *is_over)
{
	memset(players, 0, sizeof(players));
	for (unsigned i = 0; i < NR_QUEUES; i++) {
		players[i] = (struct player){
			.v = v, .q = (uint16_t)i, .seed = i + 1, .goal = goal, .is_over = is_over
		};
		assert_int_equal(pthread_create(&t[i], NULL, player_run, &players[i]), 0);
	}
}

void players_join(const char *path, pthread_t *t)
{
	for (unsigned i = 0; i < NR_QUEUES; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	CLEANUP(free_cleanup) uint8_t *image = malloc(NR_QUEUES * REGION_BYTES);
	CLEANUP(fd_cleanup) int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, image, NR_QUEUES * REGION_BYTES, 0), NR_QUEUES * REGION_BYTES);
	for (unsigned i = 0; i < NR_QUEUES * REGION_BYTES; i++)
		if (image[i] != players[i / REGION_BYTES].model[i % REGION_BYTES / SLOT_BYTES])
			fail_msg("the image differs at %u", i);
}
