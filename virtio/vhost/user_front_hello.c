/* user_front_hello.c - see front_priv.h: features, memory, log, configuration. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/socket.h>
#include "base/err.h"
#include "base/le.h"
#include "base/num.h"
#include "front_priv.h"

#define BIT(n) (1ull << (n))

#define HELLO_PROTOCOL                                                                             \
	(BIT(VHOST_USER_PROTOCOL_F_MQ) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |                    \
	 BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ) | BIT(VHOST_USER_PROTOCOL_F_CONFIG) |              \
	 BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) | BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE) |     \
	 BIT(VHOST_USER_PROTOCOL_F_STATUS))

/* Bits of devices, and those of rings that need nothing of the transport: VIRTIO 1.2 §6. */
#define HELLO_FEATURES                                                                             \
	(0xffffffull | BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) |           \
	 BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_IN_ORDER) |            \
	 BIT(VIRTIO_F_ORDER_PLATFORM))

/* What a frontend would have to do itself: the control queue of a network device. */
#define HELLO_NO_NET                                                                               \
	(BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | BIT(VIRTIO_NET_F_CTRL_VQ) |                       \
	 BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_VLAN) |                                 \
	 BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) |                      \
	 BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR))
/* Fields behind those that every server knows: secure erase, zones. VIRTIO 1.3 §5.2.4 */
#define HELLO_NO_BLOCK (BIT(16) | BIT(17))

/* What speaks of the configuration space, in devices that can be without one. */
#define HELLO_NET_CONFIG     (BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_MTU))
#define HELLO_CONSOLE_CONFIG (BIT(VIRTIO_CONSOLE_F_SIZE) | BIT(VIRTIO_CONSOLE_F_MULTIPORT))

#define HELLO_BLOCK_BYTES  60 /* up to write_zeroes_may_unmap and its padding */
#define HELLO_BLOCK_QUEUES offsetof(struct virtio_blk_config, num_queues)

/* --- the first words --- */

static int hello_protocol(struct front *f)
{
	uint64_t protocol = 0;
	if (!(f->link.features & BIT(VHOST_USER_F_PROTOCOL_FEATURES)))
		return 0;
	int err = front_get_u64(f, VHOST_USER_GET_PROTOCOL_FEATURES, &protocol);
	if (err)
		return err;
	f->link.protocol = protocol & HELLO_PROTOCOL;
	return front_tell_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES, f->link.protocol);
}

/* A channel on which the server may say that its configuration changed. */
static int hello_backend_channel(struct front *f)
{
	int pair[2];
	if (!front_has(f, VHOST_USER_PROTOCOL_F_BACKEND_REQ))
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	f->link.backend_fd = pair[0];
	struct front_request r = { VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1 };
	int err = front_tell(f, &r);
	fd_close(pair[1]);
	return err;
}

int front_hello(struct front *f)
{
	uint64_t features = 0;
	int err = front_get_u64(f, VHOST_USER_GET_FEATURES, &features);
	if (err)
		return err;
	if (!(features & BIT(VIRTIO_F_VERSION_1)))
		return -EPROTO; /* VIRTIO 1.2 §6.1: a legacy device */
	f->link.features = features;
	err = hello_protocol(f);
	struct front_request owner = { .id = VHOST_USER_SET_OWNER };
	if (!err)
		err = front_tell(f, &owner);
	return err ? err : hello_backend_channel(f);
}

int front_count_queues(struct front *f, uint16_t *out)
{
	uint64_t have = f->cfg.nr_queues ? f->cfg.nr_queues : 1;
	if (front_has(f, VHOST_USER_PROTOCOL_F_MQ)) {
		int err = front_get_u64(f, VHOST_USER_GET_QUEUE_NUM, &have);
		if (err)
			return err;
		if (f->cfg.id == VIRTIO_ID_NET && have <= VDEV_MAX_QUEUES)
			have *= 2; /* such servers count pairs */
	}
	if (!have || f->cfg.nr_queues > have)
		return -EPROTO;
	*out = f->cfg.nr_queues ? f->cfg.nr_queues : (uint16_t)min_u64(have, VDEV_MAX_QUEUES);
	return 0;
}

