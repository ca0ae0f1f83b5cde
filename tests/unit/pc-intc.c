/* The PC's interrupt controllers: 8259A pair, I/O APIC, local APICs. */
#include "board.h"

#include "hw/intc/i8259.h"
#include "hw/intc/ioapic.h"
#include "hw/intc/lapic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void drive(struct irq irq, bool level)
{
    irq_set(&irq, level);
}

/* ---- 8259A ------------------------------------------------------------------------------------ */
enum { MASTER, SLAVE, ELCR };

static void pic_write(struct board *b, unsigned chip, unsigned port, uint8_t value)
{
    board_poke(b, b->regions[chip] + port, 1, value);
}

static uint8_t pic_read(struct board *b, unsigned chip, unsigned port)
{
    return (uint8_t)board_peek(b, b->regions[chip] + port, 1);
}

/* As a BIOS sets it up: vectors 8 and 0x70, everything unmasked. The board's line 0 is INTR. */
static struct board *pic_board_icw4(uint8_t icw4)
{
    struct board *b = board_with("isa-i8259", NULL);
    *i8259_output(b->dev) = board_irq(b, 0);
    for (unsigned chip = MASTER; chip <= SLAVE; chip++) {
        pic_write(b, chip, 0, 0x11);
        pic_write(b, chip, 1, chip ? 0x70 : 0x08);
        pic_write(b, chip, 1, chip ? 2 : 4);
        pic_write(b, chip, 1, icw4);
        pic_write(b, chip, 1, 0);
    }
    return b;
}

static struct board *pic_board(void)
{
    return pic_board_icw4(1);
}

static void pulse(struct board *b, unsigned n)
{
    drive(i8259_input(b->dev, n), true);
    drive(i8259_input(b->dev, n), false);
}

static void an_edge_interrupts_once_and_ends_with_eoi(void **unused)
{
    struct board *b = pic_board();
    drive(i8259_input(b->dev, 1), true);
    assert_true(b->lines[0].level);
    assert_int_equal(i8259_acknowledge(b->dev), 9);
    assert_false(b->lines[0].level);
    pic_write(b, MASTER, 0, 0x0b);
    assert_int_equal(pic_read(b, MASTER, 0), 2); /* ISR */
    pic_write(b, MASTER, 0, 0x20);
    assert_int_equal(pic_read(b, MASTER, 0), 0);
    assert_false(b->lines[0].level); /* the input still stands, but no edge came */
    board_free(b);
}

static void a_masked_request_waits(void **unused)
{
    struct board *b = pic_board();
    pic_write(b, MASTER, 1, 0x02);
    pulse(b, 1);
    assert_false(b->lines[0].level);
    assert_int_equal(pic_read(b, MASTER, 0), 2); /* IRR */
    pic_write(b, MASTER, 1, 0);
    assert_true(b->lines[0].level);
    board_free(b);
}

static void a_lower_priority_waits_for_eoi_and_a_higher_one_nests(void **unused)
{
    struct board *b = pic_board();
    pulse(b, 3);
    i8259_acknowledge(b->dev);
    pulse(b, 4);
    assert_false(b->lines[0].level);
    pulse(b, 0);
    assert_true(b->lines[0].level);
    assert_int_equal(i8259_acknowledge(b->dev), 8);
    pic_write(b, MASTER, 0, 0x20);
    assert_false(b->lines[0].level);
    pic_write(b, MASTER, 0, 0x63); /* specific EOI of 3 */
    assert_int_equal(i8259_acknowledge(b->dev), 12);
    board_free(b);
}

static void the_slave_comes_through_the_cascade(void **unused)
{
    struct board *b = pic_board();
    pulse(b, 12);
    assert_true(b->lines[0].level);
    assert_int_equal(i8259_acknowledge(b->dev), 0x74);
    pic_write(b, MASTER, 0, 0x0b);
    pic_write(b, SLAVE, 0, 0x0b);
    assert_int_equal(pic_read(b, MASTER, 0), 4);
    assert_int_equal(pic_read(b, SLAVE, 0), 0x10);
    board_free(b);
}

