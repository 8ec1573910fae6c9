/* test_queue_hostile.c - drivers that break the rules of a ring, by accident or not. */
#include "unit/virtio/queue_fixture.h"

/* --- setups no queue can have --- */

static const struct {
	const char *what;
	uint16_t size;
	bool is_packed;
	uint64_t desc, driver, device;
	uint16_t next;
	int err;
} setups[] = {
	{ "size 0", 0, false, 0x1000, 0x2000, 0x3000, 0, -EINVAL },
	{ "size 0", 0, true, 0x1000, 0x2000, 0x3000, 0, -EINVAL },
	{ "size not a power of two", 7, false, 0x1000, 0x2000, 0x3000, 0, -EINVAL },
	{ "size too large", 2048, false, 0x1000, 0x20000, 0x30000, 0, -EINVAL },
	{ "size too large", 1025, true, 0x1000, 0x20000, 0x30000, 0, -EINVAL },
	{ "next past the ring", 8, true, 0x1000, 0x2000, 0x3000, 8, -EINVAL },
	{ "descriptors unaligned", 8, false, 0x1008, 0x2000, 0x3000, 0, -EINVAL },
	{ "driver area unaligned", 8, false, 0x1000, 0x2001, 0x3000, 0, -EINVAL },
	{ "device area unaligned", 8, false, 0x1000, 0x2000, 0x3002, 0, -EINVAL },
	{ "event area unaligned", 8, true, 0x1000, 0x2002, 0x3000, 0, -EINVAL },
	{ "descriptors end past RAM", 16, false, RAM - 240, 0x2000, 0x3000, 0, -EFAULT },
	{ "driver area past RAM", 16, false, 0x1000, RAM - 36, 0x3000, 0, -EFAULT },
	{ "device area past RAM", 16, false, 0x1000, 0x2000, RAM - 132, 0, -EFAULT },
	{ "device area far away", 16, true, 0x1000, 0x2000, ~3ull, 0, -EFAULT },
	{ "just fits", 16, false, RAM - 256, 0x2000, 0x3000, 0, 0 },
	{ "just fits", 16, false, 0x1000, RAM - 38, 0x3000, 0, 0 },
	{ "just fits", 16, false, 0x1000, 0x2000, RAM - 136, 0, 0 },
	{ "the largest", 1024, false, 0x1000, 0x20000, 0x30000, 0xffff, 0 },
};

static void bad_setups_are_refused(void **state)
{
	(void)state;
	struct guest g;
	guest_init(&g, RAM);
	for (unsigned i = 0; i < ARRAY_SIZE(setups); i++) {
		struct vq_setup s = {
			.size = setups[i].size,
			.next = setups[i].next,
			.mem = g.mem,
			.kick_fd = -1,
			.desc = gpa(setups[i].desc),
			.driver = gpa(setups[i].driver),
			.device = gpa(setups[i].device),
			.features = setups[i].is_packed ? GUEST_PACKED : 0,
		};
		struct vq *q = NULL;
		int err = vq_create(&q, &s);
		if (err != setups[i].err)
			fail_msg("%s: %d", setups[i].what, err);
		vq_destroy(q);
	}
	guest_fini(&g);
}

/* --- hostile drivers, split ring: descriptors 0..3 of 8, table at TBL, head offered --- */

#define TBL 0x80000ull
#define N   VRING_DESC_F_NEXT
#define W   VRING_DESC_F_WRITE
#define IND VRING_DESC_F_INDIRECT

struct row_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

