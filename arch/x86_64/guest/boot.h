/*
 * boot.h - what the loader said: command line, memory map, ACPI root, initial RAM disk.
 */
#ifndef GUEST_BOOT_H
#define GUEST_BOOT_H
#include <stdbool.h>
#include <stdint.h>

#define BOOT_MAX_RANGES 16
#define BOOT_RAM        1 /* E820 type */

struct boot_range {
	uint64_t start, bytes;
	uint32_t type; /* E820 */
};

struct boot_info {
	const char *protocol; /* "linux64" or "pvh" */
	char cmdline[1024];
	uint64_t rsdp; /* 0: not told */
	uint64_t initrd, initrd_bytes;
	unsigned nranges;
	struct boot_range ranges[BOOT_MAX_RANGES];
};

struct boot_params;
struct hvm_start_info;

/* Copy everything out of the loader's pages. One of the two is NULL. */
void boot_init(const struct boot_params *params, const struct hvm_start_info *pvh);
const struct boot_info *boot_info(void);

/* RAM that holds this image goes on to here; and one past the highest byte of RAM. */
uint64_t boot_ram_end_here(void);
uint64_t boot_ram_end(void);

/* The value of @name=… on the command line, copied to @buf and ended by NUL. False: not there. */
bool boot_param(const char *name, char *buf, unsigned size);
/* The same as a number (decimal or 0x…), @fallback where missing. */
uint64_t boot_param_number(const char *name, uint64_t fallback);

#endif
