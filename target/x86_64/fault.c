/* Exceptions and interrupts: how they are raised, delivered through IVT or IDT, and which comes first (SDM 3-6). */
#include "core/vm.h"
#include "target/x86_64/insns.h"
#include "target/x86_64/sys.h"

#include <inttypes.h>

enum {
    IDT_BIT = 2,
    EXT_BIT = 1, /* of error codes, SDM 3-6.13 */
    WRITE_BIT = 2
}; /* of a page fault's */

uint64_t x86_insn_pc(struct x86_cpu *x)
{
    return x->pc_known ? x->pc : tcg_insn_pc(x->cpu);
}

static uint64_t ip_of(const struct x86_cpu *x, uint64_t pc)
{
    return x86_in_code64(x) ? pc : (uint32_t)(pc - x->seg[X86_CS].base);
}

uint64_t x86_insn_ip(struct x86_cpu *x)
{
    return ip_of(x, x86_insn_pc(x));
}

/* ---- raising ---------------------------------------------------------------------------------------- */

/* In a PC the processor's shutdown state resets the machine. */
noreturn void x86_shut_down(struct x86_cpu *x)
{
    struct vm *vm = x->cpu->vm;
    if (x86_is_intercepted(x, X86_EXIT_SHUTDOWN))
        x86_vmexit(x, X86_EXIT_SHUTDOWN, 0, 0);
    if (log_on(&vm->log, LOG_INT))
        log_print(&vm->log, "int: cpu %u triple fault\n", x->cpu->index);
    x->is_down = true;
    x->delivering = -1;
    x->pc_known = false;
    vm_request_reset(vm);
    tcg_halt(x->cpu);
}

/* SDM 3-6.15, tables 6-4 and 6-5 */
static bool is_contributory(unsigned vector)
{
    return vector == X86_DE || (vector >= X86_TS && vector <= X86_GP) || vector == X86_CP;
}

static bool becomes_double(unsigned first, unsigned second)
{
    if (first == X86_PF)
        return second == X86_PF || is_contributory(second);
    return is_contributory(first) && is_contributory(second);
}

static noreturn void raise(struct x86_cpu *x, struct x86_event e)
{
    x->pc = x86_insn_pc(x);
    x->pc_known = true;
    x86_intercept_exception(x, e, x->cr2);
    if (x->delivering >= 0) {
        unsigned first = (unsigned)x->delivering;
        if (first == X86_DF)
            x86_shut_down(x);
        if (becomes_double(first, e.vector))
            e = (struct x86_event){ .vector = X86_DF, .has_error = true };
    }
    x86_deliver(x, e);
    x->pc_known = false;
    tcg_leave(x->cpu);
}

noreturn void x86_fault(struct x86_cpu *x, unsigned vector)
{
    raise(x, (struct x86_event){ .vector = (uint8_t)vector });
}

noreturn void x86_fault_code(struct x86_cpu *x, unsigned vector, uint32_t error)
{
    raise(x, (struct x86_event){ .vector = (uint8_t)vector, .has_error = true, .error = error });
}

static uint32_t ext(const struct x86_cpu *x)
{
    return x->delivering >= 0 && x->delivery_external ? EXT_BIT : 0;
}

noreturn void x86_fault_selector(struct x86_cpu *x, unsigned vector, uint16_t selector)
{
    x86_fault_code(x, vector, (selector & ~3u) | ext(x));
}

noreturn void x86_page_fault(struct x86_cpu *x, uint64_t va, uint32_t error)
{
    x->pc = x86_insn_pc(x); /* cr2 is not lost when this becomes a double fault */
    x->pc_known = true;
    x86_intercept_exception(
        x, (struct x86_event){ .vector = X86_PF, .has_error = true, .error = error }, va);
    x->cr2 = va;
    x86_fault_code(x, X86_PF, error);
}

noreturn void x86_memory_fault(struct x86_cpu *x, uint64_t va, int fault)
{
    if (fault == X86_NESTED_FAULT)
        x86_vmexit(x, X86_EXIT_NPF, x->nested_error, x->nested_gpa);
    if (fault == X86_NOT_CANONICAL || fault == X86_NOT_CANONICAL_STACK)
        x86_fault_selector(x, fault == X86_NOT_CANONICAL ? X86_GP : X86_SS_FAULT, 0);
    x86_page_fault(x, x86_in_long_mode(x) ? va : (uint32_t)va, (uint32_t)fault);
}

