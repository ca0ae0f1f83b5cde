/* Task states: stacks of inner rings, the I/O permission bitmap, hardware task switches (SDM 3-7). */
#include "core/util.h"
#include "target/x86_64/sys.h"

/* ---- layout (SDM 3-7.2.1, 7.6, 7.7) ------------------------------------------------------------------- */

/* Offsets in a task state of 32 and of 16 bits. */
static const struct layout {
    uint8_t size, last; /* of an element; the least limit */
    uint8_t stacks, ip, flags, gprs, segs, n_segs, ldt;
} layouts[2] = {
    { 4, 0x67, 0x04, 0x20, 0x24, 0x28, 0x48, 6, 0x60 },
    { 2, 0x2b, 0x02, 0x0e, 0x10, 0x12, 0x22, 4, 0x2a },
};
enum { TSS_CR3 = 0x1c, TSS_DEBUG = 0x64, TSS_IO_MAP = 0x66, TSS_RSP0 = 4, TSS_IST1 = 0x24 };

static const struct layout *layout_of(uint32_t rights)
{
    return &layouts[rights & 8 ? 0 : 1];
}

static uint64_t get(struct x86_cpu *x, uint64_t at, unsigned size)
{
    return x86_read(x, at, size, X86_MMU_SYSTEM);
}

static void put(struct x86_cpu *x, uint64_t at, unsigned size, uint64_t v)
{
    x86_write(x, at, size, v, X86_MMU_SYSTEM);
}

/* ---- what delivery and ports ask of the running task --------------------------------------------------- */

void x86_inner_stack(struct x86_cpu *x, unsigned cpl, uint16_t *ss, uint64_t *sp)
{
    const struct layout *l = layout_of(x->tr.rights);
    uint32_t off = l->stacks + 2u * l->size * cpl;
    if (off + 2u * l->size - 1 > x->tr.limit)
        x86_fault_selector(x, X86_TS, x->tr.selector);
    *sp = get(x, x->tr.base + off, l->size);
    *ss = (uint16_t)get(x, x->tr.base + off + l->size, 2);
}

static uint64_t rsp_at(struct x86_cpu *x, uint32_t off)
{
    if (off + 7 > x->tr.limit)
        x86_fault_selector(x, X86_TS, x->tr.selector);
    return get(x, x->tr.base + off, 8);
}

uint64_t x86_inner_rsp(struct x86_cpu *x, unsigned cpl)
{
    return rsp_at(x, TSS_RSP0 + 8 * cpl);
}

uint64_t x86_ist_rsp(struct x86_cpu *x, unsigned ist)
{
    return rsp_at(x, TSS_IST1 + 8 * (ist - 1));
}

/* SDM 1-19.5.2 */
void x86_check_ports(struct x86_cpu *x, uint32_t port, unsigned size)
{
    bool vm86 = x->cr0 & X86_CR0_PE && x86_in_vm86(x);
    if (!(x->cr0 & X86_CR0_PE) || (!vm86 && x86_cpl(x) <= bits(x->rflags, 12, 2)))
        return;
    if (!(x->tr.rights & 8) || x->tr.limit < 0x67)
        x86_fault_code(x, X86_GP, 0);
    uint64_t at = get(x, x->tr.base + TSS_IO_MAP, 2) + port / 8;
    if (at + 1 > x->tr.limit)
        x86_fault_code(x, X86_GP, 0);
    uint64_t closed = get(x, x->tr.base + at, 2) >> (port & 7) & ((1u << size) - 1);
    if (closed)
        x86_fault_code(x, X86_GP, 0);
}

/* ---- switching ------------------------------------------------------------------------------------------- */

struct task {
    uint64_t cr3, ip, flags, gpr[8];
    uint16_t segs[6], ldt;
    bool debug;
};

static void save_task(struct x86_cpu *x, uint64_t next, uint64_t flags)
{
    const struct layout *l = layout_of(x->tr.rights);
    uint64_t at = x->tr.base;
    put(x, at + l->ip, l->size, next);
    put(x, at + l->flags, l->size, flags);
    for (unsigned i = 0; i < 8; i++)
        put(x, at + l->gprs + i * l->size, l->size, x->gpr[i]);
    for (unsigned i = 0; i < l->n_segs; i++)
        put(x, at + l->segs + i * l->size, 2, x->seg[i].selector);
}

