/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of codes, and the one place that writes a story into a cf_error.
 */
#include "s3/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct err_row {
    cf_err code;
    const char *name;
    const char *text;
    int exit_code;
    bool retryable;
} err_row;

static const err_row err_rows[] = {
#define ERR_ROW(name, number, text, exit_code, retryable) {name, #name, text, exit_code, retryable},
    CF_ERR_LIST(ERR_ROW)
#undef ERR_ROW
};

/* Codes come from our own code only; one that is not in the table is answered like CF_ERR_FAILED.
 */
static const err_row *err_find(cf_err code)
{
    for (size_t i = 0; i < sizeof(err_rows) / sizeof(err_rows[0]); i++)
        if (err_rows[i].code == code)
            return &err_rows[i];
    return &err_rows[1];
}

const char *cf_err_text(cf_err code)
{
    return err_find(code)->text;
}

const char *cf_err_name(cf_err code)
{
    return err_find(code)->name;
}

int cf_err_exit_code(cf_err code)
{
    return err_find(code)->exit_code;
}

bool cf_err_retryable(cf_err code)
{
    return err_find(code)->retryable;
}

cf_err cf_error_set(cf_error *e, cf_err code, const char *file, int line, const char *fmt, ...)
{
    if (e == NULL)
        return code;

    /* A scratch copy: an argument may be text of *e itself. */
    char message[CF_ERROR_MESSAGE_LEN_MAX];
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    if (n < 0)
        message[0] = '\0';

    e->code = code;
    e->file = file;
    e->line = line;
    memcpy(e->message, message, sizeof(message));
    return code;
}

void cf_error_prefix(cf_error *e, const char *fmt, ...)
{
    if (e == NULL)
        return;

    char message[CF_ERROR_MESSAGE_LEN_MAX];
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n + 2 >= sizeof(message))
        return; /* the story itself matters more than its prefix */

    (void)snprintf(message + n, sizeof(message) - (size_t)n, ": %.*s",
                   (int)(sizeof(message) - (size_t)n - 3), e->message);
    memcpy(e->message, message, sizeof(message));
}
