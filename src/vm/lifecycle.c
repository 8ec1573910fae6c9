/* lifecycle.c - vCPU threads, signals, and the loop of the control thread. */
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/num.h"
#include "vm_priv.h"

#define CPU_RR_PRIORITY 6
#define IRQ_RETRY_MS    100

/* --- signals --- */

/*
 * Those that end the VM in order. One that was ignored when we started stays ignored (nohup). And
 * those that tell that we were stopped and go on, and that the terminal has another size.
 */
static void signals_wanted(sigset_t *set)
{
	static const int stop[] = { SIGINT, SIGTERM, SIGHUP };
	sigemptyset(set);
	sigaddset(set, SIGCONT);
	sigaddset(set, SIGWINCH);
	for (size_t i = 0; i < ARRAY_SIZE(stop); i++) {
		struct sigaction sa;
		if (!sigaction(stop[i], NULL, &sa) && sa.sa_handler != SIG_IGN)
			sigaddset(set, stop[i]);
	}
}

enum vm_status vm_signals_build(struct vm *vm)
{
	sigset_t set;
	signals_wanted(&set);
	(void)signal(SIGPIPE, SIG_IGN); /* a closed output is an error of the write */
	(void)signal(SIGXFSZ, SIG_IGN); /* so is a file at its limit, which the guest may see */
	int err = notifier_init(&vm->wake);
	if (err)
		return vm_fail_errno(err, "event descriptor");
	if (pthread_sigmask(SIG_BLOCK, &set, NULL))
		return vm_fail_errno(-EINVAL, "signal mask");
	vm->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return vm->signal_fd < 0 ? vm_fail_errno(-errno, "signal descriptor") : VM_EXIT_OK;
}

void vm_signals_undo(struct vm *vm)
{
	fd_close(vm->signal_fd);
	notifier_fini(&vm->wake);
}

/* --- vCPUs --- */

static void cpu_thread(void *arg)
{
	struct vm_cpu *cpu = arg;
	struct vm *vm = cpu->vm;
	while (sem_wait(&vm->go))
		BUG_ON(errno != EINTR);
	vm_confine_cpu(vm);
	while ((cpu->exit = vcpu_run(cpu->vcpu, vm->pio, vm->mmio)) == VCPU_STOPPED &&
	       vm_cpu_park(vm))
		vcpu_resumed(cpu->vcpu);
	switch (cpu->exit) {
	case VCPU_STOPPED:
		break;
	case VCPU_POWEROFF:
		vm_post_event(vm, VM_EVENT_POWEROFF);
		break;
	case VCPU_RESET:
		vm_post_event(vm, VM_EVENT_RESET);
		break;
	case VCPU_SHUTDOWN:
	case VCPU_CRASH:
		vm_post_event(vm, VM_EVENT_CRASH);
		break;
	}
}

enum vm_status vm_cpus_build(struct vm *vm)
{
	(void)sem_init(&vm->go, 0, 0); /* fails for a huge count only */
	for (unsigned i = 0; i < vm->c->nr_cpus; i++) {
		struct vm_cpu *cpu = &vm->cpus[i];
		cpu->vm = vm;
		cpu->index = i;
		int err = vcpu_create(&cpu->vcpu, vm->hv,
				      machine_cpu_id(&vm->boot.topology, vm->boot.nr_cpus, i));
		if (!err)
			err = machine_setup_vcpu(&vm->boot, vm->hv, cpu->vcpu, i);
		if (err)
			return vm_fail_errno(err, "making a vCPU");
	}
	return VM_EXIT_OK;
}

static enum vm_status cpus_start(struct vm *vm)
{
	for (unsigned i = 0; i < vm->c->nr_cpus; i++) {
		struct vm_cpu *cpu = &vm->cpus[i];
		bool is_rt = vm->c->rt_cpus && CPU_ISSET(i, vm->c->rt_cpus);
		char name[16];
		(void)snprintf(name, sizeof(name), "vcpu%u", i); /* fits */
		struct thread_attr attr = { .name = name,
					    .cpus = vm->c->vcpu_affinity[i],
					    .rr_priority = is_rt ? CPU_RR_PRIORITY : 0 };
		int err = thread_create(&cpu->thread, &attr, cpu_thread, cpu);
		if (err == -EPERM && is_rt)
			return vm_fail(VM_EXIT_HOST,
				       "--rt-cpus: no right to real-time priority; raise 'ulimit "
				       "-r' or run as root");
		if (err)
			return vm_fail_errno(err, "starting a vCPU thread");
	}
	return VM_EXIT_OK;
}

