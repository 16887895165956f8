/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/adoption.h"

#include <zstd.h>

#include "fixture.h"
#include "repo/claim.h"
#include "repo/prior.h"

enum { MIB = 1 << 20 };

/* A pack's name in a run. */
typedef struct name {
    char text[CF_RUN_OBJECT_LEN_MAX + 1];
} name;

static name pack_name(const cf_run_id *run, unsigned seq)
{
    name n;
    (void)snprintf(n.text, sizeof(n.text), "%s/%010u-pack-small.zst", run->text, seq);
    return n;
}

static void put_pack(fixture *f, const cf_run_id *run, unsigned seq, size_t bytes)
{
    char key[CF_KEY_LEN_MAX + 1];
    uint8_t *const body = calloc(1, bytes);
    const name n = pack_name(run, seq);
    cf_key_of_object(key, "n", n.text);
    put_object(f, key, cf_slice_of(body, bytes));
    free(body);
}

/* A journal under construction. */
typedef struct journal {
    cf_buf text;
} journal;

static void journal_init(journal *j)
{
    cf_buf_init(&j->text, 64 * MIB);
}

static void add_text(journal *j, const char *text)
{
    assert_ok(cf_buf_append_str(&j->text, text, &e));
}

static void add_pack(journal *j, const cf_run_id *run, unsigned seq, uint64_t bytes)
{
    const name n = pack_name(run, seq);
    const cf_pack_line line = {.pack = n.text, .stored_bytes = bytes};
    assert_ok(cf_pack_line_render(&line, &j->text, &e));
}

/* A file of 4 MiB parts (has_sha256) or whole, one extent a pack. */
static void add_file(journal *j, const char *path, const cf_run_id *const *runs,
                     const unsigned *seqs, size_t total, bool parts)
{
    cf_extent x[8] = {0};
    name names[8];
    for (size_t i = 0; i < total; i++) {
        names[i] = pack_name(runs[i], seqs[i]);
        x[i] = (cf_extent){.pack = names[i].text,
                           .stored_bytes = 100,
                           .file_offset = i * CF_FRAME_BYTES,
                           .file_bytes = CF_FRAME_BYTES,
                           .has_sha256 = parts};
    }
    const cf_file_line line = {.step = 1,
                               .path = cf_slice_str(path),
                               .size_bytes = total * (uint64_t)CF_FRAME_BYTES,
                               .mode = 0644,
                               .klass = "chunk",
                               .has_sha256 = true,
                               .extents = x,
                               .extent_total = total};
    assert_ok(cf_file_line_render(&line, &j->text, &e));
}

/* Stored as the run's object of that number; text NULL: j's. */
static void put_journal(fixture *f, journal *j, const cf_run_id *run, uint32_t seq)
{
    char key[CF_KEY_LEN_MAX + 1];
    const size_t cap = ZSTD_compressBound(j->text.len);
    uint8_t *const out = malloc(cap);
    const size_t len = ZSTD_compress(out, cap, j->text.data, j->text.len, 3);
    assert_false(ZSTD_isError(len));
    cf_key_journal(key, "n", run, seq);
    put_object(f, key, cf_slice_of(out, len));
    free(out);
    cf_buf_deinit(&j->text);
}

static void put_lease(fixture *f, uint64_t number, const cf_run_id *run, bool ended)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    char key[CF_KEY_LEN_MAX + 1];
    cf_lease_body b = {.ttl_s = CF_LEASE_TTL_S, .run = *run, .ended = ended};
    cf_key_lease(key, "n", number);
    cf_buf_init(&text, CF_LEASE_LEN_MAX);
    assert_ok(cf_lease_body_render(&b, &text, &e));
    put_object(f, key, cf_buf_slice(&text));
}

/* A dead run with one good pack, 1, of 200 bytes, and a file "a" in it. */
static cf_run_id put_dead(fixture *f, uint64_t lease, uint32_t random)
{
    const cf_run run = make_run("n", FIXTURE_UTC_S - 100 + (int64_t)lease, random);
    const cf_run_id *runs[] = {&run.id};
    const unsigned seqs[] = {1};
    journal j;
    journal_init(&j);
    put_lease(f, lease, &run.id, /* ended= */ true);
    put_pack(f, &run.id, 1, 200);
    add_file(&j, "a", runs, seqs, 1, /* parts= */ false);
    add_pack(&j, &run.id, 1, 200);
    add_text(&j, "{\"uploads\":[]}\n");
    put_journal(f, &j, &run.id, 2);
    return run.id;
}

