/* The translator's own structures. Nobody outside tcg/ includes this.
 *
 * Per vCPU, struct tcg_cpu lies directly below the target's arch struct, so that generated code
 * reaches both by small displacements from one register. */
#pragma once

#include "core/accel.h"
#include "core/vm.h"
#include "tcg/ir.h"
#include "tcg/target.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>

struct tcg;
struct unit;

/* ---- translation cache ------------------------------------------------------------------------ */

/* A way out of a unit to a known guest address. While it is not linked the host jump goes to a stub
 * that leaves generated code and hands this struct to the run loop. */
struct link {
    struct unit *from, *to;  /* to: NULL while not linked */
    struct link *next;       /* in to->incoming */
    uint32_t jump_at;        /* cache offset of the 32-bit displacement to patch; 0: never linked */
    uint32_t stub_at;        /* where it points while not linked */
    int32_t off;             /* guest address relative to the unit's page */
};

/* In a unit's flags, above the guest's state word. */
#define UNIT_COUNTS ((uint32_t)1 << 31) /* instructions */
#define UNIT_ALONE  ((uint32_t)1 << 30) /* one instruction, looked up each time: see fetch_place.partial */
#define UNIT_DEBUG  ((uint32_t)1 << 29) /* ends before breakpoints: see debug.c */
#define UNIT_STATE  (UNIT_DEBUG - 1)    /* the state word */

/* Bytes [from, to) of a page. */
struct span {
    int16_t from, to;
};
enum { UNIT_SPANS = 4 };

/* One translation. Immutable once published, but for links and `dead`. */
struct unit {
    const uint8_t *page;     /* host address of the guest page it starts in: with off and flags the key */
    const uint8_t *page2;    /* page its last instruction reaches into, or NULL */
    int32_t off, end;        /* first guest byte and the one behind the last, relative to the page */
    uint32_t flags;
    uint16_t n_insns, n_links;
    uint16_t guess;          /* see target.h */
    bool hot;                /* of the second tier: tier.c */
    bool hot_plan;           /* its instructions are those of a hot unit (not where it is kept in a file) */
    uint8_t n_inlined;       /* pieces of the page, elsewhere, that it has copies of: */
    struct span inlined[UNIT_SPANS];
    _Atomic uint8_t samples; /* times that a vCPU was found in it */
    _Atomic bool dead;
    uint32_t code_at, code_size; /* cache offset and size of everything */
    const void *entry;       /* for entries with the guest pc in hand; also in jump caches */
    uint32_t chain_at;       /* cache offset of the entry for linked jumps */
    uint32_t kill_at;        /* where that entry is redirected to when the unit dies */
    void *ir;                /* the interpreter's copy */
    struct unit *_Atomic hash_next; /* lock-free for readers */
    struct unit *page_next[2]; /* in code_page lists */
    struct unit *part_next;
    struct link *incoming;
    struct link links[];
};

/* The most links a unit of n blocks can have. */
#define UNIT_LINKS(n_blocks) (1 + 3 * (size_t)(n_blocks))

/* A guest page that holds translated code. */
struct code_page {
    const uint8_t *page;
    struct code_page *next;  /* hash chain */
    struct unit *units;
    uint64_t chunks;         /* 64-byte pieces that units cover */
    uint64_t apart;          /* pieces whose accesses had better not share TLB checks */
    uint32_t quiet_writes;   /* writes since a unit of this page last died */
};

/* ---- per-vCPU memory and jump caches ------------------------------------------------------------ */

enum {
    TLB_BITS_MIN = 8,
    TLB_BITS_MAX = 14,
    TLB_ENTRY_BITS = 5,
    TLB_NO_MATCH = -1,
    CTX_NONE = 0xfff,        /* no access has this context */
    CTX_LAST = 0xffe,
    L2_SETS = 512,
    L2_WAYS = 4,
    ITLB_BITS = 10,
    ITLB_SIZE = 1 << ITLB_BITS,
    ITLB_ENTRY_BITS = 5,
    CONTEXTS = 64,           /* data address spaces remembered by number */
    JUMP_CACHE_BITS = 12,
    JUMP_FOLD = 9, /* pc bits folded into the index, so that pages do not fall onto each other */
    FAR_JUMP_BITS = 14,
    FAR_JUMP_FOLD = 13,
    FAR_JUMP_LOG2 = 6, /* size of an entry */
    FETCH_CONTEXTS = 16,
    WRITTEN_BITS = 18,
    JUMPS_MADE = 256,
    CHECKED_BITS = 7,
    CHECKED_TAG = 57, /* what makes an address another one for each fetch context is above those that exist */
    N_MODES = 4,
    N_LARGE = 8,
    LARGE_BITS = 21, /* log2 of the pieces that large pages are remembered in */
    LARGE_DATA = 128,
    LARGE_CODE = 64,
    HOST_REGS = 16,
    HOST_VECTORS = 16,
    SPILLS = 32,
    ADDENDS = 8,
};

