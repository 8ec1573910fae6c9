/*
 * machine.h - the board of the architecture we are built for: what lies where, how it boots.
 *
 * Layer:   arch
 * Threads: control thread, before the first vCPU runs.
 * Errors:  negative errno; where a person must know more, *why gets a static sentence part such as
 *          "segments overlap". -ENOEXEC: not a kernel of a format we know. -E2BIG: does not fit;
 *          -EFBIG: the initrd does not; -ENAMETOOLONG: the command line is too long.
 *          -ENODATA: the file is shorter than its headers say.
 * Spec:    Linux x86 boot protocol; PVH; ACPI 6.5; MultiProcessor 1.4; SMBIOS 3.
 *
 * src/vm assembles a machine from these tables and never names an architecture.
 */
#ifndef ARCH_MACHINE_H
#define ARCH_MACHINE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "arch/hv.h"
#include "base/compiler.h"
#include "bus/bus.h"
#include "bus/pci.h"
#include "mem/gmem.h"

/* --- where things are --- */

/* Guest RAM of @ram_bytes as extents; returns how many (at most 2). */
unsigned machine_ram_extents(uint64_t ram_bytes, struct gmem_extent out[2]);
/* The most RAM this board can place with @phys_bits of address. */
uint64_t machine_max_ram(unsigned phys_bits);
void machine_pci_windows(uint64_t ram_bytes, unsigned phys_bits, struct pci_windows *out);

/* The fixed devices of the board; vm makes each with the constructor of its kind. */
enum machine_dev_kind {
	MACHINE_DEV_SERIAL,
	MACHINE_DEV_RTC,
	MACHINE_DEV_I8042_DATA,
	MACHINE_DEV_I8042_COMMAND,
	MACHINE_DEV_ACPI_PM,
	MACHINE_DEV_PCI_CF8,
	MACHINE_DEV_PCI_ECAM,
};
struct machine_dev {
	enum machine_dev_kind kind;
	enum bus_space space;
	uint64_t base, len;
	uint32_t gsi;   /* interrupt input, MACHINE_NO_GSI: none */
	unsigned index; /* which of several: serial port 0 to 3 */
};
#define MACHINE_NO_GSI UINT32_MAX
extern const struct machine_dev machine_devs[];
extern const unsigned machine_nr_devs;
/* SLP_TYP of S5, for the power-management block and the tables. */
extern const uint8_t machine_s5_slp_typ;

/* The guest of `vmm bench`, a whole ELF file, and free places for the device it speaks to. */
extern const unsigned char machine_bench_guest[], machine_bench_guest_end[];
extern const uint64_t machine_bench_mmio, machine_bench_port;

/* "ttyS0" for serial port 0, and its earlycon argument. */
const char *machine_serial_tty(unsigned index);
const char *machine_serial_earlycon(unsigned index);
/* Kernel arguments that every guest of this board gets. */
const char *machine_base_cmdline(const struct hv_info *hv);

/* --- what boots --- */

enum kernel_format { KERNEL_ELF, KERNEL_BZIMAGE };
struct kernel_info {
	enum kernel_format format;
	uint64_t load_start,
		load_end; /* guest-physical range it occupies, scratch space included */
	uint64_t entry;
	uint64_t initrd_max;  /* highest address an initrd byte may have */
	uint32_t cmdline_max; /* bytes without the final zero */
	bool is_pvh;          /* entry is the 32-bit PVH entry */
};

/* Read and check the headers of kernel @fd; creates nothing. */
MUST_CHECK int machine_probe_kernel(struct kernel_info *out, int fd, const char **why);

/* CPU n is thread n % threads of core n / threads % cores, and so on up. */
struct machine_topology {
	unsigned threads; /* in a core; 0: two if that divides the CPUs, all in one package */
	unsigned cores;   /* in a die */
	unsigned dies;    /* in a package */
	unsigned packages;
};
/* What the hypervisor and the guest's interrupt chips call CPU @index of @nr_cpus; 0 for the first.
 */
uint32_t machine_cpu_id(const struct machine_topology *t, unsigned nr_cpus, unsigned index);

struct machine_boot {
	int kernel_fd; /* -1 with a BIOS */
	const struct kernel_info *kernel;
	int initrd_fd; /* -1: none */
	uint64_t initrd_bytes;
	const char *cmdline;       /* complete */
	int bios_fd;               /* -1: none */
	const int *acpi_table_fds; /* extra tables; a DSDT among them replaces ours */
	unsigned nr_acpi_tables;
	uint64_t ram_bytes;
	unsigned nr_cpus;
	struct machine_topology topology;
	const struct pci_windows *pci;
};

/* Would @b fit? Checks sizes and places only, reads no payload. */
MUST_CHECK int machine_check_boot(const struct machine_boot *b, const char **why);

/* Put kernel, initrd, command line and tables into @m (and a BIOS into @h). */
MUST_CHECK int machine_load(const struct machine_boot *b, struct hv *h, struct gmem *m,
			    const char **why);

/* Registers, CPUID, MSRs of vCPU @index, which was made with machine_cpu_id(). */
MUST_CHECK int machine_setup_vcpu(const struct machine_boot *b, struct hv *h, struct vcpu *c,
				  unsigned index);

#endif
