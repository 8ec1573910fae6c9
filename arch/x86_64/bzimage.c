/*
 * bzimage.c - compressed Linux kernels. Linux Documentation/arch/x86/boot.rst.
 *
 * The set-up code of 16 bits is not used: the protected-mode part goes where the header prefers and
 * is entered 512 bytes in, in 64-bit mode.
 */
#include <stddef.h>
#include <asm/bootparam.h>
#include "base/err.h"
#include "base/num.h"
#include "boot_priv.h"

#define BZIMAGE_HEADER_AT   0x1f1u
#define BZIMAGE_MAGIC       0x53726448u /* "HdrS" */
#define BZIMAGE_BOOT_FLAG   0xaa55u
#define BZIMAGE_OLDEST      0x0206u /* cmdline_size */
#define BZIMAGE_64BIT       0x020cu /* xloadflags, pref_address, init_size */
#define BZIMAGE_ENTRY_64    0x200u
#define BZIMAGE_SETUP_SECTS 4u /* what 0 means */
#define BZIMAGE_SECTOR      512u
#define BZIMAGE_PARAGRAPH   16u

static_assert(offsetof(struct boot_params, hdr) == BZIMAGE_HEADER_AT, "boot.rst: 01F1");
static_assert(BZIMAGE_HEADER_AT + offsetof(struct setup_header, header) == 0x202, "boot.rst: 0202");
static_assert(BZIMAGE_HEADER_AT + offsetof(struct setup_header, init_size) == 0x260, "boot.rst");

/* What lies where in the file. */
struct bzimage {
	struct setup_header hdr;
	uint64_t payload_off, payload_bytes;
};

static int bzimage_check_version(const struct setup_header *h, const char **why)
{
	if (h->boot_flag != BZIMAGE_BOOT_FLAG || h->header != BZIMAGE_MAGIC)
		return boot_refuse(why, -ENOEXEC, "neither an ELF file nor a bzImage");
	if (h->version < BZIMAGE_OLDEST)
		return boot_refuse(why, -ENOEXEC, "a bzImage older than boot protocol 2.06");
	if (!(h->loadflags & LOADED_HIGH))
		return boot_refuse(why, -ENOEXEC, "a zImage, which loads below 1 MiB");
	if (h->version < BZIMAGE_64BIT || !(h->xloadflags & XLF_KERNEL_64))
		return boot_refuse(why, -ENOEXEC, "a bzImage without 64-bit entry");
	return 0;
}

static int bzimage_check_place(const struct setup_header *h, const char **why)
{
	if (h->pref_address < LAYOUT_KERNEL_START)
		return boot_refuse(why, -ENOEXEC, "a bzImage that wants to lie below 1 MiB");
	if (h->relocatable_kernel && !is_pow2(h->kernel_alignment))
		return boot_refuse(why, -ENOEXEC, "a bzImage with odd alignment");
	if (h->relocatable_kernel && !is_aligned(h->pref_address, h->kernel_alignment))
		return boot_refuse(why, -ENOEXEC, "a bzImage whose address breaks its alignment");
	return 0;
}

static int bzimage_read(struct bzimage *z, int fd, uint64_t bytes, const char **why)
{
	if (bytes < BZIMAGE_HEADER_AT + sizeof(z->hdr))
		return boot_refuse(why, -ENOEXEC, "neither an ELF file nor a bzImage");
	int err = boot_pread(fd, &z->hdr, sizeof(z->hdr), BZIMAGE_HEADER_AT);
	if (!err)
		err = bzimage_check_version(&z->hdr, why);
	if (!err)
		err = bzimage_check_place(&z->hdr, why);
	if (err)
		return err;
	uint64_t sects = z->hdr.setup_sects ? z->hdr.setup_sects : BZIMAGE_SETUP_SECTS;
	z->payload_off = (sects + 1) * BZIMAGE_SECTOR;
	z->payload_bytes = (uint64_t)z->hdr.syssize * BZIMAGE_PARAGRAPH;
	if (z->payload_bytes <= BZIMAGE_ENTRY_64)
		return boot_refuse(why, -ENOEXEC, "a bzImage without code");
	if (z->payload_off + z->payload_bytes > bytes)
		return boot_refuse(why, -ENODATA, "the file ends before the kernel does");
	return 0;
}

int bzimage_probe(struct kernel_info *out, int fd, uint64_t bytes, const char **why)
{
	struct bzimage z;
	int err = bzimage_read(&z, fd, bytes, why);
	if (err)
		return err;
	uint64_t start = z.hdr.pref_address, end;
	/* init_size: what the kernel needs while it unpacks itself, at one go from its start. */
	if (!add_ok(start, max_u64(z.hdr.init_size, z.payload_bytes), &end))
		return boot_refuse(why, -ENOEXEC, "a bzImage that wraps around the address space");
	if (end > LAYOUT_LOW_RAM_END)
		return boot_refuse(why, -E2BIG,
				   "a bzImage that wants to lie above the first 3 GiB");
	*out = (struct kernel_info){
		.format = KERNEL_BZIMAGE,
		.load_start = start,
		.load_end = end,
		.entry = start + BZIMAGE_ENTRY_64,
		.initrd_max = z.hdr.initrd_addr_max,
		.cmdline_max = z.hdr.cmdline_size ? z.hdr.cmdline_size : 255,
	};
	return 0;
}

int bzimage_load(struct gmem *m, int fd, const char **why)
{
	struct bzimage z;
	uint64_t bytes;
	int err = boot_file_bytes(&bytes, fd, why);
	if (!err)
		err = bzimage_read(&z, fd, bytes, why);
	if (!err)
		err = gmem_load(m, gpa(z.hdr.pref_address), fd, z.payload_off, z.payload_bytes);
	return err;
}

int bzimage_setup_header(void *hdr, size_t hdr_bytes, int fd, const char **why)
{
	struct bzimage z;
	uint64_t bytes;
	int err = boot_file_bytes(&bytes, fd, why);
	if (!err)
		err = bzimage_read(&z, fd, bytes, why);
	if (err)
		return err;
	/* boot.rst: the header ends at 0x202 plus the byte at 0x201, the operand of the jump. */
	size_t len = 0x202 + (z.hdr.jump >> 8) - BZIMAGE_HEADER_AT;
	memcpy(hdr, &z.hdr, min_size(min_size(len, sizeof(z.hdr)), hdr_bytes));
	return 0;
}
