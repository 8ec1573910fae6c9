/* term.c - see term.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/le.h"
#include "term.h"

int term_setup(void **state)
{
	struct term *f = calloc(1, sizeof(*f));
	const struct vworker_config wc = { .name = "console", .entries = 64 };
	assert_non_null(f);
	fake_forget();
	drive_init(&f->v);
	f->v.step = fake_step;
	f->v.destroy_waits = true;
	assert_int_equal(pipe2(f->in, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pipe2(f->out, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(vworker_create(&f->worker, &wc), 0);
	*state = f;
	return 0;
}

int term_teardown(void **state)
{
	struct term *f = *state;
	drive_fini(&f->v);
	vworker_destroy(f->worker);
	for (unsigned i = 0; i < 2; i++) {
		(void)close(f->in[i]);
		(void)close(f->out[i]);
	}
	free(f);
	return 0;
}

void term_up(struct term *f, const struct console_port_config *ports, unsigned nr)
{
	struct vdev *d;
	const struct console_config cfg = {
		.ports = ports, .nr_ports = nr, .cols = 80, .rows = 25
	};
	assert_int_equal(console_create(&d, f->v.mem, f->worker, &cfg), 0);
	drive_attach(&f->v, d);
	drive_up(&f->v, ~0ull);
}

void term_up_single(struct term *f)
{
	const struct console_port_config p = { .in_fd = f->in[0],
					       .out_fd = f->out[1],
					       .is_console = true };
	term_up(f, &p, 1);
	assert_int_equal(f->v.nr_queues, 2);
}

void term_give_buffer(struct term *f, uint64_t addr, uint32_t len)
{
	drive_offer(&f->v, TERM_RX, &(struct drive_seg){ addr, len }, 0, 1);
	drive_kick(&f->v, TERM_RX);
}

void term_put(struct term *f, const char *text)
{
	assert_int_equal(write(f->in[1], text, strlen(text)), strlen(text));
}

void term_send(struct term *f, uint64_t addr, uint32_t len)
{
	drive_offer(&f->v, TERM_TX, &(struct drive_seg){ addr, len }, 1, 0);
	drive_kick(&f->v, TERM_TX);
}

bool term_nothing_used(struct term *f, uint16_t q)
{
	uint16_t head;
	uint32_t len;
	return !drive_used(&f->v, q, &head, &len);
}

void term_say(struct term *f, uint32_t id, uint16_t event, uint16_t value)
{
	le_store(f->v.ram + TERM_DATA + 0x9000, id, 4);
	le_store(f->v.ram + TERM_DATA + 0x9004, event, 2);
	le_store(f->v.ram + TERM_DATA + 0x9006, value, 2);
	drive_offer(&f->v, TERM_CTX, &(struct drive_seg){ TERM_DATA + 0x9000, 8 }, 1, 0);
	drive_kick(&f->v, TERM_CTX);
	(void)drive_wait(&f->v, TERM_CTX, NULL);
}
