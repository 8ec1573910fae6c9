/* describe.c - what a VM is and does, for people and programs. docs/control.md. */
#include <errno.h>
#include <jansson.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/num.h"
#include "vm_priv.h"

int vm_find_device(const struct vm *vm, const char *name)
{
	for (unsigned i = 0; i < vm->nr_vdevs; i++)
		if (!strcmp(virtio_pci_vdev(vm->vdevs[i])->id, name))
			return (int)i;
	return -1;
}

/*
 * A path, as far as JSON can say it: one that is no UTF-8 has a question mark for each byte that is
 * not ASCII. NULL is null.
 */
static json_t *describe_path(const char *path)
{
	if (!path)
		return json_null();
	json_t *o = json_string(path);
	char *copy = o ? NULL : strdup(path);
	for (char *s = copy; s && *s; s++)
		if (*s & 0x80)
			*s = '?';
	if (copy)
		o = json_string(copy);
	free(copy);
	return o;
}

/* --- disks --- */

static const char *describe_poll(const struct blk_info *i)
{
	if (!i->spin_ns)
		return "off";
	return i->spin_ns == REACTOR_SPIN_ALWAYS ? "always" : "adaptive";
}

/* Microseconds, or null: measured on this host when it is needed. */
static json_t *describe_poll_us(const struct blk_info *i)
{
	bool is_known = i->spin_ns && i->spin_ns < REACTOR_SPIN_AUTO;
	return is_known ? json_integer((json_int_t)(i->spin_ns / 1000)) : json_null();
}

/* A set of host CPUs as "0,2-3"; null: any. */
static json_t *describe_cpus(const cpu_set_t *set)
{
	char text[1024] = "";
	size_t at = 0;
	if (!set)
		return json_null();
	for (size_t i = 0, end; i < CPU_SETSIZE && at + 16 < sizeof(text); i = end + 1) {
		for (end = i; end < CPU_SETSIZE && CPU_ISSET(end, set); end++)
			;
		if (end == i)
			continue;
		int n = snprintf(text + at, sizeof(text) - at, end - i > 1 ? "%s%zu-%zu" : "%s%zu",
				 at ? "," : "", i, end - 1);
		at += n > 0 ? (size_t)n : 0;
	}
	return json_string(text);
}

/* 0: no limit, which is null. */
static json_t *describe_limit(uint64_t n)
{
	return n ? json_integer((json_int_t)n) : json_null();
}

static json_t *describe_limits(const struct blk_limits *l)
{
	return json_pack("{s:o, s:o, s:o, s:o}", "bps", describe_limit(l->bytes_per_s), "bps_burst",
			 describe_limit(l->burst_bytes), "iops", describe_limit(l->ops_per_s),
			 "iops_burst", describe_limit(l->burst_ops));
}

static json_t *describe_disk(const struct vm *vm, unsigned dev, const struct blk_info *i)
{
	const struct vm_disk_config *d = &vm->c->disks[dev];
	return json_pack("{s:o, s:s, s:s, s:I, s:i, s:b, s:b, s:s, s:i, s:i, s:i, s:o, s:s, s:o, "
			 "s:b, s:b, s:b, s:o}",
			 "path", describe_path(d->path), "file", i->file, "engine", i->engine,
			 "bytes", (json_int_t)i->size_bytes, "block_bytes", (int)i->block_bytes,
			 "readonly", i->is_readonly, "direct", i->is_direct, "rings",
			 i->has_packed ? "split or packed" : "split", "queues", (int)i->nr_queues,
			 "queue_size", (int)i->queue_size, "workers", (int)i->nr_workers, "cpus",
			 describe_cpus(d->cpus), "poll", describe_poll(i), "poll_us",
			 describe_poll_us(i), "discard", i->has_discard, "write_cache",
			 !i->is_write_through, "null", !d->path, "limits",
			 describe_limits(&vm->limits[dev]));
}

/* --- devices --- */

static json_t *describe_queue(struct vdev *d, uint16_t idx)
{
	struct vq_stats s;
	bool is_known = vdev_queue_stats(d, idx, &s);
	json_t *o = json_pack("{s:i, s:b}", "size", (int)vdev_queue_size(d, idx), "enabled",
			      vdev_queue_enabled(d, idx));
	if (!o || !is_known)
		return o;
	json_t *counters = json_pack("{s:I, s:I, s:I, s:I}", "requests", (json_int_t)s.requests,
				     "kicks", (json_int_t)s.kicks, "interrupts",
				     (json_int_t)s.interrupts, "faults", (json_int_t)s.errors);
	if (!json_object_update_new(o, counters))
		return o;
	json_decref(o);
	return NULL;
}

static json_t *describe_queues(struct vdev *d)
{
	json_t *all = json_array();
	int err = !all;
	for (uint16_t i = 0; i < d->nr_queues && !err; i++)
		err = json_array_append_new(all, describe_queue(d, i));
	if (!err)
		return all;
	json_decref(all);
	return NULL;
}

