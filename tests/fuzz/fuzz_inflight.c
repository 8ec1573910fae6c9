/*
 * fuzz_inflight.c - a device that dies in the middle, a log and rings that anybody may have changed
 * since, and a successor that believes none of it.
 *
 * Each life: requests are offered, popped, pushed, published; then memory is as it was at a moment
 * the input chooses, bytes of log and rings are overwritten, and the next life begins. Checked:
 * a queue is refused or every head is handed out once, in order, within guest RAM, and no more of
 * them than there are.
 */
#include <errno.h>
#include <string.h>
#include "../../virtio/inflight_priv.h"
#include "base/num.h"
#include "support/guest.h"

#define RAM_BYTES (64 * KIB)
#define SIZE      8
#define LIVES     4
#define LOG_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct life {
	struct guest guest;
	struct guest_queue gq;
	struct vq *q;
	struct vq_chain *held[SIZE];
	unsigned nr_held;
	const uint8_t *at, *end;
	_Alignas(64) uint8_t log[LOG_BYTES], log_then[LOG_BYTES], ram_then[RAM_BYTES];
} f;

static uint8_t take_byte(void)
{
	return f.at < f.end ? *f.at++ : 0;
}

static void check_chain(const struct vq_chain *c)
{
	BUG_ON(c->head >= SIZE);
	for (unsigned i = 0; i < f.nr_held; i++)
		BUG_ON(f.held[i] == c || f.held[i]->head == c->head);
	for (unsigned i = 0; i < (unsigned)c->nr_out + c->nr_in; i++) {
		const uint8_t *p = c->iov[i].iov_base;
		BUG_ON(p < f.guest.ram || c->iov[i].iov_len > RAM_BYTES);
		BUG_ON(p + c->iov[i].iov_len > f.guest.ram + RAM_BYTES);
	}
}

static bool pop(void)
{
	struct vq_chain *c = NULL;
	if (vq_pop(f.q, &c) <= 0)
		return false;
	BUG_ON(f.nr_held == SIZE);
	check_chain(c);
	f.held[f.nr_held++] = c;
	return true;
}

static void push(unsigned which)
{
	if (!f.nr_held)
		return;
	which %= f.nr_held;
	struct vq_chain *c = f.held[which];
	f.held[which] = f.held[--f.nr_held];
	vq_push(f.q, c, c->in_bytes);
}

static void offer(uint8_t how)
{
	struct guest_buf b[3];
	unsigned nr = 1 + how % 3;
	for (unsigned i = 0; i < nr; i++)
		b[i] = (struct guest_buf){ take_byte() * 128ull, 1 + take_byte() * 4u, i };
	if (guest_add(&f.gq, b, nr, how & 0x40) >= 0)
		guest_show(&f.gq);
}

/* What everybody can write to: the log, or the rings. */
static void damage(void)
{
	bool is_log = take_byte() & 1;
	uint8_t *to = is_log ? f.log : f.guest.ram;
	uint32_t room = is_log ? LOG_BYTES : RAM_BYTES;
	uint32_t off = is_log ? take_byte() * 4u : (uint32_t)f.gq.desc_gpa + take_byte() * 4u;
	unsigned len = take_byte() % 16;
	for (unsigned i = 0; i < len && off + i < room; i++)
		to[off + i] = take_byte();
}

/* Which moment dies. */
static void remember(void)
{
	memcpy(f.log_then, f.log, LOG_BYTES);
	memcpy(f.ram_then, f.guest.ram, RAM_BYTES);
}

static void live(unsigned steps)
{
	remember();
	while (steps-- && f.at < f.end) {
		uint8_t op = take_byte();
		switch (op % 8) {
		case 0:
		case 1:
			offer(op >> 3);
			break;
		case 2:
		case 3:
			(void)pop();
			break;
		case 4:
			push(op >> 3);
			break;
		case 5:
			(void)vq_publish(f.q);
			break;
		default:
			remember();
		}
		BUG_ON(vq_in_flight(f.q) != f.nr_held);
	}
	while (f.nr_held)
		push(0);
	(void)vq_publish(f.q);
	vq_destroy(f.q);
	memcpy(f.log, f.log_then, LOG_BYTES);
	memcpy(f.guest.ram, f.ram_then, RAM_BYTES);
}

/* All of what a predecessor left comes out, and goes back. */
static void serve_backlog(void)
{
	unsigned nr = 0;
	for (; vq_has_backlog(f.q) && nr <= SIZE; nr++)
		if (!pop())
			break;
	BUG_ON(nr > SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	f.at = data;
	f.end = data + size;
	memset(f.log, 0, sizeof(f.log));
	uint64_t features = GUEST_FEATURES | (take_byte() & 1 ? GUEST_PACKED : 0);
	guest_init(&f.guest, RAM_BYTES);
	guest_queue_init(&f.gq, &f.guest, SIZE, features);
	for (unsigned i = 0; i < LIVES && f.at < f.end; i++) {
		struct vq_setup s = guest_queue_setup(&f.gq, NULL);
		s.log = f.log;
		s.log_bytes = LOG_BYTES;
		int err = vq_create(&f.q, &s);
		BUG_ON(err && err != -EINVAL);
		if (err)
			break;
		f.nr_held = 0;
		serve_backlog();
		live(take_byte());
		for (unsigned n = take_byte() % 4; n; n--)
			damage();
	}
	guest_queue_fini(&f.gq);
	guest_fini(&f.guest);
	return 0;
}
