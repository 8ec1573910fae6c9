/* board.c - what is soldered to a PC board of ours: address windows, fixed devices, names. */
#include "arch/machine.h"
#include "base/num.h"
#include "layout.h"

/* Left free for 64-bit BARs, where the address width allows it. */
#define BOARD_MMIO64_BYTES       (64 * GIB)
#define BOARD_MMIO64_BYTES_SMALL (4 * GIB)
#define BOARD_MMIO64_BYTES_MOST  (512 * GIB)
#define BOARD_MMIO64_BYTES_ALIGN GIB

/* clang-format off */
#define BOARD_DEV(kind_, space_, base_, len_, gsi_)                                                \
	{ .kind = MACHINE_DEV_##kind_, .space = space_, .base = base_, .len = len_, .gsi = gsi_ }
#define BOARD_SERIAL(port, irq, i)                                                                 \
	{ .kind = MACHINE_DEV_SERIAL, .base = port, .len = 8, .gsi = irq, .index = i }

const struct machine_dev machine_devs[] = {
	BOARD_SERIAL(0x3f8, 4, 0),
	BOARD_SERIAL(0x2f8, 3, 1),
	BOARD_SERIAL(0x3e8, 4, 2),
	BOARD_SERIAL(0x2e8, 3, 3),
	BOARD_DEV(RTC, BUS_PIO, LAYOUT_PORT_CMOS, 2, LAYOUT_GSI_RTC),
	BOARD_DEV(I8042_DATA, BUS_PIO, LAYOUT_PORT_KBD_DATA, 1, MACHINE_NO_GSI),
	BOARD_DEV(I8042_COMMAND, BUS_PIO, LAYOUT_PORT_KBD_CMD, 1, MACHINE_NO_GSI),
	BOARD_DEV(ACPI_PM, BUS_PIO, LAYOUT_PORT_PM, LAYOUT_PORT_PM_LEN, LAYOUT_GSI_SCI),
	BOARD_DEV(PCI_CF8, BUS_PIO, LAYOUT_PORT_PCI, LAYOUT_PORT_PCI_LEN, MACHINE_NO_GSI),
	BOARD_DEV(PCI_ECAM, BUS_MMIO, LAYOUT_ECAM_START, LAYOUT_ECAM_LEN, MACHINE_NO_GSI),
};
/* clang-format on */
const unsigned machine_nr_devs = ARRAY_SIZE(machine_devs);
const uint8_t machine_s5_slp_typ = LAYOUT_S5_SLP_TYP;
const uint64_t machine_bench_mmio = LAYOUT_BENCH_MMIO;
const uint64_t machine_bench_port = LAYOUT_BENCH_PORT;

unsigned machine_ram_extents(uint64_t ram_bytes, struct gmem_extent out[2])
{
	out[0] = (struct gmem_extent){ 0, min_u64(ram_bytes, LAYOUT_LOW_RAM_END) };
	if (ram_bytes <= LAYOUT_LOW_RAM_END)
		return 1;
	out[1] = (struct gmem_extent){ LAYOUT_HIGH_RAM_START, ram_bytes - LAYOUT_LOW_RAM_END };
	return 2;
}

/* The first address past what @phys_bits reach; the page tables of x86_64 reach 52. */
static uint64_t board_top(unsigned phys_bits)
{
	return 1ull << (phys_bits < 32 ? 32 : phys_bits > 52 ? 52 : phys_bits);
}

uint64_t machine_max_ram(unsigned phys_bits)
{
	uint64_t above = board_top(phys_bits) - LAYOUT_HIGH_RAM_START;
	bool is_wide = above >= 4 * BOARD_MMIO64_BYTES;
	uint64_t bars = is_wide ? BOARD_MMIO64_BYTES : BOARD_MMIO64_BYTES_SMALL;
	return LAYOUT_LOW_RAM_END + (above > bars ? above - bars : 0);
}

void machine_pci_windows(uint64_t ram_bytes, unsigned phys_bits, struct pci_windows *out)
{
	struct gmem_extent e[2] = { { 0, 0 }, { LAYOUT_HIGH_RAM_START, 0 } };
	uint64_t top = board_top(phys_bits);
	(void)machine_ram_extents(ram_bytes, e); /* the second stays empty without high RAM */
	uint64_t base = align_up(e[1].start + e[1].len, BOARD_MMIO64_BYTES_ALIGN);
	*out = (struct pci_windows){
		.mmio32_base = LAYOUT_MMIO32_START,
		.mmio32_len = LAYOUT_MMIO32_LEN,
		.mmio64_base = base,
		.mmio64_len = base < top ? min_u64(top - base, BOARD_MMIO64_BYTES_MOST) : 0,
		.io_base = LAYOUT_PCI_IO_START,
		.io_len = LAYOUT_PCI_IO_LEN,
		.intx_gsi_base = LAYOUT_GSI_PCI,
		.intx_gsi_count = LAYOUT_NR_GSI_PCI,
	};
}

const char *machine_serial_tty(unsigned index)
{
	static const char *const tty[] = { "ttyS0", "ttyS1", "ttyS2", "ttyS3" };
	BUG_ON(index >= ARRAY_SIZE(tty));
	return tty[index];
}

const char *machine_serial_earlycon(unsigned index)
{
	static const char *const earlycon[] = {
		"uart8250,io,0x3f8",
		"uart8250,io,0x2f8",
		"uart8250,io,0x3e8",
		"uart8250,io,0x2e8",
	};
	BUG_ON(index >= ARRAY_SIZE(earlycon));
	return earlycon[index];
}

const char *machine_base_cmdline(const struct hv_info *hv)
{
	/*
	 * A panic is a reset at once. A software hypervisor neither runs the guest's instructions
	 * natively everywhere nor answers hypercalls: no delays by port, no deadline timer, no
	 * asynchronous page faults, and a clock source that needs no calibration against devices.
	 */
	if (hv->kind == HV_SOFTWARE)
		return "panic=-1 io_delay=none lapic=notscdeadline no-kvmapf tsc=reliable";
	return "panic=-1";
}
