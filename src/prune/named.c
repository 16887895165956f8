/* SPDX-License-Identifier: Apache-2.0
 *
 * Named: what the snapshots that stay need. Their segments by key; pack segments are also read, each
 * once, however many snapshots share it. File segments need not be read: every pack that a file
 * names has a line in a pack segment.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "prune/prune.h"
#include "repo/line.h"
#include "repo/manifest.h"
#include "repo/segment.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

enum { NAMED_IN_MESSAGE_MAX = 5 };

typedef struct reader {
    cf_prune_node *node;
    cf_segment_reader *segments; /* owned, like all below */
    cf_line_store *lines;
    cf_buf stored;
} reader;

static void reader_deinit(reader *const r)
{
    cf_segment_reader_free(r->segments);
    cf_line_store_free(r->lines);
    cf_buf_deinit(&r->stored);
}

static cf_err reader_init(reader *const r, cf_prune_node *const n, cf_error *const e)
{
    r->node = n;
    cf_buf_init(&r->stored, CF_SEGMENT_STORED_MAX);
    CF_TRY(cf_segment_reader_new(&r->segments, e));
    return cf_line_store_new(&r->lines, e);
}

/* set NULL: only to see whether it can be read. */
static cf_err lines_read(reader *const r, const cf_segment *const s, cf_object_set *const set,
                         cf_error *const e)
{
    cf_slice line = {NULL, 0};
    cf_pack_line pack = {0};

    CF_TRY(cf_segment_fetch(r->node->repo, r->node->name, s, &r->stored, e));
    CF_TRY(cf_segment_reader_begin(r->segments, s, cf_buf_slice(&r->stored), e));
    for (;;) {
        CF_TRY(cf_segment_reader_next(r->segments, &line, e));
        if (line.len == 0)
            return CF_OK;
        CF_TRY_AS(cf_pack_line_parse(line, r->lines, &pack, e), e, "segment '%s'", s->key);
        if (set != NULL)
            CF_TRY(cf_object_set_add(set, cf_slice_str(pack.pack), /* ret_new= */ NULL, e));
    }
}

/* --- what is given up --- */

/* CF_ERR_DAMAGE: one of its pack segments cannot be read. */
static cf_err snap_try(reader *const r, const cf_prune_snap *const s, cf_error *const e)
{
    for (size_t i = 0; i < s->segment_total; i++) {
        const cf_segment *const segment = &r->node->segments.list[s->segments[i]].segment;

        if (segment->kind == CF_SEGMENT_PACKS)
            CF_TRY(lines_read(r, segment, /* set= */ NULL, e));
    }
    return CF_OK;
}

/* --drop-damaged: no rule holds it, but what a run under way builds on must stay, and the newest:
 * a run may be choosing it just now. */
static cf_err snap_give_up(const cf_prune_node *const n, cf_prune_snap *const s, cf_error *const e)
{
    CF_ENSURE((s->keep & (CF_KEEP_NEWEST | CF_KEEP_NEW)) == 0, e, CF_ERR_DAMAGE,
              "snapshot '%s' is damaged (%s), but it is the newest, which prune never deletes; "
              "nothing was deleted\nHINT: make another backup first, then prune with "
              "--drop-damaged %s",
              s->run.text, s->words, s->run.text);
    CF_ENSURE((s->keep & CF_KEEP_USED) == 0, e, CF_ERR_DAMAGE,
              "snapshot '%s' is damaged (%s), but a run that is not decided builds on it; nothing "
              "was deleted\nHINT: try again when that run has ended; 'chunkferry unlock --node %s' "
              "ends one that is stuck",
              s->run.text, s->words, n->name);
    s->keep = 0;
    return CF_OK;
}

static cf_err drop_one(reader *const r, cf_prune_snap *const s, cf_error *const e)
{
    cf_prune_node *const n = r->node;
    cf_error why = {0};

    if (!s->is_damaged) { /* its root can be read */
        const cf_err err = s->is_future ? CF_OK : snap_try(r, s, &why);

        if (err == CF_OK) {
            cf_prune_log(n->prune, CF_LOG_WARN,
                         "node '%s': snapshot '%s' is not damaged: the rules decide", n->name,
                         s->run.text);
            return CF_OK;
        }
        if (err != CF_ERR_DAMAGE) {
            if (e != NULL)
                *e = why;
            return err;
        }
        s->is_damaged = true;
        s->words = cf_strdup(why.message);
        CF_ENSURE(s->words != NULL, e, CF_ERR_NO_MEMORY, "allocate a message");
    }
    return snap_give_up(n, s, e);
}

/* --- what stays --- */

static bool stands(const cf_prune_snap *const s)
{
    return s->listed && (s->keep != 0 || s->waits);
}

