/* device_server.c - see vm/device_server.h. */
#include "vm/device_server.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/err.h"
#include "base/log.h"
#include "base/num.h"
#include "virtio/vhost_user.h"
#include "listen.h"
#include "vm_priv.h"

#define DEVICE_BACKLOG    1 /* one frontend at a time; the next one waits here */
#define DEVICE_MAX_QUEUES 16

/* --- socket --- */

/* What is behind an inherited descriptor. */
static enum vm_status device_inherit(int fd, bool *is_listening)
{
	int family = 0, listens = 0;
	socklen_t len = sizeof(int);
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) || family != AF_UNIX)
		return vm_fail(VM_EXIT_USAGE, "--fd: %d is no Unix socket; give one that is open",
			       fd);
	len = sizeof(int);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len))
		return vm_fail_errno(-errno, "--fd");
	*is_listening = listens;
	return fcntl(fd, F_SETFD, FD_CLOEXEC) ? vm_fail_errno(-errno, "--fd") : VM_EXIT_OK;
}

/* --- service --- */

static enum vm_status device_block_signals(int *out)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return vm_fail_errno(-errno, "signal mask");
	*out = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return *out < 0 ? vm_fail_errno(-errno, "signal descriptor") : VM_EXIT_OK;
}

static int device_accept(int listener, int stop_fd)
{
	struct pollfd p[2] = { { listener, POLLIN, 0 }, { stop_fd, POLLIN, 0 } };
	for (;;) {
		if (poll(p, 2, -1) < 0)
			continue; /* EINTR; nothing else can happen to good descriptors */
		if (p[1].revents)
			return -ECANCELED;
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0 || (errno != ECONNABORTED && errno != EINTR && errno != EAGAIN))
			return fd < 0 ? -errno : fd;
	}
}

static enum vm_status device_serve_all(struct vhost_user_server *s, int listener, int stop_fd)
{
	for (;;) {
		CLEANUP(fd_cleanup) int sock = device_accept(listener, stop_fd);
		if (sock < 0)
			return sock == -ECANCELED ? VM_EXIT_OK : vm_fail_errno(sock, "accept");
		int err = vhost_user_server_serve(s, sock, stop_fd);
		if (err == -ECANCELED)
			return VM_EXIT_OK;
		if (err)
			log_warn("the frontend broke the protocol and was hung up on");
	}
}

static enum vm_status device_serve(struct vhost_user_server *s, const struct device_endpoint *e,
				   int stop_fd)
{
	bool is_listening = true;
	int listener = e->fd;
	struct listen_place place = { 0 };
	enum vm_status st = e->path ? listen_at(e->path, DEVICE_BACKLOG, 0777, &listener, &place)
				    : device_inherit(e->fd, &is_listening);
	if (st)
		return st;
	if (is_listening) {
		st = device_serve_all(s, listener, stop_fd);
	} else {
		int err = vhost_user_server_serve(s, listener, stop_fd);
		if (err && err != -ECANCELED)
			st = vm_fail(VM_EXIT_HOST, "the frontend broke the protocol");
	}
	if (e->path) {
		fd_close(listener);
		listen_remove(&place);
	}
	return st;
}

static enum vm_status device_make_block(struct vhost_user_server **out,
					const struct vm_disk_config *d)
{
	struct afile f;
	struct vdev *dev = NULL;
	enum vm_status st = d->path ? vm_disk_open(d, &f) : VM_EXIT_OK;
	if (st)
		return st;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned queues = min_u32(cpus > 0 ? (unsigned)cpus : 1, DEVICE_MAX_QUEUES);
	int err = vm_disk_create(&dev, NULL, d, d->path ? &f : NULL, "block0", queues);
	if (err) {
		if (d->path)
			afile_close(&f);
		return vm_disk_failed(d, err);
	}
	struct blk_info info;
	blk_info(dev, &info);
	(void)vm_tell_engine(info.engine);
	err = vhost_user_server_create(out, dev);
	if (err)
		vdev_destroy(dev);
	return err ? vm_fail_errno(err, "making a vhost-user server") : VM_EXIT_OK;
}

enum vm_status device_serve_block(const struct vm_disk_config *d, const struct device_endpoint *e)
{
	struct vhost_user_server *s = NULL;
	CLEANUP(fd_cleanup) int stop_fd = -1;
	(void)signal(SIGPIPE, SIG_IGN); /* a frontend that is gone is an error of the write */
	enum vm_status st = device_block_signals(&stop_fd);
	if (!st)
		st = device_make_block(&s, d);
	if (!st)
		st = device_serve(s, e, stop_fd);
	vhost_user_server_destroy(s);
	return st;
}
