/*
 * control.h - the control socket: connections, lines, replies. What requests mean is told by a
 * function that control_create() is given.
 *
 * Layer:   vm
 * Threads: one, which never waits in here.
 * Errors:  negative errno from create; a client that breaks the rules is told so or hung up on.
 * Spec:    docs/control.md.
 *
 * A hostile client can cost us CONTROL_MAX_CLIENTS buffers of CONTROL_LINE_BYTES, the reply to one
 * request and one descriptor each, and nothing else: whoever does not read its replies gets no
 * further requests served, and when one client more comes, the one that was quiet for the longest
 * time is hung up on.
 */
#ifndef VM_CONTROL_H
#define VM_CONTROL_H
#include <jansson.h>
#include "base/compiler.h"

#define CONTROL_PROTOCOL    1
#define CONTROL_LINE_BYTES  65536 /* of a request, its newline included */
#define CONTROL_MAX_CLIENTS 16

struct control; /* from control_create() to control_destroy() */

/* Descriptors of a request; -1: none. */
struct control_fds {
	int gift; /* the last that the client has sent (SCM_RIGHTS): who makes use of it takes it */
	int later; /* answer() may put one here, which is control's then: finish() replies */
};

/* Replies are new objects that have "ok" and not yet "id". NULL: out of memory. */
struct control_ops {
	/* The reply to @request, an object, which stays the caller's; NULL with @fds->later. */
	json_t *(*answer)(void *ctx, json_t *request, struct control_fds *fds);
	/* The same once @later is readable. Its client, who waits, may have gone. */
	json_t *(*finish)(void *ctx, json_t *request, int later);
};

/* Takes @listener, a non-blocking listening socket, over on success. */
MUST_CHECK int control_create(struct control **out, int listener, const struct control_ops *ops,
			      void *ctx);
/* Hang up on everybody. NULL is fine. */
void control_destroy(struct control *c);
/* To be watched for POLLIN: then control_run() has something to do. */
int control_fd(const struct control *c);
/* Do what can be done without waiting, in a bounded time. */
void control_run(struct control *c);

/* Replies: {"ok": true, "result": @result}, which takes @result over, and {"ok": false, "error":
 * …}. */
json_t *control_ok(json_t *result);
json_t *control_error(const char *code, const char *fmt, ...) PRINTF(2, 3);

#endif
