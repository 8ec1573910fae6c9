/*
 * boot.c - Linux boot protocol (64-bit) and PVH start info, read into one form.
 */
#include "boot.h"
#include <asm/bootparam.h>
#include "mem.h"

#define PVH_MAGIC 0x336ec578

/* Xen public/arch-x86/hvm/start_info.h, version 1. */
struct hvm_start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
	uint32_t memmap_entries, reserved;
};

struct hvm_modlist_entry {
	uint64_t paddr, size, cmdline_paddr, reserved;
};

struct hvm_memmap_entry {
	uint64_t addr, size;
	uint32_t type, reserved;
};

extern char image_end[];
static struct boot_info info;

static void take_cmdline(uint64_t at)
{
	const char *s = (const char *)at;
	for (unsigned i = 0; s && s[i] && i + 1 < sizeof(info.cmdline); i++)
		info.cmdline[i] = s[i];
}

static void take_range(uint64_t start, uint64_t bytes, uint32_t type)
{
	if (info.nranges < BOOT_MAX_RANGES)
		info.ranges[info.nranges++] = (struct boot_range){ start, bytes, type };
}

static void take_linux(const struct boot_params *p)
{
	info.protocol = "linux64";
	take_cmdline((uint64_t)p->ext_cmd_line_ptr << 32 | p->hdr.cmd_line_ptr);
	info.rsdp = p->acpi_rsdp_addr;
	info.initrd = (uint64_t)p->ext_ramdisk_image << 32 | p->hdr.ramdisk_image;
	info.initrd_bytes = (uint64_t)p->ext_ramdisk_size << 32 | p->hdr.ramdisk_size;
	for (unsigned i = 0; i < p->e820_entries; i++)
		take_range(p->e820_table[i].addr, p->e820_table[i].size, p->e820_table[i].type);
}

static void take_pvh(const struct hvm_start_info *p)
{
	info.protocol = "pvh";
	if (p->magic != PVH_MAGIC)
		return;
	take_cmdline(p->cmdline_paddr);
	info.rsdp = p->rsdp_paddr;
	const struct hvm_modlist_entry *module = (const void *)p->modlist_paddr;
	if (p->nr_modules) {
		info.initrd = module->paddr;
		info.initrd_bytes = module->size;
	}
	const struct hvm_memmap_entry *e = (const void *)p->memmap_paddr;
	for (unsigned i = 0; p->version >= 1 && i < p->memmap_entries; i++)
		take_range(e[i].addr, e[i].size, e[i].type);
}

void boot_init(const struct boot_params *params, const struct hvm_start_info *pvh)
{
	if (params)
		take_linux(params);
	else
		take_pvh(pvh);
}

const struct boot_info *boot_info(void)
{
	return &info;
}

uint64_t boot_ram_end_here(void)
{
	uint64_t at = (uintptr_t)image_end, end = at;
	for (unsigned i = 0; i < info.nranges; i++) {
		const struct boot_range *r = &info.ranges[i];
		if (r->type == BOOT_RAM && r->start <= at && at - r->start < r->bytes)
			end = r->start + r->bytes;
	}
	if (info.initrd > at && info.initrd < end)
		end = info.initrd;
	return end;
}

uint64_t boot_ram_end(void)
{
	uint64_t end = 0;
	for (unsigned i = 0; i < info.nranges; i++) {
		const struct boot_range *r = &info.ranges[i];
		if (r->type == BOOT_RAM && r->start + r->bytes > end)
			end = r->start + r->bytes;
	}
	return end;
}

/* Just behind "@name=", where that is a whole word of the command line. */
static const char *param_find(const char *name)
{
	size_t len = str_len(name);
	for (const char *s = info.cmdline; *s;) {
		while (*s == ' ')
			s++;
		if (str_starts(s, name) && s[len] == '=')
			return s + len + 1;
		while (*s && *s != ' ')
			s++;
	}
	return NULL;
}

bool boot_param(const char *name, char *buf, unsigned size)
{
	const char *s = param_find(name);
	unsigned n = 0;
	for (; s && *s && *s != ' ' && n + 1 < size; s++)
		buf[n++] = *s;
	buf[n] = '\0';
	return s != NULL;
}

uint64_t boot_param_number(const char *name, uint64_t fallback)
{
	char buf[24];
	if (!boot_param(name, buf, sizeof(buf)))
		return fallback;
	const char *s = buf;
	unsigned base = str_starts(s, "0x") ? 16 : 10;
	uint64_t v = 0;
	for (s += base == 16 ? 2 : 0; *s; s++) {
		unsigned digit = (unsigned)(*s <= '9' ? *s - '0' : (*s | 0x20) - 'a' + 10);
		v = v * base + digit;
	}
	return v;
}
