/* System management mode: how a CPU gets into it and out again (SDM 3-32; APM 2-10). What it looks like to the memory
 * map is in docs/smm.md.
 *
 * A CPU with long mode has the state-save map of the APM (table 10-1, revision 0x20064), one without that of the SDM's
 * table 32-1 (0x20000). Both say that SMBASE can be moved and that no I/O instruction is restarted. */
#include "core/vm.h"
#include "target/x86_64/model.h"
#include "target/x86_64/sys.h"

enum {
    IMAGE_AT = 0xfe00, /* relative to SMBASE, as all that follows is to IMAGE_AT */
    IMAGE_SIZE = 0x200,
    ENTRY_IP = 0x8000,
    REVISION_AT = 0xfc,
    REVISION_64 = 0x20064,
    REVISION_32 = 0x20000,
    HALTED_AT_64 = 0xc9, /* auto-halt restart */
    HALTED_AT_32 = 0x102,
    SAVED_RIGHTS = 0xf0ff,
};

/* Where a register is in the image. */
struct place {
    uint16_t at, member;
    uint8_t size, width; /* in the image; in struct x86_cpu */
};
#define PLACE(at, member, size)                                                           \
    {                                                                                     \
        at, offsetof(struct x86_cpu, member), size, sizeof(((struct x86_cpu *)0)->member) \
    }
/* Selector, rights, limit and base of a segment, each at its place. */
#define SEGMENT(member, selector_at, rights_at, rights_size, limit_at, base_at, base_size) \
    PLACE(selector_at, member.selector, 2), PLACE(rights_at, member.rights, rights_size),  \
        PLACE(limit_at, member.limit, 4), PLACE(base_at, member.base, base_size)
#define SEGMENT_64(member, at)           SEGMENT(member, at, at + 2, 2, at + 4, at + 8, 8)
#define SEGMENT_32(member, selector, at) SEGMENT(member, selector, at, 4, at + 4, at + 8, 4)

static const struct place map_64[] = {
    SEGMENT_64(seg[X86_ES], 0x000), SEGMENT_64(seg[X86_CS], 0x010), SEGMENT_64(seg[X86_SS], 0x020),
    SEGMENT_64(seg[X86_DS], 0x030), SEGMENT_64(seg[X86_FS], 0x040), SEGMENT_64(seg[X86_GS], 0x050),
    PLACE(0x064, gdt.limit, 2),     PLACE(0x068, gdt.base, 8),      SEGMENT_64(ldt, 0x070),
    PLACE(0x084, idt.limit, 2),     PLACE(0x088, idt.base, 8),      SEGMENT_64(tr, 0x090),
    PLACE(0x0d0, efer, 8),          PLACE(0x100, smbase, 4),        PLACE(0x148, cr4, 8),
    PLACE(0x150, cr3, 8),           PLACE(0x158, cr0, 8),           PLACE(0x160, dr7, 8),
    PLACE(0x168, dr6, 8),           PLACE(0x170, rflags, 8),        PLACE(0x178, rip, 8),
};

static const struct place map_32[] = {
    PLACE(0x0f8, smbase, 4),
    PLACE(0x114, cr4, 4),
    SEGMENT_32(seg[X86_DS], 0x1b4, 0x12c),
    SEGMENT_32(seg[X86_FS], 0x1b8, 0x138),
    SEGMENT_32(seg[X86_GS], 0x1bc, 0x144),
    PLACE(0x154, idt.limit, 2),
    PLACE(0x158, idt.base, 4),
    SEGMENT_32(tr, 0x1c4, 0x15c),
    PLACE(0x170, gdt.limit, 2),
    PLACE(0x174, gdt.base, 4),
    SEGMENT_32(ldt, 0x1c0, 0x178),
    SEGMENT_32(seg[X86_ES], 0x1a8, 0x184),
    SEGMENT_32(seg[X86_CS], 0x1ac, 0x190),
    SEGMENT_32(seg[X86_SS], 0x1b0, 0x19c),
    PLACE(0x1c8, dr7, 4),
    PLACE(0x1cc, dr6, 4),
    PLACE(0x1f0, rip, 4),
    PLACE(0x1f4, rflags, 4),
    PLACE(0x1f8, cr3, 4),
    PLACE(0x1fc, cr0, 4),
};

