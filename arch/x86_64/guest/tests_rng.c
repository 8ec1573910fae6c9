/*
 * tests_rng.c - the entropy device. VIRTIO 1.2 §5.4.
 */
#include "mem.h"
#include "ring.h"
#include "test.h"
#include "virtio.h"

#define WAIT_MS 5000
#define BYTES   4096

static enum verdict open(struct virtio *v, struct ring *r, uint64_t features)
{
	if (!virtio_find(v, VIRTIO_ID_RNG, 0))
		return test_skip("no entropy device");
	CHECK(virtio_begin(v, features));
	CHECK(ring_setup(r, v, 0, 0));
	virtio_go(v);
	return PASS;
}

static enum verdict ask(struct ring *r, const struct seg *segs, unsigned n, uint32_t *written)
{
	int head = ring_put(r, segs, n, false);
	CHECK(head >= 0);
	ring_offer(r, (uint16_t)head);
	ring_kick(r);
	CHECK(ring_take_wait(r, written, WAIT_MS) == head);
	return PASS;
}

/* Random enough not to be a constant, and nothing behind the length that was said. */
static enum verdict fills(void)
{
	struct virtio v;
	struct ring r;
	CHECK_PASS(open(&v, &r, 0));
	static const uint32_t sizes[] = { 1, 7, 64, 511, BYTES };
	uint8_t *buf = heap_alloc(BYTES + 64, 4096);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint32_t written = 0;
		struct seg s = { buf, sizes[i], true };
		mem_fill(buf, 0, BYTES + 64);
		CHECK_PASS(ask(&r, &s, 1, &written));
		CHECK(written > 0 && written <= sizes[i]);
		unsigned zeroes = 0;
		for (uint32_t k = 0; k < written; k++)
			zeroes += buf[k] == 0;
		CHECK(written < 16 || zeroes < written / 4);
		for (uint32_t k = written; k < BYTES + 64; k++)
			CHECK_EQ(buf[k], 0);
	}
	CHECK(virtio_reset(&v));
	return PASS;
}

static enum verdict two_answers_differ(void)
{
	struct virtio v;
	struct ring r;
	CHECK_PASS(open(&v, &r, ~0ul));
	uint8_t *a = heap_alloc(64, 64), *b = heap_alloc(64, 64);
	uint32_t written;
	struct seg sa = { a, 64, true }, sb = { b, 64, true };
	CHECK_PASS(ask(&r, &sa, 1, &written));
	CHECK_PASS(ask(&r, &sb, 1, &written));
	CHECK(!mem_equal(a, b, 16));
	CHECK(virtio_reset(&v));
	return PASS;
}

static enum verdict many_segments(void)
{
	struct virtio v;
	struct ring r;
	CHECK_PASS(open(&v, &r, 0));
	uint8_t *buf = heap_alloc(BYTES, 4096);
	struct seg segs[4];
	uint32_t written = 0;
	for (unsigned i = 0; i < 4; i++)
		segs[i] = (struct seg){ buf + i * 100, 37, true };
	CHECK_PASS(ask(&r, segs, 4, &written));
	CHECK(written > 0 && written <= 4 * 37);
	for (unsigned i = 0; i < 4; i++)
		for (unsigned k = 37; k < 100; k++)
			CHECK_EQ(buf[i * 100 + k], 0);
	CHECK(virtio_reset(&v));
	return PASS;
}

const struct test rng_tests[] = {
	{ "rng.fills", fills },
	{ "rng.two-answers-differ", two_answers_differ },
	{ "rng.many-segments", many_segments },
	{ NULL, NULL },
};
