/* x86_native.h on hosts that are no x86-64. */
#include "tests/unit/x86_native.h"

#include <string.h>

struct x86_native *x86_native_new(const char **why)
{
    *why = "the host is not x86-64";
    return NULL;
}

void x86_native_free(struct x86_native *n)
{
}

bool x86_native_has_32(const struct x86_native *n)
{
    return false;
}

void x86_world_init(struct x86_world *w)
{
    memset(w, 0, sizeof(*w));
}

struct x86_end x86_native_run(struct x86_native *n, unsigned bits, const uint8_t *code,
                              size_t n_code, struct x86_world *w)
{
    return (struct x86_end){ .vector = X86_NATIVE_LOST };
}
