/*
 * fuzz_vhost_user.c - a frontend whose messages, memory, rings and log are the fuzzer's, in front
 * of a real device with real workers.
 *
 * The input is a list of steps: the messages that bring a queue up with numbers of the fuzzer's,
 * with or without an account and a log of pages written, one message of any kind with any
 * descriptors, or bytes put into the shared memory. All are sent,
 * then the server has its turn until it has seen the last of them or hung up. Checked: it comes
 * back, with every queue stopped, the device reset and no descriptor more than before.
 */
#include <errno.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../../virtio/vhost/user_wire.h"
#include "base/err.h"
#include "base/log.h"
#include "base/num.h"
#include "dev/virtio_devs.h"
#include "support/open_fds.h"
#include "virtio/vhost_user.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM_BYTES   (256 * KIB)
#define LOG_BYTES   (64 * KIB)
#define DIRTY_BYTES 8192u
#define USER_BASE   0x10000000ull
#define QUEUES      2
#define SIZE        16

enum { FD_RAM, FD_LOG, FD_KICK, FD_CALL, FD_SOCKET, FD_DIRTY, NR_FDS };

static struct vhost_user_server *server;
static int fds[NR_FDS], stop_fd, sock;
static uint8_t *ram, *log_mem;
static const uint8_t *at, *end;

static uint64_t take_bytes(unsigned n)
{
	uint64_t v = 0;
	for (; n && at < end; n--)
		v = v << 8 | *at++;
	return v;
}

static void set_up(void)
{
	int pair[2];
	struct vdev *d;
	struct blk_config cfg = { .name = "fuzz",
				  .null_bytes = MIB,
				  .nr_queues = QUEUES,
				  .queue_size = 64,
				  .block_bytes = 512 };
	log_set_level(LOG_LEVEL_ERROR);
	fds[FD_RAM] = memfd_create("ram", MFD_CLOEXEC);
	fds[FD_LOG] = memfd_create("log", MFD_CLOEXEC);
	fds[FD_DIRTY] = memfd_create("dirty", MFD_CLOEXEC);
	BUG_ON(ftruncate(fds[FD_RAM], RAM_BYTES) || ftruncate(fds[FD_LOG], LOG_BYTES) ||
	       ftruncate(fds[FD_DIRTY], DIRTY_BYTES));
	ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fds[FD_RAM], 0);
	log_mem = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fds[FD_LOG], 0);
	fds[FD_KICK] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	fds[FD_CALL] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	stop_fd = eventfd(0, EFD_CLOEXEC);
	BUG_ON(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	fds[FD_SOCKET] = pair[0];
	BUG_ON(blk_create(&d, NULL, &cfg));
	BUG_ON(vhost_user_server_create(&server, d));
}

static void send_message(uint32_t request, uint32_t flags, const void *p, uint32_t len,
			 const int *which, unsigned nr)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(16 * sizeof(int))];
	} control = { 0 };
	struct vhost_user_header h = { request, flags, len };
	struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)(uintptr_t)p, len } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };
	if (nr) {
		m.msg_control = control.buf;
		m.msg_controllen = CMSG_SPACE(nr * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nr * sizeof(int));
		memcpy(CMSG_DATA(c), which, nr * sizeof(int));
	}
	ignore(sendmsg(sock, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0); /* full: enough */
}

static void send_u64(uint32_t request, uint64_t v, int fd)
{
	send_message(request, VHOST_USER_VERSION, &v, sizeof(v), &fd, fd >= 0);
}

static void send_state(uint32_t request, uint32_t idx, uint32_t num)
{
	send_u64(request, idx | (uint64_t)num << 32, -1);
}

/* A log for so many bytes, mostly enough, at one of two places. */
static void send_dirty_log(void)
{
	struct vhost_user_log l = { take_bytes(1), (take_bytes(1) & 1) * 4096 };
	send_message(VHOST_USER_SET_LOG_BASE, VHOST_USER_VERSION, &l, sizeof(l), &fds[FD_DIRTY], 1);
	send_u64(VHOST_USER_SET_LOG_FD, 0, fds[FD_CALL]);
}

