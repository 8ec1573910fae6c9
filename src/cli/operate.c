/* operate.c - commands that speak to running VMs: stop, powerbtn, status, disk, device. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/err.h"
#include "base/log.h"
#include "cli.h"
#include "control.h"
#include "sight.h"
#include "vm/vm.h"

#define OPERATE_MAX_WORDS 64
#define UPGRADE_WAIT_MS   30000 /* for a device to be served again */
#define UPGRADE_TICK_MS   20
#define UPGRADE_GRACE_MS  2000
#define UPGRADE_PATH_MAX  255 /* a VM shows the end of longer ones */

/* What a command line of these commands is made of. */
struct operate_args {
	const char *command;
	bool is_json, may_shrink;
	const char *binary;
	const char *words[OPERATE_MAX_WORDS];
	int nr_words;
};

enum { OPERATE_JSON = 256, OPERATE_SHRINK, OPERATE_BINARY };
#define OPERATE_ALLOW(o) (1u << ((o)-OPERATE_JSON))

static int operate_usage(const char *command, const char *what, const char *why)
{
	log_error("%s: %s: %s; 'vmm help %s' shows how", command, what, why, command);
	return VM_EXIT_USAGE;
}

/* Words and options may be mixed; @allowed: OPERATE_ALLOW() of each that makes sense. */
static int operate_parse(struct operate_args *a, unsigned allowed, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, OPERATE_JSON },
		{ "shrink", no_argument, NULL, OPERATE_SHRINK },
		{ "binary", required_argument, NULL, OPERATE_BINARY },
		{ 0 },
	};
	opterr = 0;
	optind = 0; /* begin anew, wherever the last command line ended */
	for (int opt; (opt = getopt_long(argc, argv, ":", longs, NULL)) != -1;) {
		if (opt == ':')
			return operate_usage(a->command, cli_option(argv), "needs a value");
		if (opt == '?')
			return operate_usage(a->command, cli_option(argv), "unknown option");
		if (!(allowed & OPERATE_ALLOW(opt)))
			return operate_usage(a->command, argv[optind - 1], "unknown option");
		a->is_json |= opt == OPERATE_JSON;
		a->may_shrink |= opt == OPERATE_SHRINK;
		if (opt == OPERATE_BINARY)
			a->binary = optarg;
	}
	for (; optind < argc; optind++) {
		if (a->nr_words == OPERATE_MAX_WORDS)
			return operate_usage(a->command, argv[optind], "too many arguments");
		a->words[a->nr_words++] = argv[optind];
	}
	return VM_EXIT_OK;
}

/* Ask each VM from word @first on; @make makes the request anew for each. */
static int operate_each(const struct operate_args *a, int first, bool until_end,
			json_t *(*make)(const struct operate_args *a))
{
	int status = VM_EXIT_OK, one;
	if (first >= a->nr_words)
		return operate_usage(a->command, "SOCKET", "is missing");
	for (int i = first; i < a->nr_words; i++) {
		json_decref(control_ask(a->command, a->words[i], make(a), until_end, &one));
		status = one ? one : status;
	}
	return status;
}

/* --- stop, suspend, resume, powerbtn --- */

static json_t *make_plain(const struct operate_args *a)
{
	return json_pack("{s:s}", "do", a->command);
}

int cmd_stop(int argc, char **argv)
{
	struct operate_args a = { .command = argv[0] };
	int status = operate_parse(&a, 0, argc, argv);
	return status ? status : operate_each(&a, 0, true, make_plain);
}

int cmd_plain(int argc, char **argv)
{
	struct operate_args a = { .command = argv[0] };
	int status = operate_parse(&a, 0, argc, argv);
	return status ? status : operate_each(&a, 0, false, make_plain);
}

/* --- status, device list --- */

static void print_device(const json_t *d)
{
	const json_t *disk = json_object_get(d, "disk");
	const char *state = json_is_true(json_object_get(d, "needs_reset")) ? "needs reset"
			    : json_is_true(json_object_get(d, "driver"))    ? "in use"
									    : "no driver";
	printf("%-10s %-8s %s  %s, %lld restarts", sight_text(d, "name"), sight_text(d, "kind"),
	       sight_text(d, "pci"), state, sight_int(d, "restarts"));
	if (json_is_string(json_object_get(d, "version")))
		printf(", vmm %s", sight_text(d, "version"));
	if (json_is_string(json_object_get(d, "binary")))
		printf(" (%s)", sight_text(d, "binary"));
	printf("\n");
	if (disk)
		printf("  %s, %lld bytes, %s, engine %s, %lld workers, poll %s\n",
		       sight_text(disk, "path"), sight_int(disk, "bytes"),
		       json_is_true(json_object_get(disk, "direct")) ? "direct" : "buffered",
		       sight_text(disk, "engine"), sight_int(disk, "workers"),
		       sight_text(disk, "poll"));
	size_t i;
	json_t *q, *queues = json_object_get(d, "queues");
	json_array_foreach(queues, i, q) if (json_is_true(json_object_get(q, "enabled")) &&
					     json_object_get(q, "requests"))
		printf("  queue %-3zu %10lld requests %10lld kicks %10lld interrupts\n", i,
		       sight_int(q, "requests"), sight_int(q, "kicks"), sight_int(q, "interrupts"));
}

