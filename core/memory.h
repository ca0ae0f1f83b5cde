/* Guest physical memory. RAM is surrounded by guard pages, and anonymous unless it is to be shared; the physical map is an
 * immutable flat view, published atomically, read without locks and replaced whole.
 *
 * Devices reach guest memory only through mem_read, mem_write and mem_pin; all check bounds and mark
 * pages dirty. Nobody keeps a host pointer across a return to the caller except under mem_pin. */
#pragma once

#include "core/util.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/uio.h>

struct dirty_log;
struct error;
struct vm;
struct device;
struct loop;
struct mem;
struct mem_region;
struct vcpu;

/* Why a page needs attention on a write: one byte of flags per 4 KiB page of a RAM block. */
enum {
    PAGE_HAS_CODE = 1 << 0,  /* the translator holds code from this page */
    PAGE_TELL = 1 << 2,      /* every write is told to vm->tape; stays */
    PAGE_LOG_DIRTY = 1 << 1, /* the first write clears this bit: core/dirty_log.h */
};

struct ram_block {
    const char *name;
    uint64_t size; /* multiple of the page size */
    uint8_t *host; /* guard pages lie before and after */
    int fd;        /* of RAM_SHARED, a memfd; else -1 */
    bool rom;      /* the guest cannot write it; loaders can. Elsewhere see mem_range.rom */
    _Atomic uint8_t *page_flags;
    _Atomic uint64_t *used; /* a bit for each RAM_CHUNK: see mem_about_to_use */
    pthread_mutex_t log_lock;
    struct dirty_log *logs; /* who wants to know which pages are written; under log_lock */
};

/* What an MMIO region answers. Offsets are relative to the region and multiples of size, which is 1,
 * 2, 4 or 8. The dispatch splits what is larger than max_size or misaligned, low address first, and
 * refuses what is smaller than min_size (a read then gives 0, and the event is counted). Called with
 * no lock held; the device takes its own. */
struct mmio_ops {
    uint64_t (*read)(void *opaque, uint64_t off, unsigned size);
    void (*write)(void *opaque, uint64_t off, unsigned size, uint64_t value);
    uint8_t min_size, max_size; /* sizes the callbacks take; 0 means 1 and 8 */
    /* A target of message-signalled interrupts, or NULL: only such regions are reached by mem_send_msi.
     * Called under the sender's lock; keeps to the rules of struct irq. */
    void (*msi)(void *opaque, uint64_t off, uint32_t data);
};

/* RAM of `size` bytes, zeroed and not populated. Error when the host has no memory for it. */
struct error *mem_add_ram(struct vm *vm, const char *name, uint64_t size, bool rom,
                          struct mem_region **out);
struct mem_region *mem_add_mmio(struct vm *vm, const char *name, uint64_t size,
                                const struct mmio_ops *ops, void *opaque);
/* The machine's own memory: as vm->ram_flags say. */
enum {
    RAM_SHARED = 1 << 0,   /* other processes can be given it */
    RAM_PREALLOC = 1 << 1, /* all of it is taken from the host now */
    RAM_MERGE = 1 << 2,    /* the host keeps equal pages once */
    RAM_NO_DUMP = 1 << 3,  /* not in a core dump of this process */
};
struct error *mem_add_main_ram(struct vm *vm, const char *name, uint64_t size, struct mem_region **out);
/* Freed when the VM is; a region that is mapped is unmapped first. */
void mem_free_region(struct mem_region *r);
struct ram_block *mem_region_ram(struct mem_region *r); /* NULL for MMIO */
/* For an engine that sees where a guest begins to use a page, before it does: the host gives all of its RAM_CHUNK at
 * once, which is a third of the work of a fault for each page. Any thread. */
#define RAM_CHUNK (256 * KIB)
void mem_about_to_use(struct ram_block *ram, const uint8_t *host);
/* Another sight of [off, off+size) of a RAM region, to be mapped elsewhere or on top of it; the guest cannot
 * write it there if `read_only`, or if it is ROM. Whole pages. Take it out of the map before `of` goes. */
struct mem_region *mem_add_alias(struct vm *vm, const char *name, struct mem_region *of, uint64_t off,
                                 uint64_t size, bool read_only);

