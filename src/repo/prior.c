/* SPDX-License-Identifier: Apache-2.0
 *
 * A merge of sorted streams, one line of each in memory.
 */
#include "repo/prior.h"

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

typedef struct stream {
    cf_journal_reader *reader; /* borrowed; NULL: the parent's cursor */
    cf_line_store *store;      /* owned; a journal's */
    cf_file_line own;          /* a journal's */
    const cf_file_line *line;  /* where it stands; NULL: at its end */
    bool used;                 /* the line was given: advance before the next */
    bool begun;
    uint16_t last_step;
    cf_buf last_path;
} stream;

struct cf_prior {
    cf_prior_opts opts;
    stream streams[CF_LEASE_USES_MAX + 1]; /* newest run first, the parent last */
    size_t total;
    cf_file_line line;
    cf_extent *extents; /* owned; of a line that was put together */
    size_t extent_cap;
    bool held; /* line was looked at by find and not given yet */
};

void cf_prior_free(cf_prior *const p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->total; i++) {
        cf_line_store_free(p->streams[i].store);
        cf_buf_deinit(&p->streams[i].last_path);
    }
    cf_free(p->extents);
    cf_free(p);
}

cf_err cf_prior_new(const cf_prior_opts *const opts, cf_prior **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_prior_freep) cf_prior *p = NULL;
    CF_NEW(p, e);
    p->opts = *opts;
    for (size_t i = cf_adoption_run_total(opts->adopted); i > 0; i--) {
        stream *const s = &p->streams[p->total++];
        s->reader = cf_adoption_journal(opts->adopted, i - 1);
        cf_buf_init(&s->last_path, CF_PATH_LEN_MAX);
        CF_TRY(cf_line_store_new(&s->store, e));
    }
    if (opts->parent != NULL)
        cf_buf_init(&p->streams[p->total++].last_path, CF_PATH_LEN_MAX);
    CF_TRY(cf_prior_rewind(p, e));
    *ret = CF_STEAL(p);
    return CF_OK;
}

cf_err cf_prior_rewind(cf_prior *const p, cf_error *const e)
{
    p->held = false;
    for (size_t i = 0; i < p->total; i++) {
        stream *const s = &p->streams[i];
        s->line = NULL;
        s->used = true;
        s->begun = false;
        if (s->reader != NULL)
            CF_TRY(cf_journal_reader_rewind(s->reader, e));
        else
            CF_TRY(cf_cursor_rewind(p->opts.parent, e));
    }
    return CF_OK;
}

/* --- one stream --- */

/* The next file line of a journal. What comes against the order is skipped: lines that an answer
 * that was lost brought twice. */
static cf_err journal_next(stream *const s, cf_error *const e)
{
    for (;;) {
        cf_journal_kind kind = CF_JOURNAL_END;
        cf_slice text = {NULL, 0};
        CF_TRY(cf_journal_reader_next(s->reader, &kind, &text, e));
        if (kind == CF_JOURNAL_END) {
            s->line = NULL;
            return CF_OK;
        }
        if (kind != CF_JOURNAL_FILE)
            continue;
        CF_TRY(cf_file_line_parse(text, s->store, &s->own, e));
        if (s->begun && cf_file_line_cmp(s->last_step, cf_buf_slice(&s->last_path), s->own.step,
                                         s->own.path) >= 0)
            continue;
        cf_buf_clear(&s->last_path);
        CF_TRY(cf_buf_append(&s->last_path, s->own.path, e));
        s->last_step = s->own.step;
        s->begun = true;
        s->line = &s->own;
        return CF_OK;
    }
}

static cf_err stream_next(cf_prior *const p, stream *const s, cf_error *const e)
{
    cf_error why = {0};
    if (!s->used)
        return CF_OK;
    s->used = false;
    if (s->reader == NULL)
        return cf_cursor_next_file(p->opts.parent, &s->line, e);
    const cf_err err = journal_next(s, &why);
    if (err == CF_ERR_DAMAGE || err == CF_ERR_FORMAT) { /* told when it was adopted */
        s->line = NULL;
        return CF_OK;
    }
    if (err != CF_OK && e != NULL)
        *e = why;
    return err;
}

/* --- one file --- */

/* Of a journal only packs that an adopted run itself wrote: what it names of others, its parent's or
 * of runs that it had adopted, nothing protects for us (model: core.pml B6, -DM_TRANS). */
static bool is_fine(const cf_prior *const p, const stream *const s, const cf_extent *const x)
{
    if (cf_damage_has(p->opts.damage, x->pack))
        return false;
    return s->reader == NULL ||
           (x->stored_bytes <= UINT64_MAX - x->pack_offset &&
            cf_adoption_has_bytes(p->opts.adopted, x->pack, x->pack_offset + x->stored_bytes));
}

static size_t count_fine(const cf_prior *const p, const stream *const s)
{
    size_t fine = 0;
    for (size_t i = 0; i < s->line->extent_total; i++)
        fine += is_fine(p, s, &s->line->extents[i]);
    return fine;
}

