/* irq.c - see bus/irq.h. */
#include "bus/irq.h"
#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include "sync/mutex.h"

#define IRQ_SHARE_GSIS 256 /* wired inputs; message routes lie above and do not come here */

struct irq_share {
	/* immutable after create */
	struct irq_chip chip;          /* ours, in front */
	const struct irq_chip *behind; /* what it stands before */
	struct mutex lock;
	/* under lock */
	uint32_t nr_high[IRQ_SHARE_GSIS]; /* devices that hold the input up */
};

static void irq_share_set_level(void *ctx, uint32_t gsi, bool level)
{
	struct irq_share *s = ctx;
	BUG_ON(gsi >= IRQ_SHARE_GSIS);
	mutex_lock(&s->lock);
	uint32_t before = s->nr_high[gsi];
	BUG_ON(!level && !before);
	s->nr_high[gsi] = level ? before + 1 : before - 1;
	if (!before || !s->nr_high[gsi])
		s->behind->ops->set_level(s->behind->ctx, gsi, level);
	mutex_unlock(&s->lock);
}

static const struct irq_chip_ops irq_share_ops = {
	.set_level = irq_share_set_level,
};

int irq_share_create(struct irq_share **out, const struct irq_chip *chip)
{
	struct irq_share *s = aligned_alloc(alignof(struct irq_share), sizeof(*s));
	if (!s)
		return -ENOMEM;
	memset(s, 0, sizeof(*s));
	s->chip = (struct irq_chip){ &irq_share_ops, s };
	s->behind = chip;
	mutex_init(&s->lock);
	*out = s;
	return 0;
}

void irq_share_destroy(struct irq_share *s)
{
	if (!s)
		return;
	mutex_fini(&s->lock);
	free(s);
}

const struct irq_chip *irq_share_chip(struct irq_share *s)
{
	return &s->chip;
}
