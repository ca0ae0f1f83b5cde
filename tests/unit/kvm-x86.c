/* The KVM engine with small guests of our own: what each exit means, memory, state, debugging. (Interrupts: kvm-chips.c.)
 * Skipped with the reason where there is no KVM. */
#include "kvm_kit.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/loop.h"
#include "kvm/kvm.h"
#include "target/x86_64/model.h"

#include <sys/eventfd.h>
#include <unistd.h>

/* ---- guests --------------------------------------------------------------------------------------- */

GUEST(ports, 16,
      "mov $0x500, %dx\n in %dx, %al\n add $1, %al\n out %al, %dx\n"
      "mov $0x504, %dx\n in %dx, %eax\n add $2, %eax\n out %eax, %dx\n"
      "mov $0x777, %dx\n in %dx, %al\n" END);
GUEST(string, 16,
      "cld\n mov $4, %cx\n mov $0x500, %dx\n mov $0x3000, %di\n rep insb\n"
      "mov $4, %cx\n mov $0x3000, %si\n rep outsb\n xor %al, %al\n" END);
GUEST(mmio, 32,
      "mov $0xd0000000, %ebx\n mov (%ebx), %eax\n add $1, %eax\n mov %eax, 8(%ebx)\n"
      "movb $0x5a, 17(%ebx)\n movw $0x1234, 32(%ebx)\n mov 0x10000(%ebx), %eax\n" END);
GUEST(rom, 32,
      "mov $0xe0000000, %ebx\n mov (%ebx), %eax\n movl $0, (%ebx)\n cmp %eax, (%ebx)\n"
      "setne %al\n" END);
GUEST(bell, 32, "mov $0xd0000100, %ebx\n movl $7, (%ebx)\n movl $8, (%ebx)\n xor %eax, %eax\n" END);
GUEST(wide, 64,
      "movabs $0x123456789abcdef0, %rax\n movq %rax, 0x3000\n mov 0x3000, %rbx\n"
      "cmp %rax, %rbx\n setne %al\n" END);
GUEST(triple, 32, "lidt 0x3000\n ud2\n" END);
GUEST(spin, 16, "1: incw 0x3000\n jmp 1b\n");
GUEST(halt, 16, "cli\n hlt\n mov $3, %al\n" END);

/* Asks for a reset until it was started three times. */
GUEST(again, 16,
      "incw 0x3000\n cmpw $3, 0x3000\n je 1f\n mov $0x502, %dx\n out %al, %dx\n"
      "2: hlt\n jmp 2b\n 1: mov 0x3000, %al\n" END);

/* Registers that the model has or has not: #GP (vector 13) skips the two bytes of its instruction. */
GUEST(gp, 32,
      "lidt 0x3800\n xor %ebp, %ebp\n mov $0x4b564d00, %ecx\n xor %edx, %edx\n xor %eax, %eax\n "
      "wrmsr\n"
      "mov $0x3b, %ecx\n rdmsr\n mov $0x12345678, %ecx\n rdmsr\n mov $0xc0000082, %ecx\n rdmsr\n"
      "mov %ebp, %eax\n" END ".balign 64\n inc %ebp\n addl $2, 4(%esp)\n add $4, %esp\n"
      "pop %ebx\n add $8, %esp\n jmp *%ebx\n");

/* A loop that writes to 0x3000 in its third instruction. */
GUEST(walk, 32, "1: inc %eax\n inc %ebx\n mov %eax, 0x3000\n nop\n jmp 1b\n");

/* Index and data: writes to 0xd0001000 select, 0xd0001004 reads what was selected; the same by ports. */
GUEST(
    batch, 32,
    "mov $0xd0001000, %ebx\n movl $1, (%ebx)\n movl $2, (%ebx)\n movl $3, (%ebx)\n mov 4(%ebx), "
    "%ecx\n"
    "mov $0x600, %dx\n mov $0x77, %al\n out %al, %dx\n inc %dx\n in %dx, %al\n add %cl, %al\n" END);

/* A byte into each page from 0x20000 to 0x1f0000. */
GUEST(fill, 32,
      "mov $0x20000, %ebx\n 1: movb $1, (%ebx)\n add $0x1000, %ebx\n cmp $0x1f0000, %ebx\n"
      "jb 1b\n xor %eax, %eax\n" END);

/* What some hosts' KVM cannot emulate in kernel mode: each result is compared, al counts up. Exceptions go through
 * an IDT at 0x5000 to handlers behind the code: int3 counts at 0x3020, ud2 is stepped over. */
