/* control_requests.c - what the requests of the control socket mean. docs/control.md. */
#include <errno.h>
#include <string.h>
#include "base/err.h"
#include "base/log.h"
#include "base/num.h"
#include "config_opts.h"
#include "control.h"
#include "vm_priv.h"

#define CONTROL_BACKLOG  16
#define CONTROL_MAX_ARGS 4

/* What failed, in the words of a reply. */
static json_t *request_failed(const char *device, int err)
{
	switch (err) {
	case -EOPNOTSUPP:
		return control_error("not-supported", "%s has no such thing where it runs", device);
	case -EROFS:
		return control_error("failed", "%s is read-only", device);
	case -EINVAL:
		return control_error("failed", "%s cannot have that value", device);
	default:
		return control_error("failed", "%s: %s", device, strerror(-err));
	}
}

static json_t *request_done(const char *device, int err)
{
	return err ? request_failed(device, err) : control_ok(json_object());
}

/* The device a request names; -1 and *reply: there is none. */
static int request_device(struct vm *vm, json_t *request, const char **name, json_t **reply)
{
	*name = json_string_value(json_object_get(request, "device"));
	int dev = *name ? vm_find_device(vm, *name) : -1;
	if (!*name)
		*reply = control_error("bad-request", "\"device\" is missing; give its name");
	else if (dev < 0)
		*reply = control_error("no-such-device", "there is no device '%.40s'", *name);
	return dev;
}

/* --- requests --- */

static json_t *request_status(struct vm *vm, json_t *request, struct control_fds *fds)
{
	(void)fds;
	(void)request;
	return control_ok(vm_describe(vm));
}

static json_t *request_devices(struct vm *vm, json_t *request, struct control_fds *fds)
{
	(void)fds;
	(void)request;
	return control_ok(vm_describe_devices(vm));
}

static json_t *request_stop(struct vm *vm, json_t *request, struct control_fds *fds)
{
	(void)fds;
	(void)request;
	log_info("stopping on request");
	vm_post_event(vm, VM_EVENT_STOP);
	return control_ok(json_object());
}

static json_t *request_powerbtn(struct vm *vm, json_t *request, struct control_fds *fds)
{
	(void)fds;
	(void)request;
	acpi_pm_press_power(vm->pm);
	return control_ok(json_object());
}

/* The state that a suspending led to. */
static json_t *request_suspended(const struct vm *vm)
{
	if (vm->suspend.state == VM_SUSPENDED)
		return control_ok(json_object());
	return control_error("failed", "the VM goes on: %s",
			     vm->suspend.why[0] ? vm->suspend.why : "it was resumed meanwhile");
}

static json_t *request_suspend(struct vm *vm, json_t *request, struct control_fds *fds)
{
	(void)request;
	int err = vm_suspend(vm, &fds->later);
	if (err)
		return control_error("failed", "%s", strerror(-err));
	return fds->later >= 0 ? NULL : request_suspended(vm);
}

static json_t *request_resume(struct vm *vm, json_t *request, struct control_fds *fds)
{
	(void)fds;
	(void)request;
	vm_resume(vm);
	return control_ok(json_object());
}

/* A number, or text with a unit. */
static bool request_bytes(const json_t *v, uint64_t *out)
{
	if (json_is_string(v))
		return kv_size(json_string_value(v), 1, out) && *out;
	*out = (uint64_t)json_integer_value(v);
	return json_is_integer(v) && json_integer_value(v) > 0;
}

static json_t *request_resize(struct vm *vm, json_t *request, struct control_fds *fds)
{
	(void)fds;
	const char *name;
	json_t *reply = NULL, *bytes = json_object_get(request, "bytes");
	int dev = request_device(vm, request, &name, &reply);
	if (dev < 0)
		return reply;
	uint64_t to;
	if (!request_bytes(bytes, &to))
		return control_error("bad-request",
				     "\"bytes\" is neither a number above 0 nor a size such as "
				     "\"20G\"");
	struct vm_device_info info;
	vm->device_ops[dev]->info(vm, (unsigned)dev, &info);
	bool may_shrink = json_is_true(json_object_get(request, "shrink"));
	if (info.has_disk && to < info.disk.size_bytes && !may_shrink)
		return control_error("failed",
				     "%s would lose what lies beyond; say \"shrink\": true", name);
	return request_done(name, vm->device_ops[dev]->resize(vm, (unsigned)dev, to));
}

/* Limits that are not named stay as they are. */
static json_t *request_limit(struct vm *vm, json_t *request, struct control_fds *fds)
{
	(void)fds;
	const char *name;
	json_t *reply = NULL;
	json_t *bps = json_object_get(request, "bps"), *iops = json_object_get(request, "iops");
	int dev = request_device(vm, request, &name, &reply);
	if (dev < 0)
		return reply;
	if (!bps && !iops)
		return control_error("bad-request", "neither \"bps\" nor \"iops\"");
	if ((unsigned)dev >= vm->c->nr_disks)
		return request_failed(name, -EOPNOTSUPP);
	struct blk_limits l = vm->limits[dev];
	if (bps && !(json_is_string(bps) && config_parse_bps(json_string_value(bps), &l)))
		return control_error("bad-request",
				     "\"bps\" is no text such as \"100M:1G\" or \"off\"");
	if (iops && !(json_is_string(iops) && config_parse_iops(json_string_value(iops), &l)))
		return control_error("bad-request",
				     "\"iops\" is no text such as \"1000:5000\" or \"off\"");
	int err = vm->device_ops[dev]->set_limits(vm, (unsigned)dev, &l);
	if (!err)
		vm->limits[dev] = l;
	return request_done(name, err);
}