json_t *vm_describe_device(struct vm *vm, unsigned dev)
{
	struct vdev *d = virtio_pci_vdev(vm->vdevs[dev]);
	struct vm_device_info info;
	char slot[16];
	vm->device_ops[dev]->info(vm, dev, &info);
	(void)snprintf(slot, sizeof(slot), "00:%02x.0", vm->slots[dev]); /* fits */
	uint8_t status = vdev_status(d);
	json_t *process = info.pid ? json_integer(info.pid) : json_null();
	const char *binary = info.binary[0] ? info.binary : NULL;
	const char *version = info.version[0] ? info.version : NULL;
	json_t *o = json_pack("{s:s, s:s, s:s, s:o, s:s?, s:o, s:i, s:I, s:I, s:b, s:b, s:o}",
			      "name", d->id, "kind", d->ops->name, "pci", slot, "process", process,
			      "version", version, "binary", describe_path(binary), "restarts",
			      (int)info.restarts, "last_pause_us",
			      (json_int_t)(info.last_pause_ns / 1000), "longest_pause_us",
			      (json_int_t)(info.longest_pause_ns / 1000), "driver",
			      status & VIRTIO_CONFIG_S_DRIVER_OK, "needs_reset",
			      status & VIRTIO_CONFIG_S_NEEDS_RESET, "queues", describe_queues(d));
	if (!o || !info.has_disk)
		return o;
	if (!json_object_set_new(o, "disk", describe_disk(vm, dev, &info.disk)))
		return o;
	json_decref(o);
	return NULL;
}

json_t *vm_describe_devices(struct vm *vm)
{
	json_t *all = json_array();
	int err = !all;
	for (unsigned i = 0; i < vm->nr_vdevs && !err; i++)
		err = json_array_append_new(all, vm_describe_device(vm, i));
	if (!err)
		return all;
	json_decref(all);
	return NULL;
}

/* Counters of a vCPU's thread, each by itself. */
static json_int_t describe_count(const uint64_t *counter)
{
	return (json_int_t)__atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* Exits of each vCPU that reached user space. */
static json_t *describe_exits(const struct vm *vm)
{
	json_t *all = json_array();
	int err = !all;
	for (unsigned i = 0; vm->cpus && i < vm->c->nr_cpus && !err; i++) {
		const struct vcpu_stats *s = vcpu_stats_of(vm->cpus[i].vcpu);
		err = json_array_append_new(all, json_pack("{s:I, s:I, s:I, s:I}", "pio",
							   describe_count(&s->pio), "mmio",
							   describe_count(&s->mmio), "signal",
							   describe_count(&s->signals), "other",
							   describe_count(&s->other)));
	}
	if (!err)
		return all;
	json_decref(all);
	return NULL;
}

json_t *vm_describe(struct vm *vm)
{
	uint64_t up_ms = (clock_ns() - vm->started_ns) / (1000 * 1000);
	return json_pack("{s:s, s:I, s:i, s:s, s:i, s:I, s:o, s:o}", "state", vm_state_name(vm),
			 "uptime_ms", (json_int_t)up_ms, "process", (int)getpid(), "version",
			 VMM_VERSION, "vcpus", (int)vm->c->nr_cpus, "memory_bytes",
			 (json_int_t)vm->c->ram_bytes, "exits", describe_exits(vm), "devices",
			 vm_describe_devices(vm));
}

/* --- on standard output --- */

static void print_limit(const char *unit, uint64_t rate, uint64_t burst)
{
	if (rate)
		printf(", %s %llu", unit, (unsigned long long)rate);
	if (rate && burst)
		printf(" (burst %llu)", (unsigned long long)burst);
}

static void print_disk(const struct vm *vm, unsigned dev, const struct blk_info *i)
{
	const struct vm_disk_config *d = &vm->c->disks[dev];
	const struct blk_limits *l = &vm->limits[dev];
	printf("  %s, %s, %s%s, %llu bytes in blocks of %u\n", d->path ? d->path : "no image",
	       i->file, i->is_direct ? "direct" : "buffered", i->is_readonly ? ", read-only" : "",
	       (unsigned long long)i->size_bytes, i->block_bytes);
	printf("  engine %s, %u queues of %u, %s, %u workers, poll %s\n", i->engine, i->nr_queues,
	       i->queue_size, i->has_packed ? "split or packed" : "split", i->nr_workers,
	       describe_poll(i));
	printf("  write cache %s, discard %s", i->is_write_through ? "off" : "on",
	       i->has_discard ? "on" : "off");
	print_limit("bps", l->bytes_per_s, l->burst_bytes);
	print_limit("iops", l->ops_per_s, l->burst_ops);
	printf("\n");
}

static void print_text(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nr_vdevs; i++) {
		const struct vdev *d = virtio_pci_vdev(vm->vdevs[i]);
		struct vm_device_info info;
		vm->device_ops[i]->info(vm, i, &info);
		printf("%s: %s at 00:%02x.0, %s\n", d->id, d->ops->name, vm->slots[i],
		       info.pid ? "in a process of its own" : "in this process");
		if (info.has_disk)
			print_disk(vm, i, &info.disk);
	}
}

enum vm_status vm_print_choices(struct vm *vm)
{
	if (vm->c->dry_run == VM_DRY_TEXT) {
		print_text(vm);
	} else {
		json_t *all = vm_describe_devices(vm);
		int err = all ? json_dumpf(all, stdout, JSON_INDENT(1)) : -1;
		json_decref(all);
		if (err)
			return vm_fail_errno(all ? -EIO : -ENOMEM, "printing the choices");
		printf("\n");
	}
	bool is_out = !fflush(stdout) && !ferror(stdout);
	return is_out ? VM_EXIT_OK : vm_fail_errno(-errno, "standard output");
}