GUEST(beyond, 64,
      "lidt 0x3800\n lgdt 0x3810\n xor %ebp, %ebp\n mov $0xf0f0, %eax\n popcnt %rax, %rbx\n"
      "cmp $8, %ebx\n jne 8f\n inc %ebp\n"
      "movq $1, 0x3000\n movq $2, 0x3008\n mov $1, %eax\n mov $2, %edx\n mov $3, %ebx\n mov $4, "
      "%ecx\n"
      "lock cmpxchg16b 0x3000\n jne 8f\n cmpq $3, 0x3000\n jne 8f\n cmpq $4, 0x3008\n jne 8f\n"
      "inc %ebp\n"
      "lock cmpxchg16b 0x3000\n je 8f\n cmp $3, %eax\n jne 8f\n cmp $4, %edx\n jne 8f\n inc %ebp\n"
      "stac\n pushf\n pop %rax\n bt $18, %eax\n jnc 8f\n clac\n pushf\n pop %rax\n bt $18, %eax\n"
      "jc 8f\n inc %ebp\n"
      "fwait\n inc %ebp\n"
      "mov $3, %eax\n xor %edx, %edx\n movdqu 0x3000, %xmm3\n xsave 0x3040\n cmpq $3, 0x3110\n jne "
      "8f\n"
      "movq $77, 0x3110\n xrstor 0x3040\n movdqu %xmm3, 0x3030\n cmpq $77, 0x3030\n jne 8f\n inc "
      "%ebp\n"
      "int3\n cmpl $1, 0x3020\n jne 8f\n inc %ebp\n"
      "ud2\n cmpl $2, 0x3020\n jne 8f\n inc %ebp\n"
      "mov %ebp, %eax\n" END "8: lea 0x40(%rbp), %eax\n" END
      ".org guest_beyond + 512\n incl 0x3020\n iretq\n"
      ".org guest_beyond + 576\n incl 0x3020\n addq $2, (%rsp)\n iretq\n");

/* ---- facts ------------------------------------------------------------------------------------------------ */

static void ports_reach_the_common_dispatch(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .ports = { [0] = 0x41, [4] = 0x10000000 } };
    kit_open(&k, NULL);
    assert_int_equal(RUN(&k, ports, 16), 0xff); /* a port that nobody answers */
    assert_int_equal(k.vm->verdict, VERDICT_GUEST_EXIT);
    assert_int_equal(k.ports[0], 0x42);
    assert_int_equal(k.ports[4], 0x10000002);
    kit_close(&k);
}

static void string_instructions_move_every_item(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .feed = 0x61 };
    kit_open(&k, NULL);
    assert_int_equal(RUN(&k, string, 16), 0);
    assert_int_equal(peek(&k, 0x3000, 4), 0x64636261);
    assert_int_equal(k.writes, 4);
    assert_int_equal(k.ports[0], 0x64);
    kit_close(&k);
}

static void mmio_reaches_the_common_dispatch(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .mmio = { [0] = 0xfffffffe } };
    kit_open(&k, NULL);
    assert_int_equal(RUN(&k, mmio, 32), 0xff); /* where nobody answers */
    assert_int_equal(k.mmio[8], 0xffffffff);
    assert_int_equal(k.mmio[17], 0x5a);
    assert_int_equal(k.mmio[32], 0x1234);
    assert_int_equal(k.reads, 1);
    assert_int_equal(k.writes, 3);
    kit_close(&k);
}

static void add_number(void *opaque, const char *name, double value)
{
    double *sum = opaque;
    if (!strcmp(name, "kvm.exits.mmio"))
        sum[0] = value;
    if (!strcmp(name, "kvm.exits.io"))
        sum[1] = value;
    if (!strcmp(name, "kvm.guest_seconds"))
        sum[2] = value;
}

static void exits_are_counted_by_reason(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    double sum[3] = { 0 };
    kit_open(&k, NULL);
    RUN(&k, mmio, 32);
    kvm_accel.stats(k.vm, add_number, sum);
    assert_int_equal(sum[0], 5);
    assert_int_equal(sum[1], 1);
    assert_true(sum[2] > 0);
    kit_close(&k);
}

static void rom_is_read_without_exits_and_keeps_its_contents(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    struct mem_region *rom;
    double sum[3] = { 0 };
    kit_open(&k, NULL);
    must(mem_add_ram(k.vm, "rom", 0x1000, true, &rom));
    mem_map(rom, 0xe0000000, 0);
    assert_true(mem_load(k.vm, 0xe0000000, "ABCD", 4));
    assert_int_equal(RUN(&k, rom, 32), 0);
    assert_int_equal(peek(&k, 0xe0000000, 4), 0x44434241);
    kvm_accel.stats(k.vm, add_number, sum);
    assert_int_equal(sum[0], 1); /* the write */
    kit_close(&k);
}

