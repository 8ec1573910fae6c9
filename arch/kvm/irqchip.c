/*
 * irqchip.c - see bus/irq.h and bus/doorbell.h: lines, messages, irqfds and ioeventfds by KVM.
 *
 * KVM takes the whole routing table at each change, so a copy of it is kept and edited in place.
 * Fixed routes come first and stay; messages follow in any order, each knowing its entry. What is
 * registered on the VM ends with the VM: nothing is remembered here for that.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include "arch/kvm/kvm_priv.h"
#include "base/num.h"

/* A message route. */
struct irqchip_msi {
	bool is_taken;
	uint32_t entry; /* in the table, 0: not there (entry 0 is a fixed one) */
};

static int irqchip_vm_fd(const struct irqchip *c)
{
	return container_of(c, const struct hv, chip)->vm_fd;
}

/* Driving a pin cannot fail on a VM that has its controllers. */
static void irqchip_set_level(void *ctx, uint32_t gsi, bool level)
{
	struct kvm_irq_level l = { .irq = gsi, .level = level };
	(void)ioctl(irqchip_vm_fd(ctx), KVM_IRQ_LINE, &l); /* see above */
}

/* Make room for another message. */
static int irqchip_grow_locked(struct irqchip *c) MUST_HOLD(&c->lock)
{
	if (c->nr_msis == c->max_msis)
		return -ENOSPC;
	uint32_t n = min_u32(c->nr_msis ? 2 * c->nr_msis : 64, c->max_msis);
	struct irqchip_msi *msis = realloc(c->msis, n * sizeof(*msis));
	if (!msis)
		return -ENOMEM;
	memset(msis + c->nr_msis, 0, (n - c->nr_msis) * sizeof(*msis));
	c->msis = msis;
	c->nr_msis = n;
	return 0;
}

static int irqchip_alloc_locked(struct irqchip *c, uint32_t *gsi) MUST_HOLD(&c->lock)
{
	uint32_t i = 0;
	while (i < c->nr_msis && c->msis[i].is_taken)
		i++;
	if (i == c->nr_msis) {
		int err = irqchip_grow_locked(c);
		if (err)
			return err;
	}
	c->msis[i].is_taken = true;
	*gsi = c->first_msi + i;
	return 0;
}

static int irqchip_msi_alloc(void *ctx, uint32_t *gsi)
{
	struct irqchip *c = ctx;
	mutex_lock(&c->lock);
	int err = irqchip_alloc_locked(c, gsi);
	mutex_unlock(&c->lock);
	return err;
}

static struct irqchip_msi *irqchip_msi_of(struct irqchip *c, uint32_t gsi) MUST_HOLD(&c->lock)
{
	BUG_ON(gsi < c->first_msi || gsi - c->first_msi >= c->nr_msis);
	struct irqchip_msi *m = &c->msis[gsi - c->first_msi];
	BUG_ON(!m->is_taken);
	return m;
}

static int irqchip_publish(struct irqchip *c) MUST_HOLD(&c->lock)
{
	return kvm_ioctl(irqchip_vm_fd(c), KVM_SET_GSI_ROUTING, c->table);
}

/* Take message @m out of the table: the last entry moves into its place. */
static void irqchip_drop_entry(struct irqchip *c, struct irqchip_msi *m) MUST_HOLD(&c->lock)
{
	struct kvm_irq_routing_entry *e = c->table->entries;
	uint32_t last = --c->table->nr;
	if (m->entry != last) {
		e[m->entry] = e[last];
		c->msis[e[last].gsi - c->first_msi].entry = m->entry;
	}
	m->entry = 0;
}

static void irqchip_msi_free(void *ctx, uint32_t gsi)
{
	struct irqchip *c = ctx;
	mutex_lock(&c->lock);
	struct irqchip_msi *m = irqchip_msi_of(c, gsi);
	if (m->entry) {
		irqchip_drop_entry(c, m);
		/* a stale route does no harm: nothing raises it, the next change drops it */
		(void)ioctl(irqchip_vm_fd(c), KVM_SET_GSI_ROUTING, c->table);
	}
	m->is_taken = false;
	mutex_unlock(&c->lock);
}

/* Append an entry for @gsi; the caller fills in its message. */
static int irqchip_add_entry(struct irqchip *c, struct irqchip_msi *m, uint32_t gsi)
	MUST_HOLD(&c->lock)
{
	if (c->table->nr == c->table_room) {
		uint32_t room = 2 * c->table_room;
		size_t bytes = sizeof(*c->table) + room * sizeof(c->table->entries[0]);
		struct kvm_irq_routing *t = realloc(c->table, bytes);
		if (!t)
			return -ENOMEM;
		c->table = t;
		c->table_room = room;
	}
	m->entry = c->table->nr++;
	struct kvm_irq_routing_entry e = { .gsi = gsi, .type = KVM_IRQ_ROUTING_MSI };
	c->table->entries[m->entry] = e;
	return 0;
}

