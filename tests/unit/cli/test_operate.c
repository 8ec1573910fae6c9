/* test_operate.c - commands that speak to running VMs: what they ask for, and what they print. */
#include "spoken.h"

static const char *replying_after; /* ... once a program has come */

json_t *control_ask_with(const char *command, const char *socket, json_t *request, int fd,
			 int *status)
{
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	json_t *r = control_ask(command, socket, request, false, status);
	if (r)
		replying = replying_after;
	return r;
}

/* --- what is asked --- */

static const struct {
	int (*fn)(int argc, char **argv);
	const char *line, *asked;
} rows[] = {
	{ cmd_stop, "stop a", "a {\"do\":\"stop\"} until end\n" },
	{ cmd_stop, "stop a b", "a {\"do\":\"stop\"} until end\nb {\"do\":\"stop\"} until end\n" },
	{ cmd_plain, "powerbtn a", "a {\"do\":\"powerbtn\"}\n" },
	{ cmd_plain, "suspend a", "a {\"do\":\"suspend\"}\n" },
	{ cmd_plain, "resume a b", "a {\"do\":\"resume\"}\nb {\"do\":\"resume\"}\n" },
	{ cmd_status, "status a", "a {\"do\":\"status\"}\n" },
	{ cmd_status, "status --json a", "a {\"do\":\"status\"}\n" },
	{ cmd_status, "status a --json", "a {\"do\":\"status\"}\n" },
	{ cmd_device_list, "device list a", "a {\"do\":\"devices\"}\n" },
	{ cmd_disk, "disk resize 0 20G a",
	  "a {\"do\":\"resize\",\"device\":\"block0\",\"bytes\":\"20G\",\"shrink\":false}\n" },
	{ cmd_disk, "disk resize 12 1M --shrink a",
	  "a {\"do\":\"resize\",\"device\":\"block12\",\"bytes\":\"1M\",\"shrink\":true}\n" },
	{ cmd_disk, "disk limit 1 bps=1M:2M,iops=off a",
	  "a {\"do\":\"limit\",\"device\":\"block1\",\"bps\":\"1M:2M\",\"iops\":\"off\"}\n" },
	{ cmd_disk, "disk limit 1 iops= a", /* the VM refuses it */
	  "a {\"do\":\"limit\",\"device\":\"block1\",\"iops\":\"\"}\n" },
	{ cmd_device_restart, "device restart rng a",
	  "a {\"do\":\"restart\",\"device\":\"rng\"}\n" },
};

static void each_command_asks_for_what_it_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		run(rows[i].fn, rows[i].line);
		if (ran.status || strcmp(asked, rows[i].asked) != 0)
			fail_msg("%s: %d %s%s", rows[i].line, ran.status, asked, ran.err.text);
		assert_string_equal(ran.err.text, "");
	}
}

static void without_memory_for_a_request_it_fails(void **state)
{
	(void)state;
	static const size_t some[] = { 0, 9, 11, 13 };
	for (size_t i = 0; i < ARRAY_SIZE(some); i++) {
		unsigned before = json_memory_out;
		json_memory_left = 2;
		run(rows[some[i]].fn, rows[some[i]].line);
		json_memory_left = UINT_MAX;
		assert_int_equal(ran.status, VM_EXIT_HOST);
		assert_non_null(strstr(asked, "a (no memory)"));
		assert_int_equal(json_memory_out, before);
	}
}

/* The others are asked all the same. */
static void one_vm_that_does_not_answer_makes_it_fail(void **state)
{
	(void)state;
	mute = "b";
	run(cmd_stop, "stop a b c");
	assert_int_equal(ran.status, VM_EXIT_HOST);
	assert_non_null(strstr(asked, "\nc {"));
	run(cmd_status, "status b");
	assert_int_equal(ran.status, VM_EXIT_HOST);
	assert_string_equal(ran.out, "");
	run(cmd_device_restart, "device restart rng b");
	assert_int_equal(ran.status, VM_EXIT_HOST);
	mute_status = VM_EXIT_USAGE; /* it says that the request makes no sense */
	run(cmd_disk, "disk resize 0 much a b");
	assert_int_equal(ran.status, VM_EXIT_USAGE);
	mute_status = VM_EXIT_HOST;
}

