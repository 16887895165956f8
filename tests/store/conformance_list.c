/* SPDX-License-Identifier: Apache-2.0
 *
 * Lists, held against a model that knows nothing of folders: a sorted array of keys.
 */
#include <pthread.h>

#include "tests/store/conformance_impl.h"
#include "tests/store/conformance_util.h"

/* In byte order, and chosen so that folders, their names and what sorts around '/' get in each
 * other's way. */
static const char *const hostile[] = {
    "-.",
    "-/-",
    "...",
    "0",
    "A",
    "B/x",
    "Z",
    "_",
    "a-.",
    "a-/b",
    "a-b.",
    "a-b-/c",
    "a-b.c/d",
    "a-b/c",
    "a.b",
    "a.b.c/d",
    "a/-",
    "a/.x",
    "a/0",
    "a/A",
    "a/b-c/d",
    "a/b.c",
    "a/b/c-d",
    "a/b/c/d",
    "a/bb",
    "a/c/a/b",
    "a/c/b",
    "a0",
    "a_",
    "aa",
    "ab/c",
    "ab0",
    "b-/b-/c",
    "b-/b/c",
    "b/b/b",
    "b0/b",
    "nodes/k-1/snapshots/1",
    "nodes/k.1/x",
    "nodes/k/leases/1",
    "nodes/k/runs/r/1",
    "nodes/k/runs/r/2",
    "nodes/k/snapshots/1",
    "nodes/k/snapshots/2",
    "nodes/k0/x",
};
enum { HOSTILE_TOTAL = sizeof(hostile) / sizeof(hostile[0]) };

static int by_bytes(const void *a, const void *b)
{
    const char *x = NULL;
    const char *y = NULL;
    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return strcmp(x, y);
}

/* The words of store.h, naively: each key, or its common prefix once. */
static cf_err model(const char *const *keys, size_t total, const char *prefix, const char *after,
                    bool delimited, listed *ret, cf_error *e)
{
    char last[CF_KEY_LEN_MAX + 2] = "";
    cf_buf_deinit(&ret->text);
    cf_buf_init(&ret->text, 1 << 20);
    ret->count = 0;
    for (size_t i = 0; i < total; i++) {
        char entry[CF_KEY_LEN_MAX + 2];
        if (strncmp(keys[i], prefix, strlen(prefix)) != 0)
            continue;
        (void)snprintf(entry, sizeof(entry), "%s", keys[i]);
        char *const slash = delimited ? strchr(entry + strlen(prefix), '/') : NULL;
        if (slash != NULL)
            slash[1] = '\0';
        if (strcmp(entry, last) == 0 || (after != NULL && strcmp(entry, after) <= 0))
            continue;
        (void)snprintf(last, sizeof(last), "%s", entry);
        ret->count++;
        CF_TRY(cf_buf_printf(&ret->text, e, "%s%s\n", slash != NULL ? "P " : "", entry));
    }
    return CF_OK;
}

static void compare(cf_store *s, const char *const *keys, size_t total, const char *prefix,
                    const char *after, const char *delimiter)
{
    CF_CLEANUP(listed_deinit) listed got = {0};
    CF_CLEANUP(listed_deinit) listed want = {0};
    cf_error e = {0};
    CHECK_ERR("model", &e, CF_OK, model(keys, total, prefix, after, delimiter != NULL, &want, &e));
    CHECK_ERR(prefix, &e, CF_OK, list_into(s, prefix, after, delimiter, &got, &e));
    if (!cf_slice_eq(cf_buf_slice(&got.text), cf_buf_slice(&want.text)))
        fail_msg("list prefix '%s' after '%s' delimiter '%s':\n--- got\n%.*s--- want\n%.*s", prefix,
                 after == NULL ? "(null)" : after, delimiter == NULL ? "" : delimiter,
                 CF_SLICE_FMT(cf_buf_slice(&got.text)), CF_SLICE_FMT(cf_buf_slice(&want.text)));
}

