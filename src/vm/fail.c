/* fail.c - the one line that a failure gets, and the exit status that goes with it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/host_err.h"
#include "base/log.h"
#include "config_opts.h"
#include "vm_priv.h"

enum vm_status vm_fail(enum vm_status status, const char *fmt, ...)
{
	char text[CONFIG_MESSAGE_BYTES], shown[512];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut is fine */
	va_end(ap);
	config_shorten(shown, sizeof(shown), text);
	log_error("%s", shown);
	return status;
}

enum vm_status vm_fail_errno(int err, const char *what)
{
	return vm_fail(VM_EXIT_HOST, "%s: %s%s", what, strerror(-err), host_err_remedy(err));
}

enum vm_status vm_fail_named(int err, const char *option, const char *name, const char *remedy)
{
	if (host_err_is(err) || !remedy)
		return vm_fail(VM_EXIT_HOST, "%s: %s: %s%s", option, name, strerror(-err),
			       host_err_remedy(err));
	return vm_fail(VM_EXIT_USAGE, "%s: %s: %s; %s", option, name, strerror(-err), remedy);
}