/* --- another program --- */

#define OF_RNG(n, binary) "[{\"name\":\"rng\",\"restarts\":" #n ",\"binary\":" binary "}]"

static void a_program_is_handed_over_and_awaited(void **state)
{
	(void)state;
	replying = OF_RNG(1, "null");
	replying_after = OF_RNG(2, "\"/bin/sh\"");
	run(cmd_device_restart, "device restart rng --binary /bin/sh a");
	assert_int_equal(ran.status, VM_EXIT_OK);
	assert_string_equal(asked,
			    "a {\"do\":\"devices\"}\n"
			    "a {\"do\":\"restart\",\"device\":\"rng\",\"binary\":\"/bin/sh\"}\n"
			    "a {\"do\":\"devices\"}\n");
	assert_string_equal(ran.err.text, "");
}

static void a_program_that_does_not_serve_is_a_failure(void **state)
{
	(void)state;
	replying = OF_RNG(1, "null");
	replying_after = OF_RNG(2, "null");
	run(cmd_device_restart, "device restart rng --binary /bin/sh a");
	assert_int_equal(ran.status, VM_EXIT_HOST);
	assert_int_equal(said_lines(&ran.err), 1);
	assert_non_null(strstr(ran.err.text, "/bin/sh does not serve rng"));
	/* the device has gone meanwhile, or never was */
	replying = OF_RNG(1, "null");
	replying_after = "[]";
	run(cmd_device_restart, "device restart rng --binary /bin/sh a");
	assert_int_equal(ran.status, VM_EXIT_HOST);
	run(cmd_device_restart, "device restart floppy --binary /bin/sh a");
	assert_int_equal(ran.status, VM_EXIT_HOST);
	assert_non_null(strstr(ran.err.text, "no device 'floppy'"));
	run(cmd_device_restart, "device restart rng --binary /no/such/file a");
	assert_int_equal(ran.status, VM_EXIT_USAGE);
	assert_string_equal(asked, "");
}

static void a_program_of_a_path_that_is_no_text(void **state)
{
	char path[] = "/tmp/operate-\xff-XXXXXX", line[128];
	(void)state;
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	(void)snprintf(line, sizeof(line), "device restart rng --binary %s a", path);
	run(cmd_device_restart, line);
	unlink(path);
	assert_int_equal(ran.status, VM_EXIT_USAGE);
	assert_non_null(strstr(ran.err.text, "no UTF-8 text"));
	assert_string_equal(asked, "");
}

/* A VM shows the end of a long path, and nothing that begins within a letter. */
static void a_long_path_is_awaited_as_it_will_be_shown(void **state)
{
	char folder[] = "/tmp/operate-XXXXXX", letter[32], tail[255] = "", line[400], after[400];
	(void)state;
	assert_non_null(mkdtemp(folder));
	(void)snprintf(letter, sizeof(letter), "%s/\xc3\xa9", folder);
	assert_int_equal(symlink("/bin", letter), 0);
	for (int i = 0; i < 125; i++)
		strcat(tail, "/.");
	strcat(tail, "//sh"); /* 254 bytes: of the letter just one would be shown */
	(void)snprintf(line, sizeof(line), "device restart rng --binary %s%s a", letter, tail);
	(void)snprintf(after, sizeof(after), OF_RNG(2, "\"%s\""), tail);
	replying = OF_RNG(1, "null");
	replying_after = after;
	run(cmd_device_restart, line);
	unlink(letter);
	rmdir(folder);
	assert_int_equal(ran.status, VM_EXIT_OK);
	(void)snprintf(after, sizeof(after), "\"binary\":\"%s\"}", tail);
	assert_non_null(strstr(asked, after));
}

/* --- mistakes --- */

