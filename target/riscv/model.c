/* CPU models and their properties: -cpu MODEL,name=value. */
#include "core/clock.h"
#include "core/error.h"
#include "core/options.h"
#include "core/vm.h"
#include "target/riscv/rv_model.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct riscv_ext_info riscv_exts[N_RV_EXTS] = {
#define RV_EXT(id, name, sets) { name, sets },
#include "target/riscv/ext.h"
#undef RV_EXT
};

/* ---- models ---------------------------------------------------------------------------------------- */

struct model_info {
    const char *name, *help;
    uint8_t set; /* RV_IN_* */
    uint8_t satp_mode;
};
static const struct model_info models[] = {
    { "rv64", "RV64GC with all of RVA22, scalar crypto, Zfh, Sstc, Svadu, ... (default)",
      RV_IN_RV64, RV_SV57 },
    { "max", "everything there is", RV_IN_MAX, RV_SV57 },
    { "rva22s64", "the profile RVA22S64, nothing optional", RV_IN_RVA22, RV_SV39 },
};

/* ---- what needs what --------------------------------------------------------------------------------- */

/* An extension is there only together with what it needs. Of some it is just the sum (zkn, zk, b). */
static const struct {
    uint8_t ext, needs;
} needs[] = {
#define NEEDS(a, b)            \
    {                          \
        RV_EXT_##a, RV_EXT_##b \
    }
    NEEDS(M, ZMMUL),        NEEDS(A, ZAAMO),       NEEDS(A, ZALRSC),
    NEEDS(F, ZICSR),        NEEDS(D, F),           NEEDS(B, ZBA),
    NEEDS(B, ZBB),          NEEDS(B, ZBS),         NEEDS(ZFHMIN, F),
    NEEDS(ZFH, ZFHMIN),     NEEDS(ZCB, C),         NEEDS(ZAWRS, ZALRSC),
    NEEDS(ZICNTR, ZICSR),   NEEDS(ZIHPM, ZICSR),   NEEDS(ZICCAMOA, ZAAMO),
    NEEDS(ZICCRSE, ZALRSC), NEEDS(ZA64RS, ZALRSC), NEEDS(ZKN, ZBKB),
    NEEDS(ZKN, ZBKC),       NEEDS(ZKN, ZBKX),      NEEDS(ZKN, ZKNE),
    NEEDS(ZKN, ZKND),       NEEDS(ZKN, ZKNH),      NEEDS(ZKS, ZBKB),
    NEEDS(ZKS, ZBKC),       NEEDS(ZKS, ZBKX),      NEEDS(ZKS, ZKSED),
    NEEDS(ZKS, ZKSH),       NEEDS(ZK, ZKN),        NEEDS(ZK, ZKR),
    NEEDS(ZK, ZKT),         NEEDS(SSTC, ZICNTR),   NEEDS(SSCOFPMF, ZIHPM),
    NEEDS(SMAIA, SSAIA),
#undef NEEDS
};

/* ---- properties ---------------------------------------------------------------------------------------- */

/* What the user asked for, before it is made consistent. */
struct request {
    struct riscv_model *m;
    int8_t ext[N_RV_EXTS]; /* 1 on, -1 off, 0 not mentioned */
};

static void set_ext(struct riscv_model *m, unsigned e, bool on)
{
    uint64_t bit = (uint64_t)1 << e % 64;
    m->ext[e / 64] = on ? m->ext[e / 64] | bit : m->ext[e / 64] & ~bit;
}

static const struct {
    const char *name;
    uint8_t mode;
} satp_modes[] = { { "sv39", RV_SV39 }, { "sv48", RV_SV48 }, { "sv57", RV_SV57 } };

/* Properties with a number. */
struct number_prop {
    const char *name, *help;
    uint32_t offset, size; /* in struct riscv_model */
    uint64_t max;
};
#define NUMBER(name, member, max, help)                    \
    {                                                      \
        name, help, offsetof(struct riscv_model, member),  \
            sizeof(((struct riscv_model *)0)->member), max \
    }
static const struct number_prop numbers[] = {
    NUMBER("cbom_blocksize", cbom_block, 4096, "bytes of a block for cbo.clean, flush, inval"),
    NUMBER("cbop_blocksize", cbop_block, 4096, "bytes of a block for prefetches"),
    NUMBER("cboz_blocksize", cboz_block, 4096, "bytes of a block for cbo.zero"),
    NUMBER("num-pmp-regions", n_pmp, RV_N_PMP, "PMP entries: 0, 16 or 64"),
    NUMBER("pmu-num", n_hpm, 29, "programmable performance counters"),
    NUMBER("mvendorid", mvendorid, UINT32_MAX, "value of the CSR"),
    NUMBER("marchid", marchid, UINT64_MAX, "value of the CSR"),
    NUMBER("mimpid", mimpid, UINT64_MAX, "value of the CSR"),
};