/* First level, looked up by generated code. A tag is page address | context number; an access
 * matches if the page of its last byte with the current context equals the tag of the slot chosen by
 * its first byte: so misses include accesses that cross a page. */
struct tlb_entry {
    _Atomic uint64_t read, write;
    _Atomic uint64_t addend; /* host address - guest virtual address */
    uint64_t user;   /* borrowed from a user's context: the complement of its tag there; 0: it is not */
};

struct l2_entry {
    uint64_t tag;    /* page | context; TLB_NO_MATCH if unused */
    uint64_t gpa;    /* of the page */
    uint8_t *host;   /* NULL: not RAM */
    struct ram_block *ram;
    bool r, w, rom;
};

struct itlb_entry {
    uint64_t va;     /* of the page */
    uint64_t era;    /* of the fetch context */
    const uint8_t *page;
    struct ram_block *ram;
};

/* A piece of a large page: its small pages come from here without a walk. Data: r and w as in l2_entry. */
struct large_data {
    uint64_t tag;    /* of its first page */
    uint64_t gpa;
    bool r, w;
};
struct large_code {
    uint64_t va;     /* of its first byte */
    uint64_t era;    /* of the fetch context */
    uint64_t gpa;
};

_Static_assert(sizeof(struct itlb_entry) == 1 << ITLB_ENTRY_BITS, "generated code looks there");

struct jump_entry {
    uint64_t pc;
    const void *code;
};

/* What was pushed out of a jump cache: one table for all of them. An entry of another era may still be right: if its
 * unit is still the one that pc leads to, which page and state word say. */
struct far_jump {
    uint64_t pc;
    uint64_t era;        /* of the context it belongs to, when it was made */
    const void *code;
    const uint8_t *page; /* the unit's; NULL: it has two */
    uint64_t world;      /* when it was made */
    uint32_t flags;      /* the unit's */
    uint32_t pad_[5];
};

/* What an address space and state word have in common for fetches: the jump cache. */
struct fetch_context {
    uint64_t key;
    uint64_t era;            /* a new number each time its jumps and pages are forgotten */
    uint32_t flags;
    uint32_t used;           /* for replacement */
    bool valid;
    uint64_t pages[64];      /* filter over pages that have entries: 4096 bits */
    uint32_t n_made;         /* entries made since all were cleared; the first are in `made` */
    uint16_t made[JUMPS_MADE];
    struct jump_entry jumps[1 << JUMP_CACHE_BITS];
};

/* Why generated code was left: by a jump whose link leads nowhere yet; by one to an address, for what is not translated
 * yet; into a unit that has died; because an instruction wants the run loop's look at everything; because exit_flag was
 * set, for a request to stop, an interrupt, addresses to be forgotten, somebody who wants to stand alone, a sample of
 * tier.c, or none that is still there; from C: a breakpoint, a memory fault, an exception or whatever else a helper
 * leaves for, a halt, a device in a loop with windows, a store into the running code, an access that all others must
 * stand still for, a watchpoint. */
enum left {
    LEFT_UNKNOWN, LEFT_LINK, LEFT_LOOKUP, LEFT_DEAD, LEFT_INSN,
    LEFT_REQUEST, LEFT_INTERRUPT, LEFT_FLUSH, LEFT_OTHERS, LEFT_SAMPLE, LEFT_FLAG,
    LEFT_POINT, LEFT_FAULT, LEFT_HELPER, LEFT_HALT, LEFT_WINDOW, LEFT_OWN_CODE, LEFT_ALONE, LEFT_WATCH,
    N_LEFT
};

/* Why a loop does not get a window that it asks for, but for a page that ends soon. */
enum refusal {
    REFUSED_ABSENT,     /* generated code could not access the page, either: not in the TLB's first level, or not for that */
    REFUSED_NO_RAM,     /* a device, nothing, or memory that is not written by stores */
    REFUSED_WATCHED,    /* somebody wants to know of writes: to code, for a log, a debugger */
    REFUSED_MISALIGNED,
    N_REFUSALS
};
struct tcg_counts {
    uint64_t left[N_LEFT];
    uint64_t windows_refused[N_REFUSALS];
    uint64_t tlb_misses, tlb_walks, tlb_flushes, context_switches;
    uint64_t unit_entries, indirect_misses, slow_calls, mmio, traps;
};