static const struct {
	int (*fn)(int argc, char **argv);
	const char *line, *words;
} mistakes[] = {
	{ cmd_stop, "stop", "SOCKET: is missing; 'vmm help stop'" },
	{ cmd_stop, "stop --json a", "--json: unknown option" },
	{ cmd_stop, "stop -x a", "unknown option" },
	{ cmd_plain, "powerbtn", "SOCKET" },
	{ cmd_plain, "powerbtn --shrink a", "--shrink: unknown option" },
	{ cmd_status, "status", "SOCKET: give one" },
	{ cmd_status, "status a b", "SOCKET: give one" },
	{ cmd_status, "status --binary x a", "unknown option" },
	{ cmd_disk, "disk", "resize or limit" },
	{ cmd_disk, "disk fly 0 1 a", "fly: say resize or limit" },
	{ cmd_disk, "disk resize", "INDEX" },
	{ cmd_disk, "disk resize 0", "0: give the number" },
	{ cmd_disk, "disk resize 0 20G", "SOCKET: is missing" },
	{ cmd_disk, "disk resize block0 20G a", "block0: give the number" },
	{ cmd_disk, "disk resize -1 20G a", "unknown option" },
	{ cmd_disk, "disk resize 1000 20G a", "1000: give the number" },
	{ cmd_disk, "disk resize 0 \xff a", "give a size" },
	{ cmd_disk, "disk limit 0 speed a", "speed: give bps=" },
	{ cmd_disk, "disk limit 0 bps=1M,speed=1 a", "give bps=" },
	{ cmd_disk, "disk limit 0 do=stop a", "do=stop: give bps=" },
	{ cmd_disk, "disk limit 0 bps=1M,do=stop a", "give bps=" },
	{ cmd_disk, "disk limit 0 bps=1M,device=block1 a", "give bps=" },
	{ cmd_disk, "disk limit 0 bps=1M,bps=2M a", "each once" },
	{ cmd_disk, "disk limit 0 bps=1M, a", "give bps=" },
	{ cmd_disk, "disk limit 0 , a", "give bps=" },
	{ cmd_disk, "disk limit 0 bps=\xff a", "give a size, or limits" },
	{ cmd_disk, "disk limit 0 bps=1M --shrink a", "--shrink: goes with resize only" },
	{ cmd_device_restart, "device restart rng\xff a", "no such name" },
	{ cmd_device_restart, "device restart rng --binary \xff a", "check the path" },
	{ cmd_device_list, "device list", "SOCKET: give one" },
	{ cmd_device_list, "device list a b", "SOCKET: give one" },
	{ cmd_device_restart, "device restart", "restart: give the name" },
	{ cmd_device_restart, "device restart rng", "restart: give the name" },
	{ cmd_device_restart, "device restart rng a b", "restart: give the name" },
	{ cmd_device_restart, "device restart rng a --binary", "--binary: needs a value" },
	{ cmd_device_restart, "device restart --json rng a", "--json: unknown option" },
};

static void a_mistake_gets_one_line_and_nobody_is_asked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		run(mistakes[i].fn, mistakes[i].line);
		if (ran.status != VM_EXIT_USAGE || !strstr(ran.err.text, mistakes[i].words) ||
		    said_lines(&ran.err) != 1 || *asked)
			fail_msg("%s: %d %s%s", mistakes[i].line, ran.status, asked, ran.err.text);
	}
}

static void more_words_than_there_is_room_for(void **state)
{
	(void)state;
	char line[256] = "stop";
	for (unsigned i = 0; i < 65; i++)
		strcat(line, " a");
	run(cmd_stop, line);
	assert_int_equal(ran.status, VM_EXIT_USAGE);
	assert_non_null(strstr(ran.err.text, "too many arguments"));
	line[strlen(line) - 2] = 0;
	run(cmd_stop, line);
	assert_int_equal(ran.status, VM_EXIT_OK);
}

/* --- what is printed --- */