static int irqchip_set_locked(struct irqchip *c, uint32_t gsi, uint64_t addr, uint32_t data)
	MUST_HOLD(&c->lock)
{
	struct irqchip_msi *m = irqchip_msi_of(c, gsi);
	bool is_new = m->entry == 0;
	int err = is_new ? irqchip_add_entry(c, m, gsi) : 0;
	if (err)
		return err;
	struct kvm_irq_routing_msi *msi = &c->table->entries[m->entry].u.msi, was = *msi;
	struct kvm_irq_routing_msi now = {
		.address_lo = (uint32_t)addr,
		.address_hi = (uint32_t)(addr >> 32),
		.data = data,
	};
	if (!is_new && was.address_lo == now.address_lo && was.address_hi == now.address_hi &&
	    was.data == now.data)
		return 0;
	*msi = now;
	err = irqchip_publish(c);
	if (err && is_new)
		irqchip_drop_entry(c, m);
	else if (err)
		*msi = was;
	return err;
}

static int irqchip_msi_set(void *ctx, uint32_t gsi, uint64_t addr, uint32_t data)
{
	struct irqchip *c = ctx;
	mutex_lock(&c->lock);
	int err = irqchip_set_locked(c, gsi, addr, data);
	mutex_unlock(&c->lock);
	return err;
}

static int irqchip_irqfd_add(void *ctx, uint32_t gsi, int fd)
{
	struct kvm_irqfd f = { .fd = (uint32_t)fd, .gsi = gsi };
	return kvm_ioctl(irqchip_vm_fd(ctx), KVM_IRQFD, &f);
}

static void irqchip_irqfd_del(void *ctx, uint32_t gsi, int fd)
{
	struct kvm_irqfd f = { .fd = (uint32_t)fd, .gsi = gsi, .flags = KVM_IRQFD_FLAG_DEASSIGN };
	(void)ioctl(irqchip_vm_fd(ctx), KVM_IRQFD, &f); /* fails only for what is not there */
}

static const struct irq_chip_ops irqchip_ops = {
	.set_level = irqchip_set_level,
	.msi_alloc = irqchip_msi_alloc,
	.msi_free = irqchip_msi_free,
	.msi_set = irqchip_msi_set,
	.irqfd_add = irqchip_irqfd_add,
	.irqfd_del = irqchip_irqfd_del,
};

/* Length 0: a write of any length matches, and KVM need not even decode the instruction. */
static int irqchip_bell(struct irqchip *c, enum bus_space space, uint64_t addr, int fd,
			uint32_t flags)
{
	struct kvm_ioeventfd e = {
		.addr = addr,
		.fd = fd,
		.flags = flags | (space == BUS_PIO ? KVM_IOEVENTFD_FLAG_PIO : 0u),
	};
	return kvm_ioctl(irqchip_vm_fd(c), KVM_IOEVENTFD, &e);
}

static int irqchip_bell_add(void *ctx, enum bus_space space, uint64_t addr, int fd)
{
	struct irqchip *c = ctx;
	return c->has_doorbells ? irqchip_bell(c, space, addr, fd, 0) : -ENOSYS;
}

static void irqchip_bell_del(void *ctx, enum bus_space space, uint64_t addr, int fd)
{
	/* fails only for what is not there */
	(void)irqchip_bell(ctx, space, addr, fd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

static const struct doorbell_ops irqchip_bell_ops = {
	.add = irqchip_bell_add,
	.del = irqchip_bell_del,
};

/* The fixed routes, in force from the start. */
static int irqchip_init_locked(struct irqchip *c, uint32_t max_routes) MUST_HOLD(&c->lock)
{
	c->table_room = KVM_BOARD_ROUTES;
	c->table = calloc(1, sizeof(*c->table) + c->table_room * sizeof(c->table->entries[0]));
	if (!c->table)
		return -ENOMEM;
	c->nr_fixed = c->table->nr = kvm_board_routes(c->table->entries);
	if (max_routes <= c->nr_fixed || max_routes <= c->first_msi)
		return -ENOSPC;
	/* Both the GSI and the number of entries stay below the limit. */
	c->max_msis = min_u32(max_routes - c->nr_fixed, max_routes - c->first_msi);
	return irqchip_publish(c);
}

int irqchip_init(struct irqchip *c, struct hv *h)
{
	c->irq = (struct irq_chip){ &irqchip_ops, c };
	c->bell = (struct doorbell_chip){ &irqchip_bell_ops, c };
	c->first_msi = kvm_board_first_msi;
	c->has_doorbells = h->info.has_ioeventfd_any_length;
	int max = kvm_ioctl_num(h->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQ_ROUTING);
	if (max < 0)
		return max;
	mutex_lock(&c->lock);
	int err = irqchip_init_locked(c, (uint32_t)max);
	mutex_unlock(&c->lock);
	return err;
}

void irqchip_fini(struct irqchip *c)
{
	free(c->msis);
	free(c->table);
	mutex_fini(&c->lock);
}
