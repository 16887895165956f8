/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry status: made to be run every five minutes. A node costs a LIST each of its snapshots,
 * its runs (names only), its marks and its leases, a GET of the newest root and of its pack lines,
 * and of each lease above it; what dead runs left is measured for LEFTOVER_RUNS_MAX of them. The
 * objects of the others are never listed.
 */
#include <inttypes.h>

#include "cli/snapshots.h"
#include "cli/status_look.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/num.h"

typedef struct statuser {
    cf_cli *cli;
    cf_opened opened;
    int64_t now_utc_ms;
    uint64_t max_age_ms; /* 0: none */
    uint64_t nodes_total, late_total, damaged_total;
    char late_names[512]; /* the first ones */
} statuser;

static void statuser_deinit(statuser *const s)
{
    cf_opened_close(&s->opened);
}

/* "3 d 4 h", "2 h 5 min", "40 s" */
static const char *age_render(const int64_t from_utc_ms, const int64_t now_utc_ms, char ret[48])
{
    const int64_t s = (now_utc_ms - from_utc_ms) / 1000;

    if (s < 0)
        (void)snprintf(ret, 48, "in the future");
    else if (s >= 48 * 3600)
        (void)snprintf(ret, 48, "%" PRId64 " d %" PRId64 " h ago", s / 86400, s % 86400 / 3600);
    else if (s >= 3600)
        (void)snprintf(ret, 48, "%" PRId64 " h %" PRId64 " min ago", s / 3600, s % 3600 / 60);
    else if (s >= 60)
        (void)snprintf(ret, 48, "%" PRId64 " min ago", s / 60);
    else
        (void)snprintf(ret, 48, "%" PRId64 " s ago", s);
    return ret;
}

static json_int_t age_s(const statuser *const s, const int64_t utc_ms)
{
    return s->now_utc_ms > utc_ms ? (json_int_t)((s->now_utc_ms - utc_ms) / 1000) : 0;
}

/* ---- text ---- */

static void proof_print(const statuser *const s, const cf_status *const x)
{
    char age[48];

    if (!x->has_proof)
        cf_output_text(s->cli->output, "  proved    never\n");
    else
        cf_output_text(s->cli->output, "  proved    %s%s%s\n",
                       age_render(x->proof.time_utc_ms, s->now_utc_ms, age),
                       x->root != NULL && strcmp(x->proof.run.text, x->root->run.text) == 0
                           ? ""
                           : ", of snapshot ",
                       x->root != NULL && strcmp(x->proof.run.text, x->root->run.text) == 0
                           ? ""
                           : x->proof.run.text);
    if (x->damage_total > 0)
        cf_output_text(s->cli->output,
                       "  damage    %" PRIu64 " marks on the newest snapshot: run a backup\n",
                       x->damage_total);
}

static void rest_print(const statuser *const s, const cf_status *const x)
{
    cf_output *const out = s->cli->output;
    char since[CF_TIME_SIZE], size[CF_SIZE_TEXT_SIZE];

    if (x->has_lease && x->lease.readable) {
        cf_time_render_iso(x->lease.body.since_utc_ms, since);
        cf_output_text(out, "  running   %s since %s, process %" PRIu64 " of '%s'\n",
                       x->lease.body.run.text, since, (uint64_t)x->lease.body.owner.pid,
                       x->lease.body.owner.host);
    } else if (x->has_lease) {
        cf_output_text(out, "  running   somebody: lease '%s' cannot be read\n", x->lease.key);
    }
    if (x->leftover_runs > 0)
        cf_output_text(out,
                       "  leftovers %" PRIu64 " runs that ended without a snapshot, %s%s; the next "
                       "backup uses what it can, prune deletes the rest\n",
                       x->leftover_runs, x->leftovers_measured ? "" : "more than ",
                       cf_size_render(x->leftover_bytes, size));
}

static void text_print(const statuser *const s, const char *const node, const cf_status *const x,
                       const bool late)
{
    cf_output *const out = s->cli->output;
    char age[48], source[CF_SIZE_TEXT_SIZE], stored[CF_SIZE_TEXT_SIZE], time[CF_TIME_SIZE];

    if (x->root == NULL) {
        cf_output_text(out, "node %s: no snapshot%s\n", node, late ? ", late" : "");
    } else {
        cf_time_render_iso(x->root->time_utc_ms, time);
        cf_output_text(out, "node %s: newest snapshot %s%s\n", node,
                       age_render(x->root->time_utc_ms, s->now_utc_ms, age), late ? ", late" : "");
        cf_output_text(out, "  snapshot  %s, %s; %zu in all\n", x->root->run.text, time,
                       x->snapshot_total);
        cf_output_text(out,
                       "  holds     %s, stored in %s of %" PRIu64 " packs, of %" PRIu64 " runs\n",
                       cf_size_render(x->root->totals.source_bytes, source),
                       cf_size_render(x->root->totals.stored_bytes, stored),
                       x->root->totals.packs_total, x->runs_total);
        proof_print(s, x);
    }
    rest_print(s, x);
}

/* ---- JSON ---- */

