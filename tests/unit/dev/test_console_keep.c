/*
 * test_console_keep.c - a console dies and the next one takes over: what the driver was told holds,
 * and bytes under way are neither lost nor put out twice, as far as their descriptor tells.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/le.h"
#include "heir.h"

#define RX1 4 /* queues of port 1 */
#define TX1 5

/* --- the conversation about ports --- */

static uint16_t offer_ctrl(struct term *f)
{
	uint16_t head = drive_offer(&f->v, TERM_CRX, &(struct drive_seg){ TERM_DATA + 0x8000, 64 },
				    0, 1);
	drive_kick(&f->v, TERM_CRX);
	return head;
}

static void hear_that(struct term *f, uint32_t id, uint16_t event)
{
	const uint8_t *p = f->v.ram + TERM_DATA + 0x8000;
	(void)offer_ctrl(f);
	(void)drive_wait(&f->v, TERM_CRX, NULL);
	assert_int_equal(le_load(p, 4), id);
	assert_int_equal(le_load(p + 4, 2), event);
}

static void hear_nothing(struct term *f)
{
	(void)offer_ctrl(f);
	fake_passes(10);
	assert_true(term_nothing_used(f, TERM_CRX));
}

static void up_two(struct term *f, struct console_port_config p[2])
{
	p[0] = (struct console_port_config){ .in_fd = -1, .out_fd = -1, .is_console = true };
	p[1] = (struct console_port_config){ .in_fd = f->in[0],
					     .out_fd = f->out[1],
					     .name = "org.example.0" };
	heir_up(f, p, 2);
}

static void give_input_to_port_1(struct term *f)
{
	drive_offer(&f->v, RX1, &(struct drive_seg){ TERM_DATA, 64 }, 0, 1);
	drive_kick(&f->v, RX1);
}

