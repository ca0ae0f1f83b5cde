/* gbench: one static multi-call binary holding every small workload.
 *   gbench run NAME CMD...   time CMD with CLOCK_MONOTONIC, print protocol lines
 *   gbench KERNEL [COUNT]    run one kernel; it prints a checksum to stdout
 * Protocol on the console, one line each (the host stamps both on arrival):
 *   BENCH-START NAME
 *   BENCH NAME seconds status cpu-seconds
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline))

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void die(const char *what)
{
    fprintf(stderr, "gbench: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint32_t rng_state = 12345;
static uint32_t rng(void)
{
    uint32_t x = rng_state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return rng_state = x;
}

/* ---- integer: list, matrix, state machine, CRC (CoreMark-like) ---------- */

struct node {
    struct node *next;
    int16_t key;
    uint16_t val;
};

static NOINLINE struct node *list_sort(struct node *head)
{
    if (!head || !head->next)
        return head;
    struct node *slow = head, *fast = head->next;
    while (fast && fast->next) {
        slow = slow->next;
        fast = fast->next->next;
    }
    struct node *b = list_sort(slow->next);
    slow->next = NULL;
    struct node *a = list_sort(head), *out = NULL, **tail = &out;
    while (a && b) {
        struct node **m = a->key <= b->key ? &a : &b;
        *tail = *m;
        tail = &(*m)->next;
        *m = (*m)->next;
    }
    *tail = a ? a : b;
    return out;
}

static NOINLINE uint16_t crc16(uint16_t crc, const uint8_t *p, size_t n)
{
    while (n--) {
        crc ^= *p++;
        for (int i = 0; i < 8; i++)
            crc = (crc >> 1) ^ (crc & 1 ? 0xA001 : 0);
    }
    return crc;
}

static NOINLINE int scan_number(const char **pp)
{
    enum { START, INT, FRAC, EXP, EXPNUM, BAD } st = START;
    const char *p = *pp;
    for (; *p && *p != ','; p++) {
        char c = *p;
        switch (st) {
        case START: st = (c >= '0' && c <= '9') || c == '-' ? INT : c == '.' ? FRAC : BAD; break;
        case INT: st = c >= '0' && c <= '9' ? INT : c == '.' ? FRAC : c == 'e' ? EXP : BAD; break;
        case FRAC: st = c >= '0' && c <= '9' ? FRAC : c == 'e' ? EXP : BAD; break;
        case EXP: st = c == '-' || (c >= '0' && c <= '9') ? EXPNUM : BAD; break;
        case EXPNUM: st = c >= '0' && c <= '9' ? EXPNUM : BAD; break;
        case BAD: break;
        }
    }
    *pp = *p ? p + 1 : p;
    return st;
}

static uint64_t k_int(long n)
{
    static struct node pool[256];
    static int16_t a[20][20], b[20][20];
    static int32_t c[20][20];
    static const char *text = "12,-3.5,4.25e9,hello,7e-3,.5,99999,1.2.3,8e,0.125e-2,-77,x1";
    uint16_t crc = 0xffff;
    for (long it = 0; it < n; it++) {
        struct node *h = NULL;
        for (int i = 0; i < 256; i++) {
            pool[i] = (struct node){ h, (int16_t)rng(), (uint16_t)i };
            h = &pool[i];
        }
        h = list_sort(h);
        for (struct node *p = h; p; p = p->next)
            crc += p->key ^ p->val;
        for (int i = 0; i < 20; i++)
            for (int j = 0; j < 20; j++) {
                a[i][j] = crc + i * j;
                b[i][j] = crc ^ (i + j);
            }
        for (int i = 0; i < 20; i++)
            for (int j = 0; j < 20; j++) {
                int32_t s = 0;
                for (int k = 0; k < 20; k++)
                    s += a[i][k] * b[k][j];
                c[i][j] = s;
            }
        for (int r = 0; r < 8; r++)
            for (const char *p = text; *p;)
                crc += scan_number(&p);
        crc = crc16(crc, (uint8_t *)c, sizeof c);
    }
    return crc;
}

