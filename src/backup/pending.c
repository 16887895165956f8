/* SPDX-License-Identifier: Apache-2.0
 *
 * Pending: a file between the plan and the manifest. The parent's line is copied, since the cursor
 * goes on.
 */
#include "backup/backup.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

cf_err cf_pending_new(cf_entry *const entry, const cf_file_line *const prior,
                      cf_pending **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_pending_freep) cf_pending *p = NULL;

    CF_NEW(p, e);
    p->entry = entry;
    if (prior != NULL)
        CF_TRY(cf_file_line_dup(prior, &p->prior, e));
    *ret = CF_STEAL(p);
    return CF_OK;
}

void cf_pending_free(cf_pending *const p)
{
    if (p == NULL)
        return;
    cf_free(p->prior);
    cf_free(p);
}
