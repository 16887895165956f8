/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory store's test side: faults before and after, another machine between two calls, a
 * lesser server.
 */
#include "store/memory.h"

#include "tests/store/conformance_util.h"

#define ID_A "0123456789abcdef0123456789abcdef"

typedef struct script {
    cf_store *s;
    cf_store_op op;
    unsigned seen[CF_STORE_OP_TOTAL];
    char key[64];
    bool put_meanwhile;
} script;

static cf_err fail_op(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    script *const x = impl;
    x->seen[op]++;
    (void)snprintf(x->key, sizeof(x->key), "%s", key);
    CF_ENSURE(op != x->op, e, CF_ERR_TIMEOUT, "injected into %s", cf_store_op_name(op));
    return CF_OK;
}

/* One call of each kind; the first failure is the answer. */
static cf_err call(cf_store *s, cf_store_op op, cf_error *e)
{
    static const char *const keys[] = {"old", "old2"};
    CF_CLEANUP(cf_buf_deinit) cf_buf b = {0};
    CF_CLEANUP(listed_deinit) listed l = {0};
    cf_object_stat stat = {0};
    cf_store_put *p = NULL;
    int64_t now = 0;
    cf_buf_init(&b, 100);
    switch (op) {
    case CF_STORE_OP_PUT:
        return put_text(s, "new", "x", e);
    case CF_STORE_OP_PUT_OPEN:
    case CF_STORE_OP_PUT_WRITE:
    case CF_STORE_OP_PUT_FINISH:
        CF_TRY(s->ops->put_open(s, "new", NULL, &p, e));
        if (s->ops->put_write(p, cf_slice_str("x"), e) != CF_OK) {
            s->ops->put_abort(p);
            return CF_ERR_TIMEOUT;
        }
        return s->ops->put_finish(p, NULL, e);
    case CF_STORE_OP_GET:
        return cf_store_get_small(s, "old", &b, e);
    case CF_STORE_OP_HEAD:
        return s->ops->head(s, "old", &stat, e);
    case CF_STORE_OP_LIST:
        return list_into(s, "ol", NULL, NULL, &l, e);
    case CF_STORE_OP_DELETE:
        return s->ops->delete_many(s, keys, 2, NULL, e);
    case CF_STORE_OP_CREATE:
        return s->ops->create(s, e);
    case CF_STORE_OP_NOW:
        return s->ops->now_utc_ms(s, &now, e);
    case CF_STORE_OP_TOTAL:
        break;
    }
    return CF_ERR_FAILED;
}

static void fails_on_order(void **state)
{
    (void)state;
    for (unsigned op = 0; op < CF_STORE_OP_TOTAL; op++) {
        for (int after = 0; after < 2; after++) {
            cf_error e = {0};
            script x = {.op = (cf_store_op)op};
            CF_CLEANUP(cf_store_freep) cf_store *s = NULL;
            const char *const title = cf_store_op_name((cf_store_op)op);
            CHECK_ERR(title, &e, CF_OK, cf_store_memory_new(NULL, &s, &e));
            CHECK_ERR(title, &e, CF_OK, put_text(s, "old", "x", &e));
            cf_store_memory_set_hooks(s, &(cf_store_memory_hooks){.before = after ? NULL : fail_op,
                                                                  .after = after ? fail_op : NULL,
                                                                  .impl = &x});
            CHECK_ERR(title, &e, CF_ERR_TIMEOUT, call(s, (cf_store_op)op, &e));
            CHECK(title, x.seen[op] == 1);
            cf_store_memory_set_hooks(s, NULL);
            const bool puts = op == CF_STORE_OP_PUT || op == CF_STORE_OP_PUT_FINISH;
            CHECK(title, holds(s, "new", cf_slice_str("x")) == (puts && after));
            CHECK(title,
                  holds(s, "old", cf_slice_str("x")) == !(op == CF_STORE_OP_DELETE && after));
        }
    }
}

