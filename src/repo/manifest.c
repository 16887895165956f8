/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer. File lines go out as they come; of every pack only its use is kept; this run's pack
 * lines wait in a spool, the parent's stay where they are, and both are merged at the end.
 */
#include "repo/manifest.h"

#include "repo/pack_use.h"
#include "repo/segment.h"
#include "repo/spool.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

struct cf_manifest {
    cf_manifest_opts opts;
    cf_root *files;            /* owned; only its segments matter */
    cf_segment_writer *writer; /* owned; of file segments */
    cf_pack_use *use;          /* owned */
    cf_spool *packs;           /* owned */
    uint32_t last_seq;         /* of the pack added last */
    cf_buf text;               /* one rendered line */
    bool started, finished;
    uint16_t last_step;
    cf_buf last_path;
};

void cf_manifest_free(cf_manifest *const m)
{
    if (m == NULL)
        return;
    cf_root_free(m->files);
    cf_segment_writer_free(m->writer);
    cf_pack_use_free(m->use);
    cf_spool_free(m->packs);
    cf_buf_deinit(&m->text);
    cf_buf_deinit(&m->last_path);
    cf_free(m);
}

static cf_err writer_new(const cf_manifest *const m, const cf_segment_kind kind,
                         cf_segment_writer **const ret, cf_error *const e)
{
    return cf_segment_writer_new(
        &(cf_segment_writer_opts){m->opts.repo, m->opts.run, m->opts.parent, kind}, ret, e);
}

cf_err cf_manifest_new(const cf_manifest_opts *const opts, cf_manifest **const ret,
                       cf_error *const e)
{
    CF_CLEANUP(cf_manifest_freep) cf_manifest *m = NULL;
    CF_NEW(m, e);
    m->opts = *opts;
    cf_buf_init(&m->text, CF_LINE_LEN_MAX + 1024);
    cf_buf_init(&m->last_path, CF_PATH_LEN_MAX);
    CF_TRY(cf_root_new(&m->files, e));
    CF_TRY(writer_new(m, CF_SEGMENT_FILES, &m->writer, e));
    CF_TRY(cf_pack_use_new(CF_PACK_TOTAL_MAX, &m->use, e));
    CF_TRY(cf_spool_new(&m->packs, e));
    *ret = CF_STEAL(m);
    return CF_OK;
}

static cf_err tell(const cf_manifest *const m, cf_error *const e)
{
    return m->opts.on_line == NULL ? CF_OK
                                   : m->opts.on_line(m->opts.impl, cf_buf_slice(&m->text), e);
}

cf_err cf_manifest_add_file(cf_manifest *const m, const cf_file_line *const line, cf_error *const e)
{
    CF_CHECK(!m->finished);
    CF_CHECK(!m->started || cf_file_line_cmp(m->last_step, cf_buf_slice(&m->last_path), line->step,
                                             line->path) < 0);
    cf_buf_clear(&m->text);
    CF_TRY_AS(cf_file_line_render(line, &m->text, e), e, "line of '%.*s'",
              CF_SLICE_FMT(line->path));
    cf_buf_clear(&m->last_path);
    CF_TRY(cf_buf_append(&m->last_path, line->path, e));
    m->last_step = line->step;
    m->started = true;
    for (size_t i = 0; i < line->extent_total; i++)
        CF_TRY(cf_pack_use_add(m->use, line->extents[i].pack, line->extents[i].stored_bytes, e));
    CF_TRY(cf_segment_writer_add(m->writer, cf_buf_slice(&m->text), line->path, m->files, e));
    return tell(m, e);
}

cf_err cf_manifest_add_pack(cf_manifest *const m, const cf_pack_line *const line, cf_error *const e)
{
    cf_run_id run = {""};
    uint32_t seq = 0;
    cf_pack_line unused = *line;
    unused.used_bytes = 0;
    CF_CHECK(!m->finished);
    CF_CHECK(cf_object_name_parse(cf_slice_str(line->pack), &run, &seq, NULL));
    CF_CHECK(strcmp(run.text, m->opts.run->id.text) == 0 && seq > m->last_seq);
    cf_buf_clear(&m->text);
    CF_TRY(cf_pack_line_render(&unused, &m->text, e));
    CF_TRY(cf_spool_add(m->packs, cf_buf_slice(&m->text), e));
    m->last_seq = seq;
    return tell(m, e);
}

cf_err cf_manifest_cut(cf_manifest *const m, cf_error *const e)
{
    CF_CHECK(!m->finished);
    return cf_segment_writer_cut(m->writer, m->files, e);
}

/* --- the end: pack segments --- */

typedef enum pack_source { FROM_PARENT, FROM_ADOPTED, FROM_US, PACK_SOURCES } pack_source;

typedef struct merge {
    cf_manifest *m;
    cf_cursor *old;                         /* the parent's packs; NULL: no parent */
    cf_cursor *own_old;                     /* owned: when nobody gave one */
    cf_line_store *store;                   /* owned; of ours */
    cf_segment_writer *writer;              /* owned */
    cf_root *packs;                         /* owned; only its segments matter */
    const cf_pack_line *next[PACK_SOURCES]; /* NULL: no more */
    cf_pack_line ours;
    cf_totals *totals;
    uint64_t sparse_total, worn_total, size_bytes; /* of the packs named */
} merge;

static void merge_deinit(merge *const g)
{
    cf_cursor_free(g->own_old);
    cf_line_store_free(g->store);
    cf_segment_writer_free(g->writer);
    cf_root_free(g->packs);
}

static cf_err next_ours(merge *const g, cf_error *const e)
{
    cf_slice text = {NULL, 0};
    CF_TRY(cf_spool_next(g->m->packs, &text, e));
    if (text.len > 0)
        CF_TRY(cf_pack_line_parse(text, g->store, &g->ours, e));
    g->next[FROM_US] = text.len > 0 ? &g->ours : NULL;
    return CF_OK;
}

