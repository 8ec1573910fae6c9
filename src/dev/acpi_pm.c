/*
 * acpi_pm.c - ACPI fixed hardware: PM1a event and control registers, PM timer; see dev/platform.h.
 *
 * Spec: ACPI 6.5 §4.8.2 (timer), §4.8.3 (PM1 registers). The timer is 32 bits wide; its carry shows
 * in TMR_STS when that is read, but raises no interrupt: guests read the counter instead.
 */
#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/le.h"
#include "base/num.h"
#include "dev/platform.h"
#include "sync/mutex.h"

/* Layout of the block. */
#define ACPI_PM_STATUS  0 /* 16 bits, one to clear */
#define ACPI_PM_ENABLE  2 /* 16 bits */
#define ACPI_PM_CONTROL 4 /* 16 bits */
#define ACPI_PM_TIMER   8 /* 32 bits, read only */
#define ACPI_PM_BYTES   16

#define ACPI_PM_TMR           0x0001 /* of status and enable */
#define ACPI_PM_PWRBTN        0x0100
#define ACPI_PM_ENABLE_BITS   0x0721
#define ACPI_PM_CONTROL_BITS  0x1c03 /* kept: SLP_TYP, BM_RLD, SCI_EN */
#define ACPI_PM_SCI_EN        0x0001
#define ACPI_PM_SLP_EN        0x2000
#define ACPI_PM_SLP_TYP_SHIFT 10
#define ACPI_PM_SLP_TYP_MASK  7
#define ACPI_PM_TIMER_HZ      3579545

struct acpi_pm {
	/* immutable after create */
	struct acpi_pm_config cfg;
	struct mutex lock;
	/* under lock */
	uint16_t status, enable, control;
	bool sci_level;
	bool timer_top; /* the counter's top bit when its carry was last looked for */
};

static uint64_t acpi_pm_monotonic(void *ctx)
{
	(void)ctx;
	return clock_ns();
}

static uint32_t acpi_pm_ticks(const struct acpi_pm *p)
{
	uint64_t ns = p->cfg.now_ns(p->cfg.now_ctx);
	uint64_t s = ns / NSEC_PER_SEC, rest = ns % NSEC_PER_SEC;
	return (uint32_t)(s * ACPI_PM_TIMER_HZ + rest * ACPI_PM_TIMER_HZ / NSEC_PER_SEC);
}

/* ACPI 6.5 §4.8.3.1: TMR_STS is set whenever the top bit of the counter changes. */
static void acpi_pm_look_for_carry(struct acpi_pm *p) MUST_HOLD(&p->lock)
{
	bool top = acpi_pm_ticks(p) >> 31;
	if (top != p->timer_top)
		p->status |= ACPI_PM_TMR;
	p->timer_top = top;
}

static void acpi_pm_update_sci(struct acpi_pm *p) MUST_HOLD(&p->lock)
{
	bool level = p->status & p->enable & ~ACPI_PM_TMR;
	if (level == p->sci_level)
		return;
	p->sci_level = level;
	irq_line_set(&p->cfg.sci, level);
}

void acpi_pm_press_power(struct acpi_pm *p)
{
	mutex_lock(&p->lock);
	p->status |= ACPI_PM_PWRBTN;
	acpi_pm_update_sci(p);
	mutex_unlock(&p->lock);
}

/* --- registers: accesses of any width to a block of bytes --- */

static void acpi_pm_write_status(struct acpi_pm *p, uint32_t v, uint32_t mask)
{
	p->status &= (uint16_t) ~(v & mask);
}

static void acpi_pm_write_enable(struct acpi_pm *p, uint32_t v, uint32_t mask)
{
	p->enable = (uint16_t)((p->enable & ~mask) | (v & mask & ACPI_PM_ENABLE_BITS));
}

