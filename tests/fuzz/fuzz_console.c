/* fuzz_console.c - chains of any shape and control messages of any kind, on pipes. */
#include "dev_fuzz.h"
#include <fcntl.h>
#include <unistd.h>
#include "base/le.h"
#include "dev/virtio_devs.h"

static struct drive drive;
static int in[2], out[2];

static void make(void)
{
	static struct vworker *w;
	const struct vworker_config wc = { .name = "console", .entries = 64 };
	assert_true(!pipe2(in, O_CLOEXEC | O_NONBLOCK) && !pipe2(out, O_CLOEXEC | O_NONBLOCK));
	const struct console_port_config ports[] = {
		{ .in_fd = in[0], .out_fd = out[1], .is_console = true },
		{ .in_fd = in[0], .out_fd = out[1], .name = "org.example.0" },
	};
	const struct console_config cfg = { .ports = ports, .nr_ports = 2, .cols = 80, .rows = 25 };
	struct vdev *d;
	assert_int_equal(vworker_create(&w, &wc), 0);
	drive_init(&drive);
	drive.step = fake_step;
	assert_int_equal(console_create(&d, drive.mem, w, &cfg), 0);
	drive_attach(&drive, d);
}

/* A control message, input, a resize, a reader: what brings a console to life. */
static void talk(struct drive *v)
{
	uint8_t buf[256] = { 0 };
	switch (fuzz_take(1) % 4) {
	case 0:
		le_store(v->ram + DRIVE_DATA, fuzz_take(1) % 4, 4);
		le_store(v->ram + DRIVE_DATA + 4, fuzz_take(1) % 9, 2);
		le_store(v->ram + DRIVE_DATA + 6, fuzz_take(1) % 2, 2);
		if (guest_add(&v->q[3].ring, &(struct guest_buf){ DRIVE_DATA, 8, false }, 1,
			      false) < 0)
			return;
		guest_show(&v->q[3].ring);
		drive_kick(v, 3);
		break;
	case 1:
		assert_true(write(in[1], buf, 1 + fuzz_take(1) % sizeof(buf)) != 0);
		break;
	case 2:
		console_resize(v->dev, (uint16_t)fuzz_take(1), (uint16_t)fuzz_take(1));
		break;
	default:
		assert_true(read(out[0], buf, sizeof(buf)) != 0);
	}
}

/*
 * Empty both pipes, so that each input finds them alike. The emergency output belongs to no queue:
 * what the driver gave it before the reset still comes, as soon as there is room.
 */
static void drain(void)
{
	static uint8_t buf[65536];
	unsigned rounds = 0;
	do {
		while (read(out[0], buf, sizeof(buf)) > 0)
			;
		fake_pass();
	} while (fuzz_pending() && ++rounds < 1000);
	assert_int_equal(fuzz_pending(), 0);
	while (read(out[0], buf, sizeof(buf)) > 0)
		;
	while (read(in[0], buf, sizeof(buf)) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!drive.dev)
		make();
	fuzz_at = data;
	fuzz_end = data + size;
	fuzz_play(&drive, ~(fuzz_take(1) & 7), talk);
	drain();
	return 0;
}