/* Put a region into the physical map (at most one place: mapping again moves it) or take it out. Where
 * regions overlap, the higher priority wins, then the later mapping; what would lie beyond the last
 * address is cut off. Any thread, but without a device lock held: it returns when every other vCPU
 * has left the old view, so that nobody is still inside an unmapped region's callbacks. */
void mem_map(struct mem_region *r, gpa at, int priority);
void mem_unmap(struct mem_region *r);
/* The same, for a CPU in system management mode alone (vcpu.in_smm): it sees the region over or beside what all others
 * see at mem_map's places, in one order of priorities with them. Devices never see it. */
void mem_map_smm(struct mem_region *r, gpa at, int priority);
/* The same for x86's I/O ports, a space of their own in which MMIO regions answer IN and OUT. A region
 * is in one space at a time. */
enum { MEM_N_PORTS = 0x10000 };
void mem_map_ports(struct mem_region *r, uint16_t at, int priority);
/* Give a RAM region made with rom=true, or a read-only alias, an answer to accesses (flash, which takes commands): the
 * guest's writes go to ops->write instead of being dropped; its reads come from the memory behind,
 * or from ops->read too when `reads` is set (the view then shows no RAM there). ops NULL: a plain
 * ROM again. Never under a device lock. The calling vCPU sees the change with its next access; it does
 * not wait for others, which may use the old way a moment longer: `ops` must answer in either state. */
void mem_set_mmio(struct mem_region *r, const struct mmio_ops *ops, void *opaque, bool reads);

/* One entry of the flat view. */
struct mem_range {
    gpa start;
    uint64_t size;
    uint64_t region_off; /* offset of start inside the region, or the RAM that an alias shows */
    struct mem_region *region;
    struct ram_block *ram; /* NULL: MMIO, use mem_io_* */
    bool rom;              /* the guest cannot write it here */
};

/* An immutable view. mem_view_now() is valid until the calling thread's next quiescent point: for
 * vCPU threads a return to the run loop, for loop threads the end of a callback. */
struct mem_view {
    uint64_t generation; /* of the VM's views: starts at 1, one more for each */
    size_t n, largest;         /* largest: of those with RAM, 0 if there is none */
    struct mem_range ranges[]; /* sorted by start, disjoint */
};
const struct mem_view *mem_view_now(const struct vm *vm);
const struct mem_view *mem_smm_now(const struct vm *vm); /* of a CPU in system management mode */
const struct mem_view *mem_view_of(const struct vcpu *cpu); /* of this CPU as it is */
const struct mem_view *mem_ports_now(const struct vm *vm); /* of the ports; the same rules */
const struct mem_range *mem_view_find(const struct mem_view *view,
                                      gpa at); /* NULL: nothing there */

/* Copy between guest memory and a private buffer. False if any byte is outside RAM; then nothing
 * was written (a read leaves buf unspecified). Any thread. MMIO is not reached. */
bool mem_read(struct vm *vm, gpa at, void *buf, size_t n);
bool mem_write(struct vm *vm, gpa at, const void *buf, size_t n);
/* Loaders: as mem_write, and ROM too. */
bool mem_load(struct vm *vm, gpa at, const void *buf, size_t n);

/* Host memory behind guest RAM [at, at+n) for I/O without a copy: fills iov (at most *n_iov) and
 * returns true, or false if it is not all RAM (writable RAM for write) or needs more pieces. Data
 * may change under the caller at any time: never parse in place. After writing, mem_mark_written. */
bool mem_pin(struct vm *vm, gpa at, uint64_t n, bool write, struct iovec *iov, unsigned *n_iov);
/* Guest memory was changed other than by mem_write: dirty log and translated code. */
void mem_mark_written(struct vm *vm, gpa at, uint64_t n);
/* The same, of bytes [off, off + n) of a block, wherever it is mapped. */
void mem_mark_ram_written(struct vm *vm, struct ram_block *ram, uint64_t off, uint64_t n);

