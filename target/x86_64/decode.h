/* Decoder of x86 instructions, driven by tables that look like the SDM: a line's encoding is written as in
 * its instruction pages, the operands as in its opcode map (SDM 2-A.2).
 *
 * Encoding: bytes in hexadecimal, with
 *   NP 66 F2 F3       first: mandatory prefix (NP: none of them). Without one any are allowed; 66 is then the
 *                     operand-size prefix. F2 and F3 may follow 66, which stays an operand size then
 *   0F 0F38 0F3A      opcode maps, also written 0F 38, 0F 3A
 *   /r /0 ... /7      a ModRM byte, its reg field an operand or an extension of the opcode
 *   0F 01 F9          a second byte behind the opcode: the whole ModRM byte
 *   D8 C0+i           a ModRM byte whose rm field is an operand
 *   50+r              a register in the opcode's low three bits
 *   REX.W             only with it
 *   VEX.128.66.0F38.W0 F7 /r    the lengths 128 256 L0 L1 LZ LIG (or none: either), NP 66 F2 F3 (or none: NP),
 *                     0F 0F38 0F3A, W0 W1 WIG (or none: either)
 * Where lines overlap, the one that says more wins.
 *
 * Operands, comma-separated: a letter for the place and one or two for the size.
 *   A far pointer  B VEX.vvvv, integer  C control register  D debug register  E ModRM rm: integer or memory
 *   G ModRM reg  H VEX.vvvv, vector  I immediate  J jump distance  L imm8[7:4], vector  M memory only
 *   N rm: MMX register  O memory without ModRM  P reg: MMX  Q rm: MMX or memory  R rm: integer register only
 *   S reg: segment register  T memory with a vector of indices (VSIB; the size is an index's)
 *   U rm: vector register only  V reg: vector  W rm: vector or memory  X DS:rSI  Y ES:rDI
 *   Z register in the opcode
 *   b 1, w 2, d 4, q 8, dq 16, qq 32, t 10; v operand size, z the same but at most 4, y 8 with REX.W else 4,
 *   x ps pd 16 or 32 by VEX.L, ss 4, sd 8, p far pointer in memory, a two v's, s pseudo-descriptor; none: 0
 * "Rd/Mw" is a register in one size or memory in another. Names of registers stand for themselves: AL CL AX DX
 * rAX (operand size) eAX (at most 4) ES CS SS DS FS GS ST0 STi XMM0; 1 is the number. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct tr;
struct x86_decoder;
struct x86_insn;
struct x86_model;

struct x86_line {
    const char *name, *encoding, *operands;
    void (*translate)(struct tr *t, const struct x86_insn *i);
    int extra;          /* the translate function's own */
    uint16_t flags;     /* X86_LOCKABLE and so on */
    uint8_t kind;       /* enum insn_kind */
    uint16_t undefined; /* RFLAGS bits that the SDM leaves undefined: not compared by tests */
};
enum {
    X86_LOCKABLE = 1 << 0, /* LOCK is allowed if the first operand is memory */
    X86_NO64 = 1 << 1,     /* #UD in 64-bit mode */
    X86_ONLY64 = 1 << 2,   /* #UD elsewhere */
    X86_D64 = 1 << 3,      /* 64-bit mode: operand size 64, or 16 with 66 */
    X86_F64 = 1 << 4,      /* 64-bit mode: operand size 64 */
    X86_PROTECTED = 1 << 5, /* #UD in real and virtual-8086 mode */
    X86_SYSTEM = 1 << 6,   /* not for random user-mode tests */
    X86_ANY_MOD = 1 << 7,  /* ModRM mod means nothing: C, D and R operands are registers always */
    X86_UPDATES = 1 << 8,  /* reads the first operand and writes it; LOCKABLE says so too */
};

/* Lines that exist if the CPU has a feature: a bit of a word in model.h, or X86_ALWAYS. */
enum { X86_ALWAYS = 0xff };
struct x86_insn_table {
    const struct x86_line *at;
    uint16_t n;
    uint8_t word, bit;
};
#define X86_INSNS(lines, word, bit) { (lines), ARRAY_LEN(lines), (word), (bit) }