/* Called with pc at the instruction, outside helpers. */
/* The running instruction, as far as it can be read. */
static bool decode_running(struct x86_cpu *x, struct x86_insn *i)
{
    struct tcg_failure why;
    uint8_t bytes[2 * 8];
    unsigned n = 0;
    for (uint64_t v; n < sizeof(bytes); n += 8) {
        if (!tcg_try_load(x->cpu, x->pc + n, 8, X86_MMU_DATA, &v, &why))
            break;
        store_le(bytes + n, 8, v);
    }
    return x86_decode(x86_decoder_of(x->cpu->vm), x->state_word, bytes, n, i) == X86_DECODED;
}

unsigned x86_insn_length(struct x86_cpu *x)
{
    struct x86_insn i;
    return decode_running(x, &i) ? i.len : 0;
}

/* Of an x87 instruction that waits: an exception that is pending comes before its operand. */
static bool waits_for_x87(const struct x86_cpu *x, const struct x86_insn *i)
{
    enum { ERROR_SUMMARY = 1 << 7 };
    const char *e = i->line->encoding;
    bool x87 = e[0] == 'D' && e[1] >= '8' && e[2] == ' ' && strncmp(i->line->name, "fn", 2) != 0;
    return x87 && x->fsw & ERROR_SUMMARY && x->cr0 & X86_CR0_NE;
}

/* Does it read an operand in memory only to write it? The processor looks for the right to write from the start. */
static bool is_update(const struct x86_insn *i)
{
    return i->line->flags & (X86_LOCKABLE | X86_UPDATES) && i->op[0].kind == X86_OP_MEM;
}

void x86_raise_memory(struct vcpu *cpu, uint64_t va, enum access access, int kind, int fault)
{
    struct x86_cpu *x = x86_of(cpu);
    x->pc_known = true;
    if (kind == MEM_FAULT_NO_MEMORY) /* only fetches: ones are no instruction */
        x86_fault(x, X86_UD);
    if (kind == MEM_FAULT_MISALIGNED)
        x86_fault_code(x, x->state_word & X86_TR_AC ? X86_AC : X86_GP, 0);
    struct x86_insn i;
    if (access == ACCESS_READ && decode_running(x, &i)) {
        if (waits_for_x87(x, &i))
            x86_fault(x, X86_MF);
        if (fault >> 16 == 0 && is_update(&i))
            fault |= WRITE_BIT;
    }
    x86_memory_fault(x, va, fault);
}

void x86h_raise(struct x86_cpu *x, uint64_t vector, uint64_t error)
{
    if (error >> 32)
        x86_fault_code(x, (unsigned)vector, (uint32_t)error);
    x86_fault(x, (unsigned)vector);
}

/* ---- guest memory --------------------------------------------------------------------------------- */

uint64_t x86_read(struct x86_cpu *x, uint64_t va, unsigned size, unsigned mode)
{
    uint64_t v = 0;
    struct tcg_failure why;
    if (!x->pc_known && x->delivering < 0)
        tcg_watch(x->cpu, va, size, ACCESS_READ);
    if (!tcg_try_load(x->cpu, va, size, mode, &v, &why))
        x86_memory_fault(x, why.va, why.fault);
    return v;
}

void x86_write(struct x86_cpu *x, uint64_t va, unsigned size, uint64_t v, unsigned mode)
{
    struct tcg_failure why;
    if (!x->pc_known && x->delivering < 0)
        tcg_watch(x->cpu, va, size, ACCESS_WRITE);
    if (!tcg_try_store(x->cpu, va, size, v, mode, &why))
        x86_memory_fault(x, why.va, why.fault);
}

/* ---- delivery --------------------------------------------------------------------------------------- */

static noreturn void fault_gate(struct x86_cpu *x, unsigned vector, struct x86_event e)
{
    x86_fault_code(x, vector, (uint32_t)e.vector << 3 | IDT_BIT | ext(x));
}

/* A fault will be retried: RF keeps code breakpoints from it (SDM 3-18.3.1.1). */
static bool is_fault(struct x86_event e)
{
    const uint32_t traps =
        1 << X86_DB | 1 << X86_NMI_VECTOR | 1 << X86_BP | 1 << X86_OF | 1 << X86_DF | 1 << X86_MC;
    return !e.soft && !e.external && e.vector < 32 && !(traps >> e.vector & 1);
}

static uint64_t pushed_flags(struct x86_cpu *x, struct x86_event e)
{
    return x86_get_rflags(x) | (is_fault(e) ? X86_FLAG_RF : 0);
}

