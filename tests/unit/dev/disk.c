/* disk.c - see disk.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "disk.h"

bool disk_use_indirect;

int disk_setup(void **state)
{
	struct disk *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	fake_forget();
	drive_init(&f->v);
	f->v.step = fake_step;
	f->v.use_indirect = disk_use_indirect;
	(void)snprintf(f->path, sizeof(f->path), "blk-XXXXXX");
	int fd = mkostemp(f->path, O_CLOEXEC);
	assert_true(fd >= 0);
	uint8_t *image = malloc(DISK_BYTES);
	for (unsigned i = 0; i < DISK_BYTES; i++)
		image[i] = (uint8_t)(i / 512 + i % 7);
	assert_int_equal(pwrite(fd, image, DISK_BYTES, 0), DISK_BYTES);
	free(image);
	f->look = open(f->path, O_RDONLY | O_CLOEXEC);
	assert_true(f->look >= 0);
	f->file = (struct afile){ .fd = fd,
				  .can_punch = true,
				  .can_zero = true,
				  .mem_align = 1,
				  .io_align = 1,
				  .block_bytes = 4096,
				  .size_bytes = DISK_BYTES };
	f->cfg = (struct blk_config){ .name = "block0",
				      .file = &f->file,
				      .nr_queues = 1,
				      .queue_size = 128,
				      .block_bytes = 512,
				      .has_discard = true,
				      .serial = "a serial number" };
	*state = f;
	return 0;
}

int disk_teardown(void **state)
{
	struct disk *f = *state;
	fake_held = 0;
	drive_fini(&f->v);
	if (f->file.fd >= 0)
		(void)close(f->file.fd);
	(void)close(f->look);
	(void)unlink(f->path);
	free(f);
	return 0;
}

void disk_up(struct disk *f, uint64_t features)
{
	struct vdev *d;
	assert_int_equal(blk_create(&d, f->v.mem, &f->cfg), 0);
	drive_attach(&f->v, d);
	drive_up(&f->v, features);
}

uint8_t disk_image_byte(uint64_t at)
{
	return (uint8_t)(at / 512 + at % 7);
}

uint8_t disk_file_byte(const struct disk *f, uint64_t at)
{
	uint8_t b = 0xee;
	assert_int_equal(pread(f->look, &b, 1, (off_t)at), 1);
	return b;
}

void disk_put_header(struct disk *f, uint64_t addr, uint32_t type, uint64_t sector)
{
	le_store(f->v.ram + addr, type, 4);
	le_store(f->v.ram + addr + 4, 0, 4);
	le_store(f->v.ram + addr + 8, sector, 8);
}

unsigned disk_ask(struct disk *f, uint32_t type, uint64_t sector, uint64_t addr, uint32_t len)
{
	unsigned n = f->nr++;
	bool is_out = type == VIRTIO_BLK_T_OUT || type == VIRTIO_BLK_T_DISCARD ||
		      type == VIRTIO_BLK_T_WRITE_ZEROES;
	struct drive_seg s[3] = { { DISK_HEADER(n), 16 }, { addr, len }, { DISK_STATUS(n), 1 } };
	if (!len)
		s[1] = s[2];
	disk_put_header(f, DISK_HEADER(n), type, sector);
	f->v.ram[DISK_STATUS(n)] = 0xff;
	drive_offer(&f->v, 0, s, is_out && len ? 2 : 1, len && !is_out ? 2 : 1);
	drive_kick(&f->v, 0);
	return n;
}

unsigned disk_ask_flush(struct disk *f, uint16_t idx)
{
	unsigned n = f->nr++;
	struct drive_seg s[2] = { { DISK_HEADER(n), 16 }, { DISK_STATUS(n), 1 } };
	disk_put_header(f, DISK_HEADER(n), VIRTIO_BLK_T_FLUSH, 0);
	f->v.ram[DISK_STATUS(n)] = 0xff;
	drive_offer(&f->v, idx, s, 1, 1);
	drive_kick(&f->v, idx);
	return n;
}

uint8_t disk_status(const struct disk *f, unsigned n)
{
	return f->v.ram[DISK_STATUS(n)];
}

uint8_t disk_run(struct disk *f, uint32_t type, uint64_t sector, uint64_t addr, uint32_t len)
{
	unsigned n = disk_ask(f, type, sector, addr, len);
	(void)drive_wait(&f->v, 0, NULL);
	return disk_status(f, n);
}

void disk_run_synced(struct disk *f, uint32_t type, uint64_t addr, uint32_t len)
{
	fake_held = 1u << FAKE_SYNC;
	unsigned n = disk_ask(f, type, 0, addr, len);
	fake_passes(5);
	assert_int_equal(fake_waiting(FAKE_SYNC), 1);
	assert_int_equal(disk_status(f, n), 0xff);
	fake_held = 0;
	(void)drive_wait(&f->v, 0, NULL);
	assert_int_equal(disk_status(f, n), VIRTIO_BLK_S_OK);
}

void disk_put_range(struct disk *f, unsigned i, uint64_t sector, uint32_t nr, uint32_t flags)
{
	uint8_t *p = f->v.ram + DISK_DATA + i * 16;
	le_store(p, sector, 8);
	le_store(p + 8, nr, 4);
	le_store(p + 12, flags, 4);
}
