/* config_opts.c - every option of `vmm run`: its name, its help, and how its value is read. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/num.h"
#include "config_kv.h"
#include "vm/config.h"

#define SIZE_HINT "a number with K, M, G or T, such as 512M"

static int opt_string(struct config_builder *b, char **field, const char *value)
{
	(void)b;
	char *copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static int opt_kernel(struct config_builder *b, const char *v)
{
	return opt_string(b, &b->c->kernel, v);
}

static int opt_initrd(struct config_builder *b, const char *v)
{
	return opt_string(b, &b->c->initrd, v);
}

static int opt_bios(struct config_builder *b, const char *v)
{
	return opt_string(b, &b->c->bios, v);
}

static int opt_kvm_device(struct config_builder *b, const char *v)
{
	return opt_string(b, &b->c->kvm_device, v);
}

static int opt_syslog_tag(struct config_builder *b, const char *v)
{
	return opt_string(b, &b->c->syslog_tag, v);
}

static int opt_params(struct config_builder *b, const char *v)
{
	char *joined;
	const char *old = b->c->params ? b->c->params : "";
	if (asprintf(&joined, "%s%s%s", old, *old ? " " : "", v) < 0)
		return -ENOMEM;
	free(b->c->params);
	b->c->params = joined;
	return 0;
}

static int opt_acpi_table(struct config_builder *b, const char *v)
{
	if (b->c->nr_acpi_tables == VM_MAX_TABLES)
		return config_fail(b, "more than %d tables", VM_MAX_TABLES);
	int err = opt_string(b, &b->c->acpi_tables[b->c->nr_acpi_tables], v);
	b->c->nr_acpi_tables += !err;
	return err;
}

/* Everything runs in one process, so there is nothing to switch off. */
static int opt_disable_sandbox(struct config_builder *b, const char *v)
{
	(void)b;
	(void)v;
	return 0;
}

/* --- CPUs --- */

static int opt_cpu_set(struct config_builder *b, const char *text, cpu_set_t **out)
{
	cpu_set_t *set = malloc(sizeof(*set));
	if (!set)
		return -ENOMEM;
	if (!kv_cpus(text, set)) {
		free(set);
		return config_fail(
			b, "'%s' is not a CPU set; give numbers and ranges such as 0,2-3", text);
	}
	free(*out);
	*out = set;
	return 0;
}

/* "SET" for every vCPU, or "0=SET:1=SET". */
static int opt_cpu_affinity(struct config_builder *b, const char *value)
{
	if (!strchr(value, '='))
		return opt_cpu_set(b, value, &b->c->affinity_all);
	char *copy = strdup(value), *rest = NULL;
	int err = copy ? 0 : -ENOMEM;
	for (char *s = copy ? strtok_r(copy, ":", &rest) : NULL; s && !err;
	     s = strtok_r(NULL, ":", &rest)) {
		char *eq = strchr(s, '=');
		uint64_t cpu = 0;
		if (eq)
			*eq = 0;
		if (!eq || !kv_number(s, 0, VM_MAX_CPUS - 1, &cpu))
			err = config_fail(b, "'%s' is not VCPU=SET; give e.g. 0=2:1=3", s);
		else if (b->c->vcpu_affinity[cpu])
			err = config_fail(b, "vCPU %s is given twice", s);
		else
			err = opt_cpu_set(b, eq + 1, &b->c->vcpu_affinity[cpu]);
	}
	free(copy);
	return err;
}

static int opt_rt_cpus(struct config_builder *b, const char *v)
{
	return opt_cpu_set(b, v, &b->c->rt_cpus);
}

static int opt_no_smt(struct config_builder *b, const char *v)
{
	(void)v;
	b->c->no_smt = true;
	return 0;
}