struct map {
    const struct place *places;
    size_t n;
    uint32_t revision;
    uint16_t halted_at, gpr_at; /* of RAX */
    int8_t gpr_step;            /* to the next; its sign says where that is */
    uint8_t n_gprs, gpr_size;
};

static const struct map maps[] = {
    { map_32, ARRAY_LEN(map_32), REVISION_32, HALTED_AT_32, 0x1d0, 4, 8, 4 },
    { map_64, ARRAY_LEN(map_64), REVISION_64, HALTED_AT_64, 0x1f8, -8, 16, 8 },
};

static const struct map *map_of(const struct x86_cpu *x)
{
    return &maps[x86_model_has(x->model, X86_E1_EDX, 29)];
}

/* ---- the image ------------------------------------------------------------------------------------------ */

static uint64_t get_member(const struct x86_cpu *x, const struct place *p)
{
    const void *from = (const uint8_t *)x + p->member;
    switch (p->width) {
    case 2: return *(const uint16_t *)from;
    case 4: return *(const uint32_t *)from;
    default: return *(const uint64_t *)from;
    }
}

static void set_member(struct x86_cpu *x, const struct place *p, uint64_t v)
{
    void *to = (uint8_t *)x + p->member;
    switch (p->width) {
    case 2: *(uint16_t *)to = (uint16_t)v; break;
    case 4: *(uint32_t *)to = (uint32_t)v; break;
    default: *(uint64_t *)to = v; break;
    }
}

static void save_image(struct x86_cpu *x, const struct map *m, uint8_t *image)
{
    for (size_t i = 0; i < m->n; i++)
        store_le(image + m->places[i].at, m->places[i].size, get_member(x, &m->places[i]));
    for (unsigned r = 0; r < m->n_gprs; r++)
        store_le(image + m->gpr_at + m->gpr_step * (int)r, m->gpr_size, x->gpr[r]);
    store_le(image + REVISION_AT, 4, m->revision);
}

static void load_image(struct x86_cpu *x, const struct map *m, const uint8_t *image)
{
    for (size_t i = 0; i < m->n; i++)
        set_member(x, &m->places[i], load_le(image + m->places[i].at, m->places[i].size));
    for (unsigned r = 0; r < m->n_gprs; r++)
        x->gpr[r] = load_le(image + m->gpr_at + m->gpr_step * (int)r, m->gpr_size);
}

/* An image shows what is usable by P alone. */
static void hide_unusable(struct x86_segment *s)
{
    s->rights = s->rights & X86_AR_UNUSABLE ? s->rights & (SAVED_RIGHTS & ~X86_AR_P)
                                            : s->rights & SAVED_RIGHTS;
}

static void find_unusable(struct x86_segment *s)
{
    s->rights &= SAVED_RIGHTS;
    if (!(s->rights & X86_AR_P))
        s->rights |= X86_AR_UNUSABLE;
}

static void each_segment(struct x86_cpu *x, void (*fn)(struct x86_segment *s))
{
    for (unsigned i = 0; i < N_X86_SEGS; i++)
        fn(&x->seg[i]);
    fn(&x->ldt);
    fn(&x->tr);
}

/* Physical memory as it is in system management mode. */
static uint64_t image_address(const struct x86_cpu *x)
{
    return (uint32_t)(x->smbase + IMAGE_AT);
}

static void write_image(struct x86_cpu *x, const uint8_t *image)
{
    for (unsigned i = 0; i < IMAGE_SIZE; i += 8)
        mem_cpu_write(x->cpu, image_address(x) + i, 8, load_le(image + i, 8));
}

static void read_image(struct x86_cpu *x, uint8_t *image)
{
    for (unsigned i = 0; i < IMAGE_SIZE; i += 8) {
        uint64_t v;
        mem_cpu_read(x->cpu, image_address(x) + i, 8, &v);
        store_le(image + i, 8, v);
    }
}

static void log_smm(const struct x86_cpu *x, const char *what)
{
    const struct log *log = &x->cpu->vm->log;
    if (log_on(log, LOG_INT))
        log_print(log, "int: cpu %u %s at %04x:%016llx smbase %08llx\n", x->cpu->index, what,
                  x->seg[X86_CS].selector, (unsigned long long)x->rip,
                  (unsigned long long)x->smbase);
}

/* ---- in ----------------------------------------------------------------------------------------------------- */

