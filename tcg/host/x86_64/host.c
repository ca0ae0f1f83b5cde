/* The pieces that all units share, and the C side of slow calls. */
#include "tcg/host/x86_64/host.h"

#include "core/error.h"
#include "core/hash.h"
#include "core/util.h"
#include "tcg/softfloat.h"
#include "tcg/vec.h"

#include <cpuid.h>
#include <immintrin.h>
#include <stdlib.h>

static const uint8_t pin_gprs[] = { RBX, R12, R13, R14, R15, R8, R9, R10, R11 };
static const uint8_t saved_temps[] = { RAX, RCX, RDX, RSI, RDI };
enum { FIRST_PIN_XMM = 6, RETURN_DEPTH = 32 << 10 };

/* No guest address looks like this. */
#define NO_RETURN 0x5a5a000000000001ull

/* The hottest slots get the pinned registers. */
static void pin_slots(struct host *h, const struct tcg_target *target)
{
    memset(h->slot_reg, -1, sizeof(h->slot_reg));
    memset(h->reg_slot, -1, sizeof(h->reg_slot));
    for (unsigned k = 0; k < ARRAY_LEN(pin_gprs) + 16 - FIRST_PIN_XMM; k++) {
        bool fp = k >= ARRAY_LEN(pin_gprs);
        unsigned r = fp ? XMM0 + FIRST_PIN_XMM + k - ARRAY_LEN(pin_gprs) : pin_gprs[k];
        int best = -1;
        for (int s = 0; s < target->n_slots; s++)
            if (target->slots[s].heat && h->slot_reg[s] < 0 &&
                (target->slots[s].type != IR_I64) == fp &&
                (best < 0 || target->slots[s].heat > target->slots[best].heat))
                best = s;
        if (best >= 0) {
            h->slot_reg[best] = r;
            h->reg_slot[r] = best;
        }
    }
}

/* Which slots are the 16 bytes above those of pinned ones. */
static void find_upper_slots(struct host *h, const struct tcg_target *target)
{
    memset(h->below, -1, sizeof(h->below));
    for (unsigned r = XMM0; r < 32; r++)
        for (int s = 0; s < target->n_slots && h->reg_slot[r] >= 0; s++) {
            const struct ir_slot *lower = &target->slots[h->reg_slot[r]],
                                 *upper = &target->slots[s];
            if (lower->type == IR_V128 && upper->type == IR_V128 &&
                upper->offset == lower->offset + 16 && h->slot_reg[s] < 0)
                h->below[s] = (int8_t)r;
        }
}

static void find_features(struct host *h)
{
    __builtin_cpu_init();
    h->avx = __builtin_cpu_supports("avx");
    h->bmi1 = __builtin_cpu_supports("bmi") && h->avx;
    h->bmi2 = __builtin_cpu_supports("bmi2") && h->avx;
    h->fma = __builtin_cpu_supports("fma") && h->avx;
    h->popcnt = __builtin_cpu_supports("popcnt");
    unsigned a, b, c = 0, d;
    if (__get_cpuid(0x80000001, &a, &b, &c, &d))
        h->lzcnt = c >> 5 & 1;
    h->vector = (__builtin_cpu_supports("sse3") ? HAS_SSE3 : 0) |
                (__builtin_cpu_supports("ssse3") ? HAS_SSSE3 : 0) |
                (__builtin_cpu_supports("sse4.1") ? HAS_SSE41 : 0) |
                (__builtin_cpu_supports("sse4.2") ? HAS_SSE42 : 0) |
                (__builtin_cpu_supports("aes") ? HAS_AES : 0) |
                (__builtin_cpu_supports("pclmul") ? HAS_CLMUL : 0) | (h->avx ? HAS_AVX : 0) |
                (h->avx && __builtin_cpu_supports("avx2") ? HAS_AVX2 : 0);
    if (__get_cpuid(1, &a, &b, &c, &d))
        h->vector |= h->avx && c >> 29 & 1 ? HAS_F16C : 0;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d))
        h->vector |= b >> 29 & 1 ? HAS_SHA : 0;
}

/* ---- shared code ---------------------------------------------------------------------------------- */

