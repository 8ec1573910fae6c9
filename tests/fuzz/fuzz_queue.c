/*
 * fuzz_queue.c - guest memory made of the fuzzer's bytes, and a device that believes none of it.
 *
 * The first bytes choose ring format, size and features; each further record is a write into guest
 * memory or a step of the device. Checked: every segment lies in guest RAM, the parts add up, no
 * head is in flight twice, what was popped can be pushed, and a dead queue stays dead.
 */
#include <errno.h>
#include <string.h>
#include "base/num.h"
#include "support/guest.h"

#define RAM_BYTES (64 * KIB)
#define MAX_SIZE  16

struct fuzz {
	struct guest guest;
	struct guest_queue gq;
	struct vq *q;
	struct vq_chain *held[MAX_SIZE];
	unsigned nr_held;
	bool is_dead;
	const uint8_t *data;
	size_t left;
};

static uint8_t take_byte(struct fuzz *f)
{
	if (!f->left)
		return 0;
	f->left--;
	return *f->data++;
}

static void check_chain(const struct fuzz *f, const struct vq_chain *c)
{
	uint64_t bytes[2] = { 0, 0 };
	BUG_ON(c->head >= f->gq.size);
	for (unsigned i = 0; i < f->nr_held; i++)
		BUG_ON(f->held[i]->head == c->head);
	for (unsigned i = 0; i < (unsigned)c->nr_out + c->nr_in; i++) {
		const uint8_t *p = c->iov[i].iov_base;
		BUG_ON(p < f->guest.ram || !c->iov[i].iov_len);
		BUG_ON(c->iov[i].iov_len > RAM_BYTES - (uint64_t)(p - f->guest.ram));
		bytes[i >= c->nr_out] += c->iov[i].iov_len;
	}
	BUG_ON(bytes[0] != c->out_bytes || bytes[1] != c->in_bytes);
}

static void step_pop(struct fuzz *f, unsigned max, bool put_back)
{
	struct vq_chain *c[VQ_BATCH] = { NULL };
	int got = vq_pop_batch(f->q, c, max);
	BUG_ON(f->is_dead && got != -EBADMSG);
	BUG_ON(got > (int)max);
	f->is_dead |= got == -EBADMSG;
	for (int i = 0; i < got; i++) {
		BUG_ON(f->nr_held == f->gq.size);
		check_chain(f, c[i]);
		uint8_t buf[16] = { 0 };
		BUG_ON(vq_chain_read(c[i], 0, buf, sizeof(buf)) !=
		       (c[i]->out_bytes >= sizeof(buf)));
		f->held[f->nr_held++] = c[i];
	}
	if (put_back && got > 0)
		vq_unpop(f->q, f->held[--f->nr_held]);
}

static void step_push(struct fuzz *f, unsigned which)
{
	if (!f->nr_held)
		return;
	which %= f->nr_held;
	struct vq_chain *c = f->held[which];
	f->held[which] = f->held[--f->nr_held];
	vq_push(f->q, c, c->in_bytes);
}

/* Offset in the three areas or anywhere, then up to 16 bytes. */
static void step_write(struct fuzz *f, unsigned where)
{
	const uint64_t areas[] = { f->gq.desc_gpa, f->gq.driver_gpa, f->gq.device_gpa, 0x8000 };
	uint64_t at = areas[where % 4] + take_byte(f) * (where & 4 ? 1ull : 16ull);
	size_t len = min_size(take_byte(f) % 17u, f->left);
	if (at + len > RAM_BYTES)
		return;
	memcpy(f->guest.ram + at, f->data, len);
	f->data += len;
	f->left -= len;
}

/* A plausible chain, so that the deep paths are found quickly. */
static void step_add(struct fuzz *f, unsigned how)
{
	struct guest_buf b[4];
	unsigned nr = 1 + how % 4;
	for (unsigned i = 0; i < nr; i++)
		b[i] = (struct guest_buf){ take_byte(f) * 256ull, take_byte(f) * 3u,
					   take_byte(f) & 1 };
	bool is_indirect = (how & 8) && f->gq.tables;
	if (!f->gq.nr_descs[f->gq.free_head % f->gq.size] &&
	    guest_add(&f->gq, b, nr, is_indirect) >= 0)
		guest_show(&f->gq);
}

static void step(struct fuzz *f)
{
	uint8_t op = take_byte(f);
	switch (op & 7) {
	case 0:
	case 1:
		step_write(f, op >> 3);
		break;
	case 2:
		step_add(f, op >> 3);
		break;
	case 3:
		step_pop(f, 1 + (op >> 3 & 15), op & 0x80);
		break;
	case 4:
		step_push(f, op >> 3);
		break;
	case 5:
		(void)vq_publish(f->q);
		break;
	case 6:
		(void)vq_has_work(f->q);
		(void)vq_arm(f->q);
		break;
	default:
		vq_disarm(f->q);
		step_pop(f, 1 + (op >> 3), false);
	}
	BUG_ON(vq_in_flight(f->q) != f->nr_held);
}

static bool begin(struct fuzz *f)
{
	static const uint16_t sizes[] = { 1, 2, 4, 8, 16, 3, 5, 15 };
	uint8_t how = take_byte(f);
	uint64_t features = how & 1 ? GUEST_PACKED : 0;
	if (how & 2)
		features |= 1ull << VIRTIO_RING_F_INDIRECT_DESC;
	if (how & 4)
		features |= 1ull << VIRTIO_RING_F_EVENT_IDX;
	uint16_t size = sizes[(how >> 3) % ARRAY_SIZE(sizes)];
	guest_init(&f->guest, RAM_BYTES);
	guest_queue_init(&f->gq, &f->guest, size, features);
	struct vq_setup s = guest_queue_setup(&f->gq, NULL);
	return !vq_create(&f->q, &s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { .data = data, .left = size };
	if (begin(&f)) {
		while (f.left)
			step(&f);
		while (f.nr_held)
			step_push(&f, 0);
		(void)vq_publish(f.q);
		BUG_ON(vq_in_flight(f.q));
	}
	vq_destroy(f.q);
	guest_queue_fini(&f.gq);
	guest_fini(&f.guest);
	return 0;
}
