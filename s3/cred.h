/* SPDX-License-Identifier: Apache-2.0
 *
 * Credentials: the chain of places they come from, and the other settings that live in the same
 * files.
 *
 * Chain: environment, then profile. A profile that the caller names (not AWS_PROFILE) goes before
 * the environment's keys. Sources that this client does not speak (roles, SSO, web identity,
 * processes, metadata services) are told by name when they stand in the profile; going on without
 * them could mean other permissions than the user meant.
 *
 * A value of the environment that is empty or blank counts as unset. The credentials file wins over
 * the config file. Environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,
 * AWS_PROFILE, AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE, HOME, AWS_REGION, AWS_DEFAULT_REGION,
 * AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_IGNORE_CONFIGURED_ENDPOINT_URLS, AWS_CA_BUNDLE.
 *
 * Threads    all functions may be called from any thread on different results, as far as the
 * environment's getter may. Source     AWS SDKs and tools reference guide "Standardized credential
 * providers"; s3proto.md 3.
 */
#ifndef S3_CRED_H
#define S3_CRED_H

#include <stdbool.h>

#include "s3/base/fs.h"
#include "s3/base/secret.h"
#include "s3/err.h"
#include "s3/ini.h"

enum {
    S3_ACCESS_KEY_LEN_MAX = 256, /* AWS: 16..128; ours: room for others */
    S3_CRED_SOURCE_SIZE = 512,
    S3_PATH_SIZE = 4096,
    S3_SETTING_SIZE = 1024,
};

/* Where to look. Zero is the process's own world. Borrowed during calls. */
typedef struct s3_cred_env {
    const char *(*env)(void *env_impl, const char *name); /* NULL: getenv */
    void *env_impl;
    const cf_fs *fs;     /* NULL: cf_fs_real() */
    const char *profile; /* NULL: AWS_PROFILE, else "default"; given: must exist, and beats the
                            environment's keys */
} s3_cred_env;

/* Zero it; owned. */
typedef struct s3_credentials {
    char access_key[S3_ACCESS_KEY_LEN_MAX + 1];
    cf_secret secret_key;
    cf_secret session_token;          /* unset: none */
    char source[S3_CRED_SOURCE_SIZE]; /* for people: "environment", "profile 'x'" */
} s3_credentials;
void s3_credentials_deinit(s3_credentials *c); /* wipes */

/* CF_ERR_CREDENTIALS: none found, half of a pair, a profile that is not there, an unsupported
 * source, a key with a character that no header can carry; with a HINT. CF_ERR_PARSE,
 * CF_ERR_ACCESS, CF_ERR_TOO_LARGE, CF_ERR_IO for a file that cannot be read (one that is not there
 * is no error). *ret is untouched on failure. */
CF_NODISCARD cf_err s3_cred_load(const s3_cred_env *env, s3_credentials *ret, cf_error *e);

/* The files, read and merged. Zero it; owned. */
typedef struct s3_profile {
    s3_ini config, credentials;
    char name[S3_INI_NAME_LEN_MAX + 1];
    bool chosen;                    /* named by the caller or AWS_PROFILE: must exist */
    char config_path[S3_PATH_SIZE]; /* "" when there is no HOME to look in */
    char credentials_path[S3_PATH_SIZE];
} s3_profile;
void s3_profile_deinit(s3_profile *p); /* wipes */
/* Paths and name only; no file is opened. CF_ERR_CREDENTIALS: name or path too long. */
CF_NODISCARD cf_err s3_profile_locate(const s3_cred_env *env, s3_profile *ret, cf_error *e);
/* Errors as s3_cred_load(). A symbolic link as the file itself is followed (dotfiles, mounted
 * secrets). */
CF_NODISCARD cf_err s3_profile_load(const s3_cred_env *env, s3_profile *ret, cf_error *e);
/* Value or NULL; borrowed; key in lower case. NULL also for an empty value. */
const char *s3_profile_get(const s3_profile *p, const char *key);
bool s3_profile_exists(const s3_profile *p);

/* What the client wants to know besides keys; "" where nothing is set. A plain value. */
typedef struct s3_settings {
    char region[S3_SETTING_SIZE];
    char endpoint[S3_SETTING_SIZE];
    char ca_bundle[S3_PATH_SIZE];
} s3_settings;
/* Environment before profile, the endpoint for S3 before the general one. Errors as s3_cred_load().
 */
CF_NODISCARD cf_err s3_settings_load(const s3_cred_env *env, s3_settings *ret, cf_error *e);

/* For providers: value, or NULL when unset or blank. */
const char *s3_cred_env_get(const s3_cred_env *env, const char *name);
/* For providers: checks the three values and fills *ret. where: "the environment", "profile 'x'".
 * token may be NULL. */
CF_NODISCARD cf_err s3_credentials_fill(s3_credentials *ret, const char *where,
                                        const char *access_key, const char *secret_key,
                                        const char *token, cf_error *e);

/* A provider: *ret_found false means "nothing here, ask the next". */
typedef cf_err (*s3_cred_load_fn)(const s3_cred_env *env, s3_credentials *ret, bool *ret_found,
                                  cf_error *e);
CF_NODISCARD cf_err s3_cred_env_load(const s3_cred_env *env, s3_credentials *ret, bool *ret_found,
                                     cf_error *e);
CF_NODISCARD cf_err s3_cred_profile_load(const s3_cred_env *env, s3_credentials *ret,
                                         bool *ret_found, cf_error *e);

#endif