static void move_xmm(struct buf *b, bool whole, unsigned x, struct mem m, bool store)
{
    move_rm(b, whole ? 0 : 0xf2, store ? 0x11 : 0x10, x, m); /* movups, movsd */
}

static void move_pinned(struct buf *b, const struct host *h, const struct tcg_target *target,
                        bool store)
{
    for (unsigned r = 0; r < 32; r++) {
        if (h->reg_slot[r] < 0)
            continue;
        struct mem m = MEM(RBP, target->slots[h->reg_slot[r]].offset);
        if (r >= XMM0)
            move_xmm(b, target->slots[h->reg_slot[r]].type == IR_V128, r - XMM0, m, store);
        else if (store)
            mov_mr(b, true, m, r);
        else
            mov_rm(b, true, r, m);
    }
}

static struct mem vector_mem(unsigned x)
{
    return MEM(RBP,
               TCG_DISP(vectors) + (int32_t)sizeof(((struct tcg_cpu *)0)->vectors[0]) * (int32_t)x);
}

static void move_temps(struct buf *b, bool store)
{
    for (unsigned k = 0; k < ARRAY_LEN(saved_temps); k++) {
        struct mem m = MEM(RBP, TCG_DISP(regs) + 8 * saved_temps[k]);
        if (store)
            mov_mr(b, true, m, saved_temps[k]);
        else
            mov_rm(b, true, saved_temps[k], m);
    }
    for (unsigned x = 0; x < FIRST_PIN_XMM; x++)
        move_xmm(b, true, x, vector_mem(x), store);
}

/* As move_temps, with all of the vector registers: pinned ones may hold V256 values, too. Their lower halves come from
 * their slots, after move_pinned. */
static void move_wide(struct buf *b, const struct host *h, const struct tcg_target *target,
                      bool store)
{
    if (store) {
        for (unsigned x = 0; x < HOST_VECTORS; x++)
            move_ymm_rm(b, x, vector_mem(x), true);
        return;
    }
    for (unsigned x = 0; x < HOST_VECTORS; x++) {
        struct mem m = vector_mem(x), upper = vector_mem(x);
        int slot = h->reg_slot[XMM0 + x];
        upper.disp += 16;
        if (slot < 0)
            move_ymm_rm(b, x, m, false);
        else if (target->slots[slot].type == IR_V128)
            insert_upper_m(b, x, x, upper);
    }
}

/* C code may have been compiled to instructions that upper halves in use make slow. */
static void put_call_c(struct buf *b, const void *fn)
{
    if (b->vex)
        vzeroupper(b);
    mov_ri(b, RAX, (int64_t)(intptr_t)fn);
    op_rr(b, false, 0xff, 2, RAX);
}

enum { FRAME = 24 };

static void put_epilogue(struct buf *b)
{
    static const uint8_t pops[] = { R15, R14, R13, R12, RBX, RBP };
    if (b->vex)
        vzeroupper(b);
    mov_rm(b, true, RSP, MEM(RBP, TCG_DISP(host_sp)));
    alu_ri(b, true, ALU_ADD, RSP, FRAME);
    for (unsigned k = 0; k < ARRAY_LEN(pops); k++)
        pop_r(b, pops[k]);
    put8(b, 0xc3);
}

/* struct link *enter(void *arch, const void *code, uint64_t pc) */
static void put_enter(struct buf *b, const struct host *h, const struct tcg_target *target)
{
    static const uint8_t pushes[] = { RBP, RBX, R12, R13, R14, R15 };
    for (unsigned k = 0; k < ARRAY_LEN(pushes); k++)
        push_r(b, pushes[k]);
    alu_ri(b, true, ALU_SUB, RSP, FRAME);
    mov_rr(b, true, RBP, RDI);
    mov_mr(b, true, MEM(RBP, TCG_DISP(host_sp)), RSP);
    lea(b, true, RAX, MEM(RSP, -RETURN_DEPTH));
    mov_mr(b, true, MEM(RBP, TCG_DISP(stack_limit)), RAX);
    mov_ri(b, RAX, (int64_t)NO_RETURN);
    mov_mr(b, true, MEM(RSP, 8), RAX);
    move_pinned(b, h, target, false);
    mov_rr(b, true, RAX, RDX);
    jmp_reg(b, RSI);
}