static int opt_cpus(struct config_builder *b, const char *value)
{
	struct kv_iter it = { .at = value };
	for (bool is_first = true; kv_next(&it); is_first = false) {
		uint64_t n;
		int err = 0;
		if (is_first && !it.has_val) {
			if (!kv_number(it.val, 1, VM_MAX_CPUS, &n))
				return config_fail(b, "'%s' vCPUs; give a number from 1 to %d",
						   it.val, VM_MAX_CPUS);
			b->c->nr_cpus = (unsigned)n;
		} else if (it.has_val && !strcmp(it.key, "affinity")) {
			err = opt_cpu_affinity(b, it.val);
		} else if (!strcmp(it.key, "max") || !strcmp(it.key, "topology")) {
			return config_fail(
				b,
				"%s=: not supported: vCPUs are fixed, two threads a core "
				"(or --no-smt)",
				it.key);
		} else {
			return config_fail(b, "unknown part '%s'; known: N, affinity=", it.key);
		}
		if (err)
			return err;
	}
	return 0;
}

/* --- memory --- */

static int opt_mem_pages(struct config_builder *b, const char *v)
{
	static const struct {
		const char *name;
		enum gmem_pages pages;
	} kinds[] = { { "2M", GMEM_PAGES_2M }, { "1G", GMEM_PAGES_1G }, { "thp", GMEM_PAGES_THP } };
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!strcmp(v, kinds[i].name)) {
			b->c->place.pages = kinds[i].pages;
			return 0;
		}
	}
	return config_fail(b, "hugepages=%s is unknown; give 2M, 1G or thp", v);
}

static int opt_mem_numa(struct config_builder *b, const char *v)
{
	uint64_t node;
	b->c->numa_auto = !strcmp(v, "auto");
	if (b->c->numa_auto)
		return 0;
	if (!kv_number(v, 0, 1023, &node) || !place_node_exists((int)node))
		return config_fail(b,
				   "numa=%s is not a node of this host; give a number that "
				   "'numactl -H' lists, or auto",
				   v);
	b->c->place.node = (int)node;
	return 0;
}

static int opt_mem_size(struct config_builder *b, const char *v)
{
	uint64_t bytes;
	if (!kv_size(v, MIB, &bytes))
		return config_fail(
			b, "'%s' is not a size; give " SIZE_HINT " (a bare number is MiB)", v);
	if (bytes < MIB || !is_aligned(bytes, 4 * KIB))
		return config_fail(
			b, "'%s' is too small or odd; give at least 1M, in whole 4K pages", v);
	b->c->ram_bytes = bytes;
	return 0;
}

static int opt_mem(struct config_builder *b, const char *value)
{
	struct kv_iter it = { .at = value };
	for (bool is_first = true; kv_next(&it); is_first = false) {
		int err = 0;
		if (is_first && !it.has_val)
			err = opt_mem_size(b, it.val);
		else if (it.has_val && !strcmp(it.key, "size"))
			err = opt_mem_size(b, it.val);
		else if (it.has_val && !strcmp(it.key, "hugepages"))
			err = opt_mem_pages(b, it.val);
		else if (it.has_val && !strcmp(it.key, "numa"))
			err = opt_mem_numa(b, it.val);
		else if (!strcmp(it.key, "prefault")) {
			if (!kv_bool(it.has_val ? it.val : NULL, &b->c->place.prefault))
				err = config_fail(b, "prefault=%s; give on or off", it.val);
		} else
			err = config_fail(
				b, "unknown part '%s'; known: SIZE, hugepages=, numa=, prefault",
				it.key);
		if (err)
			return err;
	}
	return 0;
}

/* --- disks --- */

static int disk_bool(struct config_builder *b, struct kv_iter *it, bool *out)
{
	if (kv_bool(it->has_val ? it->val : NULL, out))
		return 0;
	return config_fail(b, "%s=%s; give on or off", it->key, it->val);
}

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
	int err = disk_bool(b, it, &on);
	d->discard = on ? VM_ON : VM_OFF;
	return err;
}

