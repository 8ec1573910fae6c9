/*
 * aml.h - ACPI machine language, as much as a static namespace needs.
 *
 * Layer:   arch
 * Threads: none of its own.
 * Errors:  none, as blob.h.
 * Spec:    ACPI 6.5 §20 (encoding), §6.4 (resource descriptors).
 *
 * What is opened is closed by the function named after it, innermost first, with the mark that
 * opening returned.
 */
#ifndef X86_64_AML_H
#define X86_64_AML_H
#include <stdbool.h>
#include "blob.h"

/* Scope and device @name: four characters, "_SB_", or an absolute "\\_SB_". */
size_t aml_open_scope(struct blob *t, const char *name);
size_t aml_open_device(struct blob *t, const char *name);
size_t aml_open_package(struct blob *t, uint8_t nr);
void aml_close(struct blob *t, size_t mark);

/* "Name (@name, ...)": the object follows. */
void aml_name(struct blob *t, const char *name);
void aml_int(struct blob *t, uint64_t v);
void aml_string(struct blob *t, const char *s);
/* Compressed identifier such as "PNP0A08". §19.3.4. */
void aml_eisaid(struct blob *t, const char *id);

/* "Name (_CRS, ResourceTemplate () {...})" */
struct aml_crs {
	size_t buffer, size;
};
struct aml_crs aml_open_crs(struct blob *t);
void aml_close_crs(struct blob *t, struct aml_crs c);

/* Descriptors within. Ranges of @len 0 are left out. */
void aml_io(struct blob *t, uint16_t port, uint8_t len);
void aml_irq(struct blob *t, unsigned irq); /* 0 to 15, edge, active high */
void aml_memory32(struct blob *t, uint32_t start, uint32_t len);
/* Windows a bridge forwards to its bus. */
void aml_window_bus(struct blob *t, uint16_t first, uint16_t last);
void aml_window_io(struct blob *t, uint16_t start, uint16_t len);
void aml_window_memory32(struct blob *t, uint32_t start, uint32_t len);
void aml_window_memory64(struct blob *t, uint64_t start, uint64_t len);

#endif