/* A shared check that fails again and again. */
struct failing {
    uint64_t pc, since_ns;
    uint32_t n;
};

struct tcg_cpu {
    struct far_jump far_jumps[1 << FAR_JUMP_BITS];
    struct tlb_entry tlb[1 << TLB_BITS_MAX]; /* the first (tlb_mask >> 5) + 1 are in use */
    struct l2_entry l2[L2_SETS][L2_WAYS];
    struct itlb_entry itlb[ITLB_SIZE];
    struct large_data large_data[LARGE_DATA];
    struct large_code large_code[LARGE_CODE];
    struct fetch_context *fetch; /* FETCH_CONTEXTS of them */
    struct fetch_context *fetch_now;
    uint8_t fetch_hints[64];     /* where a context was found, by key and state word */
    struct { uint64_t key; uint32_t ctx, used; } contexts[CONTEXTS];
    uint32_t next_ctx, clock;
    uint32_t conflicts;          /* first-level entries of the current context pushed out */
    struct { uint64_t lo, hi; } large[N_LARGE]; /* addresses that large pages may map; lo > hi: none */
    uint64_t era;                /* the newest of any fetch context */
    uint64_t world;              /* a new number each time units or RAM may have gone */
    _Atomic bool any_checked;    /* in `checked` */
    _Atomic uint64_t written[1 << (WRITTEN_BITS - 6)]; /* filter over host pages that have had write tags */
    uint64_t user_pages[16];     /* first-level entries with `user`; more: look at all */
    unsigned n_user_pages;

    sigjmp_buf leave;
    struct vcpu *cpu;
    struct tcg *tcg;
    const struct tcg_target *target;
    struct ir *ir;               /* scratch for translation */
    struct plan *plan;
    bool halt, fp_live, counting;
    bool entered;                /* generated code; */
    uint8_t why;                 /* enum left: it is being left for that, if C knows better than run.c */
    bool wants_alone;            /* the next instruction is to run while all others stand still */
    bool alone;                  /* they do */
    bool wants_single;           /* the next instruction is to run as a unit of its own */
    bool single;                 /* it does */
    _Atomic bool running, sampled; /* see tier.c: it runs, and was asked for a sample; since when it runs, or does not; */
    _Atomic uint64_t began_ns;
    uint64_t stopped_ns, busy_ns;  /* time spent computing, less a part of that spent idle */
    struct debug *debug;         /* what a debugger asks for (debug.c); NULL: nothing */
    bool at_point;               /* it last stopped at a breakpoint: there, and is to get over it; */
    bool at_watch;               /* or before an access that is watched */
    uint64_t point_pc;
    struct unit *lent;           /* what it ran, where another engine is in charge */
    bool stepping;               /* between step_prepare and the end of step (step.c) */
    unsigned most_insns;         /* in a unit found while stepping */
    struct unit *step_unit;      /* what step will run */
    bool in_windows;             /* the slow call under way comes from a loop with open windows */
    bool tlb_lost;               /* first-level entries that allowed writes were pushed out */
    _Atomic bool flush_wanted;
    int64_t undo;                /* instructions of the running block not executed, if leaving now */
    uint64_t counts_wanted_ns;   /* when somebody last looked at n_insns */
    uint64_t paused_ns;          /* when the last tcg_pause was over, */
    unsigned pauses;             /* and how many of them came one soon after the other */
    uint64_t units_dead;         /* tcg->counts.dead when generated code was entered */
    struct failing failing[1024]; /* by pc */
    struct tcg_counts counts;

    /* ---- used by generated code; close to arch ---- */
    _Alignas(32) uint64_t vectors[HOST_VECTORS][4]; /* host vector registers during a slow call */
    uint64_t spills[SPILLS][4];
    uint64_t addends[ADDENDS]; /* of shared checks without a register; all 0 when TLB entries are lost */
    /* Addresses ^ tag whose code helpers with IR_CALL_ONCE know. Who writes to code takes all away, in every vCPU. */
    _Atomic uint64_t checked[1 << CHECKED_BITS];
    uint64_t regs[HOST_REGS];    /* integer ones */
    uint64_t canonical_nan[2];   /* f64, f32 */
    uint64_t sign_mask[2], abs_mask[2]; /* f64, f32 */
    const void *resume;
    const void *site;            /* of the slow call under way */
    uint64_t tlb_checks;         /* first-level lookups that hit, when they are counted */
    uint32_t fp_scratch;
    uint8_t fp_flags, fp_rounding;  /* SF_*: sticky flags collected; guest's mode */
    uint8_t fp_flush;               /* TCG_FP_FLUSH_*, TCG_FP_TRAP_* */
    uint8_t pad_[1];
    uint64_t n_insns;            /* counted while `counting`; else what to add to the time */
    /* Pages that the loop under way may write without a check, until generated code is left. What earlier loops could
     * write stays here: who looks at it then waits for nothing. */
    const uint8_t *_Atomic windows[IR_WINDOWS];
    uint64_t words[N_IR_WORDS];  /* IR_WORD_* */

