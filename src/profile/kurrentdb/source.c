/* SPDX-License-Identifier: Apache-2.0
 *
 * The source's life, and what it says: refusals, warnings, details.
 */
#include "profile/kurrentdb/source.h"

#include <stdarg.h>
#include <stdio.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

enum { TEXT_SIZE = CF_ERROR_MESSAGE_LEN_MAX };

/* Text that JSON can hold: bytes over 127 become '?' when they are no UTF-8. */
static json_t *text_new(char *text)
{
    json_t *j = json_string(text);

    if (j != NULL)
        return j;
    for (char *p = text; *p != '\0'; p++) {
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    }
    return json_string(text);
}

static bool text_has(const json_t *array, const char *text)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (strcmp(json_string_value(json_array_get(array, i)), text) == 0)
            return true;
    }
    return false;
}

static cf_err refuse(cf_source *s, cf_error *e, char *text)
{
    if (!s->opts.inspect)
        CF_FAIL(e, CF_ERR_SOURCE, "%s", text);
    if (!text_has(s->refusals, text))
        CF_ENSURE(json_array_append_new(s->refusals, text_new(text)) == 0, e, CF_ERR_NO_MEMORY,
                  "allocate a refusal");
    return CF_OK;
}

cf_err cf_kdb_refuse(cf_source *s, cf_error *e, const char *fmt, ...)
{
    char text[TEXT_SIZE];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return refuse(s, e, text);
}

cf_err cf_kdb_refuse_for_now(cf_source *s, cf_error *e, const char *fmt, ...)
{
    char text[TEXT_SIZE];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    s->again = true;
    return refuse(s, e, text);
}

void cf_kdb_hazard(cf_source *s, const char *hazard)
{
    if (!text_has(s->hazards, hazard))
        (void)json_array_append_new(s->hazards, json_string(hazard));
}

void cf_kdb_warn(cf_source *s, const char *hazard, const char *fmt, ...)
{
    char text[TEXT_SIZE];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    cf_kdb_hazard(s, hazard);
    if (text_has(s->warnings, text))
        return;
    if (s->opts.warn != NULL)
        s->opts.warn(s->opts.impl, text);
    (void)json_array_append_new(s->warnings, text_new(text));
}

