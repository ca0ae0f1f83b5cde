/* The helpers of translated code as objects for the IR builder, and their list for the IR parser. */
#include "target/x86_64/tr.h"

#define X86_HELPER(name_, result, parameters, n, flags_)              \
    const struct ir_helper x86_helper_##name_ = {                     \
        .name = #name_,                                               \
        .fn = (void (*)(void))x86h_##name_,                           \
        .n_args = (n),                                                \
        .has_result = __builtin_types_compatible_p(result, uint64_t), \
        .flags = (flags_),                                            \
    };
#include "target/x86_64/helpers.h"
#undef X86_HELPER

const struct ir_helper *const x86_helpers[N_X86_HELPERS] = {
#define X86_HELPER(name, result, parameters, n, flags) &x86_helper_##name,
#include "target/x86_64/helpers.h"
#undef X86_HELPER
};
