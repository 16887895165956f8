/* SPDX-License-Identifier: Apache-2.0
 *
 * Prior: the files whose bytes are in the repository already: the parent's lines, overlaid with
 * those of adopted runs. Of several lines of one file the newest run's counts. A line of which a
 * pack is damaged, or not ours to name, is left out, or (a file in parts) gives the parts that are
 * fine: see cf_file_line.is_partial.
 */
#ifndef SRC_REPO_PRIOR_H
#define SRC_REPO_PRIOR_H

#include "repo/adoption.h"
#include "repo/damage.h"
#include "repo/manifest.h"

typedef struct cf_prior cf_prior;
typedef struct cf_prior_opts {
    cf_cursor *parent;       /* borrowed; over file lines; NULL: none */
    cf_adoption *adopted;    /* borrowed; NULL: none */
    const cf_damage *damage; /* borrowed; NULL: none */
} cf_prior_opts;
CF_NODISCARD cf_err cf_prior_new(const cf_prior_opts *opts, cf_prior **ret, cf_error *e);
void cf_prior_free(cf_prior *p);
CF_DEFINE_FREEP(cf_prior, cf_prior_free)

/* As cf_cursor's: in manifest order, *ret NULL at the end, valid until the next call. What cannot
 * be read of a dead run's journals ends it; the parent's errors are told. */
CF_NODISCARD cf_err cf_prior_next_file(cf_prior *p, const cf_file_line **ret, cf_error *e);
CF_NODISCARD cf_err cf_prior_find_file(cf_prior *p, uint16_t step, cf_slice path,
                                       const cf_file_line **ret, cf_error *e);
CF_NODISCARD cf_err cf_prior_rewind(cf_prior *p, cf_error *e);

#endif