/* Everything a queue needs, in order; what it is like is for the fuzzer to say. */
static void bring_up(void)
{
	uint64_t how = take_bytes(1), idx = how & 1;
	uint64_t features = 1ull << VIRTIO_F_VERSION_1 | 1ull << 28 | 1ull << 29 |
			    1ull << VHOST_USER_F_PROTOCOL_FEATURES;
	if (how & 2)
		features |= 1ull << VIRTIO_F_RING_PACKED;
	if (how & 8)
		features |= 1ull << VHOST_F_LOG_ALL;
	struct vhost_user_mem_table t = { 1, 0, { { 0, RAM_BYTES, USER_BASE, 0 } } };
	struct vhost_user_vring_addr a = { (uint32_t)idx,    how >> 4 & 1,
					   USER_BASE,        USER_BASE + 8192,
					   USER_BASE + 4096, how & 16 ? take_bytes(3) : 0 };
	struct vhost_user_inflight in = { LOG_BYTES, 0, QUEUES, SIZE, 0 };
	send_u64(VHOST_USER_SET_PROTOCOL_FEATURES, 0x1922b & take_bytes(3), -1);
	send_u64(VHOST_USER_SET_FEATURES, features, -1);
	send_message(VHOST_USER_SET_MEM_TABLE, VHOST_USER_VERSION, &t, 8 + sizeof(t.r[0]), fds, 1);
	if (how & 4)
		send_message(VHOST_USER_SET_INFLIGHT_FD, VHOST_USER_VERSION, &in, sizeof(in),
			     &fds[FD_LOG], 1);
	if (how & 32)
		send_dirty_log();
	send_state(VHOST_USER_SET_VRING_NUM, (uint32_t)idx, SIZE);
	send_state(VHOST_USER_SET_VRING_BASE, (uint32_t)idx, (uint32_t)take_bytes(2));
	send_message(VHOST_USER_SET_VRING_ADDR, VHOST_USER_VERSION, &a, sizeof(a), NULL, 0);
	send_u64(VHOST_USER_SET_VRING_CALL, idx, fds[FD_CALL]);
	send_u64(VHOST_USER_SET_VRING_KICK, idx, fds[FD_KICK]);
	send_state(VHOST_USER_SET_VRING_ENABLE, (uint32_t)idx, 1);
}

static void any_message(void)
{
	uint8_t payload[300];
	uint32_t request = (uint32_t)take_bytes(1), len = (uint32_t)take_bytes(2) % sizeof(payload);
	uint64_t how = take_bytes(1);
	int which[16];
	unsigned nr = how & 3 ? (unsigned)how & 3 : (how >> 2 & 3 ? 0 : 9);
	for (unsigned i = 0; i < nr; i++)
		which[i] = fds[take_bytes(1) % NR_FDS];
	for (uint32_t i = 0; i < len; i++)
		payload[i] = (uint8_t)take_bytes(1);
	uint32_t flags = how & 0x80 ? (uint32_t)take_bytes(1)
				    : VHOST_USER_VERSION | VHOST_USER_NEED_REPLY;
	send_message(request, flags, payload, len, which, nr == 9 ? 9 : nr & 3);
}

static void put_bytes(void)
{
	bool is_log = take_bytes(1) & 1;
	uint32_t off = (uint32_t)take_bytes(2), len = (uint32_t)take_bytes(1);
	uint8_t *to = is_log ? log_mem : ram;
	uint32_t room = is_log ? LOG_BYTES : RAM_BYTES;
	for (uint32_t i = 0; i < len && off + i < room; i++)
		to[off + i] = (uint8_t)take_bytes(1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int pair[2];
	eventfd_t n;
	if (!server)
		set_up();
	memset(ram, 0, 16 * KIB);
	memset(log_mem, 0, LOG_BYTES);
	at = data;
	end = data + size;
	unsigned before = open_fds();
	BUG_ON(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	sock = pair[0];
	while (at < end) {
		switch (take_bytes(1) % 4) {
		case 0:
			bring_up();
			break;
		case 1:
			put_bytes();
			break;
		default:
			any_message();
		}
	}
	ignore(eventfd_write(fds[FD_KICK], 1));
	BUG_ON(shutdown(pair[0], SHUT_WR));
	int err = vhost_user_server_serve(server, pair[1], stop_fd);
	BUG_ON(err && err != -EPROTO);
	BUG_ON(vdev_status(vhost_user_server_vdev(server)));
	BUG_ON(!vdev_is_quiet(vhost_user_server_vdev(server)));
	fd_close(pair[0]);
	fd_close(pair[1]);
	ignore(eventfd_read(fds[FD_KICK], &n));
	ignore(eventfd_read(fds[FD_CALL], &n));
	BUG_ON(open_fds() != before);
	return 0;
}
