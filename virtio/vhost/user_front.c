/* user_front.c - see virtio/vhost_front.h: the device that stands for a server elsewhere. */
#include "virtio/vhost_front.h"
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/log.h"
#include "base/num.h"
#include "front_priv.h"

/* --- ops: they leave a wish and wake the thread --- */

static void front_config_read(struct vdev *d, uint32_t off, void *buf, uint32_t len)
{
	struct front *f = front_of(d);
	mutex_lock(&f->lock);
	memcpy(buf, f->config + off, len);
	mutex_unlock(&f->lock);
}

/* What a driver may change and read back at once: a disk's write cache. VIRTIO 1.2 §5.2.5 */
static bool front_is_drivers(const struct vdev *d, uint32_t off, uint32_t len)
{
	return d->ops->id == VIRTIO_ID_BLOCK && (d->accepted >> VIRTIO_BLK_F_CONFIG_WCE & 1) &&
	       off == FRONT_WCE && len == 1;
}

/* The server says what becomes of it; until then the driver reads the old. */
static void front_config_write(struct vdev *d, uint32_t off, const void *buf, uint32_t len)
{
	struct front *f = front_of(d);
	if (f->cfg.config)
		return; /* of the owner's making: nothing in it is the driver's to change */
	mutex_lock(&f->lock);
	bool is_clean = f->dirty_from == f->dirty_to;
	if (is_clean)
		memcpy(f->wanted, f->config, sizeof(f->wanted));
	memcpy(f->wanted + off, buf, len);
	if (front_is_drivers(d, off, len)) {
		f->config[FRONT_WCE] = !!*(const uint8_t *)buf;
		f->has_choice = true;
	}
	f->dirty_from = is_clean ? off : min_u32(f->dirty_from, off);
	f->dirty_to = is_clean || off + len > f->dirty_to ? off + len : f->dirty_to;
	mutex_unlock(&f->lock);
	notifier_signal(&f->wake);
}

static int front_start(struct vdev *d, uint16_t idx, const struct vq_setup *s)
{
	struct front *f = front_of(d);
	mutex_lock(&f->lock);
	f->q[idx].setup = *s;
	f->q[idx].wish = FRONT_RUN;
	f->q[idx].has_begun = true;
	mutex_unlock(&f->lock);
	notifier_signal(&f->wake);
	return 0;
}

static void front_stop(struct vdev *d, uint16_t idx)
{
	struct front *f = front_of(d);
	mutex_lock(&f->lock);
	f->q[idx].wish = FRONT_STOP;
	mutex_unlock(&f->lock);
	notifier_signal(&f->wake);
}

/* A server may write anything there. */
static bool front_queue_stats(struct vdev *d, uint16_t idx, struct vq_stats *out)
{
	const struct vq_counters *c = front_of(d)->cfg.counters;
	if (c)
		*out = vq_counters_read(&c[idx]);
	return c;
}

static void front_wires_changed(struct vdev *d)
{
	notifier_signal(&front_of(d)->wake);
}

static void front_reset(struct vdev *d)
{
	struct front *f = front_of(d);
	mutex_lock(&f->lock);
	f->wants_reset = true;
	f->dirty_from = f->dirty_to = 0;
	if (f->has_choice)
		f->config[FRONT_WCE] = f->first_wce;
	f->has_choice = false;
	mutex_unlock(&f->lock);
	notifier_signal(&f->wake);
}

static void front_destroy(struct vdev *d)
{
	struct front *f = front_of(d);
	if (f->thread) {
		mutex_lock(&f->lock);
		f->is_over = true;
		mutex_unlock(&f->lock);
		notifier_signal(&f->wake);
		thread_join(f->thread);
	}
	front_link_close(f);
	front_log_fini(&f->log);
	notifier_fini(&f->wake);
	notifier_fini(&f->broken);
	mutex_fini(&f->lock);
	vdev_fini(d);
	free(f);
}

static const struct vdev_ops front_ops = {
	.name = "vhost-user",
	.config_read = front_config_read,
	.config_write = front_config_write,
	.start = front_start,
	.stop = front_stop,
	.queue_stats = front_queue_stats,
	.wires_changed = front_wires_changed,
	.reset = front_reset,
	.destroy = front_destroy,
};

/* --- the thread --- */

/* A queue that goes on and that nobody stopped in order has requests that others began. */
static void front_begin_locked(struct front_queue *q)
{
	q->has_begun = false;
	q->is_begun = q->is_left && q->setup.goes_on;
	q->is_logged &= q->is_begun;
	q->is_left = false;
}