static cf_err merge_next(merge *const g, const pack_source from, cf_error *const e)
{
    if (from == FROM_PARENT && g->old != NULL)
        return cf_cursor_next_pack(g->old, &g->next[from], e);
    if (from == FROM_ADOPTED && g->m->opts.adopted != NULL)
        return cf_adoption_next_pack(g->m->opts.adopted, &g->next[from], e);
    return from == FROM_US ? next_ours(g, e) : CF_OK;
}

static cf_err merge_open(merge *const g, cf_error *const e)
{
    const cf_manifest_opts *const o = &g->m->opts;
    g->old = o->parent == NULL ? NULL : o->parent_packs;
    if (o->parent != NULL && g->old == NULL) {
        CF_TRY(cf_cursor_new(o->repo, o->run->node, o->parent, CF_SEGMENT_PACKS, &g->own_old, e));
        g->old = g->own_old;
    }
    if (g->old != NULL)
        CF_TRY(cf_cursor_rewind(g->old, e));
    if (o->adopted != NULL)
        cf_adoption_rewind(o->adopted);
    CF_TRY(cf_line_store_new(&g->store, e));
    CF_TRY(cf_root_new(&g->packs, e));
    CF_TRY(writer_new(g->m, CF_SEGMENT_PACKS, &g->writer, e));
    cf_spool_rewind(g->m->packs);
    for (pack_source from = FROM_PARENT; from < PACK_SOURCES; from++)
        CF_TRY(merge_next(g, from, e));
    return CF_OK;
}

/* A pack that no file names any more is left out: prune may have it once no other snapshot names
 * it. */
static cf_err merge_put(merge *const g, const cf_pack_line *const line, cf_error *const e)
{
    cf_manifest *const m = g->m;
    cf_pack_line used = *line;
    used.used_bytes = cf_pack_use_describe(m->use, line->pack);
    if (used.used_bytes == 0)
        return CF_OK;
    if (used.used_bytes > used.stored_bytes) /* files that share a range count it twice */
        used.used_bytes = used.stored_bytes;
    cf_buf_clear(&m->text);
    CF_TRY(cf_pack_line_render(&used, &m->text, e));
    g->totals->packs_total++;
    g->totals->stored_bytes += used.used_bytes;
    g->sparse_total += cf_pack_is_sparse(&used);
    g->worn_total += cf_pack_is_worn(&used);
    g->size_bytes += used.stored_bytes;
    return cf_segment_writer_add(g->writer, cf_buf_slice(&m->text), cf_slice_str(line->pack),
                                 g->packs, e);
}

/* The first by name; of equal ones the parent's: an older run may have adopted it too. */
static pack_source merge_first(const merge *const g)
{
    pack_source first = PACK_SOURCES;
    for (pack_source from = FROM_PARENT; from < PACK_SOURCES; from++) {
        if (g->next[from] != NULL &&
            (first == PACK_SOURCES || strcmp(g->next[from]->pack, g->next[first]->pack) < 0))
            first = from;
    }
    return first;
}

static cf_err merge_run(merge *const g, cf_error *const e)
{
    for (pack_source first = merge_first(g); first != PACK_SOURCES; first = merge_first(g)) {
        const cf_pack_line *const line = g->next[first];
        const cf_pack_line *const ours = g->next[FROM_US];
        const cf_pack_line *const adopted = g->next[FROM_ADOPTED];
        CF_ENSURE(first == FROM_US || ours == NULL || strcmp(line->pack, ours->pack) != 0, e,
                  CF_ERR_DAMAGE, "the parent names pack '%s', which this run wrote", line->pack);
        const bool twice =
            first == FROM_PARENT && adopted != NULL && strcmp(line->pack, adopted->pack) == 0;
        CF_TRY(merge_put(g, line, e));
        if (twice)
            CF_TRY(merge_next(g, FROM_ADOPTED, e));
        CF_TRY(merge_next(g, first, e));
    }
    return cf_segment_writer_cut(g->writer, g->packs, e);
}

static cf_err append_segments(cf_root *const to, const cf_root *const from, cf_error *const e)
{
    for (size_t i = 0; i < from->segment_total; i++)
        CF_TRY(cf_root_add_segment(to, &from->segments[i], e));
    return CF_OK;
}

cf_err cf_manifest_finish(cf_manifest *const m, cf_root *const root, cf_error *const e)
{
    char name[CF_RUN_OBJECT_LEN_MAX + 1] = "";
    cf_totals totals = root->totals;
    CF_CLEANUP(merge_deinit) merge g = {.m = m, .totals = &totals};
    CF_CHECK(!m->finished && root->segment_total == 0);
    m->finished = true;
    totals.packs_total = 0;
    totals.stored_bytes = 0;
    totals.sparse_packs = 0;
    CF_TRY(cf_segment_writer_cut(m->writer, m->files, e));
    CF_TRY_AS(merge_open(&g, e), e, "read the parent's packs");
    CF_TRY_AS(merge_run(&g, e), e, "write the list of packs");
    totals.sparse_packs =
        cf_packs_have_slack(totals.stored_bytes, g.size_bytes) ? g.worn_total : g.sparse_total;
    CF_ENSURE(!cf_pack_use_find_undescribed(m->use, name), e, CF_ERR_DAMAGE,
              "a file names pack '%s', which neither the parent nor an adopted run nor this one "
              "describes",
              name);
    CF_TRY(append_segments(root, g.packs, e));
    CF_TRY(append_segments(root, m->files, e));
    root->totals = totals;
    return CF_OK;
}