/* ---- dhry: string and record handling through calls --------------------- */

struct rec {
    struct rec *link;
    int kind, num;
    char str[32];
};

static NOINLINE int d_cmp(const char *x, const char *y)
{
    return strcmp(x, y) > 0;
}
static NOINLINE void d_copy(struct rec *d, const struct rec *s)
{
    *d = *s;
    d->num += s->kind;
}
static NOINLINE int d_pick(int a, int b)
{
    return a > b ? a - b : b - a;
}

static uint64_t k_dhry(long n)
{
    struct rec r1 = { 0 }, r2 = { 0 };
    char s[32];
    int acc = 0;
    strcpy(r1.str, "GBENCH PROGRAM, SOME STRING");
    r1.link = &r2;
    for (long i = 0; i < n; i++) {
        strcpy(s, i & 1 ? "GBENCH PROGRAM, 1'ST STRING" : "GBENCH PROGRAM, 2'ND STRING");
        r1.kind = i & 7;
        d_copy(r1.link, &r1);
        acc += d_cmp(s, r1.str) + d_pick(acc, r2.num) / 3;
        switch (i % 5) {
        case 0: acc += r2.num; break;
        case 1: acc ^= r2.kind; break;
        case 2: acc -= d_pick(i, acc); break;
        case 3: acc = acc * 5 + 1; break;
        default: acc >>= 1;
        }
        memcpy(r2.str, s, sizeof s);
    }
    return acc;
}

/* ---- call/return and indirect branches ---------------------------------- */

static NOINLINE uint64_t fib(unsigned n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}
static uint64_t k_call(long n)
{
    return fib(n);
}

typedef uint64_t (*opfn)(uint64_t, uint64_t);
#define OP(name, expr)                                    \
    static NOINLINE uint64_t name(uint64_t a, uint64_t b) \
    {                                                     \
        return expr;                                      \
    }
/* clang-format off */
OP(op0, a + b)
OP(op1, a ^ b)
OP(op2, a - b)
OP(op3, a * 3 + b)
OP(op4, (a << 1) | (b & 1))
OP(op5, (a >> 1) + b)
OP(op6, a | b)
OP(op7, ~a + b)
/* clang-format on */

static uint64_t k_indirect(long n)
{
    static opfn volatile table[8] = { op0, op1, op2, op3, op4, op5, op6, op7 };
    uint64_t acc = 1;
    for (long i = 0; i < n; i++)
        acc = table[rng() & 7](acc, i);
    return acc;
}

/* ---- floating point ------------------------------------------------------ */

static uint64_t k_linpack(long n)
{
    enum { N = 200 };
    static double a[N][N], x[N];
    double sum = 0;
    while (n--) {
        for (int i = 0; i < N; i++) {
            for (int j = 0; j < N; j++)
                a[i][j] = (int)(rng() % 2001) / 1000.0 - 1.0;
            a[i][i] += 4;
            x[i] = i;
        }
        for (int k = 0; k < N; k++) {
            double inv = 1.0 / a[k][k];
            for (int i = k + 1; i < N; i++) {
                double f = a[i][k] * inv;
                for (int j = k; j < N; j++)
                    a[i][j] -= f * a[k][j];
                x[i] -= f * x[k];
            }
        }
        for (int i = N - 1; i >= 0; i--) {
            for (int j = i + 1; j < N; j++)
                x[i] -= a[i][j] * x[j];
            x[i] /= a[i][i];
            sum += x[i];
        }
    }
    return (uint64_t)(int64_t)(sum * 1e3);
}

static uint64_t k_whet(long n)
{
    volatile double vx = 0.75;
    double x = vx, y = 0.5, z = 0.25, acc = 0;
    for (long i = 0; i < n; i++) {
        x = (x + y + z) * 0.499975;
        y = (x + y - z) * 0.499975;
        z = (x - y + z) * 0.499975;
        acc += sin(x + i) * cos(y) + atan(z) + sqrt(fabs(x) + 1) + exp(-fabs(y)) + log(2 + fabs(z));
    }
    return (uint64_t)(acc * 1e3);
}