static void a_request_that_went_away_is_spurious(void **unused)
{
    struct board *b = pic_board();
    assert_int_equal(i8259_acknowledge(b->dev), 15);
    pic_write(b, MASTER, 0, 0x0b);
    assert_int_equal(pic_read(b, MASTER, 0), 0);
    board_poke(b, b->regions[ELCR] + 1, 1, 0x02); /* IRQ 9 is a level */
    drive(i8259_input(b->dev, 9), true);
    assert_true(b->lines[0].level);
    drive(i8259_input(b->dev, 9), false);
    board_free(b);
}

static void a_level_interrupts_until_it_falls(void **unused)
{
    struct board *b = pic_board();
    board_poke(b, b->regions[ELCR] + 1, 1, 0xff);
    assert_int_equal(board_peek(b, b->regions[ELCR] + 1, 1), 0xde);
    drive(i8259_input(b->dev, 11), true);
    assert_int_equal(i8259_acknowledge(b->dev), 0x73);
    pic_write(b, SLAVE, 0, 0x20);
    pic_write(b, MASTER, 0, 0x20);
    assert_true(b->lines[0].level);
    drive(i8259_input(b->dev, 11), false);
    pic_write(b, MASTER, 0, 0x0a);
    assert_int_equal(pic_read(b, SLAVE, 0), 0);
    board_free(b);
}

static void automatic_eoi_leaves_nothing_in_service(void **unused)
{
    struct board *b = pic_board_icw4(3);
    pulse(b, 5);
    i8259_acknowledge(b->dev);
    pic_write(b, MASTER, 0, 0x0b);
    assert_int_equal(pic_read(b, MASTER, 0), 0);
    board_free(b);
}

static void automatic_eoi_loses_nothing_behind_the_cascade(void **unused)
{
    struct board *b = pic_board_icw4(3);
    pulse(b, 9);
    pulse(b, 10);
    assert_int_equal(i8259_acknowledge(b->dev), 0x71);
    assert_true(b->lines[0].level);
    assert_int_equal(i8259_acknowledge(b->dev), 0x72);
    assert_false(b->lines[0].level);
    board_free(b);
}

static void rotation_puts_the_served_input_last(void **unused)
{
    struct board *b = pic_board();
    pulse(b, 3);
    i8259_acknowledge(b->dev);
    pic_write(b, MASTER, 0, 0xa0); /* rotate on non-specific EOI */
    pulse(b, 3);
    pulse(b, 4);
    assert_int_equal(i8259_acknowledge(b->dev), 12);
    board_free(b);
}

static void special_mask_lets_lower_ones_in(void **unused)
{
    struct board *b = pic_board();
    pulse(b, 3);
    i8259_acknowledge(b->dev);
    pic_write(b, MASTER, 1, 0x08);
    pulse(b, 4);
    assert_false(b->lines[0].level);
    pic_write(b, MASTER, 0, 0x68);
    assert_true(b->lines[0].level);
    board_free(b);
}

static void polling_acknowledges(void **unused)
{
    struct board *b = pic_board();
    pulse(b, 6);
    pic_write(b, MASTER, 0, 0x0c);
    assert_int_equal(pic_read(b, MASTER, 0), 0x86);
    assert_false(b->lines[0].level);
    pic_write(b, MASTER, 0, 0x0c);
    assert_int_equal(pic_read(b, MASTER, 0), 0);
    board_free(b);
}

