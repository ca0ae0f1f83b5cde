/* FXSAVE and the XSAVE family (SDM 1-10.5 and 1-13), and MXCSR. */
#include "core/util.h"
#include "target/x86_64/model.h"
#include "target/x86_64/sys.h"
#include "target/x86_64/x87.h"
#include "tcg/softfloat.h"

enum {
    LEGACY = 512,
    HEADER = 64,
    XSTATE_BV = 512,
    XCOMP_BV = 520,
    MXCSR_INIT = 0x1f80,
    MXCSR_AT = 24,
    ST_AT = 32,
    XMM_AT = 160,
    AREA = 1024,
    WIDE = 16
};
enum { CET_U = 11, CET_S = 12, LAST_COMPONENT = CET_S };
#define COMPACT    ((uint64_t)1 << 63)
#define EFER_FFXSR ((uint64_t)1 << 14)

/* ---- memory --------------------------------------------------------------------------------------- */

/* n bytes, a multiple of 8, from an address that is one. Units end behind who writes: code may have been there. */
static void write_bytes(struct x86_cpu *x, uint64_t address, const uint8_t *from, unsigned n)
{
    for (unsigned at = 0, step; at < n; at += step) {
        struct tcg_ram ram;
        step = MIN(n - at, 4096 - (unsigned)((address + at) & 4095));
        if (tcg_ram_at(x->cpu, address + at, ACCESS_WRITE, X86_MMU_DATA, &ram)) {
            memcpy(ram.host, from + at, step);
            tcg_ram_written(x->cpu, &ram, step);
            continue;
        }
        for (unsigned k = at; k < at + step; k += 8)
            tcg_store(x->cpu, address + k, 8, load_le(from + k, 8), X86_MMU_DATA);
    }
}

static void read_bytes(struct x86_cpu *x, uint64_t address, uint8_t *to, unsigned n)
{
    for (unsigned at = 0, step; at < n; at += step) {
        struct tcg_ram ram;
        step = MIN(n - at, 4096 - (unsigned)((address + at) & 4095));
        if (tcg_ram_at(x->cpu, address + at, ACCESS_READ, X86_MMU_DATA, &ram)) {
            memcpy(to + at, ram.host, step);
            continue;
        }
        for (unsigned k = at; k < at + step; k += 8)
            store_le(to + k, 8, tcg_load(x->cpu, address + k, 8, X86_MMU_DATA));
    }
}

static bool in_code64(const struct x86_cpu *x)
{
    return x->state_word & X86_TR_CODE64;
}

static unsigned n_vectors(const struct x86_cpu *x)
{
    return in_code64(x) ? 16 : 8;
}

/* ---- components: what they hold, as their area stores it ------------------------------------------ */

static unsigned top_of(const struct x86_cpu *x)
{
    return x->fsw >> 11 & 7;
}

/* The x87's part of the legacy area, all but MXCSR and its mask (SDM 1-10.5.1). `wide`: 64-bit FIP and FDP. */
static void get_x87(const struct x86_cpu *x, bool wide, uint8_t to[XMM_AT])
{
    memset(to, 0, MXCSR_AT);
    store_le(to, 2, x->fcw);
    store_le(to + 2, 2, x->fsw);
    to[4] = x->ftw;
    store_le(to + 6, 2, x->fop);
    store_le(to + 8, wide ? 8 : 4, x->fip);
    store_le(to + 16, wide ? 8 : 4, x->fdp);
    for (unsigned i = 0; i < 8; i++) {
        memcpy(to + ST_AT + 16 * i, x->st[(top_of(x) + i) & 7], 10);
        memset(to + ST_AT + 16 * i + 10, 0, 6);
    }
}

static void set_x87(struct x86_cpu *x, bool wide, const uint8_t from[XMM_AT])
{
    x->fcw = (uint16_t)((load_le(from, 2) & 0x1f3f) | 0x40);
    x->fsw = (uint16_t)(load_le(from + 2, 2) & 0x7f7f);
    if (x->fsw & ~x->fcw & 0x3f)
        x->fsw |= 0x8080;
    x->ftw = from[4];
    x->fop = (uint16_t)(load_le(from + 6, 2) & 0x7ff);
    x->fip = load_le(from + 8, wide ? 8 : 4);
    x->fdp = load_le(from + 16, wide ? 8 : 4);
    for (unsigned i = 0; i < 8; i++)
        memcpy(x->st[(top_of(x) + i) & 7], from + ST_AT + 16 * i, 10);
}

