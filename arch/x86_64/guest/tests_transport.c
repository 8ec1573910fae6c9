/*
 * tests_transport.c - every register of the virtio-pci common configuration. VIRTIO 1.2 §4.1.4.3.
 *
 * Each test runs on every virtio device found. What the specification leaves to the device, and
 * some devices do otherwise, is asked for only with `strict=1` on the command line.
 */
#include "clock.h"
#include "io.h"
#include "mem.h"
#include "pci.h"
#include "ring.h"
#include "test.h"
#include "virtio.h"

#define MAX_TYPE       64
#define ABSENT_FEATURE (1ul << 63) /* nobody offers it */

/* Run @fn on each device, freshly reset; leave each reset. */
static enum verdict on_each(enum verdict (*fn)(struct virtio *v))
{
	struct virtio v;
	unsigned done = 0;
	for (uint16_t type = 1; type < MAX_TYPE; type++)
		for (unsigned n = 0; virtio_find(&v, type, n); n++, done++) {
			enum verdict got = fn(&v);
			bool is_back = virtio_reset(&v);
			if (got != PASS) {
				print("info device type %u number %u:\n", type, n);
				return got;
			}
			CHECK(is_back);
		}
	return done ? PASS : test_skip("no virtio device");
}

static enum verdict queue_is_reset(struct virtio *v, uint16_t index)
{
	COMMON_WRITE16(v, queue_select, index);
	CHECK_EQ(COMMON_READ16(v, queue_select), index);
	uint16_t size = COMMON_READ16(v, queue_size);
	CHECK(size > 0 && size <= 32768 && (size & (size - 1)) == 0);
	CHECK_EQ(COMMON_READ16(v, queue_msix_vector), VIRTIO_NO_VECTOR);
	CHECK_EQ(COMMON_READ16(v, queue_enable), 0);
	CHECK_EQ(COMMON_READ32(v, queue_desc_lo) | COMMON_READ32(v, queue_desc_hi), 0);
	CHECK_EQ(COMMON_READ32(v, queue_avail_lo) | COMMON_READ32(v, queue_avail_hi), 0);
	CHECK_EQ(COMMON_READ32(v, queue_used_lo) | COMMON_READ32(v, queue_used_hi), 0);
	return PASS;
}

static enum verdict reset_values_of(struct virtio *v)
{
	CHECK_EQ(virtio_status(v), 0);
	CHECK_EQ(COMMON_READ16(v, msix_config), VIRTIO_NO_VECTOR);
	CHECK(virtio_queues(v) > 0);
	for (uint16_t i = 0; i < virtio_queues(v); i++)
		CHECK_PASS(queue_is_reset(v, i));
	return PASS;
}

static enum verdict reset_values(void)
{
	return on_each(reset_values_of);
}

/* Set everything a driver can, then reset: nothing is left. */
static enum verdict reset_clears_of(struct virtio *v)
{
	CHECK(virtio_begin(v, ~0ul & ~ABSENT_FEATURE));
	for (uint16_t i = 0; i < virtio_queues(v) && i < 4; i++) {
		struct ring r;
		CHECK(ring_setup(&r, v, i, 0));
	}
	virtio_go(v);
	CHECK(virtio_reset(v));
	COMMON_WRITE32(v, guest_feature_select, 0);
	if (is_strict())
		CHECK_EQ(COMMON_READ32(v, guest_feature), 0);
	return reset_values_of(v);
}

static enum verdict reset_clears(void)
{
	return on_each(reset_clears_of);
}

static enum verdict read_only_of(struct virtio *v)
{
	uint16_t queues = COMMON_READ16(v, num_queues);
	uint8_t generation = COMMON_READ8(v, config_generation);
	uint64_t features = virtio_offered(v);
	uint16_t off = COMMON_READ16(v, queue_notify_off);
	COMMON_WRITE16(v, num_queues, (uint16_t)~queues);
	COMMON_WRITE8(v, config_generation, (uint8_t)~generation);
	COMMON_WRITE32(v, device_feature_select, 0);
	COMMON_WRITE32(v, device_feature, (uint32_t)~features);
	COMMON_WRITE16(v, queue_notify_off, (uint16_t)~off);
	CHECK_EQ(COMMON_READ16(v, num_queues), queues);
	CHECK_EQ(COMMON_READ8(v, config_generation), generation);
	CHECK_EQ(virtio_offered(v), features);
	CHECK_EQ(COMMON_READ16(v, queue_notify_off), off);
	return PASS;
}