static const struct {
	const char *what;
	uint16_t head;
	struct row_desc d[4], t[3];
	uint64_t without; /* features not negotiated */
} split_rows[] = {
	{ "head past the table", 8, { { BUF, 4, W, 0 } }, { { 0 } }, 0 },
	{ "head 0xffff", 0xffff, { { BUF, 4, W, 0 } }, { { 0 } }, 0 },
	{ "chain that loops on itself", 0, { { BUF, 4, W | N, 0 } }, { { 0 } }, 0 },
	{ "chain that loops", 0, { { BUF, 4, N, 1 }, { BUF, 4, N, 0 } }, { { 0 } }, 0 },
	{ "empty buffers that loop", 0, { { BUF, 0, N, 1 }, { BUF, 0, N, 0 } }, { { 0 } }, 0 },
	{ "next past the table", 0, { { BUF, 4, W | N, 8 } }, { { 0 } }, 0 },
	{ "next far past the table", 0, { { BUF, 4, W | N, 0xffff } }, { { 0 } }, 0 },
	{ "buffer far past RAM", 0, { { ~0ull, 4, W, 0 } }, { { 0 } }, 0 },
	{ "buffer just past RAM", 0, { { RAM, 1, W, 0 } }, { { 0 } }, 0 },
	{ "buffer that leaves RAM", 0, { { RAM - 4, 5, W, 0 } }, { { 0 } }, 0 },
	{ "buffer that wraps", 0, { { RAM - 4, UINT32_MAX, W, 0 } }, { { 0 } }, 0 },
	{ "readable after writable", 0, { { BUF, 4, W | N, 1 }, { BUF, 4, 0, 0 } }, { { 0 } }, 0 },
	{ "readable after empty writable",
	  0,
	  { { BUF, 0, W | N, 1 }, { BUF, 4, 0, 0 } },
	  { { 0 } },
	  0 },
	{ "second buffer past RAM",
	  0,
	  { { BUF, 4, N, 1 }, { 1ull << 40, 4, W, 0 } },
	  { { 0 } },
	  0 },
	{ "indirect not negotiated",
	  0,
	  { { TBL, 16, IND, 0 } },
	  { { BUF, 4, W, 0 } },
	  1ull << VIRTIO_RING_F_INDIRECT_DESC },
	{ "indirect with next",
	  0,
	  { { TBL, 16, IND | N, 1 }, { BUF, 4, W, 0 } },
	  { { BUF, 4, W, 0 } },
	  0 },
	{ "indirect of no length", 0, { { TBL, 0, IND, 0 } }, { { BUF, 4, W, 0 } }, 0 },
	{ "indirect of odd length", 0, { { TBL, 24, IND, 0 } }, { { BUF, 4, W, 0 } }, 0 },
	{ "indirect of less than one entry", 0, { { TBL, 15, IND, 0 } }, { { BUF, 4, W, 0 } }, 0 },
	{ "indirect inside indirect",
	  0,
	  { { TBL, 32, IND, 0 } },
	  { { TBL, 16, IND, 0 }, { BUF, 4, W, 0 } },
	  0 },
	{ "indirect past RAM", 0, { { RAM, 16, IND, 0 } }, { { 0 } }, 0 },
	{ "indirect that leaves RAM", 0, { { RAM - 16, 32, IND, 0 } }, { { 0 } }, 0 },
	{ "indirect that is huge", 0, { { TBL, 0xfffffff0, IND, 0 } }, { { 0 } }, 0 },
	{ "next past the indirect table",
	  0,
	  { { TBL, 32, IND, 0 } },
	  { { BUF, 4, N, 2 }, { BUF, 4, W, 0 } },
	  0 },
	{ "loop in the indirect table",
	  0,
	  { { TBL, 32, IND, 0 } },
	  { { BUF, 4, N, 1 }, { BUF, 4, N, 0 } },
	  0 },
	{ "indirect buffer past RAM", 0, { { TBL, 16, IND, 0 } }, { { RAM, 4, W, 0 } }, 0 },
	{ "misordered over the border",
	  0,
	  { { BUF, 4, W | N, 1 }, { TBL, 16, IND, 0 } },
	  { { BUF, 4, 0, 0 } },
	  0 },
};

/* After a fault the queue is dead, says so again, and does nothing else. */
static void check_dead(struct fixture *f, const char *what)
{
	struct vq_chain *c = NULL;
	for (int i = 0; i < 3; i++) {
		int got = vq_pop(f->q, &c);
		if (got != -EBADMSG)
			fail_msg("%s: %d", what, got);
	}
	assert_null(c);
	assert_int_equal(vq_stats_of(f->q)->errors, 1);
	assert_int_equal(vq_in_flight(f->q), 0);
	assert_false(vq_has_work(f->q));
	assert_false(vq_arm(f->q));
	assert_false(vq_publish(f->q));
}

