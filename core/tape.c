/* The tape between a VM and its shadow. */
#include "core/tape.h"

#include "core/accel.h"
#include "core/memory.h"
#include "core/state.h"
#include "core/vm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define PAGE ((uint64_t)4096)

/* Behind an access: what the wires of the CPU show since. */
struct kept {
    struct tape_entry e;
    uint64_t inputs;
    struct ram_block *ram; /* of the shadow; DMA */
    size_t data;           /* in bytes; DMA */
};
struct write {
    struct ram_block *real, *shadow;
    uint64_t off, n;
};
struct pair {
    struct ram_block *real, *shadow;
};

struct tape {
    struct vm *real, *shadow;

    /* Whose turn it is: one awake loop, or the vCPU within a step. A leaf. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool taken;
    unsigned n_waiting; /* loops: they go first */

    /* All below belongs to whose turn it is. */
    enum { TAPE_IDLE, TAPE_RECORDS, TAPE_PLAYS } mode;
    struct vcpu *cpu; /* of the VM that runs */
    bool inside;      /* a device, asked by the recorded CPU */
    bool excuses_marks;
    struct pair *pairs;
    size_t n_pairs;
    struct kept *kept;
    size_t n_kept, room_kept, played;
    struct write *writes;
    size_t n_writes, room_writes;
    struct bytes bytes;
    char why[160]; /* the first difference; empty: none */
};

/* ---- turns ------------------------------------------------------------------------------------------ */

void tape_loop_idle(struct vm *vm, bool idle)
{
    struct tape *tape = vm->tape;
    if (vm != tape->real)
        return;
    pthread_mutex_lock(&tape->lock);
    if (idle) {
        tape->taken = false;
    } else {
        tape->n_waiting++;
        while (tape->taken)
            pthread_cond_wait(&tape->changed, &tape->lock);
        tape->n_waiting--;
        tape->taken = true;
    }
    pthread_cond_broadcast(&tape->changed);
    pthread_mutex_unlock(&tape->lock);
}

bool tape_enter(struct tape *tape, const _Atomic uint32_t *kicked)
{
    pthread_mutex_lock(&tape->lock);
    while ((tape->taken || tape->n_waiting) && !atomic_load(kicked))
        pthread_cond_wait(&tape->changed, &tape->lock);
    bool mine = !tape->taken && !atomic_load(kicked);
    tape->taken |= mine;
    pthread_mutex_unlock(&tape->lock);
    return mine;
}

void tape_leave(struct tape *tape)
{
    pthread_mutex_lock(&tape->lock);
    tape->mode = TAPE_IDLE;
    tape->taken = false;
    if (tape->n_waiting)
        pthread_cond_broadcast(&tape->changed);
    pthread_mutex_unlock(&tape->lock);
}

void tape_wake(struct tape *tape)
{
    pthread_mutex_lock(&tape->lock);
    pthread_cond_broadcast(&tape->changed);
    pthread_mutex_unlock(&tape->lock);
}

/* ---- memory ----------------------------------------------------------------------------------------- */

static void tell_all(struct ram_block *ram)
{
    for (uint64_t i = 0; i < ram->size / PAGE; i++)
        atomic_fetch_or(&ram->page_flags[i], PAGE_TELL);
}

void tape_pair(struct tape *tape, struct ram_block *real, struct ram_block *shadow)
{
    tape->pairs = xrealloc(tape->pairs, (tape->n_pairs + 1) * sizeof(*tape->pairs));
    tape->pairs[tape->n_pairs++] = (struct pair){ real, shadow };
    tell_all(real);
    tell_all(shadow);
}

static struct pair pair_of(const struct tape *tape, const struct ram_block *ram)
{
    for (size_t i = 0; i < tape->n_pairs; i++)
        if (tape->pairs[i].real == ram || tape->pairs[i].shadow == ram)
            return tape->pairs[i];
    return (struct pair){ NULL, NULL };
}

