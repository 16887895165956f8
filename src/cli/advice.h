/* SPDX-License-Identifier: Apache-2.0
 *
 * What to do, for failures whose message does not say it: many come from deep below, where it is
 * known what happened and not what the user was about.
 */
#ifndef SRC_CLI_ADVICE_H
#define SRC_CLI_ADVICE_H

#include "s3/err.h"

/* A HINT behind the message of a command that failed with code, unless it has one. */
void cf_advice_add(cf_err code, const char *command, cf_error *e);

#endif
