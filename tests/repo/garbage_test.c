/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <zstd.h>

#include "repo/garbage.h"

typedef struct seen {
    char text[4096];
    uint64_t objects;
    unsigned runs;
} seen;

static cf_err see_line(void *impl, const cf_garbage_line *l, cf_error *e)
{
    seen *const s = impl;
    (void)e;
    size_t used = strlen(s->text);
    if (used < 3000)
        used += (size_t)snprintf(s->text + used, sizeof(s->text) - used, "%s%s", l->run.text + 17,
                                 l->root ? " root" : "");
    for (size_t i = 0; i < l->range_total; i++) {
        if (used < 3000)
            used += (size_t)snprintf(s->text + used, sizeof(s->text) - used, " %u-%u",
                                     (unsigned)l->range[i][0], (unsigned)l->range[i][1]);
        s->objects += l->range[i][1] - l->range[i][0] + 1;
    }
    if (used < 3000)
        (void)snprintf(s->text + used, sizeof(s->text) - used, ";");
    return CF_OK;
}

static cf_err see_run(void *impl, const cf_run_id *run, cf_error *e)
{
    (void)run;
    (void)e;
    ((seen *)impl)->runs++;
    return CF_OK;
}

static void test_round(void **state)
{
    (void)state;
    fixture f;
    seen s = {.runs = 0};
    bool full = false;
    CF_CLEANUP(cf_garbage_writer_freep) cf_garbage_writer *w = NULL;
    fixture_init(&f);
    const cf_run a = make_run("n", FIXTURE_UTC_S, 0xa), b = make_run("n", FIXTURE_UTC_S + 1, 0xb);
    static const uint32_t seqs[] = {1, 2, 3, 7, 9, 10, CF_SEQ_MAX};
    assert_ok(cf_garbage_writer_new(&w, &e));
    assert_ok(cf_garbage_writer_add(w, &a.id, 0, &full, &e));
    for (size_t i = 0; i < ARRAY_LEN(seqs); i++)
        assert_ok(cf_garbage_writer_add(w, &a.id, seqs[i], &full, &e));
    assert_ok(cf_garbage_writer_add(w, &b.id, 5, &full, &e));
    assert_false(full);
    assert_ok(cf_garbage_writer_put(w, &f.repo, "n", &b.id, &e));
    assert_ok(cf_garbage_each(&f.repo, "n", see_line, &s, &e));
    assert_string_equal(s.text, "0000000a root 1-3 7-7 9-10 2000000000-2000000000;0000000b 5-5;");
    assert_ok(cf_garbage_each_run(&f.repo, "n", see_run, &s, &e));
    assert_int_equal(s.runs, 2);
    fixture_deinit(&f);
}

/* More ranges than a line has, and a mark that is full. */
static void test_many(void **state)
{
    (void)state;
    enum { RUNS = 300, EACH = 3000 };
    fixture f;
    seen s = {.runs = 0};
    uint64_t added = 0;
    bool full = false;
    CF_CLEANUP(cf_garbage_writer_freep) cf_garbage_writer *w = NULL;
    fixture_init(&f);
    assert_ok(cf_garbage_writer_new(&w, &e));
    for (uint32_t r = 0; r < RUNS && !full; r++) {
        const cf_run run = make_run("n", FIXTURE_UTC_S + r, r * 2654435761u);
        for (uint32_t i = 0; i < EACH && !full; i++) {
            assert_ok(cf_garbage_writer_add(w, &run.id, 1 + i * 3 + r % 3, &full, &e));
            added += !full;
        }
    }
    const cf_run id = make_run("n", FIXTURE_UTC_S, 1);
    assert_ok(cf_garbage_writer_put(w, &f.repo, "n", &id.id, &e));
    assert_ok(cf_garbage_each(&f.repo, "n", see_line, &s, &e));
    assert_int_equal(s.objects, added);
    fixture_deinit(&f);
}

static void test_empty(void **state)
{
    (void)state;
    fixture f;
    CF_CLEANUP(cf_garbage_writer_freep) cf_garbage_writer *w = NULL;
    fixture_init(&f);
    const cf_run id = make_run("n", FIXTURE_UTC_S, 1);
    assert_ok(cf_garbage_writer_new(&w, &e));
    assert_ok(cf_garbage_writer_put(w, &f.repo, "n", &id.id, &e));
    assert_int_equal(count_objects(&f, "nodes/"), 0);
    fixture_deinit(&f);
}

static void test_bad(void **state)
{
    (void)state;
#define HEAD "{\"format\":1,\"requires\":[]}\n"
#define RUN  "{\"run\":\"20261121T153040Z-0123abcd\",\"root\":false,\"objects\":"
    static const struct {
        const char *text;
        cf_err code;
        const char *part;
    } cases[] = {
        {"", CF_ERR_DAMAGE, "no newline"},
        {HEAD RUN "[[1,2]]}", CF_ERR_DAMAGE, "no newline"},
        {"{\"format\":2,\"requires\":[]}\n", CF_ERR_FORMAT, "format 2"},
        {HEAD RUN "[[2,1]]}\n", CF_ERR_DAMAGE, "range 1"},
        {HEAD RUN "[[0,1]]}\n", CF_ERR_DAMAGE, "range 1"},
        {HEAD RUN "[[1,2000000001]]}\n", CF_ERR_DAMAGE, "range 1"},
        {HEAD RUN "[1]}\n", CF_ERR_DAMAGE, "range 1"},
        {HEAD RUN "1}\n", CF_ERR_DAMAGE, "'objects'"},
        {HEAD "{\"run\":\"x\",\"objects\":[]}\n", CF_ERR_DAMAGE, "'run'"},
        {HEAD "\n", CF_ERR_DAMAGE, "malformed"},
        {"not zstd", CF_ERR_DAMAGE, "decompress"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fixture f;
        seen s = {.runs = 0};
        uint8_t stored[4096];
        const bool raw = cases[i].text[0] == 'n';
        fixture_init(&f);
        const size_t len =
            raw ? 0
                : ZSTD_compress(stored, sizeof(stored), cases[i].text, strlen(cases[i].text), 3);
        put_object(&f, "nodes/n/garbage/20261121T153040Z-00000001",
                   raw ? cf_slice_str(cases[i].text) : cf_slice_of(stored, len));
        put_object(&f, "nodes/n/garbage/other", cf_slice_str("theirs"));
        assert_refused(cf_garbage_each(&f.repo, "n", see_line, &s, &e), cases[i].code,
                       cases[i].part);
        fixture_deinit(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
