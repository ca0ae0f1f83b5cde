/* Interrupt domains. Section numbers: RISC-V Advanced Interrupt Architecture 1.0, chapter 4. The way of
 * delivery (by wire or by message) is fixed per board, as DM in domaincfg may be.
 *
 * Locks: a domain calls its child with its own lock held, never the reverse. */
#include "hw/intc/aplic.h"

#include "core/error.h"
#include "core/vm.h"
#include "hw/place.h"

#include <assert.h>

enum { WORDS = (APLIC_MAX_SOURCES + 32) / 32, N = APLIC_MAX_SOURCES + 1, MAX_PRIORITY = 7 };

enum { /* registers, 4.5 */
       DOMAINCFG = 0x0000,
       SOURCECFG = 0x0004,
       MMSIADDRCFG = 0x1bc0,
       MMSIADDRCFGH = 0x1bc4,
       SMSIADDRCFG = 0x1bc8,
       SMSIADDRCFGH = 0x1bcc,
       SETIP = 0x1c00,
       SETIPNUM = 0x1cdc,
       IN_CLRIP = 0x1d00,
       CLRIPNUM = 0x1ddc,
       SETIE = 0x1e00,
       SETIENUM = 0x1edc,
       CLRIE = 0x1f00,
       CLRIENUM = 0x1fdc,
       SETIPNUM_LE = 0x2000,
       SETIPNUM_BE = 0x2004,
       GENMSI = 0x3000,
       TARGET = 0x3004,
       IDC = 0x4000,
       IDC_STEP = 32,
};
enum { IDELIVERY = 0x00, IFORCE = 0x04, ITHRESHOLD = 0x08, TOPI = 0x18, CLAIMI = 0x1c }; /* 4.8.1 */
enum { DOMAIN_FIXED = 0x80, DOMAIN_IE = 1 << 8, DOMAIN_DM = 1 << 2 };                    /* 4.5.1 */
enum { SOURCE_D = 1 << 10 };                                                             /* 4.5.2 */
enum mode { INACTIVE = 0, DETACHED = 1, RISING = 4, FALLING = 5, HIGH = 6, LOW = 7 };
#define MSI_LOCKED      (UINT32_C(1) << 31)
#define MMSI_H_MASK     (MSI_LOCKED | 0x1f77ffff)
#define SMSI_H_MASK     0x00700fff
#define TARGET_HART(t)  ((t) >> 18)
#define TARGET_GUEST(t) ((t) >> 12 & 0x3f)
#define TARGET_EIID(t)  ((t)&0x7ff)

struct aplic {
    struct device dev;
    uint64_t addr;
    uint32_t n_harts, n_sources;
    bool supervisor, msi;
    struct mem_region *mmio;
    struct aplic *child;

    bool enabled; /* domaincfg.IE */
    uint32_t sourcecfg[N], target[N];
    uint32_t input[WORDS]; /* wires as they stand */
    uint32_t ours[WORDS];  /* sources that exist here: all in the root, else the delegated */
    uint32_t pending[WORDS], enable[WORDS];
    bool idelivery[APLIC_MAX_HARTS], iforce[APLIC_MAX_HARTS];
    uint32_t ithreshold[APLIC_MAX_HARTS];
    /* The four address registers; a child has a copy of its parent's (4.5.3, 4.5.4). */
    uint32_t mmsi, mmsi_h, smsi, smsi_h;

    struct irq out[APLIC_MAX_HARTS];
};

static bool bit_get(const uint32_t *words, unsigned n)
{
    return words[n / 32] >> n % 32 & 1;
}

static void bit_put(uint32_t *words, unsigned n, bool on)
{
    uint32_t mask = UINT32_C(1) << n % 32;
    words[n / 32] = on ? words[n / 32] | mask : words[n / 32] & ~mask;
}

/* ---- sources ---------------------------------------------------------------------------------- */
static bool exists(const struct aplic *a, unsigned source)
{
    return source >= 1 && source <= a->n_sources && bit_get(a->ours, source);
}

