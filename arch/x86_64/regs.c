/*
 * regs.c - see machine_setup_vcpu() in arch/machine.h.
 *
 * With firmware every vCPU keeps the state KVM made it with: vCPU 0 at the reset vector. Without,
 * vCPU 0 gets what the boot protocol of the kernel asks for. The others wait for INIT and SIPI.
 */
#include <errno.h>
#include <string.h>
#include "arch/x86_64/layout.h"
#include "arch/x86_64/x86_priv.h"
#include "base/le.h"
#include "base/num.h"

#define CR0_PE           (1ull << 0)
#define CR0_MP           (1ull << 1)
#define CR0_ET           (1ull << 4)
#define CR0_NE           (1ull << 5)
#define CR0_WP           (1ull << 16)
#define CR0_AM           (1ull << 18)
#define CR0_PG           (1ull << 31)
#define CR4_PAE          (1ull << 5)
#define EFER_LME         (1ull << 8)
#define EFER_LMA         (1ull << 10)
#define PTE_PRESENT      (1ull << 0)
#define PTE_WRITABLE     (1ull << 1)
#define PTE_LARGE        (1ull << 7)
#define RFLAGS_FIXED     2ull
#define FCW_RESET        0x37f
#define MXCSR_RESET      0x1f80
#define APIC_LVT0        0x350
#define APIC_LVT1        0x360
#define APIC_MODE_NMI    (4u << 8)
#define APIC_MODE_EXTINT (7u << 8)

#define PAGE_BYTES     4096ull
#define PAGE_ENTRIES   512u
#define NR_DIRECTORIES 4u /* of 1 GiB each */

/* --- tables in guest memory --- */

static int regs_write_table(struct gmem *m, uint64_t at, uint64_t first, uint64_t step, unsigned n)
{
	le64_t e[PAGE_ENTRIES] = { 0 };
	for (unsigned i = 0; i < n; i++)
		e[i] = le64_of(first + i * step);
	return gmem_write(m, gpa(at), e, sizeof(e));
}

/* Linear = physical for the first 4 GiB, in pages of 2 MiB. */
static int regs_write_page_tables(struct gmem *m)
{
	const uint64_t flags = PTE_PRESENT | PTE_WRITABLE;
	const uint64_t pdpt = LAYOUT_PAGE_TABLES + PAGE_BYTES, pd = pdpt + PAGE_BYTES;
	int err = regs_write_table(m, LAYOUT_PAGE_TABLES, pdpt | flags, 0, 1);
	if (!err)
		err = regs_write_table(m, pdpt, pd | flags, PAGE_BYTES, NR_DIRECTORIES);
	for (unsigned i = 0; i < NR_DIRECTORIES && !err; i++)
		err = regs_write_table(m, pd + i * PAGE_BYTES, i * GIB | flags | PTE_LARGE, 2 * MIB,
				       PAGE_ENTRIES);
	return err;
}

static int regs_write_gdt(struct gmem *m, uint64_t code)
{
	const le64_t gdt[LAYOUT_GDT_ENTRIES] = {
		[LAYOUT_SEL_CODE / 8] = le64_of(code),
		[LAYOUT_SEL_DATA / 8] = le64_of(LAYOUT_GDT_DATA),
		[LAYOUT_SEL_TSS / 8] = le64_of(LAYOUT_GDT_TSS),
	};
	return gmem_write(m, gpa(LAYOUT_GDT), gdt, sizeof(gdt));
}

/* --- registers --- */

/* The register that loading @selector, described by @desc, would give. Base 0, all of them. */
static struct kvm_segment regs_segment(uint16_t selector, uint64_t desc)
{
	uint32_t limit = (uint32_t)((desc & 0xffff) | (desc >> 32 & 0xf0000));
	bool is_pages = desc >> 55 & 1;
	return (struct kvm_segment){
		.selector = selector,
		.limit = is_pages ? limit << 12 | 0xfff : limit,
		.type = desc >> 40 & 0xf,
		.s = desc >> 44 & 1,
		.dpl = desc >> 45 & 3,
		.present = desc >> 47 & 1,
		.avl = desc >> 52 & 1,
		.l = desc >> 53 & 1,
		.db = desc >> 54 & 1,
		.g = is_pages,
	};
}

