/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads over one store: races to create, readers under overwriting writers, everything at once.
 * Threads report by value: cmocka's checks are for the main thread only.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/store/conformance_impl.h"
#include "tests/store/conformance_util.h"

enum { THREADS = 8, RACE_BYTES = 40000 };

typedef struct racer {
    cf_store *s;
    const char *key;
    pthread_barrier_t *start;
    uint32_t seed;
    bool streamed;
    cf_err err;
} racer;

static cf_err race_stream(racer *r, cf_slice body)
{
    static const cf_put_opts opts = {.create_only = true};
    cf_store_put *p = NULL;
    CF_TRY(r->s->ops->put_open(r->s, r->key, &opts, &p, NULL));
    const cf_err err = r->s->ops->put_write(p, body, NULL);
    (void)pthread_barrier_wait(r->start);
    const cf_err finish_err = r->s->ops->put_finish(p, NULL, NULL);
    return err != CF_OK ? err : finish_err;
}

static void *race(void *arg)
{
    static const cf_put_opts opts = {.create_only = true};
    racer *const r = arg;
    uint8_t body[RACE_BYTES];
    fill(body, sizeof(body), r->seed);
    if (r->streamed) {
        r->err = race_stream(r, cf_slice_of(body, sizeof(body)));
        return NULL;
    }
    (void)pthread_barrier_wait(r->start);
    r->err = r->s->ops->put(r->s, r->key, cf_slice_of(body, sizeof(body)), &opts, NULL, NULL);
    return NULL;
}

static void race_once(cf_store *s, const char *key, uint32_t seed)
{
    pthread_barrier_t start;
    pthread_t threads[THREADS];
    racer racers[THREADS];
    uint8_t body[RACE_BYTES];
    size_t winners = 0;
    uint32_t winner = 0;
    assert_int_equal(pthread_barrier_init(&start, NULL, THREADS), 0);
    for (uint32_t i = 0; i < THREADS; i++) {
        racers[i] =
            (racer){.s = s, .key = key, .start = &start, .seed = seed + i, .streamed = i % 2 == 1};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
        if (racers[i].err == CF_OK) {
            winners++;
            winner = racers[i].seed;
        } else {
            assert_int_equal(racers[i].err, CF_ERR_EXISTS);
        }
    }
    (void)pthread_barrier_destroy(&start);
    assert_int_equal(winners, 1);
    fill(body, sizeof(body), winner);
    CHECK("the winner's bytes, whole", holds(s, key, cf_slice_of(body, sizeof(body))));
}

static void lets_one_racer_win(void **state)
{
    CF_CLEANUP(cf_store_freep) cf_store *s = conformance_open(state);
    for (unsigned i = 0; i < conformance_of(state)->race_rounds; i++) {
        char key[64];
        (void)snprintf(key, sizeof(key), "race/%u/snapshots/x", i);
        race_once(s, key, i * THREADS);
    }
}

typedef struct overwriter {
    cf_store *s;
    atomic_bool stop;
    cf_err err;
} overwriter;

enum { BODY_A_LEN = 70000, BODY_B_LEN = 50 };

static void body_fill(uint8_t *body, bool a)
{
    memset(body, a ? 'a' : 'b', a ? BODY_A_LEN : BODY_B_LEN);
}

static void *overwrite(void *arg)
{
    overwriter *const o = arg;
    uint8_t a[BODY_A_LEN];
    uint8_t b[BODY_A_LEN];
    body_fill(a, true);
    body_fill(b, false);
    for (bool flip = false; !atomic_load(&o->stop) && o->err == CF_OK; flip = !flip)
        o->err = o->s->ops->put(o->s, "leases/0000000002",
                                flip ? cf_slice_of(a, BODY_A_LEN) : cf_slice_of(b, BODY_B_LEN),
                                NULL, NULL, NULL);
    return NULL;
}

