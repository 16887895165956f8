/* SPDX-License-Identifier: Apache-2.0
 *
 * Commit: the manifest's segments, then the root. Before the root's PUT nothing of this run counts;
 * after it all of it does.
 */
#include "backup/backup.h"

#include <stdio.h>

#include "s3/base/cleanup.h"

enum { CF_DATE_STEP_MS = 2000 }; /* ours: a second, and what an answer takes */

/* A store's Date has whole seconds: two runs within one could have times against their order, and
 * the older would be the latest. A clock that really went back is left as it is. */
static void keep_order(const cf_backup *const b, cf_root *const root)
{
    const int64_t parent_ms = b->claim.parent != NULL ? b->claim.parent->time_utc_ms : 0;

    if (parent_ms >= root->time_utc_ms && parent_ms - root->time_utc_ms < CF_DATE_STEP_MS)
        root->time_utc_ms = parent_ms + 1;
}

cf_err cf_backup_commit(cf_backup *const b, cf_error *const e)
{
    CF_CLEANUP(cf_root_freep) cf_root *root = NULL;
    json_t *facts = NULL;

    cf_backup_progress(b, "committing");
    CF_TRY(cf_root_new(&root, e));
    root->run = b->claim.run.id;
    (void)snprintf(root->profile, sizeof(root->profile), "%s", b->profile->name);
    (void)snprintf(root->version, sizeof(root->version), "%s", CF_VERSION);
    if (b->claim.parent != NULL) {
        root->has_parent = true;
        root->parent = b->claim.parent->run;
        memcpy(root->parent_sha256, b->claim.parent->sha256, sizeof(root->parent_sha256));
    }
    root->totals = b->totals;
    json_decref(root->facts); /* an empty object so far */
    root->facts = NULL;
    CF_TRY(b->profile->facts(b->source, &facts, e));
    json_decref(root->facts);
    root->facts = facts;
    CF_TRY(cf_manifest_finish(b->manifest, root, e));
    CF_TRY(b->store->ops->now_utc_ms(b->store, &root->time_utc_ms, e));
    keep_order(b, root);
    const cf_claim_opts claim = cf_backup_claim_opts(b);
    return cf_claim_commit(&b->repo, &claim, &b->claim, root, e);
}
