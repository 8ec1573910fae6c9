/* endpoint.c - see endpoint.h. */
#include "endpoint.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include "base/err.h"
#include "base/log.h"

#define SYSLOG_PATIENCE_MS  2000 /* for a system log that takes nothing */
#define CONNECT_PATIENCE_MS 2000 /* for a server that accepts nobody */

static int endpoint_why(char *why, int err, const char *what, const char *path)
{
	(void)snprintf(why, ENDPOINT_WHY, "%s%s%s", what, path ? " " : "",
		       path ? path : ""); /* cut is fine */
	return err;
}

/* Open for appending; a new file is remembered so that a failed start can remove it. */
static int endpoint_open_file(struct endpoint *e, const char *path)
{
	const int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int fd = open(path, flags);
	if (fd < 0 && errno == ENOENT) {
		fd = open(path, flags | O_CREAT | O_EXCL, 0666);
		e->created = fd < 0 ? NULL : strdup(path);
	}
	if (fd < 0)
		return -errno;
	e->own_fds[0] = e->out_fd = fd;
	/* O_NONBLOCK was for the open alone, so that a FIFO without a reader is an error */
	return fcntl(fd, F_SETFL, O_APPEND) < 0 ? -errno : 0;
}

/* A server that accepts nobody is not waited for long: no signal ends us at this point. */
static int endpoint_connect_to(int fd, const struct sockaddr_un *sa)
{
	const struct timeval patience = { .tv_sec = CONNECT_PATIENCE_MS / 1000 };
	const struct timeval forever = { 0 };
	int err = 0;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) ||
	    connect(fd, (const struct sockaddr *)sa, sizeof(*sa)))
		err = -errno;
	if (!err && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &forever, sizeof(forever)))
		err = -errno;
	return err == -EAGAIN ? -ETIMEDOUT : err;
}

static int endpoint_connect(struct endpoint *e, const char *path)
{
	static const int kinds[] = { SOCK_STREAM, SOCK_DGRAM };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	strcpy(sa.sun_path, path);
	int err = -EPROTOTYPE;
	for (size_t i = 0; err == -EPROTOTYPE && i < ARRAY_SIZE(kinds); i++) {
		int fd = socket(AF_UNIX, kinds[i] | SOCK_CLOEXEC, 0);
		if (fd < 0)
			return -errno;
		err = endpoint_connect_to(fd, &sa);
		if (err)
			fd_close(fd);
		else
			e->own_fds[0] = e->in_fd = e->out_fd = fd;
	}
	return err;
}

/* The far side only learns to be raw: a device is to see whether anybody has it open (dev/pty.h).
 */
static int endpoint_set_raw(const char *name)
{
	struct termios raw;
	CLEANUP(fd_cleanup) int far = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (far < 0 || tcgetattr(far, &raw) < 0)
		return -errno;
	cfmakeraw(&raw);
	return tcsetattr(far, TCSANOW, &raw) < 0 ? -errno : 0;
}

static int endpoint_open_pty(struct endpoint *e, const struct vm_serial_config *s)
{
	char name[64];
	/* not to block: nobody else has this end, and whoever has the other may read slowly */
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	e->own_fds[0] = e->in_fd = e->out_fd = fd;
	if (grantpt(fd) < 0 || unlockpt(fd) < 0 || ptsname_r(fd, name, sizeof(name)))
		return -errno;
	int err = endpoint_set_raw(name);
	if (err)
		return err;
	fprintf(stderr, "vmm: %s %u is %s\n", s->is_virtio ? "console" : "serial port", s->num,
		name);
	return 0;
}

/* One message a line, until the write end is closed. */
static void endpoint_syslog_pump(void *arg)
{
	struct endpoint *e = arg;
	FILE *f = fdopen(fcntl(e->own_fds[0], F_DUPFD_CLOEXEC, 0), "r");
	char line[1024];
	/* relaxed: a flag and nothing else, here and below; the join orders the rest */
	while (f && !atomic_load_explicit(&e->pump_stop, memory_order_relaxed) &&
	       fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\r\n")] = 0;
		syslog(LOG_INFO, "%s", line);
	}
	if (f)
		(void)fclose(f); /* was only read */
	atomic_store_explicit(&e->pump_left, true, memory_order_relaxed);
}

