/* test_config_json.c - configuration files: what they say, what is wrong with them, and whose
 * fault. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base/num.h"
#include "support/json_memory.h"
#include "unit/vm/config_fixture.h"

static int from_json(struct fixture *f, const char *json)
{
	char path[] = "config-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, json, strlen(json)), (ssize_t)strlen(json));
	close(fd);
	int err = set(f, "config", path);
	unlink(path);
	return err;
}

static void a_file_says_what_the_command_line_can(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(set(f, "mem", "1G"), 0);
	assert_int_equal(from_json(f, "{\"kernel\": \"k\", \"cpus\": 2, \"params\": [\"a\", \"b\"],"
				      "\"no-smt\": true, \"disable-sandbox\": false,"
				      "\"block\": [{\"path\": \"x,y\", \"ro\": true}, \"path=z\"],"
				      "\"disk\": {\"path\": \"x[1\", \"cpus\": \"[0,2-3]\"}}"),
			 0);
	assert_int_equal(f->c.nr_cpus, 2);
	assert_string_equal(f->c.params, "a b");
	assert_true(f->c.no_smt);
	assert_string_equal(f->c.disks[0].path, "x,y");
	assert_true(f->c.disks[0].is_readonly);
	assert_string_equal(f->c.disks[1].path, "z");
	assert_string_equal(f->c.disks[2].path, "x[1");
	assert_int_equal(CPU_COUNT(f->c.disks[2].cpus), 3);
	assert_int_equal(set(f, "cpus", "4"), 0); /* the command line overrides */
	assert_int_equal(f->c.nr_cpus, 4);
}

static void a_broken_file_is_refused_with_the_place(void **state)
{
	(void)state;
	static const struct {
		const char *json, *word;
	} rows[] = {
		{ "", "is empty" },
		{ " ", ":1:" },
		{ "[]", "object" },
		{ "{\"mem\": \"1G\"", ":1:" },
		{ "{\"mem\": \"1G\", \"mem\": \"2G\"}", "duplicate" },
		{ "{\"cpus\": 2, \"colour\": 1}", "--config: unknown option 'colour'" },
		{ "{\"mem\": null}", "--mem" },
		{ "{\"mem\": \"0\"}", "--mem" },
		{ "{\"mem\": 1.5}", "--mem" },
		{ "{\"mem\": [1]}", "--mem" },
		{ "{\"no-smt\": 1}", "--no-smt" },
		{ "{\"block\": [{}]}", "--block" },
		{ "{\"block\": [{\"path\": {}}]}", "--block" },
		{ "{\"config\": \"x\"}", "another" },
		{ "{\"kernel\": {\"path\": \"a,b\"}}",
		  "--kernel: in the configuration file: give a string or a number" },
		{ "{\"params\": [\"a\", {\"b\": \"c,d\"}]}",
		  "--params: in the configuration file: give a string or a number, or an array" },
		{ "{\"gpu\": {\"a\": 1}}", "not supported" },
		{ "{\"gpu\": true}", "not supported" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		void *own = NULL;
		setup(&own);
		struct fixture *f = own;
		int err = from_json(f, rows[i].json);
		if (err != -EINVAL || !strstr(f->b.err.text, rows[i].word))
			fail_msg("%s: %d '%s'", rows[i].json, err, f->b.err.text);
		teardown(&own);
	}
}

static void a_file_that_cannot_be_opened(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(config_load_file(&f->b, "/nowhere/vm.json"), -EINVAL);
	assert_non_null(strstr(f->b.err.text, "/nowhere/vm.json: No such file or directory"));
	assert_non_null(strstr(f->b.err.text, "check the path"));
	assert_int_equal(config_load_file(&f->b, "/proc"), -EINVAL);
	assert_non_null(strstr(f->b.err.text, "not a regular file"));
}

/* Nothing is wrong with the file then: the host's fault is told from the user's. */
static void a_host_without_descriptors_is_to_blame(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, none;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ 0, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	int err = config_load_file(&f->b, "/nowhere/vm.json");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(err, -EMFILE);
	assert_non_null(strstr(f->b.err.text, "RLIMIT_NOFILE"));
}

/*
 * Whichever allocation fails, nothing is left behind. The library tells want of memory from broken
 * text in most places, not in all.
 */
static void without_memory_a_file_is_not_read(void **state)
{
	(void)state;
	unsigned told = 0;
	int err = -ENOMEM;
	for (unsigned n = 0; err; n++) {
		void *own = NULL;
		setup(&own);
		struct fixture *f = own;
		assert_true(n < 1000);
		json_memory_left = n;
		err = from_json(f, "{\"kernel\": \"k\", \"cpus\": 2, \"params\": [\"a\", \"b\"]}");
		json_memory_left = UINT_MAX;
		told += err == -ENOMEM;
		assert_true(!err || err == -ENOMEM || err == -EINVAL);
		assert_true(!err || *f->b.err.text);
		teardown(&own);
		assert_int_equal(json_memory_out, 0);
	}
	assert_true(told);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_file_says_what_the_command_line_can),
		T(a_broken_file_is_refused_with_the_place),
		T(a_file_that_cannot_be_opened),
		T(a_host_without_descriptors_is_to_blame),
		T(without_memory_a_file_is_not_read),
	};
	json_memory_begin();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
