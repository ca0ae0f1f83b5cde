/* Two CPUs in lock-step, only one of which has a local APIC: what that one is told is kept on the tape, and the
 * other is told the same. */
#include "target/x86_64/follow.h"
#include "core/tape.h"
#include "core/vcpu.h"
#include "core/vm.h"
#include "target/x86_64/insns.h"

/* `at` on the tape, beside MSR numbers. */
enum { ACKNOWLEDGE = -1, GET_TPR = -2, SET_TPR = -3, SET_BASE = -4 };

/* True: ask the APIC, then tape_end. */
static bool asks(struct x86_cpu *x, struct tape_entry *e, enum tape_kind kind, int64_t at,
                 uint64_t value)
{
    *e = (struct tape_entry){
        .kind = kind, .ok = true, .size = 8, .at = (uint64_t)at, .value = value
    };
    return tape_begin(x->cpu->vm, e) && x->followed;
}

static bool pending(void *opaque)
{
    struct x86_cpu *x = opaque;
    return x->followed ? x->followed->pending(x->followed_opaque) : x->followed_pending;
}

static int acknowledge(void *opaque)
{
    struct x86_cpu *x = opaque;
    struct tape_entry e;
    if (asks(x, &e, TAPE_CPU_IN, ACKNOWLEDGE, 0)) {
        e.value = (uint64_t)x->followed->acknowledge(x->followed_opaque);
        tape_end(x->cpu->vm, &e);
    }
    return (int)e.value;
}

static uint8_t get_tpr(void *opaque)
{
    struct x86_cpu *x = opaque;
    struct tape_entry e;
    if (asks(x, &e, TAPE_CPU_IN, GET_TPR, 0)) {
        e.value = x->followed->get_tpr(x->followed_opaque);
        tape_end(x->cpu->vm, &e);
    }
    return (uint8_t)e.value;
}

static void set_tpr(void *opaque, uint8_t cr8)
{
    struct x86_cpu *x = opaque;
    struct tape_entry e;
    if (asks(x, &e, TAPE_CPU_OUT, SET_TPR, cr8)) {
        x->followed->set_tpr(x->followed_opaque, cr8);
        tape_end(x->cpu->vm, &e);
    }
}

static bool set_base(void *opaque, uint64_t value)
{
    struct x86_cpu *x = opaque;
    struct tape_entry e;
    if (asks(x, &e, TAPE_CPU_OUT, SET_BASE, value)) {
        e.ok = x->followed->set_base(x->followed_opaque, value);
        tape_end(x->cpu->vm, &e);
    }
    return e.ok;
}

static bool read_msr(void *opaque, uint32_t index, uint64_t *value)
{
    struct x86_cpu *x = opaque;
    struct tape_entry e;
    if (asks(x, &e, TAPE_CPU_IN, index, 0)) {
        e.ok = x->followed->read_msr(x->followed_opaque, index, &e.value);
        tape_end(x->cpu->vm, &e);
    }
    *value = e.value;
    return e.ok;
}

static bool write_msr(void *opaque, uint32_t index, uint64_t value)
{
    struct x86_cpu *x = opaque;
    struct tape_entry e;
    if (asks(x, &e, TAPE_CPU_OUT, index, value)) {
        e.ok = x->followed->write_msr(x->followed_opaque, index, value);
        tape_end(x->cpu->vm, &e);
    }
    return e.ok;
}

static const struct x86_apic_ops taped = {
    .pending = pending,
    .acknowledge = acknowledge,
    .get_tpr = get_tpr,
    .set_tpr = set_tpr,
    .set_base = set_base,
    .read_msr = read_msr,
    .write_msr = write_msr,
};

struct error *x86_follow(struct vcpu *real, struct vcpu *shadow)
{
    struct x86_cpu *a = x86_of(real), *b = x86_of(shadow);
    if (!a->apic || a->apic == &taped)
        return NULL;
    a->followed = a->apic;
    a->followed_opaque = a->apic_opaque;
    x86_set_apic(real, &taped, a);
    x86_set_apic(shadow, &taped, b);
    return NULL;
}

uint64_t x86_inputs(const struct vcpu *cpu)
{
    const struct x86_cpu *x = cpu->arch;
    bool offered = x->apic == &taped && x->apic->pending(x->apic_opaque);
    return atomic_load(&x->lines) | (uint64_t)(uint8_t)x->sipi << 32 | (uint64_t)offered << 63;
}

void x86_set_inputs(struct vcpu *cpu, uint64_t inputs)
{
    struct x86_cpu *x = x86_of(cpu);
    x->lines = (uint32_t)inputs;
    x->sipi = inputs >> 32 & 0xff;
    x->followed_pending = inputs >> 63;
}

/* AF is undefined behind these, too (SDM 2); the tables have what processors make of it. */
static bool leaves_af(const struct x86_insn *i)
{
    static const char *const names[] = { "and", "or", "xor", "test" };
    for (size_t k = 0; k < ARRAY_LEN(names); k++)
        if (!strcmp(i->line->name, names[k]))
            return true;
    return i->line->undefined;
}

uint64_t x86_undefined_flags(const struct x86_cpu *x, const uint8_t *code, size_t n)
{
    struct x86_insn i;
    if (x86_decode(x86_decoder_of(x->cpu->vm), x->state_word, code, n, &i) != X86_DECODED)
        return 0;
    return i.line->undefined | (leaves_af(&i) ? X86_FLAG_AF : 0);
}
