/* config_disk.c - options of disks. */
#include "config_opts.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/num.h"

static int disk_id(struct config_builder *b, struct vm_disk_config *d, const char *v)
{
	size_t len = strlen(v);
	bool is_ascii = true;
	for (size_t i = 0; i < len; i++)
		is_ascii &= v[i] > 0x20 && v[i] < 0x7f;
	if (!len || len > 20 || !is_ascii)
		return config_fail(b, "id=%s; give 1 to 20 printable ASCII characters", v);
	memcpy(d->id, v, len + 1);
	return 0;
}

static int disk_number(struct config_builder *b, const char *key, const char *v, uint64_t max,
		       bool pow2, unsigned *out)
{
	uint64_t n;
	if (!strcmp(v, "auto")) {
		*out = 0;
		return 0;
	}
	if (!kv_number(v, pow2 ? 2 : 1, max, &n) || (pow2 && !is_pow2(n)))
		return config_fail(b, "%s=%s; give auto or a %s up to %llu", key, v,
				   pow2 ? "power of two" : "number", (unsigned long long)max);
	*out = (unsigned)n;
	return 0;
}

static int disk_format(struct config_builder *b, struct vm_disk_config *d, const char *v)
{
	d->may_be_any_format = !strcmp(v, "auto");
	if (!strcmp(v, "raw") || !strcmp(v, "auto"))
		return 0;
	if (!strcmp(v, "null")) {
		d->is_null = true;
		d->null_bytes = d->null_bytes ? d->null_bytes : GIB;
		return 0;
	}
	if (!strcmp(v, "qcow2"))
		return config_fail(
			b, "format=qcow2: not supported: convert with 'qemu-img convert -O raw'");
	return config_fail(b, "format=%s is unknown; give raw, auto or null", v);
}

static int disk_size(struct config_builder *b, struct vm_disk_config *d, const char *v)
{
	if (kv_size(v, 1, &d->null_bytes) && d->null_bytes >= 512 && is_aligned(d->null_bytes, 512))
		return 0;
	return config_fail(b, "size=%s; give " SIZE_HINT, v);
}

static int disk_block_size(struct config_builder *b, struct vm_disk_config *d, const char *v)
{
	uint64_t n;
	if (!kv_number(v, 512, 4096, &n) || !is_pow2(n))
		return config_fail(b, "block-size=%s; give 512, 1024, 2048 or 4096", v);
	d->block_bytes = (uint32_t)n;
	return 0;
}

static int disk_poll(struct config_builder *b, struct vm_disk_config *d, const char *v)
{
	static const char *const modes[] = {
		[VM_POLL_ADAPTIVE] = "adaptive",
		[VM_POLL_OFF] = "off",
		[VM_POLL_ALWAYS] = "always",
	};
	for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
		if (!strcmp(v, modes[i])) {
			d->poll = (enum vm_poll)i;
			return 0;
		}
	}
	return config_fail(b, "poll=%s is unknown; give adaptive, off or always", v);
}

static int disk_poll_us(struct config_builder *b, struct vm_disk_config *d, const char *v)
{
	uint64_t us;
	if (!kv_number(v, 1, 10000, &us))
		return config_fail(b, "poll-us=%s; give 1 to 10000 microseconds", v);
	d->poll_ns = us * 1000;
	return 0;
}

/* --- limits: "RATE[:BURST]", both in the unit that @parse reads --- */

static bool limit_bytes(const char *text, uint64_t *out)
{
	return kv_size(text, 1, out) && *out >= 512 && *out <= UINT64_MAX >> 16;
}

static bool limit_count(const char *text, uint64_t *out)
{
	return kv_number(text, 1, 1000000000, out);
}

static bool limit_parse(const char *v, bool (*parse)(const char *, uint64_t *), uint64_t *rate,
			uint64_t *burst)
{
	char first[32];
	const char *colon = strchr(v, ':');
	size_t len = colon ? (size_t)(colon - v) : strlen(v);
	*rate = *burst = 0;
	if (!strcmp(v, "off"))
		return true;
	if (!len || len >= sizeof(first))
		return false;
	memcpy(first, v, len);
	first[len] = 0;
	return parse(first, rate) && (!colon || parse(colon + 1, burst));
}

