/* SPDX-License-Identifier: Apache-2.0
 *
 * Which chunk files are the log: the latest version of each range, up to the writer's chunk,
 * without a gap.
 *
 * Each file is opened once: header and footer are read, compared with the parent's certificate, and
 * the descriptor is either kept (pinned, to be sent) or closed (reused). So a completed chunk costs
 * 256 bytes. A file beyond the writer's chunk is left out: with it a restored node does not start.
 * A file that a merge superseded is left out: the header of the merged one says so, no name does.
 */
#include "profile/kurrentdb/source.h"

#include <stdio.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/hash.h"
#include "s3/base/num.h"

void cf_kdb_chunks_deinit(cf_source *s)
{
    for (uint32_t k = 0; k < s->chunks.total; k++) {
        int fd = s->chunks.rows[k].fd;

        cf_kdb_io_close(&s->io, &fd);
    }
    cf_free(s->chunks.rows);
    s->chunks = (cf_kdb_chunks){0};
    s->pinned_total = 0;
}

cf_err cf_kdb_cert_hash(const uint8_t *header, const uint8_t *footer, uint64_t *ret, cf_error *e)
{
    CF_CLEANUP(cf_hash_deinit) cf_hash h = {0};
    uint8_t digest[CF_SHA256_LEN];

    CF_TRY(cf_hash_init(&h, CF_HASH_SHA256, e));
    CF_TRY(cf_hash_update(&h, cf_slice_of(header, CF_KDB_CHUNK_HEADER_LEN), e));
    CF_TRY(cf_hash_update(&h, cf_slice_of(footer, CF_KDB_CHUNK_FOOTER_LEN), e));
    CF_TRY(cf_hash_final(&h, digest, e));
    *ret = cf_le64(digest);
    return CF_OK;
}

cf_err cf_kdb_chunks_names_hash(const cf_names *names, uint32_t last, uint8_t ret[32], cf_error *e)
{
    CF_CLEANUP(cf_hash_deinit) cf_hash h = {0};

    CF_TRY(cf_hash_init(&h, CF_HASH_SHA256, e));
    for (size_t i = 0; i < names->count; i++) {
        const cf_slice name = cf_slice_str(cf_names_at(names, i));
        uint32_t start = 0;
        uint32_t version = 0;

        if (cf_kdb_chunk_name_parse(name, &start, &version) && start <= last)
            CF_TRY(cf_hash_update(&h, name, e));
    }
    return cf_hash_final(&h, ret, e);
}

/* The next start number from *i on, and its latest version. Names are sorted, so versions of one
 * number stand together.
 */
static bool candidate_next(const cf_names *names, size_t *i, uint32_t *ret_start,
                           uint32_t *ret_version)
{
    bool found = false;

    for (; *i < names->count; (*i)++) {
        uint32_t start = 0;
        uint32_t version = 0;

        if (!cf_kdb_chunk_name_parse(cf_slice_str(cf_names_at(names, *i)), &start, &version))
            continue;
        if (found && start != *ret_start)
            return true;
        *ret_start = start;
        *ret_version = version;
        found = true;
    }
    return found;
}

static cf_err row_add(cf_source *s, cf_kdb_row **ret, cf_error *e)
{
    cf_kdb_chunks *const c = &s->chunks;

    if (c->total == c->cap) {
        const uint32_t cap = c->cap == 0 ? 256 : c->cap * 2;
        cf_kdb_row *const grown = cf_realloc(c->rows, cap, sizeof(*grown));

        CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %u chunks", cap);
        c->rows = grown;
        c->cap = cap;
    }
    *ret = &c->rows[c->total++];
    **ret = (cf_kdb_row){.fd = -1};
    return CF_OK;
}

/* A chunk's line of the parent with its certificate; false: something else. */
static bool line_is_certified(const cf_file_line *line)
{
    return strcmp(line->klass, "chunk") == 0 && line->cert_header.len == CF_KDB_CHUNK_HEADER_LEN &&
           line->cert_footer.len == CF_KDB_CHUNK_FOOTER_LEN;
}

static bool line_start(const cf_file_line *line, uint32_t *ret)
{
    uint32_t version = 0;

    return line->step == CF_KDB_STEP_CHUNKS && line->path.len > 3 &&
           cf_kdb_chunk_name_parse(cf_slice_of(line->path.ptr + 3, line->path.len - 3), ret,
                                   &version);
}

static bool row_is_known(const cf_kdb_row *row, const char *path, const uint8_t *header,
                         const uint8_t *footer, const cf_file_line *line)
{
    return (row->flags & CF_KDB_ROW_COMPLETED) != 0 && row->size_bytes == line->size_bytes &&
           cf_slice_eq(line->path, cf_slice_str(path)) &&
           memcmp(line->cert_header.ptr, header, CF_KDB_CHUNK_HEADER_LEN) == 0 &&
           memcmp(line->cert_footer.ptr, footer, CF_KDB_CHUNK_FOOTER_LEN) == 0;
}

