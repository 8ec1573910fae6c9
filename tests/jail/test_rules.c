/*
 * test_rules.c - the program that each role's threads live under allows what expected_calls.h says
 * and nothing else, whatever the arguments; and this test notices each rule that is loosened.
 *
 * The programs are run here, instruction by instruction, instead of by the kernel: so any call can
 * be tried, those too that would end the test. test_seccomp tries them in the kernel.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/num.h"
#include "expected_calls.h"
#include "src/vm/seccomp_priv.h"

#define LAST_NUMBER 600 /* beyond the newest */
#define SELF        4321
#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

/* --- a classic BPF machine, for what filters are made of --- */

struct machine {
	const struct seccomp_data *data;
	uint32_t a;
	unsigned at;
};

static uint32_t machine_load(const struct machine *m, uint32_t off)
{
	uint32_t v;
	assert_true(off + sizeof(v) <= sizeof(*m->data));
	memcpy(&v, (const uint8_t *)m->data + off, sizeof(v));
	return v;
}

static void machine_jump(struct machine *m, const struct sock_filter *i)
{
	bool is_true = true;
	switch (BPF_OP(i->code)) {
	case BPF_JA:
		m->at += i->k;
		return;
	case BPF_JEQ:
		is_true = m->a == i->k;
		break;
	case BPF_JGT:
		is_true = m->a > i->k;
		break;
	case BPF_JGE:
		is_true = m->a >= i->k;
		break;
	case BPF_JSET:
		is_true = m->a & i->k;
		break;
	default:
		fail_msg("jump 0x%x", i->code);
	}
	m->at += is_true ? i->jt : i->jf;
}

/* What the kernel would make of a call: SECCOMP_RET_*. */
static uint32_t verdict(const struct sock_fprog *p, const struct seccomp_data *data)
{
	struct machine m = { .data = data };
	while (m.at < p->len) {
		const struct sock_filter *i = &p->filter[m.at++];
		if (i->code == (BPF_RET | BPF_K))
			return i->k;
		if (i->code == (BPF_LD | BPF_W | BPF_ABS))
			m.a = machine_load(&m, i->k);
		else if (i->code == (BPF_ALU | BPF_AND | BPF_K))
			m.a &= i->k;
		else if (BPF_CLASS(i->code) == BPF_JMP)
			machine_jump(&m, i);
		else
			fail_msg("instruction 0x%x", i->code);
	}
	fail_msg("the program has no end");
	return 0;
}

/* --- what is expected --- */

static bool rule_matches(const struct syscall_rule *r, const struct seccomp_data *d)
{
	uint64_t arg = d->args[r->arg];
	if (r->nr != d->nr)
		return false;
	if (r->when == SYSCALL_ALWAYS)
		return true;
	if (r->when == SYSCALL_SELF)
		return (uint32_t)arg == SELF;
	return (arg & r->mask) == r->value;
}

static bool is_expected(unsigned subject, const struct seccomp_data *d)
{
	for (size_t i = 0; i < ARRAY_SIZE(expected_calls); i++)
		if (expected_calls[i].who >> subject & 1 &&
		    rule_matches(&expected_calls[i].rule, d))
			return true;
	return false;
}

/* --- the suite: false, and a line, at the first call that is not as expected --- */

struct suite {
	unsigned subject;
	const struct sock_fprog *program;
	bool is_quiet;
};

static bool try_call(const struct suite *s, const struct seccomp_data *d)
{
	bool may = verdict(s->program, d) == SECCOMP_RET_ALLOW;
	bool is_right = may == is_expected(s->subject, d);
	if (!is_right && !s->is_quiet)
		print_message("subject %u: call %d (%#llx, %#llx, %#llx, %#llx): %s\n", s->subject,
			      d->nr, (unsigned long long)d->args[0], (unsigned long long)d->args[1],
			      (unsigned long long)d->args[2], (unsigned long long)d->args[3],
			      may ? "is allowed" : "is denied");
	return is_right;
}

