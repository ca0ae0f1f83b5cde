/* Virtual CPUs and the VM's run control, with an engine that only pretends. */
#include "core/vcpu.h"

#include "board.h"
#include "core/backends.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/loop.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* Runs "instructions" until it is kicked. */
static enum vcpu_exit run_until_kicked(struct vcpu *cpu)
{
    while (!board_cpu(cpu)->kicked)
        board_cpu(cpu)->pc++;
    return EXIT_KICKED;
}

static void stop_loop(void *opaque)
{
    struct vm *vm = opaque;
    loop_quit(vm->loop);
}

static void loop_until_posted(struct vm *vm)
{
    loop_post(vm->loop, stop_loop, vm);
    loop_run(vm->loop);
}

static void a_paused_vm_stands_and_its_clock_too(void **unused)
{
    struct board *b = board_new();
    b->run = run_until_kicked;
    struct vcpu *cpu[3];
    for (int i = 0; i < 3; i++)
        cpu[i] = board_add_vcpu(b);
    /* Twenty rounds, and more if the host is so busy that none of them saw an instruction. */
    for (int round = 0; round < 20 || (round < 20000 && !board_cpu(cpu[0])->pc); round++) {
        vm_start(b->vm);
        usleep(200);
        vm_pause(b->vm);
        uint64_t pc[3], now = vm_now_ns(b->vm);
        for (int i = 0; i < 3; i++) {
            assert_true(cpu[i]->stopped);
            pc[i] = board_cpu(cpu[i])->pc;
        }
        usleep(200);
        for (int i = 0; i < 3; i++)
            assert_int_equal(board_cpu(cpu[i])->pc, pc[i]);
        assert_int_equal(vm_now_ns(b->vm), now);
    }
    assert_true(board_cpu(cpu[0])->pc > 0);
    board_free(b);
}

static void a_sleeping_guest_stands_while_the_clock_goes_on(void **unused)
{
    struct board *b = board_new();
    struct vm *vm = b->vm;
    b->run = run_until_kicked;
    struct vcpu *cpu = board_add_vcpu(b);
    vm_start(vm);
    vm_request_suspend(vm); /* no board for that */
    loop_until_posted(vm);
    assert_false(vm->suspended);
    vm->can_suspend = true;
    vm_request_suspend(vm);
    vm_request_suspend(vm);
    loop_until_posted(vm);
    assert_true(vm->suspended && cpu->stopped);
    assert_int_equal(vm->state, RUN_RUNNING);
    vm_pause(vm); /* the user stops it, and lets it go on sleeping */
    uint64_t now = vm_now_ns(vm);
    vm_start(vm);
    usleep(1000);
    assert_true(vm->suspended && cpu->stopped);
    assert_true(vm_now_ns(vm) > now);
    board_cpu(cpu)->pc = 0;
    vm_request_wake(vm);
    loop_until_posted(vm);
    assert_false(vm->suspended);
    for (int i = 0; i < 20000 && !board_cpu(cpu)->pc; i++)
        usleep(200);
    vm_pause(vm);
    assert_true(board_cpu(cpu)->pc > 0);
    board_free(b);
}

/* Halts; each interrupt is counted in x and taken back. */
static enum vcpu_exit count_interrupts(struct vcpu *cpu)
{
    struct board_cpu *c = board_cpu(cpu);
    if (atomic_exchange(&c->interrupt, false)) {
        c->x++;
        return EXIT_KICKED;
    }
    return EXIT_HALTED;
}

struct ticket {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done;
    uint64_t seen;
};

static void read_x(struct vcpu *cpu, void *opaque)
{
    struct ticket *t = opaque;
    pthread_mutex_lock(&t->lock);
    t->seen = board_cpu(cpu)->x;
    t->is_done = true;
    pthread_cond_signal(&t->done);
    pthread_mutex_unlock(&t->lock);
}

static uint64_t x_of(struct vcpu *cpu)
{
    struct ticket t = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0 };
    vcpu_post(cpu, read_x, &t);
    pthread_mutex_lock(&t.lock);
    while (!t.is_done)
        pthread_cond_wait(&t.done, &t.lock);
    pthread_mutex_unlock(&t.lock);
    return t.seen;
}