static uint8_t sticky_flags(const struct tcg_target *target, unsigned mxcsr)
{
    return (mxcsr & 2 && target->subnormal_flag ? SF_DENORMAL : 0) | (mxcsr & 1 ? SF_INVALID : 0) |
           (mxcsr & 4 ? SF_DIV_BY_ZERO : 0) | (mxcsr & 8 ? SF_OVERFLOW : 0) |
           (mxcsr & 16 ? SF_UNDERFLOW : 0) | (mxcsr & 32 ? SF_INEXACT : 0);
}

/* Called; a struct slow_site behind the call. wide: there may be V256 values in registers. */
static void put_slow(struct buf *b, const struct host *h, const struct tcg_target *target,
                     bool wide)
{
    move_pinned(b, h, target, true);
    move_temps(b, true);
    if (wide)
        move_wide(b, h, target, true);
    pop_r(b, RSI);
    mov_rr(b, true, RDI, RBP);
    mov_rr(b, true, RDX, RSP);
    put_call_c(b, (const void *)host_slow_call);
    mov_mr(b, true, MEM(RBP, TCG_DISP(resume)), RAX);
    move_temps(b, false);
    move_pinned(b, h, target, false);
    if (wide)
        move_wide(b, h, target, false);
    jmp_mem(b, MEM(RBP, TCG_DISP(resume)));
}

static int32_t far_disp(size_t field)
{
    return TCG_DISP(far_jumps) + (int32_t)field;
}

void put_jump_index(struct buf *b, const struct host *h)
{
    if (h->bmi2) { /* of the result the low bits are wanted */
        rorx(b, false, RCX, RAX, JUMP_FOLD);
    } else {
        mov_rr(b, false, RCX, RAX);
        shift_ri(b, false, SHIFT_SHR, RCX, JUMP_FOLD);
    }
    alu_rr(b, false, ALU_XOR, RCX, RAX);
    alu_ri(b, false, ALU_AND, RCX, ((1 << JUMP_CACHE_BITS) - 1) << 1);
}

/* An entry of another era, at far_jumps + rsi, is good if instructions at rax come from its page still, which itlb knows:
 * as tlb_jump_renew. Else one of the jumps `no` is taken. rcx and rdi are scratch. */
enum { NOT_RENEWED = 6 };
static void put_renew_jump(struct buf *b, int32_t flags, int32_t era, uint8_t *no[NOT_RENEWED])
{
    const int32_t itlb = TCG_DISP(itlb);
    alu_mi(b, true, ALU_CMP, MEM(RBP, TCG_DISP(debug)), 0); /* its units have other flags */
    no[0] = jcc32(b, CC_NE);
    mov_rm(b, true, RDI, MEM(RBP, TCG_DISP(world)));
    alu_rm(b, true, ALU_CMP, RDI, MEMX(RBP, RSI, 0, far_disp(offsetof(struct far_jump, world))));
    no[1] = jcc32(b, CC_NE);
    mov_rm(b, false, RDI, MEM(RDX, flags));
    alu_rm(b, false, ALU_CMP, RDI, MEMX(RBP, RSI, 0, far_disp(offsetof(struct far_jump, flags))));
    no[2] = jcc32(b, CC_NE);
    mov_rr(b, true, RDI, RAX);
    shift_ri(b, true, SHIFT_SHR, RDI, 12 - ITLB_ENTRY_BITS);
    alu_rm(b, true, ALU_XOR, RDI, MEM(RBP, TCG_DISP(itlb_salt)));
    alu_ri(b, false, ALU_AND, RDI, (ITLB_SIZE - 1) << ITLB_ENTRY_BITS);
    mov_rr(b, true, RCX, RAX);
    alu_ri(b, true, ALU_AND, RCX, -4096);
    alu_rm(b, true, ALU_CMP, RCX,
           MEMX(RBP, RDI, 0, itlb + (int32_t)offsetof(struct itlb_entry, va)));
    no[3] = jcc32(b, CC_NE);
    mov_rm(b, true, RCX, MEM(RDX, era));
    alu_rm(b, true, ALU_CMP, RCX,
           MEMX(RBP, RDI, 0, itlb + (int32_t)offsetof(struct itlb_entry, era)));
    no[4] = jcc32(b, CC_NE);
    mov_rm(b, true, RDI, MEMX(RBP, RDI, 0, itlb + (int32_t)offsetof(struct itlb_entry, page)));
    alu_rm(b, true, ALU_CMP, RDI, MEMX(RBP, RSI, 0, far_disp(offsetof(struct far_jump, page))));
    no[5] = jcc32(b, CC_NE);
    mov_mr(b, true, MEMX(RBP, RSI, 0, far_disp(offsetof(struct far_jump, era))), RCX);
}

