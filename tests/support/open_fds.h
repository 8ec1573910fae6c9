/*
 * open_fds.h - for tests of what is left behind: count this process's descriptors.
 *
 * Layer:   tests
 * Threads: any.
 * Errors:  none.
 * Spec:    none.
 */
#ifndef TESTS_SUPPORT_OPEN_FDS_H
#define TESTS_SUPPORT_OPEN_FDS_H
#include <dirent.h>
#include "base/compiler.h"

static UNUSED unsigned open_fds(void)
{
	unsigned nr = 0;
	DIR *d = opendir("/proc/self/fd");
	while (readdir(d))
		nr++;
	closedir(d);
	return nr;
}

#endif
