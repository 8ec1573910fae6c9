/* test_control_requests.c - what each request of the control socket does, and what it refuses. */
#include "unit/vm/machine.h"
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "support/said.h"

struct fixture {
	struct machine *m;
	char folder[40], path[60];
	int sock;
};

static void settle(struct fixture *f)
{
	struct pollfd p = { control_fd(f->m->vm.control), POLLIN, 0 };
	for (unsigned i = 0; poll(&p, 1, 0) > 0; i++) {
		assert_true(i < 100000);
		control_run(f->m->vm.control);
	}
}

static json_t *hear(struct fixture *f)
{
	char buf[16384];
	settle(f);
	ssize_t n = recv(f->sock, buf, sizeof(buf), MSG_DONTWAIT);
	json_t *o = n > 0 ? json_loadb(buf, (size_t)n, 0, NULL) : NULL;
	assert_non_null(o);
	return o;
}

/* The reply to @request, one JSON object. */
static json_t *ask(struct fixture *f, const char *request)
{
	size_t len = strlen(request);
	assert_int_equal(send(f->sock, request, len, MSG_NOSIGNAL), (ssize_t)len);
	assert_int_equal(send(f->sock, "\n", 1, MSG_NOSIGNAL), 1);
	return hear(f);
}

static void expect_ok(struct fixture *f, const char *request)
{
	json_t *o = ask(f, request);
	char *text = json_dumps(o, JSON_COMPACT);
	if (!json_is_true(json_object_get(o, "ok")))
		fail_msg("%s: %s", request, text);
	free(text);
	json_decref(o);
}

static void expect_error(struct fixture *f, const char *request, const char *code,
			 const char *words)
{
	json_t *o = ask(f, request), *e = json_object_get(o, "error");
	const char *got = json_string_value(json_object_get(e, "code"));
	const char *text = json_string_value(json_object_get(e, "text"));
	if (!json_is_false(json_object_get(o, "ok")) || !got || strcmp(got, code) != 0 || !text ||
	    !strstr(text, words))
		fail_msg("%s: %s: %s", request, got ? got : "?", text ? text : "?");
	json_decref(o);
}

