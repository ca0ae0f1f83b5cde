/* The algorithms that the instructions are for, written with them, on their standards' examples;
 * carry-less products and permutations against plain bit loops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/util.h"
#include "target/riscv/riscv.h"
#include "tcg/tcg.h"

static uint64_t random_state = 88172645463325252u;

static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static uint64_t reverse64(uint64_t v)
{
    uint64_t r = 0;
    for (int i = 0; i < 64; i++)
        r |= (v >> i & 1) << (63 - i);
    return r;
}

static void clmul_is_polynomial_multiplication(void **unused)
{
    assert_int_equal(rvh_clmul(3, 3), 5);
    assert_int_equal(rvh_clmulh(UINT64_C(1) << 63, 2), 1);
    for (int n = 0; n < 1000; n++) {
        uint64_t a = random_u64(), b = random_u64(), low = 0, high = 0;
        for (int i = 0; i < 64; i++)
            for (int j = 0; j < 64; j++)
                if (a >> i & b >> j & 1)
                    *(i + j < 64 ? &low : &high) ^= UINT64_C(1) << ((i + j) & 63);
        assert_int_equal(rvh_clmul(a, b), low);
        assert_int_equal(rvh_clmulh(a, b), high);
        assert_int_equal(rvh_clmulr(a, b), reverse64(rvh_clmul(reverse64(a), reverse64(b))));
    }
}

static void bytes_are_gathered_and_reversed(void **unused)
{
    assert_int_equal(rvh_orc_b(0x0100800000ff0010), 0xff00ff0000ff00ff);
    assert_int_equal(rvh_orc_b(0), 0);
    assert_int_equal(rvh_brev8(0x0102048001030f55), 0x8040200180c0f0aa);
    for (int n = 0; n < 100; n++) {
        uint64_t a = random_u64();
        assert_int_equal(rvh_brev8(a), __builtin_bswap64(reverse64(a)));
    }
}

static void xperm_looks_up_lanes(void **unused)
{
    uint64_t table = 0xfedcba9876543210;
    assert_int_equal(rvh_xperm4(table, table), table);
    assert_int_equal(rvh_xperm4(table, 0x0123456789abcdef), 0x0123456789abcdef);
    assert_int_equal(rvh_xperm4(0x00000000000000a0, 0x1111000011110101), 0xaaaa0000aaaa0a0a);
    assert_int_equal(rvh_xperm8(table, 0x0001020304050607), 0x1032547698badcfe);
    assert_int_equal(rvh_xperm8(table, 0x08ff8007f0000110), 0x000000fe00103200);
}

/* A block of bytes as the two registers that an RV64 program loads it into. */
struct block {
    uint64_t lo, hi;
};

