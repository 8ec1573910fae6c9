/*
 * bench_dev.c - the device of `vmm bench`: hands out jobs, takes samples, and has a thread that the
 * guest can wake and that can interrupt the guest.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/num.h"
#include "bench_priv.h"

static uint64_t bench_clock_ns(clockid_t id)
{
	struct timespec ts;
	if (clock_gettime(id, &ts))
		return 0; /* a thread that has ended */
	return timespec_ns(&ts);
}

/* --- samples --- */

static bool bench_is_vcpu(const char *tid)
{
	char path[64], name[16] = "";
	(void)snprintf(path, sizeof(path), "/proc/self/task/%.16s/comm", tid); /* fits */
	CLEANUP(fd_cleanup) int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, name, sizeof(name) - 1) > 4 && !strncmp(name, "vcpu", 4);
}

/* CPU clocks of the vCPU threads: the kernel makes a clock id of a thread's number, see time(7). */
static void bench_find_vcpus(struct bench_dev *b)
{
	DIR *d = opendir("/proc/self/task");
	for (struct dirent *e; d && (e = readdir(d)) && b->nr_vcpus < ARRAY_SIZE(b->vcpus);)
		if (bench_is_vcpu(e->d_name))
			b->vcpus[b->nr_vcpus++] = (clockid_t)(~(unsigned)atoi(e->d_name) << 3 | 6u);
	if (d)
		(void)closedir(d);
}

static void bench_sample(const struct bench_dev *b, struct bench_sample *s)
{
	const struct vm *vm = b->vm;
	*s = (struct bench_sample){ .time_ns = bench_clock_ns(CLOCK_MONOTONIC) };
	s->cpu_ns = bench_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	for (unsigned i = 0; i < b->nr_vcpus; i++)
		s->vcpu_ns += bench_clock_ns(b->vcpus[i]);
	for (unsigned i = 0; i < vm->c->nr_cpus; i++) {
		const struct vcpu_stats *st = vcpu_stats_of(vm->cpus[i].vcpu);
		/* relaxed: counters of other threads, see arch/hv.h */
		s->exits += __atomic_load_n(&st->pio, __ATOMIC_RELAXED) +
			    __atomic_load_n(&st->mmio, __ATOMIC_RELAXED) +
			    __atomic_load_n(&st->other, __ATOMIC_RELAXED);
	}
	for (unsigned i = 0; i < vm->c->nr_disks; i++)
		s->enters += blk_enters(virtio_pci_vdev(vm->vdevs[i]));
}

/* --- jobs --- */

static void bench_progress(const struct bench_dev *b, const struct bench_case *c)
{
	char what[80];
	if (!isatty(STDERR_FILENO))
		return;
	bench_describe(c, what, sizeof(what));
	fprintf(stderr, "\r\033[K%3u%%  %s",
		100 * b->next / (b->plan->nr_cases * b->plan->nr_rounds), what);
}

static struct bench_case *bench_case_at(const struct bench_dev *b, unsigned n)
{
	return &b->plan->cases[n % b->plan->nr_cases]; /* rounds interleave */
}

static int bench_take_result(struct bench_dev *b, const struct bench_page *page)
{
	struct bench_case *c = bench_case_at(b, b->next - 1);
	const struct bench_result *r = &page->result;
	if (r->errors || c->nr_done == BENCH_MAX_ROUNDS)
		return -EIO;
	int err = bench_round_make(&c->rounds[c->nr_done], &b->begin, &b->end, r);
	if (err)
		return err;
	c->nr_done++;
	/* ticks and nanoseconds between the same two moments */
	b->tsc_khz = (uint64_t)((double)r->ticks * 1e6 /
				(double)(b->end.time_ns - b->begin.time_ns));
	return 0;
}

/* The peer follows: it sleeps in the read of its eventfd, or serves a job that wants it awake. */
static void bench_set_peer(struct bench_dev *b, unsigned mode, unsigned delay_us)
{
	atomic_store_explicit(&b->peer_delay_us, delay_us, memory_order_relaxed);
	/* release: pairs with the acquire in bench_peer(), page and delay are there */
	atomic_store_explicit(&b->peer_mode, mode, memory_order_release);
	if (mode != BENCH_OP_CALL)
		(void)eventfd_write(b->call_fd, 1); /* fails only with a counter of 2^64 - 1 */
}