/* Go on where the table of all jumps says, which its jump cache then knows, too; fall through where it does not.
 * rax = guest pc, rdx = jumps, rcx = twice the index there. As tlb_jump_insert; the page is in the filter. */
static void put_far_jump(struct buf *b, const struct host *h)
{
    const int32_t jumps = offsetof(struct fetch_context, jumps);
    const int32_t era = (int32_t)offsetof(struct fetch_context, era) - jumps;
    const int32_t flags = (int32_t)offsetof(struct fetch_context, flags) - jumps;
    const int32_t n_made = (int32_t)offsetof(struct fetch_context, n_made) - jumps;
    const int32_t made = (int32_t)offsetof(struct fetch_context, made) - jumps;
    uint8_t *no[NOT_RENEWED];
    mov_rr(b, false, RSI, RAX);
    shift_ri(b, false, SHIFT_SHR, RSI, FAR_JUMP_FOLD);
    alu_rr(b, false, ALU_XOR, RSI, RAX);
    alu_ri(b, false, ALU_AND, RSI, ((1 << FAR_JUMP_BITS) - 1) << 1);
    shift_ri(b, false, SHIFT_SHL, RSI, FAR_JUMP_LOG2 - 1);
    alu_rm(b, true, ALU_CMP, RAX, MEMX(RBP, RSI, 0, far_disp(offsetof(struct far_jump, pc))));
    uint8_t *other_pc = jcc32(b, CC_NE);
    mov_rm(b, true, RDI, MEM(RDX, era));
    alu_rm(b, true, ALU_CMP, RDI, MEMX(RBP, RSI, 0, far_disp(offsetof(struct far_jump, era))));
    uint8_t *same_era = jcc32(b, CC_E);
    put_renew_jump(b, flags, era, no);
    put_jump_index(b, h);
    patch_to(same_era, b->p);
    mov_rm(b, true, RDI, MEMX(RBP, RSI, 0, far_disp(offsetof(struct far_jump, code))));
    mov_mr(b, true, MEMX(RDX, RCX, 3, 0), RAX);
    mov_mr(b, true, MEMX(RDX, RCX, 3, 8), RDI);
    mov_rm(b, false, RSI, MEM(RDX, n_made));
    alu_ri(b, false, ALU_CMP, RSI, JUMPS_MADE);
    uint8_t *many = jcc32(b, CC_A);
    alu_mi(b, false, ALU_ADD, MEM(RDX, n_made), 1);
    alu_ri(b, false, ALU_CMP, RSI, JUMPS_MADE);
    uint8_t *full = jcc32(b, CC_E);
    shift_ri(b, false, SHIFT_SHR, RCX, 1);
    op_rm_full(b, 0x66, false, false, 0x89, RCX, MEMX(RDX, RSI, 1, made));
    patch_to(many, b->p);
    patch_to(full, b->p);
    jmp_reg(b, RDI);
    patch_to(other_pc, b->p);
    for (unsigned k = 0; k < NOT_RENEWED; k++)
        patch_to(no[k], b->p);
}

/* Ask `fn` (arch, rsi) where to go on, with the address in arch pc; frames stay. Fall through, with rax = 0, where it
 * does not know. */
static void put_ask(struct buf *b, const struct host *h, const struct tcg_target *target,
                    const void *fn)
{
    move_pinned(b, h, target, true);
    mov_rr(b, true, RDI, RBP);
    mov_rr(b, true, RBX, RSP);
    alu_ri(b, true, ALU_AND, RSP, -16);
    put_call_c(b, fn);
    mov_rr(b, true, RSP, RBX);
    test_rr(b, true, RAX, RAX);
    uint8_t *none = jcc32(b, CC_E);
    mov_mr(b, true, MEM(RBP, TCG_DISP(resume)), RAX);
    move_pinned(b, h, target, false);
    mov_rm(b, true, RAX, MEM(RBP, target->pc_offset));
    jmp_mem(b, MEM(RBP, TCG_DISP(resume)));
    patch_to(none, b->p);
}

