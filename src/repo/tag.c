/* SPDX-License-Identifier: Apache-2.0
 *
 * Tags: marks folded, and the mark that changes them.
 */
#include "repo/tag.h"

#include <stdio.h>
#include <stdlib.h>

#include "repo/json.h"
#include "repo/lease.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

enum { TAGS_OF_MARK_MAX = 1024 };

cf_err cf_tag_check(const char *const tag, cf_error *const e)
{
    static const char rule[] = "HINT: 1 to 64 of A-Z, a-z, 0-9, '.', '_', ':' and '-'";
    const size_t len = strnlen(tag, CF_TAG_LEN_MAX + 1);

    CF_ENSURE(len > 0, e, CF_ERR_USAGE, "a tag is empty\n%s", rule);
    CF_ENSURE(len <= CF_TAG_LEN_MAX, e, CF_ERR_USAGE, "tag '%.*s...' is longer than %d bytes\n%s",
              CF_TAG_LEN_MAX, tag, CF_TAG_LEN_MAX, rule);
    for (size_t i = 0; i < len; i++) {
        const char c = tag[i];
        const bool alnum =
            (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        CF_ENSURE(alnum || c == '.' || c == '_' || c == ':' || c == '-', e, CF_ERR_USAGE,
                  "tag '%s' has a byte 0x%02x at position %zu\n%s", tag, (unsigned)(unsigned char)c,
                  i + 1, rule);
    }
    return CF_OK;
}

/* --- change --- */

static json_t *words_array(const char *const *const words, const size_t total)
{
    json_t *const array = json_array();

    for (size_t i = 0; i < total; i++)
        (void)json_array_append_new(array, json_string(words[i]));
    if (json_array_size(array) == total)
        return array;
    json_decref(array);
    return NULL;
}

cf_err cf_tag_put(const cf_repo *const repo, const char *const node, const cf_run_id *const run,
                  const cf_tag_change *const change, cf_error *const e)
{
    CF_CLEANUP(json_decrefp) json_t *body = NULL;

    for (size_t i = 0; i < change->add_total; i++)
        CF_TRY(cf_tag_check(change->add[i], e));
    for (size_t i = 0; i < change->remove_total; i++)
        CF_TRY(cf_tag_check(change->remove[i], e));
    body = json_pack("{s:o, s:o}", "add", words_array(change->add, change->add_total), "remove",
                     words_array(change->remove, change->remove_total));
    CF_ENSURE(body != NULL, e, CF_ERR_NO_MEMORY, "make a mark");
    return cf_mark_add(repo, node, run, CF_MARK_TAG, body, e);
}

static cf_err prune_seen(void *const impl, const cf_lease_seen *const seen, cf_error *const e)
{
    (void)e;
    if (seen->state == CF_LEASE_LIVE)
        *(cf_lease_seen *)impl = *seen;
    return CF_OK;
}

/* Model: core.pml T2, T3. A prune that puts its lease after our mark will see the mark; one that ended before our look has
 * done what it does; the one in between may have looked before the mark was there. */
static cf_err came_in_time(const cf_repo *const repo, const char *const node,
                           const cf_run_id *const run, const bool pins, cf_error *const e)
{
    cf_lease_seen prune = {0};
    cf_object_stat stat = {0};
    char key[CF_KEY_LEN_MAX + 1];

    if (pins)
        CF_TRY(cf_lease_each(repo, node, "prunes", /* above= */ 0, prune_seen, &prune, e));
    cf_key_root(key, node, run);
    const cf_err err = repo->store->ops->head(repo->store, key, &stat, e);
    if (err != CF_ERR_NOT_FOUND)
        CF_TRY(err);
    CF_ENSURE(
        err == CF_OK && stat.size_bytes > 0, e, CF_ERR_FENCED,
        "snapshot '%s' of node '%s' was deleted by a prune before it was tagged: the tag has no "
        "effect\nHINT: 'chunkferry list' shows those there are",
        run->text, node);
    CF_ENSURE(prune.number == 0, e, CF_ERR_LOCKED,
              "the tag is written, but a prune is running (process %u on '%s') that may not have "
              "seen it\nHINT: run the same command again when that prune has ended",
              (unsigned)prune.body.owner.pid, prune.body.owner.host);
    return CF_OK;
}

cf_err cf_tag_set(const cf_repo *const repo, const char *const node, const cf_run_id *const run,
                  const cf_tag_change *const change, cf_error *const e)
{
    bool pins = false;

    CF_TRY(cf_tag_put(repo, node, run, change, e));
    for (size_t i = 0; i < change->add_total; i++)
        pins = pins || strcmp(change->add[i], CF_TAG_KEEP) == 0;
    return came_in_time(repo, node, run, pins, e);
}

/* --- fold --- */

static cf_err words_take(const json_t *const body, const char *const key, json_t *const set,
                         const bool add, cf_error *const e)
{
    const json_t *const words = json_object_get(body, key);

    CF_ENSURE(json_is_array(words) && json_array_size(words) <= TAGS_OF_MARK_MAX, e, CF_ERR_DAMAGE,
              "'%s' is no list of at most %d tags", key, TAGS_OF_MARK_MAX);
    for (size_t i = 0; i < json_array_size(words); i++) {
        const char *const word = json_string_value(json_array_get(words, i));

        CF_ENSURE(word != NULL && cf_tag_check(word, /* e= */ NULL) == CF_OK, e, CF_ERR_DAMAGE,
                  "'%s' holds something that is no tag", key);
        if (add)
            CF_ENSURE(json_object_set_new(set, word, json_true()) == 0, e, CF_ERR_NO_MEMORY,
                      "fold tags");
        else
            (void)json_object_del(set, word);
    }
    return CF_OK;
}

cf_err cf_tags_fold(json_t *const set, const json_t *const body, cf_error *const e)
{
    CF_TRY(words_take(body, "remove", set, /* add= */ false, e));
    return words_take(body, "add", set, /* add= */ true, e);
}

static int word_cmp(const void *const a, const void *const b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The keys of a set in byte order. */
static cf_err set_sort(const json_t *const set, json_t **const ret, cf_error *const e)
{
    const size_t total = json_object_size(set);
    CF_CLEANUP(cf_freep) const char **words = cf_alloc(total + 1, sizeof(*words));
    const char *word = NULL;
    json_t *value = NULL;
    size_t n = 0;

    CF_ENSURE(words != NULL, e, CF_ERR_NO_MEMORY, "sort %zu tags", total);
    json_object_foreach((json_t *)(uintptr_t)set, word, value) words[n++] = word;
    qsort(words, total, sizeof(*words), word_cmp);
    json_t *const array = words_array(words, total);
    CF_ENSURE(array != NULL, e, CF_ERR_NO_MEMORY, "sort %zu tags", total);
    *ret = array;
    return CF_OK;
}

typedef struct loader {
    const cf_repo *repo;
    const char *node;
    cf_tag_bad_fn bad;
    void *impl;
    json_t *all, *set; /* owned; set: of the run under way */
    cf_run_id run;     /* "" at first */
} loader;

static void loader_deinit(loader *const l)
{
    json_decref(l->all);
    json_decref(l->set);
}

static cf_err run_end(loader *const l, cf_error *const e)
{
    json_t *array = NULL;

    if (json_object_size(l->set) == 0)
        return CF_OK;
    CF_TRY(set_sort(l->set, &array, e));
    CF_ENSURE(json_object_set_new(l->all, l->run.text, array) == 0, e, CF_ERR_NO_MEMORY,
              "load tags");
    (void)json_object_clear(l->set);
    return CF_OK;
}

static cf_err mark_fold(loader *const l, const cf_mark *const mark, cf_error *const e)
{
    CF_CLEANUP(json_decrefp) json_t *body = NULL;
    const cf_err err = cf_mark_load(l->repo, l->node, mark, &body, e);

    if (err == CF_ERR_NOT_FOUND) /* a prune had the snapshot since the LIST */
        return CF_OK;
    CF_TRY(err);
    CF_TRY_AS(cf_tags_fold(l->set, body, e), e, "mark '%s' of snapshot '%s'", mark->name,
              mark->run.text);
    return CF_OK;
}

static cf_err mark_take(void *const impl, const cf_mark *const mark, cf_error *const e)
{
    loader *const l = impl;
    cf_error why = {0};

    if (!cf_mark_is(mark, CF_MARK_TAG))
        return CF_OK;
    if (strcmp(mark->run.text, l->run.text) != 0) {
        CF_TRY(run_end(l, e));
        l->run = mark->run;
    }
    const cf_err err = mark_fold(l, mark, &why);
    if (l->bad != NULL && (err == CF_ERR_DAMAGE || err == CF_ERR_FORMAT)) {
        l->bad(l->impl, mark, why.message);
        return CF_OK;
    }
    if (err != CF_OK && e != NULL)
        *e = why;
    return err;
}

cf_err cf_tags_load(const cf_repo *const repo, const char *const node, const cf_run_id *const only,
                    const cf_tag_bad_fn bad, void *const impl, json_t **const ret,
                    cf_error *const e)
{
    CF_CLEANUP(loader_deinit)
    loader l = {repo, node, bad, impl, json_object(), json_object(), {""}};

    CF_ENSURE(l.all != NULL && l.set != NULL, e, CF_ERR_NO_MEMORY, "load tags");
    CF_TRY(cf_mark_each(repo, node, only, mark_take, &l, e));
    CF_TRY(run_end(&l, e));
    *ret = CF_STEAL(l.all);
    return CF_OK;
}

bool cf_tags_have(const json_t *const tags, const char *const tag)
{
    for (size_t i = 0; i < json_array_size(tags); i++) {
        if (strcmp(json_string_value(json_array_get(tags, i)), tag) == 0)
            return true;
    }
    return false;
}

char *cf_tags_text(const json_t *const tags)
{
    const size_t room = json_array_size(tags) * (CF_TAG_LEN_MAX + 2) + 1;
    char *const text = cf_alloc(room, 1);
    size_t used = 0;

    for (size_t i = 0; text != NULL && i < json_array_size(tags); i++)
        used += (size_t)snprintf(text + used, room - used, "%s%s", i > 0 ? ", " : "",
                                 json_string_value(json_array_get(tags, i)));
    return text;
}
