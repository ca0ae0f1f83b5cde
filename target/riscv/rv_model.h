/* CPU models as text; for cpu.c. */
#pragma once

#include "target/riscv/riscv.h"

/* "MODEL,name=value,..."; NULL: the default. */
struct error *riscv_model_parse(struct riscv_model *m, const char *text);
void riscv_cpu_help(void (*print)(void *opaque, const char *line), void *opaque);
struct cpu_feature_sink;
void riscv_cpu_models(void (*add)(void *opaque, const char *name, const char *alias_of),
                      void *opaque);
struct error *riscv_cpu_features(struct vm *vm, const char *text, const struct cpu_feature_sink *to);
