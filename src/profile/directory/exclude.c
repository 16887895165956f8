/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/directory/exclude.h"

#include <fnmatch.h>
#include <string.h>

#include "repo/line.h"
#include "s3/base/alloc.h"

enum { COMPONENT_TOTAL_MAX = CF_PATH_LEN_MAX / 2 + 1 };

/* Components one after the other, each with its NUL. */
typedef struct parts {
    char *text;
    uint16_t *at; /* where each begins */
    size_t total;
} parts;

typedef struct pattern {
    parts parts; /* owned */
    bool from_top, only_dirs;
} pattern;

struct cf_exclude {
    pattern *at; /* owned */
    size_t total;
    bool some_from_top;
};

void cf_exclude_free(cf_exclude *const x)
{
    if (x == NULL)
        return;
    for (size_t i = 0; i < x->total; i++) {
        cf_free(x->at[i].parts.text);
        cf_free(x->at[i].parts.at);
    }
    cf_free(x->at);
    cf_free(x);
}

/* Cuts text at its slashes; it has room for every component. */
static void parts_cut(parts *const p)
{
    char *at = p->text;

    p->total = 0;
    for (char *slash = at; slash != NULL; at = slash + 1) {
        slash = strchr(at, '/');
        if (slash != NULL)
            *slash = '\0';
        p->at[p->total++] = (uint16_t)(at - p->text);
        if (slash == NULL)
            return;
    }
}

static const char *part_at(const parts *const p, const size_t i)
{
    return p->text + p->at[i];
}

static bool is_any_depth(const parts *const p, const size_t i)
{
    return strcmp(part_at(p, i), "**") == 0;
}

static cf_err pattern_check(const pattern *const p, const char *const text, cf_error *const e)
{
    for (size_t i = 0; i < p->parts.total; i++) {
        const char *const part = part_at(&p->parts, i);

        CF_ENSURE(part[0] != '\0', e, CF_ERR_USAGE,
                  "'--exclude %s' has an empty component\nHINT: one '/' between two names", text);
        CF_ENSURE(strcmp(part, ".") != 0 && strcmp(part, "..") != 0, e, CF_ERR_USAGE,
                  "'--exclude %s' has the component '%s', which no path in the tree has\nHINT: "
                  "patterns with a '/' begin at the top of --dir: 'var/cache'",
                  text, part);
    }
    return CF_OK;
}

static cf_err pattern_init(pattern *const p, const char *const text, cf_error *const e)
{
    const char *const begin = text[0] == '/' ? text + 1 : text;
    size_t len = strlen(begin);

    CF_ENSURE(len <= CF_PATH_LEN_MAX, e, CF_ERR_USAGE,
              "'--exclude %.100s...' has %zu bytes, more than the %d a path may have", text, len,
              CF_PATH_LEN_MAX);
    p->only_dirs = len > 0 && begin[len - 1] == '/';
    len -= p->only_dirs;
    CF_ENSURE(len > 0, e, CF_ERR_USAGE, "'--exclude %s' names nothing", text);
    p->parts.text = cf_strndup(begin, len);
    p->parts.at = cf_alloc(len / 2 + 2 + len % 2, sizeof(*p->parts.at));
    CF_ENSURE(p->parts.text != NULL && p->parts.at != NULL, e, CF_ERR_NO_MEMORY,
              "allocate a pattern");
    p->from_top = begin != text || strchr(p->parts.text, '/') != NULL;
    CF_ENSURE(strstr(p->parts.text, "//") == NULL, e, CF_ERR_USAGE,
              "'--exclude %s' has an empty component\nHINT: one '/' between two names", text);
    parts_cut(&p->parts);
    return pattern_check(p, text, e);
}

cf_err cf_exclude_new(const char *const *const patterns, const size_t total, cf_exclude **const ret,
                      cf_error *const e)
{
    CF_CLEANUP(cf_exclude_freep) cf_exclude *x = NULL;

    CF_NEW(x, e);
    x->at = cf_alloc(total + 1, sizeof(*x->at));
    CF_ENSURE(x->at != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu patterns", total);
    x->total = total;
    for (size_t i = 0; i < total; i++) {
        CF_TRY(pattern_init(&x->at[i], patterns[i], e));
        x->some_from_top = x->some_from_top || x->at[i].from_top;
    }
    *ret = CF_STEAL(x);
    return CF_OK;
}

/* Going back to the last '**' alone is enough: what an earlier one could take, that one can too. */
static bool parts_match(const parts *const wanted, const parts *const path)
{
    size_t i = 0, k = 0, back_i = SIZE_MAX, back_k = 0;

    while (k < path->total) {
        if (i < wanted->total && is_any_depth(wanted, i)) {
            if (i + 1 == wanted->total)
                return true; /* at least one component is left */
            back_i = ++i;
            back_k = k;
        } else if (i < wanted->total && fnmatch(part_at(wanted, i), part_at(path, k), 0) == 0) {
            i++;
            k++;
        } else if (back_i != SIZE_MAX) {
            i = back_i;
            k = ++back_k;
        } else {
            return false;
        }
    }
    return i == wanted->total;
}

bool cf_exclude_matches(const cf_exclude *const x, const char *const path, const bool is_dir)
{
    const char *const slash = strrchr(path, '/');
    const char *const name = slash != NULL ? slash + 1 : path;
    const size_t len = strlen(path);
    char text[CF_PATH_LEN_MAX + 1];
    uint16_t at[COMPONENT_TOTAL_MAX];
    parts cut = {.text = text, .at = at};

    if (x->some_from_top && len < sizeof(text)) {
        memcpy(text, path, len + 1);
        parts_cut(&cut);
    }
    for (size_t i = 0; i < x->total; i++) {
        const pattern *const p = &x->at[i];

        if (p->only_dirs && !is_dir)
            continue;
        if (p->from_top ? parts_match(&p->parts, &cut)
                        : fnmatch(part_at(&p->parts, 0), name, 0) == 0)
            return true;
    }
    return false;
}
