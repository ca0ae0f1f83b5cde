/* The KVM engine and interrupts: controllers in the kernel, in user space, half and half, and on their way from one to the
 * other. Skipped with the reason where there is no KVM. */
#include "kvm_kit.h"

#include "core/clock.h"
#include "core/error.h"
#include "hw/intc/i8259.h"
#include "hw/intc/ioapic.h"
#include "hw/intc/lapic.h"
#include "hw/machine/x86_apic.h"
#include "hw/machine/x86_chips.h"
#include "kvm/kvm.h"
#include "target/x86_64/chips.h"
#include "target/x86_64/model.h"

#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- guests --------------------------------------------------------------------------------------- */

/* Vector 0x20's handler counts and acknowledges by a port; then HLT until it came. */
GUEST(irq, 16,
      "cli\n movw $(1f - guest_irq + 0x1000), 0x80\n movw $0, 0x82\n movw $0, 0x3000\n"
      "2: sti\n hlt\n cli\n cmpw $2, 0x3000\n jb 2b\n mov 0x3000, %al\n cli\n" END
      "1: push %ax\n push %dx\n incw 0x3000\n mov $0x501, %dx\n out %al, %dx\n pop %dx\n pop %ax\n "
      "iret\n");

/* The same through the kernel's 8259: interrupt 5 at vector 0x25. */
GUEST(pic, 16,
      "cli\n mov $0x11, %al\n out %al, $0x20\n mov $0x20, %al\n out %al, $0x21\n mov $4, %al\n"
      "out %al, $0x21\n mov $1, %al\n out %al, $0x21\n mov $0xdf, %al\n out %al, $0x21\n"
      "movw $(1f - guest_pic + 0x1000), 0x94\n movw $0, 0x96\n movw $0, 0x3000\n mov $0x502, %dx\n "
      "out %al, %dx\n"
      "2: sti\n hlt\n cli\n cmpw $1, 0x3000\n jb 2b\n mov 0x3000, %al\n cli\n" END
      "1: push %ax\n incw 0x3000\n mov $0x20, %al\n out %al, $0x20\n pop %ax\n iret\n");

/* An MSI with vector 0x30 to the kernel's local APIC, in protected mode with an IDT at 0x4000; the handler
 * ends the run. */
GUEST(msi, 32,
      "mov $0xfee00000, %ebx\n movl $0x1ff, 0xf0(%ebx)\n movl $0, 0x3000\n lidt 0x3800\n sti\n"
      "mov $0x502, %dx\n out %al, %dx\n 2: hlt\n jmp 2b\n"
      ".balign 64\n movl $0, 0xfee000b0\n mov $1, %al\n" END);

/* The boot processor is told to spin; the other one starts at page 2 and ends the run. */
GUEST(second, 16, "mov %cs, %ax\n mov $0x500, %dx\n out %ax, %dx\n mov $9, %al\n" END);
GUEST(first, 16, "mov $0x502, %dx\n out %al, %dx\n 1: hlt\n jmp 1b\n");
GUEST(msr, 32, "mov $0x802, %ecx\n rdmsr\n cmp $0x77, %eax\n setne %al\n" END);

/* INIT and SIPI to the other CPU through the APIC's page, then the same MSI handler as above. */
GUEST(ipi, 32,
      "mov $0xfee00000, %ebx\n movl $0x1ff, 0xf0(%ebx)\n movl $0x01000000, 0x310(%ebx)\n"
      "movl $0x00004500, 0x300(%ebx)\n movl $0x00004602, 0x300(%ebx)\n 1: hlt\n jmp 1b\n");

/* The local APIC's timer, one shot, vector 0x30. */
GUEST(timer, 32,
      "mov $0xfee00000, %ebx\n movl $0x1ff, 0xf0(%ebx)\n lidt 0x3800\n movl $0xb, 0x3e0(%ebx)\n"
      "movl $0x30, 0x320(%ebx)\n movl $0x100000, 0x380(%ebx)\n 2: sti\n hlt\n jmp 2b\n"
      ".balign 64\n movl $0, 0xfee000b0\n mov $4, %al\n" END);

