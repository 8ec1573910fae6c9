/*
 * lines.c - see lines.h.
 */
#include "lines.h"
#include <linux/virtio_console.h>
#include "clock.h"
#include "mem.h"

#define LINE      16u
#define PACE_US   200 /* between two buffers of a port, that the streams do not become too long */
#define WAIT_MS   10000
#define CTRL_IN   2 /* queues */
#define CTRL_OUT  3
#define MULTIPORT (1ul << VIRTIO_CONSOLE_F_MULTIPORT)

static void lines_fail(struct lines *l, const char *why)
{
	if (!l->why)
		l->why = why;
}

static void slots_alloc(struct lines_slot *s)
{
	for (unsigned i = 0; i < LINES_SLOTS; i++)
		s[i].data = heap_alloc(LINES_BYTES, 64);
}

static struct lines_slot *slot_free(struct lines_slot *s)
{
	for (unsigned i = 0; i < LINES_SLOTS; i++)
		if (!s[i].is_busy)
			return &s[i];
	return NULL;
}

static bool slot_offer(struct ring *r, struct lines_slot *s, uint32_t bytes, bool is_in)
{
	struct seg seg = { s->data, bytes, is_in };
	int head = ring_put(r, &seg, 1, false);
	if (head < 0)
		return false;
	s->head = (uint16_t)head;
	s->is_busy = true;
	ring_offer(r, s->head);
	ring_kick(r);
	return true;
}

/* The slot that has come back on @r; NULL: none has. */
static struct lines_slot *slot_take(struct lines *l, struct ring *r, struct lines_slot *s,
				    uint32_t *written)
{
	int head = ring_take(r, written);
	for (unsigned i = 0; head >= 0 && i < LINES_SLOTS; i++) {
		if (!s[i].is_busy || s[i].head != head)
			continue;
		s[i].is_busy = false;
		return &s[i];
	}
	if (head >= 0)
		lines_fail(l, "a buffer came back twice, or was never offered");
	return NULL;
}

/* --- messages about ports --- */

static void news_want(struct lines *l)
{
	struct lines_slot *s;
	while ((s = slot_free(l->news)) && slot_offer(&l->ctrl_in, s, LINES_BYTES, true))
		;
}

static enum verdict say(struct lines *l, uint32_t id, uint16_t event, uint16_t value)
{
	struct virtio_console_control *m = heap_alloc(sizeof(*m), 8);
	*m = (struct virtio_console_control){ id, event, value };
	struct seg seg = { m, sizeof(*m), false };
	uint32_t written;
	int head = ring_put(&l->ctrl_out, &seg, 1, false);
	CHECK(head >= 0);
	ring_offer(&l->ctrl_out, (uint16_t)head);
	ring_kick(&l->ctrl_out);
	CHECK(ring_take_wait(&l->ctrl_out, &written, WAIT_MS) == head);
	return PASS;
}

/* The next message into *m. False: none. Whatever is told, is told once. */
static bool hear(struct lines *l, struct virtio_console_control *m)
{
	uint32_t written = 0;
	struct lines_slot *s = slot_take(l, &l->ctrl_in, l->news, &written);
	if (!s)
		return false;
	mem_copy(m, s->data, sizeof(*m));
	news_want(l);
	if (written < sizeof(*m) || m->id >= l->nr_ports || m->event > VIRTIO_CONSOLE_PORT_NAME) {
		lines_fail(l, "a message about a port makes no sense");
		return false;
	}
	if (l->told[m->id] >> m->event & 1)
		lines_fail(l, "a message about a port came twice");
	l->told[m->id] |= 1u << m->event;
	return true;
}

/* As a driver does: every port is added, ready, opened by the device, opened by us. */
static enum verdict introduce(struct lines *l)
{
	struct virtio_console_control m;
	uint64_t end = clock_after_ms(WAIT_MS);
	CHECK_PASS(say(l, 0, VIRTIO_CONSOLE_DEVICE_READY, 1));
	for (unsigned open = 0; open < l->nr_ports;) {
		CHECK(!clock_passed(end) && !l->why);
		if (!hear(l, &m))
			continue;
		if (m.event == VIRTIO_CONSOLE_PORT_ADD)
			CHECK_PASS(say(l, m.id, VIRTIO_CONSOLE_PORT_READY, 1));
		if (m.event != VIRTIO_CONSOLE_PORT_OPEN)
			continue;
		CHECK_PASS(say(l, m.id, VIRTIO_CONSOLE_PORT_OPEN, 1));
		open++;
	}
	return PASS;
}

/* --- streams --- */

static uint8_t lines_byte(uint64_t n)
{
	return (uint8_t)(n * 7 + (n >> 8) * 13 + (n >> 16));
}

static void line_write(uint8_t *to, char letter, uint64_t number)
{
	to[0] = (uint8_t)letter;
	for (unsigned i = LINE - 2; i; i--, number /= 10)
		to[i] = (uint8_t)('0' + number % 10);
	to[LINE - 1] = '\n';
}

static void port_put(struct lines *l, struct lines_port *p, struct lines_slot *s, uint32_t bytes)
{
	bool was_idle = true;
	for (unsigned i = 0; i < l->nr_ports; i++)
		was_idle &= !l->ports[i].busy;
	if (was_idle)
		waits_begin(&l->waits);
	if (slot_offer(&p->out, s, bytes, false))
		p->busy++;
	else
		lines_fail(l, "there is no room in a queue");
}

