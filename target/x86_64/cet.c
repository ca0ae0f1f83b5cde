/* Control-flow enforcement: shadow stacks and tracking of indirect branches (SDM 1-17). */
#include "target/x86_64/model.h"
#include "target/x86_64/sys.h"

enum { BUSY = 1, PREVIOUS = 2 /* of tokens */, FRAME = 24 };
#define ENDBR64 0xfa1e0ff3u
#define ENDBR32 0xfb1e0ff3u

/* ---- what is on ------------------------------------------------------------------------------------ */

static uint64_t *control_of(struct x86_cpu *x)
{
    return x86_cpl(x) == 3 ? &x->u_cet : &x->s_cet;
}

/* At a CPL, outside virtual-8086 mode. */
static bool is_on(const struct x86_cpu *x, unsigned cpl, uint64_t what)
{
    return x->cr4 & X86_CR4_CET && x->cr0 & X86_CR0_PE && (cpl == 3 ? x->u_cet : x->s_cet) & what;
}

static bool is_on_now(const struct x86_cpu *x, uint64_t what)
{
    return !x86_in_vm86(x) && is_on(x, x86_cpl(x), what);
}

uint32_t x86_cet_word(const struct x86_cpu *x)
{
    uint64_t control = x86_cpl(x) == 3 ? x->u_cet : x->s_cet;
    uint32_t word = 0;
    if (is_on_now(x, X86_CET_SHADOW))
        word |= X86_TR_SHADOW_STACK;
    if (!is_on_now(x, X86_CET_ENDBR))
        return word;
    word |= control & X86_CET_SUPPRESS ? 0 : X86_TR_IBT;
    return word | (control & X86_CET_WAIT ? X86_TR_WAIT : 0);
}

bool x86_cet_value_is_right(const struct x86_cpu *x, uint32_t index, uint64_t v)
{
    enum { U_CET = 0x6a0, S_CET = 0x6a2, TABLE = 0x6a8 };
    uint64_t known = ~(uint64_t)0xfff;
    if (!x86_is_canonical(x, v))
        return false;
    if (index == TABLE)
        return true;
    if (index != U_CET && index != S_CET)
        return !(v & 3);
    if (x86_model_has(x->model, X86_7_ECX, 7))
        known |= X86_CET_SHADOW | X86_CET_WRSS;
    if (x86_model_has(x->model, X86_7_EDX, 20))
        known |= X86_CET_ENDBR | X86_CET_LEGACY | X86_CET_NO_TRACK | X86_CET_SUPPRESS_OFF |
                 X86_CET_SUPPRESS | X86_CET_WAIT;
    const uint64_t both = X86_CET_SUPPRESS | X86_CET_WAIT;
    return !(v & ~known) && (v & both) != both;
}

/* ---- tracking (SDM 1-17.3) ------------------------------------------------------------------------- */

static bool is_endbranch(struct x86_cpu *x, uint64_t at)
{
    uint64_t v;
    uint32_t wanted = x86_in_code64(x) ? ENDBR64 : ENDBR32;
    struct tcg_failure why;
    if (tcg_code_is(x->cpu, at, wanted)) /* each indirect branch of a kernel comes here once */
        return true;
    return tcg_try_load(x->cpu, at, 4, X86_MMU_DATA, &v, &why) && v == wanted;
}

/* Where ENDBR is there it will be the next instruction: as good as done. Else the state word says WAIT. */
void x86_track_target(struct x86_cpu *x)
{
    if (!is_on_now(x, X86_CET_ENDBR))
        return;
    uint64_t *control = control_of(x);
    *control &= ~(uint64_t)(X86_CET_SUPPRESS | X86_CET_WAIT);
    if (!is_endbranch(x, x->pc))
        *control |= X86_CET_WAIT;
    x86_update_state_word(x);
}

void x86h_track(struct x86_cpu *x, uint64_t to, uint64_t notrack)
{
    uint64_t *control = control_of(x);
    if ((notrack && *control & X86_CET_NO_TRACK) || is_endbranch(x, to))
        return;
    *control |= X86_CET_WAIT;
    x->pc = to;
    x86_update_state_word(x);
    tcg_leave(x->cpu);
}

void x86h_endbranch(struct x86_cpu *x)
{
    *control_of(x) &= ~(uint64_t)X86_CET_WAIT;
    x86_update_state_word(x);
}