/* I/O APIC pin 16, level-triggered, vector 0x30: two rounds, each ended by the local APIC's EOI. */
GUEST(level, 32,
      "mov $0xfee00000, %ebx\n movl $0x1ff, 0xf0(%ebx)\n lidt 0x3800\n mov $0xfec00000, %ecx\n"
      "movl $0x31, (%ecx)\n movl $0, 0x10(%ecx)\n movl $0x30, (%ecx)\n movl $0x8030, 0x10(%ecx)\n"
      "mov $0x502, %dx\n out %al, %dx\n 2: sti\n hlt\n jmp 2b\n"
      ".balign 64\n mov $0x503, %dx\n out %al, %dx\n movl $0, 0xfee000b0\n incl 0x3000\n"
      "cmpl $2, 0x3000\n je 3f\n sti\n 4: hlt\n jmp 4b\n 3: mov 0x3000, %al\n" END);

/* ---- facts ------------------------------------------------------------------------------------------------ */

/* A local APIC of one vector. */
static int acknowledge(void *opaque)
{
    struct kit *k = opaque;
    k->n_asked++;
    x86_set_intr(k->x->cpu, false);
    return k->vector;
}
static bool pending(void *opaque)
{
    return false; /* the wire says it */
}
static uint8_t get_tpr(void *opaque)
{
    return 0;
}
static void set_tpr(void *opaque, uint8_t cr8)
{
}
static bool set_base(void *opaque, uint64_t value)
{
    return true;
}
static bool read_msr(void *opaque, uint32_t index, uint64_t *value)
{
    *value = 0x77;
    return index == 0x802;
}
static bool write_msr(void *opaque, uint32_t index, uint64_t value)
{
    return false;
}
static const struct x86_apic_ops apic_ops = { pending,  acknowledge, get_tpr,  set_tpr,
                                              set_base, read_msr,    write_msr };

static void again(struct kit *k, unsigned off, uint64_t value)
{
    if (off != 1)
        return;
    k->n_acked++;
    if (k->n_acked < 2)
        x86_set_intr(k->x->cpu, true);
}

static void raise_once(void *opaque)
{
    struct kit *k = opaque;
    x86_set_intr(k->x->cpu, true);
}

static void interrupts_of_a_user_space_apic_arrive(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .vector = 0x20, .on_port = again };
    kit_open(&k, NULL);
    x86_set_apic(k.x->cpu, &apic_ops, &k);
    struct timer *t = timer_new(k.vm, raise_once, &k);
    timer_set(t, NS_PER_S / 20); /* while it sleeps in HLT */
    assert_int_equal(RUN(&k, irq, 16), 2);
    assert_int_equal(k.n_asked, 2);
    timer_free(t);
    kit_close(&k);
}

static void x2apic_registers_of_a_user_space_apic_are_reached(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    kit_open(&k, "qemu64,+x2apic,check=off");
    x86_set_apic(k.x->cpu, &apic_ops, &k);
    assert_int_equal(RUN(&k, msr, 32), 0);
    kit_close(&k);
}

static void start_second(struct kit *k, unsigned off, uint64_t value)
{
    if (off != 2)
        return;
    struct vcpu *second = k->vm->vcpus[1];
    x86_raise(second, X86_INIT);
    x86_start_up(second, 2);
}

static void second_cpu_starts(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .n_cpus = 2, .on_port = start_second };
    kit_open(&k, NULL);
    place(&k, 0x2000, guest_second, guest_second_end);
    assert_int_equal(RUN(&k, first, 16), 9);
    assert_int_equal(k.ports[0], 0x200);
    kit_close(&k);
}

static void pulse(struct kit *k, unsigned off, uint64_t value)
{
    if (off != 2)
        return;
    kvm_accel.irq_line(k->vm, 5, true);
    kvm_accel.irq_line(k->vm, 5, false);
}

static void kernels_8259_takes_lines(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .irqchips = 1 << IRQCHIP_ENGINE, .on_port = pulse };
    kit_open(&k, NULL);
    assert_int_equal(k.vm->irqchip, IRQCHIP_ENGINE);
    assert_int_equal(RUN(&k, pic, 16), 1);
    kit_close(&k);
}

static void send_msi(struct kit *k, unsigned off, uint64_t value)
{
    if (off == 2)
        vm_send_msi(k->vm, 0xfee00000, 0x30);
}

static void message_reaches_the_kernels_apic(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .irqchips = 1 << IRQCHIP_ENGINE, .on_port = send_msi };
    kit_open(&k, NULL);
    write_idt(&k, 0x30, HANDLER(msi));
    assert_int_equal(RUN(&k, msi, 32), 1);
    kit_close(&k);
}