static void names_keys_to_hooks(void **state)
{
    static const struct {
        cf_store_op op;
        const char *key;
    } rows[] = {
        {CF_STORE_OP_PUT, "new"},  {CF_STORE_OP_PUT_FINISH, "new"}, {CF_STORE_OP_GET, "old"},
        {CF_STORE_OP_HEAD, "old"}, {CF_STORE_OP_LIST, "ol"},        {CF_STORE_OP_DELETE, "old"},
        {CF_STORE_OP_CREATE, ""},  {CF_STORE_OP_NOW, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cf_error e = {0};
        script x = {.op = rows[i].op};
        CF_CLEANUP(cf_store_freep) cf_store *s = NULL;
        CHECK_ERR("new", &e, CF_OK, cf_store_memory_new(NULL, &s, &e));
        cf_store_memory_set_hooks(s, &(cf_store_memory_hooks){.before = fail_op, .impl = &x});
        CHECK_ERR("call", &e, CF_ERR_TIMEOUT, call(s, rows[i].op, &e));
        assert_string_equal(x.key, rows[i].key);
    }
}

/* Another machine creates the key just before ours. */
static cf_err put_first(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    script *const x = impl;
    if (op != CF_STORE_OP_PUT || x->put_meanwhile)
        return CF_OK;
    x->put_meanwhile = true;
    return put_text(x->s, key, "theirs", e);
}

static void lets_others_act_in_between(void **state)
{
    static const cf_put_opts opts = {.create_only = true, .id = ID_A};
    cf_error e = {0};
    script x = {0};
    CF_CLEANUP(cf_store_freep) cf_store *s = NULL;
    (void)state;
    CHECK_ERR("new", &e, CF_OK, cf_store_memory_new(NULL, &s, &e));
    x.s = s;
    cf_store_memory_set_hooks(s, &(cf_store_memory_hooks){.before = put_first, .impl = &x});
    CHECK_ERR("put", &e, CF_ERR_EXISTS, s->ops->put(s, "k", cf_slice_str("ours"), &opts, NULL, &e));
    assert_string_equal(e.message, "object 'k' exists already");
    CHECK("theirs", holds(s, "k", cf_slice_str("theirs")));
}

static void settles_a_lost_answer_by_id(void **state)
{
    static const cf_put_opts opts = {.create_only = true, .id = ID_A};
    cf_error e = {0};
    script x = {.op = CF_STORE_OP_PUT};
    cf_object_stat stat = {0};
    CF_CLEANUP(cf_store_freep) cf_store *s = NULL;
    (void)state;
    CHECK_ERR("new", &e, CF_OK, cf_store_memory_new(NULL, &s, &e));
    cf_store_memory_set_hooks(s, &(cf_store_memory_hooks){.after = fail_op, .impl = &x});
    CHECK_ERR("lost", &e, CF_ERR_TIMEOUT,
              s->ops->put(s, "k", cf_slice_str("ours"), &opts, NULL, &e));
    cf_store_memory_set_hooks(s, NULL);
    CHECK_ERR("head", &e, CF_OK, s->ops->head(s, "k", &stat, &e));
    assert_string_equal(stat.id, ID_A);
    CHECK_ERR("again", &e, CF_OK, s->ops->put(s, "k", cf_slice_str("ours"), &opts, NULL, &e));
}

static void plays_a_lesser_server(void **state)
{
    static const cf_put_opts opts = {.create_only = true};
    cf_error e = {0};
    CF_CLEANUP(cf_store_freep) cf_store *s = NULL;
    (void)state;
    CHECK_ERR("new", &e, CF_OK, cf_store_memory_new(NULL, &s, &e));
    cf_store_memory_set_features(s, CF_STORE_RANGED_GET);
    CHECK_ERR("put", &e, CF_OK, s->ops->put(s, "k", cf_slice_str("1"), &opts, NULL, &e));
    CHECK_ERR("put", &e, CF_OK, s->ops->put(s, "k", cf_slice_str("2"), &opts, NULL, &e));
    CHECK("overwritten", holds(s, "k", cf_slice_str("2")));
}

static int64_t fixed_now(void *impl)
{
    const int64_t *const now = impl;
    return *now;
}

static void takes_its_time_from_the_world(void **state)
{
    int64_t at = 1234567890123;
    cf_world world = *cf_world_real();
    cf_error e = {0};
    cf_object_stat stat = {0};
    int64_t now = 0;
    CF_CLEANUP(cf_store_freep) cf_store *s = NULL;
    (void)state;
    world.now_utc_ms = fixed_now;
    world.impl = &at;
    CHECK_ERR("new", &e, CF_OK, cf_store_memory_new(&world, &s, &e));
    CHECK_ERR("put", &e, CF_OK, put_text(s, "k", "x", &e));
    at += 60000;
    CHECK_ERR("now", &e, CF_OK, s->ops->now_utc_ms(s, &now, &e));
    CHECK("now", now == 1234567950123);
    CHECK_ERR("head", &e, CF_OK, s->ops->head(s, "k", &stat, &e));
    CHECK("modified", stat.modified_utc_ms == 1234567890123);
}

static void survives_failed_allocations(void **state)
{
    (void)state;
    for (unsigned op = 0; op < CF_STORE_OP_TOTAL; op++) {
        cf_err err = CF_ERR_NO_MEMORY;
        for (unsigned long n = 1; err != CF_OK; n++) {
            cf_error e = {0};
            CF_CLEANUP(cf_store_freep) cf_store *s = NULL;
            CHECK_ERR("new", &e, CF_OK, cf_store_memory_new(NULL, &s, &e));
            CHECK_ERR("put", &e, CF_OK, put_text(s, "old", "x", &e));
            cf_alloc_fail_at(n);
            err = call(s, (cf_store_op)op, &e);
            cf_alloc_fail_at(0);
            CHECK(cf_store_op_name((cf_store_op)op), err == CF_OK || e.code == CF_ERR_NO_MEMORY);
            if (err != CF_OK)
                CHECK("nothing half", !holds(s, "new", cf_slice_str("x")));
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(fails_on_order),
        cmocka_unit_test(names_keys_to_hooks),
        cmocka_unit_test(lets_others_act_in_between),
        cmocka_unit_test(settles_a_lost_answer_by_id),
        cmocka_unit_test(plays_a_lesser_server),
        cmocka_unit_test(takes_its_time_from_the_world),
        cmocka_unit_test(survives_failed_allocations),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
