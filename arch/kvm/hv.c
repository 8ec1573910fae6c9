/* hv.c - see arch/hv.h: the device, the VM, its memory slots. */
#include "arch/hv.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include "arch/kvm/kvm_priv.h"
#include "base/err.h"
#include "base/num.h"

/* Without these no VM of ours works, on any processor. */
static const struct kvm_need hv_needs[] = {
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
	{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
	{ KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING" },
	{ KVM_CAP_IRQFD, "KVM_CAP_IRQFD" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
};

static _Thread_local const char *hv_missing_name = "nothing";

const char *hv_missing(void)
{
	return hv_missing_name;
}

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	int r;
	do
		r = ioctl(fd, request, arg);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

int kvm_ioctl_num(int fd, unsigned long request, unsigned long arg)
{
	int r;
	do
		r = ioctl(fd, request, arg);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

/* How much of capability @cap there is, 0: none. */
static unsigned hv_cap(int kvm_fd, int cap)
{
	int n = kvm_ioctl_num(kvm_fd, KVM_CHECK_EXTENSION, (unsigned long)cap);
	return n > 0 ? (unsigned)n : 0;
}

static int hv_check_needs(int kvm_fd, const struct kvm_need *needs, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		if (hv_cap(kvm_fd, needs[i].cap) == 0) {
			hv_missing_name = needs[i].name;
			return -EPROTO;
		}
	}
	return 0;
}

/* What the device says of itself; a board that the caller destroys. */
static int hv_look(int kvm_fd, struct hv_info *out, struct hv_board **board)
{
	struct hv_info i = { .api_version = kvm_ioctl_num(kvm_fd, KVM_GET_API_VERSION, 0) };
	if (i.api_version < 0)
		return i.api_version; /* -ENOTTY: a device of another kind */
	if (i.api_version != KVM_API_VERSION) {
		hv_missing_name = "version 12 of the KVM interface";
		return -EPROTO;
	}
	int err = hv_check_needs(kvm_fd, hv_needs, ARRAY_SIZE(hv_needs));
	if (!err)
		err = hv_check_needs(kvm_fd, kvm_board_needs, kvm_board_nr_needs);
	if (err)
		return err;
	i.max_vcpus = hv_cap(kvm_fd, KVM_CAP_MAX_VCPUS);
	if (i.max_vcpus == 0)
		i.max_vcpus = 4; /* api.rst: what kernels before the capability had */
	i.max_vcpu_id = hv_cap(kvm_fd, KVM_CAP_MAX_VCPU_ID);
	if (i.max_vcpu_id == 0)
		i.max_vcpu_id = i.max_vcpus;
	i.has_irqfd = hv_cap(kvm_fd, KVM_CAP_IRQFD) > 0;
	i.has_ioeventfd_any_length = hv_cap(kvm_fd, KVM_CAP_IOEVENTFD_ANY_LENGTH) > 0;
	i.has_immediate_exit = hv_cap(kvm_fd, KVM_CAP_IMMEDIATE_EXIT) > 0;
	i.has_readonly_mem = hv_cap(kvm_fd, KVM_CAP_READONLY_MEM) > 0;
	i.has_dirty_ring = hv_cap(kvm_fd, KVM_CAP_DIRTY_LOG_RING) > 0;
	err = kvm_board_create(board, kvm_fd, &i);
	if (!err)
		*out = i;
	return err;
}

int hv_probe(struct hv_info *out, const char *device)
{
	CLEANUP(fd_cleanup) int fd = open(device, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	struct hv_board *board;
	int err = hv_look(fd, out, &board);
	if (!err)
		kvm_board_destroy(board);
	return err;
}

static int hv_init(struct hv *h, const char *device)
{
	h->kvm_fd = open(device, O_RDWR | O_CLOEXEC);
	if (h->kvm_fd < 0)
		return -errno;
	int n = hv_look(h->kvm_fd, &h->info, &h->board);
	if (n < 0)
		return n;
	n = kvm_ioctl_num(h->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (n < 0)
		return n;
	h->run_bytes = (size_t)n;
	h->vm_fd = kvm_ioctl_num(h->kvm_fd, KVM_CREATE_VM, 0);
	if (h->vm_fd < 0)
		return h->vm_fd;
	return kvm_board_reserve(h->vm_fd);
}

int hv_create(struct hv **out, const char *device)
{
	struct hv *h = aligned_alloc(CACHE_ALIGN, sizeof(*h));
	if (!h)
		return -ENOMEM;
	memset(h, 0, sizeof(*h));
	h->kvm_fd = h->vm_fd = -1;
	mutex_init(&h->chip.lock); /* from here on hv_destroy() is safe */
	int err = hv_init(h, device);
	if (err) {
		hv_destroy(h);
		return err;
	}
	*out = h;
	return 0;
}

/* With its last descriptor a VM loses its slots, irqfds and ioeventfds; vCPUs would keep it. */
void hv_destroy(struct hv *h)
{
	if (!h)
		return;
	BUG_ON(h->nr_vcpus != 0);
	fd_close(h->vm_fd);
	fd_close(h->kvm_fd);
	irqchip_fini(&h->chip);
	kvm_board_destroy(h->board);
	free(h);
}

const struct hv_info *hv_info_of(const struct hv *h)
{
	return &h->info;
}

/* A slot is never given back: nothing of a machine's memory goes before the machine does. */
static int hv_add_slot(struct hv *h, uint64_t start, const void *host, uint64_t len, uint32_t flags)
{
	struct kvm_userspace_memory_region r = {
		.slot = h->next_slot,
		.flags = flags,
		.guest_phys_addr = start,
		.memory_size = len,
		.userspace_addr = (uintptr_t)host,
	};
	int err = kvm_ioctl(h->vm_fd, KVM_SET_USER_MEMORY_REGION, &r);
	if (!err)
		h->next_slot++;
	return err;
}

int hv_map_memory(struct hv *h, struct gmem *m)
{
	BUG_ON(h->mem);
	for (unsigned i = 0; i < gmem_nr_regions(m); i++) {
		const struct gmem_region *r = gmem_region_at(m, i);
		const void *host = gmem_host(m, gpa(r->start), r->len);
		int err = hv_add_slot(h, r->start, host, r->len, 0);
		if (err)
			return err;
	}
	h->mem = m;
	int err = kvm_board_create_chips(h->vm_fd);
	return err ? err : irqchip_init(&h->chip, h);
}

int hv_map_rom(struct hv *h, uint64_t start, const void *host, uint64_t len)
{
	if (!h->info.has_readonly_mem)
		return -ENOTSUP;
	return hv_add_slot(h, start, host, len, KVM_MEM_READONLY);
}

const struct irq_chip *hv_irq_chip(struct hv *h)
{
	return &h->chip.irq;
}

const struct doorbell_chip *hv_doorbell_chip(struct hv *h)
{
	return &h->chip.bell;
}
