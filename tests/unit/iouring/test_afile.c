/* test_afile.c - what an image may be, what is found out about it, and who may have it at once. */
#include "iouring/afile.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct dir {
	char path[64];
};

static int dir_setup(void **state)
{
	struct dir *d = calloc(1, sizeof(*d));
	assert_non_null(d);
	strcpy(d->path, "/var/tmp/vmm-test-XXXXXX");
	assert_non_null(mkdtemp(d->path));
	*state = d;
	return 0;
}

static int dir_teardown(void **state)
{
	static const char *const names[] = { "img", "fifo", "sock", "dir", "link" };
	struct dir *d = *state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[128];
		snprintf(path, sizeof(path), "%s/%s", d->path, names[i]);
		remove(path);
	}
	assert_int_equal(rmdir(d->path), 0);
	free(d);
	return 0;
}

/* The path of @name in the directory of this test; good until the next call but three. */
static const char *in_dir(void **state, const char *name)
{
	static char paths[4][128];
	static unsigned at;
	const struct dir *d = *state;
	char *path = paths[at++ % 4];
	snprintf(path, sizeof(paths[0]), "%s/%s", d->path, name);
	return path;
}

static const char *make_image(void **state, off_t size)
{
	const char *path = in_dir(state, "img");
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
	return path;
}

static int try_config(const struct afile_config *cfg)
{
	struct afile f = { .fd = -1 };
	int err = afile_open(&f, cfg);
	if (err)
		assert_int_equal(f.fd, -1); /* untouched on failure */
	afile_close(&f);
	return err;
}

static int try_open(const char *path, bool is_readonly)
{
	struct afile_config cfg = { .path = path, .is_readonly = is_readonly };
	return try_config(&cfg);
}

/* A lock taken through a duplicate stays with the original: not here. */
static int try_inherited(const char *form, int fd, bool is_readonly)
{
	char path[64];
	snprintf(path, sizeof(path), form, fd);
	struct afile_config cfg = { .path = path, .is_readonly = is_readonly, .no_lock = true };
	return try_config(&cfg);
}

static void a_regular_file_of_any_size_will_do(void **state)
{
	static const off_t sizes[] = { 0, 1, 512, 1000001, 64 << 20 };
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct afile f;
		struct afile_config cfg = { .path = make_image(state, sizes[i]) };
		assert_int_equal(afile_open(&f, &cfg), 0);
		assert_int_equal(f.size_bytes, sizes[i]);
		assert_int_equal(f.mem_align, 1);
		assert_int_equal(f.io_align, 1);
		assert_false(f.is_blockdev);
		assert_true(f.block_bytes >= 512);
		assert_true(fcntl(f.fd, F_GETFD) & FD_CLOEXEC);
		assert_false(fcntl(f.fd, F_GETFL) & O_NONBLOCK); /* or io_uring gives up early */
		struct stat st;
		assert_int_equal(fstat(f.fd, &st), 0);
		assert_int_equal(st.st_size, sizes[i]); /* probing changed nothing */
		assert_int_equal(st.st_blocks, 0);
		afile_close(&f);
	}
}

static void the_size_is_asked_anew(void **state)
{
	struct afile f;
	struct afile_config cfg = { .path = make_image(state, 4096) };
	uint64_t size = 0;
	assert_int_equal(afile_open(&f, &cfg), 0);
	assert_int_equal(truncate(cfg.path, 12288), 0);
	assert_int_equal(afile_size(&f, &size), 0);
	assert_int_equal(size, 12288);
	assert_int_equal(f.size_bytes, 4096);
	afile_close(&f);
}