/* ---- local APICs ------------------------------------------------------------------------------ */
enum { N_CPUS = 4 };
enum {
    ID = 0x20,
    VERSION = 0x30,
    TPR = 0x80,
    PPR = 0xa0,
    EOI = 0xb0,
    LDR = 0xd0,
    DFR = 0xe0,
    SVR = 0xf0,
    ISR = 0x100,
    TMR = 0x180,
    IRR = 0x200,
    ESR = 0x280,
    ICR = 0x300,
    ICR_HIGH = 0x310,
    LVT_TIMER = 0x320,
    LVT_LINT0 = 0x350,
    LVT_LINT1 = 0x360,
    LVT_ERROR = 0x370,
    INITIAL = 0x380,
    CURRENT = 0x390,
    DIVIDE = 0x3e0,
};
enum { APIC_BASE = 0x1b, DEADLINE = 0x6e0, X2 = 0x800 };

/* What each vCPU was told. */
struct told {
    unsigned changed, nmi, smi, init, start, start_vector;
};
struct apics {
    struct board *b;
    struct told cpus[N_CPUS];
};

static void on_changed(void *t)
{
    ((struct told *)t)->changed++;
}
static void on_nmi(void *t)
{
    ((struct told *)t)->nmi++;
}
static void on_smi(void *t)
{
    ((struct told *)t)->smi++;
}
static void on_init(void *t)
{
    ((struct told *)t)->init++;
}
static void on_start(void *t, uint8_t vector)
{
    ((struct told *)t)->start++;
    ((struct told *)t)->start_vector = vector;
}
static uint64_t tsc_at_ns(void *t, uint64_t tsc)
{
    return tsc / 2; /* 2 GHz */
}

/* APIC IDs are 0 to 3, all enabled. The page is touched as vCPU 0. */
static struct apics *apics_new(void)
{
    struct apics *a = calloc(1, sizeof(*a));
    a->b = board_with("apic", "num-cpus", "4", "addr", "0xfee00000", NULL);
    for (unsigned i = 0; i < N_CPUS; i++) {
        lapic_attach(a->b->dev, i, i,
                     &(struct lapic_cpu){ on_changed, on_nmi, on_smi, on_init, on_start, tsc_at_ns,
                                          &a->cpus[i] });
    }
    device_reset(a->b->dev);
    return a;
}

static void apics_free(struct apics *a)
{
    board_check(a->b);
    board_free(a->b);
    free(a);
}

static struct lapic *cpu(struct apics *a, unsigned n)
{
    return lapic_of(a->b->dev, n);
}

static uint32_t rd(struct apics *a, uint64_t reg)
{
    return (uint32_t)board_peek(a->b, LAPIC_ADDR + reg, 4);
}

static void wr(struct apics *a, uint64_t reg, uint32_t value)
{
    board_poke(a->b, LAPIC_ADDR + reg, 4, value);
}

/* Every APIC is on, those in x2 by MSR. */
static void enable_x2(struct apics *a)
{
    for (unsigned i = 0; i < N_CPUS; i++) {
        uint64_t base;
        assert_true(lapic_read_msr(cpu(a, i), APIC_BASE, &base));
        assert_true(lapic_write_msr(cpu(a, i), APIC_BASE, base | 1 << 10));
        assert_true(lapic_write_msr(cpu(a, i), X2 + 0x0f, 0x1ff));
    }
}

static uint64_t msr(struct apics *a, unsigned n, uint32_t which)
{
    uint64_t value = 0xdead;
    assert_true(lapic_read_msr(cpu(a, n), which, &value));
    return value;
}

static void message(struct apics *a, uint32_t dest, bool logical, uint32_t data)
{
    vm_send_msi(a->b->vm, LAPIC_ADDR | dest << 12 | (gpa)logical << 2, data);
}

static void reset_state_is_the_manuals(void **unused)
{
    struct apics *a = apics_new();
    assert_int_equal(msr(a, 0, APIC_BASE), 0xfee00900);
    assert_int_equal(msr(a, 1, APIC_BASE), 0xfee00800);
    assert_int_equal(rd(a, SVR), 0xff);
    assert_int_equal(rd(a, DFR), 0xffffffff);
    assert_int_equal(rd(a, VERSION) & 0xff00ff, 0x50014);
    assert_int_equal(rd(a, LVT_TIMER), 0x10000);
    wr(a, LVT_TIMER, 0x30); /* masked for as long as the APIC is off */
    assert_int_equal(rd(a, LVT_TIMER), 0x10030);
    apics_free(a);
}

