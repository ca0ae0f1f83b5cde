/* Lock-step finds a bug planted in one of two engines, at the instruction that shows it, and none where there is
 * none. The guests are a few instructions of RISC-V that end in wfi with all interrupts off. */
#include "core/accel.h"
#include "core/device.h"
#include "core/error.h"
#include "core/vm.h"
#include "target/riscv/riscv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define RAM    ((uint64_t)0x80000000)
#define DEVICE ((uint64_t)0x10000000)

/* ---- engines with a bug: what the first ones do wrong shows at `add`, what the next does at `sd` ------------- */

static bool is_behind(const struct vcpu *cpu, uint64_t pc)
{
    return riscv_of((struct vcpu *)cpu)->pc == pc;
}

static enum vcpu_exit step_wrong_sum(struct vcpu *cpu)
{
    enum vcpu_exit exit = tcg_accel.step(cpu);
    if (is_behind(cpu, RAM + 12))
        riscv_of(cpu)->x[7]++;
    return exit;
}

static enum vcpu_exit step_wrong_store(struct vcpu *cpu)
{
    enum vcpu_exit exit = tcg_accel.step(cpu);
    if (is_behind(cpu, RAM + 20))
        mem_write(cpu->vm, RAM + 0x800, "?", 1);
    return exit;
}

static enum vcpu_exit step_extra_read(struct vcpu *cpu)
{
    uint64_t v;
    enum vcpu_exit exit = tcg_accel.step(cpu);
    if (is_behind(cpu, RAM + 8))
        mem_io_read(cpu->vm, DEVICE, 4, &v);
    return exit;
}

/* Engines that find no code themselves but go where the leader went; the second one adds wrongly. */
static enum vcpu_exit step_behind(struct vcpu *cpu)
{
    struct vcpu_code code;
    assert_non_null(cpu->leader);
    return tcg_accel.step_prepare(cpu, 1, &code) > 0 ? tcg_accel.step(cpu) : EXIT_KICKED;
}

static enum vcpu_exit step_behind_wrongly(struct vcpu *cpu)
{
    enum vcpu_exit exit = step_behind(cpu);
    assert_true(is_behind(cpu, riscv_of(cpu->leader)->pc));
    if (is_behind(cpu, RAM + 12))
        riscv_of(cpu)->x[7]++;
    return exit;
}

static const char *const nothing[] = { NULL };
static const char *const registers[] = { "x", NULL };
static const struct accel no_steps = { .name = "kvm" };
static struct accel broken[3], followers[3];
const struct accel *const accels[] = { &tcg_accel, &no_steps,     &broken[0],    &broken[1],
                                       &broken[2], &followers[0], &followers[1], &followers[2] };
const size_t n_accels = ARRAY_LEN(accels);

static int make_broken(void **unused)
{
    static const struct {
        const char *name;
        enum vcpu_exit (*step)(struct vcpu *cpu);
    } bugs[] = { { "sum", step_wrong_sum },
                 { "store", step_wrong_store },
                 { "read", step_extra_read } };
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(bugs); i++) {
        broken[i] = tcg_accel;
        broken[i].name = bugs[i].name;
        broken[i].step = bugs[i].step;
    }
    static const char *const names[] = { "behind", "wrong", "own" };
    for (size_t i = 0; i < ARRAY_LEN(followers); i++) {
        followers[i] = tcg_accel;
        followers[i].name = names[i];
        followers[i].can_step = false;
        followers[i].can_follow = true;
        followers[i].own_fields = i == 2 ? registers : nothing;
        followers[i].step = i ? step_behind_wrongly : step_behind;
    }
    return 0;
}

/* ---- the guest ------------------------------------------------------------------------------------------------ */

