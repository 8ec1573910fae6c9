/* vhost.c - devices behind somebody else's vhost-user socket. */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "base/err.h"
#include "base/host_err.h"
#include "base/le.h"
#include "virtio/vhost_front.h"
#include "vm_priv.h"

#define VHOST_QUEUE_SIZE 256
#define VHOST_FS_QUEUES  2 /* one for requests that may not wait, one for the rest */

static_assert(VM_SOCKET_BYTES == sizeof(((struct sockaddr_un *)0)->sun_path), "length of a path");
static_assert(VM_VHOST_MAX_QUEUES <= VDEV_MAX_QUEUES, "queues of one device");
static_assert(VHOST_FRONT_REGIONS == 8, "as vhost_failed() says");

/*
 * Ask at the path again and again: whoever is to serve the device may be restarted. What a dead one
 * still has under way nobody can know: its business, as we have lent it the guest's memory.
 */
static int vhost_connect(void *ctx)
{
	const struct vm_vhost_config *d = ctx;
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	memcpy(a.sun_path, d->path, strlen(d->path)); /* its length was checked */
	CLEANUP(fd_cleanup) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)))
		return errno == EAGAIN ? -ETIMEDOUT : -errno; /* so many wait there already */
	return take_fd(fd);
}

/* What it means that there is no device; of anything else the errno says it. */
static const struct {
	int err;
	const char *why;
} vhost_reasons[] = {
	{ -ENOENT, "nobody listens there; start the server first" },
	{ -ECONNREFUSED, "nobody listens there; start the server first" },
	{ -ENOTDIR, "a part of the path is no folder; check the path" },
	{ -EACCES, "no right to use the socket; give it to this user, or check its folders" },
	{ -EPROTOTYPE, "not a stream socket, which vhost-user needs; check the path" },
	{ -ETIMEDOUT, "the server does not answer; it may be serving another frontend" },
	{ -ENODATA, "the server has no configuration for such a device" },
	{ -E2BIG, "guest memory has more than 8 separate parts, which vhost-user cannot hand "
		  "to a server; give the guest fewer" },
	{ -EPROTO, "the server does not speak vhost-user for such a device" },
	{ -ECONNRESET, "the server does not speak vhost-user for such a device" },
	{ -EREMOTEIO, "the server does not speak vhost-user for such a device" },
};

static enum vm_status vhost_failed(const struct vm_vhost_config *d, int err)
{
	const char *why = strerror(-err), *remedy = host_err_remedy(err);
	for (size_t i = 0; i < ARRAY_SIZE(vhost_reasons); i++)
		if (vhost_reasons[i].err == err)
			why = vhost_reasons[i].why;
	return vm_fail(VM_EXIT_HOST, "--%s: %s: %s%s", d->option, d->path, why, remedy);
}

/* What the guest reads of a shared folder, or a network card, when the user says it. */
static void vhost_configure(const struct vm_vhost_config *d, struct vhost_front_config *f,
			    uint8_t space[64])
{
	if (d->id == VIRTIO_ID_FS && d->tag[0]) {
		memcpy(space, d->tag, strlen(d->tag));
		le_store(space + 36, f->nr_queues - 1u, 4);
		f->config_bytes = 40;
	} else if (d->has_mac) {
		memcpy(space, d->mac, sizeof(d->mac));
		f->own = 1ull << VIRTIO_NET_F_MAC;
		f->hidden = 1ull << VIRTIO_NET_F_STATUS | 1ull << VIRTIO_NET_F_MTU;
		f->config_bytes = 12;
	}
	f->config = f->config_bytes ? space : NULL;
}

enum vm_status vm_vhost_create(struct vdev **out, struct gmem *mem, const struct vm_vhost_config *d,
			       unsigned index)
{
	uint8_t space[64] = { 0 };
	char name[16];
	(void)snprintf(name, sizeof(name), "vhost%u", index); /* fits */
	struct vhost_front_config f = {
		.name = name,
		.id = d->id,
		.nr_queues = (uint16_t)d->queues,
		.queue_size = (uint16_t)(d->queue_size ? d->queue_size : VHOST_QUEUE_SIZE),
		.connect = vhost_connect,
		.ctx = (void *)(uintptr_t)d, /* only read */
	};
	if (d->id == VIRTIO_ID_NET)
		f.nr_queues = 2;
	else if (d->id == VIRTIO_ID_FS && !d->queues && d->tag[0])
		f.nr_queues = VHOST_FS_QUEUES;
	vhost_configure(d, &f, space);
	int err = vhost_front_create(out, mem, &f);
	return err ? vhost_failed(d, err) : VM_EXIT_OK;
}

/* --- for the operator: a size and limits are matters of whoever serves it --- */

static int vhost_resize(struct vm *vm, unsigned dev, uint64_t bytes)
{
	(void)vm;
	(void)dev;
	(void)bytes;
	return -EOPNOTSUPP;
}

static int vhost_set_limits(struct vm *vm, unsigned dev, const struct blk_limits *l)
{
	(void)vm;
	(void)dev;
	(void)l;
	return -EOPNOTSUPP;
}

/* Leave the server, once it is done with what is in flight, for the one that listens now. */
static int vhost_restart(struct vm *vm, unsigned dev)
{
	vhost_front_restart(virtio_pci_vdev(vm->vdevs[dev]));
	return 0;
}

static void vhost_info(struct vm *vm, unsigned dev, struct vm_device_info *out)
{
	struct vhost_front_info info;
	vhost_front_info(virtio_pci_vdev(vm->vdevs[dev]), &info);
	*out = (struct vm_device_info){ .restarts = info.restarts,
					.last_pause_ns = info.last_ns,
					.longest_pause_ns = info.longest_ns };
}

const struct vm_device_ops vm_device_vhost = {
	.resize = vhost_resize,
	.set_limits = vhost_set_limits,
	.restart = vhost_restart,
	.info = vhost_info,
};