/* One good request: a queue that knows a region takes the short road first. */
static void warm_up(struct fixture *f)
{
	if (f->gq.features & GUEST_PACKED) { /* a whole turn of the ring */
		uint16_t is_available = guest_packed_flags(&f->gq, false);
		for (uint16_t n = 4; n-- > 0;)
			guest_desc(&f->gq, n, BUF, 4, (n < 3 ? N : W) | is_available, 0);
	} else {
		guest_desc(&f->gq, 7, BUF, 4, W, 0);
		guest_offer(&f->gq, 7);
	}
	vq_push(f->q, pop_one(f), 4);
	(void)vq_publish(f->q);
}

static void hostile_split(unsigned i, bool is_warm)
{
	struct fixture f;
	fixture_init(&f, 8, GUEST_FEATURES & ~split_rows[i].without);
	if (is_warm)
		warm_up(&f);
	for (uint16_t n = 0; n < 4; n++) {
		const struct row_desc *d = &split_rows[i].d[n];
		guest_desc(&f.gq, n, d->addr, d->len, d->flags, d->next);
	}
	for (uint16_t n = 0; n < 3; n++) {
		const struct row_desc *d = &split_rows[i].t[n];
		guest_table(&f.gq, TBL, n, d->addr, d->len, d->flags, d->next);
	}
	guest_offer(&f.gq, split_rows[i].head);
	check_dead(&f, split_rows[i].what);
	fixture_fini(&f);
}

static void hostile_split_chains_end_the_queue(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(split_rows); i++) {
		hostile_split(i, false);
		hostile_split(i, true);
	}
}

static void lengths_that_overflow_end_the_queue(void **state)
{
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		struct fixture f;
		fixture_init(&f, 8, GUEST_FEATURES | (packed ? GUEST_PACKED : 0));
		uint64_t table = guest_alloc(&f.guest, 16 * 1024, 16, 0);
		assert_true(add_long(&f, 1024, table) >= 0);
		for (unsigned i = 1; i < 1024; i++) /* 1023 * 4 MiB is 2^32 - 4 MiB: just fits */
			memcpy(f.guest.ram + table + 16 * i, &(struct vring_desc){ 0, RAM, 0, 0 },
			       12);
		struct vq_chain *c = pop_one(&f);
		assert_int_equal(c->in_bytes, 1023 * RAM);
		vq_push(f.q, c, 0);
		(void)vq_publish(f.q);
		assert_true(add_long(&f, 1024, table) >= 0);
		for (unsigned i = 0; i < 1024; i++)
			memcpy(f.guest.ram + table + 16 * i, &(struct vring_desc){ 0, RAM, 0, 0 },
			       12);
		check_dead(&f, "chain of 2^32 bytes");
		fixture_fini(&f);
	}
}

/* Empty buffers become no segments, yet somebody has to walk them all. */
static void a_chain_of_too_many_buffers_ends_the_queue(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct fixture f;
		bool is_packed = i & 1, is_empty = i & 2;
		fixture_init(&f, 8, GUEST_FEATURES | (is_packed ? GUEST_PACKED : 0));
		uint64_t table = guest_alloc(&f.guest, 16 * 1025, 16, 0);
		assert_true(add_long(&f, 1025, table) >= 0);
		for (unsigned n = 0; is_empty && n < 1025; n++)
			memset(f.guest.ram + table + 16 * n + offsetof(struct vring_desc, len), 0,
			       4);
		check_dead(&f, is_empty ? "1025 empty buffers" : "1025 segments");
		fixture_fini(&f);
	}
}

static void an_index_that_jumps_ends_the_queue(void **state)
{
	(void)state;
	static const uint16_t jumps[] = { 9, 0x7fff, 0x8000, 0xffff };
	for (unsigned i = 0; i < ARRAY_SIZE(jumps); i++) {
		struct fixture f;
		fixture_init(&f, 8, GUEST_FEATURES);
		f.gq.avail->idx = jumps[i];
		assert_true(vq_has_work(f.q));
		check_dead(&f, "index jump");
		fixture_fini(&f);
	}
}

