#include "target/x86_64/chips.h"

static const struct field pic_state[] = {
    FIELD(struct x86_pic, level),         FIELD(struct x86_pic, irr),
    FIELD(struct x86_pic, imr),           FIELD(struct x86_pic, isr),
    FIELD(struct x86_pic, elcr),          FIELD(struct x86_pic, vector, .valid = 0xf8),
    FIELD(struct x86_pic, top, .max = 7), FIELD(struct x86_pic, expect, .max = 3),
    FIELD(struct x86_pic, wants_icw4),    FIELD(struct x86_pic, auto_eoi),
    FIELD(struct x86_pic, fully_nested),  FIELD(struct x86_pic, rotate_on_eoi),
    FIELD(struct x86_pic, special_mask),  FIELD(struct x86_pic, read_isr),
    FIELD(struct x86_pic, poll),
};
static const struct field ioapic_state[] = {
    FIELD(struct x86_ioapic, select),
    FIELD(struct x86_ioapic, id, .max = 15),
    FIELD(struct x86_ioapic, level, .valid = (1 << X86_IOAPIC_PINS) - 1),
    FIELD_ARRAY(struct x86_ioapic, redir),
};
static const struct field counter_state[] = {
    FIELD(struct x86_pit_counter, mode, .max = 5),
    FIELD(struct x86_pit_counter, access, .max = 3),
    FIELD(struct x86_pit_counter, bcd),
    FIELD(struct x86_pit_counter, gate),
    FIELD(struct x86_pit_counter, loaded),
    FIELD(struct x86_pit_counter, triggered),
    FIELD(struct x86_pit_counter, count_latched),
    FIELD(struct x86_pit_counter, status_latched),
    FIELD(struct x86_pit_counter, high_next_write),
    FIELD(struct x86_pit_counter, high_next_read),
    FIELD(struct x86_pit_counter, write_low),
    FIELD(struct x86_pit_counter, latched_status),
    FIELD(struct x86_pit_counter, latched_count),
    FIELD(struct x86_pit_counter, count, .max = 65536),
    FIELD(struct x86_pit_counter, elapsed_ns),
};
static const struct field chips_state[] = {
    FIELD_SUB(struct x86_chips, pic, pic_state, 2),
    FIELD_SUB(struct x86_chips, ioapic, ioapic_state, 1),
    FIELD_SUB(struct x86_chips, pit, counter_state, 3),
    FIELD(struct x86_chips, portb, .max = 15),
    FIELD(struct x86_chips, has_pic),
    FIELD(struct x86_chips, has_ioapic),
    FIELD(struct x86_chips, has_pit),
};
const struct field_list x86_chips_state = TABLE(chips_state);
