/*
 * boot.c - does a boot fit this board, and everything it needs into guest RAM.
 *
 * Addresses: layout.h and docs/boot.md. The guest's RAM is new and zero: what a kernel wants
 * cleared needs no write, and is not touched.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "arch/machine.h"
#include "base/err.h"
#include "base/num.h"
#include "boot_priv.h"

#define BOOT_PAGE 4096u

int boot_pread(int fd, void *buf, size_t len, uint64_t off)
{
	uint8_t *p = buf;
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(fd, p + done, len - done, (off_t)(off + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		done += (size_t)n;
	}
	return 0;
}

int boot_file_bytes(uint64_t *out, int fd, const char **why)
{
	struct stat st;
	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return boot_refuse(why, -EINVAL, "not a regular file");
	*out = (uint64_t)st.st_size;
	return 0;
}

static int boot_probe(struct kernel_info *out, int fd, const char **why)
{
	uint8_t magic[4] = { 0 };
	uint64_t bytes = 0;
	int err = boot_file_bytes(&bytes, fd, why);
	if (err)
		return err;
	if (bytes == 0)
		return boot_refuse(why, -ENODATA, "the file is empty");
	err = boot_pread(fd, magic, (size_t)min_u64(bytes, sizeof(magic)), 0);
	if (err)
		return err;
	if (memcmp(magic, "\177ELF", sizeof(magic)) == 0)
		return elf_probe(out, fd, bytes, why);
	return bzimage_probe(out, fd, bytes, why);
}

int machine_probe_kernel(struct kernel_info *out, int fd, const char **why)
{
	*why = NULL;
	int err = boot_probe(out, fd, why);
	if (err && !*why)
		return boot_refuse(why, err, "the file cannot be read");
	return err;
}

/* --- what fits --- */

static int boot_place_initrd(struct boot_plan *p, const struct machine_boot *b, const char **why)
{
	uint64_t end = min_u64(p->low_end - p->tables_bytes, b->kernel->initrd_max + 1);
	uint64_t floor = align_up(b->kernel->load_end, BOOT_PAGE);
	p->initrd_bytes = b->initrd_fd >= 0 ? b->initrd_bytes : 0;
	if (b->initrd_fd < 0)
		return 0;
	if (p->initrd_bytes == 0)
		return boot_refuse(why, -EINVAL, "the initrd is empty");
	if (end < floor || p->initrd_bytes > end - floor)
		return boot_refuse(why, -EFBIG,
				   "the initrd does not fit between kernel and end of RAM");
	p->initrd = align_down(end - p->initrd_bytes, BOOT_PAGE);
	if (p->initrd < floor)
		return boot_refuse(why, -EFBIG,
				   "the initrd does not fit between kernel and end of RAM");
	return 0;
}

/* The user's tables lie at the end of low RAM. */
static int boot_place_tables(struct boot_plan *p, const struct machine_boot *b, const char **why)
{
	int err = acpi_check_extra(&p->tables_bytes, b, why);
	if (err)
		return err;
	p->low_end = align_down(min_u64(b->ram_bytes, LAYOUT_LOW_RAM_END), BOOT_PAGE);
	if (p->tables_bytes > p->low_end || p->low_end - p->tables_bytes < b->kernel->load_end)
		return boot_refuse(why, -E2BIG, "the ACPI tables do not fit into guest RAM");
	p->tables = p->low_end - p->tables_bytes;
	return 0;
}

/* Sizes and places of all parts of a kernel's boot. */
static int boot_plan_make(struct boot_plan *p, const struct machine_boot *b, const char **why)
{
	*p = (struct boot_plan){ 0 };
	if (b->kernel_fd < 0 || !b->kernel)
		return boot_refuse(why, -EINVAL, "neither a kernel nor a firmware image");
	if (b->kernel->load_end > min_u64(b->ram_bytes, LAYOUT_LOW_RAM_END))
		return boot_refuse(why, -E2BIG, "the kernel lies above the end of guest RAM");
	if (b->nr_cpus == 0 || b->nr_cpus > BOOT_MAX_CPUS)
		return boot_refuse(why, -E2BIG, "more CPUs than the board has room for");
	size_t cmdline_max = min_size(b->kernel->cmdline_max, LAYOUT_CMDLINE_MAX - 1);
	if (strlen(b->cmdline) > cmdline_max)
		return boot_refuse(why, -ENAMETOOLONG,
				   "the kernel command line is longer than the kernel takes");
	int err = boot_place_tables(p, b, why);
	if (!err)
		err = boot_place_initrd(p, b, why);
	return err;
}

int machine_check_boot(const struct machine_boot *b, const char **why)
{
	struct boot_plan p;
	*why = NULL;
	if (b->bios_fd >= 0)
		return bios_check(b, why);
	return boot_plan_make(&p, b, why);
}

/* --- into guest RAM --- */

static int boot_load_kernel(const struct machine_boot *b, struct gmem *m, const char **why)
{
	int err = b->kernel->format == KERNEL_ELF ? elf_load(m, b->kernel_fd, why)
						  : bzimage_load(m, b->kernel_fd, why);
	if (err && !*why)
		return boot_refuse(why, err, "the kernel cannot be read into guest RAM");
	return err;
}

static int boot_load_initrd(const struct machine_boot *b, const struct boot_plan *p, struct gmem *m,
			    const char **why)
{
	if (!p->initrd_bytes)
		return 0;
	int err = gmem_load(m, gpa(p->initrd), b->initrd_fd, 0, (size_t)p->initrd_bytes);
	return err ? boot_refuse(why, err, "the initrd cannot be read into guest RAM") : 0;
}

/* What the entry point finds in memory; what its registers find, machine_setup_vcpu() writes. */
static int boot_write_handover(const struct machine_boot *b, const struct boot_plan *p,
			       struct gmem *m, const char **why)
{
	int err = gmem_write(m, gpa(LAYOUT_CMDLINE), b->cmdline, strlen(b->cmdline) + 1);
	if (err)
		return err;
	return b->kernel->is_pvh ? pvh_write(m, b, p) : zeropage_write(m, b, p, why);
}

int machine_load(const struct machine_boot *b, struct hv *h, struct gmem *m, const char **why)
{
	struct boot_plan p;
	*why = NULL;
	if (b->bios_fd >= 0)
		return bios_load(b, h, m, why);
	int err = boot_plan_make(&p, b, why);
	if (!err)
		err = boot_load_kernel(b, m, why);
	if (!err)
		err = boot_load_initrd(b, &p, m, why);
	if (!err)
		err = boot_write_handover(b, &p, m, why);
	if (!err)
		err = acpi_write(m, b, &p, why);
	if (!err)
		err = mptable_write(m, b);
	if (!err)
		err = smbios_write(m, b);
	return err;
}