static void self_ipi_is_taken_by_priority(void **unused)
{
    struct apics *a = apics_new();
    wr(a, SVR, 0x1ff);
    wr(a, ICR, 0x40041);
    wr(a, ICR, 0x40062);
    assert_true(lapic_pending(cpu(a, 0)));
    assert_int_equal(rd(a, IRR + 0x30), 4);
    assert_int_equal(lapic_accept(cpu(a, 0)), 0x62);
    assert_int_equal(rd(a, PPR), 0x60);
    assert_int_equal(rd(a, ISR + 0x30), 4);
    assert_false(lapic_pending(cpu(a, 0))); /* 0x41 waits */
    assert_int_equal(lapic_accept(cpu(a, 0)), -1);
    wr(a, EOI, 0);
    assert_int_equal(lapic_accept(cpu(a, 0)), 0x41);
    apics_free(a);
}

static void task_priority_holds_back_its_class_and_below(void **unused)
{
    struct apics *a = apics_new();
    wr(a, SVR, 0x1ff);
    wr(a, TPR, 0x50);
    wr(a, ICR, 0x40052);
    assert_false(lapic_pending(cpu(a, 0)));
    assert_int_equal(lapic_read_cr8(cpu(a, 0)), 5);
    lapic_write_cr8(cpu(a, 0), 4);
    assert_true(lapic_pending(cpu(a, 0)));
    assert_int_equal(rd(a, TPR), 0x40);
    apics_free(a);
}

static void vectors_below_16_are_errors(void **unused)
{
    struct apics *a = apics_new();
    wr(a, SVR, 0x1ff);
    wr(a, LVT_ERROR, 0x33);
    wr(a, ICR, 0x40005);
    assert_int_equal(rd(a, ESR), 0); /* until it is written */
    wr(a, ESR, 0);
    assert_int_equal(rd(a, ESR), 0x20);
    assert_int_equal(lapic_accept(cpu(a, 0)), 0x33);
    message(a, 0, false, 0x05);
    rd(a, 0x40);
    wr(a, ESR, 0);
    assert_int_equal(rd(a, ESR), 0xc0);
    apics_free(a);
}

static void start_sequence_reaches_another_cpu_only(void **unused)
{
    struct apics *a = apics_new();
    wr(a, ICR_HIGH, 2u << 24);
    wr(a, ICR, 0xc500); /* INIT, assert */
    wr(a, ICR, 0x8500); /* INIT, de-assert: nothing */
    wr(a, ICR, 0x4699);
    assert_int_equal(a->cpus[2].init, 1);
    assert_int_equal(a->cpus[2].start, 1);
    assert_int_equal(a->cpus[2].start_vector, 0x99);
    assert_int_equal(a->cpus[0].init + a->cpus[1].init + a->cpus[3].start, 0);
    apics_free(a);
}

static void shorthands_name_all_and_others(void **unused)
{
    struct apics *a = apics_new();
    wr(a, ICR, 0xc0400); /* NMI to all but self */
    wr(a, ICR, 0x80200); /* SMI to all */
    for (unsigned i = 0; i < N_CPUS; i++) {
        assert_int_equal(a->cpus[i].nmi, i != 0);
        assert_int_equal(a->cpus[i].smi, 1);
    }
    wr(a, ICR_HIGH, 0xffu << 24);
    wr(a, ICR, 0x4400); /* broadcast by destination */
    assert_int_equal(a->cpus[0].nmi, 1);
    assert_int_equal(a->cpus[3].nmi, 2);
    apics_free(a);
}

