/* The advanced interrupt architecture: domains (APLIC) and interrupt files (IMSIC). */
#include "board.h"

#include "hw/intc/aplic.h"
#include "hw/intc/imsic.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum {
    DOMAINCFG = 0,
    MMSIADDRCFG = 0x1bc0,
    MMSIADDRCFGH = 0x1bc4,
    SMSIADDRCFG = 0x1bc8,
    SMSIADDRCFGH = 0x1bcc,
    SETIP = 0x1c00,
    SETIPNUM = 0x1cdc,
    IN_CLRIP = 0x1d00,
    CLRIPNUM = 0x1ddc,
    SETIE = 0x1e00,
    SETIENUM = 0x1edc,
    CLRIENUM = 0x1fdc,
    SETIPNUM_BE = 0x2004,
    GENMSI = 0x3000,
    IDC = 0x4000,
};
#define SOURCECFG(s) (4 * (s))
#define TARGET(s)    (0x3000 + 4 * (s))
enum { DETACHED = 1, RISING = 4, FALLING = 5, HIGH = 6, LOW = 7, DELEGATED = 0x400 };
enum { EIDELIVERY = 0x70, EITHRESHOLD = 0x72, EIP0 = 0x80, EIE0 = 0xc0 };

/* Two domains: the root is b->dev, its child at `child`; lines 0, 1 are the root's harts, 2, 3 the
 * child's. */
#define CHILD 0x20000000
struct domains {
    struct board *b;
    struct device *child;
};

static struct domains domains_new(const char *msi)
{
    struct domains d = { .b = board_with("riscv-aplic", "num-harts", "2", "num-sources", "96",
                                         "msi", msi, NULL) };
    d.child = board_add(d.b, "riscv-aplic", "num-harts", "2", "num-sources", "96", "msi", msi,
                        "supervisor", "on", "addr", "0x20000000", NULL);
    aplic_set_child(d.b->dev, d.child);
    for (unsigned h = 0; h < 2; h++) {
        *aplic_output(d.b->dev, h) = board_irq(d.b, h);
        *aplic_output(d.child, h) = board_irq(d.b, 2 + h);
    }
    return d;
}

static void set_source(struct board *b, unsigned source, bool level)
{
    struct irq irq = aplic_input(b->dev, source);
    irq_set(&irq, level);
}

/* Source to hart 1 with a priority, domain and hart switched on. */
static void route(struct board *b, unsigned source, unsigned mode, unsigned priority)
{
    board_write32(b, DOMAINCFG, 1 << 8);
    board_write32(b, SOURCECFG(source), mode);
    board_write32(b, TARGET(source), 1 << 18 | priority);
    board_write32(b, SETIENUM, source);
    board_write32(b, IDC + 32, 1);
}

static void direct_level_source_raises_its_hart(void **unused)
{
    struct domains d = domains_new("off");
    struct board *b = d.b;
    route(b, 10, HIGH, 3);
    assert_int_equal(board_read32(b, DOMAINCFG), 0x80000100);
    set_source(b, 10, true);
    assert_true(b->lines[1].level);
    assert_int_equal(board_read32(b, IDC + 32 + 0x18), 10 << 16 | 3);
    assert_int_equal(board_read32(b, IDC + 32 + 0x1c), 10 << 16 | 3);
    assert_true(b->lines[1].level); /* a level stays until its device lowers it */
    set_source(b, 10, false);
    assert_false(b->lines[1].level);
    board_free(b);
}

static void claim_clears_an_edge(void **unused)
{
    struct domains d = domains_new("off");
    struct board *b = d.b;
    route(b, 10, RISING, 1);
    set_source(b, 10, true);
    set_source(b, 10, false);
    assert_true(b->lines[1].level);
    assert_int_equal(board_read32(b, IDC + 32 + 0x1c), 10 << 16 | 1);
    assert_false(b->lines[1].level);
    assert_int_equal(board_read32(b, IDC + 32 + 0x1c), 0);
    board_free(b);
}

static void inverted_modes_look_at_the_low_wire(void **unused)
{
    struct domains d = domains_new("off");
    struct board *b = d.b;
    route(b, 33, LOW, 1);
    assert_true(b->lines[1].level);
    assert_int_equal(board_read32(b, IN_CLRIP + 4), 1 << 1);
    set_source(b, 33, true);
    assert_false(b->lines[1].level);
    board_write32(b, SOURCECFG(33), FALLING);
    set_source(b, 33, false);
    assert_true(b->lines[1].level);
    board_free(b);
}

