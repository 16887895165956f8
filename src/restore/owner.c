/* SPDX-License-Identifier: Apache-2.0
 *
 * Owner: --owner user[:group], by name or number.
 */
#include <grp.h>
#include <pwd.h>
#include <stdio.h>

#include "restore/restore.h"
#include "s3/base/num.h"

static bool number_parse(const char *const text, uint32_t *const ret)
{
    uint64_t n = 0;

    if (!cf_u64_parse(cf_slice_str(text), &n) || n >= UINT32_MAX)
        return false;
    *ret = (uint32_t)n;
    return true;
}

static cf_err user_find(const char *const name, cf_owner *const ret, cf_error *const e)
{
    char area[16 * 1024];
    struct passwd entry, *found = NULL;

    if (number_parse(name, &ret->uid)) {
        ret->gid = ret->uid;
        return CF_OK;
    }
    const int err = getpwnam_r(name, &entry, area, sizeof(area), &found);
    CF_ENSURE(err == 0 && found != NULL, e, CF_ERR_USAGE,
              "user '%s' of --owner is not known on this machine\nHINT: give its number, or make "
              "the user first",
              name);
    ret->uid = entry.pw_uid;
    ret->gid = entry.pw_gid;
    return CF_OK;
}

static cf_err group_find(const char *const name, cf_owner *const ret, cf_error *const e)
{
    char area[16 * 1024];
    struct group entry, *found = NULL;

    if (number_parse(name, &ret->gid))
        return CF_OK;
    const int err = getgrnam_r(name, &entry, area, sizeof(area), &found);
    CF_ENSURE(err == 0 && found != NULL, e, CF_ERR_USAGE,
              "group '%s' of --owner is not known on this machine\nHINT: give its number", name);
    ret->gid = entry.gr_gid;
    return CF_OK;
}

cf_err cf_owner_parse(const char *const text, cf_owner *const ret, cf_error *const e)
{
    cf_owner owner = {.given = true};
    char user[256];

    if (text == NULL) {
        *ret = (cf_owner){0};
        return CF_OK;
    }
    const size_t user_len = strcspn(text, ":");
    CF_ENSURE(user_len > 0 && user_len < sizeof(user), e, CF_ERR_USAGE,
              "owner '%s' has no user\nHINT: --owner kurrent:kurrent", text);
    (void)snprintf(user, sizeof(user), "%.*s", (int)user_len, text);
    CF_TRY(user_find(user, &owner, e));
    if (text[user_len] == ':')
        CF_TRY(group_find(text + user_len + 1, &owner, e));
    *ret = owner;
    return CF_OK;
}
