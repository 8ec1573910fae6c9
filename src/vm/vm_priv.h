/*
 * vm_priv.h - a machine while it exists, shared by the files of src/vm.
 *
 * Layer:   vm
 * Threads: control thread unless a field says otherwise.
 * Errors:  functions print their one line with vm_fail() and return the exit status it gives.
 * Spec:    docs/architecture.md, "Stages".
 */
#ifndef VM_VM_PRIV_H
#define VM_VM_PRIV_H
#include <semaphore.h>
#include <stdatomic.h>
#include "arch/hv.h"
#include "arch/machine.h"
#include "base/compiler.h"
#include "base/log.h"
#include "bus/bus.h"
#include "bus/pci.h"
#include "dev/platform.h"
#include "dev/virtio_devs.h"
#include "dev/vworker.h"
#include "device_ops.h"
#include "control.h"
#include "endpoint.h"
#include "iouring/afile.h"
#include "listen.h"
#include "mem/gmem.h"
#include "sync/condvar.h"
#include "sync/mutex.h"
#include "sync/notifier.h"
#include "sync/thread.h"
#include "device_ops.h"
#include "terminal.h"
#include "virtio/virtio_pci.h"
#include "vm/config.h"
#include "vm/vm.h"
#include "zygote.h"

#define VM_MAX_VDEVS (VM_MAX_DISKS + VM_MAX_VHOST + 4)

struct vm_cpu {
	struct vm *vm;
	unsigned index;
	struct vcpu *vcpu;
	struct thread *thread;
	enum vcpu_exit exit; /* its thread; read after the join or the event */
};

/* Files that were opened and checked before anything was made. */
struct vm_files {
	int kernel, initrd, bios;
	int tables[VM_MAX_TABLES];
	uint64_t initrd_bytes;
	struct kernel_info kernel_info;
	struct afile disks[VM_MAX_DISKS];
	bool disk_is_open[VM_MAX_DISKS];
	bool shares_inherited;    /* others have inherited images too: they are not opened anew */
	int places[VM_MAX_DISKS]; /* O_PATH of those that other processes open; -1: none */
	int witnesses[VM_MAX_DISKS]; /* of what these processes may lose; -1: none */
	bool has_lost[VM_MAX_DISKS]; /* one of them has */
};

/* Main's side of a device's process. */
struct vm_child {
	struct zygote_device *zygote;
	_Atomic(struct vdev *) front; /* NULL: not made yet */
	struct zygote_gift gift;
	const struct vq_counters *counters; /* NULL: none */
};

struct vm_extra;

enum vm_state { VM_RUNS, VM_SUSPENDING, VM_SUSPENDED };

/* suspend.c */
struct vm_suspend {
	/* control thread */
	enum vm_state state;
	bool holds_devices;
	int done_fd;       /* eventfd, signalled at the end of the suspending; -1: it is over */
	uint64_t until_ns; /* when the suspending is given up (clock_ns()) */
	char why[96];      /* why it was given up; empty: it was not */
	/* under lock, with changed */
	struct mutex lock;
	struct condvar changed;
	unsigned nr_parked; /* vCPUs */
	bool is_wanted;     /* vCPUs that stop are to wait, ... */
	bool is_over;       /* ... to end */
};

struct vm {
	/* immutable */
	const struct vm_config *c;
	const struct vm_extra *extra; /* NULL: none */
	/* control thread */
	struct vm_files files;
	struct hv_info host;
	struct hv *hv;
	struct gmem *mem;
	struct bus *pio, *mmio;
	struct pci_windows windows;
	struct pci_host pci_host;
	struct pci_bus *pci;
	_Atomic bool owes_irqs; /* the host refused to wire some: the control thread asks again */
	struct zygote *zygote;  /* NULL: all devices live in this process */
	struct log_said *said;  /* shared with the processes of devices until they are ready */
	struct vm_child children[VM_MAX_DISKS + 2];
	struct vworker *io; /* serial ports and slow devices */
	bool io_hangs; /* it cannot be stopped: what it may touch stays until the process ends */
	struct terminal *terminal;
	struct endpoint ports[2 * VM_NR_SERIAL];
	struct irq_share *serial_irqs; /* ports 1 and 3 have one input, 2 and 4 another */
	struct serial *serial[VM_NR_SERIAL];
	struct rtc *rtc;
	struct i8042 *i8042;
	struct acpi_pm *pm;
	struct pci_root *root;
	struct virtio_pci *vdevs[VM_MAX_VDEVS];
	const struct vm_device_ops *device_ops[VM_MAX_VDEVS];
	unsigned slots[VM_MAX_VDEVS]; /* of each device, on the PCI bus */
	unsigned nr_vdevs;
	char *cmdline;
	struct machine_boot boot;
	struct vm_cpu *cpus;
	sem_t go; /* one for each vCPU: its thread waits until all is confined */
	bool is_let_go, has_run;
	struct vm_suspend suspend;
	uint64_t ordered_bytes[VM_MAX_DISKS]; /* sizes of images that were resized; 0: not */
	/* the zygote's: what main ordered */
	struct blk_limits ordered_limits[VM_MAX_DISKS];
	bool has_ordered_limits[VM_MAX_DISKS];
	struct vm_window ordered_window;
	bool has_ordered_window;
	bool has_lists; /* of system calls: here, or below the zygote */
	/* what the console's processes leave to each other (console_config.keep); NULL: none */
	void *console_keep;
	int console_keep_fd;
	int signal_fd;
	struct control *control; /* NULL: there is no control socket */
	struct listen_place control_place;
	struct blk_limits limits[VM_MAX_DISKS]; /* as they are now */
	uint64_t started_ns;                    /* CLOCK_MONOTONIC */
	struct notifier wake;                   /* signalled by whoever wants the control thread */
	/* any thread */
	_Atomic unsigned event; /* enum vm_event: the first, which decides; 0: none yet */
};

