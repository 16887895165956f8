/* SPDX-License-Identifier: Apache-2.0
 *
 * Subsets: t parts cover everything exactly once, and are of about one size; shares keep what they
 * promise.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "verify/subset.h"

enum { PACKS = 5000 };

static void name_of(unsigned n, char ret[64])
{
    (void)snprintf(ret, 64, "20261121T%02u%02u%02uZ-0123abcd/%010u-pack-small.zst", n / 3600 % 24,
                   n / 60 % 60, n % 60, n % 7 + 1);
}

static void test_parts(void **state)
{
    static const uint64_t totals[] = {1, 2, 3, 12, 365, 10000};
    (void)state;
    for (size_t t = 0; t < sizeof(totals) / sizeof(totals[0]); t++) {
        for (unsigned n = 0; n < PACKS; n++) {
            char name[64];
            unsigned hits = 0;
            name_of(n, name);
            for (uint64_t part = 1; part <= totals[t] && totals[t] <= 365; part++)
                hits += cf_subset_has(
                    &(cf_subset){.how = CF_VERIFY_PART, .part = part, .parts = totals[t]}, name);
            if (totals[t] <= 365 && hits != 1)
                fail_msg("%s is in %u of %llu parts", name, hits, (unsigned long long)totals[t]);
        }
    }
}

static void test_parts_are_even(void **state)
{
    unsigned count[12] = {0};
    (void)state;
    for (unsigned n = 0; n < PACKS; n++) {
        char name[64];
        name_of(n, name);
        for (unsigned part = 1; part <= 12; part++)
            count[part - 1] +=
                cf_subset_has(&(cf_subset){.how = CF_VERIFY_PART, .part = part, .parts = 12}, name);
    }
    for (unsigned i = 0; i < 12; i++)
        if (count[i] < PACKS / 12 * 3 / 4 || count[i] > PACKS / 12 * 5 / 4)
            fail_msg("part %u has %u of %d", i + 1, count[i], PACKS);
}

/* Bytes that a subset of these packs has. */
static uint64_t covered(cf_subset *s, uint64_t wanted, uint64_t each, unsigned packs)
{
    CF_CLEANUP(cf_subset_scale_freep) cf_subset_scale *scale = NULL;
    uint64_t bytes = 0;
    assert_int_equal(cf_subset_scale_new(&scale, NULL), CF_OK);
    for (unsigned n = 0; n < packs; n++) {
        char name[64];
        name_of(n, name);
        cf_subset_scale_add(scale, s, name, each);
    }
    cf_subset_cut(s, scale, wanted);
    for (unsigned n = 0; n < packs; n++) {
        char name[64];
        name_of(n, name);
        bytes += cf_subset_has(s, name) ? each : 0;
    }
    return bytes;
}

static void test_shares(void **state)
{
    static const struct {
        const char *title;
        cf_verify_how how;
        uint64_t wanted, each, least, most;
        unsigned packs;
    } rows[] = {
        {"all by share", CF_VERIFY_PERCENT, 1000, 100, 500000, 500000, PACKS},
        {"a tenth", CF_VERIFY_PERCENT, 100, 100, 45000, 50000, PACKS},
        {"a thousandth", CF_VERIFY_PERCENT, 1, 100, 100, 500, PACKS},
        {"never nothing", CF_VERIFY_PERCENT, 1, 100, 100, 100, 3},
        {"bytes", CF_VERIFY_BYTES, 12345, 100, 11000, 12345, PACKS},
        {"more than there is", CF_VERIFY_BYTES, UINT64_MAX, 100, 500000, 500000, PACKS},
        {"less than a pack", CF_VERIFY_BYTES, 1, 100, 100, 100, PACKS},
        {"no packs", CF_VERIFY_BYTES, 100, 100, 0, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (uint64_t seed = 1; seed < 20; seed++) {
            cf_subset s = {.how = rows[i].how, .seed = seed * UINT64_C(0x9e3779b97f4a7c15)};
            const uint64_t bytes = covered(&s, rows[i].wanted, rows[i].each, rows[i].packs);
            /* Two packs of one bucket come together. */
            if (bytes < rows[i].least || bytes > rows[i].most + rows[i].each)
                fail_msg("%s: %llu bytes", rows[i].title, (unsigned long long)bytes);
        }
    }
}

static void test_all_and_none(void **state)
{
    (void)state;
    assert_true(cf_subset_has(&(cf_subset){.how = CF_VERIFY_DATA}, "x"));
    assert_false(cf_subset_has(&(cf_subset){.how = CF_VERIFY_LOOK}, "x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_parts_are_even),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_all_and_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