struct ram_block *tape_shadow_of(const struct tape *tape, const struct ram_block *real)
{
    return pair_of(tape, real).shadow;
}

/* A device's write reaches the shadow. */
static void copy_in(struct tape *tape, struct ram_block *ram, uint64_t off, const void *from,
                    uint64_t n)
{
    memcpy(ram->host + off, from, n);
    for (uint64_t page = off / PAGE; page <= (off + n - 1) / PAGE; page++)
        if (atomic_load(&ram->page_flags[page]) & PAGE_HAS_CODE) {
            uint64_t first = MAX(off, page * PAGE), end = MIN(off + n, (page + 1) * PAGE);
            tape->shadow->accel->code_written(tape->shadow, ram, first, end - first);
        }
}

static struct kept *keep(struct tape *tape)
{
    if (tape->n_kept == tape->room_kept) {
        tape->room_kept = tape->room_kept * 2 + 16;
        tape->kept = xrealloc(tape->kept, tape->room_kept * sizeof(*tape->kept));
    }
    return &tape->kept[tape->n_kept++];
}

static void note_write(struct tape *tape, struct pair p, uint64_t off, uint64_t n)
{
    if (tape->n_writes == tape->room_writes) {
        tape->room_writes = tape->room_writes * 2 + 64;
        tape->writes = xrealloc(tape->writes, tape->room_writes * sizeof(*tape->writes));
    }
    tape->writes[tape->n_writes++] = (struct write){ p.real, p.shadow, off, n };
}

void tape_written(struct vm *vm, struct ram_block *ram, uint64_t off, uint64_t n)
{
    struct tape *tape = vm->tape;
    struct pair p = pair_of(tape, ram);
    if (!p.real || !n)
        return;
    if (vm == tape->shadow || (tape->mode == TAPE_RECORDS && !tape->inside)) {
        note_write(tape, p, off, n);
    } else if (tape->mode == TAPE_RECORDS) {
        *keep(tape) = (struct kept){ .e = { .kind = TAPE_DMA, .at = off, .value = n },
                                     .ram = p.shadow,
                                     .data = tape->bytes.n };
        bytes_add(&tape->bytes, ram->host + off, n);
    } else {
        copy_in(tape, p.shadow, off, ram->host + off, n);
    }
}

/* ---- accesses ---------------------------------------------------------------------------------------- */

static const char *const kind_names[] = { "read of device memory",
                                          "write to device memory",
                                          "port read",
                                          "port write",
                                          "CPU input",
                                          "CPU output",
                                          "random number",
                                          "device's write" };

static void differ(struct tape *tape, const char *what, const struct tape_entry *e)
{
    if (!tape->why[0])
        snprintf(tape->why, sizeof(tape->why), "%s: %s, %u bytes at %#" PRIx64 ", value %#" PRIx64,
                 what, kind_names[e->kind], e->size, e->at, e->value);
}

/* Devices' writes up to the next access of the CPU. */
static void play_dma(struct tape *tape)
{
    for (; tape->played < tape->n_kept && tape->kept[tape->played].e.kind == TAPE_DMA;
         tape->played++) {
        const struct kept *k = &tape->kept[tape->played];
        copy_in(tape, k->ram, k->e.at, tape->bytes.at + k->data, k->e.value);
    }
}

static bool is_output(const struct tape_entry *e)
{
    return e->kind == TAPE_WRITE || e->kind == TAPE_OUT || e->kind == TAPE_CPU_OUT;
}

static void play(struct tape *tape, struct tape_entry *e)
{
    play_dma(tape);
    const struct kept *k = &tape->kept[tape->played];
    if (tape->played == tape->n_kept || k->e.kind != e->kind || k->e.at != e->at ||
        k->e.size != e->size || (is_output(e) && k->e.value != e->value)) {
        differ(tape, "only b does this", e);
        e->ok = true;
        e->value = is_output(e) ? e->value : 0;
        return;
    }
    *e = k->e;
    tape->played++;
    if (tape->shadow->target->set_inputs)
        tape->shadow->target->set_inputs(tape->cpu, k->inputs);
}

