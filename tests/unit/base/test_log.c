/* test_log.c - levels, lines in one piece, and what is said once among processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/log.h"
#include "support/said.h"

static void messages_above_the_level_are_dropped(void **state)
{
	(void)state;
	struct said s;
	enum log_level before = log_get_level();
	said_begin(&s);
	log_set_level(LOG_LEVEL_WARN);
	log_error("a");
	log_warn("b %d", 1);
	log_info("c");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("d");
	log_set_level(before);
	assert_string_equal(said_end(&s), "vmm: a\nvmm: b 1\nvmm: d\n");
}

static void a_long_message_is_cut_and_ends_its_line(void **state)
{
	(void)state;
	char text[3000];
	struct said s;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = 0;
	said_begin(&s);
	log_error("%s", text);
	said_end(&s);
	assert_int_equal(said_lines(&s), 1);
	assert_int_equal(s.text[strlen(s.text) - 1], '\n');
	assert_true(strlen(s.text) > 1000 && strlen(s.text) < sizeof(text));
}

/* File names may have any character but two. */
static void a_message_is_one_line_and_no_command_to_the_terminal(void **state)
{
	(void)state;
	struct said s;
	said_begin(&s);
	log_error("a\nb\x1b[2J\tc\x7f: caf\xc3\xa9");
	assert_string_equal(said_end(&s), "vmm: a?b?[2J?c?: caf\xc3\xa9\n");
}

static void a_guest_cannot_fill_the_log(void **state)
{
	(void)state;
	static struct log_rate rate;
	struct said s;
	said_begin(&s);
	for (unsigned i = 0; i < 1000; i++)
		log_guest(&rate, "again");
	said_end(&s);
	/* the clock may have gone on to another second or two meanwhile */
	assert_in_range(said_lines(&s), LOG_RATE_BURST, 20 * LOG_RATE_BURST);
}

/* Fill the pipe that standard error is, then say something on the guest's account. */
static void say_to_nobody(void)
{
	static const char rest[4096];
	static struct log_rate rate;
	int p[2];
	if (pipe(p) || dup2(p[1], STDERR_FILENO) < 0 || fcntl(p[1], F_SETFL, O_NONBLOCK) < 0)
		_exit(1);
	while (write(p[1], rest, sizeof(rest)) > 0)
		;
	if (fcntl(p[1], F_SETFL, 0) < 0)
		_exit(1);
	alarm(10);
	log_guest(&rate, "nobody reads this");
	_exit(0);
}

static void a_guest_does_not_wait_for_who_reads_the_log(void **state)
{
	(void)state;
	int status;
	pid_t pid = fork();
	if (!pid)
		say_to_nobody();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static struct log_said *share(void)
{
	struct log_said *said = mmap(NULL, sizeof(*said), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(said, MAP_FAILED);
	log_share_errors(said);
	return said;
}

static void unshare(struct log_said *said)
{
	log_share_errors(NULL);
	munmap(said, sizeof(*said));
}

/* All at once, each in a process of its own. */
static void say_in_processes(unsigned nr, void (*say)(unsigned i))
{
	pid_t pids[32];
	for (unsigned i = 0; i < nr; i++) {
		pids[i] = fork();
		if (!pids[i]) {
			say(i);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < nr; i++)
		waitpid(pids[i], NULL, 0);
}

static void say_the_same(unsigned i)
{
	(void)i;
	log_error("too many open files");
}

static void say_another(unsigned i)
{
	log_error("block%u: is broken", i % 4);
	log_warn("slow");
}

static void processes_say_what_they_all_lack_once(void **state)
{
	(void)state;
	struct said s;
	struct log_said *said = share();
	said_begin(&s);
	say_in_processes(32, say_the_same);
	said_end(&s);
	unshare(said);
	assert_string_equal(s.text, "vmm: too many open files\n");
}

static void other_words_and_warnings_are_said(void **state)
{
	(void)state;
	struct said s;
	struct log_said *said = share();
	said_begin(&s);
	say_in_processes(4, say_another);
	said_end(&s);
	unshare(said);
	assert_int_equal(said_lines(&s), 8);
	for (unsigned i = 0; i < 4; i++) {
		char line[40];
		(void)snprintf(line, sizeof(line), "vmm: block%u: is broken\n", i);
		assert_non_null(strstr(s.text, line));
	}
}

static void an_error_is_said_again_later(void **state)
{
	(void)state;
	struct said s;
	struct log_said *said = share();
	said_begin(&s);
	log_error("again");
	log_error("again");
	for (unsigned i = 0; i < LOG_SAID_LINES; i++) /* as if it had been long ago */
		said->lines[i] -= said->lines[i] ? LOG_SAID_S : 0;
	log_error("again");
	said_end(&s);
	unshare(said);
	assert_int_equal(said_lines(&s), 2);
}

static void alone_a_process_says_everything(void **state)
{
	(void)state;
	struct said s;
	said_begin(&s);
	log_error("again");
	log_error("again");
	said_end(&s);
	assert_int_equal(said_lines(&s), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_above_the_level_are_dropped),
		cmocka_unit_test(a_long_message_is_cut_and_ends_its_line),
		cmocka_unit_test(a_message_is_one_line_and_no_command_to_the_terminal),
		cmocka_unit_test(a_guest_cannot_fill_the_log),
		cmocka_unit_test(a_guest_does_not_wait_for_who_reads_the_log),
		cmocka_unit_test(processes_say_what_they_all_lack_once),
		cmocka_unit_test(other_words_and_warnings_are_said),
		cmocka_unit_test(an_error_is_said_again_later),
		cmocka_unit_test(alone_a_process_says_everything),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