static void signal_fd(struct kit *k, unsigned off, uint64_t value)
{
    uint64_t one = 1;
    if (off == 2)
        assert_int_equal(write(k->fd, &one, 8), 8);
}

static void eventfd_is_routed_as_a_message(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .irqchips = 1 << IRQCHIP_ENGINE, .on_port = signal_fd };
    k.fd = eventfd(0, EFD_NONBLOCK);
    kit_open(&k, NULL);
    vm_route_msi(k.vm, k.fd, 0xfee00000, 0x31);
    vm_route_msi(k.vm, k.fd, 0xfee00000, 0x30); /* the newer one counts */
    assert_null(k.vm->msi_routes);              /* the kernel does it */
    write_idt(&k, 0x30, HANDLER(msi));
    assert_int_equal(RUN(&k, msi, 32), 1);
    vm_unroute_msi(k.vm, k.fd);
    kit_close(&k);
    close(k.fd);
}

/* ---- interrupt controllers in user space ---- */

static struct device *add(struct kit *k, const char *name, const char *prop, const char *value)
{
    struct prop_value props[] = { { prop, value } };
    struct device *dev;
    must(device_create(k->vm, name, props, 1, &dev));
    return dev;
}

/* A PC's controllers; the VM is reset once more, so that they are, too. */
static struct device *add_controllers(struct kit *k)
{
    char n[8];
    snprintf(n, sizeof(n), "%u", k->vm->n_vcpus);
    struct prop_value props[] = { { "num-cpus", n }, { "addr", "0xfee00000" } };
    struct prop_value ports[] = { { "iobase", "0x20" }, { "iobase2", "0xa0" } };
    struct device *apic, *pic;
    must(device_create(k->vm, "isa-i8259", ports, 2, &pic));
    must(device_create(k->vm, "apic", props, 2, &apic));
    apic_wire(apic, k->ioapic, pic);
    *i8259_output(pic) = apic_lint(apic, 0);
    x86_wire_apics(k->vm, apic);
    vm_reset(k->vm);
    return pic;
}

static void pulse_pic(struct kit *k, unsigned off, uint64_t value)
{
    struct irq line = i8259_input(k->pic, 5);
    irq_set(&line, true);
    irq_set(&line, false);
}

static void our_8259_is_heard_through_the_local_apic(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .on_port = pulse_pic };
    kit_open(&k, NULL);
    k.pic = add_controllers(&k);
    assert_int_equal(RUN(&k, pic, 16), 1);
    kit_close(&k);
}

static void message_reaches_our_apic(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .on_port = send_msi };
    kit_open(&k, NULL);
    add_controllers(&k);
    write_idt(&k, 0x30, HANDLER(msi));
    assert_int_equal(RUN(&k, msi, 32), 1);
    kit_close(&k);
}

static void eventfd_is_routed_to_our_apic_by_the_main_loop(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .on_port = signal_fd };
    k.fd = eventfd(0, EFD_NONBLOCK);
    kit_open(&k, NULL);
    add_controllers(&k);
    vm_route_msi(k.vm, k.fd, 0xfee00000, 0x30);
    write_idt(&k, 0x30, HANDLER(msi));
    assert_int_equal(RUN(&k, msi, 32), 1);
    vm_unroute_msi(k.vm, k.fd);
    assert_null(k.vm->msi_routes);
    kit_close(&k);
    close(k.fd);
}

static void start_by_ipi(unsigned irqchips)
{
    struct kit k = { .n_cpus = 2, .irqchips = irqchips };
    kit_open(&k, NULL);
    if (!irqchips)
        add_controllers(&k);
    place(&k, 0x2000, guest_second, guest_second_end);
    assert_int_equal(RUN(&k, ipi, 32), 9);
    assert_int_equal(k.ports[0], 0x200);
    kit_close(&k);
}

static void second_cpu_starts_by_our_apic(void **unused)
{
    NEEDS_KVM();
    start_by_ipi(0);
}
static void second_cpu_starts_by_the_kernels_apic(void **unused)
{
    NEEDS_KVM();
    start_by_ipi(1 << IRQCHIP_ENGINE);
}

static void tick(unsigned irqchips)
{
    struct kit k = { .irqchips = irqchips };
    kit_open(&k, NULL);
    if (!irqchips)
        add_controllers(&k);
    write_idt(&k, 0x30, HANDLER(timer));
    assert_int_equal(RUN(&k, timer, 32), 4);
    kit_close(&k);
}

