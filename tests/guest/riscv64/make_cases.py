#!/usr/bin/env python3
"""Writes the instruction tests: for each instruction functions that execute it, operands, and the
results that exact arithmetic in Python gives. Usage: make_cases.py integer|float > FILE.S"""
import random
import sys
from fractions import Fraction
from math import isqrt

random.seed(20240411)
M64 = (1 << 64) - 1
CORNERS = [0, 1, 2, 3, 31, 32, 63, 64, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
           0x80000000, 0xffffffff, 0x100000000, (1 << 63) - 1, 1 << 63, M64, M64 - 1,
           0xffffffff80000000, 0x0123456789abcdef, 0xaaaaaaaaaaaaaaaa, 0x00ff00ff00ff00ff]


def sx(v, n=64):
    v &= (1 << n) - 1
    return v - (1 << n) if v >> (n - 1) else v


def w(v):
    return sx(v, 32) & M64


def rol(v, n, width=64):
    v &= (1 << width) - 1
    n %= width
    return (v << n | v >> (width - n)) & ((1 << width) - 1) if n else v


def div(a, b, n):
    a, b = sx(a, n), sx(b, n)
    if b == 0:
        return -1
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


def rem(a, b, n):
    a, b = sx(a, n), sx(b, n)
    return a if b == 0 else a - div(a, b, n) * b if not (b == -1) else 0


def udiv(a, b, n):
    a, b = a % (1 << n), b % (1 << n)
    return a // b if b else (1 << n) - 1


def urem(a, b, n):
    a, b = a % (1 << n), b % (1 << n)
    return a % b if b else a


def clmul(a, b):
    r = 0
    for i in range(64):
        if b >> i & 1:
            r ^= a << i
    return r


def by_bytes(f, v):
    return sum(f(v >> 8 * i & 255) << 8 * i for i in range(8))


def xperm(a, b, n):
    lanes = 64 // n
    r = 0
    for i in range(lanes):
        at = b >> n * i & (1 << n) - 1
        if at < lanes:
            r |= (a >> n * at & (1 << n) - 1) << n * i
    return r


def clz(v, n):
    return n - (v % (1 << n)).bit_length()


def ctz(v, n):
    v %= 1 << n
    return n if v == 0 else (v & -v).bit_length() - 1


def xtime(a):
    return (a << 1 ^ (0x11b if a & 0x80 else 0)) & 255


def gmul(a, b):
    r = 0
    while b:
        if b & 1:
            r ^= a
        a, b = xtime(a), b >> 1
    return r


def make_sbox():
    box = []
    for v in range(256):
        inv = next((i for i in range(256) if gmul(v, i) == 1), 0)
        box.append(inv ^ rol(inv, 1, 8) ^ rol(inv, 2, 8) ^ rol(inv, 3, 8) ^ rol(inv, 4, 8) ^ 0x63)
    return box


SBOX = make_sbox()
INV_SBOX = [SBOX.index(i) for i in range(256)]


def state(a, b):
    return [(a >> 8 * i & 255) for i in range(8)] + [(b >> 8 * i & 255) for i in range(8)]


def half(rows):
    return sum(v << 8 * i for i, v in enumerate(rows[:8]))


def mix(col, m):
    return [gmul(col[0], m[-i % 4]) ^ gmul(col[1], m[(1 - i) % 4]) ^ gmul(col[2], m[(2 - i) % 4]) ^
            gmul(col[3], m[(3 - i) % 4]) for i in range(4)]


def mix_all(v, m):
    b = [(v >> 8 * i & 255) for i in range(8)]
    return half(mix(b[:4], m) + mix(b[4:], m))


def aes(a, b, box, step, m):
    s = state(a, b)
    out = half([box[s[(4 * c + r + step * 4 * r) % 16]] for c in range(2) for r in range(4)])
    return mix_all(out, m) if m else out


ENC, DEC = [2, 3, 1, 1], [14, 11, 13, 9]


def ks1(a, rnum):
    t = a >> 32
    if rnum < 10:
        t = rol(t, 24, 32)
    t = sum(SBOX[t >> 8 * i & 255] << 8 * i for i in range(4))
    if rnum < 10:
        t ^= [1, 2, 4, 8, 16, 32, 64, 128, 0x1b, 0x36][rnum]
    return t << 32 | t


def ks2(a, b):
    lo = (a >> 32) ^ b & 0xffffffff
    return ((lo ^ b >> 32) << 32 | lo) & M64


def ror(v, n, width):
    return rol(v, width - n, width)


def sha(v, r, width, shift=False):
    v %= 1 << width
    x = ror(v, r[0], width) ^ ror(v, r[1], width) ^ (v >> r[2] if shift else ror(v, r[2], width))
    return w(x) if width == 32 else x