/* Code from before ENDBR, where a bitmap with a bit a page says so (17.3.6). */
void x86h_missed_endbranch(struct x86_cpu *x)
{
    uint64_t *control = control_of(x), pc = x86_insn_pc(x);
    if (!(*control & X86_CET_LEGACY))
        x86_fault_code(x, X86_CP, X86_CP_ENDBRANCH);
    uint64_t at = (*control & ~(uint64_t)0xfff) + bits(pc, 15, x86_in_code64(x) ? 42 : 17);
    if (!(x86_read(x, at, 1, X86_MMU_DATA) >> bits(pc, 12, 3) & 1))
        x86_fault_code(x, X86_CP, X86_CP_ENDBRANCH);
    *control &= ~(uint64_t)X86_CET_WAIT;
    if (!(*control & X86_CET_SUPPRESS_OFF))
        *control |= X86_CET_SUPPRESS;
    x->pc = pc;
    x86_update_state_word(x);
    tcg_leave(x->cpu);
}

/* ---- transfers between rings and segments (SDM 1-17.2, 2 "CALL", "RET", "IRET", "INT n") --------------- */

static void check_low(struct x86_cpu *x, uint64_t ssp, bool wide)
{
    if (!wide && ssp >> 32)
        x86_fault_selector(x, X86_GP, 0);
}

static uint64_t ssp_of_ring(const struct x86_cpu *x, unsigned cpl)
{
    return cpl == 0 ? x->pl0_ssp : cpl == 1 ? x->pl1_ssp : x->pl2_ssp;
}

/* A supervisor's token that nobody uses; it and a frame below it lie in 32 aligned bytes. */
static void check_token(struct x86_cpu *x, uint64_t at, bool wide)
{
    if (at & 7 || (at & ~(uint64_t)31) != ((at - FRAME) & ~(uint64_t)31))
        x86_fault_selector(x, X86_GP, 0);
    check_low(x, at, wide);
    if (x86_shadow_read(x, at, 8, false) != at)
        x86_fault_selector(x, X86_GP, 0);
}

void x86_shadow_enter(struct x86_cpu *x, unsigned to, bool wide, unsigned ist, uint64_t back)
{
    unsigned cpl = x86_cpl(x);
    bool on = is_on(x, to, X86_CET_SHADOW), user = to == 3, fresh = to != cpl || ist;
    bool saves = cpl == 3 && to != 3 && is_on_now(x, X86_CET_SHADOW);
    uint64_t old = x->ssp, ssp = old;
    if (on && fresh) {
        ssp = ist ? x86_read(x, x->int_ssp_table + 8 * ist, 8, X86_MMU_SYSTEM) : ssp_of_ring(x, to);
        check_token(x, ssp, wide);
    } else if (on) {
        check_low(x, old, wide);
        x86_shadow_write(x, old - 4, 4, 0, user);
        ssp &= ~(uint64_t)7;
    }
    uint64_t token = ssp;
    if (on && (to == cpl || cpl != 3)) {
        x86_shadow_write(x, ssp - 8, 8, x->seg[X86_CS].selector, user);
        x86_shadow_write(x, ssp - 16, 8, back, user);
        x86_shadow_write(x, ssp - FRAME, 8, old, user);
        ssp -= FRAME;
    }
    if (on && fresh && !x86_shadow_swap(x, token, token, token | BUSY, false))
        x86_fault_selector(x, X86_GP, 0);
    if (saves)
        x->pl3_ssp = old;
    if (on)
        x->ssp = ssp;
}

void x86_shadow_return(struct x86_cpu *x, uint16_t cs, uint64_t to_linear, bool wide, bool vm86)
{
    unsigned cpl = x86_cpl(x), to = vm86 ? 3 : cs & 3u;
    bool was_on = is_on_now(x, X86_CET_SHADOW), on = !vm86 && is_on(x, to, X86_CET_SHADOW);
    uint64_t ssp = x->ssp, next = ssp;
    bool switches = was_on && to != cpl;
    if (was_on && ssp & 7)
        x86_fault_code(x, X86_CP, X86_CP_FAR_RET);
    if (was_on && (to != 3 || cpl == 3)) {
        bool user = cpl == 3;
        next = x86_shadow_read(x, ssp, 8, user);
        if (x86_shadow_read(x, ssp + 8, 8, user) != to_linear ||
            x86_shadow_read(x, ssp + 16, 8, user) != cs || next & 3)
            x86_fault_code(x, X86_CP, X86_CP_FAR_RET);
        ssp += FRAME;
        check_low(x, next, wide);
        switches |= cpl != 3 && next != ssp && next != ssp + 4; /* an IST's */
    }
    if (on && to == 3 && cpl != 3) {
        next = x->pl3_ssp;
        check_low(x, next, wide);
    }
    if (switches) /* what is no busy token stays */
        x86_shadow_swap(x, ssp, ssp | BUSY, ssp, false);
    if (was_on || on)
        x->ssp = next;
}

