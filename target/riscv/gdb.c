/* The registers of a RISC-V CPU for debuggers; features and names as gdb's manual, appendix G.5.11, has them. */
#include "core/accel.h"
#include "core/debug.h"
#include "core/vm.h"
#include "target/riscv/rv_priv.h"

#include <stdio.h>
#include <stdlib.h>

#define CPU     "org.gnu.gdb.riscv.cpu"
#define FPU     "org.gnu.gdb.riscv.fpu"
#define CSR     "org.gnu.gdb.riscv.csr"
#define VIRTUAL "org.gnu.gdb.riscv.virtual"

enum { REG_X, REG_PC, REG_F, REG_CSR, REG_PRIV };
enum { N_COMMON = 33, FCSR_FFLAGS = 1, FCSR_FRM, FCSR };

/* clang-format off */
#define XT(n, name_, type_) { name_, CPU, type_, "general", 64, n, REG_X }
#define XI(n, name_) XT(n, name_, NULL)
#define F(n, name_) { name_, FPU, "ieee_double", "float", 64, n, REG_F }
static const struct debug_reg fixed[] = {
    XI(0, "zero"), XT(1, "ra", "code_ptr"), XT(2, "sp", "data_ptr"), XT(3, "gp", "data_ptr"),
    XT(4, "tp", "data_ptr"), XI(5, "t0"), XI(6, "t1"), XI(7, "t2"),
    XT(8, "fp", "data_ptr"), XI(9, "s1"), XI(10, "a0"), XI(11, "a1"),
    XI(12, "a2"), XI(13, "a3"), XI(14, "a4"), XI(15, "a5"),
    XI(16, "a6"), XI(17, "a7"), XI(18, "s2"), XI(19, "s3"),
    XI(20, "s4"), XI(21, "s5"), XI(22, "s6"), XI(23, "s7"),
    XI(24, "s8"), XI(25, "s9"), XI(26, "s10"), XI(27, "s11"),
    XI(28, "t3"), XI(29, "t4"), XI(30, "t5"), XI(31, "t6"),
    { "pc", CPU, "code_ptr", "general", 64, 0, REG_PC },
    F(0, "ft0"), F(1, "ft1"), F(2, "ft2"), F(3, "ft3"), F(4, "ft4"), F(5, "ft5"), F(6, "ft6"), F(7, "ft7"),
    F(8, "fs0"), F(9, "fs1"), F(10, "fa0"), F(11, "fa1"), F(12, "fa2"), F(13, "fa3"), F(14, "fa4"), F(15, "fa5"),
    F(16, "fa6"), F(17, "fa7"), F(18, "fs2"), F(19, "fs3"), F(20, "fs4"), F(21, "fs5"), F(22, "fs6"), F(23, "fs7"),
    F(24, "fs8"), F(25, "fs9"), F(26, "fs10"), F(27, "fs11"), F(28, "ft8"), F(29, "ft9"), F(30, "ft10"), F(31, "ft11"),
    { "fflags", FPU, NULL, "float", 32, FCSR_FFLAGS, REG_CSR },
    { "frm", FPU, NULL, "float", 32, FCSR_FRM, REG_CSR },
    { "fcsr", FPU, NULL, "float", 32, FCSR, REG_CSR },
    { "priv", VIRTUAL, NULL, "general", 64, 0, REG_PRIV },
};
/* clang-format on */

/* ---- which there are ----------------------------------------------------------------------------------- */