static struct error *host_init(struct tcg *tcg)
{
    struct host *h = xcalloc(1, sizeof(*h));
    tcg->backend_data = h;
    h->gen = gen_new();
    find_features(h);
    if (tcg->baseline_host) {
        h->avx = h->bmi1 = h->bmi2 = h->fma = h->lzcnt = h->popcnt = false;
        h->vector = 0;
    }
    const struct tcg_target *target = tcg->target;
    h->wide = target->wide_vectors && h->vector & HAS_AVX2 && h->fma;
    tcg->wide = h->wide;
    pin_slots(h, target);
    find_upper_slots(h, target);

    struct buf b = { .p = tcg->rw + 64, .end = tcg->rw + 4096 }; /* offset 0 means "none" */
    b.vex = h->wide;
    h->flag_table = b.p - tcg->rw;
    for (unsigned v = 0; v < 64; v++)
        put8(&b, sticky_flags(target, v));
    h->enter = b.p - tcg->rw;
    put_enter(&b, h, target);

    h->leave = b.p - tcg->rw; /* called from a stub, the link's address behind the call */
    pop_r(&b, RSI);
    mov_rm(&b, true, RSI, MEM(RSI, 0));
    mov_mr(&b, true, MEM(RBP, TCG_DISP(regs)), RSI);
    put_ask(&b, h, target, (const void *)run_link);
    mov_rm(&b, true, RAX, MEM(RBP, TCG_DISP(regs)));
    put_epilogue(&b);

    h->slow = b.p - tcg->rw;
    put_slow(&b, h, target, false);
    h->slow_wide = b.p - tcg->rw;
    if (h->wide)
        put_slow(&b, h, target, true);

    h->return_miss = b.p - tcg->rw; /* a return that was not predicted: rax = guest pc */
    mov_rm(&b, true, RSP, MEM(RBP, TCG_DISP(host_sp)));
    mov_rm(&b, true, RDX, MEM(RBP, TCG_DISP(jumps)));
    put_jump_index(&b, h);
    alu_rm(&b, true, ALU_CMP, RAX, MEMX(RDX, RCX, 3, 0));
    uint8_t *miss = jcc32(&b, CC_NE);
    jmp_mem(&b, MEMX(RDX, RCX, 3, 8));
    patch_to(miss, b.p);

    h->indirect =
        b.p - tcg->rw; /* jumped to or called: rax = guest pc, not in the jump cache rdx at rcx */
    put_far_jump(&b, h);
    mov_rr(&b, true, RSI, RAX);
    put_ask(&b, h, target, (const void *)run_lookup); /* rax = 0: no link */
    put_epilogue(&b);
    tcg->common_end = (uint32_t)align_up(b.p - tcg->rw, 64);
    return NULL;
}

static uint64_t host_identity(const struct tcg *tcg)
{
    static const uint64_t key[2];
    const struct host *h = tcg->backend_data;
    const uint32_t facts[] = { h->avx,       h->bmi1,     h->bmi2,        h->lzcnt,
                               h->popcnt,    h->fma,      h->wide,        h->vector,
                               h->enter,     h->leave,    h->flag_table,  h->slow,
                               h->slow_wide, h->indirect, h->return_miss, tcg->common_end };
    const uint64_t both[] = { hash64(key, facts, sizeof(facts)),
                              hash64(key, h->slot_reg, sizeof(h->slot_reg)) };
    return hash64(key, both, sizeof(both)) | 1;
}

static void host_fini(struct tcg *tcg)
{
    struct host *h = tcg->backend_data;
    if (h)
        free(h->gen);
    free(h);
}

static struct link *host_enter(struct tcg_cpu *t, struct unit *u)
{
    typedef struct link *enter_fn(void *arch, const void *code, uint64_t pc);
    const struct host *h = t->tcg->backend_data;
    enter_fn *enter = (enter_fn *)(uintptr_t)(t->tcg->rx + h->enter);
    return enter(t->cpu->arch, u->entry, t->pc_page + (uint64_t)(int64_t)u->off);
}

