/*
 * scene.c - see scene.h.
 */
#include "scene.h"
#include <linux/virtio_blk.h>
#include "boot.h"
#include "mem.h"

void desc_set(struct vring_desc *d, uint64_t addr, uint32_t len, unsigned flags, uint16_t next)
{
	*d = (struct vring_desc){ addr, len, (uint16_t)flags, next };
}

void scene_good_chain(const struct scene *s, struct vring_desc *d)
{
	desc_set(&d[0], (uintptr_t)s->p.header, sizeof(*s->p.header), VRING_DESC_F_NEXT, 1);
	desc_set(&d[1], (uintptr_t)s->p.data[0], PROBE_BYTES,
		 VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 2);
	desc_set(&d[2], (uintptr_t)s->p.status, 1, VRING_DESC_F_WRITE, 0);
	s->p.status[0] = 0xff; /* no answer yet: a chain may leave the status out */
}

void scene_offer(struct scene *s, uint16_t head)
{
	ring_offer(&s->p.ring, head);
}

enum verdict scene_open(struct scene *s, bool is_plain)
{
	heap_empty();
	s->ram_end = boot_ram_end();
	CHECK_PASS(probe_open(&s->p, is_plain ? 0 : VF_INDIRECT, SCENE_QUEUE));
	if (s->p.dev.type != VIRTIO_ID_BLOCK)
		return test_skip("no block device");
	s->table = heap_alloc(SCENE_TABLE * sizeof(*s->table), 16);
	s->d = s->p.ring.desc;
	scene_good_chain(s, s->d);
	return PASS;
}

enum verdict scene_works_again(void)
{
	struct probe p;
	heap_empty();
	CHECK_PASS(probe_open(&p, VF_INDIRECT, SCENE_QUEUE));
	CHECK_PASS(probe_once(&p, false));
	CHECK(virtio_reset(&p.dev));
	return PASS;
}