u32 = lambda v: v & 0xffffffff
REG = {
    'add': lambda a, b: a + b, 'sub': lambda a, b: a - b, 'xor': lambda a, b: a ^ b,
    'or': lambda a, b: a | b, 'and': lambda a, b: a & b, 'sll': lambda a, b: a << (b & 63),
    'srl': lambda a, b: a >> (b & 63), 'sra': lambda a, b: sx(a) >> (b & 63),
    'slt': lambda a, b: sx(a) < sx(b), 'sltu': lambda a, b: a < b,
    'addw': lambda a, b: w(a + b), 'subw': lambda a, b: w(a - b),
    'sllw': lambda a, b: w(a << (b & 31)), 'srlw': lambda a, b: w(u32(a) >> (b & 31)),
    'sraw': lambda a, b: sx(a, 32) >> (b & 31),
    'mul': lambda a, b: a * b, 'mulh': lambda a, b: sx(a) * sx(b) >> 64,
    'mulhsu': lambda a, b: sx(a) * b >> 64, 'mulhu': lambda a, b: a * b >> 64,
    'mulw': lambda a, b: w(a * b),
    'div': lambda a, b: div(a, b, 64), 'divu': lambda a, b: udiv(a, b, 64),
    'rem': lambda a, b: rem(a, b, 64), 'remu': lambda a, b: urem(a, b, 64),
    'divw': lambda a, b: w(div(a, b, 32)), 'divuw': lambda a, b: w(udiv(a, b, 32)),
    'remw': lambda a, b: w(rem(a, b, 32)), 'remuw': lambda a, b: w(urem(a, b, 32)),
    'sh1add': lambda a, b: (a << 1) + b, 'sh2add': lambda a, b: (a << 2) + b,
    'sh3add': lambda a, b: (a << 3) + b, 'add.uw': lambda a, b: u32(a) + b,
    'sh1add.uw': lambda a, b: (u32(a) << 1) + b, 'sh2add.uw': lambda a, b: (u32(a) << 2) + b,
    'sh3add.uw': lambda a, b: (u32(a) << 3) + b,
    'andn': lambda a, b: a & ~b, 'orn': lambda a, b: a | ~b, 'xnor': lambda a, b: ~(a ^ b),
    'min': lambda a, b: min(sx(a), sx(b)), 'max': lambda a, b: max(sx(a), sx(b)),
    'minu': lambda a, b: min(a, b), 'maxu': lambda a, b: max(a, b),
    'rol': lambda a, b: rol(a, b & 63), 'ror': lambda a, b: rol(a, -(b & 63) % 64),
    'rolw': lambda a, b: w(rol(a, b & 31, 32)), 'rorw': lambda a, b: w(rol(a, -(b & 31) % 32, 32)),
    'bclr': lambda a, b: a & ~(1 << (b & 63)), 'bset': lambda a, b: a | 1 << (b & 63),
    'binv': lambda a, b: a ^ 1 << (b & 63), 'bext': lambda a, b: a >> (b & 63) & 1,
    'clmul': lambda a, b: clmul(a, b), 'clmulh': lambda a, b: clmul(a, b) >> 64,
    'clmulr': lambda a, b: clmul(a, b) >> 63,
    'pack': lambda a, b: u32(a) | u32(b) << 32, 'packh': lambda a, b: a & 255 | (b & 255) << 8,
    'packw': lambda a, b: w(a & 0xffff | (b & 0xffff) << 16),
    'xperm4': lambda a, b: xperm(a, b, 4), 'xperm8': lambda a, b: xperm(a, b, 8),
    'aes64es': lambda a, b: aes(a, b, SBOX, 1, None),
    'aes64esm': lambda a, b: aes(a, b, SBOX, 1, ENC),
    'aes64ds': lambda a, b: aes(a, b, INV_SBOX, -1, None),
    'aes64dsm': lambda a, b: aes(a, b, INV_SBOX, -1, DEC), 'aes64ks2': ks2,
    'czero.eqz': lambda a, b: a if b else 0, 'czero.nez': lambda a, b: 0 if b else a,
}
SPELLED = {'czero.eqz': '.insn r 0x33, 5, 7, a0, a0, a1', 'czero.nez': '.insn r 0x33, 7, 7, a0, a0, a1'}
ONE = {
    'clz': lambda a: clz(a, 64), 'ctz': lambda a: ctz(a, 64), 'cpop': lambda a: bin(a).count('1'),
    'clzw': lambda a: clz(a, 32), 'ctzw': lambda a: ctz(a, 32),
    'cpopw': lambda a: bin(u32(a)).count('1'), 'sext.b': lambda a: sx(a, 8),
    'sext.h': lambda a: sx(a, 16), 'zext.h': lambda a: a & 0xffff,
    'orc.b': lambda a: by_bytes(lambda v: 255 if v else 0, a),
    'rev8': lambda a: int.from_bytes(a.to_bytes(8, 'little'), 'big'),
    'brev8': lambda a: by_bytes(lambda v: int(f'{v:08b}'[::-1], 2), a),
    'aes64im': lambda a: mix_all(a, DEC),
    'sha256sum0': lambda a: sha(a, (2, 13, 22), 32), 'sha256sum1': lambda a: sha(a, (6, 11, 25), 32),
    'sha256sig0': lambda a: sha(a, (7, 18, 3), 32, True),
    'sha256sig1': lambda a: sha(a, (17, 19, 10), 32, True),
    'sha512sum0': lambda a: sha(a, (28, 34, 39), 64), 'sha512sum1': lambda a: sha(a, (14, 18, 41), 64),
    'sha512sig0': lambda a: sha(a, (1, 8, 7), 64, True),
    'sha512sig1': lambda a: sha(a, (19, 61, 6), 64, True),
    'sm3p0': lambda a: w(u32(a) ^ rol(a, 9, 32) ^ rol(a, 17, 32)),
    'sm3p1': lambda a: w(u32(a) ^ rol(a, 15, 32) ^ rol(a, 23, 32)),
}
SIMM = [-2048, -1, 0, 1, 5, 2047]
SH64, SH32 = [0, 1, 31, 32, 63], [0, 1, 15, 31]
IMM = {
    'addi': (lambda a, i: a + i, SIMM), 'xori': (lambda a, i: a ^ i, SIMM),
    'ori': (lambda a, i: a | i, SIMM), 'andi': (lambda a, i: a & i, SIMM),
    'slti': (lambda a, i: sx(a) < i, SIMM), 'sltiu': (lambda a, i: a < i & M64, SIMM),
    'addiw': (lambda a, i: w(a + i), SIMM), 'slli': (lambda a, i: a << i, SH64),
    'srli': (lambda a, i: a >> i, SH64), 'srai': (lambda a, i: sx(a) >> i, SH64),
    'slliw': (lambda a, i: w(a << i), SH32), 'srliw': (lambda a, i: w(u32(a) >> i), SH32),
    'sraiw': (lambda a, i: sx(a, 32) >> i, SH32), 'slli.uw': (lambda a, i: u32(a) << i, SH64),
    'rori': (lambda a, i: rol(a, -i % 64), SH64), 'roriw': (lambda a, i: w(rol(a, -i % 32, 32)), SH32),
    'bclri': (lambda a, i: a & ~(1 << i), SH64), 'bseti': (lambda a, i: a | 1 << i, SH64),
    'binvi': (lambda a, i: a ^ 1 << i, SH64), 'bexti': (lambda a, i: a >> i & 1, SH64),
    'aes64ks1i': (ks1, range(11)),
}


