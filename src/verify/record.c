/* SPDX-License-Identifier: Apache-2.0
 *
 * Record: what was found goes into the repository as marks, so that the next backup does not rely
 * on it, and what was proved, so that status can say when. Best effort: a medium that is read-only
 * is verified all the same.
 */
#include "repo/damage.h"
#include "repo/mark.h"
#include "s3/base/cleanup.h"
#include "s3/base/utf8.h"
#include "verify/verify.h"

enum { OBJECTS_PER_MARK = 1000, FILES_PER_MARK = 50 };

static void file_append(json_t *const files, const char *const path)
{
    const cf_slice s = cf_slice_str(path);

    if (json_array_size(files) < FILES_PER_MARK && cf_utf8_valid(s))
        (void)json_array_append_new(files, json_string(path));
}

static bool names(const cf_finding *const f, const size_t node, const cf_run_id *const snapshot)
{
    if (f->node != node)
        return false;
    for (size_t i = 0; i < f->snapshots_shown; i++) {
        if (strcmp(f->snapshots[i].text, snapshot->text) == 0)
            return true;
    }
    return false;
}

/* Of what this snapshot names, up to OBJECTS_PER_MARK that no mark of it has; from finding *at on. */
static json_t *body_make(const cf_verify *const v, const size_t node,
                         const cf_run_id *const snapshot, const cf_damage *const known,
                         size_t *const at, size_t *const ret_total)
{
    json_t *const objects = json_array(), *const files = json_array();
    const char *reason = "";

    *ret_total = 0;
    for (; *at < v->findings->total && *ret_total < OBJECTS_PER_MARK; ++*at) {
        const cf_finding *const f = v->findings->at[*at];

        if (f->kind == CF_FINDING_ROOT || !names(f, node, snapshot) ||
            cf_damage_has_in(known, snapshot, f->object))
            continue;
        (void)json_array_append_new(objects, json_string(f->object));
        for (size_t i = 0; i < f->files_shown; i++)
            file_append(files, f->files[i]);
        if (++*ret_total == 1)
            reason = f->reason;
    }
    return json_pack("{s:o, s:o, s:s*}", "objects", objects, "files", files, "reason",
                     cf_utf8_valid(cf_slice_str(reason)) ? reason : NULL);
}

static cf_err snapshot_mark(const cf_verify *const v, const size_t node,
                            const cf_run_id *const snapshot, const cf_damage *const known,
                            cf_error *const e)
{
    for (size_t at = 0; at < v->findings->total;) {
        size_t total = 0;
        CF_CLEANUP(json_decrefp)
        json_t *body = body_make(v, node, snapshot, known, &at, &total);

        CF_ENSURE(body != NULL, e, CF_ERR_NO_MEMORY, "make a mark");
        if (total > 0)
            CF_TRY(cf_mark_add(&v->repo, v->nodes[node].name, snapshot, CF_MARK_DAMAGE, body, e));
    }
    return CF_OK;
}

/* Of a root that is damaged, and of a snapshot with more damage than is listed: all of it. */
static cf_err whole_mark(const cf_verify *const v, const size_t node,
                         const cf_run_id *const snapshot, const char *const reason,
                         const cf_damage *const known, cf_error *const e)
{
    if (cf_damage_has_all_of(known, snapshot))
        return CF_OK;
    CF_CLEANUP(json_decrefp)
    json_t *body = json_pack("{s:[], s:[], s:s*}", "objects", "files", "reason",
                             cf_utf8_valid(cf_slice_str(reason)) ? reason : NULL);

    CF_ENSURE(body != NULL, e, CF_ERR_NO_MEMORY, "make a mark");
    return cf_mark_add(&v->repo, v->nodes[node].name, snapshot, CF_MARK_DAMAGE, body, e);
}

/* Was this snapshot met at an earlier finding of the node? Each is marked once. */
static bool met_before(const cf_verify *const v, const size_t finding, const size_t snapshot)
{
    const cf_finding *const f = v->findings->at[finding];

    for (size_t i = 0; i < finding; i++) {
        if (names(v->findings->at[i], f->node, &f->snapshots[snapshot]))
            return true;
    }
    return false;
}

