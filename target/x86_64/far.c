/* Transfers between segments and rings: far jumps, calls and returns, IRET, INT n, SYSCALL, SYSENTER (SDM 3-5.8,
 * 3-6.12, 3-21; APM 3 for SYSCALL). */
#include "core/vm.h"
#include "target/x86_64/model.h"
#include "target/x86_64/sys.h"

/* ---- together --------------------------------------------------------------------------------------- */

/* What transfers end in. */
static uint64_t go_on(struct x86_cpu *x)
{
    x86_update_state_word(x);
    x86_check_interrupts(x);
    return x->pc;
}

static uint64_t narrow(uint64_t v, unsigned size)
{
    return bits(v, 0, 8 * size);
}

static uint64_t linear_of(const struct x86_cpu *x, uint64_t ip)
{
    return x86_in_code64(x) ? ip : (uint32_t)(x->seg[X86_CS].base + ip);
}

static void set_flags(struct x86_cpu *x, uint64_t v, uint64_t mask)
{
    uint64_t now = x86_get_rflags(x);
    x86_set_rflags(x, (now & ~mask) | (v & mask) | X86_FLAG_ONE);
}

static bool is_conforming(const struct x86_descriptor *d)
{
    return d->high >> 8 & X86_AR_CONFORMING;
}

static uint64_t next_ip(struct x86_cpu *x, unsigned len)
{
    uint64_t ip = x86_insn_ip(x) + len;
    return x86_in_code64(x) ? ip : x->state_word & X86_TR_CODE32 ? (uint32_t)ip : (uint16_t)ip;
}

/* L and D together mean nothing, SDM 3-5.2.1. */
static void check_code_form(struct x86_cpu *x, const struct x86_descriptor *d)
{
    if (x86_in_long_mode(x) && (d->high >> 21 & 3) == 3)
        x86_fault_selector(x, X86_GP, d->selector);
    if (!x86_desc_present(d))
        x86_fault_selector(x, X86_NP, d->selector);
}

static void load_code(struct x86_cpu *x, struct x86_descriptor *d, unsigned cpl, uint64_t ip)
{
    x86_mark_accessed(x, d);
    d->selector = (uint16_t)((d->selector & ~3u) | cpl);
    x->seg[X86_CS] = x86_segment_from(d);
    x86_set_ip(x, ip);
}

static struct x86_segment null_stack(unsigned cpl)
{
    return (struct x86_segment){ .selector = (uint16_t)cpl,
                                 .rights = X86_AR_UNUSABLE | cpl << X86_AR_DPL_SHIFT };
}

/* ---- call gates (SDM 3-5.8.3) ------------------------------------------------------------------------ */

struct gate {
    struct x86_descriptor code;
    uint64_t ip;
    unsigned size, n_params;
};

static struct gate open_gate(struct x86_cpu *x, const struct x86_descriptor *d, bool call)
{
    struct gate g = { .ip = (d->low & 0xffff) | (d->high & 0xffff0000), .size = 4 };
    unsigned cpl = x86_cpl(x);
    uint16_t selector = (uint16_t)(d->low >> 16);
    bool wide = x86_in_long_mode(x);
    if (x86_desc_dpl(d) < MAX(cpl, d->selector & 3u))
        x86_fault_selector(x, X86_GP, d->selector);
    if (!x86_desc_present(d))
        x86_fault_selector(x, X86_NP, d->selector);
    if (wide) {
        g.ip |= x86_descriptor_upper(x, d, X86_GP);
        g.size = 8;
    } else if (x86_desc_type(d) == X86_TYPE_CALL16) {
        g.ip &= 0xffff;
        g.size = 2;
    }
    g.n_params = wide ? 0 : d->high & 31;
    if (x86_is_null(selector))
        x86_fault_selector(x, X86_GP, 0);
    g.code = x86_get_descriptor(x, selector, X86_GP);
    unsigned dpl = x86_desc_dpl(&g.code);
    if (!x86_desc_is_code(&g.code) || dpl > cpl || (!call && !is_conforming(&g.code) && dpl != cpl))
        x86_fault_selector(x, X86_GP, selector);
    if (wide && (g.code.high >> 21 & 3) != 1)
        x86_fault_selector(x, X86_GP, selector);
    check_code_form(x, &g.code);
    return g;
}

