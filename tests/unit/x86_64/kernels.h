/*
 * kernels.h - a board to load kernels, and what came of it.
 *
 * Layer:   tests
 * Threads: the test's only.
 * Errors:  a failing set-up step fails the test.
 * Spec:    none.
 */
#ifndef TESTS_KERNELS_H
#define TESTS_KERNELS_H
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "arch/machine.h"
#include "arch/x86_64/layout.h"
#include "base/num.h"
#include "support/kernel_files.h"

/* A file that holds @len bytes; the test closes it. */
int test_file(const void *bytes, size_t len);

/* One change of a file, and the answer it must get. */
struct test_patch {
	size_t off;
	unsigned len; /* 0: no change */
	uint64_t value;
};
struct test_broken {
	const char *what;
	struct test_patch p[3];
	int err;
	const char *why; /* part of the reason */
};
/* Write the patches of @row into the @len bytes at @file, probe it, compare the answer. */
void test_expect_refusal(const struct test_broken *row, const void *file, size_t len);

/* What hv_map_rom() was called with, and what it is to answer. */
struct test_rom {
	uint64_t start, len;
	const uint8_t *host;
	int answer;
};
extern struct test_rom test_rom;

/* A board with RAM, and a boot of @fd filled in. */
struct test_board {
	struct gmem *ram;
	struct kernel_info kernel;
	struct pci_windows pci;
	struct machine_boot boot;
};
void test_board_make(struct test_board *t, uint64_t ram_bytes, int kernel_fd);
/* The same, with the kernel of test_elf_make(). */
void test_board_make_elf(struct test_board *t, uint64_t ram_bytes);
/* Load its kernel or firmware, which must succeed. */
void test_board_load(struct test_board *t);
void test_board_drop(struct test_board *t);
/* @len bytes of its RAM at @addr. */
const void *test_at(const struct test_board *t, uint64_t addr, size_t len);
/* The sum of @len bytes, modulo 256. */
uint8_t test_sum(const void *p, size_t len);
/* The address of the ACPI table @signature, found through the RSDP; 0: none. */
uint64_t test_acpi_table(const struct test_board *t, const char *signature);

#endif
