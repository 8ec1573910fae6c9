/*
 * user_msg.h - one vhost-user message with its descriptors, in and out of a socket.
 *
 * Layer:   virtio
 * Threads: one for each connection.
 * Errors:  -EAGAIN: not all there yet, or no room. -ECONNRESET: the peer is gone. -EPROTO: not a
 *          message, or one of an impossible size.
 * Spec:    QEMU docs/interop/vhost-user.rst, "Message Specification".
 *
 * The socket may block or not: nothing here ever waits. Bytes of the next message stay in it.
 */
#ifndef VIRTIO_VHOST_USER_MSG_H
#define VIRTIO_VHOST_USER_MSG_H
#include "base/compiler.h"
#include "user_wire.h"

#define USER_MSG_MAX_FDS VHOST_USER_MAX_REGIONS

struct user_msg {
	struct vhost_user_header h;
	union vhost_user_payload p;
	int fds[USER_MSG_MAX_FDS];
	unsigned nr_fds;
	uint32_t have; /* bytes of header and payload received so far */
};

/* Before the first byte, and again after each message. */
void user_msg_init(struct user_msg *m);
/* Close what descriptors are left. */
void user_msg_fini(struct user_msg *m);
/* Take descriptor @i: -1 if there is none. */
int user_msg_take_fd(struct user_msg *m, unsigned i);

/*
 * Receive what is there. 0: *m is complete. More descriptors than fit are closed unseen. All come
 * in one @direction: VHOST_USER_REPLY for answers, 0 for requests.
 */
MUST_CHECK int user_msg_recv(int sock, struct user_msg *m, uint32_t direction);

/* Send header and payload with the @nr descriptors at @fds. */
MUST_CHECK int user_msg_send(int sock, const struct vhost_user_header *h, const void *payload,
			     const int *fds, unsigned nr);

#endif
