/* stress_pci.c - vCPUs in configuration space and BARs while functions are plugged and unplugged.
 */
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include <linux/pci_regs.h>
#include "base/num.h"
#include "bus/pci.h"
#include "sync/rcu.h"
#include "sync/thread.h"
#include "unit/bus/fake_chip.h"

#define NR_SLOTS 4
#define NR_VCPUS 2
#define RUN_MS   1500

/* Freed right after pci_bus_remove(). */
struct dev {
	struct pci_func func;
	uint64_t magic;
};

struct stress {
	struct fake_chip chip;
	struct bus *pio, *mmio;
	struct pci_bus *bus;
	atomic_bool stop;
	_Atomic uint64_t found, wrong;
};

static void dev_read(void *ctx, uint64_t offset, void *data, unsigned len)
{
	struct dev *d = ctx;
	(void)offset;
	memcpy(data, &d->magic, len);
}

/* What a driver's register write may do: raise and lower INTx. */
static void dev_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	struct dev *d = ctx;
	(void)data;
	(void)len;
	pci_func_set_intx(&d->func, offset & 4);
}

static const struct bus_ops dev_ops = { .name = "dev", .read = dev_read, .write = dev_write };

static struct dev *plug(struct stress *s, int slot)
{
	static const struct pci_ident id = { .vendor = 0x1af4, .device = 0x1042, .has_intx = true };
	struct dev *d = aligned_alloc(alignof(struct dev), sizeof(*d));
	assert_non_null(d);
	d->magic = 0x6d61676963;
	assert_int_equal(pci_func_init(&d->func, &id, NULL), 0);
	assert_int_equal(pci_func_add_bar(&d->func, 0, PCI_BAR_MEM32, 0x1000, &dev_ops, d), 0);
	assert_true(pci_func_add_msix(&d->func, 2, 0, 0x800, 0xc00) > 0);
	assert_int_equal(pci_bus_add(s->bus, &d->func, slot), slot);
	return d;
}

static void unplug(struct stress *s, struct dev *d)
{
	pci_bus_remove(s->bus, &d->func);
	pci_func_fini(&d->func);
	free(d);
}

/* One slot as a driver would: find, move the BAR, use it, mask and unmask. */
static void drive(struct stress *s, unsigned slot, unsigned n)
{
	uint16_t bdf = (uint16_t)(slot << 3);
	uint32_t v = 0, place = 0xd0000000 + (slot * 16 + n % 16) * 0x1000;
	uint64_t magic = 0;
	pci_bus_config_read(s->bus, bdf, 0, &v, 4);
	if (v == 0xffffffff)
		return;
	atomic_fetch_add_explicit(&s->found, 1, memory_order_relaxed);
	pci_bus_config_write(s->bus, bdf, PCI_BASE_ADDRESS_0, &place, 4);
	if (bus_read(s->mmio, place, &magic, 8) && magic != 0x6d61676963)
		atomic_fetch_add(&s->wrong, 1);
	bus_write(s->mmio, place + (n & 4), &v, 4);
	v = n % 2 ? PCI_MSIX_FLAGS_ENABLE : 0;
	pci_bus_config_write(s->bus, bdf, 0x42, &v, 2);
	v = 7 | (n % 3 ? PCI_COMMAND_INTX_DISABLE : 0);
	pci_bus_config_write(s->bus, bdf, PCI_COMMAND, &v, 2);
}

static void vcpu(void *arg)
{
	struct stress *s = arg;
	for (unsigned n = 0; !atomic_load_explicit(&s->stop, memory_order_relaxed); n++)
		drive(s, n % NR_SLOTS, n / NR_SLOTS);
}

static uint64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void vcpus_never_meet_a_removed_function(void **state)
{
	(void)state;
	static struct stress s;
	static const struct pci_windows w = { .mmio32_base = 0xc0000000,
					      .mmio32_len = 0x10000000,
					      .intx_gsi_base = 16,
					      .intx_gsi_count = 2 };
	struct thread *t[NR_VCPUS];
	struct dev *devs[NR_SLOTS];
	fake_chip_init(&s.chip);
	assert_int_equal(bus_create(&s.pio, BUS_PIO), 0);
	assert_int_equal(bus_create(&s.mmio, BUS_MMIO), 0);
	struct pci_host host = { .mmio = s.mmio, .pio = s.pio, .irq = &s.chip.chip };
	assert_int_equal(pci_bus_create(&s.bus, &host, &w), 0);
	for (int i = 0; i < NR_SLOTS; i++)
		devs[i] = plug(&s, i);
	for (unsigned i = 0; i < NR_VCPUS; i++)
		assert_int_equal(
			thread_create(&t[i], &(struct thread_attr){ .name = "vcpu" }, vcpu, &s), 0);
	for (uint64_t end = now_ms() + RUN_MS, n = 0; now_ms() < end; n++) {
		unplug(&s, devs[n % NR_SLOTS]);
		devs[n % NR_SLOTS] = plug(&s, (int)(n % NR_SLOTS));
	}
	atomic_store(&s.stop, true);
	for (unsigned i = 0; i < NR_VCPUS; i++)
		thread_join(t[i]);
	for (int i = 0; i < NR_SLOTS; i++)
		unplug(&s, devs[i]);
	assert_int_equal(s.wrong, 0);
	assert_true(s.found > 0);
	assert_false(s.chip.level[16] || s.chip.level[17]);
	pci_bus_destroy(s.bus);
	bus_destroy(s.pio);
	bus_destroy(s.mmio);
	rcu_drain();
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(vcpus_never_meet_a_removed_function) };
	rcu_enter_thread();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rcu_leave_thread();
	return failed;
}