static void print_devices(const json_t *devices)
{
	size_t i;
	json_t *d;
	json_array_foreach(devices, i, d) print_device(d);
}

static int operate_show(struct operate_args *a, const char *request, int first)
{
	if (a->nr_words != first + 1)
		return operate_usage(a->command, "SOCKET", "give one");
	int status;
	json_t *r = control_ask(a->command, a->words[first], json_pack("{s:s}", "do", request),
				false, &status);
	if (!r)
		return status;
	if (a->is_json) {
		(void)json_dumpf(r, stdout, JSON_INDENT(1)); /* the flush below tells */
		printf("\n");
	} else if (json_is_array(r)) {
		print_devices(r);
	} else {
		printf("%s, up %.1f s, process %lld\n%lld vCPUs, %lld MiB\n",
		       sight_text(r, "state"), (double)sight_int(r, "uptime_ms") / 1000,
		       sight_int(r, "process"), sight_int(r, "vcpus"),
		       sight_int(r, "memory_bytes") >> 20);
		print_devices(json_object_get(r, "devices"));
	}
	json_decref(r);
	if (!fflush(stdout) && !ferror(stdout))
		return VM_EXIT_OK;
	log_error("%s: standard output: %s", a->command, strerror(errno));
	return VM_EXIT_HOST;
}

int cmd_status(int argc, char **argv)
{
	struct operate_args a = { .command = argv[0] };
	int status = operate_parse(&a, OPERATE_ALLOW(OPERATE_JSON), argc, argv);
	return status ? status : operate_show(&a, "status", 0);
}

/* --- disk --- */

/* "0" is device block0. */
static json_t *operate_disk_name(const char *index)
{
	return json_sprintf("block%s", index);
}

static json_t *make_resize(const struct operate_args *a)
{
	return json_pack("{s:s, s:o, s:s, s:b}", "do", "resize", "device",
			 operate_disk_name(a->words[1]), "bytes", a->words[2], "shrink",
			 a->may_shrink);
}

/* "bps=…,iops=…" as members of the request. */
static json_t *make_limit(const struct operate_args *a)
{
	json_t *o = json_pack("{s:s, s:o}", "do", "limit", "device",
			      operate_disk_name(a->words[1]));
	char *copy = strdup(a->words[2]), *rest = copy;
	int err = !copy || !o;
	for (char *s; !err && (s = strsep(&rest, ","));) {
		char *value = s + strcspn(s, "=") + 1; /* has one: operate_is_limit() */
		value[-1] = 0;
		err = json_object_set_new(o, s, json_string(value));
	}
	free(copy);
	if (!err)
		return o;
	json_decref(o);
	return NULL;
}

/* Nothing but "bps=…" and "iops=…", each once at most: "do=stop" would be another request. */
static bool operate_is_limit(const char *text)
{
	unsigned nr[2] = { 0 };
	for (const char *s = text; s; s = strchr(s, ',')) {
		s += *s == ',';
		nr[0] += !strncmp(s, "bps=", 4);
		nr[1] += !strncmp(s, "iops=", 5);
		if (strncmp(s, "bps=", 4) != 0 && strncmp(s, "iops=", 5) != 0)
			return false;
	}
	return nr[0] < 2 && nr[1] < 2;
}

/* What goes to a VM as text: a size, a limit, the name of a device. All are ASCII. */
static bool operate_is_word(const char *text)
{
	for (const char *s = text; *s; s++)
		if (*s <= 0x20 || *s >= 0x7f)
			return false;
	return *text;
}

static bool operate_is_index(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 4;
}

int cmd_disk(int argc, char **argv)
{
	struct operate_args a = { .command = "disk" };
	int status = operate_parse(&a, OPERATE_ALLOW(OPERATE_SHRINK), argc, argv);
	if (status)
		return status;
	bool is_resize = a.nr_words && !strcmp(a.words[0], "resize");
	if (!is_resize && !(a.nr_words && !strcmp(a.words[0], "limit")))
		return operate_usage("disk", a.nr_words ? a.words[0] : "resize",
				     "say resize or limit");
	if (a.nr_words < 3 || !operate_is_index(a.words[1]))
		return operate_usage("disk", a.nr_words > 1 ? a.words[1] : "INDEX",
				     "give the number of a disk, from 0, and what it is to be");
	if (!operate_is_word(a.words[2]))
		return operate_usage("disk", a.words[2], "give a size, or limits");
	if (!is_resize && a.may_shrink)
		return operate_usage("disk", "--shrink", "goes with resize only");
	if (!is_resize && !operate_is_limit(a.words[2]))
		return operate_usage("disk", a.words[2], "give bps=…, iops=… or both, each once");
	return operate_each(&a, 3, false, is_resize ? make_resize : make_limit);
}

