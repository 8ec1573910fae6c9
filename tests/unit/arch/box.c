/* box.c - see box.h. */
#include "unit/arch/box.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "arch/kvm/kvm_priv.h"
#include "arch/machine.h"
#include "base/le.h"
#include "sync/rcu.h"

void box_need_kvm(void)
{
	struct hv_info i;
	int err = hv_probe(&i, BOX_DEVICE);
	if (err) {
		printf("skipped: no usable " BOX_DEVICE " (error %d)\n", err);
		exit(77);
	}
}

static void box_note(struct box *b, struct box_note n)
{
	unsigned i = atomic_load_explicit(&b->nr_notes, memory_order_relaxed);
	if (i < BOX_NOTES)
		b->notes[i] = n;
	/* release: pairs with box_wait_notes() */
	atomic_store_explicit(&b->nr_notes, i + 1, memory_order_release);
}

/* On the asking vCPU's thread, which returns; the other returns at its next exit. */
static void box_end(struct box *b)
{
	for (unsigned i = 0; i < 2; i++)
		if (b->cpu[i].vcpu)
			vcpu_request_stop(b->cpu[i].vcpu);
}

/* Reads answer with the access itself: low byte of the address, then 0xa1, 0xa2 ... */
static uint64_t box_answer(uint64_t addr, unsigned len)
{
	uint64_t v = 0xa7a6a5a4a3a2a100ull | (addr & 0xff);
	return len == 8 ? v : v & ((1ull << 8 * len) - 1);
}

static void box_pio_read(void *ctx, uint64_t off, void *data, unsigned len)
{
	le_store(data, box_answer(off, len), len);
	box_note(ctx, (struct box_note){ BUS_PIO, false, off, 0, len });
}

static void box_pio_write(void *ctx, uint64_t off, const void *data, unsigned len)
{
	if (off == BOX_END_PORT)
		box_end(ctx);
	else
		box_note(ctx, (struct box_note){ BUS_PIO, true, off, le_load(data, len), len });
}

static void box_mmio_read(void *ctx, uint64_t off, void *data, unsigned len)
{
	le_store(data, box_answer(off, len), len);
	box_note(ctx, (struct box_note){ BUS_MMIO, false, BOX_MMIO + off, 0, len });
}

static void box_mmio_write(void *ctx, uint64_t off, const void *data, unsigned len)
{
	box_note(ctx, (struct box_note){ BUS_MMIO, true, BOX_MMIO + off, le_load(data, len), len });
}

static const struct bus_ops box_pio_ops = { "box", box_pio_read, box_pio_write };
static const struct bus_ops box_mmio_ops = { "box", box_mmio_read, box_mmio_write };

/* 16-bit code at BOX_CODE, all segments at 0, stack below the code. */
static void box_set_real_mode(struct vcpu *c)
{
	struct kvm_sregs s;
	assert_int_equal(kvm_ioctl(c->fd, KVM_GET_SREGS, &s), 0);
	s.cs.base = 0;
	s.cs.selector = 0;
	assert_int_equal(kvm_ioctl(c->fd, KVM_SET_SREGS, &s), 0);
	struct kvm_regs r = { .rip = BOX_CODE, .rsp = BOX_CODE, .rflags = 2 };
	assert_int_equal(kvm_ioctl(c->fd, KVM_SET_REGS, &r), 0);
}

struct box *box_open(void)
{
	struct box *b = calloc(1, sizeof(*b));
	assert_non_null(b);
	b->cpu[0].box = b->cpu[1].box = b;
	const struct gmem_extent ram = { 0, BOX_RAM_BYTES };
	const struct gmem_place place = { .node = PLACE_NODE_ANY };
	assert_int_equal(gmem_create(&b->mem, &ram, 1, &place), 0);
	assert_int_equal(hv_create(&b->hv, BOX_DEVICE), 0);
	assert_int_equal(hv_map_memory(b->hv, b->mem), 0);
	assert_int_equal(bus_create(&b->pio, BUS_PIO), 0);
	assert_int_equal(bus_create(&b->mmio, BUS_MMIO), 0);
	assert_int_equal(bus_add(b->pio, 0, 0x1000, &box_pio_ops, b), 0);
	assert_int_equal(bus_add(b->mmio, BOX_MMIO, BOX_MMIO_LEN, &box_mmio_ops, b), 0);
	assert_int_equal(vcpu_create(&b->cpu[0].vcpu, b->hv, 0), 0);
	box_set_real_mode(b->cpu[0].vcpu);
	return b;
}

void box_close(struct box *b)
{
	vcpu_destroy(b->cpu[0].vcpu);
	vcpu_destroy(b->cpu[1].vcpu);
	hv_destroy(b->hv);
	bus_destroy(b->pio);
	bus_destroy(b->mmio);
	gmem_destroy(b->mem);
	free(b);
}

void box_add_cpu(struct box *b)
{
	assert_int_equal(vcpu_create(&b->cpu[1].vcpu, b->hv, 1), 0);
}

void box_load(struct box *b, const uint8_t *code, const uint8_t *end, uint64_t at)
{
	assert_int_equal(gmem_write(b->mem, gpa(at), code, (size_t)(end - code)), 0);
}

void box_boot(struct box *b, bool is_pvh)
{
	const struct kernel_info k = { .entry = BOX_CODE, .is_pvh = is_pvh };
	const struct machine_boot boot = {
		.kernel_fd = -1,
		.kernel = &k,
		.initrd_fd = -1,
		.cmdline = "",
		.bios_fd = -1,
		.ram_bytes = BOX_RAM_BYTES,
		.nr_cpus = 2,
	};
	for (unsigned i = 0; i < 2; i++)
		if (b->cpu[i].vcpu)
			assert_int_equal(machine_setup_vcpu(&boot, b->hv, b->cpu[i].vcpu, i), 0);
}

enum vcpu_exit box_run(struct box *b)
{
	return vcpu_run(b->cpu[0].vcpu, b->pio, b->mmio);
}

static void box_thread(void *arg)
{
	struct box_cpu *c = arg;
	c->exit = vcpu_run(c->vcpu, c->box->pio, c->box->mmio);
}

void box_start(struct box *b, unsigned i)
{
	const struct thread_attr a = { .name = "vcpu" };
	assert_int_equal(thread_create(&b->cpu[i].thread, &a, box_thread, &b->cpu[i]), 0);
}

enum vcpu_exit box_stop(struct box *b, unsigned i)
{
	vcpu_request_stop(b->cpu[i].vcpu);
	thread_signal(b->cpu[i].thread);
	return box_join(b, i);
}

enum vcpu_exit box_join(struct box *b, unsigned i)
{
	thread_join(b->cpu[i].thread);
	b->cpu[i].thread = NULL;
	return b->cpu[i].exit;
}

void box_wait_notes(struct box *b, unsigned n)
{
	/* acquire: pairs with box_note() */
	for (unsigned ms = 0; atomic_load_explicit(&b->nr_notes, memory_order_acquire) < n; ms++) {
		assert_true(ms < 10000);
		(void)usleep(1000); /* cut short is fine */
	}
}

void box_assert_wrote(const struct box *b, unsigned i, uint64_t addr, uint64_t value, unsigned len)
{
	assert_true(i < b->nr_notes);
	assert_true(b->notes[i].is_write);
	assert_int_equal(b->notes[i].addr, addr);
	assert_int_equal(b->notes[i].value, value);
	assert_int_equal(b->notes[i].len, len);
}