static void join(struct fixture *f)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	f->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	strcpy(a.sun_path, f->path);
	assert_int_equal(connect(f->sock, (struct sockaddr *)&a, sizeof(a)), 0);
	json_decref(hear(f)); /* who we are */
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	void *m = NULL;
	assert_non_null(f);
	assert_int_equal(machine_setup(&m), 0);
	f->m = m;
	strcpy(f->folder, "/tmp/vmm-requests-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	(void)snprintf(f->path, sizeof(f->path), "%s/s", f->folder);
	f->m->c.socket = strdup(f->path);
	f->m->c.disks[0].limits = (struct blk_limits){ .ops_per_s = 5, .bytes_per_s = 6 };
	assert_int_equal(vm_control_build(&f->m->vm), VM_EXIT_OK);
	join(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	void *m = f->m;
	close(f->sock);
	vm_control_undo(&f->m->vm);
	assert_int_equal(rmdir(f->folder), 0); /* nothing is left */
	machine_teardown(&m);
	free(f);
	return 0;
}

static void status_and_devices_describe(void **state)
{
	struct fixture *f = *state;
	json_t *o = ask(f, "{\"do\":\"status\",\"id\":1}"), *r = json_object_get(o, "result");
	assert_string_equal(json_string_value(json_object_get(r, "state")), "running");
	assert_int_equal(json_integer_value(json_object_get(o, "id")), 1);
	json_decref(o);
	o = ask(f, "{\"do\":\"devices\"}");
	assert_int_equal(json_array_size(json_object_get(o, "result")), 2);
	json_decref(o);
}

static void stop_ends_the_vm(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(atomic_load(&f->m->vm.event), 0);
	expect_ok(f, "{\"do\":\"stop\"}");
	assert_int_equal(atomic_load(&f->m->vm.event), VM_EVENT_STOP);
	assert_true(notifier_is_pending(&f->m->vm.wake));
}

/* The reply comes when the VM has come to rest: then both who asked get theirs. */
static void who_suspends_waits_for_the_end(void **state)
{
	struct fixture *f = *state;
	struct vm *vm = &f->m->vm;
	assert_int_equal(vm_suspend_build(vm), VM_EXIT_OK);
	f->m->c.nr_cpus = 0; /* all of them rest */
	f->m->dev[MACHINE_RNG]->dev.q[0].state = VDEV_Q_RUNNING;
	assert_int_equal(send(f->sock, "{\"do\":\"suspend\"}\n", 17, MSG_NOSIGNAL), 17);
	settle(f);
	vm_suspend_step(vm);
	settle(f);
	char byte;
	assert_int_equal(recv(f->sock, &byte, 1, MSG_DONTWAIT), -1);
	vdev_queue_stopped_at(&f->m->dev[MACHINE_RNG]->dev, 0, 0);
	vm_suspend_step(vm);
	json_t *o = hear(f);
	assert_true(json_is_true(json_object_get(o, "ok")));
	json_decref(o);
	expect_ok(f, "{\"do\":\"suspend\"}"); /* at once */
	expect_ok(f, "{\"do\":\"resume\"}");
	expect_ok(f, "{\"do\":\"resume\"}");
	f->m->dev[MACHINE_RNG]->dev.q[0].state = VDEV_Q_RUNNING;
	assert_int_equal(send(f->sock, "{\"do\":\"suspend\"}\n", 17, MSG_NOSIGNAL), 17);
	settle(f);
	vm_resume(vm);
	o = hear(f);
	const json_t *e = json_object_get(o, "error");
	assert_string_equal(json_string_value(json_object_get(e, "code")), "failed");
	assert_string_equal(json_string_value(json_object_get(e, "text")),
			    "the VM goes on: it was resumed meanwhile");
	json_decref(o);
	f->m->dev[MACHINE_RNG]->dev.q[0].state = VDEV_Q_OFF;
	vm_suspend_undo(vm);
}

/* --- the power button --- */

static unsigned sci;

static void count_level(void *ctx, uint32_t gsi, bool level)
{
	(void)ctx, (void)gsi;
	sci += level;
}

static void the_power_button_is_the_guests_to_see(void **state)
{
	struct fixture *f = *state;
	static const struct irq_chip_ops ops = { .set_level = count_level };
	struct irq_chip chip = { &ops, NULL };
	struct acpi_pm_config cfg = { .sci = { &chip, 9 } };
	uint8_t status[2], enable[2] = { 0, 1 }; /* PWRBTN_EN */
	assert_int_equal(acpi_pm_create(&f->m->vm.pm, &cfg), 0);
	expect_ok(f, "{\"do\":\"powerbtn\"}");
	acpi_pm_bus_ops.read(f->m->vm.pm, 0, status, 2);
	assert_int_equal(status[1] & 1, 1); /* PWRBTN_STS */
	assert_int_equal(sci, 0);           /* it does not want one yet */
	acpi_pm_bus_ops.write(f->m->vm.pm, 2, enable, 2);
	assert_int_equal(sci, 1);
	acpi_pm_destroy(f->m->vm.pm);
}

/* --- sizes --- */

static void a_size_is_a_number_or_text(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *request;
		uint64_t bytes;
	} rows[] = {
		{ "{\"do\":\"resize\",\"device\":\"block0\",\"bytes\":16777216}", 16 * MIB },
		{ "{\"do\":\"resize\",\"device\":\"block0\",\"bytes\":\"20G\"}", 20 * GIB },
		{ "{\"do\":\"resize\",\"device\":\"block0\",\"bytes\":\"8388608\"}", 8 * MIB },
		{ "{\"do\":\"resize\",\"device\":\"block0\",\"bytes\":512,\"shrink\":true}", 512 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		expect_ok(f, rows[i].request);
		assert_int_equal(f->m->calls, i + 1);
		assert_int_equal(f->m->of, MACHINE_DISK);
		assert_int_equal(f->m->bytes, rows[i].bytes);
	}
}

static void a_smaller_size_has_to_be_meant(void **state)
{
	struct fixture *f = *state;
	static const char *const shrink[] = { "", ",\"shrink\":false", ",\"shrink\":1",
					      ",\"shrink\":\"true\"" };
	for (size_t i = 0; i < ARRAY_SIZE(shrink); i++) {
		char request[160];
		(void)snprintf(request, sizeof(request),
			       "{\"do\":\"resize\",\"device\":\"block0\",\"bytes\":4096%s}",
			       shrink[i]);
		expect_error(f, request, "failed", "shrink");
	}
	assert_int_equal(f->m->calls, 0);
}

/* --- limits --- */

static void a_limit_that_is_not_named_stays(void **state)
{
	struct fixture *f = *state;
	const struct blk_limits *now = &f->m->vm.limits[0];
	assert_int_equal(now->ops_per_s, 5); /* as the configuration says */
	expect_ok(f, "{\"do\":\"limit\",\"device\":\"block0\",\"bps\":\"1M:2M\"}");
	assert_int_equal(f->m->limits.bytes_per_s, MIB);
	assert_int_equal(f->m->limits.burst_bytes, 2 * MIB);
	assert_int_equal(f->m->limits.ops_per_s, 5);
	expect_ok(f, "{\"do\":\"limit\",\"device\":\"block0\",\"iops\":\"off\"}");
	assert_int_equal(f->m->limits.bytes_per_s, MIB);
	assert_int_equal(f->m->limits.ops_per_s, 0);
	assert_memory_equal(now, &f->m->limits, sizeof(*now));
}

static void limits_that_were_not_taken_are_not_told(void **state)
{
	struct fixture *f = *state;
	const struct blk_limits before = f->m->vm.limits[0];
	f->m->err = -EIO;
	expect_error(f, "{\"do\":\"limit\",\"device\":\"block0\",\"bps\":\"1M\"}", "failed",
		     "Input/output error");
	assert_memory_equal(&f->m->vm.limits[0], &before, sizeof(before));
}

/* --- processes --- */

static void a_process_is_replaced(void **state)
{
	struct fixture *f = *state;
	expect_ok(f, "{\"do\":\"restart\",\"device\":\"rng\"}");
	assert_int_equal(f->m->of, MACHINE_RNG);
	assert_string_equal(f->m->binary, "(ours)");
	f->m->err = -EOPNOTSUPP;
	expect_error(f, "{\"do\":\"restart\",\"device\":\"rng\"}", "not-supported", "process");
}

#define UPGRADE "{\"do\":\"restart\",\"device\":\"rng\",\"binary\":\"/bin/vmm\"}"

static void a_program_that_is_not_even_tried_is_refused_at_once(void **state)
{
	struct fixture *f = *state;
	f->m->err = -EBADF;
	expect_error(f, UPGRADE, "bad-request", "descriptor");
	assert_string_equal(f->m->binary, "/bin/vmm");
	f->m->err = -EACCES;
	f->m->why = "is no file";
	expect_error(f, UPGRADE, "failed", "/bin/vmm is no file");
	f->m->vm.device_ops[MACHINE_RNG] = &vm_device_here;
	expect_error(f, UPGRADE, "not-supported", "no program");
}

static void end_trial(struct fixture *f)
{
	settle(f);
	assert_int_equal(eventfd_write(f->m->trial, 1), 0);
	close(f->m->trial);
}

/* The reply waits, and nobody else does. */
static void a_trial_holds_up_no_other_request(void **state)
{
	struct fixture *f = *state;
	struct fixture other = *f;
	char b;
	f->m->is_tried = true;
	assert_int_equal(send(f->sock, UPGRADE "\n", strlen(UPGRADE "\n"), MSG_NOSIGNAL),
			 strlen(UPGRADE "\n"));
	settle(f);
	assert_int_equal(recv(f->sock, &b, 1, MSG_DONTWAIT), -1);
	join(&other);
	expect_ok(&other, "{\"do\":\"status\"}");
	expect_ok(&other, "{\"do\":\"stop\"}");
	assert_int_equal(atomic_load(&f->m->vm.event), VM_EVENT_STOP);
	end_trial(f);
	json_t *o = hear(f);
	assert_true(json_is_true(json_object_get(o, "ok")));
	json_decref(o);
	close(other.sock);
}

static void a_trial_that_fails_is_put_in_words(void **state)
{
	struct fixture *f = *state;
	f->m->is_tried = true;
	f->m->err = -EPROTO;
	f->m->why = "is no vmm";
	assert_int_equal(send(f->sock, UPGRADE "\n", strlen(UPGRADE "\n"), MSG_NOSIGNAL),
			 strlen(UPGRADE "\n"));
	end_trial(f);
	json_t *o = hear(f), *e = json_object_get(o, "error");
	assert_string_equal(json_string_value(json_object_get(e, "text")), "/bin/vmm is no vmm");
	json_decref(o);
}

/* --- refusals --- */

static const struct {
	const char *request, *code, *words;
} refusals[] = {
	{ "{}", "bad-request", "\"do\"" },
	{ "{\"do\":1}", "bad-request", "\"do\"" },
	{ "{\"do\":\"fly\"}", "unknown-request", "'fly'" },
	{ "{\"do\":\"stop\",\"now\":true}", "bad-request", "'now'" },
	{ "{\"do\":\"status\",\"device\":\"rng\"}", "bad-request", "'device'" },
	{ "{\"do\":\"resize\",\"bytes\":1}", "bad-request", "\"device\"" },
	{ "{\"do\":\"resize\",\"device\":7,\"bytes\":1}", "bad-request", "\"device\"" },
	{ "{\"do\":\"resize\",\"device\":\"block1\",\"bytes\":1}", "no-such-device", "block1" },
	{ "{\"do\":\"resize\",\"device\":\"block0\"}", "bad-request", "\"bytes\"" },
	{ "{\"do\":\"resize\",\"device\":\"block0\",\"bytes\":0}", "bad-request", "\"bytes\"" },
	{ "{\"do\":\"resize\",\"device\":\"block0\",\"bytes\":-4096}", "bad-request", "\"bytes\"" },
	{ "{\"do\":\"resize\",\"device\":\"block0\",\"bytes\":1.5}", "bad-request", "\"bytes\"" },
	{ "{\"do\":\"resize\",\"device\":\"block0\",\"bytes\":\"0\"}", "bad-request", "\"bytes\"" },
	{ "{\"do\":\"resize\",\"device\":\"block0\",\"bytes\":\"much\"}", "bad-request",
	  "\"bytes\"" },
	{ "{\"do\":\"limit\",\"device\":\"block0\"}", "bad-request", "neither" },
	{ "{\"do\":\"limit\",\"device\":\"block0\",\"bps\":1}", "bad-request", "\"bps\"" },
	{ "{\"do\":\"limit\",\"device\":\"block0\",\"bps\":\"1:2:3\"}", "bad-request", "\"bps\"" },
	{ "{\"do\":\"limit\",\"device\":\"block0\",\"iops\":\"-1\"}", "bad-request", "\"iops\"" },
	{ "{\"do\":\"limit\",\"device\":\"rng\",\"iops\":\"1\"}", "not-supported", "rng" },
	{ "{\"do\":\"restart\"}", "bad-request", "\"device\"" },
	{ "{\"do\":\"restart\",\"device\":\"rng\",\"binary\":1}", "bad-request", "\"binary\"" },
};

static void what_makes_no_sense_is_refused_and_does_nothing(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++)
		expect_error(f, refusals[i].request, refusals[i].code, refusals[i].words);
	assert_int_equal(f->m->calls, 0);
	assert_int_equal(atomic_load(&f->m->vm.event), 0);
	expect_ok(f, "{\"do\":\"status\"}"); /* and the client goes on */
}

