/* SPDX-License-Identifier: Apache-2.0
 *
 * The estimate names the stage that a backup and a restore wait for, and what would help.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bench/estimate.h"

#define MB 1e6

static void assert_near(double found, double expected)
{
    const double off = found > expected ? found - expected : expected - found;
    if (off > 0.01)
        fail_msg("%.3f, not %.3f", found, expected);
}

/* Two cores, a fast disk, a link of 100 MB/s that four connections fill. */
static cf_bench_costs costs_usual(void)
{
    return (cf_bench_costs){
        .cores = 2,
        .read_bytes_per_s = 2000 * MB,
        .sha256_bytes_per_s = 1500 * MB,
        .md5_bytes_per_s = 700 * MB,
        .both_bytes_per_s = 450 * MB,
        .decode_bytes_per_s = 1200 * MB,
        .levels = {{.level = 0, .ratio = 1, .workers = 2},
                   {.level = 1, .bytes_per_s = 500 * MB, .ratio = 3.5, .workers = 2},
                   {.level = 3, .bytes_per_s = 240 * MB, .ratio = 4, .workers = 2},
                   {.level = 9, .bytes_per_s = 40 * MB, .ratio = 5, .workers = 2},
                   {.level = 19, .bytes_per_s = 3 * MB, .ratio = 6, .workers = 1}},
        .level_total = 5,
        .puts = {{.connections = 1, .bytes_per_s = 30 * MB},
                 {.connections = 2, .bytes_per_s = 60 * MB},
                 {.connections = 4, .bytes_per_s = 100 * MB},
                 {.connections = 8, .bytes_per_s = 100 * MB}},
        .put_total = 4,
        .gets = {{.connections = 1, .bytes_per_s = 100 * MB},
                 {.connections = 4, .bytes_per_s = 400 * MB}},
        .get_total = 2,
        .upload_connections = 4,
        .download_connections = 4,
    };
}

typedef struct bound_row {
    const char *title;
    void (*change)(cf_bench_costs *c);
    int level;
    uint32_t connections; /* 0: as planned */
    cf_bench_stage backup;
    double backup_mb;
} bound_row;

static void slow_link(cf_bench_costs *c)
{
    for (size_t i = 0; i < c->put_total; i++)
        c->puts[i].bytes_per_s = 5 * MB;
}

static void slow_disk(cf_bench_costs *c)
{
    c->read_bytes_per_s = 90 * MB;
}

static void many_cores(cf_bench_costs *c)
{
    c->cores = 16;
    for (size_t i = 0; i < c->level_total; i++)
        c->levels[i].workers = 16;
    for (size_t i = 0; i < c->put_total; i++)
        c->puts[i].bytes_per_s *= 20;
}

static void slow_rest(cf_bench_costs *c)
{
    c->read_cpu_s_per_byte = 1 / (100 * MB);
}

static void no_change(cf_bench_costs *c)
{
    (void)c;
}

static const bound_row rows[] = {
    {"two cores: compression and hashing share them", no_change, 3, 0, CF_BENCH_CODING, 313.04},
    {"a slow link", slow_link, 3, 0, CF_BENCH_TRANSFER, 20},
    {"a slow link, a higher level", slow_link, 9, 0, CF_BENCH_TRANSFER, 25},
    {"a slow link, one job at level 19", slow_link, 19, 0, CF_BENCH_CODING, 3},
    {"a slow disk", slow_disk, 3, 0, CF_BENCH_SOURCE, 90},
    {"sixteen cores: the one thread that hashes", many_cores, 3, 0, CF_BENCH_HASHING, 450},
    {"one connection of four", no_change, 3, 1, CF_BENCH_LATENCY, 120},
    {"not compressed: the link", no_change, 0, 0, CF_BENCH_TRANSFER, 100},
    {"processors, and no stage has most of them", slow_rest, 1, 0, CF_BENCH_PROCESSORS, 140.62},
};

static void test_bounds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const bound_row *const r = &rows[i];
        cf_bench_costs c = costs_usual();
        r->change(&c);
        print_message("  %s\n", r->title);
        const cf_bench_estimate x =
            cf_bench_estimate_backup(&c, cf_bench_level_find(&c, r->level),
                                     r->connections != 0 ? r->connections : c.upload_connections);
        assert_string_equal(cf_bench_stage_name(x.bound, false),
                            cf_bench_stage_name(r->backup, false));
        assert_near(x.bytes_per_s / MB, r->backup_mb);
    }
}