/* What became of a program, @why it was not taken. */
static json_t *request_upgraded(const char *name, const char *path, int err, const char *why)
{
	if (err == -EBADF)
		return control_error("bad-request",
				     "\"binary\" comes without its descriptor (SCM_RIGHTS)");
	return why[0] ? control_error("failed", "%.200s %s", path, why) : request_done(name, err);
}

static json_t *request_try(struct vm *vm, unsigned dev, json_t *request, struct control_fds *fds)
{
	const char *name = json_string_value(json_object_get(request, "device"));
	const char *path = json_string_value(json_object_get(request, "binary"));
	char why[VM_WHY_BYTES] = "";
	if (!path)
		return control_error("bad-request", "\"binary\" is no path");
	CLEANUP(fd_cleanup) int file = take_fd(fds->gift);
	struct vm_binary b = { .fd = file, .path = path };
	if (!vm->device_ops[dev]->try)
		return control_error("not-supported",
				     "no program can be chosen for %s where it runs", name);
	int err = vm->device_ops[dev]->try(vm, dev, &b, &fds->later, why);
	return err ? request_upgraded(name, path, err, why) : NULL;
}

static json_t *request_restart(struct vm *vm, json_t *request, struct control_fds *fds)
{
	const char *name;
	json_t *reply = NULL;
	int dev = request_device(vm, request, &name, &reply);
	if (dev < 0)
		return reply;
	if (json_object_get(request, "binary"))
		return request_try(vm, (unsigned)dev, request, fds);
	int err = vm->device_ops[dev]->restart(vm, (unsigned)dev);
	if (err == -EOPNOTSUPP)
		return control_error("not-supported",
				     "%s has no process of its own that could be restarted", name);
	return request_done(name, err);
}

static json_t *request_tried(struct vm *vm, json_t *request, int trial)
{
	const char *name = json_string_value(json_object_get(request, "device"));
	char why[VM_WHY_BYTES] = "";
	int dev = vm_find_device(vm, name);
	BUG_ON(dev < 0); /* it was there, and none ever goes */
	int err = vm->device_ops[dev]->judge(vm, (unsigned)dev, trial, why);
	return request_upgraded(name, json_string_value(json_object_get(request, "binary")), err,
				why);
}

/* Of the two that take their time. */
static json_t *request_finish(void *ctx, json_t *request, int later)
{
	bool is_suspend = !strcmp(json_string_value(json_object_get(request, "do")), "suspend");
	return is_suspend ? request_suspended(ctx) : request_tried(ctx, request, later);
}

/* A member of a request that is not known is refused: better than one that has no effect. */
static const struct control_request {
	const char *name;
	const char *args[CONTROL_MAX_ARGS];
	json_t *(*serve)(struct vm *vm, json_t *request, struct control_fds *fds);
} control_requests[] = {
	{ "status", { NULL }, request_status },
	{ "devices", { NULL }, request_devices },
	{ "stop", { NULL }, request_stop },
	{ "suspend", { NULL }, request_suspend },
	{ "resume", { NULL }, request_resume },
	{ "powerbtn", { NULL }, request_powerbtn },
	{ "resize", { "device", "bytes", "shrink" }, request_resize },
	{ "limit", { "device", "bps", "iops" }, request_limit },
	{ "restart", { "device", "binary" }, request_restart },
};

static bool request_knows(const struct control_request *r, const char *key)
{
	bool is_known = !strcmp(key, "do") || !strcmp(key, "id");
	for (unsigned i = 0; i < CONTROL_MAX_ARGS && r->args[i] && !is_known; i++)
		is_known = !strcmp(key, r->args[i]);
	return is_known;
}

static json_t *request_answer(void *ctx, json_t *request, struct control_fds *fds)
{
	const char *name = json_string_value(json_object_get(request, "do"));
	const struct control_request *r = NULL;
	const char *key;
	json_t *value;
	if (!name)
		return control_error("bad-request", "\"do\" is missing");
	for (size_t i = 0; i < ARRAY_SIZE(control_requests) && !r; i++)
		if (!strcmp(control_requests[i].name, name))
			r = &control_requests[i];
	if (!r)
		return control_error("unknown-request", "there is no request '%.40s'", name);
	json_object_foreach(request, key, value) if (!request_knows(r, key)) return control_error(
		"bad-request", "'%s' knows no member '%.40s'", name, key);
	return r->serve(ctx, request, fds);
}

static const struct control_ops request_ops = { .answer = request_answer,
						.finish = request_finish };

/* --- the stage --- */

enum vm_status vm_control_build(struct vm *vm)
{
	int listener;
	for (unsigned i = 0; i < vm->c->nr_disks; i++)
		vm->limits[i] = vm->c->disks[i].limits;
	if (!vm->c->socket || vm->c->dry_run)
		return VM_EXIT_OK;
	enum vm_status st = listen_at(vm->c->socket, CONTROL_BACKLOG, 0600, &listener,
				      &vm->control_place);
	if (st)
		return st;
	int err = control_create(&vm->control, listener, &request_ops, vm);
	if (!err)
		return VM_EXIT_OK;
	fd_close(listener);
	return vm_fail_errno(err, "--socket");
}

void vm_control_undo(struct vm *vm)
{
	listen_remove(&vm->control_place);
	control_destroy(vm->control);
}
