/* config_vhost.c - options of devices that somebody else serves. */
#include "config_opts.h"
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/num.h"

#define VHOST_MAX_ID 63

static const struct {
	const char *name;
	uint32_t id;
} vhost_types[] = {
	{ "block", VIRTIO_ID_BLOCK }, { "blk", VIRTIO_ID_BLOCK },       { "net", VIRTIO_ID_NET },
	{ "fs", VIRTIO_ID_FS },       { "console", VIRTIO_ID_CONSOLE }, { "rng", VIRTIO_ID_RNG },
};

static int vhost_type(struct config_builder *b, struct vm_vhost_config *d, const char *v)
{
	uint64_t id;
	for (size_t i = 0; i < ARRAY_SIZE(vhost_types); i++) {
		if (!strcmp(v, vhost_types[i].name)) {
			d->id = vhost_types[i].id;
			return 0;
		}
	}
	if (!kv_number(v, 1, VHOST_MAX_ID, &id))
		return config_fail(b,
				   "type=%s is unknown; give block, net, fs, console, rng or the "
				   "number of a virtio device, 1 to %d",
				   v, VHOST_MAX_ID);
	d->id = (uint32_t)id;
	return 0;
}

static int vhost_socket(struct config_builder *b, struct vm_vhost_config *d, const char *v)
{
	if (strlen(v) >= VM_SOCKET_BYTES)
		return config_fail(b, "socket=%s is too long; give at most %d characters", v,
				   VM_SOCKET_BYTES - 1);
	return opt_string(b, &d->path, v);
}

static int vhost_tag(struct config_builder *b, struct vm_vhost_config *d, const char *v)
{
	if (!*v || strlen(v) >= sizeof(d->tag))
		return config_fail(b, "tag=%s; give 1 to %zu characters", v, sizeof(d->tag) - 1);
	strcpy(d->tag, v);
	return 0;
}

static int vhost_mac(struct config_builder *b, struct vm_vhost_config *d, const char *v)
{
	unsigned m[6];
	int end = 0;
	int got = sscanf(v, "%2x:%2x:%2x:%2x:%2x:%2x%n", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5],
			 &end);
	if (got != 6 || v[end] || m[0] & 1)
		return config_fail(
			b, "mac=%s; give one of a single card, such as 02:00:00:00:00:01", v);
	for (unsigned i = 0; i < 6; i++)
		d->mac[i] = (uint8_t)m[i];
	d->has_mac = true;
	return 0;
}

static int vhost_queues(struct config_builder *b, struct vm_vhost_config *d, const char *v)
{
	uint64_t n;
	if (!kv_number(v, 1, VM_VHOST_MAX_QUEUES, &n))
		return config_fail(b, "queues=%s; give 1 to %d", v, VM_VHOST_MAX_QUEUES);
	d->queues = (unsigned)n;
	return 0;
}

static int vhost_queue_size(struct config_builder *b, struct vm_vhost_config *d, const char *v)
{
	uint64_t n;
	if (!kv_number(v, 2, 1024, &n) || !is_pow2(n))
		return config_fail(b, "queue-size=%s; give a power of two up to 1024", v);
	d->queue_size = (unsigned)n;
	return 0;
}

static const struct {
	const char *name;
	int (*set)(struct config_builder *b, struct vm_vhost_config *d, const char *v);
} vhost_keys[] = {
	{ "type", vhost_type }, { "socket", vhost_socket }, { "queues", vhost_queues },
	{ "tag", vhost_tag },   { "mac", vhost_mac },       { "queue-size", vhost_queue_size },
};

static int vhost_key(struct config_builder *b, struct vm_vhost_config *d, const struct kv_iter *it)
{
	for (size_t i = 0; i < ARRAY_SIZE(vhost_keys); i++)
		if (it->has_val && *it->val && !strcmp(it->key, vhost_keys[i].name))
			return vhost_keys[i].set(b, d, it->val);
	return config_fail(b,
			   "'%s' is unknown or lacks a value; known: type= socket= queues= "
			   "queue-size= tag= mac=",
			   it->key);
}

static int vhost_check(struct config_builder *b, const struct vm_vhost_config *d)
{
	if (!d->path)
		return config_fail(b, "no socket: give socket=PATH");
	if (!d->id)
		return config_fail(b,
				   "no type: give type=block, net, fs, console, rng or a number");
	if (d->tag[0] && d->id != VIRTIO_ID_FS)
		return config_fail(b, "tag= goes with type=fs only");
	if (d->has_mac && d->id != VIRTIO_ID_NET)
		return config_fail(b, "mac= goes with type=net only");
	if (d->id == VIRTIO_ID_NET && d->queues && d->queues != 2)
		return config_fail(b, "queues=%u: not supported: a network device has two queues",
				   d->queues);
	if (d->id == VIRTIO_ID_FS && d->queues == 1)
		return config_fail(b, "queues=1; type=fs needs two at least");
	return 0;
}

/* The words of @value; the first one is the socket where @id is known already. */
static int vhost_add(struct config_builder *b, const char *value, uint32_t id)
{
	if (b->c->nr_vhost == VM_MAX_VHOST)
		return config_fail(b, "more than %d devices; give fewer", VM_MAX_VHOST);
	struct vm_vhost_config *d = &b->c->vhost[b->c->nr_vhost];
	*d = (struct vm_vhost_config){ .option = b->now->name, .id = id };
	b->c->nr_vhost++; /* from here on config_fini() frees it */
	struct kv_iter it = { .at = value };
	for (bool is_first = true; kv_next(&it); is_first = false) {
		int err = is_first && id && !it.has_val ? vhost_socket(b, d, it.val)
							: vhost_key(b, d, &it);
		if (it.is_bad)
			err = opt_bad_part(b, &it, value);
		if (err)
			return err;
	}
	return vhost_check(b, d);
}

int opt_vhost_user(struct config_builder *b, const char *v)
{
	return vhost_add(b, v, 0);
}

int opt_vhost_user_blk(struct config_builder *b, const char *v)
{
	return vhost_add(b, v, VIRTIO_ID_BLOCK);
}

int opt_vhost_user_net(struct config_builder *b, const char *v)
{
	return vhost_add(b, v, VIRTIO_ID_NET);
}

/* "SOCKET:tag": what stands behind the last colon, unless that is part of a path. */
int opt_vhost_user_fs(struct config_builder *b, const char *v)
{
	int err = vhost_add(b, v, VIRTIO_ID_FS);
	struct vm_vhost_config *d = &b->c->vhost[b->c->nr_vhost - 1];
	char *colon = err ? NULL : strrchr(d->path, ':');
	if (err || !colon || strchr(colon, '/'))
		return err;
	if (d->tag[0])
		return config_fail(b, "the tag is given twice; give it once");
	*colon = 0;
	if (!d->path[0])
		return config_fail(b, "no socket: give SOCKET:tag");
	return vhost_tag(b, d, colon + 1);
}
