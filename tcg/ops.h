/* The IR's operations: one list from which come the enum, the printer, the parser, the verifier and
 * docs/ir.md. Include with IR_OP(name, result, values, flags, meaning) defined; no include guard.
 *
 *   result  what type the result has: none, same (as the op's type), i64 (whatever the op's type), vec (by its line)
 *   values  number of value operands (a, b, c, d in that order)
 *
 * The op's type is that of its operands unless the meaning says otherwise. No operation has an
 * undefined result. i32 values occupy the low half of a host register; what is above is not looked at.
 */
/*     name       result values flags */
/* state */
IR_OP( const,     same,  0, 0,                "the constant imm; v128: in both halves" )
IR_OP( get,       same,  0, IR_STATE,         "guest state slot imm" )
IR_OP( set,       none,  1, IR_EFFECT,        "guest state slot imm becomes a" )
IR_OP( pc,        i64,   0, 0,                "guest virtual address: base of the unit's page + imm" )
/* integers */
IR_OP( add,       same,  2, IR_COMMUTES,      "a + b, wraps" )
IR_OP( sub,       same,  2, 0,                "a - b, wraps" )
IR_OP( mul,       same,  2, IR_COMMUTES,      "low half of a * b" )
IR_OP( mulhu,     same,  2, IR_COMMUTES,      "high half of a * b, unsigned" )
IR_OP( mulhs,     same,  2, IR_COMMUTES,      "high half of a * b, signed" )
IR_OP( mulhsu,    same,  2, 0,                "high half of signed a * unsigned b" )
IR_OP( divu,      same,  2, 0,                "a / b unsigned; all ones if b is 0" )
IR_OP( divs,      same,  2, 0,                "a / b towards zero; -1 if b is 0; a if it overflows" )
IR_OP( remu,      same,  2, 0,                "a mod b unsigned; a if b is 0" )
IR_OP( rems,      same,  2, 0,                "a - (a divs b) * b; a if b is 0; 0 if it overflows" )
IR_OP( and,       same,  2, IR_COMMUTES,      "a and b" )
IR_OP( or,        same,  2, IR_COMMUTES,      "a or b" )
IR_OP( xor,       same,  2, IR_COMMUTES,      "a xor b" )
IR_OP( andn,      same,  2, 0,                "a and not b" )
IR_OP( shl,       same,  2, 0,                "a << (b mod width)" )
IR_OP( shr,       same,  2, 0,                "a >> (b mod width), zeros enter" )
IR_OP( sar,       same,  2, 0,                "a >> (b mod width), the sign enters" )
IR_OP( rol,       same,  2, 0,                "a rotated left by b mod width" )
IR_OP( ror,       same,  2, 0,                "a rotated right by b mod width" )
IR_OP( clz,       same,  1, 0,                "leading zero bits; the width if a is 0" )
IR_OP( ctz,       same,  1, 0,                "trailing zero bits; the width if a is 0" )
IR_OP( popcnt,    same,  1, 0,                "one bits" )
IR_OP( bswap,     same,  1, 0,                "bytes reversed" )
IR_OP( sext8,     same,  1, 0,                "low 8 bits of a, sign-extended" )
IR_OP( sext16,    same,  1, 0,                "low 16 bits of a, sign-extended" )
IR_OP( zext8,     same,  1, 0,                "low 8 bits of a, zero-extended" )
IR_OP( zext16,    same,  1, 0,                "low 16 bits of a, zero-extended" )
IR_OP( sext32,    i64,   1, 0,                "i32 a, sign-extended; the op's type is i32" )
IR_OP( zext32,    i64,   1, 0,                "i32 a, zero-extended; the op's type is i32" )
IR_OP( trunc,     i32,   1, 0,                "low half of i64 a; the op's type is i64" )
IR_OP( setc,      i64,   2, 0,                "1 if `a cc b` holds, else 0" )
IR_OP( addc,      same,  3, 0,                "a + b, + 1 if i64 c is not 0, wraps" )
IR_OP( carry,     i64,   3, 0,                "1 if the sum that addc gives does not fit, else 0" )
IR_OP( select,    same,  3, 0,                "b if i64 a is not 0, else c" )
/* the translator's own words: see IR_WORD_* */
IR_OP( word,      i64,   0, IR_EFFECT,        "word imm" )
IR_OP( set_word,  none,  1, IR_EFFECT,        "word imm becomes a" )
/* guest memory: at address a + imm, shape, mmu mode x; little-endian. An access that shares the TLB check
 * of an earlier one (its leader) names it in d; what is computed is the same */
