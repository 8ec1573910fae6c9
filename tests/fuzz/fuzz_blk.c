/* fuzz_blk.c - block requests of any shape, on images of four kinds, with a host that fails. */
#include "dev_fuzz.h"
#include <linux/virtio_blk.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/le.h"
#include "dev/virtio_devs.h"

#define IMAGE_BYTES (100u * 512 + 300)

enum kind { CACHED, DIRECT, READ_ONLY, NOTHING, NR_KINDS };
static struct drive drives[NR_KINDS];

static void make(enum kind k)
{
	struct afile f = { .fd = memfd_create("image", MFD_CLOEXEC),
			   .can_punch = true,
			   .can_zero = k == CACHED,
			   .is_direct = k == DIRECT,
			   .mem_align = k == DIRECT ? 512 : 1,
			   .io_align = k == DIRECT ? 512 : 1,
			   .block_bytes = 4096,
			   .size_bytes = IMAGE_BYTES };
	struct blk_config cfg = { .name = "block0",
				  .file = k == NOTHING ? NULL : &f,
				  .null_bytes = IMAGE_BYTES,
				  .nr_queues = 2,
				  .queue_size = 32,
				  .block_bytes = 512,
				  .is_readonly = k == READ_ONLY,
				  .has_discard = true };
	struct vdev *d;
	assert_true(f.fd >= 0 && !ftruncate(f.fd, IMAGE_BYTES));
	drive_init(&drives[k]);
	drives[k].step = fake_step;
	assert_int_equal(blk_create(&d, drives[k].mem, &cfg), 0);
	drive_attach(&drives[k], d);
}

/* A request that has a good chance: header, data, status in their places. */
static void ask(struct drive *v)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_IN,           VIRTIO_BLK_T_OUT,
					  VIRTIO_BLK_T_FLUSH,        VIRTIO_BLK_T_DISCARD,
					  VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_GET_ID };
	uint32_t type = types[fuzz_take(1) % 6];
	uint64_t at = DRIVE_DATA + (fuzz_take(1) << 8), data = DRIVE_DATA + 0x20000 + fuzz_take(2);
	bool is_in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	le_store(v->ram + at, type, 4);
	le_store(v->ram + at + 8, fuzz_take(1), 8);
	for (unsigned i = 0; type >= VIRTIO_BLK_T_DISCARD && i < 3; i++) {
		le_store(v->ram + data + 16 * i, fuzz_take(1), 8);
		le_store(v->ram + data + 16 * i + 8, fuzz_take(1), 4);
		le_store(v->ram + data + 16 * i + 12, fuzz_take(1) & 3, 4);
	}
	struct guest_buf b[] = { { at, 16, false },
				 { data, fuzz_len(), is_in },
				 { at + 0x80, 1, true } };
	if (guest_add(&v->q[0].ring, b, 3, fuzz_take(1) & 1) < 0)
		return;
	guest_show(&v->q[0].ring);
	drive_kick(v, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!drives[0].dev)
		for (unsigned k = 0; k < NR_KINDS; k++)
			make((enum kind)k);
	fuzz_at = data;
	fuzz_end = data + size;
	struct drive *v = &drives[fuzz_take(1) % NR_KINDS];
	fuzz_play(v, ~(fuzz_take(2) << 5), ask);
	assert_int_equal(fuzz_pending(), 0);
	return 0;
}
