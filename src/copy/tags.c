/* SPDX-License-Identifier: Apache-2.0
 *
 * Tags go with their snapshot, as one mark. Proofs and damage do not: they speak of the bytes in the
 * other store, and of these nobody has read more than the packs that were sent.
 */
#include "copy/copy.h"
#include "repo/tag.h"
#include "s3/base/cleanup.h"

enum { TAGS_MAX = 256 }; /* ours */

static void bad_mark(void *const impl, const cf_mark *const mark, const char *const why)
{
    cf_copy_log(impl, CF_LOG_WARN, "mark '%s' of the source's snapshot %s cannot be read: %s",
                mark->name, mark->run.text, why);
}

cf_err cf_transfer_tags(cf_transfer *const t, cf_error *const e)
{
    cf_copy *const c = t->c;
    CF_CLEANUP(json_decrefp) json_t *all = NULL;
    const char *words[TAGS_MAX];
    cf_tag_change change = {.add = words};

    CF_TRY_AS(cf_tags_load(&c->from, c->node, &t->id, bad_mark, c, &all, e), e,
              "the source's tags");
    const json_t *const tags = json_object_get(all, t->id.text);
    for (size_t i = 0; i < json_array_size(tags); i++) {
        CF_ENSURE(i < TAGS_MAX, e, CF_ERR_TOO_LARGE, "snapshot %s has more than %d tags",
                  t->id.text, TAGS_MAX);
        words[change.add_total++] = json_string_value(json_array_get(tags, i));
    }
    return change.add_total > 0 ? cf_tag_put(&c->to, c->node, &t->claim.run.id, &change, e) : CF_OK;
}
