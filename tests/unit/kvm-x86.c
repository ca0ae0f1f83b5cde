/* The KVM engine with small guests of our own: what each exit means, interrupts, memory, state. Skipped
 * with the reason where there is no KVM. */
#include "board.h"

#include "core/accel.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/loop.h"
#include "hw/intc/i8259.h"
#include "hw/intc/ioapic.h"
#include "hw/intc/lapic.h"
#include "hw/machine/x86_apic.h"
#include "hw/machine/x86_chips.h"
#include "kvm/kvm.h"
#include "target/x86_64/chips.h"
#include "target/x86_64/model.h"
#include "target/x86_64/x86.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

enum { CODE = 0x1000, EXIT_PORT = 0xf4, TEST_PORT = 0x500, RAM_SIZE = 2 * 1024 * 1024 };
#define TEST_MMIO   ((gpa)0xd0000000)
#define PATIENCE_NS (30 * NS_PER_S) /* some hosts emulate the guest's kernel mode */

/* ---- guests --------------------------------------------------------------------------------------- */
/* Each is copied to CODE; `bits` it is written for. They end by a byte to EXIT_PORT. */
#define GUEST(name, bits, text)                                                         \
    extern const uint8_t guest_##name[], guest_##name##_end[];                          \
    __asm__(".pushsection .rodata\n.balign 64\n.code" #bits "\nguest_" #name ":\n" text \
            "\nguest_" #name "_end:\n.code64\n.popsection\n")
#define END "mov $0xf4, %dx\n out %al, %dx\n 9: hlt\n jmp 9b\n"

GUEST(ports, 16,
      "mov $0x500, %dx\n in %dx, %al\n add $1, %al\n out %al, %dx\n"
      "mov $0x504, %dx\n in %dx, %eax\n add $2, %eax\n out %eax, %dx\n"
      "mov $0x777, %dx\n in %dx, %al\n" END);
GUEST(string, 16,
      "cld\n mov $4, %cx\n mov $0x500, %dx\n mov $0x3000, %di\n rep insb\n"
      "mov $4, %cx\n mov $0x3000, %si\n rep outsb\n xor %al, %al\n" END);
GUEST(mmio, 32,
      "mov $0xd0000000, %ebx\n mov (%ebx), %eax\n add $1, %eax\n mov %eax, 8(%ebx)\n"
      "movb $0x5a, 17(%ebx)\n movw $0x1234, 32(%ebx)\n mov 0x10000(%ebx), %eax\n" END);
GUEST(rom, 32,
      "mov $0xe0000000, %ebx\n mov (%ebx), %eax\n movl $0, (%ebx)\n cmp %eax, (%ebx)\n"
      "setne %al\n" END);
GUEST(bell, 32, "mov $0xd0000100, %ebx\n movl $7, (%ebx)\n movl $8, (%ebx)\n xor %eax, %eax\n" END);
GUEST(wide, 64,
      "movabs $0x123456789abcdef0, %rax\n movq %rax, 0x3000\n mov 0x3000, %rbx\n"
      "cmp %rax, %rbx\n setne %al\n" END);
GUEST(triple, 32, "lidt 0x3000\n ud2\n" END);
GUEST(spin, 16, "1: incw 0x3000\n jmp 1b\n");
GUEST(halt, 16, "cli\n hlt\n mov $3, %al\n" END);
/* Vector 0x20's handler counts and acknowledges by a port; then HLT until it came. */
GUEST(irq, 16,
      "cli\n movw $(1f - guest_irq + 0x1000), 0x80\n movw $0, 0x82\n movw $0, 0x3000\n"
      "2: sti\n hlt\n cli\n cmpw $2, 0x3000\n jb 2b\n mov 0x3000, %al\n cli\n" END
      "1: push %ax\n push %dx\n incw 0x3000\n mov $0x501, %dx\n out %al, %dx\n pop %dx\n pop %ax\n "
      "iret\n");
/* The same through the kernel's 8259: interrupt 5 at vector 0x25. */
GUEST(pic, 16,
      "cli\n mov $0x11, %al\n out %al, $0x20\n mov $0x20, %al\n out %al, $0x21\n mov $4, %al\n"
      "out %al, $0x21\n mov $1, %al\n out %al, $0x21\n mov $0xdf, %al\n out %al, $0x21\n"
      "movw $(1f - guest_pic + 0x1000), 0x94\n movw $0, 0x96\n movw $0, 0x3000\n mov $0x502, %dx\n "
      "out %al, %dx\n"
      "2: sti\n hlt\n cli\n cmpw $1, 0x3000\n jb 2b\n mov 0x3000, %al\n cli\n" END
      "1: push %ax\n incw 0x3000\n mov $0x20, %al\n out %al, $0x20\n pop %ax\n iret\n");
/* An MSI with vector 0x30 to the kernel's local APIC, in protected mode with an IDT at 0x4000; the handler
 * ends the run. */
GUEST(msi, 32,
      "mov $0xfee00000, %ebx\n movl $0x1ff, 0xf0(%ebx)\n movl $0, 0x3000\n lidt 0x3800\n sti\n"
      "mov $0x502, %dx\n out %al, %dx\n 2: hlt\n jmp 2b\n"
      ".balign 64\n movl $0, 0xfee000b0\n mov $1, %al\n" END);
/* The boot processor is told to spin; the other one starts at page 2 and ends the run. */
GUEST(second, 16, "mov %cs, %ax\n mov $0x500, %dx\n out %ax, %dx\n mov $9, %al\n" END);
GUEST(first, 16, "mov $0x502, %dx\n out %al, %dx\n 1: hlt\n jmp 1b\n");
GUEST(msr, 32, "mov $0x802, %ecx\n rdmsr\n cmp $0x77, %eax\n setne %al\n" END);

/* INIT and SIPI to the other CPU through the APIC's page, then the same MSI handler as above. */
GUEST(ipi, 32,
      "mov $0xfee00000, %ebx\n movl $0x1ff, 0xf0(%ebx)\n movl $0x01000000, 0x310(%ebx)\n"
      "movl $0x00004500, 0x300(%ebx)\n movl $0x00004602, 0x300(%ebx)\n 1: hlt\n jmp 1b\n");
/* The local APIC's timer, one shot, vector 0x30. */
GUEST(timer, 32,
      "mov $0xfee00000, %ebx\n movl $0x1ff, 0xf0(%ebx)\n lidt 0x3800\n movl $0xb, 0x3e0(%ebx)\n"
      "movl $0x30, 0x320(%ebx)\n movl $0x100000, 0x380(%ebx)\n 2: sti\n hlt\n jmp 2b\n"
      ".balign 64\n movl $0, 0xfee000b0\n mov $4, %al\n" END);

/* I/O APIC pin 16, level-triggered, vector 0x30: two rounds, each ended by the local APIC's EOI. */
GUEST(level, 32,
      "mov $0xfee00000, %ebx\n movl $0x1ff, 0xf0(%ebx)\n lidt 0x3800\n mov $0xfec00000, %ecx\n"
      "movl $0x31, (%ecx)\n movl $0, 0x10(%ecx)\n movl $0x30, (%ecx)\n movl $0x8030, 0x10(%ecx)\n"
      "mov $0x502, %dx\n out %al, %dx\n 2: sti\n hlt\n jmp 2b\n"
      ".balign 64\n mov $0x503, %dx\n out %al, %dx\n movl $0, 0xfee000b0\n incl 0x3000\n"
      "cmpl $2, 0x3000\n je 3f\n sti\n 4: hlt\n jmp 4b\n 3: mov 0x3000, %al\n" END);

/* Asks for a reset until it was started three times. */
GUEST(again, 16,
      "incw 0x3000\n cmpw $3, 0x3000\n je 1f\n mov $0x502, %dx\n out %al, %dx\n"
      "2: hlt\n jmp 2b\n 1: mov 0x3000, %al\n" END);

/* Registers that the model has or has not: #GP (vector 13) skips the two bytes of its instruction. */
GUEST(gp, 32,
      "lidt 0x3800\n xor %ebp, %ebp\n mov $0x4b564d00, %ecx\n xor %edx, %edx\n xor %eax, %eax\n "
      "wrmsr\n"
      "mov $0x3b, %ecx\n rdmsr\n mov $0x12345678, %ecx\n rdmsr\n mov $0xc0000082, %ecx\n rdmsr\n"
      "mov %ebp, %eax\n" END ".balign 64\n inc %ebp\n addl $2, 4(%esp)\n add $4, %esp\n"
      "pop %ebx\n add $8, %esp\n jmp *%ebx\n");
/* A loop that writes to 0x3000 in its third instruction. */
GUEST(walk, 32, "1: inc %eax\n inc %ebx\n mov %eax, 0x3000\n nop\n jmp 1b\n");

/* Index and data: writes to 0xd0001000 select, 0xd0001004 reads what was selected; the same by ports. */
GUEST(
    batch, 32,
    "mov $0xd0001000, %ebx\n movl $1, (%ebx)\n movl $2, (%ebx)\n movl $3, (%ebx)\n mov 4(%ebx), "
    "%ecx\n"
    "mov $0x600, %dx\n mov $0x77, %al\n out %al, %dx\n inc %dx\n in %dx, %al\n add %cl, %al\n" END);
/* A byte into each page from 0x20000 to 0x1f0000. */
GUEST(fill, 32,
      "mov $0x20000, %ebx\n 1: movb $1, (%ebx)\n add $0x1000, %ebx\n cmp $0x1f0000, %ebx\n"
      "jb 1b\n xor %eax, %eax\n" END);

/* What some hosts' KVM cannot emulate in kernel mode: each result is compared, al counts up. Exceptions go through
 * an IDT at 0x5000 to handlers behind the code: int3 counts at 0x3020, ud2 is stepped over. */
GUEST(beyond, 64,
      "lidt 0x3800\n lgdt 0x3810\n xor %ebp, %ebp\n mov $0xf0f0, %eax\n popcnt %rax, %rbx\n"
      "cmp $8, %ebx\n jne 8f\n inc %ebp\n"
      "movq $1, 0x3000\n movq $2, 0x3008\n mov $1, %eax\n mov $2, %edx\n mov $3, %ebx\n mov $4, "
      "%ecx\n"
      "lock cmpxchg16b 0x3000\n jne 8f\n cmpq $3, 0x3000\n jne 8f\n cmpq $4, 0x3008\n jne 8f\n"
      "inc %ebp\n"
      "lock cmpxchg16b 0x3000\n je 8f\n cmp $3, %eax\n jne 8f\n cmp $4, %edx\n jne 8f\n inc %ebp\n"
      "stac\n pushf\n pop %rax\n bt $18, %eax\n jnc 8f\n clac\n pushf\n pop %rax\n bt $18, %eax\n"
      "jc 8f\n inc %ebp\n"
      "fwait\n inc %ebp\n"
      "mov $3, %eax\n xor %edx, %edx\n movdqu 0x3000, %xmm3\n xsave 0x3040\n cmpq $3, 0x3110\n jne "
      "8f\n"
      "movq $77, 0x3110\n xrstor 0x3040\n movdqu %xmm3, 0x3030\n cmpq $77, 0x3030\n jne 8f\n inc "
      "%ebp\n"
      "int3\n cmpl $1, 0x3020\n jne 8f\n inc %ebp\n"
      "ud2\n cmpl $2, 0x3020\n jne 8f\n inc %ebp\n"
      "mov %ebp, %eax\n" END "8: lea 0x40(%rbp), %eax\n" END
      ".org guest_beyond + 512\n incl 0x3020\n iretq\n"
      ".org guest_beyond + 576\n incl 0x3020\n addq $2, (%rsp)\n iretq\n");

/* ---- a board ------------------------------------------------------------------------------------------ */

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

static uint64_t port_read(void *opaque, uint64_t off, unsigned size)
{
    struct kit *k = opaque;
    k->reads++;
    return k->ports[off] ? k->ports[off] : k->feed++;
}

static void port_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct kit *k = opaque;
    k->writes++;
    k->ports[off] = value;
    if (k->on_port)
        k->on_port(k, (unsigned)off, value);
}
static const struct mmio_ops port_ops = { .read = port_read, .write = port_write };

