/* seccomp.c - see sandbox.h: filters are entered, violations are told. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
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

/* --- filters --- */

bool sandbox_allows(enum sandbox_role role, int nr)
{
	for (const struct syscall_list *const *l = seccomp_roles[role].lists; *l; l++)
		for (unsigned i = 0; i < (*l)->nr; i++)
			if ((*l)->rules[i].nr == nr)
				return true;
	return false;
}

static const struct seccomp_made *made_find(enum sandbox_role role, const struct sandbox_options *o)
{
	bool has_sockets = role == SANDBOX_MAIN && o->has_sockets;
	bool has_control = role == SANDBOX_MAIN && o->has_control;
	for (unsigned i = 0; i < seccomp_nr_made; i++) {
		const struct seccomp_made *m = &seccomp_made[i];
		if (m->role == role && m->has_sockets == has_sockets &&
		    m->has_control == has_control)
			return m;
	}
	return NULL;
}

/* What only a running process knows: its id, which is none, -1, where it does not know either. */
static void made_fill_in(struct sock_filter *i, const struct sandbox_options *o)
{
	if (i->code == (BPF_JMP | BPF_JEQ | BPF_K) && i->k == SECCOMP_SELF)
		i->k = o->self ? (uint32_t)o->self : UINT32_MAX;
	if (i->code == (BPF_RET | BPF_K) && i->k == SECCOMP_RET_TRAP && o->only_log)
		i->k = SECCOMP_RET_LOG;
}

int sandbox_prepare(enum sandbox_role role, const struct sandbox_options *o)
{
	struct sock_fprog *p = &seccomp_programs[role];
	const struct seccomp_made *m = made_find(role, o);
	if (p->filter)
		return 0;
	BUG_ON(!m);
	p->filter = malloc(m->len * sizeof(*m->code));
	if (!p->filter)
		return -ENOMEM;
	memcpy(p->filter, m->code, m->len * sizeof(*m->code));
	p->len = m->len;
	for (unsigned i = 0; i < p->len; i++)
		made_fill_in(&p->filter[i], o);
	return 0;
}

const struct sock_fprog *seccomp_program(enum sandbox_role role)
{
	return &seccomp_programs[role];
}

static int sandbox_load(const struct sock_fprog *p, unsigned flags)
{
	long err = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, p);
	return err < 0 ? -errno : err ? -EBUSY : 0;
}

/*
 * With a filter kernels before 5.16 take the CPU's speculation from a thread, which slows down all
 * that it does, a vCPU's guest included. How much of it is safe is for the host to say, for our
 * threads as for all others.
 */
int sandbox_enter(enum sandbox_role role, bool all)
{
	unsigned flags = all ? (unsigned)SECCOMP_FILTER_FLAG_TSYNC : 0;
	BUG_ON(!seccomp_programs[role].filter);
	seccomp_thread_role = role;
	int err = sandbox_load(&seccomp_programs[role],
			       flags | (unsigned)SECCOMP_FILTER_FLAG_SPEC_ALLOW);
	/* before 4.17 there is no such flag, nor was there anything to be kept */
	return err == -EINVAL ? sandbox_load(&seccomp_programs[role], flags) : err;
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
