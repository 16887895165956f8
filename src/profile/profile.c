/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of profiles.
 */
#include "profile/profile.h"

#include <string.h>

static const cf_profile *const profiles[] = {&cf_profile_kurrentdb, &cf_profile_directory};

const cf_profile *cf_profile_find(const char *name)
{
    for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++) {
        if (strcmp(profiles[i]->name, name) == 0)
            return profiles[i];
    }
    return NULL;
}
