/* The helpers of translated code as objects for the IR builder, and their list for the IR parser. */
#include "target/riscv/riscv.h"

#define RV_HELPER(name_, result, parameters, n, flags_)               \
    const struct ir_helper rv_helper_##name_ = {                      \
        .name = #name_,                                               \
        .fn = (void (*)(void))rvh_##name_,                            \
        .n_args = (n),                                                \
        .has_result = __builtin_types_compatible_p(result, uint64_t), \
        .flags = (flags_),                                            \
    };
#include "target/riscv/helpers.h"
#undef RV_HELPER

const struct ir_helper *const riscv_helpers[N_RISCV_HELPERS] = {
#define RV_HELPER(name, result, parameters, n, flags) &rv_helper_##name,
#include "target/riscv/helpers.h"
#undef RV_HELPER
};