    /* ---- used most: less than 128 bytes from arch, which makes code shorter ---- */
    uint64_t host_sp, stack_limit;
    struct jump_entry *jumps;    /* fetch_now->jumps */
    uint64_t checked_tag;        /* fetch_now's */
    uint64_t itlb_salt;          /* fetch_now's, for the byte offset in itlb */
    uint64_t ctx[N_MODES];       /* data contexts by mode */
    _Atomic uint64_t tlb_mask;   /* (entries - 1) << TLB_ENTRY_BITS */
    uint64_t pc_page;            /* guest virtual address of the running unit's page */
    _Atomic uint32_t exit_flag;
    uint32_t pad2_;
};

enum { TCG_HEADROOM = (sizeof(struct tcg_cpu) + 4095) / 4096 * 4096 };
static inline struct tcg_cpu *tcg_of(void *arch)
{
    return (struct tcg_cpu *)((char *)arch - sizeof(struct tcg_cpu));
}
static inline struct tcg_cpu *tcg_cpu_of(struct vcpu *cpu)
{
    return tcg_of(cpu->arch);
}
/* Displacement of a field from arch, as generated code sees it. */
#define TCG_DISP(field) ((int32_t)(offsetof(struct tcg_cpu, field) - sizeof(struct tcg_cpu)))

/* Does a unit have a link for a jump to this offset in its page? Elsewhere the mapping could change under it. */
static inline bool may_link(const struct tcg_target *target, int32_t off)
{
    return off >= 0 && off + (int32_t)target->max_insn_len <= 4096;
}
static inline uint64_t *tcg_pc(struct tcg_cpu *t)
{
    return (uint64_t *)((char *)t->cpu->arch + t->target->pc_offset);
}
static inline uint32_t tcg_flags(const struct tcg_cpu *t)
{
    return *(const uint32_t *)((const char *)t->cpu->arch + t->target->flags_offset);
}
static inline unsigned jump_index(uint64_t pc)
{
    return ((pc ^ pc >> JUMP_FOLD) >> 1) & ((1u << JUMP_CACHE_BITS) - 1);
}
static inline unsigned checked_index(uint64_t pc)
{
    return pc >> 4 & ((1u << CHECKED_BITS) - 1);
}
static inline unsigned far_jump_index(uint64_t pc)
{
    return ((pc ^ pc >> FAR_JUMP_FOLD) >> 1) & ((1u << FAR_JUMP_BITS) - 1);
}

/* ---- back ends ------------------------------------------------------------------------------------ */

/* Places in a unit's code that depend on where it stands, or this program: code that is kept in a file becomes
 * right elsewhere by these (persist.c). */
enum reloc_kind {
    RELOC_SHARED,  /* 32 bits relative to the place: what all units share */
    RELOC_PROGRAM, /* 64-bit address of something in this program */
    RELOC_CACHE,   /* 64-bit address in the executable mapping: what all units share */
    N_RELOC_KINDS,
};
enum { MAX_RELOCS = 2048 };
struct relocs {
    unsigned n; /* more than MAX_RELOCS: not all are here */
    struct reloc { uint32_t at; /* in the unit's code */ enum reloc_kind kind; } at[MAX_RELOCS];
};

struct site {
    uint32_t at, n;   /* in the unit's code: bytes with the call before them */
    const char *kind; /* "load", "exit"... */
    const char *name; /* of the helper or operation, or "" */
    int32_t off;      /* guest instruction, relative to the page; of an exit: where to */
    bool slow;        /* a way that is taken in C */
};

enum compiled { COMPILE_OK, COMPILE_NO_ROOM, COMPILE_TOO_COMPLEX /* the unit must be shorter */ };

