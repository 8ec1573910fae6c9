/*
 * pci.h - one PCI function: configuration space, BARs, capabilities; and the slot it is put into.
 *
 * Layer:   bus
 * Threads: set-up on the control thread; configuration accesses from vCPUs lock inside (one lock a
 *          function). BAR handlers are called without that lock.
 * Errors:  negative errno. -ENOSPC: configuration space or address window full. -EINVAL: odd sizes.
 *          -EBUSY: slot taken.
 * Spec:    PCI 3.0 §6; PCI Express ECAM.
 */
#ifndef BUS_PCI_H
#define BUS_PCI_H
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "bus/bus.h"
#include "bus/doorbell.h"
#include "bus/irq.h"
#include "bus/msix.h"
#include "sync/mutex.h"

#define PCI_CONFIG_BYTES 4096
#define PCI_NR_BARS      6

struct pci_func;

/* What a function is told. All members may be NULL. */
struct pci_func_ops {
	/*
	 * BAR @bar answers at @addr from now on (@is_on), or no longer does. vCPU or control
	 * thread, under the function's lock, so take none that is held around pci_func_set_intx().
	 * Doorbells are (re)registered here.
	 */
	void (*bar_mapped)(struct pci_func *f, unsigned bar, uint64_t addr, bool is_on);
	/* The MSI-X enable bit, the function mask or INTx-disable changed. vCPU, no lock held. */
	void (*irq_mode_changed)(struct pci_func *f);
	/* pci_func_is_master() changed, and may have again. vCPU, no lock held. */
	void (*master_changed)(struct pci_func *f);
	/* After a driver wrote @len bytes at @off of a capability body. vCPU, no lock held. */
	void (*config_written)(struct pci_func *f, uint16_t off, unsigned len);
	/* Before the driver's read at @off of a capability body: refresh what stands there. vCPU,
	 * no lock held. */
	void (*config_reading)(struct pci_func *f, uint16_t off, unsigned len);
};

/* What identifies a function; sizes in bytes. */
struct pci_ident {
	uint16_t vendor, device, subvendor, subdevice;
	uint32_t class_code; /* 24 bits: class, subclass, interface */
	uint8_t revision;
	bool has_intx; /* interrupt pin A */
};

enum pci_bar_kind { PCI_BAR_MEM32, PCI_BAR_MEM64, PCI_BAR_MEM64_PREFETCH, PCI_BAR_IO };

struct pci_bar {
	uint64_t size, addr; /* addr: where it answers or would answer */
	enum pci_bar_kind kind;
	bool is_mapped;
	const struct bus_ops *ops;
	void *ctx;
};

/* What the machine gives a function when it is plugged. Immutable while plugged. */
struct pci_host {
	struct bus *mmio, *pio;
	const struct irq_chip *irq;
	const struct doorbell_chip *doorbell;
	/* msix_watch(); pci_bus_retry_irqs() is called some time after */
	void (*irq_refused)(void *ctx);
	void *ctx;
};

/* Embedded in the device; reached back through container_of(). */
struct pci_func {
	const struct pci_func_ops *ops;
	/* under lock */
	struct mutex lock;
	uint8_t config[PCI_CONFIG_BYTES];
	uint8_t writable[PCI_CONFIG_BYTES]; /* 1: the driver may write this bit */
	uint8_t write_clear[256];           /* 1: writing one clears this bit */
	struct pci_bar bars[PCI_NR_BARS];
	uint16_t next_cap, last_cap;  /* while being built: free byte, end of the chain */
	bool intx_level, intx_driven; /* what the device wants, what the line shows */
	bool is_plugged;
	/* immutable once plugged */
	const struct pci_host *host;
	struct irq_line intx;
	struct msix *msix;
	uint16_t msix_cap;
	uint16_t bdf; /* bus << 8 | device << 3 | function */
};

MUST_CHECK int pci_func_init(struct pci_func *f, const struct pci_ident *id,
			     const struct pci_func_ops *ops);
void pci_func_fini(struct pci_func *f);

