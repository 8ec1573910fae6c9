/* test_vcpu.c - the run loop of a vCPU: accesses, ends, stops, and the states it starts in. */
#include "unit/arch/box.h"
#include <string.h>
#include <unistd.h>
#include "arch/x86_64/layout.h"
#include "sync/rcu.h"

#define END "out %al, $0xf4\n"

GUEST(ports, 16,
      "mov $0x41, %al\n out %al, $0x80\n"
      "mov $0x1234, %ax\n out %ax, $0x82\n"
      "mov $0x12345678, %eax\n out %eax, $0x84\n"
      "in $0x90, %al\n out %al, $0x80\n"
      "in $0x90, %eax\n out %eax, $0x84\n" END);
GUEST(string, 16,
      "mov $0x3000, %si\n mov $5, %cx\n mov $0x3f8, %dx\n cld\n rep outsb\n"
      "mov $0x3100, %di\n mov $3, %cx\n mov $0x90, %dx\n rep insw\n" END);
GUEST(mmio, 16,
      "mov $0x3000, %ax\n mov %ax, %ds\n"
      "movb $0x11, 0x10\n movw $0x2222, 0x20\n movl $0x33333333, 0x30\n"
      "mov 0x40, %al\n out %al, $0x80\n mov 0x40, %eax\n out %eax, $0x84\n" END);
GUEST(straddle, 16,
      "mov $0x3000, %ax\n mov %ax, %ds\n"
      "movl $0x44332211, 0x0ffe\n movl $0x88776655, 0x0fff\n" END);
GUEST(spin, 16, "1: out %al, $0x80\n 2: jmp 2b");
GUEST(halt, 16, "out %al, $0x80\n cli\n 1: hlt\n jmp 1b");
GUEST(busy_port, 16, "1: out %al, $0x80\n jmp 1b");
GUEST(wild, 16, "ljmp $0x4000, $0x0123");
GUEST(long_mode, 64,
      "mov %rsi, %rax\n out %eax, $0x84\n mov %rsp, %rax\n out %eax, $0x84\n"
      "mov %cs, %eax\n out %eax, $0x84\n" END);
GUEST(long_mode_fault, 64, "ud2");
GUEST(pvh, 32, "mov %ebx, %eax\n out %eax, $0x84\n mov %cr0, %eax\n out %eax, $0x84\n" END);
GUEST(cpuid, 64,
      "mov $1, %eax\n cpuid\n mov %ebx, %eax\n out %eax, $0x84\n"
      "mov %ecx, %eax\n out %eax, $0x84\n"
      "mov $0xb, %eax\n mov $1, %ecx\n cpuid\n mov %ebx, %eax\n out %eax, $0x84\n" END);
/* INIT, then SIPI to page 2; the other vCPU answers at port 0x80. */
GUEST(wake_other, 64,
      "mov $0xfee00000, %ebx\n movl $0x1ff, 0xf0(%rbx)\n"
      "movl $0x01000000, 0x310(%rbx)\n movl $0x4500, 0x300(%rbx)\n"
      "movl $0x01000000, 0x310(%rbx)\n movl $0x4602, 0x300(%rbx)\n"
      "1: hlt\n jmp 1b");
GUEST(woken, 16, "mov $0x77, %al\n out %al, $0x80\n" END "1: hlt\n jmp 1b");

static void passes_port_accesses_of_every_size(void **state)
{
	(void)state;
	struct box *b = box_open();
	BOX_LOAD(b, ports, BOX_CODE);
	assert_int_equal(box_run(b), VCPU_STOPPED);
	assert_int_equal(b->nr_notes, 7);
	box_assert_wrote(b, 0, 0x80, 0x41, 1);
	box_assert_wrote(b, 1, 0x82, 0x1234, 2);
	box_assert_wrote(b, 2, 0x84, 0x12345678, 4);
	box_assert_wrote(b, 4, 0x80, 0x90, 1);
	box_assert_wrote(b, 6, 0x84, 0xa3a2a190, 4);
	assert_int_equal(vcpu_stats_of(b->cpu[0].vcpu)->pio, 8);
	assert_int_equal(vcpu_stats_of(b->cpu[0].vcpu)->mmio, 0);
	box_close(b);
}

