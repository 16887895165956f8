/* SPDX-License-Identifier: Apache-2.0
 *
 * Credentials from environment variables.
 */
#include "s3/cred.h"

cf_err s3_cred_env_load(const s3_cred_env *env, s3_credentials *ret, bool *ret_found, cf_error *e)
{
    const char *const access_key = s3_cred_env_get(env, "AWS_ACCESS_KEY_ID");
    const char *const secret_key = s3_cred_env_get(env, "AWS_SECRET_ACCESS_KEY");
    if (access_key == NULL && secret_key == NULL) {
        *ret_found = false;
        return CF_OK;
    }
    CF_TRY(s3_credentials_fill(ret, "the environment", access_key, secret_key,
                               s3_cred_env_get(env, "AWS_SESSION_TOKEN"), e));
    *ret_found = true;
    return CF_OK;
}
