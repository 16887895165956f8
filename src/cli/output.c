/* SPDX-License-Identifier: Apache-2.0
 *
 * Output: what a command says.
 */
#include "cli/output.h"

#include <stdarg.h>
#include <string.h>

#include "s3/base/alloc.h"
#include "s3/base/num.h"
#include "s3/base/utf8.h"

enum { CF_PROGRESS_EVERY_MS = 200 };

static const struct {
    const char *name;   /* in JSON */
    const char *prefix; /* in text */
    unsigned verbose;   /* shown from this many -v on */
} levels[] = {
    [CF_LOG_ERROR] = {"error", "chunkferry: ", 0},
    [CF_LOG_WARN] = {"warning", "warning: ", 0},
    [CF_LOG_INFO] = {"info", "", 0},
    [CF_LOG_DETAIL] = {"file", "  ", 1},
    [CF_LOG_DEBUG] = {"request", "  ", 2},
};

json_t *cf_output_json(const char *const text, const size_t len)
{
    enum { CHARACTER_LEN_MAX = 4, REPLACEMENT_LEN = 3 };
    char *const copy = cf_alloc(len + 1, REPLACEMENT_LEN);
    size_t at = 0, used = 0;

    while (copy != NULL && at < len) {
        size_t n = 1;

        while (n < CHARACTER_LEN_MAX && n < len - at && !cf_utf8_valid(cf_slice_of(text + at, n)))
            n++;
        if (cf_utf8_valid(cf_slice_of(text + at, n))) {
            memcpy(copy + used, text + at, n);
            used += n;
            at += n;
        } else {
            memcpy(copy + used, "\xef\xbf\xbd", REPLACEMENT_LEN);
            used += REPLACEMENT_LEN;
            at++;
        }
    }
    json_t *const string = copy != NULL ? json_stringn(copy, used) : NULL;

    cf_free(copy);
    return string;
}

static void line_clear(cf_output *const o)
{
    if (o->line_open)
        (void)fputs("\r\033[K", o->err);
    o->line_open = false;
}

/* "text\nHINT: what to do" in two parts. */
static const char *hint_of(const char *const text, int *const ret_text_len)
{
    const char *const hint = strstr(text, "\nHINT: ");

    *ret_text_len = hint != NULL ? (int)(hint - text) : (int)strlen(text);
    return hint != NULL ? hint + strlen("\nHINT: ") : NULL;
}

/* For people: what would steer a terminal (an escape in a path or in a server's words) becomes '?'. */
static void plain_write(FILE *const to, const char *const text, const size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)text[i];
        (void)fputc((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f ? '?' : c, to);
    }
}

/* "prefix text", and the hint on a line of its own. */
static void message_write(FILE *const to, const char *const prefix, const char *const text)
{
    int len = 0;
    const char *const hint = hint_of(text, &len);

    flockfile(to);
    (void)fputs(prefix, to);
    plain_write(to, text, (size_t)len);
    if (hint != NULL) {
        (void)fputs("\n  hint: ", to);
        plain_write(to, hint, strlen(hint));
    }
    (void)fputc('\n', to);
    funlockfile(to);
}

static void object_write(cf_output *const o, json_t *const object)
{
    if (object == NULL) {
        o->incomplete = true;
        return;
    }
    flockfile(o->out);
    (void)json_dumpf(object, o->out, JSON_COMPACT);
    (void)fputc('\n', o->out);
    funlockfile(o->out);
    json_decref(object);
}

static json_t *message_object(const char *const type, const char *const text)
{
    int len = 0;
    const char *const hint = hint_of(text, &len);
    json_t *const object =
        json_pack("{s:s, s:o}", "type", type, "text", cf_output_json(text, (size_t)len));

    if (hint != NULL)
        (void)json_object_set_new(object, "hint", cf_output_json(hint, strlen(hint)));
    return object;
}

