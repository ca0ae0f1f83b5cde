/* A client of the debugger that sends anything: packets put together from those there are, damaged, cut, and bytes
 * of no form at all. Whatever comes, the server answers or stays silent, memory stays bounded, and the guest runs
 * again when the client is gone. */
#include "ui/gdb.h"

#include "core/accel.h"
#include "core/chardev.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/vm.h"
#include "target/riscv/riscv.h"
#include "target/x86_64/x86.h"
#include "tests/fuzz/tape.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { RAM_SIZE = 1 << 20, N_CPUS = 2, MOST = 64 /* packets */ };

static void must(struct error *err)
{
    if (err)
        abort();
}

static void no_command(void *opaque, const char *line, void (*print)(void *to, const char *text),
                       void *to)
{
    print(to, line);
}

static const char *const packets[] = { "?",
                                       "g",
                                       "G0011",
                                       "p0",
                                       "p20",
                                       "pff",
                                       "P0=00",
                                       "P20=0040008000000000",
                                       "m80000000,10",
                                       "m0,ffffffff",
                                       "M80000000,2:0102",
                                       "X80000000,1:a",
                                       "x80000000,8",
                                       "c",
                                       "s",
                                       "C05",
                                       "S05;80000000",
                                       "vCont?",
                                       "vCont;c",
                                       "vCont;s:1;c",
                                       "vCont;r80000000,80000010:2",
                                       "vCont;t",
                                       "vAttach;1",
                                       "Hg1",
                                       "Hc-1",
                                       "Hc2",
                                       "T1",
                                       "T9",
                                       "Z0,80000004,4",
                                       "z0,80000004,4",
                                       "Z1,80000008,4",
                                       "Z2,80000800,8",
                                       "Z3,80000801,3",
                                       "Z4,80000800,fff",
                                       "z2,80000800,8",
                                       "qSupported:swbreak+;hwbreak+;error-message+",
                                       "qfThreadInfo",
                                       "qsThreadInfo",
                                       "qThreadExtraInfo,1",
                                       "qXfer:features:read:target.xml:0,fff",
                                       "qXfer:threads:read::0,10",
                                       "qRcmd,68656c70",
                                       "qC",
                                       "qAttached",
                                       "qqemu.sstepbits",
                                       "Qqemu.sstep=1",
                                       "Qqemu.PhyMemMode:1",
                                       "QStartNoAckMode",
                                       "QNonStop:1",
                                       "D",
                                       "!",
                                       "R",
                                       "\3" };

/* Take what the other side would read, so that it does not pile up. */
static void drain(struct chardev *wire)
{
    uint8_t sink[4096];
    while (chardev_ringbuf_read(wire, sink, sizeof(sink)))
        ;
}

static void send_packet(struct chardev *wire, struct tape *tape)
{
    const char *text = packets[tape_u8(tape) % (sizeof(packets) / sizeof(*packets))];
    char data[600] = "";
    size_t length = strlen(text);
    memcpy(data, text, length);
    for (unsigned more = tape_u8(tape) % 8; more; more--) /* other ends, other digits */
        data[tape_u8(tape) % (length + 4)] = (char)tape_u8(tape);
    if (tape_u8(tape) % 4 == 0)
        length = tape_u8(tape) % (length + 4);
    uint8_t sum = 0;
    for (size_t i = 0; i < length; i++)
        sum += (uint8_t)data[i];
    char end[4];
    snprintf(end, sizeof(end), "#%02x", sum ^ (tape_u8(tape) % 16 == 0));
    chardev_feed(wire, (const uint8_t *)"$", 1);
    chardev_feed(wire, (const uint8_t *)data, length);
    chardev_feed(wire, (const uint8_t *)end, 3);
}

static struct vm *small_vm(bool x86)
{
    struct vm *vm;
    struct mem_region *ram;
    const uint64_t at = x86 ? 0 : 0x80000000;
    const uint8_t rv_code[] = { 0x93, 0x82, 0x12, 0, 0x23, 0xb0, 0x55, 0, 0x6f, 0xf0, 0x9f, 0xff };
    const uint8_t x86_code[] = { 0x40, 0xa3, 0x00, 0x06, 0xeb, 0xfa };
    must(vm_new(&vm));
    vm->log.fd = 2;
    vm->accel = &tcg_accel;
    vm->target = x86 ? &x86_64_target : &riscv64_target;
    must(vm->target->cpu_model(vm, "max"));
    must(tcg_accel.vm_create(vm, "tb-size=1,backend=interp"));
    must(mem_add_ram(vm, "ram", RAM_SIZE, false, &ram));
    mem_map(ram, at, 0);
    if (!mem_write(vm, at + 0x7c00, x86 ? x86_code : rv_code,
                   x86 ? sizeof(x86_code) : sizeof(rv_code)))
        abort();
    for (unsigned i = 0; i < N_CPUS; i++) {
        struct vcpu *cpu;
        must(vcpu_new(vm, i, &cpu));
    }
    vm_reset(vm);
    for (unsigned i = 0; i < N_CPUS; i++) {
        if (x86) {
            x86_place_flat(vm->vcpus[i], 0x7c00, 0);
        } else {
            riscv_place(vm->vcpus[i], at + 0x7c00, 0, at + 0x800);
            riscv_of(vm->vcpus[i])->mtvec = at + 0x7c00;
        }
    }
    return vm;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct tape tape = { bytes, n };
    struct chardev *wire;
    struct vm *vm = small_vm(tape_u8(&tape) % 2);
    must(chardev_open(vm, "wire", "ringbuf,size=64K", &wire));
    struct gdb *g = gdb_new(vm, wire, &(struct gdb_hooks){ no_command, NULL });
    vm_start(vm);
    for (unsigned i = 0; i < MOST && tape_left(&tape) && vm->state != RUN_ENDED; i++) {
        uint8_t kind = tape_u8(&tape);
        if (kind % 8 == 7) {
            uint8_t raw = tape_u8(&tape);
            chardev_feed(wire, &raw, 1);
        } else {
            send_packet(wire, &tape);
        }
        if (kind % 4 == 0)
            loop_once(vm->loop, kind >= 0xf0 ? 1 : 0);
        drain(wire);
    }
    gdb_free(g);
    chardev_close(wire);
    vm_free(vm);
    return 0;
}
