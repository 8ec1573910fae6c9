/*
 * attack.h - attacks on the machine: a row says what is done and what must hold afterwards.
 *
 * `test=attack` runs them all, `test=attack.ring` a group, `test=attack.ring.NAME` one. Besides
 * what the row itself asks for, after each attack: a second disk that was up all the time serves a
 * checked request; disk, entropy device and console serve one after a reset; memory that nobody
 * was given is as before. Between the attack and that look the guest sleeps for a moment, between
 * the lines `pause` and `resume`: whoever watches from outside sees then whether anything spins.
 */
#ifndef GUEST_ATTACK_H
#define GUEST_ATTACK_H
#include "scene.h"
#include "test.h"

/* What must hold when the attack is over, besides the above. */
enum holds {
	REFUSED,        /* the device needs a reset, or the request failed */
	REFUSED_STRICT, /* with strict=1; else ANYTHING */
	SERVED,         /* unusual but allowed: a correct answer */
	ANYTHING,       /* as long as nothing breaks */
};

/* The good request of a scene with one field of one descriptor changed. */
struct spoil {
	enum { SPOIL_NONE, SPOIL_ADDR, SPOIL_LEN, SPOIL_FLAGS, SPOIL_NEXT } field;
	unsigned desc; /* 0: header, 1: data, 2: status */
	uint64_t value;
};

struct attack {
	const char *name; /* attack.group.behaviour */
	const char *what;
	enum holds holds;
	/* One of the three. */
	struct spoil spoil;
	void (*arrange)(struct scene *s); /* spoil the good request and offer it */
	enum verdict (*act)(uint64_t arg);
	uint64_t arg; /* of a request: INDIRECT is not negotiated */
};

/* clang-format off */
#define ATTACK_REQUEST(n, w, h, f) { .name = "attack." n, .what = w, .holds = h, .arrange = f }
#define ATTACK_SPOIL(n, w, h, d, f, v) \
	{ .name = "attack." n, .what = w, .holds = h, .spoil = { SPOIL_##f, d, v } }
#define ATTACK_ACT(n, w, f, a) \
	{ .name = "attack." n, .what = w, .holds = ANYTHING, .act = f, .arg = a }
#define ATTACK_END { .name = NULL }
/* clang-format on */

/* Each table ends with a row without a name. */
extern const struct attack attacks_chain[], attacks_indirect[], attacks_index[], attacks_place[],
	attacks_request[], attacks_register[], attacks_pci[], attacks_msix[], attacks_board[],
	attacks_race[], attacks_packed[];

enum verdict attack_run(const struct attack *a);
/* The device answered the first request or asks for a reset; false: not within @ms. */
bool attack_is_decided(const struct scene *s, unsigned ms);
const char *attack_promise(enum holds h); /* in words */

/* A victim's address that is no RAM: what it is, and where. */
struct bad_place {
	const char *what;
	uint64_t at;
};
/* The @n-th one, as this machine has them; what == NULL: no more. */
struct bad_place attack_bad_place(unsigned n);

#endif
