/* Every guest CPU that the translator of this build knows. */
#include "core/util.h"
#include "target/riscv/riscv.h"
#include "target/x86_64/tr.h"

const struct tcg_target *const tcg_targets[] = { &riscv64_tcg_target, &x86_64_tcg_target };
const size_t n_tcg_targets = ARRAY_LEN(tcg_targets);