static void test_restore(void **state)
{
    (void)state;
    cf_bench_costs c = costs_usual();
    const cf_bench_level *const l = cf_bench_level_find(&c, 3);
    cf_bench_estimate x = cf_bench_estimate_restore(&c, l, 4);
    /* 2 / (1/1500 + 1/1200): no stage has three fifths of it. */
    assert_near(x.bytes_per_s / MB, 1333.33);
    assert_string_equal(cf_bench_stage_name(x.bound, true), "processors");
    c.gets[0].bytes_per_s = c.gets[1].bytes_per_s = 10 * MB;
    x = cf_bench_estimate_restore(&c, l, 4);
    assert_near(x.bytes_per_s / MB, 40);
    assert_string_equal(cf_bench_stage_name(x.bound, true), "download");
    c.gets[1].bytes_per_s = 100 * MB;
    x = cf_bench_estimate_restore(&c, l, 1);
    assert_string_equal(cf_bench_stage_name(x.bound, true), "latency");
    c.decode_bytes_per_s = 20 * MB;
    x = cf_bench_estimate_restore(&c, l, 4);
    assert_string_equal(cf_bench_stage_name(x.bound, true), "decompression");
}

static void test_between_steps(void **state)
{
    (void)state;
    const cf_bench_costs c = costs_usual();
    const struct {
        uint32_t connections;
        double mb;
    } cases[] = {{1, 30}, {2, 60}, {3, 80}, {4, 100}, {6, 100}, {64, 100}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_near(cf_bench_rate_at(c.puts, c.put_total, cases[i].connections) / MB, cases[i].mb);
    assert_near(cf_bench_rate_at(c.gets + 1, 1, 2) / MB, 200); /* below the first */
    assert_near(cf_bench_rate_at(c.puts, 0, 4), 0);
    assert_int_equal(cf_bench_connections_best(c.puts, c.put_total), 4);
    assert_int_equal(cf_bench_connections_best(c.puts, 0), 0);
    assert_null(cf_bench_level_find(&c, 7));
}

static void test_best_level(void **state)
{
    (void)state;
    cf_bench_costs c = costs_usual();
    /* The processors count: level 1 is the fastest, "off" is held up by the link. */
    assert_int_equal(cf_bench_level_best(&c, 4)->level, 1);
    /* 5 MB/s: level 9 is as fast as the link allows; 19 is not. */
    slow_link(&c);
    assert_int_equal(cf_bench_level_best(&c, 4)->level, 9);
    /* A fast store and slow processors: "off" would be the fastest, and store five times as much. */
    c = costs_usual();
    for (size_t i = 0; i < c.put_total; i++)
        c.puts[i].bytes_per_s *= 100;
    for (size_t i = 1; i < c.level_total; i++)
        c.levels[i].bytes_per_s /= 100;
    assert_int_not_equal(cf_bench_level_best(&c, 4)->level, 0);
    for (size_t i = 0; i < c.level_total; i++) /* noise: then it costs nothing */
        c.levels[i].ratio = 1;
    assert_int_equal(cf_bench_level_best(&c, 4)->level, 0);
    /* What does not fit is not the best. */
    c = costs_usual();
    slow_link(&c);
    c.levels[3].workers = 0;
    assert_int_equal(cf_bench_level_best(&c, 4)->level, 3);
    c.level_total = 0;
    assert_null(cf_bench_level_best(&c, 4));
}

static void test_advice(void **state)
{
    (void)state;
    cf_bench_costs c = costs_usual();
    cf_bench_advice a[CF_BENCH_ADVICE_MAX];
    /* Two connections of a link that four fill, and level 1 to get there. */
    c.upload_connections = 2;
    for (size_t i = 0; i < c.put_total; i++)
        c.puts[i].bytes_per_s /= 4;
    assert_int_equal(cf_bench_advise(&c, cf_bench_level_find(&c, 3), a), 1);
    assert_int_equal(a[0].kind, CF_BENCH_ADVICE_CONNECTIONS);
    assert_int_equal(a[0].value, 4);
    assert_near(a[0].before_bytes_per_s / MB, 60);
    assert_near(a[0].after_bytes_per_s / MB, 100);
    /* A slow link: a level that costs no time. */
    c = costs_usual();
    slow_link(&c);
    assert_int_equal(cf_bench_advise(&c, cf_bench_level_find(&c, 3), a), 1);
    assert_int_equal(a[0].kind, CF_BENCH_ADVICE_COMPRESSION);
    assert_int_equal(a[0].value, 9);
    assert_near(a[0].after_bytes_per_s / MB, 25);
    assert_near(a[0].stored_after, 0.2);
    /* One job where the cores would take more, and the best level is the one in use. */
    c = costs_usual();
    many_cores(&c);
    for (size_t i = 0; i < c.level_total; i++)
        c.levels[i].workers = 1;
    c.level_total = 3;
    c.levels[0].workers = c.levels[1].workers = 0;
    assert_int_equal(cf_bench_advise(&c, cf_bench_level_find(&c, 3), a), 1);
    assert_int_equal(a[0].kind, CF_BENCH_ADVICE_WORKERS);
    assert_int_equal(a[0].value, 16);
    assert_near(a[0].after_bytes_per_s / MB, 450);
    /* Nothing to do about a disk. */
    c = costs_usual();
    slow_disk(&c);
    c.level_total = 3;
    assert_int_equal(cf_bench_advise(&c, cf_bench_level_find(&c, 3), a), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),        cmocka_unit_test(test_restore),
        cmocka_unit_test(test_between_steps), cmocka_unit_test(test_best_level),
        cmocka_unit_test(test_advice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
