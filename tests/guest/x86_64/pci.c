/* PCI by both ways of configuration, BARs that move while they are used, the pin through the 8259, MSI, MSI-X masks.
 * Devices: edu, and virtio-rng-pci (perhaps behind a port), whose queue is driven by hand. */
#include "rt.h"

enum { VECTOR = 0x90, MSIX_VECTOR = 0x91, PIC_BASE = 0x30, N_BUSES = 4, EXTINT = 7 << 8 };
#define MSI_ADDRESS 0xfee00000u

/* ---- configuration space ------------------------------------------------------------------------------------- */
static u32 config(u32 devfn, u32 off)
{
    out32(0xcf8, 1u << 31 | devfn << 8 | (off & 0xfc));
    return in32(0xcfc) >> 8 * (off & 3);
}
static void set_config(u32 devfn, u32 off, u32 v) /* 32 bits */
{
    out32(0xcf8, 1u << 31 | devfn << 8 | off);
    out32(0xcfc, v);
}
static u32 find(u32 id)
{
    for (u32 devfn = 0; devfn < N_BUSES * 256; devfn++)
        if (config(devfn, 0) == id)
            return devfn;
    return 0;
}
static u32 capability(u32 devfn, u8 id, u32 after)
{
    u32 at = after ? config(devfn, after + 1) & 0xff : config(devfn, 0x34) & 0xff;
    while (at && (config(devfn, at) & 0xff) != id)
        at = config(devfn, at + 1) & 0xff;
    return at;
}

static void moving_bar(u32 edu)
{
    u32 from = config(edu, 0x10) & ~15u, to = 0xe8000000;
    TRUE("BAR: has a place", from != 0);
    EQUAL("BAR: answers there", mmio_read(from) & 0xffff, 0x00ed);
    mmio_write(from + 4, 0x12345678);
    EQUAL("BAR: inverts what is written", mmio_read(from + 4), ~0x12345678u);
    set_config(edu, 0x10, to);
    EQUAL("BAR: answers at a new place", mmio_read(to + 4), ~0x12345678u);
    EQUAL("BAR: and not at the old one", mmio_read(from + 4), ~0u);
    for (unsigned i = 0; i < 8; i++) {
        set_config(edu, 0x10, i & 1 ? from : to);
        if (mmio_read((i & 1 ? from : to) + 4) != ~0x12345678u)
            from = 0;
    }
    TRUE("BAR: moves to and fro", from != 0);
    u32 command = config(edu, 4) & 0xffff;
    set_config(edu, 4, command & ~2u);
    EQUAL("BAR: is gone without memory decoding", mmio_read(from + 4), ~0u);
    set_config(edu, 4, command | 2);
    EQUAL("BAR: and back with it", mmio_read(from + 4), ~0x12345678u);
    set_config(edu, 0x10, ~0u);
    EQUAL("BAR: size is a mebibyte", -(config(edu, 0x10) & ~15u), 1u << 20);
    set_config(edu, 0x10, from);
}

static u32 edu_bar;
static void on_edu(void)
{
    mmio_write(edu_bar + 0x64, 1); /* lowers the pin */
}

/* To the line that whoever started us wrote down, which is a level. */
static void by_pin(u32 edu)
{
    u8 line = (u8)config(edu, 0x3c), vector = PIC_BASE + line;
    edu_bar = config(edu, 0x10) & ~15u;
    TRUE("pin: has a line", line == 10 || line == 11);
    EQUAL("pin: the line is a level", in8(0x4d1) >> (line - 8) & 1, 1);
    forget_interrupts();
    eoi_of[vector] = EOI_PIC2;
    on_vector[vector] = on_edu;
    pic_init(PIC_BASE, (u16) ~(1u << line | 1 << 2));
    mmio_write(LAPIC + LINT0, EXTINT);
    mmio_write(edu_bar + 0x60, 1);
    TRUE("pin: its interrupt arrives", wait_for(vector, 1, 1000));
    wait_ms(5);
    EQUAL("pin: once", count[vector], 1);
    pic_mask(0xffff);
    mmio_write(LAPIC + LINT0, MASKED);
    on_vector[vector] = NULL;
}

static void by_msi(u32 edu)
{
    u32 bar = config(edu, 0x10) & ~15u, cap = capability(edu, 5, 0);
    forget_interrupts();
    eoi_of[VECTOR] = EOI_APIC;
    set_config(edu, 4, (config(edu, 4) & 0xffff) | 4 | 1 << 10);
    set_config(edu, cap + 4, MSI_ADDRESS | mmio_read(LAPIC + ID) >> 24 << 12);
    set_config(edu, cap + 8, 0);
    set_config(edu, cap + 12, VECTOR);
    set_config(edu, cap, config(edu, cap) | 1 << 16);
    mmio_write(bar + 0x60, 1);
    TRUE("MSI: arrives", wait_for(VECTOR, 1, 1000));
    mmio_write(bar + 0x64, 1);
    set_config(edu, cap, config(edu, cap) & ~(1u << 16));
    forget_interrupts();
    mmio_write(bar + 0x60, 1);
    wait_ms(20);
    EQUAL("MSI: not when it is disabled", count[VECTOR], 0);
    mmio_write(bar + 0x64, 1);
}

