/*
 * config.h - what a VM is to be: checked values, immutable once vm_run() has them.
 *
 * Layer:   vm
 * Threads: control thread.
 * Errors:  config_fail() carries the one line that a person gets.
 * Spec:    README.md, "Options"; docs/config.md.
 */
#ifndef VM_CONFIG_H
#define VM_CONFIG_H
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "mem/place.h"

#define VM_MAX_CPUS    512
#define VM_MAX_DISKS   26
#define VM_NR_SERIAL   4
#define VM_MAX_TABLES  16

enum vm_tristate { VM_AUTO = -1, VM_OFF = 0, VM_ON = 1 };

struct vm_disk_config {
	char *path;           /* as given, for messages; NULL with format null */
	const char *option;   /* that named it: "--block" */
	uint64_t null_bytes;  /* format=null,size= */
	bool is_readonly, is_root, is_direct;
	enum vm_tristate discard;
	unsigned queues;      /* 0: auto */
	unsigned queue_size;  /* 0: auto */
	uint32_t block_bytes; /* 0: auto */
	char id[21];          /* at most 20 bytes */
	cpu_set_t *cpus;      /* of the workers; NULL: anywhere */
};

enum vm_serial_type {
	VM_SERIAL_SINK,
	VM_SERIAL_STDOUT,
	VM_SERIAL_FILE,
	VM_SERIAL_UNIX,
	VM_SERIAL_PTY,
	VM_SERIAL_SYSLOG,
};

struct vm_serial_config {
	enum vm_serial_type type;
	bool is_virtio;              /* hardware=virtio-console */
	unsigned num;                /* 1 to 4 (virtio-console: any order of appearance) */
	char *path, *input;
	bool is_console, is_earlycon, is_stdin;
};

struct vm_config {
	char *kernel, *initrd, *bios; /* paths; kernel or bios is set */
	char *params;                 /* all -p joined by spaces; "" if none */
	char *kvm_device;
	/* CPUs */
	unsigned nr_cpus;
	bool no_smt;
	cpu_set_t *vcpu_affinity[VM_MAX_CPUS]; /* NULL: anywhere */
	cpu_set_t *rt_cpus;                    /* vCPU numbers that run SCHED_RR; NULL: none */
	/* memory */
	uint64_t ram_bytes;
	struct gmem_place place;
	/* devices */
	struct vm_disk_config disks[VM_MAX_DISKS];
	unsigned nr_disks;
	struct vm_serial_config serial[2 * VM_NR_SERIAL];
	unsigned nr_serial;
	char *acpi_tables[VM_MAX_TABLES];
	unsigned nr_acpi_tables;
};

/* Defaults of a VM with only a kernel. */
void config_init(struct vm_config *c);
void config_fini(struct vm_config *c);

#endif