static void host_set_link(struct tcg *tcg, struct link *l, struct unit *to)
{
    uint32_t target = to ? to->chain_at : l->stub_at;
    int32_t rel = (int32_t)(target - (l->jump_at + 4));
    __atomic_store_n((int32_t *)(tcg->rw + l->jump_at), rel, __ATOMIC_RELEASE);
}

/* The entry's first instruction has seven bytes at an 8-aligned address: it is replaced by a jump in
 * one store, and no processor can be in the middle of it. */
static void host_kill(struct tcg *tcg, struct unit *u)
{
    uint64_t *at = (uint64_t *)(tcg->rw + u->chain_at), code = *at;
    uint32_t rel = u->kill_at - (u->chain_at + 5);
    code = (code & 0xffffff0000000000ull) | (uint64_t)rel << 8 | 0xe9;
    __atomic_store_n(at, code, __ATOMIC_RELEASE);
}

/* The stub of each link, a call and eight bytes, learns where the link is. */
static void host_place_links(struct tcg *tcg, struct unit *u)
{
    for (unsigned i = 0; i < u->n_links; i++) {
        struct link *l = &u->links[i];
        memcpy(tcg->rw + l->stub_at + 5, &l, sizeof(l));
    }
}

/* ---- floating-point control (SDM volume 1, 10.2.3) --------------------------------------------------- */

static void host_fp_resume(struct tcg_cpu *t)
{
    static const uint8_t rc[] = {
        [SF_RNE] = 0, [SF_RTZ] = 3, [SF_RDN] = 1, [SF_RUP] = 2, [SF_RMM] = 0
    };
    unsigned mode = t->fp_rounding <= SF_RMM ? rc[t->fp_rounding] : 0;
    _mm_setcsr(0x1f80 | mode << 13 | (t->fp_flush & TCG_FP_FLUSH_INPUTS ? 1 << 6 : 0) |
               (t->fp_flush & TCG_FP_FLUSH_RESULTS ? 1 << 15 : 0));
    t->fp_live = true;
}

static void host_fp_suspend(struct tcg_cpu *t)
{
    t->fp_flags |= sticky_flags(t->target, _mm_getcsr());
    _mm_setcsr(0x1f80);
    t->fp_live = false;
}

/* ---- slow calls ------------------------------------------------------------------------------------------ */

static uint64_t *reg_place(struct tcg_cpu *t, void *arch, unsigned code)
{
    const struct host *h = t->tcg->backend_data;
    if (code >= ARG_SPILL)
        return t->spills[code - ARG_SPILL];
    if (h->reg_slot[code] >= 0)
        return (uint64_t *)((char *)arch + t->target->slots[h->reg_slot[code]].offset);
    return code >= XMM0 ? t->vectors[code - XMM0] : &t->regs[code];
}

static uint64_t arg(struct tcg_cpu *t, void *arch, const struct slow_site *s, unsigned k)
{
    unsigned code = s->arg[k];
    if (code == ARG_NONE)
        return 0;
    if (code >= ARG_CONST)
        return s->kind == SLOW_CALL ? (uint64_t)s->consts[code - ARG_CONST] : s->helper;
    return *reg_place(t, arch, code);
}

static int32_t host_site_off(struct tcg_cpu *t)
{
    return ((const struct slow_site *)t->site)->off;
}

static uint64_t call_helper(struct tcg_cpu *t, void *arch, const struct slow_site *s)
{
    typedef uint64_t pure_fn(uint64_t, uint64_t, uint64_t, uint64_t);
    typedef uint64_t state_fn(void *, uint64_t, uint64_t, uint64_t, uint64_t);
    const struct ir_helper *h = (const void *)(uintptr_t)s->helper;
    uint64_t v[4];
    for (unsigned k = 0; k < 4; k++)
        v[k] = arg(t, arch, s, k);
    if (h->flags & IR_CALL_PURE)
        return ((pure_fn *)h->fn)(v[0], v[1], v[2], v[3]); /* always has a result */
    bool fp = h->flags & IR_CALL_FP;
    if (fp)
        host_fp_suspend(t);
    uint64_t r = ((state_fn *)h->fn)(arch, v[0], v[1], v[2], v[3]);
    if (fp)
        host_fp_resume(t);
    return h->has_result ? r : 0;
}

