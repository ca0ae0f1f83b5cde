/* Devices made for tests, as kvm-unit-tests uses them: pc-testdev (interrupt lines, ports and memory that store),
 * pci-testdev (counted writes), edu (DMA), isa-debugcon, isa-debug-exit, and VMware's port. */
#include "rt.h"

enum { VECTOR = 0x90, PIC_BASE = 0x30, LINES = 0x2000, PIN = 14, PIC_PIN = 5 };
enum { LOW, HIGH }; /* a line */
enum {
    ONE_MORE = 1
}; /* which some hosts' KVM sends when a level falls before the end of its interrupt */
enum { STORE = 0xe0, FLUSH = 0xe4, STORE_BYTE = 0xe8, DEBUGCON = 0xe9, EXIT = 0xf4 };
#define STORE_MEMORY 0xff000000ul

/* ---- pc-testdev ------------------------------------------------------------------------------------------ */
static void line(u8 n, bool level)
{
    out8(LINES + n, level);
}

static void stores(void)
{
    static const u8 text[8] = "emulate";
    u8 back[8];
    const void *from = text;
    void *to = back;
    u64 n = sizeof(text), v;
    out32(STORE, 0x12345678);
    EQUAL("pc-testdev: a port stores four bytes", in32(STORE), 0x12345678);
    EQUAL("pc-testdev: of which two can be read", in16(STORE + 2), 0x1234);
    out8(STORE + 1, 0xaa);
    EQUAL("pc-testdev: and one be written", in32(STORE), 0x1234aa78);
    out8(STORE_BYTE, 0x5a);
    EQUAL("pc-testdev: another stores a byte", in8(STORE_BYTE), 0x5a);
    __asm__ volatile("cld; rep outsb" : "+S"(from), "+c"(n) : "d"(STORE) : "memory");
    EQUAL("pc-testdev: a string of bytes leaves the last", in8(STORE), text[7]);
    n = sizeof(back);
    out8(STORE, 'x');
    __asm__ volatile("cld; rep insb" : "+D"(to), "+c"(n) : "d"(STORE) : "memory");
    TRUE("pc-testdev: a string is read from one port",
         to == back + 8 && back[0] == 'x' && back[7] == 'x');
    out32(FLUSH, 0);

    volatile u64 *memory = (u64 *)STORE_MEMORY;
    *memory = 0x1122334455667788;
    EQUAL("pc-testdev: memory stores", *memory, 0x1122334455667788);
    EQUAL("pc-testdev: parts of it can be read", ((volatile u16 *)memory)[3], 0x1122);
    v = 1;
    __asm__ volatile("lock xadd %0, %1" : "+r"(v), "+m"(*memory));
    EQUAL("pc-testdev: exchange with addition", v, 0x1122334455667788);
    EQUAL("pc-testdev: and its sum", *memory, 0x1122334455667789);
    from = text;
    to = (void *)(STORE_MEMORY + 16);
    n = 1;
    __asm__ volatile("cld; rep movsq" : "+S"(from), "+D"(to), "+c"(n) : : "memory");
    EQUAL("pc-testdev: a string moves there", memory[2], *(const u64 *)text);
}

static void lower(void)
{
    line(PIN, LOW);
}

static void third_time_lower(void)
{
    if (count[VECTOR] == 3)
        line(PIN, LOW);
}

