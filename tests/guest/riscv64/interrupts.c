/* Timers and interrupts: CLINT, Sstc, PLIC with the UART, priorities, WFI. */
#include "rt.h"

enum { MIE = 8, SSIP = 2, MSIP_BIT = 8, STIP = 32, MTIP = 128, SEIP = 512, MEIP = 2048 };
enum { UART_IRQ = 10 };
#define PLIC_PRIORITY(irq)      (PLIC + 4ul * (irq))
#define PLIC_PENDING            (PLIC + 0x1000ul)
#define PLIC_ENABLE(context)    (PLIC + 0x2000ul + 0x80 * (context))
#define PLIC_THRESHOLD(context) (PLIC + 0x200000ul + 0x1000 * (context))
#define PLIC_CLAIM(context)     (PLIC_THRESHOLD(context) + 4)

static struct hart *h;
static volatile u32 claimed;

static void stop_timer(struct frame *f)
{
    write64(MTIMECMP, ~0ul);
}

static void stop_software(struct frame *f)
{
    write32(MSIP, 0);
}

static void mask_all(struct frame *f)
{
    f->status &= ~0x80ul; /* MPIE: come back with interrupts off */
}

static void claim(struct frame *f)
{
    claimed = read32(PLIC_CLAIM(0));
    *(volatile u8 *)(UART + 1ul) = 0; /* no more from the UART */
    write32(PLIC_CLAIM(0), claimed);
}

static void timer(void)
{
    u64 t = read64(MTIME);
    check(wait_until(read64(MTIME) > t), "mtime goes on");
    write64(MTIMECMP, 0);
    check(csr_read(mip) & MTIP, "mtimecmp in the past: MTIP");
    write64(MTIMECMP, ~0ul);
    check(!(csr_read(mip) & MTIP), "mtimecmp far away: no MTIP");
    h->on_interrupt = stop_timer;
    h->n_interrupts = 0;
    csr_write(mie, MTIP);
    t = read64(MTIME);
    write64(MTIMECMP, t + 20000);
    csr_set(mstatus, MIE);
    check(wait_until(h->n_interrupts), "the timer interrupts");
    check(read64(MTIME) >= t + 20000, "not too early");
    check_equal(h->last_interrupt, 7, "as the machine timer");
    check_equal(h->n_interrupts, 1, "once");
    write64(MTIMECMP, read64(MTIME) + 50000);
    __asm__ volatile("wfi");
    check(wait_until(h->n_interrupts == 2), "the timer wakes from wfi");
    csr_clear(mstatus, MIE);
    write64(MTIMECMP, read64(MTIME) + 50000);
    __asm__ volatile("wfi");
    check(wait_until(csr_read(mip) & MTIP), "wfi ends with interrupts masked by MIE");
    check_equal(h->n_interrupts, 2, "and none is taken");
    write64(MTIMECMP, ~0ul);
    csr_write(mie, 0);
}

static void software(void)
{
    h->on_interrupt = stop_software;
    h->n_interrupts = 0;
    csr_write(mie, MSIP_BIT);
    csr_set(mstatus, MIE);
    write32(MSIP, 1);
    check(wait_until(h->n_interrupts), "MSIP interrupts");
    check_equal(h->last_interrupt, 3, "as the machine software interrupt");
    check(!(csr_read(mip) & MSIP_BIT), "and is gone when cleared");
    csr_clear(mstatus, MIE);
    write32(MSIP, 2);
    check_equal(read32(MSIP), 0, "MSIP has one bit");
    csr_write(mie, 0);
}

static void priorities(void)
{
    h->on_interrupt = mask_all;
    csr_write(mie, MTIP | MSIP_BIT | SSIP | STIP);
    csr_write(mip, SSIP);
    write64(MTIMECMP, 0);
    write32(MSIP, 1);
    check(wait_until((csr_read(mip) & (MTIP | MSIP_BIT)) == (MTIP | MSIP_BIT)), "both are pending");
    csr_set(mstatus, MIE);
    check_equal(h->last_interrupt, 3, "software comes before timer");
    csr_clear(mstatus, MIE);
    write32(MSIP, 0);
    csr_set(mstatus, MIE);
    check_equal(h->last_interrupt, 7, "machine timer before supervisor software");
    csr_clear(mstatus, MIE);
    write64(MTIMECMP, ~0ul);
    csr_set(mstatus, MIE);
    check_equal(h->last_interrupt, 1, "supervisor software at last");
    csr_clear(mstatus, MIE);
    csr_write(mip, 0);
    csr_write(mie, 0);
}

