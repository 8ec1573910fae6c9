/* test_describe.c - what a VM tells of itself: to programs, to people, and without memory. */
#include "unit/vm/machine.h"
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <stdio_ext.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/clock.h"
#include "support/json_memory.h"
#include "support/said.h"

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "(no text)";
}

static long long number(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
	return json_is_integer(v) ? json_integer_value(v) : -1;
}

static bool is_null(const json_t *o, const char *key)
{
	return json_is_null(json_object_get(o, key));
}

static bool is_true(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
	assert_true(json_is_boolean(v));
	return json_is_true(v);
}

static void a_vm_and_its_devices(void **state)
{
	struct machine *m = *state;
	m->c.nr_cpus = 3;
	m->c.ram_bytes = 64 * MIB;
	m->vm.started_ns = clock_ns();
	json_t *o = vm_describe(&m->vm);
	assert_string_equal(text(o, "state"), "running");
	assert_string_equal(text(o, "version"), VMM_VERSION);
	assert_int_equal(number(o, "process"), getpid());
	assert_int_equal(number(o, "vcpus"), 3);
	assert_int_equal(number(o, "memory_bytes"), 64 * MIB);
	assert_true(number(o, "uptime_ms") >= 0);
	const json_t *devices = json_object_get(o, "devices");
	assert_int_equal(json_array_size(devices), 2);
	assert_string_equal(text(json_array_get(devices, 0), "name"), "block0");
	assert_string_equal(text(json_array_get(devices, 1), "name"), "rng");
	assert_null(json_object_get(json_array_get(devices, 1), "disk"));
	json_decref(o);
}

static void a_device_with_a_process_of_its_own(void **state)
{
	struct machine *m = *state;
	m->info.pid = 4711;
	strcpy(m->info.version, "9.8");
	strcpy(m->info.binary, "/bin/vmm");
	m->info.restarts = 2;
	m->info.last_pause_ns = 5999;
	m->info.longest_pause_ns = 7000000;
	m->dev[MACHINE_DISK]->dev.status = VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET;
	json_t *o = vm_describe_device(&m->vm, MACHINE_DISK);
	assert_string_equal(text(o, "kind"), "fake");
	assert_string_equal(text(o, "pci"), "00:03.0");
	assert_int_equal(number(o, "process"), 4711);
	assert_string_equal(text(o, "version"), "9.8");
	assert_string_equal(text(o, "binary"), "/bin/vmm");
	assert_int_equal(number(o, "restarts"), 2);
	assert_int_equal(number(o, "last_pause_us"), 5);
	assert_int_equal(number(o, "longest_pause_us"), 7000);
	assert_true(is_true(o, "driver"));
	assert_true(is_true(o, "needs_reset"));
	json_decref(o);
	o = vm_describe_device(&m->vm, MACHINE_RNG);
	assert_string_equal(text(o, "pci"), "00:04.0");
	assert_true(is_null(o, "process"));
	assert_true(is_null(o, "version"));
	assert_true(is_null(o, "binary"));
	assert_false(is_true(o, "driver"));
	assert_false(is_true(o, "needs_reset"));
	json_decref(o);
	m->dev[MACHINE_DISK]->dev.status = 0;
}

static void a_queue_counts_where_that_is_known(void **state)
{
	struct machine *m = *state;
	json_t *o = vm_describe_device(&m->vm, MACHINE_DISK);
	const json_t *queues = json_object_get(o, "queues");
	assert_int_equal(json_array_size(queues), FAKE_QUEUES);
	const json_t *q = json_array_get(queues, 0);
	assert_int_equal(number(q, "size"), FAKE_SIZE);
	assert_false(is_true(q, "enabled"));
	assert_int_equal(number(q, "requests"), 7);
	assert_int_equal(number(q, "kicks"), 3);
	assert_int_equal(number(q, "interrupts"), 2);
	assert_int_equal(number(q, "faults"), 1);
	q = json_array_get(queues, 1);
	assert_int_equal(number(q, "size"), FAKE_SIZE);
	assert_null(json_object_get(q, "requests"));
	json_decref(o);
}

