/*
 * elf.c - ELF64 kernels: what stands in the headers is checked before a byte is loaded.
 *
 * ELF-64 object file format; Xen "x86/HVM direct boot ABI" (PVH). No field is trusted: every
 * offset is compared with the file, every address with the board, every sum for overflow.
 */
#include <elf.h>
#include "base/err.h"
#include "base/num.h"
#include "boot_priv.h"

#define ELF_MAX_PHDRS   64u
#define ELF_NOTES_BYTES 8192u /* of a note segment are looked at */
#define ELF_NOTE_PVH    18u   /* XEN_ELFNOTE_PHYS32_ENTRY */
/* Linux' COMMAND_LINE_SIZE on x86; an ELF file does not say it. */
#define ELF_CMDLINE_MAX 2047u

struct elf_segment {
	uint64_t off, file_bytes;
	uint64_t start, end; /* guest-physical */
};

struct elf_image {
	struct elf_segment seg[ELF_MAX_PHDRS];
	unsigned nr;
	uint64_t entry;
	uint64_t pvh_entry;
	bool has_pvh, is_linux;
};

static int elf_check_header(const Elf64_Ehdr *h, const char **why)
{
	if (h->e_ident[EI_CLASS] != ELFCLASS64)
		return boot_refuse(why, -ENOEXEC, "a 32-bit ELF file");
	if (h->e_ident[EI_DATA] != ELFDATA2LSB || h->e_machine != EM_X86_64)
		return boot_refuse(why, -ENOEXEC, "an ELF file for another processor");
	if (h->e_ident[EI_VERSION] != EV_CURRENT || h->e_type != ET_EXEC)
		return boot_refuse(why, -ENOEXEC, "an ELF file, but not an executable");
	if (h->e_phnum == 0)
		return boot_refuse(why, -ENOEXEC, "an ELF file without program headers");
	if (h->e_phnum > ELF_MAX_PHDRS)
		return boot_refuse(why, -ENOEXEC, "an ELF file with too many program headers");
	if (h->e_phentsize != sizeof(Elf64_Phdr))
		return boot_refuse(why, -ENOEXEC, "an ELF file with program headers of odd size");
	return 0;
}

/* One PT_LOAD: inside the file, above the first MiB, clear of the others. */
static int elf_add_segment(struct elf_image *e, const Elf64_Phdr *p, uint64_t bytes,
			   const char **why)
{
	uint64_t file_end, end;
	if (p->p_memsz == 0 && p->p_filesz == 0)
		return 0;
	if (p->p_filesz > p->p_memsz)
		return boot_refuse(why, -ENOEXEC, "a segment is larger in the file than in memory");
	if (!add_ok(p->p_offset, p->p_filesz, &file_end) || !add_ok(p->p_paddr, p->p_memsz, &end))
		return boot_refuse(why, -ENOEXEC, "a segment wraps around the address space");
	if (file_end > bytes)
		return boot_refuse(why, -ENODATA, "the file ends before one of its segments does");
	if (p->p_paddr < LAYOUT_KERNEL_START)
		return boot_refuse(why, -ENOEXEC, "a segment lies below 1 MiB");
	if (end > LAYOUT_LOW_RAM_END)
		return boot_refuse(why, -E2BIG, "a segment lies above the first 3 GiB");
	for (unsigned i = 0; i < e->nr; i++)
		if (p->p_paddr < e->seg[i].end && e->seg[i].start < end)
			return boot_refuse(why, -ENOEXEC, "segments overlap");
	e->seg[e->nr++] = (struct elf_segment){ p->p_offset, p->p_filesz, p->p_paddr, end };
	return 0;
}

/* A note with the 4-byte name @name? (Its size counts the final zero.) */
static bool elf_note_is(const Elf64_Nhdr *n, const char *found, const char *name, size_t size)
{
	return n->n_namesz == size && memcmp(found, name, size) == 0;
}

static void elf_take_note(struct elf_image *e, const Elf64_Nhdr *n, const char *name,
			  const uint8_t *desc)
{
	if (elf_note_is(n, name, "Linux", sizeof("Linux")))
		e->is_linux = true;
	bool is_pvh = elf_note_is(n, name, "Xen", sizeof("Xen")) && n->n_type == ELF_NOTE_PVH;
	if (is_pvh && (n->n_descsz == 4 || n->n_descsz == 8)) {
		e->has_pvh = true;
		e->pvh_entry = le_load(desc, n->n_descsz);
	}
}

/* Walk the notes in @buf; a note that reaches past @len ends the walk. */
static void elf_walk_notes(struct elf_image *e, const uint8_t *buf, size_t len, size_t align)
{
	size_t at = 0;
	Elf64_Nhdr n;
	while (len - at >= sizeof(n)) {
		memcpy(&n, buf + at, sizeof(n));
		size_t name = at + sizeof(n);
		if (n.n_namesz > len - name)
			return;
		size_t desc = align_up(name + n.n_namesz, align);
		if (desc > len || n.n_descsz > len - desc)
			return;
		elf_take_note(e, &n, (const char *)buf + name, buf + desc);
		at = align_up(desc + n.n_descsz, align);
		if (at > len)
			return;
	}
}