static void call_inner(struct x86_cpu *x, struct gate *g, unsigned to, uint64_t back)
{
    struct x86_segment old = x->seg[X86_SS], ss = null_stack(to);
    struct x86_stack st = { .mask = UINT64_MAX, .size = 8, .mode = X86_MMU_SYSTEM };
    uint64_t params[32];
    if (x86_in_long_mode(x)) {
        st.sp = x86_inner_rsp(x, to);
    } else {
        uint16_t selector;
        uint64_t sp;
        x86_inner_stack(x, to, &selector, &sp);
        ss = x86_check_stack_segment(x, selector, to, X86_TS);
        st = x86_stack_of(x, &ss, sp, g->size);
    }
    struct x86_segment cs = x86_segment_from(&g->code);
    x86_check_ip(x, &cs, g->ip);
    struct x86_stack from = x86_stack_now(x, g->size);
    for (unsigned i = 0; i < g->n_params; i++)
        params[i] = x86_pop(x, &from);
    x86_push(x, &st, old.selector);
    x86_push(x, &st, x->gpr[X86_RSP]);
    for (unsigned i = g->n_params; i-- > 0;)
        x86_push(x, &st, params[i]);
    x86_push(x, &st, x->seg[X86_CS].selector);
    x86_push(x, &st, back);
    x86_mark_accessed(x, &g->code);
    x86_shadow_enter(x, to, x86_desc_is_wide(x, &g->code), 0, linear_of(x, back));
    load_code(x, &g->code, to, g->ip);
    x->seg[X86_SS] = ss;
    x->gpr[X86_RSP] = (x->gpr[X86_RSP] & ~st.mask) | (st.sp & st.mask);
}

/* ---- far jump and call ----------------------------------------------------------------------------------- */

static void push_return(struct x86_cpu *x, unsigned size, uint64_t back, struct x86_stack *st)
{
    *st = x86_stack_now(x, size);
    x86_push(x, st, x->seg[X86_CS].selector);
    x86_push(x, st, back);
}

static void go_real(struct x86_cpu *x, uint16_t selector, uint64_t ip)
{
    if (ip > 0xffff && ip > x->seg[X86_CS].limit)
        x86_fault_selector(x, X86_GP, 0);
    x86_load_real_segment(x, X86_CS, selector);
    x86_set_ip(x, ip);
}

/* The same ring; the last that may fault. */
static void keep_way_back(struct x86_cpu *x, struct x86_descriptor *to, const struct x86_stack *st,
                          bool call, uint64_t back)
{
    bool wide = x86_desc_is_wide(x, to);
    x86_mark_accessed(x, to);
    if (!call) {
        x86_shadow_jump(x, wide);
        return;
    }
    x86_shadow_enter(x, x86_cpl(x), wide, 0, linear_of(x, back));
    x86_keep_sp(x, st);
}

/* To a code segment of the same ring. */
static void go_direct(struct x86_cpu *x, struct x86_descriptor *d, uint64_t ip, unsigned size,
                      bool call, uint64_t back)
{
    unsigned cpl = x86_cpl(x), dpl = x86_desc_dpl(d);
    if (is_conforming(d) ? dpl > cpl : dpl != cpl || (d->selector & 3u) > cpl)
        x86_fault_selector(x, X86_GP, d->selector);
    check_code_form(x, d);
    struct x86_segment cs = x86_segment_from(d);
    struct x86_stack st = { 0 };
    if (call)
        push_return(x, size, back, &st);
    x86_check_ip(x, &cs, ip);
    keep_way_back(x, d, &st, call, back);
    load_code(x, d, cpl, ip);
}

static void go_by_gate(struct x86_cpu *x, const struct x86_descriptor *d, bool call, uint64_t back)
{
    struct gate g = open_gate(x, d, call);
    unsigned cpl = x86_cpl(x), dpl = x86_desc_dpl(&g.code);
    if (call && !is_conforming(&g.code) && dpl < cpl) {
        call_inner(x, &g, dpl, back);
        return;
    }
    struct x86_segment cs = x86_segment_from(&g.code);
    struct x86_stack st = { 0 };
    if (call)
        push_return(x, g.size, back, &st);
    x86_check_ip(x, &cs, g.ip);
    keep_way_back(x, &g.code, &st, call, back);
    load_code(x, &g.code, cpl, g.ip);
}

