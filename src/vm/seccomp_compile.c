/*
 * seccomp_compile.c - see seccomp_priv.h: lists become filters, by libseccomp. Part of the build
 * and of tests: vmm itself has the filters that were made when it was built.
 */
#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/err.h"
#include "seccomp_priv.h"

/* What a filter is made of: the lists of a role, and of what its options need. */
struct filter_lists {
	const struct syscall_list *l[SECCOMP_MAX_LISTS + 3];
	unsigned nr;
};

static struct filter_lists filter_collect(enum sandbox_role role, const struct sandbox_options *o,
					  const struct syscall_list *more)
{
	struct filter_lists f = { .nr = 0 };
	for (const struct syscall_list *const *l = seccomp_roles[role].lists; *l; l++)
		f.l[f.nr++] = *l;
	if (o->has_sockets && role == SANDBOX_MAIN)
		f.l[f.nr++] = &seccomp_socket_syscalls;
	if (o->has_control && role == SANDBOX_MAIN)
		f.l[f.nr++] = &seccomp_control_syscalls;
	if (more)
		f.l[f.nr++] = more;
	return f;
}

static bool filter_has_always(const struct filter_lists *f, int nr)
{
	for (unsigned i = 0; i < f->nr; i++)
		for (unsigned j = 0; j < f->l[i]->nr; j++)
			if (f->l[i]->rules[j].nr == nr && f->l[i]->rules[j].when == SYSCALL_ALWAYS)
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

static int filter_add_list(scmp_filter_ctx ctx, const struct filter_lists *f,
			   const struct syscall_list *l, const struct sandbox_options *o)
{
	int err = 0;
	for (unsigned i = 0; i < l->nr && !err; i++)
		/* what is always allowed needs no conditions */
		if (l->rules[i].when == SYSCALL_ALWAYS || !filter_has_always(f, l->rules[i].nr))
			err = filter_add_rule(ctx, &l->rules[i], o);
	return err;
}

static int filter_fill(scmp_filter_ctx ctx, const struct filter_lists *f,
		       const struct sandbox_options *o)
{
	/* its flags lie in memory, where no filter looks: the C library then uses clone() */
	int err = seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, NULL);
	for (unsigned i = 0; i < f->nr && !err; i++)
		err = filter_add_list(ctx, f, f->l[i], o);
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

int seccomp_compile(struct sock_fprog *out, enum sandbox_role role, const struct sandbox_options *o,
		    const struct syscall_list *more)
{
	const struct filter_lists f = filter_collect(role, o, more);
	scmp_filter_ctx ctx = seccomp_init(o->only_log ? SCMP_ACT_LOG : SCMP_ACT_TRAP);
	if (!ctx)
		return -ENOMEM;
	int err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!err)
		err = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!err)
		err = filter_fill(ctx, &f, o);
	if (!err)
		err = filter_export(ctx, out);
	seccomp_release(ctx);
	return err;
}