static void repeats_string_accesses_in_order(void **state)
{
	(void)state;
	struct box *b = box_open();
	BOX_LOAD(b, string, BOX_CODE);
	assert_int_equal(gmem_write(b->mem, gpa(0x3000), "hello", 5), 0);
	assert_int_equal(box_run(b), VCPU_STOPPED);
	for (unsigned i = 0; i < 5; i++)
		box_assert_wrote(b, i, 0x3f8, (uint8_t) "hello"[i], 1);
	uint8_t in[7];
	assert_int_equal(gmem_read(b->mem, gpa(0x3100), in, sizeof(in)), 0);
	assert_memory_equal(in, "\x90\xa1\x90\xa1\x90\xa1\0", 7);
	/* KVM may fetch input ahead, so there can be more reads than the guest asked for. */
	assert_true(b->nr_notes >= 8);
	box_close(b);
}

static void passes_mmio_as_little_endian_bytes(void **state)
{
	(void)state;
	struct box *b = box_open();
	BOX_LOAD(b, mmio, BOX_CODE);
	assert_int_equal(box_run(b), VCPU_STOPPED);
	box_assert_wrote(b, 0, BOX_MMIO + 0x10, 0x11, 1);
	box_assert_wrote(b, 1, BOX_MMIO + 0x20, 0x2222, 2);
	box_assert_wrote(b, 2, BOX_MMIO + 0x30, 0x33333333, 4);
	box_assert_wrote(b, 4, 0x80, 0x40, 1);
	box_assert_wrote(b, 6, 0x84, 0xa3a2a140, 4);
	assert_int_equal(vcpu_stats_of(b->cpu[0].vcpu)->mmio, 5);
	box_close(b);
}

static void cuts_accesses_across_a_page_into_sizes_that_handlers_know(void **state)
{
	(void)state;
	struct box *b = box_open();
	BOX_LOAD(b, straddle, BOX_CODE);
	assert_int_equal(box_run(b), VCPU_STOPPED);
	uint8_t seen[16] = { 0 };
	for (unsigned i = 0; i < b->nr_notes; i++) {
		const struct box_note *n = &b->notes[i];
		assert_true(n->len == 1 || n->len == 2 || n->len == 4);
		assert_in_range(n->addr, BOX_MMIO + 0xff8, BOX_MMIO + 0x1004);
		memcpy(seen + (n->addr - BOX_MMIO - 0xff8), &n->value, n->len);
	}
	assert_memory_equal(seen + 6, "\x11\x55\x66\x77\x88", 5);
	box_close(b);
}

static void stops_a_guest_that_spins_or_sleeps(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		struct box *b = box_open();
		if (i % 2)
			BOX_LOAD(b, halt, BOX_CODE);
		else
			BOX_LOAD(b, spin, BOX_CODE);
		box_start(b, 0);
		if (i % 4 < 2) /* every other time, while it is on its way in */
			box_wait_notes(b, 1);
		assert_int_equal(box_stop(b, 0), VCPU_STOPPED);
		box_close(b);
	}
}

static void stops_and_goes_on_where_it_was(void **state)
{
	(void)state;
	struct box *b = box_open();
	BOX_LOAD(b, busy_port, BOX_CODE);
	for (unsigned i = 0; i < 200; i++) {
		unsigned before = b->nr_notes;
		box_start(b, 0);
		if (i % 2)
			box_wait_notes(b, before + 1);
		assert_int_equal(box_stop(b, 0), VCPU_STOPPED);
		assert_true(i % 2 == 0 || b->nr_notes > before);
	}
	box_close(b);
}

static void keeps_a_stop_that_comes_before_the_run(void **state)
{
	(void)state;
	struct box *b = box_open();
	BOX_LOAD(b, spin, BOX_CODE);
	vcpu_request_stop(b->cpu[0].vcpu);
	assert_int_equal(box_run(b), VCPU_STOPPED);
	assert_int_equal(b->nr_notes, 0);
	box_close(b);
}

static void goes_on_after_a_signal_that_is_no_stop(void **state)
{
	(void)state;
	struct box *b = box_open();
	BOX_LOAD(b, spin, BOX_CODE);
	box_start(b, 0);
	box_wait_notes(b, 1);
	for (unsigned i = 0; i < 20; i++) {
		thread_signal(b->cpu[0].thread);
		(void)usleep(500); /* cut short is fine */
	}
	assert_int_equal(box_stop(b, 0), VCPU_STOPPED);
	assert_true(vcpu_stats_of(b->cpu[0].vcpu)->signals >= 2);
	assert_int_equal(b->nr_notes, 1);
	box_close(b);
}

static void stops_a_vcpu_that_waits_for_sipi(void **state)
{
	(void)state;
	struct box *b = box_open();
	box_add_cpu(b);
	for (unsigned i = 0; i < 50; i++) {
		box_start(b, 1);
		if (i % 2)
			(void)usleep(1000); /* so that it surely sleeps; cut short is fine */
		assert_int_equal(box_stop(b, 1), VCPU_STOPPED);
	}
	box_close(b);
}

