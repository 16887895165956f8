/* SPDX-License-Identifier: Apache-2.0
 *
 * What the repository has already, walked once beside the node's files, which come in the same order.
 */
#ifndef SRC_PROFILE_KURRENTDB_PRIOR_H
#define SRC_PROFILE_KURRENTDB_PRIOR_H

#include "repo/prior.h"

/* Zero: no parent. */
typedef struct cf_kdb_prior {
    cf_prior *cursor;         /* borrowed; NULL: no parent */
    const cf_file_line *line; /* where it stands; NULL: at the end, or not begun */
    bool begun;
    bool best_effort; /* a parent that cannot be read is none: its lines are for messages only */
} cf_kdb_prior;

CF_NODISCARD cf_err cf_kdb_prior_rewind(cf_kdb_prior *p, cf_error *e);
/* *ret: the line it stands at, reading the first if need be; NULL at the end or without parent. */
CF_NODISCARD cf_err cf_kdb_prior_peek(cf_kdb_prior *p, const cf_file_line **ret, cf_error *e);
/* Forgets the line it stands at. */
CF_NODISCARD cf_err cf_kdb_prior_skip(cf_kdb_prior *p, cf_error *e);
/* Forward to (step, path); *ret NULL when the parent has none such. Valid until the next call. */
CF_NODISCARD cf_err cf_kdb_prior_find(cf_kdb_prior *p, uint16_t step, const char *path,
                                      const cf_file_line **ret, cf_error *e);

#endif
