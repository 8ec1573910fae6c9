/*
 * blk_load.h - a queue of a disk kept full by one processor: each read is compared with what was
 * written there last, each request comes back once.
 */
#ifndef GUEST_BLK_LOAD_H
#define GUEST_BLK_LOAD_H
#include "mem.h"
#include "ring.h"
#include "waits.h"

#define LOAD_BLOCKS  64                /* of a queue's stripe, */
#define LOAD_SECTORS (LOAD_BLOCKS * 8) /* of 4 KiB each */

struct slot;

/* The caller sets up the ring, and may set the next two. */
struct load {
	struct ring ring;
	bool is_null;        /* nothing is kept: what is read is not looked at */
	struct waits *waits; /* NULL: nobody asks */
	uint64_t first_sector;
	struct slot *slots;
	uint64_t seeds[LOAD_BLOCKS]; /* 0: never written */
	bool is_locked[LOAD_BLOCKS]; /* a request is on its way */
	struct rand rand;
	unsigned done, busy;
	char why[96]; /* empty: fine */
};

/* Stripe @index of the disk is its own. */
void load_prepare(struct load *l, unsigned index);
/* One round, up to @requests in all. True: something moved. */
bool load_turn(struct load *l, unsigned requests);

#endif
