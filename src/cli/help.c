/* help.c - what `vmm help` and `vmm COMMAND --help` print, made from the tables themselves. */
#include <stdio.h>
#include <string.h>
#include "cli.h"
#include "vm/config.h"
#include "vm/vm.h"

static void help_options(void)
{
	printf("\nOptions:\n");
	for (unsigned i = 0; i < config_nr_options; i++) {
		const struct config_option *o = &config_options[i];
		if (!o->set)
			continue;
		if (o->letter)
			printf("  -%c, --%s%s%s\n", o->letter, o->name, o->value ? " " : "",
			       o->value ? o->value : "");
		else
			printf("      --%s%s%s\n", o->name, o->value ? " " : "",
			       o->value ? o->value : "");
		printf("          %s\n", o->help);
	}
	printf("  -v, --verbose\n          say more of what is done\n");
	printf("\nExit status: 0 the guest powered off or was stopped, 1 the host failed, 2 bad "
	       "usage,\n"
	       "32 the guest reset itself, 33 a vCPU crashed.\n"
	       "On a terminal, Ctrl-A x stops the VM.\n"
	       "\nExample:\n  vmm run -m 1G -c 2 --rwroot disk.img -i initrd.img vmlinuz\n");
}

/* A line for each form of the command. */
static void help_usage(const struct cli_command *c)
{
	const char *lead = "Usage:", *s = c->synopsis, *end;
	for (; (end = strstr(s, " | ")); s = end + 3, lead = "      ")
		printf("%s vmm %s %.*s\n", lead, c->name, (int)(end - s), s);
	printf("%s vmm %s %s\n", lead, c->name, s);
}

void help_print(const struct cli_command *c)
{
	help_usage(c);
	printf("\n%s%s.\n", c->run ? "" : "Not supported: ", c->help);
	if (c->run == cmd_run)
		help_options();
	if (c->options)
		printf("\n%s", c->options);
}

int cmd_help(int argc, char **argv)
{
	if (argc > 2) {
		fprintf(stderr, "vmm: help: '%s': give one command\n", argv[2]);
		return VM_EXIT_USAGE;
	}
	if (argc > 1) {
		const struct cli_command *c = cli_find(argv[1]);
		if (!c) {
			fprintf(stderr, "vmm: help: unknown command '%s'; 'vmm help' lists them\n",
				argv[1]);
			return VM_EXIT_USAGE;
		}
		help_print(c);
		return 0;
	}
	printf("Usage: vmm COMMAND [ARGUMENTS]\n\nA virtual machine monitor for "
	       "Linux/KVM.\n\nCommands:\n");
	for (unsigned i = 0; i < cli_nr_commands; i++)
		if (cli_commands[i].run)
			printf("  %-10s %s\n", cli_commands[i].name, cli_commands[i].help);
	printf("\n'vmm help COMMAND' tells more.\n");
	return 0;
}
