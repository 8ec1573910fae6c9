/*
 * children.h - virtio devices in processes of their own, as main and these processes see them.
 *
 * Layer:   vm
 * Threads: control thread of main; the zygote's and the devices' main threads.
 * Errors:  functions print their one line with vm_fail() and return the exit status it gives.
 * Spec:    docs/isolation.md, "Processes".
 *
 * Devices are numbered: the disks, entropy, the console.
 */
#ifndef VM_CHILDREN_H
#define VM_CHILDREN_H
#include "sandbox.h"
#include "virtio/vhost_user.h"
#include "vm_priv.h"
#include "zygote.h"

bool child_is_disk(const struct vm *vm, unsigned dev);
bool child_is_rng(const struct vm *vm, unsigned dev);
bool child_is_console(const struct vm *vm, unsigned dev);
void child_name(const struct vm *vm, unsigned dev, char name[16]);

/* Orders of main (zygote_order()): to the zygote for processes to come, and to the one that is. */
enum child_order {
	CHILD_RESIZE, /* uint64_t: make the image so large, now */
	CHILD_LIMITS, /* struct blk_limits */
	CHILD_WINDOW, /* struct vm_window: of the terminal behind the console */
};

/* Of a device's processes: one struct vq_counters for each queue that there can be. */
#define CHILD_COUNTER_BYTES (VDEV_MAX_QUEUES * sizeof(struct vq_counters))

/* What a disk's process tells of itself (zygote_about()). */
struct child_about {
	struct blk_info info; /* but for the strings */
	char engine[24], file[24];
};
static_assert(sizeof(struct child_about) == 104, "another layout is another ZYGOTE_HANDOVER");

/* child.c: what runs in the zygote and in the devices' processes; the context is struct vm. */
extern const struct zygote_ops child_ops;

/* In a device's process, or in one that has no jail: the device, behind a server. */
enum vm_status child_make(struct vm *vm, const struct zygote_child *c,
			  struct vhost_user_server **out);
/*
 * In a device's process: its jail, the device (none for a trial), and the list of @main_role, which
 * is that of the calling thread from now on. @lacks: as jail_enter(), and JAIL_SYSCALLS.
 */
enum vm_status child_begin_service(struct vm *vm, const struct zygote_child *c,
				   enum sandbox_role main_role, struct vhost_user_server **out,
				   uint32_t *lacks);
/* children.c: devices lack @lacks (enum jail_part) of their jails: say so, or refuse it. */
enum vm_status child_check_jail(const struct vm_config *c, uint32_t lacks);

/* child.c: what was last ordered of it, if anything, instead of what the console began with. */
void child_window(const struct vm *vm, uint16_t *cols, uint16_t *rows);

/* child_inherited.c: become c->binary. Returns where that failed, which was told. */
int child_become(const struct vm *vm, const struct zygote_child *c);

#endif
