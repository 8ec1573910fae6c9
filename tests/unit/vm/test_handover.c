/* test_handover.c - what one program tells the next: all of it arrives, and nonsense is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/num.h"
#include "src/vm/handover.h"

static void pass_on(const struct handover *h, struct handover *out)
{
	char *text = handover_write(h);
	assert_non_null(text);
	assert_null(strchr(text, '\n'));
	assert_int_equal(handover_read(out, text), 0);
	free(text);
}

static void a_disk_arrives_as_it_was(void **state)
{
	(void)state;
	struct handover got, h = { .kind = HANDOVER_DISK,
				   .has_lists = true,
				   .logs_violations = true,
				   .ns = 7,
				   .sock = 3,
				   .file = 4,
				   .ready = 5,
				   .counters = 6,
				   .log_level = 2,
				   .number = 25,
				   .queues = 16,
				   .option = "rwroot",
				   .text = "a,,b \"\\\u00e9,queues=2,id=x",
				   .limits = { 1, 2, UINT64_MAX >> 16, 4 },
				   .has_lost = true,
				   .has_cpus = true };
	CPU_SET(0, &h.cpus);
	CPU_SET(CPU_SETSIZE - 1, &h.cpus);
	pass_on(&h, &got);
	assert_int_equal(got.kind, HANDOVER_DISK);
	assert_true(got.has_lists && got.logs_violations && !got.is_trial);
	assert_int_equal(got.ns, 7);
	assert_int_equal(got.sock, 3);
	assert_int_equal(got.file, 4);
	assert_int_equal(got.ready, 5);
	assert_int_equal(got.counters, 6);
	assert_int_equal(got.log_level, 2);
	assert_int_equal(got.number, 25);
	assert_int_equal(got.queues, 16);
	assert_string_equal(got.option, h.option);
	assert_string_equal(got.text, h.text);
	assert_memory_equal(&got.limits, &h.limits, sizeof(h.limits));
	assert_true(got.has_lost);
	assert_true(got.has_cpus && CPU_EQUAL(&got.cpus, &h.cpus));
	handover_fini(&got);
	h.has_cpus = false;
	pass_on(&h, &got);
	assert_false(got.has_cpus);
	handover_fini(&got);
}

static void a_console_arrives_as_it_was(void **state)
{
	(void)state;
	struct handover got, h = { .kind = HANDOVER_CONSOLE,
				   .is_trial = true,
				   .sock = -1,
				   .file = -1,
				   .ready = 9,
				   .ports = { { 6, 7, "", true, true, false },
					      { -1, 8, "log", false, false, true } },
				   .keep = 10,
				   .nr_ports = 2,
				   .cols = 80,
				   .rows = UINT16_MAX };
	pass_on(&h, &got);
	assert_int_equal(got.kind, HANDOVER_CONSOLE);
	assert_true(got.is_trial && !got.has_lists);
	assert_int_equal(got.sock, -1);
	assert_int_equal(got.nr_ports, 2);
	assert_int_equal(got.cols, 80);
	assert_int_equal(got.rows, UINT16_MAX);
	assert_int_equal(got.keep, 10);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(got.ports[i].in_fd, h.ports[i].in_fd);
		assert_int_equal(got.ports[i].out_fd, h.ports[i].out_fd);
		assert_int_equal(got.ports[i].is_console, h.ports[i].is_console);
		assert_int_equal(got.ports[i].owns_in, h.ports[i].owns_in);
		assert_int_equal(got.ports[i].owns_out, h.ports[i].owns_out);
		assert_string_equal(got.ports[i].name, h.ports[i].name);
	}
	handover_fini(&got);
}

/* The text of a good one of each kind, with @to in place of @from. */
static int read_changed(enum handover_kind kind, const char *from, const char *to,
			struct handover *got)
{
	struct handover h = { .kind = kind,
			      .ready = 5,
			      .queues = 1,
			      .option = "block",
			      .text = "path=x",
			      .ports = { { 1, 2, "name", false, false, false } },
			      .nr_ports = 1 };
	char *text = handover_write(&h), changed[2048];
	assert_non_null(text);
	char *at = strstr(text, from);
	if (!at)
		fail_msg("no %s in %s", from, text);
	(void)snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at - text), text, to,
		       at + strlen(from));
	free(text);
	return handover_read(got, changed);
}

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)
#define NOW        TEXT(ZYGOTE_HANDOVER)

