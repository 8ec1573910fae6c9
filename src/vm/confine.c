/* confine.c - what the main process gives up when everything is built and nothing runs yet. */
#include <errno.h>
#include <jansson.h>
#include <time.h>
#include <unistd.h>
#include "base/err.h"
#include "base/host_err.h"
#include "base/log.h"
#include "jail.h"
#include "sandbox.h"
#include "sync/rcu.h"
#include "vm_priv.h"

/* The thread of liburcu is none of ours to begin: it is asked to do it. */
struct confine_rcu {
	struct rcu_deferred deferred;
	bool has_dropped;
};

static void confine_rcu_thread(struct rcu_deferred *d)
{
	container_of(d, struct confine_rcu, deferred)->has_dropped = jail_drop_rights();
}

/* The other threads did it when they began (thread_set_prologue()). */
static bool confine_rights(void)
{
	struct confine_rcu rcu = { .has_dropped = false };
	rcu_defer(&rcu.deferred, confine_rcu_thread);
	rcu_drain();
	return jail_drop_rights() && rcu.has_dropped;
}

static int confine_prepare(const struct vm *vm)
{
	struct sandbox_options o = { .self = getpid(), .only_log = vm->c->logs_violations };
	o.has_control = vm->c->socket;
	o.has_sockets = vm->c->nr_vhost > 0;
	for (unsigned i = 0; i < vm->c->nr_serial; i++)
		o.has_sockets |= vm->c->serial[i].type == VM_SERIAL_SYSLOG;
	/* what libraries read files for, before it is too late: */
	tzset();             /* the time zone of the system log */
	json_object_seed(0); /* randomness for tables of the control socket */
	int err = sandbox_is_possible() ? 0 : -ENOSYS;
	for (int role = SANDBOX_MAIN; role <= SANDBOX_IO && !err; role++)
		err = sandbox_prepare((enum sandbox_role)role, &o);
	return err;
}

static void confine_io(struct reactor_msg *m)
{
	(void)m; /* static */
	int err = sandbox_enter(SANDBOX_IO, false);
	BUG_ON(err); /* main could */
}

static int confine_calls(struct vm *vm)
{
	static struct reactor_msg io_msg = { .fn = confine_io };
	int err = confine_prepare(vm);
	if (err)
		return err;
	sandbox_catch(SANDBOX_MAIN);
	err = sandbox_enter(SANDBOX_MAIN, true);
	if (err)
		return err;
	vm->has_lists = true;
	reactor_post(vworker_reactor(vm->io), &io_msg);
	return 0;
}

enum vm_status vm_confine(struct vm *vm)
{
	char words[64];
	uint32_t lacks = 0;
	if (vm->c->sandbox == VM_SANDBOX_OFF)
		return VM_EXIT_OK;
	if (!confine_rights())
		lacks |= JAIL_RIGHTS;
	int err = confine_calls(vm);
	if (host_err_is(err))
		return vm_fail_errno(err, "making lists of system calls"); /* no refusal */
	if (err)
		lacks |= JAIL_SYSCALLS;
	if (!lacks)
		return VM_EXIT_OK;
	jail_words(lacks, words, sizeof(words));
	if (vm->c->sandbox == VM_SANDBOX_REQUIRE)
		return vm_fail(VM_EXIT_HOST,
			       "--sandbox=require: this host refuses vmm itself: %s; allow it, or "
			       "say --sandbox=auto",
			       words);
	log_warn("sandbox: this host refuses vmm itself: %s; it runs without", words);
	return VM_EXIT_OK;
}

void vm_confine_cpu(const struct vm *vm)
{
	if (!vm->has_lists)
		return;
	int err = sandbox_enter(SANDBOX_VCPU, false);
	BUG_ON(err); /* main could */
}