/* Behind what was taken the ring has what it had a turn before. */
static void an_index_that_goes_back_ends_the_queue(void **state)
{
	(void)state;
	struct fixture f;
	struct vq_chain *c;
	fixture_init(&f, 8, GUEST_FEATURES);
	for (uint16_t i = 0; i < 4; i++)
		guest_desc(&f.gq, i, BUF, 4, W, 0);
	for (uint16_t i = 1; i < 4; i++) {
		guest_offer(&f.gq, i);
		(void)pop_one(&f);
	}
	f.gq.avail->idx = 1;
	assert_int_equal(vq_pop(f.q, &c), -EBADMSG);
	assert_int_equal(vq_in_flight(f.q), 3);
	fixture_fini(&f);
}

static void a_head_offered_twice_ends_the_queue(void **state)
{
	(void)state;
	struct fixture f;
	struct vq_chain *c, *again;
	fixture_init(&f, 8, GUEST_FEATURES);
	guest_desc(&f.gq, 3, BUF, 4, W, 0);
	guest_offer(&f.gq, 3);
	guest_offer(&f.gq, 3);
	c = pop_one(&f);
	assert_int_equal(vq_pop(f.q, &again), -EBADMSG);
	assert_int_equal(vq_in_flight(f.q), 1);
	vq_push(f.q, c, 4); /* what was in flight still completes */
	(void)vq_publish(f.q);
	assert_int_equal(f.gq.used->idx, 1);
	assert_int_equal(vq_pop(f.q, &again), -EBADMSG);
	fixture_fini(&f);
}

static void long_chains_are_given_back_when_broken(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f, 64, GUEST_FEATURES);
	uint64_t table = guest_alloc(&f.guest, 16 * 1024, 16, 0);
	assert_true(add_long(&f, 200, table) >= 0);
	guest_table(&f.gq, table, 199, RAM, 1, W, 0);
	check_dead(&f, "last of 200 past RAM");
	fixture_fini(&f);
}

/* --- hostile drivers, packed ring: descriptors from 0 on in the first turn --- */

static const struct {
	const char *what;
	struct row_desc d[4], t[3]; /* next: buffer id */
	uint64_t without;
} packed_rows[] = {
	{ "chain without an end",
	  { { BUF, 4, N, 0 }, { BUF, 4, N, 0 }, { BUF, 4, N, 0 }, { BUF, 4, N, 0 } },
	  { { 0 } },
	  0 },
	{ "buffer far past RAM", { { ~0ull, 4, W, 0 } }, { { 0 } }, 0 },
	{ "buffer just past RAM", { { RAM, 1, W, 0 } }, { { 0 } }, 0 },
	{ "buffer that leaves RAM", { { RAM - 4, 5, W, 0 } }, { { 0 } }, 0 },
	{ "readable after writable", { { BUF, 4, W | N, 0 }, { BUF, 4, 0, 0 } }, { { 0 } }, 0 },
	{ "second buffer past RAM", { { BUF, 4, N, 0 }, { 1ull << 40, 4, W, 0 } }, { { 0 } }, 0 },
	{ "indirect not negotiated",
	  { { TBL, 16, IND, 0 } },
	  { { BUF, 4, W, 0 } },
	  1ull << VIRTIO_RING_F_INDIRECT_DESC },
	{ "indirect with next",
	  { { TBL, 16, IND | N, 0 }, { BUF, 4, W, 0 } },
	  { { BUF, 4, W, 0 } },
	  0 },
	{ "indirect of no length", { { TBL, 0, IND, 0 } }, { { BUF, 4, W, 0 } }, 0 },
	{ "indirect of odd length", { { TBL, 24, IND, 0 } }, { { BUF, 4, W, 0 } }, 0 },
	{ "indirect inside indirect",
	  { { TBL, 32, IND, 0 } },
	  { { TBL, 16, IND, 0 }, { BUF, 4, W, 0 } },
	  0 },
	{ "indirect past RAM", { { RAM, 16, IND, 0 } }, { { 0 } }, 0 },
	{ "indirect that leaves RAM", { { RAM - 16, 32, IND, 0 } }, { { 0 } }, 0 },
	{ "indirect that is huge", { { TBL, 0xfffffff0, IND, 0 } }, { { 0 } }, 0 },
	{ "indirect buffer past RAM", { { TBL, 16, IND, 0 } }, { { RAM, 4, W, 0 } }, 0 },
	{ "misordered in the table",
	  { { TBL, 32, IND, 0 } },
	  { { BUF, 4, W, 0 }, { BUF, 4, 0, 0 } },
	  0 },
};

