/*
 * lines.h - a console under load: numbered lines out, a known stream in, on one port or on several.
 * VIRTIO 1.2 §5.3.
 *
 * A line has 16 bytes: the letter of its port, its number, a line feed. Byte n of a known stream is
 * lines_byte(n). The host looks at what came out; what came in is compared here, or goes out again
 * on the next port, where the host looks at it.
 */
#ifndef GUEST_LINES_H
#define GUEST_LINES_H
#include <stdbool.h>
#include "ring.h"
#include "test.h"
#include "virtio.h"
#include "waits.h"

#define LINES_PORTS 3
#define LINES_SLOTS 4
#define LINES_BYTES 64 /* of a buffer */

struct lines_slot {
	uint8_t *data;
	uint16_t head;
	bool is_busy;
};

struct lines_port {
	struct ring in, out;
	char letter;
	bool is_known;     /* its input is compared; else it goes out on the port after */
	uint64_t next, at; /* line, byte of the stream */
	unsigned busy;     /* lines under way, and echoes */
	struct lines_slot outs[LINES_SLOTS], ins[LINES_SLOTS];
	uint64_t next_us;          /* not before */
	struct lines_port *source; /* whose input comes out here; then there are no lines */
	uint64_t until;            /* byte of its input: there lines_have_input() */
};

struct lines {
	struct virtio dev;
	struct ring ctrl_in, ctrl_out;
	unsigned nr_ports;
	struct lines_port ports[LINES_PORTS];
	struct lines_slot news[LINES_SLOTS]; /* buffers for messages of the device */
	unsigned told[LINES_PORTS];          /* bit n: event n came */
	struct waits waits;                  /* for output */
	const char *why;                     /* NULL: fine */
};

/* The console: its first port alone, or all of them, opened. SKIP: there is none such. */
enum verdict lines_open(struct lines *l, bool is_multiport);
/* One round. @goes_on: offer more. */
void lines_turn(struct lines *l, bool goes_on);
/* Is nothing under way but buffers for input? */
bool lines_are_done(const struct lines *l);
/* From here on every port with input is to get some more: as much as may be under way, and a byte.
 */
void lines_want_input(struct lines *l);
bool lines_have_input(const struct lines *l);
/* `info lines LETTER COUNT` for each port, `info input LETTER BYTES`. */
void lines_print(const struct lines *l);

#endif
