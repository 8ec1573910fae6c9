/*
 * zygote_loop.h - inside the zygote: what it knows of each device, shared by the files of its loop.
 *
 * Layer:   vm
 * Threads: the zygote's only one.
 * Errors:  as each says.
 * Spec:    zygote.h.
 */
#ifndef VM_ZYGOTE_LOOP_H
#define VM_ZYGOTE_LOOP_H
#include "zygote_priv.h"

enum slot_state {
	SLOT_EMPTY,
	SLOT_ENDING, /* the old process is killed, a new one wanted */
	SLOT_OPENING,
	SLOT_STARTING, /* made, and not ready yet */
	SLOT_SERVING,
};

struct slot {
	enum slot_state state;
	int ctl; /* -1: main closed it */
	bool is_wanted;
	pid_t pid;     /* 0: none */
	int ready;     /* the child's words come here, orders go there */
	unsigned owed; /* answers to orders: it has no other words once it is ready */
	int sock;      /* main's end, until it is sent */
	uint64_t give_up_ns;
	struct zygote_gift gift;
	struct zygote_program program, former; /* what runs, and what is to if that is no good */
	uint32_t lacks;                        /* what the last process that was ready did */
	bool is_condemned; /* we ended the process before it was ready, for its own fault */
	struct zygote_trial trial;
};

/* An order that a process has been told; main waits for what becomes of it. */
struct slot_order {
	struct slot *slot; /* NULL: none */
	uint32_t seq;
	uint64_t end_ns;
};

struct loop {
	const struct zygote_config *cfg;
	int life, signals;
	unsigned ns;
	bool is_leaving; /* main is gone: no new processes */
	struct slot_order order;
	struct slot slots[ZYGOTE_MAX_DEVICES];
};

/* --- zygote_errand.c: what main wants of the zygote, one errand at a time --- */

/* Main's words, and its silence. False: it is gone. */
bool loop_on_life(struct loop *l);
/* The process of its trial has ended. */
void slot_on_trial(struct slot *s, int status);
/* The process of @s, which serves, has spoken. */
void slot_on_done(struct loop *l, struct slot *s);
/* The order, if it was for @s, is left to the next process. */
void loop_drop_order(struct loop *l, const struct slot *s);
/* What takes too long is ended. */
void loop_hurry(struct loop *l);
/* The one before it takes the place of the one that is no good; ours stands behind all. */
void slot_fall_back(struct slot *s);

#endif
