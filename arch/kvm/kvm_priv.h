/*
 * kvm_priv.h - what the files of arch share of a VM: descriptors, and the hooks of the board.
 *
 * Layer:   arch
 * Threads: control thread unless a group of fields says otherwise.
 * Errors:  negative errno.
 * Spec:    Linux Documentation/virt/kvm/api.rst.
 */
#ifndef KVM_KVM_PRIV_H
#define KVM_KVM_PRIV_H
#include <linux/kvm.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "arch/hv.h"
#include "sync/mutex.h"

#define KVM_REASON_BYTES 192

/* The interrupt controllers in the kernel, and the table of their inputs. */
struct irqchip {
	struct irq_chip irq;       /* immutable after create */
	struct doorbell_chip bell; /* immutable after create */
	struct mutex lock;
	/* under lock */
	struct kvm_irq_routing *table; /* what KVM has: fixed routes, then messages */
	uint32_t table_room;           /* entries that fit */
	uint32_t nr_fixed;             /* entries that never change */
	struct irqchip_msi *msis;      /* by GSI - first_msi */
	uint32_t nr_msis;
	uint32_t max_msis;
	/* immutable after create */
	uint32_t first_msi; /* lowest GSI of a message */
	bool has_doorbells;
};

struct hv_board; /* the board's own state of a VM */

struct hv {
	/* immutable after create */
	int kvm_fd, vm_fd;
	size_t run_bytes; /* of a vCPU's mapping */
	struct hv_info info;
	struct hv_board *board;
	/* control thread */
	struct gmem *mem; /* NULL before hv_map_memory() */
	uint32_t next_slot;
	unsigned nr_vcpus; /* alive */
	/* as its own comments say */
	struct irqchip chip;
};

struct vcpu {
	/* immutable after create */
	struct hv *hv;
	int fd;
	unsigned index;
	struct kvm_run *run; /* the fields of one exit belong to the vCPU's thread */
	/* vCPU thread */
	struct vcpu_stats stats;
	char reason[KVM_REASON_BYTES];
	/* any thread */
	_Atomic bool is_stop_wanted CACHE_ALIGNED;
};

/* ioctl() that is repeated when a signal came between: the result, or -errno. */
MUST_CHECK int kvm_ioctl(int fd, unsigned long request, void *arg);
/* The same for requests whose argument is a number. */
MUST_CHECK int kvm_ioctl_num(int fd, unsigned long request, unsigned long arg);

/* irqchip.c: after the board made the controllers. */
MUST_CHECK int irqchip_init(struct irqchip *c, struct hv *h);
void irqchip_fini(struct irqchip *c);

/* --- the board: arch/<processor>/host.c --- */

/* A capability that must be there, and its name. */
struct kvm_need {
	int cap;
	const char *name;
};
extern const struct kvm_need kvm_board_needs[];
extern const unsigned kvm_board_nr_needs;

/*
 * Look at the processor: fill kind, phys_bits, cpu_vendor, limit the rest of @info, and keep what
 * was seen for this VM's vCPUs.
 */
MUST_CHECK int kvm_board_create(struct hv_board **out, int kvm_fd, struct hv_info *info);
void kvm_board_destroy(struct hv_board *b); /* NULL is fine */
/* What must precede slots, and the interrupt controllers. */
MUST_CHECK int kvm_board_reserve(int vm_fd);
MUST_CHECK int kvm_board_create_chips(int vm_fd);
/* Write the fixed routes to @out, at most KVM_BOARD_ROUTES; returns how many. */
#define KVM_BOARD_ROUTES 64
uint32_t kvm_board_routes(struct kvm_irq_routing_entry *out);
/* The first GSI that is no pin of a controller. */
extern const uint32_t kvm_board_first_msi;
/* Where @c stands, for people: "rip 0x1000, bytes 0f 0b". Its thread, or when it has ended. */
void kvm_board_where(const struct vcpu *c, char *out, size_t len);

#endif
