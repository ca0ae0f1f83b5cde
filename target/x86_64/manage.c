/* CPU models as management programs see them. */
#include "core/error.h"
#include "core/util.h"
#include "core/vcpu.h"
#include "core/vm.h"
#include "target/x86_64/model.h"

#include <stdio.h>
#include <stdlib.h>

static void tell_features(const struct x86_model *before, const struct x86_model *m,
                          const struct cpu_feature_sink *to)
{
    char name[40];
    for (unsigned w = 0; w < N_X86_WORDS; w++)
        for (unsigned b = 0; b < 32; b++) {
            if (!x86_feature_name(w, b, name, sizeof(name)))
                continue;
            if (!strncmp(name, "sse4-",
                         5)) /* QEMU's own names have a dot, the others are aliases */
                name[4] = '.';
            bool is_on = x86_model_has(m, w, b), wanted = x86_model_has(before, w, b);
            to->add(to->opaque, name,
                    is_on                           ? CPU_FEATURE_ON
                    : wanted && !before->takes_host ? CPU_FEATURE_MISSING
                                                    : CPU_FEATURE_OFF);
        }
}

static void tell_values(const struct x86_model *m, const struct cpu_feature_sink *to)
{
    to->add_value(to->opaque, "vendor", m->vendor, 0);
    to->add_value(to->opaque, "model-id", m->brand, 0);
    to->add_value(to->opaque, "family", NULL, m->family);
    to->add_value(to->opaque, "model", NULL, m->model);
    to->add_value(to->opaque, "stepping", NULL, m->stepping);
    to->add_value(to->opaque, "min-level", NULL, m->level);
    to->add_value(to->opaque, "min-xlevel", NULL, m->xlevel);
}

struct error *x86_cpu_features(struct vm *vm, const char *text, const struct cpu_feature_sink *to)
{
    const struct x86_model *own = x86_model_of(vm);
    if (!text) {
        tell_features(own, own, to);
        tell_values(own, to);
        return NULL;
    }
    struct x86_model *both = xcalloc(2, sizeof(*both));
    struct error *err = x86_model_parse(&both[0], text);
    if (!err) {
        both[1] = both[0];
        for (unsigned w = 0; w < N_X86_WORDS; w++)
            both[0].words[w] = (both[0].words[w] | both[0].on[w]) & ~both[0].off[w];
        err = x86_model_fit_to(&both[1], x86_engine_of(vm), NULL, NULL);
    }
    if (!err) {
        tell_features(&both[0], &both[1], to);
        tell_values(&both[1], to);
    }
    free(both);
    return err;
}
