#include "tests/unit/x86_capstone.h"

#include "tandem-config.h"

#include <stdio.h>

#ifdef HAVE_CAPSTONE
#include <capstone/capstone.h>

unsigned capstone_x86(unsigned bits, const uint8_t *bytes, size_t n, char *name, size_t room)
{
    csh cs;
    cs_insn *insn = NULL;
    unsigned len = 0;
    if (cs_open(CS_ARCH_X86, bits == 64 ? CS_MODE_64 : bits == 32 ? CS_MODE_32 : CS_MODE_16, &cs))
        return 0;
    if (cs_disasm(cs, bytes, n, 0, 1, &insn)) {
        len = insn->size;
        snprintf(name, room, "%s", cs_insn_name(cs, insn->id));
        cs_free(insn, 1);
    }
    cs_close(&cs);
    return len;
}
#else
unsigned capstone_x86(unsigned bits, const uint8_t *bytes, size_t n, char *name, size_t room)
{
    return 0;
}
#endif