static uint64_t return_ip(const struct x86_cpu *x, struct x86_event e)
{
    uint64_t ip = ip_of(x, x->pc) + e.len;
    return x86_in_code64(x) ? ip : x->state_word & X86_TR_CODE32 ? (uint32_t)ip : (uint16_t)ip;
}

static void deliver_real(struct x86_cpu *x, struct x86_event e)
{
    if (e.vector * 4u + 3 > x->idt.limit)
        x86_fault(x, X86_GP);
    uint32_t to = (uint32_t)x86_read(x, x->idt.base + e.vector * 4u, 4, X86_MMU_SYSTEM);
    struct x86_stack st = x86_stack_now(x, 2);
    x86_push(x, &st, (uint16_t)x86_get_rflags(x));
    x86_push(x, &st, x->seg[X86_CS].selector);
    x86_push(x, &st, return_ip(x, e));
    x86_keep_sp(x, &st);
    x86_load_real_segment(x, X86_CS, (uint16_t)(to >> 16));
    x86_set_ip(x, (uint16_t)to);
    x->rflags &= ~(uint64_t)(X86_FLAG_IF | X86_FLAG_TF | X86_FLAG_RF | X86_FLAG_AC);
}

/* The gate's code segment (SDM 3-6.12.1), with RPL the ring that the handler runs in. */
static struct x86_descriptor gate_code(struct x86_cpu *x, uint16_t selector)
{
    if (x86_is_null(selector))
        x86_fault_selector(x, X86_GP, 0);
    struct x86_descriptor d = x86_get_descriptor(x, selector, X86_GP);
    unsigned cpl = x86_cpl(x), dpl = x86_desc_dpl(&d);
    bool conforming = d.high >> 8 & X86_AR_CONFORMING;
    if (!x86_desc_is_code(&d) || dpl > cpl)
        x86_fault_selector(x, X86_GP, selector);
    if (x86_in_vm86(x) && (conforming || dpl))
        x86_fault_selector(x, X86_GP, selector);
    if (x86_in_long_mode(x) && (d.high >> 21 & 3) != 1)
        x86_fault_selector(x, X86_GP, selector);
    if (!x86_desc_present(&d))
        x86_fault_selector(x, X86_NP, selector);
    d.selector = (uint16_t)((selector & ~3u) | (conforming ? cpl : dpl));
    return d;
}

static uint64_t next_linear(const struct x86_cpu *x, struct x86_event e)
{
    return x86_in_code64(x) ? x->pc + e.len : (uint32_t)(x->seg[X86_CS].base + return_ip(x, e));
}

static void enter_handler(struct x86_cpu *x, struct x86_descriptor *code, uint64_t ip, bool masks)
{
    x->seg[X86_CS] = x86_segment_from(code);
    x86_set_ip(x, ip);
    x->rflags &= ~(uint64_t)(X86_FLAG_TF | X86_FLAG_NT | X86_FLAG_RF | X86_FLAG_VM);
    if (masks)
        x->rflags &= ~(uint64_t)X86_FLAG_IF;
}

