#include "hw/machine/x86_chips.h"

#include "core/error.h"
#include "core/vm.h"
#include "hw/intc/i8259.h"
#include "hw/intc/ioapic.h"
#include "hw/intc/lapic.h"
#include "hw/timer/i8254.h"
#include "target/x86_64/chips.h"
#include "target/x86_64/x86.h"

_Static_assert((int)LAPIC_PAGE == (int)X86_LAPIC_PAGE, "one page");

enum { ICW1 = 1 << 4, ICW1_WANTS_ICW4 = 1 << 0, ICW4_AUTO_EOI = 1 << 1, ICW4_NESTED = 1 << 4 };

/* The same in both. */
#define PIC(X)       \
    X(level)         \
    X(irr)           \
    X(imr)           \
    X(isr)           \
    X(elcr)          \
    X(vector)        \
    X(top)           \
    X(expect)        \
    X(rotate_on_eoi) \
    X(special_mask)  \
    X(read_isr)      \
    X(poll)
#define COUNTER(X)     \
    X(mode)            \
    X(access)          \
    X(bcd)             \
    X(gate)            \
    X(loaded)          \
    X(triggered)       \
    X(count_latched)   \
    X(status_latched)  \
    X(high_next_write) \
    X(high_next_read)  \
    X(write_low)       \
    X(latched_status)  \
    X(latched_count)   \
    X(count)           \
    X(elapsed_ns)
#define COPY(name) .name = from->name,

static struct x86_pic pic_from(const struct i8259_chip *from)
{
    struct x86_pic to = { PIC(COPY) };
    to.wants_icw4 = from->icw1 & ICW1_WANTS_ICW4;
    to.auto_eoi = from->icw4 & ICW4_AUTO_EOI;
    to.fully_nested = from->icw4 & ICW4_NESTED;
    return to;
}

/* The cascade's wiring is ICW3: input 2 of the first chip. */
static struct i8259_chip pic_to(const struct x86_pic *from, unsigned which)
{
    struct i8259_chip to = { PIC(COPY) };
    to.icw1 = ICW1 | (from->wants_icw4 ? ICW1_WANTS_ICW4 : 0);
    to.icw3 = which ? 2 : 1 << 2;
    to.icw4 = (from->wants_icw4 ? 1 : 0) | (from->auto_eoi ? ICW4_AUTO_EOI : 0) |
              (from->fully_nested ? ICW4_NESTED : 0);
    return to;
}

static struct x86_pit_counter counter_from(const struct i8254_regs *from)
{
    struct x86_pit_counter to = { COUNTER(COPY) };
    to.triggered &= to.mode == 1 || to.mode == 5;
    return to;
}

static struct i8254_regs counter_to(const struct x86_pit_counter *from)
{
    return (struct i8254_regs){ COUNTER(COPY) };
}

static void take_pic(struct device *dev, struct x86_chips *chips)
{
    struct i8259_chip both[2];
    i8259_get(dev, both);
    for (unsigned i = 0; i < 2; i++)
        chips->pic[i] = pic_from(&both[i]);
    chips->pic[0].level &= ~X86_PIC_CASCADE;
    chips->has_pic = true;
}

static void take_ioapic(struct device *dev, struct x86_chips *chips)
{
    struct ioapic_regs regs;
    ioapic_get(dev, &regs);
    chips->ioapic = (struct x86_ioapic){ .select = (uint8_t)regs.select,
                                         .id = (uint8_t)regs.id,
                                         .level = regs.level };
    memcpy(chips->ioapic.redir, regs.redir, sizeof(regs.redir));
    chips->has_ioapic = true;
}

static void take_pit(struct device *dev, struct x86_chips *chips)
{
    struct i8254_regs counters[3];
    i8254_get(dev, counters, &chips->portb);
    for (unsigned i = 0; i < 3; i++)
        chips->pit[i] = counter_from(&counters[i]);
    chips->has_pit = true;
}

void x86_chips_from_devices(struct vm *vm, const struct x86_chip_devices *from,
                            struct x86_chips *chips)
{
    *chips = (struct x86_chips){ 0 };
    for (unsigned i = 0; i < vm->n_vcpus && from->apic; i++) {
        struct x86_cpu *x = x86_of(vm->vcpus[i]);
        struct lapic_regs regs;
        lapic_get(lapic_of(from->apic, i), &regs);
        memcpy(x->lapic, regs.page, sizeof(x->lapic));
        x->apic_base = regs.base;
        x->tsc_deadline = regs.deadline_tsc;
    }
    if (from->pic)
        take_pic(from->pic, chips);
    if (from->ioapic)
        take_ioapic(from->ioapic, chips);
    if (from->pit)
        take_pit(from->pit, chips);
}

static struct error *give_lapics(struct vm *vm, struct device *apic)
{
    for (unsigned i = 0; i < vm->n_vcpus && apic; i++) {
        const struct x86_cpu *x = x86_of(vm->vcpus[i]);
        struct lapic_regs regs = { .base = x->apic_base, .deadline_tsc = x->tsc_deadline };
        memcpy(regs.page, x->lapic, sizeof(regs.page));
        if (!lapic_set(lapic_of(apic, i), &regs))
            return error_new("vCPU %u: its local APIC is in a state that there is none of", i);
    }
    return NULL;
}

static void give_pic(struct device *dev, const struct x86_chips *chips)
{
    const struct i8259_chip both[] = { pic_to(&chips->pic[0], 0), pic_to(&chips->pic[1], 1) };
    i8259_set(dev, both);
}

static void give_ioapic(struct device *dev, const struct x86_chips *chips)
{
    const struct x86_ioapic *io = &chips->ioapic;
    struct ioapic_regs regs = { .select = io->select, .id = io->id, .level = io->level };
    memcpy(regs.redir, io->redir, sizeof(regs.redir));
    ioapic_set(dev, &regs);
}

static void give_pit(struct device *dev, const struct x86_chips *chips)
{
    struct i8254_regs counters[3];
    for (unsigned i = 0; i < 3; i++)
        counters[i] = counter_to(&chips->pit[i]);
    i8254_set(dev, counters, chips->portb);
}

/* Local APICs first: what the others send reaches them. */
struct error *x86_chips_to_devices(struct vm *vm, const struct x86_chips *chips,
                                   const struct x86_chip_devices *to)
{
    struct error *err = give_lapics(vm, to->apic);
    if (err)
        return err;
    if (to->pic && chips->has_pic)
        give_pic(to->pic, chips);
    if (to->ioapic && chips->has_ioapic)
        give_ioapic(to->ioapic, chips);
    if (to->pit && chips->has_pit)
        give_pit(to->pit, chips);
    return NULL;
}
