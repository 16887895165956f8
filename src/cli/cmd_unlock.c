/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry unlock
 */
#include <inttypes.h>

#include "cli/snapshots.h"
#include "repo/fence.h"
#include "repo/lease.h"
#include "s3/base/cleanup.h"
#include "s3/base/num.h"

typedef struct unlocker {
    cf_cli *cli;
    const char *node;
    cf_opened opened;
    bool force;
    uint64_t leases_total, fenced_total;
    bool has_live;
    cf_lease_seen live; /* the highest that is held, and that was left alone */
} unlocker;

static void unlocker_deinit(unlocker *const u)
{
    cf_opened_close(&u->opened);
}

static const struct {
    const char *name, *text;
} states[] = {
    [CF_LEASE_LIVE] = {"live", "held"},
    [CF_LEASE_ENDED] = {"ended", "free: it was given back"},
    [CF_LEASE_RAN_OUT] = {"ran-out", "free: it was not renewed in time"},
    [CF_LEASE_OWNER_DEAD] = {"dead", "free: its process on this machine is gone"},
};

static void lease_print(const unlocker *const u, const cf_lease_seen *const s, const bool fenced)
{
    char since[CF_TIME_SIZE], renewed[CF_TIME_SIZE], until[CF_TIME_SIZE];
    const cf_lease_body *const b = &s->body;
    cf_output *const out = u->cli->output;
    const char *const host = b->owner.host[0] != '\0' ? b->owner.host : "unknown";
    const char *const run = b->run.text[0] != '\0' ? b->run.text : "unknown";

    cf_time_render_iso(b->since_utc_ms, since);
    cf_time_render_iso(s->modified_utc_ms, renewed);
    cf_time_render_iso(s->modified_utc_ms + (int64_t)b->ttl_s * 1000, until);
    cf_output_text(out,
                   "lease %" PRIu64 " of node %s: %s, %s\n  run      %s\n  held by  process %u on "
                   "%s, since %s\n  renewed  %s, runs out %s\n%s",
                   s->number, u->node, states[s->state].name, states[s->state].text, run,
                   (unsigned)b->owner.pid, host, since, renewed, until,
                   fenced ? "  fenced   it can never commit; a backup can start at once\n"
                   : s->state != CF_LEASE_LIVE
                       ? "  the next backup starts at once, and goes on from what it uploaded\n"
                       : "");
    cf_output_object(
        out, json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:I, s:s, s:s, s:s, s:b}", "type", "lease",
                       "node", u->node, "lease", (json_int_t)s->number, "run", run, "state",
                       states[s->state].name, "host", host, "pid", (json_int_t)b->owner.pid,
                       "since", since, "renewed", renewed, "runs_out", until, "fenced", fenced));
}

static cf_err lease_seen(void *const impl, const cf_lease_seen *const s, cf_error *const e)
{
    unlocker *const u = impl;
    const cf_repo *const repo = &u->opened.repo;
    const bool known = s->readable;
    const bool live = s->state == CF_LEASE_LIVE;
    bool decided = false;

    if (known)
        CF_TRY(cf_run_is_decided(repo, u->node, &s->body.run, &decided, e));
    if (decided)
        return CF_OK;
    u->leases_total++;
    /* A free one holds nobody up, and fenced its work could not be gone on with: only when asked. */
    const bool fence = known && repo->conditional && u->force;
    if (!fence && live) {
        u->has_live = true;
        u->live = *s;
    }
    const cf_err err =
        fence ? cf_fence_put(repo, u->node, &s->body.run, /* over_root= */ false, e) : CF_OK;
    if (err == CF_ERR_EXISTS) { /* it committed, or was fenced, since we looked */
        u->leases_total--;
        return CF_OK;
    }
    CF_TRY(err);
    u->fenced_total += fence;
    lease_print(u, s, fence);
    return CF_OK;
}

static cf_err still_live(const unlocker *const u, cf_error *const e)
{
    const cf_lease_seen *const s = &u->live;
    char until[CF_TIME_SIZE];

    if (!u->has_live)
        return CF_OK;
    cf_time_render_iso(s->modified_utc_ms + (int64_t)s->body.ttl_s * 1000, until);
    CF_ENSURE(u->opened.repo.conditional, e, CF_ERR_UNSUPPORTED,
              "lease %" PRIu64 " is live, and where the store has no conditional create a run "
              "cannot be fenced; nothing was changed\n"
              "HINT: end process %u on '%s' itself; the lease runs out by itself at %s unless it "
              "is renewed",
              s->number, (unsigned)s->body.owner.pid, s->body.owner.host, until);
    CF_ENSURE(s->readable, e, CF_ERR_LOCKED,
              "lease %" PRIu64 " cannot be understood, so its run cannot be fenced; nothing was "
              "changed\nHINT: it runs out by itself at %s",
              s->number, until);
    CF_FAIL(e, CF_ERR_LOCKED,
            "lease %" PRIu64 " is live: run '%s' is held by process %u on '%s'; nothing was "
            "changed\n"
            "HINT: with --force it is fenced: it goes on, fails at its commit, and what it "
            "uploaded is lost; else wait: its lease runs out at %s unless it is renewed",
            s->number, s->body.run.text, (unsigned)s->body.owner.pid, s->body.owner.host, until);
}

/* Leases up to that of the newest snapshot are below one that was free: they hold nobody up. */
static cf_err above_of(const unlocker *const u, uint64_t *const ret, cf_error *const e)
{
    CF_CLEANUP(cf_snapshot_ids_deinit) cf_snapshot_ids ids = {0};
    CF_CLEANUP(cf_root_freep) cf_root *root = NULL;

    CF_TRY(cf_snapshot_list(&u->opened.repo, u->node, /* recent= */ true, &ids, e));
    if (ids.total > 0 && cf_snapshot_load(&u->opened.repo, u->node, &ids.id[ids.total - 1], &root,
                                          /* e= */ NULL) == CF_OK)
        *ret = root->lease;
    return CF_OK;
}

cf_err cf_cli_unlock(cf_cli *const c, cf_error *const e)
{
    CF_CLEANUP(unlocker_deinit)
    unlocker u = {.cli = c,
                  .node = c->values.text[CF_OPT_NODE],
                  .force = cf_values_on(&c->values, CF_OPT_FORCE)};
    uint64_t above = 0;

    CF_ENSURE(u.node != NULL, e, CF_ERR_USAGE,
              "no node given\nHINT: --node NAME, or set CHUNKFERRY_NODE");
    CF_TRY(cf_node_name_check(u.node, e));
    CF_TRY(cf_opened_open(c, &u.opened, e));
    CF_TRY(above_of(&u, &above, e));
    CF_TRY(cf_lease_each(&u.opened.repo, u.node, "leases", above, lease_seen, &u, e));
    if (u.fenced_total == 0 && !u.has_live)
        cf_output_text(c->output, "node %s: no run is under way, there is nothing to unlock\n",
                       u.node);
    cf_output_object(c->output,
                     json_pack("{s:s, s:s, s:I, s:I}", "type", "summary", "node", u.node, "leases",
                               (json_int_t)u.leases_total, "fenced", (json_int_t)u.fenced_total));
    return still_live(&u, e);
}
