/* pvh.c - start_info for kernels entered by their PVH note. Xen docs/misc/pvh.pandoc. */
#include "boot_priv.h"
#include "pvh_wire.h"

/* As it lies in guest RAM at LAYOUT_PVH_INFO. */
struct pvh_page {
	struct pvh_start_info info;
	struct pvh_module initrd;
	struct pvh_memmap_entry map[E820_MAX];
};
static_assert(sizeof(struct pvh_page) <= LAYOUT_ZERO_PAGE - LAYOUT_PVH_INFO, "layout.h");

int pvh_write(struct gmem *m, const struct machine_boot *b, const struct boot_plan *p)
{
	struct e820_range r[E820_MAX];
	unsigned n = e820_build(r, b, p);
	struct pvh_page page = {
		.info = {
			.magic = le32_of(PVH_MAGIC),
			.version = le32_of(1),
			.cmdline = le64_of(LAYOUT_CMDLINE),
			.rsdp = le64_of(LAYOUT_ACPI),
			.memmap = le64_of(LAYOUT_PVH_INFO + offsetof(struct pvh_page, map)),
			.memmap_entries = le32_of(n),
		},
	};
	if (p->initrd_bytes) {
		page.info.nr_modules = le32_of(1);
		page.info.modlist = le64_of(LAYOUT_PVH_INFO + offsetof(struct pvh_page, initrd));
		page.initrd.start = le64_of(p->initrd);
		page.initrd.bytes = le64_of(p->initrd_bytes);
	}
	for (unsigned i = 0; i < n; i++) {
		page.map[i].start = le64_of(r[i].start);
		page.map[i].bytes = le64_of(r[i].len);
		page.map[i].type = le32_of(r[i].type);
	}
	return gmem_write(m, gpa(LAYOUT_PVH_INFO), &page, sizeof(page));
}