bool config_parse_bps(const char *v, struct blk_limits *l)
{
	return limit_parse(v, limit_bytes, &l->bytes_per_s, &l->burst_bytes);
}

bool config_parse_iops(const char *v, struct blk_limits *l)
{
	return limit_parse(v, limit_count, &l->ops_per_s, &l->burst_ops);
}

static int disk_bps(struct config_builder *b, struct vm_disk_config *d, const char *v)
{
	if (config_parse_bps(v, &d->limits))
		return 0;
	return config_fail(b,
			   "bps=%s; give bytes a second, 512 or more, and perhaps a burst, such as "
			   "100M or 100M:1G, or off",
			   v);
}

static int disk_iops(struct config_builder *b, struct vm_disk_config *d, const char *v)
{
	if (config_parse_iops(v, &d->limits))
		return 0;
	return config_fail(b,
			   "iops=%s; give requests a second and perhaps a burst, such as 1000 or "
			   "1000:5000, or off",
			   v);
}

static int disk_path(struct config_builder *b, struct vm_disk_config *d, const char *v)
{
	return opt_string(b, &d->path, v);
}

static int disk_queues(struct config_builder *b, struct vm_disk_config *d, const char *v)
{
	return disk_number(b, "queues", v, 64, false, &d->queues);
}

static int disk_queue_size(struct config_builder *b, struct vm_disk_config *d, const char *v)
{
	return disk_number(b, "queue-size", v, 1024, true, &d->queue_size);
}

static int disk_workers(struct config_builder *b, struct vm_disk_config *d, const char *v)
{
	return disk_number(b, "workers", v, 64, false, &d->workers);
}

static int disk_cpus(struct config_builder *b, struct vm_disk_config *d, const char *v)
{
	return opt_cpu_set(b, v, &d->cpus);
}

static int disk_multiple_workers(struct config_builder *b, struct vm_disk_config *d, const char *v)
{
	(void)d;
	(void)v;
	return config_fail(b, "multiple-workers: not supported: give workers=N or workers=auto");
}

static int disk_executor(struct config_builder *b, struct vm_disk_config *d, const char *v)
{
	(void)d;
	(void)v;
	return config_fail(b, "async-executor: not supported: it is io_uring wherever that is "
			      "allowed; leave it out");
}

/* Keys that take a value; two spellings of one stand side by side. */
static const struct {
	const char *name;
	int (*set)(struct config_builder *b, struct vm_disk_config *d, const char *v);
} disk_keys[] = {
	{ "path", disk_path },
	{ "id", disk_id },
	{ "format", disk_format },
	{ "size", disk_size },
	{ "block-size", disk_block_size },
	{ "block_size", disk_block_size },
	{ "queues", disk_queues },
	{ "queue-size", disk_queue_size },
	{ "workers", disk_workers },
	{ "cpus", disk_cpus },
	{ "poll", disk_poll },
	{ "poll-us", disk_poll_us },
	{ "bps", disk_bps },
	{ "iops", disk_iops },
	{ "multiple-workers", disk_multiple_workers },
	{ "async-executor", disk_executor },
};

#define DISK_KNOWN                                                                                 \
	"known: path= ro root format= size= direct queues= queue-size= workers= cpus= poll= "      \
	"poll-us= packed id= block-size= bps= iops= discard= wce="

/* "key", "key=on", "key=off". */
static int disk_switch(struct config_builder *b, struct vm_disk_config *d, struct kv_iter *it)
{
	bool on = false;
	bool *const fields[] = { &d->is_readonly, &d->is_root, &d->is_direct, &d->has_packed };
	static const char *const names[] = { "ro", "root", "direct", "packed" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(it->key, names[i]))
			return opt_bool(b, it, fields[i]);
	bool is_cache = !strcmp(it->key, "wce");
	if (!is_cache && strcmp(it->key, "discard") != 0 && strcmp(it->key, "sparse") != 0)
		return -ENOENT;
	int err = opt_bool(b, it, &on);
	if (is_cache)
		d->is_write_through = !on;
	else
		d->discard = on ? VM_ON : VM_OFF;
	return err;
}

