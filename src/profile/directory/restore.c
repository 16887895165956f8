/* SPDX-License-Identifier: Apache-2.0
 *
 * What a restored tree needs to be told.
 */
#include "profile/directory/source.h"

static uint64_t fact(const json_t *const facts, const char *const key)
{
    return (uint64_t)json_integer_value(json_object_get(facts, key));
}

cf_err cf_tree_closing_words(const json_t *const facts, cf_buf *const ret, cf_error *const e)
{
    const uint64_t changed = fact(facts, "changed"), left_out = fact(facts, "left_out");

    CF_TRY(cf_buf_append_str(
        ret,
        "The tree stands as it was read. Names that shared one file (hard links) are files of "
        "their own now;\nextended attributes and access lists are not part of a snapshot.\n",
        e));
    if (changed > 0)
        CF_TRY(cf_buf_printf(ret, e,
                             "%llu files were changing while they were read and are as they were "
                             "read.\n",
                             (unsigned long long)changed));
    if (left_out > 0)
        CF_TRY(cf_buf_printf(ret, e,
                             "%llu files or directories could not be read and are missing.\n",
                             (unsigned long long)left_out));
    return CF_OK;
}
