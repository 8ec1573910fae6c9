/* top.c - `vmm top`: what running VMs do, second by second, and what it costs. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "cli.h"
#include "control.h"
#include "sight.h"
#include "vm/vm.h"

#define TOP_MAX_VMS     16
#define TOP_MAX_DEVICES 128 /* of one VM; more are not shown */
#define TOP_INTERVAL_S  1.0

enum { TOP_INTERVAL = 256, TOP_COUNT };

/* Counters of a device, at one moment. */
struct top_device {
	char name[40];
	long long requests, kicks, interrupts;
	uint64_t cpu_ns;
	bool has_cpu;
	long long process; /* whose CPU time it is */
};

struct top_vm {
	const char *socket;
	uint64_t at_ns; /* of the look before; 0: none */
	uint64_t vcpu_ns, exits;
	struct top_device devices[TOP_MAX_DEVICES];
	unsigned nr;
};

struct top_args {
	double interval_s;
	unsigned long count; /* of tables; 0: no end */
	bool is_terminal;
};

/* --- looking --- */

static void top_look_device(struct top_device *t, const json_t *status, const json_t *d)
{
	(void)snprintf(t->name, sizeof(t->name), "%s", sight_text(d, "name")); /* cut is fine */
	t->requests = sight_queues(d, "requests");
	t->kicks = sight_queues(d, "kicks");
	t->interrupts = sight_queues(d, "interrupts");
	t->process = sight_int(d, "process");
	t->has_cpu = sight_device_ns(status, d, &t->cpu_ns);
}

static uint64_t top_vcpu_ns(const json_t *status)
{
	uint64_t sum = 0, ns;
	for (unsigned i = 0; i < sight_int(status, "vcpus"); i++)
		if (sight_vcpu_ns(status, i, &ns))
			sum += ns;
	return sum;
}

static uint64_t top_exits(const json_t *status)
{
	static const char *const kinds[] = { "pio", "mmio", "other" };
	size_t i;
	json_t *o;
	uint64_t sum = 0;
	json_array_foreach(json_object_get(status, "exits"), i, o) for (unsigned k = 0;
									k < ARRAY_SIZE(kinds); k++)
		sum += (uint64_t)sight_int(o, kinds[k]);
	return sum;
}

/* --- showing --- */

static void top_line_end(const struct top_args *a)
{
	printf("%s\n", a->is_terminal ? "\033[K" : ""); /* what stood there before goes */
}

static double top_rate(long long now, long long before, double s)
{
	return now > before ? (double)(now - before) / s : 0;
}

static const char *top_state(const json_t *d)
{
	return json_is_true(json_object_get(d, "needs_reset")) ? "needs reset"
	       : json_is_true(json_object_get(d, "driver"))    ? "in use"
							       : "no driver";
}

static void top_show_device(const struct top_args *a, const struct top_device *now,
			    const struct top_device *before, double s, const json_t *d)
{
	double cpu_ns = now->cpu_ns > before->cpu_ns ? (double)(now->cpu_ns - before->cpu_ns) : 0;
	double requests = top_rate(now->requests, before->requests, s);
	printf("  %-12s %-10s %10.0f %10.0f %10.0f", now->name, sight_text(d, "kind"), requests,
	       top_rate(now->kicks, before->kicks, s),
	       top_rate(now->interrupts, before->interrupts, s));
	/* of a process that was there at both looks */
	bool has_cpu = now->has_cpu && before->has_cpu && now->process == before->process;
	if (has_cpu)
		printf(" %6.1f", cpu_ns / s / 1e7);
	else
		printf(" %6s", "-");
	if (has_cpu && requests > 0)
		printf(" %9.2f", cpu_ns / s / 1e3 / requests);
	else
		printf(" %9s", "-");
	printf(" %9lld  %s", sight_int(d, "restarts"), top_state(d));
	top_line_end(a);
}

static void top_show_head(const struct top_args *a, const struct top_vm *vm, const json_t *status,
			  uint64_t vcpu_ns, uint64_t exits, double s)
{
	double busy = vcpu_ns > vm->vcpu_ns ? (double)(vcpu_ns - vm->vcpu_ns) : 0;
	printf("%s: %s, up %.0f s, %lld vCPUs %.1f%%, %.0f exits/s, %lld MiB", vm->socket,
	       sight_text(status, "state"), (double)sight_int(status, "uptime_ms") / 1000,
	       sight_int(status, "vcpus"), busy / s / 1e7,
	       top_rate((long long)exits, (long long)vm->exits, s),
	       sight_int(status, "memory_bytes") >> 20);
	top_line_end(a);
	printf("  %-12s %-10s %10s %10s %10s %6s %9s %9s  %s", "DEVICE", "KIND", "REQUESTS/s",
	       "KICKS/s", "IRQS/s", "CPU%", "us/REQ", "RESTARTS", "STATE");
	top_line_end(a);
}