static int disk_key(struct config_builder *b, struct vm_disk_config *d, struct kv_iter *it)
{
	const char *k = it->key;
	if (!strcmp(k, "ro"))
		return disk_bool(b, it, &d->is_readonly);
	if (!strcmp(k, "root"))
		return disk_bool(b, it, &d->is_root);
	if (!strcmp(k, "direct"))
		return disk_bool(b, it, &d->is_direct);
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

static int opt_block(struct config_builder *b, const char *v)
{
	return disk_add(b, v, false, false, false);
}

static int opt_root(struct config_builder *b, const char *v)
{
	return disk_add(b, v, true, true, true);
}

static int opt_rwroot(struct config_builder *b, const char *v)
{
	return disk_add(b, v, true, false, true);
}

static int opt_disk(struct config_builder *b, const char *v)
{
	return disk_add(b, v, true, true, false);
}

static int opt_rwdisk(struct config_builder *b, const char *v)
{
	return disk_add(b, v, true, false, false);
}

/* --- serial ports and consoles --- */

static int serial_type(struct config_builder *b, struct vm_serial_config *s, const char *v)
{
	static const struct {
		const char *name;
		enum vm_serial_type type;
	} types[] = {
		{ "sink", VM_SERIAL_SINK }, { "stdout", VM_SERIAL_STDOUT },
		{ "file", VM_SERIAL_FILE }, { "unix", VM_SERIAL_UNIX },
		{ "pty", VM_SERIAL_PTY },   { "syslog", VM_SERIAL_SYSLOG },
	};
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (!strcmp(v, types[i].name)) {
			s->type = types[i].type;
			return 0;
		}
	}
	return config_fail(b, "type=%s is unknown; give stdout, file, unix, pty, syslog or sink",
			   v);
}

static int serial_hardware(struct config_builder *b, struct vm_serial_config *s, const char *v)
{
	s->is_virtio = !strcmp(v, "virtio-console");
	if (s->is_virtio || !strcmp(v, "serial"))
		return 0;
	return config_fail(b, "hardware=%s is unknown; give serial or virtio-console", v);
}

static int serial_num(struct config_builder *b, struct vm_serial_config *s, const char *v)
{
	uint64_t n;
	if (!kv_number(v, 1, VM_NR_SERIAL, &n))
		return config_fail(b, "num=%s; give a port from 1 to %d", v, VM_NR_SERIAL);
	s->num = (unsigned)n;
	return 0;
}

static int serial_name(struct config_builder *b, struct vm_serial_config *s, const char *v)
{
	if (strlen(v) >= sizeof(s->name))
		return config_fail(b, "name=%s is longer than %zu characters", v,
				   sizeof(s->name) - 1);
	strcpy(s->name, v);
	return 0;
}

static int serial_key(struct config_builder *b, struct vm_serial_config *s, struct kv_iter *it)
{
	const char *k = it->key;
	bool *flag = !strcmp(k, "console")    ? &s->is_console
		     : !strcmp(k, "earlycon") ? &s->is_earlycon
		     : !strcmp(k, "stdin")    ? &s->is_stdin
					      : NULL;
	if (flag)
		return disk_bool(b, it, flag);
	if (!it->has_val || !*it->val)
		return config_fail(
			b,
			"'%s' is unknown or lacks a value; known: type= hardware= num= path= "
			"input= name= console earlycon stdin",
			k);
	if (!strcmp(k, "type"))
		return serial_type(b, s, it->val);
	if (!strcmp(k, "hardware"))
		return serial_hardware(b, s, it->val);
	if (!strcmp(k, "num"))
		return serial_num(b, s, it->val);
	if (!strcmp(k, "path"))
		return opt_string(b, &s->path, it->val);
	if (!strcmp(k, "input"))
		return opt_string(b, &s->input, it->val);
	if (!strcmp(k, "name"))
		return serial_name(b, s, it->val);
	return config_fail(
		b,
		"unknown key '%s'; known: type= hardware= num= path= input= name= console "
		"earlycon stdin",
		k);
}

static int serial_check(struct config_builder *b, const struct vm_serial_config *s)
{
	bool needs_path = s->type == VM_SERIAL_FILE || s->type == VM_SERIAL_UNIX;
	if (needs_path && !s->path)
		return config_fail(b, "type=file and type=unix need path=");
	if (!needs_path && s->path)
		return config_fail(b, "path= goes with type=file and type=unix only");
	if (s->is_earlycon && s->is_virtio)
		return config_fail(b, "earlycon goes with hardware=serial only");
	if (s->input && (s->is_stdin || s->type == VM_SERIAL_UNIX || s->type == VM_SERIAL_PTY))
		return config_fail(b,
				   "input= cannot be combined with stdin, type=unix or type=pty");
	if (s->name[0] && !s->is_virtio)
		return config_fail(b, "name= goes with virtio-console only");
	return 0;
}