struct backend {
    const char *name;
    /* Emit what all units share at the start of the cache. */
    struct error *(*init)(struct tcg *tcg);
    void (*fini)(struct tcg *tcg);
    /* Turn ir into something enter can run, in the cache at [tcg->next, tcg->part_end): fills u's
     * code_at, code_size, entry, chain_at, kill_at and links (room for UNIT_LINKS of them), and tcg->relocs. */
    enum compiled (*compile)(struct tcg *tcg, struct unit *u, const struct ir *ir);
    /* A number for all that its code depends on but the IR: features of the host, what all units share. 0: its units
     * cannot be kept in a file. */
    uint64_t (*identity)(const struct tcg *tcg);
    /* The unit stands at its final address, and so do its links. */
    void (*place_links)(struct tcg *tcg, struct unit *u);
    void (*drop)(struct tcg *tcg, struct unit *u); /* the unit is about to be freed; NULL: nothing to do */
    /* Run from u (pc_page is set) until generated code is left. Gives the link taken, or NULL when
     * arch pc says where to go on. */
    struct link *(*enter)(struct tcg_cpu *t, struct unit *u);
    void (*set_link)(struct tcg *tcg, struct link *l, struct unit *to); /* to NULL: back to the stub */
    void (*kill)(struct tcg *tcg, struct unit *u); /* later entries leave at once */
    /* Put the guest's floating-point control in force, and take it out of force collecting sticky
     * flags into fp_flags. */
    void (*fp_resume)(struct tcg_cpu *t);
    void (*fp_suspend)(struct tcg_cpu *t);
    /* Guest address of the instruction of the slow call under way, relative to the page. */
    int32_t (*site_off)(struct tcg_cpu *t);
    /* For people: the pieces of u's code, in any order, that are no code, but say what is to be done. */
    void (*each_site)(const struct tcg *tcg, const struct unit *u,
                      void (*found)(void *opaque, const struct site *site), void *opaque);
};
/* Those of this build, the preferred one first (tcg/backends_*.c, chosen by meson). */
extern const struct backend *const backends[];
extern const size_t n_backends;
extern const char backend_names[]; /* "jit, interp" */

enum { PARTS = 8 };

/* Per VM. */
struct tcg {
    struct vm *vm;
    const struct tcg_target *target;
    const struct backend *backend;
    void *backend_data;

    /* Guards everything below that is not atomic, and code generation. */
    pthread_mutex_t lock;
    _Atomic(struct unit *) *hash; /* 1 << hash_bits chains */
    struct code_page **pages;     /* 1 << page_bits chains */
    unsigned hash_bits, page_bits;

    /* The code cache: one memfd mapped twice. */
    uint8_t *rw, *rx;
    size_t size, part_size;
    uint32_t next, part_end;   /* allocation point and end of the current part */
    uint32_t common_end;       /* behind what all units share */
    uint32_t trimmed;          /* what `next` was when the writable mapping was last let go */
    unsigned part;
    struct unit *scratch;      /* being compiled: room for any number of links */
    struct unit *by_part[PARTS];
    struct unit_piece *unit_pieces[PARTS];
    _Atomic unsigned n_watching; /* vCPUs on the way from marking a page to knowing that all heed it */

    /* Stopping every vCPU outside generated code (eviction). */
    pthread_mutex_t run_lock;
    pthread_cond_t run_changed;
    unsigned n_running;
    _Atomic bool exclusive;

    struct persist *persist;   /* units in a file; NULL: none are kept */
    char *persist_path;        /* the file, until it is opened */
    uint64_t persist_bytes;
    struct relocs relocs;      /* of the unit that was compiled last */
    struct disas *disas_guest, *disas_host;
    /* Offsets in a page before which UNIT_DEBUG ends: of every breakpoint so far. Set under the lock. */
    _Atomic uint64_t stops[4096 / 64];
    unsigned max_insns;        /* per unit */
    struct tier *tier;         /* NULL: there is but one */
    bool always_tier2;         /* for tests: all units as the second tier makes them, at once */
    bool group_accesses, single_insn, baseline_host, count_tlb;
    bool wide;                 /* the back end has V256, and the target wants it */
    bool has_cas16;            /* host_has_cas16: the question is slow */
    bool helps;                /* another engine is in charge and says nothing of what it writes: nothing is
                                  remembered from one instruction to the next */
    struct {
        uint64_t hot_units, hot_gone, hot_ns, hot_insns; /* second tier; hot_gone: changed meanwhile */
        uint64_t hot_bytes, hot_looks;           /* of host code; tier.c's */
        uint64_t hot_loops[N_IR_NO_WINDOWS];     /* by what became of them */
        uint64_t hot_calls; /* inlined */
        uint64_t links, units, guest_bytes, guest_insns, host_bytes, evictions, translate_ns;
        _Atomic uint64_t dead;
        uint64_t loaded, load_ns;  /* units that a file had (persist.c) */
    } counts;
};

static inline struct tcg *tcg_of_vm(struct vm *vm)
{
    return vm->helper_data ? vm->helper_data : vm->accel_data;
}

