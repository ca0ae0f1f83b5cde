#include "tcg/backends.h"

#include "core/util.h"

const struct backend *const backends[] = { &backend_interp };
const size_t n_backends = ARRAY_LEN(backends);
const char backend_names[] = "interp";