static void doorbell_rings_inside_the_kernel(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    double sum[3] = { 0 };
    uint64_t n = 0;
    int fd = eventfd(0, EFD_NONBLOCK);
    kit_open(&k, NULL);
    struct mem_region *bell = mem_add_mmio(k.vm, "bell", 0x100, &mmio_ops, &k);
    mem_map(bell, TEST_MMIO + 0x100, 1);
    must(mem_add_doorbell(bell, 0, 4, true, 7, fd));
    assert_int_equal(RUN(&k, bell, 32), 0);
    assert_int_equal(read(fd, &n, sizeof(n)), 8);
    assert_int_equal(n, 1);
    assert_int_equal(k.writes, 1); /* 8 is not the value of the doorbell */
    kvm_accel.stats(k.vm, add_number, sum);
    assert_int_equal(sum[0], 1);
    kit_close(&k);
    close(fd);
}

static void long_mode_runs(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    kit_open(&k, NULL);
    assert_int_equal(RUN(&k, wide, 64), 0);
    assert_int_equal(peek(&k, 0x3000, 8), 0x123456789abcdef0);
    kit_close(&k);
}

static void triple_fault_resets(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    kit_open(&k, NULL);
    k.vm->no_reboot = true;
    RUN(&k, triple, 32);
    assert_int_equal(k.vm->verdict, VERDICT_RESET);
    kit_close(&k);
}

static void spinning_guest_is_stopped_and_goes_on(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    kit_open(&k, NULL);
    place(&k, CODE, guest_spin, guest_spin_end);
    start_at(&k, 16);
    for (unsigned i = 0; i < 3; i++) {
        vm_start(k.vm);
        uint64_t before = peek(&k, 0x3000, 2);
        for (unsigned n = 0; n < 2000 && peek(&k, 0x3000, 2) == before; n++)
            usleep(1000);
        assert_int_not_equal(peek(&k, 0x3000, 2), before);
        vm_pause(k.vm);
        uint64_t still = peek(&k, 0x3000, 2);
        usleep(5000);
        assert_int_equal(peek(&k, 0x3000, 2), still);
        assert_in_range(k.x->rip, CODE, CODE + 16);
    }
    kit_close(&k);
}

static void halt_with_interrupts_off_ends_the_run(void **unused)
{
    NEEDS_KVM();
    for (unsigned n = 1; n <= 2; n++) { /* one that nobody started changes nothing */
        struct kit k = { .n_cpus = n };
        kit_open(&k, NULL);
        RUN(&k, halt, 16);
        assert_int_equal(k.vm->verdict, VERDICT_ALL_HALTED);
        kit_close(&k);
    }
}

/* A state with something in every place. */
static void fill(struct x86_cpu *x)
{
    for (unsigned i = 0; i < 16; i++) {
        x->gpr[i] = 0x0101010101010101 * (i + 1);
        for (unsigned n = 0; n < 16; n++)
            x->zmm[i][n] = (uint8_t)(16 * i + n);
    }
    for (unsigned i = 0; i < 8; i++)
        for (unsigned n = 0; n < 10; n++)
            x->st[i][n] = (uint8_t)(0x80 + 8 * i + n);
    x->fcw = 0x27f;
    x->fsw = 0x3800;
    x->ftw = 0xff;
    x->mxcsr = 0x1fa0;
    x->fip = 0x1234;
    x->fdp = 0x5678;
    x->rflags = 0x246;
    x->cr2 = 0xdeadbeef000;
    x->dr[0] = 0x1000;
    x->dr[3] = 0x4000;
    x->seg[X86_FS].base = 0x7f0000001000;
    x->seg[X86_GS].base = 0xffff888000000000;
    x->gdt = (struct x86_table){ 0xfffffe0000001000, 0x7f };
    x->idt = (struct x86_table){ 0xfffffe0000000000, 0xfff };
    x->star = 0x0023001000000000;
    x->lstar = 0xffffffff81000080;
    x->cstar = 0xffffffff81000090;
    x->sfmask = 0x47700;
    x->kernel_gs_base = 0xffff888000001000;
    x->sysenter_cs = 0x10;
    x->sysenter_esp = 0xfffffe0000002000;
    x->sysenter_eip = 0xffffffff81001000;
    x->events.nmi_masked = true;
    x->xinuse |= 3;
}

static struct bytes saved(struct kit *k)
{
    struct bytes b = { 0 };
    struct x86_cpu *x = k->x;
    x->tsc = x->tsc_adjust = 0; /* it runs */
    state_save(&b, &x86_64_target.state, 1, x);
    return b;
}

static void say_difference(const struct x86_cpu *a, const struct x86_cpu *b)
{
    const char *name = state_differ(&x86_64_target.state, a, b);
    if (name)
        print_message("# first to differ: %s\n", name);
}