/* ---- memory -------------------------------------------------------------- */

static uint64_t k_stream(long n)
{
    size_t len = 2 << 20; /* three arrays of 16 MiB */
    double *a = malloc(len * 8), *b = malloc(len * 8), *c = malloc(len * 8);
    if (!a || !b || !c)
        die("malloc");
    for (size_t i = 0; i < len; i++) {
        a[i] = i;
        b[i] = 2;
        c[i] = 0;
    }
    while (n--)
        for (size_t i = 0; i < len; i++)
            c[i] = a[i] + 3.0 * b[i];
    return (uint64_t)c[len - 1];
}

static uint64_t chase(size_t bytes, size_t step, long n)
{
    size_t cnt = bytes / step;
    char *m = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint32_t *perm = malloc(cnt * 4);
    if (m == MAP_FAILED || !perm)
        die("chase");
    madvise(m, bytes, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < cnt; i++)
        perm[i] = i;
    for (size_t i = cnt - 1; i; i--) {
        size_t j = rng() % (i + 1);
        uint32_t t = perm[i];
        perm[i] = perm[j];
        perm[j] = t;
    }
    for (size_t i = 0; i < cnt; i++) /* spread over cache sets */
        *(char **)(m + perm[i] * step + (perm[i] * 64) % step) =
            m + perm[(i + 1) % cnt] * step + (perm[(i + 1) % cnt] * 64) % step;
    char *p = m + perm[0] * step + (perm[0] * 64) % step;
    while (n--)
        p = *(char *volatile *)p;
    return p - m;
}
static uint64_t k_chase_l1(long n)
{
    return chase(16 << 10, 64, n);
}
static uint64_t k_chase_tlb(long n)
{
    return chase(64 << 20, 4096, n);
}

static uint64_t k_memcpy(long n)
{
    static char a[64 << 10], b[64 << 10];
    for (long i = 0; i < n; i++) {
        memcpy(a, b, sizeof a);
        memset(b, i, sizeof b);
        a[i & 0xffff] = 0;
        b[i & 0xff] += memcmp(a, b, sizeof a) + strnlen(b, sizeof b);
    }
    return a[77];
}

static uint64_t k_atomic(long n)
{
    static _Atomic uint64_t v;
    for (long i = 0; i < n; i++) {
        atomic_fetch_add(&v, 3);
        uint64_t e = v;
        atomic_compare_exchange_strong(&v, &e, e ^ i);
    }
    return v;
}

/* ---- strings and vectors (x86-64) ---------------------------------------- */

/* The C library's string functions, which it has in vector code, on strings of 1 to 2048 bytes. */
static uint64_t k_strings(long n)
{
    static char a[4096], b[4096];
    uint64_t s = 0;
    for (long i = 0; i < n; i++) {
        size_t len = 1 + (rng() >> (i & 1 ? 21 : 27)); /* up to 2048 or 32 */
        memset(a, 'a' + i % 16, len);
        a[len] = 0;
        strcpy(b, a);
        s += strlen(a) + (strcmp(a, b) == 0) + (memcmp(a, b, len) == 0);
        b[len - 1] = 'z';
        s += (strchr(b, 'z') - b) + ((char *)memchr(b, 'z', len) - b) + (strrchr(a, 'A') == NULL);
        memmove(b + 1, b, len);
    }
    return s;
}

#if defined(__x86_64__)
#include <immintrin.h>

/* rep movsb, movsq, stosb and stosq, on 64 KiB and on many pieces of 96 bytes. */
static void rep_all(char *to, const char *from, size_t len, long fill)
{
    char *d = to;
    const char *s = from;
    size_t c = len;
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(c)::"memory");
    d = to, s = from, c = len / 8;
    __asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(c)::"memory");
    d = to, c = len;
    __asm__ volatile("rep stosb" : "+D"(d), "+c"(c) : "a"(fill) : "memory");
    d = to, c = len / 8;
    __asm__ volatile("rep stosq" : "+D"(d), "+c"(c) : "a"(fill * 0x10001) : "memory");
}

