/*
 * boot_priv.h - the parts of the boot loader: formats, places, tables.
 *
 * Layer:   arch
 * Threads: control thread.
 * Errors:  as arch/machine.h: negative errno, and *why where a person must know more.
 * Spec:    docs/boot.md.
 */
#ifndef X86_64_BOOT_PRIV_H
#define X86_64_BOOT_PRIV_H
#include "arch/machine.h"
#include "blob.h"
#include "layout.h"

/* Where a boot puts what has no address of its own. */
struct boot_plan {
	uint64_t low_end; /* of RAM below the hole */
	uint64_t initrd;  /* valid with initrd_bytes > 0 */
	uint64_t initrd_bytes;
	uint64_t tables; /* the user's ACPI tables, valid with tables_bytes > 0 */
	uint64_t tables_bytes;
};

/* A refusal: sets the reason, yields the error. */
static inline int boot_refuse(const char **why, int err, const char *reason)
{
	*why = reason;
	return err;
}

/* Read exactly @len bytes at @off. -ENODATA: the file ends before. */
MUST_CHECK int boot_pread(int fd, void *buf, size_t len, uint64_t off);
/* Size of @fd, which has to be a regular file. -EINVAL otherwise. */
MUST_CHECK int boot_file_bytes(uint64_t *out, int fd, const char **why);

/* --- kernels: elf.c, bzimage.c. @bytes is the size of the file. --- */
MUST_CHECK int elf_probe(struct kernel_info *out, int fd, uint64_t bytes, const char **why);
MUST_CHECK int elf_load(struct gmem *m, int fd, const char **why);
MUST_CHECK int bzimage_probe(struct kernel_info *out, int fd, uint64_t bytes, const char **why);
MUST_CHECK int bzimage_load(struct gmem *m, int fd, const char **why);
/* Copy the file's set-up header, which ends where it says, to the boot_params.hdr at @hdr. */
MUST_CHECK int bzimage_setup_header(void *hdr, size_t hdr_bytes, int fd, const char **why);

/* --- hand-over to the kernel --- */
#define E820_RAM      1u
#define E820_RESERVED 2u
#define E820_ACPI     3u
#define E820_MAX      8u
struct e820_range {
	uint64_t start, len;
	uint32_t type;
};
/* The memory map, ascending; returns how many. */
unsigned e820_build(struct e820_range out[E820_MAX], const struct machine_boot *b,
		    const struct boot_plan *p);
/* zeropage.c: struct boot_params at LAYOUT_ZERO_PAGE. */
MUST_CHECK int zeropage_write(struct gmem *m, const struct machine_boot *b,
			      const struct boot_plan *p, const char **why);
/* pvh.c: start_info and what it points to at LAYOUT_PVH_INFO. */
MUST_CHECK int pvh_write(struct gmem *m, const struct machine_boot *b, const struct boot_plan *p);

/* --- tables for the operating system --- */
/* The board's CPUs end here; more would outgrow the tables' area. */
#define BOOT_MAX_CPUS 1024u

/* acpi.c: check the user's tables; *bytes is the room they need, a multiple of the page size. */
MUST_CHECK int acpi_check_extra(uint64_t *bytes, const struct machine_boot *b, const char **why);
MUST_CHECK int acpi_write(struct gmem *m, const struct machine_boot *b, const struct boot_plan *p,
			  const char **why);
/* Append the body of our DSDT (dsdt.c). */
void dsdt_build(struct blob *t, const struct machine_boot *b);
MUST_CHECK int mptable_write(struct gmem *m, const struct machine_boot *b);
MUST_CHECK int smbios_write(struct gmem *m, const struct machine_boot *b);

/* --- bios.c --- */
MUST_CHECK int bios_check(const struct machine_boot *b, const char **why);
MUST_CHECK int bios_load(const struct machine_boot *b, struct hv *h, struct gmem *m,
			 const char **why);

#endif