/* Known to the architecture, not to us: they can only be off. */
static const char *const absent[] = { "v",      "h",     "e",      "zfa",      "zfinx",
                                      "zdinx",  "zacas", "zabha",  "zicfilp",  "zicfiss",
                                      "zve32x", "zvfh",  "smepmp", "smstateen" };

/* Every name that a property may have; the caller frees the array. */
static const char **all_names(size_t *n)
{
    const char **names = xcalloc(N_RV_EXTS + 64, sizeof(*names));
    *n = 0;
    for (unsigned i = 0; i < N_RV_EXTS; i++)
        names[(*n)++] = riscv_exts[i].name;
    for (size_t i = 0; i < ARRAY_LEN(satp_modes); i++)
        names[(*n)++] = satp_modes[i].name;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        names[(*n)++] = numbers[i].name;
    names[(*n)++] = "mmu";
    names[(*n)++] = "pmp";
    names[(*n)++] = "satp-mode";
    return names;
}

static void put_number(struct riscv_model *m, const struct number_prop *p, uint64_t v)
{
    store_le((char *)m + p->offset, p->size, v); /* the host is little-endian */
}

static struct error *set_number(struct riscv_model *m, const struct number_prop *p,
                                const char *value)
{
    uint64_t v;
    if (!parse_uint(value, p->max, &v))
        return error_new("'%s=%s' is not a number from 0 to %" PRIu64, p->name, value, p->max);
    if (strstr(p->name, "blocksize") && (v < 16 || (v & (v - 1))))
        return error_new("'%s=%s' is not a power of two from 16 to 4096", p->name, value);
    if (!strcmp(p->name, "num-pmp-regions") && v != 0 && v != 16 && v != 64)
        return error_new("'%s=%s': there can be 0, 16 or 64", p->name, value);
    put_number(m, p, v);
    return NULL;
}

static struct error *need_bool(const char *name, const char *value, bool *on)
{
    int b = parse_bool(value);
    *on = b == 1;
    return b < 0 ? error_new("'%s=%s': the value is to be on or off", name, value) : NULL;
}

/* *found: it is the name of an extension. */
static struct error *set_named_ext(struct request *q, const char *name, const char *value,
                                   bool *found)
{
    bool on;
    for (unsigned e = 0; e < N_RV_EXTS; e++) {
        if (strcmp(riscv_exts[e].name, name))
            continue;
        *found = true;
        struct error *err = need_bool(name, value, &on);
        if (err)
            return err;
        if (!on && (riscv_exts[e].sets & RV_IN_BASE))
            return error_new("'%s' cannot be switched off", name);
        if (on && (e == RV_EXT_SMAIA || e == RV_EXT_SSAIA))
            return error_new("'%s' comes with the machine's interrupt controller (-M virt,aia=...)",
                             name);
        q->ext[e] = on ? 1 : -1;
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(absent); i++) {
        if (strcmp(absent[i], name))
            continue;
        *found = true;
        struct error *err = need_bool(name, value, &on);
        return err || !on ? err : error_new("the extension '%s' is not implemented", name);
    }
    return NULL;
}

/* satp-mode=NAME, or the widest that is on, or what is below the narrowest that is off. A mode comes
 * with all narrower ones (priv 4.1.11). */
static struct error *set_satp_mode_by_name(struct riscv_model *m, const char *name)
{
    if (!strcmp(name, "bare")) {
        m->satp_mode = RV_BARE;
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(satp_modes); i++) {
        if (!strcmp(name, satp_modes[i].name)) {
            m->satp_mode = satp_modes[i].mode;
            return NULL;
        }
    }
    return error_new("'satp-mode=%s' is none of bare, sv39, sv48, sv57", name);
}

static struct error *set_satp_modes(struct riscv_model *m, struct options *o)
{
    const char *off = NULL, *named = options_get(o, "satp-mode");
    unsigned below = RV_BARE, widest = RV_BARE;
    struct error *err = named ? set_satp_mode_by_name(m, named) : NULL;
    for (size_t i = 0; !err && i < ARRAY_LEN(satp_modes); i++) {
        const char *name = satp_modes[i].name, *value = options_get(o, name);
        bool on;
        if (!value)
            continue;
        err = need_bool(name, value, &on);
        if (!err && on && off)
            return error_new("'%s=on' needs %s, which is off", name, off);
        if (on) {
            widest = satp_modes[i].mode;
        } else if (!off) {
            off = name;
            below = i ? satp_modes[i - 1].mode : RV_BARE;
        }
    }
    if (widest)
        m->satp_mode = widest;
    else if (off)
        m->satp_mode = MIN(m->satp_mode, below);
    bool mmu = true;
    if (!err)
        err = options_get_bool(o, "mmu", &mmu);
    if (!mmu)
        m->satp_mode = RV_BARE;
    return err;
}

