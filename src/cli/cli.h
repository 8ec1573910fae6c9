/*
 * cli.h - the subcommands of `vmm`.
 *
 * Layer:   cli
 * Threads: main only.
 * Errors:  each returns the exit status of the program and has printed its one line.
 * Spec:    README.md, "Quick start"; docs/config.md, docs/control.md.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H
#include <getopt.h>

struct config_builder;

struct cli_command {
	const char *name;
	const char *synopsis; /* after the name; " | " between its forms */
	const char *help;
	int (*run)(int argc,
		   char **argv); /* argv[0] is the command's name; NULL: not supported yet */
	const char *options;     /* lines of help; NULL: none, or made from a table */
};
extern const struct cli_command cli_commands[];
extern const unsigned cli_nr_commands;

int cmd_run(int argc, char **argv);
int cmd_device(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_stop(int argc, char **argv);
/* "suspend", "resume" and "powerbtn", as argv[0] says. */
int cmd_plain(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_metrics(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_disk(int argc, char **argv);
/* Parts of "device"; argv[0] is "device". */
int cmd_device_list(int argc, char **argv);
int cmd_device_restart(int argc, char **argv);
int cmd_help(int argc, char **argv);
int cmd_version(int argc, char **argv);

/*
 * The exit status for options that were refused with @err, and the one line of @b, or for want of
 * memory. What was refused before it came to @b has been told.
 */
int cli_refused(const struct config_builder *b, int err);

/* The option of @argv that getopt refused just now, or whose value it misses. Until the next call.
 */
static inline const char *cli_option(char *const *argv)
{
	static char letter[3] = "-?";
	letter[1] = (char)optopt;
	/* one of several in a word: optind may still point to that word */
	return optopt > 0x20 && optopt < 0x7f ? letter : argv[optind - 1];
}

/* What `vmm COMMAND --help` prints. */
void help_print(const struct cli_command *c);
const struct cli_command *cli_find(const char *name);

#endif