static void lines(void)
{
    forget_interrupts();
    eoi_of[VECTOR] = EOI_APIC;
    line(PIN, LOW);
    ioapic_pin(PIN, VECTOR | EDGE);
    line(PIN, HIGH);
    line(PIN, LOW);
    TRUE("line: an edge interrupts", wait_for(VECTOR, 1, 1000));
    wait_ms(5);
    EQUAL("line: once", count[VECTOR], 1);

    forget_interrupts();
    for (unsigned i = 0; i < 3; i++) {
        line(PIN, HIGH);
        line(PIN, LOW);
    }
    wait_for(VECTOR, 1, 1000);
    wait_ms(5);
    EQUAL("line: edges that nobody took yet are one", count[VECTOR], 1);

    forget_interrupts();
    on_vector[VECTOR] = lower;
    ioapic_pin(PIN, VECTOR | LEVEL);
    line(PIN, HIGH);
    TRUE("line: a level interrupts", wait_for(VECTOR, 1, 1000));
    wait_ms(5);
    TRUE("line: once if the handler lowers it", count[VECTOR] - 1 <= ONE_MORE);

    forget_interrupts();
    on_vector[VECTOR] = third_time_lower;
    line(PIN, HIGH);
    wait_for(VECTOR, 3, 1000);
    wait_ms(5);
    TRUE("line: and again at each end while it is high", count[VECTOR] - 3 <= ONE_MORE);

    forget_interrupts();
    on_vector[VECTOR] = lower;
    ioapic_pin(PIN, VECTOR | LEVEL | MASKED);
    line(PIN, HIGH);
    wait_ms(5);
    EQUAL("line: a mask holds a level back", count[VECTOR], 0);
    ioapic_pin(PIN, VECTOR | LEVEL);
    TRUE("line: which comes when it goes", wait_for(VECTOR, 1, 1000));
    ioapic_pin(PIN, MASKED);
    line(PIN, LOW);
    on_vector[VECTOR] = NULL;
}

static void pic_line(void)
{
    u8 vector = PIC_BASE + PIC_PIN;
    forget_interrupts();
    eoi_of[vector] = EOI_PIC;
    pic_init(PIC_BASE, (u16) ~(1u << PIC_PIN));
    mmio_write(LAPIC + LINT0, 7 << 8); /* ExtINT */
    line(PIC_PIN, HIGH);
    line(PIC_PIN, LOW);
    line(PIC_PIN, HIGH);
    TRUE("line: reaches the 8259, too", wait_for(vector, 1, 1000));
    line(PIC_PIN, LOW);
    pic_mask(0xffff);
    mmio_write(LAPIC + LINT0, MASKED);
}

/* ---- on PCI -------------------------------------------------------------------------------------------------- */
static u32 config(u32 devfn, u32 off)
{
    out32(0xcf8, 1u << 31 | devfn << 8 | off);
    return in32(0xcfc);
}

static u32 find(u32 id)
{
    for (u32 devfn = 0; devfn < 256; devfn++)
        if (config(devfn, 0) == id) {
            out32(0xcf8, 1u << 31 | devfn << 8 | 4);
            out16(0xcfc, 7); /* ports, memory, DMA */
            return devfn;
        }
    return 0;
}

struct header {
    volatile u8 test, width, pad[2];
    volatile u32 offset, data, count;
};

/* A test's writes are counted, whether the device or a doorbell sees them. */
static bool counts_in_memory(struct header *h, u8 test)
{
    h->test = test;
    if (h->width != 1 && h->width != 2 && h->width != 4)
        return 0;
    volatile u8 *at = (u8 *)h + h->offset;
    for (unsigned i = 0; i < 5; i++)
        switch (h->width) {
        case 1: *at = (u8)h->data; break;
        case 2: *(volatile u16 *)at = (u16)h->data; break;
        default: *(volatile u32 *)at = h->data;
        }
    return h->count == 5;
}

static bool counts_at_ports(u16 base, u8 test)
{
    out8(base, test);
    u8 width = in8(base + 1);
    u16 at = (u16)(base + in32(base + 4));
    u32 data = in32(base + 8);
    for (unsigned i = 0; i < 5; i++)
        switch (width) {
        case 1: out8(at, (u8)data); break;
        case 2: out16(at, (u16)data); break;
        default: out32(at, data);
        }
    return in32(base + 12) == 5;
}

