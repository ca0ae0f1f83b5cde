/* Between insns_string.c and string.c: what the helper rep is to do. */
#pragma once

/* In this order of fields, from bit 0. */
enum x86_string_op { STRING_MOVS, STRING_CMPS, STRING_STOS, STRING_LODS, STRING_SCAS };
enum {
    STRING_OP = 7,
    STRING_SIZE_SHIFT = 3,  /* 4 bits: bytes of an element */
    STRING_ASIZE_SHIFT = 7, /* 4 bits: bytes of an address */
    STRING_SEG_SHIFT = 11,  /* 3 bits: of rSI */
    STRING_UNTIL_SHIFT = 14, /* 1: CMPS and SCAS stop when ZF is 1 (REPNE), else when it is 0 */
};