/* ---- tlb.c ----------------------------------------------------------------------------------------- */
void tlb_init(struct tcg_cpu *t);
void tlb_free(struct tcg_cpu *t);
/* Where instructions come from. */
struct fetch_place {
    const uint8_t *page;    /* host address */
    struct ram_block *ram;
    bool rom;               /* writes go to the dispatch */
    bool partial;           /* rights may differ within the page: good for these four bytes only */
};
/* The place behind a virtual address for (a part of) the instruction at pc; false: an exception was
 * raised (arch pc is the handler's). */
bool tlb_fetch_page(struct tcg_cpu *t, uint64_t va, uint64_t pc, struct fetch_place *out);
/* The page that instructions at pc come from, if that is remembered; else NULL. */
const uint8_t *tlb_code_page(struct tcg_cpu *t, uint64_t pc);
void tlb_jump_insert(struct tcg_cpu *t, uint64_t pc, const struct unit *u);
/* Code for pc, which instructions come from `page` for: of an entry made in another era, or NULL. */
const void *tlb_jump_renew(struct tcg_cpu *t, uint64_t pc, const uint8_t *page, uint32_t flags);
/* Code was written: nobody knows any more what stands where (tcg_code_is). */
void tlb_forget_checked(struct tcg *tcg);
/* Drop all remembered jumps, e.g. because units went away. */
void tlb_forget_jumps(struct tcg_cpu *t);
/* Where an access goes. */
struct tlb_place {
    uint64_t gpa;
    uint8_t *host;          /* NULL: not RAM */
    struct ram_block *ram;
    bool rom;               /* writes go to the dispatch */
    bool partial;           /* rights may differ within the page: good for these four bytes only */
};
/* Translate for one access within a page, and remember it. False: *fault for raise_memory. */
bool tlb_translate(struct tcg_cpu *t, uint64_t va, enum access access, unsigned mode,
                   struct tlb_place *out, int *fault);
/* What to add to addresses of [first, last] to reach them, if generated code may do so now; else 0. */
uint64_t tlb_addend(struct tcg_cpu *t, uint64_t first, uint64_t last, bool write, unsigned mode);
/* What IR_window computes: for how many turns, at most `most`, an access that begins at `first` now stays
 * inside its page, which becomes a window. 0: generated code may not access it now. */
uint64_t tlb_open_window(struct tcg_cpu *t, int64_t what, uint64_t first, uint64_t most);
/* It gives 0: count why, if an earlier window of the loop (then `most` is 0) or the page's end is not the reason. */
void tlb_window_refused(struct tcg_cpu *t, int64_t what, uint64_t first, uint64_t most);
/* The shared check of the instruction at `off` failed: its accesses were done one by one, slowly. When
 * that is what its time goes into, translate it anew without. */
void tlb_group_failed(struct tcg_cpu *t, int32_t off, bool vector);
/* Code is about to be translated from this page: forget that it can be written directly. True if a
 * vCPU other than `self` may be about to. */
bool tlb_protect_page(struct tcg *tcg, const uint8_t *page, const struct tcg_cpu *self);
/* Is every write to this page seen? Not yet while whoever begins to watch it may be waiting for those who write it. */
static inline bool tcg_sees_writes(const struct tcg *tcg, const struct ram_block *ram, const uint8_t *page)
{
    return atomic_load(&ram->page_flags[(uint64_t)(page - ram->host) >> 12]) & PAGE_HAS_CODE &&
           !atomic_load(&tcg->n_watching);
}
/* Forget every translation of addresses (the memory map changed). */
void tlb_flush_everything(struct tcg_cpu *t);

/* ---- softmmu.c: guest memory accesses that generated code does not do inline ----------------------- */
/* Host memory; aligned accesses are single-copy atomic, as the host's are. size 1, 2, 4, 8. */
uint64_t softmmu_host_load(const uint8_t *p, unsigned size);
void softmmu_host_store(uint8_t *p, unsigned size, uint64_t v);
/* All may raise: then they do not return. */
uint64_t softmmu_load(struct tcg_cpu *t, uint64_t va, unsigned shape, unsigned mode);
void softmmu_store(struct tcg_cpu *t, uint64_t va, uint64_t v, unsigned shape, unsigned mode);
/* Those of V128 and V256 values: v[0] is lowest. Loads fill with zeros what the access does not give. */
void softmmu_load128(struct tcg_cpu *t, uint64_t va, unsigned shape, unsigned mode, uint64_t v[2]);
void softmmu_store128(struct tcg_cpu *t, uint64_t va, const uint64_t v[2], unsigned shape,
                      unsigned mode);
