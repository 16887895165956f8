/* SPDX-License-Identifier: Apache-2.0
 *
 * Provider: the keys a client signs with, found once, given to any thread, and looked for again
 * when the server says that they have expired (somebody may have renewed the file meanwhile).
 */
#ifndef S3_PROVIDER_H
#define S3_PROVIDER_H

#include "s3/cred.h"
#include "s3/s3.h"

typedef struct s3_provider s3_provider;

/* opts with env filled. Also the region, endpoint and CA bundle that environment and profile name.
 * Errors as s3_cred_load() and s3_settings_load(). */
CF_NODISCARD cf_err s3_provider_open(const s3_client_opts *opts, s3_provider **ret,
                                     s3_settings *ret_settings, cf_error *e);
void s3_provider_free(s3_provider *p); /* NULL is fine */

/* A copy; *ret zeroed before. *ret_generation is for s3_provider_refresh(). CF_ERR_NO_MEMORY. Any
 * thread. */
CF_NODISCARD cf_err s3_provider_get(s3_provider *p, s3_credentials *ret, uint64_t *ret_generation,
                                    cf_error *e);
/* The keys of that generation have expired: look again. CF_OK at once when somebody has done so
 * since. CF_ERR_AUTH when only the same keys are found, which the server has refused.
 * A client made with an environment function of its own cannot look again (it was borrowed). Any
 * thread. */
CF_NODISCARD cf_err s3_provider_refresh(s3_provider *p, uint64_t generation, cf_error *e);

#endif
