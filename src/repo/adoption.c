/* SPDX-License-Identifier: Apache-2.0
 *
 * Of each run: what a LIST shows, 16 bytes a pack; then its journals' pack lines against that. The
 * lines of good packs go to a spool, in order; the file lines stay where they are.
 */
#include "repo/adoption.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "repo/json.h"
#include "repo/lease.h"
#include "repo/manifest.h"
#include "repo/spool.h"
#include "s3/base/alloc.h"

enum {
    KEEP_BYTES = 8 * 1024 * 1024, /* of all journals, so that a pass more asks for nothing */
    UPLOADS_MAX = 1024,           /* ours: a run has at most 64 under way */
    UPLOADS_LEN_MAX = 1024 * 1024,
};

typedef struct pack_seen {
    uint64_t stored_bytes;
    uint32_t seq;
    uint32_t name_hash; /* of the whole name: two packs never share a number. The last bit instead
                           says that its line fits: there may be a million */
} pack_seen;

typedef struct adopted_run {
    cf_run_id id;
    pack_seen *packs; /* owned; ascending */
    size_t pack_total, pack_cap;
    cf_journal_object *journals; /* owned; ascending */
    size_t journal_total, journal_cap;
    cf_journal_reader *reader; /* owned; borrows journals */
    cf_buf uploads;            /* owned; the last such line */
} adopted_run;

struct cf_adoption {
    const cf_repo *repo;
    char node[CF_NODE_NAME_LEN_MAX + 1];
    adopted_run runs[CF_LEASE_USES_MAX]; /* ascending */
    size_t total;
    size_t pack_total; /* seen */
    uint64_t keep_left;
    cf_spool *lines;      /* owned; of good packs, ascending */
    cf_line_store *store; /* owned */
    cf_pack_line line;
};

static void run_deinit(adopted_run *const r)
{
    cf_journal_reader_free(r->reader);
    cf_free(r->packs);
    cf_free(r->journals);
    cf_buf_deinit(&r->uploads);
    *r = (adopted_run){0};
}

void cf_adoption_free(cf_adoption *const a)
{
    if (a == NULL)
        return;
    for (size_t i = 0; i < a->total; i++)
        run_deinit(&a->runs[i]);
    cf_spool_free(a->lines);
    cf_line_store_free(a->store);
    cf_free(a);
}

enum { GOOD = 1 };

static uint32_t name_hash(const char *name)
{
    uint32_t h = 2166136261U; /* FNV-1a */
    for (; *name != '\0'; name++)
        h = (h ^ (uint8_t)*name) * 16777619U;
    return h & ~(uint32_t)GOOD;
}

static bool is_good(const pack_seen *const p)
{
    return (p->name_hash & GOOD) != 0;
}

static void say(const cf_adoption_opts *const o, const cf_log_level level, const char *const fmt,
                ...) CF_PRINTF(3, 4);