/* Chunk numbers without a gap, of which the parent has completed copies. */
typedef struct covered {
    uint32_t from, until;
} covered;

static void covered_add(covered *c, const cf_file_line *line)
{
    cf_kdb_chunk_header h = {0};

    if (cf_kdb_chunk_header_parse(line->cert_header, &h, /* e= */ NULL) != CF_OK)
        return;
    if (h.start > c->until)
        c->from = h.start;
    if (h.end + 1 > c->until)
        c->until = h.end + 1;
}

/* Walks the parent's lines up to the last number of this file. Sets REUSED and PRIOR: the parent
 * has all that this file has, be it in the files that a scavenge made this one of. */
static cf_err row_compare(cf_source *s, cf_kdb_row *row, const char *path, const uint8_t *header,
                          const uint8_t *footer, covered *c, cf_error *e)
{
    for (;;) {
        const cf_file_line *line = NULL;
        uint32_t start = 0;

        CF_TRY(cf_kdb_prior_peek(&s->prior, &line, e));
        if (line == NULL || line->step > CF_KDB_STEP_CHUNKS)
            break;
        const bool named = line_start(line, &start);

        if (named && start > row->end)
            break;
        if (named && line_is_certified(line)) {
            covered_add(c, line);
            if (!s->opts.full && row_is_known(row, path, header, footer, line))
                row->flags |= CF_KDB_ROW_REUSED;
        }
        CF_TRY(cf_kdb_prior_skip(&s->prior, e));
    }
    if (c->from <= row->start && c->until > row->end)
        row->flags |= CF_KDB_ROW_PRIOR;
    return CF_OK;
}

static cf_err header_refuse(cf_source *s, const char *path, const cf_kdb_chunk_header *h,
                            uint32_t start, uint32_t version, bool *ret_fit, cf_error *e)
{
    static const char hint[] =
        "HINT: the file comes from another node or was renamed; restore this node from a snapshot";

    *ret_fit = false;
    if (h->start != start)
        return cf_kdb_refuse(s, e, "'%s' holds chunk %u by its header, not %u\n%s", path, h->start,
                             start, hint);
    if (version == 0 && h->end > h->start)
        return cf_kdb_refuse(s, e,
                             "'%s' holds the merged chunks %u..%u under version 0, which a server "
                             "takes for one chunk\n%s",
                             path, h->start, h->end, hint);
    if (s->chunks.chunk_size != 0 && h->chunk_size != s->chunks.chunk_size)
        return cf_kdb_refuse(s, e, "'%s' has a chunk size of %u, the chunks before it %u\n%s", path,
                             h->chunk_size, s->chunks.chunk_size, hint);
    *ret_fit = true;
    return CF_OK;
}

static cf_err header_read(cf_source *s, int fd, const char *path, uint64_t size_bytes,
                          uint8_t *header, uint8_t *footer, cf_kdb_chunk_header *ret_h,
                          bool *ret_fit, cf_error *e)
{
    const uint64_t least = CF_KDB_CHUNK_HEADER_LEN + CF_KDB_CHUNK_FOOTER_LEN;
    cf_error why = {0};

    *ret_fit = false;
    if (size_bytes < least)
        return cf_kdb_refuse(s, e, "'%s' has %llu bytes, a chunk has at least %llu", path,
                             (unsigned long long)size_bytes, (unsigned long long)least);
    CF_TRY(cf_kdb_io_read(&s->io, fd, path, header, CF_KDB_CHUNK_HEADER_LEN, 0, e));
    const cf_err read = cf_kdb_io_read(&s->io, fd, path, footer, CF_KDB_CHUNK_FOOTER_LEN,
                                       size_bytes - CF_KDB_CHUNK_FOOTER_LEN, e);
    if (read == CF_ERR_SOURCE)
        s->again = true; /* the ongoing chunk shrinks when it is completed: just now, perhaps */
    CF_TRY(read);
    if (cf_kdb_chunk_header_parse(cf_slice_of(header, CF_KDB_CHUNK_HEADER_LEN), ret_h, &why) !=
        CF_OK)
        return cf_kdb_refuse(s, e, "'%s' is no chunk: %s", path, why.message);
    *ret_fit = true;
    return CF_OK;
}

