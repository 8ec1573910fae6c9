/* user_mem.c - the files that a frontend gives, and its memory table. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "base/err.h"
#include "base/num.h"
#include "user_priv.h"

#define USER_MIN_HUGE (64 * KIB)
#define USER_MAX_HUGE (16 * GIB)

/*
 * A file of huge pages is mapped in whole ones, over whatever lies behind the part that was asked
 * for, and such a part is not unmapped again. It tells its kind by this and by statfs() only, which
 * our list of system calls does without. -EINVAL: that, or an odd offset.
 */
static int user_file_try(int fd, uint64_t off, uint64_t bytes)
{
	void *mem = mmap(NULL, bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)off);
	if (mem == MAP_FAILED)
		return -errno;
	int err = munmap(mem, bytes) ? -errno : 0;
	/* never more than there is: at the first size that is whole pages it goes */
	for (uint64_t page = USER_MIN_HUGE; err == -EINVAL && page <= USER_MAX_HUGE; page *= 2)
		if (!munmap(mem, align_up(bytes, page)))
			break;
	return err;
}

/* A mapping behind the end of its file would kill us at the first touch. */
static int user_file_check(int fd, uint64_t off, uint64_t bytes)
{
	struct stat st;
	uint64_t end;
	if (fd < 0 || fstat(fd, &st))
		return -EBADF;
	if (!S_ISREG(st.st_mode) || !add_ok(off, bytes, &end) || end > (uint64_t)st.st_size)
		return -EINVAL;
	return user_file_try(fd, off, bytes);
}

int user_file_map(void **out, int fd, uint64_t off, uint64_t bytes)
{
	int err = user_file_check(fd, off, bytes);
	if (err)
		return err;
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)off);
	if (mem == MAP_FAILED)
		return -errno;
	*out = mem;
	return 0;
}

static int user_region_check(const struct vhost_user_region *r, int fd)
{
	uint64_t user_end;
	if (!add_ok(r->user, r->len, &user_end))
		return -EINVAL;
	return user_file_check(fd, r->fd_offset, r->len);
}

static int user_mem_map(struct gmem **out, const struct vhost_user_region *r, const int *fds,
			unsigned nr)
{
	struct gmem_region g[GMEM_MAX_REGIONS] = { 0 };
	int err = 0;
	unsigned have = 0;
	for (; !err && have < nr; have++) {
		g[have] = (struct gmem_region){ r[have].start, r[have].len, -1, r[have].fd_offset };
		err = user_region_check(&r[have], fds[have]);
		if (!err) {
			g[have].fd = fcntl(fds[have], F_DUPFD_CLOEXEC, 0);
			err = g[have].fd < 0 ? -errno : 0;
		}
	}
	if (!err)
		err = gmem_create_from(out, g, nr);
	for (unsigned i = 0; err && i < have; i++)
		fd_close(g[i].fd);
	return err;
}

static void user_mem_sort(struct user_mem *m)
{
	for (unsigned i = 1; i < m->nr; i++)
		for (unsigned j = i; j && m->r[j].start < m->r[j - 1].start; j--) {
			struct vhost_user_region r = m->r[j];
			int fd = m->fds[j];
			m->r[j] = m->r[j - 1];
			m->fds[j] = m->fds[j - 1];
			m->r[j - 1] = r;
			m->fds[j - 1] = fd;
		}
}

/* Map @next and let it take the place of @m, whose descriptors are not closed. */
static int user_mem_replace(struct user_mem *m, struct user_mem *next)
{
	user_mem_sort(next);
	next->gmem = NULL;
	if (next->nr) {
		int err = user_mem_map(&next->gmem, next->r, next->fds, next->nr);
		if (err)
			return err;
	}
	gmem_destroy(m->gmem);
	*m = *next;
	return 0;
}

int user_mem_set(struct user_mem *m, const struct vhost_user_region *r, const int *fds, unsigned nr)
{
	struct user_mem next = { .nr = nr }, old = *m;
	if (nr > GMEM_MAX_REGIONS)
		return -EINVAL;
	memcpy(next.r, r, nr * sizeof(*r));
	memcpy(next.fds, fds, nr * sizeof(*fds));
	int err = user_mem_replace(m, &next);
	if (err)
		return err;
	for (unsigned i = 0; i < old.nr; i++)
		fd_close(old.fds[i]);
	return 0;
}

int user_mem_add(struct user_mem *m, const struct vhost_user_region *r, int fd)
{
	struct user_mem next = *m;
	if (next.nr == GMEM_MAX_REGIONS)
		return -ENOSPC;
	next.r[next.nr] = *r;
	next.fds[next.nr++] = fd;
	return user_mem_replace(m, &next);
}

int user_mem_remove(struct user_mem *m, const struct vhost_user_region *r)
{
	struct user_mem next = *m;
	unsigned i = 0;
	while (i < m->nr &&
	       (m->r[i].start != r->start || m->r[i].len != r->len || m->r[i].user != r->user))
		i++;
	if (i == m->nr)
		return -ENOENT;
	int fd = m->fds[i];
	next.nr--;
	for (; i < next.nr; i++) {
		next.r[i] = next.r[i + 1];
		next.fds[i] = next.fds[i + 1];
	}
	int err = user_mem_replace(m, &next);
	if (!err)
		fd_close(fd);
	return err;
}

void user_mem_fini(struct user_mem *m)
{
	gmem_destroy(m->gmem);
	for (unsigned i = 0; i < m->nr; i++)
		fd_close(m->fds[i]);
	*m = (struct user_mem){ 0 };
}

int user_mem_translate(const struct user_mem *m, uint64_t user, gpa_t *out)
{
	for (unsigned i = 0; i < m->nr; i++)
		if (user >= m->r[i].user && user - m->r[i].user < m->r[i].len) {
			*out = gpa(m->r[i].start + (user - m->r[i].user));
			return 0;
		}
	return -EFAULT;
}