static void exit_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct kit *k = opaque;
    vm_request_end(k->vm, VERDICT_GUEST_EXIT, (int)(value & 0xff), NULL);
}
static const struct mmio_ops exit_ops = { .read = port_read, .write = exit_write };

static uint64_t mmio_read(void *opaque, uint64_t off, unsigned size)
{
    struct kit *k = opaque;
    k->reads++;
    return k->mmio[off];
}
static void mmio_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct kit *k = opaque;
    k->writes++;
    k->mmio[off % 64] = value;
}
static const struct mmio_ops mmio_ops = { .read = mmio_read, .write = mmio_write };

static void lost_patience(void *opaque)
{
    struct kit *k = opaque;
    vm_request_end(k->vm, VERDICT_QUIT, 0, "no end in sight");
}

static void must(struct error *err)
{
    if (err)
        fail_msg("%s", error_text(err));
}

static bool no_kvm(void)
{
    struct error *err = kvm_accel.available("x86_64");
    if (!err)
        return false;
    print_message("# %s\n", error_text(err));
    error_free(err);
    return true;
}
#define NEEDS_KVM() \
    if (no_kvm())   \
    skip()

static void kit_open(struct kit *k, const char *model)
{
    struct mem_region *ram;
    must(vm_new(&k->vm));
    k->vm->accel = &kvm_accel;
    k->vm->target = &x86_64_target;
    k->vm->irqchips = (uint8_t)k->irqchips;
    must(x86_cpu_model(k->vm, model ? model : "qemu64,check=off"));
    must(kvm_accel.vm_create(k->vm, k->options));
    must(mem_add_ram(k->vm, "ram", RAM_SIZE, false, &ram));
    mem_map(ram, 0, 0);
    mem_map_ports(mem_add_mmio(k->vm, "test-ports", 8, &port_ops, k), TEST_PORT, 0);
    mem_map_ports(mem_add_mmio(k->vm, "exit", 1, &exit_ops, k), EXIT_PORT, 0);
    mem_map(mem_add_mmio(k->vm, "test-mmio", 0x1000, &mmio_ops, k), TEST_MMIO, 0);
    for (unsigned i = 0; i < MAX(k->n_cpus, 1); i++) {
        struct vcpu *cpu;
        must(vcpu_new(k->vm, i, &cpu));
    }
    k->x = x86_of(k->vm->vcpus[0]);
    vm_reset(k->vm);
    k->patience = timer_new(k->vm, lost_patience, k);
    timer_set(k->patience, PATIENCE_NS);
}

static void kit_close(struct kit *k)
{
    timer_free(k->patience);
    vm_free(k->vm);
}

static void place(struct kit *k, gpa at, const uint8_t *code, const uint8_t *end)
{
    assert_true(mem_write(k->vm, at, code, (size_t)(end - code)));
}

/* Real mode at CODE; 32 bits: flat segments. 64: identity mapped by one 1 GiB... by 2 MiB pages. */
static void start_at(struct kit *k, unsigned width)
{
    struct x86_cpu *x = k->x;
    if (width == 16) {
        x->seg[X86_CS].selector = 0;
        x->seg[X86_CS].base = 0;
        x->rip = CODE;
        x->gpr[X86_RSP] = 0x8000;
        return;
    }
    if (width == 64) {
        const uint64_t tables[][2] = { { 0x10000, 0x11003 },
                                       { 0x11000, 0x12003 },
                                       { 0x12000, 0x83 } };
        for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
            uint8_t le[8];
            store_le(le, 8, tables[i][1]);
            assert_true(mem_write(k->vm, tables[i][0], le, 8));
        }
    }
    x86_place_flat(x->cpu, CODE, width == 64 ? 0x10000 : 0);
    x->gpr[X86_RSP] = 0x8000;
}

#define RUN(k, name, width) \
    (place(k, CODE, guest_##name, guest_##name##_end), start_at(k, width), vm_run((k)->vm))

static uint64_t peek(struct kit *k, gpa at, unsigned n)
{
    uint8_t le[8];
    assert_true(mem_read(k->vm, at, le, n));
    return load_le(le, n);
}

/* ---- facts ------------------------------------------------------------------------------------------------ */

static void ports_reach_the_common_dispatch(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .ports = { [0] = 0x41, [4] = 0x10000000 } };
    kit_open(&k, NULL);
    assert_int_equal(RUN(&k, ports, 16), 0xff); /* a port that nobody answers */
    assert_int_equal(k.vm->verdict, VERDICT_GUEST_EXIT);
    assert_int_equal(k.ports[0], 0x42);
    assert_int_equal(k.ports[4], 0x10000002);
    kit_close(&k);
}

static void string_instructions_move_every_item(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .feed = 0x61 };
    kit_open(&k, NULL);
    assert_int_equal(RUN(&k, string, 16), 0);
    assert_int_equal(peek(&k, 0x3000, 4), 0x64636261);
    assert_int_equal(k.writes, 4);
    assert_int_equal(k.ports[0], 0x64);
    kit_close(&k);
}

static void mmio_reaches_the_common_dispatch(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .mmio = { [0] = 0xfffffffe } };
    kit_open(&k, NULL);
    assert_int_equal(RUN(&k, mmio, 32), 0xff); /* where nobody answers */
    assert_int_equal(k.mmio[8], 0xffffffff);
    assert_int_equal(k.mmio[17], 0x5a);
    assert_int_equal(k.mmio[32], 0x1234);
    assert_int_equal(k.reads, 1);
    assert_int_equal(k.writes, 3);
    kit_close(&k);
}

