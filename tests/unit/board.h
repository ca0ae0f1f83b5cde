/* Test kit: a VM in memory with a little RAM, no engine, a main loop stepped by hand and a guest clock
 * that moves only when told. Devices are made by the call that the command line uses and touched only
 * as a guest would. Everything is new with each board; nothing is shared between two. */
#pragma once

#include "core/device.h"
#include "core/vcpu.h"
#include "core/vm.h"

enum {
    BOARD_N_LINES = 64,
    BOARD_N_MSIS = 64,
    BOARD_N_REGIONS = 16,
    BOARD_N_SINTS = 8,
};
#define BOARD_RAM      ((gpa)0x80000000)
#define BOARD_RAM_SIZE (4 * MIB)
#define BOARD_MSI      ((gpa)0x28000000) /* writes to these 4 KiB are recorded as MSIs */
#define BOARD_MMIO     ((gpa)0x10000000) /* the first region of the first device */

struct board {
    struct vm *vm;
    struct device *dev; /* the first one made by board_with or board_add */
    struct mem_region *ram;
    struct {
        bool level;
        unsigned raised, lowered; /* edges */
    } lines[BOARD_N_LINES];
    struct {
        gpa at;
        uint64_t data;
    } msis[BOARD_N_MSIS];
    unsigned n_msis; /* may be more than are kept */
    gpa regions[BOARD_N_REGIONS]; /* where MMIO regions of devices were put, in order of creation */
    unsigned n_regions;
    gpa next_region;

    /* Hyper-V's synthetic interrupts: what devices are connected with (fd -1: nothing), and where every vCPU wants
     * messages and events. */
    struct board_sint {
        int raise, ended;
        unsigned vcpu, sint;
    } sints[BOARD_N_SINTS];
    gpa sint_messages, sint_events;

    /* The engine of vCPUs made by board_add_vcpu. NULL: halts at once. */
    enum vcpu_exit (*run)(struct vcpu *cpu);
    void *opaque;
};

/* What a vCPU of the kit has for registers. */
struct board_cpu {
    uint64_t pc, x;
    _Atomic bool interrupt; /* has_work */
    bool deaf;              /* no interrupt can wake it */
    _Atomic uint32_t kicked;
};

struct board *board_new(void);
struct board *board_new_ram(unsigned flags); /* RAM_*, of its memory */
/* One device with properties as typed: name, value, ..., NULL. Any error fails the test. Its MMIO
 * regions that nobody mapped are put at BOARD_MMIO and up. */
struct board *board_with(const char *class_name, ...);
struct device *board_add(struct board *b, const char *class_name, ...);
/* The same, expecting an error: its text, which the caller frees. */
char *board_refuses(struct board *b, const char *class_name, ...);
void board_free(struct board *b);

struct vcpu *board_add_vcpu(struct board *b);
static inline struct board_cpu *board_cpu(struct vcpu *cpu)
{
    return cpu->arch;
}
/* Put regions that are not mapped yet somewhere; for devices made by hand. */
void board_map_regions(struct board *b);

/* A line that records; wire it to a device's output. */
struct irq board_irq(struct board *b, unsigned n);
bool board_line_was_raised(struct board *b, unsigned n);

/* The way to a vCPU's source; NULL: there is none. Was it raised since last time? */
struct board_sint *board_sint(struct board *b, unsigned vcpu, unsigned sint);
bool board_sint_was_raised(struct board *b, unsigned vcpu, unsigned sint);

/* Let the main loop do what is ready now; move the guest clock on and do what became due. */
void board_step(struct board *b);
void board_advance_ns(struct board *b, uint64_t ns);

/* Access to the first device's first region; to any guest physical address. */
uint64_t board_read(struct board *b, uint64_t off, unsigned size);
void board_write(struct board *b, uint64_t off, unsigned size, uint64_t v);
static inline uint32_t board_read32(struct board *b, uint64_t off)
{
    return (uint32_t)board_read(b, off, 4);
}
static inline void board_write32(struct board *b, uint64_t off, uint32_t v)
{
    board_write(b, off, 4, v);
}
uint64_t board_peek(struct board *b, gpa at, unsigned size);
void board_poke(struct board *b, gpa at, unsigned size, uint64_t v);
/* RAM, by offset from BOARD_RAM. */
void board_ram_write(struct board *b, uint64_t off, const void *p, size_t n);
void board_ram_read(struct board *b, uint64_t off, void *p, size_t n);

/* Every device saves; what it saved loads into it again and gives the same bytes when saved anew. */
void board_check(struct board *b);