/* --- device list, device restart --- */

static json_t *make_restart(const struct operate_args *a)
{
	json_t *o = json_pack("{s:s, s:s}", "do", "restart", "device", a->words[1]);
	if (!o || !a->binary || !json_object_set_new(o, "binary", json_string(a->binary)))
		return o;
	json_decref(o);
	return NULL;
}

int cmd_device_list(int argc, char **argv)
{
	struct operate_args a = { .command = "device" };
	int status = operate_parse(&a, OPERATE_ALLOW(OPERATE_JSON), argc, argv);
	return status ? status : operate_show(&a, "devices", 1);
}

/* A new copy of what @socket says of device @name; NULL, with one line printed. */
static json_t *upgrade_device(const char *socket, const char *name)
{
	size_t i;
	json_t *d, *found = NULL;
	int status; /* that there is no answer is the host's fault, whatever it says */
	json_t *all = control_ask("device", socket, json_pack("{s:s}", "do", "devices"), false,
				  &status);
	if (!all)
		return NULL;
	json_array_foreach(all, i, d) if (!strcmp(sight_text(d, "name"), name)) found = d;
	json_incref(found);
	json_decref(all);
	if (!found)
		log_error("device: %s: there is no device '%s'", socket, name);
	return found;
}

/* The VM replaces the process soon after it said yes; only then it shows which program serves. */
static int upgrade_await(const struct operate_args *a, long long restarts)
{
	const struct timespec tick = { 0, UPGRADE_TICK_MS * 1000000L };
	int grace_ms = UPGRADE_GRACE_MS; /* the first new process may follow a death before that */
	for (int ms = 0; ms < UPGRADE_WAIT_MS && grace_ms > 0; ms += UPGRADE_TICK_MS) {
		json_t *d = upgrade_device(a->words[2], a->words[1]);
		if (!d)
			return VM_EXIT_HOST;
		bool is_over = sight_int(d, "restarts") != restarts;
		bool is_taken = !strcmp(sight_text(d, "binary"), a->binary);
		json_decref(d);
		if (is_over && is_taken)
			return VM_EXIT_OK;
		grace_ms -= is_over ? UPGRADE_TICK_MS : 0;
		(void)nanosleep(&tick, NULL); /* a short sleep is as good */
	}
	log_error("device: %s: %s does not serve %s: the program before it goes on; the VM's "
		  "messages say why",
		  a->words[2], a->binary, a->words[1]);
	return VM_EXIT_HOST;
}

/* As the VM will show it. */
static const char *upgrade_shown(const char *path)
{
	size_t len = strlen(path);
	const char *end = path + len;
	path += len > UPGRADE_PATH_MAX ? len - UPGRADE_PATH_MAX : 0;
	while (end - path < (ptrdiff_t)len && ((unsigned char)*path & 0xc0) == 0x80)
		path++; /* within a letter of UTF-8 */
	return path;
}

/* The program is opened here, by whoever asks: the VM itself cannot open anything any more. */
static int operate_upgrade(struct operate_args *a)
{
	CLEANUP(fd_cleanup) int fd = open(a->binary, O_PATH | O_CLOEXEC);
	if (fd < 0) {
		log_error("device: --binary: %s: %s; check the path", a->binary, strerror(errno));
		return VM_EXIT_USAGE;
	}
	a->binary = upgrade_shown(a->binary);
	json_t *text = json_string(a->binary);
	json_decref(text);
	if (!text)
		return operate_usage("device", a->binary, "is no UTF-8 text; give another path");
	json_t *before = upgrade_device(a->words[2], a->words[1]);
	if (!before)
		return VM_EXIT_HOST;
	long long restarts = sight_int(before, "restarts");
	json_decref(before);
	int status;
	json_t *result = control_ask_with("device", a->words[2], make_restart(a), fd, &status);
	if (!result)
		return status;
	json_decref(result);
	return upgrade_await(a, restarts);
}

int cmd_device_restart(int argc, char **argv)
{
	struct operate_args a = { .command = "device" };
	int status = operate_parse(&a, OPERATE_ALLOW(OPERATE_BINARY), argc, argv);
	if (status)
		return status;
	if (a.nr_words != 3)
		return operate_usage("device", "restart", "give the name of a device and a SOCKET");
	if (!operate_is_word(a.words[1]))
		return operate_usage("device", a.words[1], "there is no such name");
	return a.binary ? operate_upgrade(&a) : operate_each(&a, 2, false, make_restart);
}