static enum verdict read_only(void)
{
	return on_each(read_only_of);
}

static enum verdict features_offered_of(struct virtio *v)
{
	CHECK(virtio_offered(v) & VF_VERSION_1);
	CHECK(!(virtio_offered(v) & ABSENT_FEATURE));
	for (uint32_t word = 2; word < 8; word++) { /* words beyond 64 bits are empty */
		COMMON_WRITE32(v, device_feature_select, word);
		CHECK_EQ(COMMON_READ32(v, device_feature_select), word);
		CHECK_EQ(COMMON_READ32(v, device_feature), 0);
	}
	COMMON_WRITE32(v, device_feature_select, 0xffffffff);
	CHECK_EQ(COMMON_READ32(v, device_feature), 0);
	return PASS;
}

static enum verdict features_offered(void)
{
	return on_each(features_offered_of);
}

static enum verdict features_accepted_of(struct virtio *v)
{
	virtio_add_status(v, VSTATUS_ACK | VSTATUS_DRIVER);
	uint64_t offered = virtio_offered(v);
	virtio_accept(v, offered);
	COMMON_WRITE32(v, guest_feature_select, 0);
	CHECK_EQ(COMMON_READ32(v, guest_feature), (uint32_t)offered);
	COMMON_WRITE32(v, guest_feature_select, 1);
	CHECK_EQ(COMMON_READ32(v, guest_feature), (uint32_t)(offered >> 32));
	COMMON_WRITE32(v, guest_feature_select, 7);
	COMMON_WRITE32(v, guest_feature, 0xffffffff); /* nowhere */
	virtio_add_status(v, VSTATUS_FEATURES);
	CHECK(virtio_status(v) & VSTATUS_FEATURES);
	if (is_strict()) { /* too late for another choice */
		COMMON_WRITE32(v, guest_feature_select, 0);
		COMMON_WRITE32(v, guest_feature, 0);
		CHECK_EQ(COMMON_READ32(v, guest_feature), (uint32_t)offered);
	}
	return PASS;
}

static enum verdict features_accepted(void)
{
	return on_each(features_accepted_of);
}

static bool is_refused(struct virtio *v, uint64_t features)
{
	if (!virtio_reset(v))
		return false;
	virtio_add_status(v, VSTATUS_ACK | VSTATUS_DRIVER);
	virtio_accept(v, features);
	virtio_add_status(v, VSTATUS_FEATURES);
	return !(virtio_status(v) & VSTATUS_FEATURES);
}

static enum verdict features_refused_of(struct virtio *v)
{
	uint64_t offered = virtio_offered(v);
	CHECK(is_refused(v, offered | ABSENT_FEATURE));
	CHECK(is_refused(v, offered & ~VF_VERSION_1)); /* no legacy interface */
	CHECK(!is_refused(v, offered));
	return PASS;
}

static enum verdict features_refused(void)
{
	if (!is_strict())
		return test_skip("strict=1 only");
	return on_each(features_refused_of);
}

/* Each step of §3.1.1 shows in the status register, and nothing else does. */
static enum verdict status_steps_of(struct virtio *v)
{
	uint8_t steps[] = { VSTATUS_ACK, VSTATUS_DRIVER, VSTATUS_FEATURES, VSTATUS_DRIVER_OK };
	uint8_t sum = 0;
	virtio_accept(v, virtio_offered(v) & VF_VERSION_1);
	for (unsigned i = 0; i < sizeof(steps); i++) {
		sum |= steps[i];
		COMMON_WRITE8(v, device_status, sum);
		CHECK_EQ(virtio_status(v), sum);
	}
	CHECK(virtio_reset(v));
	COMMON_WRITE8(v, device_status, VSTATUS_FAILED);
	CHECK_EQ(virtio_status(v), VSTATUS_FAILED);
	return PASS;
}

static enum verdict status_steps(void)
{
	return on_each(status_steps_of);
}

