/* SPDX-License-Identifier: Apache-2.0
 *
 * What makes a line sound: the one set of rules that the parser and the renderer share.
 */
#ifndef SRC_REPO_LINE_CHECK_H
#define SRC_REPO_LINE_CHECK_H

#include "repo/line.h"

CF_NODISCARD cf_err cf_file_line_check(const cf_file_line *l, cf_error *e);
CF_NODISCARD cf_err cf_pack_line_check(const cf_pack_line *l, cf_error *e);

/* Names of `type`, by cf_line_type. */
enum { CF_LINE_TYPE_TOTAL = 3 };
const char *cf_line_type_name(cf_line_type type); /* static */

/* 2026-11-21T14:31:00.123456789Z; false when it cannot be written or read back in int64
 * nanoseconds. */
enum { CF_TIME_NS_SIZE = 48 };
void cf_time_render_ns(int64_t utc_ns, char ret[CF_TIME_NS_SIZE]);
bool cf_time_parse_ns(cf_slice text, int64_t *ret_utc_ns);

#endif