static void lower_number_is_more_urgent_and_threshold_masks(void **unused)
{
    struct domains d = domains_new("off");
    struct board *b = d.b;
    route(b, 10, DETACHED, 5);
    route(b, 20, DETACHED, 2);
    route(b, 15, DETACHED, 2);
    board_write32(b, SETIPNUM, 10);
    board_write32(b, SETIPNUM, 20);
    board_write32(b, SETIPNUM_BE, __builtin_bswap32(15));
    assert_int_equal(board_read32(b, IDC + 32 + 0x18), 15 << 16 | 2);
    board_write32(b, IDC + 32 + 8, 2);
    assert_false(b->lines[1].level);
    board_write32(b, IDC + 32 + 8, 3);
    assert_true(b->lines[1].level);
    board_write32(b, CLRIPNUM, 15);
    board_write32(b, CLRIENUM, 20);
    assert_false(b->lines[1].level);
    board_free(b);
}

static void iforce_is_a_spurious_interrupt(void **unused)
{
    struct domains d = domains_new("off");
    struct board *b = d.b;
    board_write32(b, DOMAINCFG, 1 << 8);
    board_write32(b, IDC, 1);
    board_write32(b, IDC + 4, 1);
    assert_true(b->lines[0].level);
    assert_int_equal(board_read32(b, IDC + 0x1c), 0);
    assert_false(b->lines[0].level);
    board_free(b);
}

static void inactive_source_keeps_nothing(void **unused)
{
    struct domains d = domains_new("off");
    struct board *b = d.b;
    route(b, 10, DETACHED, 5);
    board_write32(b, SETIPNUM, 10);
    board_write32(b, SOURCECFG(10), 0);
    assert_int_equal(board_read32(b, SETIP), 0);
    assert_int_equal(board_read32(b, SETIE), 0);
    assert_int_equal(board_read32(b, TARGET(10)), 0);
    board_write32(b, SETIPNUM, 10);
    board_write32(b, SETIENUM, 10);
    board_write32(b, SOURCECFG(10), 2); /* reserved */
    assert_int_equal(board_read32(b, SOURCECFG(10)), 0);
    assert_int_equal(board_read32(b, SETIP), 0);
    board_free(b);
}

static void delegated_source_belongs_to_the_child(void **unused)
{
    struct domains d = domains_new("off");
    struct board *b = d.b;
    board_poke(b, CHILD + SOURCECFG(10), 4, HIGH);
    assert_int_equal(board_peek(b, CHILD + SOURCECFG(10), 4), 0); /* not given to it yet */
    set_source(b, 10, true);
    board_write32(b, SOURCECFG(10), DELEGATED);
    board_poke(b, CHILD + DOMAINCFG, 4, 1 << 8);
    board_poke(b, CHILD + SOURCECFG(10), 4, HIGH);
    board_poke(b, CHILD + TARGET(10), 4, 1 << 18 | 1);
    board_poke(b, CHILD + SETIENUM, 4, 10);
    board_poke(b, CHILD + IDC + 32, 4, 1);
    assert_true(b->lines[3].level);
    assert_false(b->lines[1].level);
    set_source(b, 10, false);
    assert_false(b->lines[3].level);
    set_source(b, 10, true);
    board_check(b);
    board_write32(b, SOURCECFG(10), HIGH); /* taken back */
    assert_false(b->lines[3].level);
    assert_int_equal(board_peek(b, CHILD + SOURCECFG(10), 4), 0);
    board_free(b);
}

static void message_goes_to_the_targets_page_once(void **unused)
{
    struct domains d = domains_new("on");
    struct board *b = d.b;
    board_write32(b, MMSIADDRCFG, 0x20000);            /* group 0; the recorded page is group 1's */
    board_write32(b, MMSIADDRCFGH, 3 << 24 | 1 << 16); /* HHXS, HHXW: hart 1 is group 1 */
    board_write32(b, DOMAINCFG, 1 << 8);
    assert_int_equal(board_read32(b, DOMAINCFG), 0x80000104);
    board_write32(b, SOURCECFG(10), HIGH);
    board_write32(b, TARGET(10), 1 << 18 | 55);
    board_write32(b, SETIENUM, 10);
    set_source(b, 10, true);
    assert_int_equal(b->n_msis, 1);
    assert_int_equal(b->msis[0].at, BOARD_MSI);
    assert_int_equal(b->msis[0].data, 55);
    assert_int_equal(board_read32(b, SETIP), 0);
    board_write32(b, SETIPNUM, 10); /* still high: again, as drivers do after serving it */
    assert_int_equal(b->n_msis, 2);
    set_source(b, 10, false);
    board_write32(b, SETIPNUM, 10);
    assert_int_equal(b->n_msis, 2);
    board_write32(b, GENMSI, 1 << 18 | 9);
    assert_int_equal(b->msis[2].data, 9);
    board_free(b);
}

