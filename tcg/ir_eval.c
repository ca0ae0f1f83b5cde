#include "tcg/ir_eval.h"

#include "core/util.h"

static uint64_t eval64(enum ir_code code, uint64_t a, uint64_t b)
{
    int64_t sa = (int64_t)a, sb = (int64_t)b;
    switch (code) {
    case IR_add: return a + b;
    case IR_sub: return a - b;
    case IR_mul: return a * b;
    case IR_mulhu: return (uint64_t)((unsigned __int128)a * b >> 64);
    case IR_mulhs: return (uint64_t)((__int128)sa * sb >> 64);
    case IR_mulhsu: return (uint64_t)((__int128)sa * (__int128)b >> 64);
    case IR_divu: return b ? a / b : ~(uint64_t)0;
    case IR_remu: return b ? a % b : a;
    case IR_divs: return !b ? ~(uint64_t)0 : sb == -1 ? -a : (uint64_t)(sa / sb);
    case IR_rems: return !b ? a : sb == -1 ? 0 : (uint64_t)(sa % sb);
    case IR_and: return a & b;
    case IR_or: return a | b;
    case IR_xor: return a ^ b;
    case IR_andn: return a & ~b;
    case IR_shl: return a << (b & 63);
    case IR_shr: return a >> (b & 63);
    case IR_sar: return (uint64_t)(sa >> (b & 63));
    case IR_rol: return a << (b & 63) | a >> (-b & 63);
    case IR_ror: return a >> (b & 63) | a << (-b & 63);
    case IR_clz: return a ? (uint64_t)__builtin_clzll(a) : 64;
    case IR_ctz: return a ? (uint64_t)__builtin_ctzll(a) : 64;
    case IR_popcnt: return (uint64_t)__builtin_popcountll(a);
    case IR_bswap: return __builtin_bswap64(a);
    case IR_sext8: return (uint64_t)(int8_t)a;
    case IR_sext16: return (uint64_t)(int16_t)a;
    case IR_zext8: return (uint8_t)a;
    case IR_zext16: return (uint16_t)a;
    case IR_trunc: return (uint32_t)a;
    default: return 0;
    }
}

static uint32_t eval32(enum ir_code code, uint32_t a, uint32_t b)
{
    int32_t sa = (int32_t)a, sb = (int32_t)b;
    switch (code) {
    case IR_mulhu: return (uint32_t)((uint64_t)a * b >> 32);
    case IR_mulhs: return (uint32_t)((int64_t)sa * sb >> 32);
    case IR_mulhsu: return (uint32_t)((int64_t)sa * (int64_t)b >> 32);
    case IR_divu: return b ? a / b : ~(uint32_t)0;
    case IR_remu: return b ? a % b : a;
    case IR_divs: return !b ? ~(uint32_t)0 : sb == -1 ? -a : (uint32_t)(sa / sb);
    case IR_rems: return !b ? a : sb == -1 ? 0 : (uint32_t)(sa % sb);
    case IR_shl: return a << (b & 31);
    case IR_shr: return a >> (b & 31);
    case IR_sar: return (uint32_t)(sa >> (b & 31));
    case IR_rol: return a << (b & 31) | a >> (-b & 31);
    case IR_ror: return a >> (b & 31) | a << (-b & 31);
    case IR_clz: return a ? (uint32_t)__builtin_clz(a) : 32;
    case IR_ctz: return a ? (uint32_t)__builtin_ctz(a) : 32;
    case IR_popcnt: return (uint32_t)__builtin_popcount(a);
    case IR_bswap: return __builtin_bswap32(a);
    default: return (uint32_t)eval64(code, a, b); /* the low half does not depend on the high one */
    }
}

uint64_t ir_eval(enum ir_code code, enum ir_type type, uint64_t a, uint64_t b)
{
    if (code == IR_sext32)
        return (uint64_t)(int32_t)a;
    if (code == IR_zext32)
        return (uint32_t)a;
    return type == IR_I32 ? eval32(code, (uint32_t)a, (uint32_t)b) : eval64(code, a, b);
}

bool ir_evaluates(enum ir_code code)
{
    return code >= IR_add && code <= IR_trunc;
}

uint64_t ir_eval_addc(enum ir_type type, uint64_t a, uint64_t b, uint64_t c, bool *carry)
{
    uint64_t mask = type == IR_I32 ? UINT32_MAX : UINT64_MAX, sum;
    a &= mask;
    b &= mask;
    sum = (a + b + !!c) & mask;
    *carry = c ? sum <= a : sum < a;
    return sum;
}

bool ir_eval_cc(enum ir_cc cc, enum ir_type type, uint64_t a, uint64_t b)
{
    if (type == IR_I32) {
        a = (uint64_t)(int32_t)a; /* sign extension keeps both orders */
        b = (uint64_t)(int32_t)b;
    }
    int64_t sa = (int64_t)a, sb = (int64_t)b;
    switch (cc) {
    case IR_EQ: return a == b;
    case IR_NE: return a != b;
    case IR_LT: return sa < sb;
    case IR_GE: return sa >= sb;
    case IR_LE: return sa <= sb;
    case IR_GT: return sa > sb;
    case IR_LTU: return a < b;
    case IR_GEU: return a >= b;
    case IR_LEU: return a <= b;
    case IR_GTU: return a > b;
    default: return false;
    }
}

uint64_t ir_eval_rmw(enum ir_rmw kind, unsigned size_log2, uint64_t old, uint64_t v)
{
    unsigned width = 8u << size_log2;
    int64_t so = sext(old, width), sv = sext(v, width);
    uint64_t uo = bits(old, 0, width), uv = bits(v, 0, width);
    switch (kind) {
    case IR_RMW_SWAP: return v;
    case IR_RMW_ADD: return old + v;
    case IR_RMW_AND: return old & v;
    case IR_RMW_OR: return old | v;
    case IR_RMW_XOR: return old ^ v;
    case IR_RMW_MIN: return so < sv ? old : v;
    case IR_RMW_MAX: return so > sv ? old : v;
    case IR_RMW_MINU: return uo < uv ? old : v;
    case IR_RMW_MAXU: return uo > uv ? old : v;
    default: return old;
    }
}