void cf_kdb_detail(const cf_source *s, const char *fmt, ...)
{
    char text[TEXT_SIZE];
    va_list args;

    if (s->opts.detail == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    s->opts.detail(s->opts.impl, text);
}

cf_err cf_kdb_wait(const cf_source *s, uint64_t ms, cf_error *e)
{
    const cf_world *const w = s->opts.world;

    w->sleep_ms(w->impl, ms);
    CF_ENSURE(!w->stopping(w->impl), e, CF_ERR_INTERRUPTED, "interrupted");
    return CF_OK;
}

cf_err cf_kdb_item_add(cf_source *s, uint16_t step, const char *role, const char *name,
                       const char *klass, cf_kdb_item **ret, cf_error *e)
{
    const size_t size = strlen(role) + 1 + strlen(name) + 1;

    if (s->items.total == s->items.cap) {
        const size_t cap = s->items.cap == 0 ? 64 : s->items.cap * 2;
        cf_kdb_item *const grown = cf_realloc(s->items.at, cap, sizeof(*grown));

        CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu files", cap);
        s->items.at = grown;
        s->items.cap = cap;
    }
    cf_kdb_item *const i = &s->items.at[s->items.total];

    *i = (cf_kdb_item){.step = step, .klass = klass, .fd = -1};
    i->path = cf_alloc(size, 1);
    CF_ENSURE(i->path != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu bytes", size);
    (void)snprintf(i->path, size, "%s/%s", role, name);
    s->items.total++;
    *ret = i;
    return CF_OK;
}

void cf_kdb_item_set_stat(cf_kdb_item *i, const cf_stat *st)
{
    i->size_bytes = st->size_bytes;
    i->ino = st->ino;
    i->mode = st->mode;
    i->uid = st->uid;
    i->gid = st->gid;
    i->mtime_ns = st->mtime_ns;
}

cf_err cf_kdb_item_set_content(cf_kdb_item *i, cf_slice content, cf_error *e)
{
    i->how = CF_ENTRY_INLINE;
    i->content = cf_alloc(content.len + 1, 1);
    CF_ENSURE(i->content != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu bytes", content.len);
    if (content.len > 0)
        memcpy(i->content, content.ptr, content.len);
    i->content_len = content.len;
    i->size_bytes = content.len;
    return CF_OK;
}

static void item_deinit(cf_source *s, cf_kdb_item *i)
{
    cf_kdb_io_close(&s->io, &i->fd);
    cf_free(i->path);
    cf_free(i->content);
}

void cf_kdb_items_drop(cf_source *s, uint16_t step)
{
    size_t kept = 0;

    for (size_t k = 0; k < s->items.total; k++) {
        if (s->items.at[k].step == step)
            item_deinit(s, &s->items.at[k]);
        else
            s->items.at[kept++] = s->items.at[k];
    }
    s->items.total = kept;
}

static cf_err dirs_open(cf_source *s, cf_error *e)
{
    const char *const index = s->opts.index != NULL ? s->opts.index : "index";
    cf_stat st;

    const cf_err db_err = cf_kdb_io_dir_open(&s->io, CF_FS_CWD, s->opts.db, &s->db_fd, e);

    CF_ENSURE(db_err != CF_ERR_NOT_FOUND, e, CF_ERR_SOURCE,
              "the data directory '%s' does not exist\nHINT: --db names the folder with writer.chk "
              "and the chunks",
              s->opts.db);
    CF_TRY_AS(db_err, e, "open the data directory");
    CF_ENSURE(
        cf_kdb_io_is_file(&s->io, s->db_fd, "writer.chk", &st), e, CF_ERR_SOURCE,
        "'%s' is not the data directory of a KurrentDB or EventStoreDB node: it has no 'writer.chk'"
        "\nHINT: --db names the folder with writer.chk and the chunks",
        s->opts.db);
    const int base_fd = s->opts.index != NULL ? CF_FS_CWD : s->db_fd;
    const cf_err err = cf_kdb_io_dir_open(&s->io, base_fd, index, &s->index_fd, e);

    if (err == CF_ERR_NOT_FOUND && s->opts.index == NULL)
        return CF_OK;
    CF_ENSURE(
        err != CF_ERR_NOT_FOUND, e, CF_ERR_SOURCE,
        "the index directory '%s' does not exist\nHINT: --index names the server's Index option",
        index);
    return err;
}

cf_err cf_kdb_source_open(const cf_source_opts *opts, cf_source **ret, cf_error *e)
{
    cf_source *s = NULL;

    CF_NEW(s, e);
    s->opts = *opts;
    if (s->opts.max_truncation_bytes == 0)
        s->opts.max_truncation_bytes = CF_KDB_MAX_TRUNCATION_BYTES;
    s->io.fs = opts->fs;
    s->db_fd = -1;
    s->index_fd = -1;
    s->secondary = "absent";
    s->refusals = json_array();
    s->warnings = json_array();
    s->hazards = json_array();
    const bool made = s->refusals != NULL && s->warnings != NULL && s->hazards != NULL;
    const cf_err err =
        made ? dirs_open(s, e)
             : cf_error_set(e, CF_ERR_NO_MEMORY, __FILE__, __LINE__, "allocate lists");

    if (err != CF_OK) {
        cf_kdb_source_close(s);
        return err;
    }
    *ret = s;
    return CF_OK;
}

void cf_kdb_source_close(cf_source *s)
{
    if (s == NULL)
        return;
    for (size_t k = 0; k < s->items.total; k++)
        item_deinit(s, &s->items.at[k]);
    cf_free(s->items.at);
    cf_kdb_plan_drop(s);
    cf_kdb_chunks_deinit(s);
    cf_kdb_indexmap_deinit(&s->map);
    cf_kdb_io_close(&s->io, &s->index_fd);
    cf_kdb_io_close(&s->io, &s->db_fd);
    json_decref(s->refusals);
    json_decref(s->warnings);
    json_decref(s->hazards);
    cf_free(s);
}
