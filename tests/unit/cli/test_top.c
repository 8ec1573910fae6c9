/* test_top.c - what `vmm top` shows between two looks at a VM. */
#include "spoken.h"
#include <pty.h>

static char looks[2][2048];

/* A VM that is this process: @requests are done, its disk is served by @process. */
static const char *look(unsigned n, unsigned requests, long process, const char *more)
{
	(void)snprintf(looks[n], sizeof(looks[n]),
		       "{\"state\":\"running\",\"uptime_ms\":61000,\"process\":%d,\"vcpus\":2,"
		       "\"memory_bytes\":1073741824,\"exits\":[{\"pio\":%u,\"mmio\":0,\"signal\":9,"
		       "\"other\":0}],\"devices\":[{\"name\":\"block0\",\"kind\":\"block\","
		       "\"process\":%ld,\"restarts\":3,\"driver\":true,\"needs_reset\":false,"
		       "\"queues\":[{\"requests\":%u,\"kicks\":1,\"interrupts\":2},{\"requests\":5,"
		       "\"kicks\":1,\"interrupts\":2}]}%s]}",
		       getpid(), requests, process, requests, more);
	return looks[n];
}

#define RNG                                                                                        \
	",{\"name\":\"rng\",\"kind\":\"entropy\",\"process\":null,\"restarts\":0,\"needs_reset\":" \
	"true,\"queues\":[]}"

/* Fields of the line that begins with @name. */
struct shown {
	char kind[16], cpu[16], cost[16], restarts[16], state[16];
	double requests, kicks, interrupts;
};

static struct shown shown_of(const char *name)
{
	struct shown s = { 0 };
	char lead[48];
	(void)snprintf(lead, sizeof(lead), "\n  %s ", name);
	const char *at = strstr(ran.out, lead);
	if (!at ||
	    sscanf(at + strlen(lead), "%15s %lf %lf %lf %15s %15s %15s %15[^\n]", s.kind,
		   &s.requests, &s.kicks, &s.interrupts, s.cpu, s.cost, s.restarts, s.state) != 8)
		fail_msg("no line of %s: %s", name, ran.out);
	return s;
}

static void burn_cpu(void)
{
	for (volatile unsigned i = 0; i < 20000000; i++)
		;
}

static void a_table_tells_what_changed(void **state)
{
	(void)state;
	replying = look(0, 1000, getpid(), RNG);
	replying_next = look(1, 3000, getpid(), RNG);
	run(cmd_top, "top --interval 0.05 a");
	assert_int_equal(ran.status, VM_EXIT_OK);
	assert_string_equal(asked, "a {\"do\":\"status\"}\na {\"do\":\"status\"}\n");
	assert_non_null(strstr(ran.out, "a: running, up 61 s, 2 vCPUs "));
	assert_non_null(strstr(ran.out, "1024 MiB\n"));
	assert_null(strchr(ran.out, '\033'));
	struct shown s = shown_of("block0");
	assert_true(s.requests > 1 && s.requests <= 2000 / 0.05 + 1);
	assert_true(s.kicks == 0 && s.interrupts == 0);
	assert_string_equal(s.kind, "block");
	assert_string_equal(s.restarts, "3");
	assert_string_equal(s.state, "in use");
	s = shown_of("rng");
	assert_string_equal(s.cpu, "-");
	assert_string_equal(s.cost, "-");
	assert_string_equal(s.state, "needs reset");
}

/* CPU time per request is the point of it: both are of the same time. */
static void the_cost_of_a_request_is_told(void **state)
{
	(void)state;
	replying = look(0, 0, getpid(), "");
	replying_next = look(1, 1000, getpid(), "");
	run(cmd_top, "top --interval 0.05 a");
	struct shown s = shown_of("block0");
	assert_true(strcmp(s.cpu, "-") != 0 && strcmp(s.cost, "-") != 0);
	double us = strtod(s.cost, NULL), percent = strtod(s.cpu, NULL);
	/* percent of a second is 10000 us, of which each request has its part */
	double expected = percent * 1e4 / s.requests;
	assert_true(us < expected + 1 + 1e3 / s.requests && us > expected - 1 - 1e3 / s.requests);
	burn_cpu();
}