/* The canonical NaN for a fused sum that the host found to be one. The host has raised what it had to
 * but for inf * 0 + a quiet NaN, which is invalid here (RISC-V unprivileged 11.6). */
static uint64_t fma_nan(struct tcg_cpu *t, enum ir_type type, uint64_t a, uint64_t b)
{
    enum sf_format f = type == IR_F32 ? SF_F32 : SF_F64;
    struct sf_ctx ctx = { .nan_rule = SF_NAN_CANONICAL };
    sf_mul(&ctx, f, a, b);
    t->fp_flags |= ctx.flags & SF_INVALID;
    return t->canonical_nan[type == IR_F32];
}

/* Of a V256 value in a register the upper half; of a pinned one the lower half is in its slot. */
static uint64_t *upper_place(struct tcg_cpu *t, unsigned code)
{
    return (code >= ARG_SPILL ? t->spills[code - ARG_SPILL] : t->vectors[code - XMM0]) + 2;
}

/* What concerns V256 values. */
static void wide_access(struct tcg_cpu *t, void *arch, const struct slow_site *s)
{
    uint64_t va = arg(t, arch, s, 0) + (uint64_t)(int64_t)s->imm, v[4];
    unsigned code = s->kind == SLOW_STORE ? s->arg[1] : s->dst;
    if (s->kind == SLOW_STORE) {
        memcpy(v, reg_place(t, arch, code), 16);
        memcpy(v + 2, upper_place(t, code), 16);
        softmmu_store256(t, va, v, s->shape, s->x);
        return;
    }
    softmmu_load256(t, va, s->shape, s->x, v);
    memcpy(reg_place(t, arch, code), v, 16);
    memcpy(upper_place(t, code), v + 2, 16);
}

/* What concerns V128 values. */
static void vector_access(struct tcg_cpu *t, void *arch, const struct slow_site *s)
{
    if (s->type == IR_V256) {
        wide_access(t, arch, s);
        return;
    }
    uint64_t va = arg(t, arch, s, 0) + (uint64_t)(int64_t)s->imm, v[2];
    if (s->kind == SLOW_STORE) {
        softmmu_store128(t, va, reg_place(t, arch, s->arg[1]), s->shape, s->x);
        return;
    }
    softmmu_load128(t, va, s->shape, s->x, v);
    memcpy(reg_place(t, arch, s->dst), v, sizeof(v));
}

static const union v128 *vector_arg(struct tcg_cpu *t, void *arch, unsigned code, bool upper)
{
    static const union v128 none;
    if (code == ARG_NONE)
        return &none;
    return (const union v128 *)(upper ? upper_place(t, code) : reg_place(t, arch, code));
}

static void vector_op(struct tcg_cpu *t, void *arch, const struct slow_site *s)
{
    enum ir_vec vec = (enum ir_vec)(s->imm >> 8);
    const char *types = ir_vec_infos[vec].types;
    bool wide = s->type == IR_V256, vector = ir_vec_type(types[0], false) == IR_V128;
    unsigned n = s->imm & 0xff;
    union v128 r[2];
    for (unsigned h = 0; h <= wide; h++) {
        const union v128 *in[3];
        for (unsigned k = 0; k < 3; k++)
            in[k] = vector_arg(t, arch, s->arg[k], h && types[1 + k] == 'w');
        softfp_vec(t, vec, h ? ir_vec_upper_constant(vec, n) : n, &r[h], in[0], in[1], in[2]);
    }
    if (wide && vector)
        memcpy(upper_place(t, s->dst), &r[1], 16);
    else if (wide)
        r[0].u64[0] = vec_join_integers(vec, r[0].u64[0], r[1].u64[0]);
    memcpy(reg_place(t, arch, s->dst), &r[0], vector ? 16 : 8);
}

/* Of IR_window's constant the part that says what it is for. */
static int64_t site_window(const struct slow_site *s)
{
    return (int64_t)((uint32_t)s->imm | (uint64_t)s->x << 32 | (uint64_t)s->shape << 40);
}

