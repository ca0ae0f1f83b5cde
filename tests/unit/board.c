/* Test kit; see board.h. */
#include "board.h"

#include "core/accel.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/loop.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define REGION_STEP (16 * MIB)

static void must(struct error *err)
{
    if (!err)
        return;
    fprintf(stderr, "%s\n", error_text(err));
    abort();
}

/* ---- an engine and a guest CPU that do nothing ---------------------------------------------- */

static struct board *board_of(struct vcpu *cpu)
{
    return cpu->vm->machine;
}

static struct error *null_available(const char *target_name)
{
    return NULL;
}

static struct error *null_vm_create(struct vm *vm, const char *options)
{
    return NULL;
}

static void null_vm(struct vm *vm)
{
}

static struct error *null_vcpu_create(struct vcpu *cpu)
{
    return NULL;
}

static void null_vcpu(struct vcpu *cpu)
{
}

static enum vcpu_exit null_run(struct vcpu *cpu)
{
    struct board *b = board_of(cpu);
    enum vcpu_exit why = b->run ? b->run(cpu) : EXIT_HALTED;
    board_cpu(cpu)->kicked = 0;
    return why;
}

static void null_kick(struct vcpu *cpu)
{
    board_cpu(cpu)->kicked = 1;
}

static void null_memory_changed(struct vm *vm, const struct mem_view *now)
{
}

static void null_code_written(struct vm *vm, struct ram_block *ram, uint64_t off, uint64_t n)
{
}

static void null_dirty_log(struct vm *vm, struct ram_block *ram)
{
}

static void null_print_help(void (*print)(void *opaque, const char *line), void *opaque)
{
}

static void null_stats(struct vm *vm, void (*add)(void *opaque, const char *name, double value),
                       void *opaque)
{
}

static struct error *synic_available(struct vm *vm)
{
    return NULL;
}

static bool synic_route(struct vm *vm, bool on, int raise, int ended, unsigned vcpu, unsigned sint)
{
    struct board *b = vm->machine;
    for (unsigned i = 0; i < BOARD_N_SINTS; i++) {
        struct board_sint *s = &b->sints[i];
        if (on ? s->raise >= 0 : s->raise != raise)
            continue;
        *s = on ? (struct board_sint){ raise, ended, vcpu, sint }
                : (struct board_sint){ -1, -1, 0, 0 };
        return true;
    }
    return false;
}

static void synic_pages(struct vcpu *cpu, gpa *messages, gpa *events)
{
    *messages = board_of(cpu)->sint_messages;
    *events = board_of(cpu)->sint_events;
}

struct board_sint *board_sint(struct board *b, unsigned vcpu, unsigned sint)
{
    for (unsigned i = 0; i < BOARD_N_SINTS; i++)
        if (b->sints[i].raise >= 0 && b->sints[i].vcpu == vcpu && b->sints[i].sint == sint)
            return &b->sints[i];
    return NULL;
}

bool board_sint_was_raised(struct board *b, unsigned vcpu, unsigned sint)
{
    uint64_t n;
    const struct board_sint *s = board_sint(b, vcpu, sint);
    return s && read(s->raise, &n, sizeof(n)) > 0;
}

static const struct accel_synic null_synic = { synic_available, synic_route, synic_pages };

static void no_explain(struct vcpu *cpu, uint64_t pc, void (*print)(void *opaque, const char *line),
                       void *opaque)
{
    print(opaque, "nothing is executed");
}

static const struct accel null_accel = {
    .name = "null",
    .synic = &null_synic,
    .vcpu_headroom = 4096,
    .available = null_available,
    .vm_create = null_vm_create,
    .vm_destroy = null_vm,
    .vcpu_create = null_vcpu_create,
    .vcpu_destroy = null_vcpu,
    .run = null_run,
    .kick = null_kick,
    .get_state = null_vcpu,
    .set_state = null_vcpu,
    .memory_changed = null_memory_changed,
    .code_written = null_code_written,
    .dirty_log_started = null_dirty_log,
    .explain = no_explain,
    .print_help = null_print_help,
    .stats = null_stats,
};

