/* SPDX-License-Identifier: Apache-2.0
 *
 * Damage marks, folded into a sorted array: damage is rare and short.
 */
#include "repo/damage.h"

#include <stdlib.h>

#include "repo/mark.h"
#include "s3/base/alloc.h"

enum { ENTRIES_MAX = 1000 * 1000 }; /* ours: as many packs as a snapshot can name */

typedef struct entry {
    char *object; /* owned; "": all of the snapshot */
    cf_run_id snapshot;
} entry;

struct cf_damage {
    entry *entries; /* owned */
    size_t total, cap;
};

void cf_damage_free(cf_damage *const d)
{
    if (d == NULL)
        return;
    for (size_t i = 0; i < d->total; i++)
        cf_free(d->entries[i].object);
    cf_free(d->entries);
    cf_free(d);
}

static cf_err entry_add(cf_damage *const d, const cf_run_id *const snapshot,
                        const char *const object, cf_error *const e)
{
    if (d->total == d->cap) {
        const size_t cap = d->cap == 0 ? 16 : d->cap * 2;
        CF_ENSURE(d->total < ENTRIES_MAX, e, CF_ERR_TOO_LARGE, "more than %d damaged objects",
                  ENTRIES_MAX);
        entry *const grown = cf_realloc(d->entries, cap, sizeof(*grown));
        CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu damaged objects", cap);
        d->entries = grown;
        d->cap = cap;
    }
    char *const copy = cf_strdup(object);
    CF_ENSURE(copy != NULL, e, CF_ERR_NO_MEMORY, "copy a name");
    d->entries[d->total++] = (entry){copy, *snapshot};
    return CF_OK;
}

static int entry_cmp(const void *const a, const void *const b)
{
    const entry *const x = a, *const y = b;
    const int order = strcmp(x->object, y->object);

    return order != 0 ? order : strcmp(x->snapshot.text, y->snapshot.text);
}

/* ---- loading ---- */

typedef struct marks {
    cf_mark *mark; /* owned */
    size_t total, cap;
} marks;

static void marks_deinit(marks *const m)
{
    cf_free(m->mark);
}

static cf_err mark_take(void *const impl, const cf_mark *const mark, cf_error *const e)
{
    marks *const m = impl;

    if (!cf_mark_is(mark, CF_MARK_DAMAGE))
        return CF_OK;
    if (m->total == m->cap) {
        const size_t cap = m->cap == 0 ? 16 : m->cap * 2;
        CF_ENSURE(m->total < ENTRIES_MAX, e, CF_ERR_TOO_LARGE, "more than %d marks of damage",
                  ENTRIES_MAX);
        cf_mark *const grown = cf_realloc(m->mark, cap, sizeof(*grown));
        CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu marks", cap);
        m->mark = grown;
        m->cap = cap;
    }
    m->mark[m->total++] = *mark;
    return CF_OK;
}

/* A mark that cannot be read still says that something is damaged: then it is everything. */
static cf_err mark_read(const cf_repo *const repo, const char *const node,
                        const cf_mark *const mark, cf_damage *const d, cf_error *const e)
{
    CF_CLEANUP(json_decrefp) json_t *body = NULL;
    const cf_err err = cf_mark_load(repo, node, mark, &body, e);

    if (err == CF_ERR_NOT_FOUND) /* prune had it: its snapshot went */
        return CF_OK;
    if (err != CF_ERR_DAMAGE && err != CF_ERR_FORMAT)
        CF_TRY(err);
    const json_t *const objects = json_object_get(body, "objects");
    if (json_array_size(objects) == 0)
        return entry_add(d, &mark->run, "", e);
    for (size_t i = 0; i < json_array_size(objects); i++) {
        const char *const name = json_string_value(json_array_get(objects, i));
        const bool sound =
            name != NULL && cf_object_name_parse(cf_slice_str(name), NULL, NULL, NULL);
        CF_TRY(entry_add(d, &mark->run, sound ? name : "", e));
    }
    return CF_OK;
}

cf_err cf_damage_load(const cf_repo *const repo, const char *const node, cf_damage **const ret,
                      cf_error *const e)
{
    CF_CLEANUP(marks_deinit) marks m = {0};
    CF_CLEANUP(cf_damage_freep) cf_damage *d = NULL;

    CF_TRY(cf_mark_each(repo, node, /* only= */ NULL, mark_take, &m, e));
    if (m.total > 0)
        CF_NEW(d, e);
    for (size_t i = 0; i < m.total; i++)
        CF_TRY(mark_read(repo, node, &m.mark[i], d, e));
    if (d != NULL && d->total > 1)
        qsort(d->entries, d->total, sizeof(*d->entries), entry_cmp);
    *ret = d != NULL && d->total > 0 ? CF_STEAL(d) : NULL;
    return CF_OK;
}

/* ---- asking ---- */

static int object_cmp(const void *const name, const void *const x)
{
    return strcmp(name, ((const entry *)x)->object);
}

bool cf_damage_has(const cf_damage *const d, const char *const object_name)
{
    return d != NULL &&
           bsearch(object_name, d->entries, d->total, sizeof(*d->entries), object_cmp) != NULL;
}

bool cf_damage_has_in(const cf_damage *const d, const cf_run_id *const snapshot,
                      const char *const object_name)
{
    for (size_t i = 0; d != NULL && i < d->total; i++) {
        if (strcmp(d->entries[i].object, object_name) == 0 &&
            strcmp(d->entries[i].snapshot.text, snapshot->text) == 0)
            return true;
    }
    return false;
}

bool cf_damage_has_all_of(const cf_damage *const d, const cf_run_id *const snapshot)
{
    return cf_damage_has_in(d, snapshot, "");
}
