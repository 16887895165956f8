/* SPDX-License-Identifier: Apache-2.0
 *
 * Output: text for people, JSON lines for programs, a progress line on a terminal. Results go to
 * standard output, warnings and errors to standard error; with --json everything is a line of
 * standard output, and the error is on standard error too.
 */
#ifndef SRC_CLI_OUTPUT_H
#define SRC_CLI_OUTPUT_H

#include <jansson.h>
#include <stdio.h>

#include "chunkferry/chunkferry.h"

typedef struct cf_output {
    FILE *out, *err; /* borrowed */
    bool json;
    unsigned verbose;      /* 0, 1: a line a file, 2: a line a request */
    bool terminal;         /* err is one: a progress line is drawn */
    const cf_world *world; /* borrowed */
    uint64_t drawn_mono_ms, began_mono_ms;
    cf_progress last; /* what was told last; phase NULL: nothing yet */
    bool line_open;   /* a progress line stands on the terminal */
    bool incomplete;  /* an object could not be made: said by cf_output_close() */
} cf_output;

/* As cf_ctx wants them; impl is the cf_output. log may be called from any thread. */
void cf_output_log(void *impl, cf_log_level level, const char *text);
void cf_output_progress(void *impl, const cf_progress *p);

void cf_output_text(cf_output *o, const char *fmt, ...) CF_PRINTF(2, 3); /* nothing with --json */
/* A JSON string of any bytes: those that are no UTF-8 (paths may hold them) become U+FFFD. NULL
 * without memory. */
json_t *cf_output_json(const char *text, size_t len);
/* One JSON line; takes the object. Nothing without --json. */
void cf_output_object(cf_output *o, json_t *object);
void cf_output_error(cf_output *o, const cf_error *e);
/* CF_ERR_IO when standard output could not take it all (a closed pipe, a full disk). */
CF_NODISCARD cf_err cf_output_close(cf_output *o, cf_error *e);

#endif