/* What was said goes out, unless the system log takes nothing: syslog() then blocks until a signal.
 */
static void endpoint_join_pump(struct endpoint *e)
{
	const struct timespec tick = { 0, 1000000 };
	for (unsigned ms = 0; !atomic_load_explicit(&e->pump_left, memory_order_relaxed); ms++) {
		if (ms >= SYSLOG_PATIENCE_MS) {
			atomic_store_explicit(&e->pump_stop, true, memory_order_relaxed);
			thread_signal(e->pump);
		}
		(void)nanosleep(&tick, NULL); /* a short sleep is as good */
	}
	thread_join(e->pump);
}

static int endpoint_open_syslog(struct endpoint *e, const char *tag)
{
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	e->own_fds[0] = p[0];
	e->own_fds[1] = e->out_fd = p[1];
	openlog(tag ? tag : "vmm", LOG_PID, LOG_DAEMON);
	struct thread_attr attr = { .name = "vmm-syslog" };
	return thread_create(&e->pump, &attr, endpoint_syslog_pump, e);
}

static int endpoint_open_out(struct endpoint *e, const struct vm_serial_config *s, const char *tag,
			     char *why)
{
	int err;
	switch (s->type) {
	case VM_SERIAL_SINK:
		return 0;
	case VM_SERIAL_STDOUT:
		e->out_fd = STDOUT_FILENO;
		return 0;
	case VM_SERIAL_FILE:
		err = endpoint_open_file(e, s->path);
		return err ? endpoint_why(why, err, "cannot write", s->path) : 0;
	case VM_SERIAL_UNIX:
		err = endpoint_connect(e, s->path);
		return err ? endpoint_why(why, err, "cannot connect to", s->path) : 0;
	case VM_SERIAL_PTY:
		err = endpoint_open_pty(e, s);
		return err ? endpoint_why(why, err, "no pseudo-terminal", NULL) : 0;
	case VM_SERIAL_SYSLOG:
		err = endpoint_open_syslog(e, tag);
		return err ? endpoint_why(why, err, "no pipe to the system log", NULL) : 0;
	}
	return -EINVAL;
}

/*
 * For reading, without waiting for a writer. A FIFO also for writing: else it would be at its end
 * as soon as the first writer has gone, and deaf to the next.
 */
static int endpoint_open_input(const char *path)
{
	const int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	struct stat st;
	CLEANUP(fd_cleanup) int fd = open(path, O_RDONLY | flags);
	if (fd < 0 || fstat(fd, &st))
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	int both = S_ISFIFO(st.st_mode) ? open(path, O_RDWR | flags) : -1;
	return both >= 0 ? both
			 : take_fd(fd); /* no right to write: one writer is better than none */
}

static int endpoint_open_in(struct endpoint *e, const struct vm_serial_config *s,
			    const struct terminal *t, char *why)
{
	if (s->is_stdin)
		e->in_fd = terminal_fd(t);
	if (!s->input)
		return 0;
	int fd = endpoint_open_input(s->input);
	if (fd < 0)
		return endpoint_why(why, fd, "cannot read", s->input);
	e->own_fds[2] = e->in_fd = fd;
	return 0;
}

int endpoint_open(struct endpoint *e, const struct vm_serial_config *s, const struct terminal *t,
		  const char *syslog_tag, char why[ENDPOINT_WHY])
{
	*e = (struct endpoint){
		.is_open = true, .in_fd = -1, .out_fd = -1, .own_fds = { -1, -1, -1 }
	};
	int err = endpoint_open_out(e, s, syslog_tag, why);
	if (!err)
		err = endpoint_open_in(e, s, t, why);
	if (err)
		endpoint_close(e, false);
	return err;
}

void endpoint_close(struct endpoint *e, bool keep)
{
	if (!e->is_open)
		return;
	if (e->created && !keep)
		(void)unlink(e->created); /* if somebody else did, all the better */
	free(e->created);
	fd_close(take_fd(e->own_fds[1])); /* ends the syslog pump */
	if (e->pump)
		endpoint_join_pump(e);
	fd_close(e->own_fds[0]);
	fd_close(e->own_fds[2]);
	*e = (struct endpoint){ 0 };
}