enum {
    ADDI_X5_7 = 0x00700293,
    ADDI_X6_8 = 0x00800313,
    ADD_X7 = 0x006283b3,   /* add x7, x5, x6 */
    AUIPC_X8 = 0x00000417, /* x8 = RAM + 12 */
    SD_X7 = 0x7e743a23,    /* sd x7, 0x7f4(x8): RAM + 0x800 */
    LUI_X9 = 0x100004b7,   /* x9 = DEVICE */
    LW_X10 = 0x0004a503,   /* lw x10, 0(x9): another value each time */
    SW_X10 = 0x00a4a223,   /* sw x10, 4(x9): writes memory at RAM + 0x808 */
    LD_X11 = 0x7fc43583,   /* ld x11, 0x7fc(x8): RAM + 0x808 */
    RDTIME_X12 = 0xc0102673,
    BNE_BACK = 0xfe029ce3, /* bnez x5, -8 */
    ADDI_X5_DOWN = 0xfff28293,
    WFI = 0x10500073,
};
static const uint32_t code[] = { ADDI_X5_7,    ADDI_X6_8, ADD_X7, AUIPC_X8, SD_X7,
                                 LUI_X9,       LW_X10,    SW_X10, LD_X11,   RDTIME_X12,
                                 ADDI_X5_DOWN, BNE_BACK,  WFI };

struct world {
    struct vm *vm;
    struct vcpu *cpu;
    uint32_t reads;
    uint64_t writes;
    char report[4096];
};

static uint64_t device_read(void *opaque, uint64_t off, unsigned size)
{
    struct world *w = opaque;
    return off ? 0 : ++w->reads * 1000;
}

static void device_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct world *w = opaque;
    w->writes++;
    mem_write(w->vm, RAM + 0x808, &value, sizeof(value));
}

static const struct mmio_ops device_ops = { .read = device_read, .write = device_write };

static struct error *world_new(struct world *w, const char *options)
{
    struct mem_region *ram;
    *w = (struct world){ 0 };
    assert_null(vm_new(&w->vm));
    w->vm->accel = &lockstep_accel;
    w->vm->target = &riscv64_target;
    assert_null(riscv64_target.cpu_model(w->vm, "max"));
    assert_null(mem_add_ram(w->vm, "ram", 64 * KIB, false, &ram));
    struct error *err = lockstep_accel.vm_create(w->vm, options);
    if (err)
        return err;
    mem_map(ram, RAM, 0);
    mem_map(mem_add_mmio(w->vm, "device", 4096, &device_ops, w), DEVICE, 0);
    return vcpu_new(w->vm, 0, &w->cpu);
}

static void place(void *opaque)
{
    struct world *w = opaque;
    assert_true(mem_write(w->vm, RAM, code, sizeof(code)));
    riscv_place(w->cpu, RAM, 0, 0);
}

static void run(struct world *w, const char *options)
{
    assert_null(world_new(w, options));
    FILE *log = tmpfile();
    w->vm->log.fd = dup(fileno(log));
    vm_on_reset(w->vm, place, w);
    vm_run(w->vm);
    rewind(log);
    w->report[fread(w->report, 1, sizeof(w->report) - 1, log)] = 0;
    fclose(log);
}

static void assert_reported(const struct world *w, const char *text)
{
    if (!strstr(w->report, text))
        fail_msg("no '%s' in:\n%s", text, w->report);
}

/* ---- facts ------------------------------------------------------------------------------------------------------ */

static void equal_engines_do_not_differ(void **unused)
{
    static const char *const pairs[] = { "", "step=insn", "a=tcg:backend=interp,b=tcg",
                                         "a=tcg:unit-insns=5,b=tcg:backend=interp" };
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct world w;
        run(&w, pairs[i]);
        assert_string_equal(w.report, "");
        assert_int_equal(w.vm->verdict, VERDICT_ALL_HALTED);
        assert_int_equal(riscv_of(w.cpu)->x[7], 15);
        assert_int_equal(riscv_of(w.cpu)->x[5], 0);
        vm_free(w.vm);
    }
}

static void devices_are_reached_once(void **unused)
{
    struct world w;
    (void)unused;
    run(&w, "");
    assert_int_equal(w.reads, 1);
    assert_int_equal(w.writes, 1);
    assert_int_equal(riscv_of(w.cpu)->x[11], 1000);
    vm_free(w.vm);
}

