/*
 * listen.h - a Unix socket of ours that others connect to.
 *
 * Layer:   vm
 * Threads: control thread.
 * Errors:  each function has printed its one line and returns the exit status that goes with it.
 * Spec:    unix(7).
 */
#ifndef VM_LISTEN_H
#define VM_LISTEN_H
#include <sys/types.h>
#include <time.h>
#include "base/compiler.h"
#include "vm/vm.h"

/* Where it lies, so that only our own is removed. */
struct listen_place {
	char path[108]; /* empty: nowhere */
	dev_t dev;
	ino_t ino;
	struct timespec made; /* for numbers are used again */
};

/*
 * Listen at @path, or in the folder @path under a name made from our process number; only @mode may
 * connect. A socket that nobody listens at any more is taken away first, and one whose holder is
 * ending is waited for, two seconds at most; anything else that is there is refused. *fd does not
 * block.
 */
enum vm_status listen_at(const char *path, int backlog, mode_t mode, int *fd,
			 struct listen_place *place);
/* Remove the socket, if it is still ours. Zeroed is fine. */
void listen_remove(struct listen_place *place);

#endif