static const struct field board_cpu_state[] = {
    FIELD(struct board_cpu, pc),
    FIELD(struct board_cpu, x),
};

static struct error *test_cpu_model(struct vm *vm, const char *model)
{
    return NULL;
}

static void test_vcpu_reset(struct vcpu *cpu)
{
    board_cpu(cpu)->pc = 0;
    board_cpu(cpu)->x = 0;
}

static bool test_has_work(struct vcpu *cpu)
{
    return board_cpu(cpu)->interrupt;
}

static bool test_can_wake(struct vcpu *cpu)
{
    return !board_cpu(cpu)->deaf;
}

static void test_print(struct vcpu *cpu, void (*print)(void *opaque, const char *line),
                       void *opaque)
{
}

static uint64_t test_pc(struct vcpu *cpu)
{
    return board_cpu(cpu)->pc;
}

static const struct target test_target = {
    .name = "test",
    .arch_size = sizeof(struct board_cpu),
    .state = TABLE(board_cpu_state),
    .state_version = 1,
    .has_ports = true,
    .cpu_model = test_cpu_model,
    .cpu_help = null_print_help,
    .vcpu_init = null_vcpu,
    .vcpu_free = null_vcpu,
    .vcpu_reset = test_vcpu_reset,
    .has_work = test_has_work,
    .can_wake = test_can_wake,
    .print = test_print,
    .pc = test_pc,
    .vm_free = null_vm,
};

struct vcpu *board_add_vcpu(struct board *b)
{
    struct vcpu *cpu;
    must(vcpu_new(b->vm, b->vm->n_vcpus, &cpu));
    return cpu;
}

/* ---- the board ------------------------------------------------------------------------------ */

static uint64_t msi_read(void *opaque, uint64_t off, unsigned size)
{
    return 0;
}

static void msi_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct board *b = opaque;
    if (b->n_msis < BOARD_N_MSIS) {
        b->msis[b->n_msis].at = BOARD_MSI + off;
        b->msis[b->n_msis].data = value;
    }
    b->n_msis++;
}

static void msi_take(void *opaque, uint64_t off, uint32_t data)
{
    msi_write(opaque, off, 4, data);
}

static const struct mmio_ops msi_ops = { .read = msi_read, .write = msi_write, .msi = msi_take };

struct board *board_new(void)
{
    return board_new_ram(0);
}

struct board *board_new_ram(unsigned flags)
{
    struct board *b = xcalloc(1, sizeof(*b));
    must(vm_new(&b->vm));
    b->vm->machine = b;
    b->vm->accel = &null_accel;
    b->vm->target = &test_target;
    b->vm->log.fd = -1;
    b->next_region = BOARD_MMIO;
    b->sint_messages = b->sint_events = SYNIC_NOWHERE;
    for (unsigned i = 0; i < BOARD_N_SINTS; i++)
        b->sints[i].raise = b->sints[i].ended = -1;
    b->vm->ram_flags = flags;
    must(mem_add_main_ram(b->vm, "ram", BOARD_RAM_SIZE, &b->ram));
    mem_map(b->ram, BOARD_RAM, 0);
    mem_map(mem_add_mmio(b->vm, "msi", 4096, &msi_ops, b), BOARD_MSI, 0);
    return b;
}

void board_free(struct board *b)
{
    vm_free(b->vm);
    free(b);
}

/* Regions are listed youngest first; they are placed oldest first. */
struct found {
    struct vm *vm;
    struct mem_region *at[BOARD_N_REGIONS];
    unsigned n;
};

static bool is_in(const struct mem_view *view, const struct mem_region *r)
{
    for (size_t i = 0; i < view->n; i++)
        if (view->ranges[i].region == r)
            return true;
    return false;
}

static bool is_mapped(struct vm *vm, const struct mem_region *r)
{
    return is_in(mem_view_now(vm), r) || is_in(mem_ports_now(vm), r);
}

static void find_region(void *opaque, struct mem_region *r)
{
    struct found *f = opaque;
    if (!mem_region_ram(r) && f->n < BOARD_N_REGIONS && !is_mapped(f->vm, r))
        f->at[f->n++] = r;
}