static void a_message_to_a_disabled_apic_is_lost(void **unused)
{
    struct apics *a = apics_new();
    message(a, 0, false, 0x50);
    assert_false(lapic_pending(cpu(a, 0)));
    wr(a, SVR, 0x1ff);
    message(a, 0, false, 0x50);
    assert_true(lapic_pending(cpu(a, 0)));
    assert_int_equal(a->cpus[0].changed, 1);
    apics_free(a);
}

static void logical_flat_and_cluster_destinations(void **unused)
{
    struct apics *a = apics_new();
    wr(a, SVR, 0x1ff);
    wr(a, LDR, 0x02000000);
    message(a, 0x0d, true, 0x50);
    assert_false(lapic_pending(cpu(a, 0)));
    message(a, 0x06, true, 0x50);
    assert_true(lapic_pending(cpu(a, 0)));
    assert_int_equal(lapic_accept(cpu(a, 0)), 0x50);
    wr(a, EOI, 0);
    wr(a, DFR, 0x0fffffff);
    wr(a, LDR, 0x32000000); /* cluster 3, member 1 */
    message(a, 0x22, true, 0x51);
    message(a, 0x31, true, 0x51);
    assert_false(lapic_pending(cpu(a, 0)));
    message(a, 0x32, true, 0x51);
    assert_true(lapic_pending(cpu(a, 0)));
    apics_free(a);
}

static void x2apic_msrs_have_32_bit_ids_and_one_icr(void **unused)
{
    struct apics *a = apics_new();
    enable_x2(a);
    assert_int_equal(msr(a, 3, X2 + 0x02), 3);
    assert_int_equal(msr(a, 3, X2 + 0x0d), 1 << 3);
    assert_true(lapic_write_msr(cpu(a, 0), X2 + 0x30, UINT64_C(3) << 32 | 0x55));
    assert_int_equal(lapic_accept(cpu(a, 3)), 0x55);
    assert_true(lapic_write_msr(cpu(a, 0), X2 + 0x30, UINT64_C(0x6) << 32 | 0x800 | 0x56));
    assert_false(lapic_pending(cpu(a, 3)));
    assert_int_equal(lapic_accept(cpu(a, 1)), 0x56); /* logical: cluster 0, members 1 and 2 */
    assert_int_equal(lapic_accept(cpu(a, 2)), 0x56);
    assert_true(lapic_write_msr(cpu(a, 1), X2 + 0x3f, 0x77));
    assert_int_equal(lapic_accept(cpu(a, 1)), 0x77);
    assert_int_equal(rd(a, SVR), 0); /* the page is gone */
    apics_free(a);
}

static void x2apic_refuses_what_the_manual_says(void **unused)
{
    struct apics *a = apics_new();
    uint64_t v;
    assert_false(lapic_read_msr(cpu(a, 0), X2 + 0x02, &v)); /* not in this mode */
    enable_x2(a);
    assert_false(lapic_write_msr(cpu(a, 0), X2 + 0x02, 1)); /* read-only */
    assert_false(lapic_read_msr(cpu(a, 0), X2 + 0x0b, &v)); /* write-only */
    assert_false(lapic_write_msr(cpu(a, 0), X2 + 0x0b, 1)); /* EOI takes 0 */
    assert_false(lapic_read_msr(cpu(a, 0), X2 + 0x0e, &v)); /* no DFR */
    assert_false(lapic_read_msr(cpu(a, 0), X2 + 0x31, &v)); /* no second half of ICR */
    assert_false(lapic_write_msr(cpu(a, 0), X2 + 0x08, 0x100));
    assert_false(lapic_write_msr(cpu(a, 0), APIC_BASE, 0xfee00900)); /* not straight back */
    assert_false(lapic_write_msr(cpu(a, 0), APIC_BASE, 0xfee00500));
    assert_true(lapic_write_msr(cpu(a, 0), APIC_BASE, 0xfee00100));
    assert_false(lapic_write_msr(cpu(a, 0), APIC_BASE, 0xfee00d00)); /* not straight there */
    assert_true(lapic_write_msr(cpu(a, 0), APIC_BASE, 0xfee00900));
    assert_int_equal(rd(a, SVR), 0xff);
    apics_free(a);
}