static void add_number(void *opaque, const char *name, double value)
{
    double *sum = opaque;
    if (!strcmp(name, "kvm.exits.mmio"))
        sum[0] = value;
    if (!strcmp(name, "kvm.exits.io"))
        sum[1] = value;
    if (!strcmp(name, "kvm.guest_seconds"))
        sum[2] = value;
}

static void exits_are_counted_by_reason(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    double sum[3] = { 0 };
    kit_open(&k, NULL);
    RUN(&k, mmio, 32);
    kvm_accel.stats(k.vm, add_number, sum);
    assert_int_equal(sum[0], 5);
    assert_int_equal(sum[1], 1);
    assert_true(sum[2] > 0);
    kit_close(&k);
}

static void rom_is_read_without_exits_and_keeps_its_contents(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    struct mem_region *rom;
    double sum[3] = { 0 };
    kit_open(&k, NULL);
    must(mem_add_ram(k.vm, "rom", 0x1000, true, &rom));
    mem_map(rom, 0xe0000000, 0);
    assert_true(mem_load(k.vm, 0xe0000000, "ABCD", 4));
    assert_int_equal(RUN(&k, rom, 32), 0);
    assert_int_equal(peek(&k, 0xe0000000, 4), 0x44434241);
    kvm_accel.stats(k.vm, add_number, sum);
    assert_int_equal(sum[0], 1); /* the write */
    kit_close(&k);
}

static void doorbell_rings_inside_the_kernel(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    double sum[3] = { 0 };
    uint64_t n = 0;
    int fd = eventfd(0, EFD_NONBLOCK);
    kit_open(&k, NULL);
    struct mem_region *bell = mem_add_mmio(k.vm, "bell", 0x100, &mmio_ops, &k);
    mem_map(bell, TEST_MMIO + 0x100, 1);
    must(mem_add_doorbell(bell, 0, 4, true, 7, fd));
    assert_int_equal(RUN(&k, bell, 32), 0);
    assert_int_equal(read(fd, &n, sizeof(n)), 8);
    assert_int_equal(n, 1);
    assert_int_equal(k.writes, 1); /* 8 is not the value of the doorbell */
    kvm_accel.stats(k.vm, add_number, sum);
    assert_int_equal(sum[0], 1);
    kit_close(&k);
    close(fd);
}

static void long_mode_runs(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    kit_open(&k, NULL);
    assert_int_equal(RUN(&k, wide, 64), 0);
    assert_int_equal(peek(&k, 0x3000, 8), 0x123456789abcdef0);
    kit_close(&k);
}

static void triple_fault_resets(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    kit_open(&k, NULL);
    k.vm->no_reboot = true;
    RUN(&k, triple, 32);
    assert_int_equal(k.vm->verdict, VERDICT_RESET);
    kit_close(&k);
}

static void spinning_guest_is_stopped_and_goes_on(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    kit_open(&k, NULL);
    place(&k, CODE, guest_spin, guest_spin_end);
    start_at(&k, 16);
    for (unsigned i = 0; i < 3; i++) {
        vm_start(k.vm);
        uint64_t before = peek(&k, 0x3000, 2);
        for (unsigned n = 0; n < 2000 && peek(&k, 0x3000, 2) == before; n++)
            usleep(1000);
        assert_int_not_equal(peek(&k, 0x3000, 2), before);
        vm_pause(k.vm);
        uint64_t still = peek(&k, 0x3000, 2);
        usleep(5000);
        assert_int_equal(peek(&k, 0x3000, 2), still);
        assert_in_range(k.x->rip, CODE, CODE + 16);
    }
    kit_close(&k);
}

static void halt_with_interrupts_off_ends_the_run(void **unused)
{
    NEEDS_KVM();
    for (unsigned n = 1; n <= 2; n++) { /* one that nobody started changes nothing */
        struct kit k = { .n_cpus = n };
        kit_open(&k, NULL);
        RUN(&k, halt, 16);
        assert_int_equal(k.vm->verdict, VERDICT_ALL_HALTED);
        kit_close(&k);
    }
}

/* A local APIC of one vector. */
static int acknowledge(void *opaque)
{
    struct kit *k = opaque;
    k->n_asked++;
    x86_set_intr(k->x->cpu, false);
    return k->vector;
}
static bool pending(void *opaque)
{
    return false; /* the wire says it */
}
static uint8_t get_tpr(void *opaque)
{
    return 0;
}
static void set_tpr(void *opaque, uint8_t cr8)
{
}
static bool set_base(void *opaque, uint64_t value)
{
    return true;
}
static bool read_msr(void *opaque, uint32_t index, uint64_t *value)
{
    *value = 0x77;
    return index == 0x802;
}
static bool write_msr(void *opaque, uint32_t index, uint64_t value)
{
    return false;
}
static const struct x86_apic_ops apic_ops = { pending,  acknowledge, get_tpr,  set_tpr,
                                              set_base, read_msr,    write_msr };

static void again(struct kit *k, unsigned off, uint64_t value)
{
    if (off != 1)
        return;
    k->n_acked++;
    if (k->n_acked < 2)
        x86_set_intr(k->x->cpu, true);
}

static void raise_once(void *opaque)
{
    struct kit *k = opaque;
    x86_set_intr(k->x->cpu, true);
}

static void interrupts_of_a_user_space_apic_arrive(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .vector = 0x20, .on_port = again };
    kit_open(&k, NULL);
    x86_set_apic(k.x->cpu, &apic_ops, &k);
    struct timer *t = timer_new(k.vm, raise_once, &k);
    timer_set(t, NS_PER_S / 20); /* while it sleeps in HLT */
    assert_int_equal(RUN(&k, irq, 16), 2);
    assert_int_equal(k.n_asked, 2);
    timer_free(t);
    kit_close(&k);
}

static void x2apic_registers_of_a_user_space_apic_are_reached(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    kit_open(&k, "qemu64,+x2apic,check=off");
    x86_set_apic(k.x->cpu, &apic_ops, &k);
    assert_int_equal(RUN(&k, msr, 32), 0);
    kit_close(&k);
}

static void start_second(struct kit *k, unsigned off, uint64_t value)
{
    if (off != 2)
        return;
    struct vcpu *second = k->vm->vcpus[1];
    x86_raise(second, X86_INIT);
    x86_start_up(second, 2);
}

static void second_cpu_starts(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .n_cpus = 2, .on_port = start_second };
    kit_open(&k, NULL);
    place(&k, 0x2000, guest_second, guest_second_end);
    assert_int_equal(RUN(&k, first, 16), 9);
    assert_int_equal(k.ports[0], 0x200);
    kit_close(&k);
}

static void pulse(struct kit *k, unsigned off, uint64_t value)
{
    if (off != 2)
        return;
    kvm_accel.irq_line(k->vm, 5, true);
    kvm_accel.irq_line(k->vm, 5, false);
}

static void kernels_8259_takes_lines(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .irqchips = 1 << IRQCHIP_ENGINE, .on_port = pulse };
    kit_open(&k, NULL);
    assert_int_equal(k.vm->irqchip, IRQCHIP_ENGINE);
    assert_int_equal(RUN(&k, pic, 16), 1);
    kit_close(&k);
}

static void write_idt(struct kit *k, unsigned vector, uint32_t handler)
{
    uint8_t gate[8], idtr[6];
    store_le(gate, 8,
             (uint64_t)(handler & 0xffff) | (uint64_t)0x10 << 16 | (uint64_t)0x8e00 << 32 |
                 (uint64_t)(handler >> 16) << 48);
    store_le(idtr, 2, 0x7ff);
    store_le(idtr + 2, 4, 0x4000);
    assert_true(mem_write(k->vm, 0x4000 + 8 * vector, gate, 8));
    assert_true(mem_write(k->vm, 0x3800, idtr, 6));
    /* IRET loads CS from the table: entry 0x10, as x86_place_flat has it. */
    uint8_t code[8];
    store_le(code, 8, 0x00cf9b000000ffff);
    assert_true(mem_write(k->vm, 0x5010, code, 8));
    store_le(code, 8, 0x00cf93000000ffff);
    assert_true(mem_write(k->vm, 0x5018, code, 8));
    k->x->gdt = (struct x86_table){ 0x5000, 0x1f };
}