static void what_is_no_image_is_refused_and_does_not_hang(void **state)
{
	const char *fifo = in_dir(state, "fifo"), *dir = in_dir(state, "dir");
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(try_open(fifo, true), -EINVAL);
	assert_int_equal(try_open(fifo, false), -EINVAL);
	assert_int_equal(try_open(dir, true), -EISDIR);
	assert_int_equal(try_open(dir, false), -EISDIR);
	assert_int_equal(try_open("/dev/null", false), -EINVAL);
	assert_int_equal(try_open("/nonexistent/img", true), -ENOENT);
	assert_int_equal(try_open("/dev/null/img", true), -ENOTDIR);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const char *sock = in_dir(state, "sock");
	strcpy(sa.sun_path, sock);
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(try_open(sock, true), -EINVAL);
	close(s);
	const char *link = in_dir(state, "link");
	assert_int_equal(symlink(link, link), 0);
	assert_int_equal(try_open(link, true), -ELOOP);
}

static void may_not_be_written_is_told_apart(void **state)
{
	const char *img = make_image(state, 4096);
	assert_int_equal(chmod(img, 0400), 0);
	pid_t pid = fork();
	if (!pid) { /* root may do all: become somebody else */
		struct dir *d = *state;
		bool is_other = chmod(d->path, 0755) == 0 && (getuid() || !setuid(65534));
		int rw = is_other ? try_open(img, false) : 0;
		_exit(rw == -EACCES ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	if (!access("/proc/version", F_OK))
		assert_true(try_open("/sys/kernel/notes", false) < 0);
}

static void one_writer_or_many_readers(void **state)
{
	struct afile a, b, c;
	struct afile_config rw = { .path = make_image(state, 4096) }, ro = rw, free_for_all = rw;
	ro.is_readonly = true;
	free_for_all.no_lock = true;
	assert_int_equal(afile_open(&a, &rw), 0);
	assert_int_equal(afile_open(&b, &rw), -EAGAIN);
	assert_int_equal(afile_open(&b, &ro), -EAGAIN);
	assert_int_equal(afile_open(&b, &free_for_all), 0);
	afile_close(&b);
	afile_close(&a);
	assert_int_equal(afile_open(&a, &ro), 0);
	assert_int_equal(afile_open(&b, &ro), 0);
	assert_int_equal(afile_open(&c, &rw), -EAGAIN);
	afile_close(&a);
	afile_close(&b);
	assert_int_equal(afile_open(&c, &rw), 0);
	afile_close(&c);
}

static void direct_io_tells_its_alignment(void **state)
{
	struct afile f;
	struct afile_config cfg = { .path = make_image(state, 1 << 20), .is_direct = true };
	int err = afile_open(&f, &cfg);
	if (err == -EOPNOTSUPP)
		skip();
	assert_int_equal(err, 0);
	assert_true(fcntl(f.fd, F_GETFL) & O_DIRECT);
	assert_true(f.io_align >= 512 && f.io_align <= 65536 && !(f.io_align & (f.io_align - 1)));
	assert_true(f.mem_align >= 1 && !(f.mem_align & (f.mem_align - 1)));
	size_t align = f.io_align > f.mem_align ? f.io_align : f.mem_align;
	void *buf = aligned_alloc(align, align);
	assert_int_equal(pread(f.fd, buf, f.io_align, f.io_align), f.io_align);
	free(buf);
	afile_close(&f);
}

static void no_direct_io_is_told_apart_from_no_image(void **state)
{
	(void)state;
	struct afile f;
	struct afile_config cfg = { .path = "/proc/self/cmdline",
				    .is_readonly = true,
				    .is_direct = true };
	assert_int_equal(afile_open(&f, &cfg), -EOPNOTSUPP);
	char path[32];
	int fd = open(cfg.path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	cfg.path = path;
	cfg.no_lock = true;
	assert_int_equal(afile_open(&f, &cfg), -EOPNOTSUPP);
	close(fd);
}

static void what_is_refused_is_closed(void **state)
{
	const char *img = make_image(state, 4096);
	struct afile held;
	struct afile_config rw = { .path = img };
	assert_int_equal(afile_open(&held, &rw), 0);
	int free_before = fcntl(held.fd, F_DUPFD_CLOEXEC, 0);
	close(free_before);
	assert_int_equal(try_open("/dev/null", false), -EINVAL);
	assert_int_equal(try_open("/", true), -EISDIR);
	assert_int_equal(try_open(img, false), -EAGAIN);
	int free_after = fcntl(held.fd, F_DUPFD_CLOEXEC, 0);
	close(free_after);
	afile_close(&held);
	assert_int_equal(free_after, free_before);
}

/* Like one that was opened here, whatever its giver did to it. */
static void an_inherited_descriptor_blocks_and_is_not_passed_on(void **state)
{
	char path[32];
	struct afile f;
	int fd = open(make_image(state, 4096), O_RDWR | O_CLOEXEC | O_NONBLOCK);
	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	struct afile_config cfg = { .path = path, .no_lock = true };
	assert_int_equal(afile_open(&f, &cfg), 0);
	assert_int_not_equal(f.fd, fd);
	assert_true(fcntl(f.fd, F_GETFD) & FD_CLOEXEC);
	assert_false(fcntl(f.fd, F_GETFL) & O_NONBLOCK); /* or io_uring gives up early */
	afile_close(&f);
	close(fd);
}

/* Neither one with something behind it nor one that its low 32 bits would make it. */
static void only_a_number_is_an_inherited_descriptor(void **state)
{
	int fd = open(make_image(state, 4096), O_RDWR | O_CLOEXEC);
	char large[64];
	snprintf(large, sizeof(large), "/dev/fd/%lld", (1ll << 32) + fd);
	assert_int_equal(try_inherited("/dev/fd/%d", fd, false), 0);
	assert_int_equal(try_inherited("/dev/fd/%dx", fd, false), -ENOENT);
	assert_int_equal(try_open(large, false), -ENOENT);
	close(fd);
}

static void inherited_descriptors_keep_their_rights(void **state)
{
	const char *img = make_image(state, 8192);
	static const char *const forms[] = { "/proc/self/fd/%d", "/dev/fd/%d" };
	int ro = open(img, O_RDONLY | O_CLOEXEC), rw = open(img, O_RDWR | O_CLOEXEC);
	int path = open(img, O_PATH | O_CLOEXEC), wo = open(img, O_WRONLY | O_CLOEXEC);
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		assert_int_equal(try_inherited(forms[i], ro, true), 0);
		assert_int_equal(try_inherited(forms[i], ro, false), -EACCES);
		assert_int_equal(try_inherited(forms[i], rw, false), 0);
		assert_int_equal(try_inherited(forms[i], path, true), -EACCES);
		assert_int_equal(try_inherited(forms[i], wo, true), -EACCES);
		assert_int_equal(try_inherited(forms[i], 9999, true), -EBADF);
	}
	close(ro), close(rw), close(path), close(wo);
}

static void sealed_memory_may_only_be_read(void **state)
{
	(void)state;
	int fd = memfd_create("img", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(try_inherited("/proc/self/fd/%d", fd, false), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	assert_int_equal(try_inherited("/proc/self/fd/%d", fd, false), -EPERM);
	assert_int_equal(try_inherited("/proc/self/fd/%d", fd, true), 0);
	close(fd);
}

static void holes_are_possible_where_the_file_system_says_so(void **state)
{
	struct afile f;
	struct afile_config cfg = { .path = make_image(state, 5000) };
	assert_int_equal(afile_open(&f, &cfg), 0);
	int err = fallocate(f.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096);
	assert_int_equal(f.can_punch, !err);
	assert_true(f.can_zero || !f.can_punch);
	afile_close(&f);
	cfg.is_readonly = true;
	assert_int_equal(afile_open(&f, &cfg), 0);
	assert_false(f.can_punch);
	assert_false(f.can_zero);
	afile_close(&f);
}

static void closing_what_was_never_opened_is_fine(void **state)
{
	(void)state;
	struct afile f = { .fd = open("/dev/null", O_RDONLY | O_CLOEXEC) };
	assert_true(f.fd >= 0);
	afile_close(&f);
	afile_close(NULL);
	assert_int_equal(close(f.fd), 0); /* it was there yet */
}

/* It is no user of the image: it takes no lock, and bears witness of nothing when nothing is lost.
 */
static void a_witness_is_in_nobodys_way(void **state)
{
	struct afile_config cfg = { .path = make_image(state, 65536) };
	struct afile f, again;
	int witness = -1;
	assert_int_equal(afile_open(&f, &cfg), 0);
	assert_int_equal(afile_witness(&f, &witness), 0);
	assert_int_equal(pwrite(f.fd, "x", 1, 0), 1);
	assert_int_equal(fdatasync(f.fd), 0);
	assert_false(afile_saw_loss(witness));
	afile_close(&f);
	assert_int_equal(afile_open(&again, &cfg), 0);
	assert_int_equal(write(witness, "x", 1), -1);
	assert_int_equal(errno, EBADF);
	afile_close(&again);
	close(witness);
}

/* --- a block device, where we may make one --- */

/* Descriptor of a loop device over @img, its name in @name; -1: not possible here. */
static int loop_attach(const char *img, bool is_readonly, char name[32])
{
	int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int nr = ctl < 0 ? -1 : ioctl(ctl, LOOP_CTL_GET_FREE);
	if (ctl >= 0)
		close(ctl);
	snprintf(name, 32, "/dev/loop%d", nr);
	int dev = nr < 0 ? -1 : open(name, O_RDWR | O_CLOEXEC);
	int file = open(img, (is_readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (dev >= 0 && ioctl(dev, LOOP_SET_FD, file)) {
		close(dev);
		dev = -1;
	}
	close(file);
	return dev;
}

static void a_block_device_has_its_own_size_and_limits(void **state)
{
	char name[32];
	int dev = loop_attach(make_image(state, 1 << 20), false, name);
	if (dev < 0) {
		printf("no loop device can be made here\n");
		skip();
	}
	struct afile f;
	struct afile_config cfg = { .path = name, .is_direct = true };
	int err = afile_open(&f, &cfg);
	if (!err) {
		assert_true(f.is_blockdev);
		assert_int_equal(f.size_bytes, 1 << 20);
		assert_true(f.io_align == 512 || f.io_align == 4096);
		assert_true(f.can_zero);
		assert_int_equal(try_open(name, false), -EAGAIN);
		int zeroed = fallocate(f.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096);
		assert_int_equal(f.can_punch, !zeroed);
		afile_close(&f);
	}
	ioctl(dev, LOOP_CLR_FD);
	close(dev);
	assert_int_equal(err, 0);
}

static void a_readonly_block_device_is_not_written(void **state)
{
	char name[32];
	int dev = loop_attach(make_image(state, 1 << 20), true, name);
	if (dev < 0) {
		printf("no loop device can be made here\n");
		skip();
	}
	int ro = try_open(name, true), rw = try_open(name, false);
	ioctl(dev, LOOP_CLR_FD);
	close(dev);
	assert_int_equal(ro, 0);
	assert_true(rw == -EROFS || rw == -EACCES || rw == -EPERM);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, dir_setup, dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(a_regular_file_of_any_size_will_do),
		IN_DIR(the_size_is_asked_anew),
		IN_DIR(what_is_no_image_is_refused_and_does_not_hang),
		IN_DIR(may_not_be_written_is_told_apart),
		IN_DIR(one_writer_or_many_readers),
		IN_DIR(direct_io_tells_its_alignment),
		cmocka_unit_test(no_direct_io_is_told_apart_from_no_image),
		IN_DIR(what_is_refused_is_closed),
		IN_DIR(an_inherited_descriptor_blocks_and_is_not_passed_on),
		IN_DIR(only_a_number_is_an_inherited_descriptor),
		IN_DIR(inherited_descriptors_keep_their_rights),
		cmocka_unit_test(sealed_memory_may_only_be_read),
		IN_DIR(holes_are_possible_where_the_file_system_says_so),
		IN_DIR(a_witness_is_in_nobodys_way),
		cmocka_unit_test(closing_what_was_never_opened_is_fine),
		IN_DIR(a_block_device_has_its_own_size_and_limits),
		IN_DIR(a_readonly_block_device_is_not_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