static int serial_add(struct config_builder *b, const char *value, bool is_virtio)
{
	if (b->c->nr_serial == ARRAY_SIZE(b->c->serial))
		return config_fail(b, "more than %zu ports", ARRAY_SIZE(b->c->serial));
	struct vm_serial_config *s = &b->c->serial[b->c->nr_serial];
	*s = (struct vm_serial_config){ .type = VM_SERIAL_SINK, .num = 1, .is_virtio = is_virtio };
	b->c->nr_serial++; /* from here on config_fini() frees it */
	struct kv_iter it = { .at = value };
	while (kv_next(&it)) {
		int err = it.is_bad ? config_fail(b, "'%s' has an empty or overlong part", value)
				    : serial_key(b, s, &it);
		if (err)
			return err;
	}
	return serial_check(b, s);
}

static int opt_serial(struct config_builder *b, const char *v)
{
	return serial_add(b, v, false);
}

static int opt_console(struct config_builder *b, const char *v)
{
	return serial_add(b, v, true);
}

static int opt_config(struct config_builder *b, const char *v)
{
	if (b->origin == CONFIG_FROM_FILE)
		return config_fail(b, "a configuration file cannot name another");
	enum config_origin origin = b->origin;
	b->origin = CONFIG_FROM_FILE;
	int err = config_load_file(b, v);
	b->origin = origin;
	return err;
}

#define LATER(name, value, why)                                                                    \
	{                                                                                          \
		name, 0, value, true, why, NULL                                                    \
	}

