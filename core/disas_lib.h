/* What core/disas.c asks of a disassembler library; one implementation is chosen at configure time. */
#pragma once

#include <stddef.h>
#include <stdint.h>

void *disas_lib_open(const char *isa); /* NULL: not known to this library */
void disas_lib_close(void *lib);       /* NULL is allowed */
/* Bytes used, 0 if they are no instruction. */
size_t disas_lib_insn(void *lib, const uint8_t *code, size_t n, uint64_t addr, char *line,
                      size_t room);
