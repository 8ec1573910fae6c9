/*
 * irq.h - interrupts as devices see them: a level line, or a message behind an eventfd.
 *
 * Layer:   bus
 * Threads: irq_line_set from any thread; MSI routes from control and vCPU threads.
 * Errors:  negative errno. -ENOSPC: no route left. -EMFILE, -ENOMEM.
 * Spec:    PCI 3.0 §6.8 (MSI-X); KVM_IRQFD, KVM_SET_GSI_ROUTING.
 */
#ifndef BUS_IRQ_H
#define BUS_IRQ_H
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"

/* What the interrupt controller offers; arch implements it, tests script it. */
struct irq_chip_ops {
	/* Drive input @gsi. Never blocks for long, never fails. */
	void (*set_level)(void *ctx, uint32_t gsi, bool level);
	/* Take a free message route; *gsi names it. */
	int (*msi_alloc)(void *ctx, uint32_t *gsi);
	void (*msi_free)(void *ctx, uint32_t gsi);
	/* What an interrupt on route @gsi writes from now on. */
	int (*msi_set)(void *ctx, uint32_t gsi, uint64_t addr, uint32_t data);
	/* From now on a write to eventfd @fd raises @gsi; a count already pending does so now. */
	int (*irqfd_add)(void *ctx, uint32_t gsi, int fd);
	/* No longer. Writes accumulate in the eventfd again. */
	void (*irqfd_del)(void *ctx, uint32_t gsi, int fd);
};

struct irq_chip {
	const struct irq_chip_ops *ops;
	void *ctx;
};

/* A wired interrupt input, handed to a device at creation. Copy freely. */
struct irq_line {
	const struct irq_chip *chip; /* NULL: not connected */
	uint32_t gsi;
};

static inline void irq_line_set(const struct irq_line *l, bool level)
{
	if (l->chip)
		l->chip->ops->set_level(l->chip->ctx, l->gsi, level);
}

/* An edge: up and down. */
static inline void irq_line_pulse(const struct irq_line *l)
{
	irq_line_set(l, true);
	irq_line_set(l, false);
}

/*
 * Inputs that several devices drive: the OR of their lines. Each device drives its line up once and
 * down once, as devices do that remember their level.
 */
struct irq_share; /* from irq_share_create() to irq_share_destroy() */
MUST_CHECK int irq_share_create(struct irq_share **out, const struct irq_chip *chip);
void irq_share_destroy(struct irq_share *s);
/* Lines of devices that share are made of this chip, which serves nothing else. Lives with @s. */
const struct irq_chip *irq_share_chip(struct irq_share *s);

#endif
