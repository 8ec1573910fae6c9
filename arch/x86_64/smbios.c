/*
 * smbios.c - what dmidecode shows: firmware, system, processors, memory. DMTF DSP0134 3.2.
 *
 * The 64-bit entry point at LAYOUT_SMBIOS, the structures behind it.
 */
#include <stdio.h>
#include "base/num.h"
#include "boot_priv.h"
#include "topology.h"

#define SMBIOS_VENDOR  "VMM"
#define SMBIOS_PRODUCT "VMM virtual machine"
#define SMBIOS_UNKNOWN 2u /* in most of the enumerations */

/* Handles: structures refer to each other by them. */
enum smbios_handle {
	SMBIOS_H_FIRMWARE = 0x000,
	SMBIOS_H_SYSTEM = 0x100,
	SMBIOS_H_CHASSIS = 0x300,
	SMBIOS_H_CPU = 0x400,
	SMBIOS_H_ARRAY = 0x1000,
	SMBIOS_H_DEVICE = 0x1100,
	SMBIOS_H_MAPPED = 0x1300,
	SMBIOS_H_BOOT = 0x2000,
	SMBIOS_H_END = 0x7f00,
	SMBIOS_H_NONE = 0xfffe,
};

struct smbios_entry {
	char anchor[5];
	uint8_t checksum, length, major, minor, docrev, revision, reserved;
	le32_t max_bytes;
	le64_t table;
};
static_assert(sizeof(struct smbios_entry) == 24, "DSP0134 §5.2.2");

/* A structure of type @type with @len formatted bytes, zeroed but for its header. */
static uint8_t *smbios_add(struct blob *t, uint8_t type, uint8_t len, uint16_t handle)
{
	uint8_t *s = blob_add(t, len);
	s[0] = type;
	s[1] = len;
	le_store(s + 2, handle, 2);
	return s;
}

/* The strings after the formatted part, numbered from 1; ended by an empty one. §6.1.3. */
static void smbios_strings(struct blob *t, const char *const *strings)
{
	if (!*strings)
		blob_int(t, 0, 1);
	for (; *strings; strings++)
		blob_put(t, *strings, strlen(*strings) + 1);
	blob_int(t, 0, 1);
}
#define STRINGS(...) ((const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

static void smbios_firmware(struct blob *t) /* §7.1 */
{
	uint8_t *s = smbios_add(t, 0, 26, SMBIOS_H_FIRMWARE);
	s[0x04] = 1; /* vendor */
	s[0x05] = 2; /* version */
	le_store(s + 0x06, LAYOUT_ACPI >> 4, 2);
	s[0x08] = 3;                                  /* date */
	le_store(s + 0x0a, 1u << 3, 8);               /* characteristics are not supported */
	s[0x13] = 1u << 4;                            /* a virtual machine */
	s[0x14] = s[0x15] = s[0x16] = s[0x17] = 0xff; /* releases: none */
	smbios_strings(t, STRINGS(SMBIOS_VENDOR, VMM_VERSION, "01/01/2024"));
}

static void smbios_system(struct blob *t) /* §7.2; the UUID is "not present", all zeros */
{
	uint8_t *s = smbios_add(t, 1, 27, SMBIOS_H_SYSTEM);
	s[0x04] = 1; /* manufacturer */
	s[0x05] = 2; /* product */
	s[0x06] = 3; /* version */
	s[0x18] = 6; /* woken by the power switch */
	smbios_strings(t, STRINGS(SMBIOS_VENDOR, SMBIOS_PRODUCT, VMM_VERSION));
}

static void smbios_chassis(struct blob *t) /* §7.4 */
{
	uint8_t *s = smbios_add(t, 3, 22, SMBIOS_H_CHASSIS);
	s[0x04] = 1;
	s[0x05] = 1;                     /* type: other */
	s[0x09] = s[0x0a] = s[0x0b] = 3; /* states: safe */
	s[0x0c] = 3;                     /* security: none */
	smbios_strings(t, STRINGS(SMBIOS_VENDOR));
}

/* §7.5: one for each socket */
static void smbios_cpu(struct blob *t, const struct x86_topology *x, unsigned socket)
{
	unsigned threads = x86_package_cpus(x), cores = x->cores * x->dies;
	uint8_t *s = smbios_add(t, 4, 48, (uint16_t)(SMBIOS_H_CPU + socket));
	char name[16];
	(void)snprintf(name, sizeof(name), "CPU %u", socket); /* fits */
	s[0x04] = 1;                                          /* socket */
	s[0x05] = 3;                                          /* a central processor */
	s[0x06] = 1;                                          /* family: other */
	s[0x07] = 2;                                          /* manufacturer */
	s[0x18] = 0x41;                                       /* populated, enabled */
	s[0x19] = 1;                                          /* socket type: other */
	le_store(s + 0x1a, 0xffff, 2);                        /* cache handles: none */
	le_store(s + 0x1c, 0xffff, 2);
	le_store(s + 0x1e, 0xffff, 2);
	s[0x23] = s[0x24] = (uint8_t)min_u32(cores, 0xff);
	s[0x25] = (uint8_t)min_u32(threads, 0xff);
	le_store(s + 0x26, 1u << 2, 2); /* capable of 64 bits */
	le_store(s + 0x28, SMBIOS_UNKNOWN, 2);
	le_store(s + 0x2a, cores, 2);
	le_store(s + 0x2c, cores, 2);
	le_store(s + 0x2e, threads, 2);
	smbios_strings(t, STRINGS(name, SMBIOS_VENDOR));
}