static void pci_testdev(void)
{
    u32 devfn = find(0x00051b36);
    TRUE("pci-testdev is found", devfn != 0);
    if (!devfn)
        return;
    u64 memory = config(devfn, 0x10) & ~15u;
    u16 ports = (u16)(config(devfn, 0x14) & ~3u);
    bool good = 1, good_ports = 1;
    for (u8 test = 0; test < 3; test++) {
        good &= counts_in_memory((struct header *)memory, test);
        good_ports &= counts_at_ports(ports, test);
    }
    TRUE("pci-testdev: counts writes to memory", good);
    TRUE("pci-testdev: counts writes to ports", good_ports);
}

static void edu(void)
{
    static u64 from = 0x746e616465, to;
    u32 devfn = find(0x11e81234);
    TRUE("edu is found", devfn != 0);
    if (!devfn)
        return;
    u64 bar = config(devfn, 0x10) & ~15u;
    volatile u64 *dma = (u64 *)(bar + 0x80);
    mmio_write(bar + 8, 12);
    for (unsigned i = 0; i < 1000000 && mmio_read(bar + 0x20) & 1; i++)
        ;
    EQUAL("edu: factorial", mmio_read(bar + 8), 479001600);
    dma[0] = (u64)&from;
    dma[1] = 0x40000;
    dma[2] = 8;
    dma[3] = 1;
    for (unsigned i = 0; i < 1000000 && dma[3] & 1; i++)
        ;
    dma[0] = 0x40000;
    dma[1] = (u64)&to;
    dma[3] = 3;
    for (unsigned i = 0; i < 1000000 && dma[3] & 1; i++)
        ;
    EQUAL("edu: DMA to the device and back", *(volatile u64 *)&to, from);
}

/* ---- VMware's port ---------------------------------------------------------------------------------------------- */
enum { VMPORT = 0x5658, VMPORT_MAGIC = 0x564d5868 };
struct call {
    u64 a, b, c, d, si, di;
};

static struct call vmport(u64 command, u64 argument)
{
    struct call r = { VMPORT_MAGIC, argument, command, VMPORT, 0x1122334455667788, 7 };
    __asm__ volatile("inl %%dx, %%eax"
                     : "+a"(r.a), "+b"(r.b), "+c"(r.c), "+d"(r.d), "+S"(r.si), "+D"(r.di)
                     :
                     : "memory");
    return r;
}

static void vmware(void)
{
    struct call r = vmport(10, 0);
    EQUAL("vmport: version", r.a, 6);
    EQUAL("vmport: magic", r.b, VMPORT_MAGIC);
    EQUAL("vmport: other registers stay", r.si, 0x1122334455667788);
    EQUAL("vmport: memory in MiB", vmport(20, 0).a, 128);
    EQUAL("vmport: no such command", vmport(999, 0).a, 0xffffffff);
    u32 v = 0;
    __asm__ volatile("inl %%dx, %%eax" : "+a"(v) : "d"(VMPORT), "c"(10));
    EQUAL("vmport: silent without the magic", v, 0xffffffff);
    EQUAL("vmmouse: is off at first", vmport(40, 0).a, 0xffff0000);
    vmport(41, 0x45414552);
    EQUAL("vmmouse: shows that it is there", vmport(40, 0).a, 1);
    EQUAL("vmmouse: its identity", vmport(39, 1).a, 0x3442554a);
    vmport(41, 0x53424152);
    EQUAL("vmmouse: nothing has moved", vmport(40, 0).a, 0);
    EQUAL("vmmouse: who reads what is not there is told", vmport(39, 4).a, 0xffffffff);
    EQUAL("vmmouse: and begins anew", vmport(40, 0).a, 0xffff0000);
}

void main(const struct start_info *info)
{
    pic_init(PIC_BASE, 0xffff);
    apic_on();
    mmio_write(LAPIC + LINT0, MASKED);
    stores();
    lines();
    pic_line();
    pci_testdev();
    edu();
    EQUAL("isa-debugcon: shows that it is there", in8(DEBUGCON), 0xe9);
    out8(DEBUGCON, 'x');
    EQUAL("isa-debug-exit: reads as zero", in32(EXIT), 0);
    vmware();
}