static enum verdict queue_select_past_end_of(struct virtio *v)
{
	static const uint16_t past[] = { 0, 1, 0x100, 0x7fff, 0xffff };
	unsigned queues = virtio_queues(v);
	for (unsigned i = 0; i < sizeof(past) / sizeof(past[0]); i++) {
		uint16_t index = (uint16_t)(i < 2 ? queues + past[i] : past[i]);
		if (index < queues)
			continue;
		COMMON_WRITE16(v, queue_select, index);
		CHECK_EQ(COMMON_READ16(v, queue_size), 0);
		COMMON_WRITE16(v, queue_size, 8);
		COMMON_WRITE32(v, queue_desc_lo, 0x1000);
		COMMON_WRITE16(v, queue_msix_vector, 0);
		COMMON_WRITE16(v, queue_enable, 1);
		CHECK_EQ(COMMON_READ16(v, queue_size), 0);
		if (is_strict())
			CHECK_EQ(COMMON_READ16(v, queue_enable), 0);
	}
	CHECK_PASS(queue_is_reset(v, 0));
	return PASS;
}

static enum verdict queue_select_past_end(void)
{
	return on_each(queue_select_past_end_of);
}

static enum verdict queue_sizes_of(struct virtio *v)
{
	COMMON_WRITE16(v, queue_select, 0);
	uint16_t most = COMMON_READ16(v, queue_size);
	for (uint16_t size = most; size >= 2; size /= 2) {
		COMMON_WRITE16(v, queue_size, size);
		CHECK_EQ(COMMON_READ16(v, queue_size), size);
	}
	if (!is_strict())
		return PASS;
	static const uint16_t bad[] = { 0, 3, 100, 0x8000, 0xffff };
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		COMMON_WRITE16(v, queue_size, bad[i]);
		uint16_t now = COMMON_READ16(v, queue_size);
		CHECK(now > 0 && now <= most && (now & (now - 1)) == 0);
	}
	return PASS;
}

static enum verdict queue_sizes(void)
{
	return on_each(queue_sizes_of);
}

static enum verdict queue_addresses_of(struct virtio *v)
{
	static const uint8_t registers[] = { COMMON_AT(queue_desc_lo),  COMMON_AT(queue_desc_hi),
					     COMMON_AT(queue_avail_lo), COMMON_AT(queue_avail_hi),
					     COMMON_AT(queue_used_lo),  COMMON_AT(queue_used_hi) };
	COMMON_WRITE16(v, queue_select, 0);
	for (unsigned i = 0; i < sizeof(registers); i++)
		mmio_write32(v->common + registers[i], 0x1000u * (i + 1));
	for (unsigned i = 0; i < sizeof(registers); i++)
		CHECK_EQ(mmio_read32(v->common + registers[i]), 0x1000u * (i + 1));
	if (virtio_queues(v) > 1) { /* another queue has its own */
		COMMON_WRITE16(v, queue_select, 1);
		CHECK_EQ(COMMON_READ32(v, queue_desc_lo), 0);
	}
	return PASS;
}

static enum verdict queue_addresses(void)
{
	return on_each(queue_addresses_of);
}

static enum verdict queue_enable_of(struct virtio *v)
{
	struct ring r;
	CHECK(virtio_begin(v, 0));
	CHECK(ring_setup(&r, v, 0, 0));
	CHECK_EQ(COMMON_READ16(v, queue_enable), 1);
	if (is_strict()) {
		COMMON_WRITE16(v, queue_enable, 0); /* only reset disables */
		CHECK_EQ(COMMON_READ16(v, queue_enable), 1);
	}
	return PASS;
}

static enum verdict queue_enable(void)
{
	return on_each(queue_enable_of);
}

