/* Segments: checks of accesses, descriptors, loading segment registers (SDM 3-3, 3-5), stacks. */
#include "core/util.h"
#include "target/x86_64/sys.h"

/* ---- checks of accesses ----------------------------------------------------------------------------- */

bool x86_segment_holds(const struct x86_segment *s, uint64_t offset, uint64_t size)
{
    bool down = (s->rights & (X86_AR_S | X86_AR_CODE | X86_AR_EXPAND_DOWN)) ==
                (X86_AR_S | X86_AR_EXPAND_DOWN);
    uint64_t last = offset + size - 1;
    if (!down)
        return last <= s->limit;
    return offset > s->limit && last <= (s->rights & X86_AR_DB ? UINT32_MAX : 0xffff);
}

static noreturn void fault_access(struct x86_cpu *x, unsigned seg)
{
    x86_fault_selector(x, seg == X86_SS ? X86_SS_FAULT : X86_GP, 0);
}

static bool type_allows(const struct x86_segment *s, unsigned how)
{
    bool code = s->rights & X86_AR_CODE;
    if (how & X86_LINEAR_WRITE)
        return !code && s->rights & X86_AR_WRITABLE;
    return how & X86_LINEAR_EXEC || !code || s->rights & X86_AR_READABLE;
}

uint64_t x86_linear(struct x86_cpu *x, unsigned seg, uint64_t offset, unsigned how)
{
    const struct x86_segment *s = &x->seg[seg];
    unsigned size = how & 0xff;
    if (x86_in_code64(x)) {
        uint64_t at = (seg >= X86_FS ? s->base : 0) + offset;
        if (!x86_is_canonical(x, at) || !x86_is_canonical(x, at + (size ? size - 1 : 0)))
            fault_access(x, seg);
        return at;
    }
    if (x86_uses_descriptors(x) && (s->rights & X86_AR_UNUSABLE || !type_allows(s, how)))
        fault_access(x, seg);
    if (size && !x86_segment_holds(s, offset, size))
        fault_access(x, seg);
    return (uint32_t)(s->base + offset);
}

uint64_t x86h_linear(struct x86_cpu *x, uint64_t seg, uint64_t offset, uint64_t how)
{
    return x86_linear(x, (unsigned)seg, offset, (unsigned)how);
}

/* Past the limit is #GP before the instruction. Where CS ends in the middle of a page each one must be looked at there:
 * the state word says so while code runs in that page. */
void x86h_check_code(struct x86_cpu *x, uint64_t len)
{
    const struct x86_segment *cs = &x->seg[X86_CS];
    uint64_t pc = x86_insn_pc(x), end = cs->base + cs->limit + 1;
    uint32_t ip = (uint32_t)(pc - cs->base);
    if (ip + len - 1 > cs->limit)
        x86_fault_selector(x, X86_GP, 0);
    bool here = end & 4095 && align_down(pc, 4096) == align_down(end, 4096);
    if (here == x->code_ends_here)
        return;
    x->code_ends_here = here;
    x->pc = pc;
    x86_update_state_word(x);
    tcg_leave(x->cpu);
}

/* ---- descriptors -------------------------------------------------------------------------------------- */

bool x86_find_descriptor(struct x86_cpu *x, uint16_t selector, struct x86_descriptor *d)
{
    bool local = selector & 4;
    uint64_t base = local ? x->ldt.base : x->gdt.base;
    uint32_t limit = local ? x->ldt.limit : x->gdt.limit;
    if (local && (x->ldt.rights & X86_AR_UNUSABLE || x86_is_null(x->ldt.selector)))
        return false;
    if ((selector | 7u) > limit)
        return false;
    d->selector = selector;
    d->at = base + (selector & ~7u);
    uint64_t v = x86_read(x, d->at, 8, X86_MMU_SYSTEM);
    d->low = (uint32_t)v;
    d->high = (uint32_t)(v >> 32);
    return true;
}

struct x86_descriptor x86_get_descriptor(struct x86_cpu *x, uint16_t selector, unsigned vector)
{
    struct x86_descriptor d;
    if (!x86_find_descriptor(x, selector, &d))
        x86_fault_selector(x, vector, selector);
    return d;
}

uint64_t x86_descriptor_upper(struct x86_cpu *x, const struct x86_descriptor *d, unsigned vector)
{
    uint32_t limit = d->selector & 4 ? x->ldt.limit : x->gdt.limit;
    if ((d->selector & ~7u) + 15 > limit)
        x86_fault_selector(x, vector, d->selector);
    uint64_t v = x86_read(x, d->at + 8, 8, X86_MMU_SYSTEM);
    if (bits(v, 40, 5)) /* the type of what would be the next descriptor */
        x86_fault_selector(x, vector, d->selector);
    return v << 32;
}