/* A run of bytes in each of several vector registers. */
struct slice {
    unsigned first, n, at, size;
};
static struct slice slice_of(const struct x86_cpu *x, unsigned component)
{
    switch (component) {
    case 1: return (struct slice){ 0, n_vectors(x), 0, 16 };
    case 2: return (struct slice){ 0, n_vectors(x), 16, 16 };
    case 6: return (struct slice){ 0, n_vectors(x), 32, 32 };
    case 7: return (struct slice){ 16, in_code64(x) ? 16 : 0, 0, 64 };
    default: return (struct slice){ 0 };
    }
}

static unsigned component_size(unsigned component)
{
    static const uint16_t sizes[] = {
        [1] = 256, [2] = 256, [5] = 64, [6] = 512, [7] = 1024, [9] = 8, [CET_U] = 16, [CET_S] = 24
    };
    return component < ARRAY_LEN(sizes) ? sizes[component] : 0;
}

/* Bytes of `to` that this CPU mode does not have stay as they were. */
static void get_component(const struct x86_cpu *x, unsigned component, uint8_t *to)
{
    struct slice s = slice_of(x, component);
    for (unsigned i = 0; i < s.n; i++)
        memcpy(to + i * s.size, x->zmm[s.first + i] + s.at, s.size);
    switch (component) {
    case 5: memcpy(to, x->k, 64); break;
    case 9: store_le(to, 8, x->pkru); break;
    case CET_U:
        store_le(to, 8, x->u_cet);
        store_le(to + 8, 8, x->pl3_ssp);
        break;
    case CET_S:
        store_le(to, 8, x->pl0_ssp);
        store_le(to + 8, 8, x->pl1_ssp);
        store_le(to + 16, 8, x->pl2_ssp);
        break;
    default: break;
    }
}

static void set_component(struct x86_cpu *x, unsigned component, const uint8_t *from)
{
    struct slice s = slice_of(x, component);
    for (unsigned i = 0; i < s.n; i++)
        memcpy(x->zmm[s.first + i] + s.at, from + i * s.size, s.size);
    switch (component) {
    case 5: memcpy(x->k, from, 64); break;
    case 9: x86_set_pkru(x, (uint32_t)load_le(from, 4)); break;
    case CET_U:
        x->u_cet = load_le(from, 8);
        x->pl3_ssp = load_le(from + 8, 8);
        break;
    case CET_S:
        x->pl0_ssp = load_le(from, 8);
        x->pl1_ssp = load_le(from + 8, 8);
        x->pl2_ssp = load_le(from + 16, 8);
        break;
    default: break;
    }
}

/* SDM 1-13.6 */
static const uint8_t x87_initial[XMM_AT] = { 0x7f, 0x03 };

static bool has_bits(const uint8_t *p, unsigned n)
{
    uint64_t v;
    for (unsigned i = 0; i < n; i += 8) {
        memcpy(&v, p + i, 8);
        if (v)
            return true;
    }
    return false;
}

static bool is_in_use(const struct x86_cpu *x, unsigned component)
{
    uint8_t now[64] = { 0 };
    struct slice s = slice_of(x, component);
    if (component == 0)
        return x->fcw != 0x37f || x->fsw || x->ftw || x->fop || x->fip || x->fdp ||
               has_bits(x->st[0], sizeof(x->st));
    for (unsigned i = 0; i < s.n; i++)
        if (has_bits(x->zmm[s.first + i] + s.at, s.size))
            return true;
    if (!component_size(component) || component_size(component) > sizeof(now))
        return false;
    get_component(x, component, now);
    return has_bits(now, sizeof(now));
}

uint64_t x86_xinuse(struct x86_cpu *x, uint64_t of)
{
    uint64_t in_use = 0;
    for (uint64_t left = of; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctzll(left);
        if (is_in_use(x, i))
            in_use |= (uint64_t)1 << i;
    }
    return in_use;
}

/* ---- FXSAVE, FXRSTOR ------------------------------------------------------------------------------ */

static void check_alignment(struct x86_cpu *x, uint64_t address, unsigned to)
{
    if (address & (to - 1))
        x86_fault_code(x, X86_GP, 0);
}

/* EFER.FFXSR leaves vectors alone at CPL 0 in 64-bit mode (APM 2-11.4.4). */
static bool saves_vectors(const struct x86_cpu *x)
{
    return !(x->efer & EFER_FFXSR && in_code64(x) && x86_cpl(x) == 0);
}

static void write_mxcsr(struct x86_cpu *x, uint64_t address)
{
    tcg_store(x->cpu, address + MXCSR_AT, 8, x86_get_mxcsr(x) | (uint64_t)X86_MXCSR_VALID << 32,
              X86_MMU_DATA);
}