static void deliver_protected(struct x86_cpu *x, struct x86_event e)
{
    if (e.vector * 8u + 7 > x->idt.limit)
        fault_gate(x, X86_GP, e);
    struct x86_descriptor gate = { .at = x->idt.base + e.vector * 8u };
    uint64_t v = x86_read(x, gate.at, 8, X86_MMU_SYSTEM);
    gate.low = (uint32_t)v;
    gate.high = (uint32_t)(v >> 32);
    unsigned type = x86_desc_type(&gate);
    if (x86_desc_is_segment(&gate) || (type != X86_TYPE_TASK_GATE && (type & 6) != 6))
        fault_gate(x, X86_GP, e);
    if (e.soft && x86_desc_dpl(&gate) < x86_cpl(x))
        fault_gate(x, X86_GP, e);
    if (!x86_desc_present(&gate))
        fault_gate(x, X86_NP, e);
    if (type == X86_TYPE_TASK_GATE) {
        x86_task_gate(x, &gate, X86_TASK_EVENT, return_ip(x, e));
        if (e.has_error) {
            struct x86_stack st = x86_stack_now(x, x->tr.rights & 8 ? 4 : 2);
            x86_push(x, &st, e.error);
            x86_keep_sp(x, &st);
        }
        return;
    }
    bool vm86 = x86_in_vm86(x);
    unsigned size = type & 8 ? 4 : 2, cpl = x86_cpl(x);
    uint32_t ip = (gate.low & 0xffff) | (size == 4 ? gate.high & 0xffff0000 : 0);
    struct x86_descriptor code = gate_code(x, (uint16_t)(gate.low >> 16));
    unsigned to = code.selector & 3;
    struct x86_segment cs = x86_segment_from(&code), ss = x->seg[X86_SS];
    struct x86_stack st = x86_stack_now(x, size);
    if (to != cpl) {
        uint16_t selector;
        uint64_t sp;
        x86_inner_stack(x, to, &selector, &sp);
        ss = x86_check_stack_segment(x, selector, to, X86_TS);
        st = x86_stack_of(x, &ss, sp, size);
    }
    x86_check_ip(x, &cs, ip);
    if (vm86) {
        static const uint8_t saved[] = { X86_GS, X86_FS, X86_DS, X86_ES };
        for (unsigned i = 0; i < 4; i++)
            x86_push(x, &st, x->seg[saved[i]].selector);
    }
    if (to != cpl) {
        x86_push(x, &st, x->seg[X86_SS].selector);
        x86_push(x, &st, x->gpr[X86_RSP]);
    }
    x86_push(x, &st, pushed_flags(x, e));
    x86_push(x, &st, x->seg[X86_CS].selector);
    x86_push(x, &st, return_ip(x, e));
    if (e.has_error)
        x86_push(x, &st, e.error);
    x86_mark_accessed(x, &code);
    x86_shadow_enter(x, to, false, 0, next_linear(x, e));
    for (unsigned s = 0; s < N_X86_SEGS && vm86; s++)
        if (s != X86_CS && s != X86_SS)
            x->seg[s] = (struct x86_segment){ .rights = X86_AR_UNUSABLE };
    x->seg[X86_SS] = ss;
    x86_keep_sp(x, &st);
    enter_handler(x, &code, ip, !(type & 1));
}

static void deliver_long(struct x86_cpu *x, struct x86_event e)
{
    if (e.vector * 16u + 15 > x->idt.limit)
        fault_gate(x, X86_GP, e);
    uint64_t at = x->idt.base + e.vector * 16u;
    uint64_t low = x86_read(x, at, 8, X86_MMU_SYSTEM);
    uint64_t high = x86_read(x, at + 8, 8, X86_MMU_SYSTEM);
    unsigned type = bits(low, 40, 5), dpl = bits(low, 45, 2), ist = bits(low, 32, 3);
    if (type != X86_TYPE_INT32 && type != X86_TYPE_TRAP32)
        fault_gate(x, X86_GP, e);
    if (e.soft && dpl < x86_cpl(x))
        fault_gate(x, X86_GP, e);
    if (!(low >> 47 & 1))
        fault_gate(x, X86_NP, e);
    uint64_t ip = (low & 0xffff) | bits(low, 48, 16) << 16 | high << 32;
    struct x86_descriptor code = gate_code(x, (uint16_t)(low >> 16));
    unsigned to = code.selector & 3, cpl = x86_cpl(x);
    uint64_t sp = ist ? x86_ist_rsp(x, ist) : to != cpl ? x86_inner_rsp(x, to) : x->gpr[X86_RSP];
    if (!x86_is_canonical(x, ip))
        x86_fault_selector(x, X86_GP, 0);
    struct x86_stack st = { .sp = sp & ~(uint64_t)15,
                            .mask = UINT64_MAX,
                            .size = 8,
                            .mode = to < 3 ? X86_MMU_SYSTEM : X86_MMU_STACK };
    x86_push(x, &st, x->seg[X86_SS].selector);
    x86_push(x, &st, x->gpr[X86_RSP]);
    x86_push(x, &st, pushed_flags(x, e));
    x86_push(x, &st, x->seg[X86_CS].selector);
    x86_push(x, &st, return_ip(x, e));
    if (e.has_error)
        x86_push(x, &st, e.error);
    x86_mark_accessed(x, &code);
    x86_shadow_enter(x, to, true, ist, next_linear(x, e));
    if (to != cpl)
        x->seg[X86_SS] = (struct x86_segment){ .selector = (uint16_t)to,
                                               .rights = X86_AR_UNUSABLE | to << X86_AR_DPL_SHIFT };
    x->gpr[X86_RSP] = st.sp;
    enter_handler(x, &code, ip, !(type & 1));
}

