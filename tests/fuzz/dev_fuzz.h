/*
 * dev_fuzz.h - a driver whose every move is taken from the fuzzer's bytes.
 *
 * Layer:   tests
 * Threads: one.
 * Errors:  a claim that does not hold ends the process, which is what libFuzzer looks for.
 * Spec:    none.
 */
#ifndef TESTS_FUZZ_DEV_FUZZ_H
#define TESTS_FUZZ_DEV_FUZZ_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "unit/dev/drive.h"
#include "unit/dev/fake_reactor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *fuzz_at, *fuzz_end;

static uint64_t fuzz_take(unsigned bytes)
{
	uint64_t v = 0;
	for (; bytes && fuzz_at < fuzz_end; bytes--)
		v = v << 8 | *fuzz_at++;
	return v;
}

/* Mostly something near the data, now and then anything but the driver's own rings: what a device
 * was told to write over them the driver could not tell from a broken promise. */
static uint64_t fuzz_addr(void)
{
	uint8_t how = (uint8_t)fuzz_take(1);
	uint64_t any = fuzz_take(how < 250 ? 2 : 8);
	return how < 250 || any < DRIVE_DATA ? DRIVE_DATA + any : any;
}

static uint32_t fuzz_len(void)
{
	static const uint32_t usual[] = { 0, 1, 8, 16, 20, 32, 512, 513, 1024, 4096, 8192 };
	uint8_t how = (uint8_t)fuzz_take(1);
	if (how < 200)
		return usual[how % (sizeof(usual) / sizeof(usual[0]))];
	return (uint32_t)fuzz_take(how < 250 ? 2 : 4);
}

/* Offer a chain of any shape. */
static void fuzz_offer(struct drive *v, uint16_t idx)
{
	struct guest_buf b[8];
	unsigned nr = 1 + (unsigned)fuzz_take(1) % 7;
	unsigned nr_out = (unsigned)fuzz_take(1) % (nr + 1);
	for (unsigned i = 0; i < nr; i++)
		b[i] = (struct guest_buf){ fuzz_addr(), fuzz_len(), i >= nr_out };
	if (guest_add(&v->q[idx].ring, b, nr, fuzz_take(1) & 1) < 0)
		return; /* full: nothing was taken back for long */
	guest_show(&v->q[idx].ring);
	drive_kick(v, idx);
}

/* What the host answers next: a failure, or a few bytes less. */
static bool fuzz_host(const struct fake_op *o, int32_t *res, uint64_t *max)
{
	static const int32_t bad[] = { -EIO, -ENOSPC, -EINTR, -EAGAIN, -EINVAL, -EOPNOTSUPP, 0 };
	if (o->off == -1 && o->kind == FAKE_READ)
		return false; /* a doorbell */
	uint8_t how = (uint8_t)fuzz_take(1);
	if (how >= 240) {
		*res = bad[how % (sizeof(bad) / sizeof(bad[0]))];
		return true;
	}
	if (how >= 200)
		*max = 1 + fuzz_take(2);
	return false;
}

static void fuzz_take_used(struct drive *v)
{
	uint16_t head;
	uint32_t len;
	for (uint16_t q = 0; q < v->nr_queues; q++)
		while (drive_used(v, q, &head, &len))
			;
}

/* What every device's driver can do. */
static void fuzz_move(struct drive *v)
{
	uint16_t idx = (uint16_t)(fuzz_take(1) % v->nr_queues);
	uint8_t buf[8] = { 0 };
	switch (fuzz_take(1) % 8) {
	case 0:
	case 1:
	case 2:
		fuzz_offer(v, idx);
		break;
	case 3:
		vdev_config_read(v->dev, (uint32_t)fuzz_take(1), buf, 1 + (fuzz_take(1) & 7));
		break;
	case 4:
		buf[0] = (uint8_t)fuzz_take(1);
		vdev_config_write(v->dev, (uint32_t)fuzz_take(1), buf, 1 + (fuzz_take(1) & 7));
		break;
	case 5:
		if (fuzz_take(1) < 32) {
			drive_queue_reset(v, idx);
			drive_queue_up(v, idx);
		}
		break;
	default:
		fake_pass();
		fuzz_take_used(v);
	}
}

/* All of the input, and then a reset, which every device must be able to finish. */
static void fuzz_play(struct drive *v, uint64_t features, void (*own_move)(struct drive *v))
{
	fake_forget();
	drive_up(v, features);
	fake_hook = fuzz_host;
	while (fuzz_at < fuzz_end && !drive_needs_reset(v)) {
		if (own_move && fuzz_take(1) < 128)
			own_move(v);
		else
			fuzz_move(v);
	}
	fake_hook = NULL;
	drive_reset(v);
}

/* Operations that are still under way, doorbells apart. */
static unsigned fuzz_pending(void)
{
	return fake_waiting(FAKE_WRITE) + fake_waiting(FAKE_SYNC) + fake_waiting(FAKE_ALLOC) +
	       fake_waiting(FAKE_POLL);
}

#endif
