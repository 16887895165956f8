/* SPDX-License-Identifier: Apache-2.0
 *
 * Credentials and settings from AWS's shared files.
 */
#include <stdio.h>

#include "s3/base/cleanup.h"
#include "s3/cred.h"

enum { LINK_TOTAL_MAX = 8 }; /* ours: enough for dotfiles and mounted secrets */

void s3_profile_deinit(s3_profile *p)
{
    s3_ini_deinit(&p->config);
    s3_ini_deinit(&p->credentials);
    *p = (s3_profile){0};
}

/* ---- where the files are ---- */

/* The variable's path ("~/" is HOME), else HOME/.aws/name, else "". */
static cf_err locate(const s3_cred_env *env, const char *variable, const char *name,
                     char ret[S3_PATH_SIZE], cf_error *e)
{
    const char *const given = s3_cred_env_get(env, variable);
    const char *const home = s3_cred_env_get(env, "HOME");
    int n = 0;
    if (given != NULL && strncmp(given, "~/", 2) == 0 && home != NULL)
        n = snprintf(ret, S3_PATH_SIZE, "%s%s", home, given + 1);
    else if (given != NULL)
        n = snprintf(ret, S3_PATH_SIZE, "%s", given);
    else if (home != NULL)
        n = snprintf(ret, S3_PATH_SIZE, "%s/.aws/%s", home, name);
    else
        ret[0] = '\0';
    CF_ENSURE(n >= 0 && n < S3_PATH_SIZE, e, CF_ERR_CREDENTIALS,
              "the path of the AWS %s file has more than %d bytes", name, S3_PATH_SIZE - 1);
    return CF_OK;
}

cf_err s3_profile_locate(const s3_cred_env *env, s3_profile *ret, cf_error *e)
{
    const char *const from_env = s3_cred_env_get(env, "AWS_PROFILE");
    const char *const name = env->profile != NULL ? env->profile
                             : from_env != NULL   ? from_env
                                                  : "default";
    CF_ENSURE(strlen(name) <= S3_INI_NAME_LEN_MAX, e, CF_ERR_CREDENTIALS,
              "the name of the profile has %zu bytes, %d are allowed", strlen(name),
              S3_INI_NAME_LEN_MAX);
    (void)snprintf(ret->name, sizeof(ret->name), "%s", name);
    ret->chosen = env->profile != NULL || from_env != NULL;
    CF_TRY(locate(env, "AWS_CONFIG_FILE", "config", ret->config_path, e));
    return locate(env, "AWS_SHARED_CREDENTIALS_FILE", "credentials", ret->credentials_path, e);
}

/* ---- reading ---- */

/* Put where a link points in place of its name: path is changed. */
static cf_err follow_one(const cf_fs *fs, char path[S3_PATH_SIZE], cf_error *e)
{
    char target[S3_PATH_SIZE];
    char next[S3_PATH_SIZE];
    CF_TRY(fs->ops->readlink_at(fs, CF_FS_CWD, path, target, sizeof(target), e));
    const char *const slash = strrchr(path, '/');
    const size_t folder = target[0] == '/' || slash == NULL ? 0 : (size_t)(slash - path) + 1;
    CF_ENSURE(folder + strlen(target) < sizeof(next), e, CF_ERR_CREDENTIALS,
              "the link '%.200s' leads to a path too long", path);
    memcpy(next, path, folder);
    memcpy(next + folder, target, strlen(target) + 1);
    memcpy(path, next, folder + strlen(target) + 1);
    return CF_OK;
}

/* The seam refuses links; a file that the user names himself may be one. */
static cf_err follow_links(const cf_fs *fs, char path[S3_PATH_SIZE], cf_error *e)
{
    for (int hops = 0; hops < LINK_TOTAL_MAX; hops++) {
        cf_stat st = {0};
        CF_TRY(fs->ops->stat_at(fs, CF_FS_CWD, path, &st, e));
        if (st.type != CF_FILE_SYMLINK)
            return CF_OK;
        CF_TRY(follow_one(fs, path, e));
    }
    CF_FAIL(e, CF_ERR_CREDENTIALS, "'%.200s': more than %d links in a row", path, LINK_TOTAL_MAX);
}

