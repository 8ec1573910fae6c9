/*
 * kvm_hold.c - keep one idle VM open for as long as the emulated host runs.
 *
 * KVM patches its own code when the first VM starts and when the last one stops; under emulation
 * that is slow and, with more than one CPU, fragile. An idle VM with one vCPU keeps the count from
 * reaching zero.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);

	if (vm < 0 || ioctl(vm, KVM_CREATE_IRQCHIP, 0) < 0 || ioctl(vm, KVM_CREATE_VCPU, 0) < 0)
		return 1;
	for (;;)
		pause();
}
