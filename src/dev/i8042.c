/*
 * i8042.c - keyboard controller without keyboard and mouse; see dev/platform.h.
 *
 * Spec: IBM PC AT Technical Reference, keyboard controller. What guests use it for is command 0xfe.
 * It raises no interrupts: there is no device that could send.
 */
#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include "byte_io.h"
#include "dev/platform.h"
#include "sync/mutex.h"

#define I8042_STATUS_FULL    0x01 /* a byte waits at the data port */
#define I8042_STATUS_SYSTEM  0x04 /* self test passed */
#define I8042_STATUS_COMMAND 0x08 /* the last write was a command */
#define I8042_STATUS_UNLOCK  0x10 /* no keyboard lock */
#define I8042_STATUS_AUX     0x20 /* the byte is the mouse's */
#define I8042_STATUS_TIMEOUT 0x40 /* the device did not answer */

#define I8042_CONFIG_SYSTEM   0x04
#define I8042_CONFIG_NO_KBD   0x10
#define I8042_CONFIG_NO_AUX   0x20
#define I8042_OUTPUT_NO_RESET 0x01 /* of the output port: low resets */
#define I8042_OUTPUT_A20      0x02
#define I8042_SELF_TEST_OK    0x55
#define I8042_PORT_OK         0x00
#define I8042_PORT_ABSENT     0x02 /* clock line stuck high */
#define I8042_RESEND          0xfe /* what a host makes of a device that does not answer */

struct i8042 {
	/* immutable after create */
	struct machine_sink sink;
	struct mutex lock;
	/* under lock */
	uint8_t status, out, config, output_port;
	uint8_t pending; /* command that waits for its data byte; 0: none */
};

static void i8042_put(struct i8042 *k, uint8_t v, uint8_t flags)
{
	k->out = v;
	k->status &= (uint8_t) ~(I8042_STATUS_AUX | I8042_STATUS_TIMEOUT);
	k->status |= I8042_STATUS_FULL | flags;
}

static void i8042_reset_machine(struct i8042 *k)
{
	k->sink.event(k->sink.ctx, MACHINE_RESET);
}

static void i8042_read_config(struct i8042 *k, uint8_t v)
{
	(void)v;
	i8042_put(k, k->config, 0);
}

static void i8042_want_data(struct i8042 *k, uint8_t v)
{
	k->pending = v;
}

static void i8042_switch_port(struct i8042 *k, uint8_t v)
{
	uint8_t bit = v >= 0xad ? I8042_CONFIG_NO_KBD : I8042_CONFIG_NO_AUX;
	bool is_off = v == 0xad || v == 0xa7;
	k->config = (uint8_t)(is_off ? k->config | bit : k->config & ~bit);
}

static void i8042_test(struct i8042 *k, uint8_t v)
{
	static const uint8_t answers[] = { I8042_PORT_ABSENT, I8042_SELF_TEST_OK, I8042_PORT_OK };
	i8042_put(k, answers[v - 0xa9], 0); /* 0xa9: mouse, 0xaa: itself, 0xab: keyboard */
	if (v == 0xaa) {
		k->config |= I8042_CONFIG_SYSTEM;
		k->status |= I8042_STATUS_SYSTEM;
	}
}

static void i8042_read_output(struct i8042 *k, uint8_t v)
{
	(void)v;
	i8042_put(k, k->output_port, 0);
}

/* Commands 0xf0 to 0xff pull the output lines low whose bit is 0. */
static void i8042_pulse(struct i8042 *k, uint8_t v)
{
	if (!(v & I8042_OUTPUT_NO_RESET))
		i8042_reset_machine(k);
}

static const struct i8042_command {
	uint8_t first, last;
	void (*run)(struct i8042 *k, uint8_t v);
} i8042_commands[] = {
	{ 0x20, 0x20, i8042_read_config }, { 0x60, 0x60, i8042_want_data },
	{ 0xa7, 0xa8, i8042_switch_port }, { 0xa9, 0xab, i8042_test },
	{ 0xad, 0xae, i8042_switch_port }, { 0xd0, 0xd0, i8042_read_output },
	{ 0xd1, 0xd4, i8042_want_data },   { 0xf0, 0xff, i8042_pulse },
};

