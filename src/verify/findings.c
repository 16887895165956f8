/* SPDX-License-Identifier: Apache-2.0
 *
 * A list under a lock: damage is rare, and when it is not, it is bounded.
 */
#include "verify/findings.h"

#include <stdio.h>

#include "s3/base/alloc.h"

static void finding_free(cf_finding *const x)
{
    for (size_t i = 0; i < x->files_shown; i++)
        cf_free(x->files[i]);
    cf_free(x->other_copy);
    cf_free(x);
}

cf_err cf_findings_new(cf_findings **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_findings_freep) cf_findings *f = NULL;

    CF_NEW(f, e);
    f->has_lock = pthread_mutex_init(&f->lock, NULL) == 0;
    CF_ENSURE(f->has_lock, e, CF_ERR_NO_MEMORY, "make a lock");
    *ret = CF_STEAL(f);
    return CF_OK;
}

void cf_findings_free(cf_findings *const f)
{
    if (f == NULL)
        return;
    for (size_t i = 0; i < f->total; i++)
        finding_free(f->at[i]);
    cf_free(f->at);
    if (f->has_lock)
        (void)pthread_mutex_destroy(&f->lock);
    cf_free(f);
}

/* With the lock, as the two below. NULL: not there. */
static cf_finding *find(const cf_findings *const f, const cf_found *const found)
{
    for (size_t i = 0; i < f->total; i++) {
        cf_finding *const x = f->at[i];
        if (x->node == found->node && x->kind == found->kind &&
            strcmp(x->object, found->object) == 0)
            return x;
    }
    return NULL;
}

static cf_err make(cf_findings *const f, const cf_found *const found, cf_finding **const ret,
                   cf_error *const e)
{
    if (f->total == f->cap) {
        const size_t cap = f->cap == 0 ? 16 : f->cap * 2;
        cf_finding **const grown = cf_realloc(f->at, cap, sizeof(cf_finding *));
        CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu findings", cap);
        f->at = grown;
        f->cap = cap;
    }
    cf_finding *x = NULL;
    CF_NEW(x, e);
    x->node = found->node;
    x->kind = found->kind;
    x->found_in = *found->found_in;
    (void)snprintf(x->object, sizeof(x->object), "%s", found->object);
    (void)snprintf(x->reason, sizeof(x->reason), "%s", found->reason);
    f->at[f->total++] = x;
    *ret = x;
    return CF_OK;
}

static cf_err file_add(cf_findings *const f, cf_finding *const x, const cf_slice file,
                       cf_error *const e)
{
    if (file.len == 0)
        return CF_OK;
    for (size_t i = 0; i < x->files_shown; i++) {
        if (cf_slice_eq(cf_slice_str(x->files[i]), file))
            return CF_OK;
    }
    x->files_total++;
    f->files_total++;
    if (x->files_shown == CF_FINDING_FILES_MAX)
        return CF_OK;
    char *const copy = cf_strndup((const char *)file.ptr, file.len);
    CF_ENSURE(copy != NULL, e, CF_ERR_NO_MEMORY, "copy a path");
    x->files[x->files_shown++] = copy;
    return CF_OK;
}

static cf_err add(cf_findings *const f, const cf_found *const found, cf_error *const e)
{
    cf_finding *x = find(f, found);

    if (x == NULL && f->total == CF_FINDINGS_MAX) {
        f->more++;
        return CF_OK;
    }
    if (x == NULL)
        CF_TRY(make(f, found, &x, e));
    return file_add(f, x, found->file, e);
}

cf_err cf_findings_add(cf_findings *const f, const cf_found *const found, cf_error *const e)
{
    CF_CHECK(pthread_mutex_lock(&f->lock) == 0);
    const cf_err err = add(f, found, e);
    CF_CHECK(pthread_mutex_unlock(&f->lock) == 0);
    return err;
}

uint64_t cf_findings_total(cf_findings *const f)
{
    CF_CHECK(pthread_mutex_lock(&f->lock) == 0);
    const uint64_t total = f->total + f->more;
    CF_CHECK(pthread_mutex_unlock(&f->lock) == 0);
    return total;
}

void cf_findings_drop_unnamed(cf_findings *const f)
{
    size_t kept = 0;

    for (size_t i = 0; i < f->total; i++) {
        if (f->at[i]->snapshots_total > 0) {
            f->at[kept++] = f->at[i];
            continue;
        }
        f->files_total -= f->at[i]->files_total;
        finding_free(f->at[i]);
    }
    f->total = kept;
}