/* SDM 3-32.5.1, table 32-4. */
static void set_smm_state(struct x86_cpu *x)
{
    const uint32_t data = X86_AR_G | X86_AR_P | X86_AR_S | 3;
    for (unsigned i = 0; i < N_X86_SEGS; i++)
        x->seg[i] = (struct x86_segment){ .limit = UINT32_MAX, .rights = data };
    x->seg[X86_CS].selector = (uint16_t)(x->smbase >> 4);
    x->seg[X86_CS].base = (uint32_t)x->smbase;
    x->idt.limit = 0;
    x->cr0 &= ~(X86_CR0_PE | X86_CR0_EM | X86_CR0_TS | X86_CR0_PG);
    x->cr4 = 0;
    x->efer = 0;
    x->dr7 = 0x400;
    x86_set_rflags(x, X86_FLAG_ONE);
    x86_set_ip(x, ENTRY_IP);
}

static void note_paging(const struct x86_cpu *x, uint64_t now[4])
{
    now[0] = x->cr0;
    now[1] = x->cr3;
    now[2] = x->cr4;
    now[3] = x->efer;
}

void x86_enter_smm(struct x86_cpu *x)
{
    const struct map *m = map_of(x);
    uint8_t image[IMAGE_SIZE] = { 0 };
    x->rip = x86_insn_ip(x);
    x->rflags = x86_get_rflags(x);
    log_smm(x, "SMI");
    note_paging(x, x->smm_paging);
    each_segment(x, hide_unusable);
    save_image(x, m, image);
    image[m->halted_at] = x->run_state == X86_HLT;
    x->run_state = X86_RUNNABLE;
    x->deaf_lines = 0;
    x->shadow_left = 0;
    x->is_monitoring = false;
    x->events.smi_inside_nmi = x->events.nmi_masked;
    x->events.nmi_masked = x->events.in_smm = x->cpu->in_smm = true;
    write_image(x, image);
    each_segment(x, find_unusable);
    set_smm_state(x);
    x86_update_state_word(x);
}

/* ---- out ------------------------------------------------------------------------------------------------------ */

/* SDM 3-32.4.1: what cannot be shuts the CPU down. */
static bool is_possible(struct x86_cpu *x)
{
    bool paging = x->cr0 & X86_CR0_PG, wide = paging && x->efer & X86_EFER_LME;
    if (x->cr0 >> 32 || (paging && !(x->cr0 & X86_CR0_PE)) ||
        (x->cr0 & X86_CR0_NW && !(x->cr0 & X86_CR0_CD)))
        return false;
    if (x->cr4 & ~x86_allowed_cr4(x) || x->efer & ~x86_allowed_efer(x))
        return false;
    if (wide ? !(x->cr4 & X86_CR4_PAE) : x->cr4 & X86_CR4_PCIDE)
        return false;
    if (x->cr3 >> (wide ? x->model->phys_bits : 32))
        return false;
    x->efer = wide ? x->efer | X86_EFER_LMA : x->efer & ~X86_EFER_LMA;
    x->cr0 |= X86_CR0_ET;
    return !x86_uses_pdptrs(x) || x86_load_pdptrs(x, x->cr3);
}

void x86h_rsm(struct x86_cpu *x)
{
    const uint64_t flags = 0x3f7fd5;
    const struct map *m = map_of(x);
    uint8_t image[IMAGE_SIZE];
    uint64_t now[4];
    x86_intercept(x, X86_EXIT_RSM);
    if (!x->events.in_smm)
        x86_fault(x, X86_UD);
    x->pc = x86_insn_pc(x);
    read_image(x, image);
    load_image(x, m, image);
    each_segment(x, find_unusable);
    x->events.in_smm = x->cpu->in_smm = false;
    x->events.nmi_masked = x->events.smi_inside_nmi;
    x->events.smi_inside_nmi = false;
    if (!is_possible(x))
        x86_shut_down(x);
    note_paging(x, now);
    if (memcmp(now, x->smm_paging, sizeof(now)) != 0)
        x86_paging_changed(x);
    x86_set_rflags(x, (x->rflags & flags) | X86_FLAG_ONE);
    x86_set_ip(x, x->rip);
    log_smm(x, "RSM");
    x86_update_state_word(x);
    if (image[m->halted_at] & 1) {
        x->run_state = X86_HLT;
        x86_halt(x, x->rflags & X86_FLAG_IF);
    }
    tcg_leave(x->cpu); /* what came meanwhile is taken first */
}
