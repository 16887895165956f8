/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking at leases: which there are, who holds them, and whether they are free.
 */
#include "repo/lease_look.h"

#include <stdio.h>

#include "s3/base/cleanup.h"
#include "s3/base/num.h"

enum { LEASE_DIGITS = 10 };

static const char folder_writers[] = "leases";

cf_err cf_run_is_decided(const cf_repo *const repo, const char *const node,
                         const cf_run_id *const run, bool *const ret, cf_error *const e)
{
    char key[CF_KEY_LEN_MAX + 1];
    cf_object_stat stat = {0};
    cf_key_root(key, node, run);
    const cf_err err = repo->store->ops->head(repo->store, key, &stat, e);
    if (err != CF_ERR_NOT_FOUND)
        CF_TRY(err);
    *ret = err == CF_OK;
    return CF_OK;
}

/* --- names --- */

/* "0000000001", or "0000000001-<run>" where creating is not conditional. */
static bool name_parse(const cf_slice text, const bool conditional, cf_lease_name *const ret)
{
    const bool has_run = !conditional && text.len == LEASE_DIGITS + 1 + CF_RUN_ID_LEN;
    if (text.len < LEASE_DIGITS || !cf_u64_parse(cf_slice_of(text.ptr, LEASE_DIGITS), &ret->number))
        return false;
    if (!has_run)
        return conditional && text.len == LEASE_DIGITS;
    return text.ptr[LEASE_DIGITS] == '-' &&
           cf_run_id_parse(cf_slice_of(text.ptr + LEASE_DIGITS + 1, CF_RUN_ID_LEN), &ret->run);
}

typedef struct looking {
    size_t prefix_len;
    bool conditional;
    cf_lease_view *view;
    size_t seen; /* the ring's next place is seen % CF_LEASE_LOOK_MAX */
} looking;

static cf_err look_add(void *const impl, const cf_store_entry *const entry, bool *const ret_stop,
                       cf_error *const e)
{
    looking *const l = impl;
    cf_lease_name name = {.modified_utc_ms = entry->modified_utc_ms};
    (void)ret_stop;
    (void)e;
    const size_t len = strlen(entry->key);
    if (len <= l->prefix_len ||
        !name_parse(cf_slice_of(entry->key + l->prefix_len, len - l->prefix_len), l->conditional,
                    &name) ||
        name.number == 0)
        return CF_OK;
    l->view->newest[l->seen++ % CF_LEASE_LOOK_MAX] = name;
    return CF_OK;
}

/* The ring in order. */
static void view_settle(cf_lease_view *const v, const size_t seen)
{
    v->total = seen < CF_LEASE_LOOK_MAX ? seen : CF_LEASE_LOOK_MAX;
    const size_t first = seen < CF_LEASE_LOOK_MAX ? 0 : seen % CF_LEASE_LOOK_MAX;
    for (size_t turn = 0; turn < first; turn++) { /* rarely, and few: no second array */
        const cf_lease_name head = v->newest[0];
        memmove(v->newest, v->newest + 1, (v->total - 1) * sizeof(head));
        v->newest[v->total - 1] = head;
    }
    v->highest = v->total == 0 ? 0 : v->newest[v->total - 1].number;
}

cf_err cf_lease_list(const cf_repo *const repo, const char *const node, const char *const folder,
                     const uint64_t from, cf_lease_view *const ret, cf_error *const e)
{
    char prefix[CF_KEY_LEN_MAX + 1];
    char after[CF_KEY_LEN_MAX + 2] = "";
    looking l = {.conditional = repo->conditional, .view = ret};
    cf_key_folder(prefix, node, folder);
    l.prefix_len = strlen(prefix);
    if (from > 0) { /* '.' sorts behind '-', so that "<n>-<run>" is left out too */
        cf_key_claim(after, node, folder, from - 1, /* run= */ NULL);
        after[strlen(after)] = '.';
    }
    CF_TRY_AS(repo->store->ops->list(repo->store, prefix, from == 0 ? NULL : after,
                                     /* delimiter= */ NULL, look_add, &l, e),
              e, "list the %s of '%s'", folder, node);
    view_settle(ret, l.seen);
    return CF_OK;
}