/* @size a power of two (16 bytes or more for memory). A 64-bit BAR takes @bar and @bar+1. */
MUST_CHECK int pci_func_add_bar(struct pci_func *f, unsigned bar, enum pci_bar_kind kind,
				uint64_t size, const struct bus_ops *ops, void *ctx);

/*
 * Append capability @id with @len bytes of @body after the two header bytes; @writable (may be
 * NULL) has the driver-writable bits of the body. Returns the offset in configuration space.
 */
MUST_CHECK int pci_func_add_cap(struct pci_func *f, uint8_t id, const void *body,
				const void *writable, uint8_t len);

/*
 * Append an MSI-X capability for @nr_vectors with the table at @table_off and the PBA at @pba_off
 * of BAR @bar. The owner of the BAR forwards those accesses to f->msix, which exists from
 * pci_func_plug() to pci_func_fini().
 */
MUST_CHECK int pci_func_add_msix(struct pci_func *f, uint16_t nr_vectors, unsigned bar,
				 uint32_t table_off, uint32_t pba_off);

/* Called by pci_bus_add(): connect, create f->msix, map nothing yet. @host outlives @f. */
MUST_CHECK int pci_func_plug(struct pci_func *f, const struct pci_host *host, uint16_t bdf,
			     const struct irq_line *intx);
/* Give BAR @bar its first address (the firmware's part). */
void pci_func_set_bar(struct pci_func *f, unsigned bar, uint64_t addr);
/* Let BARs answer: set memory, I/O and bus-master enable (the firmware's part). */
void pci_func_enable(struct pci_func *f);
/* Let BARs answer that found their place taken. */
void pci_func_retry_bars(struct pci_func *f);
/* Withdraw all BARs, lower INTx, wait until no handler runs. Control thread. */
void pci_func_unplug(struct pci_func *f);

/* Guest configuration accesses; @off + @len <= PCI_CONFIG_BYTES, @len 1, 2 or 4. */
void pci_func_config_read(struct pci_func *f, uint16_t off, void *data, unsigned len);
void pci_func_config_write(struct pci_func *f, uint16_t off, const void *data, unsigned len);

/* May a write of [@off, @off+@len) have moved a BAR or switched it? */
bool pci_moves_bars(uint16_t off, unsigned len);

/* May the function reach memory, by its command register? Any thread. */
bool pci_func_is_master(struct pci_func *f);

/* Drive INTx; honours the INTx-disable bit and the interrupt status bit. Any thread. */
void pci_func_set_intx(struct pci_func *f, bool level);

/*
 * One bus of slots behind a host bridge. The bridge in src/dev serves CF8/CFC and ECAM from it;
 * address windows are handed out to BARs when a function is added.
 */
struct pci_bus; /* from pci_bus_create() to pci_bus_destroy() */

struct pci_windows {
	uint64_t mmio32_base, mmio32_len;
	uint64_t mmio64_base, mmio64_len;
	uint16_t io_base, io_len;
	uint32_t intx_gsi_base; /* slot s, pin A: intx_gsi_base + s % intx_gsi_count */
	uint32_t intx_gsi_count;
};

MUST_CHECK int pci_bus_create(struct pci_bus **out, const struct pci_host *host,
			      const struct pci_windows *w);
/* All functions but the host bridge's have been removed. */
void pci_bus_destroy(struct pci_bus *b);

/*
 * Plug @f into the lowest free slot (@slot < 0) or into @slot, assign its BARs, enable it.
 * Returns the slot. Control thread; the machine may be running.
 */
MUST_CHECK int pci_bus_add(struct pci_bus *b, struct pci_func *f, int slot);
/* Take @f out. When it returns no vCPU is inside @f. Control thread. */
void pci_bus_remove(struct pci_bus *b, struct pci_func *f);

/* Ask the host again for the interrupts that it refused to wire. True: it still does. */
bool pci_bus_retry_irqs(struct pci_bus *b);

/* Configuration access by bus/device/function: absent functions read as ones. vCPU threads. */
void pci_bus_config_read(struct pci_bus *b, uint16_t bdf, uint16_t off, void *data, unsigned len);
void pci_bus_config_write(struct pci_bus *b, uint16_t bdf, uint16_t off, const void *data,
			  unsigned len);

#endif
