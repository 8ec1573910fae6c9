/*
 * terminal.h - the user's terminal as guest input: raw while the guest runs, always given back.
 *
 * Layer:   vm
 * Threads: control thread; a thread of its own moves the bytes.
 * Errors:  negative errno.
 * Spec:    termios(3). Ctrl-A x stops the VM, Ctrl-A Ctrl-A sends one Ctrl-A.
 *
 * When standard input is no terminal there is nothing to set and nothing to filter: the guest
 * reads descriptor 0 itself.
 */
#ifndef VM_TERMINAL_H
#define VM_TERMINAL_H
#include "base/compiler.h"

struct terminal; /* from terminal_open() to terminal_close() */

/* @quit(ctx) is called (from the terminal's thread) when the user asks for the end. */
MUST_CHECK int terminal_open(struct terminal **out, void (*quit)(void *ctx), void *ctx);
/* Where the guest's input comes from. */
int terminal_fd(const struct terminal *t);
/*
 * Into raw mode, when it is a terminal and we are in its foreground; else nothing is read from it.
 * Again whenever the process goes on (SIGCONT): it may have become the foreground, and whoever was
 * that meanwhile has set up the terminal for itself.
 */
void terminal_raw(struct terminal *t);
/* As it was. NULL is fine. */
void terminal_close(struct terminal *t);

#endif