static void go_by_system(struct x86_cpu *x, struct x86_descriptor *d, bool call, uint64_t back)
{
    unsigned type = x86_desc_type(d), cpl = x86_cpl(x);
    bool wide = x86_in_long_mode(x);
    if (type == X86_TYPE_CALL32 || (type == X86_TYPE_CALL16 && !wide)) {
        go_by_gate(x, d, call, back);
        return;
    }
    bool task = type == X86_TYPE_TASK_GATE || type == X86_TYPE_TSS16 || type == X86_TYPE_TSS32;
    if (wide || !task || x86_desc_dpl(d) < MAX(cpl, d->selector & 3u))
        x86_fault_selector(x, X86_GP, d->selector);
    if (!x86_desc_present(d))
        x86_fault_selector(x, X86_NP, d->selector);
    if (type == X86_TYPE_TASK_GATE)
        x86_task_gate(x, d, call ? X86_TASK_CALL : X86_TASK_JUMP, back);
    else
        x86_switch_task(x, d, call ? X86_TASK_CALL : X86_TASK_JUMP, back);
}

static uint64_t go_far(struct x86_cpu *x, uint16_t selector, uint64_t offset, uint64_t how,
                       bool call)
{
    unsigned size = how & 0xff;
    uint64_t ip = narrow(offset, size), back = next_ip(x, how >> 8 & 0xff);
    if (!x86_uses_descriptors(x)) {
        struct x86_stack st = { 0 };
        if (call)
            push_return(x, size, back, &st);
        go_real(x, selector, ip);
        if (call)
            x86_keep_sp(x, &st);
        return go_on(x);
    }
    if (x86_is_null(selector))
        x86_fault_selector(x, X86_GP, 0);
    struct x86_descriptor d = x86_get_descriptor(x, selector, X86_GP);
    if (x86_desc_is_code(&d))
        go_direct(x, &d, ip, size, call, back);
    else if (!x86_desc_is_segment(&d))
        go_by_system(x, &d, call, back);
    else
        x86_fault_selector(x, X86_GP, selector);
    go_on(x);
    x86_track_target(x);
    return x->pc;
}

uint64_t x86h_far_jump(struct x86_cpu *x, uint64_t selector, uint64_t offset, uint64_t how)
{
    return go_far(x, (uint16_t)selector, offset, how, false);
}

uint64_t x86h_far_call(struct x86_cpu *x, uint64_t selector, uint64_t offset, uint64_t how)
{
    return go_far(x, (uint16_t)selector, offset, how, true);
}

/* ---- far return and IRET ------------------------------------------------------------------------------ */

/* What an outer ring may not use goes (SDM 3-5.8.6). */
static void close_data_segments(struct x86_cpu *x, unsigned cpl)
{
    static const uint8_t data[] = { X86_ES, X86_DS, X86_FS, X86_GS };
    for (unsigned i = 0; i < 4; i++) {
        struct x86_segment *s = &x->seg[data[i]];
        bool conforming =
            (s->rights & (X86_AR_CODE | X86_AR_CONFORMING)) == (X86_AR_CODE | X86_AR_CONFORMING);
        if (s->rights & X86_AR_UNUSABLE ||
            (!conforming && (s->rights >> X86_AR_DPL_SHIFT & 3) < cpl))
            *s = (struct x86_segment){ .selector = s->rights & X86_AR_UNUSABLE ? s->selector : 0,
                                       .base = s->rights & X86_AR_UNUSABLE ? s->base : 0,
                                       .rights = X86_AR_UNUSABLE };
    }
}

