/* A jump to where a BIOS begins resets a machine without one: Linux does that where ACPI is hardware-reduced. Where we
 * are is kept in CMOS memory, which a reset leaves alone. */
#include "rt.h"

enum { STEP = 0x70, MAGIC = 0x5a };

extern const u8 bios_code[], bios_code_end[];
void jump_to_bios(void);

void main(const struct start_info *info)
{
    out8(0x70, STEP);
    if (in8(0x71) == MAGIC) {
        TRUE("a jump to the BIOS resets", 1);
        return;
    }
    out8(0x71, MAGIC);
    for (u64 i = 0; i < (u64)(bios_code_end - bios_code); i++)
        ((volatile u8 *)0x8000ul)[i] = bios_code[i];
    jump_to_bios();
}