static void a_relocated_base_moves_the_page(void **unused)
{
    struct apics *a = apics_new();
    assert_true(lapic_write_msr(cpu(a, 0), APIC_BASE, 0xfed40900));
    assert_int_equal(rd(a, VERSION), 0);
    assert_int_equal(board_peek(a->b, 0xfed40000 + VERSION, 4) & 0xff, 0x14);
    board_poke(a->b, 0xfed40000 + SVR, 4, 0x1ff);
    message(a, 0, false, 0x60); /* messages go where they always went */
    assert_int_equal(lapic_accept(cpu(a, 0)), 0x60);
    apics_free(a);
}

static void lowest_priority_picks_who_has_least_to_do(void **unused)
{
    struct apics *a = apics_new();
    enable_x2(a);
    for (unsigned i = 0; i < N_CPUS; i++)
        lapic_write_cr8(cpu(a, i), i == 2 ? 3 : 7);
    message(a, 0xff, true, 0x191);
    for (unsigned i = 0; i < N_CPUS; i++)
        assert_int_equal(lapic_pending(cpu(a, i)), i == 2);
    apics_free(a);
}

static void one_shot_timer_fires_once(void **unused)
{
    struct apics *a = apics_new();
    wr(a, SVR, 0x1ff);
    wr(a, DIVIDE, 0xb); /* by 1: a count is a nanosecond */
    wr(a, LVT_TIMER, 0x40);
    wr(a, INITIAL, 1000000);
    board_advance_ns(a->b, 400000);
    assert_int_equal(rd(a, CURRENT), 600000);
    assert_false(lapic_pending(cpu(a, 0)));
    board_advance_ns(a->b, 600000);
    assert_int_equal(lapic_accept(cpu(a, 0)), 0x40);
    wr(a, EOI, 0);
    assert_int_equal(rd(a, CURRENT), 0);
    board_advance_ns(a->b, 5000000);
    assert_false(lapic_pending(cpu(a, 0)));
    apics_free(a);
}

static void timer_that_ends_masked_stays_silent(void **unused)
{
    struct apics *a = apics_new();
    wr(a, SVR, 0x1ff);
    wr(a, DIVIDE, 0xb);
    wr(a, LVT_TIMER, 0x10040);
    wr(a, INITIAL, 1000);
    board_advance_ns(a->b, 2000);
    wr(a, LVT_TIMER, 0x40);
    board_advance_ns(a->b, 2000);
    assert_false(lapic_pending(cpu(a, 0)));
    apics_free(a);
}

static void periodic_timer_divides_and_repeats(void **unused)
{
    struct apics *a = apics_new();
    wr(a, SVR, 0x1ff);
    wr(a, DIVIDE, 0x3); /* by 16 */
    wr(a, LVT_TIMER, 0x20041);
    wr(a, INITIAL, 10000); /* every 160 us */
    for (unsigned i = 0; i < 3; i++) {
        board_advance_ns(a->b, 159000);
        assert_false(lapic_pending(cpu(a, 0)));
        board_advance_ns(a->b, 1000);
        assert_int_equal(lapic_accept(cpu(a, 0)), 0x41);
        wr(a, EOI, 0);
    }
    wr(a, INITIAL, 0);
    board_advance_ns(a->b, 1000000);
    assert_false(lapic_pending(cpu(a, 0)));
    apics_free(a);
}

