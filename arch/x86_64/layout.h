/*
 * layout.h - where everything of the PC board lies: memory, ports, interrupt inputs.
 *
 * Layer:   arch
 * Threads: constants.
 * Errors:  none.
 * Spec:    docs/boot.md, "Map". Linux x86 boot protocol; PVH; Intel SDM 3A §3.4.5.
 *
 * Everything else, tables included, is derived from these. An address stands here and nowhere else.
 */
#ifndef X86_64_LAYOUT_H
#define X86_64_LAYOUT_H

/* clang-format off */

/* --- guest-physical memory --- */
#define LAYOUT_LOW_RAM_END    0xc0000000ull /* RAM from 0 up to here, the rest from 4 GiB */
#define LAYOUT_HIGH_RAM_START 0x100000000ull
#define LAYOUT_MMIO32_START   0xc0000000ull
#define LAYOUT_MMIO32_LEN     0x20000000ull
#define LAYOUT_ECAM_START     0xe0000000ull /* 4 KiB a function, buses 0 to 255 */
#define LAYOUT_ECAM_LEN       0x10000000ull
/*
 * Buses the tables tell of. Linux looks for host bridges on all of them, 32 accesses a bus, each an
 * exit to user space: as many as there are, not as many as the window holds.
 */
#define LAYOUT_PCI_LAST_BUS   0u
#define LAYOUT_IOAPIC         0xfec00000ull
#define LAYOUT_LAPIC          0xfee00000ull
/*
 * Four pages KVM keeps for itself on some Intel hosts: identity map, then three of TSS. Below the
 * largest firmware image: memory slots must not meet.
 */
#define LAYOUT_KVM_PAGES      0xfeffc000ull
#define LAYOUT_KVM_PAGES_LEN  0x4000ull
#define LAYOUT_KVM_IDENTITY   0xfeffc000ull
#define LAYOUT_KVM_TSS        0xfeffd000ull
/* A firmware image ends at 4 GiB; its last bytes are also found below 1 MiB. */
#define LAYOUT_ROM_END        0x100000000ull
#define LAYOUT_ROM_MAX        0x1000000ull
#define LAYOUT_ROM_SHADOW_MAX 0x20000ull

/* --- the first MiB when a kernel is booted: machine_load(), machine_setup_vcpu() --- */
#define LAYOUT_GDT            0x500ull
#define LAYOUT_PVH_INFO       0x6000ull /* one page: start_info, module list, memory map */
#define LAYOUT_ZERO_PAGE      0x7000ull /* struct boot_params */
#define LAYOUT_STACK_TOP      0x8ff0ull
#define LAYOUT_PAGE_TABLES    0x9000ull /* PML4, PDPT, four PDs: the first 4 GiB, identity */
#define LAYOUT_CMDLINE        0x20000ull
#define LAYOUT_CMDLINE_MAX    0x10000ull /* bytes, final zero included */
#define LAYOUT_EBDA           0x9fc00ull /* RAM ends here, MP floating pointer */
#define LAYOUT_ACPI           0xe0000ull /* RSDP, then the tables if they fit */
#define LAYOUT_ACPI_LEN       0x10000ull
#define LAYOUT_SMBIOS         0xf0000ull
#define LAYOUT_SMBIOS_LEN     0x8000ull
#define LAYOUT_MPTABLE        0xf8000ull /* MP configuration table */
#define LAYOUT_MPTABLE_LEN    0x8000ull
#define LAYOUT_KERNEL_START   0x100000ull /* no kernel lies below */

/*
 * The GDT at LAYOUT_GDT. Both entry points find their code at one selector: of 64 bits for the boot
 * protocol, of 32 bits for PVH.
 */
#define LAYOUT_GDT_ENTRIES    5u
#define LAYOUT_SEL_CODE       0x10u
#define LAYOUT_SEL_DATA       0x18u
#define LAYOUT_SEL_TSS        0x20u
#define LAYOUT_GDT_CODE64     0x00af9b000000ffffull
#define LAYOUT_GDT_CODE32     0x00cf9b000000ffffull
#define LAYOUT_GDT_DATA       0x00cf93000000ffffull
#define LAYOUT_GDT_TSS        0x00008b0000000067ull /* 32 or 64 bits, busy, base 0, limit 0x67 */

/* --- ports --- */
#define LAYOUT_PORT_CMOS      0x70u
#define LAYOUT_PORT_KBD_DATA  0x60u
#define LAYOUT_PORT_KBD_CMD   0x64u
#define LAYOUT_PORT_PM        0x600u /* PM1a event +0, PM1a control +4, PM timer +8 */
#define LAYOUT_PORT_PM_LEN    16u
#define LAYOUT_PORT_PCI       0xcf8u /* address, data */
#define LAYOUT_PORT_PCI_LEN   8u
#define LAYOUT_PORT_RESET     0xcf9u
#define LAYOUT_RESET_VALUE    0x06u
#define LAYOUT_PCI_IO_START   0x1000u
#define LAYOUT_PCI_IO_LEN     0xf000u

/* --- where `vmm bench` puts its device: taken by nothing else --- */
#define LAYOUT_BENCH_MMIO     0xfed40000ull
#define LAYOUT_BENCH_PORT     0x5c0u

/* --- interrupt inputs: global system interrupt = IOAPIC pin --- */
#define LAYOUT_IOAPIC_PINS    24u
#define LAYOUT_GSI_PIT        2u /* ISA interrupt 0 arrives here, as on every PC */
#define LAYOUT_GSI_RTC        8u
#define LAYOUT_GSI_SCI        9u
#define LAYOUT_GSI_PCI        16u /* slot s, pin p (A is 0): this + (s + p) % LAYOUT_NR_GSI_PCI */
#define LAYOUT_NR_GSI_PCI     8u

#define LAYOUT_IOAPIC_ID      0u
#define LAYOUT_S5_SLP_TYP     5u

/* clang-format on */

#endif