static const struct top_device *top_find(const struct top_vm *vm, const char *name)
{
	for (unsigned i = 0; i < vm->nr; i++)
		if (!strcmp(vm->devices[i].name, name))
			return &vm->devices[i];
	return NULL;
}

/* Look at @vm, show what changed since the last look, if there was one, and keep this one. */
static void top_turn(const struct top_args *a, struct top_vm *vm, const json_t *status)
{
	static struct top_vm now;
	uint64_t vcpu_ns = top_vcpu_ns(status), exits = top_exits(status), at = clock_ns();
	double s = (double)(at - vm->at_ns) / 1e9;
	size_t i;
	json_t *d;
	if (vm->at_ns)
		top_show_head(a, vm, status, vcpu_ns, exits, s);
	now = (struct top_vm){ .socket = vm->socket, .at_ns = at };
	now.vcpu_ns = vcpu_ns;
	now.exits = exits;
	json_array_foreach(json_object_get(status, "devices"), i, d)
	{
		if (now.nr == TOP_MAX_DEVICES)
			break;
		struct top_device *t = &now.devices[now.nr++];
		top_look_device(t, status, d);
		const struct top_device *before = top_find(vm, t->name);
		if (vm->at_ns)
			top_show_device(a, t, before ? before : t, s, d);
	}
	*vm = now;
}

/* --- the command --- */

static int top_usage(const char *what, const char *why)
{
	log_error("top: %s: %s; 'vmm help top' shows how", what, why);
	return VM_EXIT_USAGE;
}

static void top_sleep(double s)
{
	struct timespec t = { .tv_sec = (time_t)s };
	t.tv_nsec = (long)((s - (double)t.tv_sec) * 1e9);
	(void)nanosleep(&t, NULL); /* a short sleep is as good */
}

/* One look at all; false: none of them answers any more. */
static bool top_look(const struct top_args *a, struct top_vm *vms, unsigned nr, int *status)
{
	bool is_any = false;
	for (unsigned i = 0; i < nr; i++) {
		if (!vms[i].socket)
			continue;
		json_t *r = control_ask("top", vms[i].socket, json_pack("{s:s}", "do", "status"),
					false, status);
		if (r)
			top_turn(a, &vms[i], r);
		else
			vms[i].socket = NULL; /* has ended: that was told */
		is_any |= r != NULL;
		json_decref(r);
	}
	return is_any;
}

static int top_run(const struct top_args *a, struct top_vm *vms, unsigned nr)
{
	int status = VM_EXIT_OK;
	if (!top_look(a, vms, nr, &status))
		return status;
	for (unsigned long n = 0; !a->count || n < a->count; n++) {
		top_sleep(a->interval_s);
		if (a->is_terminal)
			printf("\033[H");
		if (!top_look(a, vms, nr, &status))
			break;
		printf("%s", a->is_terminal ? "\033[J" : a->count == n + 1 ? "" : "\n");
		if (fflush(stdout))
			break; /* main() says it */
	}
	return status;
}

static bool top_number(const char *text, double min, double max, double *out)
{
	char *end;
	*out = strtod(text, &end);
	return end != text && !*end && *out >= min && *out <= max;
}

int cmd_top(int argc, char **argv)
{
	static const struct option longs[] = { { "interval", required_argument, NULL,
						 TOP_INTERVAL },
					       { "count", required_argument, NULL, TOP_COUNT },
					       { 0 } };
	static struct top_vm vms[TOP_MAX_VMS];
	struct top_args a = { .interval_s = TOP_INTERVAL_S, .is_terminal = isatty(STDOUT_FILENO) };
	double count = a.is_terminal ? 0 : 1;
	opterr = 0;
	optind = 0; /* begin anew, wherever the last command line ended */
	for (int opt; (opt = getopt_long(argc, argv, ":", longs, NULL)) != -1;) {
		if (opt == ':')
			return top_usage(cli_option(argv), "needs a value");
		if (opt == '?')
			return top_usage(cli_option(argv), "unknown option");
		if (opt == TOP_INTERVAL && !top_number(optarg, 0.05, 3600, &a.interval_s))
			return top_usage(optarg, "--interval is a number of seconds, 0.05 to 3600");
		if (opt == TOP_COUNT &&
		    (!top_number(optarg, 1, 1e9, &count) || count != (double)(unsigned long)count))
			return top_usage(optarg, "--count is a number of tables, from 1");
	}
	a.count = (unsigned long)count;
	unsigned nr = (unsigned)(argc - optind);
	if (!nr)
		return top_usage("SOCKET", "is missing");
	if (nr > TOP_MAX_VMS)
		return top_usage(argv[optind + TOP_MAX_VMS], "too many VMs");
	for (unsigned i = 0; i < nr; i++)
		vms[i] = (struct top_vm){ .socket = argv[optind + (int)i] };
	if (a.is_terminal)
		printf("\033[H\033[2J");
	return top_run(&a, vms, nr);
}
