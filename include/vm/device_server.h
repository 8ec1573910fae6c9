/*
 * device_server.h - one device as a program of its own, behind a vhost-user socket.
 *
 * Layer:   vm
 * Threads: main thread; blocks SIGINT, SIGTERM and SIGHUP for the rest of the program.
 * Errors:  messages go to standard error; the result is the exit status of the program.
 * Spec:    docs/vhost-user.md.
 */
#ifndef VM_DEVICE_SERVER_H
#define VM_DEVICE_SERVER_H
#include "base/compiler.h"
#include "vm/config.h"
#include "vm/vm.h"

struct device_endpoint {
	const char *path; /* socket to make and listen on; NULL: fd */
	int fd;           /* inherited: listening, or connected already */
};

/*
 * Serve the one disk of @c to one frontend after the other until a signal says stop; on a connected
 * descriptor, until that frontend hangs up. What is in flight is finished first. Where c->sandbox
 * has it so, a process with a jail of its own does it, and the next one when that dies.
 */
enum vm_status device_serve_block(const struct vm_config *c, const struct device_endpoint *e);

/*
 * "vmm device serve-inherited TEXT": go on as the process of a device of another vmm, which
 * executed this program and wrote @text (src/vm/handover.h). For no people.
 */
#define DEVICE_INHERITED "serve-inherited"
enum vm_status device_serve_inherited(const char *text);

#endif
