/*
 * fuzz_options.c - options and configuration files of any text: each is taken or refused with one
 * line, and what all of them say together is within its limits.
 *
 * The input is text: lines `name=value` or `name`, or, where it begins with a brace, a JSON file.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/num.h"
#include "vm/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A failure has its one line; a line has no control characters, whatever was put in. */
static int check_line(struct config_builder *b, int err)
{
	size_t len = strnlen(b->err.text, sizeof(b->err.text));
	BUG_ON(len == sizeof(b->err.text));
	BUG_ON(err == -EINVAL && !len);
	BUG_ON(err && err != -EINVAL && err != -ENOMEM);
	BUG_ON(strchr(b->err.text, '\n'));
	return err;
}

static int apply_line(struct config_builder *b, char *line)
{
	char *value = strchr(line, '=');
	if (value)
		*value++ = '\0';
	int index = config_find(line);
	if (index < 0 || !config_options[index].set)
		return 0;
	if (!config_options[index].value != !value) /* the command line sees to that */
		return 0;
	return check_line(b, config_set(b, (unsigned)index, value));
}

static int apply_lines(struct config_builder *b, char *text)
{
	int err = 0;
	b->origin = CONFIG_FROM_ARGS;
	for (char *next = text; next && !err;) {
		char *line = next;
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		err = apply_line(b, line);
	}
	return err;
}

static int apply_file(struct config_builder *b, const char *text, size_t size)
{
	static int fd = -1;
	char path[32];
	if (fd < 0)
		fd = memfd_create("config", MFD_CLOEXEC);
	BUG_ON(fd < 0 || ftruncate(fd, 0));
	BUG_ON(pwrite(fd, text, size, 0) != (ssize_t)size);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd); /* cannot be too long */
	b->origin = CONFIG_FROM_FILE;
	return check_line(b, config_load_file(b, path));
}

/* What the rest of the program takes for granted. */
static void check_config(const struct vm_config *c)
{
	BUG_ON(!c->kernel && !c->bios);
	BUG_ON(c->nr_cpus < 1 || c->nr_cpus > VM_MAX_CPUS);
	BUG_ON(c->ram_bytes == 0 || c->ram_bytes % 4096);
	BUG_ON(c->nr_disks > VM_MAX_DISKS || c->nr_serial > ARRAY_SIZE(c->serial));
	BUG_ON(c->nr_acpi_tables > VM_MAX_TABLES);
	for (unsigned i = 0; i < c->nr_disks; i++) {
		const struct vm_disk_config *d = &c->disks[i];
		BUG_ON(!d->path && !d->null_bytes);
		BUG_ON(strnlen(d->id, sizeof(d->id)) == sizeof(d->id));
	}
	for (unsigned i = 0; i < c->nr_serial; i++)
		BUG_ON(!c->serial[i].is_virtio &&
		       (c->serial[i].num < 1 || c->serial[i].num > VM_NR_SERIAL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vm_config c;
	static char text[16384];
	if (size >= sizeof(text))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	config_init(&c);
	struct config_builder b = { .c = &c };
	int err = size && text[0] == '{' ? apply_file(&b, text, size) : apply_lines(&b, text);
	if (!err && !check_line(&b, config_finish(&b)))
		check_config(&c);
	config_fini(&c);
	return 0;
}
