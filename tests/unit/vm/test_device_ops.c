/* test_device_ops.c - what can be asked of a device that lives in the main process. */
#include "unit/vm/machine.h"
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
	struct vm vm;
	struct vm_config c;
	struct fake_vdev *rng;
	char path[40];
	struct vm_disk_config *d; /* of c */
};

static int setup(void **state)
{
	struct fixture *f = zalloc_aligned(sizeof(*f));
	assert_non_null(f);
	config_init(&f->c);
	f->vm.c = &f->c;
	f->d = &f->c.disks[0];
	*f->d = (struct vm_disk_config){ .path = f->path, .option = "block", .discard = VM_AUTO };
	strcpy(f->path, "/tmp/vmm-ops-XXXXXX");
	int fd = mkstemp(f->path);
	assert_true(fd >= 0 && !ftruncate(fd, MIB));
	close(fd);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	machine_unplug_all(&f->vm);
	free(f->rng);
	(void)unlink(f->path);
	config_fini(&f->c);
	free(f);
	return 0;
}

/* A disk as f->d says, as device 0. */
static void plug_disk(struct fixture *f)
{
	struct afile file;
	struct vdev *d = NULL;
	assert_int_equal(f->d->path ? vm_disk_open(f->d, &file) : VM_EXIT_OK, VM_EXIT_OK);
	assert_int_equal(vm_disk_create(&d, NULL, f->d, f->d->path ? &file : NULL, "block0", 2), 0);
	machine_plug(&f->vm, d, "block0", &vm_device_here);
}

static void plug_rng(struct fixture *f)
{
	f->rng = zalloc_aligned(align_up(sizeof(*f->rng), CACHE_ALIGN));
	assert_non_null(f->rng);
	fake_vdev_init(f->rng, NULL); /* of the kind of an entropy device */
	machine_plug(&f->vm, &f->rng->dev, "rng", &vm_device_here);
}

static uint64_t bytes_on_disk(const struct fixture *f)
{
	struct stat st;
	assert_int_equal(stat(f->path, &st), 0);
	return (uint64_t)st.st_size;
}

static void a_file_is_made_larger_and_smaller(void **state)
{
	struct fixture *f = *state;
	struct vm_device_info info;
	plug_disk(f);
	assert_int_equal(vm_device_here.resize(&f->vm, 0, 2 * MIB), 0);
	assert_int_equal(bytes_on_disk(f), 2 * MIB);
	assert_int_equal(vm_device_here.resize(&f->vm, 0, 4096), 0);
	assert_int_equal(bytes_on_disk(f), 4096);
	vm_device_here.info(&f->vm, 0, &info);
	assert_int_equal(info.disk.size_bytes, 4096);
}

static void sizes_that_no_disk_has_change_nothing(void **state)
{
	struct fixture *f = *state;
	static const uint64_t sizes[] = { 0, 1, 511, 513, MIB + 1, 1ull << 63, ~0ull };
	plug_disk(f);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		assert_int_equal(vm_device_here.resize(&f->vm, 0, sizes[i]), -EINVAL);
	assert_int_equal(bytes_on_disk(f), MIB);
}

static void what_may_not_be_written_keeps_its_size(void **state)
{
	struct fixture *f = *state;
	f->d->is_readonly = true;
	plug_disk(f);
	assert_int_equal(vm_device_here.resize(&f->vm, 0, 2 * MIB), -EROFS);
	assert_int_equal(vm_device_here.resize(&f->vm, 0, MIB), 0); /* as it is */
	assert_int_equal(bytes_on_disk(f), MIB);
}

static void without_an_image_there_is_no_size_to_change(void **state)
{
	struct fixture *f = *state;
	f->d->path = NULL;
	f->d->null_bytes = MIB;
	plug_disk(f);
	assert_int_equal(vm_device_here.resize(&f->vm, 0, 2 * MIB), -EINVAL);
}

static void a_disk_tells_of_itself(void **state)
{
	struct fixture *f = *state;
	struct vm_device_info info;
	f->d->has_packed = true;
	f->d->queue_size = 64;
	plug_disk(f);
	memset(&info, 0xff, sizeof(info));
	vm_device_here.info(&f->vm, 0, &info);
	assert_true(info.has_disk);
	assert_int_equal(info.pid, 0);
	assert_int_equal(info.restarts, 0);
	assert_int_equal(info.longest_pause_ns, 0);
	assert_string_equal(info.disk.file, "file");
	assert_int_equal(info.disk.size_bytes, MIB);
	assert_int_equal(info.disk.nr_queues, 2);
	assert_int_equal(info.disk.queue_size, 64);
	assert_true(info.disk.has_packed);
}

static void limits_may_be_set_and_taken_away(void **state)
{
	struct fixture *f = *state;
	const struct blk_limits some = { .ops_per_s = 10, .bytes_per_s = 4096 }, none = { 0 };
	plug_disk(f);
	assert_int_equal(vm_device_here.set_limits(&f->vm, 0, &some), 0);
	assert_int_equal(vm_device_here.set_limits(&f->vm, 0, &none), 0);
}

static void other_devices_have_neither(void **state)
{
	struct fixture *f = *state;
	const struct blk_limits some = { .ops_per_s = 10 };
	struct vm_device_info info;
	plug_disk(f);
	plug_rng(f);
	assert_int_equal(vm_device_here.resize(&f->vm, 1, 2 * MIB), -EOPNOTSUPP);
	assert_int_equal(vm_device_here.set_limits(&f->vm, 1, &some), -EOPNOTSUPP);
	memset(&info, 0xff, sizeof(info));
	vm_device_here.info(&f->vm, 1, &info);
	assert_false(info.has_disk);
	assert_int_equal(info.pid, 0);
}

static void nothing_here_can_be_started_anew(void **state)
{
	struct fixture *f = *state;
	plug_disk(f);
	plug_rng(f);
	for (unsigned dev = 0; dev < 2; dev++)
		assert_int_equal(vm_device_here.restart(&f->vm, dev), -EOPNOTSUPP);
	assert_null(vm_device_here.try);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_file_is_made_larger_and_smaller),
		T(sizes_that_no_disk_has_change_nothing),
		T(what_may_not_be_written_keeps_its_size),
		T(without_an_image_there_is_no_size_to_change),
		T(a_disk_tells_of_itself),
		T(limits_may_be_set_and_taken_away),
		T(other_devices_have_neither),
		T(nothing_here_can_be_started_anew),
	};
	return cmocka_run_group_tests(tests, machine_group_setup, machine_group_teardown);
}