static void front_take_wishes(struct front *f, struct front_wishes *w)
{
	*w = (struct front_wishes){ 0 };
	mutex_lock(&f->lock);
	for (uint16_t i = 0; i < f->dev.nr_queues; i++) {
		if (f->q[i].has_begun)
			front_begin_locked(&f->q[i]);
		w->q[i] = f->q[i].wish;
		w->wants_stop |= w->q[i] == FRONT_STOP;
	}
	w->is_over = f->is_over;
	w->reset = f->wants_reset;
	w->restart = f->wants_restart;
	f->wants_reset = f->wants_restart = false;
	mutex_unlock(&f->lock);
}

static void front_main(void *arg)
{
	struct front *f = arg;
	struct front_wishes w;
	for (;;) {
		f->has_news = false;
		front_take_wishes(f, &w);
		if (w.is_over)
			return;
		int err = front_sleep(f, front_turn(f, &w));
		if (err)
			front_lost(f, err);
	}
}

/* --- making --- */

static void front_cleanup(struct front **f)
{
	if (*f)
		front_destroy(&(*f)->dev);
}

static int front_new(struct front **out, const struct vhost_front_config *cfg)
{
	CLEANUP(front_cleanup) struct front *f = zalloc_aligned(sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->cfg = *cfg;
	f->ops = front_ops;
	f->ops.id = cfg->id;
	(void)snprintf(f->name, sizeof(f->name), "%s", cfg->name); /* cut is fine */
	if (!f->cfg.answer_ms)
		f->cfg.answer_ms = VHOST_FRONT_ANSWER_MS;
	if (!f->cfg.clock_ns)
		f->cfg.clock_ns = clock_ns;
	mutex_init(&f->lock);
	front_link_init(&f->link);
	f->log.fd = -1;
	notifier_init_fn(&f->broken, NULL, NULL); /* until there are eventfds */
	notifier_init_fn(&f->wake, NULL, NULL);
	int err = notifier_init(&f->wake);
	if (!err)
		err = notifier_init(&f->broken);
	if (err)
		return err;
	*out = take(f);
	return 0;
}

/* The configuration space, as the owner or the server has it. */
static int front_first_config(struct front *f, uint32_t *bytes)
{
	const struct vhost_front_config *cfg = &f->cfg;
	*bytes = cfg->config_bytes ? cfg->config_bytes : front_config_bytes(cfg->id);
	if (*bytes > sizeof(f->config))
		return -EINVAL;
	if (cfg->config)
		memcpy(f->config, cfg->config, *bytes);
	else if (*bytes && front_has(f, VHOST_USER_PROTOCOL_F_CONFIG))
		return front_read_config(f, *bytes, f->config);
	else if (*bytes && cfg->id != VIRTIO_ID_NET && cfg->id != VIRTIO_ID_CONSOLE)
		return -ENODATA;
	else
		*bytes = 0;
	return 0;
}

static int front_make_vdev(struct front *f, struct gmem *mem)
{
	uint16_t nr_queues = 0;
	uint32_t bytes = 0;
	int err = front_count_queues(f, &nr_queues);
	if (err)
		return err;
	err = vdev_init(&f->dev, &f->ops, mem, nr_queues, f->cfg.queue_size, 0, 0);
	if (err)
		return err;
	err = front_first_config(f, &bytes);
	if (err)
		return err;
	f->dev.config_bytes = bytes;
	f->first_wce = f->config[FRONT_WCE];
	f->dev.offered = front_offer(f);
	(void)snprintf(f->dev.id, sizeof(f->dev.id), "%s", f->cfg.name); /* cut is fine */
	return 0;
}

int vhost_front_create(struct vdev **out, struct gmem *mem, const struct vhost_front_config *cfg)
{
	struct vhost_front_config c = *cfg;
	if (c.config && !c.config_bytes)
		return -EINVAL;
	CLEANUP(front_cleanup) struct front *f = NULL;
	int err = front_check_memory(mem);
	if (!err)
		err = front_new(&f, &c);
	if (err)
		return err;
	int sock = cfg->connect(cfg->ctx);
	if (sock < 0)
		return sock;
	err = front_take_server(f, sock);
	if (!err)
		err = front_make_vdev(f, mem);
	if (err)
		return err;
	/* they are the caller's, and were copied */
	f->cfg.name = f->name;
	f->cfg.config = cfg->config ? f->config : NULL;
	struct thread_attr attr = { .name = f->name };
	err = thread_create(&f->thread, &attr, front_main, f);
	if (err)
		return err;
	struct front *made = take(f);
	*out = &made->dev;
	return 0;
}

/* --- for the owner --- */

void vhost_front_info(struct vdev *d, struct vhost_front_info *out)
{
	struct front *f = front_of(d);
	mutex_lock(&f->lock);
	*out = f->info;
	mutex_unlock(&f->lock);
}

void vhost_front_restart(struct vdev *d)
{
	struct front *f = front_of(d);
	mutex_lock(&f->lock);
	f->wants_restart = true;
	mutex_unlock(&f->lock);
	notifier_signal(&f->wake);
}
