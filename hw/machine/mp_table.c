/* The MultiProcessor tables. Section numbers: Intel MultiProcessor Specification 1.4. */
#include "hw/machine/mp_table.h"

#include "core/util.h"
#include "core/vm.h"
#include "hw/intc/ioapic.h"
#include "hw/intc/lapic.h"
#include "target/x86_64/model.h"
#include "target/x86_64/x86.h"

#include <stdlib.h>

enum { POINTER_SIZE = 16, HEADER_SIZE = 44, CPU_SIZE = 20, ENTRY_SIZE = 8 };
enum { /* 4.3: entry types */
       MP_CPU,
       MP_BUS,
       MP_IOAPIC,
       MP_INTERRUPT,
       MP_LOCAL_INTERRUPT,
};
enum { INT = 0, NMI = 1, EXTINT = 3 }; /* 4.3.4 */
enum { SPEC_1_4 = 4, ENABLED = 1, BOOT = 2, ALL_APICS = 0xff, ISA_BUS = 0, IOAPIC_ID = 0 };
enum { N_ISA = 16, CASCADE = 2, TIMER_PIN = 2, APIC_VERSION = 0x14, IOAPIC_VERSION = 0x20 };

static void set_checksum(uint8_t *bytes, uint32_t n, uint8_t *at)
{
    uint8_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += bytes[i];
    *at = (uint8_t)-sum;
}

/* 4.3.1 */
static uint8_t *put_cpu(uint8_t *e, const struct x86_cpu *x)
{
    uint32_t leaf[4];
    x86_cpuid(x, 1, 0, leaf);
    e[0] = MP_CPU;
    e[1] = (uint8_t)x->apic_id;
    e[2] = APIC_VERSION;
    e[3] = ENABLED | (x->cpu->index == 0 ? BOOT : 0);
    store_le(e + 4, 4, leaf[0]);
    store_le(e + 8, 4, leaf[3]);
    return e + CPU_SIZE;
}

/* 4.3.4, 4.3.5: an interrupt of the ISA bus, at the polarity and trigger that are usual there. */
static uint8_t *put_interrupt(uint8_t *e, uint8_t type, uint8_t kind, uint8_t irq, uint8_t apic,
                              uint8_t pin)
{
    const uint8_t bytes[ENTRY_SIZE] = { type, kind, 0, 0, ISA_BUS, irq, apic, pin };
    memcpy(e, bytes, sizeof(bytes));
    return e + ENTRY_SIZE;
}

static uint8_t *put_ioapic(uint8_t *e)
{
    e[0] = MP_IOAPIC;
    e[1] = IOAPIC_ID;
    e[2] = IOAPIC_VERSION;
    e[3] = ENABLED;
    store_le(e + 4, 4, IOAPIC_ADDR);
    return e + ENTRY_SIZE;
}

static uint8_t *put_entries(uint8_t *e, const struct vm *vm)
{
    for (unsigned i = 0; i < vm->n_vcpus; i++)
        e = put_cpu(e, x86_of(vm->vcpus[i]));
    e[0] = MP_BUS;
    memcpy(e + 2, "ISA   ", 6);
    e = put_ioapic(e + ENTRY_SIZE);
    for (uint8_t irq = 0; irq < N_ISA; irq++)
        if (irq != CASCADE)
            e = put_interrupt(e, MP_INTERRUPT, INT, irq, IOAPIC_ID, irq ? irq : TIMER_PIN);
    e = put_interrupt(e, MP_LOCAL_INTERRUPT, EXTINT, 0, ALL_APICS, 0);
    return put_interrupt(e, MP_LOCAL_INTERRUPT, NMI, 0, ALL_APICS, 1);
}

uint32_t mp_table_make(const struct vm *vm, uint32_t at, uint8_t **out)
{
    enum { N_FIXED = 2 + N_ISA - 1 + 2 };
    uint32_t room = POINTER_SIZE + HEADER_SIZE + vm->n_vcpus * CPU_SIZE + N_FIXED * ENTRY_SIZE;
    uint8_t *p = xcalloc(1, room), *h = p + POINTER_SIZE;
    uint32_t n = (uint32_t)(put_entries(h + HEADER_SIZE, vm) - h);

    memcpy(p, "_MP_", 4); /* 4.1 */
    store_le(p + 4, 4, at + POINTER_SIZE);
    p[8] = POINTER_SIZE / 16;
    p[9] = SPEC_1_4;
    set_checksum(p, POINTER_SIZE, p + 10);

    memcpy(h, "PCMP", 4); /* 4.2 */
    store_le(h + 4, 2, n);
    h[6] = SPEC_1_4;
    memcpy(h + 8, "TANDEM  MICROVM     ", 20);
    store_le(h + 34, 2, vm->n_vcpus + N_FIXED);
    store_le(h + 36, 4, LAPIC_ADDR);
    set_checksum(h, n, h + 7);
    *out = p;
    return POINTER_SIZE + n;
}