static void hostile_packed(unsigned i, bool is_warm)
{
	struct fixture f;
	fixture_init(&f, 4, (GUEST_FEATURES | GUEST_PACKED) & ~packed_rows[i].without);
	if (is_warm)
		warm_up(&f);
	uint16_t is_available = guest_packed_flags(&f.gq, is_warm);
	for (uint16_t n = 0; n < 3; n++) {
		const struct row_desc *d = &packed_rows[i].t[n];
		guest_table(&f.gq, TBL, n, d->addr, d->len, d->flags, d->next);
	}
	for (uint16_t n = 4; n-- > 0;) {
		const struct row_desc *d = &packed_rows[i].d[n];
		guest_desc(&f.gq, n, d->addr, d->len, d->flags | is_available, d->next);
	}
	check_dead(&f, packed_rows[i].what);
	fixture_fini(&f);
}

static void hostile_packed_chains_end_the_queue(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(packed_rows); i++) {
		hostile_packed(i, false);
		hostile_packed(i, true);
	}
}

static void a_packed_ring_offered_beyond_its_size_ends(void **state)
{
	(void)state;
	struct fixture f;
	struct vq_chain *c[4], *more;
	fixture_init(&f, 4, GUEST_FEATURES | GUEST_PACKED);
	for (uint16_t i = 0; i < 4; i++)
		guest_desc(&f.gq, i, BUF, 4, guest_packed_flags(&f.gq, false), 7);
	for (unsigned i = 0; i < 4; i++)
		c[i] = pop_one(&f);
	/* the next turn, while nothing was given back: same id as well */
	guest_desc(&f.gq, 0, BUF, 4, guest_packed_flags(&f.gq, true), 7);
	assert_int_equal(vq_pop(f.q, &more), -EBADMSG);
	for (unsigned i = 0; i < 4; i++)
		vq_push(f.q, c[i], 4);
	assert_int_equal(vq_in_flight(f.q), 0);
	assert_int_equal(vq_pop(f.q, &more), -EBADMSG);
	fixture_fini(&f);
}

static void packed_ids_may_be_anything(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f, 4, GUEST_FEATURES | GUEST_PACKED);
	for (uint16_t i = 0; i < 3; i++)
		guest_desc(&f.gq, i, BUF, 4, W | guest_packed_flags(&f.gq, false), 0xfffe);
	struct vq_chain *a = pop_one(&f), *b = pop_one(&f);
	assert_int_not_equal(a->head, b->head);
	assert_in_range(a->head, 0, 3);
	assert_in_range(b->head, 0, 3);
	vq_push(f.q, b, 2);
	vq_push(f.q, a, 1);
	(void)vq_publish(f.q);
	assert_int_equal(f.gq.packed[0].id, 0xfffe);
	assert_int_equal(f.gq.packed[0].len, 2);
	assert_int_equal(f.gq.packed[1].len, 1);
	fixture_fini(&f);
}

/* --- RAM of several regions --- */

static void a_buffer_over_a_hole_ends_the_queue(void **state)
{
	(void)state;
	static const struct {
		const char *what;
		uint64_t addr;
		uint32_t len;
		int got;
	} rows[] = {
		{ "end of the first region", 0xff000, 0x1000, 1 },
		{ "into the hole", 0xff000, 0x1001, -EBADMSG },
		{ "over the hole", 0xff000, 0x102000, -EBADMSG },
		{ "inside the hole", 0x180000, 1, -EBADMSG },
		{ "start of the second region", 0x200000, 0x100000, 1 },
		{ "before the second region", 0x1fffff, 2, -EBADMSG },
		{ "end of the second region", 0x2fffff, 1, 1 },
	};
	struct gmem_place place = { .pages = GMEM_PAGES_4K, .node = PLACE_NODE_ANY };
	struct gmem_extent ram[] = { { 0, 0x100000 }, { 0x200000, 0x100000 } };
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest g = { .bytes = 0x100000, .next = 4096 };
		struct guest_queue gq;
		struct vq *q;
		struct vq_chain *c;
		assert_int_equal(gmem_create(&g.mem, ram, 2, &place), 0);
		g.ram = gmem_host(g.mem, gpa(0), 1);
		guest_queue_init(&gq, &g, 8, GUEST_FEATURES);
		struct vq_setup s = guest_queue_setup(&gq, NULL);
		assert_int_equal(vq_create(&q, &s), 0);
		guest_desc(&gq, 0, 0x80000, 4, N, 1); /* the first region is the last hit */
		guest_desc(&gq, 1, rows[i].addr, rows[i].len, W | N, 2);
		guest_desc(&gq, 2, 0x80000, 4, W, 0);
		guest_offer(&gq, 0);
		int got = vq_pop(q, &c);
		if (got != rows[i].got)
			fail_msg("%s: %d", rows[i].what, got);
		if (got == 1)
			assert_ptr_equal(c->iov[1].iov_base, g.ram + rows[i].addr);
		vq_destroy(q);
		guest_queue_fini(&gq);
		guest_fini(&g);
	}
}