/* Parts carry digests of their own: a missing one is only sent again. */
static bool is_in_parts(const cf_file_line *const l)
{
    for (size_t i = 0; i < l->extent_total; i++) {
        if (!l->extents[i].has_sha256)
            return false;
    }
    return l->extent_total > 0;
}

static cf_err extents_room(cf_prior *const p, const size_t total, cf_error *const e)
{
    if (total <= p->extent_cap)
        return CF_OK;
    cf_extent *const grown = cf_realloc(p->extents, total, sizeof(*grown));
    CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu extents", total);
    p->extents = grown;
    p->extent_cap = total;
    return CF_OK;
}

/* Adds the fine parts of s where the line has none yet: both are in order of the file. */
static cf_err parts_add(cf_prior *const p, const stream *const s, cf_error *const e)
{
    const size_t had = p->line.extent_total;
    CF_TRY(extents_room(p, had + s->line->extent_total, e));
    size_t from = had + s->line->extent_total; /* ours go to the end, then both to the front */
    if (had > 0)
        memmove(p->extents + s->line->extent_total, p->extents, had * sizeof(*p->extents));
    from -= had;
    const size_t ours_end = from + had;
    size_t to = 0;
    uint64_t end = 0; /* of the file, up to where the line has extents */
    for (size_t i = 0; i < s->line->extent_total || from < ours_end;) {
        const cf_extent *const theirs = i < s->line->extent_total ? &s->line->extents[i] : NULL;
        const cf_extent *const mine = from < ours_end ? &p->extents[from] : NULL;
        if (theirs == NULL || (mine != NULL && mine->file_offset <= theirs->file_offset)) {
            end = mine->file_offset + mine->file_bytes;
            p->extents[to++] = *mine;
            from++;
            continue;
        }
        i++;
        const bool free =
            theirs->file_offset >= end &&
            (mine == NULL || theirs->file_offset + theirs->file_bytes <= mine->file_offset);
        if (free && is_fine(p, s, theirs)) {
            end = theirs->file_offset + theirs->file_bytes;
            p->extents[to++] = *theirs;
        }
    }
    p->line.extents = p->extents;
    p->line.extent_total = to;
    return CF_OK;
}

/* What is left of it proves nothing about the whole file. */
static void make_partial(cf_file_line *const l)
{
    l->is_partial = true;
    l->has_sha256 = false;
    l->has_identity = false;
    l->cert_header = (cf_slice){0};
    l->cert_footer = (cf_slice){0};
    l->extents = NULL;
    l->extent_total = 0;
}

/* One more line of the same file, older than those before. *ret_has: there is one to give. */
static cf_err line_add(cf_prior *const p, const stream *const s, bool *const ret_has,
                       cf_error *const e)
{
    const bool whole = count_fine(p, s) == s->line->extent_total;
    if (!*ret_has && whole) {
        p->line = *s->line;
        *ret_has = true;
        return CF_OK;
    }
    if (!is_in_parts(s->line) || (*ret_has && !p->line.is_partial))
        return CF_OK;
    if (!*ret_has) {
        p->line = *s->line;
        make_partial(&p->line);
        *ret_has = true;
    }
    return parts_add(p, s, e);
}

static int stream_cmp(const stream *const a, const stream *const b)
{
    return cf_file_line_cmp(a->line->step, a->line->path, b->line->step, b->line->path);
}

cf_err cf_prior_next_file(cf_prior *const p, const cf_file_line **const ret, cf_error *const e)
{
    bool has = p->held;
    p->held = false;
    while (!has) {
        const stream *first = NULL;
        for (size_t i = 0; i < p->total; i++) {
            stream *const s = &p->streams[i];
            CF_TRY(stream_next(p, s, e));
            if (s->line != NULL && (first == NULL || stream_cmp(s, first) < 0))
                first = s;
        }
        if (first == NULL)
            break;
        for (size_t i = 0; i < p->total; i++) {
            stream *const s = &p->streams[i];
            if (s->line == NULL || stream_cmp(s, first) != 0)
                continue;
            CF_TRY(line_add(p, s, &has, e));
            s->used = true;
        }
        has = has && !(p->line.is_partial && p->line.extent_total == 0);
    }
    *ret = has ? &p->line : NULL;
    return CF_OK;
}

cf_err cf_prior_find_file(cf_prior *const p, const uint16_t step, const cf_slice path,
                          const cf_file_line **const ret, cf_error *const e)
{
    const cf_file_line *line = NULL;
    for (;;) {
        CF_TRY(cf_prior_next_file(p, &line, e));
        const int order = line == NULL ? 1 : cf_file_line_cmp(line->step, line->path, step, path);
        if (order < 0)
            continue;
        p->held = line != NULL && order > 0; /* looked at too early: the next call gets it again */
        *ret = order == 0 ? line : NULL;
        return CF_OK;
    }
}