/* A handler that begins at the last multiple of 64 of its guest. */
#define HANDLER(name) \
    (CODE +           \
     (uint32_t)(((uintptr_t)guest_##name##_end - (uintptr_t)guest_##name - 1) & ~(uintptr_t)63))

static void send_msi(struct kit *k, unsigned off, uint64_t value)
{
    if (off == 2)
        vm_send_msi(k->vm, 0xfee00000, 0x30);
}

static void message_reaches_the_kernels_apic(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .irqchips = 1 << IRQCHIP_ENGINE, .on_port = send_msi };
    kit_open(&k, NULL);
    write_idt(&k, 0x30, HANDLER(msi));
    assert_int_equal(RUN(&k, msi, 32), 1);
    kit_close(&k);
}

static void signal_fd(struct kit *k, unsigned off, uint64_t value)
{
    uint64_t one = 1;
    if (off == 2)
        assert_int_equal(write(k->fd, &one, 8), 8);
}

static void eventfd_is_routed_as_a_message(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .irqchips = 1 << IRQCHIP_ENGINE, .on_port = signal_fd };
    k.fd = eventfd(0, EFD_NONBLOCK);
    kit_open(&k, NULL);
    vm_route_msi(k.vm, k.fd, 0xfee00000, 0x31);
    vm_route_msi(k.vm, k.fd, 0xfee00000, 0x30); /* the newer one counts */
    assert_null(k.vm->msi_routes);              /* the kernel does it */
    write_idt(&k, 0x30, HANDLER(msi));
    assert_int_equal(RUN(&k, msi, 32), 1);
    vm_unroute_msi(k.vm, k.fd);
    kit_close(&k);
    close(k.fd);
}

/* ---- interrupt controllers in user space ---- */

static struct device *add(struct kit *k, const char *name, const char *prop, const char *value)
{
    struct prop_value props[] = { { prop, value } };
    struct device *dev;
    must(device_create(k->vm, name, props, 1, &dev));
    return dev;
}

/* A PC's controllers; the VM is reset once more, so that they are, too. */
static struct device *add_controllers(struct kit *k)
{
    char n[8];
    snprintf(n, sizeof(n), "%u", k->vm->n_vcpus);
    struct prop_value props[] = { { "num-cpus", n }, { "addr", "0xfee00000" } };
    struct prop_value ports[] = { { "iobase", "0x20" }, { "iobase2", "0xa0" } };
    struct device *apic, *pic;
    must(device_create(k->vm, "isa-i8259", ports, 2, &pic));
    must(device_create(k->vm, "apic", props, 2, &apic));
    apic_wire(apic, k->ioapic, pic);
    *i8259_output(pic) = apic_lint(apic, 0);
    x86_wire_apics(k->vm, apic);
    vm_reset(k->vm);
    return pic;
}

static void pulse_pic(struct kit *k, unsigned off, uint64_t value)
{
    struct irq line = i8259_input(k->pic, 5);
    irq_set(&line, true);
    irq_set(&line, false);
}

static void our_8259_is_heard_through_the_local_apic(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .on_port = pulse_pic };
    kit_open(&k, NULL);
    k.pic = add_controllers(&k);
    assert_int_equal(RUN(&k, pic, 16), 1);
    kit_close(&k);
}

static void message_reaches_our_apic(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .on_port = send_msi };
    kit_open(&k, NULL);
    add_controllers(&k);
    write_idt(&k, 0x30, HANDLER(msi));
    assert_int_equal(RUN(&k, msi, 32), 1);
    kit_close(&k);
}

static void eventfd_is_routed_to_our_apic_by_the_main_loop(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .on_port = signal_fd };
    k.fd = eventfd(0, EFD_NONBLOCK);
    kit_open(&k, NULL);
    add_controllers(&k);
    vm_route_msi(k.vm, k.fd, 0xfee00000, 0x30);
    write_idt(&k, 0x30, HANDLER(msi));
    assert_int_equal(RUN(&k, msi, 32), 1);
    vm_unroute_msi(k.vm, k.fd);
    assert_null(k.vm->msi_routes);
    kit_close(&k);
    close(k.fd);
}

static void start_by_ipi(unsigned irqchips)
{
    struct kit k = { .n_cpus = 2, .irqchips = irqchips };
    kit_open(&k, NULL);
    if (!irqchips)
        add_controllers(&k);
    place(&k, 0x2000, guest_second, guest_second_end);
    assert_int_equal(RUN(&k, ipi, 32), 9);
    assert_int_equal(k.ports[0], 0x200);
    kit_close(&k);
}

static void second_cpu_starts_by_our_apic(void **unused)
{
    NEEDS_KVM();
    start_by_ipi(0);
}
static void second_cpu_starts_by_the_kernels_apic(void **unused)
{
    NEEDS_KVM();
    start_by_ipi(1 << IRQCHIP_ENGINE);
}

static void tick(unsigned irqchips)
{
    struct kit k = { .irqchips = irqchips };
    kit_open(&k, NULL);
    if (!irqchips)
        add_controllers(&k);
    write_idt(&k, 0x30, HANDLER(timer));
    assert_int_equal(RUN(&k, timer, 32), 4);
    kit_close(&k);
}

static void timer_of_our_apic_ticks(void **unused)
{
    NEEDS_KVM();
    tick(0);
}
static void timer_of_the_kernels_apic_ticks(void **unused)
{
    NEEDS_KVM();
    tick(1 << IRQCHIP_ENGINE);
}

/* ---- controllers change hands ---- */

static struct x86_chip_devices add_all_controllers(struct kit *k)
{
    struct x86_chip_devices d = { .ioapic = add(k, "ioapic", "addr", "0xfec00000") };
    k->ioapic = d.ioapic;
    d.pic = add_controllers(k);
    d.pit = add(k, "isa-pit", "iobase", "0x40");
    struct device *apic = k->vm->devices;
    while (strcmp(apic->cls->name, "apic"))
        apic = apic->next;
    d.apic = apic;
    vm_reset(k->vm);
    return d;
}

static void out_bytes(struct kit *k, uint32_t port, const char *bytes)
{
    for (; *bytes; bytes++)
        assert_true(mem_port_write(k->vm, port, 1, (uint8_t)*bytes));
}

/* As a guest in full swing would leave them: vectors at 0x20 and 0x28, IRQ 3 in service, IRQ 9 waiting, levels
 * in the I/O APIC, a tick of 1 kHz, a local timer that counts. */
static void use_controllers(struct kit *k, const struct x86_chip_devices *d)
{
    out_bytes(k, 0x20, "\x11");
    out_bytes(k, 0x21, "\x20\x04\x01\x40");
    out_bytes(k, 0xa0, "\x11");
    out_bytes(k, 0xa1, "\x28\x02\x01\x10");
    out_bytes(k, 0x20, "\x0b");
    struct irq three = i8259_input(d->pic, 3), nine = i8259_input(d->pic, 9);
    struct irq sixteen = ioapic_input(d->ioapic, 16);
    irq_set(&three, true);
    assert_int_equal(i8259_acknowledge(d->pic), 0x23);
    irq_set(&nine, true);
    irq_set(&sixteen, true);
    out_bytes(k, 0x43, "\x34\x80"); /* counter 0: mode 2, both bytes; counter 2 latched */
    out_bytes(k, 0x40, "\xa9\x04");
    const struct {
        gpa at;
        uint32_t value;
    } writes[] = {
        { 0xfec00000, 0x31 },       { 0xfec00010, 0 },       { 0xfec00000, 0x30 },
        { 0xfec00010, 0x18041 },    { 0xfec00000, 0x14 },    { 0xfec00010, 0x51 },
        { 0xfec00000, 0 },          { 0xfec00010, 2 << 24 }, { 0xfee000f0, 0x1ff },
        { 0xfee00080, 0x20 },       { 0xfee003e0, 0xb },     { 0xfee00320, 0x20061 },
        { 0xfee00380, 0x70000000 }, { 0xfee00350, 0x700 },   { 0xfee000d0, 0x1000000 },
    };
    for (size_t i = 0; i < ARRAY_LEN(writes); i++)
        assert_true(mem_io_write(k->vm, writes[i].at, 4, writes[i].value));
    vm_send_msi(k->vm, 0xfee00000, 0x45);
}

/* Time goes on while they change hands, and ticks may come meanwhile: IRQ 0, pin 2, vector 0x51 of the first CPU. */
static void forget_time(struct kit *k, struct x86_chips *c)
{
    enum { CURRENT = 0x390, IRR_2 = 0x220, TICK = 1 << (0x51 - 64) };
    for (unsigned i = 0; i < 3; i++)
        c->pit[i].elapsed_ns = 0;
    c->pic[0].irr &= ~1;
    c->pic[0].level &= ~1;
    c->ioapic.level &= ~(1u << 2);
    for (unsigned i = 0; i < k->vm->n_vcpus; i++) {
        uint8_t *lapic = x86_of(k->vm->vcpus[i])->lapic;
        store_le(lapic + CURRENT, 4, 0);
        store_le(lapic + IRR_2, 4, load_le(lapic + IRR_2, 4) & ~(uint64_t)TICK);
    }
}

static void print_state(void *whose, const char *line)
{
    print_message("# %s: %s\n", (const char *)whose, line);
}

static void assert_same_chips(const struct x86_chips *a, const struct x86_chips *b)
{
    const char *name = state_differ(&x86_chips_state, a, b);
    if (!name)
        return;
    state_print(&x86_chips_state, a, print_state, "one");
    state_print(&x86_chips_state, b, print_state, "two");
    fail_msg("%s differs", name);
}

