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

const struct cli_command cli_commands[] = {
	{ "run", "[OPTIONS] KERNEL", "boot a VM and stay until it ends", cmd_run },
	{ "device",
	  "block --socket PATH|--fd N --block KEYS | list SOCKET [--json] | "
	  "restart NAME [--binary PATH] SOCKET",
	  "block: serve a disk over vhost-user to another VMM, KEYS as for 'vmm run --block'; "
	  "list, "
	  "restart: the devices of a running VM",
	  cmd_device },
	{ "stop", "SOCKET…", "end running VMs, and wait until they have ended", cmd_stop },
	{ "status", "SOCKET [--json]", "what a running VM is and does", cmd_status },
	{ "powerbtn", "SOCKET…", "press the power button of running VMs", cmd_powerbtn },
	{ "disk", "resize INDEX SIZE [--shrink] SOCKET… | limit INDEX bps=…,iops=… SOCKET…",
	  "change a disk of running VMs: its size, its limits (as --block has them, or off)",
	  cmd_disk },
	{ "bench",
	  "[--json] [--plot FILE.svg] [--dir DIR] [--direct] [--poll adaptive|off|always] "
	  "[--rounds N] [--quick] | --host [--json]",
	  "measure what a VM can do on this host; --host: tell what its KVM is", cmd_bench },
	{ "version", "", "print the version", cmd_version },
	{ "help", "[COMMAND]", "explain a command", cmd_help },
	{ "suspend", "SOCKET…", "VMs cannot do that yet", NULL },
	{ "resume", "SOCKET…", "VMs cannot do that yet", NULL },
	{ "balloon", "SIZE SOCKET…", "there is no balloon device yet", NULL },
	{ "balloon_stats", "SOCKET", "there is no balloon device yet", NULL },
	{ "create_qcow2", "PATH [SIZE]", "there is no qcow2 yet; use 'qemu-img create'", NULL },
	{ "usb", "attach|detach|list …", "there is no USB controller yet", NULL },
	{ "battery", "…", "there is no battery device yet", NULL },
	{ "snapshot", "…", "there are no snapshots yet", NULL },
	{ "top", "SOCKET…", "VMs cannot do that yet", NULL },
	{ "metrics", "SOCKET", "VMs cannot do that yet", NULL },
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

int main(int argc, char **argv)
{
	if (main_fill_standard_fds())
		return VM_EXIT_HOST; /* and nowhere to say so */
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
	if (argc > 2 && (!strcmp(argv[2], "--help") || !strcmp(argv[2], "-h"))) {
		help_print(c);
		return 0;
	}
	if (!c->run) {
		fprintf(stderr, "vmm: %s: not supported: %s\n", c->name, c->help);
		return VM_EXIT_USAGE;
	}
	return argc > 1 ? c->run(argc - 1, argv + 1) : (c->run(1, argv), VM_EXIT_USAGE);
}
