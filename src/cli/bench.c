/* bench.c - `vmm bench`: its options; with --host what this host's hypervisor is. */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "arch/hv.h"
#include "base/log.h"
#include "cli.h"
#include "vm/bench.h"
#include "vm/vm.h"

static void bench_print_text(const struct hv_info *i)
{
	printf("KVM:              %s\n",
	       i->kind == HV_HARDWARE ? "hardware virtualization"
				      : "software (PVM): stock kernels do not boot on it");
	printf("API version:      %d\n", i->api_version);
	printf("CPU vendor:       %s\n", i->cpu_vendor);
	printf("address bits:     %u\n", i->phys_bits);
	printf("vCPUs, at most:   %u\n", i->max_vcpus);
	printf("irqfd:            %s\n", i->has_irqfd ? "yes" : "no");
	printf("ioeventfd:        %s\n",
	       i->has_ioeventfd_any_length ? "any length" : "fixed length");
	printf("x2APIC:           %s\n", i->has_x2apic ? "yes" : "no");
	printf("TSC deadline:     %s\n", i->has_tsc_deadline ? "yes" : "no");
	printf("dirty ring:       %s\n", i->has_dirty_ring ? "yes" : "no");
}

static int bench_print_json(const struct hv_info *i)
{
	json_t *o = json_pack("{s:{s:s, s:i, s:s, s:i, s:i, s:b, s:b, s:b, s:b, s:b}}", "kvm",
			      "kind", i->kind == HV_HARDWARE ? "hardware" : "software",
			      "api_version", i->api_version, "cpu_vendor", i->cpu_vendor,
			      "phys_bits", (int)i->phys_bits, "max_vcpus", (int)i->max_vcpus,
			      "irqfd", i->has_irqfd, "ioeventfd_any_length",
			      i->has_ioeventfd_any_length, "x2apic", i->has_x2apic, "tsc_deadline",
			      i->has_tsc_deadline, "dirty_ring", i->has_dirty_ring);
	if (!o || json_dumpf(o, stdout, JSON_INDENT(2)))
		return VM_EXIT_HOST;
	printf("\n");
	json_decref(o);
	return 0;
}

static int bench_host(bool is_json)
{
	struct hv_info info;
	int err = hv_probe(&info, "/dev/kvm");
	if (err) {
		log_error("/dev/kvm: %s; load the kvm module, or join the group kvm",
			  strerror(-err));
		return VM_EXIT_HOST;
	}
	if (is_json)
		return bench_print_json(&info);
	bench_print_text(&info);
	return 0;
}

static int bench_usage(const char *option, const char *why)
{
	log_error("bench: %s: %s; 'vmm help bench' shows how", option, why);
	return VM_EXIT_USAGE;
}

enum {
	BENCH_HOST = 256,
	BENCH_JSON,
	BENCH_PLOT,
	BENCH_DIR,
	BENCH_DIRECT,
	BENCH_POLL,
	BENCH_ROUNDS,
	BENCH_QUICK,
	BENCH_VERBOSE
};

static const struct option bench_options[] = {
	{ "host", no_argument, NULL, BENCH_HOST },
	{ "json", no_argument, NULL, BENCH_JSON },
	{ "plot", required_argument, NULL, BENCH_PLOT },
	{ "dir", required_argument, NULL, BENCH_DIR },
	{ "direct", no_argument, NULL, BENCH_DIRECT },
	{ "poll", required_argument, NULL, BENCH_POLL },
	{ "rounds", required_argument, NULL, BENCH_ROUNDS },
	{ "quick", no_argument, NULL, BENCH_QUICK },
	{ "verbose", no_argument, NULL, BENCH_VERBOSE },
	{ 0 },
};

static int bench_rounds(struct bench_config *c, const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);
	if (*end || *text < '0' || *text > '9' || n < 1 || n > BENCH_MAX_ROUNDS)
		return bench_usage("--rounds", "give a number from 1 to 25");
	c->rounds = (unsigned)n;
	return 0;
}

static int bench_option(struct bench_config *c, bool *host, int opt, char **argv)
{
	switch (opt) {
	case BENCH_HOST:
		*host = true;
		return 0;
	case BENCH_JSON:
		c->is_json = true;
		return 0;
	case BENCH_PLOT:
		c->plot = optarg;
		return *optarg ? 0 : bench_usage("--plot", "needs a value");
	case BENCH_DIR:
		c->folder = optarg;
		return *optarg ? 0 : bench_usage("--dir", "needs a value");
	case BENCH_DIRECT:
		c->is_direct = true;
		return 0;
	case BENCH_POLL:
		c->poll = optarg;
		return strcmp(optarg, "adaptive") && strcmp(optarg, "off") &&
				       strcmp(optarg, "always")
			       ? bench_usage("--poll", "give adaptive, off or always")
			       : 0;
	case BENCH_ROUNDS:
		return bench_rounds(c, optarg);
	case BENCH_QUICK:
		c->rounds = 1;
		c->ms = 25;
		return 0;
	case BENCH_VERBOSE:
		c->is_verbose = true;
		return 0;
	case ':':
		return bench_usage(cli_option(argv), "needs a value");
	default:
		return bench_usage(cli_option(argv), "unknown option");
	}
}

#define BENCH_GIVEN(o) (1u << ((o)-BENCH_HOST))

/* @given: BENCH_GIVEN() of each option that is there. */
static int bench_together(unsigned given)
{
	const unsigned with_host = BENCH_GIVEN(BENCH_HOST) | BENCH_GIVEN(BENCH_JSON) |
				   BENCH_GIVEN(BENCH_VERBOSE);
	const unsigned both = BENCH_GIVEN(BENCH_QUICK) | BENCH_GIVEN(BENCH_ROUNDS);
	if (given & BENCH_GIVEN(BENCH_HOST) && given & ~with_host)
		return bench_usage("--host", "measures nothing; only --json goes with it");
	if ((given & both) == both)
		return bench_usage("--quick", "is one round; give it or --rounds");
	return 0;
}

int cmd_bench(int argc, char **argv)
{
	struct bench_config c = {
		.folder = "/var/tmp", .poll = "adaptive", .rounds = 3, .ms = 120
	};
	bool host = false;
	unsigned given = 0;
	opterr = 0;
	optind = 1;
	for (int opt, st; (opt = getopt_long(argc, argv, ":", bench_options, NULL)) != -1;) {
		st = bench_option(&c, &host, opt, argv);
		if (st)
			return st;
		if (given & BENCH_GIVEN(opt))
			return bench_usage(bench_options[opt - BENCH_HOST].name,
					   "given twice; give it once");
		given |= BENCH_GIVEN(opt);
	}
	if (optind < argc)
		return bench_usage(argv[optind], "unexpected argument");
	int st = bench_together(given);
	if (st)
		return st;
	return host ? bench_host(c.is_json) : (int)vm_bench(&c);
}