static void assert_same_lapics(struct kit *a, struct kit *b)
{
    for (unsigned i = 0; i < a->vm->n_vcpus; i++) {
        const struct x86_cpu *x = x86_of(a->vm->vcpus[i]), *y = x86_of(b->vm->vcpus[i]);
        for (unsigned reg = 0; reg < X86_LAPIC_PAGE; reg += 16) {
            uint64_t u = load_le(x->lapic + reg, 4), v = load_le(y->lapic + reg, 4);
            bool no_state = reg == 0x30 || reg == 0x90 || reg == 0xa0 || reg == 0x380;
            if (u != v && !no_state) /* version, arbitration and processor priority */
                fail_msg("vCPU %u: local APIC register %#x is %#x and %#x", i, reg, (unsigned)u,
                         (unsigned)v);
        }
        assert_int_equal(x->apic_base, y->apic_base);
    }
}

static void copy_lapics(struct kit *from, struct kit *to)
{
    for (unsigned i = 0; i < from->vm->n_vcpus; i++) {
        struct x86_cpu *x = x86_of(from->vm->vcpus[i]), *y = x86_of(to->vm->vcpus[i]);
        memcpy(y->lapic, x->lapic, sizeof(x->lapic));
        y->apic_base = x->apic_base;
        y->tsc_deadline = x->tsc_deadline;
    }
}

static void controllers_of_devices_become_those_of_others(void **unused)
{
    NEEDS_KVM();
    struct kit a = { .n_cpus = 2 }, b = { .n_cpus = 2 };
    struct x86_chips one, two;
    kit_open(&a, NULL);
    kit_open(&b, NULL);
    struct x86_chip_devices from = add_all_controllers(&a), to = add_all_controllers(&b);
    use_controllers(&a, &from);
    x86_chips_from_devices(a.vm, &from, &one);
    copy_lapics(&a, &b);
    must(x86_chips_to_devices(b.vm, &one, &to));
    x86_chips_from_devices(b.vm, &to, &two);
    forget_time(&a, &one);
    forget_time(&b, &two);
    assert_same_chips(&one, &two);
    assert_same_lapics(&a, &b);
    assert_int_equal(one.pic[0].isr, 1 << 3);
    assert_int_equal(one.pic[1].irr, 1 << 1);
    assert_int_equal(load_le(a.x->lapic + 0x220, 4), 1 << 5); /* vector 0x45 waits */
    kit_close(&a);
    kit_close(&b);
}

/* Devices, the kernel, devices. */
static void change_hands_with_the_kernel(bool x2apic)
{
    const char *model = "qemu64,+x2apic,check=off";
    struct kit a = { .n_cpus = 2 }, b = { .n_cpus = 2 },
               kernel = { .n_cpus = 2, .irqchips = 1 << IRQCHIP_ENGINE };
    struct x86_chips one, two, inside;
    kit_open(&a, model);
    kit_open(&b, model);
    kit_open(&kernel, model);
    struct x86_chip_devices from = add_all_controllers(&a), to = add_all_controllers(&b);
    use_controllers(&a, &from);
    for (unsigned i = 0; i < 2 && x2apic; i++) {
        uint64_t base = 0xfee00c00 | (i == 0 ? X86_APIC_BASE_BSP : 0);
        assert_true(lapic_write_msr(lapic_of(from.apic, i), 0x1b, base));
    }
    x86_chips_from_devices(a.vm, &from, &one);
    copy_lapics(&a, &kernel);
    must(kvm_accel.set_chips(kernel.vm, &one));
    for (unsigned i = 0; i < 2; i++) {
        kvm_accel.set_state(kernel.vm->vcpus[i]);
        kvm_accel.get_state(kernel.vm->vcpus[i]);
    }
    must(kvm_accel.get_chips(kernel.vm, &inside));
    assert_int_equal(kernel.vm->verdict, VERDICT_NONE);
    copy_lapics(&kernel, &b);
    must(x86_chips_to_devices(b.vm, &inside, &to));
    x86_chips_from_devices(b.vm, &to, &two);
    forget_time(&a, &one);
    forget_time(&b, &two);
    assert_same_chips(&one, &two);
    assert_same_lapics(&a, &b);
    kit_close(&a);
    kit_close(&b);
    kit_close(&kernel);
}

static void controllers_change_hands_with_the_kernel(void **unused)
{
    NEEDS_KVM();
    change_hands_with_the_kernel(false);
}
static void x2apics_change_hands_with_the_kernel(void **unused)
{
    NEEDS_KVM();
    change_hands_with_the_kernel(true);
}

/* ---- split ---- */

/* The line falls with the second round; what is still high after an EOI interrupts again. */
static void drive_pin(struct kit *k, unsigned off, uint64_t value)
{
    struct irq line = ioapic_input(k->ioapic, 16);
    k->n_acked += off == 3;
    if (off == 2 || k->n_acked == 2)
        irq_set(&line, off == 2);
}

static void level_interrupt_comes_again_until_its_line_falls(unsigned irqchips)
{
    struct kit k = { .irqchips = irqchips, .on_port = drive_pin };
    kit_open(&k, NULL);
    k.ioapic = add(&k, "ioapic", "addr", "0xfec00000");
    if (irqchips) {
        x86_wire_split(k.vm, k.ioapic, NULL);
        vm_reset(k.vm);
    } else {
        add_controllers(&k);
    }
    write_idt(&k, 0x30, HANDLER(level));
    assert_int_equal(RUN(&k, level, 32), 2);
    assert_int_equal(k.n_acked, 2);
    kit_close(&k);
}

static void our_ioapic_hears_the_end_from_our_apic(void **unused)
{
    NEEDS_KVM();
    level_interrupt_comes_again_until_its_line_falls(0);
}
static void our_ioapic_hears_the_end_from_the_kernels_apic(void **unused)
{
    NEEDS_KVM();
    level_interrupt_comes_again_until_its_line_falls(1 << IRQCHIP_SPLIT);
}

static void our_8259_is_heard_by_the_kernels_apic(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .irqchips = 1 << IRQCHIP_SPLIT, .on_port = pulse_pic };
    kit_open(&k, NULL);
    assert_int_equal(k.vm->irqchip, IRQCHIP_SPLIT);
    k.pic = add(&k, "isa-i8259", "iobase", "0x20");
    k.ioapic = add(&k, "ioapic", "addr", "0xfec00000");
    x86_wire_split(k.vm, k.ioapic, k.pic);
    vm_reset(k.vm);
    assert_int_equal(RUN(&k, pic, 16), 1);
    kit_close(&k);
}

static void boards_that_cannot_are_not_given_kernel_controllers(void **unused)
{
    NEEDS_KVM();
    struct vm *vm;
    must(vm_new(&vm));
    vm->target = &x86_64_target;
    must(x86_cpu_model(vm, NULL));
    struct error *err = kvm_accel.vm_create(vm, "kernel-irqchip=on");
    assert_non_null(err);
    assert_non_null(strstr(error_text(err), "this board cannot"));
    error_free(err);
    err = kvm_accel.vm_create(vm, "kernel-irqchip=maybe");
    assert_non_null(strstr(error_text(err), "on, split or off"));
    error_free(err);
    vm_free(vm);
}

/* A state with something in every place. */
static void fill(struct x86_cpu *x)
{
    for (unsigned i = 0; i < 16; i++) {
        x->gpr[i] = 0x0101010101010101 * (i + 1);
        for (unsigned n = 0; n < 16; n++)
            x->zmm[i][n] = (uint8_t)(16 * i + n);
    }
    for (unsigned i = 0; i < 8; i++)
        for (unsigned n = 0; n < 10; n++)
            x->st[i][n] = (uint8_t)(0x80 + 8 * i + n);
    x->fcw = 0x27f;
    x->fsw = 0x3800;
    x->ftw = 0xff;
    x->mxcsr = 0x1fa0;
    x->fip = 0x1234;
    x->fdp = 0x5678;
    x->rflags = 0x246;
    x->cr2 = 0xdeadbeef000;
    x->dr[0] = 0x1000;
    x->dr[3] = 0x4000;
    x->seg[X86_FS].base = 0x7f0000001000;
    x->seg[X86_GS].base = 0xffff888000000000;
    x->gdt = (struct x86_table){ 0xfffffe0000001000, 0x7f };
    x->idt = (struct x86_table){ 0xfffffe0000000000, 0xfff };
    x->star = 0x0023001000000000;
    x->lstar = 0xffffffff81000080;
    x->cstar = 0xffffffff81000090;
    x->sfmask = 0x47700;
    x->kernel_gs_base = 0xffff888000001000;
    x->sysenter_cs = 0x10;
    x->sysenter_esp = 0xfffffe0000002000;
    x->sysenter_eip = 0xffffffff81001000;
    x->events.nmi_masked = true;
    x->xinuse |= 3;
}

