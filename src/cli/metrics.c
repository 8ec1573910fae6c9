/*
 * metrics.c - `vmm metrics`: counters of running VMs as Prometheus reads them, or as JSON.
 * Prometheus text exposition format 0.0.4.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/num.h"
#include "cli.h"
#include "control.h"
#include "sight.h"
#include "vm/vm.h"

#define METRICS_MAX_VMS    64
#define METRICS_MAX_LABELS 5

struct label {
	const char *key, *value;
};

struct metric;

/* Where samples go: one metric of one VM. */
struct sink {
	const struct metric *metric;
	const char *vm;
	json_t *samples; /* NULL: text, on standard output */
	bool has_failed; /* out of memory */
};

/* One name with all its samples; @key: of a JSON member, @arg: what emit() makes of it. */
struct metric {
	const char *name, *type, *help;
	void (*emit)(struct sink *s, const json_t *status);
	const char *key;
};

/* --- samples --- */

static void sample_text(const struct sink *s, const struct label *labels, unsigned nr, double value)
{
	printf("vmm_%s", s->metric->name);
	for (unsigned i = 0; i < nr; i++) {
		printf("%s%s=\"", i ? "," : "{", labels[i].key);
		for (const char *c = labels[i].value; *c; c++) {
			if (*c == '\\' || *c == '"')
				(void)putchar('\\'); /* main() looks at the stream */
			if (*c == '\n')
				printf("\\n");
			else
				(void)putchar(*c);
		}
		printf("\"");
	}
	/* what is counted is whole, and small enough for all its digits */
	if (value == (double)(long long)value)
		printf("} %lld\n", (long long)value);
	else
		printf("} %.9f\n", value);
}

static void sample_json(struct sink *s, const struct label *labels, unsigned nr, double value)
{
	json_t *o = json_object(), *all = json_object();
	int err = !o || !all;
	for (unsigned i = 0; !err && i < nr; i++)
		err = json_object_set_new(o, labels[i].key, json_string(labels[i].value));
	err = err || json_object_set_new(all, "name", json_sprintf("vmm_%s", s->metric->name)) ||
	      json_object_set(all, "labels", o) ||
	      json_object_set_new(all, "value",
				  value == (double)(long long)value
					  ? json_integer((json_int_t)value)
					  : json_real(value)) ||
	      json_array_append(s->samples, all);
	s->has_failed |= err;
	json_decref(o);
	json_decref(all);
}

/* @labels besides that of the VM. */
static void sample(struct sink *s, const struct label *labels, unsigned nr, double value)
{
	struct label all[METRICS_MAX_LABELS] = { { "vm", s->vm } };
	for (unsigned i = 0; i < nr; i++)
		all[i + 1] = labels[i];
	if (s->samples)
		sample_json(s, all, nr + 1, value);
	else
		sample_text(s, all, nr + 1, value);
}

/* --- of a VM --- */

static void emit_info(struct sink *s, const json_t *status)
{
	const struct label l = { "version", sight_text(status, "version") };
	sample(s, &l, 1, 1);
}

static void emit_state(struct sink *s, const json_t *status)
{
	static const char *const states[] = { "running", "suspending", "suspended" };
	for (unsigned i = 0; i < ARRAY_SIZE(states); i++) {
		const struct label l = { "state", states[i] };
		sample(s, &l, 1, !strcmp(sight_text(status, "state"), states[i]));
	}
}

static void emit_uptime(struct sink *s, const json_t *status)
{
	sample(s, NULL, 0, (double)sight_int(status, "uptime_ms") / 1000);
}

static void emit_member(struct sink *s, const json_t *status)
{
	sample(s, NULL, 0, (double)sight_int(status, s->metric->key));
}

static void emit_vcpu_seconds(struct sink *s, const json_t *status)
{
	for (unsigned i = 0; i < sight_int(status, "vcpus"); i++) {
		uint64_t ns;
		char index[16];
		(void)snprintf(index, sizeof(index), "%u", i); /* fits */
		const struct label l = { "vcpu", index };
		if (sight_vcpu_ns(status, i, &ns))
			sample(s, &l, 1, (double)ns / 1e9);
	}
}