/* Two regions are remembered, and neither stands for what lies between. */
static void hole_before_a_region(uint64_t addr, uint32_t len)
{
	static const uint64_t good[] = { 0x80000, 0x200000, 0x600000 };
	struct gmem_place place = { .pages = GMEM_PAGES_4K, .node = PLACE_NODE_ANY };
	struct gmem_extent ram[] = { { 0, 0x100000 },
				     { 0x200000, 0x300000 },
				     { 0x600000, 0x1000 } };
	struct guest g = { .bytes = 0x100000, .next = 4096 };
	struct guest_queue gq;
	struct vq *q;
	struct vq_chain *c;
	assert_int_equal(gmem_create(&g.mem, ram, 3, &place), 0);
	g.ram = gmem_host(g.mem, gpa(0), 1);
	guest_queue_init(&gq, &g, 8, GUEST_FEATURES);
	struct vq_setup s = guest_queue_setup(&gq, NULL);
	assert_int_equal(vq_create(&q, &s), 0);
	for (uint16_t i = 0; i < ARRAY_SIZE(good); i++) {
		guest_desc(&gq, i, good[i], 4, W, 0);
		guest_offer(&gq, i);
		assert_int_equal(vq_pop(q, &c), 1);
	}
	guest_desc(&gq, 3, addr, len, W, 0);
	guest_offer(&gq, 3);
	assert_int_equal(vq_pop(q, &c), -EBADMSG);
	vq_destroy(q);
	guest_queue_fini(&gq);
	guest_fini(&g);
}

static void a_hole_before_a_known_region_ends_the_queue(void **state)
{
	(void)state;
	hole_before_a_region(0x180000, 4);
	hole_before_a_region(0x1fffff, 2);
	hole_before_a_region(0x5fffff, 2);
}

/* What lies behind the table looks like a good descriptor. */
static void a_head_behind_the_table_ends_the_queue(void **state)
{
	(void)state;
	struct guest g;
	struct guest_queue gq;
	struct vq *q;
	struct vq_chain *c;
	guest_init(&g, RAM);
	guest_queue_init(&gq, &g, 8, GUEST_FEATURES);
	struct vq_setup s = guest_queue_setup(&gq, NULL);
	s.desc = gpa(guest_alloc(&g, 16 * 9, 16, 0));
	const struct vring_desc d = { htole64(BUF), htole32(4), htole16(W), 0 };
	for (unsigned i = 0; i < 9; i++)
		memcpy(g.ram + s.desc.raw + 16 * i, &d, sizeof(d));
	assert_int_equal(vq_create(&q, &s), 0);
	guest_offer(&gq, 0);
	assert_int_equal(vq_pop(q, &c), 1);
	guest_offer(&gq, 8);
	assert_int_equal(vq_pop(q, &c), -EBADMSG);
	vq_destroy(q);
	guest_queue_fini(&gq);
	guest_fini(&g);
}