static struct task load_task(struct x86_cpu *x, const struct x86_segment *tss)
{
    const struct layout *l = layout_of(tss->rights);
    uint64_t at = tss->base, high = l->size == 2 ? 0xffff0000 : 0;
    struct task t = { .ip = get(x, at + l->ip, l->size), .flags = get(x, at + l->flags, l->size) };
    for (unsigned i = 0; i < 8; i++)
        t.gpr[i] = get(x, at + l->gprs + i * l->size, l->size) | high;
    for (unsigned i = 0; i < l->n_segs; i++)
        t.segs[i] = (uint16_t)get(x, at + l->segs + i * l->size, 2);
    t.ldt = (uint16_t)get(x, at + l->ldt, 2);
    if (l->size == 4) {
        t.cr3 = get(x, at + TSS_CR3, 4);
        t.debug = get(x, at + TSS_DEBUG, 2) & 1;
    }
    return t;
}

static void set_busy(struct x86_cpu *x, uint64_t descriptor, bool busy)
{
    uint64_t type = get(x, descriptor + 5, 1);
    put(x, descriptor + 5, 1, busy ? type | 2 : type & ~(uint64_t)2);
}

static void load_new_cs(struct x86_cpu *x, uint16_t selector)
{
    unsigned rpl = selector & 3u;
    if (x86_is_null(selector))
        x86_fault_selector(x, X86_TS, selector);
    struct x86_descriptor d = x86_get_descriptor(x, selector, X86_TS);
    unsigned dpl = x86_desc_dpl(&d);
    bool conforming = d.high >> 8 & X86_AR_CONFORMING;
    if (!x86_desc_is_code(&d) || (conforming ? dpl > rpl : dpl != rpl))
        x86_fault_selector(x, X86_TS, selector);
    if (!x86_desc_present(&d))
        x86_fault_selector(x, X86_NP, selector);
    x86_mark_accessed(x, &d);
    x->seg[X86_CS] = x86_segment_from(&d);
}

static void load_new_data(struct x86_cpu *x, unsigned seg, uint16_t selector)
{
    if (x86_is_null(selector))
        return;
    struct x86_descriptor d = x86_get_descriptor(x, selector, X86_TS);
    uint32_t rights = d.high >> 8;
    bool conforming =
        (rights & (X86_AR_CODE | X86_AR_CONFORMING)) == (X86_AR_CODE | X86_AR_CONFORMING);
    if (!(rights & X86_AR_S) || (rights & (X86_AR_CODE | X86_AR_READABLE)) == X86_AR_CODE ||
        (!conforming && x86_desc_dpl(&d) < MAX(x86_cpl(x), selector & 3u)))
        x86_fault_selector(x, X86_TS, selector);
    if (!x86_desc_present(&d))
        x86_fault_selector(x, X86_NP, selector);
    x86_mark_accessed(x, &d);
    x->seg[seg] = x86_segment_from(&d);
}

/* The new task's segments; what fails is its fault (SDM 3-7.3). */
static void load_new_segments(struct x86_cpu *x, const struct task *t)
{
    static const uint8_t data[] = { X86_ES, X86_DS, X86_FS, X86_GS };
    if (x86_in_vm86(x)) {
        for (unsigned i = 0; i < N_X86_SEGS; i++)
            x86_load_real_segment(x, i, t->segs[i]);
        x86_set_ip(x, t->ip);
        return;
    }
    unsigned cpl = t->segs[X86_CS] & 3;
    for (unsigned i = 0; i < N_X86_SEGS; i++)
        x->seg[i] = (struct x86_segment){ .selector = t->segs[i],
                                          .limit = UINT32_MAX,
                                          .rights = X86_AR_UNUSABLE | cpl << X86_AR_DPL_SHIFT };
    x86_set_ip(x, t->ip);
    x86_load_ldt(x, t->ldt, X86_TS);
    load_new_cs(x, t->segs[X86_CS]);
    x86_set_ip(x, t->ip);
    x->seg[X86_SS] = x86_check_stack_segment(x, t->segs[X86_SS], cpl, X86_TS);
    for (unsigned i = 0; i < 4; i++)
        load_new_data(x, data[i], t->segs[data[i]]);
    x86_check_ip(x, &x->seg[X86_CS], t->ip);
}

