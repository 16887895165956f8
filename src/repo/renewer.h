/* SPDX-License-Identifier: Apache-2.0
 *
 * Renewer: a thread that calls a function every so often, and stops at once when asked.
 */
#ifndef SRC_REPO_RENEWER_H
#define SRC_REPO_RENEWER_H

#include <stdint.h>

#include "s3/err.h"

/* Returns the milliseconds to wait before the next call; 0: no further call. */
typedef uint64_t (*cf_renewer_fn)(void *impl);
typedef struct cf_renewer cf_renewer;
/* The first call comes after first_ms. The wait is by CLOCK_MONOTONIC. */
CF_NODISCARD cf_err cf_renewer_start(uint64_t first_ms, cf_renewer_fn fn, void *impl,
                                     cf_renewer **ret, cf_error *e);
/* Waits for a call under way, joins, frees. NULL is fine. */
void cf_renewer_stop(cf_renewer *r);

#endif
