/* SPDX-License-Identifier: Apache-2.0
 *
 * The plan's entries in manifest order, and what is checked when one was read.
 */
#include "profile/kurrentdb/source.h"

#include <stdio.h>
#include <stdlib.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/hash.h"

/* An entry and what it belongs to. */
typedef struct cf_kdb_own_entry own_entry;
struct cf_kdb_own_entry {
    cf_entry entry;            /* first: an entry is its own_entry */
    own_entry *before, *after; /* in the list of those under way */
    cf_kdb_item *item;
    cf_kdb_row *row;
    char path[3 + CF_KDB_CHUNK_NAME_SIZE];
};

static void under_way_add(cf_source *s, own_entry *o)
{
    o->after = s->under_way;
    if (o->after != NULL)
        o->after->before = o;
    s->under_way = o;
}

static void under_way_remove(cf_source *s, own_entry *o)
{
    if (o->after != NULL)
        o->after->before = o->before;
    if (o->before != NULL)
        o->before->after = o->after;
    else
        s->under_way = o->after;
}

void cf_kdb_plan_drop(cf_source *s)
{
    while (s->under_way != NULL) {
        own_entry *const o = s->under_way;

        under_way_remove(s, o);
        cf_free(o);
    }
}

static int item_cmp(const void *a, const void *b)
{
    const cf_kdb_item *const x = a;
    const cf_kdb_item *const y = b;

    return x->step != y->step ? (x->step > y->step) - (x->step < y->step)
                              : strcmp(x->path, y->path);
}

/* Bytes of a chunk that is not completed: header and what the writer has flushed. All of it when
 * nothing tells where that is. */
static uint64_t ongoing_bytes(const cf_source *s, const cf_kdb_row *row)
{
    const uint32_t size = s->chunks.chunk_size;
    const uint64_t data =
        row->start == s->chunks.last ? (uint64_t)s->values.writer.value % size : size;
    const uint64_t wanted = CF_KDB_CHUNK_HEADER_LEN + data;

    return (row->flags & CF_KDB_ROW_TRANSFORMED) != 0 || wanted > row->size_bytes ? row->size_bytes
                                                                                  : wanted;
}

static void totals_add(cf_source *s, bool reused, uint64_t bytes)
{
    s->files_total++;
    s->reused_total += reused;
    s->read_bytes += reused ? 0 : bytes;
}

cf_err cf_kdb_plan_finish(cf_source *s, cf_error *e)
{
    (void)e;
    if (s->items.total > 0)
        qsort(s->items.at, s->items.total, sizeof(*s->items.at), item_cmp);
    for (size_t k = 0; k < s->items.total; k++)
        totals_add(s, s->items.at[k].how == CF_ENTRY_REUSE,
                   s->items.at[k].how == CF_ENTRY_INLINE ? 0 : s->items.at[k].size_bytes);
    for (uint32_t k = 0; k < s->chunks.total; k++) {
        const cf_kdb_row *const row = &s->chunks.rows[k];

        totals_add(s, (row->flags & CF_KDB_ROW_REUSED) != 0,
                   (row->flags & CF_KDB_ROW_COMPLETED) != 0 ? row->size_bytes
                                                            : ongoing_bytes(s, row));
    }
    s->planned = true;
    return CF_OK;
}

static void item_entry(own_entry *o, cf_kdb_item *i)
{
    o->item = i;
    o->entry = (cf_entry){
        .step = i->step,
        .path = i->path,
        .klass = i->klass,
        .how = i->how,
        .fd = i->fd,
        .read_bytes = i->size_bytes,
        .size_bytes = i->size_bytes,
        .mode = i->mode,
        .uid = i->uid,
        .gid = i->gid,
        .mtime_ns = i->mtime_ns,
        .ends_with_md5 = i->ends_with_md5 && i->how == CF_ENTRY_WHOLE,
        .content = cf_slice_of(i->content, i->content_len),
    };
    if (i->how == CF_ENTRY_WHOLE || i->how == CF_ENTRY_PARTS) {
        o->entry.cert_header = cf_slice_of(i->cert_header, i->cert_header_len);
        o->entry.cert_footer = cf_slice_of(i->cert_footer, i->cert_footer_len);
    }
}

/* Completed since the look, and not by a scavenge (which never touches an open file): then it is
 * whole and can be certified. */
