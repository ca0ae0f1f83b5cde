#include "tcg/backends.h"

#include "core/util.h"
#include "tcg/target.h"

const struct backend *const backends[] = { &backend_interp };
const size_t n_backends = ARRAY_LEN(backends);
const char backend_names[] = "interp";
const uint8_t tcg_tso_load = IR_ACQUIRE, tcg_tso_store = IR_RELEASE;
