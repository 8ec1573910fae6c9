/*
 * scene.h - a block device with a small queue, tables that a test may spoil, and the look at the
 * device afterwards.
 */
#ifndef GUEST_SCENE_H
#define GUEST_SCENE_H
#include <stdbool.h>
#include <stdint.h>
#include "probe.h"

#define SCENE_QUEUE  16 /* descriptors */
#define SCENE_TABLE  64 /* of the indirect table */
#define CANARY       0xc3
#define CANARY_BYTES 65536
#define NOWHERE      0xfffffffffffff000ul

/* A device that is up, a good chain 0-1-2 in @d that is not offered, a table for indirect chains.
 */
struct scene {
	struct probe p;
	struct vring_desc *d, *table;
	uint64_t ram_end;
};

/* Empties the heap. @is_plain: INDIRECT is not negotiated. SKIP: no block device. */
enum verdict scene_open(struct scene *s, bool is_plain);
/* A request that would succeed, in @d[0..2]. */
void scene_good_chain(const struct scene *s, struct vring_desc *d);
void scene_offer(struct scene *s, uint16_t head);
/* The probe device, whatever happened to it, serves a request after a reset. Empties the heap. */
enum verdict scene_works_again(void);

void desc_set(struct vring_desc *d, uint64_t addr, uint32_t len, unsigned flags, uint16_t next);

#endif