static int bench_wire_irq(struct bench_dev *b, const struct bench_page *page)
{
	const struct irq_chip *chip = hv_irq_chip(b->vm->hv);
	int err = chip->ops->msi_set(chip->ctx, b->gsi, page->msi_addr, page->msi_data);
	if (!err && !b->has_irqfd)
		err = chip->ops->irqfd_add(chip->ctx, b->gsi, b->irq_fd);
	b->has_irqfd |= !err;
	return err;
}

static void bench_next(struct bench_dev *b, uint64_t addr)
{
	struct bench_page *page = gmem_host(b->vm->mem, gpa(addr), sizeof(*page));
	if (!page)
		return; /* not our guest */
	int err = b->next ? bench_take_result(b, page) : bench_wire_irq(b, page);
	if (!b->next)
		bench_find_vcpus(b);
	page->job = (struct bench_job){ .op = BENCH_OP_STOP };
	if (err) {
		char what[80] = "the first job";
		if (b->next)
			bench_describe(bench_case_at(b, b->next - 1), what, sizeof(what));
		log_error("bench: %s: the guest reports a failure", what);
		b->has_failed = true;
		return;
	}
	if (b->next == b->plan->nr_cases * b->plan->nr_rounds)
		return;
	struct bench_case *c = bench_case_at(b, b->next);
	bench_progress(b, c);
	b->next++;
	page->job = c->job;
	page->job.tsc_khz = b->tsc_khz;
	atomic_store_explicit(&b->page, page, memory_order_relaxed);
	bench_set_peer(b, c->job.op, c->job.delay_us);
}

static void bench_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	struct bench_dev *b = ctx;
	uint64_t v = 0;
	memcpy(&v, data, len);
	if (offset == BENCH_REG_NEXT)
		bench_next(b, v);
	else if (offset == BENCH_REG_BEGIN)
		bench_sample(b, &b->begin);
	else if (offset == BENCH_REG_END)
		bench_sample(b, &b->end);
}

static void bench_read(void *ctx, uint64_t offset, void *data, unsigned len)
{
	(void)ctx;
	(void)offset;
	memset(data, 0, len);
}

static void bench_port_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	(void)ctx;
	(void)offset;
	(void)data;
	(void)len;
}

static const struct bus_ops bench_ops = { "bench", bench_read, bench_write };
static const struct bus_ops bench_port_ops = { "bench-port", bench_read, bench_port_write };

/* --- the peer --- */

static void bench_wait_ns(uint64_t ns)
{
	for (uint64_t end = bench_clock_ns(CLOCK_MONOTONIC) + ns;
	     bench_clock_ns(CLOCK_MONOTONIC) < end;)
		cpu_relax();
}

/* Interrupt whenever the guest asks, a while later, until there is another job. */
static void bench_peer_interrupts(struct bench_dev *b, struct bench_page *page, unsigned mode)
{
	while (atomic_load_explicit(&b->peer_mode, memory_order_relaxed) == mode) {
		/* acquire: the guest's next question */
		uint64_t asked = __atomic_load_n(&page->asked, __ATOMIC_ACQUIRE);
		if (asked == page->answered) { /* ours alone to write */
			cpu_relax();
			continue;
		}
		__atomic_store_n(&page->answered, asked, __ATOMIC_RELEASE);
		/* relaxed: the guest asked after it was told of the job, so it is this job's */
		bench_wait_ns(1000ull *
			      atomic_load_explicit(&b->peer_delay_us, memory_order_relaxed));
		(void)eventfd_write(b->irq_fd, 1); /* KVM takes it: never full */
	}
}

static void bench_peer(void *arg)
{
	struct bench_dev *b = arg;
	eventfd_t v;
	while (!eventfd_read(b->call_fd, &v)) {
		/* acquire: pairs with bench_set_peer() */
		unsigned mode = atomic_load_explicit(&b->peer_mode, memory_order_acquire);
		struct bench_page *page = atomic_load_explicit(&b->page, memory_order_relaxed);
		if (mode == BENCH_PEER_END)
			return;
		if (mode == BENCH_OP_CALL)
			__atomic_store_n(&page->answered,
					 __atomic_load_n(&page->asked, __ATOMIC_ACQUIRE),
					 __ATOMIC_RELEASE);
		else if (mode == BENCH_OP_IRQ_SPIN || mode == BENCH_OP_IRQ_HALT)
			bench_peer_interrupts(b, page, mode);
	}
}

