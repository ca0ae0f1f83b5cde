/* What bare-metal guest tests stand on: console, facts, traps, functions run in a lower mode. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef long i64;
#define NULL ((void *)0)
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

enum { U = 0, S = 1, M = 3 };
enum { NO_TRAP = 1000 };
enum { INSN_MISALIGNED, INSN_ACCESS, ILLEGAL, BREAKPOINT, LOAD_MISALIGNED, LOAD_ACCESS,
       STORE_MISALIGNED, STORE_ACCESS, ECALL_U, ECALL_S, ECALL_M = 11, INSN_PAGE, LOAD_PAGE,
       STORE_PAGE = 15 };
#define INTERRUPT (1ul << 63)

struct frame {
    u64 pc, x[31]; /* x[i - 1] is register i */
    u64 cause, tval, status, unused;
};
/* How a run ended. */
struct ended {
    u64 cause;  /* NO_TRAP: fn returned */
    u64 tval, pc, status;
    u64 value;  /* what fn returned */
    int mode;   /* that took the trap: M, or S through s_trap */
    int from;   /* mode that it came from */
};
struct hart {
    struct frame frame;
    u64 saved[32];
    int running;
    struct ended ended;
    void (*on_interrupt)(struct frame *f); /* M-mode interrupts */
    volatile u64 n_interrupts, last_interrupt;
};
extern u8 harts[];
extern void (*volatile hart_entry)(void);

static inline struct hart *this_hart(void)
{
    struct hart *h;
    __asm__ volatile("mv %0, tp" : "=r"(h));
    return h;
}

#define csr_read(csr) ({ u64 v_; __asm__ volatile("csrr %0, " #csr : "=r"(v_) : : "memory"); v_; })
#define csr_write(csr, v) __asm__ volatile("csrw " #csr ", %0" : : "rK"((u64)(v)) : "memory")
#define csr_set(csr, v) __asm__ volatile("csrs " #csr ", %0" : : "rK"((u64)(v)) : "memory")
#define csr_clear(csr, v) __asm__ volatile("csrc " #csr ", %0" : : "rK"((u64)(v)) : "memory")
#define csr_swap(csr, v) ({ u64 v_; __asm__ volatile("csrrw %0, " #csr ", %1" : "=r"(v_) : "rK"((u64)(v)) : "memory"); v_; })

/* Run fn(a, b) in a mode until it returns or traps. In M-mode it shares the caller's rights. fn must
 * be reachable in that mode; `moved` is added to its address and to its return address. */
struct ended run_moved(int mode, const void *fn, u64 a, u64 b, u64 moved);
struct ended run(int mode, const void *fn, u64 a, u64 b);
extern char run_return[], s_trap[], low_code[], trap_entry[], free_memory[];

/* One fact: prints "ok NAME" or "not ok NAME: ...". */
void check(int holds, const char *name);
void check_equal(u64 got, u64 expected, const char *name);
/* The run trapped in `mode` with this cause. */
void check_trap(const struct ended *e, u64 cause, int mode, const char *name);
void skip(const char *name, const char *why);
void print(const char *s);
void print_hex(u64 v);
void finish(void);

void test_main(void);

/* Wake the other harts (3 are expected); gives how many there are, this one included. */
unsigned start_harts(void);
/* All harts run fn; all have when this returns. */
void run_everywhere(void (*fn)(void));
static inline unsigned hart_id(void)
{
    return ((u8 *)this_hart() - harts) >> 10;
}

static inline u32 read32(u64 a)
{
    return *(volatile u32 *)a;
}
static inline void write32(u64 a, u32 v)
{
    *(volatile u32 *)a = v;
}
static inline u64 read64(u64 a)
{
    return *(volatile u64 *)a;
}
static inline void write64(u64 a, u64 v)
{
    *(volatile u64 *)a = v;
}
/* The board's memory map. */
enum { FINISHER = 0x100000, CLINT = 0x2000000, PLIC = 0xc000000, UART = 0x10000000 };
#define MSIP (CLINT)
#define MTIMECMP (CLINT + 0x4000)
#define MTIME (CLINT + 0xbff8ul)
/* Wait until `condition` holds, at most about a second of guest time; gives whether it does. */
#define wait_until(condition)                                                                      \
    ({                                                                                             \
        u64 until_ = read64(MTIME) + 10000000;                                                     \
        int done_;                                                                                 \
        while (!(done_ = !!(condition)) && read64(MTIME) < until_)                                 \
            ;                                                                                      \
        done_;                                                                                     \
    })
