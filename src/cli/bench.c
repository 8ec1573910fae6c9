/* bench.c - `vmm bench --host`: what this host's hypervisor is, for people and for machines. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include "arch/hv.h"
#include "base/log.h"
#include "cli.h"
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

int cmd_bench(int argc, char **argv)
{
	bool host = false, json = false;
	for (int i = 1; i < argc; i++) {
		host |= !strcmp(argv[i], "--host");
		json |= !strcmp(argv[i], "--json");
		if (strcmp(argv[i], "--host") && strcmp(argv[i], "--json")) {
			log_error("bench: unknown option '%s'; known: --host, --json", argv[i]);
			return VM_EXIT_USAGE;
		}
	}
	if (!host) {
		log_error("bench: not supported: only 'vmm bench --host' is there yet");
		return VM_EXIT_USAGE;
	}
	struct hv_info info;
	int err = hv_probe(&info, "/dev/kvm");
	if (err) {
		log_error("/dev/kvm: %s; load the kvm module, or join the group kvm",
			  strerror(-err));
		return VM_EXIT_HOST;
	}
	if (json)
		return bench_print_json(&info);
	bench_print_text(&info);
	return 0;
}