static struct bytes saved(struct kit *k)
{
    struct bytes b = { 0 };
    struct x86_cpu *x = k->x;
    x->tsc = x->tsc_adjust = 0; /* it runs */
    state_save(&b, &x86_64_target.state, 1, x);
    return b;
}

static void say_difference(const struct x86_cpu *a, const struct x86_cpu *b)
{
    const char *name = state_differ(&x86_64_target.state, a, b);
    if (name)
        print_message("# first to differ: %s\n", name);
}

static void state_round_trip(unsigned irqchips)
{
    struct kit a = { .irqchips = irqchips }, b = { .irqchips = irqchips };
    size_t pos = 0;
    kit_open(&a, NULL);
    start_at(&a, 64);
    fill(a.x);
    kvm_accel.set_state(a.x->cpu);
    kvm_accel.get_state(a.x->cpu);
    assert_int_equal(a.vm->verdict, VERDICT_NONE);
    assert_int_equal(a.x->lstar, 0xffffffff81000080);
    assert_int_equal(a.x->gpr[7], 0x0808080808080808);
    assert_int_equal(a.x->zmm[15][15], 0xff);
    assert_int_equal(a.x->fcw, 0x27f);
    assert_int_equal(a.x->seg[X86_GS].base, 0xffff888000000000);
    struct bytes one = saved(&a);
    kit_open(&b, NULL);
    must(state_load(one.at, one.n, &pos, &x86_64_target.state, 1, b.x));
    kvm_accel.set_state(b.x->cpu);
    kvm_accel.get_state(b.x->cpu);
    assert_int_equal(b.vm->verdict, VERDICT_NONE);
    struct bytes two = saved(&b);
    say_difference(a.x, b.x);
    assert_int_equal(one.n, two.n);
    assert_memory_equal(one.at, two.at, one.n);
    bytes_free(&one);
    bytes_free(&two);
    kit_close(&a);
    kit_close(&b);
}

static void state_survives_a_fresh_vcpu(void **unused)
{
    NEEDS_KVM();
    state_round_trip(0);
}
static void state_survives_a_fresh_vcpu_with_the_kernels_apic(void **unused)
{
    NEEDS_KVM();
    state_round_trip(1 << IRQCHIP_ENGINE);
}

static void written_pages_are_logged(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    kit_open(&k, NULL);
    struct ram_block *ram = mem_view_find(mem_view_now(k.vm), 0)->ram;
    for (unsigned i = 0; i < RAM_SIZE / 4096; i++)
        ram->page_flags[i] |= PAGE_LOG_DIRTY;
    kvm_accel.dirty_log_started(k.vm, ram);
    assert_int_equal(RUN(&k, wide, 64), 0);
    kvm_accel.dirty_log_sync(k.vm, ram);
    assert_false(ram->page_flags[3] & PAGE_LOG_DIRTY);
    assert_true(ram->page_flags[4] & PAGE_LOG_DIRTY);
    assert_true(ram->page_flags[100] & PAGE_LOG_DIRTY);
    kit_close(&k);
}

/* Written pages come by rings, also when one is full before anybody asks. */
static void written_pages_come_by_rings(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .options = "dirty-ring-size=1024" };
    kit_open(&k, NULL);
    if (!kvm_of(k.vm)->ring_entries) {
        print_message("# this KVM has no rings of written pages\n");
        kit_close(&k);
        skip();
    }
    struct ram_block *ram = mem_view_find(mem_view_now(k.vm), 0)->ram;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < RAM_SIZE / 4096; i++)
            ram->page_flags[i] |= PAGE_LOG_DIRTY;
        kvm_accel.dirty_log_started(k.vm, ram);
        place(&k, CODE, guest_fill, guest_fill_end);
        start_at(&k, 32);
        if (round == 0) {
            assert_int_equal(vm_run(k.vm), 0);
        } else { /* again: what was told is told anew */
            k.vm->verdict = VERDICT_NONE;
            k.vm->state = RUN_PRELAUNCH;
            vm_run(k.vm);
        }
        kvm_accel.dirty_log_sync(k.vm, ram);
        for (unsigned i = 0x20; i < 0x1f0; i++)
            assert_false(ram->page_flags[i] & PAGE_LOG_DIRTY);
        assert_true(ram->page_flags[0x1f1] & PAGE_LOG_DIRTY);
    }
    kit_close(&k);
}

static void wrong_ring_sizes_are_refused(void **unused)
{
    NEEDS_KVM();
    const char *const wrong[] = { "dirty-ring-size=1000", "dirty-ring-size=x" };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct vm *vm;
        must(vm_new(&vm));
        vm->target = &x86_64_target;
        must(x86_cpu_model(vm, NULL));
        struct error *err = kvm_accel.vm_create(vm, wrong[i]);
        assert_non_null(strstr(error_text(err), "a power of two"));
        error_free(err);
        vm_free(vm);
    }
}

static void select_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct kit *k = opaque;
    k->mmio[8 + k->n_asked++ % 8] = value;
    k->mmio[0] = value;
}
static uint64_t selected_read(void *opaque, uint64_t off, unsigned size)
{
    struct kit *k = opaque;
    return k->mmio[0];
}
static const struct mmio_ops select_ops = { .read = selected_read, .write = select_write };

static void index_writes_are_collected_and_come_before_the_next_access(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    double sum[3] = { 0 };
    kit_open(&k, NULL);
    struct mem_region *memory = mem_add_mmio(k.vm, "index", 8, &select_ops, &k);
    struct mem_region *ports = mem_add_mmio(k.vm, "index-ports", 2, &select_ops, &k);
    mem_batch_writes(memory, 0, 4);
    mem_batch_writes(ports, 0, 1);
    mem_map(memory, 0xd0001000, 0);
    mem_map_ports(ports, 0x600, 0);
    assert_int_equal(RUN(&k, batch, 32), 0x77 + 3);
    assert_int_equal(k.n_asked, 4);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(k.mmio[8 + i], i + 1);
    kvm_accel.stats(k.vm, add_number, sum);
    assert_int_equal(sum[0], 1);
    assert_int_equal(sum[1], 2);
    assert_int_equal(kvm_of(k.vm)->n_batched, 4);
    kit_close(&k);
}

/* A guest's pages for KVM's clock, steal time, end of interrupt and asynchronous page faults. */
static void paravirtual_registers_survive_a_fresh_vcpu(void **unused)
{
    NEEDS_KVM();
    const struct {
        uint8_t feature;
        size_t offset;
        uint64_t value;
    } regs[] = {
        { 3, offsetof(struct x86_cpu, kvm_system_time), 0x10001 },
        { 5, offsetof(struct x86_cpu, kvm_steal_time), 0x11001 },
        { 6, offsetof(struct x86_cpu, kvm_pv_eoi), 0x12001 },
        { 12, offsetof(struct x86_cpu, kvm_poll_control), 0 },
        { 14, offsetof(struct x86_cpu, kvm_async_pf_int), 0xec },
        { 14, offsetof(struct x86_cpu, kvm_async_pf), 0x13009 },
    };
    struct kit a = { .irqchips = 1 << IRQCHIP_ENGINE }, b = { .irqchips = 1 << IRQCHIP_ENGINE };
    size_t pos = 0;
    unsigned n = 0;
    kit_open(&a, NULL);
    kit_open(&b, NULL);
    kvm_memory_start(kvm_of(a.vm));
    kvm_memory_start(kvm_of(b.vm));
    for (size_t i = 0; i < ARRAY_LEN(regs); i++)
        if (x86_model_has(a.x->model, X86_KVM_EAX, regs[i].feature))
            *(uint64_t *)((char *)a.x + regs[i].offset) = regs[i].value;
    kvm_accel.set_state(a.x->cpu);
    kvm_accel.get_state(a.x->cpu);
    struct bytes one = saved(&a);
    must(state_load(one.at, one.n, &pos, &x86_64_target.state, 1, b.x));
    kvm_accel.set_state(b.x->cpu);
    kvm_accel.get_state(b.x->cpu);
    for (size_t i = 0; i < ARRAY_LEN(regs); i++)
        if (x86_model_has(a.x->model, X86_KVM_EAX, regs[i].feature)) {
            n++;
            assert_int_equal(*(uint64_t *)((char *)b.x + regs[i].offset), regs[i].value);
        }
    bytes_free(&one);
    kit_close(&a);
    kit_close(&b);
    if (!n) {
        print_message("# this KVM has no paravirtual interface\n");
        skip();
    }
}

