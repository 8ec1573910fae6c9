/* device.c - `vmm device`: a disk of ours as a vhost-user server, and the devices of a VM. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "cli.h"
#include "vm/config.h"
#include "vm/device_server.h"

enum {
	DEVICE_SOCKET = 256,
	DEVICE_FD,
	DEVICE_BLOCK,
	DEVICE_SANDBOX,
	DEVICE_NO_SANDBOX,
	DEVICE_SECCOMP_LOG,
	DEVICE_VERBOSE
};

static int device_usage(const char *what, const char *why)
{
	log_error("device: %s: %s; 'vmm help device' shows how", what, why);
	return -EINVAL;
}

static int device_fd(const char *text, int *fd)
{
	char *end;
	errno = 0;
	long n = strtol(text, &end, 10);
	if (errno || *end || *text < '0' || *text > '9' || n > INT32_MAX)
		return device_usage("--fd", "give the number of a descriptor");
	*fd = (int)n;
	return 0;
}

static int device_option(struct config_builder *b, struct device_endpoint *e, int opt, char **argv)
{
	switch (opt) {
	case DEVICE_SOCKET:
		if (e->path)
			return device_usage("--socket", "given twice; give it once");
		e->path = optarg;
		return *optarg ? 0 : device_usage("--socket", "needs a value");
	case DEVICE_FD:
		if (e->fd >= 0)
			return device_usage("--fd", "given twice; give it once");
		return device_fd(optarg, &e->fd);
	case DEVICE_BLOCK:
		return config_set(b, (unsigned)config_find("block"), optarg);
	case DEVICE_SANDBOX:
		return config_set(b, (unsigned)config_find("sandbox"), optarg);
	case DEVICE_NO_SANDBOX:
		return config_set(b, (unsigned)config_find("disable-sandbox"), NULL);
	case DEVICE_SECCOMP_LOG:
		return config_set(b, (unsigned)config_find("seccomp-log-failures"), NULL);
	case DEVICE_VERBOSE:
	case 'v':
		log_set_level(LOG_LEVEL_DEBUG);
		return 0;
	case ':':
		return device_usage(cli_option(argv), "needs a value");
	default:
		return device_usage(cli_option(argv), "unknown option");
	}
}

static int device_parse(struct config_builder *b, struct device_endpoint *e, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "socket", required_argument, NULL, DEVICE_SOCKET },
		{ "fd", required_argument, NULL, DEVICE_FD },
		{ "block", required_argument, NULL, DEVICE_BLOCK },
		{ "sandbox", required_argument, NULL, DEVICE_SANDBOX },
		{ "disable-sandbox", no_argument, NULL, DEVICE_NO_SANDBOX },
		{ "seccomp-log-failures", no_argument, NULL, DEVICE_SECCOMP_LOG },
		{ "verbose", no_argument, NULL, DEVICE_VERBOSE },
		{ 0 },
	};
	opterr = 0;
	optind = 1;
	for (int opt, err; (opt = getopt_long(argc, argv, ":v", longs, NULL)) != -1;) {
		err = device_option(b, e, opt, argv);
		if (err)
			return err;
	}
	if (optind < argc)
		return device_usage(argv[optind], "unexpected argument");
	if (!e->path == (e->fd < 0))
		return device_usage("--socket, --fd", "give one of the two");
	if (b->c->nr_disks != 1)
		return device_usage("--block", "give it once");
	if (b->c->disks[0].is_root)
		return device_usage("--block", "root: that is for the VM to say; leave it out");
	return 0;
}

int cmd_device(int argc, char **argv)
{
	struct vm_config c;
	struct config_builder b = { .c = &c, .origin = CONFIG_FROM_ARGS };
	struct device_endpoint e = { .fd = -1 };
	if (argc > 1 && !strcmp(argv[1], "list"))
		return cmd_device_list(argc, argv);
	if (argc > 1 && !strcmp(argv[1], "restart"))
		return cmd_device_restart(argc, argv);
	if (argc == 3 && !strcmp(argv[1], DEVICE_INHERITED))
		return (int)device_serve_inherited(argv[2]);
	if (argc < 2 || strcmp(argv[1], "block") != 0) {
		(void)device_usage(argc < 2 ? "block" : argv[1],
				   argc < 2 ? "say which device"
					    : "unknown device; known: block, list, restart");
		return VM_EXIT_USAGE;
	}
	config_init(&c);
	long cpus = sysconf(_SC_NPROCESSORS_ONLN); /* each may be a frontend's vCPU */
	c.nr_cpus = cpus > 0 ? (unsigned)cpus : 1;
	int err = device_parse(&b, &e, argc - 1, argv + 1);
	int status = err ? cli_refused(&b, err) : (int)device_serve_block(&c, &e);
	config_fini(&c);
	return status;
}
