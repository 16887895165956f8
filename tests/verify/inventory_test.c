/* SPDX-License-Identifier: Apache-2.0
 *
 * Inventory and what was seen: found by name, within the budget.
 */
#include "verify/inventory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "s3/base/alloc.h"
#include "verify/seen.h"

static void name_of(unsigned run, unsigned seq, const char *kind, char ret[96])
{
    (void)snprintf(ret, 96, "20261121T%02u%02u00Z-0123abcd/%010u-%s.zst", run / 60, run % 60, seq,
                   kind);
}

static void test_find(void **state)
{
    enum { RUNS = 200, SEQS = 30 };
    uint64_t budget = UINT64_MAX;
    CF_CLEANUP(cf_inventory_freep) cf_inventory *v = NULL;
    char name[96];
    (void)state;
    assert_int_equal(cf_inventory_new(&budget, &v, NULL), CF_OK);
    assert_null(cf_inventory_find(v, "20261121T000000Z-0123abcd/0000000001-pack.zst"));
    for (unsigned run = 0; run < RUNS; run++) {
        for (unsigned seq = 1; seq <= SEQS; seq += 1 + run % 3) {
            name_of(run, seq, "pack", name);
            assert_int_equal(cf_inventory_add(v, name, run * 1000 + seq, NULL), CF_OK);
        }
    }
    assert_int_equal(cf_inventory_add(v, "20261121T999999Z-x/stray", 1, NULL), CF_OK);
    for (unsigned run = 0; run < RUNS; run++) {
        for (unsigned seq = 1; seq <= SEQS; seq++) {
            name_of(run, seq, "pack", name);
            const cf_object *const o = cf_inventory_find(v, name);
            assert_int_equal(o != NULL, (seq - 1) % (1 + run % 3) == 0);
            if (o != NULL)
                assert_int_equal(o->size_bytes, run * 1000 + seq);
            name_of(run, seq, "files", name);
            assert_null(cf_inventory_find(v, name)); /* another kind is another object */
        }
    }
    name_of(1, 1, "pack", name);
    assert_int_equal(cf_inventory_add(v, name, 1, NULL), CF_ERR_PROTOCOL); /* backwards */
}

static void test_packs(void **state)
{
    uint64_t budget = UINT64_MAX;
    CF_CLEANUP(cf_inventory_freep) cf_inventory *v = NULL;
    cf_pack_state *first[3000];
    char name[96];
    bool new = false;
    (void)state;
    assert_int_equal(cf_inventory_new(&budget, &v, NULL), CF_OK);
    for (unsigned n = 1; n < 3000; n += 2) {
        name_of(0, n, "pack", name);
        assert_int_equal(cf_inventory_add(v, name, n, NULL), CF_OK);
    }
    for (unsigned n = 1; n < 3000; n++) { /* every second one is not listed */
        name_of(0, n, "pack", name);
        assert_null(cf_inventory_pack(v, name));
        const cf_pack_line line = {.pack = name, .stored_bytes = n};
        assert_int_equal(cf_inventory_name(v, &line, &new, &first[n], NULL), CF_OK);
        assert_true(new);
    }
    for (unsigned n = 1; n < 3000; n++) {
        cf_pack_state *again = NULL;
        name_of(0, n, "pack", name);
        const cf_pack_line line = {.pack = name, .stored_bytes = 7};
        assert_int_equal(cf_inventory_name(v, &line, &new, &again, NULL), CF_OK);
        assert_false(new);
        assert_ptr_equal(again, first[n]); /* it did not move */
        assert_ptr_equal(cf_inventory_pack(v, name), first[n]);
        assert_int_equal(again->stored.size_bytes, n);
    }
    atomic_store(&first[5]->digested, true);
    assert_int_equal(cf_inventory_count_digested(v), 1);
    assert_int_equal(cf_inventory_count_digested(NULL), 0);
}

static void test_budget(void **state)
{
    uint64_t budget = 100 * 1000;
    CF_CLEANUP(cf_inventory_freep) cf_inventory *v = NULL;
    cf_error e = {0};
    cf_err err = CF_OK;
    unsigned n = 0;
    (void)state;
    assert_int_equal(cf_inventory_new(&budget, &v, NULL), CF_OK);
    while (err == CF_OK) {
        char name[96];
        name_of(0, ++n, "pack", name);
        err = cf_inventory_add(v, name, 1, &e);
    }
    assert_int_equal(err, CF_ERR_TOO_LARGE);
    assert_non_null(strstr(e.message, "HINT: give more --memory"));
    assert_in_range(n, 2000, 100 * 1000 / sizeof(cf_object) + 1);
}

static void test_seen(void **state)
{
    uint64_t budget = UINT64_MAX;
    CF_CLEANUP(cf_seen_freep) cf_seen *s = NULL;
    (void)state;
    assert_int_equal(cf_seen_new(&budget, &s, NULL), CF_OK);
    for (uint64_t i = 0; i < 100000; i++)
        assert_false(cf_seen_add(s, i * UINT64_C(0x9e3779b97f4a7c15)));
    for (uint64_t i = 0; i < 100000; i++)
        assert_true(cf_seen_add(s, i * UINT64_C(0x9e3779b97f4a7c15)));
    assert_false(cf_seen_add(NULL, 1));
    assert_false(cf_seen_add(NULL, 1));
}

/* Without room nothing is remembered, and nothing is claimed. */
static void test_seen_budget(void **state)
{
    uint64_t budget = 0;
    CF_CLEANUP(cf_seen_freep) cf_seen *s = NULL;
    unsigned known = 0;
    (void)state;
    assert_int_equal(cf_seen_new(&budget, &s, NULL), CF_OK);
    for (uint64_t i = 1; i <= 5000; i++)
        assert_false(cf_seen_add(s, i * UINT64_C(0x9e3779b97f4a7c15)));
    for (uint64_t i = 1; i <= 5000; i++)
        known += cf_seen_add(s, i * UINT64_C(0x9e3779b97f4a7c15));
    assert_in_range(known, 1, 4096);
}

static void test_hashes(void **state)
{
    const cf_extent a = {.pack = "p", .pack_offset = 1, .stored_bytes = 2, .file_bytes = 3};
    cf_extent b = a;
    (void)state;
    assert_int_equal(cf_seen_hash_extent(&a), cf_seen_hash_extent(&b));
    b.pack_offset = 2;
    assert_int_not_equal(cf_seen_hash_extent(&a), cf_seen_hash_extent(&b));
    b = a;
    b.has_sha256 = true;
    assert_int_not_equal(cf_seen_hash_extent(&a), cf_seen_hash_extent(&b));
    cf_file_line l = {.path = cf_slice_str("x"), .extents = &a, .extent_total = 1};
    const uint64_t hash = cf_seen_hash_line(&l);
    l.path = cf_slice_str("y");
    assert_int_not_equal(cf_seen_hash_line(&l), hash);
    l.path = cf_slice_str("x");
    assert_int_equal(cf_seen_hash_line(&l), hash);
    l.sha256[3] = 1;
    assert_int_not_equal(cf_seen_hash_line(&l), hash);
    assert_int_not_equal(cf_seen_hash_text("ab", "c"), cf_seen_hash_text("a", "bc"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),        cmocka_unit_test(test_packs),
        cmocka_unit_test(test_budget),      cmocka_unit_test(test_seen),
        cmocka_unit_test(test_seen_budget), cmocka_unit_test(test_hashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
