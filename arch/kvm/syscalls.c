/* syscalls.c - see arch/syscalls.h. */
#include "arch/syscalls.h"
#include <linux/kvm.h>

static const struct syscall_rule vcpu_rules[] = {
	SYSCALL_IF(ioctl, 1, KVM_RUN),
	SYSCALL_IF(ioctl, 1, KVM_KVMCLOCK_CTRL),
	/* where it was, for the message about a crash */
	SYSCALL_IF(ioctl, 1, KVM_GET_REGS),
	SYSCALL_IF(ioctl, 1, KVM_GET_SREGS),
	SYSCALL_IF(ioctl, 1, KVM_TRANSLATE),
};
const struct syscall_list hv_vcpu_syscalls = SYSCALL_LIST(vcpu_rules);

static const struct syscall_rule irq_rules[] = {
	SYSCALL_IF(ioctl, 1, KVM_IRQ_LINE),   SYSCALL_IF(ioctl, 1, KVM_IRQFD),
	SYSCALL_IF(ioctl, 1, KVM_IOEVENTFD),  SYSCALL_IF(ioctl, 1, KVM_SET_GSI_ROUTING),
	SYSCALL_IF(ioctl, 1, KVM_SIGNAL_MSI),
};
const struct syscall_list hv_irq_syscalls = SYSCALL_LIST(irq_rules);
