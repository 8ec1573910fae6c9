/*
 * device_serve.h - the parts of `vmm device`: accepting frontends, and doing so from a jail.
 *
 * Layer:   vm
 * Threads: the main thread of the process that serves; jailed: also of the one that made it.
 * Errors:  functions print their one line with vm_fail() and return the exit status it gives.
 * Spec:    docs/isolation.md, "`vmm device`".
 */
#ifndef VM_DEVICE_SERVE_H
#define VM_DEVICE_SERVE_H
#include "virtio/vhost_user.h"
#include "vm_priv.h"

struct device_socket {
	int fd;
	bool is_listening; /* else connected to the one frontend there is */
};

/* Serve frontends until @stop_fd is readable or hung up, or the one frontend has hung up. */
enum vm_status device_serve_socket(struct vhost_user_server *s, const struct device_socket *socket,
				   int stop_fd);
/*
 * device_jail.c: the same in a process with a jail, and in the next one when it dies. Disk 0 of
 * vm->c is the device; its files are open (vm_files_open()).
 */
enum vm_status device_serve_jailed(struct vm *vm, const struct device_socket *socket, int stop_fd);

#endif