static void a_port_stays_open(void **state)
{
	struct term *f = *state;
	struct console_port_config p[2];
	up_two(f, p);
	term_say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	hear_that(f, 0, VIRTIO_CONSOLE_PORT_ADD);
	hear_that(f, 1, VIRTIO_CONSOLE_PORT_ADD);
	term_say(f, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	hear_that(f, 1, VIRTIO_CONSOLE_PORT_NAME);
	hear_that(f, 1, VIRTIO_CONSOLE_PORT_OPEN);
	term_say(f, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	heir_killed(f);
	give_input_to_port_1(f);
	term_put(f, "data");
	assert_int_equal(drive_wait(&f->v, RX1, NULL), 4);
	hear_nothing(f); /* it was told all there is */
	/* and what the driver closes after that is closed for the one after, too */
	term_say(f, 1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	heir_killed(f);
	give_input_to_port_1(f);
	term_put(f, "more");
	fake_passes(10);
	assert_true(term_nothing_used(f, RX1));
}

static void what_is_owed_is_told_by_the_next(void **state)
{
	struct term *f = *state;
	struct console_port_config p[2];
	up_two(f, p);
	term_say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	heir_killed(f);
	hear_that(f, 0, VIRTIO_CONSOLE_PORT_ADD);
	heir_killed(f);
	hear_that(f, 1, VIRTIO_CONSOLE_PORT_ADD);
	term_say(f, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	heir_killed(f);
	hear_that(f, 0, VIRTIO_CONSOLE_CONSOLE_PORT);
	hear_that(f, 0, VIRTIO_CONSOLE_PORT_OPEN);
	hear_that(f, 0, VIRTIO_CONSOLE_RESIZE);
	hear_nothing(f);
}

/* Death between the note and the result: the driver has not seen it. */
static void a_message_half_told_is_told_again(void **state)
{
	struct term *f = *state;
	struct console_port_config p[2];
	up_two(f, p);
	uint16_t head = offer_ctrl(f);
	fake_passes(3);
	heir_remember(f);
	heir_die(f);
	heir_keep.k.ports[1].state = CONSOLE_IS_ADDED;
	heir_keep.k.telling = 1u << 31 | 1u << 8 | CONSOLE_NEWS_ADD;
	heir_had_taken(TERM_CRX, head);
	heir_take_over(f);
	(void)drive_wait(&f->v, TERM_CRX, NULL);
	assert_int_equal(le_load(f->v.ram + TERM_DATA + 0x8000, 4), 1);
	assert_int_equal(le_load(f->v.ram + TERM_DATA + 0x8004, 2), VIRTIO_CONSOLE_PORT_ADD);
	assert_int_equal(heir_keep.k.telling, 0);
	/* but not if it has */
	heir_remember(f);
	heir_die(f);
	heir_keep.k.telling = 1u << 31 | 1u << 8 | CONSOLE_NEWS_ADD;
	heir_take_over(f);
	hear_nothing(f);
}

static void a_reset_is_forgotten_by_all(void **state)
{
	struct term *f = *state;
	struct console_port_config p[2];
	up_two(f, p);
	term_say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	term_say(f, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	term_say(f, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	assert_true(heir_keep.k.ports[1].state & CONSOLE_IS_OPEN);
	heir_keep.k.telling = ~0u;
	console_keep_forget(&heir_keep); /* as the frontend has it done */
	assert_int_equal(heir_keep.k.telling, 0);
	assert_int_equal(heir_keep.k.ports[1].state, 0);
	drive_reset(&f->v);
	heir_clear_logs();
	drive_up(&f->v, ~0ull);
	fake_passes(3);
	assert_int_equal(heir_keep.k.ports[0].state | heir_keep.k.ports[1].state, 0);
	/* and what comes after it holds again */
	term_say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	term_say(f, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	heir_killed(f);
	assert_true(heir_keep.k.ports[1].state & CONSOLE_IS_OPEN);
}

/* --- output --- */

/* Four bytes, and then nothing more until the death. */
static bool four_bytes_once(const struct fake_op *o, int32_t *res, uint64_t *max)
{
	(void)res;
	if (o->kind != FAKE_WRITE)
		return false;
	*max = 4;
	fake_held = 1u << FAKE_WRITE;
	return false;
}

static int make_file(void)
{
	char path[] = "/tmp/vmm-keep-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC | O_APPEND);
	assert_true(fd >= 0);
	(void)unlink(path);
	return fd;
}

static void expect_in_file(int fd, const char *text)
{
	char got[64] = "";
	assert_int_equal(pread(fd, got, sizeof(got) - 1, 0), strlen(text));
	assert_string_equal(got, text);
}

/* A request of ten bytes, of which four are out; the death comes then. */
static void die_after_four(struct term *f)
{
	memcpy(f->v.ram + TERM_DATA, "abcdefghij", 10);
	fake_hook = four_bytes_once;
	term_send(f, TERM_DATA, 10);
	fake_passes(5);
	fake_hook = NULL;
	heir_remember(f);
	heir_die(f);
	assert_int_equal(heir_keep.k.ports[0].out.is_begun, 1);
	assert_int_equal(heir_keep.k.ports[0].out.done, 4);
}

static void finish_ten(struct term *f)
{
	uint16_t head;
	uint32_t len;
	heir_take_over(f);
	(void)drive_wait(&f->v, TERM_TX, NULL);
	assert_false(drive_used(&f->v, TERM_TX, &head, &len));
	memcpy(f->v.ram + TERM_DATA, "klm", 3);
	term_send(f, TERM_DATA, 3);
	(void)drive_wait(&f->v, TERM_TX, NULL);
	assert_int_equal(heir_keep.k.ports[0].out.is_begun, 0);
}

static void a_file_gets_each_byte_once(void **state)
{
	struct term *f = *state;
	int fd = make_file();
	const struct console_port_config p = { .in_fd = -1, .out_fd = fd, .owns_out = true };
	heir_up(f, &p, 1);
	die_after_four(f);
	heir_keep.k.ports[0].out.done = 0; /* the last note was not made: the file knows better */
	finish_ten(f);
	expect_in_file(fd, "abcdefghijklm");
	/* all was written, and the result not shown */
	memcpy(f->v.ram + TERM_DATA, "nop", 3);
	fake_held = 1u << FAKE_WRITE;
	term_send(f, TERM_DATA, 3);
	fake_passes(3);
	heir_remember(f);
	heir_die(f);
	assert_int_equal(write(fd, "nop", 3), 3);
	heir_take_over(f);
	(void)drive_wait(&f->v, TERM_TX, NULL);
	expect_in_file(fd, "abcdefghijklmnop");
	(void)drive_unplug(&f->v);
	(void)close(fd);
}

/* For whoever comes next, and cannot ask the file any more. */
static void what_the_file_knew_is_noted(void **state)
{
	struct term *f = *state;
	int fd = make_file();
	const struct console_port_config p = { .in_fd = -1, .out_fd = fd, .owns_out = true };
	heir_up(f, &p, 1);
	die_after_four(f);
	heir_keep.k.ports[0].out.done = 0;
	fake_held = 1u << FAKE_WRITE;
	heir_take_over(f);
	fake_passes(3);
	assert_int_equal(heir_keep.k.ports[0].out.done, 4);
	fake_held = 0;
	(void)drive_wait(&f->v, TERM_TX, NULL);
	(void)drive_unplug(&f->v);
	(void)close(fd);
}

/* Neither in a file that others write to as well, nor while emergency output moves it. */
static void a_place_that_others_move_is_none(void **state)
{
	struct term *f = *state;
	int fd = make_file();
	for (unsigned owns = 0; owns < 2; owns++) {
		const struct console_port_config p = { .in_fd = -1,
						       .out_fd = fd,
						       .owns_out = owns };
		heir_up(f, &p, 1);
		fake_held = 1u << FAKE_WRITE;
		if (owns)
			vdev_config_write(f->v.dev, 8, &(uint32_t){ '!' }, 4);
		fake_passes(2);
		term_send(f, TERM_DATA, 10);
		fake_passes(3);
		assert_int_equal(heir_keep.k.ports[0].out.is_begun, 1);
		assert_int_equal(heir_keep.k.ports[0].out.place, -1);
		fake_held = 0;
		(void)drive_wait(&f->v, TERM_TX, NULL);
		(void)drive_unplug(&f->v);
		f->v.is_destroyed = false;
	}
	(void)close(fd);
}

/* Nobody can ask a pipe what it got: what was noted is not repeated, nothing is left out. */
static void a_pipe_gets_no_byte_less(void **state)
{
	struct term *f = *state;
	char got[64] = "";
	const struct console_port_config p = { .in_fd = -1, .out_fd = f->out[1] };
	heir_up(f, &p, 1);
	die_after_four(f);
	finish_ten(f);
	assert_int_equal(read(f->out[0], got, sizeof(got)), 13);
	assert_memory_equal(got, "abcdefghijklm", 13);
	die_after_four(f);
	heir_keep.k.ports[0].out.done = 0;
	finish_ten(f);
	assert_int_equal(read(f->out[0], got, sizeof(got)), 17);
	assert_memory_equal(got, "abcdabcdefghijklm", 17);
}

/* Given back, and dead before that was noted: the next request is another one. */
static void an_old_note_is_not_taken_for_the_next(void **state)
{
	struct term *f = *state;
	char got[64] = "";
	const struct console_port_config p = { .in_fd = f->in[0], .out_fd = f->out[1] };
	heir_up(f, &p, 1);
	heir_remember(f);
	heir_die(f);
	heir_keep.k.ports[0].out = (struct console_run){ .is_begun = 1, .done = 3, .place = -1 };
	heir_keep.k.ports[0].in = (struct console_run){ .is_begun = 1, .done = 3, .place = -1 };
	heir_take_over(f);
	memcpy(f->v.ram + TERM_DATA, "whole", 5);
	term_send(f, TERM_DATA, 5);
	(void)drive_wait(&f->v, TERM_TX, NULL);
	assert_int_equal(read(f->out[0], got, sizeof(got)), 5);
	term_put(f, "all");
	term_give_buffer(f, TERM_DATA, 64);
	assert_int_equal(drive_wait(&f->v, TERM_RX, NULL), 3);
	assert_memory_equal(f->v.ram + TERM_DATA, "all", 3);
}

/* Its bytes move the place of the file, too. */
static void emergency_output_makes_the_place_worthless(void **state)
{
	struct term *f = *state;
	int fd = make_file();
	const struct console_port_config p = { .in_fd = -1, .out_fd = fd, .owns_out = true };
	heir_up(f, &p, 1);
	fake_hook = four_bytes_once;
	memcpy(f->v.ram + TERM_DATA, "abcdefghij", 10);
	term_send(f, TERM_DATA, 10);
	fake_passes(5);
	assert_int_equal(heir_keep.k.ports[0].out.place, 0);
	vdev_config_write(f->v.dev, 8, &(uint32_t){ '!' }, 4);
	fake_passes(1);
	fake_hook = NULL;
	assert_int_equal(heir_keep.k.ports[0].out.place, -1);
	assert_int_equal(heir_keep.k.ports[0].out.done, 4);
	fake_held = 0;
	(void)drive_wait(&f->v, TERM_TX, NULL);
	(void)drive_unplug(&f->v);
	(void)close(fd);
}

/* --- input --- */

/* It had taken a buffer of @size bytes, had read into it what @run says, and died. */
static void die_with_input(struct term *f, const struct console_run *run, uint32_t size)
{
	uint16_t head = drive_offer(&f->v, TERM_RX, &(struct drive_seg){ TERM_DATA, size }, 0, 1);
	heir_remember(f);
	heir_die(f);
	memcpy(f->v.ram + TERM_DATA, "hello", 5);
	heir_keep.k.ports[0].in = *run;
	heir_had_taken(TERM_RX, head);
	heir_take_over(f);
}

static void input_of_a_file_arrives_once(void **state)
{
	struct term *f = *state;
	int fd = make_file();
	char got[8];
	const struct console_port_config p = { .in_fd = fd, .out_fd = -1, .owns_in = true };
	assert_int_equal(write(fd, "hello world", 11), 11);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	heir_up(f, &p, 1);
	fake_passes(3);
	assert_int_equal(read(fd, got, 5), 5); /* into the buffer */
	die_with_input(f, &(struct console_run){ .is_begun = 1 }, 5);
	assert_int_equal(drive_wait(&f->v, TERM_RX, NULL), 5);
	assert_memory_equal(f->v.ram + TERM_DATA, "hello", 5);
	term_give_buffer(f, TERM_DATA, 64);
	assert_int_equal(drive_wait(&f->v, TERM_RX, NULL), 6);
	assert_memory_equal(f->v.ram + TERM_DATA, " world", 6);
	(void)drive_unplug(&f->v);
	(void)close(fd);
}

static void input_that_was_noted_arrives(void **state)
{
	struct term *f = *state;
	const struct console_port_config p = { .in_fd = f->in[0], .out_fd = -1 };
	heir_up(f, &p, 1);
	die_with_input(f, &(struct console_run){ .is_begun = 1, .done = 5, .place = -1 }, 64);
	assert_int_equal(drive_wait(&f->v, TERM_RX, NULL), 5);
	assert_memory_equal(f->v.ram + TERM_DATA, "hello", 5);
	/* more than fits is a note that cannot be */
	die_with_input(f, &(struct console_run){ .is_begun = 1, .done = 500, .place = -1 }, 64);
	assert_int_equal(drive_wait(&f->v, TERM_RX, NULL), 64);
	/* nothing was read: the buffer waits as before */
	die_with_input(f, &(struct console_run){ .is_begun = 1, .place = -1 }, 64);
	fake_passes(5);
	assert_true(term_nothing_used(f, TERM_RX));
	term_put(f, "x");
	assert_int_equal(drive_wait(&f->v, TERM_RX, NULL), 1);
}

/* --- stops --- */

/* Buffers that the last one had taken, and no input, no message, no reader comes for. */
static void a_successor_can_be_stopped(void **state)
{
	struct term *f = *state;
	struct console_port_config p[2];
	char big[70000] = "";
	up_two(f, p);
	uint16_t ctrl = offer_ctrl(f);
	uint16_t in = drive_offer(&f->v, RX1, &(struct drive_seg){ TERM_DATA, 64 }, 0, 1);
	fake_passes(3);
	while (write(f->out[1], big, sizeof(big)) > 0)
		; /* the pipe is full */
	uint16_t out = drive_offer(&f->v, TX1, &(struct drive_seg){ TERM_DATA, 64 }, 1, 0);
	heir_remember(f);
	heir_die(f);
	heir_had_taken(TERM_CRX, ctrl);
	heir_had_taken(RX1, in);
	heir_had_taken(TX1, out);
	heir_take_over(f);
	drive_reset(&f->v);
	/* and when it is to stop as soon as it starts */
	assert_int_equal(fake_waiting(FAKE_WRITE) + fake_waiting(FAKE_POLL), 0);
}

/* --- the account itself --- */

static void progress_is_what_the_place_tells(void **state)
{
	(void)state;
	int fd = make_file();
	struct console_run r = { 0 };
	console_run_begin(&r, fd);
	assert_int_equal(r.place, 0);
	console_run_note(&r, 7);
	assert_int_equal(console_run_progress(&r, fd, 10), 0);
	assert_int_equal(write(fd, "abc", 3), 3);
	assert_int_equal(console_run_progress(&r, fd, 10), 3);
	assert_int_equal(console_run_progress(&r, fd, 2), 2); /* somebody made the file longer */
	console_run_lose_place(&r);
	assert_int_equal(console_run_progress(&r, fd, 10), 7);
	console_run_begin(&r, -1);
	assert_int_equal(r.place, -1);
	assert_int_equal(r.done, 0);
	(void)close(fd);
}

/* Stopped in order half-way, then the process ends: the next one goes on with the next byte. */
static void what_was_held_half_way_goes_on(void **state)
{
	struct term *f = *state;
	const struct console_port_config p = { .in_fd = -1,
					       .out_fd = f->out[1],
					       .is_console = true };
	const uint32_t len = 300000;
	uint8_t *got = malloc(len);
	uint32_t n = 0;
	heir_up(f, &p, 1);
	for (uint32_t i = 0; i < len; i++)
		f->v.ram[TERM_DATA + i] = (uint8_t)(i * 7 + i / 1000);
	term_send(f, TERM_DATA, 1); /* so that it is not the first */
	(void)drive_wait(&f->v, TERM_TX, NULL);
	assert_int_equal(read(f->out[0], got, 1), 1);
	term_send(f, TERM_DATA, len);
	for (unsigned i = 0; i < 1000 && n < len; i++) {
		fake_passes(3);
		vdev_hold(f->v.dev, VDEV_HOLD_OWNER);
		drive_until(&f->v, vdev_is_quiet(f->v.dev));
		heir_killed(f);
		ssize_t k = read(f->out[0], got + n, 4096);
		n += k > 0 ? (uint32_t)k : 0;
	}
	assert_int_equal(n, len);
	assert_memory_equal(got, f->v.ram + TERM_DATA, len);
	(void)drive_wait(&f->v, TERM_TX, NULL);
	assert_int_equal(heir_keep.k.ports[0].out_cut, 0);
	assert_true(term_nothing_used(f, TERM_TX));
	assert_int_equal(read(f->out[0], got, 1), -1);
	free(got);
}

/* The driver has begun the queue anew since: its next request is another one. */
static void a_reset_ends_what_was_half_way(void **state)
{
	struct term *f = *state;
	const struct console_port_config p = { .in_fd = -1,
					       .out_fd = f->out[1],
					       .is_console = true };
	char sink[65536];
	heir_up(f, &p, 1);
	for (unsigned i = 0; i < 2; i++) {
		term_send(f, TERM_DATA, 300000);
		fake_passes(3);
		vdev_hold(f->v.dev, VDEV_HOLD_OWNER);
		drive_until(&f->v, vdev_is_quiet(f->v.dev));
		assert_int_not_equal(heir_keep.k.ports[0].out_cut, 0);
		drive_reset(&f->v);
		vdev_let_go(f->v.dev, VDEV_HOLD_OWNER);
		while (read(f->out[0], sink, sizeof(sink)) > 0)
			;
		heir_clear_logs();
		for (uint16_t q = 0; q < f->v.nr_queues; q++)
			heir_set_log(f, q);
		drive_up(&f->v, ~0ull);
		f->v.ram[TERM_DATA] = 'x';
		term_send(f, TERM_DATA, 1);
		(void)drive_wait(&f->v, TERM_TX, NULL);
		assert_int_equal(read(f->out[0], sink, sizeof(sink)), 1);
		assert_int_equal(sink[0], 'x');
		f->v.ram[TERM_DATA] = 0;
	}
}

/* The same of one queue: the next request of another is still the one that was half-way. */
static void a_queue_begun_anew_is_forgotten_alone(void **state)
{
	(void)state;
	struct console_keep *k = &heir_keep.k;
	const struct {
		uint16_t queue;
		int port; /* whose output it is; -1: nobody's */
	} t[] = { { 0, -1 }, { 1, 0 }, { 2, -1 }, { 3, -1 },
		  { 4, -1 }, { 5, 1 }, { 7, 2 },  { 63, 30 } };
	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		for (unsigned p = 0; p < CONSOLE_MAX_PORTS; p++)
			k->ports[p].out_cut = 1u << 16;
		console_keep_forget_queue(&heir_keep, t[i].queue);
		for (int p = 0; p < (int)CONSOLE_MAX_PORTS; p++)
			assert_int_equal(k->ports[p].out_cut, p == t[i].port ? 0 : 1u << 16);
	}
}

/* Left by a program of another version, or by nobody. */
static void an_unknown_layout_is_begun_anew(void **state)
{
	struct term *f = *state;
	const struct console_port_config p = { .in_fd = -1, .out_fd = f->out[1], .name = "x" };
	memset(&heir_keep, 0xff, sizeof(heir_keep));
	heir_clear_logs();
	heir_attach(f, &p, 1);
	assert_int_equal(heir_keep.k.version, 1);
	assert_int_equal(heir_keep.k.ports[0].state, 0);
	assert_int_equal(heir_keep.k.telling, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, term_setup, term_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_port_stays_open),
		T(what_is_owed_is_told_by_the_next),
		T(a_message_half_told_is_told_again),
		T(a_reset_is_forgotten_by_all),
		T(a_file_gets_each_byte_once),
		T(what_the_file_knew_is_noted),
		T(a_place_that_others_move_is_none),
		T(a_pipe_gets_no_byte_less),
		T(an_old_note_is_not_taken_for_the_next),
		T(emergency_output_makes_the_place_worthless),
		T(input_of_a_file_arrives_once),
		T(input_that_was_noted_arrives),
		T(a_successor_can_be_stopped),
		T(progress_is_what_the_place_tells),
		T(what_was_held_half_way_goes_on),
		T(a_reset_ends_what_was_half_way),
		T(a_queue_begun_anew_is_forgotten_alone),
		T(an_unknown_layout_is_begun_anew),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
