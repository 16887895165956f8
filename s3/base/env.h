/* SPDX-License-Identifier: Apache-2.0
 *
 * The process environment, read in one place.
 */
#ifndef S3_BASE_ENV_H
#define S3_BASE_ENV_H

/* Value or NULL; borrowed from the environment, valid until somebody changes it. impl is unused:
 * the signature is that of s3_client_opts.env, whose default this is. */
const char *cf_env_get(void *impl, const char *name);

#endif
