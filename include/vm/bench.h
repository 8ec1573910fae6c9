/*
 * bench.h - what a machine can do on this host: exits, latencies, disk requests.
 *
 * Layer:   vm
 * Threads: main thread.
 * Errors:  messages go to standard error; the result is the exit status of the program.
 * Spec:    docs/benchmarks.md.
 */
#ifndef VM_BENCH_H
#define VM_BENCH_H
#include <stdbool.h>
#include "base/compiler.h"
#include "vm/vm.h"

struct bench_config {
	const char *folder; /* for the image file */
	const char *poll;   /* of the disks' workers, as --block poll= */
	const char *plot;   /* SVG file; NULL: none */
	unsigned rounds;    /* each case is measured so often */
	unsigned ms;        /* and for so long */
	bool is_direct;     /* image with O_DIRECT */
	bool is_json;
	bool is_verbose; /* the guest's serial port on standard output */
};

#define BENCH_MAX_ROUNDS 25u

/* Boot the built-in guest, measure, print. */
enum vm_status vm_bench(const struct bench_config *cfg);

#endif