static enum verdict vectors_of(struct virtio *v)
{
	if (!v->pci->msix_cap)
		return PASS;
	uint16_t past = (uint16_t)v->pci->msix_vectors;
	for (uint16_t n = 0; n < past; n++) {
		COMMON_WRITE16(v, msix_config, n);
		CHECK_EQ(COMMON_READ16(v, msix_config), n);
	}
	COMMON_WRITE16(v, msix_config, past); /* §4.1.5.1.2.1: cannot be, so reads NO_VECTOR */
	CHECK_EQ(COMMON_READ16(v, msix_config), VIRTIO_NO_VECTOR);
	for (uint16_t q = 0; q < virtio_queues(v) && q < 4; q++) {
		COMMON_WRITE16(v, queue_select, q);
		COMMON_WRITE16(v, queue_msix_vector, (uint16_t)(q % past));
		CHECK_EQ(COMMON_READ16(v, queue_msix_vector), q % past);
		COMMON_WRITE16(v, queue_msix_vector, past);
		CHECK_EQ(COMMON_READ16(v, queue_msix_vector), VIRTIO_NO_VECTOR);
		COMMON_WRITE16(v, queue_msix_vector, VIRTIO_NO_VECTOR);
		CHECK_EQ(COMMON_READ16(v, queue_msix_vector), VIRTIO_NO_VECTOR);
	}
	return PASS;
}

static enum verdict vectors(void)
{
	return on_each(vectors_of);
}

static enum verdict notify_offsets_of(struct virtio *v)
{
	for (uint16_t q = 0; q < virtio_queues(v); q++) {
		COMMON_WRITE16(v, queue_select, q);
		uint64_t at = (uint64_t)COMMON_READ16(v, queue_notify_off) * v->notify_multiplier;
		CHECK(at + 2 <= v->notify_bytes);
	}
	return PASS;
}

static enum verdict notify_offsets(void)
{
	return on_each(notify_offsets_of);
}

static enum verdict isr_reads_clear_of(struct virtio *v)
{
	(void)mmio_read8(v->isr);
	CHECK_EQ(mmio_read8(v->isr), 0);
	mmio_write8(v->isr, 0xff);
	CHECK_EQ(mmio_read8(v->isr), 0);
	return PASS;
}

static enum verdict isr_reads_clear(void)
{
	return on_each(isr_reads_clear_of);
}

/* Of the device's configuration, as far as it is of interest: some make it a whole page. */
static uint32_t config_end(const struct virtio *v)
{
	if (!v->config)
		return 0;
	return v->config_bytes < 64 ? v->config_bytes : 64;
}

static enum verdict generation_of(struct virtio *v)
{
	uint8_t generation = COMMON_READ8(v, config_generation);
	uint32_t end = config_end(v);
	for (uint32_t at = 0; at + 4 <= end; at += 4)
		CHECK_EQ(mmio_read32(v->config + at), mmio_read32(v->config + at));
	CHECK_EQ(COMMON_READ8(v, config_generation), generation);
	return PASS;
}

static enum verdict generation(void)
{
	return on_each(generation_of);
}

static void read_all_widths(uint64_t at)
{
	(void)mmio_read8(at);
	(void)mmio_read16(at);
	(void)mmio_read32(at);
	(void)mmio_read64(at);
}

/* Any offset, any width, aligned or not: the machine goes on. */
static enum verdict sweep_of(struct virtio *v)
{
	for (uint32_t at = 0; at < 0x48; at++)
		read_all_widths(v->common + at);
	for (uint32_t at = 0; at < config_end(v) + 8; at++)
		read_all_widths(v->config + at);
	for (unsigned n = 0; n < PCI_BARS; n++)
		for (uint64_t at = 0; at < v->pci->bars[n].bytes; at += 0x3f8)
			if (!v->pci->bars[n].is_io)
				(void)mmio_read32(v->pci->bars[n].at + (at & ~3ul));
	CHECK_EQ(virtio_status(v), 0);
	return reset_values_of(v);
}

static enum verdict sweep(void)
{
	return on_each(sweep_of);
}

const struct test transport_tests[] = {
	{ "transport.reset-values", reset_values },
	{ "transport.reset-clears", reset_clears },
	{ "transport.read-only", read_only },
	{ "transport.features-offered", features_offered },
	{ "transport.features-accepted", features_accepted },
	{ "transport.features-refused", features_refused },
	{ "transport.status-steps", status_steps },
	{ "transport.queue-select-past-end", queue_select_past_end },
	{ "transport.queue-sizes", queue_sizes },
	{ "transport.queue-addresses", queue_addresses },
	{ "transport.queue-enable", queue_enable },
	{ "transport.vectors", vectors },
	{ "transport.notify-offsets", notify_offsets },
	{ "transport.isr", isr_reads_clear },
	{ "transport.generation", generation },
	{ "transport.sweep", sweep },
	{ NULL, NULL },
};
