/* host.c - see arch/kvm/kvm_priv.h: what this x86 host is, and the board's chips in KVM. */
#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "arch/kvm/kvm_priv.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/x86_priv.h"
#include "base/err.h"
#include "base/num.h"

const struct kvm_need kvm_board_needs[] = {
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
	{ KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR" },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR" },
	{ KVM_CAP_PIT2, "KVM_CAP_PIT2" },
};
const unsigned kvm_board_nr_needs = ARRAY_SIZE(kvm_board_needs);
const uint32_t kvm_board_first_msi = LAYOUT_IOAPIC_PINS;

/* APIC IDs up to 254 can be named in an 8-bit destination; 255 is everybody. */
#define HOST_MAX_IDS 255u
/* Where a processor begins after a reset. */
#define HOST_RESET_VECTOR 0xfffffff0ull
/* AMD64 gives that many where leaf 0x80000008 is absent. */
#define HOST_MIN_PHYS_BITS 36u

/*
 * KVM in software (PVM) runs where the processor offers no virtualization to us, or, with its
 * module loaded, in place of the hardware's.
 */
static enum hv_kind host_kind(void)
{
	unsigned a, b, c, d;
	bool has_vmx = __get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 5));
	bool has_svm = __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & (1u << 2));
	bool has_pvm = access("/sys/module/kvm_pvm", F_OK) == 0;
	return (has_vmx || has_svm) && !has_pvm ? HV_HARDWARE : HV_SOFTWARE;
}

static void host_describe(struct hv_info *info, struct x86_cpuid *cpuid)
{
	const struct kvm_cpuid_entry2 *e = x86_cpuid_find(cpuid, 0, 0);
	if (e) {
		memcpy(info->cpu_vendor, &e->ebx, 4);
		memcpy(info->cpu_vendor + 4, &e->edx, 4);
		memcpy(info->cpu_vendor + 8, &e->ecx, 4);
	}
	e = x86_cpuid_find(cpuid, 0x80000008, 0);
	info->phys_bits = e && (e->eax & 0xff) ? e->eax & 0xff : HOST_MIN_PHYS_BITS;
	e = x86_cpuid_find(cpuid, 1, 0);
	info->has_x2apic = e && (e->ecx & (1u << 21));
}

int kvm_board_create(struct hv_board **out, int kvm_fd, struct hv_info *info)
{
	CLEANUP(free_cleanup) struct hv_board *b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	int err = x86_cpuid_supported(&b->supported, kvm_fd);
	if (err)
		return err;
	host_describe(info, &b->supported);
	info->kind = host_kind();
	info->max_vcpus = min_u32(info->max_vcpus, HOST_MAX_IDS);
	info->max_vcpu_id = min_u32(info->max_vcpu_id, HOST_MAX_IDS);
	int deadline = kvm_ioctl_num(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER);
	info->has_tsc_deadline = deadline > 0;
	*out = take(b);
	return 0;
}

void kvm_board_destroy(struct hv_board *b)
{
	free(b);
}

int kvm_board_reserve(int vm_fd)
{
	uint64_t identity = LAYOUT_KVM_IDENTITY;
	int err = kvm_ioctl(vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	return err ? err : kvm_ioctl_num(vm_fd, KVM_SET_TSS_ADDR, LAYOUT_KVM_TSS);
}

int kvm_board_create_chips(int vm_fd)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	int err = kvm_ioctl_num(vm_fd, KVM_CREATE_IRQCHIP, 0);
	return err ? err : kvm_ioctl(vm_fd, KVM_CREATE_PIT2, &pit);
}

static struct kvm_irq_routing_entry host_route(uint32_t gsi, uint32_t chip, uint32_t pin)
{
	return (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

/* As wired on every PC: 16 inputs of the PICs; IOAPIC pin = GSI, but ISA 0 comes on pin 2. */
uint32_t kvm_board_routes(struct kvm_irq_routing_entry *out)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < 16; i++)
		out[n++] = host_route(i, i < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
				      i % 8);
	for (uint32_t i = 0; i < LAYOUT_IOAPIC_PINS; i++) {
		if (i != LAYOUT_GSI_PIT)
			out[n++] = host_route(i, KVM_IRQCHIP_IOAPIC, i == 0 ? LAYOUT_GSI_PIT : i);
	}
	static_assert(16 + LAYOUT_IOAPIC_PINS <= KVM_BOARD_ROUTES, "room for the fixed routes");
	return n;
}

/* Up to @len bytes of code at linear address @addr; returns how many could be read. */
static size_t host_code(const struct vcpu *c, uint64_t addr, uint8_t *out, size_t len)
{
	size_t n = 0;
	for (; n < len; n++) {
		struct kvm_translation t = { .linear_address = addr + n };
		if (kvm_ioctl(c->fd, KVM_TRANSLATE, &t) || !t.valid || !c->hv->mem ||
		    gmem_read(c->hv->mem, gpa(t.physical_address), out + n, 1))
			break;
	}
	return n;
}

/*
 * On AMD the processor leaves nothing of its state after a triple fault, so KVM resets the vCPU
 * before it tells of it: the reset vector is then not where it happened.
 */
static bool host_is_reset(const struct vcpu *c, uint64_t addr)
{
	return c->run->exit_reason == KVM_EXIT_SHUTDOWN && addr == HOST_RESET_VECTOR;
}

void kvm_board_where(const struct vcpu *c, char *out, size_t len)
{
	struct kvm_regs r;
	struct kvm_sregs s;
	if (kvm_ioctl(c->fd, KVM_GET_REGS, &r) || kvm_ioctl(c->fd, KVM_GET_SREGS, &s)) {
		(void)snprintf(out, len, "rip unknown");
		return;
	}
	if (host_is_reset(c, s.cs.base + r.rip)) {
		(void)snprintf(out, len, "rip unknown: KVM has reset the vCPU");
		return;
	}
	uint8_t code[8];
	size_t n = host_code(c, s.cs.base + r.rip, code, sizeof(code));
	size_t at = (size_t)snprintf(out, len, "rip 0x%llx%s", r.rip, n ? ", bytes" : "");
	for (size_t i = 0; i < n && at < len; i++)
		at += (size_t)snprintf(out + at, len - at, " %02x", code[i]);
}
