/* config.c - defaults, release, and what options say together. See vm/config.h. */
#include "vm/config.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/num.h"
#include "config_opts.h"

void config_init(struct vm_config *c)
{
	*c = (struct vm_config){
		.nr_cpus = 1,
		.ram_bytes = CONFIG_DEFAULT_RAM,
		.place = CONFIG_DEFAULT_PLACE,
#ifdef COMPILER_TSAN
		.sandbox = VM_SANDBOX_OFF, /* TSan does not survive the clone() of a device */
#endif
	};
}

void config_fini(struct vm_config *c)
{
	char *strings[] = { c->kernel,     c->initrd,     c->bios,  c->params,
			    c->kvm_device, c->syslog_tag, c->socket };
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
		free(strings[i]);
	config_affinity_fini(c);
	free(c->rt_cpus);
	for (unsigned i = 0; i < c->nr_disks; i++)
		config_disk_fini(&c->disks[i]);
	for (unsigned i = 0; i < c->nr_vhost; i++)
		free(c->vhost[i].path);
	for (unsigned i = 0; i < c->nr_serial; i++) {
		free(c->serial[i].path);
		free(c->serial[i].input);
	}
	for (unsigned i = 0; i < c->nr_acpi_tables; i++)
		free(c->acpi_tables[i]);
	*c = (struct vm_config){ 0 };
}

void config_shorten(char *out, size_t cap, const char *text)
{
	static const char gap[] = "[...]";
	const size_t len = strlen(text), head = (cap - sizeof(gap)) / 2;
	if (len < cap) {
		memcpy(out, text, len + 1);
		return;
	}
	memcpy(out, text, head);
	memcpy(out + head, gap, sizeof(gap) - 1);
	const size_t at = head + sizeof(gap) - 1, rest = cap - at; /* with the end */
	memcpy(out + at, text + len + 1 - rest, rest);
}

int config_fail(struct config_builder *b, const char *fmt, ...)
{
	char text[CONFIG_MESSAGE_BYTES];
	size_t at = 0;
	if (b->now && b->now->set)
		at = (size_t)snprintf(text, sizeof(text), "--%s: ", b->now->name);
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text + at, sizeof(text) - at, fmt, ap); /* cut is fine */
	va_end(ap);
	config_shorten(b->err.text, sizeof(b->err.text), text);
	/* one line, whatever the user's text has in it */
	for (char *s = b->err.text; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
	return -EINVAL;
}

int config_find(const char *name)
{
	for (unsigned i = 0; i < config_nr_options; i++)
		if (!strcmp(config_options[i].name, name))
			return (int)i;
	return -1;
}

int config_set(struct config_builder *b, unsigned index, const char *value)
{
	static_assert(sizeof(b->given) / sizeof(b->given[0]) >= 128, "room for every option");
	const struct config_option *o = &config_options[index];
	BUG_ON(index >= config_nr_options || index >= ARRAY_SIZE(b->given));
	b->now = o;
	if (!o->set)
		return config_fail(b, "--%s: not supported: %s", o->name, o->help);
	if (o->value && (!value || !*value))
		return config_fail(b, "needs a value: %s", o->value);
	if (!o->repeats && b->given[index] == b->origin)
		return config_fail(b, "given twice; give it once");
	b->given[index] = b->origin;
	int err = o->set(b, value);
	b->now = NULL;
	return err;
}

static int config_check_serial(struct config_builder *b)
{
	const struct vm_config *c = b->c;
	unsigned consoles = 0, stdins = 0, used = 0;
	for (unsigned i = 0; i < c->nr_serial; i++) {
		const struct vm_serial_config *s = &c->serial[i];
		consoles += s->is_console;
		stdins += s->is_stdin;
		if (s->is_virtio)
			continue;
		if (used & (1u << s->num))
			return config_fail(b, "--serial: num=%u is given twice; each port once",
					   s->num);
		used |= 1u << s->num;
	}
	if (consoles > 1)
		return config_fail(b, "--serial: 'console' on %u ports; leave it on one", consoles);
	if (stdins > 1)
		return config_fail(b, "--serial: 'stdin' on %u ports; leave it on one", stdins);
	return 0;
}

/* Without any --serial: COM1 on this terminal. */
static void config_default_serial(struct vm_config *c)
{
	if (c->nr_serial)
		return;
	c->serial[c->nr_serial++] = (struct vm_serial_config){
		.type = VM_SERIAL_STDOUT,
		.num = 1,
		.is_console = true,
		.is_stdin = true,
	};
}

static int config_check_disks(struct config_builder *b)
{
	unsigned roots = 0;
	for (unsigned i = 0; i < b->c->nr_disks; i++)
		roots += b->c->disks[i].is_root;
	if (roots > 1)
		return config_fail(b, "%s: a root disk is given %u times; only one can be root",
				   b->c->disks[b->c->nr_disks - 1].option, roots);
	return 0;
}