bool tape_begin(struct vm *vm, struct tape_entry *e)
{
    struct tape *tape = vm->tape;
    if (vm == tape->shadow) {
        if (tape->mode == TAPE_PLAYS)
            play(tape, e);
        return false;
    }
    tape->inside = tape->mode == TAPE_RECORDS;
    return true;
}

void tape_end(struct vm *vm, const struct tape_entry *e)
{
    struct tape *tape = vm->tape;
    if (!tape->inside)
        return;
    tape->inside = false;
    *keep(tape) =
        (struct kept){ .e = *e, .inputs = vm->target->inputs ? vm->target->inputs(tape->cpu) : 0 };
}

bool tape_random(struct vm *vm, void *buf, size_t n)
{
    struct tape_entry e = { .kind = TAPE_RANDOM, .size = (unsigned)n };
    if (!vm->tape || tape_begin(vm, &e)) {
        e.ok = getrandom(&e.value, n, GRND_NONBLOCK) == (ssize_t)n;
        if (vm->tape)
            tape_end(vm, &e);
    }
    memcpy(buf, &e.value, n);
    return e.ok;
}

/* ---- steps ------------------------------------------------------------------------------------------- */

static void forget(struct tape *tape)
{
    tape->n_kept = tape->played = tape->n_writes = 0;
    tape->bytes.n = 0;
    tape->why[0] = 0;
}

void tape_record(struct tape *tape, struct vcpu *real)
{
    forget(tape);
    tape->mode = TAPE_RECORDS;
    tape->cpu = real;
    tape->inside = false;
}

void tape_replay(struct tape *tape, struct vcpu *shadow)
{
    tape->mode = TAPE_PLAYS;
    tape->cpu = shadow;
}

/* Bits 5 and 6 of an x86 page table entry: accessed, dirty. */
static bool is_mark(const struct tape *tape, uint64_t off, unsigned changed)
{
    return tape->excuses_marks && off % 4 == 0 && !(changed & ~0x60u);
}

static void compare_write(struct tape *tape, const struct write *w)
{
    const uint8_t *a = w->real->host + w->off, *b = w->shadow->host + w->off;
    uint64_t i = 0;
    while (i < w->n && (a[i] == b[i] || is_mark(tape, w->off + i, a[i] ^ b[i])))
        i++;
    if (i < w->n && !tape->why[0])
        snprintf(tape->why, sizeof(tape->why),
                 "memory: '%.32s' at %#" PRIx64 ": a has %02x, b has %02x (of %" PRIu64
                 " bytes written)",
                 w->real->name, w->off + i, a[i], b[i], w->n);
}

bool tape_finish(struct tape *tape, char *why, size_t room)
{
    play_dma(tape);
    tape->mode = TAPE_IDLE;
    for (size_t i = 0; i < tape->n_writes; i++)
        compare_write(tape, &tape->writes[i]);
    if (tape->played < tape->n_kept)
        differ(tape, "only a does this", &tape->kept[tape->played].e);
    snprintf(why, room, "%s", tape->why);
    return !tape->why[0];
}

struct tape *tape_new(struct vm *real, struct vm *shadow)
{
    struct tape *tape = xcalloc(1, sizeof(*tape));
    tape->real = real;
    tape->shadow = shadow;
    tape->taken = true;
    pthread_mutex_init(&tape->lock, NULL);
    pthread_cond_init(&tape->changed, NULL);
    return tape;
}

void tape_excuse_marks(struct tape *tape)
{
    tape->excuses_marks = true;
}

void tape_free(struct tape *tape)
{
    pthread_mutex_destroy(&tape->lock);
    pthread_cond_destroy(&tape->changed);
    bytes_free(&tape->bytes);
    free(tape->pairs);
    free(tape->kept);
    free(tape->writes);
    free(tape);
}
