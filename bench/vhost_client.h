/*
 * vhost_client.h - a small vhost-user-blk frontend, to measure and to torture servers with.
 *
 * Layer:   bench
 * Threads: one.
 * Errors:  what should not happen ends the program with a message, status 1.
 * Spec:    QEMU docs/interop/vhost-user.rst; VIRTIO 1.2 §2.7, §2.8, §5.2.
 */
#ifndef BENCH_VHOST_CLIENT_H
#define BENCH_VHOST_CLIENT_H
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#define CLIENT_MAX_QUEUES 16
#define CLIENT_MAX_DEPTH  128
#define CLIENT_MAX_BS     (1u << 20)
#define CLIENT_RING       128 /* what qemu-storage-daemon has at most */

struct client_options {
	const char *socket;
	unsigned queues, depth, bs;
	unsigned write_percent, flush_every; /* of 100; 0: never */
	uint64_t span;                       /* bytes used of the disk; 0: all */
	double seconds;
	bool is_packed, is_indirect, is_sleeping, is_sequential, is_verifying, has_reconnect;
	int server_pid, cpu;
	uint32_t seed;
};

/* One request's room in shared memory, and what the client knows of it. */
struct client_req {
	struct virtio_blk_outhdr *hdr;
	uint8_t *status, *data;
	uint64_t table; /* its indirect table */
	uint64_t block; /* of o->bs bytes; UINT64_MAX: a flush */
	uint64_t start_ns;
	uint32_t type;
	uint16_t slot;
	bool is_out;
};

struct client_queue {
	int kick, call;
	uint64_t desc_at, driver_at, device_at; /* guest-physical */
	struct vring_desc *desc;
	struct vring_packed_desc *packed;
	struct vring_avail *avail;
	struct vring_used *used;
	struct vring_packed_desc_event *driver_event, *device_event;
	uint16_t avail_next, used_seen, shown;
	bool avail_wrap, used_wrap;
	uint16_t added; /* descriptors (packed) or chains (split) since the last kick */
	unsigned out;
	struct client_req req[CLIENT_MAX_DEPTH];
	uint16_t free[CLIENT_MAX_DEPTH];
	unsigned nr_free;
};

struct client {
	struct client_options o;
	int sock, mem_fd, log_fd;
	uint8_t *mem;
	uint64_t mem_bytes, mem_next;
	uint64_t features, protocol, capacity_bytes;
	struct vhost_user_inflight *log;
	struct client_queue q[CLIENT_MAX_QUEUES];
	uint64_t kicks, calls, reconnects;
};

__attribute__((noreturn, format(printf, 1, 2))) void client_die(const char *fmt, ...);
uint64_t client_now_ns(void);

/* --- vhost_client_proto.c --- */
void client_make_memory(struct client *c);
void client_connect(struct client *c);
/* The server has gone: wait for its successor and hand everything over. */
void client_reconnect(struct client *c);
/* Has the server hung up? */
bool client_is_cut_off(struct client *c);

/* --- vhost_client_ring.c --- */
/* Put @r on the ring without showing it. */
void client_ring_add(struct client *c, struct client_queue *q, struct client_req *r);
/* Show what was added, notify if that is wanted. */
void client_ring_kick(struct client *c, struct client_queue *q);
/* Next completed request, or NULL. */
struct client_req *client_ring_take(struct client *c, struct client_queue *q);
/* Ask for a call with the next result; true: there is one. */
bool client_ring_arm(struct client *c, struct client_queue *q);
void client_ring_disarm(struct client *c, struct client_queue *q);

#endif
