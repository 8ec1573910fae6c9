/*
 * hv.h - the hypervisor: a VM with its memory slots, interrupt chip and doorbells.
 *
 * Layer:   arch
 * Threads: create, memory, destroy on the control thread; the chips' ops as bus/irq.h and
 *          bus/doorbell.h say.
 * Errors:  negative errno. -ENOENT, -EACCES: no hypervisor device, or no right to it. -ENOTTY: it
 *          is none. -EPROTO: it lacks something we need (hv_missing() names it).
 * Spec:    Linux Documentation/virt/kvm/api.rst.
 */
#ifndef ARCH_HV_H
#define ARCH_HV_H
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "bus/bus.h"
#include "bus/doorbell.h"
#include "bus/irq.h"
#include "mem/gmem.h"

struct hv;   /* from hv_create() to hv_destroy() */
struct vcpu; /* from vcpu_create() to vcpu_destroy() */

/* What this host's hypervisor is and can. */
enum hv_kind { HV_HARDWARE, HV_SOFTWARE };
struct hv_info {
	enum hv_kind kind; /* software: stock kernels do not boot, see docs/hosts.md */
	int api_version;
	unsigned max_vcpus, max_vcpu_id; /* the latter: IDs are smaller */
	unsigned phys_bits;              /* guest-physical address width */
	bool has_irqfd, has_ioeventfd_any_length, has_immediate_exit, has_tsc_deadline, has_x2apic;
	bool has_readonly_mem, has_dirty_ring;
	char cpu_vendor[13];
};

/* Open @device, look, close. */
MUST_CHECK int hv_probe(struct hv_info *out, const char *device);

/* A VM without memory; hv_map_memory() completes it. */
MUST_CHECK int hv_create(struct hv **out, const char *device);
/* Its vCPUs have been destroyed. What was registered with the chips ends with it. */
void hv_destroy(struct hv *h);
const struct hv_info *hv_info_of(const struct hv *h);
/* After -EPROTO from hv_create() or hv_probe(): the capability that is missing. */
const char *hv_missing(void);

/*
 * Let the guest see all of @m, and make the interrupt chips: once, before vCPUs, ROM and use of the
 * chips. (Slots come first since chips make each later slot cost a grace period of several ms.)
 * @m outlives the VM.
 */
MUST_CHECK int hv_map_memory(struct hv *h, struct gmem *m);
/*
 * A read-only run of host memory at @start (firmware); all three multiples of the page size, @host
 * outlives the VM. -ENOTSUP: this hypervisor knows no such memory. -EEXIST: it meets other memory.
 */
MUST_CHECK int hv_map_rom(struct hv *h, uint64_t start, const void *host, uint64_t len);

const struct irq_chip *hv_irq_chip(struct hv *h);
const struct doorbell_chip *hv_doorbell_chip(struct hv *h);

/* --- virtual CPUs --- */

/* Why vcpu_run() came back. */
enum vcpu_exit {
	VCPU_STOPPED,  /* vcpu_request_stop() */
	VCPU_SHUTDOWN, /* triple fault */
	VCPU_RESET,    /* the guest asked the hypervisor for a reset */
	VCPU_POWEROFF, /* ... or to be switched off (PSCI) */
	VCPU_CRASH,    /* internal error, failed entry: vcpu_reason() says which */
};

/*
 * @index: its ID (machine_cpu_id()), below hv_info.max_vcpu_id (else -EINVAL), each once in a VM's
 * life (else -EEXIST). 0 is the one that boots.
 * Control thread.
 */
MUST_CHECK int vcpu_create(struct vcpu **out, struct hv *h, unsigned index);
void vcpu_destroy(struct vcpu *c);

/* Run the guest on this thread, dispatching its accesses to @pio and @mmio, until a reason above.
 */
enum vcpu_exit vcpu_run(struct vcpu *c, struct bus *pio, struct bus *mmio);

/*
 * It stood still for a while, by nobody's fault in the guest: its watchdogs are to know. Before the
 * next vcpu_run().
 */
void vcpu_resumed(struct vcpu *c);

/* Make vcpu_run() return. Any thread; follow with thread_signal() to the vCPU's thread. */
void vcpu_request_stop(struct vcpu *c);

/* One line about the last VCPU_CRASH or VCPU_SHUTDOWN: exit reason, address of the instruction. */
const char *vcpu_reason(struct vcpu *c);

/* Exits that reached user space, by kind; written by the vCPU's thread only. */
struct vcpu_stats {
	uint64_t pio, mmio, other, signals;
};
const struct vcpu_stats *vcpu_stats_of(const struct vcpu *c);

#endif
