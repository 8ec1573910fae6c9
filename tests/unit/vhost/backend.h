/*
 * backend.h - a vhost-user server that says what the test wants, behind our frontend and a driver.
 *
 * Layer:   tests
 * Threads: each connection is served by a thread; the test plays the device's part itself, and
 * reads what was said once counts[] shows that it was. Errors:  what does not come within ten
 * seconds fails the test. Spec:    QEMU docs/interop/vhost-user.rst, back end.
 */
#ifndef TESTS_UNIT_VHOST_BACKEND_H
#define TESTS_UNIT_VHOST_BACKEND_H
#include <stdarg.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "sync/thread.h"
#include "unit/dev/drive.h"
#include "virtio/vhost_front.h"
#include "../../../virtio/vhost/user_msg.h"

#define BACKEND_QUEUES 2
#define BACKEND_BYTES  60 /* of configuration: a disk's */
#define BIT(n)         (1ull << (n))
#define PROTOCOL(name) BIT(VHOST_USER_PROTOCOL_F_##name)

/* What it answers to one request, once, instead of the truth. */
struct lie {
	const char *what;
	uint32_t request;
	enum { LIE_ANSWER, LIE_SILENCE, LIE_HANG_UP, LIE_EXTRA } kind;
	uint32_t id, flags, size; /* of the header; id 0: as it should be */
	uint64_t p[4];
	unsigned nr_fds;
};

struct backend_ring {
	uint32_t num, base;
	struct vhost_user_vring_addr addr;
	int kick, call, err;
	_Atomic bool is_up;
};

struct backend {
	struct drive v;
	struct vdev *d;
	struct vhost_front_config cfg;
	/* what the next server is like */
	uint64_t features, protocol, nr_queues;
	uint8_t config[BACKEND_BYTES];
	_Atomic bool is_read_only; /* config */
	_Atomic int refuse;        /* what connect() says instead; 0: nothing */
	_Atomic bool is_mute;      /* it reads, and says nothing */
	_Atomic bool breaks_late;  /* stopping its last ring it says that it is broken, and that the
				    * configuration has changed ... */
	_Atomic int gate;          /* ... which it tells when this is readable; -1: at once */
	_Atomic unsigned die_first; /* so many servers hang up at the first word */
	const struct lie *_Atomic lie;
	_Atomic unsigned lie_after; /* told by a server that came after so many others */
	_Atomic unsigned lie_from;  /* count of that request up to which it tells the truth */
	/* what was said and done */
	_Atomic unsigned counts[VHOST_USER_NR_REQUESTS], connects, tries, kills;
	uint64_t got_features, got_protocol, got_status;
	struct vhost_user_mem_table mem;
	struct vhost_user_inflight inflight;
	struct vhost_user_config_space written;
	struct backend_ring ring[BACKEND_QUEUES];
	int mem_fd, log_fd, backend_fd, log_flags;
	/* the connection */
	struct thread *thread;
	_Atomic int sock; /* the server's end; -1: none */
};

/* An honest server that can everything; nothing is connected yet. */
int backend_setup(void **state);
int backend_teardown(void **state);
/* The same for one round of many with the same driver and memory. */
void backend_begin(struct backend *b);
void backend_end(struct backend *b);
/* Create the frontend and plug it in. */
void backend_plug(struct backend *b);
/* The same, and let the driver bring it up. */
void backend_up(struct backend *b);
/* The server dies. */
void backend_die(struct backend *b);
/* Wait until there were @n of @request. */
void backend_until(struct backend *b, enum vhost_user_request request, unsigned n);

/*
 * Play the device on ring @idx as the server got it: take @nr requests, and give back those whose
 * number (in the order taken) is set in @done; interrupt.
 */
void backend_serve(struct backend *b, uint16_t idx, unsigned nr, uint64_t done);
/* It gives back the request @head, which it had kept behind others. */
void backend_give_late(struct backend *b, uint16_t idx, uint16_t head);
/* Put a request with one byte to write on queue @idx; kick. */
uint16_t backend_ask(struct backend *b, uint16_t idx);
/* Is the last server connected, and does a request get done? */
void backend_works(struct backend *b);
/* What the frontend tells its owner. */
struct vhost_front_info info_of(struct backend *b);

#endif