static void the_first_look_of_a_process_has_no_cost(void **state)
{
	(void)state;
	replying = look(0, 10, 1, "");
	replying_next = look(1, 20, getpid(), "");
	run(cmd_top, "top --interval 0.05 a");
	struct shown s = shown_of("block0");
	assert_string_equal(s.cpu, "-");
	assert_string_equal(s.cost, "-");
	assert_true(s.requests > 0);
	/* a device that was not there before has done nothing yet */
	replying = look(0, 10, getpid(), "");
	replying_next = look(1, 20, getpid(), RNG);
	run(cmd_top, "top --interval 0.05 a");
	assert_true(shown_of("rng").requests == 0);
	/* and counters that fall are no rates */
	replying = look(0, 20, getpid(), "");
	replying_next = look(1, 10, getpid(), "");
	run(cmd_top, "top --interval 0.05 a");
	assert_true(shown_of("block0").requests == 0);
}

static void so_many_tables_and_no_more(void **state)
{
	(void)state;
	replying = look(0, 1, getpid(), "");
	run(cmd_top, "top --interval 0.05 --count 3 a b");
	assert_int_equal(ran.status, VM_EXIT_OK);
	unsigned nr = 0;
	for (const char *s = asked; (s = strstr(s, "b {")); s++)
		nr++;
	assert_int_equal(nr, 4);
	nr = 0;
	for (const char *s = ran.out; (s = strstr(s, "a: running")); s++)
		nr++;
	assert_int_equal(nr, 3);
}

static void who_ends_is_left_out(void **state)
{
	(void)state;
	replying = look(0, 1, getpid(), "");
	mute = "b";
	run(cmd_top, "top --interval 0.05 a b");
	assert_non_null(strstr(ran.out, "a: running"));
	assert_null(strstr(ran.out, "b: "));
	mute = "a";
	run(cmd_top, "top --count 1000 a");
	assert_int_equal(ran.status, VM_EXIT_HOST);
	assert_string_equal(ran.out, "");
}

/* On a terminal each table is drawn over the one before. */
static void a_terminal_is_drawn_over(void **state)
{
	(void)state;
	int master, slave;
	char got[8192];
	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	replying = look(0, 1, getpid(), "");
	run_into(cmd_top, "top --interval 0.05 --count 2 a", slave);
	assert_int_equal(ran.status, VM_EXIT_OK);
	ssize_t n = read(master, got, sizeof(got) - 1);
	assert_true(n > 0);
	got[n] = 0;
	assert_ptr_equal(strstr(got, "\033[H\033[2J"), got);
	assert_non_null(strstr(got, "\033[Ha: running"));
	assert_non_null(strstr(got, "\033[K\r\n"));
	(void)close(master);
}

static void what_makes_no_sense_is_refused(void **state)
{
	(void)state;
	static const struct refusal rows[] = {
		{ "top", "SOCKET: is missing" },
		{ "top --interval a", "a: --interval is a number" },
		{ "top --interval 0 a", "0: --interval" },
		{ "top --interval nan a", "nan: --interval" },
		{ "top --interval 1x a", "1x: --interval" },
		{ "top --interval 9999 a", "9999: --interval" },
		{ "top --count 0 a", "0: --count" },
		{ "top --count 1.5 a", "1.5: --count" },
		{ "top --count -1 a", "-1: --count" },
		{ "top --count", "--count: needs a value" },
		{ "top --fast a", "--fast: unknown option" },
	};
	expect_refused(cmd_top, rows, sizeof(rows) / sizeof(rows[0]));
}

static void a_reply_that_lacks_everything_does_no_harm(void **state)
{
	(void)state;
	static const char *const odd[] = { "{}", "[]", "{\"devices\":[1,{},{\"queues\":[1,{}]}]}" };
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		replying = odd[i];
		run(cmd_top, "top --interval 0.05 a");
		assert_int_equal(ran.status, VM_EXIT_OK);
	}
}

#define T(fn) cmocka_unit_test_setup(fn, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_table_tells_what_changed),
		T(the_cost_of_a_request_is_told),
		T(the_first_look_of_a_process_has_no_cost),
		T(so_many_tables_and_no_more),
		T(who_ends_is_left_out),
		T(a_terminal_is_drawn_over),
		T(what_makes_no_sense_is_refused),
		T(a_reply_that_lacks_everything_does_no_harm),
	};
	json_memory_begin();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
