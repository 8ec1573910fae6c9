/*
 * console_ctrl.c - the control queues: ports are announced, named, opened, resized.
 * VIRTIO 1.2 §5.3.6.2.
 *
 * What the driver is owed is a bit for each message and port, not a list: however much it asks for
 * without taking the answers, nothing grows.
 */
#include "console_priv.h"
#include <errno.h>
#include <string.h>
#include "base/le.h"
#include "base/num.h"

struct console_msg {
	le32_t id;
	le16_t event;
	le16_t value;
	union {
		uint8_t name[32];
		/*
		 * The specification says columns first, Linux has always read rows first, and it is
		 * Linux that is out there.
		 */
		struct {
			le16_t rows, cols;
		} size;
	} body;
};
static_assert(offsetof(struct console_msg, body) == sizeof(struct virtio_console_control),
	      "VIRTIO 1.2 §5.3.6.2");

static const uint16_t console_event_of[CONSOLE_NR_NEWS] = {
	[CONSOLE_NEWS_ADD] = VIRTIO_CONSOLE_PORT_ADD,
	[CONSOLE_NEWS_CONSOLE] = VIRTIO_CONSOLE_CONSOLE_PORT,
	[CONSOLE_NEWS_NAME] = VIRTIO_CONSOLE_PORT_NAME,
	[CONSOLE_NEWS_OPEN] = VIRTIO_CONSOLE_PORT_OPEN,
	[CONSOLE_NEWS_RESIZE] = VIRTIO_CONSOLE_RESIZE,
};

static struct console_port *console_port_with_news(struct console *con)
{
	for (unsigned i = 0; i < con->nr_ports; i++)
		if (console_state(&con->ports[i]) & CONSOLE_NEWS)
			return &con->ports[i];
	return NULL;
}

/* Build the first message @p owes; returns its length. */
static uint32_t console_take_news(struct console_port *p, struct console_msg *m)
{
	unsigned news = (unsigned)__builtin_ctz(console_state(p) & CONSOLE_NEWS);
	uint32_t len = sizeof(struct virtio_console_control);
	memset(m, 0, sizeof(*m));
	m->id = le32_of((uint32_t)(p - p->con->ports));
	m->event = le16_of(console_event_of[news]);
	m->value = le16_of(news != CONSOLE_NEWS_RESIZE);
	if (news == CONSOLE_NEWS_NAME) {
		uint32_t n = (uint32_t)strnlen(p->cfg.name, sizeof(m->body.name));
		memcpy(m->body.name, p->cfg.name, n);
		len += n;
	} else if (news == CONSOLE_NEWS_RESIZE) {
		uint32_t size = atomic_load_explicit(&p->con->size, memory_order_relaxed);
		m->body.size.cols = le16_of((uint16_t)(size >> 16));
		m->body.size.rows = le16_of((uint16_t)size);
		len += (uint32_t)sizeof(m->body.size);
	}
	console_keep_telling(p, (enum console_news)news);
	return len;
}

int console_ctrl_rx_serve(struct vworker_queue *wq, struct vq *q)
{
	struct console *con = container_of(wq, struct console, ctrl_rx);
	struct vq_chain *c;
	for (unsigned budget = VQ_BATCH; budget; budget--) {
		struct console_port *p = console_port_with_news(con);
		if (!p && wq->is_stopping)
			return console_give_back(q);
		if (!p)
			return -ENOBUFS; /* until there is something to say */
		int got = vq_pop(q, &c);
		if (got <= 0)
			return got;
		struct console_msg m;
		uint32_t len = min_u32(console_take_news(p, &m), c->in_bytes);
		bool fits = vq_chain_write(c, 0, &m, len);
		vq_push(q, c, fits ? len : 0);
		vq_signal(q); /* before the next: a successor would not know which of two it saw */
		console_keep_told(con);
	}
	return 1;
}

static void console_add_state(struct console_port *p, uint32_t bits)
{
	console_set_state(p, console_state(p) | bits);
	vworker_wake(&p->con->ctrl_rx);
}

static void console_port_ready(struct console_port *p)
{
	uint32_t bits = CONSOLE_IS_READY | 1u << CONSOLE_NEWS_OPEN;
	if (p->cfg.is_console)
		bits |= 1u << CONSOLE_NEWS_CONSOLE;
	if (p->cfg.name[0])
		bits |= 1u << CONSOLE_NEWS_NAME;
	if (p->cfg.is_console && atomic_load_explicit(&p->con->size, memory_order_relaxed))
		bits |= 1u << CONSOLE_NEWS_RESIZE;
	console_add_state(p, bits);
}

static void console_device_ready(struct console *con)
{
	for (unsigned i = 0; i < con->nr_ports; i++) {
		struct console_port *p = &con->ports[i];
		if (!(console_state(p) & CONSOLE_IS_ADDED))
			console_add_state(p, CONSOLE_IS_ADDED | 1u << CONSOLE_NEWS_ADD);
	}
}

/*
 * One message of the driver. What makes no sense is ignored. One that a predecessor has heard, but
 * not given back, is heard twice: the second time it changes nothing.
 */
static void console_hear(struct console *con, const struct console_msg *m)
{
	uint16_t event = le16_get(m->event);
	bool value = le16_get(m->value) != 0;
	if (event == VIRTIO_CONSOLE_DEVICE_READY) {
		if (value)
			console_device_ready(con);
		return;
	}
	uint32_t id = le32_get(m->id);
	if (id >= con->nr_ports)
		return;
	struct console_port *p = &con->ports[id];
	uint32_t state = console_state(p);
	if (!(state & CONSOLE_IS_ADDED))
		return;
	if (event == VIRTIO_CONSOLE_PORT_READY && value && !(state & CONSOLE_IS_READY)) {
		console_port_ready(p);
	} else if (event == VIRTIO_CONSOLE_PORT_OPEN) {
		state &= ~CONSOLE_IS_OPEN;
		console_set_state(p, state | (value ? CONSOLE_IS_OPEN : 0));
		vworker_wake(&p->rx);
	}
}

int console_ctrl_tx_serve(struct vworker_queue *wq, struct vq *q)
{
	struct console *con = container_of(wq, struct console, ctrl_tx);
	struct vq_chain *c;
	int got = 0;
	for (unsigned budget = VQ_BATCH; budget && (got = vq_pop(q, &c)) > 0; budget--) {
		struct console_msg m;
		if (vq_chain_read(c, 0, &m, sizeof(struct virtio_console_control)))
			console_hear(con, &m);
		vq_push(q, c, 0);
	}
	return got;
}

void console_ctrl_rx_started(struct vworker_queue *wq)
{
	struct console *con = container_of(wq, struct console, ctrl_rx);
	console_follow_resets(con);
	if (vq_has_backlog(wq->q))
		console_keep_tell_again(con);
	else
		console_keep_told(con);
}

void console_ctrl_rx_stopping(struct vworker_queue *wq)
{
	vworker_wake(wq); /* a buffer that a predecessor took has to go back */
}

void console_ctrl_tx_started(struct vworker_queue *wq)
{
	console_follow_resets(container_of(wq, struct console, ctrl_tx));
}

void console_tell_size(struct console *con)
{
	for (unsigned i = 0; i < con->nr_ports; i++) {
		struct console_port *p = &con->ports[i];
		if (p->cfg.is_console && (console_state(p) & CONSOLE_IS_READY))
			console_add_state(p, 1u << CONSOLE_NEWS_RESIZE);
	}
}
