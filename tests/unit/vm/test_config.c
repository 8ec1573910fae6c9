/* test_config.c - option values, what they say together, and the one line a mistake gets. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/num.h"
#include "src/vm/config_kv.h"
#include "unit/vm/config_fixture.h"

static void sizes_have_units(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool ok;
		uint64_t bytes;
	} rows[] = {
		{ "512", true, 512 * MIB },
		{ "4G", true, 4 * GIB },
		{ "1t", true, 1024 * GIB },
		{ "64k", true, 64 * KIB },
		{ "0", true, 0 },
		{ "", false, 0 },
		{ "G", false, 0 },
		{ "-1", false, 0 },
		{ "1e9G", false, 0 },
		{ "1.5G", false, 0 },
		{ " 1G", false, 0 },
		{ "1GB", false, 0 },
		{ "99999999999999999999", false, 0 },
		{ "99999999999T", false, 0 },
		{ "0x10", false, 0 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t v = 0;
		bool ok = kv_size(rows[i].text, MIB, &v);
		if (ok != rows[i].ok || v * ok != rows[i].bytes)
			fail_msg("'%s': %d %llu", rows[i].text, ok, (unsigned long long)v);
	}
}

static void cpu_sets_are_numbers_and_ranges(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int count; /* -1: refused */
	} rows[] = {
		{ "0", 1 },     { "0,2-3", 3 }, { "[0,2-3]", 3 }, { "1023", 1 },
		{ "3-3", 1 },   { "", -1 },     { "[]", -1 },     { "1024", -1 },
		{ "3-2", -1 },  { "a", -1 },    { "1,", -1 },     { ",1", -1 },
		{ "1--2", -1 }, { "1 2", -1 },  { "-1", -1 },     { "0-99999999999999999999", -1 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		cpu_set_t s;
		int got = kv_cpus(rows[i].text, &s) ? CPU_COUNT(&s) : -1;
		if (got != rows[i].count)
			fail_msg("'%s': %d", rows[i].text, got);
	}
}

static void lists_split_at_commas_outside_brackets(void **state)
{
	(void)state;
	struct kv_iter it = { .at = "first,a=1,s=[1,2-3],flag,p=x,,y" };
	static const char *const want[][2] = {
		{ "first", "first" }, { "a", "1" },   { "s", "[1,2-3]" },
		{ "flag", "flag" },   { "p", "x,y" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_true(kv_next(&it));
		assert_string_equal(it.key, want[i][0]);
		assert_string_equal(it.val, want[i][1]);
	}
	assert_false(kv_next(&it));
	assert_false(it.is_bad);
}

static void a_block_disk_takes_every_key(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(set(f, "block",
			     "path=a.img,ro,root,format=raw,direct,queues=3,queue-size=128,"
			     "cpus=[0,1],id=data,block-size=4096,discard=off,"
			     "poll=adaptive,poll-us=50,workers=2,packed,bps=10M:1G,iops=500:9,"
			     "wce=off"),
			 0);
	const struct vm_disk_config *d = &f->c.disks[0];
	assert_string_equal(d->path, "a.img");
	assert_string_equal(d->id, "data");
	assert_true(d->is_readonly && d->is_root && d->is_direct && !d->may_be_any_format);
	assert_int_equal(d->poll, VM_POLL_ADAPTIVE);
	assert_int_equal(d->poll_ns, 50000);
	assert_int_equal(d->workers, 2);
	assert_int_equal(d->queues, 3);
	assert_int_equal(d->queue_size, 128);
	assert_int_equal(d->block_bytes, 4096);
	assert_int_equal(d->discard, VM_OFF);
	assert_int_equal(CPU_COUNT(d->cpus), 2);
	assert_true(d->has_packed && d->is_write_through);
	assert_non_null(strstr(d->text, "iops=500:9")); /* all of it as it was given */
	assert_int_equal(d->limits.bytes_per_s, 10 * MIB);
	assert_int_equal(d->limits.burst_bytes, GIB);
	assert_int_equal(d->limits.ops_per_s, 500);
	assert_int_equal(d->limits.burst_ops, 9);
	assert_int_equal(set(f, "block", "path=b,iops=off,bps=1M,packed=off,wce=on"), 0);
	d = &f->c.disks[1];
	assert_true(!d->has_packed && !d->is_write_through);
	assert_int_equal(d->limits.ops_per_s, 0);
	assert_int_equal(d->limits.burst_bytes, 0);
}

static void old_spellings_name_read_only_and_root(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(set(f, "root", "r"), 0);
	assert_int_equal(set(f, "disk", "d,sparse=false"), 0);
	assert_int_equal(set(f, "rwdisk", "w,id=x"), 0);
	assert_int_equal(set(f, "disk", "d2"), 0);
	assert_int_equal(f->c.nr_disks, 4);
	assert_true(f->c.disks[0].is_readonly && f->c.disks[0].is_root);
	assert_true(f->c.disks[1].is_readonly && !f->c.disks[1].is_root);
	assert_int_equal(f->c.disks[1].discard, VM_OFF);
	assert_false(f->c.disks[2].is_readonly);
}

/* A bracket in a path is a letter like others; only around a value it makes a list. */
static void a_path_may_have_brackets(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *value, *path;
	} rows_of[] = {
		{ "a]1.img,rw=no", NULL },   { "a]1.img,ro", "a]1.img" },
		{ "a[1.img,ro", "a[1.img" }, { "a[1].img,ro", "a[1].img" },
		{ "[1.img,ro", "[1.img" },   { "[a,,b].img,ro", "[a,b].img" },
		{ "[a]b,,c,ro", "[a]b,c" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows_of); i++) {
		int err = set(f, "rwdisk", rows_of[i].value);
		const struct vm_disk_config *d = &f->c.disks[i];
		assert_int_equal(err, rows_of[i].path ? 0 : -EINVAL);
		assert_true(!rows_of[i].path || d->is_readonly);
		if (rows_of[i].path)
			assert_string_equal(d->path, rows_of[i].path);
	}
}

