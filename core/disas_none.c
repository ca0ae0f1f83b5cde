/* For builds without capstone. */
#include "core/disas_lib.h"

void *disas_lib_open(const char *isa)
{
    return NULL;
}

void disas_lib_close(void *lib)
{
}

size_t disas_lib_insn(void *lib, const uint8_t *code, size_t n, uint64_t addr, char *line,
                      size_t room)
{
    return 0;
}