/* In S-mode with everything delegated: set stimecmp, wait, report. */
__attribute__((naked)) static void sstc_waits(void)
{
    __asm__("csrr t0, time\n"
            "add t0, t0, a0\n"
            "csrw 0x14d, t0\n"
            "csrsi sstatus, 2\n"
            "li t1, 1000000000\n"
            "1: addi t1, t1, -1\n"
            "bnez t1, 1b\n"
            "ret");
}
__attribute__((naked)) static void write_stimecmp(void)
{
    __asm__("csrw 0x14d, a0\n ret");
}

static void sstc(void)
{
    csr_write(menvcfg, 1ul << 63);
    if (!(csr_read(menvcfg) >> 63)) {
        skip("Sstc", "not there");
        return;
    }
    csr_write(mcounteren, 7);
    csr_write(stvec, s_trap);
    csr_write(mideleg, SSIP | STIP | SEIP);
    csr_write(0x14d, ~0ul);
    check(!(csr_read(mip) & STIP), "stimecmp far away: no STIP");
    csr_write(0x14d, 0);
    check(csr_read(mip) & STIP, "stimecmp in the past: STIP");
    csr_clear(mip, STIP);
    check(csr_read(mip) & STIP, "software cannot clear it");
    csr_write(0x14d, ~0ul);
    csr_write(mie, STIP);
    struct ended e = run(S, sstc_waits, 20000, 0);
    check_trap(&e, INTERRUPT | 5, S, "stimecmp interrupts S");
    csr_clear(sstatus, 2);
    csr_write(0x14d, ~0ul);
    csr_write(menvcfg, 0);
    e = run(S, write_stimecmp, 0, 0);
    check_trap(&e, ILLEGAL, M, "stimecmp is illegal in S without STCE");
    csr_write(mie, 0);
    csr_write(mideleg, 0);
}

static void plic(void)
{
    h->on_interrupt = claim;
    h->n_interrupts = 0;
    claimed = 0;
    write32(PLIC_PRIORITY(UART_IRQ), 1);
    write32(PLIC_ENABLE(0), 1u << UART_IRQ);
    write32(PLIC_THRESHOLD(0), 1);
    csr_write(mie, MEIP);
    csr_set(mstatus, MIE);
    *(volatile u8 *)(UART + 1ul) = 2; /* interrupt when the transmitter is empty */
    check(wait_until(read32(PLIC_PENDING) & 1u << UART_IRQ), "the UART's interrupt is pending");
    check_equal(h->n_interrupts, 0, "the threshold holds it back");
    check(!(csr_read(mip) & MEIP), "no MEIP under the threshold");
    write32(PLIC_THRESHOLD(0), 0);
    check(wait_until(h->n_interrupts), "below the threshold it comes");
    check_equal(h->last_interrupt, 11, "as the machine external interrupt");
    check_equal(claimed, UART_IRQ, "claim gives its number");
    csr_clear(mstatus, MIE);
    check_equal(read32(PLIC_CLAIM(0)), 0, "nothing more to claim");
    check(!(csr_read(mip) & MEIP), "and MEIP is clear");
    write32(PLIC_PRIORITY(UART_IRQ), 0);
    *(volatile u8 *)(UART + 1ul) = 2;
    check(!(csr_read(mip) & MEIP), "priority 0 never interrupts");
    *(volatile u8 *)(UART + 1ul) = 0;
    if (read32(PLIC_PENDING) & 1u << UART_IRQ) {
        write32(PLIC_PRIORITY(UART_IRQ), 1);
        write32(PLIC_CLAIM(0), read32(PLIC_CLAIM(0)));
    }
    /* For S: context 1 of hart 0. */
    write32(PLIC_ENABLE(0), 0);
    write32(PLIC_PRIORITY(UART_IRQ), 1);
    write32(PLIC_ENABLE(1), 1u << UART_IRQ);
    write32(PLIC_THRESHOLD(1), 0);
    *(volatile u8 *)(UART + 1ul) = 2;
    int rose = wait_until(csr_read(mip) & SEIP); /* printing would interrupt again */
    u64 pending = csr_read(mip);
    u32 irq = read32(PLIC_CLAIM(1));
    *(volatile u8 *)(UART + 1ul) = 0;
    write32(PLIC_CLAIM(1), UART_IRQ);
    check(rose, "the context of S drives SEIP");
    check(!(pending & MEIP), "and not MEIP");
    check_equal(irq, UART_IRQ, "S claims it");
    check(wait_until(!(csr_read(mip) & SEIP)), "SEIP falls");
    write32(PLIC_ENABLE(1), 0);
    csr_write(mie, 0);
}

void test_main(void)
{
    h = this_hart();
    timer();
    software();
    priorities();
    sstc();
    plic();
}