static void consoles_are_numbered_as_they_come(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(set(f, "console", "type=pty"), 0);
	assert_int_equal(set(f, "serial", "type=sink"), 0);
	assert_int_equal(set(f, "serial", "num=2,type=pty,hardware=virtio-console"), 0);
	assert_int_equal(set(f, "console", "type=pty"), 0);
	assert_int_equal(set(f, "console", "type=pty,num=1"), -EINVAL);
	assert_non_null(strstr(f->b.err.text, "this is number 4"));
	assert_int_equal(f->c.serial[0].num, 1);
	assert_int_equal(f->c.serial[1].num, 1);
	assert_int_equal(f->c.serial[2].num, 2);
	assert_int_equal(f->c.serial[3].num, 3);
}

static void a_long_value_does_not_hide_what_would_be_right(void **state)
{
	struct fixture *f = *state;
	char value[3000];
	memset(value, '9', sizeof(value));
	value[sizeof(value) - 1] = 0;
	assert_int_equal(set(f, "mem", value), -EINVAL);
	assert_non_null(strstr(f->b.err.text, "--mem: '99"));
	assert_non_null(strstr(f->b.err.text, "such as 512M"));
	for (size_t len = 400; len < 600; len++) { /* around what fits */
		value[len] = 0;
		assert_int_equal(set(f, "dry-run", value), -EINVAL);
		assert_non_null(strstr(f->b.err.text, "give text or json"));
		assert_true(strlen(f->b.err.text) < sizeof(f->b.err.text));
		f->b.given[config_find("dry-run")] = CONFIG_NOT_GIVEN;
		value[len] = '9';
	}
}

