/*
 * box.h - a VM of 128 KiB for a few instructions, with a device that notes what it is told.
 *
 * Layer:   tests
 * Threads: the test's; box_start() adds one for a vCPU.
 * Errors:  an assertion fails the test.
 * Spec:    none.
 */
#ifndef TESTS_ARCH_BOX_H
#define TESTS_ARCH_BOX_H
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "arch/hv.h"
#include "bus/bus.h"
#include "mem/gmem.h"
#include "sync/thread.h"

#define BOX_DEVICE    "/dev/kvm"
#define BOX_RAM_BYTES 0x20000ull
#define BOX_CODE      0x1000ull  /* where code is put, and where it begins */
#define BOX_MMIO      0x30000ull /* 128 KiB that the noting device answers, as it does all ports */
#define BOX_MMIO_LEN  0x20000ull
#define BOX_END_PORT  0xf4 /* a write here ends the writer's run, another's at its next exit */
#define BOX_NOTES     64

/* Code of a guest, assembled with the test: GUEST(spin, 16, "1: jmp 1b"). */
#define GUEST(name, bits, body)                                                                    \
	extern const uint8_t guest_##name[], guest_##name##_end[];                                 \
	__asm__(".pushsection .rodata\n.globl guest_" #name ", guest_" #name "_end\n"              \
		".code" #bits "\nguest_" #name ":\n" body "\nguest_" #name "_end:\n"               \
		".code64\n.popsection\n")
#define BOX_LOAD(b, name, at) box_load(b, guest_##name, guest_##name##_end, at)

struct box_note {
	enum bus_space space;
	bool is_write;
	uint64_t addr, value;
	unsigned len;
};

struct box_cpu {
	struct box *box;
	struct vcpu *vcpu;
	struct thread *thread;
	enum vcpu_exit exit;
};

struct box {
	struct hv *hv;
	struct gmem *mem;
	struct bus *pio, *mmio;
	struct box_cpu cpu[2];
	/* written by vCPU threads, one at a time; the count is released last */
	struct box_note notes[BOX_NOTES];
	_Atomic unsigned nr_notes;
};

/* Skips the whole program without a hypervisor. */
void box_need_kvm(void);
/* A box of one vCPU that will run 16-bit code at BOX_CODE; box_close() frees. */
struct box *box_open(void);
void box_close(struct box *b);
/* A second vCPU, which waits for SIPI. */
void box_add_cpu(struct box *b);
void box_load(struct box *b, const uint8_t *code, const uint8_t *end, uint64_t at);
/* Start as a kernel is started: 64-bit or PVH entry at BOX_CODE. */
void box_boot(struct box *b, bool is_pvh);

/* Run vCPU 0 on this thread. */
enum vcpu_exit box_run(struct box *b);
/* Run vCPU @i on a thread of its own, stop it, wait for it. */
void box_start(struct box *b, unsigned i);
enum vcpu_exit box_stop(struct box *b, unsigned i);
enum vcpu_exit box_join(struct box *b, unsigned i);
/* Wait until @n accesses were noted. Fails after some seconds. */
void box_wait_notes(struct box *b, unsigned n);
/* Note @i was a write of @value at @addr. */
void box_assert_wrote(const struct box *b, unsigned i, uint64_t addr, uint64_t value, unsigned len);

#endif
