/* The x86-64 CPU without an engine: models, CPUID, reset, start-up, the state list. */
#include "board.h"

#include "core/accel.h"
#include "core/error.h"
#include "target/x86_64/model.h"
#include "target/x86_64/x86.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct error *no_vcpu(struct vcpu *cpu)
{
    return NULL;
}
static void no_op(struct vcpu *cpu)
{
}
static void no_vm(struct vm *vm)
{
}
static void no_change(struct vm *vm, const struct mem_view *now)
{
}
static const struct accel no_accel = {
    .name = "none",
    .vcpu_create = no_vcpu,
    .vcpu_destroy = no_op,
    .vm_destroy = no_vm,
    .kick = no_op,
    .get_state = no_op,
    .set_state = no_op,
    .memory_changed = no_change,
};

static struct x86_engine_cpu everything(void)
{
    struct x86_engine_cpu e = { .xcr0 = UINT64_MAX,
                                .vendor = "GenuineIntel",
                                .brand = "Host",
                                .family = 6,
                                .model = 100,
                                .stepping = 2,
                                .phys_bits = 46,
                                .virt_bits = 48,
                                .level = 0x16,
                                .xlevel = 0x80000008 };
    memset(e.words, 0xff, sizeof(e.words));
    return e;
}

struct kit {
    struct vm *vm;
    struct x86_cpu *x[2];
};

static struct kit kit_new(const char *model, const struct x86_engine_cpu *engine)
{
    struct kit k = { 0 };
    struct x86_engine_cpu all = everything();
    assert_null(vm_new(&k.vm));
    k.vm->accel = &no_accel;
    k.vm->target = &x86_64_target;
    struct error *err = x86_cpu_model(k.vm, model);
    if (!err)
        err = x86_model_fit(k.vm, engine ? engine : &all, NULL, NULL);
    if (err)
        fail_msg("%s", error_text(err));
    for (unsigned i = 0; i < 2; i++) {
        struct vcpu *cpu;
        assert_null(vcpu_new(k.vm, i, &cpu));
        x86_64_target.vcpu_reset(cpu);
        k.x[i] = x86_of(cpu);
    }
    return k;
}

static void refused(const char *model, const char *text)
{
    struct vm *vm;
    assert_null(vm_new(&vm));
    struct error *err = x86_cpu_model(vm, model);
    assert_non_null(err);
    if (!strstr(error_text(err), text))
        fail_msg("'%s' is not in '%s'", text, error_text(err));
    error_free(err);
    vm_free(vm);
}

static void cpuid(struct kit *k, uint32_t leaf, uint32_t sub, uint32_t r[4])
{
    x86_cpuid(k->x[0], leaf, sub, r);
}

static void unknown_models_and_flags_name_the_nearest(void **unused)
{
    refused("Nehalm", "Nehalem");
    refused("qemu64,+sse4_3", "sse4");
    refused("qemu64,avx512=on", "avx512");
    refused("qemu64,avx=maybe", "on or off");
    refused("qemu64,phys-bits=70", "0 to 52");
}

static void every_model_of_the_help_can_be_chosen_line(void *opaque, const char *line)
{
    char name[40], *flags = opaque;
    if (strncmp(line, "Flags", 5) == 0)
        *flags = 1;
    if (*flags || strncmp(line, "  ", 2))
        return;
    assert_int_equal(sscanf(line, "%39s", name), 1);
    struct kit k = kit_new(name, NULL);
    uint32_t r[4];
    cpuid(&k, 1, 0, r);
    assert_true(r[2] >> 31);
    assert_int_equal(r[0], k.x[0]->gpr[X86_RDX]);
    vm_free(k.vm);
}

static void every_model_of_the_help_can_be_chosen(void **unused)
{
    char flags = 0;
    x86_cpu_help(every_model_of_the_help_can_be_chosen_line, &flags);
    assert_true(flags);
}

static void signature_is_put_together_from_family_and_model(void **unused)
{
    static const struct {
        const char *name;
        uint32_t signature;
    } all[] = { { "Nehalem", 0x106a3 },
                { "EPYC-Milan", 0xa00f11 },
                { "qemu64", 0x60fb1 },
                { "Skylake-Server-v1", 0x50654 } };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct kit k = kit_new(all[i].name, NULL);
        assert_int_equal(k.x[0]->gpr[X86_RDX], all[i].signature);
        vm_free(k.vm);
    }
}

