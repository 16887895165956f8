/* SPDX-License-Identifier: Apache-2.0
 *
 * The chain of providers, and what they share.
 */
#include "s3/cred.h"

#include <stdio.h>

#include "s3/base/cleanup.h"
#include "s3/base/env.h"

typedef struct provider_row {
    const char *name;
    s3_cred_load_fn load;
    bool without_profile; /* asked only when the caller names no profile */
} provider_row;

/* In the order they are asked. */
static const provider_row provider_rows[] = {
    {"environment", s3_cred_env_load, true},
    {"profile", s3_cred_profile_load, false},
};

/* Set in the environment by platforms whose credentials we cannot fetch: worth a word when nothing
 * else is found. */
static const char *const unsupported_env[] = {
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
};

void s3_credentials_deinit(s3_credentials *c)
{
    cf_secret_deinit(&c->secret_key);
    cf_secret_deinit(&c->session_token);
    *c = (s3_credentials){0};
}

const char *s3_cred_env_get(const s3_cred_env *env, const char *name)
{
    const char *const value =
        env->env != NULL ? env->env(env->env_impl, name) : cf_env_get(NULL, name);
    return value == NULL || value[strspn(value, " \t\r\n")] == '\0' ? NULL : value;
}

/* Keys travel in a header: blanks and control characters there are slips of copying. */
static bool header_safe(const char *text)
{
    for (const char *p = text; *p != '\0'; p++)
        if ((uint8_t)*p <= 0x20 || (uint8_t)*p >= 0x7F)
            return false;
    return true;
}

cf_err s3_credentials_fill(s3_credentials *ret, const char *where, const char *access_key,
                           const char *secret_key, const char *token, cf_error *e)
{
    CF_ENSURE(access_key != NULL, e, CF_ERR_CREDENTIALS,
              "%s has a secret access key, but no access key id", where);
    CF_ENSURE(secret_key != NULL, e, CF_ERR_CREDENTIALS,
              "%s has an access key id, but no secret access key", where);
    CF_ENSURE(strlen(access_key) <= S3_ACCESS_KEY_LEN_MAX, e, CF_ERR_CREDENTIALS,
              "the access key id of %s has %zu characters, %d are allowed", where,
              strlen(access_key), S3_ACCESS_KEY_LEN_MAX);
    CF_ENSURE(header_safe(access_key), e, CF_ERR_CREDENTIALS,
              "the access key id of %s has a blank or a character that is not ASCII", where);
    CF_ENSURE(header_safe(secret_key), e, CF_ERR_CREDENTIALS,
              "the secret access key of %s has a blank or a character that is not ASCII", where);
    CF_ENSURE(token == NULL || header_safe(token), e, CF_ERR_CREDENTIALS,
              "the session token of %s has a blank or a character that is not ASCII", where);
    CF_CLEANUP(s3_credentials_deinit) s3_credentials c = {0};
    (void)snprintf(c.access_key, sizeof(c.access_key), "%s", access_key);
    (void)snprintf(c.source, sizeof(c.source), "%s", where);
    CF_TRY(cf_secret_set(&c.secret_key, cf_slice_str(secret_key), e));
    if (token != NULL)
        CF_TRY(cf_secret_set(&c.session_token, cf_slice_str(token), e));
    s3_credentials_deinit(ret);
    *ret = c;
    c = (s3_credentials){0};
    return CF_OK;
}

static cf_err fail_none(const s3_cred_env *env, cf_error *e)
{
    for (size_t i = 0; i < sizeof(unsupported_env) / sizeof(unsupported_env[0]); i++)
        if (s3_cred_env_get(env, unsupported_env[i]) != NULL)
            CF_FAIL(e, CF_ERR_CREDENTIALS,
                    "no credentials found: %s is set, but this source is not supported\n"
                    "HINT: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write a profile",
                    unsupported_env[i]);
    CF_FAIL(e, CF_ERR_CREDENTIALS,
            "no credentials found in the environment or a profile\n"
            "HINT: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write ~/.aws/credentials");
}

cf_err s3_cred_load(const s3_cred_env *env, s3_credentials *ret, cf_error *e)
{
    for (size_t i = 0; i < sizeof(provider_rows) / sizeof(provider_rows[0]); i++) {
        bool found = false;
        if (provider_rows[i].without_profile && env->profile != NULL)
            continue;
        CF_TRY(provider_rows[i].load(env, ret, &found, e));
        if (found)
            return CF_OK;
    }
    return fail_none(env, e);
}
