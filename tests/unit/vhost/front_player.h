/*
 * front_player.h - drivers of a disk that know what each block of it holds: reads and writes at
 * random, each result checked.
 *
 * Layer:   tests
 * Threads: one for each queue.
 * Errors:  cmocka assertions.
 * Spec:    none.
 */
#ifndef TESTS_UNIT_VHOST_FRONT_PLAYER_H
#define TESTS_UNIT_VHOST_FRONT_PLAYER_H
#include <pthread.h>
#include "unit/dev/drive.h"

#define NR_QUEUES    2u
#define NR_SLOTS     16u
#define SLOT_BYTES   4096u
#define REGION_BYTES (256u << 10) /* of the image, for each queue */

struct player {
	struct drive *v;
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

uint64_t player_random(struct player *p);
/* Offer a request from slot @i, unless it would meet another one. */
void player_ask(struct player *p, unsigned i);
/* Check what came back; how many. */
unsigned player_take(struct player *p);
bool player_is_idle(const struct player *p);
void player_wait(struct player *p);

/* One for each queue of @v, on a thread of its own: @goal requests, or until *@is_over. */
extern struct player players[NR_QUEUES];
void players_start(struct drive *v, pthread_t *t, unsigned goal, _Atomic bool *is_over);
/* Their end; the image at @path holds what they have written. */
void players_join(const char *path, pthread_t *t);

#endif
