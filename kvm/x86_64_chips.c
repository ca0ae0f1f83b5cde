/* A PC's 8259s, I/O APIC and 8254 inside the kernel: their state in the form that devices share. What the
 * kernel does not keep is left out on the way in (ICW3, which is wired) or starts anew: a counter of the
 * 8254 begins its period again. */
#include "kvm/x86_64.h"

#include "core/clock.h"
#include "core/error.h"
#include "target/x86_64/chips.h"

#define IOAPIC_AT 0xfec00000u

enum { ACCESS_BOTH = 3, UNUSED_MODE = 0xff };
enum { BYTE_LOW = 1, WORD_LOW = 3, WORD_HIGH = 4 }; /* which byte comes next */
static const uint8_t elcr_valid[2] = { 0xf8, 0xde };

static bool has_all(const struct kvm *kvm)
{
    return kvm->irqchip == IRQCHIP_ENGINE;
}

/* ---- 8259 ---------------------------------------------------------------------------------------- */

#define SAME(X)                          \
    X(level, last_irr)                   \
    X(irr, irr)                          \
    X(imr, imr)                          \
    X(isr, isr)                          \
    X(elcr, elcr)                        \
    X(vector, irq_base)                  \
    X(top, priority_add)                 \
    X(expect, init_state)                \
    X(wants_icw4, init4)                 \
    X(auto_eoi, auto_eoi)                \
    X(special_mask, special_mask)        \
    X(read_isr, read_reg_select)         \
    X(poll, poll)                        \
    X(rotate_on_eoi, rotate_on_auto_eoi) \
    X(fully_nested, special_fully_nested_mode)

static struct x86_pic pic_from(const struct kvm_pic_state *s)
{
#define X(ours, theirs) .ours = s->theirs,
    return (struct x86_pic){ SAME(X) };
#undef X
}

static struct kvm_pic_state pic_to(const struct x86_pic *p, unsigned which)
{
#define X(ours, theirs) .theirs = p->ours,
    return (struct kvm_pic_state){ SAME(X).elcr_mask = elcr_valid[which] };
#undef X
}

/* ---- 8254 ---------------------------------------------------------------------------------------- */

static uint64_t since(int64_t then)
{
    int64_t now = (int64_t)host_now_ns(); /* CLOCK_MONOTONIC, as the kernel's */
    return now > then ? (uint64_t)(now - then) : 0;
}

/* A counter that nobody has programmed shows a mode that there is none of. */
static struct x86_pit_counter counter_from(const struct kvm_pit_channel_state *s)
{
    bool used = s->mode <= 5;
    return (struct x86_pit_counter){
        .mode = used ? s->mode : 3,
        .access = s->rw_mode >= 1 && s->rw_mode <= 3 ? s->rw_mode : ACCESS_BOTH,
        .bcd = s->bcd,
        .gate = s->gate,
        .loaded = used,
        .triggered = (s->mode == 1 || s->mode == 5) && s->gate,
        .count_latched = s->count_latched,
        .status_latched = s->status_latched,
        .high_next_write = s->write_state == WORD_HIGH,
        .high_next_read = s->read_state == WORD_HIGH,
        .write_low = s->write_latch,
        .latched_status = s->status,
        .latched_count = s->latched_count,
        .count = s->count >= 1 && s->count <= 65536 ? s->count : 65536,
        .elapsed_ns = used ? since(s->count_load_time) : 0,
    };
}

static uint8_t byte_state(const struct x86_pit_counter *c, bool high)
{
    if (c->access != ACCESS_BOTH)
        return BYTE_LOW + c->access - 1;
    return high ? WORD_HIGH : WORD_LOW;
}

static struct kvm_pit_channel_state counter_to(const struct x86_pit_counter *c)
{
    bool untouched = !c->loaded && c->mode == 3 && c->access == ACCESS_BOTH;
    return (struct kvm_pit_channel_state){
        .count = c->count,
        .latched_count = c->latched_count,
        .count_latched = c->count_latched,
        .status_latched = c->status_latched,
        .status = c->latched_status,
        .read_state = untouched ? 0 : byte_state(c, c->high_next_read),
        .write_state = untouched ? 0 : byte_state(c, c->high_next_write),
        .write_latch = c->write_low,
        .rw_mode = untouched ? 0 : c->access,
        .mode = untouched ? UNUSED_MODE : c->mode,
        .bcd = c->bcd,
        .gate = c->gate,
    };
}

/* ---- together -------------------------------------------------------------------------------------- */

static struct error *get_chip(struct kvm *kvm, uint32_t which, struct kvm_irqchip *chip)
{
    *chip = (struct kvm_irqchip){ .chip_id = which };
    return ioctl(kvm->vm_fd, KVM_GET_IRQCHIP, chip) < 0 ? error_errno("KVM_GET_IRQCHIP") : NULL;
}

