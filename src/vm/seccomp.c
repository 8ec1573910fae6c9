/* seccomp.c - see sandbox.h: lists become filters, filters are entered, violations are told. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/err.h"
#include "base/num.h"
#include "seccomp_priv.h"

static struct sock_fprog seccomp_programs[SANDBOX_NR_ROLES];
/* For the handler of SIGSYS: of the whole process, and of threads with a list of their own. */
static enum sandbox_role seccomp_process_role = SANDBOX_NR_ROLES;
static _Thread_local enum sandbox_role seccomp_thread_role = SANDBOX_NR_ROLES;

const char *sandbox_role_name(enum sandbox_role role)
{
	return seccomp_roles[role].name;
}

/* --- lists to filters --- */

static bool list_has_always(const struct syscall_list *l, int nr)
{
	for (unsigned i = 0; i < l->nr; i++)
		if (l->rules[i].nr == nr && l->rules[i].when == SYSCALL_ALWAYS)
			return true;
	return false;
}

static bool role_has_always(enum sandbox_role role, int nr)
{
	for (const struct syscall_list *const *l = seccomp_roles[role].lists; *l; l++)
		if (list_has_always(*l, nr))
			return true;
	return false;
}

bool sandbox_allows(enum sandbox_role role, int nr)
{
	for (const struct syscall_list *const *l = seccomp_roles[role].lists; *l; l++)
		for (unsigned i = 0; i < (*l)->nr; i++)
			if ((*l)->rules[i].nr == nr)
				return true;
	return false;
}

static int filter_add_rule(scmp_filter_ctx ctx, const struct syscall_rule *r,
			   const struct sandbox_options *o)
{
	struct scmp_arg_cmp a = { .arg = r->arg, .op = SCMP_CMP_MASKED_EQ };
	a.datum_a = r->mask;
	a.datum_b = r->value;
	if (r->when == SYSCALL_SELF) {
		if (!o->self)
			return 0;
		a.datum_a = UINT32_MAX;
		a.datum_b = (uint32_t)o->self;
	}
	int err = r->when == SYSCALL_ALWAYS
			  ? seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, r->nr, 0, NULL)
			  : seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, r->nr, 1, &a);
	return err == -EEXIST ? 0 : err; /* two layers want the same */
}

static int filter_add_list(scmp_filter_ctx ctx, enum sandbox_role role,
			   const struct syscall_list *l, const struct sandbox_options *o)
{
	int err = 0;
	for (unsigned i = 0; i < l->nr && !err; i++)
		/* what is always allowed needs no conditions */
		if (l->rules[i].when == SYSCALL_ALWAYS || !role_has_always(role, l->rules[i].nr))
			err = filter_add_rule(ctx, &l->rules[i], o);
	return err;
}

static int filter_fill(scmp_filter_ctx ctx, enum sandbox_role role, const struct sandbox_options *o)
{
	/* its flags lie in memory, where no filter looks: the C library then uses clone() */
	int err = seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, NULL);
	for (const struct syscall_list *const *l = seccomp_roles[role].lists; *l && !err; l++)
		err = filter_add_list(ctx, role, *l, o);
	if (!err && o->has_sockets && role == SANDBOX_MAIN)
		err = filter_add_list(ctx, role, &seccomp_socket_syscalls, o);
	if (!err && o->has_control && role == SANDBOX_MAIN)
		err = filter_add_list(ctx, role, &seccomp_control_syscalls, o);
	return err;
}