class Writer:
    """Functions of an instruction, its rows (function, operands, results), the table of all."""

    def __init__(self):
        self.text, self.rows, self.ops, self.n = [], [], [], 0

    def function(self, *lines):
        self.n += 1
        self.text.append(f'f{self.n}:\n' + '\n'.join('    ' + s for s in lines) + '\n    ret')
        return f'f{self.n}'

    def op(self, name, rows):
        self.ops.append((name, len(rows)))
        self.rows.append(f'rows_{len(self.ops)}:')
        for r in rows:
            cells = ', '.join(v if isinstance(v, str) else hex(v & M64) for v in r)
            self.rows.append(f'    .dword {cells}')

    def write(self):
        print('    .option arch, +m, +a, +f, +d, +zba, +zbb, +zbc, +zbs, +zbkb, +zbkc, +zbkx, +zknd,'
              ' +zkne, +zknh, +zksh, +zfh\n    .text')
        print('\n'.join(self.text))
        print('    .section .rodata\n    .balign 8')
        print('\n'.join(self.rows))
        for i, (name, _) in enumerate(self.ops):
            print(f'name_{i + 1}: .asciz "{name}"')
        print('    .balign 8\n    .globl cases, n_cases\ncases:')
        for i, (_, n) in enumerate(self.ops):
            print(f'    .dword name_{i + 1}, rows_{i + 1}, {n}')
        print(f'n_cases: .dword {len(self.ops)}')


def values(n):
    return [random.choice(CORNERS) if random.random() < .6 else random.getrandbits(64)
            for _ in range(n)]


