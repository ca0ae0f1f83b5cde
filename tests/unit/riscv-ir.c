/* The IR of RISC-V instructions. Each file in tests/unit/riscv_ir/ is instructions in hexadecimal, one a
 * line (behind # what they are), a line `---`, and their IR. `flags: NAME...` chooses the state word:
 * fs-off, fs-clean (else dirty), s-mode, cbze, frm=N; `without: EXTENSION...` the CPU. */
#include "core/error.h"
#include "core/vm.h"
#include "target/riscv/insns.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct kit {
    struct vm vm;
    struct riscv_vm rv;
    struct riscv_cpu r;
    struct vcpu cpu;
    struct ir ir;
    struct tr t;
};

static void without(struct kit *k, const char *name)
{
    static const char *const names[N_RV_EXTS] = {
#define RV_EXT(id, name_, sets) [RV_EXT_##id] = (name_),
#include "target/riscv/ext.h"
#undef RV_EXT
    };
    for (unsigned i = 0; i < N_RV_EXTS; i++)
        if (strcmp(name, names[i]) == 0)
            k->rv.model.ext[0] &= ~((uint64_t)1 << i);
}

static void set_flag(struct kit *k, const char *name)
{
    if (strcmp(name, "fs-off") == 0)
        k->t.flags &= ~(uint32_t)(RV_FLAG_FS_ON | RV_FLAG_FS_DIRTY);
    else if (strcmp(name, "fs-clean") == 0)
        k->t.flags &= ~(uint32_t)RV_FLAG_FS_DIRTY;
    else if (strcmp(name, "s-mode") == 0)
        k->t.flags =
            (k->t.flags & ~(uint32_t)(RV_FLAG_PRIV_MASK | RV_FLAG_FS_ON | RV_FLAG_FS_DIRTY)) | RV_S;
    else if (strcmp(name, "cbze") == 0)
        k->t.flags |= RV_FLAG_CBZE;
    else if (strncmp(name, "frm=", 4) == 0)
        k->t.flags |= (uint32_t)atoi(name + 4) << RV_FLAG_FRM_SHIFT;
    else
        fail_msg("no flag %s", name);
}

/* As the driver does, every instruction in one block unless it ends it. */
static void translate_word(struct kit *k, uint32_t word)
{
    struct insn_scan scan = { 0 };
    uint8_t bytes[4];
    store_le(bytes, 4, word);
    riscv_scan(&k->cpu, k->t.flags, bytes, 4, k->t.next, &scan);
    assert_true(scan.len != 0);
    if (k->ir.ended) {
        ir_begin_block(&k->ir, k->t.next);
        k->t.note = 0;
    }
    k->t.off = k->t.next;
    k->t.len = scan.len;
    k->t.next += scan.len;
    ir_begin_insn(&k->ir, k->t.off, scan.len);
    riscv_translate(&k->t, &scan);
    assert_true(k->ir.ended || scan.kind == INSN_PLAIN);
}

struct text {
    char at[65536];
    size_t n;
};

static void add_line(void *opaque, const char *line)
{
    struct text *t = opaque;
    int n = snprintf(t->at + t->n, sizeof(t->at) - t->n, "%s\n", line);
    t->n += (size_t)n;
    assert_true(t->n < sizeof(t->at));
}

static struct kit *kit_new(void)
{
    struct kit *k = xcalloc(1, sizeof(*k));
    k->rv.model.ext[0] = ~(uint64_t)0;
    k->vm.arch = &k->rv;
    k->cpu.vm = &k->vm;
    k->cpu.arch = &k->r;
    k->rv.model.cboz_block = 64;
    k->r.model = &k->rv.model;
    k->t = (struct tr){ .ir = &k->ir, .cpu = &k->cpu };
    k->t.flags = RV_M | RV_FLAG_FS_ON | RV_FLAG_FS_DIRTY;
    return k;
}

static void kit_free(struct kit *k)
{
    riscv_free_decoders(&k->rv);
    free(k);
}

/* Start with the CPU that the file asked for. */
static void kit_start(struct kit *k)
{
    if (k->rv.decode32)
        return;
    k->r.ext[0] = k->rv.model.ext[0];
    riscv_init_decoders(&k->rv);
    ir_start(&k->ir, riscv_slots, N_RV_SLOTS);
}

static void take_line(struct kit *k, char *line)
{
    line[strcspn(line, "#")] = '\0';
    char *word = strtok(line, " \t");
    void (*each)(struct kit *, const char *) = NULL;
    if (word && strcmp(word, "flags:") == 0)
        each = set_flag;
    else if (word && strcmp(word, "without:") == 0)
        each = without;
    if (each) {
        while ((word = strtok(NULL, " \t")))
            each(k, word);
    } else if (word) {
        kit_start(k);
        translate_word(k, (uint32_t)strtoul(word, NULL, 16));
    }
}

static bool file_holds(const char *path)
{
    static struct text now;
    char *text = xcalloc(1, 65536), *rest = text, *line;
    struct kit *k = kit_new();
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_true(fread(text, 1, 65535, f) > 0);
    fclose(f);
    while ((line = strsep(&rest, "\n")) && strcmp(line, "---") != 0)
        take_line(k, line);
    assert_non_null(rest);
    if (!k->ir.ended)
        ir_jump(&k->ir, k->t.next);
    ir_finish(&k->ir);
    struct error *err = ir_verify(&k->ir);
    if (err)
        fail_msg("%s: %s", path, error_text(err));
    now.n = 0;
    ir_print(&k->ir, add_line, &now);
    bool same = strcmp(now.at, rest) == 0;
    if (!same)
        print_error("%s: expected\n%s\nis\n%s", path, rest, now.at);
    kit_free(k);
    free(text);
    return same;
}

static void instructions_become_what_the_files_say(void **unused)
{
    const char *source = getenv("TANDEM_SOURCE");
    char dir[3000], path[4096];
    unsigned n = 0, n_bad = 0;
    snprintf(dir, sizeof(dir), "%s/tests/unit/riscv_ir", source ? source : ".");
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        n_bad += !file_holds(path);
        n++;
    }
    closedir(d);
    assert_true(n > 0);
    assert_int_equal(n_bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instructions_become_what_the_files_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
