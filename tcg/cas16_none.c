/* Hosts that this build knows no 16-byte compare-and-swap of. */
#include "tcg/tcg.h"

bool host_has_cas16(void)
{
    return false;
}

bool host_cas16(uint8_t *at, uint64_t seen[2], const uint64_t desired[2])
{
    (void)at, (void)seen, (void)desired;
    return false;
}
