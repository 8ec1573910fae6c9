/* config_kv.c - see config_kv.h. */
#include "config_kv.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/num.h"

/* Does a list begin at @s? It stands at the beginning of an item or a value, and has an end. */
static bool kv_opens(const char *s, const char *item)
{
	return *s == '[' && (s == item || s[-1] == '=') && strchr(s, ']');
}

/* Copy one item (up to a separating comma) to @buf; returns its length or -1 when too long. */
static int kv_item(struct kv_iter *it, char *buf, size_t cap)
{
	size_t n = 0;
	bool is_list = false;
	const char *s = it->at;
	for (; *s; s++) {
		if (*s == ',' && s[1] == ',')
			s++; /* one literal comma */
		else if (*s == ',' && !is_list)
			break;
		is_list = (is_list || kv_opens(s, it->at)) && *s != ']';
		if (n + 1 >= cap)
			return -1;
		buf[n++] = *s;
	}
	buf[n] = 0;
	it->at = *s ? s + 1 : NULL;
	return (int)n;
}

/* An item into its parts. */
static void kv_split(struct kv_iter *it)
{
	char buf[sizeof(it->val)];
	if (kv_item(it, buf, sizeof(buf)) <= 0) {
		it->is_bad = true;
		it->key[0] = 0;
		return;
	}
	char *eq = strchr(buf, '=');
	size_t klen = eq ? (size_t)(eq - buf) : strlen(buf);
	it->has_val = eq != NULL;
	strcpy(it->val, eq ? eq + 1 : buf);
	it->is_bad = eq && klen >= sizeof(it->key);
	klen = min_size(klen, sizeof(it->key) - 1);
	memcpy(it->key, buf, klen);
	it->key[klen] = 0;
}

/* Did the key of the item before @it->at stand in an item before that one? */
static bool kv_is_twice(const struct kv_iter *it)
{
	struct kv_iter before = { .at = it->whole };
	unsigned times = 0;
	for (bool is_first = true; before.at && before.at != it->at; is_first = false) {
		kv_split(&before);
		times += (before.has_val || !is_first) && !strcmp(before.key, it->key);
	}
	return times > 1;
}

bool kv_next(struct kv_iter *it)
{
	if (!it->at || it->is_bad)
		return false;
	it->whole = it->whole ? it->whole : it->at;
	kv_split(it);
	it->is_twice = !it->is_bad && kv_is_twice(it);
	it->is_bad |= it->is_twice;
	return true;
}

bool kv_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	if (!text || !isdigit((unsigned char)text[0]))
		return false;
	char *end;
	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);
	if (errno || *end || v < min || v > max)
		return false;
	*out = v;
	return true;
}

bool kv_size(const char *text, uint64_t unit, uint64_t *out)
{
	static const char units[] = "KMGT";
	char digits[24];
	size_t len = text ? strlen(text) : 0;
	if (!len || len >= sizeof(digits))
		return false;
	memcpy(digits, text, len + 1);
	const char *u = strchr(units, toupper((unsigned char)digits[len - 1]));
	if (u) {
		digits[len - 1] = 0;
		unit = KIB << (10 * (u - units));
	}
	uint64_t n;
	return kv_number(digits, 0, UINT64_MAX, &n) && mul_ok(n, unit, out);
}

bool kv_cpus(const char *text, cpu_set_t *out)
{
	CPU_ZERO(out);
	size_t len = text ? strlen(text) : 0;
	const char *s = text, *stop = text + len;
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		s++;
		stop--;
	}
	if (s == stop)
		return false;
	for (;;) {
		char *end;
		if (!isdigit((unsigned char)*s))
			return false;
		unsigned long lo = strtoul(s, &end, 10), hi = lo;
		if (*end == '-') {
			if (!isdigit((unsigned char)end[1]))
				return false;
			hi = strtoul(end + 1, &end, 10);
		}
		if (lo > hi || hi >= CPU_SETSIZE)
			return false;
		for (unsigned long cpu = lo; cpu <= hi; cpu++)
			CPU_SET(cpu, out);
		if (end == stop)
			return true;
		if (*end != ',')
			return false;
		s = end + 1;
	}
}

bool kv_bool(const char *text, bool *out)
{
	static const char *const yes[] = { "true", "on", "1", "yes" };
	static const char *const no[] = { "false", "off", "0", "no" };
	if (!text) {
		*out = true;
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (!strcmp(text, yes[i]) || !strcmp(text, no[i])) {
			*out = !strcmp(text, yes[i]);
			return true;
		}
	}
	return false;
}
