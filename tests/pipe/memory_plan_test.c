/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory plan: never more than given, always enough to run.
 */
#include "tests/pipe/kit.h"

#include "pipe/download_inner.h"

typedef struct plan_row {
    const char *title;
    uint32_t memory_mib, jobs;
    cf_memory_plan expected;
    uint32_t downloaders;
} plan_row;

#define PLAN(f, w, l, part_mib, parts)                                                             \
    {                                                                                              \
        .frame_buffers = (f), .workers = (w), .lanes = (l),                                        \
        .part_bytes = (part_mib)*1024ull * 1024, .parts_in_flight = (parts)                        \
    }

static const plan_row rows[] = {
    {"the least, one core", 48, 1, PLAN(1, 1, 2, 5, 2), 1},
    {"the least, 8 cores", 48, 8, PLAN(1, 1, 2, 5, 2), 2},
    {"a little, one core", 64, 1, PLAN(3, 1, 3, 5, 3), 1},
    {"a little, 8 cores", 64, 8, PLAN(3, 1, 3, 5, 3), 4},
    {"just below larger parts", 95, 2, PLAN(8, 2, 4, 5, 4), 2},
    {"larger parts", 96, 2, PLAN(8, 2, 3, 8, 3), 2},
    {"the default, 2 cores", 128, 2, PLAN(14, 2, 4, 8, 4), 2},
    {"the default, 16 cores", 128, 16, PLAN(11, 4, 4, 8, 4), 11},
    {"1 GiB, 16 cores", 1024, 16, PLAN(84, 16, 8, 8, 16), 16},
    {"1 GiB, 2 cores: no more than is of use", 1024, 2, PLAN(28, 2, 8, 8, 16), 2},
    {"1 TiB, 1,000 jobs", 1024 * 1024, 1000, PLAN(276, 64, 8, 8, 16), 64},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const plan_row *const r = &rows[i];
        const cf_memory_plan *const x = &r->expected;
        cf_memory_plan p = {0};
        uint32_t downloaders = 0;
        print_message("  %s\n", r->title);
        assert_int_equal(cf_memory_plan_make((uint64_t)r->memory_mib * KIT_MIB, r->jobs, &p, NULL),
                         CF_OK);
        if (memcmp(&p, x, sizeof(p)) != 0)
            fail_msg("%u frames, %u workers, %u lanes, %llu MiB x %u", p.frame_buffers, p.workers,
                     p.lanes, (unsigned long long)p.part_bytes / KIT_MIB, p.parts_in_flight);
        assert_int_equal(
            cf_download_plan((uint64_t)r->memory_mib * KIT_MIB, r->jobs, &downloaders, NULL),
            CF_OK);
        assert_int_equal(downloaders, r->downloaders);
    }
}

static void test_every_size(void **state)
{
    (void)state;
    for (uint64_t mib = CF_MEMORY_MIN_MIB; mib < 4096; mib++)
        for (uint32_t jobs = 1; jobs <= 100; jobs += 7) {
            cf_memory_plan p = {0};
            assert_int_equal(cf_memory_plan_make(mib * KIT_MIB, jobs, &p, NULL), CF_OK);
            assert_true(cf_memory_plan_bytes(&p) <= mib * KIT_MIB);
            assert_true(p.frame_buffers >= p.workers);
            assert_true(p.workers >= 1 && p.workers <= jobs);
            assert_true(p.lanes >= CF_UPLOAD_LANES_MIN && p.lanes <= p.parts_in_flight);
            assert_true(p.part_bytes >= 5u * KIT_MIB); /* S3_PART_BYTES_MIN */
        }
}

static void test_defaults(void **state)
{
    (void)state;
    cf_memory_plan zero = {0}, same = {0};
    assert_int_equal(cf_memory_plan_make(0, 0, &zero, NULL), CF_OK);
    assert_int_equal(
        cf_memory_plan_make((uint64_t)CF_MEMORY_DEFAULT_MIB * KIT_MIB, cf_cores(), &same, NULL),
        CF_OK);
    assert_memory_equal(&zero, &same, sizeof(zero));
}

static void test_refused(void **state)
{
    (void)state;
    cf_memory_plan p = {.lanes = 77};
    cf_error e = {0};
    assert_int_equal(cf_memory_plan_make((uint64_t)CF_MEMORY_MIN_MIB * KIT_MIB - 1, 0, &p, &e),
                     CF_ERR_USAGE);
    assert_string_equal(e.message, "memory of 47 MiB is too little, 48 MiB is the least\nHINT: "
                                   "give --memory 128M or leave it out");
    assert_int_equal(p.lanes, 77);
}

/* What the plan counts for a worker is what zstd takes, at every level. */
static void test_zstd_contexts_fit(void **state)
{
    (void)state;
    uint8_t *const from = calloc(1, CF_FRAME_BYTES);
    uint8_t *const to = calloc(1, CF_BLOCK_BYTES);
    kit_fill_bytes(from, CF_FRAME_BYTES, KIT_ZERO, 1); /* quick, and what a context takes is the
                                                        parameters' alone */
    assert_int_equal(cf_memory_worker_bytes(3), CF_MEMORY_WORKER_BYTES);
    for (int level = 1; level <= CF_UPLOAD_LEVEL_MAX; level++) {
        ZSTD_CCtx *const z = ZSTD_createCCtx();
        assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, level)));
        assert_false(ZSTD_isError(ZSTD_compress2(z, to, CF_BLOCK_BYTES, from, CF_FRAME_BYTES)));
        print_message("  level %d: %zu bytes\n", level, ZSTD_sizeof_CCtx(z));
        assert_true(ZSTD_sizeof_CCtx(z) <= cf_memory_worker_bytes(level) - CF_MEMORY_FRAME_BYTES);
        (void)ZSTD_freeCCtx(z);
    }
    free(to);
    free(from);
}

