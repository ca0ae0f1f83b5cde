/* What the translator asks of a guest CPU, and what a guest CPU's code may ask of the translator. */
#pragma once

#include "core/vcpu.h"
#include "tcg/ir.h"

#include <stdnoreturn.h>

enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_EXEC };

/* One instruction as found by scan. */
enum insn_kind {
    INSN_PLAIN,   /* goes on with the next */
    INSN_BRANCH,  /* to `target` or the next */
    INSN_JUMP,    /* to `target` */
    INSN_CALL,    /* to `target`, expected to come back behind it */
    INSN_CALL_INDIRECT, /* expected to come back behind it */
    INSN_RETURN,  /* expected to go behind a call */
    INSN_END,     /* indirect jump, trap, system: nothing known follows */
};
struct insn_scan {
    uint8_t len;     /* bytes; 0: more bytes are needed than were given */
    uint8_t kind;
    int32_t target;  /* BRANCH, JUMP, CALL: relative to the unit's page */
    uint64_t cookie[16]; /* handed to translate */
};

/* Translation of one unit. */
struct tr {
    struct ir *ir;
    struct vcpu *cpu;
    uint32_t flags;       /* the state word that selected this translation */
    int32_t off, next;    /* this instruction and the one behind it, relative to the unit's page */
    uint8_t len;
    uint16_t guess;       /* the target's own: what target.guess said, or 0 */
    uint32_t note;        /* the target's own; 0 at the start of a block that not only the
                             instruction before leads to (forget what was learnt) */
};

/* Result of an address translation. */
struct tlb_fill {
    uint64_t gpa;         /* of the byte asked for */
    uint64_t page_size;   /* 1: only this access, do not remember; else power of two >= 4096: what is around the
                           * byte, so aligned, translates likewise */
    uint64_t flush_size;  /* where the guest's page is larger than that: to flush an address in it flushes all of it */
    bool r, w, x;         /* what this mapping allows now (w only if dirty bookkeeping is done) */
    bool user;            /* mode 0 reaches it as user_key says, for as long as that holds */
    bool global;
    int fault;            /* when translation failed: the target's own number for raise_memory */
};

struct tcg_target {
    const struct target *target;
    const struct ir_slot *slots;
    uint16_t n_slots;
    const struct ir_helper *const *helpers; /* for the IR parser and -d op */
    size_t n_helpers;
    uint16_t pc_offset;    /* of the uint64_t program counter in arch */
    uint16_t flags_offset; /* of the uint32_t state word in arch: kept ready by the target, see
                              tcg_context_changed */
    uint16_t fp_flags_offset; /* of the uint8_t sticky floating-point flags (SF_*) in arch: the truth
                                 while stopped, loaded and stored by set_state and get_state */
    unsigned max_insn_len, insn_align;
    unsigned unit_insns; /* most instructions of a unit, unless the user says otherwise */
    unsigned hot_insns;  /* and of one of the second tier */
    bool canonical_nan;    /* floating point results that are NaN are the canonical one; else the first operand
                              that is a NaN, made quiet, and the default one is negative (SF_NAN_SSE) */
    bool subnormal_flag;   /* SF_DENORMAL is one of the sticky flags */
    bool open_bus;         /* where there is no memory, loads give ones and stores are lost */
    bool wide_vectors;     /* builds V256 operations where struct ir says that there are any */
    bool sees_own_writes;    /* a store into the code ahead is seen by the next instruction (x86), without a barrier */
    bool misaligned_atomics; /* rmw and cas take any address (the whole VM stops for such a one) */

    /* A number for all that scan and translate heed besides the bytes and the state word (the CPU model's features).
     * NULL: this guest's units are not kept in a file. */
    uint64_t (*identity)(struct vm *vm);
    /* The VM is being made for this engine: fit the CPU model to what the target can do. May be NULL. */
    struct error *(*fit)(struct vm *vm);
    /* Length and control flow of the instruction at `bytes`, all of *out but what its kind leaves open. n bytes are
     * there. */
    void (*scan)(struct vcpu *cpu, uint32_t flags, const uint8_t *bytes, size_t n, int32_t off,
                 struct insn_scan *out);
    /* Build its IR. Every instruction that can end a unit must (INSN_BRANCH...: with the matching
     * ir_branch...). A plain instruction may end it too (ir_leave, ir_jump to t->next). Illegal
     * instructions raise by a call with IR_CALL_RAISES. */
    void (*translate)(struct tr *t, const struct insn_scan *insn);
    void (*begin_unit)(struct tr *t);
    /* What the CPU, which is about to begin a unit for the first time, may well be like each time: translate
     * is told, and has generated code look whether it is so. NULL: nothing. */
    uint16_t (*guess)(struct vcpu *cpu);
    /* run() is entered, is about to return: the registers of arch into the form that slots have, and
     * back. NULL where that is the same. vCPU's thread, outside generated code. */
    void (*resume)(struct vcpu *cpu);
    void (*settle)(struct vcpu *cpu);
    /* The CPU is another engine's, and comes for the instruction at pc. Its name; NULL: only that engine can execute
     * it, or nobody. Behind resume. And it goes back: what that engine keeps by itself is as it was. Behind settle.
     * Both NULL: such a CPU never comes. */
    const char *(*borrow)(struct vcpu *cpu);
    void (*give_back)(struct vcpu *cpu);

