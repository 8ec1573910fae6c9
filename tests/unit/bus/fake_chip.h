/*
 * fake_chip.h - an interrupt chip in plain memory: records routes, wires and line levels.
 *
 * Layer:   tests
 * Threads: the test's own.
 * Errors:  what fail_next says.
 * Spec:    bus/irq.h.
 */
#ifndef TESTS_FAKE_CHIP_H
#define TESTS_FAKE_CHIP_H
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include "bus/irq.h"

#define FAKE_GSIS 64
#define FAKE_MSI  24 /* first message route */

struct fake_chip {
	struct irq_chip chip;
	bool level[FAKE_GSIS];
	unsigned level_changes;
	bool used[FAKE_GSIS];
	uint64_t addr[FAKE_GSIS];
	uint32_t data[FAKE_GSIS];
	unsigned sets, adds, dels; /* calls */
	int wires[FAKE_GSIS];      /* descriptors wired to the route */
	int last_fd;
	unsigned max_routes;
	int fail_next; /* errno that the next msi_set or irqfd_add answers */
};

static inline void fake_set_level(void *ctx, uint32_t gsi, bool level)
{
	struct fake_chip *c = ctx;
	c->level[gsi] = level;
	c->level_changes++;
}

static inline int fake_msi_alloc(void *ctx, uint32_t *gsi)
{
	struct fake_chip *c = ctx;
	for (uint32_t i = FAKE_MSI; i < FAKE_MSI + c->max_routes; i++) {
		if (c->used[i])
			continue;
		c->used[i] = true;
		*gsi = i;
		return 0;
	}
	return -ENOSPC;
}

static inline void fake_msi_free(void *ctx, uint32_t gsi)
{
	struct fake_chip *c = ctx;
	c->used[gsi] = false;
}

static inline int fake_take_failure(struct fake_chip *c)
{
	int err = c->fail_next;
	c->fail_next = 0;
	return -err;
}

static inline int fake_msi_set(void *ctx, uint32_t gsi, uint64_t addr, uint32_t data)
{
	struct fake_chip *c = ctx;
	c->sets++;
	c->addr[gsi] = addr;
	c->data[gsi] = data;
	return fake_take_failure(c);
}

static inline int fake_irqfd_add(void *ctx, uint32_t gsi, int fd)
{
	struct fake_chip *c = ctx;
	int err = fake_take_failure(c);
	c->adds++;
	c->last_fd = fd;
	c->wires[gsi] += !err;
	return err;
}

static inline void fake_irqfd_del(void *ctx, uint32_t gsi, int fd)
{
	struct fake_chip *c = ctx;
	c->dels++;
	c->last_fd = fd;
	c->wires[gsi]--;
}

static const struct irq_chip_ops fake_chip_ops = {
	.set_level = fake_set_level,
	.msi_alloc = fake_msi_alloc,
	.msi_free = fake_msi_free,
	.msi_set = fake_msi_set,
	.irqfd_add = fake_irqfd_add,
	.irqfd_del = fake_irqfd_del,
};

static inline void fake_chip_init(struct fake_chip *c)
{
	*c = (struct fake_chip){ .chip = { &fake_chip_ops, c },
				 .max_routes = FAKE_GSIS - FAKE_MSI };
}

#endif