/* --- one lease --- */

static bool is_out(const cf_lease_seen *const s, const int64_t now_utc_ms)
{
    return s->modified_utc_ms + (int64_t)s->body.ttl_s * 1000 < now_utc_ms;
}

/* One that cannot be read keeps others out for its whole time: so it is fetched once more, since it
 * may have been the way here that spoiled it. */
static cf_err body_get(const cf_repo *const repo, cf_lease_seen *const s, cf_error *const e)
{
    for (unsigned i = 0; i < 2 && !s->readable; i++) {
        CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
        cf_buf_init(&text, CF_LEASE_LEN_MAX);
        const cf_err err = cf_store_get_small(repo->store, s->key, &text, e);
        if (err != CF_ERR_TOO_LARGE)
            CF_TRY(err);
        const cf_err parsed =
            err == CF_OK ? cf_lease_body_parse(cf_buf_slice(&text), &s->body, /* e= */ NULL) : err;
        CF_ENSURE(parsed != CF_ERR_NO_MEMORY, e, CF_ERR_NO_MEMORY, "read lease '%s'", s->key);
        s->readable = parsed == CF_OK;
    }
    return CF_OK;
}

/* key, number and modified_utc_ms are set. */
static cf_err see(const cf_repo *const repo, cf_lease_seen *const s, cf_error *const e)
{
    cf_lease_owner self = {0};
    int64_t now_utc_ms = 0;
    s->readable = false;
    CF_TRY(body_get(repo, s, e));
    if (!s->readable)
        s->body = (cf_lease_body){.ttl_s = CF_LEASE_TTL_S, .since_utc_ms = s->modified_utc_ms};
    cf_owner_self(&self);
    CF_TRY(repo->store->ops->now_utc_ms(repo->store, &now_utc_ms, e));
    s->state = s->body.ended                             ? CF_LEASE_ENDED
               : cf_owner_is_dead(&s->body.owner, &self) ? CF_LEASE_OWNER_DEAD
               : is_out(s, now_utc_ms)                   ? CF_LEASE_RAN_OUT
                                                         : CF_LEASE_LIVE;
    return CF_OK;
}

cf_err cf_lease_see(const cf_repo *const repo, const char *const node, const char *const folder,
                    const cf_lease_name *const name, cf_lease_seen *const ret, cf_error *const e)
{
    cf_lease_seen s = {.number = name->number, .modified_utc_ms = name->modified_utc_ms};
    cf_key_claim(s.key, node, folder, name->number, repo->conditional ? NULL : &name->run);
    CF_TRY(see(repo, &s, e));
    *ret = s;
    return CF_OK;
}

/* --- each --- */

typedef struct each {
    const cf_repo *repo;
    size_t prefix_len;
    uint64_t above;
    bool numbered;
    cf_lease_fn fn;
    void *impl;
} each;

static cf_err each_add(void *const impl, const cf_store_entry *const entry, bool *const ret_stop,
                       cf_error *const e)
{
    const each *const x = impl;
    cf_lease_name name = {0};
    cf_lease_seen s = {.modified_utc_ms = entry->modified_utc_ms};
    (void)ret_stop;
    const size_t len = strlen(entry->key);
    if (len <= x->prefix_len || len > CF_KEY_LEN_MAX)
        return CF_OK;
    const cf_slice text = cf_slice_of(entry->key + x->prefix_len, len - x->prefix_len);
    if (x->numbered && (!name_parse(text, x->repo->conditional, &name) || name.number <= x->above))
        return CF_OK;
    memcpy(s.key, entry->key, len + 1);
    s.number = name.number;
    const cf_err err = see(x->repo, &s, e);
    if (err == CF_ERR_NOT_FOUND)
        return CF_OK;
    CF_TRY(err);
    return x->fn(x->impl, &s, e);
}

