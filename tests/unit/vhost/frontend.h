/*
 * frontend.h - a vhost-user frontend that says what the test wants, and a device that listens.
 *
 * Layer:   tests
 * Threads: the server has a thread of its own, and so has the device's body.
 * Errors:  what cannot be sent or does not come within 10 s fails the test.
 * Spec:    QEMU docs/interop/vhost-user.rst.
 */
#ifndef TESTS_UNIT_VHOST_FRONTEND_H
#define TESTS_UNIT_VHOST_FRONTEND_H
#include <stdarg.h>
#include <setjmp.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <cmocka.h>
#include "support/guest.h"
#include "sync/thread.h"
#include "virtio/vhost_user.h"
#include "../../../virtio/vhost/user_wire.h"

#define BODY_QUEUES 3
#define BODY_SIZE   64
#define BODY_CONFIG 12
#define BODY_BIT    (1ull << 5)
#define USER_BASE   0x7f0000000000ull /* where the frontend has its guest's memory */
#define V1          (1ull << VIRTIO_F_VERSION_1)
#define PROTO       (1ull << VHOST_USER_F_PROTOCOL_FEATURES)

/* A body that records, and stops queues on a thread of its own unless it is held. */
struct body {
	struct vdev dev;
	_Atomic unsigned starts[BODY_QUEUES], stops[BODY_QUEUES], resets;
	_Atomic bool is_held;
	_Atomic bool is_stuck; /* gives no sign of life */
	_Atomic unsigned beats;
	_Atomic uint16_t next[BODY_QUEUES]; /* where it says it stopped */
	struct vq_setup setup[BODY_QUEUES];
	uint8_t config[BODY_CONFIG];
	sem_t work;
	_Atomic uint64_t pending; /* queues to stop, by bit */
	_Atomic bool is_over;
	struct thread *thread;
};

struct rig {
	struct guest guest;
	struct guest_queue gq[BODY_QUEUES];
	struct body *body;
	struct vhost_user_server *server;
	struct thread *thread; /* of the server; NULL: not serving */
	struct notifier stop;
	_Atomic int result;    /* of vhost_user_server_serve(); 1: not back yet */
	int sock, server_sock; /* sock: ours */
	int kick[BODY_QUEUES], call[BODY_QUEUES], err[BODY_QUEUES];
};

int rig_setup(void **state);
int rig_setup_packed(void **state);
int rig_teardown(void **state);

/* Connect a fresh frontend. */
void rig_connect(struct rig *r);
/* Close our end and wait for the server: what it returned. */
int rig_hang_up(struct rig *r);
/* Wait for the server to give up on us: what it returned. */
int rig_wait_end(struct rig *r);

/* Send one message. */
void fe_send(struct rig *r, uint32_t request, uint32_t flags, const void *payload, uint32_t len,
	     const int *fds, unsigned nr_fds);
/* Receive an answer to @request: its payload's size; *fd: -1 or what came with it. */
uint32_t fe_recv(struct rig *r, uint32_t request, void *payload, uint32_t room, int *fd);
/* Is an answer there within @ms? */
bool fe_has_answer(struct rig *r, int ms);
/* Send with NEED_REPLY; true: done. */
bool fe_ack(struct rig *r, uint32_t request, const void *payload, uint32_t len, int fd);
uint64_t fe_get(struct rig *r, uint32_t request);
bool fe_set(struct rig *r, uint32_t request, uint64_t value);
bool fe_set_state(struct rig *r, uint32_t request, uint32_t idx, uint32_t num);
uint32_t fe_get_base(struct rig *r, uint32_t idx);
bool fe_set_fd(struct rig *r, uint32_t request, uint32_t idx, int fd);

/* Owner, features (with the protocol's), REPLY_ACK and the rest. */
void fe_negotiate(struct rig *r, uint64_t features);
bool fe_set_mem(struct rig *r);
bool fe_set_addr(struct rig *r, uint32_t idx);
/* All a ring needs; @base as the protocol has it. */
void fe_start_ring(struct rig *r, uint32_t idx, uint32_t base);

/* Wait until *v is @want. */
void wait_for(const _Atomic unsigned *v, unsigned want);

#endif
