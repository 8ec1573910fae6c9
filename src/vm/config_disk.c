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

static int disk_number(struct config_builder *b, struct kv_iter *it, uint64_t max, bool pow2,
		       unsigned *out)
{
	uint64_t n;
	if (!strcmp(it->val, "auto")) {
		*out = 0;
		return 0;
	}
	if (!kv_number(it->val, pow2 ? 2 : 1, max, &n) || (pow2 && !is_pow2(n)))
		return config_fail(b, "%s=%s; give auto or a %s up to %llu", it->key, it->val,
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
		return config_fail(b, "block_size=%s; give 512, 1024, 2048 or 4096", v);
	d->block_bytes = (uint32_t)n;
	return 0;
}

/* What later versions will read. Saying so beats ignoring it. */
static const char *const disk_later[] = { "packed",           "bps",           "iops", "wce",
					  "multiple-workers", "async-executor" };

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

static int disk_discard(struct config_builder *b, struct vm_disk_config *d, struct kv_iter *it)
{
	bool on;
	int err = opt_bool(b, it, &on);
	d->discard = on ? VM_ON : VM_OFF;
	return err;
}

static int disk_key(struct config_builder *b, struct vm_disk_config *d, struct kv_iter *it)
{
	const char *k = it->key;
	if (!strcmp(k, "ro"))
		return opt_bool(b, it, &d->is_readonly);
	if (!strcmp(k, "root"))
		return opt_bool(b, it, &d->is_root);
	if (!strcmp(k, "direct"))
		return opt_bool(b, it, &d->is_direct);
	if (!strcmp(k, "discard") || !strcmp(k, "sparse"))
		return disk_discard(b, d, it);
	for (size_t i = 0; i < ARRAY_SIZE(disk_later); i++)
		if (!strcmp(k, disk_later[i]))
			return config_fail(b, "%s: not supported yet; leave it out", k);
	if (!it->has_val || !*it->val)
		return config_fail(
			b,
			"'%s' is unknown or lacks a value; known: path= ro root format= size= "
			"direct queues= queue-size= cpus= id= block-size= discard= poll= poll-us= "
			"workers=",
			k);
	if (!strcmp(k, "path"))
		return opt_string(b, &d->path, it->val);
	if (!strcmp(k, "id"))
		return disk_id(b, d, it->val);
	if (!strcmp(k, "queues"))
		return disk_number(b, it, 64, false, &d->queues);
	if (!strcmp(k, "queue-size"))
		return disk_number(b, it, 1024, true, &d->queue_size);
	if (!strcmp(k, "cpus"))
		return opt_cpu_set(b, it->val, &d->cpus);
	if (!strcmp(k, "format"))
		return disk_format(b, d, it->val);
	if (!strcmp(k, "poll"))
		return disk_poll(b, d, it->val);
	if (!strcmp(k, "poll-us"))
		return disk_poll_us(b, d, it->val);
	if (!strcmp(k, "workers"))
		return disk_number(b, it, 64, false, &d->workers);
	if (!strcmp(k, "size"))
		return disk_size(b, d, it->val);
	if (!strcmp(k, "block-size") || !strcmp(k, "block_size"))
		return disk_block_size(b, d, it->val);
	return config_fail(b,
			   "unknown key '%s'; known: path= ro root format= size= direct queues= "
			   "queue-size= cpus= id= block-size= discard= poll= poll-us= workers=",
			   k);
}

static int disk_add(struct config_builder *b, const char *value, bool path_first, bool is_readonly,
		    bool is_root)
{
	if (b->c->nr_disks == VM_MAX_DISKS)
		return config_fail(b, "more than %d disks", VM_MAX_DISKS);
	struct vm_disk_config *d = &b->c->disks[b->c->nr_disks];
	*d = (struct vm_disk_config){ .option = b->now->name,
				      .is_readonly = is_readonly,
				      .is_root = is_root,
				      .discard = VM_AUTO,
				      .may_be_any_format = true };
	b->c->nr_disks++; /* from here on config_fini() frees it */
	struct kv_iter it = { .at = value };
	for (bool is_first = true; kv_next(&it); is_first = false) {
		int err = is_first && !it.has_val && path_first ? opt_string(b, &d->path, it.val)
								: disk_key(b, d, &it);
		if (it.is_bad)
			err = config_fail(b, "'%s' has an empty or overlong part", value);
		if (err)
			return err;
	}
	if (!d->path && !d->null_bytes)
		return config_fail(b, "no path: give path=IMAGE");
	if (d->path && d->null_bytes)
		return config_fail(b, "size= and format=null go without path=");
	if (d->poll_ns && d->poll != VM_POLL_ADAPTIVE)
		return config_fail(b, "poll-us= goes with poll=adaptive only");
	if (d->queues && d->workers > d->queues)
		return config_fail(b,
				   "workers=%u for %u queues; give no more than there are queues",
				   d->workers, d->queues);
	return 0;
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