static uint64_t k_rep(long n)
{
    static char a[64 << 10], b[64 << 10];
    for (long i = 0; i < n; i++) {
        rep_all(a, b, sizeof a, i);
        for (int k = 0; k < 64; k++)
            rep_all(a + 128 * k, b + 96 * k, 96, i + k);
    }
    return a[77] + a[8074];
}

/* Integer work in ymm registers: a byte transform with shuffles, compares, widening and sums. */
__attribute__((target("avx2"))) static uint64_t k_avx_int(long n)
{
    static __m256i v[256]; /* 8 KiB */
    __m256i table =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3));
    __m256i sum = _mm256_setzero_si256(), ones = _mm256_set1_epi16(1), low = _mm256_set1_epi8(15);
    for (int i = 0; i < 256; i++)
        v[i] = _mm256_setr_epi32(rng(), rng(), rng(), rng(), rng(), rng(), rng(), rng());
    while (n--)
        for (int i = 0; i < 256; i++) {
            __m256i x = v[i], y = _mm256_shuffle_epi8(table, _mm256_and_si256(x, low));
            __m256i more = _mm256_cmpgt_epi8(x, y);
            x = _mm256_blendv_epi8(_mm256_add_epi8(x, y), _mm256_sub_epi8(x, y), more);
            sum = _mm256_add_epi32(
                sum, _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(x), y), ones));
            sum = _mm256_add_epi64(sum, _mm256_sad_epu8(x, _mm256_permute4x64_epi64(y, 0x1b)));
            v[i] = _mm256_xor_si256(x, _mm256_srli_epi32(sum, 3));
        }
    uint64_t out[4];
    _mm256_storeu_si256((__m256i *)out, sum);
    return out[0] ^ out[1] ^ out[2] ^ out[3];
}

/* Matrix product of doubles with fused multiply-add, 4 rows by 8 columns in registers. */
__attribute__((target("avx2,fma"))) static void matrix_multiply(int size, const double *a,
                                                                const double *b, double *c)
{
    for (int i = 0; i < size; i += 4)
        for (int j = 0; j < size; j += 8) {
            __m256d s[4][2];
            for (int r = 0; r < 4; r++)
                s[r][0] = s[r][1] = _mm256_setzero_pd();
            for (int k = 0; k < size; k++) {
                __m256d b0 = _mm256_loadu_pd(b + k * size + j);
                __m256d b1 = _mm256_loadu_pd(b + k * size + j + 4);
                for (int r = 0; r < 4; r++) {
                    __m256d x = _mm256_broadcast_sd(a + (i + r) * size + k);
                    s[r][0] = _mm256_fmadd_pd(x, b0, s[r][0]);
                    s[r][1] = _mm256_fmadd_pd(x, b1, s[r][1]);
                }
            }
            for (int r = 0; r < 4; r++) {
                _mm256_storeu_pd(c + (i + r) * size + j, s[r][0]);
                _mm256_storeu_pd(c + (i + r) * size + j + 4, s[r][1]);
            }
        }
}

/* Points of the Mandelbrot set, eight floats at a time. */
__attribute__((target("avx2,fma"))) static uint64_t mandelbrot(int size)
{
    __m256 step = _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7), four = _mm256_set1_ps(4);
    uint64_t inside = 0;
    for (int row = 0; row < size; row++)
        for (int column = 0; column < size; column += 8) {
            __m256 cx = _mm256_fmadd_ps(_mm256_add_ps(step, _mm256_set1_ps(column)),
                                        _mm256_set1_ps(3.0f / size), _mm256_set1_ps(-2));
            __m256 cy = _mm256_set1_ps(2.0f * row / size - 1), x = cx, y = cy;
            int left = 255;
            for (int i = 0; i < 64 && left; i++) {
                __m256 xx = _mm256_mul_ps(x, x), yy = _mm256_mul_ps(y, y);
                left = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_add_ps(xx, yy), four, _CMP_LT_OQ));
                y = _mm256_fmadd_ps(_mm256_add_ps(x, x), y, cy);
                x = _mm256_add_ps(_mm256_sub_ps(xx, yy), cx);
            }
            inside += __builtin_popcount(left);
        }
    return inside;
}