static int disk_key(struct config_builder *b, struct vm_disk_config *d, struct kv_iter *it)
{
	int err = disk_switch(b, d, it);
	if (err != -ENOENT)
		return err;
	for (size_t i = 0; i < ARRAY_SIZE(disk_keys); i++) {
		if (strcmp(it->key, disk_keys[i].name) != 0)
			continue;
		if (!it->has_val || !*it->val)
			return config_fail(b, "%s= lacks a value", it->key);
		return disk_keys[i].set(b, d, it->val);
	}
	return config_fail(b, "unknown key '%s'; " DISK_KNOWN, it->key);
}

/* What the keys of one disk say together. */
static int disk_check(struct config_builder *b, const struct vm_disk_config *d)
{
	if (d->null_bytes && !d->is_null)
		return config_fail(b, "size= goes with format=null only; an image has a size");
	if (!d->path && !d->is_null)
		return config_fail(b, "no path: give path=IMAGE");
	if (d->path && d->is_null)
		return config_fail(b, "size= and format=null go without path=");
	if (d->is_null && d->is_direct)
		return config_fail(b, "direct goes with an image only; leave it out");
	if (d->is_readonly && d->discard == VM_ON)
		return config_fail(b, "discard=on: the disk is read-only; leave it out");
	if (d->poll_ns && d->poll != VM_POLL_ADAPTIVE)
		return config_fail(b, "poll-us= goes with poll=adaptive only");
	if (d->queues && d->workers > d->queues)
		return config_fail(b,
				   "workers=%u for %u queues; give no more than there are queues",
				   d->workers, d->queues);
	return 0;
}

void config_disk_fini(struct vm_disk_config *d)
{
	free(d->path);
	free(d->text);
	free(d->cpus);
	*d = (struct vm_disk_config){ 0 };
}

/* Is @d the root disk of the file, by either of the options that name no other? */
static bool disk_is_files_root(const struct config_builder *b, const struct vm_disk_config *d)
{
	if (strcmp(d->option, "root") != 0 && strcmp(d->option, "rwroot") != 0)
		return false;
	/* an option that does not repeat has not been there from where it comes now */
	return d->option == b->now->name || b->given[config_find(d->option)] != b->origin;
}

/* Where a disk goes: that of --root or --rwroot in the place of the file's. NULL: no room. */
static struct vm_disk_config *disk_place(struct config_builder *b)
{
	struct vm_config *c = b->c;
	for (unsigned i = 0; i < c->nr_disks && !b->now->repeats; i++)
		if (disk_is_files_root(b, &c->disks[i]))
			return &c->disks[i];
	return c->nr_disks == VM_MAX_DISKS ? NULL : &c->disks[c->nr_disks++];
}

static int disk_add(struct config_builder *b, const char *value, bool path_first, bool is_readonly,
		    bool is_root)
{
	struct vm_disk_config *d = disk_place(b); /* from here on config_fini() frees it */
	if (!d)
		return config_fail(b, "more than %d disks; give fewer", VM_MAX_DISKS);
	config_disk_fini(d);
	*d = (struct vm_disk_config){ .option = b->now->name,
				      .is_readonly = is_readonly,
				      .is_root = is_root,
				      .discard = VM_AUTO,
				      .may_be_any_format = true };
	int copied = opt_string(b, &d->text, value);
	if (copied)
		return copied;
	struct kv_iter it = { .at = value };
	for (bool is_first = true; kv_next(&it); is_first = false) {
		int err = is_first && !it.has_val && path_first ? opt_string(b, &d->path, it.val)
								: disk_key(b, d, &it);
		if (it.is_bad)
			err = opt_bad_part(b, &it, value);
		if (err)
			return err;
	}
	return disk_check(b, d);
}

int opt_block(struct config_builder *b, const char *v)
{
	return disk_add(b, v, false, false, false);
}

int opt_root(struct config_builder *b, const char *v)
{
	return disk_add(b, v, true, true, true);
}

int opt_rwroot(struct config_builder *b, const char *v)
{
	return disk_add(b, v, true, false, true);
}

int opt_disk(struct config_builder *b, const char *v)
{
	return disk_add(b, v, true, true, false);
}

int opt_rwdisk(struct config_builder *b, const char *v)
{
	return disk_add(b, v, true, false, false);
}