static void shows_whole_objects_under_overwriting(void **state)
{
    enum { LOOKS = 60 };
    uint8_t a[BODY_A_LEN];
    uint8_t b[BODY_A_LEN];
    cf_error e = {0};
    pthread_t thread;
    CF_CLEANUP(cf_store_freep) cf_store *s = conformance_open(state);
    CF_CLEANUP(listed_deinit) listed l = {0};
    overwriter o = {.s = s};
    bool whole = true;
    bool shown = true;
    body_fill(a, true);
    body_fill(b, false);
    CHECK_ERR("setup", &e, CF_OK, put_text(s, "leases/0000000001", "1", &e));
    CHECK_ERR("setup", &e, CF_OK, put_text(s, "leases/0000000003", "3", &e));
    CHECK_ERR("setup", &e, CF_OK,
              s->ops->put(s, "leases/0000000002", cf_slice_of(a, BODY_A_LEN), NULL, NULL, &e));
    assert_int_equal(pthread_create(&thread, NULL, overwrite, &o), 0);
    for (int i = 0; i < LOOKS && whole && shown; i++) {
        CF_CLEANUP(cf_buf_deinit) cf_buf got = {0};
        cf_buf_init(&got, 1 << 20);
        const cf_err err = cf_store_get_small(s, "leases/0000000002", &got, &e);
        whole = err == CF_OK && (cf_slice_eq(cf_buf_slice(&got), cf_slice_of(a, BODY_A_LEN)) ||
                                 cf_slice_eq(cf_buf_slice(&got), cf_slice_of(b, BODY_B_LEN)));
        shown = list_into(s, "leases/", NULL, NULL, &l, &e) == CF_OK && l.count == 3;
    }
    atomic_store(&o.stop, true);
    (void)pthread_join(thread, NULL);
    CHECK("one of both bodies, whole", whole);
    CHECK("listed at every moment", shown);
    CHECK_ERR("the writer", &e, CF_OK, o.err);
}

typedef struct worker {
    cf_store *s;
    unsigned n;
    const char *failed; /* NULL: all well */
} worker;

static const char *work_once(worker *w, unsigned round)
{
    char key[64];
    char prefix[64];
    char text[64];
    const char *const keys[] = {key};
    cf_store_put *p = NULL;
    cf_object_stat stat = {0};
    CF_CLEANUP(listed_deinit) listed l = {0};
    (void)snprintf(prefix, sizeof(prefix), "w/%u/", w->n);
    (void)snprintf(key, sizeof(key), "w/%u/%u/o", w->n, round);
    (void)snprintf(text, sizeof(text), "worker %u round %u", w->n, round);
    if (w->s->ops->put_open(w->s, key, NULL, &p, NULL) != CF_OK)
        return "put_open";
    const cf_err err = w->s->ops->put_write(p, cf_slice_str(text), NULL);
    if (w->s->ops->put_finish(p, NULL, NULL) != CF_OK || err != CF_OK)
        return "put_finish";
    if (!holds(w->s, key, cf_slice_str(text)))
        return "get";
    if (w->s->ops->head(w->s, key, &stat, NULL) != CF_OK || stat.size_bytes != strlen(text))
        return "head";
    if (list_into(w->s, prefix, NULL, NULL, &l, NULL) != CF_OK || l.count != 1)
        return "list";
    if (w->s->ops->delete_many(w->s, keys, 1, NULL, NULL) != CF_OK)
        return "delete";
    return w->s->ops->head(w->s, key, &stat, NULL) == CF_ERR_NOT_FOUND ? NULL : "gone";
}

static void *work(void *arg)
{
    worker *const w = arg;
    for (unsigned round = 0; round < 10 && w->failed == NULL; round++)
        w->failed = work_once(w, round);
    return NULL;
}

static void serves_all_threads_at_once(void **state)
{
    pthread_t threads[THREADS];
    worker workers[THREADS];
    cf_error e = {0};
    CF_CLEANUP(cf_store_freep) cf_store *s = conformance_open(state);
    CF_CLEANUP(listed_deinit) listed l = {0};
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (worker){.s = s, .n = i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < THREADS; i++)
        if (workers[i].failed != NULL)
            fail_msg("worker %u failed in %s", i, workers[i].failed);
    CHECK_ERR("nothing is left", &e, CF_OK, list_into(s, "", NULL, NULL, &l, &e));
    CHECK("nothing is left", l.count == 0);
}

conformance_group conformance_thread_tests(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(lets_one_racer_win),
        cmocka_unit_test(shows_whole_objects_under_overwriting),
        cmocka_unit_test(serves_all_threads_at_once),
    };
    return (conformance_group){tests, sizeof(tests) / sizeof(tests[0])};
}