static void a_model_of_32_bits_has_no_long_mode(void **unused)
{
    static const struct {
        const char *name;
        uint8_t phys_bits;
        bool has_pae;
    } all[] = { { "qemu32", 36, true }, { "pentium", 32, false }, { "pentium3", 36, true } };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct kit k = kit_new(all[i].name, NULL);
        uint32_t r[4];
        cpuid(&k, 0x80000001, 0, r);
        assert_false(r[3] >> 29 & 1);
        cpuid(&k, 1, 0, r);
        assert_int_equal(r[3] >> 6 & 1, all[i].has_pae);
        assert_int_equal(k.x[0]->model->phys_bits, all[i].phys_bits);
        vm_free(k.vm);
    }
}

static void flags_are_added_and_taken_away(void **unused)
{
    struct kit k = kit_new("Nehalem,+avx,-popcnt,xsave=on,sse4.2=off", NULL);
    uint32_t r[4];
    cpuid(&k, 1, 0, r);
    assert_true(r[2] >> 28 & 1);
    assert_true(r[2] >> 26 & 1);
    assert_false(r[2] >> 23 & 1);
    assert_false(r[2] >> 20 & 1);
    vm_free(k.vm);
}

static void features_the_engine_lacks_are_left_out_or_enforced(void **unused)
{
    struct x86_engine_cpu e = everything();
    e.words[X86_1_ECX] &= ~(1u << 25); /* aes */
    struct kit k = kit_new("Westmere", &e);
    uint32_t r[4];
    cpuid(&k, 1, 0, r);
    assert_false(r[2] >> 25 & 1);
    struct error *err = x86_cpu_model(k.vm, "Westmere,enforce");
    assert_null(err);
    err = x86_model_fit(k.vm, &e, NULL, NULL);
    assert_non_null(err);
    assert_non_null(strstr(error_text(err), "'aes' (CPUID.1:ECX bit 25)"));
    error_free(err);
    vm_free(k.vm);
}

static void host_is_what_the_engine_has(void **unused)
{
    struct kit k = kit_new("host,-avx", NULL);
    uint32_t r[4];
    char vendor[13] = { 0 };
    cpuid(&k, 0, 0, r);
    memcpy(vendor, &r[1], 4);
    memcpy(vendor + 4, &r[3], 4);
    memcpy(vendor + 8, &r[2], 4);
    assert_string_equal(vendor, "GenuineIntel");
    assert_int_equal(r[0], 0x16);
    cpuid(&k, 1, 0, r);
    assert_int_equal(r[0], 0x60642);
    assert_false(r[2] >> 28 & 1);
    cpuid(&k, 0x80000008, 0, r);
    assert_int_equal(r[0] & 0xff, 46);
    vm_free(k.vm);
}

/* Bit 11 of the features, by which a guest sends IPIs in hypercalls. */
static void paravirtual_ipis_are_for_who_asks_for_them(void **unused)
{
    static const struct {
        const char *model;
        bool clock, ipi;
    } cases[] = { { "Nehalem", true, false },
                  { "Nehalem,+kvm-pv-ipi", true, true },
                  { "Nehalem,kvm=off", false, false },
                  { "host", true, true },
                  { "max,-kvm-pv-ipi", true, false } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kit k = kit_new(cases[i].model, NULL);
        assert_int_equal(x86_model_has(k.x[0]->model, X86_KVM_EAX, 3), cases[i].clock);
        assert_int_equal(x86_model_has(k.x[0]->model, X86_KVM_EAX, 11), cases[i].ipi);
        vm_free(k.vm);
    }
}

static void xsave_size_follows_xcr0(void **unused)
{
    struct kit k = kit_new("Skylake-Server", NULL);
    uint32_t r[4];
    cpuid(&k, 0xd, 0, r);
    assert_int_equal(r[0], 0x2e7);
    assert_int_equal(r[1], 576);
    assert_int_equal(r[2], 2696);
    k.x[0]->xcr0 = 7;
    cpuid(&k, 0xd, 0, r);
    assert_int_equal(r[1], 832);
    vm_free(k.vm);
}

