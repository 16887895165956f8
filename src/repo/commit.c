/* SPDX-License-Identifier: Apache-2.0
 *
 * The commit point: one conditional PUT, and what follows when its answer is lost. The words are
 * those of DESIGN section 5, "Commit"; the model (tests/model/core.pml, C1 to C4) explored them: change
 * one only with it.
 *
 * Invariant: success is said only when our root stands there; failure only when something stands
 * there that is not our root, and nothing is ever withdrawn, so it will stay so. Everything else is
 * "unknown": our PUT may still be on the wire.
 */
#include "repo/json.h"
#include "repo/repo.h"
#include "s3/base/cleanup.h"

enum {
    COMMIT_TRIES_MAX = 5,  /* each of them is one request of the store with its own retries */
    COMMIT_WAIT_MS = 1000, /* before the second try, then doubled */
    COMMIT_TOTAL_MS = 10 * 60 * 1000, /* no try starts later */
};

typedef struct commit {
    const cf_repo *r;
    char key[CF_KEY_LEN_MAX + 1];
    cf_slice body;
    char root_id[CF_STORE_ID_LEN + 1];
    char fence_id[CF_STORE_ID_LEN +
                  1];          /* not the root's: the store takes an object with our id for ours */
    bool (*alive)(void *impl); /* NULL: always */
    void *impl;
} commit;

typedef enum commit_state {
    COMMIT_DONE,    /* our root stands there */
    COMMIT_FENCED,  /* an empty object stands there */
    COMMIT_FOREIGN, /* something else stands there */
    COMMIT_ABSENT,  /* nothing was seen there: a PUT may still be on the wire */
    COMMIT_OPEN,    /* no answer */
} commit_state;

/* A store that keeps no ids: the bytes decide. */
static commit_state compare_bytes(const commit *const c)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf found = {0};
    cf_buf_init(&found, CF_ROOT_LEN_MAX);
    const cf_err err = cf_store_get_small(c->r->store, c->key, &found, /* e= */ NULL);
    if (err == CF_ERR_TOO_LARGE)
        return COMMIT_FOREIGN;
    if (err != CF_OK)
        return COMMIT_OPEN;
    return cf_slice_eq(cf_buf_slice(&found), c->body) ? COMMIT_DONE
           : found.len == 0                           ? COMMIT_FENCED
                                                      : COMMIT_FOREIGN;
}

static commit_state look(const commit *const c)
{
    cf_object_stat stat = {0};
    const cf_err err = c->r->store->ops->head(c->r->store, c->key, &stat, /* e= */ NULL);
    if (err != CF_OK)
        return err == CF_ERR_NOT_FOUND ? COMMIT_ABSENT : COMMIT_OPEN;
    if (stat.size_bytes == 0)
        return COMMIT_FENCED;
    if (strcmp(stat.id, c->root_id) == 0)
        return COMMIT_DONE;
    return stat.id[0] != '\0' ? COMMIT_FOREIGN : compare_bytes(c);
}

static cf_err put(const commit *const c, const cf_slice body, const char *const id,
                  cf_error *const e)
{
    const cf_put_opts opts = {.create_only = c->r->conditional, .id = id};
    return c->r->store->ops->put(c->r->store, c->key, body, &opts, /* ret= */ NULL, e);
}

/* C1, C2: PUT, and HEAD when it was not a plain success. why: of the last PUT that gave no success. */
static commit_state try_root(const commit *const c, cf_error *const why)
{
    return put(c, c->body, c->root_id, why) == CF_OK ? COMMIT_DONE : look(c);
}

/* Tries until the state is decided, or tries and time are used up. */
static commit_state settle(const commit *const c, cf_error *const why)
{
    const cf_world *const world = c->r->world;
    const uint64_t begin_ms = world->mono_ms(world->impl);
    commit_state state = try_root(c, why);
    for (unsigned i = 1; i < COMMIT_TRIES_MAX && (state == COMMIT_ABSENT || state == COMMIT_OPEN);
         i++) {
        if (world->mono_ms(world->impl) - begin_ms > COMMIT_TOTAL_MS)
            break;
        world->sleep_ms(world->impl, (uint64_t)COMMIT_WAIT_MS << (i - 1));
        if (c->alive != NULL && !c->alive(c->impl))
            break;
        state = try_root(c, why);
    }
    return state;
}

/* C3. Our own fence: once it stands, none of our PUTs can win any more. */
static commit_state fence(const commit *const c)
{
    cf_error ignored = {0};
    return put(c, cf_slice_of(NULL, 0), c->fence_id, &ignored) == CF_OK ? COMMIT_FENCED : look(c);
}

static cf_err say(const commit *const c, const commit_state state, const bool own_fence,
                  const cf_error *const why, cf_error *const e)
{
    const char *const run = strrchr(c->key, '/') + 1;
    if (state == COMMIT_DONE)
        return CF_OK;
    if (state == COMMIT_FOREIGN)
        CF_FAIL(e, CF_ERR_EXISTS,
                "another machine committed a run with our id '%s': this one is no snapshot\n"
                "HINT: was this machine cloned while a backup ran? Run it again",
                run);
    if (state == COMMIT_FENCED && !own_fence)
        CF_FAIL(e, CF_ERR_FENCED,
                "run '%s' was fenced by a prune that took it for dead, or by 'unlock': it is no "
                "snapshot\n"
                "HINT: run it again; was this machine asleep for long?",
                run);
    if (state == COMMIT_FENCED) {
        if (e != NULL)
            *e = *why;
        cf_error_prefix(e, "run '%s' is no snapshot (a fence stands at its key): commit", run);
        return why->code == CF_OK ? CF_ERR_FAILED : why->code;
    }
    CF_FAIL(e, CF_ERR_UNKNOWN,
            "the store gave no usable answer to the commit of run '%s' (last: %.512s), so it is "
            "unknown whether it is "
            "a snapshot\n"
            "HINT: nothing is lost. When the store answers again, 'chunkferry list' tells; if it "
            "is not there, run the "
            "backup again",
            run, why->message);
}

cf_err cf_snapshot_commit(const cf_repo *const r, const char *const node, const cf_root *const root,
                          cf_error *const e)
{
    return cf_snapshot_commit_while(r, node, root, /* alive= */ NULL, /* impl= */ NULL, e);
}

cf_err cf_snapshot_commit_while(const cf_repo *const r, const char *const node,
                                const cf_root *const root, bool (*const alive)(void *impl),
                                void *const impl, cf_error *const e)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    commit c = {.r = r, .alive = r->conditional ? NULL : alive, .impl = impl};
    cf_error why = {0};
    bool own_fence = false;
    CF_TRY(cf_node_name_check(node, e));
    cf_buf_init(&text, CF_ROOT_LEN_MAX);
    CF_TRY(cf_root_render(root, &text, e));
    c.body = cf_buf_slice(&text);
    cf_key_root(c.key, node, &root->run);
    cf_repo_random_id(r->world, c.root_id);
    cf_repo_random_id(r->world, c.fence_id);
    commit_state state = settle(&c, &why);
    /* Where nothing is refused, a fence would overwrite a root that comes late. */
    if (r->conditional && (state == COMMIT_ABSENT || state == COMMIT_OPEN)) {
        state = fence(&c);
        own_fence = state == COMMIT_FENCED;
    }
    return say(&c, state, own_fence, &why, e);
}