static uint64_t k_avx_float(long n)
{
    enum { SIZE = 64 };
    static double a[SIZE * SIZE], b[SIZE * SIZE], c[SIZE * SIZE];
    uint64_t inside = 0;
    for (int i = 0; i < SIZE * SIZE; i++) {
        a[i] = rng() % 100 / 50.0 - 1;
        b[i] = rng() % 100 / 5000.0;
    }
    while (n--) {
        matrix_multiply(SIZE, a, b, c);
        matrix_multiply(SIZE, c, b, a);
        inside += mandelbrot(64);
    }
    return inside ^ (uint64_t)(int64_t)(a[7] * 1e6);
}

/* 80-bit arithmetic: a polynomial and a quotient, rounded to memory now and then. */
static uint64_t k_x87(long n)
{
    long double x = 0.3L, sum = 0;
    double stored[16] = { 0 };
    for (long i = 0; i < n; i++) {
        long double y = ((x * 0.25L + 1.5L) * x - 0.75L) * x + 0.125L;
        sum += y / (x + 2) - (long double)stored[i & 15];
        stored[i & 15] = (double)y;
        x = x < 0.9L ? x + 0.0001L : 0.1L;
    }
    return (uint64_t)(int64_t)(sum * 1e3L);
}
#endif

/* ---- kernel entry, exceptions, address spaces ---------------------------- */

static uint64_t k_syscall(long n)
{
    uint64_t s = 0;
    while (n--)
        s += syscall(SYS_getppid);
    return s != 0;
}

static uint64_t k_fork(long n)
{
    while (n--) {
        pid_t p = fork();
        if (p < 0)
            die("fork");
        if (!p)
            _exit(0);
        waitpid(p, 0, 0);
    }
    return 0;
}

static uint64_t k_exec(long n)
{
    while (n--) {
        pid_t p = vfork();
        if (p < 0)
            die("vfork");
        if (!p) {
            execl("/bench/gbench", "gbench", "nop", "1", (char *)0);
            _exit(1);
        }
        waitpid(p, 0, 0);
    }
    return 0;
}

static uint64_t k_nop(long n)
{
    return n;
}

