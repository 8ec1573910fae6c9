/*
 * host_err.h - is it the host's fault when something the user named cannot be had, and what then?
 *
 * Layer:   base
 * Threads: no state; safe anywhere.
 * Errors:  none.
 * Spec:    docs/architecture.md, "Faults".
 */
#ifndef BASE_HOST_ERR_H
#define BASE_HOST_ERR_H
#include <stdbool.h>

/*
 * Does @err (negative errno) speak of the host: of too few descriptors, too little memory or room,
 * a broken disk? What the user named may well be right then. No: it is about the name itself.
 */
bool host_err_is(int err);

/* How a message about @err goes on: "; raise …". Empty: nothing is known that helps. */
const char *host_err_remedy(int err);

#endif