static void say(const cf_adoption_opts *const o, const cf_log_level level, const char *const fmt,
                ...)
{
    char text[CF_ERROR_MESSAGE_LEN_MAX];
    va_list args;
    if (o->log == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    o->log(o->impl, level, text);
}

/* --- the LIST --- */

typedef struct listing {
    cf_adoption *a;
    adopted_run *run;
    size_t prefix_len; /* up to "nodes/<node>/runs/" */
} listing;

static cf_err room(void **const array, size_t *const cap, const size_t total, const size_t size,
                   cf_error *const e)
{
    if (total < *cap)
        return CF_OK;
    const size_t more = *cap == 0 ? 64 : *cap * 2;
    void *const grown = cf_realloc(*array, more, size);
    CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu objects of a run", more);
    *array = grown;
    *cap = more;
    return CF_OK;
}

static cf_err pack_seen_add(listing *const l, const char *const name, const uint32_t seq,
                            const uint64_t bytes, cf_error *const e)
{
    adopted_run *const r = l->run;
    void *array = r->packs;
    if (l->a->pack_total == CF_PACK_TOTAL_MAX) /* what is above is sent again */
        return CF_OK;
    CF_TRY(room(&array, &r->pack_cap, r->pack_total, sizeof(*r->packs), e));
    r->packs = array;
    r->packs[r->pack_total++] =
        (pack_seen){.stored_bytes = bytes, .seq = seq, .name_hash = name_hash(name)};
    l->a->pack_total++;
    return CF_OK;
}

static cf_err list_add(void *const impl, const cf_store_entry *const entry, bool *const ret_stop,
                       cf_error *const e)
{
    listing *const l = impl;
    adopted_run *const r = l->run;
    const char *const name = entry->key + l->prefix_len;
    cf_slice kind = {NULL, 0};
    uint32_t seq = 0;
    char key[CF_KEY_LEN_MAX + 1];
    (void)ret_stop;
    if (!cf_object_name_parse(cf_slice_str(name), NULL, &seq, &kind))
        return CF_OK;
    if (cf_slice_eq(kind, cf_slice_str("pack")))
        return pack_seen_add(l, name, seq, entry->size_bytes, e);
    cf_key_journal(key, l->a->node, &r->id, seq);
    if (strcmp(key, entry->key) != 0 || entry->size_bytes == 0 ||
        entry->size_bytes > CF_SEGMENT_STORED_MAX)
        return CF_OK;
    void *array = r->journals;
    CF_TRY(room(&array, &r->journal_cap, r->journal_total, sizeof(*r->journals), e));
    r->journals = array;
    r->journals[r->journal_total++] =
        (cf_journal_object){.stored_bytes = entry->size_bytes, .seq = seq};
    return CF_OK;
}

static cf_err run_list(cf_adoption *const a, adopted_run *const r, cf_error *const e)
{
    char prefix[CF_KEY_LEN_MAX + 1];
    listing l = {.a = a, .run = r};
    cf_key_folder(prefix, a->node, "runs");
    l.prefix_len = strlen(prefix);
    const int len =
        snprintf(prefix + l.prefix_len, sizeof(prefix) - l.prefix_len, "%s/", r->id.text);
    CF_CHECK(len == CF_RUN_ID_LEN + 1);
    CF_TRY_AS(a->repo->store->ops->list(a->repo->store, prefix, /* after= */ NULL,
                                        /* delimiter= */ NULL, list_add, &l, e),
              e, "list what run '%s' left", r->id.text);
    return CF_OK;
}

/* --- the journals --- */

static int seq_cmp(const void *const key, const void *const item)
{
    const uint32_t seq = *(const uint32_t *)key;
    const uint32_t other = ((const pack_seen *)item)->seq;
    return seq < other ? -1 : seq > other;
}

static pack_seen *seen_find(const adopted_run *const r, const uint32_t seq, const char *const name)
{
    if (r->pack_total == 0)
        return NULL;
    pack_seen *const p = bsearch(&seq, r->packs, r->pack_total, sizeof(*r->packs), seq_cmp);
    return p != NULL && (p->name_hash & ~(uint32_t)GOOD) == name_hash(name) ? p : NULL;
}

/* Model: core.pml B6. Good: below its own run, there with that length, not damaged, and in order. */
static cf_err pack_take(cf_adoption *const a, adopted_run *const r, const cf_damage *const damage,
                        const cf_slice text, uint32_t *const last_seq, cf_error *const e)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf line = {0};
    cf_pack_line p = {0};
    cf_run_id run = {""};
    cf_slice kind = {NULL, 0};
    uint32_t seq = 0;
    CF_TRY(cf_pack_line_parse(text, a->store, &p, e));
    if (!cf_object_name_parse(cf_slice_str(p.pack), &run, &seq, &kind) ||
        strcmp(run.text, r->id.text) != 0 || !cf_slice_eq(kind, cf_slice_str("pack")))
        return CF_OK;
    pack_seen *const seen = seen_find(r, seq, p.pack);
    if (seen == NULL || seen->stored_bytes != p.stored_bytes || seq <= *last_seq ||
        cf_damage_has(damage, p.pack))
        return CF_OK;
    p.used_bytes = 0;
    cf_buf_init(&line, CF_SPOOL_LINE_LEN_MAX);
    CF_TRY(cf_pack_line_render(&p, &line, e));
    CF_TRY(cf_spool_add(a->lines, cf_buf_slice(&line), e));
    *last_seq = seq;
    seen->name_hash |= GOOD;
    return CF_OK;
}

