/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop of hash_pair.c for x86-64 with SHA instructions; nobody else includes it. RFC 1321 (MD5)
 * and FIPS 180-4 (SHA-256) have 64 steps a block each; four of one and four of the other take turns,
 * close enough for the processor to run them at the same time.
 */
#ifndef SRC_PIPE_HASH_PAIR_X86_H
#define SRC_PIPE_HASH_PAIR_X86_H

#include <cpuid.h>
#include <immintrin.h>

#define PAIR_INLINE static inline __attribute__((always_inline))
#define PAIR_TARGET __attribute__((target("sha,sse4.1")))

/* RFC 1321, 3.4: floor(2^32 * abs(sin(i + 1))). */
static const uint32_t md5_k[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};
/* FIPS 180-4, 4.2.2. */
static const uint32_t sha256_k[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

typedef struct md5_regs {
    uint32_t a, b, c, d;
} md5_regs;

typedef struct sha_regs {
    __m128i abef, cdgh, m[4];
} sha_regs;

/* Step i of 64, a constant where it is called: nothing of the choice is left. */
PAIR_INLINE void md5_step(uint32_t *const a, const uint32_t b, const uint32_t c, const uint32_t d,
                          const uint8_t *const block, const unsigned i)
{
    static const uint8_t word[4][2] = {{1, 0}, {5, 1}, {3, 5}, {7, 0}};
    static const uint8_t turn[4][4] = {
        {7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    const unsigned round = i / 16;
    const unsigned shift = turn[round][i % 4];
    uint32_t m = 0;

    memcpy(&m, block + (size_t)4 * ((word[round][0] * i + word[round][1]) % 16), sizeof(m));
    uint32_t x = *a + m + md5_k[i];
    switch (round) {
    case 0:
        x += d ^ (b & (c ^ d));
        break;
    case 1: /* the RFC's "or" as a sum: b, which comes last, is waited for less long */
        x += c & ~d;
        x += b & d;
        break;
    case 2:
        x += b ^ (c ^ d);
        break;
    default:
        x += c ^ (b | ~d);
        break;
    }
    *a = (x << shift | x >> (32 - shift)) + b;
}

PAIR_INLINE void md5_steps4(md5_regs *const r, const uint8_t *const block, const unsigned i)
{
    md5_step(&r->a, r->b, r->c, r->d, block, i);
    md5_step(&r->d, r->a, r->b, r->c, block, i + 1);
    md5_step(&r->c, r->d, r->a, r->b, block, i + 2);
    md5_step(&r->b, r->c, r->d, r->a, block, i + 3);
}

PAIR_INLINE PAIR_TARGET void sha_steps4(sha_regs *const r, const uint8_t *const block,
                                        const unsigned i)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i *const m = &r->m[i / 4 % 4];

    if (i < 16) {
        *m = _mm_shuffle_epi8(
            _mm_loadu_si128((const __m128i *)(const void *)(block + (size_t)4 * i)), big_endian);
    } else {
        const __m128i m1 = r->m[(i / 4 + 1) % 4], m2 = r->m[(i / 4 + 2) % 4],
                      m3 = r->m[(i / 4 + 3) % 4];
        *m = _mm_sha256msg2_epu32(
            _mm_add_epi32(_mm_sha256msg1_epu32(*m, m1), _mm_alignr_epi8(m3, m2, 4)), m3);
    }
    const __m128i w =
        _mm_add_epi32(*m, _mm_load_si128((const __m128i *)(const void *)(sha256_k + i)));
    r->cdgh = _mm_sha256rnds2_epu32(r->cdgh, r->abef, w);
    r->abef = _mm_sha256rnds2_epu32(r->abef, r->cdgh, _mm_shuffle_epi32(w, 0x0e));
}

PAIR_TARGET static void blocks_at_once(uint32_t md5[4], uint32_t sha256[8], const uint8_t *block,
                                       size_t total)
{
    md5_regs m = {md5[0], md5[1], md5[2], md5[3]};
    sha_regs s = {.abef = _mm_loadu_si128((const __m128i *)(const void *)sha256),
                  .cdgh = _mm_loadu_si128((const __m128i *)(const void *)(sha256 + 4))};

    for (; total > 0; total--, block += CF_HASH_PAIR_BLOCK) {
        const md5_regs m_old = m;
        const __m128i abef = s.abef, cdgh = s.cdgh;
#define STEPS16(i)                                                                                 \
    do {                                                                                           \
        md5_steps4(&m, block, (i));                                                                \
        sha_steps4(&s, block, (i));                                                                \
        md5_steps4(&m, block, (i) + 4);                                                            \
        sha_steps4(&s, block, (i) + 4);                                                            \
        md5_steps4(&m, block, (i) + 8);                                                            \
        sha_steps4(&s, block, (i) + 8);                                                            \
        md5_steps4(&m, block, (i) + 12);                                                           \
        sha_steps4(&s, block, (i) + 12);                                                           \
    } while (0)
        STEPS16(0);
        STEPS16(16);
        STEPS16(32);
        STEPS16(48);
#undef STEPS16
        m = (md5_regs){m.a + m_old.a, m.b + m_old.b, m.c + m_old.c, m.d + m_old.d};
        s.abef = _mm_add_epi32(s.abef, abef);
        s.cdgh = _mm_add_epi32(s.cdgh, cdgh);
    }
    memcpy(md5, &m, sizeof(m));
    _mm_storeu_si128((__m128i *)(void *)sha256, s.abef);
    _mm_storeu_si128((__m128i *)(void *)(sha256 + 4), s.cdgh);
}

/* cpuid: SSSE3 and SSE4.1 are bits 9 and 19 of leaf 1's ECX, SHA is bit 29 of leaf 7's EBX (Intel
 * SDM, volume 2, CPUID). */
static bool at_once_is_possible(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    const unsigned sse = 1u << 9 | 1u << 19;

    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & sse) != sse)
        return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & 1u << 29) != 0;
}

#endif
