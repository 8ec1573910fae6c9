/*
 * term.h - a console device between two pipes, with the reactor that does as it is told.
 *
 * Layer:   tests
 * Threads: one.
 * Errors:  cmocka assertions.
 * Spec:    VIRTIO 1.2 §5.3.
 */
#ifndef TESTS_UNIT_DEV_TERM_H
#define TESTS_UNIT_DEV_TERM_H
#include "dev/virtio_devs.h"
#include "drive.h"
#include "fake_reactor.h"

#define TERM_DATA DRIVE_DATA
#define TERM_RX   0 /* queues */
#define TERM_TX   1
#define TERM_CRX  2
#define TERM_CTX  3

struct term {
	struct drive v;
	struct vworker *worker;
	int in[2], out[2]; /* pipes: the test writes in[1] and reads out[0] */
};

int term_setup(void **state);
int term_teardown(void **state);
void term_up(struct term *f, const struct console_port_config *ports, unsigned nr);
/* One console port between the pipes. */
void term_up_single(struct term *f);

/* On the queues of port 0. */
void term_give_buffer(struct term *f, uint64_t addr, uint32_t len);
void term_send(struct term *f, uint64_t addr, uint32_t len);
/* Type something. */
void term_put(struct term *f, const char *text);
bool term_nothing_used(struct term *f, uint16_t q);

/* Tell the device about port @id, and wait until it has heard; it is told at TERM_DATA + 0x9000. */
void term_say(struct term *f, uint32_t id, uint16_t event, uint16_t value);

#endif
