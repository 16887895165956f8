/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors: one table of codes, one struct that tells the story.
 *
 * A function that can fail returns cf_err and takes `cf_error *e` last; e may be NULL. The code
 * decides what a program does (exit code, try again or not), the story is for people: which file or
 * key, what was expected, what was found, and after a newline "HINT: ..." when the user can act.
 * Codes and their numbers are stable: scripts depend on them.
 */
#ifndef S3_ERR_H
#define S3_ERR_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* name, number, text, exit code of the program, worth trying again */
#define CF_ERR_LIST(X)                                                                             \
    X(CF_OK, 0, "done", 0, false)                                                                  \
    X(CF_ERR_FAILED, 1, "failed", 1, false)                                                        \
    X(CF_ERR_USAGE, 2, "wrong usage or configuration", 2, false)                                   \
    X(CF_ERR_SOURCE, 3, "the source is not fit or could not be read", 3, false)                    \
    X(CF_ERR_DAMAGE, 4, "damage found in the repository", 4, false)                                \
    X(CF_ERR_LIMIT, 5, "a limit is exceeded", 5, false)                                            \
    X(CF_ERR_NO_REPOSITORY, 10, "no repository there", 10, false)                                  \
    X(CF_ERR_LOCKED, 11, "locked by another run", 11, false)                                       \
    X(CF_ERR_AUTH, 12, "the store refused the access key", 12, false)                              \
    X(CF_ERR_NO_MEMORY, 20, "out of memory", 1, false)                                             \
    X(CF_ERR_TOO_LARGE, 21, "larger than the limit", 1, false)                                     \
    X(CF_ERR_IO, 22, "input or output failed", 1, false)                                           \
    X(CF_ERR_NOT_FOUND, 23, "not found", 1, false)                                                 \
    X(CF_ERR_EXISTS, 24, "exists already", 1, false)                                               \
    X(CF_ERR_NO_SPACE, 25, "no space left", 1, false)                                              \
    X(CF_ERR_ACCESS, 26, "permission denied", 1, false)                                            \
    X(CF_ERR_TARGET, 27, "the restore target cannot be used", 1, false)                            \
    X(CF_ERR_FORMAT, 28, "written by a newer chunkferry", 1, false)                                \
    X(CF_ERR_UNSUPPORTED, 29, "not supported", 1, false)                                           \
    X(CF_ERR_PARSE, 30, "malformed input", 1, false)                                               \
    X(CF_ERR_FENCED, 31, "fenced: this run can never commit", 1, false)                            \
    X(CF_ERR_UNKNOWN, 32, "the outcome is unknown", 1, false)                                      \
    X(CF_ERR_NETWORK, 40, "network failure", 1, true)                                              \
    X(CF_ERR_TIMEOUT, 41, "timed out", 1, true)                                                    \
    X(CF_ERR_TLS, 42, "TLS failure", 1, false)                                                     \
    X(CF_ERR_THROTTLED, 43, "the server asked to slow down", 1, true)                              \
    X(CF_ERR_SERVER, 44, "the server failed", 1, true)                                             \
    X(CF_ERR_DENIED, 45, "the server denied access", 1, false)                                     \
    X(CF_ERR_NO_BUCKET, 46, "no such bucket", 10, false)                                           \
    X(CF_ERR_PRECONDITION, 47, "precondition failed", 1, false)                                    \
    X(CF_ERR_CONFLICT, 48, "conflicting request", 1, true)                                         \
    X(CF_ERR_SKEW, 49, "clock differs too much from the server's", 1, false)                       \
    X(CF_ERR_REGION, 50, "wrong region", 1, false)                                                 \
    X(CF_ERR_PROTOCOL, 51, "malformed answer", 1, true)                                            \
    X(CF_ERR_CREDENTIALS, 52, "no usable credentials", 2, false)                                   \
    X(CF_ERR_REQUEST, 53, "the server refused the request", 1, false)                              \
    X(CF_ERR_INTERRUPTED, 130, "interrupted", 130, false)

typedef enum cf_err {
#define CF_ERR_ENUM(name, number, text, exit_code, retryable) name = (number),
    CF_ERR_LIST(CF_ERR_ENUM)
#undef CF_ERR_ENUM
} cf_err;

enum {
    CF_ERROR_MESSAGE_LEN_MAX = 2048, /* ours: a path of 1,024 bytes, twice a number, a hint */
    CF_ERROR_CODE_LEN_MAX = 64,      /* ours: the longest S3 code known has 47 bytes */
};

/* The story of one failure. A plain value: copy it, throw it away, no cleanup. Zero it before use.
 */
typedef struct cf_error {
    cf_err code;
    int http_status;                        /* 0: no HTTP answer */
    char s3_code[CF_ERROR_CODE_LEN_MAX];    /* "" or the server's code, also an unknown one */
    char request_id[CF_ERROR_CODE_LEN_MAX]; /* "" or x-amz-request-id */
    char message[CF_ERROR_MESSAGE_LEN_MAX]; /* never holds a secret */
    const char *file;                       /* where it was raised */
    int line;
} cf_error;

#if defined(__GNUC__)
#define CF_NODISCARD         __attribute__((warn_unused_result))
#define CF_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define CF_NODISCARD
#define CF_PRINTF(fmt, args)
#endif

/* Fill *e (when not NULL) and return code. An over-long message is cut, never overrun. */
cf_err cf_error_set(cf_error *e, cf_err code, const char *file, int line, const char *fmt, ...)
    CF_PRINTF(5, 6);

/* Put "text: " before the message: each layer may add one. No-op for e == NULL. */
void cf_error_prefix(cf_error *e, const char *fmt, ...) CF_PRINTF(2, 3);

const char *cf_err_text(cf_err code); /* static */
const char *cf_err_name(cf_err code); /* static, "CF_ERR_..." */
int cf_err_exit_code(cf_err code);    /* 0..130 */
bool cf_err_retryable(cf_err code);

/* Pass on. */
#define CF_TRY(call)                                                                               \
    do {                                                                                           \
        const cf_err cf_try_ = (call);                                                             \
        if (cf_try_ != CF_OK)                                                                      \
            return cf_try_;                                                                        \
    } while (0)

/* Pass on, with one prefix: CF_TRY_AS(parse(b, e), e, "read root '%s'", key). */
#define CF_TRY_AS(call, e, ...)                                                                    \
    do {                                                                                           \
        const cf_err cf_try_ = (call);                                                             \
        if (cf_try_ != CF_OK) {                                                                    \
            cf_error_prefix((e), __VA_ARGS__);                                                     \
            return cf_try_;                                                                        \
        }                                                                                          \
    } while (0)

/* Give up. The code is returned as it stands here, so that analyzers see it is not CF_OK. */
#define CF_FAIL(e, code, ...)                                                                      \
    do {                                                                                           \
        (void)cf_error_set((e), (code), __FILE__, __LINE__, __VA_ARGS__);                          \
        return (code);                                                                             \
    } while (0)

/* Check: one condition, one message. */
#define CF_ENSURE(condition, e, code, ...)                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            CF_FAIL((e), (code), __VA_ARGS__);                                                     \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