/* Rows of csrs.h in which each register has a number of its own. */
struct csr_row {
    const char *name;
    uint16_t first, n;
    enum rv_ext needs;
};
static const struct csr_row csr_rows[] = {
#define RV_CSR(id, first, count, needs, check, read, write, member, mask, plain) \
    { #id, first, count, RV_EXT_##needs },
#include "target/riscv/csrs.h"
#undef RV_CSR
};

/* How many of a row the model has, and the name of the first. */
static unsigned row_size(const struct riscv_model *m, const struct csr_row *row, unsigned *number)
{
    *number = row->first & 31;
    switch (row->first) {
    case 0x001: /* in the table above */
    case 0x002:
    case 0x003:
    case 0x015: return 0; /* reading the seed takes it */
    case 0xc03:
    case 0x323:
    case 0xb03: return m->n_hpm;
    case 0x3a0: *number = 0; return m->n_pmp / 4;
    case 0x3b0: *number = 0; return m->n_pmp;
    default: return rv_model_has(m, row->needs) ? row->n : 0;
    }
}

static void add_row(struct riscv_vm *v, const struct csr_row *row)
{
    unsigned number, n = row_size(&v->model, row, &number);
    for (unsigned i = 0; i < n; i++) {
        bool odd_pmpcfg = row->first == 0x3a0 && i & 1; /* RV64 has the even ones */
        if (odd_pmpcfg)
            continue;
        char *name = row->n > 1 ? xasprintf("%s%u", row->name, number + i) : xstrdup(row->name);
        v->debug_regs[v->n_debug_regs++] = (struct debug_reg){ .name = name,
                                                               .feature = CSR,
                                                               .bits = 64,
                                                               .index = (uint16_t)(row->first + i),
                                                               .what = REG_CSR,
                                                               .group = "csr" };
    }
}

static struct debug_regs regs_of(struct vcpu *cpu)
{
    struct riscv_vm *v = cpu->vm->arch;
    if (!v->debug_regs) {
        size_t most = ARRAY_LEN(fixed);
        for (size_t i = 0; i < ARRAY_LEN(csr_rows); i++)
            most += csr_rows[i].n;
        v->debug_regs = xcalloc(most, sizeof(*v->debug_regs));
        memcpy(v->debug_regs, fixed, sizeof(fixed));
        v->n_debug_regs = ARRAY_LEN(fixed);
        for (size_t i = 0; i < ARRAY_LEN(csr_rows); i++)
            add_row(v, &csr_rows[i]);
    }
    return (struct debug_regs){ v->debug_regs, v->n_debug_regs, N_COMMON, .pc = 32, .sp = 2 };
}

void riscv_free_debug_regs(struct riscv_vm *v)
{
    for (unsigned i = ARRAY_LEN(fixed); i < v->n_debug_regs; i++)
        free((char *)v->debug_regs[i].name);
    free(v->debug_regs);
}

static const char *architecture(struct vcpu *cpu)
{
    (void)cpu;
    return "riscv:rv64";
}

static const char *types(const char *feature)
{
    (void)feature;
    return "";
}

/* ---- values -------------------------------------------------------------------------------------------- */

/* What is behind most of them asks the translator. */
static bool reaches_csrs(const struct vcpu *cpu)
{
    return !strcmp(cpu->vm->accel->name, "tcg");
}

/* As M-mode would. */
static bool csr_access(struct riscv_cpu *r, unsigned csr, bool write, uint64_t *v)
{
    uint8_t priv = r->priv;
    if (!reaches_csrs(r->cpu))
        return false;
    r->priv = RV_M;
    bool ok = riscv_csr_access(r, csr, !write, write, write ? *v : 0, ~(uint64_t)0, v);
    r->priv = priv;
    if (write)
        riscv_update_flags(r);
    return ok;
}

static bool read_csr(struct riscv_cpu *r, unsigned index, uint64_t *v)
{
    switch (index) {
    case FCSR_FFLAGS: *v = r->fflags; return true;
    case FCSR_FRM: *v = r->frm; return true;
    case FCSR: *v = (uint64_t)r->frm << 5 | r->fflags; return true;
    default: return csr_access(r, index, false, v);
    }
}

static bool write_csr(struct riscv_cpu *r, unsigned index, uint64_t v)
{
    switch (index) {
    case FCSR_FFLAGS: r->fflags = v & 31; return true;
    case FCSR: r->fflags = v & 31; v >>= 5; /* fall through */
    case FCSR_FRM:
        r->frm = v & 7;
        r->flags = riscv_compute_flags(r);
        return true;
    default: return csr_access(r, index, true, &v);
    }
}

static bool read_reg(struct vcpu *cpu, const struct debug_reg *d, uint8_t *to)
{
    struct riscv_cpu *r = riscv_of(cpu);
    uint64_t v = 0;
    switch (d->what) {
    case REG_X: v = r->x[d->index]; break;
    case REG_PC: v = r->pc; break;
    case REG_F: v = r->f[d->index]; break;
    case REG_PRIV: v = r->priv; break;
    default:
        if (!read_csr(r, d->index, &v))
            return false;
    }
    store_le(to, d->bits / 8, v);
    return true;
}

static bool write_reg(struct vcpu *cpu, const struct debug_reg *d, const uint8_t *from)
{
    struct riscv_cpu *r = riscv_of(cpu);
    uint64_t v = load_le(from, d->bits / 8);
    switch (d->what) {
    case REG_X:
        if (d->index)
            r->x[d->index] = v;
        return true;
    case REG_PC: r->pc = v; return true;
    case REG_F: r->f[d->index] = v; return true;
    case REG_PRIV:
        if (v != RV_U && v != RV_S && v != RV_M)
            return false;
        r->priv = (uint8_t)v;
        r->flags = riscv_compute_flags(r);
        return true;
    default: return write_csr(r, d->index, v);
    }
}

const struct target_debug riscv_debug = {
    .architecture = architecture,
    .regs = regs_of,
    .types = types,
    .read = read_reg,
    .write = write_reg,
    .watches_before = true,
};