static void emit_vcpu_exits(struct sink *s, const json_t *status)
{
	static const char *const kinds[] = { "pio", "mmio", "signal", "other" };
	size_t i;
	json_t *exits;
	json_array_foreach(json_object_get(status, "exits"), i, exits)
	{
		char index[24];
		(void)snprintf(index, sizeof(index), "%zu", i); /* fits */
		for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
			const struct label l[] = { { "vcpu", index }, { "kind", kinds[k] } };
			sample(s, l, 2, (double)sight_int(exits, kinds[k]));
		}
	}
}

/* --- of its devices --- */

/* Call @fn for each. */
static void emit_devices(struct sink *s, const json_t *status,
			 void (*fn)(struct sink *s, const json_t *status, const json_t *device,
				    const struct label *name))
{
	size_t i;
	json_t *d;
	json_array_foreach(json_object_get(status, "devices"), i, d)
	{
		const struct label name = { "device", sight_text(d, "name") };
		fn(s, status, d, &name);
	}
}

static void device_info(struct sink *s, const json_t *status, const json_t *device,
			const struct label *name)
{
	const struct label l[] = { *name,
				   { "kind", sight_text(device, "kind") },
				   { "pci", sight_text(device, "pci") },
				   { "version", sight_text(device, "version") } };
	(void)status;
	sample(s, l, 4, 1);
}

static void emit_device_info(struct sink *s, const json_t *status)
{
	emit_devices(s, status, device_info);
}

static void device_seconds(struct sink *s, const json_t *status, const json_t *device,
			   const struct label *name)
{
	uint64_t ns;
	if (sight_device_ns(status, device, &ns))
		sample(s, name, 1, (double)ns / 1e9);
}

static void emit_device_seconds(struct sink *s, const json_t *status)
{
	emit_devices(s, status, device_seconds);
}

static void device_member(struct sink *s, const json_t *status, const json_t *device,
			  const struct label *name)
{
	const json_t *v = json_object_get(device, s->metric->key);
	(void)status;
	sample(s, name, 1, json_is_boolean(v) ? json_is_true(v) : (double)json_integer_value(v));
}

static void emit_device_member(struct sink *s, const json_t *status)
{
	emit_devices(s, status, device_member);
}

static void device_pause(struct sink *s, const json_t *status, const json_t *device,
			 const struct label *name)
{
	(void)status;
	sample(s, name, 1, (double)sight_int(device, "longest_pause_us") / 1e6);
}

static void emit_device_pause(struct sink *s, const json_t *status)
{
	emit_devices(s, status, device_pause);
}

static void device_bytes(struct sink *s, const json_t *status, const json_t *device,
			 const struct label *name)
{
	const json_t *disk = json_object_get(device, "disk");
	(void)status;
	if (disk)
		sample(s, name, 1, (double)sight_int(disk, "bytes"));
}

static void emit_disk_bytes(struct sink *s, const json_t *status)
{
	emit_devices(s, status, device_bytes);
}

/* Not of devices that somebody else serves: nobody knows. */
static void device_queues(struct sink *s, const json_t *status, const json_t *device,
			  const struct label *name)
{
	size_t i;
	json_t *q;
	(void)status;
	json_array_foreach(json_object_get(device, "queues"), i, q)
	{
		char index[24];
		(void)snprintf(index, sizeof(index), "%zu", i); /* fits */
		const struct label l[] = { *name, { "queue", index } };
		if (json_object_get(q, s->metric->key))
			sample(s, l, 2, (double)sight_int(q, s->metric->key));
	}
}

static void emit_queues(struct sink *s, const json_t *status)
{
	emit_devices(s, status, device_queues);
}