/* The value that a rule wants, and all that differ from it in one bit. */
static bool try_values(const struct suite *s, const struct syscall_rule *r)
{
	struct seccomp_data d = { .nr = r->nr, .arch = ARCHITECTURE };
	uint64_t wanted = r->when == SYSCALL_SELF ? SELF : r->value;
	d.args[r->arg] = wanted;
	bool is_right = try_call(s, &d);
	for (unsigned bit = 0; bit < 64 && is_right; bit++) {
		d.args[r->arg] = wanted ^ 1ull << bit;
		is_right = try_call(s, &d);
	}
	return is_right;
}

static bool try_number(const struct suite *s, int nr)
{
	struct seccomp_data zeroes = { .nr = nr, .arch = ARCHITECTURE }, ones = zeroes;
	memset(ones.args, 0xff, sizeof(ones.args));
	bool is_right = try_call(s, &zeroes) && try_call(s, &ones);
	for (size_t i = 0; i < ARRAY_SIZE(expected_calls) && is_right; i++)
		if (expected_calls[i].rule.nr == nr &&
		    expected_calls[i].rule.when != SYSCALL_ALWAYS)
			is_right = try_values(s, &expected_calls[i].rule);
	return is_right;
}

static bool suite_passes(const struct suite *s)
{
	for (int nr = 0; nr < LAST_NUMBER; nr++)
		if (!try_number(s, nr))
			return false;
	return true;
}

/* --- subjects --- */

static enum sandbox_role role_of(unsigned subject)
{
	return subject < SANDBOX_NR_ROLES ? (enum sandbox_role)subject : SANDBOX_MAIN;
}

static struct sandbox_options options_of(unsigned subject)
{
	return (struct sandbox_options){ .self = SELF,
					 .has_sockets = subject == MAIN_WITH_SOCKETS,
					 .has_control = subject == MAIN_WITH_CONTROL };
}

/* The list of @subject as vmm has it. */
static struct suite suite_of(unsigned subject)
{
	struct sandbox_options o = options_of(subject);
	sandbox_forget();
	assert_int_equal(sandbox_prepare(role_of(subject), &o), 0);
	return (struct suite){ .subject = subject, .program = seccomp_program(role_of(subject)) };
}

static void each_role_may_what_is_expected(void **state)
{
	(void)state;
	for (unsigned subject = 0; subject < NR_SUBJECTS; subject++) {
		struct suite s = suite_of(subject);
		if (!suite_passes(&s))
			fail_msg("%s", sandbox_role_name(role_of(subject)));
	}
	sandbox_forget();
}

static void other_architectures_end_the_process(void **state)
{
	(void)state;
	for (unsigned subject = 0; subject < NR_SUBJECTS; subject++) {
		struct suite s = suite_of(subject);
		for (int nr = 0; nr < LAST_NUMBER; nr++) {
			struct seccomp_data d = { .nr = nr, .arch = AUDIT_ARCH_I386 };
			assert_int_equal(verdict(s.program, &d), SECCOMP_RET_KILL_PROCESS);
#if defined(__x86_64__) /* x32: the same architecture, other numbers */
			d = (struct seccomp_data){ .nr = nr | 0x40000000, .arch = ARCHITECTURE };
			assert_int_not_equal(verdict(s.program, &d), SECCOMP_RET_ALLOW);
#endif
		}
	}
	sandbox_forget();
}

static void a_call_that_is_denied_is_trapped(void **state)
{
	(void)state;
	for (unsigned subject = 0; subject < NR_SUBJECTS; subject++) {
		struct suite s = suite_of(subject);
		struct seccomp_data d = { .nr = SYS_execve, .arch = ARCHITECTURE };
		assert_int_equal(verdict(s.program, &d), SECCOMP_RET_TRAP);
		d.nr = SYS_clone3;
		assert_int_equal(verdict(s.program, &d), SECCOMP_RET_ERRNO | ENOSYS);
	}
	sandbox_forget();
}

/* What was made when vmm was built is what the lists say now, whatever the options. */
static void made_filters_are_what_the_lists_say(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2 * NR_SUBJECTS; i++) {
		struct sandbox_options o = options_of(i / 2);
		struct sock_fprog p = { 0 };
		o.only_log = i & 1;
		sandbox_forget();
		assert_int_equal(sandbox_prepare(role_of(i / 2), &o), 0);
		assert_int_equal(seccomp_compile(&p, role_of(i / 2), &o, NULL), 0);
		const struct sock_fprog *made = seccomp_program(role_of(i / 2));
		assert_int_equal(made->len, p.len);
		assert_memory_equal(made->filter, p.filter, p.len * sizeof(*p.filter));
		free(p.filter);
	}
	sandbox_forget();
}