static cf_err row_settle(cf_source *s, cf_kdb_row *row, int fd, const char *path,
                         uint64_t size_bytes, cf_error *e)
{
    uint8_t header[CF_KDB_CHUNK_HEADER_LEN];
    uint8_t footer[CF_KDB_CHUNK_FOOTER_LEN];
    cf_kdb_chunk_header h = {0};
    cf_kdb_chunk_footer f = {0};

    if (size_bytes < sizeof(header) + sizeof(footer))
        return CF_OK;
    CF_TRY(cf_kdb_io_read(&s->io, fd, path, header, sizeof(header), 0, e));
    if (cf_kdb_io_read(&s->io, fd, path, footer, sizeof(footer), size_bytes - sizeof(footer), e) !=
        CF_OK) {
        cf_stat st = {0};

        /* It shrinks once, when it is completed: between the stat and the read. */
        CF_TRY(cf_kdb_io_stat_fd(&s->io, fd, path, &st, e));
        CF_ENSURE(st.size_bytes >= sizeof(header) + sizeof(footer) && st.size_bytes < size_bytes, e,
                  CF_ERR_SOURCE, "'%s' was cut to %llu bytes while it was read\nHINT: run again",
                  path, (unsigned long long)st.size_bytes);
        size_bytes = st.size_bytes;
        CF_TRY(cf_kdb_io_read(&s->io, fd, path, footer, sizeof(footer), size_bytes - sizeof(footer),
                              e));
    }
    CF_TRY(
        cf_kdb_io_fail(cf_kdb_chunk_header_parse(cf_slice_of(header, sizeof(header)), &h, e), e));
    CF_TRY(cf_kdb_chunk_footer_parse(cf_slice_of(footer, sizeof(footer)), &f, e));
    if (!cf_kdb_chunk_is_complete(&h, &f, size_bytes) || h.scavenged || h.end > h.start)
        return CF_OK;
    CF_TRY(cf_kdb_cert_hash(header, footer, &row->cert, e));
    row->flags |= CF_KDB_ROW_COMPLETED;
    row->size_bytes = size_bytes;
    cf_kdb_detail(s, "'%s' was completed meanwhile: it is stored whole", path);
    return CF_OK;
}

static cf_err row_entry(cf_source *s, own_entry *o, cf_kdb_row *row, cf_error *e)
{
    cf_stat st = {0};
    int fd = -1;

    memcpy(o->path, "db/", 3);
    cf_kdb_chunk_name_render(row->start, row->version, o->path + 3);
    o->row = row;
    o->entry = (cf_entry){.step = CF_KDB_STEP_CHUNKS,
                          .path = o->path,
                          .klass = "chunk",
                          .how = CF_ENTRY_REUSE,
                          .fd = -1,
                          .size_bytes = row->size_bytes,
                          .cut_before = row == s->chunks.rows};
    if ((row->flags & CF_KDB_ROW_REUSED) != 0)
        return CF_OK;
    CF_TRY(cf_kdb_pin_refill(s, e));
    CF_TRY(cf_kdb_pin_row(s, row, &fd, e));
    CF_TRY(cf_kdb_io_stat_fd(&s->io, fd, o->path, &st, e));
    if ((row->flags & CF_KDB_ROW_COMPLETED) == 0)
        CF_TRY(row_settle(s, row, fd, o->path, st.size_bytes, e));
    const bool whole = (row->flags & CF_KDB_ROW_COMPLETED) != 0;

    o->entry.klass = whole ? "chunk" : "ongoing-chunk";
    o->entry.how = whole ? CF_ENTRY_WHOLE : CF_ENTRY_PARTS;
    o->entry.fd = fd;
    o->entry.size_bytes = row->size_bytes;
    o->entry.read_bytes = whole ? row->size_bytes : ongoing_bytes(s, row);
    o->entry.mode = st.mode;
    o->entry.uid = st.uid;
    o->entry.gid = st.gid;
    o->entry.mtime_ns = st.mtime_ns;
    o->entry.own_pack = whole;
    o->entry.ends_with_md5 = whole;
    o->entry.cert_from_read = whole;
    o->entry.cert_tail_bytes = whole ? CF_KDB_CHUNK_FOOTER_LEN : 0;
    return CF_OK;
}

cf_err cf_kdb_plan_next(cf_source *s, cf_entry **ret, cf_error *e)
{
    CF_CLEANUP(cf_freep) own_entry *o = NULL;

    CF_CHECK(s->planned && !s->opts.inspect);
    if (s->next_item >= s->items.total && s->next_row >= s->chunks.total) {
        *ret = NULL;
        return CF_OK;
    }
    CF_NEW(o, e);
    if (s->next_item < s->items.total)
        item_entry(o, &s->items.at[s->next_item++]);
    else
        CF_TRY(row_entry(s, o, &s->chunks.rows[s->next_row++], e));
    o->entry.own = o;
    under_way_add(s, o);
    *ret = &CF_STEAL(o)->entry;
    return CF_OK;
}