static struct error *get_pit(struct kvm *kvm, struct x86_chips *chips)
{
    struct kvm_pit_state2 pit;
    if (ioctl(kvm->vm_fd, KVM_GET_PIT2, &pit) < 0)
        return error_errno("KVM_GET_PIT2");
    for (unsigned i = 0; i < 3; i++)
        chips->pit[i] = counter_from(&pit.channels[i]);
    bool sounds = pit.flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON;
    chips->portb = (uint8_t)(chips->pit[2].gate | sounds << 1);
    chips->has_pit = true;
    return NULL;
}

struct error *kvm_x86_get_chips(struct kvm *kvm, void *opaque)
{
    struct x86_chips *chips = opaque;
    struct kvm_irqchip chip;
    struct error *err = NULL;
    *chips = (struct x86_chips){ 0 };
    if (!has_all(kvm))
        return NULL; /* local APICs alone, which are vCPUs' state */
    for (unsigned i = 0; i < 2 && !err; i++) {
        err = get_chip(kvm, i ? KVM_IRQCHIP_PIC_SLAVE : KVM_IRQCHIP_PIC_MASTER, &chip);
        if (!err)
            chips->pic[i] = pic_from(&chip.chip.pic);
    }
    chips->pic[0].level &= ~X86_PIC_CASCADE;
    if (!err)
        err = get_chip(kvm, KVM_IRQCHIP_IOAPIC, &chip);
    if (err)
        return err;
    const struct kvm_ioapic_state *io = &chip.chip.ioapic;
    chips->ioapic = (struct x86_ioapic){ .select = (uint8_t)io->ioregsel,
                                         .id = io->id & 15,
                                         .level = io->irr & ((1 << X86_IOAPIC_PINS) - 1) };
    for (unsigned i = 0; i < X86_IOAPIC_PINS; i++)
        chips->ioapic.redir[i] = io->redirtbl[i].bits;
    chips->has_pic = chips->has_ioapic = true;
    return kvm->pit ? get_pit(kvm, chips) : NULL;
}

static struct error *set_chip(struct kvm *kvm, const struct kvm_irqchip *chip)
{
    return ioctl(kvm->vm_fd, KVM_SET_IRQCHIP, chip) < 0 ? error_errno("KVM_SET_IRQCHIP") : NULL;
}

static struct error *set_pics(struct kvm *kvm, const struct x86_chips *chips)
{
    struct error *err = NULL;
    for (unsigned i = 0; i < 2 && !err; i++) {
        struct kvm_irqchip chip = { .chip_id = i ? KVM_IRQCHIP_PIC_SLAVE : KVM_IRQCHIP_PIC_MASTER };
        chip.chip.pic = pic_to(&chips->pic[i], i);
        err = set_chip(kvm, &chip);
    }
    return err;
}

static struct error *set_ioapic(struct kvm *kvm, const struct x86_ioapic *io)
{
    struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
    chip.chip.ioapic = (struct kvm_ioapic_state){
        .base_address = IOAPIC_AT, .ioregsel = io->select, .id = io->id, .irr = io->level
    };
    for (unsigned i = 0; i < X86_IOAPIC_PINS; i++)
        chip.chip.ioapic.redirtbl[i].bits = io->redir[i];
    return set_chip(kvm, &chip);
}

static struct error *set_pit(struct kvm *kvm, const struct x86_chips *chips)
{
    struct kvm_pit_state2 pit;
    if (ioctl(kvm->vm_fd, KVM_GET_PIT2, &pit) < 0)
        return error_errno("KVM_GET_PIT2");
    for (unsigned i = 0; i < 3; i++)
        pit.channels[i] = counter_to(&chips->pit[i]);
    pit.flags &= ~(uint32_t)KVM_PIT_FLAGS_SPEAKER_DATA_ON;
    if (chips->portb & 2)
        pit.flags |= KVM_PIT_FLAGS_SPEAKER_DATA_ON;
    return ioctl(kvm->vm_fd, KVM_SET_PIT2, &pit) < 0 ? error_errno("KVM_SET_PIT2") : NULL;
}

struct error *kvm_x86_set_chips(struct kvm *kvm, const void *opaque)
{
    const struct x86_chips *chips = opaque;
    struct error *err = NULL;
    if (!has_all(kvm))
        return NULL;
    if (chips->has_pic)
        err = set_pics(kvm, chips);
    if (!err && chips->has_ioapic)
        err = set_ioapic(kvm, &chips->ioapic);
    if (!err && chips->has_pit && kvm->pit)
        err = set_pit(kvm, chips);
    return err;
}
