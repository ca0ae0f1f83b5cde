/* Decoder for instruction sets of fixed-width encodings, driven by tables that look like the manual.
 *
 * A line draws its encoding from the highest bit down: "iiiiiiiiiiii aaaaa 000 ddddd 0010011".
 * 0 and 1 are fixed, a letter is a bit of a field, blanks count for nothing:
 *
 *   a b c d    register numbers; an upper-case letter adds 8 to the field
 *   x          one field that is both a and d; upper-case as above
 *   m n        small numbers that are no registers (rounding mode, ordering, byte select)
 *   i          the immediate, laid out by the line's `imm` as manuals write it: "11:5|4:0" says which
 *              bits of the value the i's are, left to right; an s before it: the highest is the sign
 *
 * Where one line's encodings contain all of another's, the narrower line wins; any other overlap is a
 * mistake in the tables, which decoder_check finds. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct decoder;
struct error;
struct insn;
struct tr;

struct operands {
    const struct insn *insn;
    int64_t imm;
    uint8_t a, b, c, d, m, n;
    uint8_t len; /* bytes */
    int extra;
};

struct insn {
    const char *name;
    const char *bits;
    const char *imm;
    void (*translate)(struct tr *t, const struct operands *o);
    int extra;           /* the translate function's own */
    uint8_t kind;        /* enum insn_kind */
    uint8_t a, b, d;     /* what these operands are where no field gives them */
    char not_zero;       /* this field is not zero here: a zero is another line or illegal */
    const void *data;    /* the translate function's own */
};

/* Lines that exist together: every feature in `all` and, unless it is 0, one of those in `any`. */
struct insn_table {
    const struct insn *at;
    size_t n;
    uint64_t all, any;
};

/* Build the decoder of `width`-bit encodings (16 or 32) for a CPU that has `features`. Tables must
 * outlive it. Takes well under a millisecond. */
struct decoder *decoder_new(const struct insn_table *tables, size_t n_tables, unsigned width,
                            uint64_t features);
void decoder_free(struct decoder *d);

/* The number of the line that `word` is, or -1: illegal. */
int decoder_find(const struct decoder *d, uint32_t word);
const struct insn *decoder_insn(const struct decoder *d, int line);
size_t decoder_n_lines(const struct decoder *d);
void decoder_operands(const struct decoder *d, int line, uint32_t word, struct operands *o);

/* NULL, or which lines are malformed or overlap without one containing the other. */
struct error *decoder_check(const struct decoder *d);
/* An encoding of the line with its fields taken from `random`. It may turn out to be a narrower
 * line's: decoder_find tells. */
uint32_t decoder_random(const struct decoder *d, int line, uint64_t random);
/* The line's encoding with these operands: what decoder_operands takes apart, as far as the line has
 * fields for it. */
uint32_t decoder_encode(const struct decoder *d, int line, const struct operands *o);
/* Bits of the word that are fixed in the line, and their value. */
void decoder_fixed(const struct decoder *d, int line, uint32_t *mask, uint32_t *value);