/* Units have died: predicted returns, of which the last was pushed at sp, might lead into them. */
static void forget_returns(const struct tcg_cpu *t, uint64_t *sp)
{
    for (uint64_t *at = sp + 1; at < (uint64_t *)t->host_sp; at += 2)
        *at = NO_RETURN;
}

const void *host_slow_call(void *arch, const struct slow_site *s, uint64_t *sp)
{
    struct tcg_cpu *t = tcg_of(arch);
    uint64_t dead = atomic_load_explicit(&t->tcg->counts.dead, memory_order_relaxed);
    uint64_t r = 0, base = s->group != ARG_NONE ? arg(t, arch, s, 0) : 0; /* dst may be the same */
    t->site = s;
    t->undo = s->undo;
    t->tlb_lost = false;
    t->in_windows =
        s->windows && s->kind != SLOW_VEC; /* that returns early, and touches no memory */
    t->counts.slow_calls++;
    switch (s->kind) {
    case SLOW_VEC: vector_op(t, arch, s); return (const uint8_t *)s + s->resume;
    case SLOW_WINDOW:
        tlb_window_refused(t, site_window(s), arg(t, arch, s, 0), arg(t, arch, s, 1));
        break;
    case SLOW_LOAD:
        if (s->type >= IR_V128) {
            vector_access(t, arch, s);
            break;
        }
        r = softmmu_load(t, arg(t, arch, s, 0) + (uint64_t)(int64_t)s->imm, s->shape, s->x);
        break;
    case SLOW_STORE:
        if (s->type >= IR_V128) {
            vector_access(t, arch, s);
            break;
        }
        softmmu_store(t, arg(t, arch, s, 0) + (uint64_t)(int64_t)s->imm, arg(t, arch, s, 1),
                      s->shape, s->x);
        break;
    case SLOW_RMW:
        r = softmmu_rmw(t, s->cc, arg(t, arch, s, 0), arg(t, arch, s, 1), s->shape, s->x);
        break;
    case SLOW_CAS:
        r = softmmu_cas(t, arg(t, arch, s, 0), arg(t, arch, s, 1), arg(t, arch, s, 2), s->shape,
                        s->x);
        break;
    case SLOW_CALL: r = call_helper(t, arch, s); break;
    case SLOW_FP: {
        if (s->code == IR_fma && s->x & FMA_IS_NAN) {
            r = fma_nan(t, s->type, arg(t, arch, s, 0), arg(t, arch, s, 1));
            break;
        }
        struct ir_op op = { .code = s->code, .type = s->type, .cc = s->cc, .x = s->x };
        r = softfp_op(t, &op, arg(t, arch, s, 0), arg(t, arch, s, 1), arg(t, arch, s, 2));
        break;
    }
    }
    for (unsigned k = 0; t->tlb_lost && k < 8; k++)
        if (s->live_groups >> k & 1)
            t->regs[k] = 0;
    if (t->tlb_lost)
        memset(t->addends, 0, sizeof(t->addends));
    if (s->dst != ARG_NONE && (s->kind != SLOW_LOAD || s->type < IR_V128))
        *reg_place(t, arch, s->dst) = r;
    if (s->group != ARG_NONE) {
        uint64_t va = base + (uint64_t)(int64_t)s->imm;
        t->regs[s->group] =
            tlb_addend(t, va + (uint64_t)(int64_t)IR_SPAN_LO(s->span),
                       va + (uint64_t)(int64_t)IR_SPAN_HI(s->span) - 1, s->writes, s->x);
        if (!t->regs[s->group])
            tlb_group_failed(t, s->off, s->type >= IR_V128);
    }
    t->undo = 0;
    t->in_windows = false;
    if (atomic_load_explicit(&t->tcg->counts.dead, memory_order_relaxed) != dead)
        forget_returns(t, sp);
    return (const uint8_t *)s + s->resume;
}

const struct backend backend_host = {
    .name = "jit",
    .init = host_init,
    .fini = host_fini,
    .compile = gen_unit,
    .identity = host_identity,
    .place_links = host_place_links,
    .enter = host_enter,
    .set_link = host_set_link,
    .kill = host_kill,
    .fp_resume = host_fp_resume,
    .fp_suspend = host_fp_suspend,
    .site_off = host_site_off,
    .each_site = host_each_site,
};

const uint8_t tcg_tso_load = 0, tcg_tso_store = 0;
