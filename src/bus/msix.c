/* msix.c - see bus/msix.h. */
#include "bus/msix.h"
#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include "base/le.h"
#include "base/list.h"
#include "sync/mutex.h"

/* PCI 3.0 §6.8.2.6 to 6.8.2.9: one table entry. */
#define MSIX_ENTRY_ADDR    0
#define MSIX_ENTRY_DATA    8
#define MSIX_ENTRY_CONTROL 12
#define MSIX_CONTROL_MASK  0x01 /* the one bit of vector control that exists */
#define MSIX_ADDR_MBZ      0x03 /* messages are aligned to 4 bytes */

struct msix_vector {
	uint8_t entry[MSIX_ENTRY_BYTES]; /* as the guest reads it */
	/* the route, once a source needed one */
	bool has_route, is_programmed;
	uint32_t gsi;
	uint64_t addr; /* what the route sends, if programmed */
	uint32_t data;
};

struct msix_source {
	struct list link;
	struct notifier *n;
	uint16_t vector;
	bool is_wired; /* a signal goes through the kernel to the guest; else it stays pending */
};

struct msix {
	/* immutable after create */
	const struct irq_chip *chip;
	uint16_t nr;
	void (*refused)(void *ctx);
	void *ctx;
	struct mutex lock;
	/* under lock */
	bool is_enabled, is_masked;
	bool owes_wires; /* the host refused some: to be tried again */
	bool has_told;   /* refused() */
	struct list sources;
	struct msix_vector vectors[];
};

static void msix_clear_entries(struct msix *m)
{
	for (unsigned i = 0; i < m->nr; i++) {
		memset(m->vectors[i].entry, 0, MSIX_ENTRY_BYTES);
		m->vectors[i].entry[MSIX_ENTRY_CONTROL] = MSIX_CONTROL_MASK;
	}
}

int msix_create(struct msix **out, const struct irq_chip *chip, uint16_t nr_vectors)
{
	size_t size = sizeof(struct msix) + nr_vectors * sizeof(struct msix_vector);
	size = (size + alignof(struct msix) - 1) / alignof(struct msix) * alignof(struct msix);
	struct msix *m = aligned_alloc(alignof(struct msix), size);
	if (!m)
		return -ENOMEM;
	memset(m, 0, size);
	m->chip = chip;
	m->nr = nr_vectors;
	mutex_init(&m->lock);
	list_init(&m->sources);
	msix_clear_entries(m);
	*out = m;
	return 0;
}

void msix_destroy(struct msix *m)
{
	if (!m)
		return;
	BUG_ON(!list_is_empty(&m->sources));
	for (unsigned i = 0; i < m->nr; i++)
		if (m->vectors[i].has_route)
			m->chip->ops->msi_free(m->chip->ctx, m->vectors[i].gsi);
	mutex_fini(&m->lock);
	free(m);
}

void msix_watch(struct msix *m, void (*refused)(void *ctx), void *ctx)
{
	m->refused = refused;
	m->ctx = ctx;
}

uint16_t msix_nr_vectors(const struct msix *m)
{
	return m->nr;
}

/* --- from table to wires --- */

/* Let the route send what the entry says. Rewriting routes is dear: only if it changed. */
static int msix_program_locked(struct msix *m, struct msix_vector *v) MUST_HOLD(&m->lock)
{
	uint64_t addr = le_load(v->entry + MSIX_ENTRY_ADDR, 8);
	uint32_t data = (uint32_t)le_load(v->entry + MSIX_ENTRY_DATA, 4);
	if (v->is_programmed && v->addr == addr && v->data == data)
		return 0;
	int err = m->chip->ops->msi_set(m->chip->ctx, v->gsi, addr, data);
	v->is_programmed = !err;
	v->addr = addr;
	v->data = data;
	return err;
}

static void msix_owe_wires_locked(struct msix *m) MUST_HOLD(&m->lock)
{
	m->owes_wires = true;
	if (!m->has_told && m->refused)
		m->refused(m->ctx);
	m->has_told = true;
}

static void msix_wire_locked(struct msix *m, struct msix_source *s, uint32_t gsi, bool on)
	MUST_HOLD(&m->lock)
{
	if (s->is_wired == on)
		return;
	s->is_wired = false;
	if (!on)
		m->chip->ops->irqfd_del(m->chip->ctx, gsi, s->n->fd);
	else if (!m->chip->ops->irqfd_add(m->chip->ctx, gsi, s->n->fd))
		s->is_wired = true;
	if (on && !s->is_wired)
		msix_owe_wires_locked(m);
}

/* Make the wires of vector @i what its mask bits say. A host that refuses leaves it pending. */
static void msix_apply_locked(struct msix *m, uint16_t i) MUST_HOLD(&m->lock)
{
	struct msix_vector *v = &m->vectors[i];
	if (!v->has_route)
		return;
	bool may_fire = m->is_enabled && !m->is_masked &&
			!(v->entry[MSIX_ENTRY_CONTROL] & MSIX_CONTROL_MASK);
	if (may_fire && msix_program_locked(m, v)) {
		may_fire = false;
		msix_owe_wires_locked(m);
	}
	list_for_each (n, &m->sources) {
		struct msix_source *s = container_of(n, struct msix_source, link);
		if (s->vector == i)
			msix_wire_locked(m, s, v->gsi, may_fire);
	}
}

static void msix_apply_all_locked(struct msix *m) MUST_HOLD(&m->lock)
{
	for (uint16_t i = 0; i < m->nr; i++)
		msix_apply_locked(m, i);
}