static void an_interrupt_wakes_a_halted_vcpu(void **unused)
{
    struct board *b = board_new();
    b->run = count_interrupts;
    struct vcpu *cpu = board_add_vcpu(b);
    struct timer *t = timer_new(b->vm, stop_loop, b->vm);
    timer_set(t, UINT64_MAX); /* something may still come: no verdict */
    vm_start(b->vm);
    for (uint64_t i = 1; i <= 500; i++) {
        board_cpu(cpu)->interrupt = true;
        vcpu_interrupt(cpu);
        while (board_cpu(cpu)->interrupt)
            sched_yield();
        assert_int_equal(x_of(cpu), i);
    }
    vm_pause(b->vm);
    assert_true(cpu->counts.runs >= 500);
    timer_free(t);
    board_free(b);
}

/* Halts although there is work; x counts how often. */
static enum vcpu_exit nap_again(struct vcpu *cpu)
{
    board_cpu(cpu)->interrupt = true;
    __atomic_fetch_add(&board_cpu(cpu)->x, 1, __ATOMIC_RELAXED);
    cpu->nap_ns = cpu->index ? NS_PER_S / 1000 : 3600 * (uint64_t)NS_PER_S;
    return EXIT_HALTED;
}

static void wait_for_naps(struct vcpu *cpu, uint64_t n)
{
    while (__atomic_load_n(&board_cpu(cpu)->x, __ATOMIC_RELAXED) < n)
        sched_yield();
}

static void a_nap_lasts_its_time_or_until_something_new_comes(void **unused)
{
    struct board *b = board_new();
    b->run = nap_again;
    struct vcpu *long_naps = board_add_vcpu(b), *short_naps = board_add_vcpu(b);
    vm_start(b->vm);
    wait_for_naps(short_naps, 3);
    wait_for_naps(long_naps, 1);
    usleep(2000);
    assert_int_equal(__atomic_load_n(&board_cpu(long_naps)->x, __ATOMIC_RELAXED), 1);
    vcpu_interrupt(long_naps);
    wait_for_naps(long_naps, 2);
    vm_pause(b->vm);
    assert_true(__atomic_load_n(&board_cpu(long_naps)->x, __ATOMIC_RELAXED) <= 3);
    board_free(b);
}

static void *interrupt_often(void *opaque)
{
    struct vcpu *cpu = opaque;
    for (int i = 0; i < 5000; i++) {
        board_cpu(cpu)->interrupt = true;
        vcpu_interrupt(cpu);
    }
    return NULL;
}

static void no_interrupt_is_lost_between_threads(void **unused)
{
    struct board *b = board_new();
    b->run = count_interrupts;
    struct vcpu *cpu = board_add_vcpu(b);
    struct timer *t = timer_new(b->vm, stop_loop, b->vm);
    pthread_t threads[3];
    timer_set(t, UINT64_MAX);
    vm_start(b->vm);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, interrupt_often, cpu), 0);
    for (int i = 0; i < 20; i++) {
        vm_pause(b->vm);
        vm_start(b->vm);
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    while (board_cpu(cpu)->interrupt) /* hangs if the last one was lost */
        sched_yield();
    vm_pause(b->vm);
    timer_free(t);
    board_free(b);
}

static void work_runs_on_a_vcpu_that_runs_halts_or_stands(void **unused)
{
    struct board *b = board_new();
    struct vcpu *cpu = board_add_vcpu(b);
    struct timer *t = timer_new(b->vm, stop_loop, b->vm);
    timer_set(t, UINT64_MAX);
    vm_start(b->vm); /* halts */
    assert_int_equal(x_of(cpu), 0);
    vm_pause(b->vm);
    board_cpu(cpu)->x = 5;
    assert_int_equal(x_of(cpu), 5);
    b->run = run_until_kicked;
    cpu->halted = false;
    vm_start(b->vm);
    assert_int_equal(x_of(cpu), 5);
    timer_free(t);
    board_free(b);
}

static void a_vcpu_without_power_waits_for_it(void **unused)
{
    struct board *b = board_new();
    b->run = count_interrupts;
    struct vcpu *cpu = board_add_vcpu(b);
    struct timer *t = timer_new(b->vm, stop_loop, b->vm);
    timer_set(t, UINT64_MAX);
    vm_reset(b->vm);
    vcpu_set_powered(cpu, false);
    vm_start(b->vm);
    board_cpu(cpu)->interrupt = true;
    vcpu_interrupt(cpu);
    usleep(2000);
    assert_true(board_cpu(cpu)->interrupt);
    vcpu_set_powered(cpu, true);
    while (board_cpu(cpu)->interrupt)
        sched_yield();
    timer_free(t);
    board_free(b);
}

/* ---- the map changes while vCPUs run -------------------------------------------------------- */

static uint64_t read_zero(void *opaque, uint64_t off, unsigned size)
{
    return *(uint64_t *)opaque;
}

static void write_nothing(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
}