/* RFLAGS bits that a return may change. */
static uint64_t returned_flags(const struct x86_cpu *x, unsigned size)
{
    uint64_t mask = 0x4dd5; /* CF PF AF ZF SF TF DF OF NT */
    unsigned cpl = x86_cpl(x);
    if (size > 2)
        mask |= X86_FLAG_RF | X86_FLAG_AC | X86_FLAG_ID;
    if (cpl <= bits(x->rflags, 12, 2))
        mask |= X86_FLAG_IF;
    if (cpl == 0)
        mask |= X86_FLAG_IOPL | (size > 2 ? X86_FLAG_VIF | X86_FLAG_VIP : 0);
    return mask;
}

static void set_returned_flags(struct x86_cpu *x, uint64_t v, uint64_t mask)
{
    if (!(x->dr7 & 0xff)) /* nobody looks at RF */
        mask &= ~(uint64_t)X86_FLAG_RF;
    set_flags(x, v, mask);
    x->events.nmi_masked = false;
}

static struct x86_descriptor return_code(struct x86_cpu *x, uint16_t selector)
{
    unsigned rpl = selector & 3u;
    if (x86_is_null(selector))
        x86_fault_selector(x, X86_GP, 0);
    struct x86_descriptor d = x86_get_descriptor(x, selector, X86_GP);
    unsigned dpl = x86_desc_dpl(&d);
    if (!x86_desc_is_code(&d) || rpl < x86_cpl(x) || (is_conforming(&d) ? dpl > rpl : dpl != rpl))
        x86_fault_selector(x, X86_GP, selector);
    check_code_form(x, &d);
    return d;
}

static struct x86_segment return_stack(struct x86_cpu *x, uint16_t selector, unsigned cpl,
                                       bool to64)
{
    if (x86_is_null(selector) && to64 && cpl < 3 && (selector & 3u) == cpl)
        return null_stack(cpl);
    return x86_check_stack_segment(x, selector, cpl, X86_GP);
}

/* To 8086 code, from ring 0 (SDM 3-21.2.2). */
static void return_to_vm86(struct x86_cpu *x, struct x86_stack *st, uint64_t ip, uint16_t cs,
                           uint64_t flags)
{
    static const uint8_t order[] = { X86_ES, X86_DS, X86_FS, X86_GS };
    uint64_t sp = x86_pop(x, st);
    uint16_t ss = (uint16_t)x86_pop(x, st), data[4];
    for (unsigned i = 0; i < 4; i++)
        data[i] = (uint16_t)x86_pop(x, st);
    set_returned_flags(x, flags, returned_flags(x, 4) | X86_FLAG_VM);
    x86_load_real_segment(x, X86_CS, cs);
    x86_load_real_segment(x, X86_SS, ss);
    for (unsigned i = 0; i < 4; i++)
        x86_load_real_segment(x, order[i], data[i]);
    x->gpr[X86_RSP] = (uint32_t)sp;
    x86_set_ip(x, (uint16_t)ip);
}

static void return_shadow(struct x86_cpu *x, struct x86_descriptor *code, uint64_t ip)
{
    bool wide = x86_desc_is_wide(x, code);
    uint64_t base = x86_segment_from(code).base;
    x86_mark_accessed(x, code);
    x86_shadow_return(x, code->selector, wide ? ip : (uint32_t)(base + ip), wide, false);
}

