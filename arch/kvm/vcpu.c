/*
 * vcpu.c - see arch/hv.h: virtual CPUs and their run loop.
 *
 * Stopping loses no request. The flag says that vcpu_run() shall return; immediate_exit makes KVM
 * come back at once even if the signal arrived before KVM_RUN was entered. The one who asks sets
 * first the flag, then immediate_exit; the vCPU's thread clears first immediate_exit, then takes
 * the flag. So whenever the flag is left standing, immediate_exit is too.
 *
 * KVM finishes an access it handed to us at the next KVM_RUN, before it looks at immediate_exit: a
 * vCPU that stops by the flag has no half-done instruction.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "arch/kvm/kvm_priv.h"
#include "base/err.h"
#include "base/num.h"

static int vcpu_init(struct vcpu *c, struct hv *h)
{
	c->fd = kvm_ioctl_num(h->vm_fd, KVM_CREATE_VCPU, c->index);
	if (c->fd < 0)
		return c->fd;
	void *p = mmap(NULL, h->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	c->run = p;
	return 0;
}

int vcpu_create(struct vcpu **out, struct hv *h, unsigned index)
{
	if (index >= h->info.max_vcpu_id)
		return -EINVAL;
	struct vcpu *c = aligned_alloc(CACHE_ALIGN, sizeof(*c));
	if (!c)
		return -ENOMEM;
	memset(c, 0, sizeof(*c));
	c->hv = h;
	c->fd = -1;
	c->index = index;
	h->nr_vcpus++; /* from here on vcpu_destroy() is safe */
	int err = vcpu_init(c, h);
	if (err) {
		vcpu_destroy(c);
		return err;
	}
	*out = c;
	return 0;
}

void vcpu_destroy(struct vcpu *c)
{
	if (!c)
		return;
	if (c->run)
		(void)munmap(c->run, c->hv->run_bytes); /* a mapping of ours: cannot fail */
	fd_close(c->fd);
	c->hv->nr_vcpus--;
	free(c);
}

void vcpu_request_stop(struct vcpu *c)
{
	/* seq_cst, both: pairs with vcpu_take_stop() */
	atomic_store(&c->is_stop_wanted, true);
	__atomic_store_n(&c->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
}

void vcpu_resumed(struct vcpu *c)
{
	/* refused where the guest has no kvmclock, and then there is nothing to tell */
	(void)ioctl(c->fd, KVM_KVMCLOCK_CTRL, 0);
}

/* Was a stop asked for? Takes the request. */
static bool vcpu_take_stop(struct vcpu *c)
{
	/* seq_cst, both: pairs with vcpu_request_stop() */
	__atomic_store_n(&c->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	return atomic_exchange(&c->is_stop_wanted, false);
}

/* One more in a counter that others may read: this thread is the only one that writes it. */
static void vcpu_count(uint64_t *counter)
{
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

PRINTF(3, 4)
static enum vcpu_exit vcpu_ended(struct vcpu *c, enum vcpu_exit why, const char *fmt, ...)
{
	char what[96], where[80];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap); /* cut short if need be */
	va_end(ap);
	kvm_board_where(c, where, sizeof(where));
	(void)snprintf(c->reason, sizeof(c->reason), "%s, %s", what, where);
	return why;
}

const char *vcpu_reason(struct vcpu *c)
{
	return c->reason;
}

const struct vcpu_stats *vcpu_stats_of(const struct vcpu *c)
{
	return &c->stats;
}

/* @count accesses to one port: more than one for INS and OUTS. */
static void vcpu_do_pio(const struct vcpu *c, struct bus *pio)
{
	const struct kvm_run *run = c->run;
	uint8_t *data = (uint8_t *)c->run + run->io.data_offset;
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_OUT)
			(void)bus_write(pio, run->io.port, data, run->io.size); /* or dropped */
		else
			(void)bus_read(pio, run->io.port, data, run->io.size); /* or all ones */
	}
}