static int elf_read_notes(struct elf_image *e, int fd, const Elf64_Phdr *p, uint64_t bytes,
			  const char **why)
{
	uint8_t buf[ELF_NOTES_BYTES];
	uint64_t end;
	size_t len = (size_t)min_u64(p->p_filesz, sizeof(buf));
	if (!add_ok(p->p_offset, p->p_filesz, &end) || end > bytes)
		return boot_refuse(why, -ENODATA, "the file ends before its notes do");
	int err = boot_pread(fd, buf, len, p->p_offset);
	if (!err)
		elf_walk_notes(e, buf, len, p->p_align == 8 ? 8 : 4);
	return err;
}

static int elf_read_phdrs(struct elf_image *e, int fd, const Elf64_Ehdr *h, uint64_t bytes,
			  const char **why)
{
	Elf64_Phdr ph[ELF_MAX_PHDRS];
	uint64_t end, len = h->e_phnum * sizeof(ph[0]);
	if (!add_ok(h->e_phoff, len, &end) || end > bytes)
		return boot_refuse(why, -ENODATA, "the file ends before its program headers do");
	int err = boot_pread(fd, ph, len, h->e_phoff);
	for (unsigned i = 0; !err && i < h->e_phnum; i++) {
		if (ph[i].p_type == PT_LOAD)
			err = elf_add_segment(e, &ph[i], bytes, why);
		else if (ph[i].p_type == PT_NOTE)
			err = elf_read_notes(e, fd, &ph[i], bytes, why);
	}
	return err;
}

static int elf_read(struct elf_image *e, int fd, uint64_t bytes, const char **why)
{
	Elf64_Ehdr h;
	*e = (struct elf_image){ 0 };
	if (bytes < sizeof(h))
		return boot_refuse(why, -ENODATA, "the file ends within its ELF header");
	int err = boot_pread(fd, &h, sizeof(h), 0);
	if (!err)
		err = elf_check_header(&h, why);
	if (!err)
		err = elf_read_phdrs(e, fd, &h, bytes, why);
	if (!err && e->nr == 0)
		return boot_refuse(why, -ENOEXEC, "an ELF file with nothing to load");
	e->entry = h.e_entry;
	return err;
}

/* Is @addr an instruction of the file, not zeroed memory behind it? */
static bool elf_has_code(const struct elf_image *e, uint64_t addr)
{
	for (unsigned i = 0; i < e->nr; i++)
		if (addr >= e->seg[i].start && addr - e->seg[i].start < e->seg[i].file_bytes)
			return true;
	return false;
}

/*
 * Which way in. A file that bears notes of Linux has the boot protocol's 64-bit entry at e_entry,
 * which spares the guest a stage of 32-bit code; of any other file with a PVH note only that
 * entry's calling convention is known. Without either, e_entry is a 64-bit entry by convention.
 */
static int elf_choose_entry(struct kernel_info *out, const struct elf_image *e, const char **why)
{
	bool is_plain = elf_has_code(e, e->entry);
	if (e->has_pvh && !(e->is_linux && is_plain)) {
		if (!elf_has_code(e, e->pvh_entry))
			return boot_refuse(why, -ENOEXEC,
					   "its PVH entry lies outside its segments");
		out->is_pvh = true;
		out->entry = e->pvh_entry;
		return 0;
	}
	if (!is_plain)
		return boot_refuse(why, -ENOEXEC, "its entry point lies outside its segments");
	out->entry = e->entry;
	return 0;
}

int elf_probe(struct kernel_info *out, int fd, uint64_t bytes, const char **why)
{
	struct elf_image e;
	struct kernel_info k = {
		.format = KERNEL_ELF,
		.load_start = UINT64_MAX,
		.initrd_max = UINT32_MAX,
		.cmdline_max = ELF_CMDLINE_MAX,
	};
	int err = elf_read(&e, fd, bytes, why);
	if (!err)
		err = elf_choose_entry(&k, &e, why);
	if (err)
		return err;
	for (unsigned i = 0; i < e.nr; i++) {
		k.load_start = min_u64(k.load_start, e.seg[i].start);
		k.load_end = max_u64(k.load_end, e.seg[i].end);
	}
	*out = k;
	return 0;
}

int elf_load(struct gmem *m, int fd, const char **why)
{
	struct elf_image e;
	uint64_t bytes;
	int err = boot_file_bytes(&bytes, fd, why);
	if (!err)
		err = elf_read(&e, fd, bytes, why);
	for (unsigned i = 0; !err && i < e.nr; i++)
		err = gmem_load(m, gpa(e.seg[i].start), fd, e.seg[i].off, e.seg[i].file_bytes);
	return err;
}
