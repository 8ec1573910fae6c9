/* jail_landlock.c - see jail.h: a second wall around files, by landlock(7). */
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/err.h"
#include "base/num.h"
#include "jail.h"

/* Not in the headers of every system we build on; these are the kernel's ABI. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self  446
#endif
#define LANDLOCK_VERSION 1u /* flag of create_ruleset: tell the version */

struct landlock_attr {
	uint64_t fs, net, scoped;
};

/* What each version of the ABI can forbid. */
static const struct {
	uint64_t fs;
	unsigned net, scoped;
	size_t bytes;
} landlock_abis[] = {
	{ 0x1fff, 0, 0, 8 },  /* 1: execute, write, read, make and remove of every kind */
	{ 0x3fff, 0, 0, 8 },  /* 2: and rename or link between folders */
	{ 0x7fff, 0, 0, 8 },  /* 3: and truncate */
	{ 0x7fff, 3, 0, 16 }, /* 4: and bind and connect of TCP */
	{ 0xffff, 3, 0, 16 }, /* 5: and ioctl of devices */
	{ 0xffff, 3, 3, 24 }, /* 6: and abstract sockets and signals to outside */
};

bool jail_forbid_files(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION);
	if (abi < 1)
		return false;
	size_t i = min_size((size_t)abi, ARRAY_SIZE(landlock_abis)) - 1;
	struct landlock_attr a = { landlock_abis[i].fs, landlock_abis[i].net,
				   landlock_abis[i].scoped };
	CLEANUP(fd_cleanup)
	int fd = (int)syscall(SYS_landlock_create_ruleset, &a, landlock_abis[i].bytes, 0);
	/* no rule: nothing is excepted */
	return fd >= 0 && !syscall(SYS_landlock_restrict_self, fd, 0);
}