cf_err cf_kdb_plan_reopen(cf_source *s, cf_entry *entry, cf_error *e)
{
    own_entry *const o = entry->own;
    cf_kdb_item *const i = o->item;
    CF_CLEANUP(cf_kdb_fd_deinit) cf_kdb_fd f = {&s->io, -1};
    cf_stat st = {0};

    if (i == NULL || i->step != CF_KDB_STEP_INDEX) /* chunks have packs of their own */
        return CF_OK;
    const cf_err err =
        cf_kdb_io_open(&s->io, s->index_fd, i->path + sizeof("index/") - 1, &f.fd, e);
    if (err == CF_ERR_NOT_FOUND)
        return CF_OK;
    CF_TRY(err);
    CF_TRY(cf_kdb_io_stat_fd(&s->io, f.fd, i->path, &st, e));
    if (st.ino != i->ino || st.size_bytes != i->size_bytes)
        return CF_OK;
    i->fd = f.fd;
    f.fd = -1;
    i->how = i->ends_with_md5 ? CF_ENTRY_WHOLE : CF_ENTRY_PARTS;
    item_entry(o, i);
    o->entry.own = o;
    return CF_OK;
}

static cf_err md5_check(cf_source *s, const own_entry *o, const cf_read_outcome *outcome,
                        cf_error *e)
{
    char expected[CF_MD5_HEX_SIZE];
    char found[CF_MD5_HEX_SIZE];
    char hint[240] =
        "restore this node from another one's snapshot, or rebuild it from its cluster";

    if (outcome->md5_ok)
        return CF_OK;
    /* A truncation in place explains it better. */
    CF_TRY(cf_kdb_truncate_look_again(s, e));
    cf_hex_render(cf_slice_of(outcome->md5_expected, sizeof(outcome->md5_expected)), expected);
    cf_hex_render(cf_slice_of(outcome->md5_found, sizeof(outcome->md5_found)), found);
    if (o->row != NULL && (o->row->flags & CF_KDB_ROW_PRIOR) != 0)
        (void)snprintf(hint, sizeof(hint),
                       "snapshot %s still has a good copy of it: restore that, and check this disk",
                       s->prior_run);
    if (o->row == NULL)
        (void)snprintf(
            hint, sizeof(hint),
            "%s%s%sthe index can be rebuilt: stop the server, remove the index folder, start it",
            o->item->in_prior ? "snapshot " : "", o->item->in_prior ? s->prior_run : "",
            o->item->in_prior ? " still has a good copy of it; or " : "");
    return cf_kdb_refuse(
        s, e, "'%s' is damaged: its last 16 bytes say MD5 %s, its content gives %s\nHINT: %s",
        o->entry.path, expected, found, hint);
}

static cf_err cert_check(cf_source *s, const own_entry *o, const cf_read_outcome *outcome,
                         cf_error *e)
{
    const uint8_t *const end = outcome->tail + sizeof(outcome->tail) - CF_KDB_PTABLE_MD5_LEN;
    uint64_t cert = 0;

    if (!o->entry.ends_with_md5)
        return CF_OK;
    if (o->row != NULL)
        CF_TRY(cf_kdb_cert_hash(outcome->head, outcome->tail, &cert, e));
    if (o->row != NULL ? cert == o->row->cert
                       : memcmp(end, o->item->cert_footer, CF_KDB_PTABLE_MD5_LEN) == 0)
        return CF_OK;
    CF_TRY(cf_kdb_truncate_look_again(s, e));
    return cf_kdb_refuse(s, e, "'%s' was written to while it was read\nHINT: run the backup again",
                         o->entry.path);
}

static cf_err outcome_check(cf_source *s, const own_entry *o, const cf_read_outcome *outcome,
                            cf_error *e)
{
    if (outcome == NULL)
        return CF_OK;
    if (o->entry.ends_with_md5)
        CF_TRY(md5_check(s, o, outcome, e));
    CF_TRY(cert_check(s, o, outcome, e));
    return CF_OK;
}

bool cf_kdb_plan_still_wanted(cf_source *s, cf_entry *entry, const cf_read_outcome *outcome)
{
    const own_entry *const o = entry->own;

    (void)outcome;
    return o->item == NULL || o->item->step != CF_KDB_STEP_SCAVENGE || o->item->fd < 0 ||
           cf_kdb_scavenge_look_again(s, o->item);
}

cf_err cf_kdb_plan_read_done(cf_source *s, cf_entry *entry, const cf_read_outcome *outcome,
                             cf_error *e)
{
    CF_CLEANUP(cf_freep) own_entry *o = entry->own;
    const cf_err err = outcome_check(s, o, outcome, e);

    under_way_remove(s, o);
    if (o->row != NULL)
        cf_kdb_pin_release(s, o->row);
    if (o->item != NULL)
        cf_kdb_io_close(&s->io, &o->item->fd);
    return err;
}
