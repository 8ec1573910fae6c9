/*
 * probe.h - a device and the simplest request it can serve, for tests that ask about rings,
 * interrupts and registers rather than about a device.
 *
 * `dut=blk` (the default: reads of sector 0) or `dut=rng`.
 */
#ifndef GUEST_PROBE_H
#define GUEST_PROBE_H
#include <stdbool.h>
#include "ring.h"
#include "test.h"
#include "virtio.h"

#define PROBE_BYTES 512

struct probe {
	struct virtio dev;
	struct ring ring;
	unsigned slots; /* requests that may be in flight, one buffer each */
	uint8_t (*data)[PROBE_BYTES];
	uint8_t *status;                  /* block: one a slot */
	uint16_t *slot_of;                /* of a head */
	struct virtio_blk_outhdr *header; /* block: the same for all */
};

/* Find the device; reset it. SKIP: there is none. */
enum verdict probe_find(struct probe *p);
/* probe_find(), features out of @wanted, queue 0 of @size (0: the largest) up, DRIVER_OK. */
enum verdict probe_open(struct probe *p, uint64_t wanted, uint16_t size);
/* The second half of probe_open(), for a device already found. */
enum verdict probe_start(struct probe *p, uint64_t wanted, uint16_t size);

/* Put one request with buffer @slot into the ring and offer it; no doorbell. False: no room. */
bool probe_put(struct probe *p, unsigned slot, bool is_indirect);
/* One request from doorbell to check of the answer, by polling. */
enum verdict probe_once(struct probe *p, bool is_indirect);
/* Was the completion of @head with @written bytes a success? */
bool probe_is_good(const struct probe *p, int head, uint32_t written);

#endif