    /* Translate a guest virtual address. Returns true and fills *out, or false with out->fault, which
     * raise_memory then gets. No side effect but accessed/dirty bits. `mode` is the memory
     * operation's mmu mode (fetches: 0). */
    bool (*translate_address)(struct vcpu *cpu, uint64_t va, enum access access, unsigned mode,
                              struct tlb_fill *out);
    /* Set up the trap for a failed access; arch pc is the faulting instruction's and becomes the trap
     * vector. `fault` is meant for MEM_FAULT_TRANSLATION only. */
    void (*raise_memory)(struct vcpu *cpu, uint64_t va, enum access access, int kind, int fault);
    /* Numbers naming the address space and rights of fetches (-1) and of data accesses (mode), any
     * 64-bit value: equal keys must translate equally until a flush. */
    uint64_t (*context_key)(struct vcpu *cpu, int mode);
    /* Supervisor code that may reach user pages now (RISC-V's SUM): the key of the space whose mappings
     * those are, with the same rights, so that they are found where the user's own accesses put them.
     * False: it may not. May be NULL: then nothing is filled with `user`. When the answer changes,
     * tcg_drop_user_pages. */
    bool (*user_key)(struct vcpu *cpu, uint64_t *key);
    unsigned n_modes;
    /* An interrupt is to be taken: set up its trap and return true. vCPU's thread, state in arch. None while
     * vcpu.holds_interrupts, but what a CPU that stands still waits for. */
    bool (*take_interrupt)(struct vcpu *cpu);
    /* Does the CPU stand still (HLT, wait for a start)? NULL: never, but by tcg_halt. Asked behind
     * take_interrupt; has_work then tells when to ask again. */
    bool (*waits)(struct vcpu *cpu);
    /* Floating point: rounding mode of the guest as SF_RNE.. (softfloat.h), with TCG_FP_FLUSH_*: only
     * vector operations heed those. */
    uint8_t (*rounding)(struct vcpu *cpu);
};

enum {
    TCG_FP_ROUNDING = 0x07,
    TCG_FP_FLUSH_INPUTS = 0x10,  /* subnormal operands count as zero */
    TCG_FP_FLUSH_RESULTS = 0x20, /* subnormal results become zero */
    TCG_FP_TRAP_UNDERFLOW = 0x40, /* somebody stops at underflow, overflow: inexact is then what it were with */
    TCG_FP_TRAP_OVERFLOW = 0x80,  /* exponents without end. Only called vector operations heed these */
};

enum { MEM_FAULT_TRANSLATION, MEM_FAULT_NO_MEMORY, MEM_FAULT_MISALIGNED };

/* ---- services for the target's helpers; all on the vCPU's own thread ---------------------------- */
/* The guest address of the instruction whose IR_CALL_RAISES helper is running. */
uint64_t tcg_insn_pc(struct vcpu *cpu);
/* Leave the helper and the unit for the run loop; arch holds everything, pc included (the caller set
 * it: to the trap vector, or tcg_insn_pc to execute the instruction again, or behind it). */
noreturn void tcg_leave(struct vcpu *cpu);
/* As tcg_leave, and halt until has_work. */
noreturn void tcg_halt(struct vcpu *cpu);
/* Privilege, address space, rights or the state word may have changed: recompute context_key. Cheap
 * when nothing changed. Must be followed by leaving the unit (ir_leave or tcg_leave) if fetches or
 * the state word changed; data modes may change without. */
void tcg_context_changed(struct vcpu *cpu);
/* The same for who knows what context_key would say: of fetches, and of each mode. */
void tcg_context_is(struct vcpu *cpu, uint64_t fetch_key, const uint64_t *data_keys);
/* Forget translations of addresses: all; one page in every address space; all of the contexts with
 * (key & mask) == value. If fetches are concerned, leave the unit (ir_leave): predicted returns know
 * old addresses. The same is all that an instruction barrier takes: code that was written is forgotten
 * when it is written. */
