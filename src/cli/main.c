/* main.c - from argv to a subcommand. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/compiler.h"
#include "base/host_err.h"
#include "base/log.h"
#include "cli.h"
#include "vm/config.h"
#include "vm/vm.h"

static const char device_options[] =
	"  --socket PATH  listen there; one frontend is served at a time\n"
	"  --fd N         a socket that was inherited: listening, or connected to a frontend\n"
	"  --block KEYS   the disk: path=PATH and more, as for 'vmm run --block'\n"
	"  --sandbox auto|require|off, --disable-sandbox, --seccomp-log-failures\n"
	"                 its jail, as for 'vmm run'\n"
	"  -v, --verbose  say more\n"
	"  --json         all that is known, for programs\n"
	"  --binary PATH  the program of the new process\n"
	"\nNAME as 'vmm device list' tells it.\n"
	"\nExample:\n  vmm device block --socket /run/disk.sock --block path=disk.img\n";
static const char disk_options[] =
	"  INDEX          number of the disk, from 0, in the order they were given\n"
	"  SIZE           bytes, or with K, M, G, T; a block device must have that size already\n"
	"  --shrink       smaller is meant: what lies beyond is lost\n"
	"\nExample:\n  vmm disk resize 0 20G vm.sock\n"
	"  vmm disk limit 0 bps=100M:1G,iops=off vm.sock\n";
static const char bench_options[] =
	"  --json         figures for programs\n"
	"  --plot FILE    also a picture (needs gnuplot)\n"
	"  --dir DIR      folder for an image of 256 MiB (/var/tmp)\n"
	"  --direct       past the page cache\n"
	"  --poll HOW     as poll= of a disk (adaptive)\n"
	"  --rounds N     1 to 25; medians are printed (3)\n"
	"  --quick        one short round: does it work?\n"
	"  --verbose      what the guest says\n"
	"  --host         no measurement: what the KVM of this host is and can\n";

const struct cli_command cli_commands[] = {
	{ "run", "[OPTIONS] KERNEL", "boot a VM and stay until it ends", cmd_run, NULL },
	{ "device",
	  "block --socket PATH|--fd N --block KEYS | list SOCKET [--json] | "
	  "restart NAME [--binary PATH] SOCKET",
	  "block: serve a disk to another VMM over vhost-user; list, restart: the devices of a "
	  "running VM",
	  cmd_device, device_options },
	{ "stop", "SOCKET…", "end running VMs, and wait until they have ended", cmd_stop, NULL },
	{ "status", "SOCKET [--json]", "what a running VM is and does", cmd_status,
	  "  --json  all that is known, for programs\n" },
	{ "top", "[--interval S] [--count N] SOCKET…",
	  "what running VMs do, second by second, and what CPU it costs", cmd_top,
	  "  --interval S  seconds between two looks (1)\n"
	  "  --count N     so many tables, then end; without a terminal: 1\n" },
	{ "metrics", "[--json] SOCKET…", "counters of running VMs, as Prometheus reads them",
	  cmd_metrics, "  --json  the same for other programs\n" },
	{ "suspend", "SOCKET…", "have running VMs stand still: no vCPU runs, no I/O is in flight",
	  cmd_plain, NULL },
	{ "resume", "SOCKET…", "have suspended VMs go on", cmd_plain, NULL },
	{ "powerbtn", "SOCKET…", "press the power button of running VMs", cmd_plain, NULL },
	{ "disk", "resize INDEX SIZE [--shrink] SOCKET… | limit INDEX bps=…,iops=… SOCKET…",
	  "change a disk of running VMs: its size, its limits (as --block has them, or off)",
	  cmd_disk, disk_options },
	{ "bench",
	  "[--json] [--plot FILE.svg] [--dir DIR] [--direct] [--poll adaptive|off|always] "
	  "[--rounds N] [--quick] | --host [--json]",
	  "measure what a VM can do on this host; --host: tell what its KVM is", cmd_bench,
	  bench_options },
	{ "version", "", "print the version", cmd_version, NULL },
	{ "help", "[COMMAND]", "explain a command", cmd_help, NULL },
	{ "balloon", "SIZE SOCKET…", "there is no balloon device yet", NULL, NULL },
	{ "balloon_stats", "SOCKET", "there is no balloon device yet", NULL, NULL },
	{ "create_qcow2", "PATH [SIZE]", "there is no qcow2 yet; use 'qemu-img create'", NULL,
	  NULL },
	{ "usb", "attach|detach|list …", "there is no USB controller yet", NULL, NULL },
	{ "battery", "…", "there is no battery device yet", NULL, NULL },
	{ "snapshot", "…", "there are no snapshots yet", NULL, NULL },
};
const unsigned cli_nr_commands = ARRAY_SIZE(cli_commands);

const struct cli_command *cli_find(const char *name)
{
	for (unsigned i = 0; i < cli_nr_commands; i++)
		if (!strcmp(cli_commands[i].name, name))
			return &cli_commands[i];
	return NULL;
}

int cli_refused(const struct config_builder *b, int err)
{
	if (b->err.text[0])
		log_error("%s", b->err.text);
	else if (err == -ENOMEM)
		log_error("the command line: %s%s", strerror(ENOMEM), host_err_remedy(err));
	return host_err_is(err) ? VM_EXIT_HOST : VM_EXIT_USAGE;
}

int cmd_version(int argc, char **argv)
{
	(void)argv;
	if (argc > 1) {
		fprintf(stderr, "vmm: version: takes no arguments\n");
		return VM_EXIT_USAGE;
	}
	printf("vmm %s\n", VMM_VERSION);
	return 0;
}

/*
 * A caller may close standard input, output or error. Files opened later would get their numbers,
 * and the guest's output would land in its disk.
 */
static int main_fill_standard_fds(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		int got = open("/dev/null", O_RDWR); /* the lowest free one: @fd */
		if (got != fd)
			return got < 0 ? -errno : -EBADF;
	}
	return 0;
}

/* "--help" behind a command, wherever; "-h" right behind it, as others may have that letter. */
static bool main_asks_help(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[2], "-h"))
		return true;
	for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (!strcmp(argv[i], "--help"))
			return true;
	return false;
}

static int main_run(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "help";
	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		name = "help";
	if (!strcmp(name, "--version") || !strcmp(name, "-V"))
		name = "version";
	const struct cli_command *c = cli_find(name);
	if (!c) {
		fprintf(stderr, "vmm: unknown command '%s'; 'vmm help' lists them\n", name);
		return VM_EXIT_USAGE;
	}
	if (main_asks_help(argc, argv)) {
		help_print(c);
		return 0;
	}
	if (!c->run) {
		fprintf(stderr, "vmm: %s: not supported: %s\n", c->name, c->help);
		return VM_EXIT_USAGE;
	}
	return argc > 1 ? c->run(argc - 1, argv + 1) : (c->run(1, argv), VM_EXIT_USAGE);
}

/* What was printed may be on its way still; who has failed has said so. */
static int main_flush(int status)
{
	errno = 0;
	if ((!fflush(stdout) && !ferror(stdout)) || status != VM_EXIT_OK)
		return status;
	log_error("standard output: %s", strerror(errno ? errno : EIO));
	return VM_EXIT_HOST;
}

int main(int argc, char **argv)
{
	if (main_fill_standard_fds())
		return VM_EXIT_HOST; /* and nowhere to say so */
	return main_flush(main_run(argc, argv));
}