static cf_adoption *adopt(fixture *f, const cf_run_id *runs, size_t total)
{
    cf_adoption *a = NULL;
    assert_ok(cf_adoption_new(
        &(cf_adoption_opts){.repo = &f->repo, .node = "n", .runs = runs, .total = total}, &a, &e));
    return a;
}

static cf_prior *prior_of(cf_adoption *a)
{
    cf_prior *p = NULL;
    assert_ok(cf_prior_new(&(cf_prior_opts){.adopted = a}, &p, &e));
    return p;
}

/* --- who is adopted --- */

static void test_claim_adopts(void **state)
{
    (void)state;
    static const struct {
        const char *title;
        bool fenced, committed, objects;
        size_t adopted;
    } cases[] = {
        {"a dead run that left something", false, false, true, 1},
        {"one that left nothing", false, false, false, 0},
        {"a fenced one", true, false, true, 0},
        {"a committed one", false, true, true, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fixture f;
        cf_claim c = {0};
        char key[CF_KEY_LEN_MAX + 1];
        fixture_init(&f);
        cf_run_id dead = make_run("n", FIXTURE_UTC_S - 50, 3).id;
        if (cases[i].objects)
            dead = put_dead(&f, 1, 3);
        else
            put_lease(&f, 1, &dead, true);
        cf_key_root(key, "n", &dead);
        if (cases[i].fenced)
            put_object(&f, key, cf_slice_str(""));
        if (cases[i].committed) {
            cf_run run = make_run("n", FIXTURE_UTC_S, 1);
            run.id = dead;
            CF_CLEANUP(cf_root_freep) cf_root *root = make_root(&run);
            root->lease = 0; /* so that its lease stands above it */
            assert_ok(cf_snapshot_commit(&f.repo, "n", root, &e));
        }
        cf_error e = {0};
        if (cf_claim_take(&f.repo, &(cf_claim_opts){.node = "n", .adopt = true}, &c, &e) != CF_OK)
            fail_msg("%s: %s", cases[i].title, e.message);
        if (cf_adoption_run_total(c.adopted) != cases[i].adopted)
            fail_msg("%s: %zu adopted", cases[i].title, cf_adoption_run_total(c.adopted));
        CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
        cf_lease_body b = {0};
        cf_buf_init(&text, CF_LEASE_LEN_MAX);
        cf_key_lease(key, "n", cf_lease_number(c.lease));
        assert_int_equal(cf_store_get_small(f.store, key, &text, &e), CF_OK);
        assert_int_equal(cf_lease_body_parse(cf_buf_slice(&text), &b, &e), CF_OK);
        assert_int_equal(b.uses_total, cases[i].adopted + (cases[i].committed ? 1 : 0));
        if (cases[i].adopted > 0) {
            const name n = pack_name(&dead, 1);
            assert_string_equal(b.uses[0].text, dead.text);
            assert_true(cf_adoption_has(c.adopted, n.text));
        }
        cf_claim_deinit(&c);
        fixture_deinit(&f);
    }
}

/* Not asked for, or more than a lease can name: the newest. */
static void test_claim_adopts_some(void **state)
{
    (void)state;
    enum { DEAD = 20 };
    fixture f;
    cf_claim c = {0};
    cf_run_id dead[DEAD];
    fixture_init(&f);
    for (uint32_t i = 0; i < DEAD; i++)
        dead[i] = put_dead(&f, i + 1, i);
    assert_ok(cf_claim_take(&f.repo, &(cf_claim_opts){.node = "n"}, &c, &e));
    assert_null(c.adopted);
    cf_claim_deinit(&c);
    assert_ok(cf_claim_take(&f.repo, &(cf_claim_opts){.node = "n", .adopt = true}, &c, &e));
    assert_int_equal(cf_adoption_run_total(c.adopted), CF_LEASE_USES_MAX - 1);
    for (size_t i = 0; i < CF_LEASE_USES_MAX - 1; i++)
        assert_string_equal(cf_adoption_run(c.adopted, i)->text,
                            dead[DEAD - CF_LEASE_USES_MAX + 1 + i].text);
    cf_claim_deinit(&c);
    fixture_deinit(&f);
}

/* A prune fences the dead run between the choice and the lease: it is left out, and `uses` names it
 * no more. */
typedef struct fencer {
    fixture *f;
    const cf_run_id *run;
    bool done;
} fencer;

static cf_err fence_before_lease(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    fencer *const x = impl;
    char root[CF_KEY_LEN_MAX + 1];
    (void)e;
    if (x->done || op != CF_STORE_OP_PUT || strstr(key, "/leases/") == NULL)
        return CF_OK;
    x->done = true;
    cf_key_root(root, "n", x->run);
    put_object(x->f, root, cf_slice_str(""));
    return CF_OK;
}

static void test_fenced_meanwhile(void **state)
{
    (void)state;
    fixture f;
    cf_claim c = {0};
    fixture_init(&f);
    const cf_run_id dead = put_dead(&f, 1, 3);
    fencer x = {&f, &dead, false};
    cf_store_memory_set_hooks(f.store,
                              &(cf_store_memory_hooks){.before = fence_before_lease, .impl = &x});
    assert_ok(cf_claim_take(&f.repo, &(cf_claim_opts){.node = "n", .adopt = true}, &c, &e));
    cf_store_memory_set_hooks(f.store, NULL);
    assert_true(x.done);
    assert_null(c.adopted);
    assert_int_equal(cf_lease_number(c.lease), 3); /* `uses` never changes within a number */
    cf_claim_deinit(&c);
    fixture_deinit(&f);
}

/* --- what of it counts --- */

static void test_packs(void **state)
{
    (void)state;
    fixture f;
    journal j;
    fixture_init(&f);
    const cf_run_id run = make_run("n", FIXTURE_UTC_S, 1).id;
    const cf_run_id other = make_run("n", FIXTURE_UTC_S, 2).id;
    journal_init(&j);
    put_pack(&f, &run, 1, 200);
    put_pack(&f, &run, 2, 200);
    put_pack(&f, &run, 5, 300);
    put_pack(&f, &run, 7, 400);
    put_pack(&f, &other, 3, 200);
    add_pack(&j, &run, 1, 200);
    add_pack(&j, &run, 2, 201);   /* another length */
    add_pack(&j, &run, 4, 200);   /* not there */
    add_pack(&j, &other, 3, 200); /* of a run that is not ours to name */
    add_pack(&j, &run, 5, 300);
    add_text(&j, "{\"later\":1}\n"); /* a kind that is not known */
    put_journal(&f, &j, &run, 6);    /* nothing says anything of pack 7 */
    cf_adoption *const a = adopt(&f, &run, 1);
    static const struct {
        unsigned seq;
        bool has;
    } cases[] = {{1, true}, {2, false}, {4, false}, {5, true}, {7, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const name n = pack_name(&run, cases[i].seq);
        if (cf_adoption_has(a, n.text) != cases[i].has)
            fail_msg("pack %u", cases[i].seq);
    }
    const name strange = pack_name(&other, 3);
    assert_false(cf_adoption_has(a, strange.text));
    assert_true(cf_adoption_has_bytes(a, pack_name(&run, 1).text, 200));
    assert_false(cf_adoption_has_bytes(a, pack_name(&run, 1).text, 201));
    name renamed = pack_name(&run, 1);
    memcpy(strstr(renamed.text, "small"), "large", 5);
    assert_false(cf_adoption_has(a, renamed.text));
    assert_false(cf_adoption_has(NULL, renamed.text));
    for (int pass = 0; pass < 2; pass++) {
        const cf_pack_line *line = NULL;
        assert_ok(cf_adoption_next_pack(a, &line, &e));
        assert_string_equal(line->pack, pack_name(&run, 1).text);
        assert_ok(cf_adoption_next_pack(a, &line, &e));
        assert_string_equal(line->pack, pack_name(&run, 5).text);
        assert_ok(cf_adoption_next_pack(a, &line, &e));
        assert_null(line);
        cf_adoption_rewind(a);
    }
    cf_adoption_free(a);
    fixture_deinit(&f);
}

/* Files of two dead runs: the newest line counts, if all its packs do; of parts those that do. */
static void test_prior(void **state)
{
    (void)state;
    fixture f;
    journal j;
    fixture_init(&f);
    const cf_run_id old = make_run("n", FIXTURE_UTC_S, 1).id;
    const cf_run_id new = make_run("n", FIXTURE_UTC_S + 5, 2).id;
    const cf_run_id gone = make_run("n", FIXTURE_UTC_S - 5, 3).id;
    const unsigned one[] = {1, 1, 1};
    journal_init(&j);
    put_pack(&f, &old, 1, 1000);
    add_file(&j, "a", (const cf_run_id *[]){&old}, one, 1, false);
    add_file(&j, "b", (const cf_run_id *[]){&old}, one, 1, false);
    add_file(&j, "c", (const cf_run_id *[]){&old, &old, &old}, one, 3, true);
    add_file(&j, "d", (const cf_run_id *[]){&gone}, one, 1, false);
    add_pack(&j, &old, 1, 1000);
    put_journal(&f, &j, &old, 2);
    journal_init(&j);
    put_pack(&f, &new, 1, 1000);
    add_file(&j, "a", (const cf_run_id *[]){&new}, one, 1, false);
    add_file(&j, "b", (const cf_run_id *[]){&gone}, one, 1, false); /* of the gone one's */
    add_file(&j, "c", (const cf_run_id *[]){&new, &gone, &gone}, one, 3, true);
    add_file(&j, "e", (const cf_run_id *[]){&new, &old}, one, 2, false); /* both are in `uses` */
    add_file(&j, "e", (const cf_run_id *[]){&gone}, one, 1, false);      /* against the order */
    add_file(&j, "f", (const cf_run_id *[]){&gone, &gone}, one, 2, true);
    add_pack(&j, &new, 1, 1000);
    put_journal(&f, &j, &new, 2);
    cf_adoption *const a = adopt(&f, (const cf_run_id[]){new, old}, 2);
    cf_prior *const p = prior_of(a);
    for (int pass = 0; pass < 2; pass++) {
        const cf_file_line *l = NULL;
        assert_ok(cf_prior_next_file(p, &l, &e));
        assert_string_equal(l->extents[0].pack, pack_name(&new, 1).text);
        assert_false(l->is_partial);
        assert_ok(cf_prior_next_file(p, &l, &e)); /* b: the older one's is whole */
        assert_memory_equal(l->path.ptr, "b", 1);
        assert_string_equal(l->extents[0].pack, pack_name(&old, 1).text);
        assert_ok(cf_prior_next_file(p, &l, &e)); /* c: put together, and proves nothing */
        assert_true(l->is_partial);
        assert_false(l->has_sha256);
        assert_int_equal(l->extent_total, 3);
        assert_string_equal(l->extents[0].pack, pack_name(&new, 1).text);
        assert_string_equal(l->extents[1].pack, pack_name(&old, 1).text);
        assert_int_equal(l->extents[2].file_offset, 2 * CF_FRAME_BYTES);
        assert_ok(cf_prior_find_file(p, 1, cf_slice_str("d"), &l, &e));
        assert_null(l);
        assert_ok(cf_prior_find_file(p, 1, cf_slice_str("e"), &l, &e));
        assert_int_equal(l->extent_total, 2);
        assert_false(l->is_partial);
        assert_ok(cf_prior_next_file(p, &l, &e)); /* f has no part that is fine */
        assert_null(l);
        assert_ok(cf_prior_rewind(p, &e));
    }
    cf_prior_free(p);
    cf_adoption_free(a);
    fixture_deinit(&f);
}

/* An extent that leaves its pack. */
static void test_prior_bounds(void **state)
{
    (void)state;
    fixture f;
    journal j;
    const cf_file_line *l = NULL;
    fixture_init(&f);
    const cf_run_id run = make_run("n", FIXTURE_UTC_S, 1).id;
    journal_init(&j);
    put_pack(&f, &run, 1, 99); /* extents of add_file() have 100 bytes */
    add_file(&j, "a", (const cf_run_id *[]){&run}, (const unsigned[]){1}, 1, false);
    add_pack(&j, &run, 1, 99);
    put_journal(&f, &j, &run, 2);
    cf_adoption *const a = adopt(&f, &run, 1);
    cf_prior *const p = prior_of(a);
    assert_true(cf_adoption_has(a, pack_name(&run, 1).text));
    assert_ok(cf_prior_next_file(p, &l, &e));
    assert_null(l);
    cf_prior_free(p);
    cf_adoption_free(a);
    fixture_deinit(&f);
}

/* --- journals that are none --- */

static void test_damaged_journal(void **state)
{
    (void)state;
    static const struct {
        const char *title, *second; /* stored as the second journal */
    } cases[] = {
        {"no zstd", "what is this"},
        {"a frame that ends early", "\x28\xb5\x2f\xfd\x04\x00"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fixture f;
        char key[CF_KEY_LEN_MAX + 1];
        fixture_init(&f);
        const cf_run_id run = put_dead(&f, 1, 3);
        cf_key_journal(key, "n", &run, 3);
        put_object(&f, key, cf_slice_of(cases[i].second, 6));
        cf_adoption *const a = adopt(&f, &run, 1);
        if (!cf_adoption_has(a, pack_name(&run, 1).text))
            fail_msg("%s: what came before it is good", cases[i].title);
        cf_prior *const p = prior_of(a);
        const cf_file_line *l = NULL;
        assert_ok(cf_prior_next_file(p, &l, &e));
        assert_non_null(l);
        assert_ok(cf_prior_next_file(p, &l, &e));
        assert_null(l);
        cf_prior_free(p);
        cf_adoption_free(a);
        fixture_deinit(&f);
    }
}

/* Larger than what is kept: read in blocks, each pass anew. */
static void test_long_journal(void **state)
{
    (void)state;
    enum { FILES = 30000 };
    fixture f;
    journal j;
    fixture_init(&f);
    const cf_run_id run = make_run("n", FIXTURE_UTC_S, 1).id;
    const cf_run_id *runs[] = {&run};
    const unsigned seqs[] = {1};
    put_pack(&f, &run, 1, 1000);
    for (uint32_t part = 0; part < 2; part++) {
        journal_init(&j);
        for (int i = 0; i < FILES / 2; i++) {
            char path[64];
            (void)snprintf(path, sizeof(path), "%08d", (int)part * FILES / 2 + i);
            add_file(&j, path, runs, seqs, 1, false);
        }
        if (part == 1)
            add_pack(&j, &run, 1, 1000);
        put_journal(&f, &j, &run, 2 + part);
    }
    cf_journal_object objects[2] = {{0, 2}, {0, 3}};
    for (size_t i = 0; i < 2; i++) {
        char key[CF_KEY_LEN_MAX + 1];
        cf_object_stat stat = {0};
        cf_key_journal(key, "n", &run, objects[i].seq);
        assert_ok(f.store->ops->head(f.store, key, &stat, &e));
        objects[i].stored_bytes = stat.size_bytes;
    }
    for (int keep = 0; keep < 2; keep++) {
        cf_journal_reader *r = NULL;
        assert_ok(cf_journal_reader_new(&f.repo, "n", &run, objects, 2, keep != 0, &r, &e));
        for (int pass = 0; pass < 2; pass++) {
            const uint64_t before = count_requests(&f);
            size_t lines = 0;
            for (;;) {
                cf_journal_kind kind = CF_JOURNAL_END;
                cf_slice text = {NULL, 0};
                assert_ok(cf_journal_reader_next(r, &kind, &text, &e));
                if (kind == CF_JOURNAL_END)
                    break;
                lines++;
            }
            assert_int_equal(lines, FILES + 1);
            assert_int_equal(count_requests(&f) == before, keep != 0 && pass > 0);
            assert_ok(cf_journal_reader_rewind(r, &e));
        }
        cf_journal_reader_free(r);
    }
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claim_adopts),
        cmocka_unit_test(test_claim_adopts_some),
        cmocka_unit_test(test_fenced_meanwhile),
        cmocka_unit_test(test_packs),
        cmocka_unit_test(test_prior),
        cmocka_unit_test(test_prior_bounds),
        cmocka_unit_test(test_damaged_journal),
        cmocka_unit_test(test_long_journal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
