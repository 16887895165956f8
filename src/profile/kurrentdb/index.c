/* SPDX-License-Identifier: Apache-2.0
 *
 * The index: indexmap, every table it names opened at once, indexmap again. An open file survives
 * its deletion by a merge; an indexmap that is the same before and after names exactly the tables
 * that were opened.
 *
 * A bloom filter is written once, before its table is named. It has no checksum of its own: it is
 * taken over from the parent when its table's certificate, its size, its time and its first and
 * last 64 bytes are the parent's, else it is compared part by part.
 */
#include "profile/kurrentdb/source.h"

#include <stdio.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

enum { NAME_SIZE = 64 };

/* Tables, or the temporary form of indexmap: then an indexmap must come. */
static cf_err has_tables(cf_source *s, bool *ret, cf_error *e)
{
    CF_CLEANUP(cf_names_deinit) cf_names names = {0};

    CF_TRY(cf_kdb_io_list(&s->io, s->index_fd, "index", &names, e));
    *ret = false;
    for (size_t i = 0; i < names.count; i++) {
        const cf_slice name = cf_slice_str(cf_names_at(&names, i));

        *ret = *ret || cf_kdb_guid_is(name) || cf_slice_starts_with(name, cf_slice_str("indexmap"));
    }
    return CF_OK;
}

/* *ret_fd -1: there is no index. */
static cf_err indexmap_open(cf_source *s, cf_buf *ret_text, int *ret_fd, cf_error *e)
{
    for (unsigned n = 0;; n++) {
        CF_CLEANUP(cf_kdb_fd_deinit) cf_kdb_fd f = {&s->io, -1};
        const cf_err opened = cf_kdb_io_open(&s->io, s->index_fd, "indexmap", &f.fd, e);
        bool tables = false;

        if (opened == CF_OK) {
            size_t len = 0;

            cf_buf_clear(ret_text);
            CF_TRY(cf_buf_reserve(ret_text, CF_KDB_INDEXMAP_LEN_MAX, e));
            CF_TRY(cf_kdb_io_read_some(&s->io, f.fd, ret_text->data, CF_KDB_INDEXMAP_LEN_MAX, &len,
                                       e));
            ret_text->len = len;
            *ret_fd = f.fd;
            f.fd = -1;
            return CF_OK;
        }
        if (opened != CF_ERR_NOT_FOUND)
            return opened;
        CF_TRY(has_tables(s, &tables, e));
        *ret_fd = -1;
        if (!tables)
            return CF_OK;
        if (n + 1 >= CF_KDB_INDEXMAP_ABSENT_TOTAL)
            return cf_kdb_refuse(s, e,
                                 "'index/indexmap' is missing although tables are there: a copy "
                                 "would rebuild its whole index"
                                 "\nHINT: let the node start; it makes a new index");
        CF_TRY(cf_kdb_wait(s, CF_KDB_INDEXMAP_ABSENT_STEP_MS, e));
    }
}

static cf_err table_check(cf_source *s, cf_kdb_item *i, cf_error *e)
{
    uint8_t head[CF_KDB_PTABLE_HEADER_LEN];
    uint8_t tail[CF_KDB_PTABLE_TAIL_LEN];
    cf_kdb_ptable t = {0};
    cf_error why = {0};
    const bool fits = i->size_bytes >= sizeof(head) + sizeof(tail);

    if (fits) {
        CF_TRY(cf_kdb_io_read(&s->io, i->fd, i->path, head, sizeof(head), 0, e));
        CF_TRY(cf_kdb_io_read(&s->io, i->fd, i->path, tail, sizeof(tail),
                              i->size_bytes - sizeof(tail), e));
    }
    if (cf_kdb_ptable_parse(cf_slice_of(head, fits ? sizeof(head) : 0),
                            cf_slice_of(tail, fits ? sizeof(tail) : 0), i->size_bytes, &t,
                            &why) != CF_OK)
        return cf_kdb_refuse(s, e,
                             "table '%s' is half-written or damaged: %s"
                             "\nHINT: run again; if it stays, let the node rebuild its index "
                             "(stop, remove the index folder, start)",
                             i->path, why.message);
    s->table_versions_seen |= 1u << t.version;
    i->how = CF_ENTRY_WHOLE;
    i->ends_with_md5 = true;
    i->cert_tail_bytes = CF_KDB_PTABLE_MD5_LEN;
    memcpy(i->cert_footer, t.md5, sizeof(t.md5));
    i->cert_footer_len = sizeof(t.md5);
    return CF_OK;
}

