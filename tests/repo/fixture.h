/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of this folder share: a world whose clock the test sets, a repository in memory,
 * and checks of errors.
 */
#ifndef TESTS_REPO_FIXTURE_H
#define TESTS_REPO_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "repo/repo.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/hash.h"
#include "store/memory.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

typedef struct fake_world {
    atomic_llong utc_ms;
    atomic_llong mono_ms;
    atomic_ullong random;
    atomic_llong slept_ms;
} fake_world;

static inline int64_t fake_now(void *impl)
{
    return atomic_load(&((fake_world *)impl)->utc_ms);
}
static inline uint64_t fake_mono(void *impl)
{
    return (uint64_t)atomic_load(&((fake_world *)impl)->mono_ms);
}
static inline void fake_sleep(void *impl, uint64_t ms)
{
    fake_world *const w = impl;
    (void)atomic_fetch_add(&w->mono_ms, (long long)ms);
    (void)atomic_fetch_add(&w->utc_ms, (long long)ms);
    (void)atomic_fetch_add(&w->slept_ms, (long long)ms);
}
static inline void fake_random(void *impl, void *ret, size_t len)
{
    uint8_t *const to = ret;
    for (size_t i = 0; i < len; i++) {
        const unsigned long long n =
            atomic_fetch_add(&((fake_world *)impl)->random, 1) * 0x9e3779b97f4a7c15ULL;
        to[i] = (uint8_t)(n >> 56);
    }
}
static inline bool fake_stopping(void *impl)
{
    (void)impl;
    return false;
}

enum { FIXTURE_UTC_S = 1795271460 }; /* 2026-11-21T14:31:00Z */

typedef struct fixture {
    fake_world clock;
    cf_world world;
    cf_store *store;
    cf_repo repo;
} fixture;

/* Fails the test with the message when not CF_OK. */
#define assert_ok(call)                                                                            \
    do {                                                                                           \
        cf_error e = {0};                                                                          \
        const cf_err assert_ok_ = (call);                                                          \
        if (assert_ok_ != CF_OK)                                                                   \
            fail_msg("%s: %s", cf_err_name(assert_ok_), e.message);                                \
    } while (0)

/* Exact code, and a part of the message. */
#define assert_refused(call, code, part)                                                           \
    do {                                                                                           \
        cf_error e = {0};                                                                          \
        const cf_err assert_refused_ = (call);                                                     \
        if (assert_refused_ != (code) || strstr(e.message, (part)) == NULL)                        \
            fail_msg("%s, expected %s with '%s': %s", cf_err_name(assert_refused_),                \
                     cf_err_name(code), (part), e.message);                                        \
    } while (0)

static inline void fixture_init_empty(fixture *f)
{
    memset(f, 0, sizeof(*f));
    atomic_init(&f->clock.utc_ms, (long long)FIXTURE_UTC_S * 1000);
    atomic_init(&f->clock.mono_ms, 1000000);
    f->world = (cf_world){fake_now, fake_mono, fake_sleep, fake_random, fake_stopping, &f->clock};
    assert_ok(cf_store_memory_new(&f->world, &f->store, &e));
}

static inline void fixture_init(fixture *f)
{
    fixture_init_empty(f);
    assert_ok(cf_repo_init(f->store, &f->world, &f->repo, &e));
}

static inline void fixture_deinit(fixture *f)
{
    cf_store_free(f->store);
    f->store = NULL;
}

static inline void pass_s(fixture *f, int64_t seconds)
{
    (void)atomic_fetch_add(&f->clock.utc_ms, seconds * 1000);
    (void)atomic_fetch_add(&f->clock.mono_ms, seconds * 1000);
}

static inline void put_object(fixture *f, const char *key, cf_slice body)
{
    assert_ok(f->store->ops->put(f->store, key, body, NULL, NULL, &e));
}

static inline cf_err count_entry(void *impl, const cf_store_entry *entry, bool *ret_stop,
                                 cf_error *e)
{
    (void)entry;
    (void)ret_stop;
    (void)e;
    (*(size_t *)impl)++;
    return CF_OK;
}

static inline size_t count_objects(fixture *f, const char *prefix)
{
    size_t n = 0;
    assert_ok(f->store->ops->list(f->store, prefix, NULL, NULL, count_entry, &n, &e));
    return n;
}

static inline uint64_t count_requests(fixture *f)
{
    cf_store_counts c = {0};
    f->store->ops->get_counts(f->store, &c);
    return c.requests_total;
}

static inline cf_run make_run(const char *node, int64_t utc_s, uint32_t random)
{
    cf_run run = {0};
    (void)snprintf(run.node, sizeof(run.node), "%s", node);
    cf_run_id_make(utc_s * 1000, NULL, random, &run.id);
    return run;
}

/* A root that can be rendered. */
static inline cf_root *make_root(const cf_run *run)
{
    cf_root *root = NULL;
    assert_ok(cf_root_new(&root, &e));
    root->run = run->id;
    root->time_utc_ms = (int64_t)FIXTURE_UTC_S * 1000;
    (void)snprintf(root->profile, sizeof(root->profile), "kurrentdb");
    (void)snprintf(root->version, sizeof(root->version), "0.1.0");
    root->lease = 1;
    return root;
}

#endif