/*
 * What ends a VM. A vCPU goes on for some instructions after it asked for a reset, and may well
 * crash in them.
 */
enum vm_event { VM_EVENT_POWEROFF = 1, VM_EVENT_RESET, VM_EVENT_CRASH, VM_EVENT_STOP };

/* fail.c: one line on standard error; returns @status. */
enum vm_status vm_fail(enum vm_status status, const char *fmt, ...) PRINTF(2, 3);
/* The same for a host call that failed: adds what errno says and, for limits, the remedy. */
enum vm_status vm_fail_errno(int err, const char *what);
/*
 * The same for something that the user named, @name with @option, and that cannot be had. Who is to
 * blame decides the status: the host where host_err_is(@err) says so, else the name, and @remedy is
 * said. NULL for that: the user named nothing that could be wrong.
 */
enum vm_status vm_fail_named(int err, const char *option, const char *name, const char *remedy);
/* Tell the control thread; only the first event counts. Any thread. */
void vm_post_event(struct vm *vm, enum vm_event e);

/* One stage: build returns VM_EXIT_OK or the status to end with; undo takes what build left. */
struct vm_stage {
	const char *name;
	enum vm_status (*build)(struct vm *vm);
	void (*undo)(struct vm *vm);
};

/*
 * A part that only some machines have, built when all devices are there and taken down before
 * them; both get @ctx.
 */
struct vm_extra {
	enum vm_status (*build)(struct vm *vm, void *ctx);
	void (*undo)(struct vm *vm, void *ctx);
	void *ctx;
};
/* As vm_run(), with @extra (NULL: none). */
enum vm_status vm_run_with(const struct vm_config *c, const struct vm_extra *extra);

/* files.c */
/* None is open: before all else. */
void vm_files_init(struct vm_files *f);
enum vm_status vm_files_open(struct vm *vm);
void vm_files_close(struct vm *vm);
/* They are for the process that opens the images. */
void vm_files_drop_witnesses(struct vm *vm);
/* Open and check the image of @d, which has a path. *f is open on success only. */
enum vm_status vm_disk_open(const struct vm_disk_config *d, struct afile *f);
/*
 * The same, once and without waiting, for an image whose place is known (O_PATH). -EAGAIN: somebody
 * holds its lock. -EINVAL: it is not fit any more, which was told.
 */
MUST_CHECK int vm_disk_reopen(const struct vm_disk_config *d, int place, struct afile *f);
/* Logical block size to show the guest: as the user says, or what the image needs. */
uint32_t vm_disk_block_bytes(const struct vm_disk_config *d, const struct afile *f);
/* Is it a port that Linux makes /dev/hvcN of? They are counted in the order they are given. */
bool vm_serial_is_hvc(const struct vm_serial_config *s);
/* disk.c */
/* The device of @d, with @auto_queues unless the user says; takes @f (NULL: null back end) over on
 * success. */
MUST_CHECK int vm_disk_create(struct vdev **out, struct gmem *mem, const struct vm_disk_config *d,
			      struct afile *f, const char *name, unsigned auto_queues);
