/* SPDX-License-Identifier: Apache-2.0
 *
 * Provider: credentials behind a lock.
 */
#include "s3/provider.h"

#include <pthread.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/env.h"

struct s3_provider {
    char *profile; /* owned; NULL: the default */
    bool can_look_again;
    pthread_mutex_t lock;
    s3_credentials keys;
    uint64_t generation; /* of keys: counts replacements */
};

CF_DEFINE_FREEP(s3_provider, s3_provider_free)

/* The chain looks into files that need not be there; only what counts in the end is told. */
static cf_err pass(cf_err err, const cf_error *failure, cf_error *e)
{
    if (err != CF_OK && e != NULL)
        *e = *failure;
    return err;
}

cf_err s3_provider_open(const s3_client_opts *opts, s3_provider **ret, s3_settings *ret_settings,
                        cf_error *e)
{
    const s3_cred_env env = {
        .env = opts->env, .env_impl = opts->env_impl, .profile = opts->profile};
    s3_provider *made = NULL;
    cf_error failure = {0};

    CF_NEW(made, e);
    (void)pthread_mutex_init(&made->lock, NULL);
    CF_CLEANUP(s3_provider_freep) s3_provider *p = made;
    p->can_look_again = opts->env == cf_env_get;
    if (opts->profile != NULL) {
        p->profile = cf_strdup(opts->profile);
        CF_ENSURE(p->profile != NULL, e, CF_ERR_NO_MEMORY, "allocate the profile's name");
    }
    CF_TRY(pass(s3_cred_load(&env, &p->keys, &failure), &failure, e));
    CF_TRY(pass(s3_settings_load(&env, ret_settings, &failure), &failure, e));
    *ret = CF_STEAL(p);
    return CF_OK;
}

void s3_provider_free(s3_provider *p)
{
    if (p == NULL)
        return;
    s3_credentials_deinit(&p->keys);
    (void)pthread_mutex_destroy(&p->lock);
    cf_free(p->profile);
    cf_free(p);
}

static cf_err credentials_dup(s3_credentials *to, const s3_credentials *from, cf_error *e)
{
    memcpy(to->access_key, from->access_key, sizeof(to->access_key));
    memcpy(to->source, from->source, sizeof(to->source));
    CF_TRY(cf_secret_dup(&to->secret_key, &from->secret_key, e));
    return cf_secret_is_set(&from->session_token)
               ? cf_secret_dup(&to->session_token, &from->session_token, e)
               : CF_OK;
}

cf_err s3_provider_get(s3_provider *p, s3_credentials *ret, uint64_t *ret_generation, cf_error *e)
{
    (void)pthread_mutex_lock(&p->lock);
    const cf_err err = credentials_dup(ret, &p->keys, e);
    *ret_generation = p->generation;
    (void)pthread_mutex_unlock(&p->lock);
    return err;
}

/* Many requests learn at once that the keys have expired: the first one replaces them. */
static bool replaced_since(s3_provider *p, uint64_t generation)
{
    (void)pthread_mutex_lock(&p->lock);
    const bool since = p->generation != generation;
    (void)pthread_mutex_unlock(&p->lock);
    return since;
}

/* false: these are the keys of that generation. Else found has the old ones, to be wiped. */
static bool replace(s3_provider *p, uint64_t generation, s3_credentials *found)
{
    bool done = true;

    (void)pthread_mutex_lock(&p->lock);
    if (p->generation == generation) {
        const s3_credentials old = p->keys;
        done = strcmp(found->access_key, old.access_key) != 0 ||
               !cf_slice_eq(cf_secret_reveal(&found->session_token),
                            cf_secret_reveal(&old.session_token));
        if (done) {
            p->keys = *found;
            *found = old;
            p->generation++;
        }
    }
    (void)pthread_mutex_unlock(&p->lock);
    return done;
}

cf_err s3_provider_refresh(s3_provider *p, uint64_t generation, cf_error *e)
{
    const s3_cred_env env = {.profile = p->profile};
    CF_CLEANUP(s3_credentials_deinit) s3_credentials found = {0};

    if (replaced_since(p, generation))
        return CF_OK;
    CF_ENSURE(p->can_look_again, e, CF_ERR_AUTH, "the session token has expired");
    CF_TRY(s3_cred_load(&env, &found, e));
    CF_ENSURE(replace(p, generation, &found), e, CF_ERR_AUTH,
              "the session token of %s has expired, and no other is there", found.source);
    return CF_OK;
}
