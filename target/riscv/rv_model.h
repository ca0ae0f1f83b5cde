/* CPU models as text; for cpu.c. */
#pragma once

#include "target/riscv/riscv.h"

/* "MODEL,name=value,..."; NULL: the default. */
struct error *riscv_model_parse(struct riscv_model *m, const char *text);
void riscv_cpu_help(void (*print)(void *opaque, const char *line), void *opaque);
