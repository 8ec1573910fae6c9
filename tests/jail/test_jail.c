/*
 * test_jail.c - walls around a device process, without its list of system calls: what each denies,
 * and that the same is possible outside, so that a wall that is missing is noticed.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "in_jail.h"

static pid_t victim; /* a process of the same user */
static char victim_data = 'v';
static char socket_path[64];
static int unix_listener, inet_port, spare_fd;

/* --- attempts: 0 is success, else what went wrong --- */

static int try_open(void *path)
{
	return open(path, O_RDONLY | O_CLOEXEC) < 0 ? errno : 0;
}

static int try_create(void *path)
{
	return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) < 0 ? errno : 0;
}

/* The root may be opened at best, and then has nothing in it. */
static int try_list_root(void *arg)
{
	char buf[4096];
	(void)arg;
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	/* "." and ".." take 48 bytes */
	return syscall(SYS_getdents64, fd, buf, sizeof(buf)) > 48 ? 0 : ENOENT;
}

static int try_climb_out(void *arg)
{
	(void)arg;
	return chdir("../../../../../../../../../../../../../../..") ||
			       open("etc/passwd", O_RDONLY | O_CLOEXEC) < 0
		       ? ENOENT
		       : 0;
}

static int try_mount(void *arg)
{
	(void)arg;
	return mount("none", "/", "tmpfs", 0, NULL) ? errno : 0;
}

static int try_chroot(void *arg)
{
	(void)arg;
	return chroot("/") ? errno : 0;
}

static int try_connect_unix(void *arg)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	(void)arg;
	strcpy(a.sun_path, socket_path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) ? errno : 0;
}

static int try_connect_inet(void *arg)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons((uint16_t)inet_port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	(void)arg;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) ? errno : 0;
}

static int try_ptrace(void *arg)
{
	(void)arg;
	return ptrace(PTRACE_ATTACH, victim, NULL, NULL) ? errno : 0;
}

static int try_read_memory(void *arg)
{
	char got = 0;
	(void)arg;
	struct iovec mine = { &got, 1 }, its = { &victim_data, 1 };
	return process_vm_readv(victim, &mine, 1, &its, 1, 0) == 1 && got == 'v' ? 0 : EPERM;
}

static int try_signal(void *arg)
{
	(void)arg;
	return kill(victim, 0) ? errno : 0;
}

static int try_descriptor(void *arg)
{
	(void)arg;
	return fcntl(spare_fd, F_GETFD) < 0 ? errno : 0;
}

static int try_raise_limit(void *arg)
{
	struct rlimit r = { 4096, 4096 };
	(void)arg; /* a right of root's that harms nobody */
	return setrlimit(RLIMIT_NOFILE, &r) ? errno : 0;
}

static int try_raise_files(void *arg)
{
	(void)arg;
	for (int i = 0; i < 300; i++)
		if (dup(STDERR_FILENO) < 0)
			return errno;
	return 0;
}

static int try_core(void *arg)
{
	struct rlimit r;
	(void)arg;
	return getrlimit(RLIMIT_CORE, &r) || !r.rlim_max ? EPERM : 0;
}

static int try_new_privileges(void *arg)
{
	(void)arg;
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? EPERM : 0;
}

static int try_capabilities(void *arg)
{
	(void)arg;
	for (unsigned long cap = 0; cap < 64; cap++)
		if (prctl(PR_CAPBSET_READ, cap) == 1)
			return 0;
	return EPERM;
}

static int try_be_dumped(void *arg)
{
	(void)arg;
	return prctl(PR_GET_DUMPABLE) == 1 ? 0 : EPERM;
}

static int try_host_name(void *arg)
{
	(void)arg;
	return sethostname("prisoner", 8) ? errno : 0;
}

static const struct attempt {
	const char *what;
	int (*fn)(void *arg);
	const char *arg;
	bool needs_root; /* outside, to succeed */
	bool is_harmful; /* not to be done outside */
} attempts[] = {
	{ "list the root", try_list_root, NULL, false, false },
	{ "open /etc/passwd", try_open, "/etc/passwd", false, false },
	{ "open /proc/self/status", try_open, "/proc/self/status", false, false },
	{ "open /dev/null", try_open, "/dev/null", false, false },
	{ "open /sys", try_open, "/sys", false, false },
	{ "create a file", try_create, "/tmp/vmm-jail-created", false, false },
	{ "create a file in the root", try_create, "/vmm-jail-created", true, true },
	{ "climb out by ..", try_climb_out, NULL, false, false },
	{ "mount", try_mount, NULL, true, true },
	{ "chroot", try_chroot, NULL, true, false },
	{ "connect to a socket by path", try_connect_unix, NULL, false, false },
	{ "connect to a port of the host", try_connect_inet, NULL, false, false },
	{ "trace another process", try_ptrace, NULL, true, false },
	{ "read another process's memory", try_read_memory, NULL, true, false },
	{ "signal another process", try_signal, NULL, false, false },
	{ "use main's descriptors", try_descriptor, NULL, false, true },
	{ "raise a limit", try_raise_limit, NULL, true, false },
	{ "have more files", try_raise_files, NULL, false, false },
	{ "leave a core", try_core, NULL, true, true },
	{ "gain rights by exec", try_new_privileges, NULL, false, false },
	{ "have a capability in its bounding set", try_capabilities, NULL, true, false },
	{ "be dumped or traced", try_be_dumped, NULL, false, false },
	{ "change the host's name", try_host_name, NULL, true, true },
};

