/* SPDX-License-Identifier: Apache-2.0
 *
 * Adoption. (Nothing is adopted yet.)
 */
#include "repo/adoption.h"

#include "s3/base/alloc.h"

struct cf_adoption {
    size_t total;
};

void cf_adoption_free(cf_adoption *const a)
{
    cf_free(a);
}

bool cf_adoption_has(const cf_adoption *const a, const char *const pack)
{
    (void)a;
    (void)pack;
    return false;
}

cf_err cf_adoption_next_pack(cf_adoption *const a, const cf_pack_line **const ret,
                             cf_error *const e)
{
    (void)a;
    (void)e;
    *ret = NULL;
    return CF_OK;
}

void cf_adoption_rewind(cf_adoption *const a)
{
    (void)a;
}