static cf_err uploads_take(adopted_run *const r, const cf_slice text, cf_error *const e)
{
    cf_buf_clear(&r->uploads);
    return text.len <= UPLOADS_LEN_MAX ? cf_buf_append(&r->uploads, text, e) : CF_OK;
}

static cf_err journals_read(cf_adoption *const a, adopted_run *const r,
                            const cf_damage *const damage, cf_error *const e)
{
    uint32_t last_seq = 0;
    for (;;) {
        cf_journal_kind kind = CF_JOURNAL_END;
        cf_slice text = {NULL, 0};
        CF_TRY(cf_journal_reader_next(r->reader, &kind, &text, e));
        if (kind == CF_JOURNAL_END)
            return CF_OK;
        if (kind == CF_JOURNAL_PACK)
            CF_TRY(pack_take(a, r, damage, text, &last_seq, e));
        else if (kind == CF_JOURNAL_UPLOADS)
            CF_TRY(uploads_take(r, text, e));
    }
}

static cf_err run_add(cf_adoption *const a, const cf_adoption_opts *const o,
                      const cf_run_id *const id, cf_error *const e)
{
    CF_CLEANUP(run_deinit) adopted_run r = {.id = *id};
    cf_error why = {0};
    uint64_t bytes = 0;
    cf_buf_init(&r.uploads, UPLOADS_LEN_MAX);
    CF_TRY(run_list(a, &r, e));
    for (size_t i = 0; i < r.journal_total; i++)
        bytes += r.journals[i].stored_bytes;
    if (r.journal_total == 0) /* nothing says what its packs hold */
        return CF_OK;
    const bool keep = bytes <= a->keep_left;
    CF_TRY(cf_journal_reader_new(o->repo, a->node, id, r.journals, r.journal_total, keep, &r.reader,
                                 e));
    const cf_err err = journals_read(a, &r, o->damage, &why);
    if (err == CF_ERR_DAMAGE) { /* what came before it is good */
        say(o, CF_LOG_WARN, "what run %s left cannot be read whole: %s; the rest is sent again",
            id->text, why.message);
    } else if (err != CF_OK) {
        if (e != NULL)
            *e = why;
        return err;
    }
    a->keep_left -= keep ? bytes : 0;
    a->runs[a->total++] = r;
    r = (adopted_run){0};
    return CF_OK;
}

static int id_cmp(const void *const a, const void *const b)
{
    return strcmp(((const cf_run_id *)a)->text, ((const cf_run_id *)b)->text);
}

static void tell(const cf_adoption *const a, const cf_adoption_opts *const o)
{
    for (size_t i = 0; i < a->total; i++) {
        const adopted_run *const r = &a->runs[i];
        uint64_t bytes = 0;
        size_t packs = 0;
        for (size_t k = 0; k < r->pack_total; k++) {
            packs += is_good(&r->packs[k]);
            bytes += is_good(&r->packs[k]) ? r->packs[k].stored_bytes : 0;
        }
        say(o, CF_LOG_INFO,
            "run %s ended without a snapshot: going on from its %zu packs, %llu MiB", r->id.text,
            packs, (unsigned long long)(bytes >> 20));
    }
}

cf_err cf_adoption_new(const cf_adoption_opts *const opts, cf_adoption **const ret,
                       cf_error *const e)
{
    CF_CLEANUP(cf_adoption_freep) cf_adoption *a = NULL;
    cf_run_id sorted[CF_LEASE_USES_MAX];
    CF_CHECK(opts->total <= CF_LEASE_USES_MAX);
    CF_NEW(a, e);
    a->repo = opts->repo;
    (void)snprintf(a->node, sizeof(a->node), "%s", opts->node);
    a->keep_left = KEEP_BYTES;
    CF_TRY(cf_spool_new(&a->lines, e));
    CF_TRY(cf_line_store_new(&a->store, e));
    for (size_t i = 0; i < opts->total; i++)
        sorted[i] = opts->runs[i];
    qsort(sorted, opts->total, sizeof(sorted[0]), id_cmp);
    for (size_t i = 0; i < opts->total; i++) {
        if (i == 0 || id_cmp(&sorted[i], &sorted[i - 1]) != 0)
            CF_TRY(run_add(a, opts, &sorted[i], e));
    }
    tell(a, opts);
    *ret = a->total > 0 ? CF_STEAL(a) : NULL;
    return CF_OK;
}