static void state_round_trip(unsigned irqchips)
{
    struct kit a = { .irqchips = irqchips }, b = { .irqchips = irqchips };
    size_t pos = 0;
    kit_open(&a, NULL);
    start_at(&a, 64);
    fill(a.x);
    kvm_accel.set_state(a.x->cpu);
    kvm_accel.get_state(a.x->cpu);
    assert_int_equal(a.vm->verdict, VERDICT_NONE);
    assert_int_equal(a.x->lstar, 0xffffffff81000080);
    assert_int_equal(a.x->gpr[7], 0x0808080808080808);
    assert_int_equal(a.x->zmm[15][15], 0xff);
    assert_int_equal(a.x->fcw, 0x27f);
    assert_int_equal(a.x->seg[X86_GS].base, 0xffff888000000000);
    struct bytes one = saved(&a);
    kit_open(&b, NULL);
    must(state_load(one.at, one.n, &pos, &x86_64_target.state, 1, b.x));
    kvm_accel.set_state(b.x->cpu);
    kvm_accel.get_state(b.x->cpu);
    assert_int_equal(b.vm->verdict, VERDICT_NONE);
    struct bytes two = saved(&b);
    say_difference(a.x, b.x);
    assert_int_equal(one.n, two.n);
    assert_memory_equal(one.at, two.at, one.n);
    bytes_free(&one);
    bytes_free(&two);
    kit_close(&a);
    kit_close(&b);
}

static void state_survives_a_fresh_vcpu(void **unused)
{
    NEEDS_KVM();
    state_round_trip(0);
}
static void state_survives_a_fresh_vcpu_with_the_kernels_apic(void **unused)
{
    NEEDS_KVM();
    state_round_trip(1 << IRQCHIP_ENGINE);
}

static void written_pages_are_logged(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    kit_open(&k, NULL);
    struct ram_block *ram = mem_view_find(mem_view_now(k.vm), 0)->ram;
    for (unsigned i = 0; i < RAM_SIZE / 4096; i++)
        ram->page_flags[i] |= PAGE_LOG_DIRTY;
    kvm_accel.dirty_log_started(k.vm, ram);
    assert_int_equal(RUN(&k, wide, 64), 0);
    kvm_accel.dirty_log_sync(k.vm, ram);
    assert_false(ram->page_flags[3] & PAGE_LOG_DIRTY);
    assert_true(ram->page_flags[4] & PAGE_LOG_DIRTY);
    assert_true(ram->page_flags[100] & PAGE_LOG_DIRTY);
    kit_close(&k);
}

/* Written pages come by rings, also when one is full before anybody asks. */
static void written_pages_come_by_rings(void **unused)
{
    NEEDS_KVM();
    struct kit k = { .options = "dirty-ring-size=1024" };
    kit_open(&k, NULL);
    if (!kvm_of(k.vm)->ring_entries) {
        print_message("# this KVM has no rings of written pages\n");
        kit_close(&k);
        skip();
    }
    struct ram_block *ram = mem_view_find(mem_view_now(k.vm), 0)->ram;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < RAM_SIZE / 4096; i++)
            ram->page_flags[i] |= PAGE_LOG_DIRTY;
        kvm_accel.dirty_log_started(k.vm, ram);
        place(&k, CODE, guest_fill, guest_fill_end);
        start_at(&k, 32);
        if (round == 0) {
            assert_int_equal(vm_run(k.vm), 0);
        } else { /* again: what was told is told anew */
            k.vm->verdict = VERDICT_NONE;
            k.vm->state = RUN_PRELAUNCH;
            vm_run(k.vm);
        }
        kvm_accel.dirty_log_sync(k.vm, ram);
        for (unsigned i = 0x20; i < 0x1f0; i++)
            assert_false(ram->page_flags[i] & PAGE_LOG_DIRTY);
        assert_true(ram->page_flags[0x1f1] & PAGE_LOG_DIRTY);
    }
    kit_close(&k);
}

static void wrong_ring_sizes_are_refused(void **unused)
{
    NEEDS_KVM();
    const char *const wrong[] = { "dirty-ring-size=1000", "dirty-ring-size=x" };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct vm *vm;
        must(vm_new(&vm));
        vm->target = &x86_64_target;
        must(x86_cpu_model(vm, NULL));
        struct error *err = kvm_accel.vm_create(vm, wrong[i]);
        assert_non_null(strstr(error_text(err), "a power of two"));
        error_free(err);
        vm_free(vm);
    }
}

static void select_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct kit *k = opaque;
    k->mmio[8 + k->n_asked++ % 8] = value;
    k->mmio[0] = value;
}
static uint64_t selected_read(void *opaque, uint64_t off, unsigned size)
{
    struct kit *k = opaque;
    return k->mmio[0];
}
static const struct mmio_ops select_ops = { .read = selected_read, .write = select_write };

static void index_writes_are_collected_and_come_before_the_next_access(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    double sum[3] = { 0 };
    kit_open(&k, NULL);
    struct mem_region *memory = mem_add_mmio(k.vm, "index", 8, &select_ops, &k);
    struct mem_region *ports = mem_add_mmio(k.vm, "index-ports", 2, &select_ops, &k);
    mem_batch_writes(memory, 0, 4);
    mem_batch_writes(ports, 0, 1);
    mem_map(memory, 0xd0001000, 0);
    mem_map_ports(ports, 0x600, 0);
    assert_int_equal(RUN(&k, batch, 32), 0x77 + 3);
    assert_int_equal(k.n_asked, 4);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(k.mmio[8 + i], i + 1);
    kvm_accel.stats(k.vm, add_number, sum);
    assert_int_equal(sum[0], 1);
    assert_int_equal(sum[1], 2);
    assert_int_equal(kvm_of(k.vm)->n_batched, 4);
    kit_close(&k);
}