static uint32_t read_mxcsr(struct x86_cpu *x, uint64_t address)
{
    uint32_t v = (uint32_t)tcg_load(x->cpu, address + MXCSR_AT, 4, X86_MMU_DATA);
    if (v & ~(uint32_t)X86_MXCSR_VALID)
        x86_fault_code(x, X86_GP, 0);
    return v;
}

static void write_x87(struct x86_cpu *x, uint64_t address, bool wide)
{
    uint8_t image[XMM_AT];
    get_x87(x, wide, image);
    write_bytes(x, address, image, MXCSR_AT);
    write_bytes(x, address + ST_AT, image + ST_AT, 128);
}

void x86h_fxsave(struct x86_cpu *x, uint64_t address, uint64_t wide)
{
    uint8_t vectors[AREA];
    check_alignment(x, address, 16);
    tcg_probe(x->cpu, address, LEGACY, ACCESS_WRITE, X86_MMU_DATA);
    write_x87(x, address, wide);
    write_mxcsr(x, address);
    if (!saves_vectors(x))
        return;
    get_component(x, 1, vectors);
    write_bytes(x, address + XMM_AT, vectors, 16 * n_vectors(x));
}

void x86h_fxrstor(struct x86_cpu *x, uint64_t address, uint64_t wide)
{
    uint8_t image[LEGACY];
    check_alignment(x, address, 16);
    read_bytes(x, address, image, LEGACY - 96);
    uint32_t mxcsr = read_mxcsr(x, address);
    set_x87(x, wide, image);
    if (saves_vectors(x))
        set_component(x, 1, image + XMM_AT);
    x86_set_mxcsr(x, mxcsr);
}

/* ---- XSAVE ---------------------------------------------------------------------------------------- */

static void check_xsave(struct x86_cpu *x, uint64_t address, unsigned kind)
{
    if (!(x->cr4 & X86_CR4_OSXSAVE))
        x86_fault(x, X86_UD);
    if (kind == X86_XSAVES && x86_cpl(x))
        x86_fault_code(x, X86_GP, 0);
    if (x->cr0 & X86_CR0_TS)
        x86_fault(x, X86_NM);
    check_alignment(x, address, 64);
}

/* Where a component is: in the standard format where CPUID says, else behind the ones before it (SDM 1-13.4.3;
 * none of ours asks to be aligned). */
static uint32_t place_of(const struct x86_cpu *x, unsigned component, uint64_t layout)
{
    uint32_t at = LEGACY + HEADER, size;
    if (component == 1)
        return XMM_AT;
    if (!(layout & COMPACT)) {
        x86_xsave_component(x->model, component, &at, &size);
        return at;
    }
    for (unsigned i = 2; i < component; i++)
        if (layout >> i & 1)
            at += component_size(i);
    return at;
}

static uint64_t enabled(const struct x86_cpu *x, unsigned kind)
{
    return x->xcr0 | (kind == X86_XSAVES ? x->xss : 0);
}

/* Bytes that the image may take. */
static uint32_t image_size(const struct x86_cpu *x, uint64_t of, uint64_t layout)
{
    uint32_t end = LEGACY + HEADER;
    for (unsigned i = 2; i <= LAST_COMPONENT; i++)
        if (of >> i & 1)
            end = MAX(end, place_of(x, i, layout) + component_size(i));
    return end;
}

/* `of`: components to write. */
static void write_components(struct x86_cpu *x, uint64_t address, uint64_t of, uint64_t layout,
                             bool wide)
{
    uint8_t area[AREA];
    if (of & 1)
        write_x87(x, address, wide);
    for (unsigned i = 1; i <= LAST_COMPONENT; i++) {
        unsigned n = i == 1 || i == 2 ? 16 * n_vectors(x)
                     : i == 6         ? 32 * n_vectors(x)
                                      : component_size(i);
        if (!(of >> i & 1) || (i == 7 && !in_code64(x)))
            continue;
        get_component(x, i, area);
        write_bytes(x, address + place_of(x, i, layout), area, n);
    }
}