static void enter_task(struct x86_cpu *x, const struct task *t, const struct x86_segment *tss,
                       const struct x86_shadow_frame *shadow, enum x86_task_why why)
{
    bool known = x->pc_known;
    x->pc_known = true;
    x->tr = *tss;
    x->cr0 |= X86_CR0_TS;
    if (tss->rights & 8 && x->cr0 & X86_CR0_PG && t->cr3 != x->cr3) {
        x86_set_cr3(x, t->cr3, false);
        if (x86_uses_pdptrs(x) && !x86_load_pdptrs(x, t->cr3))
            x86_fault_code(x, X86_GP, 0);
    }
    for (unsigned i = 0; i < 8; i++)
        x->gpr[i] = t->gpr[i];
    x86_set_rflags(x, (t->flags & 0x3f7fd7) | X86_FLAG_ONE);
    x->dr7 &= ~(uint64_t)0x155; /* local breakpoints, SDM 3-18.2.4 */
    load_new_segments(x, t);
    x86_shadow_enter_task(x, shadow, why);
    x86_update_state_word(x);
    if (t->debug) {
        x->step_dr6 |= X86_DR6_BT;
        vcpu_kick(x->cpu);
    }
    x->pc_known = known;
}

void x86_switch_task(struct x86_cpu *x, struct x86_descriptor *d, enum x86_task_why why,
                     uint64_t next)
{
    struct x86_segment tss = x86_segment_from(d);
    if (x->svm.in_guest) { /* EXITINFO2, APM 2-15.14.1 */
        uint64_t how = why == X86_TASK_RETURN ? (uint64_t)1 << 36
                       : why == X86_TASK_JUMP ? (uint64_t)1 << 38
                                              : 0;
        x86_exit_if_wanted(x, X86_EXIT_TASK, d->selector,
                           how | (x86_get_rflags(x) & X86_FLAG_RF) << 32);
    }
    uint64_t flags = x86_get_rflags(x);
    const struct layout *l = layout_of(tss.rights);
    bool nests = why == X86_TASK_CALL || why == X86_TASK_EVENT;
    if (tss.limit < l->last)
        x86_fault_selector(x, X86_TS, d->selector);
    struct task t = load_task(x, &tss);
    if (why == X86_TASK_RETURN)
        flags &= ~(uint64_t)X86_FLAG_NT;
    uint64_t back = (uint32_t)(x->seg[X86_CS].base + next);
    struct x86_shadow_frame shadow = x86_shadow_leave_task(x, why == X86_TASK_RETURN, back);
    save_task(x, next, flags);
    if (!nests && !(x->tr.selector & 4))
        set_busy(x, x->gdt.base + (x->tr.selector & ~7u), false);
    if (nests) {
        put(x, tss.base, 2, x->tr.selector);
        t.flags |= X86_FLAG_NT;
    }
    if (why != X86_TASK_RETURN)
        set_busy(x, d->at, true);
    tss.rights |= 2;
    enter_task(x, &t, &tss, &shadow, why);
}

void x86_task_gate(struct x86_cpu *x, const struct x86_descriptor *gate, enum x86_task_why why,
                   uint64_t next)
{
    uint16_t selector = (uint16_t)(gate->low >> 16);
    struct x86_descriptor d;
    if (selector & 4 || x86_is_null(selector) || !x86_find_descriptor(x, selector, &d) ||
        x86_desc_is_segment(&d) || (x86_desc_type(&d) & 7) != X86_TYPE_TSS16)
        x86_fault_selector(x, X86_GP, selector);
    if (!x86_desc_present(&d))
        x86_fault_selector(x, X86_NP, selector);
    x86_switch_task(x, &d, why, next);
}