void tcg_flush_all(struct vcpu *cpu);
void tcg_flush_page(struct vcpu *cpu, uint64_t va);
void tcg_flush_contexts(struct vcpu *cpu, uint64_t mask, uint64_t value);
/* What user_key says changed: generated code no longer finds what was filled with `user`. */
void tcg_drop_user_pages(struct vcpu *cpu);
/* Sticky floating-point flags (SF_INVALID...) raised in generated code so far; and set them. The
 * rounding mode, or how subnormal numbers are treated, changed. */
uint8_t tcg_fp_flags(struct vcpu *cpu);
void tcg_fp_set_flags(struct vcpu *cpu, uint8_t flags);
void tcg_rounding_changed(struct vcpu *cpu);
/* Guest memory access by virtual address with the effects of a load or store of the guest: may
 * raise (then does not return). size 1, 2, 4, 8. */
uint64_t tcg_load(struct vcpu *cpu, uint64_t va, unsigned size, unsigned mode);
void tcg_store(struct vcpu *cpu, uint64_t va, unsigned size, uint64_t v, unsigned mode);
/* The same without raising: false if it may not be, and why: translate_address's word on this address (-1:
 * there is no memory). Nothing is done then. May be called outside generated code, too (take_interrupt). */
struct tcg_failure {
    uint64_t va;
    int fault;
};
bool tcg_try_load(struct vcpu *cpu, uint64_t va, unsigned size, unsigned mode, uint64_t *v,
                  struct tcg_failure *why);
bool tcg_try_store(struct vcpu *cpu, uint64_t va, unsigned size, uint64_t v, unsigned mode,
                   struct tcg_failure *why);
/* Are these the first 4 bytes of the instruction at pc? False, too, where it is not known from which page
 * that comes, or they are not all in it. If so helpers with IR_CALL_ONCE are not called for pc until another
 * one may stand there. */
bool tcg_code_is(struct vcpu *cpu, uint64_t pc, uint32_t bytes);
/* Atomically: 16 bytes at `va` (a multiple of 16, else it raises MEM_FAULT_MISALIGNED) become `desired` if they
 * are `seen`; else *seen is what they are. [0] is the low half. May raise. */
bool tcg_cas16(struct vcpu *cpu, uint64_t va, uint64_t seen[2], const uint64_t desired[2], unsigned mode);
/* 16 bytes, little-endian. */
void tcg_load128(struct vcpu *cpu, uint64_t va, unsigned mode, uint64_t v[2]);
void tcg_store128(struct vcpu *cpu, uint64_t va, const uint64_t v[2], unsigned mode);
/* Raises what an access would, and does nothing else. size at most 4096. */
void tcg_probe(struct vcpu *cpu, uint64_t va, unsigned size, enum access access, unsigned mode);
/* Zero [va, va + n), which lies in one page, as a guest store would; n a multiple of 8. */
void tcg_zero(struct vcpu *cpu, uint64_t va, unsigned n, unsigned mode);
/* Host memory behind the page of va, from va on, if it is plain RAM (else false); may raise. Good until the vCPU
 * returns to generated code. Who writes there says so afterwards; true: code was there, leave the unit soon. */
struct tcg_ram {
    uint8_t *host;
    struct ram_block *ram; /* NULL: generated code may access the page, so nobody asks what is written there */
};
bool tcg_ram_at(struct vcpu *cpu, uint64_t va, enum access access, unsigned mode, struct tcg_ram *out);
bool tcg_ram_written(struct vcpu *cpu, const struct tcg_ram *r, unsigned n);
/* The guest says that it waits in a loop. Others may have the processor; where there is no other vCPU it
 * waits for time to pass, and sleeps a little if it does so for long. */
void tcg_pause(struct vcpu *cpu);
/* Is a debugger to see each turn of a repeated instruction? Then the helper does one and has the unit branch back
 * to the instruction. */
bool tcg_one_turn(struct vcpu *cpu);
/* Before tcg_try_load or _store on behalf of the running instruction, where that may begin again (and does, once, if
 * a debugger watches the data). */
void tcg_watch(struct vcpu *cpu, uint64_t va, unsigned size, enum access access);
/* Instructions executed by this vCPU so far: an estimate from time until tcg_count_instructions is
 * called, exact from then on for as long as somebody asks again within a tenth of a second. */
uint64_t tcg_instructions(struct vcpu *cpu);
void tcg_count_instructions(struct vcpu *cpu);
bool tcg_is_counting(struct vcpu *cpu);

/* What loads and stores of a TSO guest (x86) need said on this host: IR_ACQUIRE, IR_RELEASE, or nothing. */
extern const uint8_t tcg_tso_load, tcg_tso_store;

extern const struct tcg_target *const tcg_targets[];
extern const size_t n_tcg_targets;