/* ---- task switches (SDM 3-7.3): the new task's SSP is in its 32-bit state, behind the I/O map's base ----- */

struct x86_shadow_frame x86_shadow_leave_task(struct x86_cpu *x, bool returns, uint64_t back)
{
    bool user = x86_cpl(x) == 3;
    struct x86_shadow_frame f = { .on = is_on_now(x, X86_CET_SHADOW),
                                  .cs = x->seg[X86_CS].selector,
                                  .back = back,
                                  .ssp = x->ssp };
    if (!f.on)
        return f;
    if (returns) {
        if (x->ssp & 7)
            x86_fault_code(x, X86_CP, X86_CP_FAR_RET);
        f.ssp = x86_shadow_read(x, x->ssp, 8, user);
        f.back = x86_shadow_read(x, x->ssp + 8, 8, user);
        f.cs = x86_shadow_read(x, x->ssp + 16, 8, user);
        if (!user)
            x86_shadow_swap(x, x->ssp + FRAME, (x->ssp + FRAME) | BUSY, x->ssp + FRAME, false);
    } else if (user) {
        x->pl3_ssp = x->ssp;
    }
    return f;
}

void x86_shadow_enter_task(struct x86_cpu *x, const struct x86_shadow_frame *f,
                           enum x86_task_why why)
{
    enum { TSS_SSP = 104 };
    bool user = x86_cpl(x) == 3;
    if (!is_on_now(x, X86_CET_SHADOW))
        return;
    if (why == X86_TASK_RETURN && f->on) {
        if (f->cs != x->seg[X86_CS].selector || f->back != x->pc || f->ssp & 3 || f->ssp >> 32)
            x86_fault_code(x, X86_CP, X86_CP_FAR_RET);
        x->ssp = f->ssp;
        return;
    }
    if (!(x->tr.rights & 8) || x->tr.limit < TSS_SSP + 3)
        x86_fault_selector(x, X86_TS, x->tr.selector);
    uint64_t ssp = x86_read(x, x->tr.base + TSS_SSP, 4, X86_MMU_SYSTEM);
    if (ssp & 7 || (!user && !x86_shadow_swap(x, ssp, ssp, ssp | BUSY, false)))
        x86_fault_selector(x, X86_TS, x->tr.selector);
    if (f->on && (why == X86_TASK_CALL || why == X86_TASK_EVENT)) {
        x86_shadow_write(x, ssp - 8, 8, f->cs, user);
        x86_shadow_write(x, ssp - 16, 8, f->back, user);
        x86_shadow_write(x, ssp - FRAME, 8, f->ssp, user);
        ssp -= FRAME;
    }
    x->ssp = ssp;
}

void x86_shadow_jump(struct x86_cpu *x, bool wide)
{
    if (is_on_now(x, X86_CET_SHADOW))
        check_low(x, x->ssp, wide);
}

void x86_shadow_leave_user(struct x86_cpu *x)
{
    if (x86_cpl(x) == 3 && is_on_now(x, X86_CET_SHADOW))
        x->pl3_ssp = x->ssp;
    if (is_on(x, 0, X86_CET_SHADOW))
        x->ssp = 0;
}

void x86_shadow_enter_user(struct x86_cpu *x)
{
    if (is_on(x, 3, X86_CET_SHADOW))
        x->ssp = x->pl3_ssp;
}

/* ---- instructions ------------------------------------------------------------------------------------ */

static void need_shadow(struct x86_cpu *x, uint64_t what)
{
    if (!is_on_now(x, X86_CET_SHADOW) || !is_on_now(x, what))
        x86_fault(x, X86_UD);
}

