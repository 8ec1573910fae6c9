/*
 * endpoint.h - the host's end of a serial port or console: a pair of descriptors.
 *
 * Layer:   vm
 * Threads: control thread; type=syslog has a thread of its own.
 * Errors:  negative errno, with what could not be done in @why, for a person.
 * Spec:    docs/config.md, "Serial".
 */
#ifndef VM_ENDPOINT_H
#define VM_ENDPOINT_H
#include <stdatomic.h>
#include "base/compiler.h"
#include "sync/thread.h"
#include "terminal.h"
#include "vm/config.h"

/* Zeroed is closed. */
struct endpoint {
	bool is_open;
	int in_fd, out_fd; /* for the device; -1: none */
	int own_fds[3];    /* to close; -1: none */
	char *created;     /* file we made: removed again if the VM never ran */
	/* syslog */
	struct thread *pump;
	atomic_bool pump_stop; /* for the pump: leave, whatever is unsaid */
	atomic_bool pump_left; /* by the pump */
};

#define ENDPOINT_WHY 192

/* @t: the terminal, for stdin. */
MUST_CHECK int endpoint_open(struct endpoint *e, const struct vm_serial_config *s,
			     const struct terminal *t, const char *syslog_tag,
			     char why[ENDPOINT_WHY]);
/* @keep: the VM ran, so files it made stay. */
void endpoint_close(struct endpoint *e, bool keep);

#endif
