/* guest.c - see tests/support/guest.h. */
#include "support/guest.h"
#include <stdlib.h>
#include <string.h>
#include "base/num.h"

#define BIT_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define BIT_USED  (1u << VRING_PACKED_DESC_F_USED)

void guest_init(struct guest *g, uint64_t bytes)
{
	struct gmem_place place = { .pages = GMEM_PAGES_4K, .node = PLACE_NODE_ANY };
	struct gmem_extent ram = { 0, bytes };
	*g = (struct guest){ .bytes = bytes, .next = 4096 };
	BUG_ON(gmem_create(&g->mem, &ram, 1, &place));
	g->ram = gmem_host(g->mem, gpa(0), bytes);
	memset(g->ram, 0xee, bytes);
}

void guest_fini(struct guest *g)
{
	gmem_destroy(take(g->mem));
}

uint64_t guest_alloc(struct guest *g, uint64_t bytes, uint64_t align, int fill)
{
	uint64_t at = align_up(g->next, align);
	BUG_ON(at + bytes > g->bytes);
	g->next = at + bytes;
	memset(g->ram + at, fill, bytes);
	return at;
}

static bool is_packed(const struct guest_queue *q)
{
	return q->features & GUEST_PACKED;
}

static void *host_of(const struct guest_queue *q, uint64_t addr)
{
	return q->g->ram + addr;
}

static void split_init(struct guest_queue *q)
{
	size_t n = q->size;
	q->driver_gpa = guest_alloc(q->g, 6 + 2 * n, 2, 0);
	q->device_gpa = guest_alloc(q->g, 6 + 8 * n, 4, 0);
	q->desc = host_of(q, q->desc_gpa);
	q->avail = host_of(q, q->driver_gpa);
	q->used = host_of(q, q->device_gpa);
}

static void packed_init(struct guest_queue *q)
{
	q->driver_gpa = guest_alloc(q->g, 4, 4, 0);
	q->device_gpa = guest_alloc(q->g, 4, 4, 0);
	q->packed = host_of(q, q->desc_gpa);
	q->driver_event = host_of(q, q->driver_gpa);
	q->device_event = host_of(q, q->device_gpa);
}

void guest_queue_init(struct guest_queue *q, struct guest *g, uint16_t size, uint64_t features)
{
	*q = (struct guest_queue){ .g = g,
				   .size = size,
				   .features = features,
				   .nr_free = size,
				   .avail_wrap = true,
				   .used_wrap = true };
	q->desc_gpa = guest_alloc(g, 16 * (uint64_t)size, 16, 0);
	if (is_packed(q))
		packed_init(q);
	else
		split_init(q);
	q->next_free = calloc(size, sizeof(*q->next_free));
	q->nr_descs = calloc(size, sizeof(*q->nr_descs));
	BUG_ON(!q->next_free || !q->nr_descs);
	for (uint16_t i = 0; i < size; i++)
		q->next_free[i] = (uint16_t)(i + 1);
	if (features & (1ull << VIRTIO_RING_F_INDIRECT_DESC))
		q->tables = guest_alloc(g, (16ull * GUEST_TABLE + 64) * size, 64, 0);
}

void guest_queue_fini(struct guest_queue *q)
{
	free(take(q->next_free));
	free(take(q->nr_descs));
}

struct vq_setup guest_queue_setup(const struct guest_queue *q, struct notifier *call)
{
	return (struct vq_setup){
		.size = q->size,
		.features = q->features,
		.mem = q->g->mem,
		.desc = gpa(q->desc_gpa),
		.driver = gpa(q->driver_gpa),
		.device = gpa(q->device_gpa),
		.kick_fd = -1,
		.call = call,
	};
}

/* --- raw access --- */

/*
 * We store a packed descriptor's second half as one word, a device looks at its flags alone first.
 * ThreadSanitizer takes these for two places, and has to be told that one follows from the other.
 */
#ifdef COMPILER_TSAN
#include <sanitizer/tsan_interface.h>
#define SHOW_FLAGS(second) __tsan_release((uint8_t *)(second) + 6)
#else
#define SHOW_FLAGS(second) ((void)0)
#endif