static cf_err bloom_check(cf_source *s, cf_kdb_item *i, cf_error *e)
{
    i->how = CF_ENTRY_PARTS;
    if (i->size_bytes < (uint64_t)2 * CF_KDB_BLOOM_CERT_LEN)
        return CF_OK;
    CF_TRY(cf_kdb_io_read(&s->io, i->fd, i->path, i->cert_header, CF_KDB_BLOOM_CERT_LEN, 0, e));
    CF_TRY(cf_kdb_io_read(&s->io, i->fd, i->path, i->cert_footer, CF_KDB_BLOOM_CERT_LEN,
                          i->size_bytes - CF_KDB_BLOOM_CERT_LEN, e));
    i->cert_header_len = CF_KDB_BLOOM_CERT_LEN;
    i->cert_footer_len = CF_KDB_BLOOM_CERT_LEN;
    return CF_OK;
}

/* Opens one file of the index into an item. *ret_found false: it is not there. */
static cf_err file_open(cf_source *s, const char *name, const char *klass, cf_kdb_item **ret,
                        bool *ret_found, cf_error *e)
{
    CF_CLEANUP(cf_kdb_fd_deinit) cf_kdb_fd f = {&s->io, -1};
    cf_stat st = {0};
    const cf_err opened = cf_kdb_io_open(&s->io, s->index_fd, name, &f.fd, e);

    *ret_found = opened == CF_OK;
    if (opened == CF_ERR_NOT_FOUND)
        return CF_OK;
    CF_TRY(opened);
    CF_TRY(cf_kdb_io_stat_fd(&s->io, f.fd, name, &st, e));
    CF_ENSURE(st.type == CF_FILE_REGULAR, e, CF_ERR_SOURCE, "'index/%s' is no regular file", name);
    CF_TRY(cf_kdb_item_add(s, CF_KDB_STEP_INDEX, "index", name, klass, ret, e));
    cf_kdb_item_set_stat(*ret, &st);
    (*ret)->fd = f.fd;
    f.fd = -1;
    return CF_OK;
}

/* *ret_missing: the first table that is not there; NULL: all are. Pointing into s->map. */
static cf_err tables_open(cf_source *s, const char **ret_missing, cf_error *e)
{
    *ret_missing = NULL;
    for (uint32_t k = 0; k < s->map.table_total && *ret_missing == NULL; k++) {
        const char *const name = s->map.tables[k].name;
        char bloom[NAME_SIZE];
        cf_kdb_item *i = NULL;
        bool found = false;

        (void)snprintf(bloom, sizeof(bloom), "%s.bloomfilter", name);
        CF_TRY(file_open(s, name, "ptable", &i, &found, e));
        if (!found) {
            *ret_missing = name;
            return CF_OK;
        }
        CF_TRY(file_open(s, bloom, "bloom", &i, &found, e)); /* optional */
    }
    return CF_OK;
}

static cf_err tables_check(cf_source *s, cf_error *e)
{
    for (size_t k = 0; k < s->items.total; k++) {
        cf_kdb_item *const i = &s->items.at[k];

        if (i->step != CF_KDB_STEP_INDEX)
            continue;
        if (strcmp(i->klass, "ptable") == 0)
            CF_TRY(table_check(s, i, e));
        else if (strcmp(i->klass, "bloom") == 0)
            CF_TRY(bloom_check(s, i, e));
    }
    return CF_OK;
}

static cf_err indexmap_same(cf_source *s, const cf_buf *text, bool *ret, cf_error *e)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf again = {0};
    CF_CLEANUP(cf_kdb_fd_deinit) cf_kdb_fd f = {&s->io, -1};

    cf_buf_init(&again, CF_KDB_INDEXMAP_LEN_MAX);
    CF_TRY(indexmap_open(s, &again, &f.fd, e));
    *ret = f.fd >= 0 && cf_slice_eq(cf_buf_slice(text), cf_buf_slice(&again));
    return CF_OK;
}

/* indexmap itself, behind its tables. */
static cf_err indexmap_item(cf_source *s, const cf_buf *text, cf_kdb_fd *f, cf_error *e)
{
    cf_kdb_item *i = NULL;
    cf_stat st = {0};

    CF_TRY(cf_kdb_io_stat_fd(&s->io, f->fd, "index/indexmap", &st, e));
    CF_TRY(cf_kdb_item_add(s, CF_KDB_STEP_INDEX, "index", "indexmap", "indexmap", &i, e));
    cf_kdb_item_set_stat(i, &st);
    if (text->len <= CF_INLINE_LEN_MAX)
        return cf_kdb_item_set_content(i, cf_buf_slice(text), e);
    i->how = CF_ENTRY_WHOLE;
    i->size_bytes = text->len;
    i->fd = f->fd;
    f->fd = -1;
    return CF_OK;
}

static bool table_is_known(const cf_kdb_item *i, const cf_file_line *line)
{
    return line->type == CF_LINE_FILE && line->size_bytes == i->size_bytes && !line->is_inline &&
           line->cert_footer.len == i->cert_footer_len &&
           memcmp(line->cert_footer.ptr, i->cert_footer, i->cert_footer_len) == 0;
}