static void need_aligned(struct x86_cpu *x, uint64_t at, uint64_t size)
{
    if (at & (size - 1))
        x86_fault_code(x, X86_GP, 0);
}

static bool is_user(const struct x86_cpu *x)
{
    return x86_cpl(x) == 3;
}

/* Only CF may be set. */
static void set_carry(struct x86_cpu *x, bool carry)
{
    const uint64_t arithmetic = 0x8d5; /* CF PF AF ZF SF OF */
    x86_set_rflags(x, (x86_get_rflags(x) & ~arithmetic) | carry);
}

void x86h_ret_mismatch(struct x86_cpu *x)
{
    x86_fault_code(x, X86_CP, X86_CP_RET);
}

void x86h_incssp(struct x86_cpu *x, uint64_t n, uint64_t size)
{
    need_shadow(x, X86_CET_SHADOW);
    n &= 0xff;
    x86_shadow_read(x, x->ssp, (unsigned)size, is_user(x));
    if (n)
        x86_shadow_read(x, x->ssp + size * (n - 1), (unsigned)size, is_user(x));
    x->ssp += size * n;
}

void x86h_rstorssp(struct x86_cpu *x, uint64_t at)
{
    bool wide = x86_in_code64(x);
    need_shadow(x, X86_CET_SHADOW);
    need_aligned(x, at, 8);
    uint64_t token = x86_shadow_read(x, at, 8, is_user(x));
    bool right = (token & 3) == wide && (wide || !(token >> 32)) &&
                 (((token & ~(uint64_t)1) - 8) & ~(uint64_t)7) == at;
    if (!right || !x86_shadow_swap(x, at, token, x->ssp | PREVIOUS | wide, is_user(x)))
        x86_fault_code(x, X86_CP, X86_CP_RSTORSSP);
    x->ssp = at;
    set_carry(x, token & 4);
}

void x86h_saveprevssp(struct x86_cpu *x)
{
    bool wide = x86_in_code64(x), hole = x86_get_rflags(x) & X86_FLAG_CF, user = is_user(x);
    need_shadow(x, X86_CET_SHADOW);
    need_aligned(x, x->ssp, 8);
    uint64_t token = x86_shadow_read(x, x->ssp, 8, user), next = x->ssp + 8;
    if (hole && (wide || x86_shadow_read(x, next, 4, user)))
        x86_fault_code(x, X86_GP, 0);
    if (!(token & PREVIOUS) || (!wide && token >> 32))
        x86_fault_code(x, X86_GP, 0);
    uint64_t old = token & ~(uint64_t)3;
    x86_shadow_write(x, old - 4, 4, 0, user);
    x86_shadow_write(x, (old & ~(uint64_t)7) - 8, 8, old | wide, user);
    x->ssp = next + (hole ? 4 : 0);
}

void x86h_wrss(struct x86_cpu *x, uint64_t at, uint64_t v, uint64_t size)
{
    need_shadow(x, X86_CET_WRSS);
    need_aligned(x, at, size);
    x86_shadow_write(x, at, (unsigned)size, v, is_user(x));
}

void x86h_wruss(struct x86_cpu *x, uint64_t at, uint64_t v, uint64_t size)
{
    if (!(x->cr4 & X86_CR4_CET))
        x86_fault(x, X86_UD);
    if (x86_cpl(x))
        x86_fault_code(x, X86_GP, 0);
    need_aligned(x, at, size);
    x86_shadow_write(x, at, (unsigned)size, v, true);
}

static void need_supervisor(struct x86_cpu *x)
{
    if (x86_in_vm86(x) || !is_on(x, 0, X86_CET_SHADOW))
        x86_fault(x, X86_UD);
    if (x86_cpl(x))
        x86_fault_code(x, X86_GP, 0);
}

void x86h_setssbsy(struct x86_cpu *x)
{
    uint64_t at = x->pl0_ssp;
    need_supervisor(x);
    need_aligned(x, at, 8);
    if (!x86_shadow_swap(x, at, at, at | BUSY, false))
        x86_fault_code(x, X86_CP, X86_CP_SETSSBSY);
    x->ssp = at;
}

void x86h_clrssbsy(struct x86_cpu *x, uint64_t at)
{
    need_supervisor(x);
    need_aligned(x, at, 8);
    set_carry(x, !x86_shadow_swap(x, at, at | BUSY, at, false));
    x->ssp = 0;
}