def write_integer():
    out = Writer()
    for name, f in REG.items():
        fn = out.function(SPELLED.get(name, f'{name} a0, a0, a1'))
        same = out.function(SPELLED.get(name, f'{name} a0, a0, a0').replace('a0, a1', 'a0, a0'))
        rows = [(fn, a, b, int(f(a, b))) for a, b in zip(CORNERS, reversed(CORNERS))]
        rows += [(fn, a, b, int(f(a, b))) for a, b in zip(values(60), values(60))]
        rows += [(same, a, 0, int(f(a, a))) for a in values(6)]
        out.op(name, rows)
    for name, f in ONE.items():
        fn = out.function(f'{name} a0, a0')
        out.op(name, [(fn, a, 0, int(f(a))) for a in CORNERS + values(30)])
    for name, (f, imms) in IMM.items():
        rows = []
        for i in imms:
            fn = out.function(f'{name} a0, a0, {i}')
            rows += [(fn, a, 0, int(f(a, i))) for a in values(10)]
        out.op(name, rows)
    # Loads of each width and sign from a0 + offset, stores seen by a load of 8.
    rows = []
    for width, sign, load in [(1, 1, 'lb'), (2, 1, 'lh'), (4, 1, 'lw'), (8, 0, 'ld'), (1, 0, 'lbu'),
                              (2, 0, 'lhu'), (4, 0, 'lwu')]:
        for off in [0, 1, 3, 7, -5]:
            fn = out.function('addi sp, sp, -32', 'sd a0, 8(sp)', 'sd a1, 16(sp)',
                              f'addi t0, sp, {8 - off if off >= 0 else 13}',
                              f'{load} a0, {off}(t0)', 'addi sp, sp, 32')
            for a, b in zip(values(4), values(4)):
                v = a >> (0 if off >= 0 else 0) & (1 << 8 * width) - 1
                rows.append((fn, a, b, sx(v, 8 * width) if sign else v))
            fn = out.function('addi sp, sp, -32', 'sd a0, 8(sp)', 'sd a1, 16(sp)',
                              f'addi t0, sp, 8', f'{load} a0, {abs(off)}(t0)', 'addi sp, sp, 32')
            for a, b in zip(values(4), values(4)):
                v = (a | b << 64) >> 8 * abs(off) & (1 << 8 * width) - 1
                rows.append((fn, a, b, sx(v, 8 * width) if sign else v))
    out.op('loads, aligned and not', rows)
    rows = []
    for width, store in [(1, 'sb'), (2, 'sh'), (4, 'sw'), (8, 'sd')]:
        for off in [0, 1, 3]:
            fn = out.function('addi sp, sp, -32', 'sd a0, 8(sp)', f'{store} a1, {8 + off}(sp)',
                              'ld a0, 8(sp)', 'addi sp, sp, 32')
            for a, b in zip(values(5), values(5)):
                m = (1 << 8 * width) - 1 << 8 * off
                rows.append((fn, a, b, a & ~m | b << 8 * off & m))
    out.op('stores, aligned and not', rows)
    rows = []
    for cc, f in [('beq', lambda a, b: a == b), ('bne', lambda a, b: a != b),
                  ('blt', lambda a, b: sx(a) < sx(b)), ('bge', lambda a, b: sx(a) >= sx(b)),
                  ('bltu', lambda a, b: a < b), ('bgeu', lambda a, b: a >= b)]:
        fn = out.function('mv t0, a0', 'li a0, 1', f'{cc} t0, a1, 1f', 'li a0, 0', '1:')
        v = values(20)
        rows += [(fn, a, b, int(f(a, b))) for a, b in list(zip(v, values(20))) + list(zip(v, v))]
    out.op('branches', rows)
    fn = out.function('lui a0, 0x80000')
    fn2 = out.function('lui a0, 0x7ffff', 'addiw a0, a0, -1')
    fn3 = out.function('auipc a0, 0xfffff', 'auipc a1, 0xfffff', 'sub a0, a1, a0')
    out.op('lui, auipc', [(fn, 0, 0, -0x80000000), (fn2, 0, 0, 0x7fffefff), (fn3, 0, 0, 4)])
    fn = out.function('mv t2, ra', 'la t0, 1f', 'jalr t1, 3(t0)', 'j 2f', '.balign 4',
                      '1: .word 0x00000013', 'sub a0, t1, t0', 'mv ra, t2', 'ret', '2: li a0, 0',
                      'mv ra, t2')
    fn2 = out.function('mv t2, ra', '.option push', '.option norvc', 'la ra, 1f', 'jalr ra, 0(ra)',
                       '2: j 3f', '1: la a0, 2b', 'sub a0, ra, a0', 'jr ra', '3: mv ra, t2',
                       '.option pop')
    out.op('jalr', [(fn2, 0, 0, 0)])
    compressed(out)
    out.write()