/* A guest's pages for KVM's clock, steal time, end of interrupt and asynchronous page faults. */
static void paravirtual_registers_survive_a_fresh_vcpu(void **unused)
{
    NEEDS_KVM();
    const struct {
        uint8_t feature;
        size_t offset;
        uint64_t value;
    } regs[] = {
        { 3, offsetof(struct x86_cpu, kvm_system_time), 0x10001 },
        { 5, offsetof(struct x86_cpu, kvm_steal_time), 0x11001 },
        { 6, offsetof(struct x86_cpu, kvm_pv_eoi), 0x12001 },
        { 12, offsetof(struct x86_cpu, kvm_poll_control), 0 },
        { 14, offsetof(struct x86_cpu, kvm_async_pf_int), 0xec },
        { 14, offsetof(struct x86_cpu, kvm_async_pf), 0x13009 },
    };
    struct kit a = { .irqchips = 1 << IRQCHIP_ENGINE }, b = { .irqchips = 1 << IRQCHIP_ENGINE };
    size_t pos = 0;
    unsigned n = 0;
    kit_open(&a, NULL);
    kit_open(&b, NULL);
    kvm_memory_start(kvm_of(a.vm));
    kvm_memory_start(kvm_of(b.vm));
    for (size_t i = 0; i < ARRAY_LEN(regs); i++)
        if (x86_model_has(a.x->model, X86_KVM_EAX, regs[i].feature))
            *(uint64_t *)((char *)a.x + regs[i].offset) = regs[i].value;
    kvm_accel.set_state(a.x->cpu);
    kvm_accel.get_state(a.x->cpu);
    struct bytes one = saved(&a);
    must(state_load(one.at, one.n, &pos, &x86_64_target.state, 1, b.x));
    kvm_accel.set_state(b.x->cpu);
    kvm_accel.get_state(b.x->cpu);
    for (size_t i = 0; i < ARRAY_LEN(regs); i++)
        if (x86_model_has(a.x->model, X86_KVM_EAX, regs[i].feature)) {
            n++;
            assert_int_equal(*(uint64_t *)((char *)b.x + regs[i].offset), regs[i].value);
        }
    bytes_free(&one);
    kit_close(&a);
    kit_close(&b);
    if (!n) {
        print_message("# this KVM has no paravirtual interface\n");
        skip();
    }
}

/* hv-* flags are there or refused, as this host's KVM is. */
static void enlightenments_are_turned_on_or_refused(void **unused)
{
    NEEDS_KVM();
    struct vm *vm;
    uint32_t out[4];
    must(vm_new(&vm));
    vm->target = &x86_64_target;
    vm->irqchips = 1 << IRQCHIP_ENGINE;
    vm->accel = &kvm_accel;
    must(x86_cpu_model(vm, "qemu64,-pni,-svm,hv-time,hv-relaxed,enforce"));
    struct error *err = kvm_accel.vm_create(vm, NULL);
    if (err) {
        if (!strstr(error_text(err), "hv-"))
            print_message("# %s\n", error_text(err));
        error_free(err);
        vm_free(vm);
        return;
    }
    struct vcpu *cpu;
    must(vcpu_new(vm, 0, &cpu));
    x86_cpuid(x86_of(cpu), 0x40000003, 0, out);
    assert_true(out[0] >> 1 & 1);
    vm_free(vm);
}

/* The map is cut into pieces and put together while the guest runs in it. */
static void map_changes_under_a_running_guest(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    kit_open(&k, NULL);
    place(&k, CODE, guest_spin, guest_spin_end);
    start_at(&k, 16);
    struct mem_region *hole = mem_add_mmio(k.vm, "hole", 0x1000, &mmio_ops, &k);
    vm_start(k.vm);
    for (unsigned i = 0; i < 50; i++) {
        mem_map(hole, 0x6000, 1);
        mem_unmap(hole);
    }
    uint64_t before = peek(&k, 0x3000, 2);
    for (unsigned n = 0; n < 2000 && peek(&k, 0x3000, 2) == before; n++)
        usleep(1000);
    assert_int_not_equal(peek(&k, 0x3000, 2), before);
    vm_pause(k.vm);
    assert_int_equal(k.vm->verdict, VERDICT_NONE);
    kit_close(&k);
}

static uint64_t kvm_clock(struct kit *k)
{
    struct kvm_clock_data now = { 0 };
    assert_true(ioctl(kvm_of(k->vm)->vm_fd, KVM_GET_CLOCK, &now) >= 0);
    return now.clock;
}

