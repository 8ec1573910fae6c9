/*
 * handover.h - what a device's process tells the program that it becomes, as one line of JSON.
 *
 * Layer:   vm
 * Threads: no state; safe anywhere.
 * Errors:  negative errno. -EPROTONOSUPPORT: another version; then @ready alone is filled in.
 *          -EPROTO: no handover at all. -ENOMEM.
 * Spec:    docs/isolation.md, "Another program".
 *
 * The two programs may be of different versions: ZYGOTE_HANDOVER says if they understand each
 * other, and counts up with any change here but for members that an older reader may leave alone. A
 * disk is told in the words of its user, which every version reads.
 */
#ifndef VM_HANDOVER_H
#define VM_HANDOVER_H
#include <jansson.h>
#include <sched.h>
#include "vm/config.h"
#include "zygote.h"

enum handover_kind { HANDOVER_DISK, HANDOVER_RNG, HANDOVER_CONSOLE };

struct handover_port {
	int in_fd, out_fd; /* -1: none */
	const char *name;
	bool is_console, owns_in, owns_out; /* struct console_port_config */
};

struct handover {
	enum handover_kind kind;
	bool is_trial, has_lists, logs_violations;
	unsigned ns;                     /* enum zygote_ns */
	int sock, file, ready, counters; /* descriptors; -1: none */
	unsigned log_level;
	/* disks */
	unsigned number, queues;   /* "block3"; how many queues unless the user says */
	const char *option, *text; /* of the user */
	struct blk_limits limits;  /* as they are now */
	bool has_lost;             /* struct afile */
	bool has_cpus;
	cpu_set_t cpus; /* where its workers are, chosen by the user or for it */
	/* consoles */
	struct handover_port ports[2 * VM_NR_SERIAL];
	unsigned nr_ports, cols, rows;
	int keep;     /* memory that its processes share; -1: none */
	json_t *json; /* read: what the strings belong to */
};

/* One line, the caller's to free. NULL: no memory. */
char *handover_write(const struct handover *h);
/* *out is safe for handover_fini() whatever the result is. */
MUST_CHECK int handover_read(struct handover *out, const char *text);
void handover_fini(struct handover *h);

#endif