void x86_mark_accessed(struct x86_cpu *x, struct x86_descriptor *d)
{
    if (d->high >> 8 & X86_AR_ACCESSED)
        return;
    d->high |= X86_AR_ACCESSED << 8;
    x86_write(x, d->at + 5, 1, d->high >> 8 & 0xff, X86_MMU_SYSTEM);
}

struct x86_segment x86_segment_from(const struct x86_descriptor *d)
{
    uint32_t limit = (d->low & 0xffff) | (d->high & 0xf0000);
    return (struct x86_segment){
        .selector = d->selector,
        .base = (d->low >> 16) | (d->high & 0xff) << 16 | (d->high & 0xff000000),
        .limit = d->high >> 23 & 1 ? limit << 12 | 0xfff : limit,
        .rights = d->high >> 8 & 0xf0ff,
    };
}

/* ---- segment registers -------------------------------------------------------------------------------- */

/* SDM 3-21.1.1, 3-21.2.1: limit and rights stay in real mode. */
void x86_load_real_segment(struct x86_cpu *x, unsigned seg, uint16_t selector)
{
    struct x86_segment *s = &x->seg[seg];
    s->selector = selector;
    s->base = (uint64_t)selector << 4;
    if (x86_in_vm86(x))
        *s = (struct x86_segment){ s->base, 0xffff, X86_AR_P | X86_AR_S | 3 << 5 | 3, selector };
    else if (seg == X86_CS) /* of a mode left behind */
        s->rights = (s->rights & ~(uint32_t)(X86_AR_L | 0x60 | 0xf)) | X86_AR_P | X86_AR_S | 11;
}

struct x86_segment x86_check_stack_segment(struct x86_cpu *x, uint16_t selector, unsigned cpl,
                                           unsigned vector)
{
    if (x86_is_null(selector))
        x86_fault_selector(x, vector, 0);
    struct x86_descriptor d = x86_get_descriptor(x, selector, vector);
    bool writable_data =
        (d.high >> 8 & (X86_AR_S | X86_AR_CODE | X86_AR_WRITABLE)) == (X86_AR_S | X86_AR_WRITABLE);
    if ((selector & 3u) != cpl || x86_desc_dpl(&d) != cpl || !writable_data)
        x86_fault_selector(x, vector, selector);
    if (!x86_desc_present(&d))
        x86_fault_selector(x, X86_SS_FAULT, selector);
    x86_mark_accessed(x, &d);
    return x86_segment_from(&d);
}

static void load_stack_segment(struct x86_cpu *x, uint16_t selector)
{
    unsigned cpl = x86_cpl(x);
    if (x86_is_null(selector) && x86_in_code64(x) && cpl < 3 && selector == cpl) {
        x->seg[X86_SS] =
            (struct x86_segment){ .selector = selector,
                                  .rights = X86_AR_UNUSABLE | cpl << X86_AR_DPL_SHIFT };
        return;
    }
    x->seg[X86_SS] = x86_check_stack_segment(x, selector, cpl, X86_GP);
}

static void load_data_segment(struct x86_cpu *x, unsigned seg, uint16_t selector)
{
    if (x86_is_null(selector)) {
        x->seg[seg] = (struct x86_segment){ .selector = selector, .rights = X86_AR_UNUSABLE };
        return;
    }
    struct x86_descriptor d = x86_get_descriptor(x, selector, X86_GP);
    uint32_t rights = d.high >> 8;
    bool conforming =
        (rights & (X86_AR_CODE | X86_AR_CONFORMING)) == (X86_AR_CODE | X86_AR_CONFORMING);
    if (!(rights & X86_AR_S) || (rights & (X86_AR_CODE | X86_AR_READABLE)) == X86_AR_CODE)
        x86_fault_selector(x, X86_GP, selector);
    if (!conforming && x86_desc_dpl(&d) < MAX(x86_cpl(x), selector & 3u))
        x86_fault_selector(x, X86_GP, selector);
    if (!x86_desc_present(&d))
        x86_fault_selector(x, X86_NP, selector);
    x86_mark_accessed(x, &d);
    x->seg[seg] = x86_segment_from(&d);
}

void x86_load_segment(struct x86_cpu *x, unsigned seg, uint16_t selector)
{
    if (!x86_uses_descriptors(x))
        x86_load_real_segment(x, seg, selector);
    else if (seg == X86_SS)
        load_stack_segment(x, selector);
    else
        load_data_segment(x, seg, selector);
}

static struct x86_segment system_segment(struct x86_cpu *x, struct x86_descriptor *d,
                                         unsigned vector)
{
    struct x86_segment s = x86_segment_from(d);
    if (x86_in_long_mode(x)) {
        s.base |= x86_descriptor_upper(x, d, vector);
        if (!x86_is_canonical(x, s.base))
            x86_fault_code(x, X86_GP, 0);
    }
    return s;
}