def compressed(out):
    """What assemblers shorten, spelled out; a0 in, a0 out."""
    rows = []
    for lines, f in [
            (['c.addi a0, -32'], lambda a, b: a - 32), (['c.addiw a0, 31'], lambda a, b: w(a + 31)),
            (['c.li a0, -1'], lambda a, b: -1), (['c.lui a0, 0xfffe0'], lambda a, b: -0x20000),
            (['c.srli a0, 63'], lambda a, b: a >> 63), (['c.srai a0, 33'], lambda a, b: sx(a) >> 33),
            (['c.andi a0, -8'], lambda a, b: a & -8), (['c.sub a0, a1'], lambda a, b: a - b),
            (['c.xor a0, a1'], lambda a, b: a ^ b), (['c.or a0, a1'], lambda a, b: a | b),
            (['c.and a0, a1'], lambda a, b: a & b), (['c.subw a0, a1'], lambda a, b: w(a - b)),
            (['c.addw a0, a1'], lambda a, b: w(a + b)), (['c.slli a0, 40'], lambda a, b: a << 40),
            (['c.mv a0, a1'], lambda a, b: b), (['c.add a0, a1'], lambda a, b: a + b),
            (['c.nop'], lambda a, b: a),
            (['mv t0, sp', 'c.addi16sp sp, -512', 'sub a0, t0, sp', 'c.addi16sp sp, 496',
              'c.addi16sp sp, 16'], lambda a, b: 512),
            (['c.addi4spn a0, sp, 1020', 'sub a0, a0, sp'], lambda a, b: 1020),
            (['c.addi16sp sp, -64', 'c.sdsp a0, 56(sp)', 'c.ldsp a1, 56(sp)', 'c.mv a0, a1',
              'c.addi16sp sp, 64'], lambda a, b: a),
            (['c.addi16sp sp, -64', 'c.swsp a0, 60(sp)', 'c.lwsp a0, 60(sp)', 'c.addi16sp sp, 48',
              'c.addi16sp sp, 16'], lambda a, b: sx(a, 32)),
            (['c.addi16sp sp, -256', 'c.mv a2, sp', 'c.sd a0, 248(a2)', 'c.ld a0, 248(a2)',
              'c.sw a1, 124(a2)', 'c.lw a1, 124(a2)', 'c.add a0, a1', 'c.addi16sp sp, 256'],
             lambda a, b: a + sx(b, 32)),
            (['c.addi16sp sp, -256', 'c.mv a2, sp', 'fmv.d.x fa0, a0', 'c.fsd fa0, 240(a2)',
              'c.fld fa1, 240(a2)', 'c.fsdsp fa1, 248(sp)', 'c.fldsp fa2, 248(sp)', 'fmv.x.d a0, fa2',
              'c.addi16sp sp, 256'], lambda a, b: a),
            (['c.beqz a0, 1f', 'c.li a0, 7', 'c.j 2f', '1: c.li a0, 9', '2:'],
             lambda a, b: 7 if a else 9),
            (['c.bnez a0, 1f', 'c.li a0, 7', 'c.j 2f', '1: c.li a0, 9', '2:'],
             lambda a, b: 9 if a else 7),
            (['c.mv t1, ra', 'la t0, 1f', 'c.jalr t0', 'c.j 2f', '1: c.addi a0, 1', 'c.jr ra',
              '2: c.mv ra, t1'], lambda a, b: a + 1)]:
        fn = out.function('.option push', '.option rvc', *lines, '.option pop')
        rows += [(fn, a, b, f(a, b)) for a, b in zip([0] + values(5), values(6))]
    out.op('compressed', rows)


# ---- floating point ----------------------------------------------------------------------------
NX, UF, OF, DZ, NV = 1, 2, 4, 8, 16
RNE, RTZ, RDN, RUP, RMM = range(5)
RM_NAMES = ['rne', 'rtz', 'rdn', 'rup', 'rmm']


class Format:
    def __init__(self, suffix, width, fraction):
        self.suffix, self.width, self.fraction = suffix, width, fraction
        self.bias = (1 << width - fraction - 2) - 1
        self.emin, self.emax, self.p = 1 - self.bias, self.bias, fraction + 1
        self.max_exp = (1 << width - fraction - 1) - 1
        self.nan = self.max_exp << fraction | 1 << fraction - 1
        self.inf = self.max_exp << fraction
        self.sign = 1 << width - 1
        self.box = M64 >> width << width if width < 64 else 0


H, S, D = Format('h', 16, 10), Format('s', 32, 23), Format('d', 64, 52)
FORMATS = {'h': H, 's': S, 'd': D}


def fields(f, v):
    return v >> f.width - 1, v >> f.fraction & f.max_exp, v & (1 << f.fraction) - 1


def is_nan(f, v):
    _, e, m = fields(f, v)
    return e == f.max_exp and m != 0


def is_snan(f, v):
    return is_nan(f, v) and not v >> f.fraction - 1 & 1


def is_inf(f, v):
    return v & ~f.sign == f.inf


def number(f, v):
    s, e, m = fields(f, v)
    n = Fraction(m if e == 0 else m | 1 << f.fraction)
    n *= Fraction(2) ** (max(e, 1) - f.bias - f.fraction)
    return -n if s else n


def round_int(q, negative, rm):
    """A Fraction >= 0 to an integer; and whether it was exact."""
    n = q.numerator // q.denominator
    rest = q - n
    up = {RNE: rest > Fraction(1, 2) or (rest == Fraction(1, 2) and n & 1),
          RTZ: False, RDN: negative and rest > 0, RUP: not negative and rest > 0,
          RMM: rest >= Fraction(1, 2)}[rm]
    return n + (1 if up else 0), rest != 0