static void topology_is_told(void **unused)
{
    struct kit k = kit_new("Nehalem", NULL);
    uint32_t r[4];
    x86_set_topology(k.vm, 3, 2);
    cpuid(&k, 0xb, 0, r);
    assert_int_equal(r[0], 1);
    assert_int_equal(r[1], 2);
    cpuid(&k, 0xb, 1, r);
    assert_int_equal(r[0], 3);
    assert_int_equal(r[1], 6);
    cpuid(&k, 4, 3, r);
    assert_int_equal(r[0] >> 26, 3);
    assert_int_equal(r[0] >> 14 & 0xfff, 7);
    assert_int_equal(x86_apic_id_of(x86_model_of(k.vm), 5), 5);
    assert_int_equal(x86_apic_id_of(x86_model_of(k.vm), 6), 8);
    vm_free(k.vm);
}

static void hyperv_leaves_stand_before_kvms(void **unused)
{
    struct kit k = kit_new("qemu64,hv-relaxed,hv-time,hv-spinlocks=0x1fff", NULL);
    uint32_t r[4];
    cpuid(&k, 0x40000001, 0, r);
    assert_int_equal(r[0], 0x31237648);
    cpuid(&k, 0x40000004, 0, r);
    assert_int_equal(r[1], 0x1fff);
    cpuid(&k, 0x40000100, 0, r);
    assert_memory_equal(&r[1], "KVMK", 4);
    vm_free(k.vm);
}

static void power_on_is_as_specified(void **unused)
{
    struct kit k = kit_new(NULL, NULL);
    const struct x86_cpu *x = k.x[0];
    assert_int_equal(x->seg[X86_CS].base + x->rip, 0xfffffff0);
    assert_int_equal(x->cr0, 0x60000010);
    assert_int_equal(x->rflags, 2);
    assert_int_equal(x->apic_base, 0xfee00900);
    assert_int_equal(x->pat, 0x0007040600070406);
    assert_int_equal(k.x[1]->apic_base, 0xfee00800);
    assert_int_equal(x86_code_bits(x), 16);
    vm_free(k.vm);
}

static void application_processor_starts_by_init_and_sipi(void **unused)
{
    struct kit k = kit_new(NULL, NULL);
    struct x86_cpu *x = k.x[1];
    assert_int_equal(x->run_state, X86_WAIT_INIT);
    x86_start_up(x->cpu, 0x9a);
    assert_false(x86_64_target.has_work(x->cpu)); /* not before INIT */
    x86_raise(x->cpu, X86_INIT);
    assert_true(x86_64_target.has_work(x->cpu));
    x86_init_signal(x->cpu);
    x->lines = 0;
    assert_int_equal(x->run_state, X86_INIT_TAKEN);
    x86_start_up(x->cpu, 0x9a);
    assert_true(x86_64_target.has_work(x->cpu));
    x86_take_sipi(x->cpu, 0x9a);
    assert_int_equal(x->run_state, X86_RUNNABLE);
    assert_int_equal(x->seg[X86_CS].base + x->rip, 0x9a000);
    vm_free(k.vm);
}

static void halted_cpu_wakes_for_what_it_would_take(void **unused)
{
    struct kit k = kit_new(NULL, NULL);
    struct x86_cpu *x = k.x[0];
    x86_set_intr(x->cpu, true);
    assert_false(x86_64_target.has_work(x->cpu));
    x->takes_intr = true;
    assert_true(x86_64_target.has_work(x->cpu));
    x86_set_intr(x->cpu, false);
    assert_false(x86_64_target.has_work(x->cpu));
    x->takes_intr = false;
    x86_raise(x->cpu, X86_NMI);
    assert_true(x86_64_target.has_work(x->cpu));
    vm_free(k.vm);
}