const struct config_option config_options[] = {
	{ "kernel", 0, "PATH", false, "bzImage or vmlinux to boot (or the last argument)",
	  opt_kernel },
	{ "cpus", 'c', "N[,affinity=SET]", false, "number of vCPUs (1)", opt_cpus },
	{ "mem", 'm', "SIZE[,hugepages=2M|1G|thp][,prefault][,numa=auto|NODE]", false,
	  "guest memory; a bare number is MiB (256M)", opt_mem },
	{ "params", 'p', "STRING", true, "kernel arguments; may be repeated", opt_params },
	{ "initrd", 'i', "PATH", false, "initial RAM disk", opt_initrd },
	{ "bios", 0, "PATH", false, "firmware image instead of a kernel", opt_bios },
	{ "root", 'r', "PATH[,KEYS]", false, "read-only root disk (keys as --block)", opt_root },
	{ "rwroot", 0, "PATH[,KEYS]", false, "writable root disk", opt_rwroot },
	{ "disk", 'd', "PATH[,KEYS]", true, "read-only disk", opt_disk },
	{ "rwdisk", 0, "PATH[,KEYS]", true, "writable disk", opt_rwdisk },
	{ "block", 0,
	  "path=PATH[,ro][,root][,format=raw|auto][,direct][,queues=N|auto][,queue-size=N]"
	  "[,cpus=SET][,id=NAME][,block-size=N][,discard=on|off]"
	  "[,poll=adaptive|off|always][,poll-us=N][,workers=N|auto]",
	  true, "disk, in full; format=null,size=SIZE completes at once", opt_block },
	{ "serial", 0,
	  "type=stdout|file|unix|pty|syslog|sink[,hardware=serial|virtio-console][,num=1..4]"
	  "[,path=PATH][,input=PATH][,console][,earlycon][,stdin]",
	  true, "serial port (default: port 1 on this terminal)", opt_serial },
	{ "console", 0, "type=…[,name=NAME][,path=PATH][,input=PATH][,console][,stdin]", true,
	  "virtio console port (as --serial hardware=virtio-console)", opt_console },
	{ "syslog-tag", 0, "TAG", false, "name in the system log for type=syslog (vmm)",
	  opt_syslog_tag },
	{ "cpu-affinity", 0, "SET | VCPU=SET:…", false, "host CPUs the vCPU threads may use",
	  opt_cpu_affinity },
	{ "rt-cpus", 0, "SET", false, "vCPUs that run with real-time priority", opt_rt_cpus },
	{ "no-smt", 0, NULL, false, "show one thread a core", opt_no_smt },
	{ "acpi-table", 0, "PATH", true, "further ACPI table; a DSDT replaces the built-in one",
	  opt_acpi_table },
	{ "kvm-device", 0, "PATH", false, "KVM device (/dev/kvm)", opt_kvm_device },
	{ "disable-sandbox", 0, NULL, false, "run every device in this process (always so today)",
	  opt_disable_sandbox },
	{ "config", 0, "FILE", false, "JSON file of options; the command line overrides it",
	  opt_config },
	LATER("socket", "PATH", "there is no control socket yet; stop the VM with SIGTERM"),
	LATER("net", "…", "there is no network device yet"),
	LATER("host_ip", "ADDR", "there is no network device yet"),
	LATER("netmask", "MASK", "there is no network device yet"),
	LATER("mac", "ADDR", "there is no network device yet"),
	LATER("tap-fd", "FD", "there is no network device yet"),
	LATER("net-vq-pairs", "N", "there is no network device yet"),
	LATER("vhost-net", NULL, "there is no network device yet"),
	LATER("vhost-user-blk", "SOCKET", "there is no vhost-user frontend yet; use --block"),
	LATER("vhost-user-net", "SOCKET", "there is no vhost-user frontend yet"),
	LATER("vhost-user-fs", "SOCKET", "there is no vhost-user frontend yet"),
	LATER("vhost-user", "…", "there is no vhost-user frontend yet"),
	LATER("cid", "CID", "there is no vsock device yet"),
	LATER("vsock", "…", "there is no vsock device yet"),
	LATER("shared-dir", "…", "there is no file-sharing device yet"),
	LATER("fs", "…", "there is no file-sharing device yet"),
	LATER("pmem-device", "PATH", "there is no pmem device yet; use --disk"),
	LATER("rw-pmem-device", "PATH", "there is no pmem device yet; use --rwdisk"),
	LATER("balloon_bias_mib", "N", "there is no balloon device yet"),
	LATER("numa", "…", "guest NUMA nodes are not there yet; bind all memory with --mem numa="),
	LATER("split-irqchip", NULL, "the interrupt chip is always in the kernel"),
	LATER("gdb", "PORT", "there is no debugger stub yet"),
	LATER("pstore", "…", "there is no pstore region yet"),
	LATER("vfio", "PATH", "there is no device pass-through yet"),
	LATER("battery", NULL, "there is no battery device yet"),
	LATER("software-tpm", NULL, "there is no TPM device yet"),
	LATER("gpu", NULL, "there is no graphics device yet"),
	LATER("wayland-sock", "PATH", "there is no graphics device yet"),
	LATER("x-display", "NAME", "there is no graphics device yet"),
	LATER("evdev", "PATH", "there is no input device yet"),
	LATER("keyboard", "PATH", "there is no input device yet"),
	LATER("mouse", "PATH", "there is no input device yet"),
	LATER("single-touch", "PATH", "there is no input device yet"),
	LATER("multi-touch", "PATH", "there is no input device yet"),
	LATER("trackpad", "PATH", "there is no input device yet"),
	LATER("switches", "PATH", "there is no input device yet"),
	LATER("ac97", "…", "there is no sound device yet"),
	LATER("video-decoder", NULL, "there is no video device yet"),
	LATER("video-encoder", NULL, "there is no video device yet"),
	LATER("plugin", "PATH", "there is no plugin interface"),
	LATER("android-fstab", "PATH", "there is no device tree on this board"),
	LATER("protected-vm", NULL, "this board has no protected VMs"),
	LATER("seccomp-policy-dir", "DIR", "the sandbox is not there yet"),
	LATER("seccomp-log-failures", NULL, "the sandbox is not there yet"),
	LATER("sandbox", "MODE", "the sandbox is not there yet"),
	LATER("restore", "DIR", "there are no snapshots yet"),
};
const unsigned config_nr_options = ARRAY_SIZE(config_options);