uint64_t front_offer(const struct front *f)
{
	uint64_t features = f->link.features & HELLO_FEATURES & ~f->cfg.hidden;
	if (f->cfg.id == VIRTIO_ID_NET)
		features &= ~HELLO_NO_NET;
	if (f->cfg.id == VIRTIO_ID_NET && !f->dev.config_bytes)
		features &= ~HELLO_NET_CONFIG;
	if (f->cfg.id == VIRTIO_ID_CONSOLE && !f->dev.config_bytes)
		features &= ~HELLO_CONSOLE_CONFIG;
	if (f->cfg.id == VIRTIO_ID_BLOCK)
		features &= ~HELLO_NO_BLOCK;
	/* without an account nobody could say where a packed ring goes on after a crash */
	if (!front_has(f, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD))
		features &= ~BIT(VIRTIO_F_RING_PACKED);
	return features | f->cfg.own | BIT(VIRTIO_F_RING_RESET); /* the last is done by us */
}

/* --- what a server must know before the first ring --- */

static bool hello_continues(const struct vhost_user_region *last, int last_fd,
			    const struct gmem_region *r)
{
	return r->fd == last_fd && r->start == last->start + last->len &&
	       r->fd_offset == last->fd_offset + last->len;
}

/*
 * What one message can carry: parts that lie beside each other, here and in their file, are one.
 * Addresses in "our" memory are the guest's: servers need not know where we have it.
 */
static int hello_regions(const struct gmem *mem, struct vhost_user_mem_table *t, int *fds)
{
	*t = (struct vhost_user_mem_table){ 0 };
	for (unsigned i = 0; i < gmem_nr_regions(mem); i++) {
		const struct gmem_region *r = gmem_region_at(mem, i);
		if (t->nr && hello_continues(&t->r[t->nr - 1], fds[t->nr - 1], r)) {
			t->r[t->nr - 1].len += r->len;
			continue;
		}
		if (t->nr == VHOST_USER_MAX_REGIONS)
			return -E2BIG;
		fds[t->nr] = r->fd;
		t->r[t->nr++] = (struct vhost_user_region){ r->start, r->len, r->start,
							    r->fd_offset };
	}
	return 0;
}

int front_check_memory(const struct gmem *mem)
{
	struct vhost_user_mem_table t;
	int fds[VHOST_USER_MAX_REGIONS];
	return hello_regions(mem, &t, fds);
}

static int hello_memory(struct front *f)
{
	struct vhost_user_mem_table t;
	int fds[VHOST_USER_MAX_REGIONS];
	int err = hello_regions(f->dev.mem, &t, fds);
	if (err)
		return err;
	uint32_t len = (uint32_t)(offsetof(struct vhost_user_mem_table, r) + t.nr * sizeof(t.r[0]));
	struct front_request r = { VHOST_USER_SET_MEM_TABLE, &t, len, fds, t.nr };
	return front_demand(f, &r);
}

static int hello_log(struct front *f)
{
	struct vhost_user_inflight in = { .nr_queues = f->dev.nr_queues,
					  .queue_size = f->cfg.queue_size };
	if (!front_has(f, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD))
		return 0;
	if (!f->log.mem) {
		struct front_request get = { VHOST_USER_GET_INFLIGHT_FD, &in, sizeof(in), NULL, 0 };
		int err = front_ask(f, &get, sizeof(in), f->cfg.answer_ms);
		if (!err)
			err = front_log_make(&f->log, f->link.in.p.inflight.bytes, in.nr_queues);
		if (err)
			return err;
	}
	in.bytes = f->log.bytes;
	struct front_request set = { VHOST_USER_SET_INFLIGHT_FD, &in, sizeof(in), &f->log.fd, 1 };
	return front_demand(f, &set);
}

static int hello_status(struct front *f, uint8_t status)
{
	if (!front_has(f, VHOST_USER_PROTOCOL_F_STATUS))
		return 0;
	return front_tell_u64(f, VHOST_USER_SET_STATUS, status);
}