static const struct mmio_ops plain_ops = { .read = read_zero, .write = write_nothing };

static enum vcpu_exit touch_memory(struct vcpu *cpu)
{
    uint64_t v = 0;
    while (!board_cpu(cpu)->kicked) {
        if (mem_io_read(cpu->vm, 0x1000, 4, &v)) {
            if (v != 0x55)
                abort();
        }
        mem_read(cpu->vm, BOARD_RAM + 64, &v, 8);
        mem_write(cpu->vm, BOARD_RAM + 128 + 8 * cpu->index, &v, 8);
    }
    return EXIT_KICKED;
}

static void a_region_is_left_alone_once_it_is_unmapped(void **unused)
{
    struct board *b = board_new();
    b->run = touch_memory;
    for (int i = 0; i < 3; i++)
        board_add_vcpu(b);
    vm_start(b->vm);
    for (int i = 0; i < 300; i++) {
        uint64_t *answer = malloc(sizeof(*answer));
        *answer = 0x55;
        struct mem_region *r = mem_add_mmio(b->vm, "p", 0x1000, &plain_ops, answer);
        mem_map(r, 0x1000, 0);
        mem_unmap(r);
        free(answer); /* the address sanitizer sees whoever is late */
        mem_free_region(r);
    }
    board_free(b);
}

/* Each vCPU moves a region of its own, as a guest that sizes BARs on two CPUs does. */
static enum vcpu_exit move_regions(struct vcpu *cpu)
{
    struct board *b = cpu->vm->machine;
    struct mem_region **regions = b->opaque;
    struct mem_region *r = regions[cpu->index];
    gpa at = 0x100000 * (gpa)(cpu->index + 1);
    for (int i = 0; i < 100; i++) {
        mem_map(r, at, 0);
        uint64_t v;
        if (!mem_io_read(cpu->vm, at, 4, &v) || v != cpu->index)
            abort();
        mem_unmap(r);
    }
    board_cpu(cpu)->x = 1;
    vm_request_end(cpu->vm, VERDICT_QUIT, 0, NULL);
    return EXIT_SHUTDOWN;
}

static void vcpus_may_change_the_map_at_the_same_time(void **unused)
{
    struct board *b = board_new();
    uint64_t answers[4] = { 0, 1, 2, 3 };
    struct mem_region *regions[4];
    b->run = move_regions;
    b->opaque = regions;
    for (int i = 0; i < 4; i++) {
        board_add_vcpu(b);
        regions[i] = mem_add_mmio(b->vm, "p", 0x1000, &plain_ops, &answers[i]);
    }
    assert_int_equal(vm_run(b->vm), 0);
    for (int i = 0; i < 4; i++)
        assert_true(b->vm->vcpus[i]->stopped);
    board_free(b);
}

/* ---- verdicts ------------------------------------------------------------------------------- */

static enum vcpu_exit power_off(struct vcpu *cpu)
{
    vm_request_end(cpu->vm, VERDICT_GUEST_EXIT, 42, "test device");
    vm_request_end(cpu->vm, VERDICT_POWERED_OFF, 0, NULL); /* too late */
    return run_until_kicked(cpu);
}

static void the_first_verdict_ends_the_run(void **unused)
{
    struct board *b = board_new();
    b->run = power_off;
    board_add_vcpu(b);
    assert_int_equal(vm_run(b->vm), 42);
    assert_int_equal(b->vm->verdict, VERDICT_GUEST_EXIT);
    assert_string_equal(b->vm->verdict_detail, "test device");
    assert_int_equal(b->vm->state, RUN_ENDED);
    board_free(b);
}

static enum vcpu_exit ask_for_reset(struct vcpu *cpu)
{
    struct board *b = cpu->vm->machine;
    vm_request_reset(cpu->vm);
    ++*(_Atomic unsigned *)b->opaque;
    return run_until_kicked(cpu);
}

static void count_reset(void *opaque)
{
    ++*(unsigned *)opaque;
}

static void a_guest_that_only_resets_is_found_out(void **unused)
{
    struct board *b = board_new();
    _Atomic unsigned asked = 0;
    unsigned resets = 0;
    b->run = ask_for_reset;
    b->opaque = (void *)&asked;
    board_add_vcpu(b);
    vm_on_reset(b->vm, count_reset, &resets);
    assert_int_equal(vm_run(b->vm), verdict_infos[VERDICT_RESET_LOOP].exit_code);
    assert_in_range(resets, 32, 65);
    board_free(b);
}

