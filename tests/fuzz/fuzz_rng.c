/* fuzz_rng.c - buffers of any shape for the entropy device, and a source that runs dry. */
#include "dev_fuzz.h"
#include "dev/virtio_devs.h"

static struct drive drive;

static int source(void *ctx, void *buf, size_t len)
{
	(void)ctx;
	if (fuzz_take(1) >= 240)
		return -EAGAIN;
	memset(buf, 0x5a, len);
	return 0;
}

static void make(void)
{
	static struct vworker *w;
	const struct vworker_config wc = { .name = "rng", .entries = 64 };
	const struct rng_source src = { .fill = source };
	struct vdev *d;
	assert_int_equal(vworker_create(&w, &wc), 0);
	drive_init(&drive);
	drive.step = fake_step;
	assert_int_equal(rng_create(&d, drive.mem, w, &src), 0);
	drive_attach(&drive, d);
}

/* Ask for so many bytes in the middle of a field: what lies around it stays. */
static void ask(struct drive *v)
{
	uint64_t at = DRIVE_DATA + 0x10000 + fuzz_take(1);
	uint32_t len = (uint32_t)fuzz_take(2), got = 0;
	uint16_t head;
	struct guest_buf b = { at, len, true };
	fake_pass();
	fuzz_take_used(v);
	bool is_alone = v->q[0].ring.nr_free == v->q[0].ring.size; /* others may be anywhere */
	memset(v->ram + at - 64, 0xee, len + 128);
	if (guest_add(&v->q[0].ring, &b, 1, fuzz_take(1) & 1) < 0)
		return;
	guest_show(&v->q[0].ring);
	drive_kick(v, 0);
	fake_pass();
	while (drive_used(v, 0, &head, &got))
		assert_true(got <= 16384 || len == 0);
	for (unsigned i = 0; is_alone && i < 64; i++)
		assert_true(v->ram[at - 1 - i] == 0xee && v->ram[at + len + i] == 0xee);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!drive.dev)
		make();
	fuzz_at = data;
	fuzz_end = data + size;
	fuzz_play(&drive, ~((fuzz_take(1) & 3) << 28), ask); /* INDIRECT, EVENT_IDX */
	assert_int_equal(fuzz_pending(), 0);
	return 0;
}