IR_OP( load,      same,  1, IR_MAY_FAULT,     "guest memory; the shape's sign and width extend to the type (v128: 32, 64, 128 bits, zeros above)" )
IR_OP( store,     none,  2, IR_MAY_FAULT | IR_EFFECT, "guest memory becomes the low bytes of b" )
IR_OP( load_w,    same,  2, 0,                "as load, inside a window (see ir_copy_loops): host memory at a + imm + b" )
IR_OP( store_w,   none,  3, IR_EFFECT,        "as store, inside a window: host memory at a + imm + c becomes the low bytes of b" )
IR_OP( rmw,       same,  2, IR_MAY_FAULT | IR_EFFECT, "atomically: old = memory at a; memory = old (kind x) b; gives old, extended by shape. Sequentially consistent" )
IR_OP( cas,       same,  3, IR_MAY_FAULT | IR_EFFECT, "atomically: old = memory at a; if old == b (at the access's width) memory = c; gives old, extended by shape" )
IR_OP( copy,      i64,   3, IR_EFFECT,        "c elements of the shape's size move from address b to address a, one after the other upwards, if there are at most 4096 bytes of them and generated code may access both places, each in one page, now; gives how many are left: 0 or c" )
IR_OP( fill,      i64,   3, IR_EFFECT,        "likewise c elements from address a on become the low bytes of b" )
IR_OP( fence,     none,  0, IR_EFFECT,        "orders memory: x is a set of IR_FENCE_*" )
/* floating point: the guest's rounding mode (one of the first four in softfloat.h; for others a target
 * calls helpers), sticky flags accumulate, NaN by the target's rule */
IR_OP( fadd,      same,  2, IR_FP,            "a + b" )
IR_OP( fsub,      same,  2, IR_FP,            "a - b" )
IR_OP( fmul,      same,  2, IR_FP,            "a * b" )
IR_OP( fdiv,      same,  2, IR_FP,            "a / b" )
IR_OP( fsqrt,     same,  1, IR_FP,            "square root of a" )
IR_OP( fma,       same,  3, IR_FP,            "a * b + c rounded once; x: IR_FMA_NEG_PRODUCT, IR_FMA_NEG_ADDEND" )
IR_OP( fcmp,      i64,   2, IR_FP,            "1 if `a cc b`, else 0; cc is feq (quiet), flt, fle (signalling); unordered gives 0" )
IR_OP( ftoi,      int,   1, IR_FP,            "to i32 or i64 (x: IR_FTOI_*), saturating, NaN as the largest; invalid when it does not fit" )
IR_OP( itof,      same,  1, IR_FP,            "from an integer (x: IR_ITOF_*), rounded; the op's type is the result's" )
IR_OP( fwiden,    f64,   1, IR_FP,            "f32 a as f64; the op's type is f32" )
IR_OP( fnarrow,   f32,   1, IR_FP,            "f64 a rounded to f32; the op's type is f64" )
IR_OP( fneg,      same,  1, 0,                "sign flipped, no flags, NaN too" )
IR_OP( fabs,      same,  1, 0,                "sign cleared, no flags, NaN too" )
IR_OP( fbits,     int,   1, 0,                "bits of a float as an integer of its width; the op's type is the float's" )
IR_OP( bitsf,     same,  1, 0,                "float from the bits of an integer of its width; the op's type is the float's" )
IR_OP( fbox,      f64,   1, 0,                "f32 a in the low half, ones above; the op's type is f32" )
IR_OP( funbox,    f32,   1, 0,                "low half of f64 a if the high half is all ones, else the canonical NaN" )
IR_OP( fflags,    i64,   0, IR_EFFECT,        "the sticky flags raised so far (SF_*)" )
IR_OP( set_fflags,none,  1, IR_EFFECT,        "the sticky flags become the low five bits of a" )
/* vectors */
IR_OP( vec,       vec,   3, 0,                "a vector operation, constant n = imm: see below" )
/* calls */
IR_OP( call,      i64,   0, IR_EFFECT,        "helper imm with n = x operands a, b, c, d (all i64); result 0 if it has none" )
/* ends of a block */
IR_OP( jump,      none,  0, IR_END,           "to address imm: a block of the unit, or chained to another unit" )
IR_OP( branch,    none,  2, IR_END,           "to address imm if `a cc b` holds, else to address imm2" )
IR_OP( jumpi,     none,  1, IR_END,           "to guest virtual address a; hint x" )
IR_OP( leave,     none,  0, IR_END,           "to the run loop, which looks at everything again; continues at address imm" )