static void a_disk_with_an_image(void **state)
{
	struct machine *m = *state;
	cpu_set_t cpus;
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	CPU_SET(2, &cpus);
	CPU_SET(3, &cpus);
	m->c.disks[0].path = (char *)(uintptr_t) "disk.img";
	m->c.disks[0].cpus = &cpus;
	m->info.disk.engine = "pool (out of memory)";
	m->info.disk.has_packed = m->info.disk.is_direct = true;
	m->vm.limits[0] = (struct blk_limits){ .bytes_per_s = 1000, .burst_bytes = 2000 };
	json_t *o = vm_describe_device(&m->vm, MACHINE_DISK);
	const json_t *d = json_object_get(o, "disk"), *l = json_object_get(d, "limits");
	assert_string_equal(text(d, "path"), "disk.img");
	assert_string_equal(text(d, "file"), "file");
	assert_string_equal(text(d, "engine"), "pool (out of memory)");
	assert_string_equal(text(d, "rings"), "split or packed");
	assert_string_equal(text(d, "cpus"), "0,2-3");
	assert_int_equal(number(d, "bytes"), 8 * MIB);
	assert_int_equal(number(d, "block_bytes"), 512);
	assert_int_equal(number(d, "queues"), 2);
	assert_int_equal(number(d, "queue_size"), 256);
	assert_int_equal(number(d, "workers"), 1);
	assert_true(is_true(d, "direct"));
	assert_false(is_true(d, "readonly"));
	assert_false(is_true(d, "discard"));
	assert_true(is_true(d, "write_cache"));
	assert_false(is_true(d, "null"));
	assert_int_equal(number(l, "bps"), 1000);
	assert_int_equal(number(l, "bps_burst"), 2000);
	assert_true(is_null(l, "iops"));
	assert_true(is_null(l, "iops_burst"));
	json_decref(o);
}

/* A file name may be any bytes, JSON may not; the VM is described all the same. */
static void a_path_that_json_cannot_say(void **state)
{
	struct machine *m = *state;
	m->c.disks[0].path = (char *)(uintptr_t) "caf\xe9/\x1b[1mdisk.img";
	(void)snprintf(m->info.binary, sizeof(m->info.binary), "\xa9/vmm"); /* cut in a letter */
	json_t *o = vm_describe_device(&m->vm, MACHINE_DISK);
	assert_non_null(o);
	assert_string_equal(text(json_object_get(o, "disk"), "path"), "caf?/\x1b[1mdisk.img");
	assert_string_equal(text(o, "binary"), "?/vmm");
	json_decref(o);
}

static void a_disk_without_an_image(void **state)
{
	struct machine *m = *state;
	m->info.disk.is_write_through = m->info.disk.is_readonly = true;
	json_t *o = vm_describe_device(&m->vm, MACHINE_DISK);
	const json_t *d = json_object_get(o, "disk");
	assert_true(is_null(d, "path"));
	assert_true(is_true(d, "null"));
	assert_true(is_null(d, "cpus"));
	assert_string_equal(text(d, "rings"), "split");
	assert_true(is_true(d, "readonly"));
	assert_false(is_true(d, "write_cache"));
	json_decref(o);
}

