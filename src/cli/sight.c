/* sight.c - see sight.h. */
#include "sight.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define SIGHT_PATH_MAX 320 /* has room for the longest name a folder can hold */

/* The first line of file @name of thread @tid. */
static bool sight_line(long long pid, const char *tid, const char *name, char *line, int len)
{
	char path[SIGHT_PATH_MAX];
	(void)snprintf(path, sizeof(path), "/proc/%lld/task/%s/%s", pid, tid, name); /* fits */
	FILE *f = fopen(path, "re");
	bool is_read = f && fgets(line, len, f);
	if (f)
		(void)fclose(f); /* was only read */
	return is_read;
}

static bool sight_thread_ns(long long pid, const char *tid, const char *prefix, uint64_t *out)
{
	char line[128];
	unsigned long long ns;
	if (prefix && (!sight_line(pid, tid, "comm", line, sizeof(line)) ||
		       strncmp(line, prefix, strlen(prefix)) != 0))
		return false;
	if (!sight_line(pid, tid, "schedstat", line, sizeof(line)) ||
	    sscanf(line, "%llu", &ns) != 1)
		return false;
	*out = ns;
	return true;
}

bool sight_cpu_ns(long long pid, const char *prefix, uint64_t *out)
{
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/%lld/task", pid); /* fits */
	DIR *d = opendir(path);
	bool is_known = false;
	*out = 0;
	for (const struct dirent *e; d && (e = readdir(d));) {
		uint64_t ns;
		if (e->d_name[0] == '.' || !sight_thread_ns(pid, e->d_name, prefix, &ns))
			continue;
		*out += ns;
		is_known = true;
	}
	if (d)
		(void)closedir(d); /* cannot fail */
	return is_known;
}

bool sight_vcpu_ns(const json_t *status, unsigned index, uint64_t *out)
{
	char name[32];
	/* the line with a thread's name ends with a newline: so vcpu1 is not vcpu10 */
	(void)snprintf(name, sizeof(name), "vcpu%u\n", index); /* fits */
	return sight_cpu_ns(sight_int(status, "process"), name, out);
}

bool sight_device_ns(const json_t *status, const json_t *device, uint64_t *out)
{
	char name[64];
	if (json_is_integer(json_object_get(device, "process")))
		return sight_cpu_ns(sight_int(device, "process"), NULL, out);
	/* a disk's workers in the VM's own process */
	(void)snprintf(name, sizeof(name), "%.40s-q", sight_text(device, "name")); /* fits */
	return sight_cpu_ns(sight_int(status, "process"), name, out);
}

long long sight_int(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

const char *sight_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "-";
}

long long sight_queues(const json_t *device, const char *key)
{
	size_t i;
	json_t *q;
	long long sum = 0;
	json_array_foreach(json_object_get(device, "queues"), i, q) sum += sight_int(q, key);
	return sum;
}