cf_err cf_lease_each(const cf_repo *const repo, const char *const node, const char *const folder,
                     const uint64_t above, const cf_lease_fn fn, void *const impl,
                     cf_error *const e)
{
    char prefix[CF_KEY_LEN_MAX + 1];
    each x = {.repo = repo,
              .above = above,
              .numbered = strcmp(folder, "reads") != 0,
              .fn = fn,
              .impl = impl};
    CF_TRY(cf_node_name_check(node, e));
    cf_key_folder(prefix, node, folder);
    x.prefix_len = strlen(prefix);
    CF_TRY_AS(repo->store->ops->list(repo->store, prefix, /* after= */ NULL, /* delimiter= */ NULL,
                                     each_add, &x, e),
              e, "read the %s of '%s'", folder, node);
    return CF_OK;
}

/* --- free or held --- */

/* Not to be taken: say who holds it, since when, and what can be done. */
static cf_err say_locked(const cf_lease_seen *const s, const char *const node, const bool writers,
                         const int64_t now_utc_ms, cf_error *const e)
{
    const cf_lease_body *const b = &s->body;
    char since[CF_TIME_SIZE] = "";
    char until[CF_TIME_SIZE] = "";
    const int64_t until_utc_ms = s->modified_utc_ms + (int64_t)b->ttl_s * 1000;
    cf_time_render_iso(b->since_utc_ms, since);
    cf_time_render_iso(until_utc_ms, until);
    CF_FAIL(e, CF_ERR_LOCKED,
            "node '%s' is busy: %s '%s' holds lease %llu: process %u on '%s', since %s; it runs "
            "out at %s (in %lld s) unless it is renewed\n"
            "HINT: --wait-lock 10m waits for it; if that process is dead, its lease runs out by "
            "itself%s%s%s",
            node, writers ? "run" : "prune", b->run.text[0] != '\0' ? b->run.text : "unknown",
            (unsigned long long)s->number, (unsigned)b->owner.pid,
            b->owner.host[0] != '\0' ? b->owner.host : "unknown", since, until,
            (long long)(until_utc_ms - now_utc_ms) / 1000,
            writers ? ", or 'chunkferry unlock --force --node " : "", writers ? node : "",
            writers ? "' ends it" : "");
}

/* The time of its last write as of now: a renewal may have come after the LIST. */
static cf_err is_out_now(const cf_repo *const repo, cf_lease_seen *const s, bool *const ret,
                         cf_error *const e)
{
    cf_object_stat stat = {0};
    int64_t now_utc_ms = 0;
    CF_TRY(repo->store->ops->head(repo->store, s->key, &stat, e));
    s->modified_utc_ms = stat.modified_utc_ms;
    CF_TRY(repo->store->ops->now_utc_ms(repo->store, &now_utc_ms, e));
    *ret = is_out(s, now_utc_ms);
    return CF_OK;
}

static cf_err check_free(const cf_repo *const repo, const char *const node,
                         const char *const folder, const cf_lease_name *const name,
                         cf_error *const e)
{
    const bool writers = strcmp(folder, folder_writers) == 0;
    cf_lease_seen s = {0};
    int64_t now_utc_ms = 0;
    bool free = false;
    CF_TRY(cf_lease_see(repo, node, folder, name, &s, e));
    if (s.state == CF_LEASE_ENDED || s.state == CF_LEASE_OWNER_DEAD)
        return CF_OK;
    if (s.state == CF_LEASE_RAN_OUT)
        CF_TRY(is_out_now(repo, &s, &free, e));
    if (!free && writers && s.readable) /* a prune never commits */
        CF_TRY(cf_run_is_decided(repo, node, &s.body.run, &free, e));
    CF_TRY(repo->store->ops->now_utc_ms(repo->store, &now_utc_ms, e));
    return free ? CF_OK : say_locked(&s, node, writers, now_utc_ms, e);
}

cf_err cf_lease_look(const cf_repo *const repo, const char *const node, const char *const folder,
                     const uint64_t from, cf_lease_view *const ret, cf_error *const e)
{
    CF_TRY(cf_lease_list(repo, node, folder, from, ret, e));
    /* Several of one number: only where creating is not conditional. */
    for (size_t i = ret->total; i > 0 && ret->newest[i - 1].number == ret->highest; i--) {
        const cf_err err = check_free(repo, node, folder, &ret->newest[i - 1], e);
        if (err != CF_ERR_NOT_FOUND) /* prune had it: its run is decided */
            CF_TRY(err);
    }
    return CF_OK;
}