static const char a_status[] =
	"{\"state\":\"running\",\"uptime_ms\":61500,\"process\":42,\"vcpus\":2,"
	"\"memory_bytes\":268435456,\"devices\":[{\"name\":\"block0\",\"kind\":\"block\","
	"\"pci\":\"00:01.0\",\"driver\":true,\"needs_reset\":false,\"restarts\":3,"
	"\"disk\":{\"path\":\"d.img\",\"bytes\":4096,\"direct\":true,\"engine\":\"io_uring\","
	"\"workers\":1,\"poll\":\"adaptive\"},"
	"\"queues\":[{\"enabled\":true,\"requests\":5,\"kicks\":4,\"interrupts\":3},"
	"{\"enabled\":false,\"requests\":9,\"kicks\":9,\"interrupts\":9},{\"enabled\":true}]},"
	"{\"name\":\"rng\",\"kind\":\"rng\",\"pci\":\"00:02.0\",\"driver\":true,"
	"\"needs_reset\":true,\"queues\":[]}]}";

static void a_status_for_people(void **state)
{
	(void)state;
	replying = a_status;
	run(cmd_status, "status a");
	assert_int_equal(ran.status, VM_EXIT_OK);
	assert_string_equal(
		ran.out, "running, up 61.5 s, process 42\n2 vCPUs, 256 MiB\n"
			 "block0     block    00:01.0  in use, 3 restarts\n"
			 "  d.img, 4096 bytes, direct, engine io_uring, 1 workers, poll adaptive\n"
			 "  queue 0            5 requests          4 kicks          3 interrupts\n"
			 "rng        rng      00:02.0  needs reset, 0 restarts\n");
}

static void a_status_for_programs(void **state)
{
	(void)state;
	replying = a_status;
	run(cmd_status, "status a --json");
	json_t *got = json_loads(ran.out, 0, NULL), *want = json_loads(a_status, 0, NULL);
	assert_true(got && json_equal(got, want));
	assert_int_equal(ran.out[strlen(ran.out) - 1], '\n');
	json_decref(got);
	json_decref(want);
}

static void a_list_of_devices(void **state)
{
	(void)state;
	replying = "[{\"name\":\"rng\",\"kind\":\"rng\",\"pci\":\"00:02.0\",\"driver\":false}]";
	run(cmd_device_list, "device list a");
	assert_int_equal(ran.status, VM_EXIT_OK);
	assert_string_equal(ran.out, "rng        rng      00:02.0  no driver, 0 restarts\n");
}

/* From a VM of another version, or none. */
static void a_reply_that_lacks_everything_does_no_harm(void **state)
{
	(void)state;
	static const char *const replies[] = { "{}", "[]", "[{}]", "[1, null]",
					       "{\"devices\":[{\"disk\":{},\"queues\":{}}]}" };
	for (size_t i = 0; i < ARRAY_SIZE(replies); i++) {
		replying = replies[i];
		run(cmd_status, "status a");
		assert_int_equal(ran.status, VM_EXIT_OK);
	}
}

static void what_cannot_be_printed_is_a_failure(void **state)
{
	(void)state;
	static const char *const lines[] = { "status a", "status --json a" };
	replying = a_status;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		run_into(cmd_status, lines[i], open("/dev/full", O_RDWR | O_CLOEXEC));
		assert_int_equal(ran.status, VM_EXIT_HOST);
		assert_int_equal(said_lines(&ran.err), 1);
	}
}

#define T(fn) cmocka_unit_test_setup(fn, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(each_command_asks_for_what_it_says),
		T(without_memory_for_a_request_it_fails),
		T(one_vm_that_does_not_answer_makes_it_fail),
		T(a_program_is_handed_over_and_awaited),
		T(a_program_that_does_not_serve_is_a_failure),
		T(a_program_of_a_path_that_is_no_text),
		T(a_long_path_is_awaited_as_it_will_be_shown),
		T(a_mistake_gets_one_line_and_nobody_is_asked),
		T(more_words_than_there_is_room_for),
		T(a_status_for_people),
		T(a_status_for_programs),
		T(a_list_of_devices),
		T(a_reply_that_lacks_everything_does_no_harm),
		T(what_cannot_be_printed_is_a_failure),
	};
	json_memory_begin();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
