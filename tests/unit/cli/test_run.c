/* test_run.c - `vmm run`: what a command line and a configuration file say together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/num.h"
#include "src/cli/cli.h"
#include "vm/config.h"
#include "vm/vm.h"

#define MAX_ARGS 40

/* --- the VM that is made, and the program that refuses to --- */

static char made[1024]; /* what it is */
static char why[512];   /* what was wrong */

enum vm_status vm_run(const struct vm_config *c)
{
	int at = snprintf(made, sizeof(made), "kernel %s, %llu MiB, params '%s'",
			  c->kernel ? c->kernel : "-", (unsigned long long)(c->ram_bytes / MIB),
			  c->params);
	for (unsigned i = 0; i < c->nr_disks; i++)
		at += snprintf(made + at, sizeof(made) - (size_t)at, ", disk %s%s",
			       c->disks[i].path, c->disks[i].is_readonly ? " ro" : "");
	if (c->nr_cpus != 1)
		at += snprintf(made + at, sizeof(made) - (size_t)at, ", %u vCPUs of %u threads%s",
			       c->nr_cpus, c->topology.threads,
			       c->vcpu_affinity[0] ? " pinned" : "");
	if (c->place.prefault)
		at += snprintf(made + at, sizeof(made) - (size_t)at, ", prefault");
	if (c->sandbox == VM_SANDBOX_REQUIRE)
		(void)snprintf(made + at, sizeof(made) - (size_t)at, ", sandbox required");
	return VM_EXIT_OK;
}

int cli_refused(const struct config_builder *b, int err)
{
	assert_true(err < 0);
	(void)snprintf(why, sizeof(why), "%s", b->err.text);
	return VM_EXIT_USAGE;
}

/* --- the command line --- */

/* `vmm` with the words of @line, which may name the file "vm.json" of the text @json. */
static int run(const char *json, const char *line)
{
	char copy[1024], *argv[MAX_ARGS + 1], *rest = NULL;
	int argc = 0, fd = open("vm.json", O_CREAT | O_TRUNC | O_WRONLY, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, json, strlen(json)), (ssize_t)strlen(json));
	close(fd);
	(void)snprintf(copy, sizeof(copy), "%s", line);
	for (char *s = strtok_r(copy, " ", &rest); s && argc < MAX_ARGS;
	     s = strtok_r(NULL, " ", &rest))
		argv[argc++] = s;
	argv[argc] = NULL;
	made[0] = why[0] = 0;
	return cmd_run(argc, argv);
}

static int setup(void **state)
{
	char *folder = strdup("/tmp/run-XXXXXX");
	*state = folder;
	return mkdtemp(folder) ? chdir(folder) : -1;
}

static int teardown(void **state)
{
	int err = unlink("vm.json") || chdir("/") || rmdir(*state);
	free(*state);
	return err;
}

static const struct {
	const char *json, *line, *made;
} rows[] = {
	{ "{\"mem\": \"1G\"}", "run --config vm.json k", "kernel k, 1024 MiB, params ''" },
	{ "{\"mem\": \"1G\"}", "run --config vm.json -m 2G k", "kernel k, 2048 MiB, params ''" },
	{ "{\"mem\": \"1G\"}", "run -m 2G --config vm.json k", "kernel k, 2048 MiB, params ''" },
	{ "{\"mem\": \"1G\", \"kernel\": \"j\"}", "run k -m 2G --config vm.json",
	  "kernel k, 2048 MiB, params ''" },
	{ "{\"params\": [\"a\", \"b\"]}", "run -p c --config vm.json k",
	  "kernel k, 256 MiB, params 'a b c'" },
	{ "{\"disk\": \"a\"}", "run --rwdisk b --config vm.json k",
	  "kernel k, 256 MiB, params '', disk a ro, disk b" },
	{ "{\"disable-sandbox\": true}", "run --sandbox=require --config vm.json k",
	  "kernel k, 256 MiB, params '', sandbox required" },
	{ "{\"sandbox\": \"require\"}", "run --disable-sandbox --config vm.json k",
	  "kernel k, 256 MiB, params ''" },
	/* an option is overridden with all its parts */
	{ "{\"mem\": \"1G,hugepages=1G,prefault\"}", "run --config vm.json -m 512M k",
	  "kernel k, 512 MiB, params ''" },
	{ "{\"mem\": \"1G\"}", "run --config vm.json -m prefault=on k",
	  "kernel k, 256 MiB, params '', prefault" },
	{ "{\"cpus\": \"4,topology=1:4:1:1,max=4,affinity=3=0\"}", "run --config vm.json -c 2 k",
	  "kernel k, 256 MiB, params '', 2 vCPUs of 2 threads" },
	{ "{\"cpu-affinity\": \"0\"}", "run --config vm.json -c 2 k",
	  "kernel k, 256 MiB, params '', 2 vCPUs of 2 threads pinned" },
	{ "{\"cpu-affinity\": \"3=0\"}", "run --config vm.json -c 2,affinity=0=0 k",
	  "kernel k, 256 MiB, params '', 2 vCPUs of 2 threads pinned" },
	{ "{\"root\": \"a\", \"disk\": \"b\"}", "run --config vm.json --root c k",
	  "kernel k, 256 MiB, params '', disk c ro, disk b ro" },
	{ "{\"disk\": \"b\", \"root\": \"a\"}", "run --config vm.json --rwroot c k",
	  "kernel k, 256 MiB, params '', disk b ro, disk c" },
};

static void the_command_line_overrides_the_file_wherever_it_is_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int status = run(rows[i].json, rows[i].line);
		if (status || strcmp(made, rows[i].made) != 0)
			fail_msg("%s, %s: %d '%s' %s", rows[i].json, rows[i].line, status, made,
				 why);
	}
}

static const struct {
	const char *json, *line, *why;
} mistakes[] = {
	{ "{}", "run --config vm.json", "no kernel" },
	{ "{}", "run -m 1G --config vm.json -m 2G k", "--mem: given twice" },
	{ "{}", "run --config vm.json --config vm.json k", "--config: given twice" },
	{ "{\"mem\": \"0\"}", "run -m 1G --config vm.json k", "--mem: '0' is too small" },
	{ "{}", "run -r a --rwroot b k", "a root disk is given 2 times" },
	{ "{\"root\": \"a\"}", "run --config vm.json -r b --rwroot c k",
	  "a root disk is given 2 times" },
	{ "{}", "run -c 1,affinity=0 --cpu-affinity 0 k", "--cpu-affinity: a CPU set for all" },
	{ "{}", "run -c 2,affinity=0=0 --cpu-affinity 0=0 k", "vCPU 0 is given twice" },
	{ "{}", "run --config", "--config: needs a value" },
	{ "{}", "run --colour k", "--colour: unknown option" },
};

static void a_mistake_makes_no_vm(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		int status = run(mistakes[i].json, mistakes[i].line);
		if (status != VM_EXIT_USAGE || *made || !strstr(why, mistakes[i].why))
			fail_msg("%s, %s: %d '%s' %s", mistakes[i].json, mistakes[i].line, status,
				 made, why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_command_line_overrides_the_file_wherever_it_is_named),
		cmocka_unit_test(a_mistake_makes_no_vm),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
