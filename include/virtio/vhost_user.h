/*
 * vhost_user.h - a device of ours behind a vhost-user socket, for a VMM in another process.
 *
 * Layer:   virtio
 * Threads: one thread makes, serves and destroys; it sleeps while the device's own threads work.
 * Errors:  negative errno.
 * Spec:    QEMU docs/interop/vhost-user.rst, back end.
 *
 * A transport like virtio/pci.c: it drives a struct vdev, and the device cannot tell. What comes
 * over the socket is as hostile as what comes from a guest.
 */
#ifndef VIRTIO_VHOST_USER_H
#define VIRTIO_VHOST_USER_H
#include "base/compiler.h"
#include "virtio/vdev.h"

struct vhost_user_server; /* from vhost_user_server_create() to vhost_user_server_destroy() */

/* Takes over @d on success: destroy destroys it too. @d has no memory and no transport yet. */
MUST_CHECK int vhost_user_server_create(struct vhost_user_server **out, struct vdev *d);
/* NULL is fine. */
void vhost_user_server_destroy(struct vhost_user_server *s);
struct vdev *vhost_user_server_vdev(struct vhost_user_server *s);
/*
 * Call @fn on the server's thread, between two requests of the frontend, whenever @fd can be read
 * or has hung up; false: not again. Before it serves.
 */
void vhost_user_server_watch(struct vhost_user_server *s, int fd, bool (*fn)(void *ctx), void *ctx);

/*
 * Serve the frontend on @sock (a connected stream socket, still the caller's) until it hangs up: 0;
 * breaks the protocol: -EPROTO; or @stop_fd is readable: -ECANCELED. What was in flight is complete
 * when this returns, the device reset, the frontend's memory unmapped.
 */
MUST_CHECK int vhost_user_server_serve(struct vhost_user_server *s, int sock, int stop_fd);

#endif