static void what_a_device_refuses_is_put_in_words(void **state)
{
	struct fixture *f = *state;
	static const struct {
		int err;
		const char *code, *words;
	} rows[] = {
		{ -EOPNOTSUPP, "not-supported", "block0" },
		{ -EROFS, "failed", "read-only" },
		{ -EINVAL, "failed", "cannot have that value" },
		{ -ENOSPC, "failed", "No space left" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		f->m->err = rows[i].err;
		expect_error(f, "{\"do\":\"resize\",\"device\":\"block0\",\"bytes\":\"1G\"}",
			     rows[i].code, rows[i].words);
	}
}

/* --- the stage --- */

static void without_a_socket_or_a_run_there_is_none(void **state)
{
	struct machine *m = *state;
	m->c.disks[0].limits.ops_per_s = 9;
	assert_int_equal(vm_control_build(&m->vm), VM_EXIT_OK);
	assert_null(m->vm.control);
	assert_int_equal(m->vm.limits[0].ops_per_s, 9);
	vm_control_undo(&m->vm);
	m->c.socket = strdup("/nowhere/s");
	m->c.dry_run = VM_DRY_TEXT;
	assert_int_equal(vm_control_build(&m->vm), VM_EXIT_OK);
	assert_null(m->vm.control);
	vm_control_undo(&m->vm);
}

static void a_socket_that_cannot_be_made_says_why(void **state)
{
	struct machine *m = *state;
	struct said s;
	m->c.socket = strdup("/nowhere/s");
	said_begin(&s);
	enum vm_status st = vm_control_build(&m->vm);
	said_end(&s);
	vm_control_undo(&m->vm);
	assert_int_equal(st, VM_EXIT_USAGE);
	assert_string_equal(s.text, "vmm: --socket: /nowhere/s: No such file or directory; give a "
				    "path in a folder that exists and may be written\n");
}

/* However few descriptors are left, the host is to blame, and no socket stays behind. */
static void without_descriptors_the_host_is_to_blame(void **state)
{
	struct machine *m = *state;
	struct rlimit old, low;
	char folder[] = "/tmp/vmm-requests-XXXXXX", path[60];
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/s", folder);
	m->c.socket = strdup(path);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	enum vm_status st = VM_EXIT_HOST;
	for (unsigned spare = 0; st != VM_EXIT_OK; spare++) {
		struct said s;
		assert_true(spare < 10);
		said_begin(&s);
		int next = dup(STDIN_FILENO);
		close(next);
		low = (struct rlimit){ (rlim_t)next + spare, old.rlim_max };
		BUG_ON(next < 0 || setrlimit(RLIMIT_NOFILE, &low));
		st = vm_control_build(&m->vm);
		BUG_ON(setrlimit(RLIMIT_NOFILE, &old));
		said_end(&s);
		vm_control_undo(&m->vm);
		m->vm.control = NULL;
		if (st != VM_EXIT_OK) {
			assert_int_equal(st, VM_EXIT_HOST);
			assert_non_null(strstr(s.text, "ulimit -n"));
			assert_int_equal(said_lines(&s), 1);
		}
	}
	assert_int_equal(rmdir(folder), 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define M(fn) cmocka_unit_test_setup_teardown(fn, machine_setup, machine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(status_and_devices_describe),
		T(stop_ends_the_vm),
		T(who_suspends_waits_for_the_end),
		T(the_power_button_is_the_guests_to_see),
		T(a_size_is_a_number_or_text),
		T(a_smaller_size_has_to_be_meant),
		T(a_limit_that_is_not_named_stays),
		T(limits_that_were_not_taken_are_not_told),
		T(a_process_is_replaced),
		T(a_program_that_is_not_even_tried_is_refused_at_once),
		T(a_trial_holds_up_no_other_request),
		T(a_trial_that_fails_is_put_in_words),
		T(what_makes_no_sense_is_refused_and_does_nothing),
		T(what_a_device_refuses_is_put_in_words),
		M(without_a_socket_or_a_run_there_is_none),
		M(a_socket_that_cannot_be_made_says_why),
		M(without_descriptors_the_host_is_to_blame),
	};
	return cmocka_run_group_tests(tests, machine_group_setup, machine_group_teardown);
}
