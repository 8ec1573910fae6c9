/*
 * test_terminal.c - the user's terminal under job control: taken in the foreground only, and given
 * back only there.
 *
 * The test is the user at the far side; a shell, which leads the session, has a job that owns the
 * struct terminal, and moves it between background and foreground.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include "base/compiler.h"
#include "src/vm/terminal.h"

#define PATIENCE_MS 20000
#define MOMENT_MS   300 /* for what must not happen */

/* --- the job: does what each letter says, and answers with one --- */

static void quit(void *ctx)
{
	(void)ctx;
}

static char job_read(struct terminal *t, int timeout_ms)
{
	char c;
	struct pollfd p = { terminal_fd(t), POLLIN, 0 };
	return poll(&p, 1, timeout_ms) > 0 && read(p.fd, &c, 1) == 1 ? c : '-';
}

static _Noreturn void job_main(int orders, int answers)
{
	struct terminal *t = NULL;
	char order, answer;
	BUG_ON(terminal_open(&t, quit, NULL));
	while (read(orders, &order, 1) == 1) {
		answer = 'k';
		if (order == 'r')
			terminal_raw(t);
		else if (order == 'c')
			terminal_close(take(t));
		else
			answer = job_read(t, order == 'i' ? PATIENCE_MS : MOMENT_MS);
		BUG_ON(write(answers, &answer, 1) != 1);
	}
	_exit(0);
}

/* --- the shell --- */

struct shell {
	pid_t job;
	int orders, answers;
};

static void shell_start(struct shell *s)
{
	int to[2], from[2];
	BUG_ON(pipe(to) || pipe(from));
	s->job = fork();
	BUG_ON(s->job < 0);
	(void)setpgid(s->job, s->job); /* both do: whoever is first */
	if (!s->job) {
		(void)signal(SIGTTOU, SIG_DFL);
		close(to[1]);
		job_main(to[0], from[1]);
	}
	s->orders = to[1];
	s->answers = from[0];
}

/* What the job answers; 's': it was stopped, '-': nothing comes. */
static char shell_order(const struct shell *s, char order)
{
	char c = '-';
	int status;
	struct pollfd p = { s->answers, POLLIN, 0 };
	BUG_ON(write(s->orders, &order, 1) != 1);
	for (int ms = 0; ms < PATIENCE_MS; ms += 20) {
		if (poll(&p, 1, 20) > 0)
			return read(s->answers, &c, 1) == 1 ? c : '-';
		if (waitpid(s->job, &status, WNOHANG | WUNTRACED) > 0)
			return WIFSTOPPED(status) ? 's' : 'd';
	}
	return '-';
}

static bool shell_is_raw(void)
{
	struct termios now;
	BUG_ON(tcgetattr(STDIN_FILENO, &now));
	return !(now.c_lflag & ICANON);
}

static void shell_set(bool is_echoing)
{
	struct termios now;
	BUG_ON(tcgetattr(STDIN_FILENO, &now));
	now.c_lflag |= ICANON;
	now.c_lflag = is_echoing ? now.c_lflag | ECHO : now.c_lflag & ~(tcflag_t)ECHO;
	BUG_ON(tcsetattr(STDIN_FILENO, TCSANOW, &now));
}

/* The number of the step that went wrong; 0: none. */
static int shell_main(int far)
{
	struct shell s;
	int step = 0;
	(void)signal(SIGTTOU, SIG_IGN);
	shell_start(&s);
#define STEP(cond)                                                                                 \
	do {                                                                                       \
		step++;                                                                            \
		if (!(cond)) {                                                                     \
			kill(s.job, SIGKILL);                                                      \
			return step;                                                               \
		}                                                                                  \
	} while (0)
	/* in the background: neither raw nor stopped by what is typed */
	STEP(shell_order(&s, 'r') == 'k' && !shell_is_raw());
	STEP(write(far, "x\n", 2) == 2);
	STEP(shell_order(&s, 'n') == '-');
	/* in the foreground, the process was told to go on: raw, and hears */
	STEP(!tcsetpgrp(STDIN_FILENO, s.job));
	STEP(shell_order(&s, 'r') == 'k' && shell_is_raw());
	STEP(shell_order(&s, 'i') == 'x');
	STEP(shell_order(&s, 'i') == '\n');
	/* stopped, the shell has its own way meanwhile, and it goes on: raw again */
	STEP(!tcsetpgrp(STDIN_FILENO, getpgrp()));
	shell_set(false);
	STEP(!tcsetpgrp(STDIN_FILENO, s.job));
	STEP(shell_order(&s, 'r') == 'k' && shell_is_raw());
	/* ends in the background: is not stopped, and leaves the terminal to whoever has it */
	STEP(!tcsetpgrp(STDIN_FILENO, getpgrp()));
	shell_set(false);
	STEP(shell_order(&s, 'c') == 'k' && !shell_is_raw());
	struct termios now;
	STEP(!tcgetattr(STDIN_FILENO, &now) && !(now.c_lflag & ECHO));
	/* another one ends in the foreground: as it was before the first time */
	close(s.orders);
	shell_set(true);
	shell_start(&s);
	STEP(!tcsetpgrp(STDIN_FILENO, s.job));
	STEP(shell_order(&s, 'r') == 'k' && shell_is_raw());
	STEP(shell_order(&s, 'r') == 'k' && shell_is_raw());
	STEP(shell_order(&s, 'c') == 'k' && !shell_is_raw());
	STEP(!tcgetattr(STDIN_FILENO, &now) && (now.c_lflag & ECHO));
	close(s.orders);
	return 0;
}

static void the_terminal_is_taken_in_the_foreground_only(void **state)
{
	(void)state;
	int status, far = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(far >= 0 && !grantpt(far) && !unlockpt(far));
	pid_t shell = fork();
	assert_true(shell >= 0);
	if (!shell) {
		BUG_ON(setsid() < 0);
		int near = open(ptsname(far), O_RDWR | O_CLOEXEC); /* becomes the session's */
		BUG_ON(near < 0 || dup2(near, STDIN_FILENO) < 0);
		_exit(shell_main(far));
	}
	assert_int_equal(waitpid(shell, &status, 0), shell);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0); /* else the step that went wrong */
	close(far);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_terminal_is_taken_in_the_foreground_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