static enum mode mode_of(const struct aplic *a, unsigned source)
{
    return exists(a, source) && !(a->sourcecfg[source] & SOURCE_D) ? a->sourcecfg[source] & 7
                                                                   : INACTIVE;
}

static bool is_level(enum mode m)
{
    return m == HIGH || m == LOW;
}

/* 4.5.2: the input as the source's mode looks at it; 0 if no wire counts. */
static bool rectified(const struct aplic *a, unsigned source)
{
    enum mode m = mode_of(a, source);
    bool high = bit_get(a->input, source);
    return m == RISING || m == HIGH ? high : (m == FALLING || m == LOW) && !high;
}

/* 4.7: may a write set or clear this pending bit? With wires a level's bit is the level itself; with
 * messages it can be set only while the level is there. */
static bool may_write_pending(const struct aplic *a, unsigned source, bool on)
{
    enum mode m = mode_of(a, source);
    if (m == INACTIVE || (is_level(m) && !a->msi))
        return false;
    return !on || !is_level(m) || rectified(a, source);
}

static void write_pending(struct aplic *a, unsigned source, bool on)
{
    if (may_write_pending(a, source, on))
        bit_put(a->pending, source, on);
}

static void write_enable(struct aplic *a, unsigned source, bool on)
{
    if (mode_of(a, source) != INACTIVE)
        bit_put(a->enable, source, on);
}

/* The rectified input went from `was` to what it is now (4.7). */
static void input_changed(struct aplic *a, unsigned source, bool was)
{
    bool now = rectified(a, source);
    if (now && !was)
        bit_put(a->pending, source, true);
    else if (!now && is_level(mode_of(a, source)))
        bit_put(a->pending, source, false);
}

/* ---- delivery ----------------------------------------------------------------------------------- */
/* 4.9.1: where a hart's interrupt file takes messages. */
static gpa msi_address(const struct aplic *a, unsigned hart, unsigned guest)
{
    unsigned lhxw = bits(a->mmsi_h, 12, 4), hhxw = bits(a->mmsi_h, 16, 3);
    unsigned hhxs = bits(a->mmsi_h, 24, 5);
    uint64_t group = hart >> lhxw & ((1u << hhxw) - 1), in_group = hart & ((1u << lhxw) - 1);
    uint64_t high = a->supervisor ? a->smsi_h : a->mmsi_h;
    uint64_t low = a->supervisor ? a->smsi : a->mmsi;
    unsigned lhxs = (unsigned)bits(high, 20, 3);
    uint64_t page = (bits(high, 0, 12) << 32 | low) | group << (hhxs + 12) | in_group << lhxs;
    return (page | (a->supervisor ? guest : 0)) << 12;
}

static void send(const struct aplic *a, unsigned hart, unsigned guest, unsigned id)
{
    if (hart < a->n_harts)
        vm_send_msi(a->dev.vm, msi_address(a, hart, guest), id);
}

static uint32_t ready_word(const struct aplic *a, unsigned w)
{
    return a->pending[w] & a->enable[w] & a->ours[w];
}

/* 4.9: a message takes the pending bit with it. */
static void forward_messages(struct aplic *a)
{
    for (unsigned w = 0; a->enabled && w < WORDS; w++) {
        for (uint32_t set = ready_word(a, w); set; set &= set - 1) {
            unsigned source = w * 32 + (unsigned)__builtin_ctz(set);
            uint32_t t = a->target[source];
            bit_put(a->pending, source, false);
            send(a, TARGET_HART(t), TARGET_GUEST(t), TARGET_EIID(t));
        }
    }
}

/* 4.8.1.5: identity << 16 | priority of what a hart is to serve first, or 0. */
static uint32_t topi(const struct aplic *a, unsigned hart)
{
    uint32_t best = 0, best_priority = a->ithreshold[hart] ? a->ithreshold[hart] : UINT32_MAX;
    for (unsigned w = 0; w < WORDS; w++) {
        for (uint32_t set = ready_word(a, w); set; set &= set - 1) {
            unsigned source = w * 32 + (unsigned)__builtin_ctz(set);
            uint32_t priority = a->target[source] & MAX_PRIORITY;
            if (TARGET_HART(a->target[source]) == hart && priority < best_priority) {
                best = source << 16 | priority;
                best_priority = priority;
            }
        }
    }
    return best;
}

