/* A PC of little more than memory and CPUs, with small guests of our own, on the KVM engine. */
#pragma once

#include "core/vm.h"
#include "target/x86_64/x86.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { CODE = 0x1000, EXIT_PORT = 0xf4, TEST_PORT = 0x500, RAM_SIZE = 2 * 1024 * 1024 };
#define TEST_MMIO ((gpa)0xd0000000)

/* Guests. Each is copied to CODE; `bits` it is written for. They end by a byte to EXIT_PORT. */
#define GUEST(name, bits, text)                                                         \
    extern const uint8_t guest_##name[], guest_##name##_end[];                          \
    __asm__(".pushsection .rodata\n.balign 64\n.code" #bits "\nguest_" #name ":\n" text \
            "\nguest_" #name "_end:\n.code64\n.popsection\n")
#define END "mov $0xf4, %dx\n out %al, %dx\n 9: hlt\n jmp 9b\n"

struct kit {
    struct vm *vm;
    struct x86_cpu *x;
    uint64_t ports[8], mmio[64];
    uint64_t reads, writes;
    uint8_t feed;
    void (*on_port)(struct kit *k, unsigned off, uint64_t value);
    unsigned n_asked, n_acked;
    int vector, fd;
    const char *options;
    unsigned irqchips, n_cpus;
    struct device *pic, *ioapic;
    struct timer *patience;
    char *said;
};
extern const struct mmio_ops mmio_ops; /* what is at TEST_MMIO */

void must(struct error *err);
bool no_kvm(void);
#define NEEDS_KVM() \
    if (no_kvm())   \
    skip()

void kit_open(struct kit *k, const char *model);
void kit_close(struct kit *k);
void place(struct kit *k, gpa at, const uint8_t *code, const uint8_t *end);
/* Real mode at CODE; 32 bits: flat segments. 64: identity mapped by one 1 GiB... by 2 MiB pages. */
void start_at(struct kit *k, unsigned width);
#define RUN(k, name, width) \
    (place(k, CODE, guest_##name, guest_##name##_end), start_at(k, width), vm_run((k)->vm))

uint64_t peek(struct kit *k, gpa at, unsigned n);

/* An IDT at 0x4000 with a gate to this handler. */
void write_idt(struct kit *k, unsigned vector, uint32_t handler);
/* A handler that begins at the last multiple of 64 of its guest. */
#define HANDLER(name) \
    (CODE +           \
     (uint32_t)(((uintptr_t)guest_##name##_end - (uintptr_t)guest_##name - 1) & ~(uintptr_t)63))