static uint64_t doubleword(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static struct block block_from(const uint8_t *p)
{
    return (struct block){ doubleword(p), doubleword(p + 8) };
}

static struct block xor_blocks(struct block a, struct block b)
{
    return (struct block){ a.lo ^ b.lo, a.hi ^ b.hi };
}

/* Round keys for a key of n doublewords (2, 3, 4: AES-128, 192, 256). */
static void aes_expand(const uint8_t *key, int n, uint64_t keys[30])
{
    for (int i = 0; i < n; i++)
        keys[i] = doubleword(key + 8 * i);
    for (int i = n; i < 2 * (2 * n + 7); i++) {
        uint64_t previous = keys[i - 1];
        if (i % n == 0)
            previous = rvh_aes64ks1i(previous, i / n - 1);
        else if (n == 4 && i % n == 2)
            previous = rvh_aes64ks1i(previous, 10);
        keys[i] = rvh_aes64ks2(previous, keys[i - n]);
    }
}

static struct block aes_encrypt(const uint64_t *keys, int rounds, struct block s)
{
    for (int i = 0; i < rounds; i++) {
        s = xor_blocks(s, (struct block){ keys[2 * i], keys[2 * i + 1] });
        s = i + 1 < rounds ? (struct block){ rvh_aes64esm(s.lo, s.hi), rvh_aes64esm(s.hi, s.lo) }
                           : (struct block){ rvh_aes64es(s.lo, s.hi), rvh_aes64es(s.hi, s.lo) };
    }
    return xor_blocks(s, (struct block){ keys[2 * rounds], keys[2 * rounds + 1] });
}

/* The equivalent inverse cipher (FIPS-197, 5.3.5): inner round keys go through aes64im. */
static struct block aes_decrypt(const uint64_t *keys, int rounds, struct block s)
{
    s = xor_blocks(s, (struct block){ keys[2 * rounds], keys[2 * rounds + 1] });
    for (int i = rounds - 1; i > 0; i--) {
        s = (struct block){ rvh_aes64dsm(s.lo, s.hi), rvh_aes64dsm(s.hi, s.lo) };
        s = xor_blocks(s, (struct block){ rvh_aes64im(keys[2 * i]), rvh_aes64im(keys[2 * i + 1]) });
    }
    s = (struct block){ rvh_aes64ds(s.lo, s.hi), rvh_aes64ds(s.hi, s.lo) };
    return xor_blocks(s, (struct block){ keys[0], keys[1] });
}

/* FIPS-197, appendix C */
static void aes_matches_fips_197(void **unused)
{
    static const uint8_t cipher[3][16] = {
        { 0x69, 0xc4, 0xe0, 0xd8, 0x6a, 0x7b, 0x04, 0x30, 0xd8, 0xcd, 0xb7, 0x80, 0x70, 0xb4, 0xc5,
          0x5a },
        { 0xdd, 0xa9, 0x7c, 0xa4, 0x86, 0x4c, 0xdf, 0xe0, 0x6e, 0xaf, 0x70, 0xa0, 0xec, 0x0d, 0x71,
          0x91 },
        { 0x8e, 0xa2, 0xb7, 0xca, 0x51, 0x67, 0x45, 0xbf, 0xea, 0xfc, 0x49, 0x90, 0x4b, 0x49, 0x60,
          0x89 },
    };
    uint8_t key[32], plain[16];
    for (int i = 0; i < 32; i++)
        key[i] = i;
    for (int i = 0; i < 16; i++)
        plain[i] = 0x11 * i;

    for (int n = 2; n <= 4; n++) {
        uint64_t keys[30];
        aes_expand(key, n, keys);
        struct block want = block_from(cipher[n - 2]), start = block_from(plain);
        struct block got = aes_encrypt(keys, 2 * n + 6, start);
        assert_memory_equal(&got, &want, sizeof(got));
        got = aes_decrypt(keys, 2 * n + 6, got);
        assert_memory_equal(&got, &start, sizeof(got));
    }
}

/* FIPS-197, appendix A.1 */
static void aes_key_schedule_matches_fips_197(void **unused)
{
    static const uint8_t key[16] = { 0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6,
                                     0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c };
    uint64_t keys[30];
    aes_expand(key, 2, keys);
    assert_int_equal(keys[2], __builtin_bswap64(0xa0fafe1788542cb1));
    assert_int_equal(keys[21], __builtin_bswap64(0xe13f0cc8b6630ca6));
}

static uint32_t rotl(uint32_t v, int n)
{
    return n & 31 ? v << (n & 31) | v >> (32 - (n & 31)) : v;
}

/* The first 64 bits of the fractional part of the root of the nth prime, degree 2 or 3. */
static uint64_t root_fraction(int n, int degree)
{
    unsigned prime = 1;
    while (n >= 0) {
        prime++;
        bool composite = false;
        for (unsigned d = 2; d * d <= prime; d++)
            composite |= prime % d == 0;
        n -= !composite;
    }
    /* Bit by bit: the largest r with r^degree <= prime * 2^(64 * degree), r < 2^69. Compare by
     * schoolbook products of 23-bit digits. */
    unsigned __int128 root = 0;
    for (int bit = 68; bit >= 0; bit--) {
        unsigned __int128 r = root | (unsigned __int128)1 << bit;
        uint32_t digits[12] = { 1 };
        for (int i = 0; i < degree; i++) {
            uint32_t next[12] = { 0 };
            for (int j = 0; j < 3; j++) {
                uint64_t carry = 0, factor = (uint64_t)(r >> 23 * j) & 0x7fffff;
                for (int k = 0; j + k < 12; k++) {
                    carry += next[j + k] + factor * digits[k];
                    next[j + k] = carry & 0x7fffff;
                    carry >>= 23;
                }
            }
            memcpy(digits, next, sizeof(digits));
        }
        unsigned __int128 whole = 0; /* the power's integer part, above bit 64 * degree */
        for (int k = 11; k >= 0; k--)
            if (23 * k >= 64 * degree)
                whole |= (unsigned __int128)digits[k] << (23 * k - 64 * degree);
            else if (23 * (k + 1) > 64 * degree)
                whole |= digits[k] >> (64 * degree - 23 * k);
        if (whole < prime)
            root = r;
    }
    return root;
}

/* FIPS 180-4 */
static void sha256_of_abc(void **unused)
{
    uint32_t h[8], v[8], w[64] = { [0] = 0x61626380, [15] = 24 };
    for (int i = 0; i < 8; i++)
        v[i] = h[i] = root_fraction(i, 2) >> 32;
    for (int i = 16; i < 64; i++)
        w[i] = rvh_sha256sig1(w[i - 2]) + w[i - 7] + rvh_sha256sig0(w[i - 15]) + w[i - 16];
    for (int i = 0; i < 64; i++) {
        uint32_t t1 = v[7] + rvh_sha256sum1(v[4]) + ((v[4] & v[5]) ^ (~v[4] & v[6])) +
                      (uint32_t)(root_fraction(i, 3) >> 32) + w[i];
        uint32_t t2 = rvh_sha256sum0(v[0]) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof(v[0]));
        v[0] = t1 + t2;
        v[4] += t1;
    }
    assert_int_equal((uint32_t)(h[0] + v[0]), 0xba7816bf);
    assert_int_equal((uint32_t)(h[7] + v[7]), 0xf20015ad);
}