static void update_hart(struct aplic *a, unsigned hart)
{
    irq_set(&a->out[hart],
            a->enabled && a->idelivery[hart] && (a->iforce[hart] || topi(a, hart) != 0));
}

static void update(struct aplic *a)
{
    if (a->msi)
        forward_messages(a);
    for (unsigned h = 0; !a->msi && h < a->n_harts; h++)
        update_hart(a, h);
}

/* A change that concerns one source only. */
static void update_source(struct aplic *a, unsigned source)
{
    if (a->msi)
        forward_messages(a);
    else if (TARGET_HART(a->target[source]) < a->n_harts)
        update_hart(a, TARGET_HART(a->target[source]));
}

static void set_input(void *opaque, unsigned source, bool level)
{
    struct aplic *a = opaque;
    device_lock(&a->dev);
    if (bit_get(a->input, source) != level) {
        bool was = rectified(a, source);
        bit_put(a->input, source, level);
        if (a->child && a->sourcecfg[source] & SOURCE_D) {
            set_input(a->child, source, level);
        } else {
            input_changed(a, source, was);
            update_source(a, source);
        }
    }
    device_unlock(&a->dev);
}

/* ---- configuration ------------------------------------------------------------------------------ */
/* 4.5.2 and 4.5.16: a source that is not active has nothing. */
static void settle_mode(struct aplic *a, unsigned source, enum mode was)
{
    enum mode now = mode_of(a, source);
    if (now == INACTIVE) {
        bit_put(a->pending, source, false);
        bit_put(a->enable, source, false);
        a->target[source] = 0;
    } else {
        if (was == INACTIVE)
            a->target[source] = a->msi ? 0 : 1;
        if (is_level(now))
            bit_put(a->pending, source, rectified(a, source));
    }
}

/* The parent gives us a source, or takes it back. */
static void delegate(struct aplic *a, unsigned source, bool given, bool level)
{
    device_lock(&a->dev);
    enum mode was = mode_of(a, source);
    bit_put(a->ours, source, given);
    bit_put(a->input, source, given && level);
    a->sourcecfg[source] = 0;
    settle_mode(a, source, was);
    update(a);
    device_unlock(&a->dev);
}

static void write_sourcecfg(struct aplic *a, unsigned source, uint32_t value)
{
    static const uint8_t allowed[8] = { 1, 1, 0, 0, 1, 1, 1, 1 };
    enum mode was = mode_of(a, source);
    bool delegated = a->sourcecfg[source] & SOURCE_D;
    if (!exists(a, source))
        return;
    if (value & SOURCE_D)
        a->sourcecfg[source] = a->child ? SOURCE_D : 0; /* the only child has index 0 */
    else
        a->sourcecfg[source] = allowed[value & 7] ? value & 7 : INACTIVE;
    settle_mode(a, source, was);
    if (delegated != !!(a->sourcecfg[source] & SOURCE_D))
        delegate(a->child, source, !delegated, bit_get(a->input, source));
    update(a);
}

static void write_target(struct aplic *a, unsigned source, uint32_t value)
{
    uint32_t priority = value & MAX_PRIORITY;
    if (mode_of(a, source) == INACTIVE || TARGET_HART(value) >= a->n_harts)
        return;
    if (a->msi)
        a->target[source] = value & (a->supervisor ? 0xfffff7ff : 0xfffc07ff);
    else
        a->target[source] = (value & 0xfffc0000) | (priority ? priority : 1);
    update(a);
}

static void copy_addresses(struct aplic *from, struct aplic *to)
{
    if (!to)
        return;
    device_lock(&to->dev);
    to->mmsi = from->mmsi;
    to->mmsi_h = from->mmsi_h;
    to->smsi = from->smsi;
    to->smsi_h = from->smsi_h;
    device_unlock(&to->dev);
}

