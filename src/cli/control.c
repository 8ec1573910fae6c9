/* control.c - see control.h. */
#include "control.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/err.h"
#include "base/log.h"
#include "vm/vm.h"

#define CONTROL_PROTOCOL 1
#define CONTROL_WAIT_S   60 /* for a reply, and for the end of a VM */

static FILE *control_connect(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const struct timeval wait = { .tv_sec = CONTROL_WAIT_S };
	if (strlen(path) >= sizeof(a.sun_path)) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	memcpy(a.sun_path, path, strlen(path));
	CLEANUP(fd_cleanup) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) ||
	    connect(fd, (const struct sockaddr *)&a, sizeof(a)))
		return NULL;
	FILE *f = fdopen(fd, "r+");
	if (f)
		ignore(take_fd(fd)); /* the stream's now */
	return f;
}

/* The next line. NULL: it is no JSON, or none came: then *err says why. */
static json_t *control_line(FILE *f, int *err)
{
	char *line = NULL;
	size_t cap = 0;
	errno = 0;
	ssize_t len = getline(&line, &cap, f);
	*err = len >= 0 ? 0 : errno ? -errno : -ECONNRESET;
	json_t *o = len > 0 ? json_loadb(line, (size_t)len, 0, NULL) : NULL;
	free(line);
	return o;
}

static bool control_is_greeting(const json_t *hello)
{
	return json_integer_value(json_object_get(hello, "control")) == CONTROL_PROTOCOL;
}

/* @fd goes with the first byte. */
static int control_send_fd(FILE *f, int fd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} c = { 0 };
	char first = '{'; /* of every request */
	struct iovec v = { &first, 1 };
	struct msghdr h = { .msg_iov = &v,
			    .msg_iovlen = 1,
			    .msg_control = c.buf,
			    .msg_controllen = sizeof(c.buf) };
	struct cmsghdr *m = CMSG_FIRSTHDR(&h);
	m->cmsg_level = SOL_SOCKET;
	m->cmsg_type = SCM_RIGHTS;
	m->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(m), &fd, sizeof(int));
	return sendmsg(fileno(f), &h, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

static int control_send(FILE *f, const json_t *request, int fd)
{
	char *text = json_dumps(request, JSON_COMPACT);
	if (!text)
		return -ENOMEM;
	int err = fd < 0 ? 0 : control_send_fd(f, fd);
	if (!err && (fprintf(f, "%s\n", text + (fd >= 0)) < 0 || fflush(f)))
		err = -errno;
	free(text);
	return err;
}

static int control_exchange(FILE *f, const json_t *request, int fd, json_t **reply)
{
	int err;
	json_t *hello = control_line(f, &err);
	bool is_ours = control_is_greeting(hello);
	json_decref(hello);
	if (err)
		return err;
	err = is_ours ? control_send(f, request, fd) : -EPROTO;
	if (!err)
		*reply = control_line(f, &err);
	return err ? err : *reply ? 0 : -EPROTO;
}

/* Until the other end hangs up. */
static int control_see_end(FILE *f)
{
	errno = 0;
	while (fgetc(f) != EOF)
		;
	return errno && errno != ECONNRESET ? -errno : 0;
}

static const char *control_reason(int err)
{
	switch (err) {
	case -ENOENT:
	case -ECONNREFUSED:
	case -EPROTOTYPE:
		return "no VM listens there; check the path given to 'vmm run --socket'";
	case -EACCES:
		return "no right to use the socket; only the user who runs the VM has it";
	case -EPROTO:
		return "what answers there is no VM of this program's version";
	case -EAGAIN:
		return "the VM does not answer";
	case -ECONNRESET:
		return "the VM hung up";
	default:
		return strerror(-err);
	}
}

/* The "result" of @reply, or NULL with the reason printed. */
static json_t *control_result(const char *command, const char *socket, const json_t *reply,
			      int *status)
{
	json_t *result = json_object_get(reply, "result");
	if (json_is_true(json_object_get(reply, "ok")) && result) {
		*status = VM_EXIT_OK;
		return json_incref(result);
	}
	const json_t *error = json_object_get(reply, "error");
	const char *text = json_string_value(json_object_get(error, "text"));
	const char *code = json_string_value(json_object_get(error, "code"));
	if (code && !strcmp(code, "bad-request"))
		*status = VM_EXIT_USAGE;
	log_error("%s: %s: %s", command, socket, text ? text : "the reply makes no sense");
	return NULL;
}

/* What is asked of whom. */
struct control_call {
	const char *command, *socket;
	int fd; /* -1: none */
	bool until_end;
};

static json_t *control_ask_all(const struct control_call *call, json_t *request, int *status)
{
	const char *command = call->command, *socket = call->socket;
	json_t *reply = NULL, *result = NULL;
	*status = VM_EXIT_HOST;
	FILE *f = control_connect(socket);
	int err = f ? 0 : -errno;
	if (!err)
		err = request ? control_exchange(f, request, call->fd, &reply) : -ENOMEM;
	if (!err)
		result = control_result(command, socket, reply, status);
	else
		log_error("%s: %s: %s", command, socket, control_reason(err));
	if (result && call->until_end && control_see_end(f)) {
		*status = VM_EXIT_HOST;
		log_error("%s: %s: the VM is still busy ending", command, socket);
		json_decref(result);
		result = NULL;
	}
	if (f)
		(void)fclose(f); /* nothing is left to be written */
	json_decref(reply);
	json_decref(request);
	return result;
}

json_t *control_ask(const char *command, const char *socket, json_t *request, bool until_end,
		    int *status)
{
	const struct control_call call = { command, socket, -1, until_end };
	return control_ask_all(&call, request, status);
}

json_t *control_ask_with(const char *command, const char *socket, json_t *request, int fd,
			 int *status)
{
	const struct control_call call = { command, socket, fd, false };
	return control_ask_all(&call, request, status);
}