/* Every row is refused, and the line names the option. */
static const struct {
	const char *option, *value;
} refused[] = {
	{ "mem", "0" },
	{ "mem", "1e9G" },
	{ "mem", "512,huge" },
	{ "mem", "512,hugepages=3M" },
	{ "mem", "512,numa=-1" },
	{ "mem", "512,prefault=maybe" },
	{ "mem", "1000k"
		 "1" },
	{ "cpus", "0" },
	{ "cpus", "100000" },
	{ "cpus", "two" },
	{ "cpus", "2,max=x" },
	{ "cpus", "2,max" },
	{ "cpus", "2,,4" },
	{ "cpus", "4,topology=2:2" },
	{ "cpus", "4,topology=2:2:1:1:1" },
	{ "cpus", "4,topology=0:4:1:1" },
	{ "cpus", "4,topology=" },
	{ "cpus", "4,topology=a:b:c:d" },
	{ "cpus", "4,colour=red" },
	{ "mem", "1G,shared=off" },
	{ "mem", "1G,shared=maybe" },
	{ "mem", "1G,hotplug=2G" },
	{ "mem", "1G,hotplug" },
	{ "cpus", "2,affinity=x" },
	{ "cpu-affinity", "0=" },
	{ "cpu-affinity", "0=1:0=2" },
	{ "cpu-affinity", "9999=1" },
	{ "rt-cpus", "," },
	{ "block", "ro" },
	{ "block", "path=" },
	{ "block", "path=a,queues=0" },
	{ "block", "path=a,queue-size=100" },
	{ "block", "path=a,queue-size=2048" },
	{ "block", "path=a,id=123456789012345678901" },
	{ "block", "path=a,format=qcow2" },
	{ "block", "path=a,format=null" },
	{ "block", "format=null,size=100" },
	{ "block", "size=1G" }, /* of what? not silently of nothing */
	{ "block", "size=1G,format=raw" },
	{ "block", "path=a,size=1G" },
	{ "block", "format=null,direct" },
	{ "block", "format=null,ro,discard=on" },
	{ "block", "path=a,,,b" },
	{ "block", "path=a,poll=sometimes" },
	{ "block", "path=a,poll-us=0" },
	{ "block", "path=a,poll-us=10001" },
	{ "block", "path=a,poll=always,poll-us=50" },
	{ "block", "path=a,workers=0" },
	{ "block", "path=a,workers=65" },
	{ "block", "path=a,queues=2,workers=3" },
	{ "block", "path=a,bps=1" },
	{ "block", "path=a,bps" },
	{ "block", "path=a,bps=" },
	{ "block", "path=a,bps=fast" },
	{ "block", "path=a,bps=1M:" },
	{ "block", "path=a,bps=1M:2M:3M" },
	{ "block", "path=a,bps=:2M" },
	{ "block", "path=a,bps=99999999T" },
	{ "block", "path=a,iops=0" },
	{ "block", "path=a,iops=1K" },
	{ "block", "path=a,iops=1000:x" },
	{ "block", "path=a,iops=100000000000000000000000000000000000" },
	{ "block", "path=a,packed=maybe" },
	{ "block", "path=a,wce=writeback" },
	{ "block", "path=a,discard=ignore" },
	{ "block", "path=a,queues" },
	{ "block", "path=a,multiple-workers" },
	{ "block", "path=a,async-executor=epoll" },
	{ "block", "path=a,colour=red" },
	{ "block", "path=a,block-size=1000" },
	{ "disk", ",ro" },
	{ "serial", "type=file" },
	{ "serial", "type=stdout,path=x" },
	{ "serial", "type=telnet" },
	{ "serial", "type=sink,num=5" },
	{ "console", "type=sink,num=2" },
	{ "serial", "type=sink,num=3,hardware=virtio-console" },
	{ "serial", "type=sink,hardware=lpt" },
	{ "serial", "hardware=virtio-console,earlycon" },
	{ "serial", "type=unix" },
	{ "serial", "type=pty,input=x" },
	{ "console", "name=a-name-that-is-much-too-long-for-a-port" },
	{ "serial", "" },
	{ "vhost-user", "socket=/s" },
	{ "vhost-user", "type=block" },
	{ "vhost-user", "/s,type=block" },
	{ "vhost-user", "type=floppy,socket=/s" },
	{ "vhost-user", "type=0,socket=/s" },
	{ "vhost-user", "type=64,socket=/s" },
	{ "vhost-user", "type=rng,socket=" },
	{ "vhost-user", "type=rng,socket=/s,queues=0" },
	{ "vhost-user", "type=rng,socket=/s,queues=65" },
	{ "vhost-user", "type=rng,socket=/s,queue-size=100" },
	{ "vhost-user", "type=rng,socket=/s,queue-size=2048" },
	{ "vhost-user", "type=rng,socket=/s,colour=red" },
	{ "vhost-user", "type=rng,socket=/s,tag=x" },
	{ "vhost-user", "type=rng,socket=/s,mac=02:00:00:00:00:01" },
	{ "vhost-user", "type=net,socket=/s,queues=4" },
	{ "vhost-user", "type=net,socket=/s,mac=02:00:00:00:00" },
	{ "vhost-user", "type=net,socket=/s,mac=02:00:00:00:00:01:02" },
	{ "vhost-user", "type=net,socket=/s,mac=01:00:00:00:00:01" },
	{ "vhost-user", "type=fs,socket=/s,queues=1" },
	{ "vhost-user", "type=fs,socket=/s,tag=a-name-that-is-longer-than-the-36-bytes-there-are" },
	{ "vhost-user-blk",
	  "/a-path-that-is-longer-than-the-107-characters-that-a-unix-socket-may-have-"
	  "whatever-file-system-it-may-be-on-in-the-end" },
	{ "vhost-user-blk", "queues=2" },
	{ "vhost-user-blk", "/s," },
	{ "vhost-user-fs", "/s:" },
	{ "vhost-user-fs", ":tag" },
	{ "vhost-user-fs", "/s:tag,tag=other" },
	/* of two the last would win without a word */
	{ "cpus", "2,affinity=0,affinity=1" },
	{ "mem", "1G,numa=0,prefault,numa=1" },
	{ "block", "path=a,queues=1,path=b" },
	{ "disk", "a,direct,direct=off" },
	{ "serial", "num=1,type=sink,num=2" },
	{ "vhost-user-blk", "/s,queues=2,queues=3" },
	{ "initrd", "" },
	{ "gpu", NULL },
	{ "net", "tap=x" },
	{ "dry-run", "yes" },
	{ "socket", "" },
	{ "config", "/nowhere/vm.json" },
	{ "config", "/" },
};