static void wrong_register_is_found_at_its_instruction(void **unused)
{
    struct world w;
    (void)unused;
    run(&w, "b=sum,step=insn");
    assert_int_equal(w.vm->verdict, VERDICT_ENGINES_DIFFER);
    assert_int_equal(w.vm->exit_code, 36);
    assert_reported(&w, "differ after step 2, 1 instructions at 0000000080000008");
    assert_reported(&w, "  x[7]: a has 0xf, b has 0x10\n");
    assert_int_equal(riscv_of(w.cpu)->pc, RAM + 12);
    vm_free(w.vm);
}

static void wrong_store_is_found_at_its_instruction(void **unused)
{
    static const char *const pairs[] = { "b=store,step=insn", "a=store,b=tcg,step=insn" };
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct world w;
        run(&w, pairs[i]);
        assert_int_equal(w.vm->verdict, VERDICT_ENGINES_DIFFER);
        assert_reported(&w, "1 instructions at 0000000080000010");
        assert_reported(&w, i ? "at 0x800: a has 3f, b has 0f" : "at 0x800: a has 0f, b has 3f");
        vm_free(w.vm);
    }
}

static void access_of_one_is_found_at_its_instruction(void **unused)
{
    struct world w;
    (void)unused;
    run(&w, "b=read,step=insn");
    assert_int_equal(w.vm->verdict, VERDICT_ENGINES_DIFFER);
    assert_reported(&w, "1 instructions at 0000000080000004");
    assert_reported(&w, "only b does this: read of device memory, 4 bytes at 0x10000000");
    vm_free(w.vm);
}

static void a_follower_is_compared_but_for_what_is_its_own(void **unused)
{
    static const struct {
        const char *options;
        bool differs;
    } cases[] = { { "b=behind", false }, { "b=wrong,step=insn", true } };
    struct world w;
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        run(&w, cases[i].options);
        assert_int_equal(w.vm->verdict,
                         cases[i].differs ? VERDICT_ENGINES_DIFFER : VERDICT_ALL_HALTED);
        if (cases[i].differs)
            assert_reported(&w, "  x[7]: a has 0xf, b has 0x10\n");
        vm_free(w.vm);
    }
    run(&w, "b=own"); /* what it stores is compared all the same */
    assert_int_equal(w.vm->verdict, VERDICT_ENGINES_DIFFER);
    assert_reported(&w, "1 instructions at 0000000080000010");
    vm_free(w.vm);
}

static void others_are_refused(void **unused)
{
    static const struct {
        const char *options, *why;
    } bad[] = { { "a=kvm", "cannot execute single steps" },
                { "a=behind", "that another could follow" },
                { "b=behind,step=unit", "by instructions only" },
                { "b=qemu", "there is no engine of this name" },
                { "step=3", "unit or insn is expected" },
                { "c=tcg", "c" },
                { "a=tcg:backend=x", "backend=x" } };
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct world w;
        struct error *err = world_new(&w, bad[i].options);
        assert_non_null(err);
        assert_non_null(strstr(error_text(err), bad[i].why));
        error_free(err);
        vm_free(w.vm);
    }
}

static void second_cpu_is_refused(void **unused)
{
    struct world w;
    struct vcpu *second;
    (void)unused;
    assert_null(world_new(&w, NULL));
    struct error *err = vcpu_new(w.vm, 1, &second);
    assert_non_null(err);
    assert_non_null(strstr(error_text(err), "-smp 1"));
    error_free(err);
    vm_free(w.vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_engines_do_not_differ),
        cmocka_unit_test(devices_are_reached_once),
        cmocka_unit_test(wrong_register_is_found_at_its_instruction),
        cmocka_unit_test(wrong_store_is_found_at_its_instruction),
        cmocka_unit_test(access_of_one_is_found_at_its_instruction),
        cmocka_unit_test(a_follower_is_compared_but_for_what_is_its_own),
        cmocka_unit_test(others_are_refused),
        cmocka_unit_test(second_cpu_is_refused),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, make_broken, NULL);
}