/*
 * A descriptor's second half as one store. With narrower ones a device on the same thread would
 * stall when it reads them back as a whole, which no driver on another core makes it do.
 */
static uint64_t halves(uint32_t len, uint16_t third, uint16_t fourth)
{
	return htole64(len | (uint64_t)third << 32 | (uint64_t)fourth << 48);
}

/* @d may be a table's, which lie where they like. */
static void put_desc(void *d, uint64_t addr, uint64_t rest, int order)
{
	uint64_t first = htole64(addr);
	uint8_t *second = (uint8_t *)d + sizeof(first);
	memcpy(d, &first, sizeof(first));
	if (order == __ATOMIC_RELEASE && is_aligned((uintptr_t)second, sizeof(rest))) {
		SHOW_FLAGS(second);
		__atomic_store_n((uint64_t *)(void *)second, rest, __ATOMIC_RELEASE);
	} else {
		memcpy(second, &rest, sizeof(rest));
	}
}

static void split_entry(struct vring_desc *d, uint64_t addr, uint32_t len, uint16_t flags,
			uint16_t next)
{
	put_desc(d, addr, halves(len, flags, next), __ATOMIC_RELAXED);
}

static void packed_entry(struct vring_packed_desc *d, uint64_t addr, uint32_t len, uint16_t flags,
			 uint16_t id)
{
	put_desc(d, addr, halves(len, id, flags), __ATOMIC_RELEASE);
}

void guest_desc(struct guest_queue *q, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags,
		uint16_t next)
{
	if (is_packed(q))
		packed_entry(&q->packed[i], addr, len, flags, next);
	else
		split_entry(&q->desc[i], addr, len, flags, next);
}

void guest_table(struct guest_queue *q, uint64_t table, uint16_t i, uint64_t addr, uint32_t len,
		 uint16_t flags, uint16_t next)
{
	uint8_t *at = (uint8_t *)host_of(q, table) + 16ull * i;
	if (is_packed(q))
		packed_entry((struct vring_packed_desc *)(void *)at, addr, len, flags, next);
	else
		split_entry((struct vring_desc *)(void *)at, addr, len, flags, next);
}

void guest_offer(struct guest_queue *q, uint16_t head)
{
	q->avail->ring[q->avail_next % q->size] = htole16(head);
	q->avail_next++;
	__atomic_store_n(&q->avail->idx, htole16(q->avail_next), __ATOMIC_SEQ_CST);
}

uint16_t guest_packed_flags(const struct guest_queue *q, bool next_turn)
{
	return q->avail_wrap != next_turn ? BIT_AVAIL : BIT_USED;
}

/* --- adding --- */

static uint16_t buf_flags(const struct guest_buf *b, bool has_next)
{
	return (uint16_t)((b->is_in ? VRING_DESC_F_WRITE : 0) | (has_next ? VRING_DESC_F_NEXT : 0));
}

static uint64_t fill_table(struct guest_queue *q, uint16_t id, const struct guest_buf *b,
			   unsigned nr)
{
	uint64_t table = q->tables + (16ull * GUEST_TABLE + 64) * id;
	BUG_ON(nr > GUEST_TABLE);
	for (uint16_t i = 0; i < nr; i++)
		guest_table(q, table, i, b[i].addr, b[i].len,
			    buf_flags(&b[i], !is_packed(q) && i + 1u < nr), (uint16_t)(i + 1));
	return table;
}

static int split_add(struct guest_queue *q, const struct guest_buf *b, unsigned nr,
		     bool is_indirect)
{
	uint16_t head = q->free_head, at = head;
	if (is_indirect) {
		split_entry(&q->desc[head], fill_table(q, head, b, nr), 16 * nr,
			    VRING_DESC_F_INDIRECT, 0);
		at = q->next_free[head];
		nr = 1;
	} else {
		for (unsigned i = 0; i < nr; i++) {
			uint16_t next = q->next_free[at];
			split_entry(&q->desc[at], b[i].addr, b[i].len, buf_flags(&b[i], i + 1 < nr),
				    next);
			at = next;
		}
	}
	q->free_head = at;
	q->nr_descs[head] = (uint16_t)nr;
	q->avail->ring[q->avail_next++ & (q->size - 1)] = htole16(head);
	return head;
}