/* libseccomp writes a program to a descriptor only; there we fetch it. */
static int filter_export(scmp_filter_ctx ctx, struct sock_fprog *out)
{
	struct stat st;
	CLEANUP(fd_cleanup) int fd = memfd_create("filter", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	int err = seccomp_export_bpf(ctx, fd);
	if (err)
		return err;
	if (fstat(fd, &st))
		return -errno;
	CLEANUP(free_cleanup) struct sock_filter *code = malloc((size_t)st.st_size);
	if (!code)
		return -ENOMEM;
	if (pread(fd, code, (size_t)st.st_size, 0) != st.st_size)
		return -EIO;
	out->len = (unsigned short)((size_t)st.st_size / sizeof(*code));
	out->filter = take(code);
	return 0;
}

int sandbox_prepare(enum sandbox_role role, const struct sandbox_options *o)
{
	if (seccomp_programs[role].filter)
		return 0;
	scmp_filter_ctx ctx = seccomp_init(o->only_log ? SCMP_ACT_LOG : SCMP_ACT_TRAP);
	if (!ctx)
		return -ENOMEM;
	int err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!err)
		err = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!err)
		err = filter_fill(ctx, role, o);
	if (!err)
		err = filter_export(ctx, &seccomp_programs[role]);
	seccomp_release(ctx);
	return err;
}

int sandbox_enter(enum sandbox_role role, bool all)
{
	BUG_ON(!seccomp_programs[role].filter);
	seccomp_thread_role = role;
	long err = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			   all ? (unsigned)SECCOMP_FILTER_FLAG_TSYNC : 0u, &seccomp_programs[role]);
	return err < 0 ? -errno : err ? -EBUSY : 0;
}

bool sandbox_is_possible(void)
{
	uint32_t action = SECCOMP_RET_TRAP;
	return !syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
}

void sandbox_forget(void)
{
	for (unsigned i = 0; i < SANDBOX_NR_ROLES; i++) {
		free(seccomp_programs[i].filter);
		seccomp_programs[i] = (struct sock_fprog){ 0 };
	}
}

/* --- violations --- */

static size_t catch_append(char *line, size_t at, size_t size, const char *text)
{
	while (*text && at < size)
		line[at++] = *text++;
	return at;
}

static size_t catch_append_number(char *line, size_t at, size_t size, unsigned n)
{
	char digits[12];
	size_t i = sizeof(digits) - 1;
	digits[i] = 0;
	do
		digits[--i] = (char)('0' + n % 10);
	while ((n /= 10) && i);
	return catch_append(line, at, size, digits + i);
}

/*
 * The kernel made the handler the default again when it called us: the next call that is not
 * allowed ends the process with SIGSYS, so we make one.
 */
static void catch_violation(int sig, siginfo_t *si, void *context)
{
	(void)sig;
	(void)context;
	char line[160];
	size_t at = 0, size = sizeof(line) - 1;
	unsigned nr = (unsigned)si->si_syscall;
	enum sandbox_role role = seccomp_thread_role < SANDBOX_NR_ROLES ? seccomp_thread_role
									: seccomp_process_role;
	const char *name = nr < seccomp_nr_names ? seccomp_names[nr] : NULL;
	at = catch_append(line, at, size, "vmm: ");
	at = catch_append(line, at, size,
			  role < SANDBOX_NR_ROLES ? seccomp_roles[role].name : "a thread");
	at = catch_append(line, at, size, ": system call ");
	at = catch_append(line, at, size, name ? name : "");
	at = catch_append(line, at, size, name ? " (" : "");
	at = catch_append_number(line, at, size, nr);
	at = catch_append(line, at, size, name ? ")" : "");
	at = catch_append(line, at, size, " is not on its list: the process ends\n");
	ignore(write(STDERR_FILENO, line, at) < 0); /* nowhere left to say it */
	(void)syscall(SYS_acct, NULL);              /* on no list */
	/* the first process of a namespace outlives that while somebody traces it */
	(void)syscall(SYS_exit_group, 128 + SIGSYS);
}

void sandbox_catch(enum sandbox_role role)
{
	seccomp_process_role = role;
	struct sigaction sa = { .sa_sigaction = catch_violation,
				.sa_flags = (int)(SA_SIGINFO | SA_RESETHAND | SA_NODEFER) };
	sigset_t set;
	(void)sigaction(SIGSYS, &sa, NULL); /* cannot fail for this one */
	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL); /* blocked, it would end us without a word */
}
