/* run.c - `vmm run`: the command line becomes a configuration, the configuration a VM. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "cli.h"
#include "vm/config.h"
#include "vm/vm.h"

#define RUN_MAX_OPTIONS 128
#define RUN_FIRST_LONG  256 /* values below are letters */

struct run_options {
	struct option longs[RUN_MAX_OPTIONS + 2];
	char shorts[2 * RUN_MAX_OPTIONS + 4];
};

enum { RUN_VERBOSE = RUN_FIRST_LONG + RUN_MAX_OPTIONS };

static void run_build_options(struct run_options *r)
{
	char *s = r->shorts;
	*s++ = ':'; /* tell a missing value from an unknown option */
	*s++ = 'v';
	BUG_ON(config_nr_options > RUN_MAX_OPTIONS);
	for (unsigned i = 0; i < config_nr_options; i++) {
		const struct config_option *o = &config_options[i];
		r->longs[i] = (struct option){ o->name, o->value ? required_argument : no_argument,
					       NULL, (int)(RUN_FIRST_LONG + i) };
		if (o->letter) {
			*s++ = o->letter;
			if (o->value)
				*s++ = ':';
		}
	}
	r->longs[config_nr_options] = (struct option){ "verbose", no_argument, NULL, RUN_VERBOSE };
}

static int run_index_of(int opt)
{
	if (opt >= RUN_FIRST_LONG)
		return opt - RUN_FIRST_LONG;
	for (unsigned i = 0; i < config_nr_options; i++)
		if (config_options[i].letter == opt)
			return (int)i;
	return -1;
}

static int run_positional(struct config_builder *b, int argc, char **argv)
{
	if (argc - optind > 1)
		return config_fail(
			b, "'%s': only one kernel; quote kernel arguments and give them with -p",
			argv[optind + 1]);
	if (optind == argc)
		return 0;
	int kernel = config_find("kernel");
	BUG_ON(kernel < 0);
	return config_set(b, (unsigned)kernel, argv[optind]);
}

/* The options that are the configuration file, or all the others. */
static int run_options(struct config_builder *b, const struct run_options *r, bool is_file,
		       int argc, char **argv)
{
	const int file = config_find("config");
	opterr = 0;
	optind = 0; /* begin anew */
	for (int opt, err; (opt = getopt_long(argc, argv, r->shorts, r->longs, NULL)) != -1;) {
		if (opt == ':')
			return config_fail(b, "%s: needs a value; 'vmm run --help' shows which",
					   cli_option(argv));
		if (opt == '?')
			return config_fail(
				b,
				"%s: unknown option, or a value it does not take; 'vmm run "
				"--help' lists them",
				cli_option(argv));
		if (opt == 'v' || opt == RUN_VERBOSE) {
			log_set_level(LOG_LEVEL_DEBUG);
			continue;
		}
		int index = run_index_of(opt);
		err = (index == file) == is_file ? config_set(b, (unsigned)index, optarg) : 0;
		if (err)
			return err;
	}
	return 0;
}

/* The file first, wherever it is named: the command line overrides it, and adds to it. */
static int run_parse(struct config_builder *b, int argc, char **argv)
{
	struct run_options r = { 0 };
	run_build_options(&r);
	int err = run_options(b, &r, true, argc, argv);
	if (!err)
		err = run_options(b, &r, false, argc, argv);
	if (!err)
		err = run_positional(b, argc, argv);
	return err ? err : config_finish(b);
}

int cmd_run(int argc, char **argv)
{
	struct vm_config c;
	struct config_builder b = { .c = &c, .origin = CONFIG_FROM_ARGS };
	config_init(&c);
	int err = run_parse(&b, argc, argv);
	int status = err ? cli_refused(&b, err) : (int)vm_run(&c);
	config_fini(&c);
	return status;
}
