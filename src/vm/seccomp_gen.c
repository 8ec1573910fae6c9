/*
 * seccomp_gen.c - a program of the build: every role's filter as C, for vmm to have without
 * compiling it at each start, which took several milliseconds.
 *
 * usage: seccomp_gen FILE
 */
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "seccomp_priv.h"

/* Of main's options each makes another list; of other roles' none does. */
static bool gen_has_variant(enum sandbox_role role, unsigned variant)
{
	return role == SANDBOX_MAIN || !variant;
}

static struct sandbox_options gen_options(unsigned variant)
{
	return (struct sandbox_options){ .self = (pid_t)SECCOMP_SELF,
					 .has_sockets = variant & 1,
					 .has_control = variant & 2 };
}

static int gen_code(FILE *out, enum sandbox_role role, unsigned variant)
{
	const struct sandbox_options o = gen_options(variant);
	struct sock_fprog p = { 0 };
	int err = seccomp_compile(&p, role, &o, NULL);
	if (err)
		return err;
	fprintf(out, "static const struct sock_filter made_%u_%u[] = {\n", role, variant);
	for (unsigned i = 0; i < p.len; i++)
		fprintf(out, "\t{ 0x%x, %u, %u, 0x%x },\n", p.filter[i].code, p.filter[i].jt,
			p.filter[i].jf, p.filter[i].k);
	fprintf(out, "};\n");
	free(p.filter);
	return 0;
}

static void gen_entry(FILE *out, enum sandbox_role role, unsigned variant)
{
	const struct sandbox_options o = gen_options(variant);
	fprintf(out, "\t{ %u, %d, %d, ARRAY_SIZE(made_%u_%u), made_%u_%u },\n", role, o.has_sockets,
		o.has_control, role, variant, role, variant);
}

static int gen_all(FILE *out)
{
	int err = 0;
	fprintf(out, "/* Made by seccomp_gen: the lists of system calls as filters. */\n"
		     "#include <linux/filter.h>\n"
		     "#include \"src/vm/seccomp_priv.h\"\n");
	for (enum sandbox_role role = 0; role < SANDBOX_NR_ROLES; role++)
		for (unsigned v = 0; v < 4 && !err; v++)
			err = gen_has_variant(role, v) ? gen_code(out, role, v) : 0;
	fprintf(out, "const struct seccomp_made seccomp_made[] = {\n");
	for (enum sandbox_role role = 0; role < SANDBOX_NR_ROLES; role++)
		for (unsigned v = 0; v < 4; v++)
			if (gen_has_variant(role, v))
				gen_entry(out, role, v);
	fprintf(out, "};\nconst unsigned seccomp_nr_made = ARRAY_SIZE(seccomp_made);\n");
	return err;
}

int main(int argc, char **argv)
{
	FILE *out = argc == 2 ? fopen(argv[1], "w") : NULL;
	if (!out) {
		fprintf(stderr, "usage: seccomp_gen FILE\n");
		return 2;
	}
	int err = gen_all(out);
	if (err)
		fprintf(stderr, "seccomp_gen: %s\n", strerror(-err));
	return fclose(out) || err ? 1 : 0;
}
