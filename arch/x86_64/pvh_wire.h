/*
 * pvh_wire.h - what a PVH guest finds through EBX.
 *
 * Layer:   arch
 * Threads: types only.
 * Errors:  none.
 * Spec:    Xen docs/misc/pvh.pandoc; xen/include/public/arch-x86/hvm/start_info.h, version 1.
 */
#ifndef X86_64_PVH_WIRE_H
#define X86_64_PVH_WIRE_H
#include <assert.h>
#include <stddef.h>
#include "base/le.h"

#define PVH_MAGIC 0x336ec578u

struct pvh_start_info {
	le32_t magic, version, flags, nr_modules;
	le64_t modlist, cmdline, rsdp;
	le64_t memmap;
	le32_t memmap_entries, reserved;
};
static_assert(sizeof(struct pvh_start_info) == 56, "start_info.h");
static_assert(offsetof(struct pvh_start_info, memmap) == 40, "start_info.h");

struct pvh_module {
	le64_t start, bytes, cmdline, reserved;
};
static_assert(sizeof(struct pvh_module) == 32, "start_info.h");

struct pvh_memmap_entry {
	le64_t start, bytes;
	le32_t type, reserved; /* types as in E820 */
};
static_assert(sizeof(struct pvh_memmap_entry) == 24, "start_info.h");

#endif
