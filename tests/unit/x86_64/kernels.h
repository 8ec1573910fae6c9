/*
 * kernels.h - small kernels made in memory, sound until a test patches them; a board to load them.
 *
 * Layer:   tests
 * Threads: the test's only.
 * Errors:  a failing set-up step fails the test.
 * Spec:    none.
 */
#ifndef TESTS_KERNELS_H
#define TESTS_KERNELS_H
#include <elf.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <asm/bootparam.h>
#include "arch/machine.h"
#include "arch/x86_64/layout.h"
#include "base/num.h"

/* The layout of the ELF file: two segments, a PVH note, a note of Linux that is spelled wrong. */
struct test_elf {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[3];
	uint8_t pad[4];
	struct {
		Elf64_Nhdr n;
		char name[8];
		uint8_t desc[8];
	} linux_note; /* "Limux" until a test writes the n */
	struct {
		Elf64_Nhdr n;
		char name[4];
		uint8_t desc[8];
	} pvh_note; /* "Xem" until a test writes the n */
	uint8_t text[64];
	uint8_t data[32];
};
static_assert(sizeof(struct test_elf) == offsetof(struct test_elf, data) + 32, "no padding behind");
#define TEST_ELF_TEXT  0x1000000ull
#define TEST_ELF_DATA  0x1200000ull
#define TEST_ELF_END   0x1210000ull /* data with its zeroed rest */
#define TEST_ELF_ENTRY (TEST_ELF_TEXT + 0x10)
#define TEST_ELF_PVH   (TEST_ELF_TEXT + 0x20)
void test_elf_make(struct test_elf *e);
/* Give it the note that a test wants: as found in a Linux kernel, or by a PVH loader. */
void test_elf_be_linux(struct test_elf *e);
void test_elf_be_pvh(struct test_elf *e);

/* The bzImage: one boot sector, four of set-up code, 4 KiB of kernel. */
struct test_bzimage {
	uint8_t sector[0x1f1];
	struct setup_header hdr;
	uint8_t setup[5 * 512 - 0x1f1 - sizeof(struct setup_header)];
	uint8_t code[4096];
};
#define TEST_BZIMAGE_START 0x1000000ull
#define TEST_BZIMAGE_INIT  0x300000ull
void test_bzimage_make(struct test_bzimage *z);

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
void test_board_drop(struct test_board *t);
/* @len bytes of its RAM at @addr. */
const void *test_at(const struct test_board *t, uint64_t addr, size_t len);
/* The sum of @len bytes, modulo 256. */
uint8_t test_sum(const void *p, size_t len);
/* The address of the ACPI table @signature, found through the RSDP; 0: none. */
uint64_t test_acpi_table(const struct test_board *t, const char *signature);

#endif