/* ---- virtio ----------------------------------------------------------------------------------------------------- */
enum { COMMON = 1, NOTIFY = 2, QUEUE_SIZE = 4 };
static struct {
    u64 at;
    u32 n;
    u16 flags, next;
} descriptors[QUEUE_SIZE] __attribute__((aligned(16)));
static volatile struct {
    u16 flags, index, ring[QUEUE_SIZE], used_event;
} available __attribute__((aligned(16)));
static volatile struct {
    u16 flags, index;
    struct {
        u32 id, n;
    } ring[QUEUE_SIZE];
    u16 event;
} used __attribute__((aligned(16)));
static u8 numbers[64];

static u64 structure(u32 devfn, u32 type, u32 *multiplier)
{
    for (u32 at = capability(devfn, 9, 0); at; at = capability(devfn, 9, at)) {
        if ((config(devfn, at + 3) & 0xff) != type)
            continue;
        u32 bar = config(devfn, at + 4) & 0xff;
        if (multiplier)
            *multiplier = config(devfn, at + 16);
        return (config(devfn, 0x10 + 4 * bar) & ~15u) + config(devfn, at + 8);
    }
    return 0;
}

static void write8(u64 at, u8 v)
{
    *(volatile u8 *)at = v;
}
static void write16(u64 at, u16 v)
{
    *(volatile u16 *)at = v;
}
static void write64(u64 at, u64 v)
{
    mmio_write(at, (u32)v);
    mmio_write(at + 4, (u32)(v >> 32));
}

static void start_queue(u64 c)
{
    write8(c + 0x14, 0);
    write8(c + 0x14, 1 | 2);
    mmio_write(c + 8, 1);
    mmio_write(c + 12, 1); /* VIRTIO_F_VERSION_1 */
    mmio_write(c + 8, 0);
    mmio_write(c + 12, 0);
    write8(c + 0x14, 1 | 2 | 8);
    write16(c + 0x16, 0);
    write16(c + 0x18, QUEUE_SIZE);
    write16(c + 0x1a, 1); /* MSI-X vector 1 */
    write64(c + 0x20, (u64)descriptors);
    write64(c + 0x28, (u64)&available);
    write64(c + 0x30, (u64)&used);
    write16(c + 0x1c, 1);
    write8(c + 0x14, 1 | 2 | 8 | 4);
    descriptors[0].at = (u64)numbers;
    descriptors[0].n = sizeof(numbers);
    descriptors[0].flags = 2;
}

static bool ask(u64 doorbell)
{
    u16 before = used.index;
    available.ring[available.index % QUEUE_SIZE] = 0;
    __sync_synchronize();
    available.index++;
    __sync_synchronize();
    write16(doorbell, 0);
    for (unsigned i = 0; i < 50 && used.index == before; i++)
        wait_ms(20);
    return used.index != before;
}

static void by_msix(u32 rng)
{
    u32 cap = capability(rng, 0x11, 0), multiplier = 0;
    u64 c = structure(rng, COMMON, NULL), doorbell = structure(rng, NOTIFY, &multiplier);
    u32 where = config(rng, cap + 4), pending = config(rng, cap + 8);
    u64 entry = (config(rng, 0x10 + 4 * (where & 7)) & ~15u) + (where & ~7u) + 16;
    u64 bits = (config(rng, 0x10 + 4 * (pending & 7)) & ~15u) + (pending & ~7u);
    forget_interrupts();
    eoi_of[MSIX_VECTOR] = EOI_APIC;
    set_config(rng, 4, (config(rng, 4) & 0xffff) | 6);
    mmio_write(entry, MSI_ADDRESS | mmio_read(LAPIC + ID) >> 24 << 12);
    mmio_write(entry + 4, 0);
    mmio_write(entry + 8, MSIX_VECTOR);
    mmio_write(entry + 12, 0);
    set_config(rng, cap, config(rng, cap) | 1u << 31);
    start_queue(c);
    TRUE("MSI-X: the device works", ask(doorbell));
    TRUE("MSI-X: its interrupt arrives", wait_for(MSIX_VECTOR, 1, 1000));

    forget_interrupts();
    mmio_write(entry + 12, 1);
    ask(doorbell);
    wait_ms(20);
    EQUAL("MSI-X: not while the vector is masked", count[MSIX_VECTOR], 0);
    EQUAL("MSI-X: then it is pending", mmio_read(bits) & 2, 2);
    mmio_write(entry + 12, 0);
    TRUE("MSI-X: and arrives when the mask goes", wait_for(MSIX_VECTOR, 1, 1000));
    EQUAL("MSI-X: nothing is pending then", mmio_read(bits) & 2, 0);

    forget_interrupts();
    set_config(rng, cap, config(rng, cap) | 1u << 30);
    ask(doorbell);
    wait_ms(20);
    EQUAL("MSI-X: not while the function is masked", count[MSIX_VECTOR], 0);
    set_config(rng, cap, config(rng, cap) & ~(1u << 30));
    TRUE("MSI-X: and after that", wait_for(MSIX_VECTOR, 1, 1000));
}

void main(const struct start_info *info)
{
    apic_on();
    mmio_write(LAPIC + LINT0, MASKED);
    u32 host = config(0, 0), edu = find(0x11e81234), rng = find(0x10441af4);
    TRUE("configuration by ports: the host bridge", (host & 0xffff) == 0x8086);
    if (cmdline_has("ecam"))
        EQUAL("configuration by memory: the same", mmio_read(0xb0000000), host);
    TRUE("edu is found", edu != 0);
    TRUE("virtio-rng is found", rng != 0);
    if (!edu || !rng)
        return;
    moving_bar(edu);
    by_pin(edu);
    by_msi(edu);
    by_msix(rng);
}
