/* NUMA nodes, as -numa describes them: parsed line by line, then resolved against what the machine has. */
#pragma once

#include "core/util.h"

#include <stdbool.h>

struct error;
struct vm;

enum { NUMA_MAX_NODES = 128, NUMA_MAX_CPUS = 1024 };

struct numa_topology {
    unsigned n_cpus, dies, cores, threads; /* dies per socket, cores per die, threads per core */
};

struct numa_node {
    bool given, has_mem;
    uint64_t mem; /* bytes */
    char *memdev; /* id of an -object memory-backend-*, until resolved */
};

/* All zero: no NUMA. After numa_resolve, nodes 0 to n_nodes - 1 are all there and the rest is filled in. */
struct numa {
    unsigned n_nodes;
    struct numa_node nodes[NUMA_MAX_NODES];
    int16_t cpu_node[NUMA_MAX_CPUS];                  /* + 1; 0: not said */
    uint8_t distance[NUMA_MAX_NODES][NUMA_MAX_NODES]; /* [from][to]; 0: not said */
    struct numa_cpu_rule *rules;                      /* of -numa cpu */
    unsigned n_rules;
};

/* One -numa: "node,nodeid=0,cpus=0-1,mem=1G", "cpu,node-id=0,socket-id=1", "dist,src=0,dst=1,val=20". */
struct error *numa_add(struct numa *n, const char *text);
/* Check that all fits together: node numbers, memory's sum, each CPU in one node. `vm` has the memory
 * backends. With no -numa it does nothing. */
struct error *numa_resolve(struct numa *n, struct vm *vm, uint64_t ram_size,
                           const struct numa_topology *t);
/* After numa_resolve. */
unsigned numa_node_of(const struct numa *n, unsigned cpu);
void numa_free(struct numa *n);