static void cpus_let_go(struct vm *vm)
{
	for (unsigned i = 0; i < vm->c->nr_cpus && !vm->is_let_go; i++)
		(void)sem_post(&vm->go); /* far from the largest count */
	vm->is_let_go = true;
}

void vm_cpus_interrupt(struct vm *vm)
{
	for (unsigned i = 0; i < vm->c->nr_cpus; i++) {
		if (!vm->cpus[i].thread)
			continue;
		vcpu_request_stop(vm->cpus[i].vcpu);
		thread_signal(vm->cpus[i].thread);
	}
}

/* Every request first, then every join: the vCPUs wind down side by side. */
static void cpus_stop(struct vm *vm)
{
	vm_cpus_unpark(vm);
	vm_cpus_interrupt(vm);
	cpus_let_go(vm); /* those that have not begun see the request */
	for (unsigned i = 0; i < vm->c->nr_cpus; i++) {
		thread_join(vm->cpus[i].thread);
		vm->cpus[i].thread = NULL;
	}
}

void vm_cpus_undo(struct vm *vm)
{
	for (unsigned i = 0; i < vm->c->nr_cpus; i++)
		vcpu_destroy(vm->cpus[i].vcpu);
}

/* --- the control loop --- */

static void control_take_signals(struct vm *vm)
{
	struct signalfd_siginfo si;
	while (read(vm->signal_fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGCONT)
			terminal_raw(vm->terminal);
		if (si.ssi_signo == SIGCONT || si.ssi_signo == SIGWINCH) {
			vm_window_changed(vm);
			continue;
		}
		log_info("stopping on signal %u (%s)", si.ssi_signo, strsignal((int)si.ssi_signo));
		vm_post_event(vm, VM_EVENT_STOP);
	}
}

/* The host was short of something when it was to wire an interrupt: until it is not. */
static void control_retry_irqs(struct vm *vm)
{
	/* first: what is refused after this is noted again */
	if (atomic_exchange_explicit(&vm->owes_irqs, false, memory_order_relaxed) &&
	    pci_bus_retry_irqs(vm->pci))
		atomic_store_explicit(&vm->owes_irqs, true, memory_order_relaxed);
}

static int control_wait_ms(struct vm *vm)
{
	int ms = vm_suspend_wait_ms(vm);
	bool owes_irqs = atomic_load_explicit(&vm->owes_irqs, memory_order_relaxed);
	return owes_irqs && (ms < 0 || ms > IRQ_RETRY_MS) ? IRQ_RETRY_MS : ms;
}

static unsigned control_wait(struct vm *vm)
{
	for (;;) {
		/* acquire: pairs with vm_post_event() */
		unsigned event = atomic_load_explicit(&vm->event, memory_order_acquire);
		if (event)
			return event;
		struct pollfd p[3] = { { vm->wake.fd, POLLIN, 0 },
				       { vm->signal_fd, POLLIN, 0 },
				       { vm->control ? control_fd(vm->control) : -1, POLLIN, 0 } };
		if (poll(p, 3, control_wait_ms(vm)) < 0)
			continue; /* EINTR; nothing else can happen to good descriptors */
		if (p[2].revents)
			control_run(vm->control);
		(void)notifier_consume(&vm->wake); /* the events say what it was */
		control_take_signals(vm);
		control_retry_irqs(vm);
		vm_suspend_step(vm);
	}
}

static enum vm_status control_crashed(struct vm *vm)
{
	for (unsigned i = 0; i < vm->c->nr_cpus; i++)
		if (vm->cpus[i].exit == VCPU_SHUTDOWN || vm->cpus[i].exit == VCPU_CRASH)
			log_error("vCPU %u: %s", i, vcpu_reason(vm->cpus[i].vcpu));
	return VM_EXIT_CRASH;
}

enum vm_status vm_cpus_run(struct vm *vm)
{
	vm->started_ns = clock_ns();
	terminal_raw(vm->terminal);
	vm->has_run = true;
	enum vm_status status = cpus_start(vm);
	if (!status)
		status = vm_confine(vm);
	if (!status)
		cpus_let_go(vm);
	unsigned event = status ? VM_EVENT_STOP : control_wait(vm);
	cpus_stop(vm);
	if (status)
		return status;
	if (event == VM_EVENT_CRASH)
		return control_crashed(vm);
	return event == VM_EVENT_RESET ? VM_EXIT_RESET : VM_EXIT_OK;
}
