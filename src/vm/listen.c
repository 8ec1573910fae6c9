/* listen.c - see listen.h. */
#include "listen.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/err.h"
#include "vm_priv.h"

#define LISTEN_PATIENCE_MS 2000 /* as long as for the lock of an image */

static enum vm_status listen_refused(const char *path, const char *why)
{
	return vm_fail(VM_EXIT_USAGE, "--socket: %s: %s", path, why);
}

static enum vm_status listen_failed(const char *path, int err)
{
	return vm_fail_named(err, "--socket", path,
			     "give a path in a folder that exists and may be written");
}

/*
 * Who called listen() there is gone, and who has the socket from it goes soon: a device's process
 * that was killed together with the one that made it keeps it until its last I/O has ended.
 */
static bool listen_is_ending(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	struct pollfd p = { fd, POLLIN, 0 };
	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) && peer.pid > 0 &&
	       kill(peer.pid, 0) && errno == ESRCH && poll(&p, 1, LISTEN_PATIENCE_MS) > 0;
}

/* 0: nobody listens there. -EADDRINUSE: somebody does. */
static int listen_probe(const struct sockaddr_un *a)
{
	for (unsigned i = 0; i < 2; i++) {
		CLEANUP(fd_cleanup)
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd < 0)
			return -errno;
		if (connect(fd, (const struct sockaddr *)a, sizeof(*a)))
			return errno == ECONNREFUSED ? 0 : -EADDRINUSE;
		if (!listen_is_ending(fd))
			break;
	}
	return -EADDRINUSE;
}

/* A socket that nobody listens on any more is in the way; anything else is none of our business. */
static enum vm_status listen_clear(const struct sockaddr_un *a)
{
	struct stat st;
	if (lstat(a->sun_path, &st))
		return VM_EXIT_OK;
	if (!S_ISSOCK(st.st_mode))
		return listen_refused(a->sun_path, "exists and is no socket; give another path");
	int err = listen_probe(a);
	if (err && err != -EADDRINUSE)
		return vm_fail_errno(err, "making a socket");
	if (err)
		return listen_refused(a->sun_path,
				      "is in use by another process; give another path");
	if (unlink(a->sun_path))
		return listen_failed(a->sun_path, -errno);
	return VM_EXIT_OK;
}

static enum vm_status listen_name(const char *path, struct sockaddr_un *a)
{
	struct stat st;
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	bool is_folder = !stat(path, &st) && S_ISDIR(st.st_mode);
	int n = is_folder ? snprintf(a->sun_path, sizeof(a->sun_path), "%s/vmm-%d.sock", path,
				     (int)getpid())
			  : snprintf(a->sun_path, sizeof(a->sun_path), "%s", path);
	if (n < 0 || (size_t)n >= sizeof(a->sun_path))
		return listen_refused(path,
				      "is too long for a socket; give at most 107 characters");
	return VM_EXIT_OK;
}

enum vm_status listen_at(const char *path, int backlog, mode_t mode, int *out,
			 struct listen_place *place)
{
	struct sockaddr_un a;
	struct stat st;
	enum vm_status status = listen_name(path, &a);
	if (!status)
		status = listen_clear(&a);
	if (status)
		return status;
	CLEANUP(fd_cleanup) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return vm_fail_errno(-errno, "making a socket");
	/* the file gets its mode from the descriptor: there is no moment at which others may */
	if (fchmod(fd, mode) || bind(fd, (const struct sockaddr *)&a, sizeof(a)))
		return listen_failed(a.sun_path, -errno);
	int err = listen(fd, backlog) || lstat(a.sun_path, &st) ? -errno : 0;
	if (err) {
		(void)unlink(a.sun_path); /* or somebody else has */
		return listen_failed(a.sun_path, err);
	}
	*place = (struct listen_place){ .dev = st.st_dev, .ino = st.st_ino, .made = st.st_mtim };
	memcpy(place->path, a.sun_path, sizeof(place->path));
	*out = take_fd(fd);
	return VM_EXIT_OK;
}

void listen_remove(struct listen_place *place)
{
	struct stat st;
	if (!place->path[0] || lstat(place->path, &st))
		return;
	bool is_ours = st.st_dev == place->dev && st.st_ino == place->ino &&
		       st.st_mtim.tv_sec == place->made.tv_sec &&
		       st.st_mtim.tv_nsec == place->made.tv_nsec;
	if (is_ours)
		(void)unlink(place->path); /* somebody else may have tidied up */
	place->path[0] = 0;
}