static struct error *set_props(struct request *q, struct options *o)
{
    bool pmp = true;
    struct error *err = options_get_bool(o, "pmp", &pmp);
    if (!err)
        err = set_satp_modes(q->m, o);
    for (size_t i = 0; !err && i < ARRAY_LEN(numbers); i++) {
        const char *value = options_get(o, numbers[i].name);
        if (value)
            err = set_number(q->m, &numbers[i], value);
    }
    if (!pmp)
        q->m->n_pmp = 0;
    for (size_t i = 0; !err && i < o->n; i++) {
        char name[32];
        bool found = false;
        if (o->used[i])
            continue;
        snprintf(name, sizeof(name), "%s", o->at[i].name);
        for (char *c = name; *c; c++)
            *c = (char)tolower((unsigned char)*c);
        err = set_named_ext(q, name, o->at[i].value, &found);
        o->used[i] = found;
    }
    return err;
}

/* ---- consistency ------------------------------------------------------------------------------------------ */

/* One look at one line of `needs`: what was asked for pulls in what it needs; what was not gives way. */
static struct error *satisfy(struct request *q, unsigned e, unsigned need, bool *changed)
{
    if (!rv_model_has(q->m, e) || rv_model_has(q->m, need))
        return NULL;
    *changed = true;
    if (q->ext[e] <= 0) {
        set_ext(q->m, e, false);
    } else if (q->ext[need] < 0) {
        return error_new("'%s' needs '%s', which is off", riscv_exts[e].name,
                         riscv_exts[need].name);
    } else {
        q->ext[need] = 1;
        set_ext(q->m, need, true);
    }
    return NULL;
}

static struct error *make_consistent(struct request *q)
{
    struct riscv_model *m = q->m;
    bool changed = true;
    bool blocks64 = m->cbom_block == 64 && m->cbop_block == 64 && m->cboz_block == 64;
    for (unsigned e = 0; e < N_RV_EXTS; e++)
        if (q->ext[e])
            set_ext(m, e, q->ext[e] > 0);
    while (changed) {
        changed = false;
        for (size_t i = 0; i < ARRAY_LEN(needs); i++) {
            struct error *err = satisfy(q, needs[i].ext, needs[i].needs, &changed);
            if (err)
                return err;
        }
    }
    if (!blocks64 && q->ext[RV_EXT_ZIC64B] > 0)
        return error_new("'zic64b' needs all block sizes to be 64");
    set_ext(m, RV_EXT_ZIC64B, blocks64 && rv_model_has(m, RV_EXT_ZIC64B));
    if (q->ext[RV_EXT_SVADE] > 0 && q->ext[RV_EXT_SVADU] == 0)
        set_ext(m, RV_EXT_SVADU, false);
    return NULL;
}

static void start_model(struct riscv_model *m, const struct model_info *info)
{
    *m = (struct riscv_model){ .name = info->name,
                               .satp_mode = info->satp_mode,
                               .n_pmp = 16,
                               .n_hpm = 16,
                               .cbom_block = 64,
                               .cbop_block = 64,
                               .cboz_block = 64 };
    for (unsigned e = 0; e < N_RV_EXTS; e++)
        set_ext(m, e, riscv_exts[e].sets & info->set);
}

static const struct model_info *find_model(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(models); i++)
        if (!strcmp(models[i].name, name))
            return &models[i];
    return NULL;
}

static struct error *unknown_model(const char *name)
{
    const char *names[ARRAY_LEN(models)];
    for (size_t i = 0; i < ARRAY_LEN(models); i++)
        names[i] = models[i].name;
    char *hint = nearest_hint(name, names, ARRAY_LEN(names));
    struct error *err =
        error_new("there is no riscv64 CPU model '%s'%s (see -cpu help)", name, hint);
    free(hint);
    return err;
}

