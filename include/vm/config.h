/*
 * config.h - what a VM is to be: checked values, immutable once vm_run() has them.
 *
 * Layer:   vm
 * Threads: control thread.
 * Errors:  -EINVAL with the one line that a person gets in struct config_error; of the host's
 *          (host_err_is()) perhaps with one; -ENOMEM without.
 * Spec:    docs/config.md.
 */
#ifndef VM_CONFIG_H
#define VM_CONFIG_H
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include "arch/machine.h"
#include "base/compiler.h"
#include "dev/virtio_devs.h"
#include "mem/place.h"

#define VM_MAX_CPUS   512
#define VM_MAX_DISKS  26
#define VM_NR_SERIAL  4
#define VM_MAX_TABLES 16
#define VM_MAX_VHOST  16

#define VM_SOCKET_BYTES     108 /* a path of a Unix socket, with its end */
#define VM_VHOST_MAX_QUEUES 64

enum vm_tristate { VM_AUTO = -1, VM_OFF = 0, VM_ON = 1 };

/* Does a disk's worker look out for requests for a while before it sleeps? */
enum vm_poll { VM_POLL_ADAPTIVE, VM_POLL_OFF, VM_POLL_ALWAYS };

struct vm_disk_config {
	char *path;          /* as given, for messages; NULL with format null */
	const char *option;  /* that named it: "block" */
	char *text;          /* ... with this value */
	bool is_null;        /* format=null */
	uint64_t null_bytes; /* ... with this size */
	bool is_readonly, is_root, is_direct;
	enum vm_tristate discard;
	unsigned queues;      /* 0: auto */
	unsigned queue_size;  /* 0: auto */
	uint32_t block_bytes; /* 0: auto */
	char id[21];          /* at most 20 bytes */
	cpu_set_t *cpus;      /* of the workers; NULL: anywhere */
	enum vm_poll poll;
	uint64_t poll_ns;         /* at most so long; 0: what a sleep costs here */
	unsigned workers;         /* threads; 0: auto */
	bool has_packed;          /* offer packed rings too */
	bool is_write_through;    /* wce=off */
	struct blk_limits limits; /* 0: none */
	bool may_be_any_format;   /* format=auto: refuse what looks like another format */
};

/* What if this host cannot give a device all of its jail? */
enum vm_sandbox {
	VM_SANDBOX_AUTO,    /* go on, and say what is missing */
	VM_SANDBOX_REQUIRE, /* do not start */
	VM_SANDBOX_OFF,     /* no jail, no processes: every device in this one */
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
	bool is_virtio; /* hardware=virtio-console */
	unsigned num;   /* 1 to 4; of virtio-console: the order of appearance, from 1 */
	char *path, *input;
	bool is_console, is_earlycon, is_stdin;
	char name[32]; /* of a virtio-console port */
};

/* Print what would be chosen, and end? */
enum vm_dry_run { VM_DRY_NO, VM_DRY_TEXT, VM_DRY_JSON };

/* A device that somebody else serves over vhost-user. */
struct vm_vhost_config {
	const char *option;  /* that named it: "vhost-user-blk" */
	char *path;          /* of the socket */
	uint32_t id;         /* VIRTIO_ID_* */
	unsigned queues;     /* 0: as the server says */
	unsigned queue_size; /* 0: auto */
	char tag[37];        /* of a shared folder; empty: as the server says */
	bool has_mac;
	uint8_t mac[6];
};

struct vm_config {
	char *kernel, *initrd, *bios; /* paths; kernel or bios is set */
	char *params;                 /* all -p joined by spaces; "" if none */
	char *kvm_device;
	char *syslog_tag;
	char *socket; /* NULL: no control socket */
	enum vm_dry_run dry_run;
	/* CPUs */
	unsigned nr_cpus;
	bool no_smt;
	unsigned max_cpus;                     /* 0: not given */
	struct machine_topology topology;      /* threads 0: not given */
	cpu_set_t *vcpu_affinity[VM_MAX_CPUS]; /* NULL: anywhere */
	cpu_set_t *affinity_all;               /* for vCPUs without one of their own */
	cpu_set_t *rt_cpus;                    /* vCPU numbers that run SCHED_RR; NULL: none */
	/* memory */
	uint64_t ram_bytes;
	struct gmem_place place;
	bool numa_auto; /* the node of the vCPUs' host CPUs, when they agree */
	/* devices */
	struct vm_disk_config disks[VM_MAX_DISKS];
	unsigned nr_disks;
	struct vm_vhost_config vhost[VM_MAX_VHOST];
	unsigned nr_vhost;
	struct vm_serial_config serial[2 * VM_NR_SERIAL];
	unsigned nr_serial;
	char *acpi_tables[VM_MAX_TABLES];
	unsigned nr_acpi_tables;
	/* isolation */
	enum vm_sandbox sandbox;
	bool logs_violations; /* of the lists of system calls, instead of ending the process */
};

/* Defaults of a VM with only a kernel. */
void config_init(struct vm_config *c);
void config_fini(struct vm_config *c);

/* What was wrong, as a person reads it: "--mem: 0 is too small: give at least 1M". */
struct config_error {
	char text[512];
};

struct config_builder;

/* One option of `vmm run`, as command line, configuration file and help know it. */
struct config_option {
	const char *name;  /* long name without dashes */
	char letter;       /* short name, 0: none */
	const char *value; /* what follows, for help; NULL: a flag; with "[,": a key=value list */
	bool repeats;
	const char *help;
	int (*set)(struct config_builder *b, const char *value); /* NULL: not supported yet */
};
extern const struct config_option config_options[];
extern const unsigned config_nr_options;

/* Where an option comes from: the command line overrides the file. */
enum config_origin { CONFIG_NOT_GIVEN, CONFIG_FROM_FILE, CONFIG_FROM_ARGS };

/* A configuration in the making. Zero-initialise. */
struct config_builder {
	struct vm_config *c;
	enum config_origin origin;       /* of what is being set now */
	enum config_origin given[160];   /* by option index */
	const struct config_option *now; /* the option being set, for messages */
	/* who named the host CPUs of vCPUs: --cpus or --cpu-affinity, there or here */
	const struct config_option *affinity_by;
	enum config_origin affinity_from;
	struct config_error err;
};

/* Word the message: "--<option>: <fmt>" while one is being set. Returns -EINVAL. */
int config_fail(struct config_builder *b, const char *fmt, ...) PRINTF(2, 3);
/* Apply option @index with text @value (NULL for a flag). */
MUST_CHECK int config_set(struct config_builder *b, unsigned index, const char *value);
/* Index of the option called @name, or -1. */
int config_find(const char *name);
/* Apply every member of JSON file @path. */
MUST_CHECK int config_load_file(struct config_builder *b, const char *path);
/* What options say together: conflicts, what is missing, defaults that depend on others. */
MUST_CHECK int config_finish(struct config_builder *b);

#endif