static void tsc_deadline_disarms_itself(void **unused)
{
    struct apics *a = apics_new();
    wr(a, SVR, 0x1ff);
    assert_true(lapic_write_msr(cpu(a, 0), DEADLINE, 1000));
    assert_int_equal(msr(a, 0, DEADLINE), 0); /* not in this mode */
    wr(a, LVT_TIMER, 0x40042);
    assert_true(lapic_write_msr(cpu(a, 0), DEADLINE, 2000000));
    assert_int_equal(msr(a, 0, DEADLINE), 2000000);
    board_advance_ns(a->b, 1000000);
    assert_int_equal(lapic_accept(cpu(a, 0)), 0x42);
    assert_int_equal(msr(a, 0, DEADLINE), 0);
    apics_free(a);
}

static void the_8259_is_heard_through_lint0(void **unused)
{
    struct apics *a = apics_new();
    struct board *pics = pic_board();
    apic_wire(a->b->dev, NULL, pics->dev);
    *i8259_output(pics->dev) = apic_lint(a->b->dev, 0);
    pulse(pics, 4);
    assert_true(lapic_pending(cpu(a, 0))); /* as after power-on */
    assert_false(lapic_pending(cpu(a, 1)));
    assert_int_equal(lapic_accept(cpu(a, 0)), 12);
    pic_write(pics, MASTER, 0, 0x20);
    wr(a, SVR, 0x1ff);
    wr(a, LVT_LINT0, 0x10700);
    pulse(pics, 4);
    assert_false(lapic_pending(cpu(a, 0)));
    wr(a, LVT_LINT0, 0x700);
    assert_true(lapic_pending(cpu(a, 0)));
    i8259_acknowledge(pics->dev);
    board_free(pics);
    apics_free(a);
}

static void lint1_gives_nmi(void **unused)
{
    struct apics *a = apics_new();
    wr(a, SVR, 0x1ff);
    wr(a, LVT_LINT1, 0x400);
    drive(apic_lint(a->b->dev, 1), true);
    assert_int_equal(a->cpus[0].nmi, 1);
    assert_int_equal(a->cpus[1].nmi, 0);
    drive(apic_lint(a->b->dev, 1), false);
    assert_int_equal(a->cpus[0].nmi, 1);
    apics_free(a);
}

/* ---- I/O APIC --------------------------------------------------------------------------------- */
static void io_write(struct board *b, gpa at, unsigned index, uint32_t value)
{
    board_poke(b, at, 4, index);
    board_poke(b, at + 0x10, 4, value);
}

static uint32_t io_read(struct board *b, gpa at, unsigned index)
{
    board_poke(b, at, 4, index);
    return (uint32_t)board_peek(b, at + 0x10, 4);
}

static void ioapic_edge_becomes_a_message(void **unused)
{
    struct apics *a = apics_new();
    struct device *io = board_add(a->b, "ioapic", "addr", "0xfec00000", NULL);
    enable_x2(a);
    assert_int_equal(io_read(a->b, IOAPIC_ADDR, 1), 0x170020);
    drive(ioapic_input(io, 4), true); /* masked: lost */
    drive(ioapic_input(io, 4), false);
    io_write(a->b, IOAPIC_ADDR, 0x19, 3u << 24);
    io_write(a->b, IOAPIC_ADDR, 0x18, 0x34);
    assert_false(lapic_pending(cpu(a, 3)));
    drive(ioapic_input(io, 4), true);
    assert_int_equal(lapic_accept(cpu(a, 3)), 0x34);
    drive(ioapic_input(io, 4), false);
    assert_false(lapic_pending(cpu(a, 3)));
    apics_free(a);
}

