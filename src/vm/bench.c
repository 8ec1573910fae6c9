/* bench.c - `vmm bench`: a machine with the built-in guest, measured from inside and outside. */
#include "vm/bench.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "base/err.h"
#include "base/log.h"
#include "base/num.h"
#include "bench_priv.h"

#define BENCH_IMAGE_BYTES (256 * MIB)

/* --- what the machine needs: the guest as a file, an image with data --- */

static int bench_write_all(int fd, const void *buf, size_t len)
{
	for (const uint8_t *at = buf; len;) {
		ssize_t n = write(fd, at, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int bench_guest_file(void)
{
	size_t len = (size_t)(machine_bench_guest_end - machine_bench_guest);
	CLEANUP(fd_cleanup) int fd = memfd_create("bench-guest", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	int err = bench_write_all(fd, machine_bench_guest, len);
	return err ? err : take_fd(fd);
}

/* Written out once: reads of holes would measure something else. */
static int bench_fill_image(int fd)
{
	size_t chunk = MIB;
	CLEANUP(free_cleanup) uint64_t *buf = malloc(chunk);
	if (!buf)
		return -ENOMEM;
	for (size_t i = 0; i < chunk / sizeof(*buf); i++)
		buf[i] = i * 0x9e3779b97f4a7c15ull;
	int err = 0;
	for (uint64_t done = 0; done < BENCH_IMAGE_BYTES && !err; done += chunk)
		err = bench_write_all(fd, buf, chunk);
	return err ? err : fdatasync(fd) ? -errno : 0;
}

/* A file without a name: whatever happens, nothing of it stays. */
static enum vm_status bench_make_image(const struct bench_config *cfg, int *out)
{
	char path[PATH_MAX];
	struct statfs fs;
	if ((size_t)snprintf(path, sizeof(path), "%s/vmm-bench-XXXXXX", cfg->folder) >=
	    sizeof(path))
		return vm_fail(VM_EXIT_USAGE, "--dir: %s: is too long; give another", cfg->folder);
	CLEANUP(fd_cleanup) int fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return vm_fail_named(-errno, "--dir", cfg->folder,
				     "give a folder for a file of 256 MiB");
	(void)unlink(path); /* just made */
	if (!fstatfs(fd, &fs) && fs.f_type == TMPFS_MAGIC)
		log_warn("--dir: %s is in memory (tmpfs): its figures say little about disks",
			 cfg->folder);
	int err = bench_fill_image(fd);
	if (err)
		return vm_fail(VM_EXIT_HOST, "--dir: %s: %s; give another folder", cfg->folder,
			       strerror(-err));
	*out = take_fd(fd);
	return VM_EXIT_OK;
}

/* --- the machine --- */

struct bench_setup {
	struct vm_config c;
	struct config_builder b;
	int err;
};

PRINTF(3, 4)
static void bench_set(struct bench_setup *s, const char *name, const char *fmt, ...)
{
	char value[256];
	va_list ap;
	int i = config_find(name);
	BUG_ON(i < 0);
	va_start(ap, fmt);
	(void)vsnprintf(value, sizeof(value), fmt, ap); /* fits: numbers and words */
	va_end(ap);
	if (!s->err)
		s->err = config_set(&s->b, (unsigned)i, value);
}

static int bench_configure(struct bench_setup *s, const struct bench_plan *p, int guest, int image)
{
	const struct bench_config *cfg = p->cfg;
	config_init(&s->c);
	s->c.sandbox = VM_SANDBOX_OFF; /* counts what the workers do, which are to be here */
	s->b = (struct config_builder){ .c = &s->c, .origin = CONFIG_FROM_ARGS };
	bench_set(s, "kernel", "/proc/self/fd/%d", guest);
	bench_set(s, "cpus", "%u", p->nr_queues);
	bench_set(s, "mem", "256M");
	bench_set(s, "params", "bench=0x%llx bench-port=0x%llx",
		  (unsigned long long)machine_bench_mmio, (unsigned long long)machine_bench_port);
	bench_set(s, "serial", "type=%s", cfg->is_verbose ? "stdout" : "sink");
	bench_set(s, "block", "format=null,size=1G,queues=%u,poll=%s", p->nr_queues, cfg->poll);
	bench_set(s, "block", "path=/proc/self/fd/%d,format=raw,queues=%u,poll=%s,direct=%s", image,
		  p->nr_queues, cfg->poll, cfg->is_direct ? "on" : "off");
	return s->err ? s->err : config_finish(&s->b);
}

static enum vm_status bench_boot(struct bench_plan *p, int guest, int image)
{
	struct bench_setup s = { 0 };
	struct bench_dev dev;
	enum vm_status st;
	int err = bench_configure(&s, p, guest, image);
	bench_dev_init(&dev, p);
	struct vm_extra extra = bench_dev_extra;
	extra.ctx = &dev;
	if (err)
		st = vm_fail(VM_EXIT_USAGE, "bench: %s",
			     s.b.err.text[0] ? s.b.err.text : strerror(-err));
	else
		st = vm_run_with(&s.c, &extra);
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	config_fini(&s.c);
	if (st == VM_EXIT_OK && dev.has_failed)
		return VM_EXIT_HOST;
	if (st == VM_EXIT_RESET)
		return vm_fail(VM_EXIT_HOST,
			       "bench: the guest gave up; --verbose shows what it says");
	if (st == VM_EXIT_OK && dev.next < p->nr_cases * p->nr_rounds)
		return vm_fail(VM_EXIT_HOST, "bench: interrupted");
	return st;
}

/* --- the results --- */

static enum vm_status bench_output(const struct bench_plan *p)
{
	struct hv_info host;
	int err = hv_probe(&host, "/dev/kvm");
	if (err)
		return vm_fail_errno(err, "/dev/kvm");
	if (p->cfg->is_json) {
		json_t *o = bench_json(p, &host);
		err = o ? json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) : -1;
		json_decref(o);
		printf("\n");
	} else {
		bench_print(stdout, p, &host);
	}
	if (err || fflush(stdout))
		return vm_fail(VM_EXIT_HOST, "bench: cannot write the result");
	err = p->cfg->plot ? bench_plot(p, p->cfg->plot) : 0;
	if (err)
		return vm_fail(VM_EXIT_HOST, "--plot: %s: gnuplot could not write it",
			       p->cfg->plot);
	return VM_EXIT_OK;
}

/* Told before minutes of measurement, not behind them. */
static enum vm_status bench_check_plot(const char *path)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(path, '/');
	(void)snprintf(folder, sizeof(folder), "%.*s", (int)(slash ? slash - path + 1 : 1),
		       slash ? path : "."); /* what is too long is not there */
	if (access(folder, W_OK | X_OK))
		return vm_fail_named(-errno, "--plot", path,
				     "give a path in a folder that exists and may be written");
	if (!bench_can_plot())
		return vm_fail(VM_EXIT_USAGE, "--plot: needs gnuplot: apt-get install gnuplot-nox");
	return VM_EXIT_OK;
}

enum vm_status vm_bench(const struct bench_config *cfg)
{
	cpu_set_t mine;
	unsigned nr_queues = BENCH_MAX_QUEUES;
	enum vm_status st = cfg->plot ? bench_check_plot(cfg->plot) : VM_EXIT_OK;
	if (st)
		return st;
	if (!sched_getaffinity(0, sizeof(mine), &mine))
		nr_queues = min_u32((uint32_t)CPU_COUNT(&mine), BENCH_MAX_QUEUES);
	CLEANUP(free_cleanup) struct bench_plan *p = malloc(sizeof(*p));
	CLEANUP(fd_cleanup) int guest = bench_guest_file();
	if (!p || guest < 0)
		return vm_fail_errno(p ? guest : -ENOMEM, "a file for the guest");
	bench_plan_fill(p, cfg, nr_queues);
	CLEANUP(fd_cleanup) int image = -1;
	st = bench_make_image(cfg, &image);
	if (!st)
		st = bench_boot(p, guest, image);
	return st ? st : bench_output(p);
}