/* hv-* flags are there or refused, as this host's KVM is. */
static void enlightenments_are_turned_on_or_refused(void **unused)
{
    NEEDS_KVM();
    struct vm *vm;
    uint32_t out[4];
    must(vm_new(&vm));
    vm->target = &x86_64_target;
    vm->irqchips = 1 << IRQCHIP_ENGINE;
    vm->accel = &kvm_accel;
    must(x86_cpu_model(vm, "qemu64,-pni,-svm,hv-time,hv-relaxed,enforce"));
    struct error *err = kvm_accel.vm_create(vm, NULL);
    if (err) {
        if (!strstr(error_text(err), "hv-"))
            print_message("# %s\n", error_text(err));
        error_free(err);
        vm_free(vm);
        return;
    }
    struct vcpu *cpu;
    must(vcpu_new(vm, 0, &cpu));
    x86_cpuid(x86_of(cpu), 0x40000003, 0, out);
    assert_true(out[0] >> 1 & 1);
    vm_free(vm);
}

/* The map is cut into pieces and put together while the guest runs in it. */
static void map_changes_under_a_running_guest(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    kit_open(&k, NULL);
    place(&k, CODE, guest_spin, guest_spin_end);
    start_at(&k, 16);
    struct mem_region *hole = mem_add_mmio(k.vm, "hole", 0x1000, &mmio_ops, &k);
    vm_start(k.vm);
    for (unsigned i = 0; i < 50; i++) {
        mem_map(hole, 0x6000, 1);
        mem_unmap(hole);
    }
    uint64_t before = peek(&k, 0x3000, 2);
    for (unsigned n = 0; n < 2000 && peek(&k, 0x3000, 2) == before; n++)
        usleep(1000);
    assert_int_not_equal(peek(&k, 0x3000, 2), before);
    vm_pause(k.vm);
    assert_int_equal(k.vm->verdict, VERDICT_NONE);
    kit_close(&k);
}

static uint64_t kvm_clock(struct kit *k)
{
    struct kvm_clock_data now = { 0 };
    assert_true(ioctl(kvm_of(k->vm)->vm_fd, KVM_GET_CLOCK, &now) >= 0);
    return now.clock;
}

static void clock_stands_while_the_vm_does(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    kit_open(&k, NULL);
    place(&k, CODE, guest_spin, guest_spin_end);
    start_at(&k, 16);
    vm_start(k.vm);
    vm_pause(k.vm);
    uint64_t stopped_at = kvm_clock(&k);
    usleep(300000);
    vm_start(k.vm);
    assert_true(kvm_clock(&k) < stopped_at + 250000000);
    vm_pause(k.vm);
    kit_close(&k);
}

/* Registers of features that the model lacks are not there, whatever the host has. */
static void filtered_registers_are_not_there(void **unused)
{
    NEEDS_KVM();
    const struct {
        const char *model;
        int faults;
    } cases[] = { { "qemu64,kvm=off,-tsc-adjust,check=off", 3 },
                  { "qemu64,-tsc-adjust,check=off", 2 } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kit k = { .options = "msr-filter=on" };
        kit_open(&k, cases[i].model);
        write_idt(&k, 13, HANDLER(gp));
        assert_int_equal(RUN(&k, gp, 32), cases[i].faults);
        assert_int_equal(k.vm->n_guest_errors, cases[i].faults);
        kit_close(&k);
    }
}

/* The main loop until the VM stands. */
static void run_until_paused(struct kit *k)
{
    vm_start(k->vm);
    for (unsigned n = 0; n < 2000 && k->vm->state == RUN_RUNNING; n++)
        loop_once(k->vm->loop, 10);
    assert_int_equal(k->vm->state, RUN_PAUSED);
}

static void single_steps_stop_behind_each_instruction(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    const uint8_t lengths[] = { 1, 1, 5, 1 };
    kit_open(&k, NULL);
    place(&k, CODE, guest_walk, guest_walk_end);
    start_at(&k, 32);
    must(kvm_accel.set_debug(k.x->cpu, &(struct vcpu_debug){ .step = true }));
    uint64_t at = CODE;
    for (unsigned i = 0; i < 4; i++) {
        run_until_paused(&k);
        at += lengths[i];
        assert_int_equal(k.x->rip, at);
        assert_int_equal(k.x->cpu->debug_hit, VCPU_STEPPED);
    }
    kit_close(&k);
}

static void points_stop_where_they_are(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    const struct vcpu_debug two = {
        .n = 2, .points = { { POINT_EXECUTE, 1, CODE + 7 }, { POINT_EXECUTE, 1, CODE + 1 } }
    };
    kit_open(&k, NULL);
    place(&k, CODE, guest_walk, guest_walk_end);
    start_at(&k, 32);
    must(kvm_accel.set_debug(k.x->cpu, &two));
    for (unsigned i = 0; i < 3; i++) { /* each comes once a round */
        run_until_paused(&k);
        assert_int_equal(k.x->cpu->debug_hit, 1);
        assert_int_equal(k.x->rip, CODE + 1);
        assert_int_equal(k.x->gpr[X86_RAX], i + 1);
        run_until_paused(&k);
        assert_int_equal(k.x->cpu->debug_hit, 0);
        assert_int_equal(k.x->rip, CODE + 7);
    }
    must(kvm_accel.set_debug(k.x->cpu, &(struct vcpu_debug){ 0 }));
    vm_start(k.vm);
    loop_once(k.vm->loop, 20);
    assert_int_equal(k.vm->state, RUN_RUNNING);
    vm_pause(k.vm);
    kit_close(&k);
}

static void written_data_stops(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    const struct vcpu_debug two = {
        .n = 2, .points = { { POINT_WRITE, 4, 0x3000 }, { POINT_EXECUTE, 1, CODE } }
    };
    kit_open(&k, NULL);
    place(&k, CODE, guest_walk, guest_walk_end);
    start_at(&k, 32);
    must(kvm_accel.set_debug(k.x->cpu, &two));
    run_until_paused(&k);
    assert_int_equal(k.x->cpu->debug_hit, 1);
    run_until_paused(&k);
    int hit = k.x->cpu->debug_hit;
    uint64_t at = k.x->rip;
    kit_close(&k);
    if (hit == 1) {
        print_message("# this host's KVM emulates the guest, and watches no data\n");
        skip();
    }
    assert_int_equal(hit, 0);
    assert_int_equal(at, CODE + 7);
}

static void impossible_points_are_refused(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    const struct vcpu_debug odd = { .n = 1, .points = { { POINT_WRITE, 4, 0x3001 } } };
    kit_open(&k, NULL);
    struct error *err = kvm_accel.set_debug(k.x->cpu, &(struct vcpu_debug){ .n = 5 });
    assert_string_equal(error_text(err), "a CPU under KVM has 4 breakpoints, not 5");
    error_free(err);
    err = kvm_accel.set_debug(k.x->cpu, &odd);
    assert_non_null(err);
    error_free(err);
    kit_close(&k);
}

static void ask_for_reset(struct kit *k, unsigned off, uint64_t value)
{
    if (off == 2)
        vm_request_reset(k->vm);
}

static void start_real(void *opaque)
{
    start_at(opaque, 16);
}

static void reset_starts_again(void **unused)
{
    NEEDS_KVM();
    for (unsigned irqchips = 0; irqchips <= 1 << IRQCHIP_ENGINE; irqchips += 1 << IRQCHIP_ENGINE) {
        struct kit k = { .irqchips = irqchips, .on_port = ask_for_reset, .n_cpus = 2 };
        kit_open(&k, NULL);
        vm_on_reset(k.vm, start_real, &k);
        assert_int_equal(RUN(&k, again, 16), 3);
        kit_close(&k);
    }
}

/* Code outside memory is what every KVM gives up at. */
static void what_kvm_cannot_execute_is_a_verdict(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    char text[4096] = "";
    int fds[2];
    kit_open(&k, NULL);
    assert_int_equal(pipe(fds), 0);
    k.vm->log.fd = fds[1];
    x86_place_flat(k.x->cpu, TEST_MMIO, 0);
    vm_run(k.vm);
    assert_int_equal(k.vm->verdict, VERDICT_ENGINE_FAILED);
    k.vm->log.fd = 2;
    close(fds[1]);
    ssize_t n = read(fds[0], text, sizeof(text) - 1);
    assert_true(n > 0);
    assert_non_null(strstr(text, "rip=00000000d0000000"));
    close(fds[0]);
    kit_close(&k);
}

static void no_such_instruction(struct kvm_run *run)
{
    static const uint8_t clac[] = { 0x0f, 0x01, 0xca };
    run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
    run->emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
    run->emulation_failure.ndata = 4;
    run->emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
    run->emulation_failure.insn_size = sizeof(clac);
    memcpy(run->emulation_failure.insn_bytes, clac, sizeof(clac));
}
static void bad_entry(struct kvm_run *run)
{
    run->exit_reason = KVM_EXIT_FAIL_ENTRY;
    run->fail_entry.hardware_entry_failure_reason = 0x80000021;
}
static void other_engine_error(struct kvm_run *run)
{
    run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
    run->internal.suberror = KVM_INTERNAL_ERROR_SIMUL_EX;
    run->internal.ndata = 0;
}
static void too_long(struct kvm_run *run)
{
    run->exit_reason = KVM_EXIT_MMIO;
    run->mmio.len = 9;
}

