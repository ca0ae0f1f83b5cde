/* How a CPU's page tables are to be read, for those who show them to a person. vCPU stopped. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

enum { PAGING_MAX_LEVELS = 5, PAGING_PAGE_BITS = 12 };

struct paging {
    const char *name; /* "Sv39" */
    unsigned levels, entry_size;
    unsigned index_bits[PAGING_MAX_LEVELS]; /* from the root */
    const char *level_names[PAGING_MAX_LEVELS];
    uint64_t root;     /* physical */
    bool sign_extends; /* the upper half of the address space lies at its end */
};
struct paging_rights {
    bool user, read, write, exec;
};
struct paging_entry {
    bool present, leaf;
    uint64_t next; /* physical: of the table, or of the page */
    struct paging_rights may; /* an access needs them in every entry on the way; tables that say nothing let all */
    char details[96]; /* what else it says: " dirty global" */
};

struct target_paging {
    /* False: addresses are not translated now. */
    bool (*now)(struct vcpu *cpu, struct paging *p);
    /* What `raw`, read from a table of `level` (0: the root), says. */
    void (*entry)(struct vcpu *cpu, const struct paging *p, unsigned level, uint64_t raw,
                  struct paging_entry *e);
};
