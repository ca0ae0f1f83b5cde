/* CPU models: what -cpu accepts, what it refuses and how, and what the device tree is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/error.h"
#include "target/riscv/rv_model.h"

static struct riscv_model model(const char *text)
{
    struct riscv_model m;
    struct error *err = riscv_model_parse(&m, text);
    if (err)
        fail_msg("%s", error_text(err));
    return m;
}

static bool has(const char *text, enum rv_ext e)
{
    struct riscv_model m = model(text);
    return rv_model_has(&m, e);
}

/* The text is refused, and the one line says `what`. */
static void refuses(const char *text, const char *what)
{
    struct riscv_model m;
    struct error *err = riscv_model_parse(&m, text);
    assert_non_null(err);
    if (!strstr(error_text(err), what))
        fail_msg("'%s' does not say '%s'", error_text(err), what);
    assert_null(strchr(error_text(err), '\n'));
    error_free(err);
}

static void the_default_is_rv64_with_what_the_profile_wants(void **unused)
{
    struct riscv_model profile = model("rva22s64"), dflt = model(NULL), max = model("max");
    assert_string_equal(dflt.name, "rv64");
    for (unsigned e = 0; e < N_RV_EXTS; e++) {
        if (rv_model_has(&profile, e) && e != RV_EXT_SVADE)
            assert_true(rv_model_has(&dflt, e));
        if (rv_model_has(&dflt, e))
            assert_true(rv_model_has(&max, e));
    }
    assert_true(rv_model_has(&dflt, RV_EXT_SSTC) && rv_model_has(&dflt, RV_EXT_ZK));
    assert_false(rv_model_has(&profile, RV_EXT_SVADU));
    assert_int_equal(profile.satp_mode, RV_SV39);
    assert_int_equal(dflt.satp_mode, RV_SV57);
}

static void extensions_switch_with_what_depends_on_them(void **unused)
{
    assert_false(has("rv64,zba=off", RV_EXT_ZBA));
    assert_true(has("rva22s64,zk=on", RV_EXT_ZKND));
    assert_true(has("rv64,Zfh=true", RV_EXT_ZFH));
    assert_false(has("rv64,f=off", RV_EXT_D));
    assert_false(has("rv64,f=off", RV_EXT_ZFH));
    assert_false(has("rv64,zbkb=off", RV_EXT_ZKN));
    assert_false(has("rv64,zbkb=off", RV_EXT_ZK));
    assert_true(has("rv64,zbkb=off", RV_EXT_ZKND));
    assert_false(has("rv64,cboz_blocksize=128", RV_EXT_ZIC64B));
    assert_false(has("rv64,svade=on", RV_EXT_SVADU));
    assert_true(has("rv64,svade=on,svadu=on", RV_EXT_SVADU));
    assert_false(has("rv64,v=off", RV_EXT_SMAIA));
}

static void nonsense_is_refused_in_one_line(void **unused)
{
    refuses("rv65", "'rv64'");
    refuses("rv64,zbaa=on", "'zba'");
    refuses("rv64,zba=maybe", "on or off");
    refuses("rv64,d=on,f=off", "'d' needs 'f'");
    refuses("rv64,zk=on,zbkb=off", "'zbkb'");
    refuses("rv64,v=on", "not implemented");
    refuses("rv64,i=off", "cannot be switched off");
    refuses("rv64,zicsr=off", "cannot be switched off");
    refuses("rv64,smaia=on", "aia");
    refuses("rv64,sv39=off,sv48=on", "sv39");
    refuses("rv64,satp-mode=sv32", "sv32");
    refuses("rv64,cbom_blocksize=48", "power of two");
    refuses("rv64,cbom_blocksize=8", "power of two");
    refuses("rv64,zic64b=on,cboz_blocksize=32", "zic64b");
    refuses("rv64,num-pmp-regions=17", "16 or 64");
    refuses("rv64,pmu-num=30", "0 to 29");
    refuses("zba=on", "model");
}

static void the_widest_address_mode_is_a_choice(void **unused)
{
    static const struct {
        const char *text;
        unsigned mode;
        const char *type;
    } cases[] = {
        { "rv64", RV_SV57, "riscv,sv57" },
        { "rv64,sv57=off", RV_SV48, "riscv,sv48" },
        { "rv64,sv48=on", RV_SV48, "riscv,sv48" },
        { "rv64,sv48=off", RV_SV39, "riscv,sv39" },
        { "rv64,satp-mode=sv39", RV_SV39, "riscv,sv39" },
        { "rva22s64,sv48=on", RV_SV48, "riscv,sv48" },
        { "rva22s64,sv57=off", RV_SV39, "riscv,sv39" },
        { "rv64,sv39=off", RV_BARE, "riscv,none" },
        { "rv64,mmu=off", RV_BARE, "riscv,none" },
        { "rv64,satp-mode=bare", RV_BARE, "riscv,none" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct riscv_model m = model(cases[i].text);
        assert_int_equal(m.satp_mode, cases[i].mode);
        assert_string_equal(riscv_mmu_type(&m), cases[i].type);
    }
}

static void numbers_are_taken_as_typed(void **unused)
{
    struct riscv_model m = model("rv64,cbom_blocksize=128,mvendorid=0x489,pmu-num=4,pmp=off");
    assert_int_equal(m.cbom_block, 128);
    assert_int_equal(m.cboz_block, 64);
    assert_int_equal(m.mvendorid, 0x489);
    assert_int_equal(m.n_hpm, 4);
    assert_int_equal(m.n_pmp, 0);
}

static void the_isa_string_has_the_canonical_order(void **unused)
{
    struct riscv_model m = model("rv64");
    char *isa = riscv_isa_string(&m);
    assert_int_equal(strncmp(isa, "rv64imafdc_zic64b_", 18), 0);
    assert_non_null(strstr(isa, "_sstc_"));
    size_t n = 4;
    const char *name;
    for (unsigned i = 0; (name = riscv_isa_extension(&m, i)); i++)
        n += strlen(name) + (name[1] ? 1 : 0);
    assert_int_equal(strlen(isa), n);
    free(isa);
    m = model("rv64,c=off,sstc=off");
    isa = riscv_isa_string(&m);
    assert_int_equal(strncmp(isa, "rv64imafd_", 10), 0);
    assert_null(strstr(isa, "sstc"));
    free(isa);
}

static void count_line(void *opaque, const char *line)
{
    assert_true(strlen(line) < 120);
    ++*(int *)opaque;
}

static void help_lists_models(void **unused)
{
    int n = 0;
    riscv_cpu_help(count_line, &n);
    assert_true(n > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_is_rv64_with_what_the_profile_wants),
        cmocka_unit_test(extensions_switch_with_what_depends_on_them),
        cmocka_unit_test(nonsense_is_refused_in_one_line),
        cmocka_unit_test(the_widest_address_mode_is_a_choice),
        cmocka_unit_test(numbers_are_taken_as_typed),
        cmocka_unit_test(the_isa_string_has_the_canonical_order),
        cmocka_unit_test(help_lists_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