static void i8042_write_output(struct i8042 *k, uint8_t v)
{
	k->output_port = v;
	if (!(v & I8042_OUTPUT_NO_RESET))
		i8042_reset_machine(k);
}

/* A byte for the command before it, or for the keyboard that is not there. */
static void i8042_take_data(struct i8042 *k, uint8_t v)
{
	uint8_t command = k->pending;
	k->pending = 0;
	switch (command) {
	case 0x60:
		k->config = v;
		break;
	case 0xd1:
		i8042_write_output(k, v);
		break;
	case 0xd2:
	case 0xd3: /* loops back as the keyboard's: that is how one learns that there is no mouse */
		i8042_put(k, v, 0);
		break;
	case 0xd4:
		i8042_put(k, I8042_RESEND, I8042_STATUS_AUX | I8042_STATUS_TIMEOUT);
		break;
	default:
		i8042_put(k, I8042_RESEND, I8042_STATUS_TIMEOUT);
	}
}

static void i8042_take_command(struct i8042 *k, uint8_t v)
{
	k->pending = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(i8042_commands); i++)
		if (v >= i8042_commands[i].first && v <= i8042_commands[i].last)
			i8042_commands[i].run(k, v);
}

/* --- ports --- */

static uint8_t i8042_read_data(void *ctx, unsigned reg)
{
	struct i8042 *k = ctx;
	(void)reg;
	mutex_lock(&k->lock);
	uint8_t v = k->out;
	k->status &= (uint8_t) ~(I8042_STATUS_FULL | I8042_STATUS_AUX | I8042_STATUS_TIMEOUT);
	mutex_unlock(&k->lock);
	return v;
}

static void i8042_write_data(void *ctx, unsigned reg, uint8_t v)
{
	struct i8042 *k = ctx;
	(void)reg;
	mutex_lock(&k->lock);
	k->status &= (uint8_t)~I8042_STATUS_COMMAND;
	i8042_take_data(k, v);
	mutex_unlock(&k->lock);
}

static uint8_t i8042_read_status(void *ctx, unsigned reg)
{
	struct i8042 *k = ctx;
	(void)reg;
	mutex_lock_shared(&k->lock);
	uint8_t v = k->status;
	mutex_unlock_shared(&k->lock);
	return v;
}

static void i8042_write_command(void *ctx, unsigned reg, uint8_t v)
{
	struct i8042 *k = ctx;
	(void)reg;
	mutex_lock(&k->lock);
	k->status |= I8042_STATUS_COMMAND;
	i8042_take_command(k, v);
	mutex_unlock(&k->lock);
}

static void i8042_data_read(void *ctx, uint64_t offset, void *data, unsigned len)
{
	byte_io_read(ctx, offset, data, len, i8042_read_data);
}

static void i8042_data_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	byte_io_write(ctx, offset, data, len, i8042_write_data);
}

static void i8042_command_read(void *ctx, uint64_t offset, void *data, unsigned len)
{
	byte_io_read(ctx, offset, data, len, i8042_read_status);
}

static void i8042_command_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	byte_io_write(ctx, offset, data, len, i8042_write_command);
}

const struct bus_ops i8042_data_bus_ops = {
	.name = "i8042 data",
	.read = i8042_data_read,
	.write = i8042_data_write,
};

const struct bus_ops i8042_command_bus_ops = {
	.name = "i8042 command",
	.read = i8042_command_read,
	.write = i8042_command_write,
};

int i8042_create(struct i8042 **out, const struct machine_sink *sink)
{
	struct i8042 *k = aligned_alloc(alignof(struct i8042), sizeof(*k));
	if (!k)
		return -ENOMEM;
	memset(k, 0, sizeof(*k));
	k->sink = *sink;
	k->status = I8042_STATUS_SYSTEM | I8042_STATUS_UNLOCK;
	k->config = I8042_CONFIG_SYSTEM | I8042_CONFIG_NO_AUX;
	k->output_port = I8042_OUTPUT_NO_RESET | I8042_OUTPUT_A20;
	mutex_init(&k->lock);
	*out = k;
	return 0;
}

void i8042_destroy(struct i8042 *k)
{
	if (!k)
		return;
	mutex_fini(&k->lock);
	free(k);
}
