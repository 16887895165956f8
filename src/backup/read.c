/* SPDX-License-Identifier: Apache-2.0
 *
 * Read: the plan goes through the pipeline, and each result becomes a line of the manifest, in the
 * profile's order.
 */
#include "backup/backup.h"

#include <stdio.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/hash.h"
#include "s3/base/num.h"

_Static_assert((int)CF_LEVEL_MAX == (int)CF_UPLOAD_LEVEL_MAX &&
                   (int)CF_LEVEL_OFF == (int)CF_UPLOAD_LEVEL_OFF,
               "the public words for levels are the pipeline's");

/* A new packs's key below runs/. Called by the pipeline, one thread at a time. */
static cf_err next_pack(void *const impl, const char *const hint, char ret_key[CF_KEY_LEN_MAX + 1],
                        cf_error *const e)
{
    cf_backup *const b = impl;
    char key[CF_KEY_LEN_MAX + 1];
    const uint32_t seq = cf_run_next_seq(&b->claim.run);

    CF_ENSURE(seq <= CF_SEQ_MAX, e, CF_ERR_TOO_LARGE,
              "run %s has written %u objects, the most a run may", b->claim.run.id.text,
              (unsigned)CF_SEQ_MAX);
    cf_key_run_object(key, &b->claim.run, seq, "pack", hint, ".zst");
    (void)snprintf(ret_key, CF_KEY_LEN_MAX + 1, "%s", key + strlen(b->runs_prefix));
    return CF_OK;
}

/* Journal and lease: what must happen now and then while bytes flow. */
static cf_err tick(cf_backup *const b, cf_error *const e)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf open = {0};
    cf_upload_counts counts = {0};

    cf_buf_init(&open, 64 * 1024); /* a line of at most 2 KiB for each lane */
    CF_TRY(cf_lease_check(b->claim.lease, e));
    cf_upload_get_counts(b->upload, &counts);
    CF_TRY(cf_upload_render_open(b->upload, &open, e));
    CF_TRY(cf_journal_tick(b->journal, counts.stored_bytes, cf_buf_slice(&open), e));
    cf_backup_progress(b, "reading");
    return CF_OK;
}

static cf_err on_pack(void *const impl, const cf_pack_line *const pack, cf_error *const e)
{
    cf_backup *const b = impl;

    b->packs_new++;
    b->totals.uploaded_bytes += pack->stored_bytes;
    CF_TRY(cf_manifest_add_pack(b->manifest, pack, e));
    return tick(b, e);
}

static cf_err on_wait(void *const impl, cf_error *const e)
{
    return tick(impl, e);
}

static cf_err on_line(void *const impl, const cf_slice line, cf_error *const e)
{
    return cf_journal_add_line(((cf_backup *)impl)->journal, line, e);
}

/* The content's part of a line, by how the file came here. */
static cf_err line_fill_content(const cf_entry *const entry, const cf_file_line *const prior,
                                const cf_upload_result *const r, cf_file_line *const l,
                                cf_error *const e)
{
    l->has_sha256 = entry->type == CF_LINE_FILE;
    switch (entry->how) {
    case CF_ENTRY_REUSE: /* the parent's line as it is: the file was not looked at, and equal lines
                            make equal segments */
        CF_CHECK(prior != NULL && !prior->is_partial);
        l->size_bytes = prior->size_bytes;
        l->mode = prior->mode;
        l->uid = prior->uid;
        l->gid = prior->gid;
        l->mtime_ns = prior->mtime_ns;
        l->has_identity = prior->has_identity;
        l->ino = prior->ino;
        l->ctime_ns = prior->ctime_ns;
        l->is_inline = prior->is_inline;
        l->content = prior->content;
        l->extents = prior->extents;
        l->extent_total = prior->extent_total;
        l->cert_header = prior->cert_header;
        l->cert_footer = prior->cert_footer;
        memcpy(l->sha256, prior->sha256, sizeof(l->sha256));
        l->md5_unchecked = prior->md5_unchecked;
        return CF_OK;
    case CF_ENTRY_INLINE:
        l->target = entry->target;
        l->is_inline = entry->type == CF_LINE_FILE;
        if (!l->is_inline)
            return CF_OK;
        l->content = entry->content;
        return cf_sha256(entry->content, l->sha256, e);
    case CF_ENTRY_WHOLE:
    case CF_ENTRY_PARTS:
        l->size_bytes = r->size_bytes;
        l->extents = r->extents;
        l->extent_total = r->extent_total;
        l->cert_header = entry->cert_header;
        l->cert_footer = entry->cert_footer;
        if (entry->cert_from_read) {
            if (entry->cert_tail_bytes == CF_CERT_LEN_MAX)
                l->cert_header = cf_slice_of(r->head, CF_CERT_LEN_MAX);
            l->cert_footer = cf_slice_of(r->tail + CF_CERT_LEN_MAX - entry->cert_tail_bytes,
                                         entry->cert_tail_bytes);
        }
        memcpy(l->sha256, r->sha256, sizeof(l->sha256));
        l->md5_unchecked = entry->ends_with_md5 && !r->item->ends_with_md5;
        return CF_OK;
    }
    CF_FAIL(e, CF_ERR_FAILED, "entry '%s' has no kind", entry->path);
}