static void return_protected(struct x86_cpu *x, unsigned size, unsigned drop, bool iret)
{
    struct x86_stack st = x86_stack_now(x, size);
    bool from64 = x86_in_code64(x);
    uint64_t ip = x86_pop(x, &st);
    uint16_t selector = (uint16_t)x86_pop(x, &st);
    uint64_t flags = iret ? x86_pop(x, &st) : 0, sp;
    unsigned cpl = x86_cpl(x), to = selector & 3u;
    if (iret && size == 4 && flags & X86_FLAG_VM && cpl == 0 && !x86_in_long_mode(x)) {
        x86_shadow_return(x, 3, 0, false, true);
        return_to_vm86(x, &st, ip, selector, flags);
        return;
    }
    struct x86_descriptor code = return_code(x, selector);
    struct x86_segment cs = x86_segment_from(&code), ss;
    uint64_t mask = returned_flags(x, size);
    x86_check_ip(x, &cs, ip);
    if (to == cpl && !(iret && from64)) {
        st.sp = (st.sp & ~st.mask) | ((st.sp + drop) & st.mask);
        return_shadow(x, &code, ip);
        load_code(x, &code, to, ip);
        x86_keep_sp(x, &st);
    } else {
        st.sp = (st.sp & ~st.mask) | ((st.sp + drop) & st.mask);
        sp = x86_pop(x, &st);
        uint16_t stack = (uint16_t)x86_pop(x, &st);
        bool to64 = x86_in_long_mode(x) && x86_desc_is_long(&code);
        ss = return_stack(x, stack, to, to64);
        return_shadow(x, &code, ip);
        load_code(x, &code, to, ip);
        x->seg[X86_SS] = ss;
        if (to64)
            x->gpr[X86_RSP] = sp + drop;
        else if (ss.rights & X86_AR_DB)
            x->gpr[X86_RSP] = (uint32_t)(sp + drop);
        else
            x->gpr[X86_RSP] = (x->gpr[X86_RSP] & ~(uint64_t)0xffff) | (uint16_t)(sp + drop);
        if (to != cpl)
            close_data_segments(x, to);
    }
    if (iret)
        set_returned_flags(x, flags, mask);
}

static void return_real(struct x86_cpu *x, unsigned size, unsigned drop, bool iret)
{
    struct x86_stack st = x86_stack_now(x, size);
    uint64_t ip = x86_pop(x, &st);
    uint16_t cs = (uint16_t)x86_pop(x, &st);
    uint64_t flags = iret ? x86_pop(x, &st) : 0;
    uint64_t mask = returned_flags(x, size);
    if (x86_in_vm86(x))
        mask = (mask | X86_FLAG_IF) & ~(uint64_t)(X86_FLAG_IOPL | X86_FLAG_VIF | X86_FLAG_VIP);
    go_real(x, cs, ip);
    st.sp = (st.sp & ~st.mask) | ((st.sp + drop) & st.mask);
    x86_keep_sp(x, &st);
    if (iret)
        set_returned_flags(x, flags, mask);
}

/* Virtual-8086 code of IOPL < 3 with virtual interrupts (SDM 3-21.3): IF is VIF there. */
static void return_vme(struct x86_cpu *x, unsigned size)
{
    struct x86_stack st = x86_stack_now(x, 2);
    if (!(x->cr4 & X86_CR4_VME) || size != 2)
        x86_fault_code(x, X86_GP, 0);
    uint64_t ip = x86_pop(x, &st);
    uint16_t cs = (uint16_t)x86_pop(x, &st);
    uint64_t flags = x86_pop(x, &st);
    if (flags & X86_FLAG_TF || (flags & X86_FLAG_IF && x->rflags & X86_FLAG_VIP))
        x86_fault_code(x, X86_GP, 0);
    go_real(x, cs, ip);
    x86_keep_sp(x, &st);
    flags = (flags & ~(uint64_t)X86_FLAG_VIF) | (flags & X86_FLAG_IF ? X86_FLAG_VIF : 0);
    set_returned_flags(x, flags, 0x4dd5 | X86_FLAG_VIF);
}

/* The task that called this one (SDM 3-7.4). */
static void return_from_task(struct x86_cpu *x)
{
    if (x86_in_long_mode(x))
        x86_fault_code(x, X86_GP, 0);
    uint16_t link = (uint16_t)x86_read(x, x->tr.base, 2, X86_MMU_SYSTEM);
    struct x86_descriptor d;
    if (link & 4 || x86_is_null(link) || !x86_find_descriptor(x, link, &d) ||
        x86_desc_is_segment(&d) || (x86_desc_type(&d) & 7) != X86_TYPE_TSS16_BUSY)
        x86_fault_selector(x, X86_TS, link);
    if (!x86_desc_present(&d))
        x86_fault_selector(x, X86_NP, link);
    x86_switch_task(x, &d, X86_TASK_RETURN, next_ip(x, 1));
}

uint64_t x86h_far_return(struct x86_cpu *x, uint64_t size, uint64_t drop)
{
    if (x86_uses_descriptors(x))
        return_protected(x, (unsigned)size, (unsigned)drop, false);
    else
        return_real(x, (unsigned)size, (unsigned)drop, false);
    return go_on(x);
}