static void row_fill(cf_source *s, cf_kdb_row *row, const cf_kdb_chunk_header *h,
                     const cf_kdb_chunk_footer *f, uint32_t version, const cf_stat *st)
{
    row->start = h->start;
    row->end = h->end;
    row->version = version & 0xfffff;
    row->size_bytes = st->size_bytes;
    row->ino = st->ino;
    row->flags =
        (uint32_t)((cf_kdb_chunk_is_complete(h, f, st->size_bytes) ? CF_KDB_ROW_COMPLETED : 0) |
                   (h->scavenged ? CF_KDB_ROW_SCAVENGED : 0) |
                   (h->transform != 0 ? CF_KDB_ROW_TRANSFORMED : 0)) &
        0xfff;
    s->chunks.chunk_size = h->chunk_size;
    s->chunks.versions_seen |= 1u << (h->version < 31 ? h->version : 31);
    s->chunks.transforms_seen |= 1u << (h->transform < 31 ? h->transform : 31);
}

/* One chosen file. *ret_row NULL: it was refused (inspect goes on behind it). */
static cf_err row_look(cf_source *s, uint32_t start, uint32_t version, covered *c,
                       cf_kdb_row **ret_row, cf_error *e)
{
    CF_CLEANUP(cf_kdb_fd_deinit) cf_kdb_fd f = {&s->io, -1};
    char path[3 + CF_KDB_CHUNK_NAME_SIZE] = "db/";
    uint8_t header[CF_KDB_CHUNK_HEADER_LEN];
    uint8_t footer[CF_KDB_CHUNK_FOOTER_LEN];
    cf_kdb_chunk_header h = {0};
    cf_kdb_chunk_footer foot = {0};
    cf_kdb_row *row = NULL;
    cf_stat st = {0};
    bool fit = false;

    *ret_row = NULL;
    cf_kdb_chunk_name_render(start, version, path + 3);
    const cf_err opened = cf_kdb_io_open(&s->io, s->db_fd, path + 3, &f.fd, e);

    if (opened == CF_ERR_NOT_FOUND)
        return cf_kdb_refuse_for_now(
            s, e,
            "'%s' vanished while the chunks were listed\nHINT: a scavenge runs; run again after it",
            path);
    CF_TRY(opened);
    CF_TRY(cf_kdb_io_stat_fd(&s->io, f.fd, path, &st, e));
    CF_ENSURE(st.type == CF_FILE_REGULAR, e, CF_ERR_SOURCE, "'%s' is no regular file", path);
    CF_TRY(header_read(s, f.fd, path, st.size_bytes, header, footer, &h, &fit, e));
    if (fit)
        CF_TRY(header_refuse(s, path, &h, start, version, &fit, e));
    if (!fit)
        return CF_OK;
    CF_TRY(cf_kdb_chunk_footer_parse(cf_slice_of(footer, sizeof(footer)), &foot, e));
    CF_TRY(row_add(s, &row, e));
    row_fill(s, row, &h, &foot, version, &st);
    CF_TRY(cf_kdb_cert_hash(header, footer, &row->cert, e));
    CF_TRY(row_compare(s, row, path, header, footer, c, e));
    if ((row->flags & CF_KDB_ROW_REUSED) == 0 && s->pinned_total < s->pin_max) {
        row->fd = f.fd;
        f.fd = -1;
        s->pinned_total++;
    }
    *ret_row = row;
    return CF_OK;
}

static cf_err gap_refuse(cf_source *s, uint32_t from, uint32_t to, cf_error *e)
{
    if (s->opts.archive && s->chunks.total == 0) {
        cf_kdb_warn(
            s, "archiving",
            "chunks 0..%u are not in 'db': they are in the archive, which this backup does not "
            "hold; a "
            "restored node needs "
            "its archive configured, and an archiver node can be restored only from its own backup",
            to);
        return CF_OK;
    }
    return cf_kdb_refuse_for_now(
        s, e, "chunks %u..%u are missing in 'db', but 'db/writer.chk' is %lld\nHINT: %s", from, to,
        (long long)s->values.writer.value,
        s->chunks.total == 0
            ? "if the node archives old chunks, use --archive; else restore it from a snapshot"
            : "the node cannot start like this; restore it from a snapshot");
}

