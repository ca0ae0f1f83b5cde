/* When the second tier's thread works, and when it lets the host sleep. The guest is RISC-V in M-mode. */
#include "core/accel.h"
#include "core/error.h"
#include "core/vm.h"
#include "target/riscv/riscv.h"
#include "tcg/tcg.h"

#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define RAM  ((uint64_t)0x80000000)
#define CODE (RAM + 0x4000)
enum { RAM_SIZE = 4 << 20, A2 = 12, PATIENCE_S = 60 };

/* 1: addi a3, a3, 3; addi a2, a2, -1; bnez a2, 1b; wfi */
static const uint32_t loop[] = { 0x00368693, 0xfff60613, 0xfe061ce3, 0x10500073 };

struct machine {
    struct vm *vm;
    struct vcpu *cpu;
    struct riscv_cpu *r;
};

static void must(struct error *err)
{
    if (err)
        fail_msg("%s", error_text(err));
}

static struct machine machine_new(void)
{
    struct machine m;
    struct mem_region *ram;
    must(vm_new(&m.vm));
    m.vm->accel = &tcg_accel;
    m.vm->target = &riscv64_target;
    must(riscv64_target.cpu_model(m.vm, "max"));
    must(tcg_accel.vm_create(m.vm, "tier2=on"));
    must(mem_add_ram(m.vm, "ram", RAM_SIZE, false, &ram));
    mem_map(ram, RAM, 0);
    must(vcpu_new(m.vm, 0, &m.cpu));
    m.cpu->requests = 0;
    m.r = m.cpu->arch;
    riscv64_target.vcpu_reset(m.cpu);
    for (unsigned k = 0; k < 2; k++)
        assert_true(mem_write(m.vm, CODE + k * 0x1000, loop, sizeof(loop)));
    return m;
}

/* So many turns of the loop at `pc`, until it halts or is asked to stop. */
static void run(struct machine *m, uint64_t pc, uint64_t turns)
{
    m->r->pc = pc;
    m->r->x[A2] = turns;
    tcg_accel.set_state(m->cpu);
    enum vcpu_exit e = EXIT_KICKED;
    while (e == EXIT_KICKED && !atomic_load(&m->cpu->requests))
        e = tcg_accel.run(m->cpu);
    assert_int_not_equal(e, EXIT_DEBUG);
}

static void keep_looks(void *opaque, const char *name, double value)
{
    if (!strcmp(name, "tcg.tier2_looks"))
        *(double *)opaque = value;
}

static unsigned looks(struct machine *m)
{
    double n = -1;
    tcg_accel.stats(m->vm, keep_looks, &n);
    assert_true(n >= 0);
    return (unsigned)n;
}

static bool has_hot_unit(struct machine *m)
{
    struct tcg *tcg = tcg_of_vm(m->vm);
    pthread_mutex_lock(&tcg->lock);
    bool has = tcg->counts.hot_units;
    pthread_mutex_unlock(&tcg->lock);
    return has;
}

static void pause_ms(unsigned ms)
{
    const struct timespec t = { ms / 1000, ms % 1000 * 1000000l };
    nanosleep(&t, NULL);
}

/* Stops the vCPU when something got hot, or when nobody waits any longer. */
static void *watch(void *opaque)
{
    struct machine *m = opaque;
    for (unsigned k = 0; k < PATIENCE_S * 100 && !has_hot_unit(m); k++)
        pause_ms(10);
    atomic_fetch_or(&m->cpu->requests, VCPU_REQ_SYNC);
    tcg_accel.kick(m->cpu);
    return NULL;
}

/* Nothing interrupts it but the thread. */
static void compute_until_hot(struct machine *m, uint64_t pc)
{
    pthread_t watcher;
    assert_int_equal(pthread_create(&watcher, NULL, watch, m), 0);
    run(m, pc, UINT64_MAX);
    pthread_join(watcher, NULL);
    atomic_store(&m->cpu->requests, 0);
    assert_true(has_hot_unit(m));
}

/* A guest that does nothing but tick: a few instructions every other millisecond. */
static void tick(struct machine *m, unsigned n)
{
    for (unsigned k = 0; k < n; k++) {
        run(m, CODE + 0x1000, 10);
        pause_ms(2);
    }
}

static void who_computes_gets_hot(void **unused)
{
    struct machine m = machine_new();
    compute_until_hot(&m, CODE);
    assert_true(looks(&m) > 0);
    vm_free(m.vm);
}

static void ticks_leave_the_thread_alone(void **unused)
{
    enum { TICKS = 300 };
    struct machine m = machine_new();
    tick(&m, 20); /* it starts with the first */
    unsigned before = looks(&m);
    tick(&m, TICKS);
    assert_in_range(looks(&m) - before, 0, TICKS / 3); /* a busy host makes a tick look long */
    vm_free(m.vm);
}

static void who_computes_after_ticking_is_found_without_an_interrupt(void **unused)
{
    struct machine m = machine_new();
    tick(&m, 100);
    compute_until_hot(&m, CODE);
    vm_free(m.vm);
}

static void who_computes_after_a_long_pause_is_found(void **unused)
{
    struct machine m = machine_new();
    tick(&m, 2);
    pause_ms(700); /* the thread is asleep by then */
    unsigned before = looks(&m);
    pause_ms(300);
    assert_int_equal(looks(&m), before);
    compute_until_hot(&m, CODE);
    vm_free(m.vm);
}

/* ---- without a thread --------------------------------------------------------------------------------- */

static bool refuses;
static unsigned n_refused;

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
                   void *opaque)
{
    typedef int fn(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (refuses) {
        n_refused++;
        return EAGAIN;
    }
    return ((fn *)dlsym(RTLD_NEXT, "pthread_create"))(thread, attr, start, opaque);
}

static void a_thread_that_does_not_start_is_told_once(void **unused)
{
    struct machine m = machine_new();
    char text[1024] = "";
    FILE *to = tmpfile();
    int out = dup(2);
    assert_non_null(to);
    dup2(fileno(to), 2);
    refuses = true;
    for (unsigned k = 0; k < 20; k++)
        run(&m, CODE, 10);
    refuses = false;
    dup2(out, 2);
    close(out);
    rewind(to);
    (void)!fread(text, 1, sizeof(text) - 1, to);
    fclose(to);
    assert_int_equal(n_refused, 1);
    assert_non_null(strstr(text, "no thread for the second tier"));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    vm_free(m.vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_computes_gets_hot),
        cmocka_unit_test(ticks_leave_the_thread_alone),
        cmocka_unit_test(who_computes_after_ticking_is_found_without_an_interrupt),
        cmocka_unit_test(who_computes_after_a_long_pause_is_found),
        cmocka_unit_test(a_thread_that_does_not_start_is_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