static void file_text_deinit(cf_buf *b)
{
    cf_wipe(b->data, b->cap);
    cf_buf_deinit(b);
}

static cf_err read_file(const cf_fs *fs, const char *path, s3_ini_form form, s3_ini *ret,
                        cf_error *e)
{
    if (path[0] == '\0')
        return CF_OK;
    char real[S3_PATH_SIZE];
    (void)snprintf(real, sizeof(real), "%s", path);
    cf_err err = follow_links(fs, real, e);
    CF_CLEANUP(file_text_deinit) cf_buf text = {0};
    cf_buf_init(&text, S3_INI_TEXT_MAX);
    /* All at once: a buffer that grows leaves copies of its bytes behind. */
    if (err == CF_OK)
        CF_TRY(cf_buf_reserve(&text, S3_INI_TEXT_MAX, e));
    if (err == CF_OK)
        err = cf_fs_read_small(fs, CF_FS_CWD, real, &text, e);
    if (err == CF_ERR_NOT_FOUND)
        return CF_OK;
    CF_TRY_AS(err, e, "read AWS file '%.1000s'", path);
    CF_TRY_AS(s3_ini_parse(cf_buf_slice(&text), form, ret, e), e, "AWS file '%.1000s'", path);
    return CF_OK;
}

cf_err s3_profile_load(const s3_cred_env *env, s3_profile *ret, cf_error *e)
{
    const cf_fs *const fs = env->fs != NULL ? env->fs : cf_fs_real();
    CF_CLEANUP(s3_profile_deinit) s3_profile p = {0};
    CF_TRY(s3_profile_locate(env, &p, e));
    CF_TRY(read_file(fs, p.config_path, S3_INI_CONFIG, &p.config, e));
    CF_TRY(read_file(fs, p.credentials_path, S3_INI_CREDENTIALS, &p.credentials, e));
    s3_profile_deinit(ret);
    *ret = p;
    p.config = (s3_ini){0};
    p.credentials = (s3_ini){0};
    return CF_OK;
}

bool s3_profile_exists(const s3_profile *p)
{
    return s3_ini_has(&p->config, S3_INI_PROFILE, p->name) ||
           s3_ini_has(&p->credentials, S3_INI_PROFILE, p->name);
}

const char *s3_profile_get(const s3_profile *p, const char *key)
{
    const char *value = s3_ini_get(&p->credentials, S3_INI_PROFILE, p->name, key);
    if (value == NULL)
        value = s3_ini_get(&p->config, S3_INI_PROFILE, p->name, key);
    return value == NULL || value[0] == '\0' ? NULL : value;
}

/* ---- keys ---- */

typedef struct unsupported_row {
    const char *key;
    bool beats_keys; /* the SDKs use it although keys stand beside it */
} unsupported_row;

static const unsupported_row unsupported_rows[] = {
    {"role_arn", true},           {"web_identity_token_file", true}, {"credential_process", false},
    {"credential_source", false}, {"source_profile", false},         {"sso_session", false},
    {"sso_start_url", false},     {"sso_account_id", false},         {"login_session", false},
};

/* Which file has it, for the message. */
static const char *path_of(const s3_profile *p, const char *key)
{
    return s3_ini_get(&p->credentials, S3_INI_PROFILE, p->name, key) != NULL ? p->credentials_path
                                                                             : p->config_path;
}

static cf_err check_unsupported(const s3_profile *p, bool has_keys, cf_error *e)
{
    for (size_t i = 0; i < sizeof(unsupported_rows) / sizeof(unsupported_rows[0]); i++) {
        const unsupported_row *const row = &unsupported_rows[i];
        if ((has_keys && !row->beats_keys) || s3_profile_get(p, row->key) == NULL)
            continue;
        CF_FAIL(
            e, CF_ERR_CREDENTIALS,
            "profile '%s' in '%.1000s' uses '%s', which is not supported\n"
            "HINT: get temporary keys (aws configure export-credentials --profile %s --format env) "
            "and set them in "
            "the environment, or use a profile with aws_access_key_id and aws_secret_access_key",
            p->name, path_of(p, row->key), row->key, p->name);
    }
    return CF_OK;
}

