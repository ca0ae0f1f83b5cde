/* CMPXCHG16B, where the host has it. */
#include "tcg/tcg.h"

#include <cpuid.h>

bool host_has_cas16(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && c & bit_CMPXCHG16B;
}

bool host_cas16(uint8_t *at, uint64_t seen[2], const uint64_t desired[2])
{
    bool ok;
    __asm__ volatile("lock cmpxchg16b %1"
                     : "=@ccz"(ok), "+m"(*(uint8_t(*)[16])at), "+a"(seen[0]), "+d"(seen[1])
                     : "b"(desired[0]), "c"(desired[1])
                     : "memory");
    return ok;
}