static void timer_of_our_apic_ticks(void **unused)
{
    NEEDS_KVM();
    tick(0);
}
static void timer_of_the_kernels_apic_ticks(void **unused)
{
    NEEDS_KVM();
    tick(1 << IRQCHIP_ENGINE);
}

/* ---- controllers change hands ---- */

static struct x86_chip_devices add_all_controllers(struct kit *k)
{
    struct x86_chip_devices d = { .ioapic = add(k, "ioapic", "addr", "0xfec00000") };
    k->ioapic = d.ioapic;
    d.pic = add_controllers(k);
    d.pit = add(k, "isa-pit", "iobase", "0x40");
    struct device *apic = k->vm->devices;
    while (strcmp(apic->cls->name, "apic"))
        apic = apic->next;
    d.apic = apic;
    vm_reset(k->vm);
    return d;
}

static void out_bytes(struct kit *k, uint32_t port, const char *bytes)
{
    for (; *bytes; bytes++)
        assert_true(mem_port_write(k->vm, port, 1, (uint8_t)*bytes));
}

/* As a guest in full swing would leave them: vectors at 0x20 and 0x28, IRQ 3 in service, IRQ 9 waiting, levels
 * in the I/O APIC, a tick of 1 kHz, a local timer that counts. */
static void use_controllers(struct kit *k, const struct x86_chip_devices *d)
{
    out_bytes(k, 0x20, "\x11");
    out_bytes(k, 0x21, "\x20\x04\x01\x40");
    out_bytes(k, 0xa0, "\x11");
    out_bytes(k, 0xa1, "\x28\x02\x01\x10");
    out_bytes(k, 0x20, "\x0b");
    struct irq three = i8259_input(d->pic, 3), nine = i8259_input(d->pic, 9);
    struct irq sixteen = ioapic_input(d->ioapic, 16);
    irq_set(&three, true);
    assert_int_equal(i8259_acknowledge(d->pic), 0x23);
    irq_set(&nine, true);
    irq_set(&sixteen, true);
    out_bytes(k, 0x43, "\x34\x80"); /* counter 0: mode 2, both bytes; counter 2 latched */
    out_bytes(k, 0x40, "\xa9\x04");
    const struct {
        gpa at;
        uint32_t value;
    } writes[] = {
        { 0xfec00000, 0x31 },       { 0xfec00010, 0 },       { 0xfec00000, 0x30 },
        { 0xfec00010, 0x18041 },    { 0xfec00000, 0x14 },    { 0xfec00010, 0x51 },
        { 0xfec00000, 0 },          { 0xfec00010, 2 << 24 }, { 0xfee000f0, 0x1ff },
        { 0xfee00080, 0x20 },       { 0xfee003e0, 0xb },     { 0xfee00320, 0x20061 },
        { 0xfee00380, 0x70000000 }, { 0xfee00350, 0x700 },   { 0xfee000d0, 0x1000000 },
    };
    for (size_t i = 0; i < ARRAY_LEN(writes); i++)
        assert_true(mem_io_write(k->vm, writes[i].at, 4, writes[i].value));
    vm_send_msi(k->vm, 0xfee00000, 0x45);
}

/* Time goes on while they change hands, and ticks may come meanwhile: IRQ 0, pin 2, vector 0x51 of the first CPU. */
static void forget_time(struct kit *k, struct x86_chips *c)
{
    enum { CURRENT = 0x390, IRR_2 = 0x220, TICK = 1 << (0x51 - 64) };
    for (unsigned i = 0; i < 3; i++)
        c->pit[i].elapsed_ns = 0;
    c->pic[0].irr &= ~1;
    c->pic[0].level &= ~1;
    c->ioapic.level &= ~(1u << 2);
    for (unsigned i = 0; i < k->vm->n_vcpus; i++) {
        uint8_t *lapic = x86_of(k->vm->vcpus[i])->lapic;
        store_le(lapic + CURRENT, 4, 0);
        store_le(lapic + IRR_2, 4, load_le(lapic + IRR_2, 4) & ~(uint64_t)TICK);
    }
}

static void print_state(void *whose, const char *line)
{
    print_message("# %s: %s\n", (const char *)whose, line);
}

static void assert_same_chips(const struct x86_chips *a, const struct x86_chips *b)
{
    const char *name = state_differ(&x86_chips_state, a, b);
    if (!name)
        return;
    state_print(&x86_chips_state, a, print_state, "one");
    state_print(&x86_chips_state, b, print_state, "two");
    fail_msg("%s differs", name);
}