/* One ring descriptor; the first since guest_show() keeps its flags until then. */
static void packed_put(struct guest_queue *q, uint64_t addr, uint32_t len, uint16_t flags,
		       uint16_t id)
{
	struct vring_packed_desc *d = &q->packed[q->avail_next];
	flags |= guest_packed_flags(q, false);
	if (q->has_gate) {
		packed_entry(d, addr, len, flags, id);
	} else {
		/* a device may read it already, for nothing */
		__atomic_store_n(&d->addr, htole64(addr), __ATOMIC_RELAXED);
		q->has_gate = true;
		q->gate = q->avail_next;
		q->gate_len = len;
		q->gate_id = id;
		q->gate_flags = flags;
	}
	if (++q->avail_next == q->size) {
		q->avail_next = 0;
		q->avail_wrap = !q->avail_wrap;
	}
}

static int packed_add(struct guest_queue *q, const struct guest_buf *b, unsigned nr,
		      bool is_indirect)
{
	uint16_t id = q->free_head;
	q->free_head = q->next_free[id];
	if (is_indirect) {
		packed_put(q, fill_table(q, id, b, nr), 16 * nr, VRING_DESC_F_INDIRECT, id);
		nr = 1;
	} else {
		for (unsigned i = 0; i < nr; i++)
			packed_put(q, b[i].addr, b[i].len, buf_flags(&b[i], i + 1 < nr), id);
	}
	q->nr_descs[id] = (uint16_t)nr;
	return id;
}

int guest_add(struct guest_queue *q, const struct guest_buf *b, unsigned nr, bool is_indirect)
{
	unsigned need = is_indirect ? 1 : nr;
	if (need > q->nr_free)
		return -1;
	q->nr_free = (uint16_t)(q->nr_free - need);
	return is_packed(q) ? packed_add(q, b, nr, is_indirect) : split_add(q, b, nr, is_indirect);
}

void guest_show(struct guest_queue *q)
{
	if (!is_packed(q)) {
		__atomic_store_n(&q->avail->idx, htole16(q->avail_next), __ATOMIC_SEQ_CST);
	} else if (q->has_gate) {
		q->has_gate = false;
		SHOW_FLAGS(&q->packed[q->gate].len);
		__atomic_store_n((uint64_t *)(void *)&q->packed[q->gate].len,
				 halves(q->gate_len, q->gate_id, q->gate_flags), __ATOMIC_SEQ_CST);
	}
}

static bool packed_wants_kick(struct guest_queue *q, uint16_t before)
{
	uint16_t flags = __atomic_load_n(&q->device_event->flags, __ATOMIC_SEQ_CST);
	uint16_t off_wrap = __atomic_load_n(&q->device_event->off_wrap, __ATOMIC_SEQ_CST);
	uint16_t now = q->avail_next, off = off_wrap & 0x7fff;
	if (flags != VRING_PACKED_EVENT_FLAG_DESC)
		return flags == VRING_PACKED_EVENT_FLAG_ENABLE;
	if (now <= before)
		before = (uint16_t)(before - q->size);
	if ((off_wrap >> 15) != q->avail_wrap)
		off = (uint16_t)(off - q->size);
	return vring_need_event(off, now, before);
}

bool guest_wants_kick(struct guest_queue *q)
{
	uint16_t before = q->shown;
	q->shown = q->avail_next;
	if (is_packed(q))
		return packed_wants_kick(q, before);
	if (!(q->features & (1ull << VIRTIO_RING_F_EVENT_IDX)))
		return !(__atomic_load_n(&q->used->flags, __ATOMIC_SEQ_CST) &
			 VRING_USED_F_NO_NOTIFY);
	uint16_t *event = (uint16_t *)(void *)&q->used->ring[q->size];
	return vring_need_event(__atomic_load_n(event, __ATOMIC_SEQ_CST), q->avail_next, before);
}

/* --- taking results --- */

