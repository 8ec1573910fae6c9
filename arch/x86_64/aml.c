/* aml.c - ACPI machine language. ACPI 6.5 §20.2. */
#include "aml.h"

enum {
	AML_ZERO = 0x00,
	AML_ONE = 0x01,
	AML_NAME = 0x08,
	AML_BYTE = 0x0a,
	AML_WORD = 0x0b,
	AML_DWORD = 0x0c,
	AML_STRING = 0x0d,
	AML_QWORD = 0x0e,
	AML_SCOPE = 0x10,
	AML_BUFFER = 0x11,
	AML_PACKAGE = 0x12,
	AML_EXT = 0x5b,
	AML_EXT_DEVICE = 0x82,
};

/* PkgLength is written in its three-byte form throughout: 20 bits. §20.2.4. */
#define AML_PKG_BYTES 3u
#define AML_PKG_MAX   (1u << 20)

static size_t aml_open(struct blob *t)
{
	size_t mark = t->len;
	blob_add(t, AML_PKG_BYTES);
	return mark;
}

void aml_close(struct blob *t, size_t mark)
{
	size_t len = t->len - mark; /* counts itself */
	BUG_ON(len >= AML_PKG_MAX);
	t->bytes[mark] = (uint8_t)((AML_PKG_BYTES - 1) << 6 | (len & 0xf));
	t->bytes[mark + 1] = (uint8_t)(len >> 4);
	t->bytes[mark + 2] = (uint8_t)(len >> 12);
}

static void aml_put_name(struct blob *t, const char *name)
{
	size_t len = strlen(name);
	BUG_ON(len != 4 && !(len == 5 && name[0] == '\\'));
	blob_put(t, name, len);
}

size_t aml_open_scope(struct blob *t, const char *name)
{
	blob_int(t, AML_SCOPE, 1);
	size_t mark = aml_open(t);
	aml_put_name(t, name);
	return mark;
}

size_t aml_open_device(struct blob *t, const char *name)
{
	blob_int(t, AML_EXT, 1);
	blob_int(t, AML_EXT_DEVICE, 1);
	size_t mark = aml_open(t);
	aml_put_name(t, name);
	return mark;
}

size_t aml_open_package(struct blob *t, uint8_t nr)
{
	blob_int(t, AML_PACKAGE, 1);
	size_t mark = aml_open(t);
	blob_int(t, nr, 1);
	return mark;
}

void aml_name(struct blob *t, const char *name)
{
	blob_int(t, AML_NAME, 1);
	aml_put_name(t, name);
}

void aml_int(struct blob *t, uint64_t v)
{
	if (v <= AML_ONE) {
		blob_int(t, v ? AML_ONE : AML_ZERO, 1);
		return;
	}
	static const struct {
		uint64_t max;
		uint8_t op, len;
	} forms[] = {
		{ UINT8_MAX, AML_BYTE, 1 },
		{ UINT16_MAX, AML_WORD, 2 },
		{ UINT32_MAX, AML_DWORD, 4 },
		{ UINT64_MAX, AML_QWORD, 8 },
	};
	unsigned i = 0;
	while (v > forms[i].max)
		i++;
	blob_int(t, forms[i].op, 1);
	blob_int(t, v, forms[i].len);
}

void aml_string(struct blob *t, const char *s)
{
	blob_int(t, AML_STRING, 1);
	blob_put(t, s, strlen(s) + 1);
}

/* A hexadecimal digit in capitals. */
static unsigned aml_hex(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10) & 0xf;
}

void aml_eisaid(struct blob *t, const char *id)
{
	BUG_ON(strlen(id) != 7);
	unsigned letters = 0, digits = 0;
	for (unsigned i = 0; i < 3; i++)
		letters = letters << 5 | ((unsigned)(id[i] - '@') & 0x1f);
	for (unsigned i = 3; i < 7; i++)
		digits = digits << 4 | aml_hex(id[i]);
	/* Big-endian: three letters of five bits each, then the product's four digits. */
	uint8_t be[4] = { (uint8_t)(letters >> 8), (uint8_t)letters, (uint8_t)(digits >> 8),
			  (uint8_t)digits };
	blob_int(t, AML_DWORD, 1);
	blob_put(t, be, sizeof(be));
}

/* --- resources. §6.4 --- */

struct aml_crs aml_open_crs(struct blob *t)
{
	aml_name(t, "_CRS");
	blob_int(t, AML_BUFFER, 1);
	struct aml_crs c = { .buffer = aml_open(t) };
	blob_int(t, AML_WORD, 1);
	c.size = t->len;
	blob_add(t, 2);
	return c;
}

void aml_close_crs(struct blob *t, struct aml_crs c)
{
	static const uint8_t end_tag[] = { 0x79, 0 }; /* checksum 0: "assume it is right" */
	blob_put(t, end_tag, sizeof(end_tag));
	le_store(t->bytes + c.size, t->len - (c.size + 2), 2);
	aml_close(t, c.buffer);
}

void aml_io(struct blob *t, uint16_t port, uint8_t len)
{
	blob_int(t, 0x47, 1); /* §6.4.2.5 */
	blob_int(t, 1, 1);    /* 16-bit decode */
	blob_int(t, port, 2);
	blob_int(t, port, 2);
	blob_int(t, 1, 1);
	blob_int(t, len, 1);
}

void aml_irq(struct blob *t, unsigned irq)
{
	blob_int(t, 0x22, 1); /* §6.4.2.1, without flags */
	blob_int(t, 1u << irq, 2);
}

void aml_memory32(struct blob *t, uint32_t start, uint32_t len)
{
	blob_int(t, 0x86, 1); /* §6.4.3.4 */
	blob_int(t, 9, 2);
	blob_int(t, 1, 1); /* read and write */
	blob_int(t, start, 4);
	blob_int(t, len, 4);
}

/* Address space descriptors, §6.4.3.5. */
enum aml_space { AML_SPACE_MEMORY = 0, AML_SPACE_IO = 1, AML_SPACE_BUS = 2 };

static void aml_window(struct blob *t, enum aml_space space, unsigned width, uint64_t start,
		       uint64_t len)
{
	/* Read-write and not cacheable, the entire range, or nothing for bus numbers. */
	static const uint8_t flags[] = { 0x01, 0x03, 0x00 };
	if (len == 0)
		return;
	blob_int(t, width == 2 ? 0x88 : width == 4 ? 0x87 : 0x8a, 1);
	blob_int(t, 3 + 5 * width, 2);
	blob_int(t, space, 1);
	blob_int(t, 0x0c, 1); /* both ends are fixed; produced; positive decode */
	blob_int(t, flags[space], 1);
	blob_int(t, 0, width); /* granularity */
	blob_int(t, start, width);
	blob_int(t, start + (len - 1), width);
	blob_int(t, 0, width); /* translation */
	blob_int(t, len, width);
}

void aml_window_bus(struct blob *t, uint16_t first, uint16_t last)
{
	aml_window(t, AML_SPACE_BUS, 2, first, (uint64_t)last - first + 1);
}

void aml_window_io(struct blob *t, uint16_t start, uint16_t len)
{
	aml_window(t, AML_SPACE_IO, 2, start, len);
}

void aml_window_memory32(struct blob *t, uint32_t start, uint32_t len)
{
	aml_window(t, AML_SPACE_MEMORY, 4, start, len);
}

void aml_window_memory64(struct blob *t, uint64_t start, uint64_t len)
{
	aml_window(t, AML_SPACE_MEMORY, 8, start, len);
}
