/* device_server.c - see vm/device_server.h. */
#include "vm/device_server.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/err.h"
#include "base/log.h"
#include "virtio/vhost_user.h"
#include "children.h"
#include "device_serve.h"
#include "listen.h"

#define DEVICE_BACKLOG 1 /* one frontend at a time; the next one waits here */

/* --- socket --- */

/* What is behind an inherited descriptor. */
static enum vm_status device_inherit(int fd, struct device_socket *out)
{
	int family = 0, listens = 0;
	socklen_t len = sizeof(int);
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) || family != AF_UNIX)
		return vm_fail(VM_EXIT_USAGE, "--fd: %d is no Unix socket; give one that is open",
			       fd);
	len = sizeof(int);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len))
		return vm_fail_errno(-errno, "--fd");
	/* a standard descriptor will be something else */
	int mine = fd > STDERR_FILENO ? fd : fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (mine < 0 || fcntl(mine, F_SETFD, FD_CLOEXEC))
		return vm_fail_errno(-errno, "--fd");
	*out = (struct device_socket){ mine, listens };
	return VM_EXIT_OK;
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

enum vm_status device_serve_socket(struct vhost_user_server *s, const struct device_socket *socket,
				   int stop_fd)
{
	struct blk_info info;
	blk_info(vhost_user_server_vdev(s), &info);
	(void)vm_tell_engine(info.engine);
	if (socket->is_listening)
		return device_serve_all(s, socket->fd, stop_fd);
	int err = vhost_user_server_serve(s, socket->fd, stop_fd);
	if (err && err != -ECANCELED)
		return vm_fail(VM_EXIT_HOST, "the frontend broke the protocol");
	return VM_EXIT_OK;
}

static enum vm_status device_serve_here(struct vm *vm, const struct device_socket *socket,
					int stop_fd)
{
	struct vhost_user_server *s = NULL;
	const struct zygote_child here = { .file = vm->files.disks[0].fd,
					   .gift = { .counters = -1 } };
	enum vm_status st = child_make(vm, &here, &s);
	if (st)
		return st;
	vm->files.disk_is_open[0] = false; /* the device's now */
	st = device_serve_socket(s, socket, stop_fd);
	vhost_user_server_destroy(s);
	return st;
}

static enum vm_status device_serve(struct vm *vm, const struct device_endpoint *e, int stop_fd)
{
	struct device_socket socket = { .is_listening = true };
	struct listen_place place = { 0 };
	enum vm_status st = e->path ? listen_at(e->path, DEVICE_BACKLOG, 0777, &socket.fd, &place)
				    : device_inherit(e->fd, &socket);
	if (st)
		return st;
	st = vm->c->sandbox == VM_SANDBOX_OFF ? device_serve_here(vm, &socket, stop_fd)
					      : device_serve_jailed(vm, &socket, stop_fd);
	fd_close(socket.fd);
	listen_remove(&place);
	return st;
}

enum vm_status device_serve_block(const struct vm_config *c, const struct device_endpoint *e)
{
	struct vm *vm = zalloc_aligned(sizeof(*vm));
	CLEANUP(fd_cleanup) int stop_fd = -1;
	if (!vm)
		return vm_fail_errno(-ENOMEM, "memory for the device's own state");
	vm->c = c;
	vm_files_init(&vm->files);
	vm->files.shares_inherited = true; /* two servers of a disk whose frontend migrates */
	(void)signal(SIGPIPE, SIG_IGN);    /* a frontend that is gone is an error of the write */
	enum vm_status st = device_block_signals(&stop_fd);
	if (!st)
		st = vm_files_open(vm);
	if (!st)
		st = device_serve(vm, e, stop_fd);
	vm_files_close(vm);
	free(vm);
	return st;
}