static bool split_take(struct guest_queue *q, uint16_t *id, uint32_t *len)
{
	if (__atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE) == q->used_seen)
		return false;
	struct vring_used_elem *e = &q->used->ring[q->used_seen++ & (q->size - 1)];
	*id = (uint16_t)le32toh(e->id);
	*len = le32toh(e->len);
	BUG_ON(*id >= q->size || !q->nr_descs[*id]);
	uint16_t last = *id;
	for (uint16_t i = 1; i < q->nr_descs[*id]; i++)
		last = q->next_free[last]; /* what the table says a device may have overwritten */
	q->next_free[last] = q->free_head;
	q->free_head = *id;
	return true;
}

/* The second half of the next result, as halves() has it. */
static uint64_t packed_result(const struct guest_queue *q)
{
	const void *half = &q->packed[q->used_seen].len;
	return le64toh(__atomic_load_n((const uint64_t *)half, __ATOMIC_SEQ_CST));
}

static bool packed_has_result(const struct guest_queue *q)
{
	uint16_t f = (uint16_t)(packed_result(q) >> 48);
	return !!(f & BIT_AVAIL) == q->used_wrap && !!(f & BIT_USED) == q->used_wrap;
}

static bool packed_take(struct guest_queue *q, uint16_t *id, uint32_t *len)
{
	if (!packed_has_result(q))
		return false;
	uint64_t result = packed_result(q);
	*id = (uint16_t)(result >> 32);
	*len = result >> 48 & VRING_DESC_F_WRITE ? (uint32_t)result : 0;
	BUG_ON(*id >= q->size || !q->nr_descs[*id]);
	q->used_seen = (uint16_t)(q->used_seen + q->nr_descs[*id]);
	if (q->used_seen >= q->size) {
		q->used_seen = (uint16_t)(q->used_seen - q->size);
		q->used_wrap = !q->used_wrap;
	}
	q->next_free[*id] = q->free_head;
	q->free_head = *id;
	return true;
}

bool guest_take(struct guest_queue *q, uint16_t *id, uint32_t *len)
{
	if (!(is_packed(q) ? packed_take(q, id, len) : split_take(q, id, len)))
		return false;
	q->nr_free = (uint16_t)(q->nr_free + q->nr_descs[*id]);
	q->nr_descs[*id] = 0;
	return true;
}

static bool packed_arm(struct guest_queue *q, uint16_t skip)
{
	uint16_t off = (uint16_t)(q->used_seen + skip);
	bool wrap = q->used_wrap;
	if (off >= q->size) {
		off = (uint16_t)(off - q->size);
		wrap = !wrap;
	}
	bool by_index = q->features & (1ull << VIRTIO_RING_F_EVENT_IDX);
	__atomic_store_n(&q->driver_event->off_wrap, (uint16_t)(off | wrap << 15),
			 __ATOMIC_RELAXED);
	__atomic_store_n(&q->driver_event->flags,
			 by_index ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_ENABLE,
			 __ATOMIC_SEQ_CST);
	return packed_has_result(q);
}

bool guest_arm(struct guest_queue *q, uint16_t skip)
{
	if (is_packed(q))
		return packed_arm(q, skip);
	uint16_t event = (uint16_t)(q->used_seen + skip);
	if (q->features & (1ull << VIRTIO_RING_F_EVENT_IDX))
		__atomic_store_n(&q->avail->ring[q->size], htole16(event), __ATOMIC_SEQ_CST);
	else
		__atomic_store_n(&q->avail->flags, 0, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&q->used->idx, __ATOMIC_SEQ_CST) != q->used_seen;
}

void guest_disarm(struct guest_queue *q)
{
	if (is_packed(q))
		__atomic_store_n(&q->driver_event->flags, VRING_PACKED_EVENT_FLAG_DISABLE,
				 __ATOMIC_SEQ_CST);
	else if (!(q->features & (1ull << VIRTIO_RING_F_EVENT_IDX)))
		__atomic_store_n(&q->avail->flags, VRING_AVAIL_F_NO_INTERRUPT, __ATOMIC_SEQ_CST);
}
