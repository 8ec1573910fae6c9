/*
 * fuzz_vhost_front.c - our vhost-user frontend against a server that lies as the fuzzer says.
 *
 * The input is a list of steps: what the driver does, what the operator does, what the server says
 * instead of the truth when it is asked next, bytes on its own channel, in the account of requests
 * and in the rings, its death. At the end the server is honest again. Checked: the driver can reset
 * the device and have a request done, and no descriptor is left.
 */
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/err.h"
#include "base/log.h"
#include "support/open_fds.h"
#include "unit/vhost/backend.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ANSWER_MS 20
#define MAX_STEPS 24 /* each may cost a server, and a pause before the next */

static const uint8_t *at, *end;

static uint64_t take_bytes(unsigned n)
{
	uint64_t v = 0;
	for (; n && at < end; n--)
		v = v << 8 | *at++;
	return v;
}

/* Fields are mostly right, and one or two of them not. */
static void tell_a_lie(struct backend *b)
{
	static struct lie lies[2]; /* the server may still be busy with the last one */
	struct lie *l = &lies[b->lie == &lies[0]];
	uint64_t how = take_bytes(1);
	*l = (struct lie){ .what = "fuzz", .request = (uint32_t)take_bytes(1) % 41 };
	l->kind = how & 7 ? LIE_ANSWER : (how >> 3) % 4;
	l->flags = how & 8 ? (uint32_t)take_bytes(1) : VHOST_USER_VERSION | VHOST_USER_REPLY;
	l->id = how & 16 ? (uint32_t)take_bytes(1) : 0;
	l->size = how & 32 ? (uint32_t)take_bytes(2) : 8;
	if (l->request == VHOST_USER_GET_CONFIG && !(how & 32))
		l->size = 12 + BACKEND_BYTES;
	if (l->request == VHOST_USER_GET_INFLIGHT_FD && !(how & 32))
		l->size = sizeof(struct vhost_user_inflight);
	l->nr_fds = how & 64 ? (unsigned)take_bytes(1) % (USER_MSG_MAX_FDS + 1) : 0;
	for (unsigned i = 0; i < 4; i++)
		l->p[i] = take_bytes(how & 128 ? 8 : 2);
	b->lie = l;
}

static void scribble(struct backend *b)
{
	uint64_t where = take_bytes(1), off = take_bytes(2);
	uint8_t *log = MAP_FAILED, *to = b->v.ram + b->v.q[where & 1].ring.device_gpa;
	uint64_t room = 64;
	if ((where & 2) && b->log_fd >= 0 && b->inflight.bytes)
		log = mmap(NULL, b->inflight.bytes, PROT_WRITE, MAP_SHARED, b->log_fd, 0);
	if (log != MAP_FAILED) {
		to = log;
		room = b->inflight.bytes;
	}
	for (uint64_t n = take_bytes(1); n && off < room; n--)
		to[off++] = (uint8_t)take_bytes(1);
	if (log != MAP_FAILED)
		(void)munmap(log, b->inflight.bytes);
}

static void speak_on_the_other_channel(struct backend *b)
{
	uint8_t bytes[64] = { 2, 0, 0, 0, 1 };
	uint64_t len = take_bytes(1) % sizeof(bytes);
	for (uint64_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)take_bytes(1);
	if (b->backend_fd >= 0)
		ignore(send(b->backend_fd, bytes, len < 12 ? 12 : len,
			    MSG_NOSIGNAL | MSG_DONTWAIT) < 0); /* full: enough */
}

static void signal_something(struct backend *b)
{
	uint64_t what = take_bytes(1);
	const struct backend_ring *r = &b->ring[what & 1];
	int fd = what & 2 ? r->err : what & 4 ? r->call : r->kick;
	if (fd >= 0 && (what & 8))
		ignore(eventfd_write(fd, 1));
}

static void one_step(struct backend *b)
{
	switch (take_bytes(1) % 12) {
	case 0:
		backend_die(b);
		break;
	case 1:
		vhost_front_restart(b->d);
		break;
	case 2:
		drive_reset(&b->v);
		drive_up(&b->v, take_bytes(1) & 1 ? ~0ull : ~BIT(VIRTIO_F_RING_PACKED));
		break;
	case 3:
		drive_queue_reset(&b->v, 0);
		if (!drive_needs_reset(&b->v))
			drive_queue_up(&b->v, 0);
		break;
	case 4:
		vdev_config_write(b->d, (uint32_t)take_bytes(1), "\1\2\3\4",
				  (uint32_t)take_bytes(1) % 5);
		break;
	case 5:
		scribble(b);
		break;
	case 6:
		speak_on_the_other_channel(b);
		break;
	case 7:
		signal_something(b);
		break;
	case 8:
		b->config[take_bytes(1) % BACKEND_BYTES] = (uint8_t)take_bytes(1);
		break;
	case 9:
		drive_idle(&b->v);
		break;
	default:
		tell_a_lie(b);
	}
}

/* The first server may lie too: then there is no device, and nothing of it may be left. */
static bool make(struct backend *b)
{
	b->cfg.answer_ms = ANSWER_MS;
	b->cfg.nr_queues = BACKEND_QUEUES;
	b->features |= BIT(VIRTIO_F_RING_PACKED);
	if (take_bytes(1) & 1)
		tell_a_lie(b);
	if (vhost_front_create(&b->d, b->v.mem, &b->cfg))
		return false;
	drive_attach(&b->v, b->d);
	drive_up(&b->v, ~0ull);
	return true;
}

static void play(struct backend *b)
{
	if (!make(b))
		return;
	for (unsigned i = 0; at < end && i < MAX_STEPS; i++)
		one_step(b);
	b->lie = NULL;
	drive_reset(&b->v);
	unsigned connects = b->connects;
	vhost_front_restart(b->d);
	drive_until(&b->v, b->connects != connects);
	b->ring[0].is_up = false;
	drive_up(&b->v, BIT(VIRTIO_F_VERSION_1));
	backend_works(b);
	drive_reset(&b->v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void *state;
	log_set_level(LOG_LEVEL_ERROR);
	if (!state)
		BUG_ON(backend_setup(&state));
	unsigned before = open_fds();
	at = data;
	end = data + size;
	backend_begin(state);
	play(state);
	backend_end(state);
	BUG_ON(open_fds() != before);
	return 0;
}
