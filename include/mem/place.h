/*
 * place.h - where guest RAM lies: page size, NUMA node, prefault.
 *
 * Layer:   mem
 * Threads: control thread.
 * Errors:  negative errno. -EINVAL: a node or page size this host does not have. -ENOMEM: too few
 *          free huge pages.
 * Spec:    docs/memory.md, "Placement".
 */
#ifndef MEM_PLACE_H
#define MEM_PLACE_H
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"

enum gmem_pages { GMEM_PAGES_4K, GMEM_PAGES_THP, GMEM_PAGES_2M, GMEM_PAGES_1G };

struct gmem_place {
	enum gmem_pages pages;
	bool prefault;
	int node; /* host NUMA node, PLACE_NODE_ANY: the kernel's choice */
};
#define PLACE_NODE_ANY (-1)

/* Bytes of a page of @pages (THP counts as 4 KiB: it is advice). */
uint64_t place_page_bytes(enum gmem_pages pages);
/* Is @node a NUMA node with memory here? */
bool place_node_exists(int node);
/* NUMA node of host CPU @cpu, PLACE_NODE_ANY: unknown. */
int place_node_of_cpu(int cpu);
/* Its other direction. False: the node or its CPUs are not known. */
MUST_CHECK bool place_cpus_of_node(int node, cpu_set_t *out);
/* Leave those of @set that @allowed has, too. True: that is a choice: some of @allowed, not all. */
MUST_CHECK bool place_narrow(cpu_set_t *set, const cpu_set_t *allowed);
/* Free huge pages of @bytes size on @node (-1: no such size or node); any: on this host. */
long place_free_hugepages(uint64_t bytes, int node);
/* Where the kernel counts them, and takes reservations. */
#define PLACE_DIR_BYTES 96
void place_hugepages_dir(char out[PLACE_DIR_BYTES], uint64_t bytes, int node);
/* Bind [addr, addr+len) to @node before it is touched. */
MUST_CHECK int place_bind(void *addr, size_t len, int node);
/* Touch every page of the mapping, on all the CPUs we may run on. */
MUST_CHECK int place_prefault(void *addr, size_t len);

#endif