void x86_load_ldt(struct x86_cpu *x, uint16_t selector, unsigned vector)
{
    if (x86_is_null(selector)) {
        x->ldt = (struct x86_segment){ .selector = selector, .rights = X86_AR_UNUSABLE };
        return;
    }
    struct x86_descriptor d;
    if (selector & 4 || !x86_find_descriptor(x, selector, &d) || x86_desc_is_segment(&d) ||
        x86_desc_type(&d) != X86_TYPE_LDT)
        x86_fault_selector(x, vector, selector);
    if (!x86_desc_present(&d))
        x86_fault_selector(x, vector == X86_GP ? X86_NP : vector, selector);
    x->ldt = system_segment(x, &d, vector);
}

void x86_load_tr(struct x86_cpu *x, uint16_t selector)
{
    struct x86_descriptor d;
    if (x86_is_null(selector))
        x86_fault_selector(x, X86_GP, 0);
    if (selector & 4 || !x86_find_descriptor(x, selector, &d) || x86_desc_is_segment(&d))
        x86_fault_selector(x, X86_GP, selector);
    unsigned type = x86_desc_type(&d);
    if (type != X86_TYPE_TSS32 && (type != X86_TYPE_TSS16 || x86_in_long_mode(x)))
        x86_fault_selector(x, X86_GP, selector);
    if (!x86_desc_present(&d))
        x86_fault_selector(x, X86_NP, selector);
    struct x86_segment s = system_segment(x, &d, X86_GP);
    x86_write(x, d.at + 5, 1, (d.high >> 8 & 0xff) | 2, X86_MMU_SYSTEM); /* busy */
    s.rights |= 2;
    x->tr = s;
}

/* ---- stacks --------------------------------------------------------------------------------------------- */

static uint64_t stack_mask(const struct x86_cpu *x, const struct x86_segment *ss)
{
    return x86_in_code64(x) ? UINT64_MAX : ss->rights & X86_AR_DB ? UINT32_MAX : 0xffff;
}

struct x86_stack x86_stack_now(struct x86_cpu *x, unsigned size)
{
    const struct x86_segment *ss = &x->seg[X86_SS];
    return (struct x86_stack){ .seg = x86_in_code64(x) ? NULL : ss,
                               .sp = x->gpr[X86_RSP],
                               .mask = stack_mask(x, ss),
                               .size = size,
                               .mode = X86_MMU_STACK };
}

struct x86_stack x86_stack_of(const struct x86_cpu *x, const struct x86_segment *ss, uint64_t sp,
                              unsigned size)
{
    (void)x;
    return (struct x86_stack){ .seg = ss,
                               .sp = sp,
                               .mask = ss->rights & X86_AR_DB ? UINT32_MAX : 0xffff,
                               .size = size,
                               .mode = X86_MMU_SYSTEM,
                               .error = ss->selector };
}

/* seg is NULL for stacks of 64-bit code, which begin at 0 and have no limit. */
static uint64_t stack_linear(struct x86_cpu *x, const struct x86_stack *st, uint64_t sp)
{
    if (!st->seg && !x86_is_canonical(x, sp))
        x86_fault_selector(x, X86_SS_FAULT, 0);
    if (st->seg && !x86_segment_holds(st->seg, sp, st->size))
        x86_fault_selector(x, X86_SS_FAULT, st->error);
    return st->seg ? (uint32_t)(st->seg->base + sp) : sp;
}

void x86_push(struct x86_cpu *x, struct x86_stack *st, uint64_t v)
{
    uint64_t sp = (st->sp - st->size) & st->mask;
    x86_write(x, stack_linear(x, st, sp), st->size, v, st->mode);
    st->sp = (st->sp & ~st->mask) | sp;
}

uint64_t x86_pop(struct x86_cpu *x, struct x86_stack *st)
{
    uint64_t sp = st->sp & st->mask;
    uint64_t v = x86_read(x, stack_linear(x, st, sp), st->size, st->mode);
    st->sp = (st->sp & ~st->mask) | ((sp + st->size) & st->mask);
    return v;
}

void x86_keep_sp(struct x86_cpu *x, const struct x86_stack *st)
{
    x->gpr[X86_RSP] = (x->gpr[X86_RSP] & ~st->mask) | (st->sp & st->mask);
    if (st->mask == UINT32_MAX)
        x->gpr[X86_RSP] = (uint32_t)st->sp;
}

/* ---- where code runs ------------------------------------------------------------------------------------- */

void x86_check_ip(struct x86_cpu *x, const struct x86_segment *cs, uint64_t ip)
{
    bool wide = x86_in_long_mode(x) && cs->rights & X86_AR_L;
    if (wide ? !x86_is_canonical(x, ip) : ip > cs->limit)
        x86_fault_selector(x, X86_GP, 0);
}

void x86_set_ip(struct x86_cpu *x, uint64_t ip)
{
    x->pc = x86_in_code64(x) ? ip : (uint32_t)(x->seg[X86_CS].base + ip);
}
