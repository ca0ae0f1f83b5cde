/* Every engine of this build, in order of preference. */
#include "core/accel.h"
#include "core/util.h"

const struct accel *const accels[] = {
    &tcg_accel,
};
const size_t n_accels = ARRAY_LEN(accels);