cf_err s3_cred_profile_load(const s3_cred_env *env, s3_credentials *ret, bool *ret_found,
                            cf_error *e)
{
    CF_CLEANUP(s3_profile_deinit) s3_profile p = {0};
    CF_TRY(s3_profile_load(env, &p, e));
    CF_ENSURE(!p.chosen || s3_profile_exists(&p), e, CF_ERR_CREDENTIALS,
              "profile '%s' is neither in '%.800s' nor in '%.800s'", p.name, p.config_path,
              p.credentials_path);
    const char *const access_key = s3_profile_get(&p, "aws_access_key_id");
    const char *const secret_key = s3_profile_get(&p, "aws_secret_access_key");
    CF_TRY(check_unsupported(&p, access_key != NULL || secret_key != NULL, e));
    CF_ENSURE(!p.chosen || access_key != NULL || secret_key != NULL, e, CF_ERR_CREDENTIALS,
              "profile '%s' has no aws_access_key_id and aws_secret_access_key", p.name);
    if (access_key == NULL && secret_key == NULL) {
        *ret_found = false;
        return CF_OK;
    }
    char where[S3_CRED_SOURCE_SIZE];
    (void)snprintf(where, sizeof(where), "profile '%s'", p.name);
    CF_TRY(s3_credentials_fill(ret, where, access_key, secret_key,
                               s3_profile_get(&p, "aws_session_token"), e));
    *ret_found = true;
    return CF_OK;
}

/* ---- settings ---- */

static cf_err setting_copy(const char *name, cf_slice value, char *ret, size_t size, cf_error *e)
{
    CF_ENSURE(value.len < size, e, CF_ERR_USAGE, "%s has %zu bytes, %zu are allowed", name,
              value.len, size - 1);
    if (value.len > 0)
        memcpy(ret, value.ptr, value.len);
    ret[value.len] = '\0';
    return CF_OK;
}

/* services = x, [services x], s3 = (block) endpoint_url = ... ; then the profile's own
 * endpoint_url. */
static cf_slice profile_endpoint(const s3_profile *p)
{
    const char *const services = s3_profile_get(p, "services");
    const char *const block =
        services == NULL ? NULL : s3_ini_get(&p->config, S3_INI_SERVICES, services, "s3");
    const cf_slice own = block == NULL ? (cf_slice){0} : s3_ini_block_get(block, "endpoint_url");
    return own.len > 0 ? own : cf_slice_str(s3_profile_get(p, "endpoint_url"));
}

static const char *first_of(const char *a, const char *b)
{
    return a != NULL ? a : b;
}

cf_err s3_settings_load(const s3_cred_env *env, s3_settings *ret, cf_error *e)
{
    CF_CLEANUP(s3_profile_deinit) s3_profile p = {0};
    CF_TRY(s3_profile_load(env, &p, e));
    const char *const region =
        first_of(s3_cred_env_get(env, "AWS_REGION"), s3_cred_env_get(env, "AWS_DEFAULT_REGION"));
    const char *const endpoint = first_of(s3_cred_env_get(env, "AWS_ENDPOINT_URL_S3"),
                                          s3_cred_env_get(env, "AWS_ENDPOINT_URL"));
    const char *const ca_bundle =
        first_of(s3_cred_env_get(env, "AWS_CA_BUNDLE"), s3_profile_get(&p, "ca_bundle"));
    const char *const ignore = s3_cred_env_get(env, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");

    cf_slice url = endpoint != NULL ? cf_slice_str(endpoint) : profile_endpoint(&p);
    if (ignore != NULL && strcasecmp(ignore, "true") == 0)
        url = (cf_slice){0};
    s3_settings s = {0};
    CF_TRY(setting_copy("region", cf_slice_str(first_of(region, s3_profile_get(&p, "region"))),
                        s.region, sizeof(s.region), e));
    CF_TRY(setting_copy("endpoint_url", url, s.endpoint, sizeof(s.endpoint), e));
    CF_TRY(setting_copy("ca_bundle", cf_slice_str(ca_bundle), s.ca_bundle, sizeof(s.ca_bundle), e));
    *ret = s;
    return CF_OK;
}