/* Nothing was sent for it: its bytes were there already. */
static bool is_reused(const cf_entry *const entry, const cf_file_line *const prior,
                      const cf_upload_result *const r)
{
    if (entry->how == CF_ENTRY_REUSE)
        return true;
    if (prior == NULL || prior->type != entry->type)
        return false;
    if (entry->type != CF_LINE_FILE)
        return cf_slice_eq(prior->target, entry->target);
    if (entry->how == CF_ENTRY_INLINE)
        return prior->is_inline && cf_slice_eq(prior->content, entry->content);
    return entry->how == CF_ENTRY_PARTS && r->new_bytes == 0;
}

/* For people. */
static const char *name_of(const cf_entry *const entry)
{
    return entry->name != NULL ? entry->name : entry->path;
}

static void count(cf_backup *const b, const cf_pending *const p, const cf_upload_result *const r,
                  const uint64_t size_bytes)
{
    static const char *const words[] = {[CF_ENTRY_REUSE] = "kept",
                                        [CF_ENTRY_INLINE] = "stored",
                                        [CF_ENTRY_WHOLE] = "sent",
                                        [CF_ENTRY_PARTS] = "compared"};
    const cf_entry *const entry = p->entry;
    const bool reused = is_reused(entry, p->prior, r);
    char size[CF_SIZE_TEXT_SIZE], sent[CF_SIZE_TEXT_SIZE];

    b->totals.files_total++;
    b->totals.files_reused += reused;
    b->totals.files_new += !reused;
    b->totals.source_bytes += size_bytes;
    b->bytes_changed += r->new_bytes;
    if (b->ctx->log != NULL)
        cf_backup_log(b, CF_LOG_DETAIL, "%s %s, %s, %s new", words[entry->how], name_of(entry),
                      cf_size_render(size_bytes, size), cf_size_render(r->new_bytes, sent));
}

/* Results come in the order of items, so the oldest pending file is the one. */
static cf_pending *pending_take(cf_backup *const b, const void *const token)
{
    cf_pending *const p = b->first;

    CF_CHECK(p != NULL && p == token);
    b->first = p->next;
    if (b->first == NULL)
        b->last = NULL;
    return p;
}

static void pending_put(cf_backup *const b, cf_pending *const p)
{
    if (b->last != NULL)
        b->last->next = p;
    else
        b->first = p;
    b->last = p;
}

static bool is_read(const cf_entry *const entry)
{
    return entry->how == CF_ENTRY_WHOLE || entry->how == CF_ENTRY_PARTS;
}

static cf_read_outcome outcome_of(const cf_upload_result *const r)
{
    cf_read_outcome o = {
        .md5_ok = r->md5_ok, .size_bytes = r->size_bytes, .unreadable = r->unreadable};

    memcpy(o.md5_expected, r->md5_expected, sizeof(o.md5_expected));
    memcpy(o.md5_found, r->md5_found, sizeof(o.md5_found));
    memcpy(o.head, r->head, sizeof(o.head));
    memcpy(o.tail, r->tail, sizeof(o.tail));
    return o;
}

static cf_err on_result(void *const impl, const cf_upload_result *const r, cf_error *const e)
{
    cf_backup *const b = impl;
    CF_CLEANUP(cf_pending_freep) cf_pending *p = pending_take(b, r->item->token);
    cf_entry *const entry = p->entry;
    const cf_read_outcome read = outcome_of(r);
    const cf_read_outcome *const outcome = is_read(entry) ? &read : NULL;
    const bool wanted = b->profile->still_wanted(b->source, entry, outcome);
    cf_file_line line = {
        .step = entry->step,
        .path = cf_slice_str(entry->path),
        .type = entry->type,
        .size_bytes = entry->size_bytes,
        .mode = entry->mode,
        .uid = entry->uid,
        .gid = entry->gid,
        .mtime_ns = entry->mtime_ns,
        .has_identity = entry->has_identity,
        .ino = entry->ino,
        .ctime_ns = entry->ctime_ns,
        .klass = entry->klass,
    };

    if (!wanted) {
        if (is_read(entry) && r->unreadable == NULL)
            CF_TRY(cf_left_put(b, entry, r, e));
        CF_TRY(b->profile->read_done(b->source, entry, /* outcome= */ NULL, e));
        return tick(b, e);
    }
    if (outcome != NULL && !outcome->md5_ok) {
        /* The line must not come to the journal: a later run would take the file over by its
         * certificate, which is no proof of this content. */
        CF_TRY(b->profile->read_done(b->source, entry, outcome, e));
        CF_FAIL(e, CF_ERR_SOURCE, "a file contradicts its own checksum");
    }
    CF_TRY(line_fill_content(entry, p->prior, r, &line, e));
    if (entry->cut_before)
        CF_TRY(cf_manifest_cut(b->manifest, e));
    CF_TRY(cf_manifest_add_file(b->manifest, &line, e));
    count(b, p, r, line.size_bytes);
    CF_TRY(b->profile->read_done(b->source, entry, outcome, e));
    return tick(b, e);
}

