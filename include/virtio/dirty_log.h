/*
 * dirty_log.h - which pages of guest memory were written, for who copies them to another host.
 *
 * Layer:   virtio
 * Threads: marks from any, at once. Set up and taken away while no queue uses it.
 * Errors:  none: what lies behind the end of the bitmap is not marked.
 * Spec:    QEMU docs/interop/vhost-user.rst, "Migration".
 *
 * Page n is bit n % 8 of byte n / 8. Another process takes bits away and copies their pages, at any
 * moment: so a page is marked after it was written, and again after each further write.
 */
#ifndef VIRTIO_DIRTY_LOG_H
#define VIRTIO_DIRTY_LOG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sync/notifier.h"

#define DIRTY_LOG_PAGE_SHIFT 12
#define DIRTY_LOG_PAGE       (1u << DIRTY_LOG_PAGE_SHIFT)

struct dirty_log {
	uint8_t *bits; /* shared memory; NULL: there is no log */
	size_t bytes;
	struct notifier *call; /* signalled when queues have marked something; NULL: nobody asks */
};

/* [@addr, @addr + @len) was written: what the caller stored before is there when the mark is. */
void dirty_log_mark(const struct dirty_log *l, uint64_t addr, uint64_t len);

/* Does every page of [@addr, @addr + @len) have a bit? */
bool dirty_log_covers(const struct dirty_log *l, uint64_t addr, uint64_t len);

#endif