static void assert_same_lapics(struct kit *a, struct kit *b)
{
    for (unsigned i = 0; i < a->vm->n_vcpus; i++) {
        const struct x86_cpu *x = x86_of(a->vm->vcpus[i]), *y = x86_of(b->vm->vcpus[i]);
        for (unsigned reg = 0; reg < X86_LAPIC_PAGE; reg += 16) {
            uint64_t u = load_le(x->lapic + reg, 4), v = load_le(y->lapic + reg, 4);
            bool no_state = reg == 0x30 || reg == 0x90 || reg == 0xa0 || reg == 0x380;
            if (u != v && !no_state) /* version, arbitration and processor priority */
                fail_msg("vCPU %u: local APIC register %#x is %#x and %#x", i, reg, (unsigned)u,
                         (unsigned)v);
        }
        assert_int_equal(x->apic_base, y->apic_base);
    }
}

static void copy_lapics(struct kit *from, struct kit *to)
{
    for (unsigned i = 0; i < from->vm->n_vcpus; i++) {
        struct x86_cpu *x = x86_of(from->vm->vcpus[i]), *y = x86_of(to->vm->vcpus[i]);
        memcpy(y->lapic, x->lapic, sizeof(x->lapic));
        y->apic_base = x->apic_base;
        y->tsc_deadline = x->tsc_deadline;
    }
}

static void controllers_of_devices_become_those_of_others(void **unused)
{
    NEEDS_KVM();
    struct kit a = { .n_cpus = 2 }, b = { .n_cpus = 2 };
    struct x86_chips one, two;
    kit_open(&a, NULL);
    kit_open(&b, NULL);
    struct x86_chip_devices from = add_all_controllers(&a), to = add_all_controllers(&b);
    use_controllers(&a, &from);
    x86_chips_from_devices(a.vm, &from, &one);
    copy_lapics(&a, &b);
    must(x86_chips_to_devices(b.vm, &one, &to));
    x86_chips_from_devices(b.vm, &to, &two);
    forget_time(&a, &one);
    forget_time(&b, &two);
    assert_same_chips(&one, &two);
    assert_same_lapics(&a, &b);
    assert_int_equal(one.pic[0].isr, 1 << 3);
    assert_int_equal(one.pic[1].irr, 1 << 1);
    assert_int_equal(load_le(a.x->lapic + 0x220, 4), 1 << 5); /* vector 0x45 waits */
    kit_close(&a);
    kit_close(&b);
}

/* Devices, the kernel, devices. */
static void change_hands_with_the_kernel(bool x2apic)
{
    const char *model = "qemu64,+x2apic,check=off";
    struct kit a = { .n_cpus = 2 }, b = { .n_cpus = 2 },
               kernel = { .n_cpus = 2, .irqchips = 1 << IRQCHIP_ENGINE };
    struct x86_chips one, two, inside;
    kit_open(&a, model);
    kit_open(&b, model);
    kit_open(&kernel, model);
    struct x86_chip_devices from = add_all_controllers(&a), to = add_all_controllers(&b);
    use_controllers(&a, &from);
    for (unsigned i = 0; i < 2 && x2apic; i++) {
        uint64_t base = 0xfee00c00 | (i == 0 ? X86_APIC_BASE_BSP : 0);
        assert_true(lapic_write_msr(lapic_of(from.apic, i), 0x1b, base));
    }
    x86_chips_from_devices(a.vm, &from, &one);
    copy_lapics(&a, &kernel);
    must(kvm_accel.set_chips(kernel.vm, &one));
    for (unsigned i = 0; i < 2; i++) {
        kvm_accel.set_state(kernel.vm->vcpus[i]);
        kvm_accel.get_state(kernel.vm->vcpus[i]);
    }
    must(kvm_accel.get_chips(kernel.vm, &inside));
    assert_int_equal(kernel.vm->verdict, VERDICT_NONE);
    copy_lapics(&kernel, &b);
    must(x86_chips_to_devices(b.vm, &inside, &to));
    x86_chips_from_devices(b.vm, &to, &two);
    forget_time(&a, &one);
    forget_time(&b, &two);
    assert_same_chips(&one, &two);
    assert_same_lapics(&a, &b);
    kit_close(&a);
    kit_close(&b);
    kit_close(&kernel);
}

