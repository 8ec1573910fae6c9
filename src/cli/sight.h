/*
 * sight.h - a running VM at one moment: what it says of itself, and what the kernel says of its
 * threads.
 *
 * Layer:   cli
 * Threads: main only.
 * Errors:  false, or NULL: cannot be known, which is no fault. control_ask() prints its own line.
 * Spec:    docs/control.md ("status"); proc(5), Documentation/scheduler/sched-stats.rst of Linux.
 */
#ifndef CLI_SIGHT_H
#define CLI_SIGHT_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* CPU time of the threads of process @pid whose names begin with @prefix (NULL: of all), in ns. */
bool sight_cpu_ns(long long pid, const char *prefix, uint64_t *out);
/* The same of one vCPU, and of all that serve @device, of the VM that said @status. */
bool sight_vcpu_ns(const json_t *status, unsigned index, uint64_t *out);
bool sight_device_ns(const json_t *status, const json_t *device, uint64_t *out);

/* Members of JSON objects; what is not there is 0, or "-". */
long long sight_int(const json_t *o, const char *key);
const char *sight_text(const json_t *o, const char *key);
/* The sum of @key over all queues of @device. */
long long sight_queues(const json_t *device, const char *key);

#endif