static void log_event(const struct x86_cpu *x, struct x86_event e)
{
    const struct log *log = &x->cpu->vm->log;
    if (log_on(log, LOG_INT))
        log_print(log,
                  "int: cpu %u %s %#x error %#x at %04x:%016" PRIx64 " cpl %u cr2 %016" PRIx64 "\n",
                  x->cpu->index,
                  e.external ? "interrupt"
                  : e.soft   ? "int"
                             : "exception",
                  e.vector, e.error, x->seg[X86_CS].selector, x->pc, x86_cpl(x), x->cr2);
}

void x86_deliver(struct x86_cpu *x, struct x86_event e)
{
    bool known = x->pc_known;
    x->pc = x86_insn_pc(x);
    x->pc_known = true;
    x->delivering = e.vector;
    x->delivery_external = !e.soft;
    x->delivery_info = x86_event_info(e);
    x->stepping = false;
    x->shadow_left = 0;
    if (x->run_state == X86_HLT)
        x->run_state = X86_RUNNABLE;
    log_event(x, e);
    if (e.external)
        x->cpu->counts.interrupts++;
    else
        x->cpu->counts.exceptions++;
    if (!(x->cr0 & X86_CR0_PE))
        deliver_real(x, e);
    else if (x86_in_long_mode(x))
        deliver_long(x, e);
    else
        deliver_protected(x, e);
    x->delivering = -1;
    x->pc_known = known;
    x86_update_state_word(x);
    x86_track_target(x);
}

/* ---- debug exceptions (SDM 3-18.3.1) ------------------------------------------------------------------ */

static void deliver_debug(struct x86_cpu *x, uint64_t dr6)
{
    x->dr6 = (x->dr6 & ~(uint64_t)0xf) | dr6;
    x->dr7 &= ~X86_DR7_GD;
    if (x86_is_intercepted(x, X86_EXIT_EXCEPTION + X86_DB))
        x86_exit_guest(x, X86_EXIT_EXCEPTION + X86_DB, 0, 0);
    else
        x86_deliver(x, (struct x86_event){ .vector = X86_DB });
}

noreturn void x86_debug_fault(struct x86_cpu *x, uint64_t dr6)
{
    x->pc = x86_insn_pc(x);
    x->pc_known = true;
    deliver_debug(x, dr6);
    x->pc_known = false;
    tcg_leave(x->cpu);
}

/* ---- interrupts ----------------------------------------------------------------------------------------- */

bool x86_interrupt_is_due(const struct x86_cpu *x)
{
    return x86_virtual_is_due(x) || (x86_takes_interrupts(x) && x86_has_interrupt(x));
}

void x86_check_interrupts(struct x86_cpu *x)
{
    if (x86_interrupt_is_due(x))
        vcpu_kick(x->cpu);
}

void x86_hold_interrupts(struct x86_cpu *x, uint64_t pc, bool stack)
{
    x->shadow_pc = pc;
    x->shadow_left = stack ? X86_SHADOW_STACK : X86_SHADOW_STI;
}

bool x86_waits(struct vcpu *cpu)
{
    struct x86_cpu *x = x86_of(cpu);
    uint8_t state = x->run_state;
    return x->is_down || (state != X86_RUNNABLE && state != X86_SIPI_TAKEN);
}

/* In system management mode INIT waits for its end. A CPU that was never started has no place for SMIs. */
static void take_start_up(struct x86_cpu *x)
{
    if (x->events.in_smm)
        return;
    uint32_t was = atomic_fetch_and(&x->lines, ~(uint32_t)(X86_INIT | X86_SIPI));
    if (!(was & X86_INIT) && x->run_state != X86_INIT_TAKEN)
        return;
    x->deaf_lines = 0;
    if (was & X86_INIT) {
        if (x->run_state == X86_WAIT_INIT)
            atomic_fetch_and(&x->lines, ~(uint32_t)X86_SMI);
        x86_init_signal(x->cpu);
    }
    if (was & X86_SIPI)
        x86_take_sipi(x->cpu, (uint8_t)x->sipi);
    x86_paging_changed(x);
    x86_resume(x->cpu);
}

