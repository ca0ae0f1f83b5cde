/* The RISC-V CPU as core and the translator see it: its state list, reset, and its parts together. */
#include "core/clock.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/vm.h"
#include "target/riscv/rv_model.h"
#include "target/riscv/rv_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- state ------------------------------------------------------------------------------------- */

#define SLOT(name_, member, type_, heat_)                                                         \
    {                                                                                             \
        .name = name_, .offset = offsetof(struct riscv_cpu, member), .type = type_, .heat = heat_ \
    }
#define X(n, heat) [RV_SLOT_X + n] = SLOT("x" #n, x[n], IR_I64, heat)
#define F(n, heat) [RV_SLOT_F + n] = SLOT("f" #n, f[n], IR_F64, heat)

/* Heat by how often compiled code uses a register: the stack pointer, arguments and s0, s1 first, then
 * temporaries, saved registers last; of the floating-point ones as well. */
/* clang-format off */
const struct ir_slot riscv_slots[N_RV_SLOTS] = {
    X(0, 0),   X(1, 70),  X(2, 90),  X(3, 10),  X(4, 20),  X(5, 50),  X(6, 40),  X(7, 38),
    X(8, 80),  X(9, 75),  X(10, 99), X(11, 98), X(12, 97), X(13, 96), X(14, 95), X(15, 94),
    X(16, 60), X(17, 58), X(18, 55), X(19, 54), X(20, 53), X(21, 52), X(22, 45), X(23, 44),
    X(24, 43), X(25, 42), X(26, 35), X(27, 34), X(28, 48), X(29, 47), X(30, 46), X(31, 41),
    F(0, 60),  F(1, 60),  F(2, 60),  F(3, 60),  F(4, 60),  F(5, 60),  F(6, 50),  F(7, 50),
    F(8, 70),  F(9, 70),  F(10, 99), F(11, 98), F(12, 97), F(13, 96), F(14, 95), F(15, 94),
    F(16, 60), F(17, 60), F(18, 55), F(19, 54), F(20, 53), F(21, 52), F(22, 45), F(23, 44),
    F(24, 43), F(25, 42), F(26, 35), F(27, 34), F(28, 48), F(29, 47), F(30, 46), F(31, 41),
    [RV_SLOT_RES_ADDR] = SLOT("res_addr", res_addr, IR_I64, 0),
    [RV_SLOT_RES_VALUE] = SLOT("res_value", res_value, IR_I64, 0),
    [RV_SLOT_TMP] = SLOT("tmp0", tmp[0], IR_I64, 0),
    [RV_SLOT_TMP + 1] = SLOT("tmp1", tmp[1], IR_I64, 0),
    [RV_SLOT_TMP + 2] = SLOT("tmp2", tmp[2], IR_I64, 0),
    [RV_SLOT_TMP + 3] = SLOT("tmp3", tmp[3], IR_I64, 0),
    [RV_SLOT_SSCRATCH] = SLOT("sscratch", sscratch, IR_I64, 0),
    [RV_SLOT_SEPC] = SLOT("sepc", sepc, IR_I64, 0),
    [RV_SLOT_SCAUSE] = SLOT("scause", scause, IR_I64, 0),
    [RV_SLOT_STVAL] = SLOT("stval", stval, IR_I64, 0),
    [RV_SLOT_MSCRATCH] = SLOT("mscratch", mscratch, IR_I64, 0),
    [RV_SLOT_MEPC] = SLOT("mepc", mepc, IR_I64, 0),
    [RV_SLOT_MCAUSE] = SLOT("mcause", mcause, IR_I64, 0),
    [RV_SLOT_MTVAL] = SLOT("mtval", mtval, IR_I64, 0),
    [RV_SLOT_MSTATUS] = SLOT("mstatus", mstatus, IR_I64, 0),
    [RV_SLOT_MIE] = SLOT("mie", mie, IR_I64, 0),
    [RV_SLOT_MIP] = SLOT("mip", mip, IR_I64, 0),
    [RV_SLOT_MIP_LINES] = SLOT("mip_lines", mip_lines, IR_I64, 0),
    [RV_SLOT_SUM_USED] = SLOT("sum_used", sum_used, IR_I64, 0),
    [RV_SLOT_FS_SEEN] = SLOT("fs_seen", tmp[3], IR_I64, 0),
};
/* clang-format on */
#undef X
#undef F

static const struct field counter_state[] = {
    FIELD(struct riscv_counter, value),
    FIELD(struct riscv_counter, event),
    FIELD(struct riscv_counter, since),
    FIELD(struct riscv_counter, running, .max = 1),
};
static const struct field trigger_state[] = {
    FIELD(struct riscv_trigger, tdata1),
    FIELD(struct riscv_trigger, tdata2),
    FIELD(struct riscv_trigger, tdata3),
};

