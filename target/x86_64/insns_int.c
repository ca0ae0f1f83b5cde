/* int */
#include "target/x86_64/insns.h"

const struct x86_insn_table x86_int_tables[] = {
    { 0 },
};