static void clock_stands_while_the_vm_does(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    kit_open(&k, NULL);
    place(&k, CODE, guest_spin, guest_spin_end);
    start_at(&k, 16);
    vm_start(k.vm);
    vm_pause(k.vm);
    uint64_t stopped_at = kvm_clock(&k);
    usleep(300000);
    vm_start(k.vm);
    assert_true(kvm_clock(&k) < stopped_at + 250000000);
    vm_pause(k.vm);
    kit_close(&k);
}

/* Registers of features that the model lacks are not there, whatever the host has. */
static void filtered_registers_are_not_there(void **unused)
{
    NEEDS_KVM();
    const struct {
        const char *model;
        int faults;
    } cases[] = { { "qemu64,kvm=off,-tsc-adjust,check=off", 3 },
                  { "qemu64,-tsc-adjust,check=off", 2 } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kit k = { .options = "msr-filter=on" };
        kit_open(&k, cases[i].model);
        write_idt(&k, 13, HANDLER(gp));
        assert_int_equal(RUN(&k, gp, 32), cases[i].faults);
        assert_int_equal(k.vm->n_guest_errors, cases[i].faults);
        kit_close(&k);
    }
}

/* The main loop until the VM stands. */
static void run_until_paused(struct kit *k)
{
    vm_start(k->vm);
    for (unsigned n = 0; n < 2000 && k->vm->state == RUN_RUNNING; n++)
        loop_once(k->vm->loop, 10);
    assert_int_equal(k->vm->state, RUN_PAUSED);
}

static void single_steps_stop_behind_each_instruction(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    const uint8_t lengths[] = { 1, 1, 5, 1 };
    kit_open(&k, NULL);
    place(&k, CODE, guest_walk, guest_walk_end);
    start_at(&k, 32);
    must(kvm_accel.set_debug(k.x->cpu, &(struct vcpu_debug){ .step = true }));
    uint64_t at = CODE;
    for (unsigned i = 0; i < 4; i++) {
        run_until_paused(&k);
        at += lengths[i];
        assert_int_equal(k.x->rip, at);
        assert_int_equal(k.x->cpu->debug_hit, VCPU_STEPPED);
    }
    kit_close(&k);
}

static void points_stop_where_they_are(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    const struct vcpu_debug two = {
        .n = 2, .points = { { POINT_EXECUTE, 1, CODE + 7 }, { POINT_EXECUTE, 1, CODE + 1 } }
    };
    kit_open(&k, NULL);
    place(&k, CODE, guest_walk, guest_walk_end);
    start_at(&k, 32);
    must(kvm_accel.set_debug(k.x->cpu, &two));
    for (unsigned i = 0; i < 3; i++) { /* each comes once a round */
        run_until_paused(&k);
        assert_int_equal(k.x->cpu->debug_hit, 1);
        assert_int_equal(k.x->rip, CODE + 1);
        assert_int_equal(k.x->gpr[X86_RAX], i + 1);
        run_until_paused(&k);
        assert_int_equal(k.x->cpu->debug_hit, 0);
        assert_int_equal(k.x->rip, CODE + 7);
    }
    must(kvm_accel.set_debug(k.x->cpu, &(struct vcpu_debug){ 0 }));
    vm_start(k.vm);
    loop_once(k.vm->loop, 20);
    assert_int_equal(k.vm->state, RUN_RUNNING);
    vm_pause(k.vm);
    kit_close(&k);
}

static void written_data_stops(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    const struct vcpu_debug two = {
        .n = 2, .points = { { POINT_WRITE, 4, 0x3000 }, { POINT_EXECUTE, 1, CODE } }
    };
    kit_open(&k, NULL);
    place(&k, CODE, guest_walk, guest_walk_end);
    start_at(&k, 32);
    must(kvm_accel.set_debug(k.x->cpu, &two));
    run_until_paused(&k);
    assert_int_equal(k.x->cpu->debug_hit, 1);
    run_until_paused(&k);
    int hit = k.x->cpu->debug_hit;
    uint64_t at = k.x->rip;
    kit_close(&k);
    if (hit == 1) {
        print_message("# this host's KVM emulates the guest, and watches no data\n");
        skip();
    }
    assert_int_equal(hit, 0);
    assert_int_equal(at, CODE + 7);
}

static void impossible_points_are_refused(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    const struct vcpu_debug odd = { .n = 1, .points = { { POINT_WRITE, 4, 0x3001 } } };
    kit_open(&k, NULL);
    struct error *err = kvm_accel.set_debug(k.x->cpu, &(struct vcpu_debug){ .n = 5 });
    assert_string_equal(error_text(err), "a CPU under KVM has 4 breakpoints, not 5");
    error_free(err);
    err = kvm_accel.set_debug(k.x->cpu, &odd);
    assert_non_null(err);
    error_free(err);
    kit_close(&k);
}

