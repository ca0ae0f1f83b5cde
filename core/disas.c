/* What every build of the disassembler shares: instruction lengths where nothing decodes, layout. */
#include "core/disas.h"
#include "core/disas_lib.h"
#include "core/util.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct disas {
    const char *isa;
    void *lib; /* NULL: bytes only */
};

struct disas *disas_new(const char *isa)
{
    struct disas *d = xcalloc(1, sizeof(*d));
    d->isa = isa;
    d->lib = disas_lib_open(isa);
    return d;
}

void disas_free(struct disas *d)
{
    if (!d)
        return;
    disas_lib_close(d->lib);
    free(d);
}

/* How far to go when nothing decodes the bytes. */
static size_t insn_length(const struct disas *d, const uint8_t *code, size_t n)
{
    size_t length = 1;
    if (!strcmp(d->isa, "aarch64"))
        length = 4;
    else if (!strcmp(d->isa, "riscv64"))
        length = (code[0] & 3) == 3 ? 4 : 2; /* unprivileged spec 1.5 */
    return MIN(length, n);
}

static void format_bytes(char *to, size_t room, const uint8_t *code, size_t n, bool word)
{
    size_t at = 0;
    to[0] = 0;
    for (size_t i = 0; i < n && at + 3 < room; i++)
        at += (size_t)snprintf(to + at, room - at, "%02x", code[word ? n - 1 - i : i]);
}

static bool is_fixed_width(const struct disas *d)
{
    return strcmp(d->isa, "x86_64") && strcmp(d->isa, "i386") && strcmp(d->isa, "i8086");
}

size_t disas_insn(struct disas *d, const uint8_t *code, size_t n, uint64_t addr, char *line,
                  size_t room)
{
    size_t used = d->lib ? disas_lib_insn(d->lib, code, n, addr, line, room) : 0;
    if (used)
        return used;
    char hex[40];
    used = insn_length(d, code, n);
    format_bytes(hex, sizeof(hex), code, used, is_fixed_width(d));
    snprintf(line, room, "%s 0x%s", used == 1 ? ".byte" : used == 2 ? ".half" : ".word", hex);
    return used;
}

void disas_block(struct disas *d, const uint8_t *code, size_t n, uint64_t addr,
                 void (*print)(void *opaque, const char *line), void *opaque)
{
    while (n) {
        char text[160], hex[40], line[240];
        size_t used = disas_insn(d, code, n, addr, text, sizeof(text));
        format_bytes(hex, sizeof(hex), code, used, is_fixed_width(d));
        snprintf(line, sizeof(line), "0x%016llx: %-*s %s", (unsigned long long)addr,
                 is_fixed_width(d) ? 8 : 22, hex, text);
        print(opaque, line);
        code += used;
        n -= used;
        addr += used;
    }
}