static void regs_set_segments(struct kvm_sregs *s, uint64_t code)
{
	s->cs = regs_segment(LAYOUT_SEL_CODE, code);
	s->ds = s->es = s->fs = s->gs = s->ss = regs_segment(LAYOUT_SEL_DATA, LAYOUT_GDT_DATA);
	s->tr = regs_segment(LAYOUT_SEL_TSS, LAYOUT_GDT_TSS);
	s->gdt.base = LAYOUT_GDT;
	s->gdt.limit = LAYOUT_GDT_ENTRIES * 8 - 1;
	s->idt.base = 0;
	s->idt.limit = 0; /* no interrupt can be taken yet */
}

/* Linux x86 boot protocol, "64-bit boot protocol": long mode, identity-mapped, RSI = boot_params.
 */
static int regs_set_64(struct gmem *m, struct kvm_sregs *s, struct kvm_regs *r)
{
	regs_set_segments(s, LAYOUT_GDT_CODE64);
	s->cr0 = CR0_PG | CR0_AM | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE;
	s->cr3 = LAYOUT_PAGE_TABLES;
	s->cr4 = CR4_PAE;
	s->efer = EFER_LME | EFER_LMA;
	r->rsi = LAYOUT_ZERO_PAGE;
	int err = regs_write_gdt(m, LAYOUT_GDT_CODE64);
	return err ? err : regs_write_page_tables(m);
}

/* PVH: protected mode of 32 bits without paging, EBX = start_info. */
static int regs_set_pvh(struct gmem *m, struct kvm_sregs *s, struct kvm_regs *r)
{
	regs_set_segments(s, LAYOUT_GDT_CODE32);
	s->cr0 = CR0_ET | CR0_PE;
	s->cr3 = 0;
	s->cr4 = 0;
	s->efer = 0;
	r->rbx = LAYOUT_PVH_INFO;
	return regs_write_gdt(m, LAYOUT_GDT_CODE32);
}

static int regs_set_fpu(struct vcpu *c)
{
	struct kvm_fpu f = { .fcw = FCW_RESET, .mxcsr = MXCSR_RESET };
	return kvm_ioctl(c->fd, KVM_SET_FPU, &f);
}

/* Virtual wire: the PIC's interrupts come in by LINT0, NMI by LINT1. MP 1.4 §3.6.2.2. */
static int regs_set_lapic(struct vcpu *c)
{
	struct kvm_lapic_state l;
	int err = kvm_ioctl(c->fd, KVM_GET_LAPIC, &l);
	if (err)
		return err;
	le_store(l.regs + APIC_LVT0, APIC_MODE_EXTINT, 4);
	le_store(l.regs + APIC_LVT1, APIC_MODE_NMI, 4);
	return kvm_ioctl(c->fd, KVM_SET_LAPIC, &l);
}

int x86_boot_regs(struct vcpu *c, const struct machine_boot *b)
{
	struct kvm_regs r = {
		.rip = b->kernel->entry,
		.rsp = LAYOUT_STACK_TOP,
		.rflags = RFLAGS_FIXED,
	};
	struct kvm_sregs s;
	int err = kvm_ioctl(c->fd, KVM_GET_SREGS, &s);
	if (!err)
		err = b->kernel->is_pvh ? regs_set_pvh(c->hv->mem, &s, &r)
					: regs_set_64(c->hv->mem, &s, &r);
	if (!err)
		err = kvm_ioctl(c->fd, KVM_SET_SREGS, &s);
	if (!err)
		err = kvm_ioctl(c->fd, KVM_SET_REGS, &r);
	if (!err)
		err = regs_set_fpu(c);
	return err ? err : regs_set_lapic(c);
}

int machine_setup_vcpu(const struct machine_boot *b, struct hv *h, struct vcpu *c, unsigned index)
{
	struct x86_cpu cpu = {
		.index = index,
		.nr_cpus = b->nr_cpus,
		.topology = b->topology,
		.host = h->info.kind,
		/* no timer of its kind on software: machine_base_cmdline() */
		.has_tsc_deadline = h->info.has_tsc_deadline && h->info.kind == HV_HARDWARE,
	};
	struct x86_cpuid cpuid;
	BUG_ON(index >= b->nr_cpus);
	BUG_ON(c->index != machine_cpu_id(&b->topology, b->nr_cpus, index));
	int err = x86_cpuid_build(&cpuid, &h->board->supported, &cpu);
	if (!err)
		err = kvm_ioctl(c->fd, KVM_SET_CPUID2, &cpuid);
	if (err || !b->kernel)
		return err; /* firmware does the rest */
	err = x86_boot_msrs(c, h->info.phys_bits);
	return err || index ? err : x86_boot_regs(c, b);
}