static void how_long_a_worker_looks_out(void **state)
{
	struct machine *m = *state;
	static const struct {
		uint64_t ns;
		const char *poll;
		long long us; /* -1: null */
	} rows[] = {
		{ 0, "off", -1 },
		{ REACTOR_SPIN_ALWAYS, "always", -1 },
		{ REACTOR_SPIN_AUTO, "adaptive", -1 },
		{ 50000, "adaptive", 50 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		m->info.disk.spin_ns = rows[i].ns;
		json_t *o = vm_describe_device(&m->vm, MACHINE_DISK);
		const json_t *d = json_object_get(o, "disk");
		assert_string_equal(text(d, "poll"), rows[i].poll);
		assert_int_equal(number(d, "poll_us"), rows[i].us);
		json_decref(o);
	}
}

static void very_many_cpus_are_cut(void **state)
{
	struct machine *m = *state;
	cpu_set_t cpus;
	CPU_ZERO(&cpus);
	for (size_t i = 1; i < CPU_SETSIZE; i += 2)
		CPU_SET(i, &cpus);
	m->c.disks[0].cpus = &cpus;
	json_t *o = vm_describe_device(&m->vm, MACHINE_DISK);
	const char *s = text(json_object_get(o, "disk"), "cpus");
	assert_memory_equal(s, "1,3,5,7,", 8);
	assert_in_range(strlen(s), 900, 1023);
	json_decref(o);
}

static void a_device_is_found_by_its_whole_name(void **state)
{
	struct machine *m = *state;
	assert_int_equal(vm_find_device(&m->vm, "block0"), MACHINE_DISK);
	assert_int_equal(vm_find_device(&m->vm, "rng"), MACHINE_RNG);
	assert_int_equal(vm_find_device(&m->vm, "block"), -1);
	assert_int_equal(vm_find_device(&m->vm, "block01"), -1);
	assert_int_equal(vm_find_device(&m->vm, ""), -1);
}

/* Whichever allocation fails: no description, and nothing left behind. */
static void without_memory_there_is_no_description(void **state)
{
	struct machine *m = *state;
	unsigned before = json_memory_out, n = 0;
	json_t *o = NULL;
	for (; !o; n++) {
		assert_true(n < 10000);
		json_memory_left = n;
		o = vm_describe(&m->vm);
		json_memory_left = UINT_MAX;
		if (!o)
			assert_int_equal(json_memory_out, before);
	}
	assert_true(n > 100);
	assert_int_equal(json_array_size(json_object_get(o, "devices")), 2);
	json_decref(o);
	assert_int_equal(json_memory_out, before);
}

/* --- on standard output --- */

struct printed {
	enum vm_status status;
	char text[8192];
};

/* Run vm_print_choices() with standard output in @fd, which is closed. */
static void print_into(struct machine *m, int fd, struct printed *p)
{
	(void)fflush(stdout);
	int old = dup(STDOUT_FILENO);
	BUG_ON(fd < 0 || old < 0 || dup2(fd, STDOUT_FILENO) < 0);
	p->status = vm_print_choices(&m->vm);
	clearerr(stdout);
	__fpurge(stdout); /* what could not be written */
	BUG_ON(dup2(old, STDOUT_FILENO) < 0);
	ssize_t n = pread(fd, p->text, sizeof(p->text) - 1, 0);
	p->text[n > 0 ? n : 0] = 0;
	close(old);
	close(fd);
}

static void the_choices_as_text(void **state)
{
	struct machine *m = *state;
	struct printed p;
	m->c.dry_run = VM_DRY_TEXT;
	m->vm.limits[0] = (struct blk_limits){ .ops_per_s = 100, .burst_ops = 500 };
	print_into(m, memfd_create("out", 0), &p);
	assert_int_equal(p.status, VM_EXIT_OK);
	assert_non_null(strstr(p.text, "block0: fake at 00:03.0, in this process\n"));
	assert_non_null(strstr(p.text, "  no image, file, buffered, 8388608 bytes in blocks of "
				       "512\n"));
	assert_non_null(strstr(p.text, "  engine io_uring, 2 queues of 256, split, 1 workers, "
				       "poll off\n"));
	assert_non_null(strstr(p.text, "  write cache on, discard off, iops 100 (burst 500)\n"));
	assert_non_null(strstr(p.text, "rng: fake at 00:04.0, in this process\n"));
}

static void the_choices_as_json(void **state)
{
	struct machine *m = *state;
	struct printed p;
	m->c.dry_run = VM_DRY_JSON;
	print_into(m, memfd_create("out", 0), &p);
	assert_int_equal(p.status, VM_EXIT_OK);
	json_t *all = json_loads(p.text, 0, NULL);
	assert_int_equal(json_array_size(all), 2);
	json_decref(all);
}

static void choices_that_cannot_be_printed(void **state)
{
	struct machine *m = *state;
	static const enum vm_dry_run forms[] = { VM_DRY_TEXT, VM_DRY_JSON };
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		struct said s;
		struct printed p;
		m->c.dry_run = forms[i];
		said_begin(&s);
		print_into(m, open("/dev/full", O_RDWR | O_CLOEXEC), &p);
		said_end(&s);
		assert_int_equal(p.status, VM_EXIT_HOST);
		assert_int_equal(said_lines(&s), 1);
	}
}

static void choices_without_memory(void **state)
{
	struct machine *m = *state;
	struct said s;
	struct printed p;
	m->c.dry_run = VM_DRY_JSON;
	said_begin(&s);
	json_memory_left = 10;
	print_into(m, memfd_create("out", 0), &p);
	json_memory_left = UINT_MAX;
	said_end(&s);
	assert_int_equal(p.status, VM_EXIT_HOST);
	assert_non_null(strstr(s.text, "Cannot allocate memory"));
	assert_string_equal(p.text, "");
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, machine_setup, machine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_vm_and_its_devices),
		T(a_device_with_a_process_of_its_own),
		T(a_queue_counts_where_that_is_known),
		T(a_disk_with_an_image),
		T(a_path_that_json_cannot_say),
		T(a_disk_without_an_image),
		T(how_long_a_worker_looks_out),
		T(very_many_cpus_are_cut),
		T(a_device_is_found_by_its_whole_name),
		T(without_memory_there_is_no_description),
		T(the_choices_as_text),
		T(the_choices_as_json),
		T(choices_that_cannot_be_printed),
		T(choices_without_memory),
	};
	json_memory_begin();
	return cmocka_run_group_tests(tests, machine_group_setup, machine_group_teardown);
}