static void ioapic_level_waits_for_eoi_and_comes_again(void **unused)
{
    struct apics *a = apics_new();
    struct device *io = board_add(a->b, "ioapic", "addr", "0xfec00000", NULL);
    apic_wire(a->b->dev, io, NULL);
    wr(a, SVR, 0x1ff);
    io_write(a->b, IOAPIC_ADDR, 0x30, 0x8035);
    drive(ioapic_input(io, 16), true);
    assert_int_equal(io_read(a->b, IOAPIC_ADDR, 0x30), 0xc035); /* remote IRR */
    assert_int_equal(lapic_accept(cpu(a, 0)), 0x35);
    assert_int_equal(rd(a, TMR + 0x10), 1 << 0x15);
    assert_false(lapic_pending(cpu(a, 0)));
    wr(a, EOI, 0);
    assert_int_equal(lapic_accept(cpu(a, 0)), 0x35);
    drive(ioapic_input(io, 16), false);
    wr(a, EOI, 0);
    assert_false(lapic_pending(cpu(a, 0)));
    assert_int_equal(io_read(a->b, IOAPIC_ADDR, 0x30), 0x8035);
    apics_free(a);
}

static void ioapic_eoi_register_and_the_trick_of_old_guests_end_a_level(void **unused)
{
    struct board *b = board_with("ioapic", NULL);
    io_write(b, BOARD_MMIO, 0x10, 0x8035);
    drive(ioapic_input(b->dev, 0), true);
    drive(ioapic_input(b->dev, 0), false);
    assert_int_equal(io_read(b, BOARD_MMIO, 0x10), 0xc035);
    board_write32(b, 0x40, 0x35);
    assert_int_equal(io_read(b, BOARD_MMIO, 0x10), 0x8035);
    drive(ioapic_input(b->dev, 0), true);
    drive(ioapic_input(b->dev, 0), false);
    io_write(b, BOARD_MMIO, 0x10, 0x10035);
    io_write(b, BOARD_MMIO, 0x10, 0x8035);
    assert_int_equal(io_read(b, BOARD_MMIO, 0x10), 0x8035);
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_edge_interrupts_once_and_ends_with_eoi),
        cmocka_unit_test(a_masked_request_waits),
        cmocka_unit_test(a_lower_priority_waits_for_eoi_and_a_higher_one_nests),
        cmocka_unit_test(the_slave_comes_through_the_cascade),
        cmocka_unit_test(a_request_that_went_away_is_spurious),
        cmocka_unit_test(a_level_interrupts_until_it_falls),
        cmocka_unit_test(automatic_eoi_leaves_nothing_in_service),
        cmocka_unit_test(automatic_eoi_loses_nothing_behind_the_cascade),
        cmocka_unit_test(rotation_puts_the_served_input_last),
        cmocka_unit_test(special_mask_lets_lower_ones_in),
        cmocka_unit_test(polling_acknowledges),
        cmocka_unit_test(reset_state_is_the_manuals),
        cmocka_unit_test(self_ipi_is_taken_by_priority),
        cmocka_unit_test(task_priority_holds_back_its_class_and_below),
        cmocka_unit_test(vectors_below_16_are_errors),
        cmocka_unit_test(start_sequence_reaches_another_cpu_only),
        cmocka_unit_test(shorthands_name_all_and_others),
        cmocka_unit_test(a_message_to_a_disabled_apic_is_lost),
        cmocka_unit_test(logical_flat_and_cluster_destinations),
        cmocka_unit_test(x2apic_msrs_have_32_bit_ids_and_one_icr),
        cmocka_unit_test(x2apic_refuses_what_the_manual_says),
        cmocka_unit_test(a_relocated_base_moves_the_page),
        cmocka_unit_test(lowest_priority_picks_who_has_least_to_do),
        cmocka_unit_test(one_shot_timer_fires_once),
        cmocka_unit_test(timer_that_ends_masked_stays_silent),
        cmocka_unit_test(periodic_timer_divides_and_repeats),
        cmocka_unit_test(tsc_deadline_disarms_itself),
        cmocka_unit_test(the_8259_is_heard_through_lint0),
        cmocka_unit_test(lint1_gives_nmi),
        cmocka_unit_test(ioapic_edge_becomes_a_message),
        cmocka_unit_test(ioapic_level_waits_for_eoi_and_comes_again),
        cmocka_unit_test(ioapic_eoi_register_and_the_trick_of_old_guests_end_a_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