/* --- mutations: a rule more, and the suite must say so --- */

static unsigned nr_mutations, nr_survivors;

static void mutate(unsigned subject, const struct syscall_rule *r, const char *how)
{
	const struct syscall_list more = { r, 1 };
	const struct sandbox_options o = options_of(subject);
	struct sock_fprog p = { 0 };
	assert_int_equal(seccomp_compile(&p, role_of(subject), &o, &more), 0);
	struct suite s = { .subject = subject, .program = &p, .is_quiet = true };
	bool is_noticed = !suite_passes(&s);
	free(p.filter);
	nr_mutations++;
	nr_survivors += !is_noticed;
	if (!is_noticed)
		print_message("subject %u: nobody notices that call %d is %s\n", subject, r->nr,
			      how);
}

static bool has_always(unsigned subject, int nr)
{
	for (size_t i = 0; i < ARRAY_SIZE(expected_calls); i++)
		if (expected_calls[i].who >> subject & 1 && expected_calls[i].rule.nr == nr &&
		    expected_calls[i].rule.when == SYSCALL_ALWAYS)
			return true;
	return false;
}

/* Each call that is not on the list, or only with some arguments, allowed with any. */
static void a_call_more_is_noticed(void **state)
{
	(void)state;
	for (unsigned subject = 0; subject < NR_SUBJECTS; subject++)
		for (int nr = 0; nr < (int)seccomp_nr_names; nr++) {
			const struct syscall_rule r = { .nr = nr, .when = SYSCALL_ALWAYS };
			if (seccomp_names[nr] && nr != SYS_clone3 && !has_always(subject, nr))
				mutate(subject, &r, "allowed");
		}
	print_message("%u calls were allowed in turn\n", nr_mutations);
	assert_int_equal(nr_survivors, 0);
	assert_true(nr_mutations > 1000);
}

/* The same rule that does not look at one of the bits: each of a mask, some of a value's. */
static void mutate_bits(unsigned subject, const struct syscall_rule *r)
{
	for (unsigned bit = 0; bit < 64; bit += r->when == SYSCALL_ARG32 ? 5 : 1) {
		struct syscall_rule loose = *r;
		loose.mask &= ~(1ull << bit);
		loose.value &= loose.mask;
		struct seccomp_data d = { .nr = r->nr, .arch = ARCHITECTURE };
		d.args[r->arg] = r->value ^ 1ull << bit;
		/* without any it is a call more; and what it now allows may be allowed anyway */
		if (loose.mask && loose.mask != r->mask && !is_expected(subject, &d))
			mutate(subject, &loose, "looked at with a bit less");
	}
}

static void an_argument_less_looked_at_is_noticed(void **state)
{
	(void)state;
	nr_mutations = 0;
	for (unsigned subject = 0; subject < NR_SUBJECTS; subject++)
		for (size_t i = 0; i < ARRAY_SIZE(expected_calls); i++) {
			const struct syscall_rule *r = &expected_calls[i].rule;
			bool is_condition = r->when == SYSCALL_ARG || r->when == SYSCALL_ARG32;
			if (expected_calls[i].who >> subject & 1 && is_condition &&
			    !has_always(subject, r->nr))
				mutate_bits(subject, r);
		}
	print_message("%u conditions were loosened in turn\n", nr_mutations);
	assert_int_equal(nr_survivors, 0);
	assert_true(nr_mutations > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_role_may_what_is_expected),
		cmocka_unit_test(other_architectures_end_the_process),
		cmocka_unit_test(a_call_that_is_denied_is_trapped),
		cmocka_unit_test(made_filters_are_what_the_lists_say),
		cmocka_unit_test(a_call_more_is_noticed),
		cmocka_unit_test(an_argument_less_looked_at_is_noticed),
	};
#if defined(COMPILER_ASAN) || defined(COMPILER_TSAN)
	printf("a sanitizer is allowed what no role is\n");
	return 77;
#endif
	return cmocka_run_group_tests(tests, NULL, NULL);
}
