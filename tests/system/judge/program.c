/* Floating point with rounding modes, vectors and threads; every result is defined bit by bit. */
#include <emmintrin.h>
#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static uint64_t random64(uint64_t *s)
{
    *s ^= *s << 13, *s ^= *s >> 7, *s ^= *s << 17;
    return *s;
}

static uint64_t mix(uint64_t sum, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum = (sum ^ ((const uint8_t *)p)[i]) * 1099511628211u;
    return sum;
}

static uint64_t numbers(uint64_t seed)
{
    uint64_t sum = 14695981039346656037u;
    for (int i = 0; i < 20000; i++) {
        double a = (double)(int64_t)random64(&seed) / 65536,
               b = (double)(random64(&seed) | 1) * 0x1p-40;
        double d[] = { a + b, a - b, a * b, a / b, sqrt(b), fma(a, b, a), floor(a), rint(b) };
        float f[] = { (float)a, (float)b, (float)a / (float)b, sqrtf((float)b) };
        long double x[] = { (long double)a / b, sqrtl(b), (long double)a * b };
        sum = mix(sum, d, sizeof(d));
        sum = mix(sum, f, sizeof(f));
        for (int j = 0; j < 3; j++)
            sum = mix(sum, &x[j], 10);
    }
    return sum;
}

static uint64_t vectors(uint64_t seed)
{
    uint64_t sum = 14695981039346656037u;
    for (int i = 0; i < 20000; i++) {
        uint64_t w[4] = { random64(&seed), random64(&seed), random64(&seed), random64(&seed) };
        __m128i a = _mm_loadu_si128((void *)w), b = _mm_loadu_si128((void *)(w + 2));
        __m128d p = _mm_cvtepi32_pd(a), q = _mm_cvtepi32_pd(b);
        __m128i r[] = { _mm_madd_epi16(a, b),
                        _mm_sad_epu8(a, b),
                        _mm_mul_epu32(a, b),
                        _mm_adds_epi8(a, b),
                        _mm_packs_epi32(a, b),
                        _mm_shuffle_epi32(a, 0x1b),
                        _mm_cmpgt_epi16(a, b),
                        _mm_sll_epi64(a, b),
                        _mm_castpd_si128(_mm_mul_pd(p, q)),
                        _mm_castpd_si128(_mm_sqrt_pd(_mm_mul_pd(p, p))),
                        _mm_castpd_si128(_mm_sub_pd(p, q)),
                        _mm_castps_si128(_mm_cvtpd_ps(p)) };
        sum = mix(sum, r, sizeof(r));
    }
    return sum;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long guarded, atomic;

static void *thread(void *arg)
{
    for (int i = 0; i < 20000; i++) {
        pthread_mutex_lock(&lock);
        guarded++;
        pthread_mutex_unlock(&lock);
        __atomic_add_fetch(&atomic, 3, __ATOMIC_SEQ_CST);
    }
    return arg;
}

int main(void)
{
    static const int modes[] = { FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO };
    for (int i = 0; i < 4; i++) {
        fesetround(modes[i]);
        printf("%d %016lx %016lx\n", i, numbers(88172645463325252u + i), vectors(362436069u + i));
    }
    fesetround(FE_TONEAREST);
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, thread, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    printf("%ld %ld\n", guarded, atomic);
}