static const struct metric metrics[] = {
	{ "info", "gauge", "The program that runs the VM.", emit_info, NULL },
	{ "state", "gauge", "1 for the state the VM is in.", emit_state, NULL },
	{ "uptime_seconds", "gauge", "Since the guest began.", emit_uptime, NULL },
	{ "memory_bytes", "gauge", "Guest RAM.", emit_member, "memory_bytes" },
	{ "vcpu_cpu_seconds_total", "counter", "CPU time of a vCPU's thread, the guest's included.",
	  emit_vcpu_seconds, NULL },
	{ "vcpu_exits_total", "counter", "Exits of a vCPU that reached user space.",
	  emit_vcpu_exits, NULL },
	{ "device_info", "gauge", "A device, and the program that serves it.", emit_device_info,
	  NULL },
	{ "device_cpu_seconds_total", "counter",
	  "CPU time of the process of a device, kernel workers included; 0 again after a restart.",
	  emit_device_seconds, NULL },
	{ "device_restarts_total", "counter", "Processes of a device that were replaced.",
	  emit_device_member, "restarts" },
	{ "device_longest_pause_seconds", "gauge", "The longest time a device had no process.",
	  emit_device_pause, NULL },
	{ "device_needs_reset", "gauge", "1: the device waits for its driver to reset it.",
	  emit_device_member, "needs_reset" },
	{ "disk_bytes", "gauge", "Size of a disk.", emit_disk_bytes, NULL },
	{ "queue_requests_total", "counter", "Requests of the driver that were completed.",
	  emit_queues, "requests" },
	{ "queue_kicks_total", "counter", "Notifications that woke the worker.", emit_queues,
	  "kicks" },
	{ "queue_interrupts_total", "counter", "Interrupts sent to the driver.", emit_queues,
	  "interrupts" },
	{ "queue_faults_total", "counter", "Faults of the driver.", emit_queues, "faults" },
};

/* --- the command --- */

struct metrics_args {
	bool is_json;
	const char *const *sockets;
	unsigned nr;
};

/* All samples of all VMs; a NULL status is of one that did not answer. */
static void metrics_emit(const struct metrics_args *a, json_t *const *statuses, struct sink *s)
{
	for (unsigned m = 0; m < ARRAY_SIZE(metrics); m++) {
		s->metric = &metrics[m];
		if (!a->is_json)
			printf("# HELP vmm_%s %s\n# TYPE vmm_%s %s\n", metrics[m].name,
			       metrics[m].help, metrics[m].name, metrics[m].type);
		for (unsigned i = 0; i < a->nr; i++) {
			s->vm = a->sockets[i];
			if (statuses[i])
				metrics[m].emit(s, statuses[i]);
		}
	}
}

static int metrics_print(const struct metrics_args *a, json_t *const *statuses)
{
	struct sink s = { .samples = a->is_json ? json_array() : NULL };
	metrics_emit(a, statuses, &s);
	bool has_failed = s.has_failed || (a->is_json && !s.samples);
	if (a->is_json && !has_failed) {
		/* or the stream failed, which main() sees */
		has_failed = json_dumpf(s.samples, stdout, JSON_INDENT(1)) && !ferror(stdout);
		printf("\n");
	}
	json_decref(s.samples);
	if (!has_failed)
		return VM_EXIT_OK;
	log_error("metrics: %s", strerror(ENOMEM));
	return VM_EXIT_HOST;
}

static int metrics_usage(const char *what, const char *why)
{
	log_error("metrics: %s: %s; 'vmm help metrics' shows how", what, why);
	return VM_EXIT_USAGE;
}

int cmd_metrics(int argc, char **argv)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' }, { 0 } };
	struct metrics_args a = { 0 };
	json_t *statuses[METRICS_MAX_VMS] = { NULL };
	int status = VM_EXIT_OK, one;
	opterr = 0;
	optind = 0; /* begin anew, wherever the last command line ended */
	for (int opt; (opt = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		if (opt != 'j')
			return metrics_usage(cli_option(argv), "unknown option");
		a.is_json = true;
	}
	a.sockets = (const char *const *)argv + optind;
	a.nr = (unsigned)(argc - optind);
	if (!a.nr)
		return metrics_usage("SOCKET", "is missing");
	if (a.nr > METRICS_MAX_VMS)
		return metrics_usage(a.sockets[METRICS_MAX_VMS], "too many VMs");
	for (unsigned i = 0; i < a.nr; i++) {
		statuses[i] = control_ask("metrics", a.sockets[i],
					  json_pack("{s:s}", "do", "status"), false, &one);
		status = one ? one : status;
	}
	bool is_any = false;
	for (unsigned i = 0; i < a.nr; i++)
		is_any |= statuses[i] != NULL;
	one = is_any ? metrics_print(&a, statuses) : VM_EXIT_OK;
	for (unsigned i = 0; i < a.nr; i++)
		json_decref(statuses[i]);
	return one ? one : status;
}
