/* rng.c - virtio entropy device. VIRTIO 1.2 §5.4. One queue; every buffer is device-writable. */
#include "dev/virtio_devs.h"
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include "base/err.h"
#include "base/num.h"

#define RNG_QUEUE_SIZE    64
#define RNG_REQUEST_BYTES (16u << 10) /* a longer buffer is completed short, as §5.4.6.2 allows */
#define RNG_PASS_BYTES    (64u << 10) /* then the other queues of the worker have their turn */

struct rng {
	struct vdev dev;
	/* immutable */
	struct rng_source src;
	struct vworker_queue wq; /* its insides: worker thread */
};

static int rng_getrandom(void *ctx, void *buf, size_t len)
{
	(void)ctx; /* the kernel's pool */
	uint8_t *to = buf;
	while (len) {
		ssize_t n = getrandom(to, len, GRND_NONBLOCK);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			to += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* Fill what the driver wants, within the limit; a source that runs dry completes it short. */
static uint32_t rng_fill(struct rng *r, struct vq *q, struct vq_chain *c)
{
	uint32_t done = 0;
	for (unsigned i = 0; i < c->nr_in && done < RNG_REQUEST_BYTES; i++) {
		const struct iovec *v = &c->iov[c->nr_out + i];
		uint32_t n = (uint32_t)min_size(v->iov_len, RNG_REQUEST_BYTES - done);
		if (r->src.fill(r->src.ctx, v->iov_base, n))
			break;
		done += n;
	}
	vq_push(q, c, done);
	return done;
}

static int rng_serve(struct vworker_queue *wq, struct vq *q)
{
	struct rng *r = container_of(wq, struct rng, wq);
	struct vq_chain *c;
	uint32_t bytes = 0;
	int got = 0;
	for (unsigned budget = VQ_BATCH; budget && bytes < RNG_PASS_BYTES; budget--) {
		got = vq_pop(q, &c);
		if (got <= 0)
			break;
		bytes += rng_fill(r, q, c);
	}
	return got;
}

static int rng_start(struct vdev *d, uint16_t idx, const struct vq_setup *s)
{
	(void)idx; /* there is only one */
	vworker_start_queue(&container_of(d, struct rng, dev)->wq, s);
	return 0;
}

static void rng_stop(struct vdev *d, uint16_t idx)
{
	(void)idx;
	vworker_stop_queue(&container_of(d, struct rng, dev)->wq);
}

static bool rng_queue_stats(struct vdev *d, uint16_t idx, struct vq_stats *out)
{
	(void)idx;
	vworker_queue_stats(&container_of(d, struct rng, dev)->wq, out);
	return true;
}

static void rng_count_in(struct vdev *d, uint16_t idx, struct vq_counters *c)
{
	(void)idx;
	vworker_count_in(&container_of(d, struct rng, dev)->wq, c);
}

static void rng_destroy(struct vdev *d)
{
	vworker_sync(container_of(d, struct rng, dev)->wq.worker);
	vdev_fini(d);
	free(container_of(d, struct rng, dev));
}

static bool rng_beat(struct vdev *d)
{
	return vworker_beat(container_of(d, struct rng, dev)->wq.worker);
}

static const struct vdev_ops rng_ops = {
	.name = "rng",
	.id = VIRTIO_ID_RNG,
	.start = rng_start,
	.stop = rng_stop,
	.queue_stats = rng_queue_stats,
	.count_in = rng_count_in,
	.beat = rng_beat,
	.destroy = rng_destroy,
};

int rng_create(struct vdev **out, struct gmem *mem, struct vworker *worker,
	       const struct rng_source *src)
{
	CLEANUP(free_cleanup) struct rng *r = zalloc_aligned(sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->src = src ? *src : (struct rng_source){ .fill = rng_getrandom };
	r->wq = (struct vworker_queue){ .dev = &r->dev, .worker = worker, .serve = rng_serve };
	int err = vdev_init(&r->dev, &rng_ops, mem, 1, RNG_QUEUE_SIZE, 0, 0);
	if (err)
		return err;
	(void)snprintf(r->dev.id, sizeof(r->dev.id), "rng");
	*out = &take(r)->dev;
	return 0;
}
