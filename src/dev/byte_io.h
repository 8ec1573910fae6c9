/*
 * byte_io.h - wide accesses to devices whose registers are bytes: one register after the other.
 *
 * Layer:   dev, private
 * Threads: none of its own.
 * Errors:  none.
 * Spec:    ISA: a 16-bit cycle to an 8-bit device becomes two 8-bit cycles.
 */
#ifndef DEV_BYTE_IO_H
#define DEV_BYTE_IO_H
#include <stdint.h>

static inline void byte_io_read(void *ctx, uint64_t offset, void *data, unsigned len,
				uint8_t (*read)(void *ctx, unsigned reg))
{
	for (unsigned i = 0; i < len; i++)
		((uint8_t *)data)[i] = read(ctx, (unsigned)offset + i);
}

static inline void byte_io_write(void *ctx, uint64_t offset, const void *data, unsigned len,
				 void (*write)(void *ctx, unsigned reg, uint8_t v))
{
	for (unsigned i = 0; i < len; i++)
		write(ctx, (unsigned)offset + i, ((const uint8_t *)data)[i]);
}

#endif
