/*
 * attempts.h - what a prisoner tries to do, each try a function; and whom it tries to do it to. For
 * the tests of the jail.
 */
#ifndef TESTS_ATTEMPTS_H
#define TESTS_ATTEMPTS_H
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t victim; /* a process of the same user */
static char victim_data = 'v';
static char socket_path[64];
static int unix_listener, abstract_listener, inet_port, spare_fd, shared_memory;

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

/* Seeing is less than opening: another wall would hide that this one is missing. */
static int try_see(void *path)
{
	struct stat s;
	return stat(path, &s) ? errno : 0;
}

static int try_climb_and_see(void *arg)
{
	struct stat s;
	(void)arg;
	return chdir("../../../../../../../../../../..") || stat("etc/passwd", &s) ? errno : 0;
}

/* The empty root has room for itself. */
static int try_roomy_root(void *arg)
{
	struct statvfs s;
	(void)arg;
	return statvfs("/", &s) || s.f_files == 2 ? ENOSPC : 0;
}

static int try_climb_out(void *arg)
{
	(void)arg;
	return chdir("../../../../../../../../../../../../../../..") ||
			       open("etc/passwd", O_RDONLY | O_CLOEXEC) < 0
		       ? ENOENT
		       : 0;
}

static int try_write_root(void *arg)
{
	struct statvfs s;
	(void)arg; /* nobody has a right to in there, and it is read-only too */
	return statvfs("/", &s) || s.f_flag & ST_RDONLY ? EROFS : 0;
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

/* The name begins with a zero: of the network namespace, in no file system. */
static socklen_t abstract_name(struct sockaddr_un *a)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	strcpy(a->sun_path + 1, socket_path);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(socket_path));
}

static int try_connect_abstract(void *arg)
{
	struct sockaddr_un a;
	(void)arg;
	socklen_t len = abstract_name(&a);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return fd < 0 || connect(fd, (struct sockaddr *)&a, len) ? errno : 0;
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

static int try_shared_memory(void *arg)
{
	(void)arg;
	return shmget(shared_memory, 0, 0) < 0 ? errno : 0;
}

/* The first and only one in its namespace: it can name nobody else, siblings neither. */
static int try_name_others(void *arg)
{
	(void)arg;
	return getpid() == 1 && kill(-1, 0) && errno == ESRCH ? ESRCH : 0;
}

static int try_outlive_zygote(void *arg)
{
	int sig = 0;
	(void)arg;
	return prctl(PR_GET_PDEATHSIG, &sig) || sig == SIGKILL ? EPERM : 0;
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

static int try_more_of(__rlimit_resource_t what, rlim_t most)
{
	struct rlimit r;
	return getrlimit(what, &r) || r.rlim_max <= most ? EPERM : 0;
}

static int try_threads(void *arg)
{
	(void)arg;
	return try_more_of(RLIMIT_NPROC, 64);
}

static int try_queues(void *arg)
{
	(void)arg;
	return try_more_of(RLIMIT_MSGQUEUE, 0);
}

static int try_signals(void *arg)
{
	(void)arg;
	return try_more_of(RLIMIT_SIGPENDING, 64);
}

static int try_rights(void *arg)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2];
	(void)arg;
	if (syscall(SYS_capget, &h, d))
		return errno;
	return d[0].effective | d[0].permitted | d[0].inheritable | d[1].permitted ? 0 : EPERM;
}

static int try_rights_of_root(void *arg)
{
	(void)arg;
	int bits = prctl(PR_GET_SECUREBITS);
	return bits & SECBIT_NOROOT && bits & SECBIT_NOROOT_LOCKED ? EPERM : 0;
}

static int try_namespace(void *arg)
{
	(void)arg;
	return unshare(CLONE_NEWNS) ? errno : 0;
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

static int try_execute(void *path)
{
	char *argv[] = { path, NULL };
	(void)execv(path, argv); /* outside it exits with 0 */
	return errno;
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
	{ "see a file of the host", try_see, "/etc/passwd", false, false },
	{ "climb out by ..", try_climb_out, NULL, false, false },
	{ "see what is outside by ..", try_climb_and_see, NULL, false, false },
	{ "have a root with room for files", try_roomy_root, NULL, false, false },
	{ "have a root that can be written to", try_write_root, NULL, true, true },
	{ "mount", try_mount, NULL, true, true },
	{ "make a mount namespace", try_namespace, NULL, true, false },
	{ "chroot", try_chroot, NULL, true, false },
	{ "connect to a socket by path", try_connect_unix, NULL, false, false },
	{ "connect to an abstract socket", try_connect_abstract, NULL, false, false },
	{ "connect to a port of the host", try_connect_inet, NULL, false, false },
	{ "find shared memory of the host", try_shared_memory, NULL, false, false },
	{ "name another process", try_name_others, NULL, false, false },
	{ "outlive the zygote", try_outlive_zygote, NULL, false, true },
	{ "trace another process", try_ptrace, NULL, true, false },
	{ "read another process's memory", try_read_memory, NULL, true, false },
	{ "signal another process", try_signal, NULL, false, false },
	{ "use main's descriptors", try_descriptor, NULL, false, true },
	{ "raise a limit", try_raise_limit, NULL, true, false },
	{ "have more files", try_raise_files, NULL, false, false },
	{ "leave a core", try_core, NULL, true, true },
	{ "have more threads", try_threads, NULL, false, true },
	{ "have message queues", try_queues, NULL, false, true },
	{ "have many signals wait", try_signals, NULL, false, true },
	{ "have a capability", try_rights, NULL, true, false },
	{ "execute a program", try_execute, "/bin/true", false, false },
	{ "have root's rights by exec", try_rights_of_root, NULL, false, false },
	{ "gain rights by exec", try_new_privileges, NULL, false, false },
	{ "have a capability in its bounding set", try_capabilities, NULL, true, false },
	{ "be dumped or traced", try_be_dumped, NULL, false, false },
	{ "change the host's name", try_host_name, NULL, true, true },
};

/* --- whom it is done to --- */

static int listen_on(int fd, const void *addr, socklen_t len)
{
	return bind(fd, addr, len) || listen(fd, 4) ? -1 : fd;
}

static int make_victims(void **state)
{
	struct sockaddr_un u = { .sun_family = AF_UNIX }, a;
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);
	(void)state;
	(void)snprintf(socket_path, sizeof(socket_path), "/tmp/vmm-jail-%d.sock", getpid());
	strcpy(u.sun_path, socket_path);
	unix_listener = listen_on(socket(AF_UNIX, SOCK_STREAM, 0), &u, sizeof(u));
	int inet = listen_on(socket(AF_INET, SOCK_STREAM, 0), &in, sizeof(in));
	socklen_t name_len = abstract_name(&a);
	abstract_listener = listen_on(socket(AF_UNIX, SOCK_STREAM, 0), &a, name_len);
	shared_memory = getpid();
	if (shmget(shared_memory, 4096, IPC_CREAT | IPC_EXCL | 0600) < 0 || abstract_listener < 0)
		return -1;
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
	shmctl(shmget(shared_memory, 0, 0), IPC_RMID, NULL);
	return 0;
}

#endif