/* Handlers see 1, 2, 4 or 8 bytes; an access that straddles a page can come in odd pieces. */
static void vcpu_do_mmio(const struct vcpu *c, struct bus *mmio)
{
	struct kvm_run *run = c->run;
	uint64_t addr = run->mmio.phys_addr;
	uint8_t *data = run->mmio.data;
	unsigned left = min_u32(run->mmio.len, sizeof(run->mmio.data));
	while (left) {
		unsigned n = 1u << (31 - __builtin_clz(left));
		if (run->mmio.is_write)
			(void)bus_write(mmio, addr, data, n); /* or dropped */
		else
			(void)bus_read(mmio, addr, data, n); /* or all ones */
		addr += n;
		data += n;
		left -= n;
	}
}

static enum vcpu_exit vcpu_system_event(struct vcpu *c)
{
	vcpu_count(&c->stats.other);
	switch (c->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		return VCPU_POWEROFF;
	case KVM_SYSTEM_EVENT_RESET:
		return VCPU_RESET;
	default:
		return vcpu_ended(c, VCPU_CRASH, "system event %u", c->run->system_event.type);
	}
}

static enum vcpu_exit vcpu_internal_error(struct vcpu *c)
{
	const struct kvm_run *run = c->run;
	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
		return vcpu_ended(c, VCPU_CRASH, "KVM cannot emulate an instruction");
	return vcpu_ended(c, VCPU_CRASH, "KVM internal error %u (%u words, first 0x%llx)",
			  run->internal.suberror, run->internal.ndata,
			  run->internal.ndata ? run->internal.data[0] : 0);
}

/* An exit that ends the run: all but accesses. */
static enum vcpu_exit vcpu_last_exit(struct vcpu *c)
{
	const struct kvm_run *run = c->run;
	switch (run->exit_reason) {
	case KVM_EXIT_SYSTEM_EVENT:
		return vcpu_system_event(c);
	case KVM_EXIT_SHUTDOWN:
		return vcpu_ended(c, VCPU_SHUTDOWN, "triple fault");
	case KVM_EXIT_INTERNAL_ERROR:
		return vcpu_internal_error(c);
	case KVM_EXIT_FAIL_ENTRY:
		return vcpu_ended(c, VCPU_CRASH, "the processor refused entry, reason 0x%llx",
				  run->fail_entry.hardware_entry_failure_reason);
	case KVM_EXIT_UNKNOWN:
		return vcpu_ended(c, VCPU_CRASH, "unknown hardware exit 0x%llx",
				  run->hw.hardware_exit_reason);
	default:
		return vcpu_ended(c, VCPU_CRASH, "unexpected exit %u", run->exit_reason);
	}
}

enum vcpu_exit vcpu_run(struct vcpu *c, struct bus *pio, struct bus *mmio)
{
	for (;;) {
		if (unlikely(ioctl(c->fd, KVM_RUN, 0) < 0)) {
			int err = errno;
			if (err == EINTR) {
				vcpu_count(&c->stats.signals);
				if (vcpu_take_stop(c))
					return VCPU_STOPPED;
			} else if (err != EAGAIN) { /* woken from waiting for SIPI: again */
				return vcpu_ended(c, VCPU_CRASH, "KVM_RUN: %s",
						  strerrordesc_np(err));
			}
		} else if (likely(c->run->exit_reason == KVM_EXIT_IO)) {
			vcpu_count(&c->stats.pio);
			vcpu_do_pio(c, pio);
		} else if (likely(c->run->exit_reason == KVM_EXIT_MMIO)) {
			vcpu_count(&c->stats.mmio);
			vcpu_do_mmio(c, mmio);
		} else if (c->run->exit_reason == KVM_EXIT_INTR) {
			vcpu_count(&c->stats.other);
		} else {
			return vcpu_last_exit(c);
		}
	}
}
