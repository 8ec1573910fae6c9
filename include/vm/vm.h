/*
 * vm.h - build a machine from its configuration, run it, take it down.
 *
 * Layer:   vm
 * Threads: control thread; installs signal handling for the time of the run.
 * Errors:  messages go to standard error; the result is the exit status of the program.
 * Spec:    docs/architecture.md, "Stages".
 */
#ifndef VM_VM_H
#define VM_VM_H
#include "base/compiler.h"
#include "vm/config.h"

/* Exit statuses of `vmm run`. */
enum vm_status {
	VM_EXIT_OK = 0,     /* powered off, or stopped by SIGINT, SIGTERM, SIGHUP */
	VM_EXIT_HOST = 1,   /* the host failed us */
	VM_EXIT_USAGE = 2,  /* bad usage or configuration */
	VM_EXIT_RESET = 32, /* the guest reset itself */
	VM_EXIT_CRASH = 33, /* a vCPU crashed: triple fault, internal error */
};

enum vm_status vm_run(const struct vm_config *c);

#endif