static bool rests_on(const cf_prune_snap *const s, const uint32_t index)
{
    for (size_t i = 0; i < s->segment_total; i++) {
        if (s->segments[i] == index)
            return true;
    }
    return false;
}

/* A segment that is gone may have gone with its snapshots, to another prune, while this one slept:
 * then a root that rested on it is a fence by now. */
static cf_err check_still(cf_prune_node *const n, const uint32_t index, cf_error *const e)
{
    CF_TRY(cf_prune_check(n, e));
    for (size_t i = 0; i < n->snap_total; i++) {
        CF_CLEANUP(cf_root_freep) cf_root *root = NULL;
        const cf_prune_snap *const s = &n->snaps[i];

        if (!stands(s) || !rests_on(s, index))
            continue;
        CF_ENSURE(cf_snapshot_load(n->repo, n->name, &s->run, &root, /* e= */ NULL) !=
                      CF_ERR_FENCED,
                  e, CF_ERR_CONFLICT, "snapshot '%s' went meanwhile", s->run.text);
    }
    return CF_OK;
}

/* A segment can be shared: everybody who rests on it is told. */
static cf_err say_damaged(const cf_prune_node *const n, const uint32_t index,
                          const cf_error *const why, cf_error *const e)
{
    char runs[NAMED_IN_MESSAGE_MAX * (CF_RUN_ID_LEN + 2) + 32] = "";
    char words[NAMED_IN_MESSAGE_MAX * (CF_RUN_ID_LEN + 17) + 32] = "";
    size_t total = 0, used = 0, words_used = 0;

    for (size_t i = 0; i < n->snap_total; i++) {
        const cf_prune_snap *const s = &n->snaps[i];

        if (!stands(s) || !rests_on(s, index))
            continue;
        if (total++ >= NAMED_IN_MESSAGE_MAX)
            continue;
        used += (size_t)snprintf(runs + used, sizeof(runs) - used, "%s%s", total > 1 ? ", " : "",
                                 s->run.text);
        words_used += (size_t)snprintf(words + words_used, sizeof(words) - words_used,
                                       " --drop-damaged %s", s->run.text);
    }
    const char *const more = total > NAMED_IN_MESSAGE_MAX ? ", ..." : "";
    CF_FAIL(e, CF_ERR_DAMAGE,
            "%s; %zu snapshots that stay rest on it (%s%s), so it is not known what they name, and "
            "nothing was deleted\nHINT:%s%s gives them up and goes on; 'chunkferry verify' says "
            "what is damaged, a copy of the repository may have it whole",
            why->message, total, runs, more, words, more);
}

static cf_err segment_name(reader *const r, const uint32_t index, cf_error *const e)
{
    cf_prune_node *const n = r->node;
    cf_prune_segment *const s = &n->segments.list[index];
    cf_error why = {0};

    if (s->done)
        return CF_OK;
    s->done = true;
    CF_TRY(cf_object_set_add(n->named, cf_slice_str(s->segment.key), /* ret_new= */ NULL, e));
    if (s->segment.kind != CF_SEGMENT_PACKS)
        return CF_OK;
    const cf_err err = lines_read(r, &s->segment, n->named, &why);
    if (err == CF_ERR_DAMAGE) {
        CF_TRY(check_still(n, index, e));
        return say_damaged(n, index, &why, e);
    }
    if (err != CF_OK && e != NULL)
        *e = why;
    return err;
}

static cf_err snaps_name(reader *const r, cf_error *const e)
{
    cf_prune_node *const n = r->node;

    for (size_t i = 0; i < n->snap_total; i++) {
        const cf_prune_snap *const s = &n->snaps[i];

        for (size_t k = 0; stands(s) && k < s->segment_total; k++) {
            CF_TRY(cf_prune_check(n, e));
            CF_TRY(segment_name(r, s->segments[k], e));
        }
        cf_prune_progress(n->prune, "reading", i + 1, n->snap_total);
    }
    return CF_OK;
}

cf_err cf_prune_read_named(cf_prune_node *const n, cf_error *const e)
{
    CF_CLEANUP(reader_deinit) reader r = {0};

    CF_TRY(reader_init(&r, n, e));
    CF_TRY(cf_object_set_new(&n->named, e));
    for (size_t i = 0; i < n->snap_total; i++) {
        cf_prune_snap *const s = &n->snaps[i];
        if (s->listed && (s->is_damaged || cf_prune_is_dropped(n, &s->run)))
            CF_TRY(drop_one(&r, s, e));
    }
    n->goes_total = cf_prune_going(n);
    return snaps_name(&r, e);
}

cf_err cf_prune_read_waiting(cf_prune_node *const n, cf_error *const e)
{
    CF_CLEANUP(reader_deinit) reader r = {0};

    CF_TRY(reader_init(&r, n, e));
    return snaps_name(&r, e);
}
