/* What a memory module's EEPROM says; see smbus.h. Byte numbers: JEDEC standard 21-C, annex K (DDR3). Times are in
 * units of an eighth of a nanosecond: DDR3-1600, 11-11-11. */
#include "hw/misc/smbus.h"

#include <stdio.h>

enum { LEAST_MIB = 128, LEAST_CHIP_MIB = 256, MOST_CHIP = 6, CRC_SIZE = 117, CRC_AT = 126 };

static const struct {
    uint8_t at, value;
} fixed[] = {
    { 0, 0x92 },              /* 176 of 256 bytes are used, the first 117 are summed up */
    { 1, 0x13 },              /* revision 1.3 */
    { 2, 0x0b },              /* DDR3 */
    { 3, 0x02 },              /* unbuffered */
    { 8, 0x03 },              /* 64 bits wide */
    { 9, 0x11 },              /* fine time: 1 ps */
    { 10, 1 },                /* medium time: 1/8 ns */
    { 11, 8 },    { 12, 10 }, /* cycle: 1.25 ns */
    { 14, 0xfe },             /* CAS latencies 5 to 11 */
    { 16, 110 },              /* access: 13.75 ns */
    { 17, 120 },              /* write recovery: 15 ns */
    { 18, 110 },              /* row to column: 13.75 ns */
    { 19, 48 },               /* row to row: 6 ns */
    { 20, 110 },              /* precharge: 13.75 ns */
    { 21, 0x11 },             /* upper halves of the next two: */
    { 22, 0x18 },             /* active to precharge: 35 ns */
    { 23, 0x86 },             /* active to active: 48.75 ns */
    { 24, 0x20 },             /* refresh: 260 ns */
    { 25, 0x08 }, { 26, 60 }, /* write to read: 7.5 ns */
    { 27, 60 },               /* read to precharge: 7.5 ns */
    { 29, 240 },              /* four activations: 30 ns */
    { 30, 0x83 },             /* drive strengths */
    { 31, 0x01 },             /* hot, too */
    { 60, 0x0f },             /* height */
    { 61, 0x11 },             /* thickness */
};

/* CRC-16 of polynomial 0x1021. */
static uint16_t crc(const uint8_t *p, size_t n)
{
    unsigned sum = 0;
    for (; n; n--, p++) {
        sum ^= (unsigned)*p << 8;
        for (unsigned bit = 0; bit < 8; bit++)
            sum = sum << 1 ^ (sum & 0x8000 ? 0x1021 : 0);
        sum &= 0xffff;
    }
    return (uint16_t)sum;
}

/* Chips of 8 bits and 256 Mbit (chip 0) to 16 Gbit, in 1, 2 or 4 ranks; the least module has chips of 16 bits. */
void spd_fill(uint8_t to[SMBUS_SPD_SIZE], uint32_t mib)
{
    bool is_least = mib <= LEAST_MIB;
    unsigned chip = 0, ranks = 0;
    while (chip < MOST_CHIP && (uint32_t)LEAST_CHIP_MIB << chip < mib)
        chip++;
    while (ranks < 2 && (uint32_t)LEAST_CHIP_MIB << (chip + ranks) < mib)
        ranks++;
    unsigned rows = MIN(chip, 4u), columns = is_least ? 0 : 1 + chip - rows;
    memset(to, 0, SMBUS_SPD_SIZE);
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        to[fixed[i].at] = fixed[i].value;
    to[4] = (uint8_t)chip;
    to[5] = (uint8_t)(rows << 3 | columns);
    to[7] = (uint8_t)(((1 << ranks) - 1) << 3 | (is_least ? 2 : 1));
    snprintf((char *)to + 128, 18, "%-17s", "TANDEM DDR3");
    to[145] = ' ';
    store_le(to + CRC_AT, 2, crc(to, CRC_SIZE));
}
