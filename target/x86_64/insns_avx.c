/* AVX, AVX2, FMA, F16C. */
#include "target/x86_64/insns.h"

const struct x86_insn_table x86_avx_tables[] = {
    { 0 },
};