static void port_put_lines(struct lines *l, struct lines_port *p)
{
	struct lines_slot *s = slot_free(p->outs);
	if (!s)
		return;
	for (unsigned i = 0; i < LINES_BYTES / LINE; i++)
		line_write(s->data + i * LINE, p->letter, p->next++);
	port_put(l, p, s, LINES_BYTES);
}

/* Bytes have come in: compare them, or send them on. */
static void port_got(struct lines *l, struct lines_port *p, const struct lines_slot *s, uint32_t n)
{
	struct lines_port *to = p + 1;
	struct lines_slot *echo = p->is_known ? NULL : slot_free(to->outs);
	if (!n || n > LINES_BYTES)
		lines_fail(l, "input of a length that cannot be");
	for (uint32_t i = 0; p->is_known && i < n; i++)
		if (s->data[i] != lines_byte(p->at + i))
			lines_fail(l, "input is lost, doubled or changed");
	p->at += n;
	if (!echo)
		return;
	mem_copy(echo->data, s->data, n);
	port_put(l, to, echo, n);
}

/* Input is asked for while there is room to send it on. */
static void port_want(const struct lines *l, struct lines_port *p)
{
	struct lines_slot *s = slot_free(p->ins);
	bool has_room = p->is_known;
	if (!p->is_known && p + 1 < l->ports + l->nr_ports)
		has_room = !p[1].busy && s == p->ins; /* one at a time: it has to stay in order */
	if (s && has_room)
		(void)slot_offer(&p->in, s, LINES_BYTES, true); /* no room: later */
}

static void port_turn(struct lines *l, struct lines_port *p, bool goes_on)
{
	uint32_t written;
	struct lines_slot *s;
	while (slot_take(l, &p->out, p->outs, &written)) {
		p->busy--;
		waits_note(&l->waits);
		if (written)
			lines_fail(l, "output that wrote to us");
	}
	while ((s = slot_take(l, &p->in, p->ins, &written)))
		port_got(l, p, s, written);
	if (!goes_on || clock_us() < p->next_us)
		return;
	p->next_us = clock_us() + PACE_US;
	if (!p->source)
		port_put_lines(l, p);
	port_want(l, p);
}

void lines_turn(struct lines *l, bool goes_on)
{
	struct virtio_console_control m;
	for (unsigned i = 0; i < l->nr_ports; i++)
		port_turn(l, &l->ports[i], goes_on);
	if (l->ctrl_in.size && hear(l, &m) && m.event != VIRTIO_CONSOLE_RESIZE)
		lines_fail(l, "a message about a port that was open");
}

bool lines_are_done(const struct lines *l)
{
	for (unsigned i = 0; i < l->nr_ports; i++)
		if (l->ports[i].busy)
			return false;
	return true;
}

void lines_want_input(struct lines *l)
{
	for (unsigned i = 0; i < l->nr_ports; i++)
		l->ports[i].until = l->ports[i].at + LINES_SLOTS * LINES_BYTES + 1;
}

bool lines_have_input(const struct lines *l)
{
	for (unsigned i = 0; i < l->nr_ports; i++) {
		const struct lines_port *p = &l->ports[i];
		bool asks = p->is_known || i + 1 < l->nr_ports; /* see port_want() */
		if (asks && p->at < p->until)
			return false;
	}
	return true;
}

void lines_print(const struct lines *l)
{
	for (unsigned i = 0; i < l->nr_ports; i++) {
		print("info lines %c %lu\n", l->ports[i].letter, l->ports[i].next);
		print("info input %c %lu\n", l->ports[i].letter, l->ports[i].at);
	}
}

/* --- setting up --- */

static enum verdict port_open(struct lines *l, unsigned i)
{
	struct lines_port *p = &l->ports[i];
	uint16_t queue = (uint16_t)(i ? 2 + 2 * i : 0);
	CHECK(ring_setup(&p->in, &l->dev, queue, 0));
	CHECK(ring_setup(&p->out, &l->dev, (uint16_t)(queue + 1), 0));
	ring_want_irq(&p->in, false);
	ring_want_irq(&p->out, false);
	slots_alloc(p->outs);
	slots_alloc(p->ins);
	p->letter = (char)('a' + i);
	p->is_known = !i;
	if (i > 1)
		p->source = p - 1;
	return PASS;
}

enum verdict lines_open(struct lines *l, bool is_multiport)
{
	*l = (struct lines){ .nr_ports = is_multiport ? LINES_PORTS : 1 };
	if (!virtio_find(&l->dev, VIRTIO_ID_CONSOLE, 0))
		return test_skip("no console device");
	if (is_multiport && !(virtio_offered(&l->dev) & MULTIPORT))
		return test_skip("one port only");
	CHECK(virtio_begin(&l->dev, is_multiport ? ~0ul : ~MULTIPORT));
	for (unsigned i = 0; i < l->nr_ports; i++)
		CHECK_PASS(port_open(l, i));
	if (is_multiport) {
		CHECK(ring_setup(&l->ctrl_in, &l->dev, CTRL_IN, 0));
		CHECK(ring_setup(&l->ctrl_out, &l->dev, CTRL_OUT, 0));
		slots_alloc(l->news);
	}
	virtio_go(&l->dev);
	if (!is_multiport)
		return PASS;
	news_want(l);
	return introduce(l);
}
