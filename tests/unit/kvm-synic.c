/* Hyper-V's synthetic interrupts through KVM: what the kernel is told, and what its exits do. The kernel is made up: it
 * writes down what it is asked. */
#include "core/accel.h"
#include "core/error.h"
#include "kvm/x86_64.h"
#include "target/x86_64/model.h"
#include "target/x86_64/x86.h"
#include "x86_board.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { VM_FD = 77, RAISE = 11, ENDED = 12, N_PINS = 24 };

static struct kvm_irq_routing_entry entries[128];
static uint32_t n_entries;
static struct kvm_irqfd irqfd;

int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *arg = va_arg(args, void *);
    va_end(args);
    assert_int_equal(fd, VM_FD);
    if (request == KVM_SET_GSI_ROUTING) {
        const struct kvm_irq_routing *r = arg;
        n_entries = r->nr;
        memcpy(entries, r->entries, r->nr * sizeof(entries[0]));
    } else if (request == KVM_IRQFD) {
        irqfd = *(struct kvm_irqfd *)arg;
    } else {
        assert_int_equal(request, KVM_CHECK_EXTENSION);
        return 1;
    }
    return 0;
}

struct kit {
    struct vm *vm;
    struct kvm kvm;
    struct kvm_vcpu k;
    struct kvm_run *run;
};

static struct kit *kit_new(const char *model)
{
    struct kit *kit = xcalloc(1, sizeof(*kit));
    struct x86_engine_cpu all = { .xcr0 = 3, .phys_bits = 40, .virt_bits = 48 };
    kit->vm = x86_board_new(64 * KIB);
    memset(all.words, 0xff, sizeof(all.words));
    assert_null(x86_cpu_model(kit->vm, model));
    assert_null(x86_model_fit(kit->vm, &all, NULL, NULL));
    kit->kvm =
        (struct kvm){ .vm = kit->vm, .sys_fd = VM_FD, .vm_fd = VM_FD, .irqchip = IRQCHIP_ENGINE };
    kvm_mutexes_init(&kit->kvm);
    kit->vm->irqchip = IRQCHIP_ENGINE;
    kit->vm->accel_data = &kit->kvm;
    kit->run = xcalloc(1, 4096);
    kit->k = (struct kvm_vcpu){ .cpu = kit->vm->vcpus[0], .kvm = &kit->kvm, .run = kit->run };
    kit->k.isa = xcalloc(1, 65536);
    kit->vm->vcpus[0]->engine = &kit->k;
    return kit;
}

static void kit_free(struct kit *kit)
{
    kit->vm->accel_data = NULL;
    kit->vm->vcpus[0]->engine = NULL;
    vm_free(kit->vm);
    kvm_mutexes_destroy(&kit->kvm);
    free(kit->kvm.routes);
    free(kit->k.isa);
    free(kit->run);
    free(kit);
}

static void they_need_the_flag_and_the_kernels_controllers(void **unused)
{
    static const struct {
        const char *model, *why;
        enum irqchip where;
    } cases[] = {
        { "qemu64,+hv-synic,+hv-vpindex", NULL, IRQCHIP_ENGINE },
        { "qemu64", "hv-synic", IRQCHIP_ENGINE },
        { "qemu64,+hv-synic,+hv-vpindex", "kernel-irqchip=on", IRQCHIP_SPLIT },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kit *kit = kit_new(cases[i].model);
        kit->vm->irqchip = cases[i].where;
        struct error *err = kvm_synic.available(kit->vm);
        assert_int_equal(err != NULL, cases[i].why != NULL);
        if (err)
            assert_non_null(strstr(error_text(err), cases[i].why));
        error_free(err);
        kit_free(kit);
    }
}

static void a_source_is_a_gsi_with_an_irqfd(void **unused)
{
    struct kit *kit = kit_new("qemu64,+hv-synic");
    assert_true(kvm_synic.route(kit->vm, true, RAISE, ENDED, 3, 9));
    const struct kvm_irq_routing_entry *last = &entries[n_entries - 1];
    assert_int_equal(last->type, KVM_IRQ_ROUTING_HV_SINT);
    assert_int_equal(last->u.hv_sint.vcpu, 3);
    assert_int_equal(last->u.hv_sint.sint, 9);
    assert_int_equal(last->gsi, N_PINS);
    assert_int_equal(irqfd.gsi, N_PINS);
    assert_int_equal(irqfd.fd, RAISE);
    assert_int_equal(irqfd.flags, KVM_IRQFD_FLAG_RESAMPLE);
    assert_int_equal(irqfd.resamplefd, ENDED);

    assert_true(kvm_synic.route(kit->vm, true, RAISE + 5, -1, 0, 1)); /* nobody asks for its end */
    assert_int_equal(irqfd.gsi, N_PINS + 1);
    assert_int_equal(irqfd.flags, 0);

    assert_true(kvm_synic.route(kit->vm, false, RAISE, ENDED, 0, 0));
    assert_int_equal(irqfd.gsi, N_PINS);
    assert_int_equal(irqfd.flags, KVM_IRQFD_FLAG_DEASSIGN);
    assert_int_equal(entries[n_entries - 1].gsi, N_PINS + 1);
    kit_free(kit);
}

static void exits_say_where_pages_are(void **unused)
{
    static const struct {
        uint64_t control, base;
        gpa at;
    } cases[] = { { 1, 0x5001, 0x5000 },
                  { 0, 0x5001, SYNIC_NOWHERE },
                  { 1, 0x5000, SYNIC_NOWHERE } };
    struct kit *kit = kit_new("qemu64,+hv-synic");
    gpa messages, events;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        kit->run->hyperv = (struct kvm_hyperv_exit){ .type = KVM_EXIT_HYPERV_SYNIC };
        kit->run->hyperv.u.synic.control = cases[i].control;
        kit->run->hyperv.u.synic.msg_page = cases[i].base;
        kit->run->hyperv.u.synic.evt_page = 0x7001;
        kvm_x86_hyperv_exit(&kit->k);
        kvm_synic.pages(kit->vm->vcpus[0], &messages, &events);
        assert_int_equal(messages, cases[i].at);
        assert_int_equal(events, cases[i].control ? 0x7000 : SYNIC_NOWHERE);
    }
    kit_free(kit);
}

static uint16_t answer(void *opaque, const struct hv_call *call)
{
    *(struct hv_call *)opaque = *call;
    return 0x12;
}

static void calls_reach_the_device_and_its_status_the_guest(void **unused)
{
    struct kit *kit = kit_new("qemu64,+hv-synic");
    struct hv_call seen = { 0 };
    struct kvm_hyperv_exit *e = &kit->run->hyperv;
    e->type = KVM_EXIT_HYPERV_HCALL;
    e->u.hcall.input = 1 << 16 | 0x5d;
    e->u.hcall.params[0] = 65;
    kvm_x86_hyperv_exit(&kit->k);
    assert_int_equal(e->u.hcall.result, 2); /* nobody there: no such call */
    kit->vm->hv_call = answer;
    kit->vm->hv_opaque = &seen;
    kvm_x86_hyperv_exit(&kit->k);
    assert_int_equal(e->u.hcall.result, 0x12);
    assert_int_equal(seen.code, 0x5d);
    assert_true(seen.fast);
    assert_int_equal(seen.input[0], 65);
    kit_free(kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_need_the_flag_and_the_kernels_controllers),
        cmocka_unit_test(a_source_is_a_gsi_with_an_irqfd),
        cmocka_unit_test(exits_say_where_pages_are),
        cmocka_unit_test(calls_reach_the_device_and_its_status_the_guest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
