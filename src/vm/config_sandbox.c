/* config_sandbox.c - options of `vmm run` about isolation. */
#include <string.h>
#include "base/num.h"
#include "config_opts.h"

/* Two words for one thing, of which the later would win. */
static bool sandbox_was_said(const struct config_builder *b, const char *option)
{
	return b->given[config_find(option)] == b->origin;
}

int opt_sandbox(struct config_builder *b, const char *v)
{
	static const struct {
		const char *name;
		enum vm_sandbox mode;
	} modes[] = {
		{ "auto", VM_SANDBOX_AUTO },
		{ "require", VM_SANDBOX_REQUIRE },
		{ "off", VM_SANDBOX_OFF },
	};
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		if (strcmp(v, modes[i].name) != 0)
			continue;
		b->c->sandbox = modes[i].mode;
		if (sandbox_was_said(b, "disable-sandbox"))
			return config_fail(b, "does not go with --disable-sandbox; give one");
		return 0;
	}
	return config_fail(b, "'%s' is no mode; give auto, require or off", v);
}

int opt_disable_sandbox(struct config_builder *b, const char *v)
{
	(void)v; /* a flag */
	b->c->sandbox = VM_SANDBOX_OFF;
	if (sandbox_was_said(b, "sandbox"))
		return config_fail(b, "does not go with --sandbox; give one");
	return 0;
}

int opt_seccomp_log_failures(struct config_builder *b, const char *v)
{
	(void)v; /* a flag */
	b->c->logs_violations = true;
	return 0;
}
