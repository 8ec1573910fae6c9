/*
 * user_wire.h - vhost-user on the wire: messages, feature bits, the log of requests in flight.
 *
 * Layer:   virtio
 * Threads: constants and layouts only.
 * Errors:  none.
 * Spec:    QEMU docs/interop/vhost-user.rst. Integers are in the byte order of the machine.
 */
#ifndef VIRTIO_VHOST_USER_WIRE_H
#define VIRTIO_VHOST_USER_WIRE_H
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum vhost_user_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_LOG_BASE = 6,
	VHOST_USER_SET_LOG_FD = 7,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_SET_BACKEND_REQ_FD = 21,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
	VHOST_USER_GET_INFLIGHT_FD = 31,
	VHOST_USER_SET_INFLIGHT_FD = 32,
	VHOST_USER_RESET_DEVICE = 34,
	VHOST_USER_GET_MAX_MEM_SLOTS = 36,
	VHOST_USER_ADD_MEM_REG = 37,
	VHOST_USER_REM_MEM_REG = 38,
	VHOST_USER_SET_STATUS = 39,
	VHOST_USER_GET_STATUS = 40,
	VHOST_USER_NR_REQUESTS
};

/* From the back end, on a channel of its own. */
enum vhost_user_backend_request { VHOST_USER_BACKEND_CONFIG_CHANGE_MSG = 2 };

#define VHOST_USER_VERSION      0x1u
#define VHOST_USER_VERSION_MASK 0x3u
#define VHOST_USER_REPLY        0x4u
#define VHOST_USER_NEED_REPLY   0x8u

#define VHOST_USER_F_PROTOCOL_FEATURES 30 /* among the device's feature bits */

enum vhost_user_protocol_feature {
	VHOST_USER_PROTOCOL_F_MQ = 0,
	VHOST_USER_PROTOCOL_F_LOG_SHMFD = 1,
	VHOST_USER_PROTOCOL_F_REPLY_ACK = 3,
	VHOST_USER_PROTOCOL_F_BACKEND_REQ = 5,
	VHOST_USER_PROTOCOL_F_CONFIG = 9,
	VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD = 12,
	VHOST_USER_PROTOCOL_F_RESET_DEVICE = 13,
	VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
	VHOST_USER_PROTOCOL_F_STATUS = 16,
};

#define VHOST_USER_RING_MASK 0xffu /* of the u64 that comes with a descriptor */
#define VHOST_USER_NO_FD     0x100u

#define VHOST_USER_MAX_REGIONS 8 /* of one SET_MEM_TABLE */
#define VHOST_USER_MAX_CONFIG  256

struct vhost_user_header {
	uint32_t request, flags, size; /* size: of the payload */
};
static_assert(sizeof(struct vhost_user_header) == 12, "vhost-user: header");

struct vhost_user_vring_state {
	uint32_t index, num;
};
static_assert(sizeof(struct vhost_user_vring_state) == 8, "vhost-user: vring state");

struct vhost_user_vring_addr {
	uint32_t index, flags;
	uint64_t desc, used, avail; /* addresses in the frontend's own memory */
	uint64_t log;               /* where the log of pages written has @used */
};
static_assert(sizeof(struct vhost_user_vring_addr) == 40, "vhost-user: vring address");

/* Where the log of pages written lies in its descriptor. */
struct vhost_user_log {
	uint64_t bytes, fd_offset;
};
static_assert(sizeof(struct vhost_user_log) == 16, "vhost-user: log description");

struct vhost_user_region {
	uint64_t start, len; /* guest-physical */
	uint64_t user;       /* where it lies in the frontend's memory */
	uint64_t fd_offset;
};
static_assert(sizeof(struct vhost_user_region) == 32, "vhost-user: memory region");

struct vhost_user_mem_table {
	uint32_t nr, padding;
	struct vhost_user_region r[VHOST_USER_MAX_REGIONS];
};
static_assert(offsetof(struct vhost_user_mem_table, r) == 8, "vhost-user: memory table");

struct vhost_user_mem_reg {
	uint64_t padding;
	struct vhost_user_region r;
};
static_assert(sizeof(struct vhost_user_mem_reg) == 40, "vhost-user: single memory region");

struct vhost_user_config_space {
	uint32_t off, len, flags;
	uint8_t data[VHOST_USER_MAX_CONFIG];
};
static_assert(offsetof(struct vhost_user_config_space, data) == 12, "vhost-user: config space");

/* Some frontends leave the padding out. */
struct vhost_user_inflight {
	uint64_t bytes, fd_offset;
	uint16_t nr_queues, queue_size;
	uint32_t padding;
};
#define VHOST_USER_INFLIGHT_MIN 20u
static_assert(sizeof(struct vhost_user_inflight) == 24, "vhost-user: inflight description");

union vhost_user_payload {
	uint64_t u64;
	struct vhost_user_vring_state state;
	struct vhost_user_vring_addr addr;
	struct vhost_user_mem_table mem;
	struct vhost_user_mem_reg reg;
	struct vhost_user_config_space config;
	struct vhost_user_inflight inflight;
	struct vhost_user_log log;
};

#endif