static void ask_for_reset(struct kit *k, unsigned off, uint64_t value)
{
    if (off == 2)
        vm_request_reset(k->vm);
}

static void start_real(void *opaque)
{
    start_at(opaque, 16);
}

static void reset_starts_again(void **unused)
{
    NEEDS_KVM();
    for (unsigned irqchips = 0; irqchips <= 1 << IRQCHIP_ENGINE; irqchips += 1 << IRQCHIP_ENGINE) {
        struct kit k = { .irqchips = irqchips, .on_port = ask_for_reset, .n_cpus = 2 };
        kit_open(&k, NULL);
        vm_on_reset(k.vm, start_real, &k);
        assert_int_equal(RUN(&k, again, 16), 3);
        kit_close(&k);
    }
}

/* Code outside memory is what every KVM gives up at. */
static void what_kvm_cannot_execute_is_a_verdict(void **unused)
{
    NEEDS_KVM();
    struct kit k = { 0 };
    char text[4096] = "";
    int fds[2];
    kit_open(&k, NULL);
    assert_int_equal(pipe(fds), 0);
    k.vm->log.fd = fds[1];
    x86_place_flat(k.x->cpu, TEST_MMIO, 0);
    vm_run(k.vm);
    assert_int_equal(k.vm->verdict, VERDICT_ENGINE_FAILED);
    k.vm->log.fd = 2;
    close(fds[1]);
    ssize_t n = read(fds[0], text, sizeof(text) - 1);
    assert_true(n > 0);
    assert_non_null(strstr(text, "rip=00000000d0000000"));
    close(fds[0]);
    kit_close(&k);
}

static void no_such_instruction(struct kvm_run *run)
{
    static const uint8_t clac[] = { 0x0f, 0x01, 0xca };
    run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
    run->emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
    run->emulation_failure.ndata = 4;
    run->emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
    run->emulation_failure.insn_size = sizeof(clac);
    memcpy(run->emulation_failure.insn_bytes, clac, sizeof(clac));
}
static void bad_entry(struct kvm_run *run)
{
    run->exit_reason = KVM_EXIT_FAIL_ENTRY;
    run->fail_entry.hardware_entry_failure_reason = 0x80000021;
}
static void other_engine_error(struct kvm_run *run)
{
    run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
    run->internal.suberror = KVM_INTERNAL_ERROR_SIMUL_EX;
    run->internal.ndata = 0;
}
static void too_long(struct kvm_run *run)
{
    run->exit_reason = KVM_EXIT_MMIO;
    run->mmio.len = 9;
}

/* What a kernel may report, told to a vCPU that has not run: the words, and the code it had fetched. */
static void failures_are_told_in_words_and_with_the_code(void **unused)
{
    NEEDS_KVM();
    struct {
        void (*fill)(struct kvm_run *run);
        const char *said[3];
    } cases[] = {
        { no_such_instruction, { "it cannot execute this instruction", "0f01ca", "rip=" } },
        { bad_entry, { "refuses to enter", "not one that a CPU can be in", "0x80000021" } },
        { other_engine_error, { "two exceptions at a time", "internal error 2", "rip=" } },
        { too_long, { "a memory access of 9 bytes", "rip=", "cr0=" } },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kit k = { .options = "takeover=off" };
        char text[8192] = "";
        int fds[2];
        kit_open(&k, NULL);
        start_at(&k, 64);
        kvm_accel.set_state(k.x->cpu);
        assert_int_equal(pipe(fds), 0);
        k.vm->log.fd = fds[1];
        struct kvm_vcpu *v = kvm_vcpu_of(k.x->cpu);
        cases[i].fill(v->run);
        assert_int_equal(kvm_exit(v, host_now_ns()), KVM_STOPPED);
        assert_int_equal(k.vm->verdict, VERDICT_ENGINE_FAILED);
        k.vm->log.fd = 2;
        close(fds[1]);
        assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
        for (unsigned n = 0; n < 3; n++)
            if (!strstr(text, cases[i].said[n]))
                fail_msg("'%s' is not in:\n%s", cases[i].said[n], text);
        close(fds[0]);
        kit_close(&k);
    }
}

enum { BEYOND_FACTS = 8, BEYOND_INT3 = CODE + 512, BEYOND_UD2 = BEYOND_INT3 + 64 };

static void count_takeovers(void *opaque, const char *name, double value)
{
    double *n = opaque;
    if (!strcmp(name, "kvm.takeovers"))
        n[0] = value;
    if (!strcmp(name, "kvm.takeovers.popcnt"))
        n[1] = value;
}

static void put_descriptor(struct kit *k, gpa at, uint64_t low, uint64_t high)
{
    uint8_t le[16];
    store_le(le, 8, low);
    store_le(le + 8, 8, high);
    assert_true(mem_write(k->vm, at, le, 16));
}

