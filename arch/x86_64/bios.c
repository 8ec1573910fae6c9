/*
 * bios.c - a firmware image instead of a kernel: read-only memory that ends at 4 GiB.
 *
 * Its last 128 KiB are found below 1 MiB too, in RAM, where firmware written for PCs expects
 * itself. The firmware makes its own tables: none of ours is written.
 */
#include <sys/mman.h>
#include "base/err.h"
#include "base/num.h"
#include "boot_priv.h"

#define BIOS_PAGE 4096u

static int bios_bytes(uint64_t *out, const struct machine_boot *b, const char **why)
{
	int err = boot_file_bytes(out, b->bios_fd, why);
	if (err)
		return err;
	if (*out == 0)
		return boot_refuse(why, -ENODATA, "the file is empty");
	if (!is_aligned(*out, BIOS_PAGE))
		return boot_refuse(why, -EINVAL, "its size is not a multiple of 4 KiB");
	if (*out > LAYOUT_ROM_MAX)
		return boot_refuse(why, -E2BIG, "larger than 16 MiB");
	return 0;
}

int bios_check(const struct machine_boot *b, const char **why)
{
	uint64_t bytes;
	if (b->kernel_fd >= 0)
		return boot_refuse(why, -EINVAL,
				   "a kernel and a firmware image exclude each other");
	if (b->ram_bytes < MIB)
		return boot_refuse(why, -E2BIG, "less guest RAM than the 1 MiB firmware needs");
	return bios_bytes(&bytes, b, why);
}

/*
 * The mapping is the VM's from here on and stays as long as this process, which is one VM. Not a
 * mapping of the file: a file that shrinks later would take the VM with it.
 */
static int bios_map(struct hv *h, const void **rom, int fd, size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	int err = boot_pread(fd, p, bytes, 0);
	if (!err)
		err = hv_map_rom(h, LAYOUT_ROM_END - bytes, p, bytes);
	if (err)
		(void)munmap(p, bytes); /* cannot fail: it is ours */
	else
		*rom = p;
	return err;
}

int bios_load(const struct machine_boot *b, struct hv *h, struct gmem *m, const char **why)
{
	uint64_t bytes;
	const void *rom = NULL;
	int err = bios_check(b, why);
	if (!err)
		err = bios_bytes(&bytes, b, why);
	if (!err)
		err = bios_map(h, &rom, b->bios_fd, (size_t)bytes);
	if (err)
		return err;
	size_t low = (size_t)min_u64(bytes, LAYOUT_ROM_SHADOW_MAX);
	return gmem_write(m, gpa(MIB - low), (const uint8_t *)rom + (bytes - low), low);
}
