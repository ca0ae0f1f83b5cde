/* The local APICs of all vCPUs, in one device: class "apic". Each talks to its vCPU through a few functions
 * and knows neither engine nor register state; the vCPU asks it what is pending.
 *
 * Locks: each local APIC has its own, below any device's; it is never held when another one, an I/O APIC or
 * the 8259 is called. */
#pragma once

#include "core/device.h"

struct lapic;

enum { LAPIC_MAX = 256 };
#define LAPIC_ADDR ((gpa)0xfee00000)

/* What a local APIC asks of its vCPU. Called on any thread with the APIC's lock held: note it, rouse the
 * vCPU, do not call back. */
struct lapic_cpu {
    void (*changed)(void *opaque); /* lapic_pending() became true */
    void (*nmi)(void *opaque);
    void (*smi)(void *opaque);
    void (*init)(void *opaque); /* the APIC has already reset itself for INIT */
    void (*start)(void *opaque,
                  uint8_t vector); /* SIPI: counts only for a vCPU that waits for one */
    uint64_t (*tsc_at_ns)(void *opaque, uint64_t tsc); /* the guest clock when the TSC is there */
    void *opaque;
};

/* ---- for boards: all before the VM starts --------------------------------------------------- */
struct lapic *lapic_of(struct device *apic, unsigned vcpu);
/* vCPU `n` has this APIC ID (its index if nobody says). `cpu` is copied. */
void lapic_attach(struct device *apic, unsigned vcpu, uint32_t apic_id,
                  const struct lapic_cpu *cpu);
/* Who is told of the end of level-triggered interrupts, and who answers ExtINT; each may be NULL. */
void apic_wire(struct device *apic, struct device *ioapic, struct device *i8259);
/* LINT0 (the 8259's output) or LINT1 (NMI) of all local APICs. */
struct irq apic_lint(struct device *apic, unsigned n);

/* ---- for the vCPU: its own thread, no lock held, unless said otherwise ------------------------ */
/* Is there an interrupt that the priorities let through (EFLAGS.IF aside)? Any thread, takes no lock. */
bool lapic_pending(const struct lapic *l);
/* The vCPU takes the interrupt: its vector, or -1 if there is none any more. */
int lapic_accept(struct lapic *l);
/* CR8: bits 7:4 of the task priority. */
uint8_t lapic_read_cr8(struct lapic *l);
void lapic_write_cr8(struct lapic *l, uint8_t value);
/* IA32_APIC_BASE (0x1b), IA32_TSC_DEADLINE (0x6e0), x2APIC registers (0x800 to 0x8ff). False: #GP(0). */
bool lapic_read_msr(struct lapic *l, uint32_t msr, uint64_t *value);
bool lapic_write_msr(struct lapic *l, uint32_t msr, uint64_t value);
/* The TSC jumped: a deadline lies elsewhere on the guest clock now. */
void lapic_tsc_changed(struct lapic *l);

/* ---- for boards: hand over to an engine that has local APICs, and back. VM stopped ------------ */
enum { LAPIC_PAGE = 1024 };
/* The register page as the guest would read it (SDM 3A 11.4.1), the base and the deadline. */
struct lapic_regs {
    uint8_t page[LAPIC_PAGE];
    uint64_t base, deadline_tsc;
};
void lapic_get(struct lapic *l, struct lapic_regs *regs);
/* False: no APIC can be in this state; nothing was changed. */
bool lapic_set(struct lapic *l, const struct lapic_regs *regs);