static void put_table(struct kit *k, gpa at, uint64_t base)
{
    uint8_t le[10];
    store_le(le, 2, 0xfff);
    store_le(le + 2, 8, base);
    assert_true(mem_write(k->vm, at, le, 10));
}

/* Handlers in 64-bit mode: int3 and #UD. */
static void open_beyond(struct kit *k, const char *options, unsigned irqchips)
{
    *k = (struct kit){ .irqchips = irqchips, .options = options };
    kit_open(k, "max,check=off");
    place(k, CODE, guest_beyond, guest_beyond_end);
    start_at(k, 64);
    k->x->cr4 |= X86_CR4_OSFXSR | X86_CR4_OSXSAVE | X86_CR4_SMAP;
    k->x->xcr0 = 3;
    put_table(k, 0x3800, 0x5000);
    put_table(k, 0x3810, 0x6000);
    put_descriptor(k, 0x6010, 0x00af9b000000ffff, 0x00cf93000000ffff); /* CS 0x10, SS 0x18 */
    put_descriptor(k, 0x5000 + 16 * 3, 0x00008e0000100000 | BEYOND_INT3, 0);
    put_descriptor(k, 0x5000 + 16 * 6, 0x00008e0000100000 | BEYOND_UD2, 0);
}

static void what_kvm_cannot_execute_the_translator_does(void **unused)
{
    NEEDS_KVM();
    for (unsigned irqchips = 0; irqchips <= 1 << IRQCHIP_ENGINE; irqchips += 1 << IRQCHIP_ENGINE) {
        struct kit k;
        double n[2] = { 0 };
        open_beyond(&k, NULL, irqchips);
        vm_run(k.vm);
        assert_int_equal(k.vm->verdict, VERDICT_GUEST_EXIT);
        assert_int_equal(k.vm->exit_code, BEYOND_FACTS);
        kvm_accel.stats(k.vm, count_takeovers, n);
        print_message("# %u instructions were taken over\n", (unsigned)n[0]);
        assert_int_equal(n[1] != 0, n[0] != 0); /* a KVM that lacks none needs no help */
        assert_int_equal(k.vm->helper != NULL, n[0] != 0);
        kit_close(&k);
    }
}

/* On a host whose KVM needs help: without it the run ends at the first such instruction. */
static void without_takeover_it_is_a_verdict(void **unused)
{
    NEEDS_KVM();
    struct kit k;
    double n[2] = { 0 };
    open_beyond(&k, NULL, 0);
    vm_run(k.vm);
    kvm_accel.stats(k.vm, count_takeovers, n);
    kit_close(&k);
    if (!n[0])
        skip();
    open_beyond(&k, "takeover=off", 0);
    k.vm->log.fd = -1;
    vm_run(k.vm);
    assert_int_equal(k.vm->verdict, VERDICT_ENGINE_FAILED);
    assert_null(k.vm->helper);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ports_reach_the_common_dispatch),
        cmocka_unit_test(string_instructions_move_every_item),
        cmocka_unit_test(mmio_reaches_the_common_dispatch),
        cmocka_unit_test(exits_are_counted_by_reason),
        cmocka_unit_test(rom_is_read_without_exits_and_keeps_its_contents),
        cmocka_unit_test(doorbell_rings_inside_the_kernel),
        cmocka_unit_test(long_mode_runs),
        cmocka_unit_test(triple_fault_resets),
        cmocka_unit_test(spinning_guest_is_stopped_and_goes_on),
        cmocka_unit_test(halt_with_interrupts_off_ends_the_run),
        cmocka_unit_test(state_survives_a_fresh_vcpu),
        cmocka_unit_test(state_survives_a_fresh_vcpu_with_the_kernels_apic),
        cmocka_unit_test(written_pages_are_logged),
        cmocka_unit_test(written_pages_come_by_rings),
        cmocka_unit_test(wrong_ring_sizes_are_refused),
        cmocka_unit_test(index_writes_are_collected_and_come_before_the_next_access),
        cmocka_unit_test(paravirtual_registers_survive_a_fresh_vcpu),
        cmocka_unit_test(enlightenments_are_turned_on_or_refused),
        cmocka_unit_test(map_changes_under_a_running_guest),
        cmocka_unit_test(clock_stands_while_the_vm_does),
        cmocka_unit_test(filtered_registers_are_not_there),
        cmocka_unit_test(single_steps_stop_behind_each_instruction),
        cmocka_unit_test(points_stop_where_they_are),
        cmocka_unit_test(written_data_stops),
        cmocka_unit_test(impossible_points_are_refused),
        cmocka_unit_test(reset_starts_again),
        cmocka_unit_test(failures_are_told_in_words_and_with_the_code),
        cmocka_unit_test(what_kvm_cannot_execute_is_a_verdict),
        cmocka_unit_test(what_kvm_cannot_execute_the_translator_does),
        cmocka_unit_test(without_takeover_it_is_a_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
