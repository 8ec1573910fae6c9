/* console.c - virtio console: creation, configuration space, emergency output. VIRTIO 1.2 §5.3. */
#include "console_priv.h"
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/le.h"

void console_follow_resets(struct console *con)
{
	uint32_t resets = atomic_load_explicit(&con->resets, memory_order_relaxed);
	if (resets == con->seen_resets)
		return;
	con->seen_resets = resets;
	for (unsigned i = 0; i < con->nr_ports; i++) {
		console_set_state(&con->ports[i], 0);
		console_keep_uncut(&con->ports[i]);
	}
}

static void console_config_read(struct vdev *d, uint32_t off, void *buf, uint32_t len)
{
	const struct console *con = container_of(d, struct console, dev);
	uint32_t size = atomic_load_explicit(&con->size, memory_order_relaxed);
	struct virtio_console_config c = {
		.cols = htole16((uint16_t)(size >> 16)),
		.rows = htole16((uint16_t)size),
		.max_nr_ports = htole32(con->nr_ports),
	};
	memcpy(buf, (const uint8_t *)&c + off, len);
}

/* --- emergency output: one character for each write, at any time, even before DRIVER_OK --- */

static void console_emerg_next(struct console *con)
{
	uint32_t taken = atomic_load_explicit(&con->emerg_taken, memory_order_relaxed);
	/* acquire: pairs with the release in console_config_write() */
	uint32_t put = atomic_load_explicit(&con->emerg_put, memory_order_acquire);
	uint32_t n = put - taken;
	if (!n || con->is_leaving)
		return;
	for (uint32_t i = 0; i < n; i++)
		con->emerg_buf[i] = atomic_load_explicit(
			&con->emerg_ring[(taken + i) % CONSOLE_EMERG_BYTES], memory_order_relaxed);
	/* release: pairs with the acquire in console_config_write(): the slots may be reused */
	atomic_store_explicit(&con->emerg_taken, put, memory_order_release);
	con->emerg_iov = (struct iovec){ con->emerg_buf, n };
	console_run_lose_place(&con->ports[0].kept->out);
	console_out_start(&con->emerg, &con->emerg_iov, 1, 0);
}

static void console_emerg_finished(struct console_out *o)
{
	struct console *con = container_of(o, struct console, emerg);
	if (con->is_leaving)
		(void)sem_post(&con->has_left); /* cannot overflow: it is posted once */
	else
		console_emerg_next(con);
}

static void console_on_emerg(struct reactor_msg *m)
{
	struct console *con = container_of(m, struct console, emerg_msg);
	/* acquire: pairs with the release of the put that found it posted */
	(void)atomic_exchange_explicit(&con->is_emerg_posted, false, memory_order_acq_rel);
	if (!con->emerg.is_busy)
		console_emerg_next(con);
}

static void console_config_write(struct vdev *d, uint32_t off, const void *buf, uint32_t len)
{
	struct console *con = container_of(d, struct console, dev);
	if (off != offsetof(struct virtio_console_config, emerg_wr) || !len || con->emerg.fd < 0)
		return;
	uint32_t put = atomic_load_explicit(&con->emerg_put, memory_order_relaxed);
	/* acquire: pairs with the release in console_emerg_next() */
	uint32_t taken = atomic_load_explicit(&con->emerg_taken, memory_order_acquire);
	if (put - taken >= CONSOLE_EMERG_BYTES)
		return; /* faster than the output takes it: dropped */
	atomic_store_explicit(&con->emerg_ring[put % CONSOLE_EMERG_BYTES], *(const uint8_t *)buf,
			      memory_order_relaxed);
	/* release: pairs with the acquire in console_emerg_next() */
	atomic_store_explicit(&con->emerg_put, put + 1, memory_order_release);
	if (!atomic_exchange_explicit(&con->is_emerg_posted, true, memory_order_acq_rel))
		reactor_post(vworker_reactor(con->worker), &con->emerg_msg);
}