/* --- asking --- */

static const pack_seen *good_find(const cf_adoption *const a, const char *const pack)
{
    cf_run_id run = {""};
    uint32_t seq = 0;
    if (a == NULL || !cf_object_name_parse(cf_slice_str(pack), &run, &seq, NULL))
        return NULL;
    for (size_t i = 0; i < a->total; i++) {
        if (strcmp(a->runs[i].id.text, run.text) != 0)
            continue;
        const pack_seen *const p = seen_find(&a->runs[i], seq, pack);
        return p != NULL && is_good(p) ? p : NULL;
    }
    return NULL;
}

bool cf_adoption_has(const cf_adoption *const a, const char *const pack)
{
    return good_find(a, pack) != NULL;
}

bool cf_adoption_has_bytes(const cf_adoption *const a, const char *const pack, const uint64_t bytes)
{
    const pack_seen *const p = good_find(a, pack);
    return p != NULL && bytes <= p->stored_bytes;
}

void cf_adoption_rewind(cf_adoption *const a)
{
    cf_spool_rewind(a->lines);
}

cf_err cf_adoption_next_pack(cf_adoption *const a, const cf_pack_line **const ret,
                             cf_error *const e)
{
    cf_slice text = {NULL, 0};
    CF_TRY(cf_spool_next(a->lines, &text, e));
    if (text.len > 0)
        CF_TRY(cf_pack_line_parse(text, a->store, &a->line, e));
    *ret = text.len > 0 ? &a->line : NULL;
    return CF_OK;
}

size_t cf_adoption_run_total(const cf_adoption *const a)
{
    return a == NULL ? 0 : a->total;
}

cf_journal_reader *cf_adoption_journal(const cf_adoption *const a, const size_t i)
{
    return a->runs[i].reader;
}

const cf_run_id *cf_adoption_run(const cf_adoption *const a, const size_t i)
{
    return &a->runs[i].id;
}

/* --- uploads --- */

/* A journal is not believed: only keys of the run's own. */
static void upload_abort(const cf_adoption *const a, const adopted_run *const r,
                         const json_t *const o)
{
    cf_slice key = {NULL, 0};
    cf_slice id = {NULL, 0};
    cf_run_id run = {""};
    char prefix[CF_KEY_LEN_MAX + 1];
    cf_key_folder(prefix, a->node, "runs");
    if (cf_json_get_str(o, "key", 1, CF_KEY_LEN_MAX, &key, /* e= */ NULL) != CF_OK ||
        cf_json_get_str(o, "id", 1, UPLOADS_LEN_MAX, &id, /* e= */ NULL) != CF_OK ||
        !cf_slice_starts_with(key, cf_slice_str(prefix)))
        return;
    const size_t skip = strlen(prefix);
    if (!cf_object_name_parse(cf_slice_of(key.ptr + skip, key.len - skip), &run, NULL, NULL) ||
        strcmp(run.text, r->id.text) != 0)
        return;
    (void)a->repo->store->ops->abort_upload(a->repo->store, (const char *)key.ptr,
                                            (const char *)id.ptr, /* e= */ NULL);
}

void cf_adoption_abort_uploads(cf_adoption *const a)
{
    for (size_t i = 0; i < cf_adoption_run_total(a); i++) {
        CF_CLEANUP(json_decrefp) json_t *o = NULL;
        const adopted_run *const r = &a->runs[i];
        if (r->uploads.len == 0 ||
            cf_json_load(cf_buf_slice(&r->uploads), &o, /* e= */ NULL) != CF_OK)
            continue;
        const json_t *const list = json_object_get(o, "uploads");
        for (size_t k = 0; k < json_array_size(list) && k < UPLOADS_MAX; k++)
            upload_abort(a, r, json_array_get(list, k));
    }
}
