/* handover.c - see handover.h. */
#include "handover.h"
#include <errno.h>
#include <string.h>
#include "base/num.h"

static const char *const handover_kinds[] = {
	[HANDOVER_DISK] = "block",
	[HANDOVER_RNG] = "rng",
	[HANDOVER_CONSOLE] = "console",
};

/* --- writing --- */

/* An array of numbers; null: anywhere. */
static json_t *write_cpus(const struct handover *h)
{
	if (!h->has_cpus)
		return json_null();
	json_t *cpus = json_array();
	int err = !cpus;
	for (size_t i = 0; i < CPU_SETSIZE && !err; i++)
		if (CPU_ISSET(i, &h->cpus))
			err = json_array_append_new(cpus, json_integer((json_int_t)i));
	if (!err)
		return cpus;
	json_decref(cpus);
	return NULL;
}

static json_t *write_disk(const struct handover *h)
{
	const struct blk_limits *l = &h->limits;
	return json_pack("{s:i, s:i, s:s, s:s, s:[I, I, I, I], s:b, s:o}", "number", (int)h->number,
			 "queues", (int)h->queues, "option", h->option, "text", h->text, "limits",
			 (json_int_t)l->bytes_per_s, (json_int_t)l->burst_bytes,
			 (json_int_t)l->ops_per_s, (json_int_t)l->burst_ops, "lost", h->has_lost,
			 "cpus", write_cpus(h));
}

static json_t *write_console(const struct handover *h)
{
	json_t *ports = json_array();
	int err = !ports;
	for (unsigned i = 0; i < h->nr_ports && !err; i++) {
		const struct handover_port *p = &h->ports[i];
		err = json_array_append_new(
			ports, json_pack("{s:i, s:i, s:s, s:b, s:b, s:b}", "in", p->in_fd, "out",
					 p->out_fd, "name", p->name, "console", p->is_console,
					 "owns_in", p->owns_in, "owns_out", p->owns_out));
	}
	if (!err)
		return json_pack("{s:i, s:i, s:i, s:o}", "columns", (int)h->cols, "rows",
				 (int)h->rows, "keep", h->keep, "ports", ports);
	json_decref(ports);
	return NULL;
}

char *handover_write(const struct handover *h)
{
	json_t *device = h->kind == HANDOVER_DISK      ? write_disk(h)
			 : h->kind == HANDOVER_CONSOLE ? write_console(h)
						       : json_object();
	/* a NULL makes the whole NULL, and is no leak */
	json_t *o = json_pack("{s:i, s:i, s:s, s:b, s:b, s:b, s:i, s:i, s:i, s:i, s:i, s:o}",
			      "handover", ZYGOTE_HANDOVER, "ready", h->ready, "kind",
			      handover_kinds[h->kind], "trial", h->is_trial, "lists", h->has_lists,
			      "log_violations", h->logs_violations, "log_level", (int)h->log_level,
			      "namespaces", (int)h->ns, "socket", h->sock, "file", h->file,
			      "counters", h->counters, "device", device);
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	return text;
}

/* --- reading --- */

static int read_cpus(struct handover *h, json_t *cpus)
{
	size_t i;
	json_t *cpu;
	CPU_ZERO(&h->cpus);
	h->has_cpus = !json_is_null(cpus);
	if (h->has_cpus && !json_array_size(cpus))
		return -EPROTO;
	json_array_foreach(cpus, i, cpu)
	{
		json_int_t n = json_integer_value(cpu);
		if (!json_is_integer(cpu) || n < 0 || n >= CPU_SETSIZE)
			return -EPROTO;
		CPU_SET((size_t)n, &h->cpus);
	}
	return 0;
}