static const struct field riscv_state[] = {
    FIELD_ARRAY(struct riscv_cpu, x),
    FIELD_ARRAY(struct riscv_cpu, f),
    FIELD(struct riscv_cpu, pc),
    FIELD(struct riscv_cpu, res_addr),
    FIELD(struct riscv_cpu, res_value),
    FIELD(struct riscv_cpu, priv, .max = RV_M),
    FIELD(struct riscv_cpu, frm, .max = 7),
    FIELD(struct riscv_cpu, fflags, .max = 31),
    FIELD(struct riscv_cpu, mstatus),
    FIELD(struct riscv_cpu, mtvec),
    FIELD(struct riscv_cpu, mscratch),
    FIELD(struct riscv_cpu, mepc),
    FIELD(struct riscv_cpu, mcause),
    FIELD(struct riscv_cpu, mtval),
    FIELD(struct riscv_cpu, stvec),
    FIELD(struct riscv_cpu, sscratch),
    FIELD(struct riscv_cpu, sepc),
    FIELD(struct riscv_cpu, scause),
    FIELD(struct riscv_cpu, stval),
    FIELD(struct riscv_cpu, medeleg),
    FIELD(struct riscv_cpu, mideleg),
    FIELD(struct riscv_cpu, mie),
    FIELD(struct riscv_cpu, mip),
    FIELD(struct riscv_cpu, mip_lines),
    FIELD(struct riscv_cpu, menvcfg),
    FIELD(struct riscv_cpu, senvcfg),
    FIELD(struct riscv_cpu, mseccfg),
    FIELD(struct riscv_cpu, satp),
    FIELD(struct riscv_cpu, stimecmp),
    FIELD(struct riscv_cpu, mcounteren),
    FIELD(struct riscv_cpu, scounteren),
    FIELD(struct riscv_cpu, mcountinhibit),
    FIELD_SUB(struct riscv_cpu, counters, counter_state, RV_N_COUNTERS),
    FIELD_ARRAY(struct riscv_cpu, pmpcfg),
    FIELD_ARRAY(struct riscv_cpu, pmpaddr),
    FIELD(struct riscv_cpu, tselect, .max = RV_N_TRIGGERS - 1),
    FIELD_SUB(struct riscv_cpu, triggers, trigger_state, RV_N_TRIGGERS),
    FIELD(struct riscv_cpu, miselect, .max = 0xff),
    FIELD(struct riscv_cpu, siselect, .max = 0xff),
    FIELD(struct riscv_cpu, counting, .max = 1),
};

/* CMO 4: menvcfg and senvcfg open cbo.zero to lower modes. */
static bool may_zero(const struct riscv_cpu *r)
{
    return r->priv == RV_M ||
           ((r->menvcfg & RV_ENVCFG_CBZE) && (r->priv == RV_S || (r->senvcfg & RV_ENVCFG_CBZE)));
}

uint32_t riscv_compute_flags(const struct riscv_cpu *r)
{
    uint64_t fs = r->priv == RV_S ? 0 : r->mstatus & RV_MSTATUS_FS;
    uint32_t flags = r->priv | (uint32_t)r->frm << RV_FLAG_FRM_SHIFT;
    if (may_zero(r))
        flags |= RV_FLAG_CBZE;
    if (fs)
        flags |= RV_FLAG_FS_ON;
    if (fs == RV_MSTATUS_FS)
        flags |= RV_FLAG_FS_DIRTY;
    if (r->counting)
        flags |= RV_FLAG_COUNT;
    return r->trigger_armed ? flags | riscv_trigger_flags(r) : flags;
}

/* ---- life --------------------------------------------------------------------------------------- */

static uint64_t guest_clock(void *vm)
{
    return vm_now_ns(vm) / (NS_PER_S / RV_TIMEBASE_HZ);
}

static void vm_free_arch(struct vm *vm)
{
    if (vm->arch) {
        riscv_free_decoders(vm->arch);
        riscv_free_debug_regs(vm->arch);
    }
    free(vm->arch);
    vm->arch = NULL;
}

static struct error *cpu_model(struct vm *vm, const char *text)
{
    struct riscv_vm *v = xcalloc(1, sizeof(*v));
    struct error *err = riscv_model_parse(&v->model, text);
    if (err) {
        free(v);
        return err;
    }
    v->read_time = guest_clock;
    v->time_opaque = vm;
    vm_free_arch(vm);
    vm->arch = v;
    return NULL;
}

