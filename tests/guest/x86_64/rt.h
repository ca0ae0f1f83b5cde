/* What bare-metal guest tests of PCs stand on: console, facts, ports, interrupts, controllers, time. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef _Bool bool;
#define NULL         ((void *)0)
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* ---- the machine ---------------------------------------------------------------------------------- */
#define ACCESS_PORT(name, type, suffix)                                  \
    static inline type in##name(u16 port)                                \
    {                                                                    \
        type v;                                                          \
        __asm__ volatile("in" suffix " %1, %0" : "=a"(v) : "Nd"(port));  \
        return v;                                                        \
    }                                                                    \
    static inline void out##name(u16 port, type v)                       \
    {                                                                    \
        __asm__ volatile("out" suffix " %0, %1" : : "a"(v), "Nd"(port)); \
    }
ACCESS_PORT(8, u8, "b")
ACCESS_PORT(16, u16, "w")
ACCESS_PORT(32, u32, "l")

static inline u32 mmio_read(u64 at)
{
    return *(volatile u32 *)at;
}
static inline void mmio_write(u64 at, u32 v)
{
    *(volatile u32 *)at = v;
}
static inline u64 rdmsr(u32 index)
{
    u32 low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
    return (u64)high << 32 | low;
}
static inline void wrmsr(u32 index, u64 v)
{
    __asm__ volatile("wrmsr" : : "c"(index), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}
static inline u64 rdtsc(void)
{
    u32 low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (u64)high << 32 | low;
}
static inline void cpuid(u32 leaf, u32 out[4])
{
    __asm__ volatile("cpuid"
                     : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
                     : "a"(leaf), "c"(0));
}
static inline void irq_on(void)
{
    __asm__ volatile("sti; nop" : : : "memory");
}
static inline void irq_off(void)
{
    __asm__ volatile("cli" : : : "memory");
}

/* What PVH hands over. */
struct start_info {
    u32 magic, version, flags, n_modules;
    u64 modules, cmdline, rsdp, map;
    u32 n_map, reserved;
};
struct range {
    u64 at, size;
    u32 type, reserved;
};

/* ---- facts ------------------------------------------------------------------------------------------ */
void print(const char *fmt, ...); /* %s %u %x %lx */
void fact(const char *name, bool good, u64 got, u64 wanted);
void fact_equal(const char *name, u64 got, u64 wanted);
#define EQUAL fact_equal
static inline void TRUE(const char *name, bool good)
{
    fact(name, good, good, 1);
}
void skip(const char *name, const char *why);
void finish(void);
bool cmdline_has(const char *word);
void main(const struct start_info *info);
void ap_main(
    u32 cpu); /* further CPUs end here, interrupts off; a test without them need not have it */

/* ---- interrupts --------------------------------------------------------------------------------------- */
extern volatile u32 count[256]; /* how often each vector came */
extern volatile u8 order[64];   /* vectors in the order in which they came */
extern volatile u32 n_order;
/* Called in the handler, before the end of interrupt; NULL: nothing. */
extern void (*volatile on_vector[256])(void);
/* Who is told the end of an interrupt. */
enum { EOI_NONE, EOI_PIC, EOI_PIC2, EOI_APIC, EOI_X2APIC };
extern volatile u8 eoi_of[256];
void forget_interrupts(void);
/* With interrupts on until count[vector] is at least n or so many milliseconds have passed. */
bool wait_for(u8 vector, u32 n, u32 ms);
/* With interrupts on. */
void wait_ms(u32 ms);

/* ---- controllers ---------------------------------------------------------------------------------------- */
#define LAPIC  0xfee00000ul
#define IOAPIC 0xfec00000ul
enum {
    ID = 0x20,
    TPR = 0x80,
    EOI = 0xb0,
    SVR = 0xf0,
    ISR = 0x100,
    IRR = 0x200,
    ICR = 0x300,
    ICR_HIGH = 0x310,
    LVT_TIMER = 0x320,
    LINT0 = 0x350,
    LINT1 = 0x360,
    TIMER_INITIAL = 0x380,
    TIMER_CURRENT = 0x390,
    TIMER_DIVIDE = 0x3e0
};
void pic_init(u8 base, u16 mask); /* both 8259s; vectors from base on */
void pic_mask(u16 mask);
void apic_on(void);
void apic_ipi(u32 to, u32 command);
u32 ioapic_read(u8 reg);
void ioapic_write(u8 reg, u32 v);
enum { EDGE = 0, LEVEL = 1 << 15, MASKED = 1 << 16, REMOTE_IRR = 1 << 14 };
void ioapic_pin(u8 pin, u32 low); /* to this CPU */
void pit_set(u8 counter, u8 mode, u16 value);
u16 pit_read(u8 counter);