/* A host is short of memory for a moment, but a driver that has set a vector up only waits for it.
 */
static void msix_retry_locked(struct msix *m) MUST_HOLD(&m->lock)
{
	if (!m->owes_wires)
		return;
	m->owes_wires = false;
	msix_apply_all_locked(m);
}

bool msix_retry(struct msix *m)
{
	mutex_lock(&m->lock);
	msix_retry_locked(m);
	bool owes = m->has_told = m->owes_wires;
	mutex_unlock(&m->lock);
	return owes;
}

void msix_control(struct msix *m, bool is_enabled, bool is_masked)
{
	mutex_lock(&m->lock);
	m->is_enabled = is_enabled;
	m->is_masked = is_masked;
	msix_apply_all_locked(m);
	mutex_unlock(&m->lock);
}

bool msix_is_enabled(struct msix *m)
{
	mutex_lock_shared(&m->lock);
	bool is_enabled = m->is_enabled;
	mutex_unlock_shared(&m->lock);
	return is_enabled;
}

void msix_reset(struct msix *m)
{
	mutex_lock(&m->lock);
	m->is_enabled = m->is_masked = false;
	msix_clear_entries(m);
	msix_apply_all_locked(m);
	mutex_unlock(&m->lock);
}

/* --- guest accesses --- */

/* Entries are read and written in aligned units (PCI 3.0 §6.8.2); others have no effect. */
static bool msix_is_inside(const struct msix *m, uint64_t off, unsigned len)
{
	return len && len <= 8 && off % len == 0 && off < (uint64_t)m->nr * MSIX_ENTRY_BYTES;
}

void msix_table_read(struct msix *m, uint64_t off, void *data, unsigned len)
{
	memset(data, 0, len);
	if (!msix_is_inside(m, off, len))
		return;
	mutex_lock_shared(&m->lock);
	memcpy(data, m->vectors[off / MSIX_ENTRY_BYTES].entry + off % MSIX_ENTRY_BYTES, len);
	mutex_unlock_shared(&m->lock);
}

void msix_table_write(struct msix *m, uint64_t off, const void *data, unsigned len)
{
	if (!msix_is_inside(m, off, len))
		return;
	uint16_t i = (uint16_t)(off / MSIX_ENTRY_BYTES);
	mutex_lock(&m->lock);
	msix_retry_locked(m);
	uint8_t *entry = m->vectors[i].entry;
	memcpy(entry + off % MSIX_ENTRY_BYTES, data, len);
	entry[MSIX_ENTRY_ADDR] &= (uint8_t)~MSIX_ADDR_MBZ;
	le_store(entry + MSIX_ENTRY_CONTROL, entry[MSIX_ENTRY_CONTROL] & MSIX_CONTROL_MASK, 4);
	msix_apply_locked(m, i);
	mutex_unlock(&m->lock);
}

/* Pending: somebody signalled, and the signal could not go out. */
static bool msix_is_pending_locked(struct msix *m, uint64_t vector) MUST_HOLD(&m->lock)
{
	list_for_each (n, &m->sources) {
		const struct msix_source *s = container_of(n, struct msix_source, link);
		if (s->vector == vector && !s->is_wired && notifier_is_pending(s->n))
			return true;
	}
	return false;
}

void msix_pba_read(struct msix *m, uint64_t off, void *data, unsigned len)
{
	uint8_t *bytes = data;
	memset(bytes, 0, len);
	mutex_lock(&m->lock);
	for (unsigned bit = 0; bit < len * 8; bit++) {
		uint64_t vector = off * 8 + bit;
		if (off < m->nr && vector < m->nr && msix_is_pending_locked(m, vector))
			bytes[bit / 8] |= (uint8_t)(1u << bit % 8);
	}
	msix_retry_locked(m);
	mutex_unlock(&m->lock);
}

/* --- sources --- */

static struct msix_source *msix_find_locked(struct msix *m, const struct notifier *n)
	MUST_HOLD(&m->lock)
{
	list_for_each (l, &m->sources) {
		struct msix_source *s = container_of(l, struct msix_source, link);
		if (s->n == n)
			return s;
	}
	return NULL;
}

static int msix_attach_locked(struct msix *m, struct msix_source *s) MUST_HOLD(&m->lock)
{
	struct msix_vector *v = &m->vectors[s->vector];
	if (msix_find_locked(m, s->n))
		return -EEXIST;
	if (!v->has_route) {
		int err = m->chip->ops->msi_alloc(m->chip->ctx, &v->gsi);
		if (err)
			return err;
		v->has_route = true;
	}
	list_push_back(&m->sources, &s->link);
	msix_apply_locked(m, s->vector);
	return 0;
}

int msix_attach(struct msix *m, uint16_t vector, struct notifier *n)
{
	if (vector == MSIX_NO_VECTOR)
		return 0;
	if (vector >= m->nr || n->fd < 0)
		return -EINVAL;
	struct msix_source *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->n = n;
	s->vector = vector;
	mutex_lock(&m->lock);
	msix_retry_locked(m);
	int err = msix_attach_locked(m, s);
	mutex_unlock(&m->lock);
	if (err)
		free(s);
	return err;
}

void msix_detach(struct msix *m, struct notifier *n)
{
	mutex_lock(&m->lock);
	struct msix_source *s = msix_find_locked(m, n);
	if (s) {
		msix_wire_locked(m, s, m->vectors[s->vector].gsi, false);
		list_remove(&s->link);
	}
	msix_retry_locked(m); /* what it had is free */
	mutex_unlock(&m->lock);
	free(s);
}