/* What a kernel may report, told to a vCPU that has not run: the words, and the code it had fetched. */
static void failures_are_told_in_words_and_with_the_code(void **unused)
{
    NEEDS_KVM();
    struct {
        void (*fill)(struct kvm_run *run);
        const char *said[3];
    } cases[] = {
        { no_such_instruction, { "it cannot execute this instruction", "0f01ca", "rip=" } },
        { bad_entry, { "refuses to enter", "not one that a CPU can be in", "0x80000021" } },
        { other_engine_error, { "two exceptions at a time", "internal error 2", "rip=" } },
        { too_long, { "a memory access of 9 bytes", "rip=", "cr0=" } },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kit k = { .options = "takeover=off" };
        char text[8192] = "";
        int fds[2];
        kit_open(&k, NULL);
        start_at(&k, 64);
        kvm_accel.set_state(k.x->cpu);
        assert_int_equal(pipe(fds), 0);
        k.vm->log.fd = fds[1];
        struct kvm_vcpu *v = kvm_vcpu_of(k.x->cpu);
        cases[i].fill(v->run);
        assert_int_equal(kvm_exit(v, host_now_ns()), KVM_STOPPED);
        assert_int_equal(k.vm->verdict, VERDICT_ENGINE_FAILED);
        k.vm->log.fd = 2;
        close(fds[1]);
        assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
        for (unsigned n = 0; n < 3; n++)
            if (!strstr(text, cases[i].said[n]))
                fail_msg("'%s' is not in:\n%s", cases[i].said[n], text);
        close(fds[0]);
        kit_close(&k);
    }
}

enum { BEYOND_FACTS = 8, BEYOND_INT3 = CODE + 512, BEYOND_UD2 = BEYOND_INT3 + 64 };

static void count_takeovers(void *opaque, const char *name, double value)
{
    double *n = opaque;
    if (!strcmp(name, "kvm.takeovers"))
        n[0] = value;
    if (!strcmp(name, "kvm.takeovers.popcnt"))
        n[1] = value;
}

static void put_descriptor(struct kit *k, gpa at, uint64_t low, uint64_t high)
{
    uint8_t le[16];
    store_le(le, 8, low);
    store_le(le + 8, 8, high);
    assert_true(mem_write(k->vm, at, le, 16));
}

static void put_table(struct kit *k, gpa at, uint64_t base)
{
    uint8_t le[10];
    store_le(le, 2, 0xfff);
    store_le(le + 2, 8, base);
    assert_true(mem_write(k->vm, at, le, 10));
}

/* Handlers in 64-bit mode: int3 and #UD. */
static void open_beyond(struct kit *k, const char *options, unsigned irqchips)
{
    *k = (struct kit){ .irqchips = irqchips, .options = options };
    kit_open(k, "max,check=off");
    place(k, CODE, guest_beyond, guest_beyond_end);
    start_at(k, 64);
    k->x->cr4 |= X86_CR4_OSFXSR | X86_CR4_OSXSAVE | X86_CR4_SMAP;
    k->x->xcr0 = 3;
    put_table(k, 0x3800, 0x5000);
    put_table(k, 0x3810, 0x6000);
    put_descriptor(k, 0x6010, 0x00af9b000000ffff, 0x00cf93000000ffff); /* CS 0x10, SS 0x18 */
    put_descriptor(k, 0x5000 + 16 * 3, 0x00008e0000100000 | BEYOND_INT3, 0);
    put_descriptor(k, 0x5000 + 16 * 6, 0x00008e0000100000 | BEYOND_UD2, 0);
}

static void what_kvm_cannot_execute_the_translator_does(void **unused)
{
    NEEDS_KVM();
    for (unsigned irqchips = 0; irqchips <= 1 << IRQCHIP_ENGINE; irqchips += 1 << IRQCHIP_ENGINE) {
        struct kit k;
        double n[2] = { 0 };
        open_beyond(&k, NULL, irqchips);
        vm_run(k.vm);
        assert_int_equal(k.vm->verdict, VERDICT_GUEST_EXIT);
        assert_int_equal(k.vm->exit_code, BEYOND_FACTS);
        kvm_accel.stats(k.vm, count_takeovers, n);
        print_message("# %u instructions were taken over\n", (unsigned)n[0]);
        assert_int_equal(n[1] != 0, n[0] != 0); /* a KVM that lacks none needs no help */
        assert_int_equal(k.vm->helper != NULL, n[0] != 0);
        kit_close(&k);
    }
}

/* On a host whose KVM needs help: without it the run ends at the first such instruction. */
static void without_takeover_it_is_a_verdict(void **unused)
{
    NEEDS_KVM();
    struct kit k;
    double n[2] = { 0 };
    open_beyond(&k, NULL, 0);
    vm_run(k.vm);
    kvm_accel.stats(k.vm, count_takeovers, n);
    kit_close(&k);
    if (!n[0])
        skip();
    open_beyond(&k, "takeover=off", 0);
    k.vm->log.fd = -1;
    vm_run(k.vm);
    assert_int_equal(k.vm->verdict, VERDICT_ENGINE_FAILED);
    assert_null(k.vm->helper);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ports_reach_the_common_dispatch),
        cmocka_unit_test(string_instructions_move_every_item),
        cmocka_unit_test(mmio_reaches_the_common_dispatch),
        cmocka_unit_test(exits_are_counted_by_reason),
        cmocka_unit_test(rom_is_read_without_exits_and_keeps_its_contents),
        cmocka_unit_test(doorbell_rings_inside_the_kernel),
        cmocka_unit_test(long_mode_runs),
        cmocka_unit_test(triple_fault_resets),
        cmocka_unit_test(spinning_guest_is_stopped_and_goes_on),
        cmocka_unit_test(halt_with_interrupts_off_ends_the_run),
        cmocka_unit_test(interrupts_of_a_user_space_apic_arrive),
        cmocka_unit_test(x2apic_registers_of_a_user_space_apic_are_reached),
        cmocka_unit_test(second_cpu_starts),
        cmocka_unit_test(kernels_8259_takes_lines),
        cmocka_unit_test(message_reaches_the_kernels_apic),
        cmocka_unit_test(eventfd_is_routed_as_a_message),
        cmocka_unit_test(our_8259_is_heard_through_the_local_apic),
        cmocka_unit_test(message_reaches_our_apic),
        cmocka_unit_test(eventfd_is_routed_to_our_apic_by_the_main_loop),
        cmocka_unit_test(second_cpu_starts_by_our_apic),
        cmocka_unit_test(second_cpu_starts_by_the_kernels_apic),
        cmocka_unit_test(timer_of_our_apic_ticks),
        cmocka_unit_test(timer_of_the_kernels_apic_ticks),
        cmocka_unit_test(controllers_of_devices_become_those_of_others),
        cmocka_unit_test(controllers_change_hands_with_the_kernel),
        cmocka_unit_test(x2apics_change_hands_with_the_kernel),
        cmocka_unit_test(our_ioapic_hears_the_end_from_our_apic),
        cmocka_unit_test(our_ioapic_hears_the_end_from_the_kernels_apic),
        cmocka_unit_test(our_8259_is_heard_by_the_kernels_apic),
        cmocka_unit_test(boards_that_cannot_are_not_given_kernel_controllers),
        cmocka_unit_test(state_survives_a_fresh_vcpu),
        cmocka_unit_test(state_survives_a_fresh_vcpu_with_the_kernels_apic),
        cmocka_unit_test(written_pages_are_logged),
        cmocka_unit_test(written_pages_come_by_rings),
        cmocka_unit_test(wrong_ring_sizes_are_refused),
        cmocka_unit_test(index_writes_are_collected_and_come_before_the_next_access),
        cmocka_unit_test(paravirtual_registers_survive_a_fresh_vcpu),
        cmocka_unit_test(enlightenments_are_turned_on_or_refused),
        cmocka_unit_test(map_changes_under_a_running_guest),
        cmocka_unit_test(clock_stands_while_the_vm_does),
        cmocka_unit_test(filtered_registers_are_not_there),
        cmocka_unit_test(single_steps_stop_behind_each_instruction),
        cmocka_unit_test(points_stop_where_they_are),
        cmocka_unit_test(written_data_stops),
        cmocka_unit_test(impossible_points_are_refused),
        cmocka_unit_test(reset_starts_again),
        cmocka_unit_test(failures_are_told_in_words_and_with_the_code),
        cmocka_unit_test(what_kvm_cannot_execute_is_a_verdict),
        cmocka_unit_test(what_kvm_cannot_execute_the_translator_does),
        cmocka_unit_test(without_takeover_it_is_a_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