static bool bloom_is_known(const cf_kdb_item *i, const cf_file_line *line)
{
    return table_is_known(i, line) && line->mtime_ns == i->mtime_ns && i->cert_header_len > 0 &&
           line->cert_header.len == i->cert_header_len &&
           memcmp(line->cert_header.ptr, i->cert_header, i->cert_header_len) == 0;
}

/* Items of this step are sorted, tables before their filters, like the parent's lines. */
static cf_err reuse_decide(cf_source *s, cf_error *e)
{
    bool table_reused = false;

    CF_TRY(cf_kdb_prior_rewind(&s->prior, e));
    for (size_t k = 0; k < s->items.total; k++) {
        cf_kdb_item *const i = &s->items.at[k];
        const cf_file_line *line = NULL;
        const bool is_table = strcmp(i->klass, "ptable") == 0;

        if (i->step != CF_KDB_STEP_INDEX || (!is_table && strcmp(i->klass, "bloom") != 0))
            continue;
        CF_TRY(cf_kdb_prior_find(&s->prior, i->step, i->path, &line, e));
        i->in_prior = line != NULL && strcmp(line->klass, i->klass) == 0;
        const bool known =
            !s->opts.full && i->in_prior &&
            (is_table ? table_is_known(i, line) : table_reused && bloom_is_known(i, line));

        if (is_table)
            table_reused = known;
        if (known) {
            i->how = CF_ENTRY_REUSE;
            cf_kdb_io_close(&s->io, &i->fd);
        }
    }
    return CF_OK;
}

/* One round. *ret_settled false: indexmap changed in between. */
static cf_err index_attempt(cf_source *s, bool *ret_settled, cf_error *e)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    CF_CLEANUP(cf_kdb_fd_deinit) cf_kdb_fd f = {&s->io, -1};
    const char *missing = NULL;
    cf_error why = {0};
    bool same = false;

    cf_kdb_items_drop(s, CF_KDB_STEP_INDEX);
    cf_kdb_indexmap_deinit(&s->map);
    cf_buf_init(&text, CF_KDB_INDEXMAP_LEN_MAX);
    *ret_settled = true;
    CF_TRY(indexmap_open(s, &text, &f.fd, e));
    s->has_index = f.fd >= 0;
    if (!s->has_index) {
        cf_kdb_detail(s, "no indexmap and no tables: the node has no index yet");
        return CF_OK;
    }
    const cf_err parsed = cf_kdb_indexmap_parse(cf_buf_slice(&text), &s->map, &why);

    CF_ENSURE(parsed != CF_ERR_NO_MEMORY, e, parsed, "'index/indexmap': %s", why.message);
    if (parsed == CF_OK)
        CF_TRY(tables_open(s, &missing, e));
    CF_TRY(indexmap_same(s, &text, &same, e));
    *ret_settled = same;
    if (!same)
        return CF_OK;
    if (parsed != CF_OK)
        return cf_kdb_refuse(
            s, e, "'index/indexmap' is damaged: %s\nHINT: restart the node; it rebuilds its index",
            why.message);
    if (missing != NULL)
        return cf_kdb_refuse(s, e,
                             "'index/indexmap' names table '%s', which is missing: a copy would "
                             "rebuild its whole index"
                             "\nHINT: restart the node; it rebuilds its index",
                             missing);
    CF_TRY(tables_check(s, e));
    return indexmap_item(s, &text, &f, e);
}

cf_err cf_kdb_index_look(cf_source *s, cf_error *e)
{
    bool settled = false;

    if (s->index_fd < 0) {
        if (!s->restored)
            cf_kdb_warn(
                s, "no-index",
                "there is no index folder below '%s': without it a restored node reads its whole "
                "log to "
                "rebuild the index"
                "\nHINT: if the server's Index option names another folder, give it as --index",
                s->opts.db);
        return CF_OK;
    }
    for (unsigned n = 0; n < CF_KDB_ATTEMPT_TOTAL && !settled; n++) {
        if (n > 0)
            CF_TRY(cf_kdb_wait(s, CF_KDB_INDEXMAP_ABSENT_STEP_MS, e));
        CF_TRY(index_attempt(s, &settled, e));
    }
    if (!settled)
        return cf_kdb_refuse(
            s, e,
            "'index/indexmap' changed while its tables were opened, %d times\nHINT: run again",
            CF_KDB_ATTEMPT_TOTAL);
    CF_TRY(reuse_decide(s, e));
    for (size_t k = 0; k < s->items.total && (s->opts.inspect || s->restored); k++)
        cf_kdb_io_close(&s->io, &s->items.at[k].fd);
    return CF_OK;
}
