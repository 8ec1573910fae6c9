/*
 * control.h - the client of a VM's control socket.
 *
 * Layer:   cli
 * Threads: main only.
 * Errors:  NULL, with one line printed.
 * Spec:    docs/control.md.
 */
#ifndef CLI_CONTROL_H
#define CLI_CONTROL_H
#include <jansson.h>
#include <stdbool.h>

/*
 * Send @request (taken over; NULL: out of memory) to the VM at @socket on behalf of @command, and
 * return the "result" of its reply. @until_end: also wait until the VM hangs up, which it does when
 * it has ended. *status is the exit status: 2 for a request that makes no sense.
 */
json_t *control_ask(const char *command, const char *socket, json_t *request, bool until_end,
		    int *status);
/* The same, and @fd (stays the caller's) goes with the request. */
json_t *control_ask_with(const char *command, const char *socket, json_t *request, int fd,
			 int *status);

#endif
