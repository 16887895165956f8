/* SPDX-License-Identifier: Apache-2.0
 *
 * Seen: what need not be looked at again, since several snapshots share it.
 */
#ifndef SRC_VERIFY_SEEN_H
#define SRC_VERIFY_SEEN_H

#include "repo/line.h"
#include "s3/base/cleanup.h"

/* Set of 64-bit hashes, 8 bytes each and as much of air; when the budget is spent it takes no more,
 * and what is asked is new: then it is read again. */
typedef struct cf_seen cf_seen;
CF_NODISCARD cf_err cf_seen_new(uint64_t *budget_bytes, cf_seen **ret, cf_error *e);
void cf_seen_free(cf_seen *s); /* NULL is fine */
CF_DEFINE_FREEP(cf_seen, cf_seen_free)
/* Was it there? Puts it there. NULL: it was not. */
bool cf_seen_add(cf_seen *s, uint64_t hash);
uint64_t cf_seen_hash_text(const char *a, const char *b);
uint64_t cf_seen_hash_line(const cf_file_line *l); /* path, content and where it is */
uint64_t cf_seen_hash_extent(const cf_extent *x);

/* The first and last line of each segment that was read, so that the order over segments is checked
 * without reading them again. */
typedef struct cf_seen_segment {
    char *first, *last; /* owned; "<step, five digits><path>" or the pack */
    size_t first_len, last_len;
    bool sound;
} cf_seen_segment;
typedef struct cf_seen_segments {
    cf_seen_segment *at; /* owned */
    size_t total, cap;
} cf_seen_segments;
void cf_seen_segments_deinit(cf_seen_segments *s);
CF_NODISCARD cf_err cf_seen_segments_add(cf_seen_segments *s, cf_slice first, cf_slice last,
                                         bool sound, cf_error *e);

#endif