static cf_err node_mark(const cf_verify *const v, const size_t node, cf_error *const e)
{
    CF_CLEANUP(cf_damage_freep) cf_damage *known = NULL;

    CF_TRY(cf_damage_load(&v->repo, v->nodes[node].name, &known, e));
    for (size_t i = 0; i < v->findings->total; i++) {
        const cf_finding *const f = v->findings->at[i];
        cf_run_id id = {""};

        if (f->node != node)
            continue;
        if (f->kind == CF_FINDING_ROOT && cf_run_id_parse(cf_slice_str(f->object), &id))
            CF_TRY(whole_mark(v, node, &id, f->reason, known, e));
        for (size_t s = 0; s < f->snapshots_shown; s++) {
            if (met_before(v, i, s))
                continue;
            CF_TRY(snapshot_mark(v, node, &f->snapshots[s], known, e));
            if (v->findings->more > 0)
                CF_TRY(whole_mark(v, node, &f->snapshots[s], f->reason, known, e));
        }
    }
    return CF_OK;
}

/* ---- proof ---- */

static bool node_has_findings(const cf_verify *const v, const size_t node)
{
    for (size_t i = 0; i < v->findings->total; i++) {
        if (v->findings->at[i]->node == node)
            return true;
    }
    return false;
}

/* A prune that began before the mark may not have seen it. */
static cf_err still_there(const cf_verify *const v, const char *const node,
                          const cf_run_id *const snapshot, bool *const ret, cf_error *const e)
{
    char key[CF_KEY_LEN_MAX + 1];
    cf_object_stat stat = {0};

    cf_key_root(key, node, snapshot);
    const cf_err err = v->store->ops->head(v->store, key, &stat, e);
    *ret = err == CF_OK && stat.size_bytes > 0;
    return err == CF_ERR_NOT_FOUND ? CF_OK : err;
}

static cf_err snapshot_prove(cf_verify *const v, const cf_verify_node *const n,
                             const cf_verify_snapshot *const s, cf_error *const e)
{
    const cf_totals *const t = &s->root->totals;
    CF_CLEANUP(json_decrefp)
    json_t *body = json_pack("{s:I, s:I, s:I}", "files", (json_int_t)t->files_total, "packs",
                             (json_int_t)t->packs_total, "bytes", (json_int_t)t->stored_bytes);
    bool there = false;

    CF_ENSURE(body != NULL, e, CF_ERR_NO_MEMORY, "make a mark");
    CF_TRY(cf_mark_add(&v->repo, n->name, &s->id, CF_MARK_PROOF, body, e));
    CF_TRY(still_there(v, n->name, &s->id, &there, e));
    v->result.proved_total += there;
    if (!there)
        cf_verify_log(v, CF_LOG_WARN, "snapshot %s of node '%s' was pruned while it was read",
                      s->id.text, n->name);
    return CF_OK;
}

static cf_err node_prove(cf_verify *const v, const size_t node, cf_error *const e)
{
    const cf_verify_node *const n = &v->nodes[node];

    if (v->opts->how != CF_VERIFY_DATA || node_has_findings(v, node))
        return CF_OK;
    for (size_t i = 0; i < n->snapshot_total; i++) {
        if (n->snapshots[i].looked_at && !n->snapshots[i].gone)
            CF_TRY(snapshot_prove(v, n, &n->snapshots[i], e));
    }
    return CF_OK;
}

void cf_verify_record(cf_verify *const v, const bool complete)
{
    for (size_t n = 0; n < v->node_total; n++) {
        cf_error e = {0};
        cf_err err = node_has_findings(v, n) ? node_mark(v, n, &e) : CF_OK;

        if (err != CF_OK)
            cf_verify_log(v, CF_LOG_WARN,
                          "what was found could not be recorded: %s\nHINT: the next backup will "
                          "not know; run it with --mode full, or verify with an access key that "
                          "may write",
                          e.message);
        else if (complete && v->findings->more == 0)
            err = node_prove(v, n, &e);
        if (err != CF_OK && !node_has_findings(v, n))
            cf_verify_log(v, CF_LOG_WARN, "the proof could not be recorded: %s", e.message);
    }
}
