/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "repo/repo.h"

static const char descriptor_key[] = "chunkferry.json";

static void test_init_open(void **state)
{
    (void)state;
    fixture f;
    cf_repo again = {0};
    fixture_init_empty(&f);
    assert_refused(cf_repo_open(f.store, &f.world, &again, &e), CF_ERR_NO_REPOSITORY,
                   "there is no 'chunkferry.json'");
    assert_ok(cf_repo_init(f.store, &f.world, &f.repo, &e));
    assert_int_equal(count_objects(&f, ""), 1); /* the probe is gone */
    assert_ok(cf_repo_open(f.store, &f.world, &again, &e));
    assert_string_equal(again.id, f.repo.id);
    assert_int_equal(strlen(again.id), 32);
    assert_true(again.created_utc_ms == f.repo.created_utc_ms);
    assert_true(again.conditional);
    assert_refused(cf_repo_init(f.store, &f.world, &again, &e), CF_ERR_EXISTS,
                   "a repository is there already");
    fixture_deinit(&f);

    fixture_init_empty(&f);
    cf_store_memory_set_features(f.store, 0);
    assert_ok(cf_repo_init(f.store, &f.world, &f.repo, &e));
    assert_false(f.repo.conditional);
    assert_ok(cf_repo_open(f.store, &f.world, &again, &e));
    assert_false(again.conditional);
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    const char *json = NULL;
    cf_buf_init(&text, 4096);
    assert_ok(cf_store_get_small(f.store, "chunkferry.json", &text, &e));
    assert_ok(cf_buf_get_str(&text, &json, &e));
    assert_non_null(strstr(json, "\"requires\":[\"unconditional-create\"]"));
    assert_non_null(strstr(json, "\"create\":\"unconditional\""));
    fixture_deinit(&f);
}

