/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/kurrentdb/prior.h"

/* What the cursor says, or, best effort, an end where it fails. */
static cf_err cursor_end(cf_kdb_prior *p, cf_err err, cf_error *e)
{
    if (err == CF_OK || !p->best_effort || err == CF_ERR_NO_MEMORY || err == CF_ERR_INTERRUPTED)
        return err;
    if (e != NULL)
        *e = (cf_error){0};
    p->cursor = NULL;
    p->line = NULL;
    return CF_OK;
}

cf_err cf_kdb_prior_rewind(cf_kdb_prior *p, cf_error *e)
{
    p->line = NULL;
    if (p->cursor == NULL || !p->begun)
        return CF_OK;
    p->begun = false;
    return cursor_end(p, cf_prior_rewind(p->cursor, e), e);
}

cf_err cf_kdb_prior_peek(cf_kdb_prior *p, const cf_file_line **ret, cf_error *e)
{
    if (p->cursor != NULL && !p->begun) {
        p->begun = true;
        CF_TRY(cursor_end(p, cf_prior_next_file(p->cursor, &p->line, e), e));
    }
    *ret = p->line;
    return CF_OK;
}

cf_err cf_kdb_prior_skip(cf_kdb_prior *p, cf_error *e)
{
    if (p->line == NULL)
        return CF_OK;
    return cursor_end(p, cf_prior_next_file(p->cursor, &p->line, e), e);
}

cf_err cf_kdb_prior_find(cf_kdb_prior *p, uint16_t step, const char *path, const cf_file_line **ret,
                         cf_error *e)
{
    const cf_slice wanted = cf_slice_str(path);
    const cf_file_line *line = NULL;

    CF_TRY(cf_kdb_prior_peek(p, &line, e));
    while (line != NULL && cf_file_line_cmp(line->step, line->path, step, wanted) < 0) {
        CF_TRY(cf_kdb_prior_skip(p, e));
        line = p->line;
    }
    *ret = line != NULL && line->step == step && cf_slice_eq(line->path, wanted) ? line : NULL;
    return CF_OK;
}
