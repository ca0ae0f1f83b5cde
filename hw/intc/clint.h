/* Core-local interrupts in their ACLINT parts; wiring for boards. Classes "riscv-aclint-swi" (machine
 * or supervisor software interrupts) and "riscv-aclint-mtimer". A SiFive CLINT is an mswi with an
 * mtimer 0x4000 above it. */
#pragma once

#include "core/device.h"

enum {
    ACLINT_MAX_HARTS = 4095,
    ACLINT_SWI_SIZE = 0x4000,
    ACLINT_MTIMER_SIZE = 0x8000,
    ACLINT_MTIME_AT = 0x7ff8, /* mtimecmp registers fill what is below */
    ACLINT_TIMEBASE_HZ = 10000000,
};

/* Hart n's line. mswi: a level, MSIP. sswi: raised by each write of 1 and never lowered, because
 * SSIP is cleared by software in mip (ACLINT 4). */
struct irq *aclint_swi_output(struct device *swi, unsigned hart);
/* Hart n's MTIP. */
struct irq *aclint_mtimer_output(struct device *mtimer, unsigned hart);
/* mtime now. Any thread; takes no lock. */
uint64_t aclint_mtime(const struct device *mtimer);
/* `fn` is told that mtime jumped (a write to it, a reset, a load). It may ask aclint_mtime and nothing
 * else of the timer. */
void aclint_mtimer_on_jump(struct device *mtimer, void (*fn)(void *opaque), void *opaque);