static uint64_t k_fault(long n)
{
    size_t len = 4 << 20;
    while (n--) {
        char *m = mmap(0, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (m == MAP_FAILED)
            die("mmap");
        madvise(m, len, MADV_NOHUGEPAGE);
        for (size_t i = 0; i < len; i += 4096)
            m[i] = 1;
        munmap(m, len);
    }
    return 0;
}

static uint64_t k_pipe(long n)
{
    int a[2], b[2];
    char c = 0;
    if (pipe(a) || pipe(b))
        die("pipe");
    pid_t p = fork();
    if (!p) {
        close(a[1]);
        while (read(a[0], &c, 1) == 1)
            if (write(b[1], &c, 1) != 1)
                break;
        _exit(0);
    }
    while (n--)
        if (write(a[1], &c, 1) != 1 || read(b[0], &c, 1) != 1)
            die("pingpong");
    close(a[1]);
    waitpid(p, 0, 0);
    return 0;
}

static volatile sig_atomic_t hits;
static void on_sig(int s)
{
    (void)s;
    hits++;
}
static uint64_t k_signal(long n)
{
    signal(SIGUSR1, on_sig);
    while (n--)
        raise(SIGUSR1);
    return hits;
}

/* ---- code that writes code ---------------------------------------------- */

/* Emit "return v" (v < 2^16 used) at p; returns the size. */
static size_t emit_ret(uint8_t *p, uint32_t v)
{
    v &= 0x7ff;
#if defined(__x86_64__)
    uint8_t code[6] = { 0xb8, (uint8_t)v, (uint8_t)(v >> 8), 0, 0, 0xc3 };
#elif defined(__aarch64__)
    uint32_t code[2] = { 0xd2800000u | v << 5, 0xd65f03c0u }; /* movz x0,#v; ret */
#elif defined(__riscv)
    uint32_t code[2] = { 0x513u | v << 20, 0x8067u }; /* li a0,v; ret */
#else
#error "no emitter"
#endif
    memcpy(p, code, sizeof code);
    return sizeof code;
}

static uint8_t *code_buf(size_t n)
{
    uint8_t *m = mmap(0, n, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED)
        die("mmap rwx");
    return m;
}

/* smc: patch one function and call it, over and over. */
static uint64_t k_smc(long n)
{
    uint8_t *m = code_buf(4096);
    uint64_t s = 0;
    for (long i = 0; i < n; i++) {
        size_t k = emit_ret(m, i);
        __builtin___clear_cache((char *)m, (char *)m + k);
        s += ((uint64_t(*)(void))m)();
    }
    return s;
}

/* jit: fill 64 KiB with small functions, call each twice, start over. */
static uint64_t k_jit(long n)
{
    enum { LEN = 64 << 10, SLOT = 16 };
    uint8_t *m = code_buf(LEN);
    uint64_t s = 0;
    for (long i = 0; i < n; i++) {
        for (size_t o = 0; o < LEN; o += SLOT)
            emit_ret(m + o, i + o);
        __builtin___clear_cache((char *)m, (char *)m + LEN);
        for (int r = 0; r < 2; r++)
            for (size_t o = 0; o < LEN; o += SLOT)
                s += ((uint64_t(*)(void))(m + o))();
    }
    return s;
}

/* ---- threads -------------------------------------------------------------- */

static long thr_n;
static _Atomic uint64_t thr_v;
static void *thr_body(void *arg)
{
    (void)arg;
    for (long i = 0; i < thr_n; i++)
        atomic_fetch_add(&thr_v, 1);
    return 0;
}
static uint64_t k_contend(long n)
{
    pthread_t t[2];
    thr_n = n;
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], 0, thr_body, 0);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], 0);
    return thr_v;
}

/* ---- I/O ------------------------------------------------------------------ */

/* blkrand DEV OPS [w]: random 4 KiB direct reads (or writes) over 64 MiB. */
static int blkrand(char **v)
{
    int w = v[2] && v[2][0] == 'w';
    int fd = open(v[0], (w ? O_RDWR : O_RDONLY) | O_DIRECT);
    void *buf = NULL;
    if (fd < 0 || posix_memalign(&buf, 4096, 4096))
        die(v[0]);
    memset(buf, 0x5a, 4096);
    for (long n = atol(v[1]); n--;) {
        off_t at = (off_t)(rng() % 16384) * 4096;
        if ((w ? pwrite(fd, buf, 4096, at) : pread(fd, buf, 4096, at)) != 4096)
            die("io");
    }
    return 0;
}

/* tcp HOST PORT MiB send|recv|ping: talks to the sink in tests/bench/run, whose
 * protocol is one command line first, then the payload. */
static int tcp(char **v)
{
    static char buf[64 << 10];
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(atoi(v[1])) };
    inet_pton(AF_INET, v[0], &sa.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof sa))
        die("connect");
    long long left = atoll(v[2]) << 20;
    int k = snprintf(buf, sizeof buf, "%s %lld\n", v[3], v[3][0] == 'p' ? atoll(v[2]) : left);
    if (write(fd, buf, k) != k)
        die("send");
    if (v[3][0] == 'p') {
        for (long n = atol(v[2]); n--;)
            if (write(fd, buf, 1) != 1 || read(fd, buf, 1) != 1)
                die("ping");
        return 0;
    }
    if (v[3][0] == 'r') {
        while (left > 0) {
            ssize_t r = read(fd, buf, sizeof buf);
            if (r <= 0)
                die("recv");
            left -= r;
        }
        return 0;
    }
    while (left > 0) {
        ssize_t r = write(fd, buf, sizeof buf);
        if (r <= 0)
            die("send");
        left -= r;
    }
    shutdown(fd, SHUT_WR);
    return read(fd, buf, 1) == 1 ? 0 : 1; /* the sink acknowledges */
}