static void state_survives_a_stream(void **unused)
{
    struct kit k = kit_new(NULL, NULL);
    struct bytes one = { 0 }, two = { 0 };
    size_t pos = 0;
    for (unsigned i = 0; i < 16; i++)
        k.x[0]->gpr[i] = 0x1111 * i;
    memset(k.x[0]->zmm, 0x5a, sizeof(k.x[0]->zmm));
    k.x[0]->lstar = 0xffffffff81000000;
    k.x[0]->n_xsave_rest = 4096;
    k.x[0]->xsave_rest = xcalloc(1, 4096);
    state_save(&one, &x86_64_target.state, 1, k.x[0]);
    struct error *err = state_load(one.at, one.n, &pos, &x86_64_target.state, 1, k.x[1]);
    assert_null(err);
    state_save(&two, &x86_64_target.state, 1, k.x[1]);
    assert_int_equal(one.n, two.n);
    assert_memory_equal(one.at, two.at, one.n);
    bytes_free(&one);
    bytes_free(&two);
    vm_free(k.vm);
}

static void msrs_have_places_by_number(void **unused)
{
    struct kit k = kit_new(NULL, NULL);
    uint64_t *slot, *other;
    uint32_t index, last = 0;
    assert_true(x86_msr_slot(k.x[0], 0xc0000082, &slot));
    assert_ptr_equal(slot, &k.x[0]->lstar);
    assert_true(x86_msr_slot(k.x[0], 0x26f, &slot));
    assert_ptr_equal(slot, &k.x[0]->mtrr_fixed[10]);
    assert_true(x86_msr_slot(k.x[0], 0x203, &slot));
    assert_ptr_equal(slot, &k.x[0]->mtrr_mask[1]);
    assert_false(x86_msr_slot(k.x[0], 0xc0000080, &slot));
    for (unsigned i = 0; x86_msr_index(i, &index); i++) {
        assert_true(x86_msr_slot(k.x[0], index, &slot));
        if (i && index == last + 1 && x86_msr_slot(k.x[0], last, &other))
            assert_ptr_not_equal(slot, other);
        last = index;
    }
    vm_free(k.vm);
}

static void page_tables_are_walked(void **unused)
{
    struct kit k = kit_new(NULL, NULL);
    struct x86_cpu *x = k.x[0];
    struct mem_region *ram;
    uint64_t to;
    assert_null(mem_add_ram(k.vm, "ram", 1 * MIB, false, &ram));
    mem_map(ram, 0, 0);
    const uint64_t entries[][2] = { { 0x1000, 0x2003 },
                                    { 0x2008, 0x3003 },
                                    { 0x3000, 0x400083 },
                                    { 0x3008, 0x4003 },
                                    { 0x4008, 0x9003 } };
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        uint8_t le[8];
        store_le(le, 8, entries[i][1]);
        assert_true(mem_write(k.vm, entries[i][0], le, 8));
    }
    x86_place_flat(x->cpu, 0x100000, 0x1000);
    assert_int_equal(x86_code_bits(x), 64);
    assert_true(x86_debug_translate(x->cpu, 0x40012345, &to));
    assert_int_equal(to, 0x412345);
    assert_true(x86_debug_translate(x->cpu, 0x40201678, &to));
    assert_int_equal(to, 0x9678);
    assert_false(x86_debug_translate(x->cpu, 0x40202000, &to));
    vm_free(k.vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_models_and_flags_name_the_nearest),
        cmocka_unit_test(every_model_of_the_help_can_be_chosen),
        cmocka_unit_test(signature_is_put_together_from_family_and_model),
        cmocka_unit_test(a_model_of_32_bits_has_no_long_mode),
        cmocka_unit_test(flags_are_added_and_taken_away),
        cmocka_unit_test(features_the_engine_lacks_are_left_out_or_enforced),
        cmocka_unit_test(host_is_what_the_engine_has),
        cmocka_unit_test(paravirtual_ipis_are_for_who_asks_for_them),
        cmocka_unit_test(xsave_size_follows_xcr0),
        cmocka_unit_test(topology_is_told),
        cmocka_unit_test(hyperv_leaves_stand_before_kvms),
        cmocka_unit_test(power_on_is_as_specified),
        cmocka_unit_test(application_processor_starts_by_init_and_sipi),
        cmocka_unit_test(halted_cpu_wakes_for_what_it_would_take),
        cmocka_unit_test(state_survives_a_stream),
        cmocka_unit_test(msrs_have_places_by_number),
        cmocka_unit_test(page_tables_are_walked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
