/* The IR of x86 instructions, as it is when the passes are done. Each file in tests/unit/x86_ir/ is instructions in
 * hexadecimal, one a line (behind # what they are), a line `---`, and their IR. `bits: N` chooses 64-bit code (if
 * nothing is said) or flat 32-bit code. */
#include "core/error.h"
#include "core/vm.h"
#include "target/x86_64/insns.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct kit {
    struct vm vm;
    struct vcpu cpu;
    struct ir ir;
    struct tr t;
};

static uint32_t word_of(unsigned bits)
{
    uint32_t flat = (bits == 64 ? 0xfu : 0x3fu) << X86_TR_FLAT_SHIFT;
    return flat | X86_TR_PE | (bits == 64 ? X86_TR_CODE64 : X86_TR_CODE32 | X86_TR_STACK32);
}

/* As the driver does, every instruction in one block unless it ends it. */
static void translate_insn(struct kit *k, const uint8_t *bytes, size_t n)
{
    struct insn_scan scan = { 0 };
    x86_scan(&k->cpu, k->t.flags, bytes, X86_MAX_INSN, k->t.next, &scan);
    assert_int_equal(scan.len, n);
    if (k->ir.ended)
        ir_begin_block(&k->ir, k->t.next);
    k->t.off = k->t.next;
    k->t.len = scan.len;
    k->t.next += scan.len;
    ir_begin_insn(&k->ir, k->t.off, scan.len);
    x86_translate(&k->t, &scan);
    assert_true(k->ir.ended || scan.kind == INSN_PLAIN);
}

struct text {
    char at[65536];
    size_t n;
};

static void add_line(void *opaque, const char *line)
{
    struct text *t = opaque;
    t->n += (size_t)snprintf(t->at + t->n, sizeof(t->at) - t->n, "%s\n", line);
    assert_true(t->n < sizeof(t->at));
}

static void take_line(struct kit *k, char *line)
{
    uint8_t bytes[X86_MAX_INSN] = { 0 };
    size_t n = 0;
    line[strcspn(line, "#")] = '\0';
    char *word = strtok(line, " \t");
    if (word && strcmp(word, "bits:") == 0) {
        k->t.flags = word_of((unsigned)atoi(strtok(NULL, " \t")));
        return;
    }
    for (; word; word = strtok(NULL, " \t")) {
        assert_true(n < sizeof(bytes));
        bytes[n++] = (uint8_t)strtoul(word, NULL, 16);
    }
    if (n)
        translate_insn(k, bytes, n);
}

static bool file_holds(const char *path)
{
    static struct text now;
    char *text = xcalloc(1, 65536), *rest = text, *line;
    struct kit *k = xcalloc(1, sizeof(*k));
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_true(fread(text, 1, 65535, f) > 0);
    fclose(f);
    struct error *err = x86_64_target.cpu_model(&k->vm, "max");
    assert_null(err);
    struct x86_model *m =
        (struct x86_model *)x86_model_of(&k->vm); /* of no engine: nothing is taken away */
    memset(m->words, 0xff, sizeof(m->words));
    k->cpu.vm = &k->vm;
    k->t = (struct tr){ .ir = &k->ir, .cpu = &k->cpu, .flags = word_of(64) };
    ir_start(&k->ir, x86_slots, N_X86_SLOTS);
    while ((line = strsep(&rest, "\n")) && strcmp(line, "---") != 0)
        take_line(k, line);
    assert_non_null(rest);
    if (!k->ir.ended)
        ir_jump(&k->ir, k->t.next);
    ir_finish(&k->ir);
    if ((err = ir_verify(&k->ir)))
        fail_msg("%s: %s", path, error_text(err));
    now.n = 0;
    ir_print(&k->ir, add_line, &now);
    bool same = strcmp(now.at, rest) == 0;
    if (!same)
        print_error("%s: expected\n%s\nis\n%s", path, rest, now.at);
    x86_vm_free(&k->vm);
    free(k);
    free(text);
    return same;
}

static void instructions_become_what_the_files_say(void **unused)
{
    const char *source = getenv("TANDEM_SOURCE");
    char dir[3000], path[4096];
    unsigned n = 0, n_bad = 0;
    snprintf(dir, sizeof(dir), "%s/tests/unit/x86_ir", source ? source : ".");
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