void board_map_regions(struct board *b)
{
    struct found f = { .vm = b->vm };
    mem_each_region(b->vm, find_region, &f);
    while (f.n && b->n_regions < BOARD_N_REGIONS) {
        mem_map(f.at[--f.n], b->next_region, 0);
        b->regions[b->n_regions++] = b->next_region;
        b->next_region += REGION_STEP;
    }
}

static struct error *create(struct board *b, const char *class_name, va_list ap,
                            struct device **out)
{
    struct prop_value props[32];
    size_t n = 0;
    const char *name;
    while ((name = va_arg(ap, const char *))) {
        assert(n < ARRAY_LEN(props));
        props[n].name = name;
        props[n++].value = va_arg(ap, const char *);
    }
    struct error *err = device_create(b->vm, class_name, props, n, out);
    if (!err && !b->dev)
        b->dev = *out;
    if (!err)
        board_map_regions(b);
    return err;
}

struct device *board_add(struct board *b, const char *class_name, ...)
{
    struct device *dev;
    va_list ap;
    va_start(ap, class_name);
    must(create(b, class_name, ap, &dev));
    va_end(ap);
    return dev;
}

struct board *board_with(const char *class_name, ...)
{
    struct board *b = board_new();
    struct device *dev;
    va_list ap;
    va_start(ap, class_name);
    must(create(b, class_name, ap, &dev));
    va_end(ap);
    return b;
}

char *board_refuses(struct board *b, const char *class_name, ...)
{
    struct device *dev;
    va_list ap;
    va_start(ap, class_name);
    struct error *err = create(b, class_name, ap, &dev);
    va_end(ap);
    assert(err);
    char *text = xstrdup(error_text(err));
    error_free(err);
    return text;
}

/* ---- lines, time, access -------------------------------------------------------------------- */

static void line_set(void *opaque, unsigned n, bool level)
{
    struct board *b = opaque;
    b->lines[n].raised += level && !b->lines[n].level;
    b->lines[n].lowered += !level && b->lines[n].level;
    b->lines[n].level = level;
}

struct irq board_irq(struct board *b, unsigned n)
{
    assert(n < BOARD_N_LINES);
    return (struct irq){ line_set, b, n };
}

bool board_line_was_raised(struct board *b, unsigned n)
{
    return b->lines[n].raised > 0;
}

void board_step(struct board *b)
{
    for (int i = 0; i < 4; i++)
        loop_once(b->vm->loop, 0);
}

void board_advance_ns(struct board *b, uint64_t ns)
{
    clock_set(b->vm, vm_now_ns(b->vm) + ns);
    board_step(b);
}

uint64_t board_peek(struct board *b, gpa at, unsigned size)
{
    uint64_t v;
    mem_io_read(b->vm, at, size, &v);
    return v;
}

void board_poke(struct board *b, gpa at, unsigned size, uint64_t v)
{
    mem_io_write(b->vm, at, size, size < 8 ? v & (((uint64_t)1 << (8 * size)) - 1) : v);
}

uint64_t board_read(struct board *b, uint64_t off, unsigned size)
{
    return board_peek(b, BOARD_MMIO + off, size);
}

void board_write(struct board *b, uint64_t off, unsigned size, uint64_t v)
{
    board_poke(b, BOARD_MMIO + off, size, v);
}

void board_ram_write(struct board *b, uint64_t off, const void *p, size_t n)
{
    bool ok = mem_write(b->vm, BOARD_RAM + off, p, n);
    assert(ok);
}

void board_ram_read(struct board *b, uint64_t off, void *p, size_t n)
{
    bool ok = mem_read(b->vm, BOARD_RAM + off, p, n);
    assert(ok);
}

void board_check(struct board *b)
{
    for (struct device *d = b->vm->devices; d; d = d->next) {
        struct bytes once = { 0 }, again = { 0 };
        size_t pos = 0;
        device_save(d, &once);
        must(device_load(d, once.at, once.n, &pos));
        device_save(d, &again);
        assert(pos == once.n && once.n == again.n && !memcmp(once.at, again.at, once.n));
        bytes_free(&once);
        bytes_free(&again);
    }
}