static void no_reboot_makes_a_reset_the_end(void **unused)
{
    struct board *b = board_new();
    _Atomic unsigned asked = 0;
    b->run = ask_for_reset;
    b->opaque = (void *)&asked;
    b->vm->no_reboot = true;
    board_add_vcpu(b);
    assert_int_equal(vm_run(b->vm), 0);
    assert_int_equal(b->vm->verdict, VERDICT_RESET);
    board_free(b);
}

static void nothing_to_wake_for_is_a_verdict(void **unused)
{
    struct board *b = board_new(); /* halts at once; no timer, no back end */
    board_add_vcpu(b);
    board_add_vcpu(b);
    assert_int_equal(vm_run(b->vm), verdict_infos[VERDICT_ALL_HALTED].exit_code);
    board_free(b);
}

static void deaf_vcpus_are_halted_for_ever_whatever_may_come(void **unused)
{
    struct board *b = board_new();
    struct timer *t = timer_new(b->vm, stop_loop, b->vm);
    timer_set(t, UINT64_MAX);
    assert_null(backend_add(b->vm, BACKEND_OBJECT, "x", b, NULL));
    board_cpu(board_add_vcpu(b))->deaf = true;
    assert_int_equal(vm_run(b->vm), verdict_infos[VERDICT_ALL_HALTED].exit_code);
    timer_free(t);
    board_free(b);
}

static void a_pending_timer_is_reason_enough_to_wait(void **unused)
{
    struct board *b = board_new();
    struct timer *t = timer_new(b->vm, stop_loop, b->vm);
    board_add_vcpu(b);
    timer_set(t, NS_PER_S / 50);
    vm_run(b->vm); /* the timer ends it */
    assert_int_equal(b->vm->verdict, VERDICT_NONE);
    timer_free(t);
    board_free(b);
}

static void a_signal_ends_the_run_with_its_number(void **unused)
{
    struct board *b = board_new();
    b->run = run_until_kicked;
    assert_null(vm_catch_signals(b->vm));
    board_add_vcpu(b);
    vm_start(b->vm);
    kill(getpid(), SIGTERM);
    assert_int_equal(vm_run(b->vm), 128 + SIGTERM);
    assert_string_equal(b->vm->verdict_detail, "SIGTERM");
    board_free(b);
}

static void no_shutdown_keeps_a_vm_that_ended_itself(void **unused)
{
    struct board *b = board_new();
    b->run = power_off;
    b->vm->no_shutdown = true;
    board_add_vcpu(b);
    vm_start(b->vm);
    while (b->vm->state == RUN_RUNNING)
        loop_once(b->vm->loop, 10);
    assert_int_equal(b->vm->state, RUN_PAUSED);
    assert_int_equal(b->vm->verdict, VERDICT_NONE);
    loop_until_posted(b->vm);
    board_free(b);
}

static void every_verdict_has_a_name_and_own_code(void **unused)
{
    for (int i = 0; i < N_VERDICTS; i++) {
        assert_non_null(verdict_infos[i].name);
        for (int j = 0; j < i; j++)
            if (verdict_infos[i].exit_code > 0)
                assert_int_not_equal(verdict_infos[i].exit_code, verdict_infos[j].exit_code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_paused_vm_stands_and_its_clock_too),
        cmocka_unit_test(a_sleeping_guest_stands_while_the_clock_goes_on),
        cmocka_unit_test(an_interrupt_wakes_a_halted_vcpu),
        cmocka_unit_test(a_nap_lasts_its_time_or_until_something_new_comes),
        cmocka_unit_test(no_interrupt_is_lost_between_threads),
        cmocka_unit_test(work_runs_on_a_vcpu_that_runs_halts_or_stands),
        cmocka_unit_test(a_vcpu_without_power_waits_for_it),
        cmocka_unit_test(a_region_is_left_alone_once_it_is_unmapped),
        cmocka_unit_test(vcpus_may_change_the_map_at_the_same_time),
        cmocka_unit_test(the_first_verdict_ends_the_run),
        cmocka_unit_test(a_guest_that_only_resets_is_found_out),
        cmocka_unit_test(no_reboot_makes_a_reset_the_end),
        cmocka_unit_test(nothing_to_wake_for_is_a_verdict),
        cmocka_unit_test(deaf_vcpus_are_halted_for_ever_whatever_may_come),
        cmocka_unit_test(a_pending_timer_is_reason_enough_to_wait),
        cmocka_unit_test(a_signal_ends_the_run_with_its_number),
        cmocka_unit_test(no_shutdown_keeps_a_vm_that_ended_itself),
        cmocka_unit_test(every_verdict_has_a_name_and_own_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