/* Only the machine-level domain has these, until they are locked. */
static void write_address(struct aplic *a, uint64_t off, uint32_t value)
{
    if (a->supervisor || !a->msi || a->mmsi_h & MSI_LOCKED)
        return;
    switch (off) {
    case MMSIADDRCFG: a->mmsi = value; break;
    case MMSIADDRCFGH: a->mmsi_h = value & MMSI_H_MASK; break;
    case SMSIADDRCFG: a->smsi = value; break;
    default: a->smsi_h = value & SMSI_H_MASK; break;
    }
    copy_addresses(a, a->child);
}

static uint32_t read_address(const struct aplic *a, uint64_t off)
{
    if (a->supervisor)
        return 0;
    switch (off) {
    case MMSIADDRCFG: return a->mmsi;
    case MMSIADDRCFGH: return a->mmsi_h;
    case SMSIADDRCFG: return a->smsi;
    default: return a->smsi_h;
    }
}

/* ---- per-hart registers of direct delivery (4.8.1) --------------------------------------------- */
static uint32_t claim(struct aplic *a, unsigned hart)
{
    uint32_t top = topi(a, hart);
    if (top)
        write_pending(a, top >> 16, false);
    else
        a->iforce[hart] = false;
    update_hart(a, hart);
    return top;
}

static uint32_t read_idc(struct aplic *a, unsigned hart, unsigned at)
{
    switch (at) {
    case IDELIVERY: return a->idelivery[hart];
    case IFORCE: return a->iforce[hart];
    case ITHRESHOLD: return a->ithreshold[hart];
    case TOPI: return topi(a, hart);
    case CLAIMI: return claim(a, hart);
    default: return 0;
    }
}

static void write_idc(struct aplic *a, unsigned hart, unsigned at, uint32_t value)
{
    switch (at) {
    case IDELIVERY: a->idelivery[hart] = value & 1; break;
    case IFORCE: a->iforce[hart] = value & 1; break;
    case ITHRESHOLD: a->ithreshold[hart] = value & MAX_PRIORITY; break;
    default: return;
    }
    update_hart(a, hart);
}

/* ---- registers ---------------------------------------------------------------------------------- */
/* Arrays of bits and of words; `first` is where element 0 would be. */
static bool in_bits(uint64_t off, uint64_t first, unsigned *w)
{
    *w = (unsigned)(off - first) / 4;
    return off >= first && off < first + 4 * WORDS;
}

static bool in_sources(const struct aplic *a, uint64_t off, uint64_t first, unsigned *source)
{
    *source = (unsigned)(off - first) / 4 + 1;
    return off >= first && *source <= a->n_sources;
}

static bool in_idc(const struct aplic *a, uint64_t off, unsigned *hart)
{
    *hart = (unsigned)(off - IDC) / IDC_STEP;
    return off >= IDC && *hart < a->n_harts && !a->msi;
}

static uint32_t inputs_word(const struct aplic *a, unsigned w)
{
    uint32_t word = 0;
    for (unsigned b = 0; b < 32; b++)
        word |= (uint32_t)rectified(a, w * 32 + b) << b;
    return word;
}

static uint32_t register_read(struct aplic *a, uint64_t off)
{
    unsigned n;
    if (off == DOMAINCFG)
        return (uint32_t)DOMAIN_FIXED << 24 | (a->enabled ? DOMAIN_IE : 0) |
               (a->msi ? DOMAIN_DM : 0);
    if (off >= MMSIADDRCFG && off <= SMSIADDRCFGH)
        return read_address(a, off);
    if (off < MMSIADDRCFG)
        return in_sources(a, off, SOURCECFG, &n) ? a->sourcecfg[n] : 0;
    if (in_bits(off, SETIP, &n))
        return a->pending[n];
    if (in_bits(off, IN_CLRIP, &n))
        return inputs_word(a, n);
    if (in_bits(off, SETIE, &n))
        return a->enable[n];
    if (in_idc(a, off, &n))
        return read_idc(a, n, off % IDC_STEP);
    if (off < IDC && in_sources(a, off, TARGET, &n))
        return a->target[n];
    return 0;
}

/* Apply `put` to each source whose bit is set. */
static void each_bit(struct aplic *a, unsigned w, uint32_t set,
                     void (*put)(struct aplic *a, unsigned source, bool on), bool on)
{
    for (; set; set &= set - 1)
        put(a, w * 32 + (unsigned)__builtin_ctz(set), on);
    update(a);
}