static void two_words_for_the_jail_must_not_differ(void **state)
{
	struct fixture *f = *state;
	f->b.origin = CONFIG_FROM_FILE;
	assert_int_equal(set(f, "sandbox", "require"), 0);
	f->b.origin = CONFIG_FROM_ARGS; /* overrides the file */
	assert_int_equal(set(f, "disable-sandbox", NULL), 0);
	assert_int_equal(f->c.sandbox, VM_SANDBOX_OFF);
	assert_int_equal(set(f, "sandbox", "require"), -EINVAL);
	assert_non_null(strstr(f->b.err.text, "--disable-sandbox"));
}

static void devices_of_others_are_named_by_their_sockets(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(set(f, "vhost-user-blk", "/run/a"), 0);
	assert_int_equal(set(f, "vhost-user-net", "/run/n,mac=02:00:00:00:00:1f"), 0);
	assert_int_equal(set(f, "vhost-user-fs", "/run/f:home"), 0);
	assert_int_equal(set(f, "vhost-user-fs", "/run/a:b/f"), 0);
	assert_int_equal(set(f, "vhost-user", "type=blk,socket=/b,queues=4,queue-size=64"), 0);
	assert_int_equal(set(f, "vhost-user", "type=19,socket=/v"), 0);
	assert_int_equal(f->c.nr_vhost, 6);
	static const struct {
		const char *option, *path, *tag;
		uint32_t id;
	} want[] = {
		{ "vhost-user-blk", "/run/a", "", 2 },
		{ "vhost-user-net", "/run/n", "", 1 },
		{ "vhost-user-fs", "/run/f", "home", 26 },
		{ "vhost-user-fs", "/run/a:b/f", "", 26 },
		{ "vhost-user", "/b", "", 2 },
		{ "vhost-user", "/v", "", 19 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		const struct vm_vhost_config *d = &f->c.vhost[i];
		assert_string_equal(d->option, want[i].option);
		assert_string_equal(d->path, want[i].path);
		assert_string_equal(d->tag, want[i].tag);
		assert_int_equal(d->id, want[i].id);
	}
	assert_true(f->c.vhost[1].has_mac);
	assert_memory_equal(f->c.vhost[1].mac, "\2\0\0\0\0\x1f", 6);
	assert_int_equal(f->c.vhost[4].queues, 4);
	assert_int_equal(f->c.vhost[4].queue_size, 64);
}

static void more_devices_than_fit_are_refused(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < VM_MAX_VHOST; i++)
		assert_int_equal(set(f, "vhost-user-blk", "/s"), 0);
	assert_int_equal(set(f, "vhost-user-blk", "/s"), -EINVAL);
}

static void bad_values_are_refused_by_name(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		void *own = NULL;
		setup(&own);
		struct fixture *f = own;
		char want[64];
		(void)snprintf(want, sizeof(want), "--%s: ", refused[i].option);
		int err = set(f, refused[i].option, refused[i].value);
		if (err != -EINVAL || strncmp(f->b.err.text, want, strlen(want)) ||
		    strchr(f->b.err.text, '\n'))
			fail_msg("--%s %s: %d '%s'", refused[i].option, refused[i].value, err,
				 f->b.err.text);
		teardown(&own);
	}
}

static void a_message_is_one_line(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(set(f, "mem", "1\n2\x1b[2J"), -EINVAL);
	assert_non_null(strstr(f->b.err.text, "'1?2?[2J'"));
	assert_null(strchr(f->b.err.text, '\n'));
}