static void test_levels(void **state)
{
    (void)state;
    for (uint64_t mib = CF_MEMORY_MIN_MIB; mib < 2048; mib++)
        for (int level = 1; level <= CF_UPLOAD_LEVEL_MAX; level++) {
            cf_memory_plan p = {0};
            assert_int_equal(cf_memory_plan_make(mib * KIT_MIB, 16, &p, NULL), CF_OK);
            const cf_memory_plan before = p;
            if (cf_memory_plan_fit_level(&p, level, NULL) != CF_OK) {
                assert_true(mib < cf_memory_plan_least_mib(level));
                continue;
            }
            assert_true(p.workers >= 1 && p.workers <= before.workers);
            assert_true(p.frame_buffers >= 1);
            const uint64_t more = cf_memory_worker_bytes(level) - CF_MEMORY_WORKER_BYTES;
            assert_true(cf_memory_plan_bytes(&p) + p.workers * more <= mib * KIT_MIB);
            if (level <= 3)
                assert_memory_equal(&p, &before, sizeof(p));
        }
}

static void test_cache(void **state)
{
    (void)state;
    assert_int_equal(cf_memory_cache_bytes(48 * (uint64_t)KIT_MIB), 3 * KIT_MIB / 2);
    assert_int_equal(cf_memory_cache_bytes(64 * (uint64_t)KIT_MIB), 2 * KIT_MIB);
    assert_int_equal(cf_memory_cache_bytes(0), 4 * KIT_MIB);
    assert_int_equal(cf_memory_cache_bytes(1024 * (uint64_t)KIT_MIB), 8 * KIT_MIB);
}

static void test_level_refused(void **state)
{
    (void)state;
    cf_memory_plan p = {.frame_buffers = 1, .workers = 1, .lanes = 2, .parts_in_flight = 2};
    cf_error e = {0};
    char expected[160];
    assert_int_equal(cf_memory_plan_fit_level(&p, 19, &e), CF_ERR_USAGE);
    (void)snprintf(expected, sizeof(expected),
                   "compression level 19 needs --memory of %u MiB at least\nHINT: give that, or a "
                   "lower level",
                   cf_memory_plan_least_mib(19));
    assert_string_equal(e.message, expected);
    assert_int_equal(p.frame_buffers, 1);
}

/* The least that is told is enough for any number of jobs, and a MiB less is not. */
static void test_least_of_a_level(void **state)
{
    (void)state;
    for (int level = 1; level <= CF_UPLOAD_LEVEL_MAX; level++) {
        const uint32_t least = cf_memory_plan_least_mib(level);
        print_message("  level %d: %u MiB\n", level, least);
        for (uint32_t mib = least - 1; mib <= least; mib++) {
            uint32_t refused = 0;
            for (uint32_t jobs = 1; jobs <= 64; jobs++) {
                cf_memory_plan p = {0};
                refused += cf_memory_plan_make((uint64_t)mib * KIT_MIB, jobs, &p, NULL) != CF_OK ||
                           cf_memory_plan_fit_level(&p, level, NULL) != CF_OK;
            }
            assert_int_equal(refused == 0, mib == least);
        }
    }
}

/* What --adaptive may climb to. */
static void test_best_level(void **state)
{
    int before = 0;
    (void)state;
    for (uint32_t mib = 128; mib <= 1024; mib *= 2) {
        cf_memory_plan p = {0};
        assert_int_equal(cf_memory_plan_make((uint64_t)mib * KIT_MIB, 2, &p, NULL), CF_OK);
        const uint32_t workers = p.workers;
        const int best = cf_memory_plan_best_level(&p);
        print_message("  %u MiB, 2 jobs: level %d\n", mib, best);
        assert_true(best >= before && best <= CF_UPLOAD_LEVEL_MAX);
        assert_int_equal(cf_memory_plan_fit_level(&p, best, NULL), CF_OK);
        assert_int_equal(p.workers, workers);
        assert_true(p.frame_buffers >= 2 * p.workers);
        before = best;
    }
    assert_int_equal(before, CF_UPLOAD_LEVEL_MAX);
}

static void test_connections(void **state)
{
    static const struct {
        uint32_t memory_mib, connections, parts, lanes;
    } cases[] = {
        {128, 0, 4, 4},   /* automatic: a quarter of the memory */
        {128, 64, 4, 4},  /* memory bounds it */
        {128, 3, 3, 3},   /* so does the wish */
        {128, 1, 2, 2},   /* a buffer for each of two open packs, on one connection */
        {1024, 0, 16, 8}, /* automatic: no more than is of use */
        {1024, 64, 32, 8}, {4096, 64, 64, 8},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cf_memory_plan p = {0};
        const uint64_t bytes = (uint64_t)cases[i].memory_mib * KIT_MIB;
        assert_int_equal(cf_memory_plan_make_for(bytes, 2, cases[i].connections, &p, NULL), CF_OK);
        assert_int_equal(p.parts_in_flight, cases[i].parts);
        assert_int_equal(p.lanes, cases[i].lanes);
        assert_true(cf_memory_plan_bytes(&p) <= bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_every_size),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_zstd_contexts_fit),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_level_refused),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_least_of_a_level),
        cmocka_unit_test(test_best_level),
        cmocka_unit_test(test_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