static void vcpu_init(struct vcpu *cpu)
{
    struct riscv_cpu *r = riscv_of(cpu);
    struct riscv_vm *v = cpu->vm->arch;
    r->cpu = cpu;
    r->model = &v->model;
    memcpy(r->ext, v->model.ext, sizeof(r->ext));
    riscv_init_decoders(v);
    riscv_counters_init(r);
}

static void vcpu_free_arch(struct vcpu *cpu)
{
    riscv_counters_free(riscv_of(cpu));
}

/* What follows from the rest of the state; the vCPU is stopped, its engine hears of it by set_state. */
static void derive(struct riscv_cpu *r)
{
    riscv_pmp_count(r);
    riscv_triggers_changed(r);
    r->local_filled = false;
    r->sum_used = true;
    r->flags = riscv_compute_flags(r);
    r->data_key = riscv_context_key(r->cpu, 0);
    r->fetch_key = riscv_context_key(r->cpu, -1);
    r->n_futile_traps = 0;
    r->wfis_in_vain = 0;
}

/* priv 3.4; what it leaves open is zero, but for A/D updates, which a CPU without Svade does from the
 * start. */
static void vcpu_reset(struct vcpu *cpu)
{
    struct riscv_cpu *r = riscv_of(cpu);
    uint64_t wires = r->mip_lines & ~RV_BIT(RV_STI); /* theirs who drive them */
    memset(r, 0, offsetof(struct riscv_cpu, cpu));
    r->mip_lines = wires;
    r->priv = RV_M;
    r->mstatus = (uint64_t)2 << 32 | (uint64_t)2 << 34;
    r->res_addr = ~(uint64_t)0;
    r->stimecmp = ~(uint64_t)0;
    if (rv_has(r, RV_EXT_SVADU) && !rv_has(r, RV_EXT_SVADE))
        r->menvcfg = RV_ENVCFG_ADUE;
    for (unsigned i = 0; i < RV_N_TRIGGERS; i++)
        r->triggers[i].tdata1 = riscv_trigger_legal(0);
    timer_cancel(r->stimecmp_timer);
    timer_cancel(r->pmu_timer);
    derive(r);
    riscv_counters_changed(r);
}

static void vcpu_loaded(struct vcpu *cpu)
{
    struct riscv_cpu *r = riscv_of(cpu);
    r->x[0] = 0;
    derive(r);
    riscv_counters_loaded(r);
    riscv_stimecmp_changed(cpu);
}

void riscv_place(struct vcpu *cpu, uint64_t pc, uint64_t a0, uint64_t a1)
{
    struct riscv_cpu *r = riscv_of(cpu);
    r->pc = pc;
    r->x[10] = a0;
    r->x[11] = a1;
}

void riscv_set_imsic(struct vcpu *cpu, const struct riscv_imsic_ops *ops, void *opaque)
{
    riscv_of(cpu)->imsic = ops;
    riscv_of(cpu)->imsic_opaque = opaque;
}

/* With all of mie off nothing wakes a hart (it can still be reset). */
static bool can_wake(struct vcpu *cpu)
{
    return riscv_of(cpu)->mie;
}

/* Wires and timers, and the one bit of mip that devices set. */
static uint64_t inputs(const struct vcpu *cpu)
{
    const struct riscv_cpu *r = cpu->arch;
    return r->mip_lines | (r->mip & RV_BIT(RV_SSI)) << 32;
}

static void set_inputs(struct vcpu *cpu, uint64_t in)
{
    struct riscv_cpu *r = riscv_of(cpu);
    r->mip_lines = (uint32_t)in;
    r->mip = (r->mip & ~RV_BIT(RV_SSI)) | in >> 32;
}

static struct error *follow(struct vcpu *real, struct vcpu *shadow)
{
    (void)shadow;
    return riscv_of(real)->imsic
               ? error_new("lock-step cannot follow an IMSIC: use -M aia=none or aia=aplic")
               : NULL;
}

static uint64_t pc_of(struct vcpu *cpu)
{
    return riscv_of(cpu)->pc;
}

/* ---- print ---------------------------------------------------------------------------------------- */

static const char *const x_names[32] = {
    "zero", "ra", "sp", "gp", "tp",  "t0",  "t1", "t2", "s0", "s1", "a0",
    "a1",   "a2", "a3", "a4", "a5",  "a6",  "a7", "s2", "s3", "s4", "s5",
    "s6",   "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
};

static void print_row(const char *const *names, const uint64_t *values, unsigned n,
                      void (*print)(void *opaque, const char *line), void *opaque)
{
    char line[160];
    int at = 0;
    for (unsigned i = 0; i < n; i++)
        at += snprintf(line + at, sizeof(line) - (size_t)at, "%s%-8s %016" PRIx64, i ? "  " : "",
                       names[i], values[i]);
    print(opaque, line);
}