/* gen FILE MiB: deterministic, text-like, compressible data. */
static int gen(char **v)
{
    FILE *f = fopen(v[0], "w");
    if (!f)
        die(v[0]);
    for (long left = atol(v[1]) << 20; left > 0;) {
        char w[16];
        uint32_t h = rng(), r = (h >> 8) % 1000;
        r = r * r / 1000; /* skewed vocabulary */
        int k = snprintf(w, sizeof w, "%c%xq%u%c", 'a' + r % 26, r * 2654435761u >> 20, r,
                         h & 7 ? ' ' : '\n');
        fwrite(w, 1, k, f);
        left -= k;
    }
    return fclose(f);
}

/* --------------------------------------------------------------------------- */

static int run(char **v)
{
    char line[160];
    int st = 0;
    int k = snprintf(line, sizeof line, "BENCH-START %s\n", v[0]);
    if (write(1, line, k) != k)
        return 1;
    double t = now();
    pid_t p = fork();
    if (!p) {
        int null = open("/dev/null", O_WRONLY);
        if (null >= 0)
            dup2(null, 1);
        execvp(v[1], v + 1);
        die(v[1]);
    }
    struct rusage u;
    wait4(p, &st, 0, &u);
    k = snprintf(line, sizeof line, "BENCH %s %.4f %d %.4f\n", v[0], now() - t, st,
                 u.ru_utime.tv_sec + u.ru_stime.tv_sec +
                     (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6);
    return write(1, line, k) != k;
}

static const struct {
    const char *name;
    uint64_t (*fn)(long);
    long n;
} kernels[] = {
    { "int", k_int, 4000 },
    { "dhry", k_dhry, 4000000 },
    { "call", k_call, 36 },
    { "indirect", k_indirect, 15000000 },
    { "linpack", k_linpack, 25 },
    { "whet", k_whet, 400000 },
    { "stream", k_stream, 8 },
    { "chase-l1", k_chase_l1, 120000000 },
    { "chase-tlb", k_chase_tlb, 1000000 },
    { "memcpy", k_memcpy, 10000 },
    { "atomic", k_atomic, 15000000 },
    { "syscall", k_syscall, 500000 },
    { "fork", k_fork, 400 },
    { "exec", k_exec, 150 },
    { "fault", k_fault, 50 },
    { "pipe", k_pipe, 6000 },
    { "signal", k_signal, 40000 },
    { "smc", k_smc, 15000 },
    { "jit", k_jit, 10 },
    { "contend", k_contend, 4000000 },
    { "strings", k_strings, 600000 },
#if defined(__x86_64__)
    { "rep", k_rep, 5000 },
    { "avx-int", k_avx_int, 30000 },
    { "avx-float", k_avx_float, 200 },
    { "x87", k_x87, 1500000 },
#endif
    { "nop", k_nop, 1 },
};

int main(int argc, char **argv)
{
    if (argc >= 4 && !strcmp(argv[1], "run"))
        return run(argv + 2);
    if (argc >= 4 && !strcmp(argv[1], "blkrand"))
        return blkrand(argv + 2);
    if (argc >= 6 && !strcmp(argv[1], "tcp"))
        return tcp(argv + 2);
    if (argc >= 4 && !strcmp(argv[1], "gen"))
        return gen(argv + 2);
    for (size_t i = 0; argc >= 2 && i < sizeof kernels / sizeof *kernels; i++)
        if (!strcmp(argv[1], kernels[i].name)) {
            long n = argc > 2 ? atol(argv[2]) : kernels[i].n;
            printf("%s %llx\n", argv[1], (unsigned long long)kernels[i].fn(n));
            return 0;
        }
    fprintf(stderr, "gbench: unknown kernel\n");
    return 2;
}