uint64_t x86h_iret(struct x86_cpu *x, uint64_t size)
{
    bool vm86 = x->cr0 & X86_CR0_PE && x86_in_vm86(x);
    x86_intercept(x, X86_EXIT_IRET);
    if (vm86 && bits(x->rflags, 12, 2) < 3)
        return_vme(x, (unsigned)size);
    else if (!x86_uses_descriptors(x))
        return_real(x, (unsigned)size, 0, true);
    else if (x->rflags & X86_FLAG_NT)
        return_from_task(x);
    else
        return_protected(x, (unsigned)size, 0, true);
    return go_on(x);
}

/* ---- INT n ------------------------------------------------------------------------------------------------ */

/* SDM 3-21.3, table 21-2: with VME the task's bitmap may leave an interrupt to the 8086 program. */
static bool is_redirected(struct x86_cpu *x, unsigned vector)
{
    if (!(x->cr4 & X86_CR4_VME) || !(x->tr.rights & 8))
        return false;
    uint64_t map = x86_read(x, x->tr.base + 0x66, 2, X86_MMU_SYSTEM);
    if (map < 32 || map - 32 + vector / 8 > x->tr.limit)
        return false;
    return !(x86_read(x, x->tr.base + map - 32 + vector / 8, 1, X86_MMU_SYSTEM) >> vector % 8 & 1);
}

static void redirect(struct x86_cpu *x, unsigned vector, uint64_t back)
{
    uint32_t to = (uint32_t)x86_read(x, vector * 4, 4, X86_MMU_DATA);
    struct x86_stack st = x86_stack_now(x, 2);
    uint64_t flags = x86_get_rflags(x), off = X86_FLAG_IF;
    if (bits(flags, 12, 2) < 3) {
        flags = (flags & ~(uint64_t)X86_FLAG_IF) | X86_FLAG_IOPL;
        flags |= flags & X86_FLAG_VIF ? X86_FLAG_IF : 0;
        off = X86_FLAG_VIF;
    }
    x86_push(x, &st, (uint16_t)flags);
    x86_push(x, &st, x->seg[X86_CS].selector);
    x86_push(x, &st, back);
    x86_keep_sp(x, &st);
    x86_load_real_segment(x, X86_CS, (uint16_t)(to >> 16));
    x86_set_ip(x, (uint16_t)to);
    x->rflags &= ~(off | X86_FLAG_TF);
}

uint64_t x86h_int(struct x86_cpu *x, uint64_t vector, uint64_t len, uint64_t kind)
{
    if (kind == X86_INT_3)
        x86_intercept(x, X86_EXIT_EXCEPTION + (unsigned)vector);
    else
        x86_intercept(x, kind == X86_INT_N ? X86_EXIT_INT : X86_EXIT_ICEBP);
    if (kind == X86_INT_N && x->cr0 & X86_CR0_PE && x86_in_vm86(x)) {
        if (is_redirected(x, (unsigned)vector)) {
            redirect(x, (unsigned)vector, next_ip(x, (unsigned)len));
            return go_on(x);
        }
        if (bits(x->rflags, 12, 2) < 3)
            x86_fault_code(x, X86_GP, 0);
    }
    x86_deliver(x, (struct x86_event){
                       .vector = (uint8_t)vector, .soft = kind != X86_INT_1, .len = (uint8_t)len });
    return x->pc;
}

/* ---- SYSCALL, SYSENTER ---------------------------------------------------------------------------------- */

static struct x86_segment flat_segment(uint16_t selector, uint32_t rights)
{
    return (struct x86_segment){ .selector = selector,
                                 .limit = UINT32_MAX,
                                 .rights = rights | X86_AR_P | X86_AR_S | X86_AR_G };
}

static void enter_flat(struct x86_cpu *x, uint16_t cs, uint16_t ss, unsigned cpl, bool wide)
{
    uint32_t dpl = cpl << X86_AR_DPL_SHIFT;
    x->seg[X86_CS] = flat_segment(cs, dpl | 11 | (wide ? X86_AR_L : X86_AR_DB));
    x->seg[X86_SS] = flat_segment(ss, dpl | 3 | X86_AR_DB);
}