static void single_options_are_given_once(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(set(f, "mem", "1G"), 0);
	assert_int_equal(set(f, "mem", "2G"), -EINVAL);
	assert_int_equal(set(f, "params", "a"), 0);
	assert_int_equal(set(f, "params", "b"), 0);
	assert_string_equal(f->c.params, "a b");
}

static const struct {
	const char *opt[6];
	const char *word; /* NULL: fine */
} together[] = {
	{ { "kernel", "k" }, NULL },
	{ { "cpus", "2" }, "no kernel" },
	{ { "kernel", "k", "bios", "b" }, "--bios" },
	{ { "bios", "b", "params", "x" }, "--bios" },
	{ { "kernel", "k", "root", "a", "rwroot", "b" }, "root" },
	{ { "kernel", "k", "serial", "type=sink,num=1", "serial", "type=sink,num=1" }, "num=1" },
	{ { "kernel", "k", "serial", "type=sink,stdin", "serial", "type=sink,num=2,stdin" },
	  "stdin" },
	{ { "kernel", "k", "serial", "type=sink,console", "console", "type=sink,console" },
	  "console" },
	{ { "kernel", "k", "cpu-affinity", "1=0" }, "--cpu-affinity" },
	{ { "kernel", "k", "rt-cpus", "1" }, "--rt-cpus" },
	{ { "kernel", "k", "mem", "3M,hugepages=2M" }, "--mem" },
	{ { "kernel", "k", "cpu-affinity", "0", "cpus", "2" }, NULL },
	{ { "kernel", "k", "cpus", "2,max=2" }, NULL },
	{ { "kernel", "k", "cpus", "2,max=4" }, "--cpus: max=4: not supported" },
	{ { "kernel", "k", "cpus", "4,max=2" }, "--cpus: max=2" },
	{ { "kernel", "k", "cpus", "12,topology=2:3:1:2" }, NULL },
	{ { "kernel", "k", "cpus", "4,topology=2:4:1:1" }, "makes 8" },
	{ { "kernel", "k", "cpus", "2,topology=512:512:512:512" }, "makes 68719476736" },
	{ { "kernel", "k", "cpus", "4,topology=2:2:1:1", "no-smt", NULL }, "--no-smt" },
	{ { "kernel", "k", "cpus", "2,topology=1:1:1:2", "no-smt", NULL }, NULL },
	{ { "kernel", "k", "mem", "1G,shared" }, NULL },
};

static void options_must_go_together(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(together); i++) {
		void *own = NULL;
		setup(&own);
		struct fixture *f = own;
		for (size_t k = 0; k < 6 && together[i].opt[k]; k += 2)
			assert_int_equal(set(f, together[i].opt[k], together[i].opt[k + 1]), 0);
		int err = config_finish(&f->b);
		if (together[i].word ? err != -EINVAL || !strstr(f->b.err.text, together[i].word)
				     : err != 0)
			fail_msg("row %zu: %d '%s'", i, err, f->b.err.text);
		teardown(&own);
	}
}

static void affinity_for_all_waits_for_their_number(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(set(f, "kernel", "k"), 0);
	assert_int_equal(set(f, "cpu-affinity", "0-1"), 0);
	assert_int_equal(set(f, "cpus", "3"), 0);
	assert_int_equal(config_finish(&f->b), 0);
	assert_int_equal(CPU_COUNT(f->c.vcpu_affinity[2]), 2);
	assert_null(f->c.vcpu_affinity[3]);
	assert_int_equal(f->c.nr_serial, 1);
	assert_true(f->c.serial[0].is_console && f->c.serial[0].is_stdin);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(sizes_have_units),
		T(cpu_sets_are_numbers_and_ranges),
		T(lists_split_at_commas_outside_brackets),
		T(a_block_disk_takes_every_key),
		T(old_spellings_name_read_only_and_root),
		T(two_words_for_the_jail_must_not_differ),
		T(devices_of_others_are_named_by_their_sockets),
		T(more_devices_than_fit_are_refused),
		T(bad_values_are_refused_by_name),
		T(a_message_is_one_line),
		T(single_options_are_given_once),
		T(options_must_go_together),
		T(affinity_for_all_waits_for_their_number),
		T(a_path_may_have_brackets),
		T(a_long_value_does_not_hide_what_would_be_right),
		T(consoles_are_numbered_as_they_come),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
