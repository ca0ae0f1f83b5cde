/* What the machine is made of and what it does, for a person. */
#include "core/accel.h"
#include "core/device.h"
#include "core/util.h"
#include "core/vm.h"
#include "ui/hmp.h"
#include "ui/hmp_tables.h"
#include "ui/monitor.h"

static void info_mtree(struct hmp_call *c)
{
    mem_print(c->vm, c->print, c->to);
}

/* "info registers -a" is all of them. */
static void info_registers(struct hmp_call *c)
{
    char word[8];
    bool all = hmp_optional_word(c, word, sizeof(word)) && !strcmp(word, "-a");
    if (!hmp_cpu(c))
        return;
    bool ran = hmp_hold(c);
    for (unsigned i = 0; i < c->vm->n_vcpus; i++) {
        if (!all && i != *c->cpu)
            continue;
        hmp_say(c, "CPU#%u", i);
        c->vm->target->print(c->vm->vcpus[i], c->print, c->to);
    }
    hmp_let_go(c, ran);
}

static void info_cpus(struct hmp_call *c)
{
    for (unsigned i = 0; i < c->vm->n_vcpus; i++)
        hmp_say(c, "%s CPU #%u: %s, thread_id=%d", i == *c->cpu ? "*" : " ", i,
                c->vm->vcpus[i]->powered_off ? "off"
                : c->vm->vcpus[i]->halted    ? "waits for an interrupt"
                                             : "runs",
                (int)c->vm->vcpus[i]->tid);
}

static void do_cpu(struct hmp_call *c)
{
    uint64_t n;
    if (!hmp_number(c, "the CPU's number", &n))
        return;
    if (n < c->vm->n_vcpus)
        *c->cpu = (unsigned)n;
    else
        hmp_say(c, "there are %u CPUs, from 0", c->vm->n_vcpus);
}

static void info_stats(struct hmp_call *c)
{
    c->hooks->stats(c->hooks->opaque, c->print, c->to);
}

static const struct hmp_command commands[] = {
    { "cpu", NULL, "NUMBER", "which CPU others commands look through", do_cpu },
};
static const struct hmp_command infos[] = {
    { "mtree", NULL, "", "the physical memory map", info_mtree },
    { "registers", NULL, "[-a]", "the CPU's registers; -a: all CPUs'", info_registers },
    { "cpus", NULL, "", "what each CPU does", info_cpus },
    { "stats", NULL, "", "what the engine and the devices counted", info_stats },
};
const struct hmp_table hmp_state_table = { TABLE(commands), TABLE(infos) };
