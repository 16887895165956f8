/* SPDX-License-Identifier: Apache-2.0
 *
 * Taking everything away again. Each key that was begun is deleted, whether its put succeeded or
 * not: an answer may have been lost. A LIST then tells what stays.
 */
#include <stdio.h>

#include "bench/bench_inner.h"

enum { BATCH = 500 };

void cf_bench_key(const cf_bench *const b, const uint32_t number, char ret[CF_BENCH_KEY_SIZE])
{
    (void)snprintf(ret, CF_BENCH_KEY_SIZE, "%s%06u", b->r->prefix, number);
}

static cf_err left_note(void *const impl, const cf_store_entry *const entry, bool *const ret_stop,
                        cf_error *const e)
{
    cf_bench_result *const r = impl;

    (void)ret_stop;
    (void)e;
    if (r->left_total < CF_BENCH_LEFT_MAX)
        (void)snprintf(r->left[r->left_total], CF_BENCH_KEY_SIZE, "%s", entry->key);
    r->left_total++;
    return CF_OK;
}

/* For good where the bucket keeps versions and the key may; else as an ordinary delete. */
static cf_err batch_delete(const cf_bench *const b, const uint32_t from, const uint32_t total,
                           cf_error *const e)
{
    const cf_store_ops *const ops = b->store->ops;
    const cf_delete_opts versions = {.versions = true};
    char text[BATCH][CF_BENCH_KEY_SIZE];
    const char *keys[BATCH];

    for (uint32_t i = 0; i < total; i++) {
        cf_bench_key(b, from + i, text[i]);
        keys[i] = text[i];
    }
    if (ops->delete_many(b->store, keys, total, &versions, e) == CF_OK)
        return CF_OK;
    return ops->delete_many(b->store, keys, total, /* opts= */ NULL, e);
}

static void failure_tell(const cf_bench *const b, const cf_error *const e)
{
    char text[CF_ERROR_MESSAGE_LEN_MAX + 64];

    if (b->ctx->log == NULL)
        return;
    (void)snprintf(text, sizeof(text), "deleting the objects of this bench: %s", e->message);
    b->ctx->log(b->ctx->impl, CF_LOG_WARN, text);
}

void cf_bench_clean(cf_bench *const b)
{
    cf_error e = {0};
    cf_err err = CF_OK;

    if (b->store == NULL || b->object_total == 0)
        return;
    cf_bench_tell(b, "deleting", 0, 0);
    atomic_store(&b->world.cleaning, true);
    cf_bench_world_allow(&b->world, CF_BENCH_CLEAN_MS);
    for (uint32_t at = 0; at < b->object_total; at += BATCH) {
        const uint32_t left = b->object_total - at;
        const cf_err one =
            batch_delete(b, at, left < BATCH ? left : BATCH, err == CF_OK ? &e : NULL);

        err = err == CF_OK ? one : err;
    }
    if (err != CF_OK)
        failure_tell(b, &e);
    b->r->left_total = 0;
    if (b->store->ops->list(b->store, b->r->prefix, NULL, NULL, left_note, b->r, &e) == CF_OK)
        return;
    /* Nobody knows: all that was begun may be there. */
    failure_tell(b, &e);
    b->r->left_total = err == CF_OK ? 0 : b->object_total;
    for (uint32_t i = 0; i < b->r->left_total && i < CF_BENCH_LEFT_MAX; i++)
        cf_bench_key(b, i, b->r->left[i]);
}
