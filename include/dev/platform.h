/*
 * platform.h - what is not virtio: UART, clock, keyboard controller, power management, PCI bridge.
 *
 * Layer:   dev
 * Threads: create and destroy on the control thread; the bus handlers run on vCPU threads; serial
 *          input and output run on the given reactor's thread.
 * Errors:  negative errno; nothing is kept on failure.
 * Spec:    at each device.
 */
#ifndef DEV_PLATFORM_H
#define DEV_PLATFORM_H
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "bus/bus.h"
#include "bus/irq.h"
#include "bus/pci.h"
#include "iouring/reactor.h"

/* What a guest can ask of the machine as a whole. On vCPU threads, perhaps with a lock of the
 * device held and more than once: note it, wake somebody, return. */
enum machine_event { MACHINE_POWEROFF, MACHINE_RESET };
struct machine_sink {
	void (*event)(void *ctx, enum machine_event ev);
	void *ctx;
};

/*
 * 16550A UART (src/dev/serial.c). 8 registers. Output leaves through a ring buffer that the reactor
 * drains to @out_fd: a vCPU never writes to a file. While the buffer is full the transmitter is
 * not empty, so the guest waits; nothing is lost but what a terminal gets that nobody has open
 * (dev/pty.h).
 */
struct serial; /* from serial_create() to serial_destroy() */
struct serial_config {
	struct reactor *reactor;
	int in_fd, out_fd; /* not owned; -1: none (output is dropped) */
	struct irq_line irq;
};
extern const struct bus_ops serial_bus_ops;
MUST_CHECK int serial_create(struct serial **out, const struct serial_config *cfg);
/* Begin to read input. Any thread, once the reactor runs or will. */
void serial_start(struct serial *s);
/*
 * Stop input, wait until output was written or @drain_ns passed; then drop what is left, which
 * takes a moment. The guest is out of it, the reactor still runs; not on its thread. Once, before
 * serial_destroy(), if it was started. False: after @abort_ns more the host was still inside a
 * write, as of a file whose server does not answer. Nothing ends that: @s, its reactor, and what
 * its interrupt goes to have to stay.
 */
MUST_CHECK bool serial_stop(struct serial *s, uint64_t drain_ns, uint64_t abort_ns);
void serial_destroy(struct serial *s);

/*
 * MC146818 clock and CMOS memory (src/dev/rtc.c), index and data port; UTC of the host. Flags are
 * derived from the time when they are read; a timer on the reactor serves the interrupts.
 */
struct rtc;
struct rtc_config {
	uint64_t low_ram_bytes, high_ram_bytes; /* below and above 4 GiB, for the size registers */
	struct irq_line irq;
	struct reactor *reactor;       /* NULL: no interrupts */
	uint64_t (*now_ns)(void *ctx); /* UTC; NULL: CLOCK_REALTIME */
	void *now_ctx;
};
extern const struct bus_ops rtc_bus_ops;
MUST_CHECK int rtc_create(struct rtc **out, const struct rtc_config *cfg);
/* The guest is out of it, the reactor still runs; not on its thread. NULL is fine. */
void rtc_destroy(struct rtc *r);

/* i8042 (src/dev/i8042.c): no keyboard; 0xfe to the command port resets the machine. */
struct i8042;
extern const struct bus_ops i8042_data_bus_ops, i8042_command_bus_ops; /* ports 0x60 and 0x64 */
MUST_CHECK int i8042_create(struct i8042 **out, const struct machine_sink *sink);
void i8042_destroy(struct i8042 *k);

/*
 * ACPI fixed hardware (src/dev/acpi_pm.c): PM1a event and control blocks, PM timer. One 16-byte
 * block: event +0, control +4, timer +8.
 */
struct acpi_pm;
struct acpi_pm_config {
	struct machine_sink sink;
	struct irq_line sci;
	uint8_t s5_slp_typ;
	uint64_t (*now_ns)(void *ctx); /* monotonic; NULL: CLOCK_MONOTONIC */
	void *now_ctx;
};
extern const struct bus_ops acpi_pm_bus_ops;
MUST_CHECK int acpi_pm_create(struct acpi_pm **out, const struct acpi_pm_config *cfg);
/* Press the power button: an SCI, if the guest wants one. Any thread. */
void acpi_pm_press_power(struct acpi_pm *p);
void acpi_pm_destroy(struct acpi_pm *p);

/*
 * PCI host bridge (src/dev/pci_root.c): function 00:00.0 and the two roads into configuration
 * space. @ctx of the handlers is the struct pci_root. A byte written to 0xcf9 is the reset control
 * register of real chipsets: bit 2 resets.
 */
struct pci_root;
extern const struct bus_ops pci_root_cf8_bus_ops;  /* 8 ports from 0xcf8, reset register included */
extern const struct bus_ops pci_root_ecam_bus_ops; /* 4 KiB a function */
MUST_CHECK int pci_root_create(struct pci_root **out, struct pci_bus *bus,
			       const struct machine_sink *sink);
void pci_root_destroy(struct pci_root *r);

#endif
