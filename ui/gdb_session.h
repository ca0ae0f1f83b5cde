/* Between the files of gdb's server. */
#pragma once

#include "core/vcpu.h"
#include "core/vm.h"
#include "ui/gdb.h"
#include "ui/gdb_packet.h"

struct error;
struct target_debug;

/* A breakpoint or watchpoint as gdb asked for it: Z packets. */
struct gdb_point {
    char kind; /* '0'..'4' */
    uint64_t at, size;
};
enum { GDB_MAX_POINTS = VCPU_MAX_POINTS };

/* What each vCPU is to do when the VM goes on. */
struct gdb_action {
    char kind; /* 0: stand, 'c', 's', 'r': step while in [from, to) */
    bool named; /* by a vCont packet */
    uint64_t from, to;
};

/* Why a vCPU stopped. */
struct gdb_stop {
    enum { GDB_NOTHING, GDB_STEPPED, GDB_AT_POINT, GDB_INTERRUPTED } why;
    struct gdb_point point;
};

enum { GDB_STEP_ENABLE = 1, GDB_STEP_NO_IRQ = 2, GDB_STEP_BITS = 3 };

struct gdb {
    struct vm *vm;
    const struct target_debug *target;
    struct gdb_hooks hooks;
    struct gdb_link link;
    bool is_over;     /* gdb_free was called: posted work finds nothing to do */

    bool attached;    /* a client has sent something */
    bool waits;       /* it waits for the program to stop */
    bool answered;    /* the packet under way, or it will be */
    bool text_errors; /* it understands "E.text" */
    bool names_points; /* swbreak, hwbreak */
    bool physical;    /* memory by physical address */
    uint8_t step_bits;
    unsigned g_cpu;   /* registers and memory of this one */
    int c_cpu;        /* that c and s are about; -1: all */

    struct gdb_point points[GDB_MAX_POINTS];
    unsigned n_points;
    struct vcpu_debug debug; /* the same in the engine's pieces */
    uint16_t point_of[VCPU_MAX_POINTS]; /* which point a piece belongs to */

    struct gdb_action *wanted;  /* by vCPU: of the packet under way */
    struct gdb_action *actions; /* of the last time the VM went on */
    struct gdb_stop *stops;     /* by vCPU: not told yet */
    struct gdb_stop told;       /* the last told */
    unsigned told_cpu;

    char *description;          /* target.xml, made when asked for */
    char answer[GDB_PACKET];
    struct gdb_text a; /* over it: the answer to the packet under way */
};

static inline struct vcpu *gdb_cpu(const struct gdb *g)
{
    return g->vm->vcpus[g->g_cpu];
}

/* gdb.c: "E0n" */
enum { GDB_BAD_REQUEST = 0x16, GDB_BAD_ADDRESS = 0x0e, GDB_TOO_MUCH = 0x1c };
void gdb_error(struct gdb *g, unsigned code);
/* The same in words; the error is freed. */
void gdb_fail(struct gdb *g, struct error *err);
/* "p1.2", "2", "-1", "0": the vCPU; -1: all of them; any: the first, or `any`. False: there is none such. */
bool gdb_thread(struct gdb *g, const char **at, int any, int *cpu);

/* gdb_run.c: stopping, going on, points. */
void gdb_attach(struct gdb *g);
/* Nobody is there any more. `resume`: whatever the VM was doing before, it runs now. */
void gdb_detach(struct gdb *g, bool resume);
void gdb_interrupt(struct gdb *g);
/* A packet comes though the client waits for a stop, or somebody else made the VM go on: it stands. */
void gdb_stand_still(struct gdb *g);
void gdb_continue(struct gdb *g, const char *args, char kind); /* c, s, C, S */
void gdb_vcont(struct gdb *g, const char *args);
void gdb_set_point(struct gdb *g, const char *args, bool insert);
void gdb_tell_stop(struct gdb *g); /* again: "?" */
void gdb_debug_stopped(void *opaque);
void gdb_ran(void *opaque, bool running);

/* gdb_memory.c: registers and memory. */
void gdb_read_regs(struct gdb *g);
void gdb_write_regs(struct gdb *g, const char *args);
void gdb_read_reg(struct gdb *g, const char *args);
void gdb_write_reg(struct gdb *g, const char *args);
void gdb_read_memory(struct gdb *g, const char *args, bool binary);
void gdb_write_memory(struct gdb *g, const char *args, size_t n, bool binary);
uint64_t gdb_reg_value(struct gdb *g, unsigned cpu, unsigned reg);
/* target.xml; the caller frees. */
char *gdb_describe(struct gdb *g);

/* gdb_query.c: q and Q packets. */
void gdb_query(struct gdb *g, const char *args);
void gdb_set(struct gdb *g, const char *args);
