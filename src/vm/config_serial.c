/* config_serial.c - options of serial ports and consoles. */
#include "config_opts.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/num.h"

static int serial_type(struct config_builder *b, struct vm_serial_config *s, const char *v)
{
	static const struct {
		const char *name;
		enum vm_serial_type type;
	} types[] = {
		{ "sink", VM_SERIAL_SINK }, { "stdout", VM_SERIAL_STDOUT },
		{ "file", VM_SERIAL_FILE }, { "unix", VM_SERIAL_UNIX },
		{ "pty", VM_SERIAL_PTY },   { "syslog", VM_SERIAL_SYSLOG },
	};
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (!strcmp(v, types[i].name)) {
			s->type = types[i].type;
			return 0;
		}
	}
	return config_fail(b, "type=%s is unknown; give stdout, file, unix, pty, syslog or sink",
			   v);
}

static int serial_hardware(struct config_builder *b, struct vm_serial_config *s, const char *v)
{
	s->is_virtio = !strcmp(v, "virtio-console");
	if (s->is_virtio || !strcmp(v, "serial"))
		return 0;
	return config_fail(b, "hardware=%s is unknown; give serial or virtio-console", v);
}

static int serial_num(struct config_builder *b, struct vm_serial_config *s, const char *v)
{
	uint64_t n;
	if (!kv_number(v, 1, VM_NR_SERIAL, &n))
		return config_fail(b, "num=%s; give a port from 1 to %d", v, VM_NR_SERIAL);
	s->num = (unsigned)n;
	return 0;
}

static int serial_name(struct config_builder *b, struct vm_serial_config *s, const char *v)
{
	if (strlen(v) >= sizeof(s->name))
		return config_fail(b, "name=%s is longer than %zu characters", v,
				   sizeof(s->name) - 1);
	strcpy(s->name, v);
	return 0;
}

static int serial_key(struct config_builder *b, struct vm_serial_config *s, struct kv_iter *it)
{
	const char *k = it->key;
	bool *flag = !strcmp(k, "console")    ? &s->is_console
		     : !strcmp(k, "earlycon") ? &s->is_earlycon
		     : !strcmp(k, "stdin")    ? &s->is_stdin
					      : NULL;
	if (flag)
		return opt_bool(b, it, flag);
	if (!it->has_val || !*it->val)
		return config_fail(
			b,
			"'%s' is unknown or lacks a value; known: type= hardware= num= path= "
			"input= name= console earlycon stdin",
			k);
	if (!strcmp(k, "type"))
		return serial_type(b, s, it->val);
	if (!strcmp(k, "hardware"))
		return serial_hardware(b, s, it->val);
	if (!strcmp(k, "num"))
		return serial_num(b, s, it->val);
	if (!strcmp(k, "path"))
		return opt_string(b, &s->path, it->val);
	if (!strcmp(k, "input"))
		return opt_string(b, &s->input, it->val);
	if (!strcmp(k, "name"))
		return serial_name(b, s, it->val);
	return config_fail(
		b,
		"unknown key '%s'; known: type= hardware= num= path= input= name= console "
		"earlycon stdin",
		k);
}

/* Consoles are numbered as they come: one that is to have another number cannot. */
static int serial_set_num(struct config_builder *b, struct vm_serial_config *s)
{
	unsigned num = 1;
	for (const struct vm_serial_config *o = b->c->serial; o != s && s->is_virtio; o++)
		num += o->is_virtio;
	if (s->is_virtio && s->num && s->num != num)
		return config_fail(b,
				   "num=%u: consoles are numbered in the order they are given, and "
				   "this is number %u; leave num= out",
				   s->num, num);
	s->num = s->num ? s->num : num;
	return 0;
}

static int serial_check(struct config_builder *b, const struct vm_serial_config *s)
{
	bool needs_path = s->type == VM_SERIAL_FILE || s->type == VM_SERIAL_UNIX;
	if (needs_path && !s->path)
		return config_fail(b, "type=file and type=unix need path=");
	if (!needs_path && s->path)
		return config_fail(b, "path= goes with type=file and type=unix only");
	if (s->is_earlycon && s->is_virtio)
		return config_fail(b, "earlycon goes with hardware=serial only");
	if (s->input && (s->is_stdin || s->type == VM_SERIAL_UNIX || s->type == VM_SERIAL_PTY))
		return config_fail(b,
				   "input= cannot be combined with stdin, type=unix or type=pty");
	if (s->name[0] && !s->is_virtio)
		return config_fail(b, "name= goes with virtio-console only");
	return 0;
}

static int serial_add(struct config_builder *b, const char *value, bool is_virtio)
{
	if (b->c->nr_serial == ARRAY_SIZE(b->c->serial))
		return config_fail(b, "more than %zu ports; give fewer", ARRAY_SIZE(b->c->serial));
	struct vm_serial_config *s = &b->c->serial[b->c->nr_serial];
	*s = (struct vm_serial_config){ .type = VM_SERIAL_SINK, .is_virtio = is_virtio };
	b->c->nr_serial++; /* from here on config_fini() frees it */
	struct kv_iter it = { .at = value };
	while (kv_next(&it)) {
		int err = it.is_bad ? opt_bad_part(b, &it, value) : serial_key(b, s, &it);
		if (err)
			return err;
	}
	int err = serial_set_num(b, s);
	return err ? err : serial_check(b, s);
}

int opt_serial(struct config_builder *b, const char *v)
{
	return serial_add(b, v, false);
}

int opt_console(struct config_builder *b, const char *v)
{
	return serial_add(b, v, true);
}