void softmmu_load256(struct tcg_cpu *t, uint64_t va, unsigned shape, unsigned mode, uint64_t v[4]);
void softmmu_store256(struct tcg_cpu *t, uint64_t va, const uint64_t v[4], unsigned shape,
                      unsigned mode);
uint64_t softmmu_rmw(struct tcg_cpu *t, enum ir_rmw kind, uint64_t va, uint64_t v, unsigned shape,
                     unsigned mode);
uint64_t softmmu_cas(struct tcg_cpu *t, uint64_t va, uint64_t expected, uint64_t desired,
                     unsigned shape, unsigned mode);
/* IR_copy and IR_fill. */
uint64_t softmmu_copy(struct tcg_cpu *t, uint64_t to, uint64_t from, uint64_t n, unsigned shape,
                      unsigned mode);
uint64_t softmmu_fill(struct tcg_cpu *t, uint64_t to, uint64_t v, uint64_t n, unsigned shape,
                      unsigned mode);
/* An operation with IR_FP on bit patterns, by softfloat; flags go to fp_flags. */
uint64_t softfp_op(struct tcg_cpu *t, const struct ir_op *op, uint64_t a, uint64_t b, uint64_t c);

/* A vector operation (vec.h) in the guest's modes; flags go to fp_flags. */
union v128;
void softfp_vec(struct tcg_cpu *t, enum ir_vec vec, unsigned n, union v128 *r, const union v128 *a,
                const union v128 *b, const union v128 *c);

/* ---- host/<isa>/cas16.c, cas16_none.c ------------------------------------------------------------ */
/* Does this host compare and swap 16 bytes? `at` is a multiple of 16; *seen as in tcg_cas16. */
bool host_has_cas16(void);
bool host_cas16(uint8_t *at, uint64_t seen[2], const uint64_t desired[2]);

/* ---- cache.c ------------------------------------------------------------------------------------------ */
struct error *cache_init(struct tcg *tcg, size_t size);
/* The back end has put what all units share at the start: the rest is free for units. */
void cache_start(struct tcg *tcg);
void cache_free(struct tcg *tcg);
struct unit *cache_find(struct tcg *tcg, const uint8_t *page, int32_t off, uint32_t flags);
/* With tcg->lock held. */
struct unit *cache_unit(struct tcg *tcg, size_t n); /* memory for one of the current part */
void cache_publish(struct tcg *tcg, struct unit *u);
void cache_kill(struct tcg *tcg, struct unit *u);
/* Part `full` is: go on in the next one, emptying it if it is in use. Without the lock; the calling
 * vCPU must not be in generated code. */
void cache_make_room(struct tcg_cpu *t, unsigned full);
/* [off, off + n) of a RAM block was or will be written: kill the units that cover it. */
void cache_code_written(struct tcg *tcg, struct ram_block *ram, uint64_t off, uint64_t n);
/* Is there a unit of several instructions on the page, one of them at `pc_off`, made of some of its bytes
 * [from, to)? */
bool cache_covers(struct tcg *tcg, const uint8_t *page, int32_t pc_off, int32_t from, int32_t to);
/* Pieces of a page (bit n: bytes 64n to 64n + 63) whose accesses share no checks; with the lock held. And
 * make the one at `off` such. */
uint64_t cache_apart(struct tcg *tcg, const uint8_t *page);
uint64_t cache_chunks(int32_t from, int32_t to); /* the pieces that [from, to) touches */
void cache_set_apart(struct tcg *tcg, const uint8_t *page, int32_t off);
void cache_link(struct tcg *tcg, struct link *l, struct unit *to);
/* Kill all units with a flag; with the lock held. */
void cache_kill_flagged(struct tcg *tcg, uint32_t flag);

/* ---- translate.c --------------------------------------------------------------------------------------- */
/* The unit for guest pc; translated if need be. NULL: look at arch pc again, because an exception was
 * raised, or other vCPUs had to be waited for and all may be different now. */
struct unit *translate_find(struct tcg_cpu *t, uint64_t pc);
/* As translate_find, but generated code is not left, so nobody is waited for: NULL too if that takes to
 * translate it. */
const void *translate_lookup(struct tcg_cpu *t, uint64_t pc);
/* The same for the unit that l may be linked to, which is at pc; raises nothing. */
struct unit *translate_link(struct tcg_cpu *t, const struct link *l, uint64_t pc);
struct plan *plan_new(void); /* scratch for translate_find; free() */
/* For looking at, with the lock held and the vCPU standing: plan and IR of the unit at pc, whose page is given, and
 * that of what follows it (NULL: none); *u: the one in the cache, or NULL; `tell` hears what the second tier makes of
 * its loops, or would. False: there is no instruction. */