static void lists_in_byte_order(void **state)
{
    static const char *const prefixes[] = {
        "",
        "a",
        "a/",
        "a-",
        "a-b",
        "a/b",
        "a/b/",
        "a/b/c",
        "b-/b",
        "nodes/",
        "nodes/k",
        "nodes/k/",
        "nodes/k/snapshots/",
        "nodes/k/snapshots/1",
        "nodes/k/snapshots/1/",
        "zz",
        "zz/y",
        "-/",
        "a/c/a/b",
        "...",
    };
    static const char *const afters[] = {
        NULL,
        "-",
        "a",
        "a-",
        "a-b",
        "a.",
        "a/",
        "a/b",
        "a/b/",
        "a/b/c",
        "a/b/c/d",
        "a/b/zz",
        "a0",
        "nodes/k/",
        "nodes/k/snapshots/1",
        "nodes/k/snapshots/1x",
        "zz",
        "~",
    };
    const char *sorted[HOSTILE_TOTAL];
    cf_error e = {0};
    CF_CLEANUP(cf_store_freep) cf_store *s = conformance_open(state);
    memcpy(sorted, hostile, sizeof(hostile));
    qsort(sorted, HOSTILE_TOTAL, sizeof(sorted[0]), by_bytes);
    for (size_t i = 0; i < HOSTILE_TOTAL; i++) /* not in order, so that none comes by chance */
        CHECK_ERR("setup", &e, CF_OK, put_text(s, hostile[i * 7 % HOSTILE_TOTAL], "x", &e));
    for (size_t p = 0; p < sizeof(prefixes) / sizeof(prefixes[0]); p++) {
        for (size_t a = 0; a < sizeof(afters) / sizeof(afters[0]); a++) {
            compare(s, sorted, HOSTILE_TOTAL, prefixes[p], afters[a], NULL);
            compare(s, sorted, HOSTILE_TOTAL, prefixes[p], afters[a], "/");
        }
    }
}
_Static_assert(HOSTILE_TOTAL % 7 != 0, "steps of 7 reach every key");

typedef struct stats {
    int64_t oldest_ms, newest_ms;
    uint64_t bytes;
    size_t stop_after, count;
    cf_err fail_with;
} stats;

static cf_err stats_add(void *impl, const cf_store_entry *entry, bool *ret_stop, cf_error *e)
{
    stats *const st = impl;
    st->count++;
    st->bytes += entry->size_bytes;
    if (st->oldest_ms == 0 || entry->modified_utc_ms < st->oldest_ms)
        st->oldest_ms = entry->modified_utc_ms;
    if (entry->modified_utc_ms > st->newest_ms)
        st->newest_ms = entry->modified_utc_ms;
    *ret_stop = st->count == st->stop_after;
    CF_ENSURE(st->fail_with == CF_OK, e, st->fail_with, "the callback fails");
    return CF_OK;
}

enum { MANY_TOTAL = 1203, MANY_THREADS = 8, MANY_KEY_SIZE = 48 };

typedef struct many {
    cf_store *s;
    char (*keys)[MANY_KEY_SIZE];
    size_t first;
    cf_err err;
} many;

static void *many_put(void *arg)
{
    many *const m = arg;
    for (size_t i = m->first; i < MANY_TOTAL && m->err == CF_OK; i += MANY_THREADS)
        m->err = put_text(m->s, m->keys[i], "some", NULL);
    return NULL;
}

static void put_many(cf_store *s, char (*keys)[MANY_KEY_SIZE])
{
    pthread_t threads[MANY_THREADS];
    many work[MANY_THREADS];
    for (size_t t = 0; t < MANY_THREADS; t++) {
        work[t] = (many){.s = s, .keys = keys, .first = t};
        assert_int_equal(pthread_create(&threads[t], NULL, many_put, &work[t]), 0);
    }
    for (size_t t = 0; t < MANY_THREADS; t++) {
        (void)pthread_join(threads[t], NULL);
        assert_int_equal(work[t].err, CF_OK);
    }
}

