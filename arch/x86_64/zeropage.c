/*
 * zeropage.c - the memory map, and the boot_params of the Linux boot protocol.
 *
 * Linux Documentation/arch/x86/boot.rst, zero-page.rst.
 */
#include <asm/bootparam.h>
#include "base/num.h"
#include "boot_priv.h"

#define ZEROPAGE_LOADER   0xffu /* boot.rst, type_of_loader: none of the registered ones */
#define ZEROPAGE_PROTOCOL 0x020cu
#define ZEROPAGE_ALIGN    0x1000000u

static_assert(sizeof(struct boot_params) == 4096, "zero-page.rst");

unsigned e820_build(struct e820_range out[E820_MAX], const struct machine_boot *b,
		    const struct boot_plan *p)
{
	unsigned n = 0;
	uint64_t ram_end = p->low_end - p->tables_bytes;
	out[n++] = (struct e820_range){ 0, LAYOUT_EBDA, E820_RAM };
	out[n++] = (struct e820_range){ LAYOUT_EBDA, MIB - LAYOUT_EBDA, E820_RESERVED };
	out[n++] = (struct e820_range){ MIB, ram_end - MIB, E820_RAM };
	if (p->tables_bytes)
		out[n++] = (struct e820_range){ p->tables, p->tables_bytes, E820_ACPI };
	out[n++] = (struct e820_range){ LAYOUT_ECAM_START, LAYOUT_ECAM_LEN, E820_RESERVED };
	out[n++] = (struct e820_range){ LAYOUT_KVM_PAGES, LAYOUT_KVM_PAGES_LEN, E820_RESERVED };
	struct gmem_extent e[2];
	if (machine_ram_extents(b->ram_bytes, e) > 1)
		out[n++] = (struct e820_range){ e[1].start, e[1].len, E820_RAM };
	return n;
}

/* An ELF file brings no header: say what a boot loader would have to know. */
static void zeropage_elf_header(struct setup_header *h, const struct kernel_info *k)
{
	h->boot_flag = 0xaa55;
	h->header = 0x53726448; /* "HdrS" */
	h->version = ZEROPAGE_PROTOCOL;
	h->loadflags = LOADED_HIGH;
	h->kernel_alignment = ZEROPAGE_ALIGN;
	h->cmdline_size = k->cmdline_max;
}

int zeropage_write(struct gmem *m, const struct machine_boot *b, const struct boot_plan *p,
		   const char **why)
{
	struct boot_params z = { .acpi_rsdp_addr = LAYOUT_ACPI };
	struct e820_range r[E820_MAX];
	int err = 0;
	if (b->kernel->format == KERNEL_BZIMAGE)
		err = bzimage_setup_header(&z.hdr, sizeof(z.hdr), b->kernel_fd, why);
	else
		zeropage_elf_header(&z.hdr, b->kernel);
	if (err)
		return err;
	z.hdr.type_of_loader = ZEROPAGE_LOADER;
	z.hdr.code32_start = (uint32_t)b->kernel->load_start;
	z.hdr.cmd_line_ptr = (uint32_t)LAYOUT_CMDLINE;
	z.hdr.ramdisk_image = (uint32_t)p->initrd; /* all below 3 GiB */
	z.hdr.ramdisk_size = (uint32_t)p->initrd_bytes;
	z.hdr.setup_data = 0;
	z.e820_entries = (uint8_t)e820_build(r, b, p);
	for (unsigned i = 0; i < z.e820_entries; i++)
		z.e820_table[i] = (struct boot_e820_entry){ r[i].start, r[i].len, r[i].type };
	return gmem_write(m, gpa(LAYOUT_ZERO_PAGE), &z, sizeof(z));
}
