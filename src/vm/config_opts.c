/* config_opts.c - every option of `vmm run`: its name, its help; values that several of them read.
 */
#include "config_opts.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/num.h"

int opt_string(struct config_builder *b, char **field, const char *value)
{
	(void)b;
	char *copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

int opt_cpu_set(struct config_builder *b, const char *text, cpu_set_t **out)
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

int opt_bool(struct config_builder *b, const struct kv_iter *it, bool *out)
{
	if (kv_bool(it->has_val ? it->val : NULL, out))
		return 0;
	return config_fail(b, "%s=%s; give on or off", it->key, it->val);
}

int opt_bad_part(struct config_builder *b, const struct kv_iter *it, const char *value)
{
	if (it->is_twice)
		return config_fail(b, "'%s' is given twice; give it once", it->key);
	return config_fail(b,
			   "'%s' has an empty or overlong part; one comma separates two parts, "
			   "',,' is a comma in one",
			   value);
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

static int opt_socket(struct config_builder *b, const char *v)
{
	return opt_string(b, &b->c->socket, v);
}

static int opt_dry_run(struct config_builder *b, const char *v)
{
	if (strcmp(v, "text") != 0 && strcmp(v, "json") != 0)
		return config_fail(b, "'%s' is unknown; give text or json", v);
	b->c->dry_run = *v == 't' ? VM_DRY_TEXT : VM_DRY_JSON;
	return 0;
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
		return config_fail(b, "more than %d tables; give fewer", VM_MAX_TABLES);
	int err = opt_string(b, &b->c->acpi_tables[b->c->nr_acpi_tables], v);
	b->c->nr_acpi_tables += !err;
	return err;
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
	{ "cpus", 'c', "N[,affinity=SET][,topology=THREADS:CORES:DIES:PACKAGES][,max=N]", false,
	  "number of vCPUs (1); two threads a core unless odd, one package", opt_cpus },
	{ "mem", 'm', "SIZE[,hugepages=2M|1G|thp][,prefault][,numa=auto|NODE][,shared]", false,
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
	  "[,workers=N|auto][,cpus=SET]"
	  "[,poll=adaptive|off|always][,poll-us=N][,packed][,id=NAME][,block-size=N]"
	  "[,bps=SIZE[:BURST]][,iops=N[:BURST]][,discard=on|off][,wce=on|off]",
	  true,
	  "disk, in full; format=null,size=SIZE completes at once. Defaults: buffered, a queue for "
	  "each vCPU (16 at most) of 256 entries, a worker for each queue as far as there are host "
	  "CPUs, anywhere; poll=adaptive, split rings, no limits, write cache on, discard where "
	  "the file can",
	  opt_block },
	{ "vhost-user-blk", 0, "SOCKET[,queues=N][,queue-size=N]", true,
	  "disk that somebody else serves over vhost-user; as --vhost-user type=block",
	  opt_vhost_user_blk },
	{ "vhost-user-net", 0, "SOCKET[,mac=ADDR]", true,
	  "network card that somebody else serves; as --vhost-user type=net", opt_vhost_user_net },
	{ "vhost-user-fs", 0, "SOCKET[:TAG][,queues=N]", true,
	  "folder that somebody else shares; as --vhost-user type=fs", opt_vhost_user_fs },
	{ "vhost-user", 0,
	  "type=block|net|fs|rng|console|ID,socket=PATH[,queues=N][,queue-size=N][,tag=TAG]"
	  "[,mac=ADDR]",
	  true,
	  "device behind somebody else's vhost-user socket, which may be restarted; ID is the "
	  "number "
	  "of a virtio device. Defaults: the server's queues (fs with a tag, net: 2) of 256 "
	  "entries, "
	  "its configuration",
	  opt_vhost_user },
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
	{ "sandbox", 0, "auto|require|off", false,
	  "jail of each device: as far as this host can; all of it or no start; none (auto)",
	  opt_sandbox },
	{ "disable-sandbox", 0, NULL, false, "as --sandbox=off: every device in this process",
	  opt_disable_sandbox },
	{ "socket", 's', "PATH", false,
	  "control socket for 'vmm stop', 'vmm status' and others; in a folder: vmm-PID.sock",
	  opt_socket },
	{ "dry-run", 0, "text|json", false,
	  "make the machine, print what was chosen for each device, and end", opt_dry_run },
	{ "seccomp-log-failures", 0, NULL, false,
	  "log system calls that are not allowed, and let them pass", opt_seccomp_log_failures },
	{ "config", 0, "FILE", false, "JSON file of options; the command line overrides it",
	  opt_config },
	LATER("net", "…",
	      "there is no network device yet; let another program serve one: --vhost-user-net"),
	LATER("host_ip", "ADDR", "there is no network device yet"),
	LATER("netmask", "MASK", "there is no network device yet"),
	LATER("mac", "ADDR", "there is no network device yet"),
	LATER("tap-fd", "FD",
	      "there is no network device yet; let another program serve one: --vhost-user-net"),
	LATER("net-vq-pairs", "N", "there is no network device yet"),
	LATER("vhost-net", NULL, "there is no network device yet"),
	LATER("cid", "CID", "there is no vsock device yet"),
	LATER("vsock", "…", "there is no vsock device yet"),
	LATER("shared-dir", "…",
	      "there is no file-sharing device yet; let another program serve one: "
	      "--vhost-user-fs"),
	LATER("fs", "…",
	      "there is no file-sharing device yet; let another program serve one: "
	      "--vhost-user-fs"),
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
	LATER("seccomp-policy-dir", "DIR", "the lists are built in"),
	LATER("restore", "DIR", "there are no snapshots yet"),
};
const unsigned config_nr_options = ARRAY_SIZE(config_options);