/* All tables; each file's list ends with an empty one. */
extern const struct x86_insn_table x86_int_tables[], x86_bit_tables[], x86_jump_tables[],
    x86_string_tables[], x86_sys_tables[], x86_sse_tables[],
    x86_avx_tables[], x86_x87_tables[], x86_cet_tables[];

enum x86_op_kind {
    X86_OP_NONE,
    X86_OP_GPR,  /* reg 0..15; high: AH CH DH BH as reg 0..3 */
    X86_OP_MEM,  /* the insn's base, index, scale, disp, seg */
    X86_OP_VSIB, /* the same, index is a vector register */
    X86_OP_IMM,  /* imm */
    X86_OP_REL,  /* imm: distance from the next instruction */
    X86_OP_FAR,  /* imm: offset, selector in the insn */
    X86_OP_SEG, X86_OP_CR, X86_OP_DR, X86_OP_MMX,
    X86_OP_XMM,  /* and YMM: by size */
    X86_OP_ST,
    X86_OP_SI, X86_OP_DI, /* memory at seg:rSI, ES:rDI */
};
struct x86_operand {
    uint8_t kind, size; /* bytes; 0 where the line says none */
    uint8_t reg;
    bool high;
};

enum { X86_REG_NONE = 0xff, X86_REG_RIP = 0x10 };
enum { X86_PFX_LOCK = 1, X86_PFX_REPNE = 2, X86_PFX_REP = 4, X86_PFX_66 = 8, X86_PFX_67 = 16,
       X86_PFX_3E = 32 /* the last segment prefix is DS: NOTRACK */ };
enum { X86_MAX_INSN = 15, X86_N_OPERANDS = 5 };

/* One instruction, decoded. */
struct x86_insn {
    const struct x86_line *line;
    int extra;         /* the line's */
    uint8_t len;
    uint8_t prefixes;  /* X86_PFX_*; of F2 and F3 the last one counts */
    uint8_t rex;       /* 0, or 0x40..0x4f; made from VEX too */
    bool vex, vex_l;
    uint8_t vvvv;      /* VEX.vvvv as a register number */
    uint8_t osize;     /* operand size ("v"): 2, 4 or 8 */
    uint8_t asize;     /* address size: 2, 4 or 8 */
    uint8_t bits;      /* of the code: 16, 32 or 64 */
    uint8_t opcode, modrm;
    uint8_t base, index, scale; /* register numbers or X86_REG_*; scale is log2 */
    uint8_t seg;       /* of the memory operand, an override included */
    bool seg_override;
    uint16_t selector; /* A operand */
    uint8_t imm_b;     /* the last immediate byte: ENTER's second one */
    int64_t disp;
    int64_t imm;       /* sign-extended from its size, but for Iw */
    struct x86_operand op[X86_N_OPERANDS];
};

/* For a CPU model; constant, read by all threads. Well under a millisecond. */
struct x86_decoder *x86_decoder_new(const struct x86_model *m);
void x86_decoder_free(struct x86_decoder *d);

enum x86_decoded {
    X86_DECODED,
    X86_ILLEGAL,   /* #UD; len is set */
    X86_TOO_LONG,  /* #GP */
    X86_TRUNCATED, /* more bytes are needed than the n given */
};
/* state_word: X86_TR_CODE*, X86_TR_PE and X86_TR_VM of it count. */
enum x86_decoded x86_decode(const struct x86_decoder *d, uint32_t state_word, const uint8_t *bytes, size_t n,
                            struct x86_insn *out);

/* For tests: every line, and an encoding of it with what it leaves open taken from `random`. Gives its
 * length, or 0 where the line does not exist in that mode. */
size_t x86_decoder_n_lines(const struct x86_decoder *d);
const struct x86_line *x86_decoder_line(const struct x86_decoder *d, size_t i);
unsigned x86_decoder_random(const struct x86_decoder *d, size_t i, uint32_t state_word,
                            uint64_t (*random)(void *opaque), void *opaque, uint8_t bytes[X86_MAX_INSN]);