static void smbios_array(struct blob *t, uint64_t bytes) /* §7.17 */
{
	uint8_t *s = smbios_add(t, 16, 23, SMBIOS_H_ARRAY);
	s[0x04] = 1;                       /* location: other */
	s[0x05] = 3;                       /* system memory */
	s[0x06] = 3;                       /* no error correction */
	le_store(s + 0x07, 0x80000000, 4); /* see the extended field */
	le_store(s + 0x0b, SMBIOS_H_NONE, 2);
	le_store(s + 0x0d, 1, 2); /* devices */
	le_store(s + 0x0f, bytes, 8);
	smbios_strings(t, STRINGS());
}

static void smbios_device(struct blob *t, uint64_t bytes) /* §7.18 */
{
	uint64_t mib = bytes / MIB;
	uint8_t *s = smbios_add(t, 17, 40, SMBIOS_H_DEVICE);
	le_store(s + 0x04, SMBIOS_H_ARRAY, 2);
	le_store(s + 0x06, SMBIOS_H_NONE, 2);
	le_store(s + 0x08, 0xffff, 2); /* widths: unknown */
	le_store(s + 0x0a, 0xffff, 2);
	le_store(s + 0x0c, mib < 0x7fff ? mib : 0x7fff, 2);
	s[0x0e] = 1;                    /* form factor: other */
	s[0x10] = 1;                    /* locator */
	s[0x12] = 7;                    /* RAM */
	le_store(s + 0x13, 1u << 1, 2); /* detail: other */
	s[0x17] = 2;                    /* manufacturer */
	le_store(s + 0x1c, mib < 0x7fff ? 0 : mib, 4);
	smbios_strings(t, STRINGS("DIMM 0", SMBIOS_VENDOR));
}

static void smbios_mapped(struct blob *t, unsigned index, const struct gmem_extent *e) /* §7.20 */
{
	uint8_t *s = smbios_add(t, 19, 31, (uint16_t)(SMBIOS_H_MAPPED + index));
	le_store(s + 0x04, UINT32_MAX, 4); /* see the extended fields */
	le_store(s + 0x08, UINT32_MAX, 4);
	le_store(s + 0x0c, SMBIOS_H_ARRAY, 2);
	s[0x0e] = 1; /* devices in a row */
	le_store(s + 0x0f, e->start, 8);
	le_store(s + 0x17, e->start + e->len - 1, 8);
	smbios_strings(t, STRINGS());
}

static void smbios_end(struct blob *t)
{
	(void)smbios_add(t, 32, 11, SMBIOS_H_BOOT); /* §7.33: booted without error */
	smbios_strings(t, STRINGS());
	(void)smbios_add(t, 127, 4, SMBIOS_H_END); /* §7.46 */
	smbios_strings(t, STRINGS());
}

static void smbios_cpus(struct blob *t, const struct machine_boot *b)
{
	struct x86_topology x;
	x86_topology_make(&x, &b->topology, b->nr_cpus);
	for (unsigned i = 0; i < b->nr_cpus / x86_package_cpus(&x); i++)
		smbios_cpu(t, &x, i);
}

int smbios_write(struct gmem *m, const struct machine_boot *b)
{
	uint8_t area[LAYOUT_SMBIOS_LEN]; /* a hundred bytes for each of 255 sockets, and the rest */
	struct gmem_extent e[2];
	struct blob t = blob_of(area, sizeof(area));
	struct smbios_entry *h = blob_add(&t, sizeof(*h));
	blob_align(&t, 16);
	const size_t table = t.len;
	smbios_firmware(&t);
	smbios_system(&t);
	smbios_chassis(&t);
	smbios_cpus(&t, b);
	smbios_array(&t, b->ram_bytes);
	smbios_device(&t, b->ram_bytes);
	for (unsigned i = 0, n = machine_ram_extents(b->ram_bytes, e); i < n; i++)
		smbios_mapped(&t, i, &e[i]);
	smbios_end(&t);
	memcpy(h->anchor, "_SM3_", sizeof(h->anchor));
	h->length = sizeof(*h);
	h->major = 3;
	h->minor = 2;
	h->revision = 1;
	h->max_bytes = le32_of((uint32_t)(t.len - table));
	h->table = le64_of(LAYOUT_SMBIOS + table);
	h->checksum = blob_checksum(h, sizeof(*h));
	return gmem_write(m, gpa(LAYOUT_SMBIOS), t.bytes, t.len);
}