void cf_output_log(void *const impl, const cf_log_level level, const char *const text)
{
    cf_output *const o = impl;

    if (levels[level].verbose > o->verbose)
        return;
    if (o->json) {
        object_write(o, message_object(levels[level].name, text));
        return;
    }
    flockfile(o->err);
    line_clear(o);
    message_write(level <= CF_LOG_WARN ? o->err : o->out, levels[level].prefix, text);
    funlockfile(o->err);
}

void cf_output_progress(void *const impl, const cf_progress *const p)
{
    cf_output *const o = impl;
    char done[CF_SIZE_TEXT_SIZE], total[CF_SIZE_TEXT_SIZE], rate[CF_SIZE_TEXT_SIZE];

    o->last = *p;
    if (!o->terminal || o->json)
        return;
    const uint64_t now = o->world->mono_ms(o->world->impl);
    if (o->began_mono_ms == 0)
        o->began_mono_ms = now;
    if (o->drawn_mono_ms != 0 && now - o->drawn_mono_ms < CF_PROGRESS_EVERY_MS)
        return;
    o->drawn_mono_ms = now;
    const uint64_t passed_ms = now - o->began_mono_ms + 1;
    const uint64_t rate_bytes_per_s = p->done_bytes * 1000 / passed_ms;
    const uint64_t left = p->total_bytes > p->done_bytes ? p->total_bytes - p->done_bytes : 0;
    flockfile(o->err);
    (void)fprintf(o->err, "\r\033[K%s  %s of %s  %s/s  %llu of %llu %s", p->phase,
                  cf_size_render(p->done_bytes, done), cf_size_render(p->total_bytes, total),
                  cf_size_render(rate_bytes_per_s, rate), (unsigned long long)p->done_files,
                  (unsigned long long)p->total_files, p->things != NULL ? p->things : "files");
    if (rate_bytes_per_s > 0 && left > 0)
        (void)fprintf(o->err, "  %llu s left", (unsigned long long)(left / rate_bytes_per_s));
    (void)fflush(o->err);
    o->line_open = true;
    funlockfile(o->err);
}

void cf_output_text(cf_output *const o, const char *const fmt, ...)
{
    char some[1024];
    va_list args;

    if (o->json)
        return;
    line_clear(o);
    va_start(args, fmt);
    const int len = vsnprintf(some, sizeof(some), fmt, args);
    va_end(args);
    char *const all = len >= (int)sizeof(some) ? cf_alloc((size_t)len + 1, 1) : some;
    if (len < 0 || all == NULL) {
        o->incomplete = true;
        return;
    }
    if (all != some) {
        va_start(args, fmt);
        (void)vsnprintf(all, (size_t)len + 1, fmt, args);
        va_end(args);
    }
    plain_write(o->out, all, (size_t)len);
    if (all != some)
        cf_free(all);
}

void cf_output_object(cf_output *const o, json_t *const object)
{
    if (o->json)
        object_write(o, object);
    else
        json_decref(object);
}

void cf_output_error(cf_output *const o, const cf_error *const e)
{
    const char *const text = e->message[0] != '\0' ? e->message : cf_err_text(e->code);

    line_clear(o);
    (void)fflush(o->out);
    message_write(o->err, "chunkferry: ", text);
    if (!o->json)
        return;
    json_t *const object = message_object("error", text);
    (void)json_object_set_new(object, "error", json_string(cf_err_name(e->code)));
    (void)json_object_set_new(object, "exit_code", json_integer(cf_err_exit_code(e->code)));
    if (e->s3_code[0] != '\0')
        (void)json_object_set_new(object, "s3_code", json_string(e->s3_code));
    if (e->request_id[0] != '\0')
        (void)json_object_set_new(object, "request_id", json_string(e->request_id));
    object_write(o, object);
}

cf_err cf_output_close(cf_output *const o, cf_error *const e)
{
    line_clear(o);
    CF_ENSURE(!o->incomplete, e, CF_ERR_NO_MEMORY, "a line of the output could not be made");
    CF_ENSURE(fflush(o->out) == 0 && ferror(o->out) == 0, e, CF_ERR_IO,
              "the command is done, but standard output could not be written\n"
              "HINT: is its disk full, or the reader of the pipe gone?");
    return CF_OK;
}