uint64_t x86h_syscall(struct x86_cpu *x, uint64_t len)
{
    bool amd = x->model->vendor[0] != 'G';
    if (!(x->efer & X86_EFER_SCE) || !x86_in_long_mode(x) || (!x86_in_code64(x) && !amd))
        x86_fault(x, X86_UD);
    bool wide = x86_in_code64(x);
    x->gpr[X86_RCX] = next_ip(x, (unsigned)len);
    x86_shadow_leave_user(x);
    x->gpr[11] = x86_get_rflags(x) & ~(uint64_t)X86_FLAG_RF;
    uint16_t cs = (uint16_t)(x->star >> 32 & ~3u);
    enter_flat(x, cs, (uint16_t)(cs + 8), 0, true);
    set_flags(x, 0, x->sfmask | X86_FLAG_RF | X86_FLAG_VM);
    x86_set_ip(x, wide ? x->lstar : x->cstar);
    if (!(x->rflags & X86_FLAG_TF))
        x->stepping = false;
    go_on(x);
    x86_track_target(x);
    return x->pc;
}

uint64_t x86h_sysret(struct x86_cpu *x, uint64_t size)
{
    if (!(x->efer & X86_EFER_SCE) || !x86_in_code64(x))
        x86_fault(x, X86_UD);
    if (x86_cpl(x) || (size == 8 && !x86_is_canonical(x, x->gpr[X86_RCX])))
        x86_fault_code(x, X86_GP, 0);
    uint16_t base = (uint16_t)(x->star >> 48);
    uint16_t cs = (uint16_t)((base + (size == 8 ? 16 : 0)) | 3), ss = (uint16_t)((base + 8) | 3);
    enter_flat(x, cs, ss, 3, size == 8);
    x86_set_rflags(x, (x->gpr[11] & 0x3c7fd7 & ~(uint64_t)X86_FLAG_RF) | X86_FLAG_ONE);
    x86_set_ip(x, size == 8 ? x->gpr[X86_RCX] : (uint32_t)x->gpr[X86_RCX]);
    x86_shadow_enter_user(x);
    return go_on(x);
}

uint64_t x86h_sysenter(struct x86_cpu *x)
{
    bool wide = x86_in_long_mode(x);
    if (!(x->cr0 & X86_CR0_PE) || x86_is_null((uint16_t)x->sysenter_cs))
        x86_fault_code(x, X86_GP, 0);
    x86_shadow_leave_user(x);
    x->rflags &= ~(uint64_t)(X86_FLAG_IF | X86_FLAG_VM | X86_FLAG_RF);
    uint16_t cs = (uint16_t)(x->sysenter_cs & ~3u);
    enter_flat(x, cs, (uint16_t)(cs + 8), 0, wide);
    x->gpr[X86_RSP] = wide ? x->sysenter_esp : (uint32_t)x->sysenter_esp;
    x86_set_ip(x, wide ? x->sysenter_eip : (uint32_t)x->sysenter_eip);
    go_on(x);
    x86_track_target(x);
    return x->pc;
}

uint64_t x86h_sysexit(struct x86_cpu *x, uint64_t size)
{
    uint64_t ip = x->gpr[X86_RDX], sp = x->gpr[X86_RCX];
    if (!(x->cr0 & X86_CR0_PE) || x86_is_null((uint16_t)x->sysenter_cs) || x86_cpl(x))
        x86_fault_code(x, X86_GP, 0);
    if (size == 8 && (!x86_is_canonical(x, ip) || !x86_is_canonical(x, sp)))
        x86_fault_code(x, X86_GP, 0);
    uint16_t cs = (uint16_t)((x->sysenter_cs & ~3u) + (size == 8 ? 32 : 16));
    enter_flat(x, cs | 3, (uint16_t)((cs + 8) | 3), 3, size == 8);
    x->gpr[X86_RSP] = size == 8 ? sp : (uint32_t)sp;
    x86_set_ip(x, size == 8 ? ip : (uint32_t)ip);
    x86_shadow_enter_user(x);
    return go_on(x);
}
