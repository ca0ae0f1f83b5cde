/* x87, FXSAVE, XSAVE. */
#include "target/x86_64/insns.h"

const struct x86_insn_table x86_x87_tables[] = {
    { 0 },
};
