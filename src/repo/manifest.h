/* SPDX-License-Identifier: Apache-2.0
 *
 * Manifest: the segments of a snapshot, written and read as streams. One line at a time is in
 * memory, and a segment's compressed bytes up to CF_SEGMENT_CACHE_BYTES, so that a parent that is
 * read twice is fetched once.
 */
#ifndef SRC_REPO_MANIFEST_H
#define SRC_REPO_MANIFEST_H

#include "repo/adoption.h"
#include "repo/line.h"
#include "repo/repo.h"
#include "repo/root.h"
#include "repo/run.h"
#include "s3/err.h"

enum {
    CF_SEGMENT_STORED_MAX = 32 * 1024 * 1024,  /* a reader refuses a larger one */
    CF_SEGMENT_SOURCE_MAX = 256 * 1024 * 1024, /* lines of one segment, decompressed */
    CF_SEGMENT_CUT_BYTES =
        16 * 1024 * 1024, /* a writer starts a new one above this many bytes of lines */
    CF_SEGMENT_CACHE_BYTES = 8 * 1024 * 1024,
    CF_PACK_TOTAL_MAX =
        1000000, /* packs a snapshot can name: 28 to 40 bytes each in memory while it is written */
};

/* Forward reader over one kind of line of a snapshot, in order; checks key, length, SHA-256, order
 * and line limits. */
typedef struct cf_cursor cf_cursor;
/* repo, node, root borrowed and must outlive it. */
CF_NODISCARD cf_err cf_cursor_new(const cf_repo *repo, const char *node, const cf_root *root,
                                  cf_segment_kind kind, cf_cursor **ret, cf_error *e);
void cf_cursor_free(cf_cursor *c);
static inline void cf_cursor_freep(cf_cursor **c)
{
    cf_cursor_free(*c);
}
/* *ret = NULL at the end. The line is valid until the next call. */
CF_NODISCARD cf_err cf_cursor_next_file(cf_cursor *c, const cf_file_line **ret, cf_error *e);
CF_NODISCARD cf_err cf_cursor_next_pack(cf_cursor *c, const cf_pack_line **ret, cf_error *e);
/* Goes forward to the first line >= (step, path); *ret is that line when equal, else NULL. Calls
 * must come in manifest order. */
CF_NODISCARD cf_err cf_cursor_find_file(cf_cursor *c, uint16_t step, cf_slice path,
                                        const cf_file_line **ret, cf_error *e);
CF_NODISCARD cf_err cf_cursor_rewind(cf_cursor *c, cf_error *e);
/* Number in the root of the segment that holds the line given last. */
size_t cf_cursor_get_segment(const cf_cursor *c);
/* Fetches every segment of its kind and checks length and SHA-256; then stands at the begin. What
 * fits is kept, so that reading costs no further request. */
CF_NODISCARD cf_err cf_cursor_check(cf_cursor *c, cf_error *e);

/* Writer. One thread. */
typedef struct cf_manifest cf_manifest;
typedef struct cf_manifest_opts {
    const cf_repo *repo;     /* borrowed */
    cf_run *run;             /* borrowed; gives sequence numbers */
    const cf_root *parent;   /* borrowed; NULL: none. Its equal segments are referenced, its packs'
                              lines taken over */
    cf_cursor *parent_packs; /* borrowed; over the parent's packs, with what it keeps in memory;
                                NULL: one is made */
    /* Its pack lines are taken over where files name them. Borrowed; NULL: none. Read at the end. */
    cf_adoption *adopted;
    /* Called for each line rendered, with its newline (files as they are added, packs as they are
     * added): for the journal. NULL: none. */
    cf_err (*on_line)(void *impl, cf_slice json_line, cf_error *e);
    void *impl;
} cf_manifest_opts;
/* The options are copied. */
CF_NODISCARD cf_err cf_manifest_new(const cf_manifest_opts *opts, cf_manifest **ret, cf_error *e);
void cf_manifest_free(cf_manifest *m);
static inline void cf_manifest_freep(cf_manifest **m)
{
    cf_manifest_free(*m);
}
/* In manifest order, else CF_CHECK fails. Counts what its extents use of which pack. */
CF_NODISCARD cf_err cf_manifest_add_file(cf_manifest *m, const cf_file_line *line, cf_error *e);
/* A pack this run wrote, in order of its sequence numbers; used_bytes is ignored (the manifest
 * counts). */
CF_NODISCARD cf_err cf_manifest_add_pack(cf_manifest *m, const cf_pack_line *line, cf_error *e);
/* The next file line starts a new segment. */
CF_NODISCARD cf_err cf_manifest_cut(cf_manifest *m, cf_error *e);
/* Uploads what is left, writes the pack segments (the parent's and adopted packs still used, and ours) and
 * puts all segments into root, packs first; fills root->totals.packs_total and .stored_bytes.
 * CF_ERR_DAMAGE when a file names a pack nobody described. */
CF_NODISCARD cf_err cf_manifest_finish(cf_manifest *m, cf_root *root, cf_error *e);

/* Journal: the lines so far and the open multipart upload ids. Each object holds what came since
 * the one before; a reader takes all of a run, in order. Only the compressed lines since the last
 * object are in memory: CF_JOURNAL_STORED_CUT and a line, when there is a tick behind each line. */
enum {
    CF_JOURNAL_EVERY_MS = 60 * 1000,
    CF_JOURNAL_IDS_MS = 5 * 1000, /* when there are multipart uploads that the last does not name */
    CF_JOURNAL_SHARE = 32,        /* of the bytes uploaded: so much is put at risk... */
    CF_JOURNAL_EVERY_BYTES_MIN = 4 * 1024 * 1024, /* ...but not a journal for less */
    CF_JOURNAL_EVERY_BYTES_MAX = 1024 * 1024 * 1024,
    CF_JOURNAL_STORED_CUT = 4 * 1024 * 1024, /* of an object: put at the next tick */
};
typedef struct cf_journal cf_journal;
CF_NODISCARD cf_err cf_journal_new(const cf_repo *repo, cf_run *run, cf_journal **ret, cf_error *e);
void cf_journal_free(cf_journal *j); /* NULL is fine; puts nothing */
static inline void cf_journal_freep(cf_journal **j)
{
    cf_journal_free(*j);
}
/* json_line with its newline, as cf_manifest_opts.on_line gives it. One thread. */
CF_NODISCARD cf_err cf_journal_add_line(cf_journal *j, cf_slice json_line, cf_error *e);
/* Called often; puts a journal object when it is time. uploaded_bytes: of packs so far. upload_ids:
 * "key id" lines, may be empty. */
CF_NODISCARD cf_err cf_journal_tick(cf_journal *j, uint64_t uploaded_bytes, cf_slice upload_ids,
                                    cf_error *e);
/* The run ends without a snapshot, in good order: what the last object does not have. Put even while
 * the world is stopping. */
CF_NODISCARD cf_err cf_journal_end(cf_journal *j, cf_error *e);

#endif