/* --- size --- */

static void console_on_resize(struct reactor_msg *m)
{
	struct console *con = container_of(m, struct console, resize_msg);
	/* first: a resize after this posts again. acquire: pairs with the release of one before */
	(void)atomic_exchange_explicit(&con->is_resize_posted, false, memory_order_acq_rel);
	console_tell_size(con);
}

void console_resize(struct vdev *d, uint16_t cols, uint16_t rows)
{
	struct console *con = container_of(d, struct console, dev);
	vdev_config_begin(d);
	atomic_store_explicit(&con->size, (uint32_t)cols << 16 | rows, memory_order_relaxed);
	vdev_config_end(d, true);
	if (!atomic_exchange_explicit(&con->is_resize_posted, true, memory_order_acq_rel))
		reactor_post(vworker_reactor(con->worker), &con->resize_msg);
}

/* --- life --- */

static struct vworker_queue *console_queue(struct console *con, uint16_t idx)
{
	if (con->is_multiport && (idx == CONSOLE_CTRL_RX || idx == CONSOLE_CTRL_TX))
		return idx == CONSOLE_CTRL_RX ? &con->ctrl_rx : &con->ctrl_tx;
	struct console_port *p = &con->ports[idx < 2 ? 0 : (idx - 2) / 2];
	return idx % 2 ? &p->tx : &p->rx;
}

static int console_start(struct vdev *d, uint16_t idx, const struct vq_setup *s)
{
	struct console *con = container_of(d, struct console, dev);
	con->has_started = true;
	vworker_start_queue(console_queue(con, idx), s);
	return 0;
}

static void console_stop(struct vdev *d, uint16_t idx)
{
	vworker_stop_queue(console_queue(container_of(d, struct console, dev), idx));
}

/* One of a device that nobody used yet is a frontend's hello: what a predecessor left stays. */
static void console_reset(struct vdev *d)
{
	struct console *con = container_of(d, struct console, dev);
	if (!con->has_started)
		return;
	con->has_started = false;
	(void)atomic_fetch_add_explicit(&con->resets, 1, memory_order_relaxed);
}

/* The last message of this device: what is behind it in the mailbox has been dealt with. */
static void console_on_leave(struct reactor_msg *m)
{
	struct console *con = container_of(m, struct console, leave_msg);
	con->is_leaving = true;
	if (con->emerg.is_busy)
		console_out_close(&con->emerg);
	else
		(void)sem_post(&con->has_left); /* cannot overflow: it is posted once */
}

static void console_free(struct console *con)
{
	(void)sem_destroy(&con->has_left); /* nobody waits */
	for (unsigned i = 0; con->ports && i < con->nr_ports; i++)
		console_port_fini(&con->ports[i]);
	free(con->ports);
	free(con);
}

static bool console_queue_stats(struct vdev *d, uint16_t idx, struct vq_stats *out)
{
	vworker_queue_stats(console_queue(container_of(d, struct console, dev), idx), out);
	return true;
}

static void console_count_in(struct vdev *d, uint16_t idx, struct vq_counters *c)
{
	vworker_count_in(console_queue(container_of(d, struct console, dev), idx), c);
}

static void console_destroy(struct vdev *d)
{
	struct console *con = container_of(d, struct console, dev);
	reactor_post(vworker_reactor(con->worker), &con->leave_msg);
	while (sem_wait(&con->has_left))
		BUG_ON(errno != EINTR);
	vdev_fini(d);
	console_free(con);
}

static bool console_beat(struct vdev *d)
{
	return vworker_beat(container_of(d, struct console, dev)->worker);
}

static const struct vdev_ops console_ops = {
	.name = "console",
	.id = VIRTIO_ID_CONSOLE,
	.config_read = console_config_read,
	.config_write = console_config_write,
	.start = console_start,
	.stop = console_stop,
	.queue_stats = console_queue_stats,
	.count_in = console_count_in,
	.beat = console_beat,
	.reset = console_reset,
	.destroy = console_destroy,
};