/* The dispatch for accesses by a vCPU that are not plain RAM: MMIO (the region's callbacks, size
 * adaption, counting), writes to ROM (dropped, counted), and nothing at all. Returns false if nothing
 * answers at this address: targets with bus errors raise one, others read 0. */
bool mem_io_read(struct vm *vm, gpa at, unsigned size, uint64_t *value);
bool mem_io_write(struct vm *vm, gpa at, unsigned size, uint64_t value);
/* The same by this CPU, which may be in system management mode. Its own thread. */
bool mem_cpu_read(struct vcpu *cpu, gpa at, unsigned size, uint64_t *value);
bool mem_cpu_write(struct vcpu *cpu, gpa at, unsigned size, uint64_t value);

/* IN and OUT of 1, 2 or 4 bytes, by a vCPU. False if nothing answers at any of these ports; they then
 * read as ones. Doorbells ring as for memory. */
bool mem_port_read(struct vm *vm, uint32_t port, unsigned size, uint32_t *value);
bool mem_port_write(struct vm *vm, uint32_t port, unsigned size, uint32_t value);

/* A message-signalled interrupt: a 32-bit write by a device, to where a guest said. False, and counted,
 * if that is no target of such. */
bool mem_send_msi(struct vm *vm, gpa at, uint32_t data);

/* A doorbell: a 16- or 32-bit write to this address signals fd without leaving the engine. `value`
 * is matched when match is true. Both engines implement it; mem_io_write does too. */
struct error *mem_add_doorbell(struct mem_region *r, uint64_t off, unsigned size, bool match,
                               uint64_t value, int fd);
void mem_remove_doorbell(struct mem_region *r, uint64_t off, unsigned size, bool match,
                         uint64_t value, int fd);

/* Writes to these bytes of an MMIO region do nothing but select what a later access means (an index
 * register): an engine may collect them, and brings them before the next access by any vCPU that it does not
 * collect, in order, and before the VM stands. The callback changes no map. Before the region is mapped. */
void mem_batch_writes(struct mem_region *r, uint64_t off, uint64_t size);
/* False: there are none. */
bool mem_region_batches(const struct mem_region *r, uint64_t *off, uint64_t *size);

/* The doorbells of a region, for engines that place them elsewhere (ioeventfd); memory_changed is
 * called after each change. Valid as long as a view. */
struct doorbell {
    uint64_t off, value;
    unsigned size;
    bool match;
    int fd;
};
const struct doorbell *mem_region_doorbells(const struct mem_region *r, size_t *n);

/* Who reads views: one per vCPU thread and event loop, made by core. Quiesce: the caller holds no
 * view now. A reader that is idle (before the first quiesce, and after mem_reader_idle) holds none. */
struct mem_reader;
struct mem_reader *mem_reader_new(struct vm *vm, struct vcpu *cpu);
void mem_reader_free(struct mem_reader *reader);
void mem_reader_quiesce(struct mem_reader *reader);
void mem_reader_idle(struct mem_reader *reader);
/* Callbacks of this loop will touch this VM's memory (an I/O thread's): before its thread starts. */
void mem_use_loop(struct vm *vm, struct loop *loop);
/* Wait until every vCPU but the caller's own has passed a quiescent point since the call: what was
 * published or set before is seen by all. Not under a lock that a vCPU may want. */
void mem_sync(struct vm *vm);

struct mem *mem_new(struct vm *vm);
void mem_free(struct mem *mem);

/* Print the view, for -d mmu, `info mtree` and tests. */
void mem_print(struct vm *vm, void (*print)(void *opaque, const char *line), void *opaque);

/* Statistics of one MMIO region. */
struct mem_counts {
    _Atomic uint64_t reads, writes;
    _Atomic uint64_t ns; /* spent in callbacks, where the engine takes the time */
};
/* Add time to the region that answers at this address or port. vCPU's thread. */
void mem_count_time(struct vm *vm, gpa at, bool is_port, uint64_t ns);
const struct mem_counts *mem_region_counts(const struct mem_region *r);
const char *mem_region_name(const struct mem_region *r);
/* Visit every region of the VM (for statistics). */
void mem_each_region(struct vm *vm, void (*visit)(void *opaque, struct mem_region *r),
                     void *opaque);
