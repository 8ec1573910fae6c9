/*
 * fuzz_virtio_pci.c - a driver that reads and writes the transport's registers, configuration space
 * and MSI-X table anywhere and with any width, while the device stops when it likes and complains
 * when it likes; after each step the device must still make sense.
 */
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <string.h>
#include "base/err.h"
#include "base/log.h"
#include "base/num.h"
#include "support/fake_vdev.h"
#include "support/guest.h"
#include "sync/rcu.h"
#include "unit/bus/fake_chip.h"
#include "virtio/virtio_pci.h"

#define BAR_AT    0xc0000000ull
#define BAR_BYTES 0x8000u
#define STATUS    0x14
#define BDF       (3 << 3)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct machine {
	struct guest guest;
	struct guest_queue gq[FAKE_QUEUES];
	struct fake_vdev fake;
	struct fake_chip chip;
	struct pci_host host;
	struct virtio_pci *v;
	struct pci_func *func;
} m;

static const uint8_t *fuzz_at, *fuzz_end;
static unsigned nr_bells;

static uint64_t take_bytes(unsigned bytes)
{
	uint64_t v = 0;
	for (; bytes && fuzz_at < fuzz_end; bytes--)
		v = v << 8 | *fuzz_at++;
	return v;
}

static int bells_add(void *ctx, enum bus_space space, uint64_t addr, int fd)
{
	(void)ctx;
	(void)addr;
	BUG_ON(space != BUS_MMIO || fd < 0);
	if (nr_bells == FAKE_QUEUES)
		return -ENOSPC;
	nr_bells++;
	return 0;
}

static void bells_del(void *ctx, enum bus_space space, uint64_t addr, int fd)
{
	(void)ctx;
	(void)space;
	(void)addr;
	(void)fd;
	BUG_ON(!nr_bells);
	nr_bells--;
}

static const struct doorbell_ops bells_ops = { .add = bells_add, .del = bells_del };
static const struct doorbell_chip bells = { &bells_ops, NULL };

static void machine_init(void)
{
	memset(&m, 0, sizeof(m));
	guest_init(&m.guest, MIB);
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		guest_queue_init(&m.gq[i], &m.guest, 16, GUEST_FEATURES);
	fake_chip_init(&m.chip);
	m.host = (struct pci_host){ .irq = &m.chip.chip, .doorbell = &bells };
	BUG_ON(bus_create(&m.host.mmio, BUS_MMIO) || bus_create(&m.host.pio, BUS_PIO));
	fake_vdev_init(&m.fake, m.guest.mem);
	BUG_ON(virtio_pci_create(&m.v, &m.fake.dev));
	m.func = virtio_pci_func(m.v);
	const struct irq_line intx = { &m.chip.chip, 10 };
	BUG_ON(pci_func_plug(m.func, &m.host, BDF, &intx));
	pci_func_set_bar(m.func, 0, BAR_AT);
	pci_func_enable(m.func);
}

/* Queues that were told to stop, do. */
static void stop_queues(void)
{
	for (uint16_t i = 0; i < FAKE_QUEUES; i++)
		if (m.fake.dev.q[i].state == VDEV_Q_STOPPING)
			vdev_queue_stopped(&m.fake.dev, i);
}

static void machine_fini(void)
{
	vdev_hold(&m.fake.dev, VDEV_HOLD_END);
	stop_queues();
	BUG_ON(!vdev_is_quiet(&m.fake.dev));
	pci_func_unplug(m.func);
	BUG_ON(nr_bells);
	virtio_pci_destroy(m.v);
	for (unsigned i = 0; i < FAKE_GSIS; i++)
		BUG_ON(m.chip.wires[i] || m.chip.used[i]);
	bus_destroy(m.host.mmio);
	bus_destroy(m.host.pio);
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		guest_queue_fini(&m.gq[i]);
	guest_fini(&m.guest);
}