static void controllers_change_hands_with_the_kernel(void **unused)
{
    NEEDS_KVM();
    change_hands_with_the_kernel(false);
}
static void x2apics_change_hands_with_the_kernel(void **unused)
{
    NEEDS_KVM();
    change_hands_with_the_kernel(true);
}

/* ---- split ---- */

/* The line falls with the second round; what is still high after an EOI interrupts again. */
static void drive_pin(struct kit *k, unsigned off, uint64_t value)
{
    struct irq line = ioapic_input(k->ioapic, 16);
    k->n_acked += off == 3;
    if (off == 2 || k->n_acked == 2)
        irq_set(&line, off == 2);
}

static void level_interrupt_comes_again_until_its_line_falls(unsigned irqchips)
{
    struct kit k = { .irqchips = irqchips, .on_port = drive_pin };
    kit_open(&k, NULL);
    k.ioapic = add(&k, "ioapic", "addr", "0xfec00000");
    if (irqchips) {
        x86_wire_split(k.vm, k.ioapic, NULL);
        vm_reset(k.vm);
    } else {
        add_controllers(&k);
    }
    write_idt(&k, 0x30, HANDLER(level));
    assert_int_equal(RUN(&k, level, 32), 2);
    assert_int_equal(k.n_acked, 2);
    kit_close(&k);
}

static void our_ioapic_hears_the_end_from_our_apic(void **unused)
{
    NEEDS_KVM();
    level_interrupt_comes_again_until_its_line_falls(0);
}
static void our_ioapic_hears_the_end_from_the_kernels_apic(void **unused)
{
    NEEDS_KVM();
    level_interrupt_comes_again_until_its_line_falls(1 << IRQCHIP_SPLIT);
}

static void our_8259_is_heard_by_the_kernels_apic(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .irqchips = 1 << IRQCHIP_SPLIT, .on_port = pulse_pic };
    kit_open(&k, NULL);
    assert_int_equal(k.vm->irqchip, IRQCHIP_SPLIT);
    k.pic = add(&k, "isa-i8259", "iobase", "0x20");
    k.ioapic = add(&k, "ioapic", "addr", "0xfec00000");
    x86_wire_split(k.vm, k.ioapic, k.pic);
    vm_reset(k.vm);
    assert_int_equal(RUN(&k, pic, 16), 1);
    kit_close(&k);
}

static void boards_that_cannot_are_not_given_kernel_controllers(void **unused)
{
    NEEDS_KVM();
    struct vm *vm;
    must(vm_new(&vm));
    vm->target = &x86_64_target;
    must(x86_cpu_model(vm, NULL));
    struct error *err = kvm_accel.vm_create(vm, "kernel-irqchip=on");
    assert_non_null(err);
    assert_non_null(strstr(error_text(err), "this board cannot"));
    error_free(err);
    err = kvm_accel.vm_create(vm, "kernel-irqchip=maybe");
    assert_non_null(strstr(error_text(err), "on, split or off"));
    error_free(err);
    vm_free(vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interrupts_of_a_user_space_apic_arrive),
        cmocka_unit_test(x2apic_registers_of_a_user_space_apic_are_reached),
        cmocka_unit_test(second_cpu_starts),
        cmocka_unit_test(kernels_8259_takes_lines),
        cmocka_unit_test(message_reaches_the_kernels_apic),
        cmocka_unit_test(eventfd_is_routed_as_a_message),
        cmocka_unit_test(our_8259_is_heard_through_the_local_apic),
        cmocka_unit_test(message_reaches_our_apic),
        cmocka_unit_test(eventfd_is_routed_to_our_apic_by_the_main_loop),
        cmocka_unit_test(second_cpu_starts_by_our_apic),
        cmocka_unit_test(second_cpu_starts_by_the_kernels_apic),
        cmocka_unit_test(timer_of_our_apic_ticks),
        cmocka_unit_test(timer_of_the_kernels_apic_ticks),
        cmocka_unit_test(controllers_of_devices_become_those_of_others),
        cmocka_unit_test(controllers_change_hands_with_the_kernel),
        cmocka_unit_test(x2apics_change_hands_with_the_kernel),
        cmocka_unit_test(our_ioapic_hears_the_end_from_our_apic),
        cmocka_unit_test(our_ioapic_hears_the_end_from_the_kernels_apic),
        cmocka_unit_test(our_8259_is_heard_by_the_kernels_apic),
        cmocka_unit_test(boards_that_cannot_are_not_given_kernel_controllers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