bool translate_again(struct tcg_cpu *t, uint64_t pc, const uint8_t *page, const uint8_t *page2,
                     struct plan *p, struct ir *ir, const struct unit **u,
                     const struct ir_teller *tell);
/* The k'th instruction of a plan: its length; 0: there are no more. */
unsigned plan_insn(const struct plan *p, unsigned k, int32_t *off, uint8_t bytes[32]);

/* A unit to be translated again, by the thread of tier.c. */
struct hot {
    const uint8_t *page;
    int32_t off;
    uint32_t flags;
    uint64_t pc;
};
struct again *again_new(void); /* scratch for translate_hot; free() */
void translate_hot(struct tcg *tcg, const struct hot *hot, struct again *again);

/* ---- tier.c --------------------------------------------------------------------------------------------- */
struct tier *tier_new(struct tcg *tcg);
void tier_free(struct tier *r); /* NULL will do */
/* The vCPU begins to run, goes on after an interruption, has ended; it was found in u. */
void tier_running(struct tcg_cpu *t);
void tier_goes_on(struct tcg_cpu *t);
void tier_stopped(struct tcg_cpu *t);
void tier_sample(struct tcg_cpu *t, struct unit *u);

/* ---- run.c ---------------------------------------------------------------------------------------------- */
/* Execution by this vCPU begins, has ended: between the two others wait for it who want to stand alone. */
void run_begin(struct tcg_cpu *t);
void run_end(struct tcg_cpu *t);
void run_end_alone(struct tcg_cpu *t);
/* From arch pc: until generated code is left for a reason other than a jump to a known address; one instruction, as
 * a unit of its own. */
void run_units(struct tcg_cpu *t);
void run_single(struct tcg_cpu *t);
/* Between the two every other vCPU stands outside generated code. The caller holds no unit, no host
 * address and no memory view across them: units may be freed, and the memory map may change. */
void run_enter_exclusive(struct tcg_cpu *t);
void run_leave_exclusive(struct tcg_cpu *t);
/* Run from u until generated code is left, with arch pc where to go on. The link it was left by, or NULL. */
struct link *tcg_enter(struct tcg_cpu *t, struct unit *u);
/* Where to go on from an indirect jump to pc without leaving generated code: a code address, or NULL
 * (arch pc was set) when the run loop must decide. */
const void *run_lookup(void *arch, uint64_t pc);
/* The same for the way out of a unit that leads nowhere yet; it leads there from now on. */
const void *run_link(void *arch, struct link *l);

/* ---- step.c: one unit at a time, for lock-step (core/accel.h) ------------------------------------------- */
bool step_interrupt(struct vcpu *cpu);
int step_prepare(struct vcpu *cpu, unsigned most, struct vcpu_code *code);
enum vcpu_exit step_run(struct vcpu *cpu);

/* ---- debug.c: for a debugger; all but the first two only while t->debug is there ------------------------- */
struct error *debug_set(struct vcpu *cpu, const struct vcpu_debug *want);
/* Does a UNIT_DEBUG unit end before this offset in its page? */
bool debug_stops_unit(const struct tcg *tcg, int32_t off);
/* UNIT_DEBUG or UNIT_ALONE for a unit at pc; 0: its page has no breakpoint. */
uint32_t debug_unit_flag(const struct tcg_cpu *t, uint64_t pc);
/* Is there a breakpoint? */
bool debug_is_point(const struct tcg_cpu *t, uint64_t pc);
/* Has it come to where run is to return EXIT_DEBUG? Asked before anything else is done. */
bool debug_stops(struct tcg_cpu *t);
void debug_took_interrupt(struct tcg_cpu *t);
/* Instead of run_units. */
void debug_run(struct tcg_cpu *t);
/* What of accesses to a page is watched. */
enum { WATCH_READS = 1, WATCH_WRITES = 2 };
unsigned debug_watched(const struct tcg_cpu *t, uint64_t page);
/* An access by the running instruction is sure to succeed. May leave, to come back with it as a unit of its own.
 * Two halves of it: only leave, and only take note. */
void debug_access(struct tcg_cpu *t, uint64_t va, uint64_t n, enum access access);
void debug_check(struct tcg_cpu *t, uint64_t va, uint64_t n, enum access access);
void debug_note(struct tcg_cpu *t, uint64_t va, uint64_t n, enum access access);
/* The instruction faults: what it accessed before, it will access again. */
void debug_forget_access(struct tcg_cpu *t);

/* ---- explain.c: accel's explain --------------------------------------------------------------------------- */
void tcg_explain(struct vcpu *cpu, uint64_t pc, void (*print)(void *opaque, const char *line),
                 void *opaque);
