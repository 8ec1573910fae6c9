/* test_irqchip.c - lines, messages, irqfds and doorbells, as a guest sees them. */
#include "unit/arch/box.h"
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "arch/kvm/kvm_priv.h"
#include "base/err.h"
#include "base/le.h"
#include "sync/rcu.h"

#define LINE_GSI   5
#define LINE_PORT  0x85
#define MSI_VECTOR 0x50
#define MSI_PORT   0x86
#define MSI_ADDR   0xfee00000ull /* to APIC 0 */
#define READY_PORT 0x80
#define TABLE_SIZE (4 * 256)

/* Interrupt vectors 0x20+ come from the first PIC, edge-triggered; all its inputs are open. */
GUEST(wait, 16,
      "mov $0x11, %al\n out %al, $0x20\n mov $0x20, %al\n out %al, $0x21\n"
      "mov $4, %al\n out %al, $0x21\n mov $1, %al\n out %al, $0x21\n"
      "xor %al, %al\n out %al, $0x21\n"
      "sti\n out %al, $0x80\n 1: hlt\n jmp 1b");
GUEST(on_line, 16, "out %al, $0x85\n mov $0x20, %al\n out %al, $0x20\n iretw");
/* End of interrupt at the local APIC, which 16-bit code reaches through a 32-bit address. */
GUEST(on_msi, 16, "out %al, $0x86\n movl $0, (%edi)\n iretw");
GUEST(ring, 16,
      "mov $0x3000, %ax\n mov %ax, %ds\n"
      "out %al, $0x90\n out %ax, $0x90\n out %eax, $0x90\n"
      "movb $1, 0x100\n movw $1, 0x100\n movl $1, 0x100\n"
      "out %al, $0x91\n movb $1, 0x101\n"
      "out %al, $0xf4\n");

/* A halted guest that notes interrupts of LINE_GSI and MSI_VECTOR. */
static struct box *open_waiting(void)
{
	struct box *b = box_open();
	BOX_LOAD(b, wait, BOX_CODE);
	BOX_LOAD(b, on_line, 0x2000);
	BOX_LOAD(b, on_msi, 0x2100);
	le32_t vectors[TABLE_SIZE / 4] = { 0 };
	vectors[0x20 + LINE_GSI] = le32_of(0x2000);
	vectors[MSI_VECTOR] = le32_of(0x2100);
	assert_int_equal(gmem_write(b->mem, gpa(0), vectors, sizeof(vectors)), 0);

	int fd = b->cpu[0].vcpu->fd;
	struct kvm_lapic_state l;
	assert_int_equal(kvm_ioctl(fd, KVM_GET_LAPIC, &l), 0);
	le_store(l.regs + 0xf0, 0x1ff, 4);  /* on */
	le_store(l.regs + 0x350, 0x700, 4); /* LINT0: the PIC */
	assert_int_equal(kvm_ioctl(fd, KVM_SET_LAPIC, &l), 0);
	/* "Unreal" mode: 16-bit code whose data segment has no limit. */
	struct kvm_sregs s;
	assert_int_equal(kvm_ioctl(fd, KVM_GET_SREGS, &s), 0);
	s.ds.limit = UINT32_MAX;
	s.ds.g = 1;
	assert_int_equal(kvm_ioctl(fd, KVM_SET_SREGS, &s), 0);
	struct kvm_regs r;
	assert_int_equal(kvm_ioctl(fd, KVM_GET_REGS, &r), 0);
	r.rdi = 0xfee000b0;
	assert_int_equal(kvm_ioctl(fd, KVM_SET_REGS, &r), 0);

	box_start(b, 0);
	box_wait_notes(b, 1);
	assert_int_equal(b->notes[0].addr, READY_PORT);
	return b;
}

static void close_waiting(struct box *b)
{
	assert_int_equal(box_stop(b, 0), VCPU_STOPPED);
	box_close(b);
}

/* Interrupts so far: the first note told that the guest was ready. */
static void wait_interrupts(struct box *b, unsigned n, uint16_t port)
{
	box_wait_notes(b, 1 + n);
	assert_int_equal(b->notes[n].addr, port);
}

/* Were there @n interrupts, and are there no more after a moment? */
static void assert_no_more(struct box *b, unsigned n)
{
	(void)usleep(20000); /* cut short is fine */
	assert_int_equal(atomic_load(&b->nr_notes), 1 + n);
}

static int event_new(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(fd >= 0);
	return fd;
}