/* Before the first ring: a disk that was to write through must not begin with a write-back cache.
 */
static int hello_choice(struct front *f)
{
	mutex_lock(&f->lock);
	bool has_choice = f->has_choice;
	uint8_t wce = f->config[FRONT_WCE];
	mutex_unlock(&f->lock);
	f->link.owes_config = true; /* it may depend on the features */
	if (!has_choice || !front_has(f, VHOST_USER_PROTOCOL_F_CONFIG))
		return 0;
	return front_write_config(f, FRONT_WCE, &wce, 1);
}

int front_introduce(struct front *f, uint64_t features)
{
	const uint8_t ready = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			      VIRTIO_CONFIG_S_FEATURES_OK;
	if (f->link.is_introduced)
		return 0;
	features &= ~f->cfg.own & ~BIT(VIRTIO_F_RING_RESET);
	if (features & ~f->link.features)
		return -EPROTO; /* a successor that can do less */
	features |= f->link.features & BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	int err = front_tell_u64(f, VHOST_USER_SET_FEATURES, features);
	if (!err)
		err = hello_status(f, ready);
	if (!err)
		err = hello_memory(f);
	if (!err)
		err = hello_log(f);
	if (!err)
		err = hello_status(f, ready | VIRTIO_CONFIG_S_DRIVER_OK);
	if (!err)
		err = hello_choice(f);
	f->link.is_introduced = !err;
	return err;
}

/* A server that knows neither way has its rings stopped, which must do. */
int front_reset_server(struct front *f)
{
	struct front_request reset = { .id = VHOST_USER_RESET_DEVICE };
	if (!f->link.is_introduced)
		return 0;
	f->link.is_introduced = false;
	if (front_has(f, VHOST_USER_PROTOCOL_F_RESET_DEVICE))
		return front_demand(f, &reset);
	return hello_status(f, 0);
}

/* --- configuration space --- */

uint32_t front_config_bytes(uint32_t id)
{
	static const struct {
		uint32_t id, bytes;
	} sizes[] = {
		{ VIRTIO_ID_NET, 12 },     { VIRTIO_ID_BLOCK, HELLO_BLOCK_BYTES },
		{ VIRTIO_ID_CONSOLE, 12 }, { VIRTIO_ID_SCSI, 36 },
		{ VIRTIO_ID_GPU, 16 },     { VIRTIO_ID_INPUT, 136 },
		{ VIRTIO_ID_VSOCK, 8 },    { VIRTIO_ID_CRYPTO, 56 },
		{ VIRTIO_ID_FS, 40 },      { VIRTIO_ID_SOUND, 12 },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		if (sizes[i].id == id)
			return sizes[i].bytes;
	return 0;
}

int front_read_config(struct front *f, uint32_t bytes, uint8_t *out)
{
	const uint32_t head = offsetof(struct vhost_user_config_space, data);
	struct vhost_user_config_space c = { .len = bytes };
	struct front_request r = { VHOST_USER_GET_CONFIG, &c, head + bytes, NULL, 0 };
	int err = front_ask(f, &r, head + bytes, f->cfg.answer_ms);
	if (err)
		return err;
	const struct vhost_user_config_space *got = &f->link.in.p.config;
	if (got->off || got->len != bytes)
		return -EPROTO;
	memcpy(out, got->data, bytes);
	/* the driver must not look for queues that we have not got */
	if (f->cfg.id == VIRTIO_ID_BLOCK && bytes >= HELLO_BLOCK_QUEUES + 2)
		le_store(out + HELLO_BLOCK_QUEUES, f->dev.nr_queues, 2);
	return 0;
}

int front_write_config(struct front *f, uint32_t off, const uint8_t *data, uint32_t len)
{
	const uint32_t head = offsetof(struct vhost_user_config_space, data);
	struct vhost_user_config_space c = { .off = off, .len = len };
	struct front_request r = { VHOST_USER_SET_CONFIG, &c, head + len, NULL, 0 };
	memcpy(c.data, data, len);
	return front_tell(f, &r);
}