static bool is_missing_here(void)
{
	struct in_jail j = { .fn = try_open, .arg = "/", .has_jail = true };
	return in_jail(&j) == IN_JAIL_LACKS;
}

static void is_complete_on_this_host(void **state)
{
	(void)state;
	if (is_missing_here()) {
		print_message("this host refuses a part of the jail\n");
		skip();
	}
}

static void denies_every_attempt(void **state)
{
	(void)state;
	if (is_missing_here())
		skip();
	unsigned failed = 0;
	for (size_t i = 0; i < sizeof(attempts) / sizeof(*attempts); i++) {
		struct in_jail j = { .fn = attempts[i].fn,
				     .arg = (void *)(uintptr_t)attempts[i].arg,
				     .has_jail = true };
		int status = in_jail(&j);
		if (status && status != IN_JAIL_LACKS && status < 129)
			continue;
		print_message("in the jail one can: %s (status %d)\n", attempts[i].what, status);
		failed++;
	}
	assert_int_equal(failed, 0);
}

/* Else the test above says nothing. */
static void attempts_succeed_outside(void **state)
{
	(void)state;
	unsigned failed = 0;
	for (size_t i = 0; i < sizeof(attempts) / sizeof(*attempts); i++) {
		struct in_jail j = { .fn = attempts[i].fn,
				     .arg = (void *)(uintptr_t)attempts[i].arg };
		if (attempts[i].is_harmful || (attempts[i].needs_root && geteuid()))
			continue;
		int status = in_jail(&j);
		if (status)
			print_message("outside one cannot: %s (%s)\n", attempts[i].what,
				      strerror(status));
		failed += status != 0;
	}
	unlink("/tmp/vmm-jail-created");
	assert_int_equal(failed, 0);
}

/* Where namespaces are refused Landlock alone keeps files and ports away. */
static int without_namespaces(void *arg)
{
	if (!jail_drop_rights() || !jail_forbid_files())
		return 90;
	return try_open(arg) && try_create("/tmp/vmm-jail-created") ? EACCES : 0;
}

static void landlock_alone_keeps_files_away(void **state)
{
	(void)state;
	struct in_jail j = { .fn = without_namespaces, .arg = "/etc/passwd" };
	int status = in_jail(&j);
	if (status == 90) {
		print_message("this kernel has no Landlock\n");
		skip();
	}
	assert_int_equal(status, EACCES);
}

static void words_say_what_is_missing(void **state)
{
	char buf[256];
	(void)state;
	assert_string_equal(jail_words(0, buf, sizeof(buf)), "");
	assert_string_equal(jail_words(JAIL_ROOT | JAIL_USER_NS, buf, sizeof(buf)),
			    "user namespaces, an empty root");
	jail_words(~0u, buf, 8); /* cut, and ended */
	assert_true(strlen(buf) < 8);
}

static int listen_on(int fd, const void *addr, socklen_t len)
{
	return bind(fd, addr, len) || listen(fd, 4) ? -1 : fd;
}

static int make_victims(void **state)
{
	struct sockaddr_un u = { .sun_family = AF_UNIX };
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);
	(void)state;
	(void)snprintf(socket_path, sizeof(socket_path), "/tmp/vmm-jail-%d.sock", getpid());
	strcpy(u.sun_path, socket_path);
	unix_listener = listen_on(socket(AF_UNIX, SOCK_STREAM, 0), &u, sizeof(u));
	int inet = listen_on(socket(AF_INET, SOCK_STREAM, 0), &in, sizeof(in));
	if (unix_listener < 0 || inet < 0 || getsockname(inet, (struct sockaddr *)&in, &len))
		return -1;
	inet_port = ntohs(in.sin_port);
	spare_fd = fcntl(STDERR_FILENO, F_DUPFD, 200);
	victim = fork();
	if (!victim)
		for (;;)
			pause();
	return victim < 0 ? -1 : 0;
}

static int end_victims(void **state)
{
	(void)state;
	kill(victim, SIGKILL);
	waitpid(victim, NULL, 0);
	unlink(socket_path);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_complete_on_this_host),
		cmocka_unit_test(denies_every_attempt),
		cmocka_unit_test(attempts_succeed_outside),
		cmocka_unit_test(landlock_alone_keeps_files_away),
		cmocka_unit_test(words_say_what_is_missing),
	};
	return cmocka_run_group_tests(tests, make_victims, end_victims);
}