static void one_bit(struct aplic *a, uint32_t source,
                    void (*put)(struct aplic *a, unsigned source, bool on), bool on)
{
    if (exists(a, source))
        put(a, source, on);
    update(a);
}

static void register_write(struct aplic *a, uint64_t off, uint32_t value)
{
    unsigned n;
    switch (off) {
    case DOMAINCFG:
        a->enabled = value & DOMAIN_IE;
        update(a);
        return;
    case MMSIADDRCFG:
    case MMSIADDRCFGH:
    case SMSIADDRCFG:
    case SMSIADDRCFGH: write_address(a, off, value); return;
    case SETIPNUM:
    case SETIPNUM_LE: one_bit(a, value, write_pending, true); return;
    case SETIPNUM_BE: one_bit(a, __builtin_bswap32(value), write_pending, true); return;
    case CLRIPNUM: one_bit(a, value, write_pending, false); return;
    case SETIENUM: one_bit(a, value, write_enable, true); return;
    case CLRIENUM: one_bit(a, value, write_enable, false); return;
    case GENMSI:
        if (a->msi)
            send(a, TARGET_HART(value), 0, TARGET_EIID(value));
        return;
    default: break;
    }
    if (off < MMSIADDRCFG) {
        if (in_sources(a, off, SOURCECFG, &n))
            write_sourcecfg(a, n, value);
    } else if (in_bits(off, SETIP, &n)) {
        each_bit(a, n, value, write_pending, true);
    } else if (in_bits(off, IN_CLRIP, &n)) {
        each_bit(a, n, value, write_pending, false);
    } else if (in_bits(off, SETIE, &n)) {
        each_bit(a, n, value, write_enable, true);
    } else if (in_bits(off, CLRIE, &n)) {
        each_bit(a, n, value, write_enable, false);
    } else if (in_idc(a, off, &n)) {
        write_idc(a, n, off % IDC_STEP, value);
    } else if (off < IDC && in_sources(a, off, TARGET, &n)) {
        write_target(a, n, value);
    }
}

static uint64_t aplic_read(void *opaque, uint64_t off, unsigned size)
{
    struct aplic *a = opaque;
    device_lock(&a->dev);
    uint32_t value = register_read(a, off);
    device_unlock(&a->dev);
    return value;
}

static void aplic_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct aplic *a = opaque;
    device_lock(&a->dev);
    register_write(a, off, (uint32_t)value);
    device_unlock(&a->dev);
}

static const struct mmio_ops aplic_ops = { aplic_read, aplic_write, 4, 4 };

/* ---- life ----------------------------------------------------------------------------------------- */
struct irq aplic_input(struct device *dev, unsigned source)
{
    struct aplic *a = (struct aplic *)dev;
    assert(source >= 1 && source <= a->n_sources);
    return (struct irq){ set_input, a, source };
}

struct irq *aplic_output(struct device *dev, unsigned hart)
{
    struct aplic *a = (struct aplic *)dev;
    assert(hart < a->n_harts);
    return &a->out[hart];
}

void aplic_set_child(struct device *dev, struct device *child)
{
    struct aplic *a = (struct aplic *)dev;
    a->child = (struct aplic *)child;
    assert(a->child->n_sources == a->n_sources);
}

/* Bits of the sources that exist in word w of the root domain. */
static uint32_t all_sources(const struct aplic *a, unsigned w)
{
    uint32_t mask = w == 0 ? ~UINT32_C(1) : ~UINT32_C(0);
    if (w * 32 > a->n_sources)
        return 0;
    unsigned last = a->n_sources - w * 32;
    return last >= 31 ? mask : mask & ((UINT32_C(2) << last) - 1);
}

static struct error *aplic_realize(struct device *dev)
{
    struct aplic *a = (struct aplic *)dev;
    uint64_t idcs = IDC + (uint64_t)a->n_harts * IDC_STEP;
    a->mmio = mem_add_mmio(dev->vm, a->supervisor ? "riscv-aplic-s" : "riscv-aplic-m",
                           MAX(align_up(idcs, 4096), APLIC_SIZE), &aplic_ops, a);
    place_region(a->mmio, a->addr);
    return NULL;
}

