/*
 * disk.h - a block device on a small file, and a driver that asks it things. The reactor is the
 * fake one: it does as it is told.
 *
 * Layer:   tests
 * Threads: one.
 * Errors:  cmocka assertions.
 * Spec:    VIRTIO 1.2 §5.2.6.
 */
#ifndef TESTS_UNIT_DEV_DISK_H
#define TESTS_UNIT_DEV_DISK_H
#include "base/le.h"
#include "dev/virtio_devs.h"
#include "drive.h"
#include "fake_reactor.h"

#define DISK_BYTES     (1u << 20)
#define DISK_HEADER(n) (DRIVE_DATA + (n)*0x100u)
#define DISK_STATUS(n) (DISK_HEADER(n) + 0x80u)
#define DISK_DATA      (DRIVE_DATA + 0x100000u)
#define DISK_ALL       (~0ull) /* features */
#define BIT(f)         (1ull << (f))

struct disk {
	struct drive v;
	char path[32];
	int look; /* at the image, from outside */
	struct afile file;
	struct blk_config cfg; /* may be changed before disk_up() */
	unsigned nr;           /* requests made: each has its header and status */
};

extern bool disk_use_indirect; /* for those set up from now on */
int disk_setup(void **state);
int disk_teardown(void **state);
/* Create, and let a driver accept those of its features that are in @features. */
void disk_up(struct disk *f, uint64_t features);

/* Byte @at of the image at first, and now. */
uint8_t disk_image_byte(uint64_t at);
uint8_t disk_file_byte(const struct disk *f, uint64_t at);

void disk_put_header(struct disk *f, uint64_t addr, uint32_t type, uint64_t sector);
/* Range @i of a DISCARD or WRITE_ZEROES at DISK_DATA. */
void disk_put_range(struct disk *f, unsigned i, uint64_t sector, uint32_t nr, uint32_t flags);
/* Offer a request in the usual form; its number. */
unsigned disk_ask(struct disk *f, uint32_t type, uint64_t sector, uint64_t addr, uint32_t len);
/* A FLUSH on queue @idx. */
unsigned disk_ask_flush(struct disk *f, uint16_t idx);
/* 0xff: not answered yet. */
uint8_t disk_status(const struct disk *f, unsigned n);
/* The same, to its end; returns the status. */
uint8_t disk_run(struct disk *f, uint32_t type, uint64_t sector, uint64_t addr, uint32_t len);
/* A good request at sector 0 that is answered once a sync has ended, and not before. */
void disk_run_synced(struct disk *f, uint32_t type, uint64_t addr, uint32_t len);

#endif
