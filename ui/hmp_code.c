/* What becomes of the guest's code. */
#include "core/accel.h"
#include "core/util.h"
#include "core/vcpu.h"
#include "core/vm.h"
#include "ui/hmp.h"
#include "ui/hmp_tables.h"

/* "info tb" is about where the CPU stands. */
static void info_tb(struct hmp_call *c)
{
    struct vcpu *cpu = hmp_cpu(c);
    bool given = *c->args;
    uint64_t pc = 0;
    if (!cpu || (given && !hmp_number(c, "an address", &pc)))
        return;
    bool ran = hmp_hold(c);
    c->vm->accel->explain(cpu, given ? pc : c->vm->target->pc(cpu), c->print, c->to);
    hmp_let_go(c, ran);
}

static const struct hmp_command infos[] = {
    { "tb", NULL, "[ADDRESS]", "a unit of the translator: guest code, IR and host code", info_tb },
};
const struct hmp_table hmp_code_table = { { 0 }, TABLE(infos) };
