/* test_files.c - images that somebody has already: a VM that is just ending, or this one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/err.h"
#include "base/num.h"
#include "src/vm/vm_priv.h"
#include "support/said.h"

struct fixture {
	struct vm vm;
	struct vm_config c;
	char image[16], too[20]; /* the same one by another path */
	struct afile other;      /* of another VM */
	bool has_other;
};

static struct fixture *sleeper;
static unsigned naps;

/* Whoever waits for a lock comes by here. The other VM ends in its third nap. */
int nanosleep(const struct timespec *time, struct timespec *left)
{
	(void)time;
	(void)left;
	if (++naps == 3 && sleeper->has_other) {
		afile_close(&sleeper->other);
		sleeper->has_other = false;
	}
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = zalloc_aligned(sizeof(*f));
	assert_non_null(f);
	strcpy(f->image, "image-XXXXXX");
	int fd = mkstemp(f->image);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, MIB), 0);
	close(fd);
	(void)snprintf(f->too, sizeof(f->too), "./%s", f->image);
	config_init(&f->c);
	f->vm.c = &f->c;
	f->c.nr_disks = 1;
	for (unsigned i = 0; i < VM_MAX_DISKS; i++) {
		f->c.disks[i].option = "block";
		f->c.disks[i].path = f->image;
	}
	vm_files_init(&f->vm.files);
	sleeper = f;
	naps = 0;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	vm_files_close(&f->vm);
	if (f->has_other)
		afile_close(&f->other);
	f->c.nr_disks = 0; /* its strings are the test's */
	config_fini(&f->c);
	assert_int_equal(unlink(f->image), 0);
	free(f);
	return 0;
}

static void other_vm_opens(struct fixture *f)
{
	struct afile_config cfg = { .path = f->image };
	assert_int_equal(afile_open(&f->other, &cfg), 0);
	f->has_other = true;
}

static void close_files(struct fixture *f)
{
	vm_files_close(&f->vm);
	memset(&f->vm.files, 0, sizeof(f->vm.files));
	vm_files_init(&f->vm.files);
}

static const enum vm_sandbox modes[] = { VM_SANDBOX_OFF, VM_SANDBOX_AUTO };

static void waits_for_a_vm_that_is_just_ending(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
		f->c.sandbox = modes[i];
		naps = 0;
		other_vm_opens(f);
		assert_int_equal(vm_files_open(&f->vm), VM_EXIT_OK);
		assert_int_equal(naps, 3);
		close_files(f);
	}
}

/* Both ways to name it, and whichever of the two may write. */
static void an_image_of_its_own_is_not_waited_for(void **state)
{
	struct fixture *f = *state;
	struct said said;
	f->c.nr_disks = 2;
	f->c.disks[1].path = f->too;
	for (unsigned i = 0; i < 3 * ARRAY_SIZE(modes); i++) {
		f->c.sandbox = modes[i / 3];
		f->c.disks[0].is_readonly = i % 3 == 1;
		f->c.disks[1].is_readonly = i % 3 == 2;
		said_begin(&said);
		enum vm_status st = vm_files_open(&f->vm);
		assert_non_null(strstr(said_end(&said), "given twice here"));
		assert_int_equal(st, VM_EXIT_USAGE);
		assert_int_equal(naps, 0);
		close_files(f);
	}
}

static void an_image_is_shared_where_nobody_writes(void **state)
{
	struct fixture *f = *state;
	f->c.nr_disks = 2;
	f->c.sandbox = VM_SANDBOX_OFF;
	f->c.disks[0].is_readonly = f->c.disks[1].is_readonly = true;
	assert_int_equal(vm_files_open(&f->vm), VM_EXIT_OK);
	assert_int_equal(naps, 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(waits_for_a_vm_that_is_just_ending),
		T(an_image_of_its_own_is_not_waited_for),
		T(an_image_is_shared_where_nobody_writes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