static void print_cpu(struct vcpu *cpu, void (*print)(void *opaque, const char *line), void *opaque)
{
    const struct riscv_cpu *r = riscv_of(cpu);
    const struct {
        const char *name;
        uint64_t value;
    } csrs[] = {
        { "pc", r->pc },
        { "priv", r->priv },
        { "mstatus", r->mstatus },
        { "mip", riscv_pending(r) },
        { "mie", r->mie },
        { "mideleg", r->mideleg },
        { "medeleg", r->medeleg },
        { "mtvec", r->mtvec },
        { "mepc", r->mepc },
        { "mcause", r->mcause },
        { "mtval", r->mtval },
        { "mscratch", r->mscratch },
        { "stvec", r->stvec },
        { "sepc", r->sepc },
        { "scause", r->scause },
        { "stval", r->stval },
        { "sscratch", r->sscratch },
        { "satp", r->satp },
        { "menvcfg", r->menvcfg },
        { "stimecmp", r->stimecmp },
        { "fcsr", (uint64_t)r->frm << 5 | r->fflags },
    };
    for (unsigned i = 0; i < ARRAY_LEN(csrs); i += 3) {
        const char *names[3];
        uint64_t values[3];
        unsigned n = MIN(3u, ARRAY_LEN(csrs) - i);
        for (unsigned k = 0; k < n; k++) {
            names[k] = csrs[i + k].name;
            values[k] = csrs[i + k].value;
        }
        print_row(names, values, n, print, opaque);
    }
    for (unsigned i = 0; i < 32; i += 4)
        print_row(x_names + i, r->x + i, 4, print, opaque);
    for (unsigned i = 0; i < 32; i += 4) {
        char text[4][8];
        const char *names[4];
        for (unsigned k = 0; k < 4; k++) {
            snprintf(text[k], sizeof(text[k]), "f%u", i + k);
            names[k] = text[k];
        }
        print_row(names, r->f + i, 4, print, opaque);
    }
}

/* ---- together --------------------------------------------------------------------------------------- */

static uint8_t rounding(struct vcpu *cpu)
{
    return riscv_of(cpu)->frm <= 4 ? riscv_of(cpu)->frm : 0;
}

const struct target riscv64_target = {
    .name = "riscv64",
    .arch_size = sizeof(struct riscv_cpu),
    .state = TABLE(riscv_state),
    .state_version = 1,
    .cpu_model = cpu_model,
    .cpu_help = riscv_cpu_help,
    .cpu_type = "riscv-cpu",
    .default_cpu = "rv64",
    .cpu_models = riscv_cpu_models,
    .cpu_features = riscv_cpu_features,
    .vcpu_init = vcpu_init,
    .vcpu_free = vcpu_free_arch,
    .vcpu_reset = vcpu_reset,
    .vcpu_loaded = vcpu_loaded,
    .has_work = riscv_has_work,
    .can_wake = can_wake,
    .inputs = inputs,
    .set_inputs = set_inputs,
    .follow = follow,
    .print = print_cpu,
    .pc = pc_of,
    .translate = riscv_debug_translate,
    .debug = &riscv_debug,
    .paging = &riscv_paging,
    .vm_free = vm_free_arch,
};

/* What decoders are made from, and how far cbo.zero reaches. */
static uint64_t identity(struct vm *vm)
{
    const struct riscv_model *m = riscv_model_of(vm);
    const uint64_t key[2] = { m->cboz_block };
    return hash64(key, m->ext, sizeof(m->ext));
}

const struct tcg_target riscv64_tcg_target = {
    .target = &riscv64_target,
    .slots = riscv_slots,
    .n_slots = N_RV_SLOTS,
    .helpers = riscv_helpers,
    .n_helpers = N_RISCV_HELPERS,
    .pc_offset = offsetof(struct riscv_cpu, pc),
    .flags_offset = offsetof(struct riscv_cpu, flags),
    .fp_flags_offset = offsetof(struct riscv_cpu, fflags),
    .max_insn_len = 4,
    .unit_insns = 32,
    .hot_insns = 64,
    .insn_align = 2,
    .canonical_nan = true,
    .scan = riscv_scan,
    .translate = riscv_translate,
    .begin_unit = riscv_begin_unit,
    .identity = identity,
    .translate_address = riscv_translate_address,
    .raise_memory = riscv_raise_memory,
    .context_key = riscv_context_key,
    .user_key = riscv_user_key,
    .n_modes = 1,
    .take_interrupt = riscv_take_interrupt,
    .rounding = rounding,
};
