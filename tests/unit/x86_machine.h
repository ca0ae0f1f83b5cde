/* A CPU on a back end of the translator with 64-bit code in both rings: page tables, IDT, GDT, TSS, and what came of
 * running bytes. */
#pragma once

#include "core/vm.h"
#include "target/x86_64/x86.h"
#include "tcg/tcg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* Where things are; handlers of exceptions are HLTs. */
enum {
    CODE = 0x10000,
    DATA = 0x18000,
    STACK = 0x19000,
    STACK0 = 0x1a000,
    HANDLERS = 0x1b000,
    GDT = 0x1c000,
    TSS = 0x1c800,
    IDT = 0x1d000,
    IST_TABLE = 0x1e000,
    SHADOW = 0x20000, /* a supervisor's shadow stack, and a user's */
    USER_SHADOW = 0x21000,
    TABLES = 0x30000,
    STEP = 16, /* between handlers */
};

struct machine {
    struct vm *vm;
    struct vcpu *cpu;
    struct x86_cpu *x;
};

struct machine machine_new(const struct backend *backend, const char *model);
/* By options of -accel tcg. */
struct machine machine_new_with(const char *options, const char *model);
/* 64-bit code of ring `cpl` with CR4.CET; the supervisor's shadow stack begins with a token. */
void machine_prepare(struct machine *m, unsigned cpl);
void machine_poke(struct machine *m, uint64_t at, unsigned size, uint64_t v);
uint64_t machine_peek(struct machine *m, uint64_t at);
/* These bytes at CODE, from where RIP is until HLT. */
void machine_run(struct machine *m, const uint8_t *code, size_t n);
/* The exception that ended it; -1: none did. */
int machine_vector(const struct machine *m);
/* It was this one, with an error code, at this address. */
void machine_assert_fault(struct machine *m, int vector, uint64_t error, uint64_t at);

#define RUN(m, ...) \
    machine_run(m, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))
#define ON_EACH(m, model, cpl)                                                             \
    for (size_t b_ = 0; b_ < n_backends; b_++)                                             \
        for (struct machine m = machine_new(backends[b_], model),                          \
                            *once_ = (machine_prepare(&m, cpl), &m);                       \
             once_; vm_free(m.vm), once_ = NULL)