static void says_where_it_crashed(void **state)
{
	(void)state;
	struct box *b = box_open();
	BOX_LOAD(b, wild, BOX_CODE); /* into nothing: no instruction can be fetched there */
	assert_int_equal(box_run(b), VCPU_CRASH);
	assert_non_null(strstr(vcpu_reason(b->cpu[0].vcpu), "rip 0x123"));
	box_close(b);
}

static void ends_with_a_triple_fault(void **state)
{
	(void)state;
	struct box *b = box_open();
	BOX_LOAD(b, long_mode_fault, BOX_CODE);
	box_boot(b, false);
	assert_int_equal(box_run(b), VCPU_SHUTDOWN);
	assert_non_null(strstr(vcpu_reason(b->cpu[0].vcpu), "triple fault, rip"));
	/* where KVM has reset it, as on AMD: not a word of the reset vector */
	assert_null(strstr(vcpu_reason(b->cpu[0].vcpu), "rip 0xfff0"));
	box_close(b);
}

static void starts_a_kernel_in_long_mode(void **state)
{
	(void)state;
	struct box *b = box_open();
	BOX_LOAD(b, long_mode, BOX_CODE);
	box_boot(b, false);
	assert_int_equal(box_run(b), VCPU_STOPPED);
	box_assert_wrote(b, 0, 0x84, LAYOUT_ZERO_PAGE, 4);
	box_assert_wrote(b, 1, 0x84, LAYOUT_STACK_TOP, 4);
	box_assert_wrote(b, 2, 0x84, LAYOUT_SEL_CODE, 4);
	box_close(b);
}

static void starts_a_pvh_kernel_in_protected_mode(void **state)
{
	(void)state;
	struct box *b = box_open();
	BOX_LOAD(b, pvh, BOX_CODE);
	box_boot(b, true);
	assert_int_equal(box_run(b), VCPU_STOPPED);
	box_assert_wrote(b, 0, 0x84, LAYOUT_PVH_INFO, 4);
	assert_int_equal(b->notes[1].value & 0x80000001, 1); /* PE, not PG */
	box_close(b);
}

static void tells_the_guest_its_place(void **state)
{
	(void)state;
	struct box *b = box_open();
	BOX_LOAD(b, cpuid, BOX_CODE);
	box_boot(b, false);
	assert_int_equal(box_run(b), VCPU_STOPPED);
	assert_int_equal(b->notes[0].value >> 16, 2); /* APIC ID 0, two of them */
	assert_int_equal(b->notes[1].value >> 31, 1); /* under a hypervisor */
	assert_int_equal(b->notes[2].value, 2);       /* logical processors in the package */
	box_close(b);
}

static void starts_a_second_vcpu_by_sipi(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		struct box *b = box_open();
		box_add_cpu(b);
		BOX_LOAD(b, wake_other, BOX_CODE);
		BOX_LOAD(b, woken, 0x2000);
		box_boot(b, false);
		box_start(b, 1);
		box_start(b, 0);
		assert_int_equal(box_join(b, 1), VCPU_STOPPED);
		assert_int_equal(box_stop(b, 0), VCPU_STOPPED);
		box_assert_wrote(b, 0, 0x80, 0x77, 1);
		box_close(b);
	}
}

int main(void)
{
	box_need_kvm();
	rcu_enter_thread();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passes_port_accesses_of_every_size),
		cmocka_unit_test(repeats_string_accesses_in_order),
		cmocka_unit_test(passes_mmio_as_little_endian_bytes),
		cmocka_unit_test(cuts_accesses_across_a_page_into_sizes_that_handlers_know),
		cmocka_unit_test(stops_a_guest_that_spins_or_sleeps),
		cmocka_unit_test(stops_and_goes_on_where_it_was),
		cmocka_unit_test(keeps_a_stop_that_comes_before_the_run),
		cmocka_unit_test(goes_on_after_a_signal_that_is_no_stop),
		cmocka_unit_test(stops_a_vcpu_that_waits_for_sipi),
		cmocka_unit_test(says_where_it_crashed),
		cmocka_unit_test(ends_with_a_triple_fault),
		cmocka_unit_test(starts_a_kernel_in_long_mode),
		cmocka_unit_test(starts_a_pvh_kernel_in_protected_mode),
		cmocka_unit_test(tells_the_guest_its_place),
		cmocka_unit_test(starts_a_second_vcpu_by_sipi),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rcu_leave_thread();
	return failed;
}