def log2(m):
    e = m.numerator.bit_length() - m.denominator.bit_length()
    return e if Fraction(2) ** e <= m else e - 1


def round_to(f, x, rm):
    """x is not 0."""
    neg, m = x < 0, abs(x)
    sign = f.sign if neg else 0
    e = log2(m)
    n, _ = round_int(m / Fraction(2) ** (e - f.p + 1), neg, rm)
    tiny = (e + 1 if n == 1 << f.p else e) < f.emin
    q = max(e, f.emin) - f.p + 1
    n, inexact = round_int(m / Fraction(2) ** q, neg, rm)
    if n == 1 << f.p:
        n, q = n >> 1, q + 1
    if n and q + f.p - 1 > f.emax and n >= 1 << f.p - 1:
        to_inf = rm in (RNE, RMM) or rm == (RDN if neg else RUP)
        return sign | (f.inf if to_inf else f.inf - 1), OF | NX
    flags = (NX if inexact else 0) | (UF if inexact and tiny else 0)
    if n < 1 << f.p - 1:
        return sign | n, flags
    return sign | (q + f.p - 1 + f.bias) << f.fraction | n & (1 << f.fraction) - 1, flags


def zero(f, negative):
    return f.sign if negative else 0


def snan_flag(f, *vs):
    return NV if any(is_snan(f, v) for v in vs) else 0


def fadd(f, rm, a, b):
    if is_nan(f, a) or is_nan(f, b):
        return f.nan, snan_flag(f, a, b)
    if is_inf(f, a) and is_inf(f, b):
        return (a, 0) if a == b else (f.nan, NV)
    if is_inf(f, a) or is_inf(f, b):
        return (a if is_inf(f, a) else b), 0
    x = number(f, a) + number(f, b)
    if x == 0:
        sa, sb = a >> f.width - 1, b >> f.width - 1
        both_zero = number(f, a) == 0
        return zero(f, sa if both_zero and sa == sb else rm == RDN), 0
    return round_to(f, x, rm)


def fsub(f, rm, a, b):
    return fadd(f, rm, a, b if is_nan(f, b) else b ^ f.sign)


def fmul(f, rm, a, b):
    if is_nan(f, a) or is_nan(f, b):
        return f.nan, snan_flag(f, a, b)
    neg = (a ^ b) & f.sign
    if is_inf(f, a) or is_inf(f, b):
        other = b if is_inf(f, a) else a
        return (f.nan, NV) if other & ~f.sign == 0 else (neg | f.inf, 0)
    x = number(f, a) * number(f, b)
    return (neg, 0) if x == 0 else round_to(f, x, rm)


def fdiv(f, rm, a, b):
    if is_nan(f, a) or is_nan(f, b):
        return f.nan, snan_flag(f, a, b)
    neg = (a ^ b) & f.sign
    za, zb = a & ~f.sign == 0, b & ~f.sign == 0
    if (is_inf(f, a) and is_inf(f, b)) or (za and zb):
        return f.nan, NV
    if is_inf(f, a):
        return neg | f.inf, 0
    if zb:
        return neg | f.inf, DZ
    if is_inf(f, b) or za:
        return neg, 0
    return round_to(f, number(f, a) / number(f, b), rm)