/* What was on its way when the state was saved or another engine stopped. */
static bool take_injected(struct x86_cpu *x)
{
    struct x86_events *v = &x->events;
    struct x86_event e = { 0 };
    if (v->exception_injected || v->exception_pending)
        e = (struct x86_event){ .vector = v->exception,
                                .has_error = v->exception_has_error,
                                .error = v->exception_error };
    else if (v->nmi_injected)
        e = (struct x86_event){ .vector = X86_NMI_VECTOR, .external = true };
    else if (v->interrupt_injected)
        e = (struct x86_event){ .vector = v->interrupt, .external = !v->interrupt_soft };
    else
        return false;
    v->exception_injected = v->exception_pending = v->nmi_injected = v->interrupt_injected = false;
    x86_deliver(x, e);
    return true;
}

static bool take_nmi(struct x86_cpu *x)
{
    if (x->events.nmi_pending)
        atomic_fetch_or(&x->lines, X86_NMI);
    x->events.nmi_pending = false;
    if (x->events.nmi_masked || !(atomic_load(&x->lines) & X86_NMI))
        return false;
    atomic_fetch_and(&x->lines, ~(uint32_t)X86_NMI);
    x->events.nmi_masked = true;
    x86_deliver(x, (struct x86_event){ .vector = X86_NMI_VECTOR, .external = true });
    return true;
}

/* What was on its way comes first: then nothing of it needs to be saved. */
static bool take_smi(struct x86_cpu *x)
{
    if (x->events.smi_pending) {
        atomic_fetch_or(&x->lines, X86_SMI);
        x->events.smi_pending = false;
    }
    if (x->events.in_smm || !(atomic_load(&x->lines) & X86_SMI))
        return false;
    atomic_fetch_and(&x->lines, ~(uint32_t)X86_SMI);
    x86_enter_smm(x);
    return true;
}

/* SMIs and NMIs that are let through, but not behind STI or MOV SS: look again one instruction later. */
static bool take_unmaskable(struct x86_cpu *x, bool held_back)
{
    uint32_t lines = atomic_load(&x->lines);
    bool smi = (lines & X86_SMI || x->events.smi_pending) && !x->events.in_smm && !x->svm.in_guest;
    bool nmi = (lines & X86_NMI || x->events.nmi_pending) && !x->events.nmi_masked &&
               !x86_is_intercepted(x, X86_EXIT_NMI);
    if (held_back && (smi || nmi)) {
        x->shadow_left |= X86_SHADOW_WANTED;
        x86_update_state_word(x);
        return false;
    }
    return (smi && take_smi(x)) || (nmi && take_nmi(x));
}

static bool take_maskable(struct x86_cpu *x, bool held_back)
{
    if (x86_is_intercepted(x, X86_EXIT_INTR)) /* one that came since the guest was looked at */
        return false;
    if (!x86_takes_interrupts(x) || !x->apic || !x86_has_interrupt(x))
        return false;
    if (held_back) {
        x->shadow_left |= X86_SHADOW_WANTED;
        x86_update_state_word(x);
        return false;
    }
    int vector = x->apic->acknowledge(x->apic_opaque);
    if (vector < 0)
        return false;
    x86_deliver(x, (struct x86_event){ .vector = (uint8_t)vector, .external = true });
    return true;
}

static bool take_step(struct x86_cpu *x, bool held_back)
{
    uint64_t dr6 = x->step_dr6 | (x->stepping ? X86_DR6_BS : 0);
    if (!dr6 || held_back)
        return false;
    x->step_dr6 = 0;
    x->stepping = false;
    deliver_debug(x, dr6);
    return true;
}

/* Between two instructions, SDM 3-6.9. */
bool x86_take_interrupt(struct vcpu *cpu)
{
    struct x86_cpu *x = x86_of(cpu);
    if (x->is_down)
        return false;
    uint32_t lines = atomic_load(&x->lines);
    bool to_host = x86_is_intercepted(x, X86_EXIT_INIT);
    if (lines & (X86_INIT | X86_SIPI) && x->svm.gif && !to_host)
        take_start_up(x);
    if (x->run_state == X86_WAIT_INIT || x->run_state == X86_INIT_TAKEN)
        return false;
    bool held_back = x->shadow_left && x->pc == x->shadow_pc;
    if (!held_back)
        x->shadow_left = 0;
    x->pc_known = true;
    bool open = !cpu->holds_interrupts || x->run_state != X86_RUNNABLE; /* else a debugger steps */
    bool taken =
        take_injected(x) || take_step(x, held_back && x->shadow_left & X86_SHADOW_STACK) ||
        (x->svm.in_guest && x86_take_guest_event(x, held_back)) ||
        (open && x->svm.gif && (take_unmaskable(x, held_back) || take_maskable(x, held_back)));
    x->pc_known = false;
    return taken;
}
