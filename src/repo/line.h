/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines of the manifest's segments: what a file is and where its bytes are; what a pack is. Pure:
 * text in, struct out, and back. docs/FORMAT.md is the contract.
 */
#ifndef SRC_REPO_LINE_H
#define SRC_REPO_LINE_H

#include <stdint.h>

#include "s3/base/cleanup.h"
#include "s3/buf.h"
#include "s3/err.h"
#include "s3/slice.h"
#include "store/store.h"

enum {
    CF_FRAME_BYTES = 4 * 1024 * 1024, /* source bytes of a frame, and of a part of a growing file */
    CF_FRAME_READ_MAX = 64 * 1024 * 1024,    /* readers accept frames up to this */
    CF_PACK_SOURCE_MAX = 1024 * 1024 * 1024, /* source bytes in one pack */
    CF_PACK_SPARSE_PERCENT = 30,             /* below it a pack is worth emptying */
    CF_PACK_WORN_PERCENT = 90,    /* below it too, while all packs together have too much slack: */
    CF_PACKS_SLACK_PERCENT = 120, /* size of all, against what is used of them */
    CF_INLINE_LEN_MAX = 512,
    CF_PATH_LEN_MAX = 4096,
    CF_NAME_LEN_MAX = 255, /* NAME_MAX: one component of a path */
    CF_CLASS_LEN_MAX = 32,
    CF_FRAMES_MAX = CF_PACK_SOURCE_MAX / CF_FRAME_BYTES, /* of one extent */
    /* ours: a line is parsed whole, and a part costs a KiB while it is. 8,192 parts of 240 bytes
     * are half of it; a longer file is sent whole, which names few extents: see CF_PARTS_TOTAL_MAX.
     */
    CF_LINE_LEN_MAX = 4 * 1024 * 1024,
    CF_PARTS_TOTAL_MAX = 8192, /* of a file that is cut in parts: 32 GiB */
    CF_CERT_LEN_MAX = 128,     /* each of header and footer */
};

/* A byte range of a file, and where its frames are. */
typedef struct cf_extent {
    const char *pack;     /* key below nodes/<node>/runs/: "<run>/<seq>-pack-<hint>.zst" */
    uint64_t pack_offset; /* in the stream of zstd frames */
    uint64_t stored_bytes;
    uint64_t file_offset, file_bytes;
    const uint32_t *frame_bytes; /* stored length of each frame; NULL: unknown. Each holds
                                    CF_FRAME_BYTES of the file, the last the rest */
    uint32_t frame_total;
    bool has_sha256;    /* growing and mutable files */
    uint8_t sha256[32]; /* of the file's bytes in this extent */
} cf_extent;

typedef enum cf_line_type { CF_LINE_FILE, CF_LINE_DIR, CF_LINE_SYMLINK } cf_line_type;

/* All pointers are borrowed from whoever made the line. */
typedef struct cf_file_line {
    uint16_t step; /* of the profile's order */
    cf_slice path; /* role-relative bytes: "db/chunk-000017.000002"; need not be UTF-8 */
    cf_line_type type;
    cf_slice target; /* symlink */
    uint64_t size_bytes;
    uint32_t mode, uid, gid;
    int64_t mtime_ns;
    /* What tells that a file was not touched since, where the profile goes by that: the inode's
     * number and the time of its last change of any kind. */
    bool has_identity;
    uint64_t ino;
    int64_t ctime_ns;
    const char *klass; /* the profile's word: "chunk", "ongoing-chunk", "ptable", "checkpoint"... */
    cf_slice cert_header, cert_footer; /* certificate; empty: none */
    bool has_sha256;                   /* every file that is not withheld */
    uint8_t sha256[32];                /* of the whole content, holes as zeros */
    bool md5_unchecked; /* it ends with an MD5 of its own that nobody held it against */
    bool is_inline;
    cf_slice content; /* inline; its length is size_bytes */
    bool is_withheld; /* policy kept the content out: no extents, not inline; a restore must say so,
                         never write zeros */
    /* In memory only: some extents were left out, since their packs are not to be named. Good to
     * compare parts with, never to be taken as it is: a range without extent would read as zeros. */
    bool is_partial;
    const cf_extent
        *extents; /* by file_offset, not overlapping; a range without extent reads as zeros */
    size_t extent_total;
} cf_file_line;

typedef struct cf_pack_line {
    const char *pack;      /* key below nodes/<node>/runs/ */
    uint64_t stored_bytes; /* whole object */
    uint64_t used_bytes;   /* of it, named by this snapshot */
    cf_digest digest;
    const char *origin; /* of a copied pack: the name that it was written under first, in another
                           repository; NULL: this one wrote it */
} cf_pack_line;

/* Little of it is still used: a later run sends the rest again, so that prune can have the pack. */
static inline bool cf_pack_is_sparse(const cf_pack_line *const p)
{
    return p->used_bytes < p->stored_bytes / 100 * CF_PACK_SPARSE_PERCENT;
}

/* Some of it is unused: worth emptying when all packs together have too much slack. */
static inline bool cf_pack_is_worn(const cf_pack_line *const p)
{
    return p->used_bytes < p->stored_bytes / 100 * CF_PACK_WORN_PERCENT;
}

static inline bool cf_packs_have_slack(const uint64_t used_bytes, const uint64_t stored_bytes)
{
    return stored_bytes / CF_PACKS_SLACK_PERCENT > used_bytes / 100;
}

/* Storage of one parsed line, which borrows from it until the next is parsed. One thread. */
typedef struct cf_line_store cf_line_store;
CF_NODISCARD cf_err cf_line_store_new(cf_line_store **ret, cf_error *e);
void cf_line_store_free(cf_line_store *s); /* NULL is fine */
CF_DEFINE_FREEP(cf_line_store, cf_line_store_free)

/* One JSON object without the newline. CF_ERR_DAMAGE names what is missing or out of range:
 * absolute paths, "..", empty components, NUL, extents that overlap or leave the file, packs that
 * are not below runs/, sizes over the limits. Unknown keys are ignored. */
CF_NODISCARD cf_err cf_file_line_parse(cf_slice json, cf_line_store *store, cf_file_line *ret,
                                       cf_error *e);
CF_NODISCARD cf_err cf_pack_line_parse(cf_slice json, cf_line_store *store, cf_pack_line *ret,
                                       cf_error *e);
/* Appends one line with its newline; keys in a fixed order, so equal lines are equal bytes.
 * CF_ERR_DAMAGE when a reader would refuse the line: what is written can be read. On failure ret
 * may hold a part of the line: cut it back or throw it away. */
CF_NODISCARD cf_err cf_file_line_render(const cf_file_line *l, cf_buf *ret, cf_error *e);
CF_NODISCARD cf_err cf_pack_line_render(const cf_pack_line *l, cf_buf *ret, cf_error *e);

/* A copy in one allocation, for what outlives its cursor; free with cf_free(). */
CF_NODISCARD cf_err cf_file_line_dup(const cf_file_line *l, cf_file_line **ret, cf_error *e);
size_t cf_file_line_dup_bytes(const cf_file_line *l); /* what that allocation takes */

/* CF_ERR_DAMAGE when a role-relative path could leave its target. */
CF_NODISCARD cf_err cf_path_check(cf_slice path, cf_error *e);
/* Manifest order: step, then path bytes. */
int cf_file_line_cmp(uint16_t step_a, cf_slice path_a, uint16_t step_b, cf_slice path_b);

#endif
