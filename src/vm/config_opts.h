/*
 * config_opts.h - what the files with the options of `vmm run` share: setters, and values that
 * several of them read.
 *
 * Layer:   vm
 * Threads: control thread.
 * Errors:  as vm/config.h: -EINVAL with the message worded by config_fail(); -ENOMEM.
 * Spec:    docs/config.md.
 *
 * A setter applies the text of one option (NULL for a flag); config_opts.c has the table of them.
 */
#ifndef VM_CONFIG_OPTS_H
#define VM_CONFIG_OPTS_H
#include <sched.h>
#include <stdbool.h>
#include "base/compiler.h"
#include "base/num.h"
#include "config_kv.h"
#include "vm/config.h"

#define CONFIG_DEFAULT_RAM (256 * MIB)
#define CONFIG_DEFAULT_PLACE                                                                       \
	{                                                                                          \
		.pages = GMEM_PAGES_4K, .node = PLACE_NODE_ANY                                     \
	}

#define SIZE_HINT "a number with K, M, G or T, such as 512M"

#define CONFIG_MESSAGE_BYTES 16384 /* before config_shorten() */
/*
 * Copy @text to @out of @cap bytes; of one that does not fit the middle is left out. What is wrong,
 * and what to do, stands behind names that may be very long.
 */
void config_shorten(char *out, size_t cap, const char *text);

/* Values: config_opts.c. The first two free what *@field had. */
MUST_CHECK int opt_string(struct config_builder *b, char **field, const char *value);
MUST_CHECK int opt_cpu_set(struct config_builder *b, const char *text, cpu_set_t **field);
/* "key=on|off", or "key" alone for on. */
MUST_CHECK int opt_bool(struct config_builder *b, const struct kv_iter *it, bool *out);
/* Refuse @value, a list with a part that kv_next() calls bad. */
MUST_CHECK int opt_bad_part(struct config_builder *b, const struct kv_iter *it, const char *value);

/* config_cpus.c */
int opt_cpus(struct config_builder *b, const char *value);
int opt_cpu_affinity(struct config_builder *b, const char *value);
int opt_rt_cpus(struct config_builder *b, const char *value);
int opt_no_smt(struct config_builder *b, const char *value);
int opt_mem(struct config_builder *b, const char *value);
/* Free the sets of host CPUs of all vCPUs, and forget them. */
void config_affinity_fini(struct vm_config *c);
/* config_disk.c */
int opt_block(struct config_builder *b, const char *value);
int opt_root(struct config_builder *b, const char *value);
int opt_rwroot(struct config_builder *b, const char *value);
int opt_disk(struct config_builder *b, const char *value);
int opt_rwdisk(struct config_builder *b, const char *value);
/* Free what @d has, and forget it. */
void config_disk_fini(struct vm_disk_config *d);
/* config_vhost.c */
int opt_vhost_user(struct config_builder *b, const char *value);
int opt_vhost_user_blk(struct config_builder *b, const char *value);
int opt_vhost_user_net(struct config_builder *b, const char *value);
int opt_vhost_user_fs(struct config_builder *b, const char *value);
/* config_serial.c */
int opt_serial(struct config_builder *b, const char *value);
int opt_console(struct config_builder *b, const char *value);
/* config_sandbox.c */
int opt_sandbox(struct config_builder *b, const char *value);
int opt_disable_sandbox(struct config_builder *b, const char *value);
int opt_seccomp_log_failures(struct config_builder *b, const char *value);

/* "RATE[:BURST]", or "off" for no limit. False: neither. Leaves the other limit alone. */
MUST_CHECK bool config_parse_bps(const char *v, struct blk_limits *l);
MUST_CHECK bool config_parse_iops(const char *v, struct blk_limits *l);

#endif
