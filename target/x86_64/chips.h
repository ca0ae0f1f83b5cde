/* A PC's interrupt controllers and its timer as registers, whoever models them: devices in user space or an
 * engine. This is the form in which one hands them to the other, and in which an engine's are saved. Local
 * APICs are in x86_cpu (lapic, apic_base, tsc_deadline). */
#pragma once

#include "core/state.h"

enum { X86_IOAPIC_PINS = 24, X86_PIC_CASCADE = 1 << 2 };

struct x86_pic { /* 8259A; names as in its data sheet */
    uint8_t level; /* inputs as they stand; the first chip's cascade, which follows, as 0 */
    uint8_t irr, imr, isr, elcr;
    uint8_t vector; /* of input 0 */
    uint8_t top;    /* input of highest priority */
    uint8_t expect; /* the next write to port 1: 0 mask, 1 to 3 ICW2 to ICW4 */
    bool wants_icw4, auto_eoi, fully_nested, rotate_on_eoi, special_mask, read_isr, poll;
};
struct x86_ioapic {
    uint8_t select, id;
    uint32_t level;
    uint64_t redir[X86_IOAPIC_PINS];
};
struct x86_pit_counter { /* 8254 */
    uint8_t mode, access; /* as in the control word */
    bool bcd, gate, loaded, triggered /* modes 1 and 5 */, count_latched, status_latched, high_next_write,
        high_next_read;
    uint8_t write_low, latched_status;
    uint16_t latched_count;
    uint32_t count;      /* 1 to 65536 */
    uint64_t elapsed_ns; /* since it was loaded or triggered */
};
struct x86_chips {
    struct x86_pic pic[2];
    struct x86_ioapic ioapic;
    struct x86_pit_counter pit[3];
    uint8_t portb;                    /* 0 to 3: gate of counter 2, speaker */
    bool has_pic, has_ioapic, has_pit; /* who fills it says what there is; who takes it skips the rest */
};

extern const struct field_list x86_chips_state;
