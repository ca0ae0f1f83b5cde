/* The ICH9's TCO watchdog: 32 bytes of registers inside the power management block, whose device owns it and
 * guards it by its lock. */
#pragma once

#include "core/state.h"

struct tco;
struct tco_owner {
    void (*smi)(void *opaque);   /* under the owner's lock */
    void (*reset)(void *opaque); /* the second timeout in a row */
    void *opaque;
};

enum { TCO_SIZE = 0x20 };

struct tco {
    uint16_t reload, status1, status2, control1, control2, start;
    uint8_t data_in, data_out, message[2], watchdog_status, irq_select;
    bool running, timed_out_once;
    uint64_t due_ns; /* of the next timeout, while running */
};

void tco_reset(struct tco *t);
/* `now_ns` is the guest clock. */
uint8_t tco_read(const struct tco *t, unsigned at, uint64_t now_ns);
void tco_write(struct tco *t, unsigned at, uint8_t value, uint64_t now_ns,
               const struct tco_owner *o);
/* Handle a timeout that is due; then ask tco_due again. */
void tco_tick(struct tco *t, uint64_t now_ns, const struct tco_owner *o);
/* When to call tco_tick; UINT64_MAX if it stands. */
uint64_t tco_due(const struct tco *t);

extern const struct field tco_fields[14];