static void pages_and_deletes_many(void **state)
{
    cf_error e = {0};
    CF_CLEANUP(cf_store_freep) cf_store *s = conformance_open(state);
    CF_CLEANUP(cf_freep) char(*keys)[MANY_KEY_SIZE] = cf_alloc(MANY_TOTAL, MANY_KEY_SIZE);
    CF_CLEANUP(cf_freep) const char **pointers = cf_alloc(MANY_TOTAL + 1, sizeof(*pointers));
    for (size_t i = 0; i < MANY_TOTAL; i++) {
        (void)snprintf(keys[i], MANY_KEY_SIZE, "nodes/k/runs/r%zu/%010zu-pack", i / 600, i);
        pointers[i] = keys[i];
    }
    put_many(s, keys);
    compare(s, pointers, MANY_TOTAL, "", NULL, NULL);
    compare(s, pointers, MANY_TOTAL, "nodes/k/runs/", keys[599], NULL);
    compare(s, pointers, MANY_TOTAL, "nodes/k/runs/", NULL, "/");

    stats all = {0};
    CHECK_ERR("sizes and times", &e, CF_OK,
              s->ops->list(s, "nodes/", NULL, NULL, stats_add, &all, &e));
    CHECK("sizes", all.count == MANY_TOTAL && all.bytes == 4 * MANY_TOTAL);
    CHECK("times", all.oldest_ms > 1500000000000 && all.newest_ms - all.oldest_ms < 300000);
    static const size_t stops[] = {1, 999, 1000, 1001, MANY_TOTAL};
    for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
        stats some = {.stop_after = stops[i]};
        CHECK_ERR("stopped early", &e, CF_OK,
                  s->ops->list(s, "", NULL, NULL, stats_add, &some, &e));
        CHECK("stopped early", some.count == stops[i]);
    }
    stats failing = {.fail_with = CF_ERR_SOURCE};
    CHECK_ERR("the callback's error", &e, CF_ERR_SOURCE,
              s->ops->list(s, "", NULL, NULL, stats_add, &failing, &e));
    CHECK("the callback's error", failing.count == 1);

    const char *const kept = keys[700];
    pointers[700] = "never/was";
    CHECK_ERR("delete all but one", &e, CF_OK,
              s->ops->delete_many(s, pointers, MANY_TOTAL, NULL, &e));
    compare(s, &kept, 1, "", NULL, NULL);
    if (!conformance_of(state)->ghost_folders) /* the other runs' folders are no common prefixes */
        compare(s, &kept, 1, "nodes/k/runs/", NULL, "/");
    CHECK("the one", holds(s, kept, cf_slice_str("some")));
}

typedef struct eater {
    cf_store *s;
    size_t count;
} eater;

/* A callback may call the store: deletes what it is shown, and adds behind. */
static cf_err eat(void *impl, const cf_store_entry *entry, bool *ret_stop, cf_error *e)
{
    eater *const x = impl;
    (void)ret_stop;
    x->count++;
    CF_TRY(x->s->ops->delete_many(x->s, &entry->key, 1, NULL, e));
    return put_text(x->s, "eaten/last", entry->key, e);
}

static void lets_callbacks_call_the_store(void **state)
{
    static const char *const keys[] = {"x/1", "x/2/a", "x/2/b", "x/3"};
    static const char *const left[] = {"eaten/last"};
    cf_error e = {0};
    CF_CLEANUP(cf_store_freep) cf_store *s = conformance_open(state);
    eater x = {.s = s};
    for (size_t i = 0; i < 4; i++)
        CHECK_ERR("setup", &e, CF_OK, put_text(s, keys[i], "x", &e));
    CHECK_ERR("eat", &e, CF_OK, s->ops->list(s, "x/", NULL, NULL, eat, &x, &e));
    CHECK("eat", x.count == 4);
    compare(s, left, 1, "", NULL, NULL);
    CHECK("eat", holds(s, "eaten/last", cf_slice_str("x/3")));
}

conformance_group conformance_list_tests(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_in_byte_order),
        cmocka_unit_test(pages_and_deletes_many),
        cmocka_unit_test(lets_callbacks_call_the_store),
    };
    return (conformance_group){tests, sizeof(tests) / sizeof(tests[0])};
}