static cf_upload_item item_of(const cf_backup *const b, const cf_pending *const p)
{
    const cf_entry *const entry = p->entry;
    const cf_upload_how how = cf_backup_how(entry);
    const bool own_pack =
        entry->own_pack || (how == CF_UPLOAD_WHOLE && entry->how == CF_ENTRY_PARTS);
    const char *const slash = strrchr(entry->path, '/');

    return (cf_upload_item){
        .token = (void *)(uintptr_t)p,
        .name = name_of(entry),
        .how = how,
        .fd = entry->fd,
        .read_bytes = entry->read_bytes,
        .size_bytes = entry->size_bytes,
        .own_pack = own_pack,
        .pack_hint = own_pack ? (slash != NULL ? slash + 1 : entry->path) : NULL,
        .ends_with_md5 = entry->ends_with_md5 && !b->opts->no_verify_source,
        .may_change = entry->may_change,
        .sparse = entry->sparse,
        .prior = p->prior != NULL ? p->prior->extents : NULL,
        .prior_total = p->prior != NULL ? p->prior->extent_total : 0,
    };
}

/* What was sent of it in an earlier step of this run, else what the parent has. */
static cf_err prior_find(cf_backup *const b, const cf_entry *const entry,
                         cf_file_line **const ret_left, const cf_file_line **const ret,
                         cf_error *const e)
{
    *ret_left = b->again ? cf_left_take(b, entry->path) : NULL;
    *ret = *ret_left != NULL ? *ret_left : entry->prior;
    if (*ret == NULL && !entry->prior_given && b->prior != NULL)
        return cf_prior_find_file(b->prior, entry->step, cf_slice_str(entry->path), ret, e);
    return CF_OK;
}

static cf_err entry_add(cf_backup *const b, cf_entry *const entry, cf_error *const e)
{
    CF_CLEANUP(cf_pending_freep) cf_pending *p = NULL;
    CF_CLEANUP(cf_freep) cf_file_line *left = NULL;
    const cf_file_line *prior = NULL;

    CF_TRY(prior_find(b, entry, &left, &prior, e));
    if (entry->how == CF_ENTRY_REUSE && cf_sparse_wants(b, prior)) {
        CF_TRY(b->profile->reopen(b->source, entry, e));
        if (entry->how == CF_ENTRY_WHOLE)
            cf_sparse_spend(b, prior);
    }
    CF_TRY(cf_pending_new(entry, prior, &p, e));
    if (cf_backup_how(entry) == CF_UPLOAD_PARTS && p->prior != NULL && left == NULL)
        cf_sparse_strip(b, (cf_extent *)(uintptr_t)p->prior->extents, &p->prior->extent_total);
    const cf_upload_item item = item_of(b, p);
    pending_put(b, CF_STEAL(p));
    return cf_upload_add(b->upload, &item, e);
}

/* All entries the profile has now, and their results. */
static cf_err entries_read(cf_backup *const b, cf_error *const e)
{
    cf_entry *entry = NULL;

    for (;;) {
        CF_TRY(b->profile->next(b->source, &entry, e));
        if (entry == NULL)
            return cf_upload_finish(b->upload, e);
        CF_TRY(entry_add(b, entry, e));
    }
}

cf_err cf_backup_read(cf_backup *const b, cf_error *const e)
{
    const cf_manifest_opts manifest = {.repo = &b->repo,
                                       .run = &b->claim.run,
                                       .parent = b->reuse ? b->claim.parent : NULL,
                                       .parent_packs = b->parent_packs,
                                       .adopted = b->claim.adopted,
                                       .on_line = on_line,
                                       .impl = b};
    const cf_upload_opts upload = {
        .store = b->store,
        .fs = b->ctx->fs,
        .world = b->ctx->world,
        .memory = b->memory,
        .level = b->opts->level,
        .adaptive = b->opts->adaptive,
        .runs_prefix = b->runs_prefix,
        .next_pack = next_pack,
        .on_result = on_result,
        .on_pack = on_pack,
        .on_wait = on_wait,
        .impl = b,
    };

    if (b->opts->no_verify_source)
        cf_backup_log(b, CF_LOG_INFO,
                      "--no-verify-source: what is read is not held against its own MD5, and the "
                      "snapshot says so of each file");
    CF_TRY(cf_sparse_load(b, e));
    CF_TRY(cf_journal_new(&b->repo, &b->claim.run, &b->journal, e));
    CF_TRY(cf_manifest_new(&manifest, &b->manifest, e));
    CF_TRY(cf_upload_new(&upload, &b->upload, e));
    do {
        CF_TRY(entries_read(b, e));
        b->again = b->profile->more != NULL && b->profile->more(b->source);
    } while (b->again);
    cf_upload_counts counts = {0};
    cf_upload_get_counts(b->upload, &counts);
    b->totals.read_bytes = counts.read_bytes + b->profile->bytes_looked(b->source);
    return CF_OK;
}