static void event_raise(int fd)
{
	const uint64_t one = 1;
	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

/* The count in @fd, which is taken. */
static uint64_t event_count(int fd)
{
	uint64_t n = 0;
	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void drives_a_line(void **state)
{
	(void)state;
	struct box *b = open_waiting();
	const struct irq_line line = { hv_irq_chip(b->hv), LINE_GSI };
	for (unsigned i = 1; i <= 5; i++) {
		irq_line_set(&line, true);
		wait_interrupts(b, i, LINE_PORT);
		irq_line_set(&line, false);
	}
	irq_line_set(&line, false);
	assert_no_more(b, 5);
	close_waiting(b);
}

static void raises_a_line_by_eventfd(void **state)
{
	(void)state;
	struct box *b = open_waiting();
	const struct irq_chip *c = hv_irq_chip(b->hv);
	CLEANUP(fd_cleanup) int fd = event_new();
	assert_int_equal(c->ops->irqfd_add(c->ctx, LINE_GSI, fd), 0);
	event_raise(fd);
	wait_interrupts(b, 1, LINE_PORT);
	assert_int_equal(c->ops->irqfd_add(c->ctx, LINE_GSI, fd), -EBUSY);
	c->ops->irqfd_del(c->ctx, LINE_GSI, fd);
	event_raise(fd);
	assert_no_more(b, 1);
	assert_int_equal(event_count(fd), 1); /* kept for us */
	close_waiting(b);
}

static void sends_messages_while_they_are_wired(void **state)
{
	(void)state;
	struct box *b = open_waiting();
	const struct irq_chip *c = hv_irq_chip(b->hv);
	CLEANUP(fd_cleanup) int fd = event_new();
	uint32_t gsi;
	assert_int_equal(c->ops->msi_alloc(c->ctx, &gsi), 0);
	assert_int_equal(c->ops->msi_set(c->ctx, gsi, MSI_ADDR, MSI_VECTOR), 0);
	event_raise(fd); /* before: pending, and so raised when wired */
	assert_int_equal(c->ops->irqfd_add(c->ctx, gsi, fd), 0);
	wait_interrupts(b, 1, MSI_PORT);
	event_raise(fd);
	wait_interrupts(b, 2, MSI_PORT);

	/* The same again changes nothing; another vector does: the line's handler. */
	assert_int_equal(c->ops->msi_set(c->ctx, gsi, MSI_ADDR, MSI_VECTOR), 0);
	event_raise(fd);
	wait_interrupts(b, 3, MSI_PORT);
	assert_int_equal(c->ops->msi_set(c->ctx, gsi, MSI_ADDR, 0x20 + LINE_GSI), 0);
	event_raise(fd);
	wait_interrupts(b, 4, LINE_PORT);

	c->ops->irqfd_del(c->ctx, gsi, fd);
	event_raise(fd);
	assert_no_more(b, 4);
	assert_int_equal(event_count(fd), 1);
	c->ops->msi_free(c->ctx, gsi);
	close_waiting(b);
}

static void keeps_lines_while_messages_come_and_go(void **state)
{
	(void)state;
	struct box *b = open_waiting();
	const struct irq_chip *c = hv_irq_chip(b->hv);
	const struct irq_line line = { c, LINE_GSI };
	CLEANUP(fd_cleanup) int fd = event_new();
	uint32_t gsi[40];
	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal(c->ops->msi_alloc(c->ctx, &gsi[i]), 0);
		assert_int_equal(c->ops->msi_set(c->ctx, gsi[i], MSI_ADDR, 0x30), 0);
	}
	/* Take away from the front, the middle and the end; what stays keeps its message. */
	assert_int_equal(c->ops->msi_set(c->ctx, gsi[30], MSI_ADDR, MSI_VECTOR), 0);
	for (unsigned i = 0; i < 40; i++)
		if (i != 30)
			c->ops->msi_free(c->ctx, gsi[i]);
	assert_int_equal(c->ops->irqfd_add(c->ctx, gsi[30], fd), 0);
	event_raise(fd);
	wait_interrupts(b, 1, MSI_PORT);
	irq_line_pulse(&line);
	wait_interrupts(b, 2, LINE_PORT);
	uint32_t again;
	assert_int_equal(c->ops->msi_alloc(c->ctx, &again), 0);
	assert_int_equal(again, gsi[0]); /* the lowest that is free */
	close_waiting(b);                /* with an irqfd in force */
}

static void runs_out_of_messages(void **state)
{
	(void)state;
	struct box *b = box_open();
	const struct irq_chip *c = hv_irq_chip(b->hv);
	uint32_t gsi, last = 0, n = 0;
	int err = 0;
	while ((err = c->ops->msi_alloc(c->ctx, &gsi)) == 0 && n < 100000) {
		n++;
		last = gsi;
	}
	assert_int_equal(err, -ENOSPC);
	assert_true(n >= 1000); /* KVM has 4096 */
	/* The last can be used as any other. */
	assert_int_equal(c->ops->msi_set(c->ctx, last, MSI_ADDR, MSI_VECTOR), 0);
	c->ops->msi_free(c->ctx, last);
	assert_int_equal(c->ops->msi_alloc(c->ctx, &gsi), 0);
	assert_int_equal(gsi, last);
	box_close(b);
}

static void counts_writes_of_any_length_at_a_doorbell(void **state)
{
	(void)state;
	struct box *b = box_open();
	const struct doorbell_chip *c = hv_doorbell_chip(b->hv);
	CLEANUP(fd_cleanup) int pio = event_new();
	CLEANUP(fd_cleanup) int mmio = event_new();
	BOX_LOAD(b, ring, BOX_CODE);
	assert_int_equal(c->ops->add(c->ctx, BUS_PIO, 0x90, pio), 0);
	assert_int_equal(c->ops->add(c->ctx, BUS_MMIO, BOX_MMIO + 0x100, mmio), 0);
	assert_int_equal(c->ops->add(c->ctx, BUS_MMIO, BOX_MMIO + 0x100, pio), -EEXIST);
	assert_int_equal(box_run(b), VCPU_STOPPED);
	assert_int_equal(event_count(pio), 3);
	assert_int_equal(event_count(mmio), 3);
	assert_int_equal(b->nr_notes, 2); /* the neighbours came here */
	box_assert_wrote(b, 0, 0x91, b->notes[0].value, 1);
	box_assert_wrote(b, 1, BOX_MMIO + 0x101, 1, 1);
	assert_int_equal(vcpu_stats_of(b->cpu[0].vcpu)->mmio, 1);
	box_close(b);
}

static void gives_writes_back_to_the_bus_without_a_doorbell(void **state)
{
	(void)state;
	struct box *b = box_open();
	const struct doorbell_chip *c = hv_doorbell_chip(b->hv);
	CLEANUP(fd_cleanup) int fd = event_new();
	BOX_LOAD(b, ring, BOX_CODE);
	for (unsigned i = 0; i < 3; i++) { /* no slot is lost on the way */
		assert_int_equal(c->ops->add(c->ctx, BUS_PIO, 0x90, fd), 0);
		assert_int_equal(c->ops->add(c->ctx, BUS_MMIO, BOX_MMIO + 0x100, fd), 0);
		c->ops->del(c->ctx, BUS_PIO, 0x90, fd);
		c->ops->del(c->ctx, BUS_MMIO, BOX_MMIO + 0x100, fd);
	}
	assert_int_equal(box_run(b), VCPU_STOPPED);
	assert_int_equal(event_count(fd), 0);
	assert_int_equal(b->nr_notes, 8);
	box_close(b);
}

static void holds_as_many_doorbells_as_queues_need(void **state)
{
	(void)state;
	struct box *b = box_open();
	const struct doorbell_chip *c = hv_doorbell_chip(b->hv);
	CLEANUP(fd_cleanup) int fd = event_new();
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(c->ops->add(c->ctx, BUS_MMIO, BOX_MMIO + 4 * i, fd), 0);
	BOX_LOAD(b, ring, BOX_CODE);
	assert_int_equal(box_run(b), VCPU_STOPPED);
	assert_int_equal(event_count(fd), 3); /* each write once */
	box_close(b);                         /* with all of them in force */
}

int main(void)
{
	box_need_kvm();
	rcu_enter_thread();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(drives_a_line),
		cmocka_unit_test(raises_a_line_by_eventfd),
		cmocka_unit_test(sends_messages_while_they_are_wired),
		cmocka_unit_test(keeps_lines_while_messages_come_and_go),
		cmocka_unit_test(runs_out_of_messages),
		cmocka_unit_test(counts_writes_of_any_length_at_a_doorbell),
		cmocka_unit_test(gives_writes_back_to_the_bus_without_a_doorbell),
		cmocka_unit_test(holds_as_many_doorbells_as_queues_need),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rcu_leave_thread();
	return failed;
}