/* --- in the machine --- */

static const struct {
	enum bus_space space;
	uint64_t offset;
} bench_bells[] = {
	{ BUS_PIO, BENCH_PORT_BELL },
	{ BUS_MMIO, BENCH_REG_BELL },
	{ BUS_MMIO, BENCH_REG_CALL },
};
static_assert(ARRAY_SIZE(bench_bells) == ARRAY_SIZE(((struct bench_dev *)0)->has_bells),
	      "one each");

static uint64_t bench_bell_addr(unsigned i)
{
	bool is_port = bench_bells[i].space == BUS_PIO;
	return (is_port ? machine_bench_port : machine_bench_mmio) + bench_bells[i].offset;
}

static int bench_add_bells(struct bench_dev *b)
{
	const struct doorbell_chip *chip = hv_doorbell_chip(b->vm->hv);
	for (unsigned i = 0; i < ARRAY_SIZE(bench_bells); i++) {
		int fd = bench_bells[i].offset == BENCH_REG_CALL ? b->call_fd : b->bell_fd;
		int err = chip->ops->add(chip->ctx, bench_bells[i].space, bench_bell_addr(i), fd);
		if (err)
			return err;
		b->has_bells[i] = true;
	}
	return 0;
}

static int bench_attach(struct bench_dev *b)
{
	const struct irq_chip *chip = hv_irq_chip(b->vm->hv);
	b->bell_fd = eventfd(0, EFD_CLOEXEC);
	b->call_fd = eventfd(0, EFD_CLOEXEC);
	b->irq_fd = eventfd(0, EFD_CLOEXEC);
	if (b->bell_fd < 0 || b->call_fd < 0 || b->irq_fd < 0)
		return -errno;
	int err = bus_add(b->vm->mmio, machine_bench_mmio, BENCH_REG_BYTES, &bench_ops, b);
	if (!err)
		err = bus_add(b->vm->pio, machine_bench_port, BENCH_PORT_BYTES, &bench_port_ops, b);
	if (!err)
		err = bench_add_bells(b);
	if (!err)
		err = chip->ops->msi_alloc(chip->ctx, &b->gsi);
	b->has_gsi = !err;
	const struct thread_attr attr = { .name = "bench-peer" };
	return err ? err : thread_create(&b->peer, &attr, bench_peer, b);
}

static enum vm_status bench_dev_build(struct vm *vm, void *ctx)
{
	struct bench_dev *b = ctx;
	b->vm = vm;
	int err = bench_attach(b);
	return err ? vm_fail_errno(err, "the device of the benchmark") : VM_EXIT_OK;
}

static void bench_dev_undo(struct vm *vm, void *ctx)
{
	struct bench_dev *b = ctx;
	const struct irq_chip *chip = hv_irq_chip(vm->hv);
	const struct doorbell_chip *bells = hv_doorbell_chip(vm->hv);
	if (b->peer) {
		bench_set_peer(b, BENCH_PEER_END, 0);
		thread_join(b->peer);
	}
	if (b->has_irqfd)
		chip->ops->irqfd_del(chip->ctx, b->gsi, b->irq_fd);
	if (b->has_gsi)
		chip->ops->msi_free(chip->ctx, b->gsi);
	for (unsigned i = 0; i < ARRAY_SIZE(bench_bells); i++)
		if (b->has_bells[i])
			bells->ops->del(bells->ctx, bench_bells[i].space, bench_bell_addr(i),
					bench_bells[i].offset == BENCH_REG_CALL ? b->call_fd
										: b->bell_fd);
	fd_close(b->bell_fd);
	fd_close(b->call_fd);
	fd_close(b->irq_fd);
}

const struct vm_extra bench_dev_extra = { bench_dev_build, bench_dev_undo, NULL };

void bench_dev_init(struct bench_dev *b, struct bench_plan *p)
{
	*b = (struct bench_dev){ .plan = p, .bell_fd = -1, .call_fd = -1, .irq_fd = -1 };
}