static void test_descriptor(void **state)
{
    (void)state;
    static const char id[] = "\"id\":\"0123456789abcdef0123456789abcdef\"";
    static const struct {
        const char *title, *begin, *end;
        cf_err code;
        const char *part;
    } cases[] = {
        {"good", "{\"format\":1,\"requires\":[],",
         ",\"created\":\"2026-11-21T14:31:00Z\",\"sealing\":\"none\"}", CF_OK, ""},
        {"unknown keys are ignored", "{\"x\":{},\"format\":1,\"requires\":[],",
         ",\"created\":\"2026-11-21T14:31:00Z\",\"sealing\":\"none\"}", CF_OK, ""},
        {"format 2", "{\"format\":2,\"requires\":[],",
         ",\"created\":\"2026-11-21T14:31:00Z\",\"sealing\":\"none\"}", CF_ERR_FORMAT,
         "the descriptor has format 2, this program knows up to 1"},
        {"from the future", "{\"format\":1,\"requires\":[\"age\"],",
         ",\"created\":\"2026-11-21T14:31:00Z\",\"sealing\":\"none\"}", CF_ERR_FORMAT,
         "requires 'age'"},
        {"sealed", "{\"format\":1,\"requires\":[],",
         ",\"created\":\"2026-11-21T14:31:00Z\",\"sealing\":\"age\"}", CF_ERR_FORMAT,
         "sealed with 'age'"},
        {"format 0", "{\"format\":0,\"requires\":[],",
         ",\"created\":\"2026-11-21T14:31:00Z\",\"sealing\":\"none\"}", CF_ERR_DAMAGE,
         "'format' is 0"},
        {"no requires", "{\"format\":1,",
         ",\"created\":\"2026-11-21T14:31:00Z\",\"sealing\":\"none\"}", CF_ERR_DAMAGE,
         "'requires'"},
        {"a number for a time", "{\"format\":1,\"requires\":[],",
         ",\"created\":1,\"sealing\":\"none\"}", CF_ERR_DAMAGE, "'created' is not a string"},
        {"truncated", "{\"format\":1,\"requires\":[],", ",", CF_ERR_DAMAGE, "malformed JSON"},
        {"a key twice", "{\"format\":1,\"format\":1,\"requires\":[],", "}", CF_ERR_DAMAGE,
         "malformed JSON"},
        {"nested too deep", "{\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "", CF_ERR_DAMAGE,
         "nested deeper than 32"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fixture f;
        char text[1024];
        fixture_init_empty(&f);
        (void)snprintf(text, sizeof(text), "%s%s%s", cases[i].begin, id, cases[i].end);
        put_object(&f, descriptor_key, cf_slice_str(text));
        if (cases[i].code == CF_OK)
            assert_ok(cf_repo_open(f.store, &f.world, &f.repo, &e));
        else
            assert_refused(cf_repo_open(f.store, &f.world, &f.repo, &e), cases[i].code,
                           cases[i].part);
        fixture_deinit(&f);
    }
}

static void commit_at(fixture *f, int64_t utc_s, uint32_t random)
{
    const cf_run run = make_run("n", utc_s, random);
    cf_root *root = make_root(&run);
    assert_ok(cf_snapshot_commit(&f->repo, "n", root, &e));
    cf_root_free(root);
}

static void fence_at(fixture *f, int64_t utc_s)
{
    char key[CF_KEY_LEN_MAX + 1];
    const cf_run run = make_run("n", utc_s, 0xfe0cedu);
    cf_key_root(key, "n", &run.id);
    put_object(f, key, cf_slice_of(NULL, 0));
}

static void test_list(void **state)
{
    (void)state;
    const int64_t day = 24 * 3600;
    fixture f;
    cf_snapshot_ids ids = {0};
    fixture_init(&f);
    assert_ok(cf_snapshot_list(&f.repo, "n", true, &ids, &e));
    assert_int_equal(ids.total, 0);
    assert_string_equal(ids.newest.text, "");
    cf_snapshot_ids_deinit(&ids);

    commit_at(&f, FIXTURE_UTC_S - 60 * day, 1);
    commit_at(&f, FIXTURE_UTC_S - 50 * day, 2);
    fence_at(&f, FIXTURE_UTC_S - day);
    put_object(&f, "nodes/n/snapshots/README", cf_slice_str("x"));
    assert_ok(
        cf_snapshot_list(&f.repo, "n", true, &ids, &e)); /* none committed in the window: all */
    assert_int_equal(ids.total, 2);
    assert_string_equal(ids.newest.text, "20261120T143100Z-00fe0ced");
    cf_snapshot_ids_deinit(&ids);

    commit_at(&f, FIXTURE_UTC_S - 2 * day, 3);
    assert_ok(cf_snapshot_list(&f.repo, "n", true, &ids, &e));
    assert_int_equal(ids.total, 1);
    assert_string_equal(ids.id[0].text, "20261119T143100Z-00000003");
    cf_snapshot_ids_deinit(&ids);
    assert_ok(cf_snapshot_list(&f.repo, "n", false, &ids, &e));
    assert_int_equal(ids.total, 3);
    assert_true(strcmp(ids.id[0].text, ids.id[1].text) < 0 &&
                strcmp(ids.id[1].text, ids.id[2].text) < 0);
    cf_snapshot_ids_deinit(&ids);
    assert_refused(cf_snapshot_list(&f.repo, "../x", true, &ids, &e), CF_ERR_USAGE, "node's name");
    fixture_deinit(&f);
}

static void test_find(void **state)
{
    (void)state;
    fixture f;
    cf_run_id id = {""};
    fixture_init(&f);
    assert_refused(cf_snapshot_find(&f.repo, "n", "latest", &id, &e), CF_ERR_NOT_FOUND,
                   "node 'n' has no snapshot");
    commit_at(&f, FIXTURE_UTC_S - 120, 1);
    commit_at(&f, FIXTURE_UTC_S - 60, 2);
    fence_at(&f, FIXTURE_UTC_S);
    assert_ok(cf_snapshot_find(&f.repo, "n", "latest", &id, &e));
    assert_string_equal(id.text, "20261121T143000Z-00000002");
    assert_ok(cf_snapshot_find(&f.repo, "n", "20261121T1429", &id, &e));
    assert_string_equal(id.text, "20261121T142900Z-00000001");
    assert_ok(cf_snapshot_find(&f.repo, "n", "20261121T142900Z-00000001", &id, &e));
    assert_refused(cf_snapshot_find(&f.repo, "n", "2026", &id, &e), CF_ERR_USAGE,
                   "2 snapshots of node 'n' begin with '2026'");
    assert_refused(cf_snapshot_find(&f.repo, "n", "", &id, &e), CF_ERR_NOT_FOUND, "no snapshot ''");
    assert_refused(cf_snapshot_find(&f.repo, "n", "2025", &id, &e), CF_ERR_NOT_FOUND,
                   "no snapshot '2025'; the newest are:\n  20261121T143000Z-00000002\n  "
                   "20261121T142900Z-00000001");
    fixture_deinit(&f);
}

/* Copies: their ids say when they were copied, their times when they were made. */
static void copy_at(fixture *f, int64_t utc_s, uint32_t random, int64_t time_utc_s)
{
    const cf_run run = make_run("n", utc_s, random);
    CF_CLEANUP(cf_root_freep) cf_root *root = make_root(&run);
    root->time_utc_ms = time_utc_s * 1000;
    root->has_origin = true;
    memset(root->origin.repository, 'a', sizeof(root->origin.repository) - 1);
    root->origin.run = run.id;
    assert_ok(cf_snapshot_commit(&f->repo, "n", root, &e));
}

static void assert_latest(fixture *f, const char *expected)
{
    cf_run_id id = {""};
    assert_ok(cf_snapshot_find(&f->repo, "n", "latest", &id, &e));
    assert_string_equal(id.text, expected);
}

static void test_latest_goes_by_time(void **state)
{
    (void)state;
    const int64_t day = 24 * 3600, now = FIXTURE_UTC_S;
    fixture f;
    fixture_init(&f);
    copy_at(&f, now - 50 * day, 1, now - 51 * day);
    copy_at(&f, now - 40 * day, 2, now - 90 * day); /* outside the window, and older */
    assert_latest(&f, "20261002T143100Z-00000001");
    copy_at(&f, now - 2 * day, 3, now - 80 * day); /* alone in the window */
    assert_latest(&f, "20261002T143100Z-00000001");
    copy_at(&f, now - 1 * day, 4, now - 3 * day);
    copy_at(&f, now - 120, 5, now - 70 * day);
    copy_at(&f, now - 60, 6, now - 60 * day);
    assert_latest(&f, "20261120T143100Z-00000004");
    const uint64_t before = count_requests(&f);
    assert_latest(&f, "20261120T143100Z-00000004");
    assert_true(count_requests(&f) - before <= 10); /* not every root there is */
    commit_at(&f, now, 7);                          /* made here: one LIST, one root */
    assert_latest(&f, "20261121T143100Z-00000007");
    copy_at(&f, now + 60, 8, now - 10 * day);
    assert_latest(&f, "20261121T143100Z-00000007");
    put_object(&f, "nodes/n/snapshots/20261121T143300Z-00000009", cf_slice_str("{"));
    assert_latest(&f, "20261121T143300Z-00000009"); /* whoever asks for it hears what is wrong */
    fixture_deinit(&f);
}

static void test_load(void **state)
{
    (void)state;
    fixture f;
    cf_root *root = NULL;
    char key[CF_KEY_LEN_MAX + 1];
    fixture_init(&f);
    const cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    const cf_run other = make_run("n", FIXTURE_UTC_S, 2);
    const cf_run fenced = make_run("n", FIXTURE_UTC_S, 0xfe0cedu);
    commit_at(&f, FIXTURE_UTC_S, 1);
    fence_at(&f, FIXTURE_UTC_S);
    assert_ok(cf_snapshot_load(&f.repo, "n", &run.id, &root, &e));
    assert_string_equal(root->run.text, run.id.text);
    cf_root_free(root);
    assert_refused(cf_snapshot_load(&f.repo, "n", &other.id, &root, &e), CF_ERR_NOT_FOUND,
                   "no snapshot '20261121T143100Z-00000002'");
    assert_refused(cf_snapshot_load(&f.repo, "n", &fenced.id, &root, &e), CF_ERR_FENCED,
                   "was fenced");

    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    cf_buf_init(&text, CF_ROOT_LEN_MAX * 2);
    cf_key_root(key, "n", &run.id);
    assert_ok(cf_store_get_small(f.store, key, &text, &e));
    cf_key_root(key, "n", &other.id);
    put_object(&f, key, cf_buf_slice(&text));
    assert_refused(cf_snapshot_load(&f.repo, "n", &other.id, &root, &e), CF_ERR_DAMAGE,
                   "is that of run '20261121T143100Z-00000001'");
    put_object(&f, key, cf_slice_of(text.data, text.len / 2));
    assert_refused(cf_snapshot_load(&f.repo, "n", &other.id, &root, &e), CF_ERR_DAMAGE,
                   "malformed JSON");
    assert_ok(cf_buf_reserve(&text, CF_ROOT_LEN_MAX + 1, &e));
    memset(text.data, ' ', CF_ROOT_LEN_MAX + 1);
    put_object(&f, key, cf_slice_of(text.data, CF_ROOT_LEN_MAX + 1));
    assert_refused(cf_snapshot_load(&f.repo, "n", &other.id, &root, &e), CF_ERR_DAMAGE,
                   "has more than 1048576 bytes");
    fixture_deinit(&f);
}

/* --- commit: what the store answers, request by request --- */

typedef struct script {
    fixture *f;
    const char *puts;  /* one letter a PUT: '.' works, 'n' network error before it, 'a' answer lost
                          after it, 'd' denied,  'F' somebody fences just before, 'R' a clone commits
                          just before; the last one goes on */
    const char *heads; /* '.' works, 'n' fails */
    size_t put, head;
} script;

static char script_letter(const char *text, size_t *at)
{
    const char c = text[*at];
    if (text[*at + 1] != '\0')
        (*at)++;
    return c;
}

static cf_err script_before(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    script *const s = impl;
    if (strstr(key, "/snapshots/") == NULL)
        return CF_OK;
    if (op == CF_STORE_OP_HEAD)
        CF_ENSURE(script_letter(s->heads, &s->head) == '.', e, CF_ERR_NETWORK, "head cut");
    if (op != CF_STORE_OP_PUT)
        return CF_OK;
    const char c = s->puts[s->put];
    if (c == 'F' || c == 'R') {
        const cf_store_memory_hooks hooks = {.impl = s};
        cf_store_memory_set_hooks(s->f->store, &hooks);
        put_object(s->f, key, c == 'F' ? cf_slice_of(NULL, 0) : cf_slice_str("another root"));
        s->puts = ".";
        s->put = 0;
    }
    CF_ENSURE(c != 'd', e, CF_ERR_DENIED, "put denied");
    CF_ENSURE(c != 'n', e, CF_ERR_NETWORK, "put cut");
    return CF_OK;
}

static cf_err script_after(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    script *const s = impl;
    if (op == CF_STORE_OP_PUT && strstr(key, "/snapshots/") != NULL)
        CF_ENSURE(script_letter(s->puts, &s->put) != 'a', e, CF_ERR_TIMEOUT, "answer lost");
    return CF_OK;
}

/* The hook before an error is not followed by the one after: step there. */
static cf_err script_step(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    script *const s = impl;
    const cf_err err = script_before(impl, op, key, e);
    if (err != CF_OK && op == CF_STORE_OP_PUT)
        (void)script_letter(s->puts, &s->put);
    return err;
}

static void test_commit(void **state)
{
    (void)state;
    static const struct {
        const char *title, *puts, *heads;
        cf_err code;
        const char *part;
        int stands; /* 0: nothing, 1: our root, 2: a fence, 3: another's */
    } cases[] = {
        {"plain", ".", ".", CF_OK, "", 1},
        {"the answer is lost, HEAD finds it", "a", ".", CF_OK, "", 1},
        {"the answer and the HEAD are lost, the next PUT meets its own", "a.", "n.", CF_OK, "", 1},
        {"no PUT gets through but the last try", "nnnn.", ".", CF_OK, "", 1},
        {"fenced before it came", "F", ".", CF_ERR_FENCED, "was fenced by a prune", 2},
        {"a clone came first", "R", ".", CF_ERR_EXISTS,
         "another machine committed a run with our id", 3},
        {"no PUT of the root gets through, the fence does", "nnnnn.", ".", CF_ERR_NETWORK,
         "a fence stands at its key): commit: put cut", 2},
        {"denied: the fence too, so it is unknown", "d", ".", CF_ERR_UNKNOWN, "last: put denied",
         0},
        {"denied, but the fence is not", "ddddd.", ".", CF_ERR_DENIED, "is no snapshot", 2},
        {"nothing gets through at all", "n", "n", CF_ERR_UNKNOWN, "HINT: nothing is lost", 0},
        {"the fence's answer is lost, HEAD finds it", "nnnnna", ".", CF_ERR_NETWORK,
         "is no snapshot", 2},
        {"the fence's answer and HEAD are lost", "nnnnna", "n", CF_ERR_UNKNOWN, "unknown whether",
         2},
        {"every answer is lost, all HEADs too", "a", "n", CF_ERR_UNKNOWN, "last: answer lost", 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fixture f;
        char key[CF_KEY_LEN_MAX + 1];
        cf_object_stat stat = {0};
        cf_error e = {0};
        fixture_init(&f);
        const cf_run run = make_run("n", FIXTURE_UTC_S, 1);
        cf_root *const root = make_root(&run);
        script s = {.f = &f, .puts = cases[i].puts, .heads = cases[i].heads};
        cf_store_memory_set_hooks(f.store, &(cf_store_memory_hooks){script_step, script_after, &s});
        const cf_err err = cf_snapshot_commit(&f.repo, "n", root, &e);
        cf_store_memory_set_hooks(f.store, NULL);
        if (err != cases[i].code || strstr(e.message, cases[i].part) == NULL)
            fail_msg("%s: %s: %s", cases[i].title, cf_err_name(err), e.message);
        cf_key_root(key, "n", &run.id);
        const cf_err there = f.store->ops->head(f.store, key, &stat, NULL);
        const int stands = there == CF_ERR_NOT_FOUND ? 0
                           : stat.size_bytes == 0    ? 2
                           : stat.size_bytes == 12   ? 3
                                                     : 1;
        if (stands != cases[i].stands)
            fail_msg("%s: %d stands there", cases[i].title, stands);
        assert_true(atomic_load(&f.clock.slept_ms) <= 15000);
        cf_root_free(root);
        fixture_deinit(&f);
    }
}

static cf_err collect(void *impl, const char *name, cf_error *e)
{
    (void)e;
    (void)strncat(impl, name, 100);
    (void)strncat(impl, " ", 2);
    return CF_OK;
}

static void test_names(void **state)
{
    (void)state;
    fixture f;
    char text[1024] = "";
    fixture_init(&f);
    put_object(&f, "nodes/b/leases/0000000001", cf_slice_str("x"));
    put_object(&f, "nodes/a.1/snapshots/x", cf_slice_str("x"));
    put_object(&f, "nodes/UPPER/snapshots/x", cf_slice_str("x"));
    put_object(&f, "nodes/stray", cf_slice_str("x"));
    assert_ok(cf_repo_list_nodes(&f.repo, collect, text, &e));
    assert_string_equal(text, "a.1 b ");
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init_open),
        cmocka_unit_test(test_descriptor),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_latest_goes_by_time),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_commit),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
