/* test_hv.c - the hypervisor device, the VM and its memory. */
#include "unit/arch/box.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "arch/kvm/kvm_priv.h"
#include "sync/rcu.h"

#define ROM_AT    0x40000ull
#define ROM_BYTES 0x1000ull

/* Reads a word of the ROM, writes another over it, reads again. */
GUEST(rom, 16,
      "mov $0x4000, %ax\n mov %ax, %ds\n mov 0x10, %ax\n out %ax, $0x82\n"
      "movw $0x1111, 0x10\n mov 0x10, %ax\n out %ax, $0x82\n out %al, $0xf4\n");

static void refuses_what_is_no_hypervisor(void **state)
{
	(void)state;
	struct hv_info i;
	struct hv *h = NULL;
	assert_int_equal(hv_probe(&i, "/nonexistent"), -ENOENT);
	assert_int_equal(hv_probe(&i, "/dev/null"), -ENOTTY);
	assert_int_equal(hv_create(&h, "/nonexistent"), -ENOENT);
	assert_int_equal(hv_create(&h, "/dev/null"), -ENOTTY);
	assert_int_equal(hv_create(&h, "/"), -EISDIR);
	assert_null(h);
}

static void says_what_this_host_is(void **state)
{
	(void)state;
	struct hv_info i;
	assert_int_equal(hv_probe(&i, BOX_DEVICE), 0);
	assert_int_equal(i.api_version, KVM_API_VERSION);
	assert_in_range(i.phys_bits, 32, 52);
	assert_in_range(i.max_vcpus, 1, 255);
	assert_in_range(i.max_vcpu_id, i.max_vcpus, 255);
	assert_int_equal(strlen(i.cpu_vendor), 12);
	assert_true(i.has_irqfd && i.has_immediate_exit);
}

/* PVM's own mark, which it shows to whoever reads it on a vCPU. */
static void knows_software_from_hardware(void **state)
{
	(void)state;
	struct box *b = box_open();
	struct {
		uint32_t nmsrs, pad;
		struct kvm_msr_entry e;
	} m = { .nmsrs = 1, .e.index = 0x4b564d11 };
	bool is_pvm = kvm_ioctl(b->cpu[0].vcpu->fd, KVM_GET_MSRS, &m) == 1 && m.e.data == 0x4d5650;
	assert_int_equal(hv_info_of(b->hv)->kind, is_pvm ? HV_SOFTWARE : HV_HARDWARE);
	box_close(b);
}

static void refuses_vcpus_that_it_cannot_have(void **state)
{
	(void)state;
	struct box *b = box_open();
	struct vcpu *c = NULL;
	assert_int_equal(vcpu_create(&c, b->hv, hv_info_of(b->hv)->max_vcpu_id), -EINVAL);
	assert_int_equal(vcpu_create(&c, b->hv, 0), -EEXIST);
	assert_null(c);
	box_close(b);
}

static void maps_memory_in_several_regions(void **state)
{
	(void)state;
	const struct gmem_extent ram[2] = { { 0, 1u << 20 }, { 1ull << 32, 1u << 20 } };
	const struct gmem_place place = { .node = PLACE_NODE_ANY };
	struct gmem *m;
	struct hv *h;
	assert_int_equal(gmem_create(&m, ram, 2, &place), 0);
	assert_int_equal(hv_create(&h, BOX_DEVICE), 0);
	assert_int_equal(hv_map_memory(h, m), 0);
	const uint8_t page[1] = { 0 };
	assert_int_equal(hv_map_rom(h, 0x1000, page, 4096), -EINVAL); /* an odd host address */
	hv_destroy(h);
	gmem_destroy(m);
}

static void shows_a_rom_that_cannot_be_written(void **state)
{
	(void)state;
	struct box *b = box_open();
	uint8_t *rom = mmap(NULL, ROM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	assert_ptr_not_equal(rom, MAP_FAILED);
	memcpy(rom + 0x10, "\x34\x12", 2);
	assert_int_equal(mprotect(rom, ROM_BYTES, PROT_READ), 0);
	assert_int_equal(hv_map_rom(b->hv, 0x1000, rom, ROM_BYTES), -EEXIST); /* RAM is there */
	assert_int_equal(hv_map_rom(b->hv, ROM_AT, rom, ROM_BYTES), 0);
	BOX_LOAD(b, rom, BOX_CODE);
	assert_int_equal(box_run(b), VCPU_STOPPED);
	box_assert_wrote(b, 0, 0x82, 0x1234, 2);
	box_assert_wrote(b, 2, 0x82, 0x1234, 2);
	/* The write came out, to whoever is on the bus there. */
	box_assert_wrote(b, 1, ROM_AT + 0x10, 0x1111, 2);
	box_close(b);
	assert_int_equal(munmap(rom, ROM_BYTES), 0);
}

int main(void)
{
	box_need_kvm();
	rcu_enter_thread();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_what_is_no_hypervisor),
		cmocka_unit_test(says_what_this_host_is),
		cmocka_unit_test(knows_software_from_hardware),
		cmocka_unit_test(refuses_vcpus_that_it_cannot_have),
		cmocka_unit_test(maps_memory_in_several_regions),
		cmocka_unit_test(shows_a_rom_that_cannot_be_written),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rcu_leave_thread();
	return failed;
}
