/* config_sandbox.c - options of `vmm run` about isolation. */
#include <string.h>
#include "base/num.h"
#include "config_opts.h"

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
		return 0;
	}
	return config_fail(b, "'%s' is no mode; give auto, require or off", v);
}

int opt_disable_sandbox(struct config_builder *b, const char *v)
{
	(void)v; /* a flag */
	b->c->sandbox = VM_SANDBOX_OFF;
	return 0;
}

int opt_seccomp_log_failures(struct config_builder *b, const char *v)
{
	(void)v; /* a flag */
	b->c->logs_violations = true;
	return 0;
}
