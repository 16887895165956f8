/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON as the repository uses it: bounded in size and depth, no key twice, every number an integer
 * with a range. Numbers stay below 2^53, so that any JSON reader (jq keeps doubles) sees the same
 * value.
 */
#ifndef SRC_REPO_JSON_H
#define SRC_REPO_JSON_H

#include <jansson.h>
#include <stdint.h>

#include "repo/run.h"
#include "s3/base/utf8.h" /* IWYU pragma: export */
#include "s3/buf.h"
#include "s3/err.h"
#include "s3/slice.h"

enum {
    CF_JSON_DEPTH_MAX = 32
}; /* ours: our own objects nest 4 deep, a profile's facts may nest more */
#define CF_NUMBER_MAX UINT64_C(9007199254740991) /* 2^53 - 1: exact in a double */

/* Once a process, before jansson is used: see json_memory.c. cf_json_load() does it. */
void cf_json_memory(void);

/* json_dumps() whose text is ours: free with cf_free(). NULL: no memory. */
char *cf_json_dump(const json_t *value, size_t flags);

/* One object, whole text. CF_ERR_DAMAGE with the reason and the byte. Free with json_decref(). */
CF_NODISCARD cf_err cf_json_load(cf_slice text, json_t **ret, cf_error *e);

/* Members; CF_ERR_DAMAGE when missing, of another type, or out of range; the message names the key,
 * the value and the limit. */
CF_NODISCARD cf_err cf_json_get_u64(const json_t *object, const char *key, uint64_t min,
                                    uint64_t max, uint64_t *ret, cf_error *e);
/* Borrowed from object; min..max bytes. The text is UTF-8 without NUL and NUL-terminated. */
CF_NODISCARD cf_err cf_json_get_str(const json_t *object, const char *key, size_t min, size_t max,
                                    cf_slice *ret, cf_error *e);
/* The same, copied: ret has max + 1 bytes. */
CF_NODISCARD cf_err cf_json_get_word(const json_t *object, const char *key, size_t min, size_t max,
                                     char *ret, cf_error *e);
CF_NODISCARD cf_err cf_json_get_run_id(const json_t *object, const char *key, cf_run_id *ret,
                                       cf_error *e);
/* 64 lower-case or upper-case hex digits. */
CF_NODISCARD cf_err cf_json_get_sha256(const json_t *object, const char *key, uint8_t ret[32],
                                       cf_error *e);
/* Base64; ret has cap bytes. */
CF_NODISCARD cf_err cf_json_get_base64(const json_t *object, const char *key, uint8_t *ret,
                                       size_t cap, size_t *ret_len, cf_error *e);
/* 2026-11-21T14:31:00.123Z */
CF_NODISCARD cf_err cf_json_get_time_ms(const json_t *object, const char *key, int64_t *ret_utc_ms,
                                        cf_error *e);
/* `format` is 1..format_max and `requires` names nothing, else CF_ERR_FORMAT. what: "root",
 * "descriptor". */
CF_NODISCARD cf_err cf_json_check_format(const json_t *object, const char *what, cf_error *e);
/* The same, but this name in `requires` is known. */
CF_NODISCARD cf_err cf_json_check_format_but(const json_t *object, const char *what,
                                             const char *known, cf_error *e);

/* Text to append by hand, in a fixed order of keys. */
CF_NODISCARD cf_err cf_json_put_str(cf_buf *b, cf_slice utf8, cf_error *e);
CF_NODISCARD cf_err cf_json_put_base64(cf_buf *b, cf_slice bytes, cf_error *e);
CF_NODISCARD cf_err cf_json_put_sha256(cf_buf *b, const uint8_t sha256[32], cf_error *e);

enum { CF_TIME_MS_SIZE = 40 };
void cf_time_render_ms(int64_t utc_ms, char ret[CF_TIME_MS_SIZE]); /* 2026-11-21T14:31:00.123Z */

#endif