static struct error *parse(struct riscv_model *m, struct options *o)
{
    struct request q = { .m = m };
    const char *name = options_get(o, "model");
    const struct model_info *info = find_model(name);
    size_t n;
    if (!info)
        return unknown_model(name);
    start_model(m, info);
    struct error *err = set_props(&q, o);
    if (err)
        return err;
    const char **names = all_names(&n);
    err = options_refuse_rest(o, names, n);
    free(names);
    return err ? err : make_consistent(&q);
}

struct error *riscv_model_parse(struct riscv_model *m, const char *text)
{
    struct options o;
    struct error *err = options_split(text ? text : "rv64", "model", &o);
    if (err)
        return error_in(err, "-cpu");
    if (!options_get(&o, "model"))
        err = error_new("no model is named");
    else
        err = parse(m, &o);
    options_free(&o);
    return error_in(err, "-cpu '%s'", text ? text : "rv64");
}

/* ---- help --------------------------------------------------------------------------------------------------- */

void riscv_cpu_help(void (*print)(void *opaque, const char *line), void *opaque)
{
    char line[200];
    print(opaque, "riscv64 CPU models (-cpu MODEL[,PROPERTY=VALUE]...):");
    for (size_t i = 0; i < ARRAY_LEN(models); i++) {
        snprintf(line, sizeof(line), "  %-16s %s", models[i].name, models[i].help);
        print(opaque, line);
    }
    print(opaque, "Extensions (on|off; * in the default model):");
    for (unsigned e = 0; e < N_RV_EXTS;) {
        int n = snprintf(line, sizeof(line), " ");
        for (unsigned k = 0; k < 6 && e < N_RV_EXTS; k++, e++)
            n += snprintf(line + n, sizeof(line) - n, " %s%s", riscv_exts[e].name,
                          riscv_exts[e].sets & RV_IN_RV64 ? "*" : "");
        print(opaque, line);
    }
    print(opaque,
          "Address translation (on|off): sv39, sv48, sv57, mmu; satp-mode=bare|sv39|sv48|sv57");
    print(opaque, "Other properties:");
    print(opaque, "  pmp              on or off: physical memory protection");
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        snprintf(line, sizeof(line), "  %-16s %s", numbers[i].name, numbers[i].help);
        print(opaque, line);
    }
}

/* ---- for management ------------------------------------------------------------------------------------- */

void riscv_cpu_models(void (*add)(void *opaque, const char *name, const char *alias_of),
                      void *opaque)
{
    for (size_t i = 0; i < ARRAY_LEN(models); i++)
        add(opaque, models[i].name, NULL);
}

struct error *riscv_cpu_features(struct vm *vm, const char *text, const struct cpu_feature_sink *to)
{
    struct riscv_model m = *riscv_model_of(vm);
    struct error *err = text ? riscv_model_parse(&m, text) : NULL;
    for (unsigned e = 0; !err && e < N_RV_EXTS; e++)
        to->add(to->opaque, riscv_exts[e].name,
                rv_model_has(&m, e) ? CPU_FEATURE_ON : CPU_FEATURE_OFF);
    if (!err) {
        to->add(to->opaque, "mmu", m.satp_mode != RV_BARE ? CPU_FEATURE_ON : CPU_FEATURE_OFF);
        to->add(to->opaque, "pmp", m.n_pmp ? CPU_FEATURE_ON : CPU_FEATURE_OFF);
    }
    return err;
}

/* ---- for the device tree -------------------------------------------------------------------------------------- */

const char *riscv_isa_extension(const struct riscv_model *m, unsigned i)
{
    for (unsigned e = 0; e < N_RV_EXTS; e++)
        if (rv_model_has(m, e) && i-- == 0)
            return riscv_exts[e].name;
    return NULL;
}

/* "rv64imafdc_zicbom_...": single letters first, then an underscore before each longer name. */
char *riscv_isa_string(const struct riscv_model *m)
{
    char text[16 + N_RV_EXTS * 16];
    size_t n = (size_t)snprintf(text, sizeof(text), "rv64");
    const char *name;
    for (unsigned i = 0; (name = riscv_isa_extension(m, i)); i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", name[1] ? "_" : "", name);
    return xstrdup(text);
}

const char *riscv_mmu_type(const struct riscv_model *m)
{
    switch (m->satp_mode) {
    case RV_SV39: return "riscv,sv39";
    case RV_SV48: return "riscv,sv48";
    case RV_SV57: return "riscv,sv57";
    default: return "riscv,none";
    }
}

const struct riscv_model *riscv_model_of(const struct vm *vm)
{
    return &((const struct riscv_vm *)vm->arch)->model;
}

void riscv_set_ext(struct vm *vm, enum rv_ext e, bool on)
{
    set_ext(&((struct riscv_vm *)vm->arch)->model, e, on);
}
