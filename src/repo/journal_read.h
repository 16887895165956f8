/* SPDX-License-Identifier: Apache-2.0
 *
 * Journals of a dead run, read as one stream. Nothing is known about who wrote them: memory is
 * bounded by a block, a window and a line, whatever they say.
 */
#ifndef SRC_REPO_JOURNAL_READ_H
#define SRC_REPO_JOURNAL_READ_H

#include "repo/repo.h"
#include "repo/run.h"
#include "s3/base/cleanup.h"

typedef enum cf_journal_kind {
    CF_JOURNAL_END,
    CF_JOURNAL_FILE,
    CF_JOURNAL_PACK,
    CF_JOURNAL_UPLOADS,
} cf_journal_kind;

typedef struct cf_journal_object { /* "<run>/<seq>-journal.jsonl.zst" */
    uint64_t stored_bytes;
    uint32_t seq;
} cf_journal_object;

enum { CF_JOURNAL_BLOCK_BYTES = 512 * 1024 }; /* read at once; a whole object when it is smaller */

typedef struct cf_journal_reader cf_journal_reader;
/* node, objects: borrowed; the objects ascending. keep: what was read stays in memory, so that a
 * second pass asks for nothing. */
CF_NODISCARD cf_err cf_journal_reader_new(const cf_repo *repo, const char *node,
                                          const cf_run_id *run, const cf_journal_object *objects,
                                          size_t total, bool keep, cf_journal_reader **ret,
                                          cf_error *e);
void cf_journal_reader_free(cf_journal_reader *r);
CF_DEFINE_FREEP(cf_journal_reader, cf_journal_reader_free)
/* The next line of a known kind, without its newline, not parsed; valid until the next call. Others
 * are skipped. CF_ERR_DAMAGE: what is there is no journal, or is gone; no more can be read. */
CF_NODISCARD cf_err cf_journal_reader_next(cf_journal_reader *r, cf_journal_kind *ret_kind,
                                           cf_slice *ret, cf_error *e);
CF_NODISCARD cf_err cf_journal_reader_rewind(cf_journal_reader *r, cf_error *e);

#endif