uint16_t vm_disk_queue_size(const struct vm_disk_config *d);
/* Word why that failed. */
enum vm_status vm_disk_failed(const struct vm_disk_config *d, int err);
/* Tell (at level info) when @engine is not io_uring, and what to do. True: it was worth telling. */
bool vm_tell_engine(const char *engine);
/* children.c: the devices' processes */
enum vm_status vm_zygote_build(struct vm *vm);
void vm_zygote_undo(struct vm *vm);
/* A frontend for device @dev (numbered as in children.c), with its first process behind it. */
enum vm_status vm_child_create(struct vdev **out, struct vm *vm, unsigned dev);
/* All are there: do their jails lack anything, and may they? */
enum vm_status vm_children_check(struct vm *vm);
/* confine.c: main's rights and lists of system calls; every thread exists, no vCPU runs yet. */
enum vm_status vm_confine(struct vm *vm);
/* A vCPU's thread, before it runs the guest. */
void vm_confine_cpu(const struct vm *vm);
/* How many of those there are. */
unsigned vm_nr_children(const struct vm_config *c);
/* vhost.c */
/* Number @index of the devices that somebody else serves, and what an operator can ask of one. */
extern const struct vm_device_ops vm_device_vhost;
enum vm_status vm_vhost_create(struct vdev **out, struct gmem *mem, const struct vm_vhost_config *d,
			       unsigned index);
/* machine.c */
enum vm_status vm_host_check(struct vm *vm);
enum vm_status vm_memory_build(struct vm *vm);
void vm_memory_undo(struct vm *vm);
enum vm_status vm_hypervisor_build(struct vm *vm);
void vm_hypervisor_undo(struct vm *vm);
enum vm_status vm_buses_build(struct vm *vm);
void vm_buses_undo(struct vm *vm);
enum vm_status vm_boot_check(struct vm *vm);
void vm_boot_undo(struct vm *vm);
enum vm_status vm_load_build(struct vm *vm);
/* devices.c */
/* Queues of a disk of which the user says nothing. */
unsigned vm_auto_queues(const struct vm *vm);
unsigned vm_nr_consoles(const struct vm_config *c);
/* The console device on vm->io, with the descriptors (input, output of each port) in @g. */
MUST_CHECK int vm_console_create(struct vdev **out, struct vm *vm, const struct zygote_gift *g);
/* What the ports of this machine have to hand to it. */
void vm_console_gift(const struct vm *vm, struct zygote_gift *g);
/* The terminal has another size: tell the console. Control thread. */
void vm_window_changed(struct vm *vm);
enum vm_status vm_io_build(struct vm *vm);
void vm_io_undo(struct vm *vm);
enum vm_status vm_ports_build(struct vm *vm);
void vm_ports_undo(struct vm *vm);
enum vm_status vm_platform_build(struct vm *vm);
void vm_platform_undo(struct vm *vm);
enum vm_status vm_vdevs_build(struct vm *vm);
void vm_vdevs_undo(struct vm *vm);
/* control_requests.c */
enum vm_status vm_control_build(struct vm *vm);
void vm_control_undo(struct vm *vm);
/* describe.c: NULL for want of memory; the result is the caller's. */
json_t *vm_describe_device(struct vm *vm, unsigned dev);
json_t *vm_describe_devices(struct vm *vm);
json_t *vm_describe(struct vm *vm);
/* The number of the device called @name, such as "block0"; -1: there is none. */
int vm_find_device(const struct vm *vm, const char *name);
/* What was chosen for each device, on standard output. */
enum vm_status vm_print_choices(struct vm *vm);
/* lifecycle.c */
enum vm_status vm_signals_build(struct vm *vm);
void vm_signals_undo(struct vm *vm);
enum vm_status vm_cpus_build(struct vm *vm);
void vm_cpus_undo(struct vm *vm);
/* Have all vCPUs stop; what they do then, they ask vm_cpu_park(). */
void vm_cpus_interrupt(struct vm *vm);
/* Let the vCPUs run until something ends the VM; returns with them all stopped. */
enum vm_status vm_cpus_run(struct vm *vm);

/* suspend.c: control thread but for vm_cpu_park() */
#define VM_SUSPEND_WAIT_S 30 /* for what is in flight; then the VM goes on */
enum vm_status vm_suspend_build(struct vm *vm);
void vm_suspend_undo(struct vm *vm);
/* "running", "suspending" or "suspended" */
const char *vm_state_name(const struct vm *vm);
/*
 * Have the VM stand still. *later: a descriptor of the caller's that is readable when that has come
 * to an end, whatever it is; -1: it stands already. Negative errno: no descriptor to be had.
 */
MUST_CHECK int vm_suspend(struct vm *vm, int *later);
/* Go on, also from half-way. */
void vm_resume(struct vm *vm);
/* Do what there is to do, from the control loop; how long it may sleep (-1: any time). */
void vm_suspend_step(struct vm *vm);
int vm_suspend_wait_ms(const struct vm *vm);
/* A vCPU has stopped: wait as long as the VM stands still. False: it is to end. */
bool vm_cpu_park(struct vm *vm);
/* All vCPUs are to end. */
void vm_cpus_unpark(struct vm *vm);

#endif
