/* SPDX-License-Identifier: Apache-2.0
 *
 * The readers' lease. Best effort: prune honours it while it is fresh; nobody waits for it.
 */
#include "repo/json.h"
#include "repo/lease.h"
#include "repo/lease_body.h"
#include "repo/renewer.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

struct cf_read_lease {
    const cf_repo *repo;
    char key[CF_KEY_LEN_MAX + 1];
    cf_renewer *renewer; /* owned */
    cf_lease_body body;
};

static cf_err put(const cf_read_lease *const l, const bool create_only, cf_error *const e)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    const cf_world *const w = l->repo->world;
    const cf_put_opts opts = {.create_only = create_only,
                              .last_words = l->body.ended && w->stopping(w->impl)};
    cf_buf_init(&text, CF_LEASE_LEN_MAX);
    CF_TRY(cf_lease_body_render(&l->body, &text, e));
    CF_TRY_AS(l->repo->store->ops->put(l->repo->store, l->key, cf_buf_slice(&text), &opts,
                                       /* ret= */ NULL, e),
              e, "write read lease '%s'", l->key);
    return CF_OK;
}

static uint64_t renew_on_thread(void *const impl)
{
    const cf_read_lease *const l = impl;
    (void)put(l, /* create_only= */ false, /* e= */ NULL); /* best effort; the next one comes */
    return (uint64_t)CF_LEASE_RENEW_S * 1000;
}

cf_err cf_read_lease_acquire(const cf_repo *const repo, const char *const node,
                             const cf_run_id *const snapshot, cf_read_lease **const ret,
                             cf_error *const e)
{
    CF_CLEANUP(cf_freep) cf_read_lease *l = NULL;
    char id[CF_STORE_ID_LEN + 1] = "";
    CF_TRY(cf_node_name_check(node, e));
    CF_NEW(l, e);
    l->repo = repo;
    cf_repo_random_id(repo->world, id);
    cf_key_read(l->key, node, id);
    l->body = (cf_lease_body){.is_read = true, .run = *snapshot, .ttl_s = CF_LEASE_TTL_S};
    cf_owner_self(&l->body.owner);
    CF_TRY(repo->store->ops->now_utc_ms(repo->store, &l->body.since_utc_ms, e));
    CF_TRY(put(l, /* create_only= */ true, e));
    const cf_err err =
        cf_renewer_start((uint64_t)CF_LEASE_RENEW_S * 1000, renew_on_thread, l, &l->renewer, e);
    if (err != CF_OK) {
        l->body.ended = true;
        (void)put(l, /* create_only= */ false, /* e= */ NULL);
        return err;
    }
    *ret = CF_STEAL(l);
    return CF_OK;
}

static cf_err end(cf_read_lease *const l, cf_error *const e)
{
    cf_renewer_stop(l->renewer);
    l->body.ended = true;
    const cf_err err = put(l, /* create_only= */ false, e);
    cf_free(l);
    return err;
}

cf_err cf_read_lease_release(cf_read_lease *const l, cf_error *const e)
{
    CF_TRY_AS(end(l, e), e, "release the read lease (it runs out by itself)");
    return CF_OK;
}

void cf_read_lease_abandon(cf_read_lease *const l)
{
    if (l != NULL)
        (void)end(l, /* e= */ NULL);
}
