/*
 * kernel_files.h - small kernels made in memory, sound until a test patches them.
 *
 * Layer:   tests
 * Threads: no state.
 * Errors:  none.
 * Spec:    ELF-64; Linux x86 boot protocol.
 */
#ifndef TESTS_SUPPORT_KERNEL_FILES_H
#define TESTS_SUPPORT_KERNEL_FILES_H
#include <assert.h>
#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <asm/bootparam.h>

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

#endif