void x86h_xsave(struct x86_cpu *x, uint64_t address, uint64_t mask, uint64_t how)
{
    unsigned kind = how & 15;
    bool compact = kind == X86_XSAVEC || kind == X86_XSAVES;
    check_xsave(x, address, kind);
    mask &= enabled(x, kind);
    uint64_t in_use = x86_xinuse(x, mask), layout = compact ? mask | COMPACT : 0;
    if (compact && mask & X86_XSAVE_SSE && x86_get_mxcsr(x) != MXCSR_INIT)
        in_use |= X86_XSAVE_SSE;
    tcg_probe(x->cpu, address, image_size(x, kind == X86_XSAVE ? mask : in_use, layout),
              ACCESS_WRITE, X86_MMU_DATA);
    write_components(x, address, kind == X86_XSAVE ? mask : in_use, layout, how & WIDE);
    if (compact ? in_use & X86_XSAVE_SSE : mask & (X86_XSAVE_SSE | X86_XSAVE_AVX))
        write_mxcsr(x, address);
    if (!compact)
        in_use |= tcg_load(x->cpu, address + XSTATE_BV, 8, X86_MMU_DATA) & ~mask;
    tcg_store(x->cpu, address + XSTATE_BV, 8, in_use, X86_MMU_DATA);
    if (compact)
        tcg_store(x->cpu, address + XCOMP_BV, 8, layout, X86_MMU_DATA);
}

/* ---- XRSTOR --------------------------------------------------------------------------------------- */

struct header {
    uint64_t in_use, layout, reserved[6];
};

/* SDM 1-13.8.1 and 1-13.12 */
static bool header_is_right(const struct x86_cpu *x, const struct header *h, unsigned kind)
{
    uint64_t known = enabled(x, kind);
    bool compact = h->layout & COMPACT;
    if (!compact)
        return kind != X86_XSAVES && !(h->in_use & ~known) && !h->layout && !h->reserved[0];
    for (unsigned i = 0; i < ARRAY_LEN(h->reserved); i++)
        if (h->reserved[i])
            return false;
    return x86_model_has(x->model, X86_D_1_EAX, 1) && !(h->layout & ~COMPACT & ~known) &&
           !(h->in_use & ~(h->layout & ~COMPACT));
}

/* Everything is read before anything changes: a fault on the way leaves the registers as they were. */
struct image {
    uint8_t x87[XMM_AT];
    uint8_t areas[CET_S + 1][AREA];
    uint32_t mxcsr;
};

static void read_components(struct x86_cpu *x, uint64_t address, uint64_t of, uint64_t layout,
                            struct image *image)
{
    if (of & 1)
        read_bytes(x, address, image->x87, XMM_AT);
    for (unsigned i = 1; i <= CET_S; i++)
        if (of >> i & 1)
            read_bytes(x, address + place_of(x, i, layout), image->areas[i], component_size(i));
}

static void check_components(struct x86_cpu *x, uint64_t of, const struct image *image)
{
    bool wrong = of & X86_XSAVE_PKRU && load_le(image->areas[9] + 4, 4);
    for (unsigned i = 0; i < 5; i++) {
        static const struct {
            uint8_t component, at;
            uint16_t msr;
        } cet[5] = { { CET_U, 0, 0x6a0 },
                     { CET_U, 8, 0x6a7 },
                     { CET_S, 0, 0x6a4 },
                     { CET_S, 8, 0x6a5 },
                     { CET_S, 16, 0x6a6 } };
        uint64_t v = load_le(image->areas[cet[i].component] + cet[i].at, 8);
        wrong |= of >> cet[i].component & 1 && !x86_cet_value_is_right(x, cet[i].msr, v);
    }
    if (wrong)
        x86_fault_code(x, X86_GP, 0);
}

void x86h_xrstor(struct x86_cpu *x, uint64_t address, uint64_t mask, uint64_t how)
{
    static const uint8_t zeros[AREA];
    unsigned kind = how & 15;
    struct header h;
    struct image image;
    check_xsave(x, address, kind);
    read_bytes(x, address + LEGACY, (uint8_t *)&h, HEADER);
    if (!header_is_right(x, &h, kind))
        x86_fault_code(x, X86_GP, 0);
    mask &= enabled(x, kind);
    bool compact = h.layout & COMPACT;
    uint64_t load = mask & h.in_use;
    bool takes_mxcsr = compact ? load & X86_XSAVE_SSE : mask & (X86_XSAVE_SSE | X86_XSAVE_AVX);
    image.mxcsr = takes_mxcsr ? read_mxcsr(x, address) : MXCSR_INIT;
    read_components(x, address, load, h.layout, &image);
    check_components(x, load, &image);
    if (mask & 1)
        set_x87(x, how & WIDE, load & 1 ? image.x87 : x87_initial);
    for (unsigned i = 1; i <= CET_S; i++)
        if (mask >> i & 1)
            set_component(x, i, load >> i & 1 ? image.areas[i] : zeros);
    if (takes_mxcsr || (compact && mask & X86_XSAVE_SSE))
        x86_set_mxcsr(x, image.mxcsr);
    if (mask & (X86_XSAVE_PKRU | X86_XSAVE_CET_U))
        x86_update_state_word(x);
}
