/* device_ops.c - see device_ops.h: devices of this process. */
#include "device_ops.h"
#include <errno.h>
#include <linux/virtio_ids.h>
#include "vm_priv.h"

static struct vdev *here_disk(struct vm *vm, unsigned dev)
{
	struct vdev *d = virtio_pci_vdev(vm->vdevs[dev]);
	return d->ops->id == VIRTIO_ID_BLOCK ? d : NULL;
}

static int here_resize(struct vm *vm, unsigned dev, uint64_t bytes)
{
	struct vdev *d = here_disk(vm, dev);
	return d ? blk_set_size(d, bytes) : -EOPNOTSUPP;
}

static int here_set_limits(struct vm *vm, unsigned dev, const struct blk_limits *l)
{
	struct vdev *d = here_disk(vm, dev);
	if (!d)
		return -EOPNOTSUPP;
	blk_set_limits(d, l);
	return 0;
}

static int here_set_window(struct vm *vm, unsigned dev, const struct vm_window *w)
{
	struct vdev *d = virtio_pci_vdev(vm->vdevs[dev]);
	if (d->ops->id != VIRTIO_ID_CONSOLE)
		return -EOPNOTSUPP;
	console_resize(d, w->cols, w->rows);
	return 0;
}

static int here_restart(struct vm *vm, unsigned dev)
{
	(void)vm;
	(void)dev;
	return -EOPNOTSUPP; /* there is nothing to start anew but the VM */
}

static void here_info(struct vm *vm, unsigned dev, struct vm_device_info *out)
{
	struct vdev *d = here_disk(vm, dev);
	*out = (struct vm_device_info){ .version = VMM_VERSION, .has_disk = d };
	if (d)
		blk_info(d, &out->disk);
}

const struct vm_device_ops vm_device_here = {
	.resize = here_resize,
	.set_limits = here_set_limits,
	.set_window = here_set_window,
	.restart = here_restart,
	.info = here_info,
};