static struct vworker_queue console_wq(struct console *con, uint16_t idx)
{
	return (struct vworker_queue){ .dev = &con->dev, .idx = idx, .worker = con->worker };
}

static void console_init_port(struct console *con, unsigned i,
			      const struct console_port_config *cfg)
{
	struct console_port *p = &con->ports[i];
	uint16_t idx = (uint16_t)(i ? 2 + 2 * i : 0);
	console_port_init(p, con, cfg);
	p->rx = console_wq(con, idx);
	p->rx.serve = console_rx_serve;
	p->rx.started = console_rx_started;
	p->rx.stopping = console_rx_stopping;
	p->tx = console_wq(con, (uint16_t)(idx + 1));
	p->tx.serve = console_tx_serve;
	p->tx.started = console_tx_started;
	p->tx.stopping = console_tx_stopping;
}

static void console_init_rest(struct console *con)
{
	con->ctrl_rx = console_wq(con, CONSOLE_CTRL_RX);
	con->ctrl_rx.serve = console_ctrl_rx_serve;
	con->ctrl_rx.started = console_ctrl_rx_started;
	con->ctrl_rx.stopping = console_ctrl_rx_stopping;
	con->ctrl_tx = console_wq(con, CONSOLE_CTRL_TX);
	con->ctrl_tx.serve = console_ctrl_tx_serve;
	con->ctrl_tx.started = console_ctrl_tx_started;
	con->emerg = (struct console_out){ .reactor = vworker_reactor(con->worker),
					   .fd = con->ports[0].out.fd,
					   .is_blocking = con->ports[0].out.is_blocking,
					   .may_be_left = con->ports[0].out.may_be_left,
					   .finished = console_emerg_finished };
	con->resize_msg.fn = console_on_resize;
	con->emerg_msg.fn = console_on_emerg;
	con->leave_msg.fn = console_on_leave;
}

static void console_cleanup(struct console **con)
{
	if (*con)
		console_free(*con);
}

int console_create(struct vdev **out, struct gmem *mem, struct vworker *worker,
		   const struct console_config *cfg)
{
	if (!cfg->nr_ports || cfg->nr_ports > CONSOLE_MAX_PORTS)
		return -EINVAL;
	CLEANUP(console_cleanup) struct console *con = zalloc_aligned(sizeof(*con));
	if (!con)
		return -ENOMEM;
	(void)sem_init(&con->has_left, 0, 0); /* fails for a huge count only */
	con->worker = worker;
	con->nr_ports = cfg->nr_ports;
	con->is_multiport = cfg->nr_ports > 1 || cfg->ports[0].name[0];
	con->ports = zalloc_aligned(cfg->nr_ports * sizeof(*con->ports));
	if (!con->ports)
		return -ENOMEM;
	console_keep_open(con, cfg->keep);
	for (unsigned i = 0; i < cfg->nr_ports; i++)
		console_init_port(con, i, &cfg->ports[i]);
	console_init_rest(con);
	atomic_init(&con->size, (uint32_t)cfg->cols << 16 | cfg->rows);
	uint64_t features = 1ull << VIRTIO_CONSOLE_F_SIZE | 1ull << VIRTIO_CONSOLE_F_EMERG_WRITE;
	if (con->is_multiport)
		features |= 1ull << VIRTIO_CONSOLE_F_MULTIPORT;
	uint16_t nr_queues = (uint16_t)(con->is_multiport ? 2 + 2 * cfg->nr_ports : 2);
	int err = vdev_init(&con->dev, &console_ops, mem, nr_queues, CONSOLE_QUEUE_SIZE,
			    sizeof(struct virtio_console_config), features);
	if (err)
		return err;
	(void)snprintf(con->dev.id, sizeof(con->dev.id), "console");
	*out = &take(con)->dev;
	return 0;
}