static void what_came_before_a_fault_comes_out(void **state)
{
	(void)state;
	static const uint64_t formats[] = { 0, GUEST_PACKED };
	for (unsigned k = 0; k < ARRAY_SIZE(formats); k++) {
		struct fixture f;
		struct vq_chain *c[VQ_BATCH];
		const struct guest_buf good[2] = { { BUF, 16, false }, { BUF + 64, 8, true } };
		const struct guest_buf bad[2] = { { BUF, 16, false }, { RAM, 8, true } };
		fixture_init(&f, 16, GUEST_FEATURES | formats[k]);
		for (unsigned i = 0; i < 5; i++)
			assert_true(guest_add(&f.gq, i == 3 ? bad : good, 2, false) >= 0);
		guest_show(&f.gq);
		/* the first is for the long road: no region is known yet */
		int nr = vq_pop_batch(f.q, c, VQ_BATCH);
		assert_int_equal(nr, 1);
		nr += vq_pop_batch(f.q, &c[nr], VQ_BATCH);
		assert_int_equal(nr, 3);
		assert_true(vq_has_work(f.q));
		assert_int_equal(vq_pop_batch(f.q, &c[nr], VQ_BATCH), -EBADMSG);
		assert_int_equal(vq_pop_batch(f.q, &c[nr], VQ_BATCH), -EBADMSG);
		assert_int_equal(vq_in_flight(f.q), 3);
		for (int i = 0; i < nr; i++)
			vq_push(f.q, c[i], 8);
		assert_int_equal(vq_in_flight(f.q), 0);
		assert_true(vq_publish(f.q));
		fixture_fini(&f);
	}
}

static void a_head_offered_twice_at_once_ends_the_queue(void **state)
{
	(void)state;
	struct fixture f;
	struct vq_chain *c[VQ_BATCH];
	fixture_init(&f, 8, GUEST_FEATURES);
	for (uint16_t i = 0; i < 3; i++)
		guest_desc(&f.gq, i, BUF, 4, W, 0);
	guest_offer(&f.gq, 0);
	assert_int_equal(vq_pop_batch(f.q, c, VQ_BATCH), 1); /* knows the region from here on */
	guest_offer(&f.gq, 1);
	guest_offer(&f.gq, 2);
	guest_offer(&f.gq, 1);
	assert_int_equal(vq_pop_batch(f.q, c, VQ_BATCH), 2);
	assert_int_equal(vq_pop_batch(f.q, c, VQ_BATCH), -EBADMSG);
	fixture_fini(&f);
}

/* An account of requests in flight has room for a batch of results of one ring, not of two. */
static void results_that_were_not_shown_are_not_back(void **state)
{
	(void)state;
	struct fixture f;
	struct vq_chain *c;
	fixture_init(&f, 8, GUEST_FEATURES);
	for (uint16_t i = 0; i < 8; i++) {
		guest_desc(&f.gq, i, BUF, 4, W, 0);
		guest_offer(&f.gq, i);
		vq_push(f.q, pop_one(&f), 4);
	}
	guest_offer(&f.gq, 0);
	assert_int_equal(vq_pop(f.q, &c), -EBADMSG);
	fixture_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_setups_are_refused),
		cmocka_unit_test(hostile_split_chains_end_the_queue),
		cmocka_unit_test(what_came_before_a_fault_comes_out),
		cmocka_unit_test(a_head_offered_twice_at_once_ends_the_queue),
		cmocka_unit_test(results_that_were_not_shown_are_not_back),
		cmocka_unit_test(lengths_that_overflow_end_the_queue),
		cmocka_unit_test(a_chain_of_too_many_buffers_ends_the_queue),
		cmocka_unit_test(an_index_that_jumps_ends_the_queue),
		cmocka_unit_test(an_index_that_goes_back_ends_the_queue),
		cmocka_unit_test(a_head_offered_twice_ends_the_queue),
		cmocka_unit_test(long_chains_are_given_back_when_broken),
		cmocka_unit_test(hostile_packed_chains_end_the_queue),
		cmocka_unit_test(a_packed_ring_offered_beyond_its_size_ends),
		cmocka_unit_test(packed_ids_may_be_anything),
		cmocka_unit_test(a_buffer_over_a_hole_ends_the_queue),
		cmocka_unit_test(a_hole_before_a_known_region_ends_the_queue),
		cmocka_unit_test(a_head_behind_the_table_ends_the_queue),
	};
	return cmocka_run_group_tests_name("virtio/queue, hostile", tests, NULL, NULL);
}