/* The steps a good driver takes, so that the deep states are found quickly. */
static void bring_up(uint64_t how)
{
	struct vdev *d = &m.fake.dev;
	uint16_t q = (uint16_t)(how % FAKE_QUEUES);
	vdev_set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	vdev_accept(d, 0, (uint32_t)(how & 4 ? GUEST_FEATURES : 0));
	vdev_accept(d, 1, 1);
	vdev_set_status(d, 0x0b);
	vdev_queue_set_size(d, q, 16);
	vdev_queue_set_area(d, q, VDEV_DESC, m.gq[q].desc_gpa);
	vdev_queue_set_area(d, q, VDEV_DRIVER, m.gq[q].driver_gpa);
	vdev_queue_set_area(d, q, VDEV_DEVICE, m.gq[q].device_gpa);
	vdev_queue_enable(d, q);
	if (how & 8)
		vdev_set_status(d, 0x0f);
}

/* Registers more often than the rest of the BAR. */
static void step_bar(uint8_t how)
{
	uint64_t at = how & 0x80 ? take_bytes(2) % BAR_BYTES
				 : (how & 0x40 ? 0x6000 : 0) + take_bytes(1) % 0x44;
	unsigned len = 1u << how % 4;
	uint64_t v = take_bytes(len);
	(void)(how & 8 ? bus_read(m.host.mmio, BAR_AT + at, &v, len)
		       : bus_write(m.host.mmio, BAR_AT + at, &v, len));
}

static void step_config(uint8_t how)
{
	uint32_t v = (uint32_t)take_bytes(4);
	unsigned len = 1u << how % 3;
	uint16_t at = (uint16_t)(take_bytes(1) & ~(len - 1));
	if (at < PCI_BASE_ADDRESS_5 + 4 && at + len > PCI_BASE_ADDRESS_0)
		return; /* fuzz_pci_config moves BARs; here it stays where step_bar() looks */
	if (how & 8)
		pci_func_config_read(m.func, at, &v, len);
	else
		pci_func_config_write(m.func, at, &v, len);
}

static void step_device(uint8_t how)
{
	struct vdev *d = &m.fake.dev;
	struct vdev_queue *q = &d->q[how / 8 % FAKE_QUEUES];
	switch (how % 8) {
	case 0:
		vdev_needs_reset(d, "the fuzzer wants it");
		break;
	case 1:
		vdev_config_begin(d);
		vdev_config_end(d, true);
		break;
	case 2:
		m.fake.start_err = how & 0x80 ? -ENOMEM : 0;
		break;
	case 3:
		m.chip.fail_next = how & 0x80 ? EIO : 0;
		break;
	case 4:
		if (q->state == VDEV_Q_RUNNING)
			notifier_signal(m.fake.setup[q - d->q].call);
		break;
	default:
		stop_queues();
	}
}

static void check(void)
{
	struct vdev *d = &m.fake.dev;
	uint8_t status = vdev_status(d);
	BUG_ON((status & VIRTIO_CONFIG_S_DRIVER_OK) && !(status & VIRTIO_CONFIG_S_FEATURES_OK));
	BUG_ON((status & VIRTIO_CONFIG_S_FEATURES_OK) &&
	       !(vdev_accepted(d, 1) & 1)); /* VERSION_1 */
	for (uint16_t i = 0; i < FAKE_QUEUES; i++) {
		BUG_ON(vdev_queue_size(d, i) > FAKE_SIZE || !vdev_queue_size(d, i));
		BUG_ON(m.fake.stops[i] > m.fake.starts[i]);
		BUG_ON(d->q[i].state == VDEV_Q_RUNNING && !(status & VIRTIO_CONFIG_S_DRIVER_OK));
	}
	for (unsigned i = 0; i < FAKE_GSIS; i++)
		BUG_ON(m.chip.wires[i] < 0 || m.chip.wires[i] > FAKE_QUEUES + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned nr_runs;
	if (!nr_runs) {
		rcu_enter_thread();
		log_set_level(LOG_LEVEL_ERROR);
	}
	fuzz_at = data;
	fuzz_end = data + size;
	machine_init();
	for (unsigned n = 0; fuzz_at < fuzz_end && n < 512; n++) {
		uint8_t what = (uint8_t)take_bytes(1), how = (uint8_t)take_bytes(1);
		if (what < 160)
			step_bar(how);
		else if (what < 190)
			step_config(how);
		else if (what < 240)
			step_device(how);
		else
			bring_up(how);
		check();
	}
	machine_fini();
	if (++nr_runs % 64 == 0)
		rcu_drain();
	return 0;
}
