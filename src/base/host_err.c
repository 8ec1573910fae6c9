/* host_err.c - see base/host_err.h. */
#include "base/host_err.h"
#include <errno.h>
#include <stddef.h>
#include "base/compiler.h"

static const struct host_err {
	int err;
	bool is_host; /* whatever the call was */
	const char *remedy;
} host_errs[] = {
	{ -EMFILE, true, "; raise the limit of descriptors (RLIMIT_NOFILE) with 'ulimit -n'" },
	{ -ENFILE, true, "; the host is out of file descriptors: raise fs.file-max with sysctl" },
	{ -ENOMEM, true,
	  "; give the guest less memory, or raise 'ulimit -v' and the cgroup's limit" },
	{ -ENOBUFS, true, "; the host is out of memory for sockets" },
	{ -ENOSPC, true, "; make room there" },
	{ -EDQUOT, true, "; raise the quota, or make room there" },
	{ -EIO, true, "; 'dmesg' may tell what is broken" },
	/* of others it depends on the call: a lock, a file that is too large for its reader */
	{ -EFBIG, false,
	  "; raise the limit of file sizes with 'ulimit -f': guest memory is a file" },
	{ -EAGAIN, false, "; raise the limit of threads with 'ulimit -u' or pids.max" },
};

static const struct host_err *host_err_find(int err)
{
	for (size_t i = 0; i < ARRAY_SIZE(host_errs); i++)
		if (host_errs[i].err == err)
			return &host_errs[i];
	return NULL;
}

bool host_err_is(int err)
{
	const struct host_err *e = host_err_find(err);
	return e && e->is_host;
}

const char *host_err_remedy(int err)
{
	const struct host_err *e = host_err_find(err);
	return e ? e->remedy : "";
}
