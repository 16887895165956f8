/* SPDX-License-Identifier: Apache-2.0
 *
 * Spool: lines kept until the end of a run in an unlinked temporary file ($TMPDIR, else /tmp), not
 * in memory. One thread. First all lines are added, then they are read once or more, in the same
 * order.
 */
#ifndef SRC_REPO_SPOOL_H
#define SRC_REPO_SPOOL_H

#include "s3/base/cleanup.h"
#include "s3/err.h"
#include "s3/slice.h"

enum { CF_SPOOL_LINE_LEN_MAX = 16 * 1024 }; /* ours: a pack's line has 300 bytes */

typedef struct cf_spool cf_spool;
CF_NODISCARD cf_err cf_spool_new(cf_spool **ret, cf_error *e);
void cf_spool_free(cf_spool *s);
CF_DEFINE_FREEP(cf_spool, cf_spool_free)

/* line: with its newline, and only one. The file is made with the first line that does not fit the
 * buffer. */
CF_NODISCARD cf_err cf_spool_add(cf_spool *s, cf_slice line, cf_error *e);
/* From the first line on. */
void cf_spool_rewind(cf_spool *s);
/* Without the newline; valid until the next call; len 0 at the end. CF_ERR_IO when the file cannot
 * be read or lost bytes. */
CF_NODISCARD cf_err cf_spool_next(cf_spool *s, cf_slice *ret, cf_error *e);

#endif
