/*
 * kernel_fuzz.h - a sound kernel, patched by the fuzzer, offered to the loader.
 *
 * Layer:   tests
 * Threads: the fuzzer's only.
 * Errors:  a broken promise of the loader ends the process.
 * Spec:    include/arch/machine.h.
 */
#ifndef TESTS_KERNEL_FUZZ_H
#define TESTS_KERNEL_FUZZ_H
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "arch/machine.h"
#include "arch/x86_64/layout.h"
#include "base/le.h"
#include "base/num.h"

#define FUZZ_RAM (64 * MIB)

/* In place of the hypervisor's, which no kernel needs. */
MUST_CHECK int __wrap_hv_map_rom(struct hv *h, uint64_t start, const void *host, uint64_t len);
int __wrap_hv_map_rom(struct hv *h, uint64_t start, const void *host, uint64_t len)
{
	BUG_ON(h || start || host || len);
	return -1;
}

/* The guest, and the file; made once. */
struct kernel_fuzz {
	struct gmem *ram;
	struct pci_windows pci;
	int fd;
};

static inline void kernel_fuzz_init(struct kernel_fuzz *f)
{
	static const struct gmem_place plain = { GMEM_PAGES_4K, false, PLACE_NODE_ANY };
	static const struct gmem_extent e = { 0, FUZZ_RAM };
	if (f->ram)
		return;
	BUG_ON(gmem_create(&f->ram, &e, 1, &plain));
	f->fd = memfd_create("kernel", MFD_CLOEXEC);
	BUG_ON(f->fd < 0);
	machine_pci_windows(FUZZ_RAM, 40, &f->pci);
}

/* What machine.h promises of a kernel that passed. */
static inline void kernel_fuzz_check(const struct kernel_info *k)
{
	BUG_ON(k->load_start < LAYOUT_KERNEL_START || k->load_end > LAYOUT_LOW_RAM_END);
	BUG_ON(k->load_start >= k->load_end);
	BUG_ON(k->entry < k->load_start || k->entry >= k->load_end);
	BUG_ON(k->cmdline_max == 0);
}

/*
 * Overwrite bytes of the @len at @file: each record of @data is an offset of two bytes, a length of
 * one, and eight bytes of which so many are taken. Returns how much of the file remains.
 */
static inline size_t kernel_fuzz_patch(uint8_t *file, size_t len, const uint8_t *data, size_t bytes)
{
	const size_t record = 2 + 1 + 8;
	for (; bytes >= record; data += record, bytes -= record) {
		size_t off = le_load(data, 2), n = data[2] % 9;
		if (n == 0 && off <= len)
			len = off; /* cut */
		else if (off + n <= len)
			memcpy(file + off, data + 3, n);
	}
	return len;
}

/* Probe, and load what passes and fits. */
static inline void kernel_fuzz_run(struct kernel_fuzz *f, const uint8_t *data, size_t len)
{
	struct kernel_info k;
	const char *why = NULL;
	kernel_fuzz_init(f);
	BUG_ON(ftruncate(f->fd, 0));
	BUG_ON(pwrite(f->fd, data, len, 0) != (ssize_t)len);
	if (machine_probe_kernel(&k, f->fd, &why)) {
		BUG_ON(!why);
		return;
	}
	kernel_fuzz_check(&k);
	struct machine_boot b = {
		.kernel_fd = f->fd,
		.kernel = &k,
		.initrd_fd = -1,
		.cmdline = "",
		.bios_fd = -1,
		.ram_bytes = FUZZ_RAM,
		.nr_cpus = 1,
		.pci = &f->pci,
	};
	if (!machine_check_boot(&b, &why))
		BUG_ON(machine_load(&b, NULL, f->ram, &why));
	else
		BUG_ON(!why);
}

#endif
