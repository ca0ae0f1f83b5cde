#include "core/disas_lib.h"
#include "core/util.h"

#include <capstone/capstone.h>
#include <stdio.h>
#include <stdlib.h>

static const struct isa {
    const char *name;
    cs_arch arch;
    cs_mode mode;
} isas[] = {
    { "x86_64", CS_ARCH_X86, CS_MODE_64 },
    { "i386", CS_ARCH_X86, CS_MODE_32 },
    { "i8086", CS_ARCH_X86, CS_MODE_16 },
    { "aarch64", CS_ARCH_ARM64, CS_MODE_LITTLE_ENDIAN },
#if CS_API_MAJOR >= 5
    { "riscv64", CS_ARCH_RISCV, CS_MODE_RISCV64 | CS_MODE_RISCVC },
#endif
};

struct lib {
    csh handle;
    cs_insn *insn;
};

void *disas_lib_open(const char *isa)
{
    for (size_t i = 0; i < ARRAY_LEN(isas); i++) {
        struct lib lib;
        if (strcmp(isas[i].name, isa))
            continue;
        if (cs_open(isas[i].arch, isas[i].mode, &lib.handle) != CS_ERR_OK)
            return NULL;
        lib.insn = cs_malloc(lib.handle);
        struct lib *kept = xmalloc(sizeof(*kept));
        *kept = lib;
        return kept;
    }
    return NULL;
}

void disas_lib_close(void *opaque)
{
    struct lib *lib = opaque;
    if (!lib)
        return;
    cs_free(lib->insn, 1);
    cs_close(&lib->handle);
    free(lib);
}

size_t disas_lib_insn(void *opaque, const uint8_t *code, size_t n, uint64_t addr, char *line,
                      size_t room)
{
    struct lib *lib = opaque;
    size_t left = n;
    if (!cs_disasm_iter(lib->handle, &code, &left, &addr, lib->insn))
        return 0;
    snprintf(line, room, "%s%s%s", lib->insn->mnemonic, *lib->insn->op_str ? " " : "",
             lib->insn->op_str);
    return n - left;
}