/* What --cpus and --no-smt say of the CPUs' places; afterwards the topology is never empty. */
static int config_check_topology(struct config_builder *b)
{
	struct vm_config *c = b->c;
	struct machine_topology *t = &c->topology;
	bool is_given = t->threads;
	if (c->max_cpus && c->max_cpus < c->nr_cpus)
		return config_fail(b, "--cpus: max=%u is less than the %u vCPUs; leave it out",
				   c->max_cpus, c->nr_cpus);
	if (c->max_cpus > c->nr_cpus)
		return config_fail(b,
				   "--cpus: max=%u: not supported: vCPUs cannot be added to a "
				   "running VM yet; give %u now",
				   c->max_cpus, c->max_cpus);
	if (!is_given)
		t->threads = c->no_smt || c->nr_cpus % 2 ? 1 : 2;
	if (is_given && c->no_smt && t->threads > 1)
		return config_fail(b, "--no-smt: topology= has %u threads a core; leave one out",
				   t->threads);
	if (!is_given)
		*t = (struct machine_topology){ t->threads, c->nr_cpus / t->threads, 1, 1 };
	uint64_t n = (uint64_t)t->threads * t->cores * t->dies * t->packages;
	if (n != c->nr_cpus)
		return config_fail(b,
				   "--cpus: topology=%u:%u:%u:%u makes %llu vCPUs, not %u; let "
				   "the product be their number",
				   t->threads, t->cores, t->dies, t->packages,
				   (unsigned long long)n, c->nr_cpus);
	return 0;
}

/* A set for all vCPUs, once their number is known; those with a set of their own keep it. */
static int config_spread_affinity(struct vm_config *c)
{
	for (unsigned i = 0; c->affinity_all && i < c->nr_cpus; i++) {
		if (c->vcpu_affinity[i])
			continue;
		c->vcpu_affinity[i] = malloc(sizeof(cpu_set_t));
		if (!c->vcpu_affinity[i])
			return -ENOMEM;
		*c->vcpu_affinity[i] = *c->affinity_all;
	}
	return 0;
}

/* The node that all vCPUs are pinned to. */
static int config_node_of_vcpus(const struct vm_config *c)
{
	int node = PLACE_NODE_ANY;
	for (unsigned i = 0; i < c->nr_cpus; i++) {
		if (!c->vcpu_affinity[i])
			return PLACE_NODE_ANY;
		for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
			if (!CPU_ISSET(cpu, c->vcpu_affinity[i]))
				continue;
			int n = place_node_of_cpu((int)cpu);
			if (node != PLACE_NODE_ANY && n != node)
				return PLACE_NODE_ANY;
			node = n;
		}
	}
	return node;
}

/* The workers of disks that have no CPUs of their own: on the node of vCPUs or memory. */
static int config_place_workers(struct vm_config *c, int node)
{
	cpu_set_t allowed, near;
	if (sched_getaffinity(0, sizeof(allowed), &allowed) || !place_cpus_of_node(node, &near) ||
	    !place_narrow(&near, &allowed))
		return 0;
	for (unsigned i = 0; i < c->nr_disks; i++) {
		struct vm_disk_config *d = &c->disks[i];
		if (d->cpus)
			continue;
		d->cpus = malloc(sizeof(*d->cpus));
		if (!d->cpus)
			return -ENOMEM;
		*d->cpus = near;
	}
	return 0;
}

static int config_place(struct vm_config *c)
{
	int node = config_node_of_vcpus(c);
	if (c->numa_auto)
		c->place.node = node;
	return config_place_workers(c, node == PLACE_NODE_ANY ? c->place.node : node);
}

static int config_check_cpus(struct config_builder *b)
{
	struct vm_config *c = b->c;
	for (unsigned i = c->nr_cpus; i < VM_MAX_CPUS; i++)
		if (c->vcpu_affinity[i])
			return config_fail(
				b, "--cpu-affinity: vCPU %u does not exist; there are %u (--cpus)",
				i, c->nr_cpus);
	for (size_t i = c->nr_cpus; c->rt_cpus && i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, c->rt_cpus))
			return config_fail(
				b, "--rt-cpus: vCPU %zu does not exist; there are %u (--cpus)", i,
				c->nr_cpus);
	uint64_t page = place_page_bytes(c->place.pages);
	if (!is_aligned(c->ram_bytes, page))
		return config_fail(
			b,
			"--mem: the size is not a multiple of the %llu MiB huge pages; give one, "
			"or leave out hugepages=",
			(unsigned long long)(page / MIB));
	return 0;
}

int config_finish(struct config_builder *b)
{
	struct vm_config *c = b->c;
	b->now = NULL;
	if (!c->kernel && !c->bios)
		return config_fail(b,
				   "no kernel: give the path of a bzImage or vmlinux, or --bios");
	if (c->kernel && c->bios)
		return config_fail(b, "--bios: cannot be combined with a kernel; leave one out");
	if (c->bios && (c->initrd || c->params))
		return config_fail(b, "--bios: --initrd and --params go with a kernel only");
	int err = config_check_serial(b);
	if (!err)
		err = config_check_disks(b);
	if (!err)
		err = config_check_cpus(b);
	if (!err)
		err = config_check_topology(b);
	if (err)
		return err;
	err = config_spread_affinity(c);
	if (err)
		return err;
	config_default_serial(c);
	err = config_place(c);
	if (err)
		return err;
	if (!c->params)
		c->params = strdup("");
	if (!c->kvm_device)
		c->kvm_device = strdup("/dev/kvm");
	return c->params && c->kvm_device ? 0 : -ENOMEM;
}