static void sha512_of_abc(void **unused)
{
    uint64_t h[8], v[8], w[80] = { [0] = 0x6162638000000000, [15] = 24 };
    for (int i = 0; i < 8; i++)
        v[i] = h[i] = root_fraction(i, 2);
    for (int i = 16; i < 80; i++)
        w[i] = rvh_sha512sig1(w[i - 2]) + w[i - 7] + rvh_sha512sig0(w[i - 15]) + w[i - 16];
    for (int i = 0; i < 80; i++) {
        uint64_t t1 = v[7] + rvh_sha512sum1(v[4]) + ((v[4] & v[5]) ^ (~v[4] & v[6])) +
                      root_fraction(i, 3) + w[i];
        uint64_t t2 = rvh_sha512sum0(v[0]) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof(v[0]));
        v[0] = t1 + t2;
        v[4] += t1;
    }
    assert_int_equal(h[0] + v[0], 0xddaf35a193617aba);
    assert_int_equal(h[7] + v[7], 0x2a9ac94fa54ca49f);
}

/* GB/T 32905-2016, example 1 */
static void sm3_of_abc(void **unused)
{
    static const uint32_t h[8] = { 0x7380166f, 0x4914b2b9, 0x172442d7, 0xda8a0600,
                                   0xa96f30bc, 0x163138aa, 0xe38dee4d, 0xb0fb0e4e };
    uint32_t w[68] = { [0] = 0x61626380, [15] = 24 }, v[8];
    memcpy(v, h, sizeof(v));
    for (int i = 16; i < 68; i++)
        w[i] = rvh_sm3p1(w[i - 16] ^ w[i - 9] ^ rotl(w[i - 3], 15)) ^ rotl(w[i - 13], 7) ^ w[i - 6];
    for (int i = 0; i < 64; i++) {
        uint32_t t = i < 16 ? 0x79cc4519 : 0x7a879d8a;
        uint32_t s1 = rotl(rotl(v[0], 12) + v[4] + rotl(t, i), 7), s2 = s1 ^ rotl(v[0], 12);
        uint32_t f = i < 16 ? v[0] ^ v[1] ^ v[2] : (v[0] & v[1]) | (v[0] & v[2]) | (v[1] & v[2]);
        uint32_t g = i < 16 ? v[4] ^ v[5] ^ v[6] : (v[4] & v[5]) | (~v[4] & v[6]);
        uint32_t t1 = f + v[3] + s2 + (w[i] ^ w[i + 4]), t2 = g + v[7] + s1 + w[i];
        memcpy(v,
               (uint32_t[]){ t1, v[0], rotl(v[1], 9), v[2], rvh_sm3p0(t2), v[4], rotl(v[5], 19),
                             v[6] },
               sizeof(v));
    }
    assert_int_equal(h[0] ^ v[0], 0x66c7f0f4);
    assert_int_equal(h[7] ^ v[7], 0x8f4ba8e0);
}