static int read_disk(struct handover *h, json_t *o)
{
	json_int_t l[4];
	json_t *cpus;
	int number, queues, has_lost = false; /* older programs do not say */
	if (json_unpack(o, "{s:i, s:i, s:s, s:s, s:[I, I, I, I], s?b, s:o}", "number", &number,
			"queues", &queues, "option", &h->option, "text", &h->text, "limits", &l[0],
			&l[1], &l[2], &l[3], "lost", &has_lost, "cpus", &cpus) ||
	    number < 0 || number >= VM_MAX_DISKS || queues < 1 || queues > VM_MAX_CPUS)
		return -EPROTO;
	for (size_t i = 0; i < ARRAY_SIZE(l); i++)
		if (l[i] < 0)
			return -EPROTO;
	h->number = (unsigned)number;
	h->queues = (unsigned)queues;
	h->has_lost = has_lost;
	h->limits = (struct blk_limits){ .bytes_per_s = (uint64_t)l[0],
					 .burst_bytes = (uint64_t)l[1],
					 .ops_per_s = (uint64_t)l[2],
					 .burst_ops = (uint64_t)l[3] };
	return read_cpus(h, cpus);
}

static int read_port(struct handover_port *p, json_t *o)
{
	int is_console, owns_in, owns_out;
	if (json_unpack(o, "{s:i, s:i, s:s, s:b, s:b, s:b}", "in", &p->in_fd, "out", &p->out_fd,
			"name", &p->name, "console", &is_console, "owns_in", &owns_in, "owns_out",
			&owns_out) ||
	    strlen(p->name) >= sizeof(((struct vm_serial_config *)0)->name))
		return -EPROTO;
	p->is_console = is_console;
	p->owns_in = owns_in;
	p->owns_out = owns_out;
	return 0;
}

static int read_console(struct handover *h, json_t *o)
{
	int cols, rows, err = 0;
	json_t *ports;
	if (json_unpack(o, "{s:i, s:i, s:i, s:o}", "columns", &cols, "rows", &rows, "keep",
			&h->keep, "ports", &ports) ||
	    json_array_size(ports) > ARRAY_SIZE(h->ports) || cols < 0 || cols > UINT16_MAX ||
	    rows < 0 || rows > UINT16_MAX)
		return -EPROTO;
	h->cols = (unsigned)cols;
	h->rows = (unsigned)rows;
	h->nr_ports = (unsigned)json_array_size(ports);
	for (unsigned i = 0; i < h->nr_ports && !err; i++)
		err = read_port(&h->ports[i], json_array_get(ports, i));
	return err;
}

static int read_kind(struct handover *h, const char *kind, json_t *device)
{
	size_t i = 0;
	while (i < ARRAY_SIZE(handover_kinds) && strcmp(handover_kinds[i], kind) != 0)
		i++;
	h->kind = (enum handover_kind)i;
	switch (i) {
	case HANDOVER_DISK:
		return read_disk(h, device);
	case HANDOVER_CONSOLE:
		return read_console(h, device);
	case HANDOVER_RNG:
		return 0;
	default:
		return -EPROTO;
	}
}

int handover_read(struct handover *out, const char *text)
{
	*out = (struct handover){ .sock = -1, .file = -1, .ready = -1, .counters = -1 };
	int version, level, ns, is_trial, has_lists, logs_violations;
	const char *kind;
	json_t *device;
	out->json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	/* these two are where they are in every version */
	if (json_unpack(out->json, "{s:i, s:i}", "handover", &version, "ready", &out->ready))
		return -EPROTO;
	if (version != ZYGOTE_HANDOVER)
		return -EPROTONOSUPPORT;
	if (json_unpack(out->json, "{s:s, s:b, s:b, s:b, s:i, s:i, s:i, s:i, s:i, s:o}", "kind",
			&kind, "trial", &is_trial, "lists", &has_lists, "log_violations",
			&logs_violations, "log_level", &level, "namespaces", &ns, "socket",
			&out->sock, "file", &out->file, "counters", &out->counters, "device",
			&device))
		return -EPROTO;
	out->is_trial = is_trial;
	out->has_lists = has_lists;
	out->logs_violations = logs_violations;
	out->log_level = (unsigned)level;
	out->ns = (unsigned)ns;
	return read_kind(out, kind, device);
}

void handover_fini(struct handover *h)
{
	json_decref(h->json);
	h->json = NULL;
}