static json_t *lease_json(const cf_status *const x)
{
    char since[CF_TIME_SIZE];

    if (!x->has_lease)
        return json_null();
    if (!x->lease.readable)
        return json_pack("{s:I, s:s}", "number", (json_int_t)x->lease.number, "state",
                         "unreadable");
    cf_time_render_iso(x->lease.body.since_utc_ms, since);
    return json_pack("{s:I, s:s, s:s, s:s, s:I, s:s}", "number", (json_int_t)x->lease.number,
                     "state", "live", "run", x->lease.body.run.text, "host",
                     x->lease.body.owner.host, "pid", (json_int_t)x->lease.body.owner.pid, "since",
                     since);
}

static json_t *node_json(const statuser *const s, const char *const node, const cf_status *const x,
                         const bool late)
{
    const cf_totals none = {0};
    const cf_totals *const t = x->root != NULL ? &x->root->totals : &none;
    char time[CF_TIME_SIZE] = "", proved[CF_TIME_SIZE] = "";

    if (x->root != NULL)
        cf_time_render_iso(x->root->time_utc_ms, time);
    if (x->has_proof)
        cf_time_render_iso(x->proof.time_utc_ms, proved);
    json_t *const object = json_pack(
        "{s:s, s:s, s:s*, s:s*, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:{s:I, s:I, s:b}, s:b}", "type",
        "node", "node", node, "snapshot", x->root != NULL ? x->root->run.text : NULL, "time",
        x->root != NULL ? time : NULL, "snapshots", (json_int_t)x->snapshot_total, "bytes_source",
        (json_int_t)t->source_bytes, "bytes_stored", (json_int_t)t->stored_bytes, "packs",
        (json_int_t)t->packs_total, "runs", (json_int_t)x->runs_total, "damage_marks",
        (json_int_t)x->damage_total, "lease", lease_json(x), "leftovers", "runs",
        (json_int_t)x->leftover_runs, "bytes", (json_int_t)x->leftover_bytes, "measured",
        (int)x->leftovers_measured, "late", (int)late);
    if (x->root != NULL)
        (void)json_object_set_new(object, "age_s", json_integer(age_s(s, x->root->time_utc_ms)));
    if (x->has_proof) {
        (void)json_object_set_new(object, "proved", json_string(proved));
        (void)json_object_set_new(object, "proved_snapshot", json_string(x->proof.run.text));
        (void)json_object_set_new(object, "proved_age_s",
                                  json_integer(age_s(s, x->proof.time_utc_ms)));
    }
    return object;
}

/* ---- a node ---- */

static bool is_late(const statuser *const s, const cf_status *const x)
{
    if (s->max_age_ms == 0)
        return false;
    return x->root == NULL || s->now_utc_ms - x->root->time_utc_ms > (int64_t)s->max_age_ms;
}

static void late_note(statuser *const s, const char *const node)
{
    const size_t used = strlen(s->late_names);

    if (s->late_total++ > 0)
        (void)snprintf(s->late_names + used, sizeof(s->late_names) - used, ", %s", node);
    else
        (void)snprintf(s->late_names, sizeof(s->late_names), "%s", node);
}

/* A newest root that cannot be read does not hide the other nodes; the exit code tells. */
static cf_err node_status(void *const impl, const char *const node, cf_error *const e)
{
    statuser *const s = impl;
    CF_CLEANUP(cf_status_deinit) cf_status x = {0};
    const cf_err err = cf_status_look(&s->opened.repo, node, &x, e);

    if (err == CF_ERR_DAMAGE || err == CF_ERR_FORMAT) {
        cf_output_log(s->cli->output, CF_LOG_WARN, e->message);
        s->damaged_total++;
    } else {
        CF_TRY(err);
    }
    const bool late = is_late(s, &x);
    if (late)
        late_note(s, node);
    s->nodes_total++;
    text_print(s, node, &x, late);
    cf_output_object(s->cli->output, node_json(s, node, &x, late));
    return CF_OK;
}

cf_err cf_cli_status(cf_cli *const c, cf_error *const e)
{
    CF_CLEANUP(statuser_deinit) statuser s = {.cli = c};
    const char *const node = c->values.text[CF_OPT_NODE];

    CF_TRY(cf_values_duration(&c->values, CF_OPT_MAX_AGE, &s.max_age_ms, e));
    if (node != NULL)
        CF_TRY(cf_node_name_check(node, e));
    CF_TRY(cf_opened_open(c, &s.opened, e));
    CF_TRY(s.opened.store->ops->now_utc_ms(s.opened.store, &s.now_utc_ms, e));
    if (node != NULL)
        CF_TRY(node_status(&s, node, e));
    else
        CF_TRY(cf_repo_list_nodes(&s.opened.repo, node_status, &s, e));
    if (s.nodes_total == 0)
        cf_output_text(c->output, "no nodes\n");
    cf_output_object(c->output,
                     json_pack("{s:s, s:I, s:I}", "type", "summary", "nodes",
                               (json_int_t)s.nodes_total, "late", (json_int_t)s.late_total));
    CF_ENSURE(
        s.damaged_total == 0, e, CF_ERR_DAMAGE,
        "of %" PRIu64 " nodes the newest snapshot could not be read\n"
        "HINT: the warnings name them; 'chunkferry verify' says what is damaged, and a backup "
        "makes a whole one",
        s.damaged_total);
    CF_ENSURE(s.late_total == 0, e, CF_ERR_LIMIT,
              "late: %s\nHINT: the newest snapshot is older than --max-age %s, or there is none",
              s.late_names, c->values.text[CF_OPT_MAX_AGE]);
    return CF_OK;
}