static uint32_t sm4_step(uint64_t (*insn)(uint64_t, uint64_t, uint64_t), uint32_t word, uint32_t in)
{
    uint64_t x = word;
    for (int bs = 0; bs < 4; bs++)
        x = insn(x, in, bs);
    assert_int_equal((int64_t)x, (int32_t)x);
    return x;
}

/* GB/T 32907-2016, example 1: the text is the key. Registers hold words with bytes reversed. */
static void sm4_matches_its_standard(void **unused)
{
    static const uint32_t fk[4] = { 0xa3b1bac6, 0x56aa3350, 0x677d9197, 0xb27022dc };
    static const uint32_t want[4] = { 0x681edf34, 0xd206965e, 0x86b3e94f, 0x536e4246 };
    uint32_t x[36] = { 0x01234567, 0x89abcdef, 0xfedcba98, 0x76543210 }, k[36];
    for (int i = 0; i < 4; i++) {
        k[i] = __builtin_bswap32(x[i] ^ fk[i]);
        x[i] = __builtin_bswap32(x[i]);
    }
    for (int i = 0; i < 32; i++) {
        uint32_t ck = 0; /* byte j is 7 * (4i + j) mod 256 */
        for (int j = 0; j < 4; j++)
            ck |= (uint32_t)(uint8_t)(7 * (4 * i + j)) << 8 * j;
        k[i + 4] = sm4_step(rvh_sm4ks, k[i], k[i + 1] ^ k[i + 2] ^ k[i + 3] ^ ck);
        x[i + 4] = sm4_step(rvh_sm4ed, x[i], x[i + 1] ^ x[i + 2] ^ x[i + 3] ^ k[i + 4]);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(__builtin_bswap32(x[35 - i]), want[i]);
}

static void word_results_are_sign_extended(void **unused)
{
    assert_int_equal(rvh_sha256sum0(UINT64_C(0x1234567800000002)), UINT64_C(0xffffffff80100800));
    assert_int_equal(rvh_sm3p0(0x80000000), UINT64_C(0xffffffff80010100));
}

/* ---- what the instructions are translated to -------------------------------------------------------------- */

enum { RAM = 0x40000000, WFI = 0x10500073, RS1 = 10, RS2 = 11, RD = 12 };

static void must(struct error *err)
{
    if (err)
        fail_msg("%s", error_text(err));
}

static struct vcpu *machine_new(const struct backend *b)
{
    struct mem_region *ram;
    struct vcpu *cpu;
    struct vm *vm;
    char options[32] = "backend=";
    must(vm_new(&vm));
    vm->accel = &tcg_accel;
    vm->target = &riscv64_target;
    must(riscv64_target.cpu_model(vm, "max"));
    must(tcg_accel.vm_create(vm, strcat(options, b->name)));
    must(mem_add_ram(vm, "ram", 1 * MIB, false, &ram));
    mem_map(ram, RAM, 0);
    must(vcpu_new(vm, 0, &cpu));
    cpu->requests = 0;
    return cpu;
}

/* rd of the instruction at `at`, which WFI follows. */
static uint64_t executed(struct vcpu *cpu, uint64_t at, uint64_t a, uint64_t b)
{
    struct riscv_cpu *r = riscv_of(cpu);
    riscv64_target.vcpu_reset(cpu);
    riscv_place(cpu, at, a, b);
    riscv64_target.vcpu_loaded(cpu);
    tcg_accel.set_state(cpu);
    enum vcpu_exit exit = EXIT_KICKED;
    for (unsigned k = 0; k < 4 && exit == EXIT_KICKED; k++)
        exit = tcg_accel.run(cpu);
    assert_int_equal(r->pc, at + 8);
    return r->x[RD];
}

#define R_TYPE(funct7, funct3) \
    ((funct7) << 25 | RS2 << 20 | RS1 << 15 | (funct3) << 12 | RD << 7 | 0x33)
#define I_TYPE(imm, funct3) ((imm) << 20 | RS1 << 15 | (funct3) << 12 | RD << 7 | 0x13)

static void instructions_give_what_their_functions_give(void **unused)
{
    static const struct {
        uint32_t word;
        uint64_t (*one)(uint64_t a);
        uint64_t (*two)(uint64_t a, uint64_t b);
    } all[] = {
        { R_TYPE(0x19, 0), .two = rvh_aes64es },     { R_TYPE(0x1b, 0), .two = rvh_aes64esm },
        { R_TYPE(0x1d, 0), .two = rvh_aes64ds },     { R_TYPE(0x1f, 0), .two = rvh_aes64dsm },
        { R_TYPE(0x3f, 0), .two = rvh_aes64ks2 },    { R_TYPE(0x05, 1), .two = rvh_clmul },
        { R_TYPE(0x05, 3), .two = rvh_clmulh },      { R_TYPE(0x05, 2), .two = rvh_clmulr },
        { R_TYPE(0x14, 2), .two = rvh_xperm4 },      { R_TYPE(0x14, 4), .two = rvh_xperm8 },
        { I_TYPE(0x300, 1), .one = rvh_aes64im },    { I_TYPE(0x687, 5), .one = rvh_brev8 },
        { I_TYPE(0x100, 1), .one = rvh_sha256sum0 }, { I_TYPE(0x101, 1), .one = rvh_sha256sum1 },
        { I_TYPE(0x102, 1), .one = rvh_sha256sig0 }, { I_TYPE(0x103, 1), .one = rvh_sha256sig1 },
        { I_TYPE(0x104, 1), .one = rvh_sha512sum0 }, { I_TYPE(0x105, 1), .one = rvh_sha512sum1 },
        { I_TYPE(0x106, 1), .one = rvh_sha512sig0 }, { I_TYPE(0x107, 1), .one = rvh_sha512sig1 },
        { I_TYPE(0x108, 1), .one = rvh_sm3p0 },      { I_TYPE(0x109, 1), .one = rvh_sm3p1 },
    };
    for (size_t k = 0; k < n_backends; k++) {
        struct vcpu *cpu = machine_new(backends[k]);
        for (size_t i = 0; i < ARRAY_LEN(all); i++) {
            uint8_t code[8];
            store_le(code, 4, all[i].word);
            store_le(code + 4, 4, WFI);
            assert_true(mem_write(cpu->vm, RAM + 64 * i, code, sizeof(code)));
            for (unsigned n = 0; n < 20; n++) {
                uint64_t a = random_u64(), b = random_u64();
                uint64_t want = all[i].one ? all[i].one(a) : all[i].two(a, b);
                assert_int_equal(executed(cpu, RAM + 64 * i, a, b), want);
            }
        }
        vm_free(cpu->vm);
    }
}

int main(void)
{
    const struct CMUnitTest facts[] = {
        cmocka_unit_test(clmul_is_polynomial_multiplication),
        cmocka_unit_test(bytes_are_gathered_and_reversed),
        cmocka_unit_test(xperm_looks_up_lanes),
        cmocka_unit_test(aes_matches_fips_197),
        cmocka_unit_test(aes_key_schedule_matches_fips_197),
        cmocka_unit_test(sha256_of_abc),
        cmocka_unit_test(sha512_of_abc),
        cmocka_unit_test(sm3_of_abc),
        cmocka_unit_test(sm4_matches_its_standard),
        cmocka_unit_test(word_results_are_sign_extended),
        cmocka_unit_test(instructions_give_what_their_functions_give),
    };
    return cmocka_run_group_tests(facts, NULL, NULL);
}