/* What the chunk's place in the log asks of it. */
static cf_err row_check(cf_source *s, const cf_kdb_row *row, cf_error *e)
{
    const uint32_t size = s->chunks.chunk_size;
    const uint64_t writer = (uint64_t)s->values.writer.value;
    const uint32_t chaser_chunk = (uint32_t)((uint64_t)s->values.chaser.value / size);
    const bool completed = (row->flags & CF_KDB_ROW_COMPLETED) != 0;
    char name[CF_KDB_CHUNK_NAME_SIZE];

    cf_kdb_chunk_name_render(row->start, row->version, name);
    if (row->end >= chaser_chunk &&
        ((row->flags & CF_KDB_ROW_SCAVENGED) != 0 || row->end > row->start))
        return cf_kdb_refuse_for_now(
            s, e,
            "'db/%s' (chunks %u..%u) is scavenged, but 'db/chaser.chk' with %lld is in or before "
            "it: a "
            "restored node would delete that chunk and all after it"
            "\nHINT: wait until the node has caught up and written on, then run again",
            name, row->start, row->end, (long long)s->values.chaser.value);
    const bool is_last = row->start == s->chunks.last;

    if (is_last || (!completed && row->end + 1 == s->chunks.last && writer % size == 0)) {
        /* A transform makes data longer, never shorter. One that waits for its completion has the
         * size it was made with. */
        const uint64_t needed = CF_KDB_CHUNK_HEADER_LEN + (is_last ? writer % size : size);

        if (row->size_bytes < needed)
            return cf_kdb_refuse_for_now(
                s, e,
                "'db/%s' has %llu bytes, 'db/writer.chk' with %llu needs %llu of them"
                "\nHINT: the node cannot start like this; restore it from a snapshot",
                name, (unsigned long long)row->size_bytes, (unsigned long long)writer,
                (unsigned long long)needed);
        return CF_OK;
    }
    /* Else it must be completed; but for the one before an absent last chunk, which a start
     * completes on the spot. */
    if (completed)
        return CF_OK;
    return cf_kdb_refuse_for_now(
        s, e,
        "'db/%s' is not completed, but the log goes on in chunk %u: a copy would not start"
        "\nHINT: the node cannot start like this; restore it from a snapshot",
        name, s->chunks.last);
}

static cf_err last_check(cf_source *s, uint32_t expected, cf_error *e)
{
    const cf_kdb_chunks *const c = &s->chunks;
    const bool on_boundary = (uint64_t)s->values.writer.value % c->chunk_size == 0;

    if (expected < c->last || (expected == c->last && !on_boundary))
        return gap_refuse(s, expected, c->last, e);
    /* The incomplete chunk before the last is allowed only when the last is absent. */
    if (on_boundary && c->total >= 2 && c->rows[c->total - 1].start == c->last &&
        (c->rows[c->total - 2].flags & CF_KDB_ROW_COMPLETED) == 0)
        return cf_kdb_refuse_for_now(
            s, e,
            "chunk %u is not completed, but chunk %u is there: a copy would not start"
            "\nHINT: the node cannot start like this; restore it from a snapshot",
            c->rows[c->total - 2].start, c->last);
    return CF_OK;
}

/* The names one after the other. */
static cf_err names_walk(cf_source *s, const cf_names *names, cf_error *e)
{
    uint32_t expected = 0;
    covered c = {0};
    uint32_t start = 0;
    uint32_t version = 0;
    size_t i = 0;

    s->chunks.last = UINT32_MAX;
    while (candidate_next(names, &i, &start, &version)) {
        cf_kdb_row *row = NULL;
        const uint32_t gap_from = expected;

        if (start < expected) {
            cf_kdb_detail(s, "chunk-%06u.%06u is superseded by a merged chunk and left out", start,
                          version);
            continue;
        }
        if (start > s->chunks.last) {
            s->chunks.excess_total++;
            cf_kdb_detail(s, "chunk-%06u.%06u lies behind writer.chk and is left out", start,
                          version);
            continue;
        }
        /* The first file gives the chunk size, and with it the last number. */
        CF_ENSURE(start < CF_KDB_CHUNK_TOTAL_MAX, e, CF_ERR_SOURCE,
                  "chunk number %u is over the limit of %d", start, CF_KDB_CHUNK_TOTAL_MAX - 1);
        if (gap_from < start)
            CF_TRY(gap_refuse(s, gap_from, start - 1, e));
        CF_TRY(row_look(s, start, version, &c, &row, e));
        expected = row == NULL ? start + 1 : row->end + 1;
        if (s->chunks.chunk_size == 0)
            continue;
        s->chunks.last = (uint32_t)((uint64_t)s->values.writer.value / s->chunks.chunk_size);
        if (row != NULL)
            CF_TRY(row_check(s, row, e));
    }
    if (s->chunks.chunk_size == 0)
        return cf_kdb_refuse(
            s, e,
            "'db' has no chunk file\nHINT: start the node once; it makes chunk-000000.000000");
    return last_check(s, expected, e);
}

cf_err cf_kdb_chunks_look(cf_source *s, cf_error *e)
{
    CF_CLEANUP(cf_names_deinit) cf_names names = {0};

    cf_kdb_chunks_deinit(s);
    CF_TRY(cf_kdb_prior_rewind(&s->prior, e));
    CF_TRY(cf_kdb_io_list(&s->io, s->db_fd, "db", &names, e));
    CF_TRY(names_walk(s, &names, e));
    return cf_kdb_chunks_names_hash(&names, s->chunks.last, s->chunks.names_sha256, e);
}