static void acpi_pm_write_control(struct acpi_pm *p, uint32_t v, uint32_t mask)
{
	p->control = (uint16_t)((p->control & ~mask) | (v & mask & ACPI_PM_CONTROL_BITS));
	p->control |= ACPI_PM_SCI_EN; /* no SMM to hand over to: always ACPI mode */
	unsigned typ = p->control >> ACPI_PM_SLP_TYP_SHIFT & ACPI_PM_SLP_TYP_MASK;
	if (v & mask & ACPI_PM_SLP_EN && typ == p->cfg.s5_slp_typ)
		p->cfg.sink.event(p->cfg.sink.ctx, MACHINE_POWEROFF);
}

static uint32_t acpi_pm_read_status(struct acpi_pm *p) NO_THREAD_SAFETY
{
	acpi_pm_look_for_carry(p);
	return p->status;
}

static uint32_t acpi_pm_read_enable(struct acpi_pm *p)
{
	return p->enable;
}

static uint32_t acpi_pm_read_control(struct acpi_pm *p)
{
	return p->control;
}

/* Called under lock. @mask: the bits that are written. */
static const struct acpi_pm_reg {
	uint8_t offset, width;
	uint32_t (*read)(struct acpi_pm *p);
	void (*write)(struct acpi_pm *p, uint32_t v, uint32_t mask);
} acpi_pm_regs[] = {
	{ ACPI_PM_STATUS, 2, acpi_pm_read_status, acpi_pm_write_status },
	{ ACPI_PM_ENABLE, 2, acpi_pm_read_enable, acpi_pm_write_enable },
	{ ACPI_PM_CONTROL, 2, acpi_pm_read_control, acpi_pm_write_control },
};

static void acpi_pm_read(void *ctx, uint64_t offset, void *data, unsigned len)
{
	struct acpi_pm *p = ctx;
	uint8_t block[ACPI_PM_BYTES + 8] = { 0 };
	le_store(block + ACPI_PM_TIMER, acpi_pm_ticks(p), 4); /* read most often, needs no lock */
	if (offset < ACPI_PM_TIMER) {
		mutex_lock(&p->lock);
		for (unsigned i = 0; i < ARRAY_SIZE(acpi_pm_regs); i++) {
			const struct acpi_pm_reg *r = &acpi_pm_regs[i];
			le_store(block + r->offset, r->read(p), r->width);
		}
		mutex_unlock(&p->lock);
	}
	memcpy(data, block + offset, len);
}

static void acpi_pm_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	struct acpi_pm *p = ctx;
	uint8_t block[ACPI_PM_BYTES + 8] = { 0 }, mask[ACPI_PM_BYTES + 8] = { 0 };
	memcpy(block + offset, data, len);
	memset(mask + offset, 0xff, len);
	mutex_lock(&p->lock);
	for (unsigned i = 0; i < ARRAY_SIZE(acpi_pm_regs); i++) {
		const struct acpi_pm_reg *r = &acpi_pm_regs[i];
		uint32_t m = (uint32_t)le_load(mask + r->offset, r->width);
		if (m)
			r->write(p, (uint32_t)le_load(block + r->offset, r->width), m);
	}
	acpi_pm_update_sci(p);
	mutex_unlock(&p->lock);
}

const struct bus_ops acpi_pm_bus_ops = {
	.name = "acpi-pm",
	.read = acpi_pm_read,
	.write = acpi_pm_write,
};

int acpi_pm_create(struct acpi_pm **out, const struct acpi_pm_config *cfg)
{
	struct acpi_pm *p = aligned_alloc(alignof(struct acpi_pm), sizeof(*p));
	if (!p)
		return -ENOMEM;
	memset(p, 0, sizeof(*p));
	p->cfg = *cfg;
	if (!p->cfg.now_ns)
		p->cfg.now_ns = acpi_pm_monotonic;
	p->control = ACPI_PM_SCI_EN;
	p->timer_top = acpi_pm_ticks(p) >> 31;
	mutex_init(&p->lock);
	*out = p;
	return 0;
}

void acpi_pm_destroy(struct acpi_pm *p)
{
	if (!p)
		return;
	mutex_fini(&p->lock);
	free(p);
}