static void aplic_unrealize(struct device *dev)
{
    mem_free_region(((struct aplic *)dev)->mmio);
}

/* The wires' levels stay: they belong to the devices at their other ends. What was delegated is taken
 * back by the child's own reset. */
static void aplic_reset(struct device *dev)
{
    struct aplic *a = (struct aplic *)dev;
    a->enabled = false;
    memset(a->sourcecfg, 0, sizeof(a->sourcecfg));
    memset(a->target, 0, sizeof(a->target));
    memset(a->pending, 0, sizeof(a->pending));
    memset(a->enable, 0, sizeof(a->enable));
    memset(a->idelivery, 0, sizeof(a->idelivery));
    memset(a->iforce, 0, sizeof(a->iforce));
    memset(a->ithreshold, 0, sizeof(a->ithreshold));
    for (unsigned w = 0; w < WORDS; w++) {
        a->ours[w] = a->supervisor ? 0 : all_sources(a, w);
        a->input[w] = a->supervisor ? 0 : a->input[w];
    }
    a->mmsi = a->mmsi_h = a->smsi = a->smsi_h = 0;
    update(a);
}

static struct error *aplic_loaded(struct device *dev)
{
    struct aplic *a = (struct aplic *)dev;
    for (unsigned s = 0; s < N; s++)
        if ((a->sourcecfg[s] || a->target[s] || bit_get(a->ours, s) || bit_get(a->input, s) ||
             bit_get(a->pending, s) || bit_get(a->enable, s)) &&
            (s == 0 || s > a->n_sources))
            return error_new("state for a source that does not exist");
    for (unsigned s = 1; s <= a->n_sources; s++)
        if ((a->sourcecfg[s] & SOURCE_D && !a->child) || TARGET_HART(a->target[s]) >= a->n_harts)
            return error_new("source %u goes to a domain or hart that does not exist", s);
    for (unsigned h = 0; !a->msi && h < a->n_harts; h++)
        update_hart(a, h);
    return NULL;
}

static const struct prop aplic_props[] = {
    ADDR_PROP(struct aplic),
    PROP(struct aplic, n_harts, "num-harts", PROP_UINT, .def = "1", .min = 1,
         .max = APLIC_MAX_HARTS),
    PROP(struct aplic, n_sources, "num-sources", PROP_UINT, .def = "96", .min = 1,
         .max = APLIC_MAX_SOURCES),
    PROP(struct aplic, supervisor, "supervisor", PROP_BOOL, .def = "off",
         .help = "the supervisor-level domain below a machine-level one"),
    PROP(struct aplic, msi, "msi", PROP_BOOL, .def = "off",
         .help = "deliver by messages to an IMSIC instead of wires to harts"),
};

static const struct field aplic_state[] = {
    FIELD(struct aplic, enabled),      FIELD_ARRAY(struct aplic, sourcecfg, .valid = 0x407),
    FIELD_ARRAY(struct aplic, target), FIELD_ARRAY(struct aplic, input),
    FIELD_ARRAY(struct aplic, ours),   FIELD_ARRAY(struct aplic, pending),
    FIELD_ARRAY(struct aplic, enable), FIELD_ARRAY(struct aplic, idelivery),
    FIELD_ARRAY(struct aplic, iforce), FIELD_ARRAY(struct aplic, ithreshold, .valid = MAX_PRIORITY),
    FIELD(struct aplic, mmsi),         FIELD(struct aplic, mmsi_h),
    FIELD(struct aplic, smsi),         FIELD(struct aplic, smsi_h),
};

const struct device_class aplic_class = {
    .name = "riscv-aplic",
    .desc = "RISC-V advanced platform-level interrupt controller, one domain",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct aplic),
    .props = TABLE(aplic_props),
    .state = TABLE(aplic_state),
    .realize = aplic_realize,
    .unrealize = aplic_unrealize,
    .reset = aplic_reset,
    .loaded = aplic_loaded,
};
