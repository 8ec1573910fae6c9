/* config_json.c - a configuration file: one JSON object whose members are options of `vmm run`. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/err.h"
#include "base/host_err.h"
#include "base/num.h"
#include "vm/config.h"

#define JSON_MAX_BYTES MIB /* what is larger is another kind of file */

static int json_scalar(const json_t *v, char *out, size_t cap)
{
	int n = -1;
	if (json_is_string(v))
		n = snprintf(out, cap, "%s", json_string_value(v));
	else if (json_is_integer(v))
		n = snprintf(out, cap, "%lld", (long long)json_integer_value(v));
	else if (json_is_boolean(v))
		n = snprintf(out, cap, "%s", json_is_true(v) ? "on" : "off");
	return n < 0 || (size_t)n >= cap ? -EINVAL : n;
}

/* {"path": "a,b", "ro": true} as the text "path=a,,b,ro=on". */
static int json_object_text(json_t *obj, char *out, size_t cap)
{
	size_t at = 0;
	const char *key;
	json_t *v;
	json_object_foreach(obj, key, v)
	{
		char text[2048];
		if (json_scalar(v, text, sizeof(text)) < 0 || at + strlen(key) + 3 >= cap)
			return -EINVAL;
		at += (size_t)sprintf(out + at, "%s%s=", at ? "," : "", key);
		for (const char *s = text; *s; s++) {
			if (at + 3 >= cap)
				return -EINVAL;
			out[at++] = *s;
			if (*s == ',')
				out[at++] = ',';
		}
	}
	out[at] = 0;
	return at ? 0 : -EINVAL;
}

/* Keys are for lists; elsewhere they would be taken for plain text. */
static bool json_takes_keys(const struct config_option *o)
{
	return o->value && strstr(o->value, "[,");
}

static int json_refuse_kind(struct config_builder *b, const struct config_option *o)
{
	return config_fail(b, "in the configuration file: give a string or a number%s%s",
			   json_takes_keys(o) ? ", or an object of keys" : "",
			   o->repeats ? ", or an array of these" : "");
}

static int json_one(struct config_builder *b, unsigned index, json_t *v)
{
	char text[8192];
	const struct config_option *o = &config_options[index];
	b->now = o;
	if (!o->value && o->set) {
		if (!json_is_boolean(v))
			return config_fail(b, "in the configuration file: give true or false");
		return json_is_true(v) ? config_set(b, index, NULL) : 0;
	}
	if (json_is_object(v) && o->set && !json_takes_keys(o))
		return json_refuse_kind(b, o);
	int err = json_is_object(v) ? json_object_text(v, text, sizeof(text))
				    : json_scalar(v, text, sizeof(text));
	if (err < 0)
		return json_refuse_kind(b, o);
	return config_set(b, index, text);
}

static int json_member(struct config_builder *b, const char *key, json_t *v)
{
	int index = config_find(key);
	b->now = &config_options[config_find("config")];
	if (index < 0)
		return config_fail(b, "unknown option '%s'; 'vmm run --help' lists them", key);
	if (!json_is_array(v) || !config_options[index].repeats)
		return json_one(b, (unsigned)index, v);
	size_t i;
	json_t *item;
	json_array_foreach(v, i, item)
	{
		int err = json_one(b, (unsigned)index, item);
		if (err)
			return err;
	}
	return 0;
}

/* -EINVAL, or what the host failed with. */
static int json_refuse(struct config_builder *b, const char *path, int err)
{
	bool is_host = host_err_is(err);
	const char *remedy = is_host ? host_err_remedy(err)
				     : "; check the path and its permissions";
	(void)config_fail(b, "%s: %s%s", path, strerror(-err), remedy); /* it is -EINVAL */
	return is_host ? err : -EINVAL;
}

/* Opened without waiting for a writer: a FIFO is refused, not read. */
static FILE *json_open(struct config_builder *b, const char *path, int *err)
{
	struct stat st;
	CLEANUP(fd_cleanup) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	FILE *f = NULL;
	if (fd < 0 || fstat(fd, &st) < 0)
		*err = json_refuse(b, path, -errno);
	else if (!S_ISREG(st.st_mode))
		*err = config_fail(b, "%s: not a regular file; give a JSON file", path);
	else if (!st.st_size)
		*err = config_fail(b, "%s: is empty; give {\"kernel\": \"…\", …}", path);
	else if ((uint64_t)st.st_size > JSON_MAX_BYTES)
		*err = config_fail(b, "%s: is larger than 1 MiB; give a JSON file", path);
	else if (!(f = fdopen(fd, "r")))
		*err = json_refuse(b, path, -errno);
	if (f)
		ignore(take_fd(fd)); /* the stream's now */
	return f;
}

int config_load_file(struct config_builder *b, const char *path)
{
	json_error_t je;
	int err = 0;
	FILE *f = json_open(b, path, &err);
	if (!f)
		return err;
	/* of a descriptor the library reads each byte by a call of its own */
	json_t *root = json_loadf(f, JSON_REJECT_DUPLICATES, &je);
	(void)fclose(f);        /* it was read */
	if (!root && !*je.text) /* want of memory, where the library can tell it */
		return json_refuse(b, path, -ENOMEM);
	if (!root)
		return config_fail(b, "%s:%d:%d: %s", path, je.line, je.column, je.text);
	const char *key;
	json_t *v;
	if (!json_is_object(root))
		err = config_fail(b, "%s: not a JSON object; give {\"kernel\": \"…\", …}", path);
	json_object_foreach(root, key, v)
	{
		if (!err)
			err = json_member(b, key, v);
	}
	json_decref(root);
	return err;
}