static const struct {
	enum handover_kind kind;
	const char *from, *to;
	int want;
} changes[] = {
	{ HANDOVER_RNG, "\"trial\"", "\"new\":{},\"trial\"", 0 }, /* from a later version */
	{ HANDOVER_RNG, "\"handover\":" NOW, "\"handover\":1" NOW, -EPROTONOSUPPORT },
	{ HANDOVER_RNG, "\"handover\":" NOW, "\"handover\":1", -EPROTONOSUPPORT },
	{ HANDOVER_RNG, "\"handover\":" NOW, "\"handover\":\"" NOW "\"", -EPROTO },
	{ HANDOVER_RNG, "\"ready\":5", "\"unready\":5", -EPROTO },
	{ HANDOVER_RNG, "\"rng\"", "\"net\"", -EPROTO },
	{ HANDOVER_RNG, "\"rng\"", "7", -EPROTO },
	{ HANDOVER_RNG, "\"rng\"", "\"block\"", -EPROTO }, /* what it is follows from that */
	{ HANDOVER_RNG, "\"rng\"", "\"console\"", -EPROTO },
	{ HANDOVER_RNG, "\"file\":0", "\"file\":null", -EPROTO },
	{ HANDOVER_RNG, "\"socket\":0,", "", -EPROTO },
	{ HANDOVER_DISK, "\"number\":0", "\"number\":26", -EPROTO },
	{ HANDOVER_DISK, "\"number\":0", "\"number\":-1", -EPROTO },
	{ HANDOVER_DISK, "\"queues\":1", "\"queues\":0", -EPROTO },
	{ HANDOVER_DISK, "\"queues\":1", "\"queues\":1000000", -EPROTO },
	{ HANDOVER_DISK, "[0,0,0,0]", "[0,0,0,-1]", -EPROTO },
	{ HANDOVER_DISK, "[0,0,0,0]", "[0,0,0]", -EPROTO },
	{ HANDOVER_DISK, "\"path=x\"", "1", -EPROTO },
	{ HANDOVER_DISK, "\"lost\":false,", "", 0 },
	{ HANDOVER_DISK, "\"lost\":false", "\"lost\":0", -EPROTO },
	{ HANDOVER_DISK, "\"cpus\":null", "\"cpus\":[3,1023]", 0 },
	{ HANDOVER_DISK, "\"cpus\":null", "\"cpus\":[]", -EPROTO },
	{ HANDOVER_DISK, "\"cpus\":null", "\"cpus\":3", -EPROTO },
	{ HANDOVER_DISK, "\"cpus\":null", "\"cpus\":[-1]", -EPROTO },
	{ HANDOVER_DISK, "\"cpus\":null", "\"cpus\":[1024]", -EPROTO },
	{ HANDOVER_DISK, "\"cpus\":null", "\"cpus\":[null]", -EPROTO },
	{ HANDOVER_DISK, ",\"cpus\":null", "", -EPROTO },
	{ HANDOVER_CONSOLE, "\"columns\":0", "\"columns\":65536", -EPROTO },
	{ HANDOVER_CONSOLE, "\"rows\":0", "\"rows\":-1", -EPROTO },
	{ HANDOVER_CONSOLE, "\"name\":\"name\"", "\"name\":\"0123456789012345678901234567890\"",
	  0 },
	{ HANDOVER_CONSOLE, "\"name\":\"name\"", "\"name\":\"01234567890123456789012345678901\"",
	  -EPROTO },
	{ HANDOVER_CONSOLE, "\"in\":1,", "", -EPROTO },
	{ HANDOVER_CONSOLE, "[{", "[1,1,1,1,1,1,1,1,{", -EPROTO }, /* nine ports */
	{ HANDOVER_CONSOLE, "[{", "[1,{", -EPROTO },
};

static void what_makes_no_sense_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct handover got;
		int err = read_changed(changes[i].kind, changes[i].from, changes[i].to, &got);
		if (err != changes[i].want)
			fail_msg("%s: %d, not %d", changes[i].to, err, changes[i].want);
		if (err == -EPROTONOSUPPORT) /* there is an answer to that */
			assert_int_equal(got.ready, 5);
		handover_fini(&got);
	}
}

static void what_is_no_handover_is_refused(void **state)
{
	static const char *const texts[] = { "", "hello", "{", "[]", "1", "{}", "null", "{}{}" };
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct handover got;
		assert_int_equal(handover_read(&got, texts[i]), -EPROTO);
		assert_int_equal(got.ready, -1);
		assert_int_equal(got.counters, -1);
		handover_fini(&got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_disk_arrives_as_it_was),
		cmocka_unit_test(a_console_arrives_as_it_was),
		cmocka_unit_test(what_makes_no_sense_is_refused),
		cmocka_unit_test(what_is_no_handover_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