def fsqrt(f, rm, a, b=0):
    if is_nan(f, a):
        return f.nan, snan_flag(f, a)
    if a & ~f.sign == 0 or a == f.inf:
        return a, 0
    if a & f.sign:
        return f.nan, NV
    x = number(f, a)
    k = 600
    scaled = x * Fraction(2) ** (2 * k)
    n = isqrt(scaled.numerator // scaled.denominator)
    root = Fraction(n)
    if root * root != scaled:
        root += Fraction(1, 2)
    return round_to(f, root / Fraction(2) ** k, rm)


def fma(negate_product, negate_addend):
    def run(f, rm, a, b, c):
        inf_zero = (is_inf(f, a) and b & ~f.sign == 0) or (is_inf(f, b) and a & ~f.sign == 0)
        if is_nan(f, a) or is_nan(f, b) or is_nan(f, c):
            return f.nan, snan_flag(f, a, b, c) | (NV if inf_zero else 0)
        if inf_zero:
            return f.nan, NV
        p_sign = (a ^ b) & f.sign
        if negate_product:
            p_sign ^= f.sign
        if negate_addend:
            c ^= f.sign
        if is_inf(f, a) or is_inf(f, b):
            return (f.nan, NV) if is_inf(f, c) and c & f.sign != p_sign else (p_sign | f.inf, 0)
        if is_inf(f, c):
            return c, 0
        p = abs(number(f, a) * number(f, b))
        p = -p if p_sign else p
        x = p + number(f, c)
        if x == 0:
            both = p == 0 and p_sign == c & f.sign
            return zero(f, bool(p_sign) if both else rm == RDN), 0
        return round_to(f, x, rm)
    return run


def order(f, v):
    return (Fraction(10) ** 6000 if is_inf(f, v) else abs(number(f, v))) * (-1 if v & f.sign else 1)


def fminmax(pick_max):
    def run(f, rm, a, b):
        flags = snan_flag(f, a, b)
        if is_nan(f, a) and is_nan(f, b):
            return f.nan, flags
        if is_nan(f, a) or is_nan(f, b):
            return (b if is_nan(f, a) else a), flags
        x, y = order(f, a), order(f, b)
        if x == y:
            return (a & b if pick_max else a | b), flags
        return (a if (x > y) == pick_max else b), flags
    return run


def fcompare(test, quiet):
    def run(f, rm, a, b):
        if is_nan(f, a) or is_nan(f, b):
            return 0, snan_flag(f, a, b) if quiet else NV
        return int(test(order(f, a), order(f, b))), 0
    return run


def fclass(f, rm, a, b=0):
    s, e, m = fields(f, a)
    if is_nan(f, a):
        return 1 << (8 if is_snan(f, a) else 9), 0
    if is_inf(f, a):
        return 1 << (0 if s else 7), 0
    if e:
        return 1 << (1 if s else 6), 0
    return 1 << ((2 if s else 5) if m else (3 if s else 4)), 0


def to_int(width, signed):
    low, high = (-(1 << width - 1), (1 << width - 1) - 1) if signed else (0, (1 << width) - 1)

    def run(f, rm, a, b=0):
        ext = lambda v: sx(v, width) & M64
        if is_nan(f, a):
            return ext(high), NV
        if is_inf(f, a):
            return ext(low if a & f.sign else high), NV
        x = number(f, a)
        n, inexact = round_int(abs(x), x < 0, rm)
        n = -n if x < 0 else n
        if n < low or n > high:
            return ext(low if n < low else high), NV
        return ext(n), NX if inexact else 0
    return run


def from_int(width, signed):
    def run(f, rm, a, b=0):
        n = sx(a, width) if signed else a & (1 << width) - 1
        return round_to(f, Fraction(n), rm) if n else (0, 0)
    return run


def convert(source):
    def run(f, rm, a, b=0):
        if is_nan(source, a):
            return f.nan, snan_flag(source, a)
        s = f.sign if a & source.sign else 0
        if is_inf(source, a):
            return s | f.inf, 0
        x = number(source, a)
        return (s, 0) if x == 0 else round_to(f, x, rm)
    return run


def float_values(f, n):
    one = f.bias << f.fraction
    corners = [0, 1, 2, (1 << f.fraction) - 1, 1 << f.fraction, one, one + 1, one - 1, f.inf,
               f.inf - 1, f.nan, f.nan | 1, f.inf | 1, one | 1 << f.fraction - 1,
               f.bias + f.fraction << f.fraction, f.bias + f.fraction - 1 << f.fraction | 1,
               (f.bias - 1) << f.fraction, f.bias + 1 << f.fraction, min(f.bias + 31, f.max_exp - 1) << f.fraction,
               min(f.bias + 63, f.max_exp - 1) << f.fraction,
               min(f.bias + 30, f.max_exp - 1) << f.fraction | (1 << f.fraction) - 1]
    out = []
    for _ in range(n):
        r = random.random()
        if r < .5:
            v = random.choice(corners) | random.choice([0, f.sign])
        elif r < .75:  # near one, where sums cancel and products are inexact
            e = f.bias + random.randint(-min(f.fraction, 12), min(f.fraction, 12))
            v = random.getrandbits(1) * f.sign | e << f.fraction | random.getrandbits(f.fraction)
        elif r < .85:  # few bits set, where ties are
            e = random.randint(0, f.max_exp - 1)
            v = random.getrandbits(1) * f.sign | e << f.fraction | random.choice([0, 1, 3]) << random.randint(0, f.fraction - 2)
        else:
            v = random.getrandbits(f.width)
        out.append(v)
    return out


def boxed(f, v):
    """As the register holds it; now and then not boxed, which reads as NaN."""
    if f.width == 64 or random.random() > .04:
        return v | f.box, v
    return v | random.getrandbits(64 - f.width - 1) << f.width, f.nan


def float_rows(out, name, f, source, run, n_operands, int_in=False, int_out=False, rounds=True,
               count=60):
    """Rows: function, a, b, c, frm, result, flags."""
    def function(rm):
        lines, regs = [], ['fa0', 'fa1', 'fa2'][:n_operands]
        if int_in:
            regs = ['a0']
        else:
            lines += [f'fmv.d.x fa{i}, a{i}' for i in range(n_operands)]
        to = 'a0' if int_out else 'fa0'
        lines.append(f'{name} {to}, {", ".join(regs)}' + (f', {rm}' if rm else ''))
        if not int_out:
            lines.append('fmv.x.d a0, fa0')
        return out.function(*lines)

    dynamic = function('dyn' if rounds else None)
    static = [function(rm) for rm in RM_NAMES] if rounds else []
    rows = []
    for i in range(count):
        if int_in:
            regs = vals = [random.choice(CORNERS) if random.random() < .5 else
                           random.getrandbits(random.randint(1, 64)), 0, 0]
        else:
            pairs = [boxed(source, v) for v in float_values(source, 3)]
            regs, vals = [p[0] for p in pairs], [p[1] for p in pairs]
        if i % 7 == 0 and n_operands > 1:
            regs[1], vals[1] = regs[0], vals[0]
        frm = random.randint(0, 4) if rounds else 0
        rm, fn = frm, dynamic
        if rounds and i % 3 == 0:
            rm = random.randint(0, 4)
            fn = static[rm]
        result, flags = run(f, rm, *vals[:max(n_operands, 1)])
        rows.append((fn, *(regs + [0, 0, 0])[:3], frm, result if int_out else result | f.box, flags))
    out.op(name, rows)


def write_float(which):
    out = Writer()
    for f in [FORMATS[c] for c in which]:
        s = f.suffix
        for name, run in [('fadd', fadd), ('fsub', fsub), ('fmul', fmul), ('fdiv', fdiv)]:
            float_rows(out, f'{name}.{s}', f, f, run, 2, count=150)
        float_rows(out, f'fsqrt.{s}', f, f, fsqrt, 1, count=100)
        for name, p, a in [('fmadd', 0, 0), ('fmsub', 0, 1), ('fnmsub', 1, 0), ('fnmadd', 1, 1)]:
            float_rows(out, f'{name}.{s}', f, f, fma(p, a), 3, count=150)
        for name, run in [('fmin', fminmax(False)), ('fmax', fminmax(True))]:
            float_rows(out, f'{name}.{s}', f, f, run, 2, rounds=False)
        for name, run in [('feq', fcompare(lambda a, b: a == b, True)),
                          ('flt', fcompare(lambda a, b: a < b, False)),
                          ('fle', fcompare(lambda a, b: a <= b, False))]:
            float_rows(out, f'{name}.{s}', f, f, run, 2, int_out=True, rounds=False)
        float_rows(out, f'fclass.{s}', f, f, fclass, 1, int_out=True, rounds=False)
        for name, sign in [('fsgnj', lambda f, a, b: b & f.sign), ('fsgnjn', lambda f, a, b: ~b & f.sign),
                           ('fsgnjx', lambda f, a, b: (a ^ b) & f.sign)]:
            float_rows(out, f'{name}.{s}', f, f,
                       lambda f, rm, a, b, sign=sign: (a & ~f.sign | sign(f, a, b), 0), 2, rounds=False)
        for kind, width, signed in [('w', 32, True), ('wu', 32, False), ('l', 64, True), ('lu', 64, False)]:
            float_rows(out, f'fcvt.{kind}.{s}', f, f, to_int(width, signed), 1, int_out=True, count=100)
            exact = s == 'd' and width == 32
            float_rows(out, f'fcvt.{s}.{kind}', f, None, from_int(width, signed), 1, int_in=True,
                       rounds=not exact, count=80)
        for t in which:
            if t != s:
                to = FORMATS[t]
                float_rows(out, f'fcvt.{t}.{s}', to, f, convert(f), 1, rounds=to.width < f.width,
                           count=100)
        move = {'s': 'w', 'd': 'd', 'h': 'h'}[s]
        fn = out.function('fmv.d.x fa0, a0', f'fmv.x.{move} a0, fa0')
        out.op(f'fmv.x.{move}', [(fn, v, 0, 0, 0, sx(v, f.width), 0) for v in values(20)])
        fn = out.function(f'fmv.{move}.x fa0, a0', 'fmv.x.d a0, fa0')
        out.op(f'fmv.{move}.x', [(fn, v, 0, 0, 0, v & (1 << f.width) - 1 | f.box, 0) for v in values(20)])
        m = {'s': 'w', 'd': 'd', 'h': 'h'}[s]
        fn = out.function('addi sp, sp, -16', 'sd a1, (sp)', 'fmv.d.x fa0, a0', f'fs{m} fa0, (sp)',
                          f'fl{m} fa1, (sp)', 'ld a1, (sp)', 'fmv.x.d a0, fa1', 'xor a0, a0, a1',
                          'addi sp, sp, 16')
        low = (1 << f.width) - 1
        out.op(f'fs{m}, fl{m}', [(fn, a, b, 0, 0, (a & low | f.box) ^ (b & ~low | a & low), 0)
                                 for a, b in zip(values(20), values(20))])
    out.write()


if __name__ == '__main__':
    if sys.argv[1] == 'integer':
        write_integer()
    else:
        write_float(sys.argv[2] if len(sys.argv) > 2 else 'sd')