static void child_sends_where_its_parent_was_told(void **unused)
{
    struct domains d = domains_new("on");
    struct board *b = d.b;
    board_write32(b, SMSIADDRCFG, (uint32_t)(BOARD_MSI >> 12));
    board_write32(b, MMSIADDRCFGH, 1u << 31 | 1 << 12); /* and locked */
    board_write32(b, SMSIADDRCFG, 0);
    assert_int_equal(board_read32(b, SMSIADDRCFG), BOARD_MSI >> 12);
    assert_int_equal(board_peek(b, CHILD + SMSIADDRCFG, 4), 0);
    board_write32(b, SOURCECFG(5), DELEGATED);
    board_poke(b, CHILD + DOMAINCFG, 4, 1 << 8);
    board_poke(b, CHILD + SOURCECFG(5), 4, RISING);
    board_poke(b, CHILD + TARGET(5), 4, 77);
    board_poke(b, CHILD + SETIENUM, 4, 5);
    set_source(b, 5, true);
    assert_int_equal(b->n_msis, 1);
    assert_int_equal(b->msis[0].at, BOARD_MSI);
    assert_int_equal(b->msis[0].data, 77);
    board_free(b);
}

/* ---- interrupt files --------------------------------------------------------------------------- */
static struct board *file_board(void)
{
    struct board *b = board_with("riscv-imsic", NULL);
    *imsic_output(b->dev) = board_irq(b, 0);
    return b;
}

static uint64_t csr_write(struct board *b, unsigned select, uint64_t v)
{
    uint64_t old;
    assert_true(imsic_access(b->dev, select, ~UINT64_C(0), v, &old));
    return old;
}

static uint64_t csr_read(struct board *b, unsigned select)
{
    uint64_t old;
    assert_true(imsic_access(b->dev, select, 0, 0, &old));
    return old;
}

static void message_sets_a_pending_bit(void **unused)
{
    struct board *b = file_board();
    board_write32(b, 0, 70);
    board_write32(b, 4, __builtin_bswap32(3));
    board_write32(b, 0, 0);
    board_write32(b, 0, 256);
    assert_int_equal(csr_read(b, EIP0), 1 << 3);
    assert_int_equal(csr_read(b, EIP0 + 2), 1 << 6);
    assert_int_equal(board_read32(b, 0), 0);
    board_free(b);
}

static void lowest_enabled_identity_comes_first(void **unused)
{
    struct board *b = file_board();
    csr_write(b, EIDELIVERY, 1);
    csr_write(b, EIE0, ~UINT64_C(0));
    csr_write(b, EIE0 + 2, ~UINT64_C(0));
    board_write32(b, 0, 70);
    board_write32(b, 0, 5);
    assert_true(b->lines[0].level);
    assert_int_equal(imsic_topei(b->dev, false), 5 << 16 | 5);
    assert_int_equal(imsic_topei(b->dev, true), 5 << 16 | 5);
    assert_int_equal(imsic_topei(b->dev, true), 70 << 16 | 70);
    assert_false(b->lines[0].level);
    assert_int_equal(imsic_topei(b->dev, true), 0);
    board_free(b);
}

static void threshold_and_delivery_hold_interrupts_back(void **unused)
{
    struct board *b = file_board();
    csr_write(b, EIE0, 1 << 5);
    board_write32(b, 0, 5);
    assert_false(b->lines[0].level);
    csr_write(b, EIDELIVERY, 1);
    assert_true(b->lines[0].level);
    csr_write(b, EITHRESHOLD, 5);
    assert_false(b->lines[0].level);
    assert_int_equal(imsic_topei(b->dev, false), 0);
    csr_write(b, EITHRESHOLD, 6);
    assert_true(b->lines[0].level);
    board_check(b);
    board_free(b);
}

static void registers_that_do_not_exist_are_refused(void **unused)
{
    struct board *b = file_board();
    uint64_t old;
    assert_false(imsic_access(b->dev, EIP0 + 1, 0, 0, &old));
    assert_false(imsic_access(b->dev, 0x71, 0, 0, &old));
    assert_int_equal(csr_write(b, EIE0 + 8, ~UINT64_C(0)), 0); /* identities from 256 on */
    assert_int_equal(csr_read(b, EIE0 + 8), 0);
    csr_write(b, EIE0, ~UINT64_C(0));
    assert_int_equal(csr_read(b, EIE0) & 1, 0);
    csr_write(b, EIDELIVERY, 0x40000000);
    assert_int_equal(csr_read(b, EIDELIVERY), 0);
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(direct_level_source_raises_its_hart),
        cmocka_unit_test(claim_clears_an_edge),
        cmocka_unit_test(inverted_modes_look_at_the_low_wire),
        cmocka_unit_test(lower_number_is_more_urgent_and_threshold_masks),
        cmocka_unit_test(iforce_is_a_spurious_interrupt),
        cmocka_unit_test(inactive_source_keeps_nothing),
        cmocka_unit_test(delegated_source_belongs_to_the_child),
        cmocka_unit_test(message_goes_to_the_targets_page_once),
        cmocka_unit_test(child_sends_where_its_parent_was_told),
        cmocka_unit_test(message_sets_a_pending_bit),
        cmocka_unit_test(lowest_enabled_identity_comes_first),
        cmocka_unit_test(threshold_and_delivery_hold_interrupts_back),
        cmocka_unit_test(registers_that_do_not_exist_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
