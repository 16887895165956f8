/* SPDX-License-Identifier: Apache-2.0
 *
 * The last words of a restore: how to start the node. From the snapshot's facts alone.
 */
#include <inttypes.h>

#include "profile/kurrentdb/restore.h"

static bool has_hazard(const json_t *facts, const char *id)
{
    const json_t *const all = json_object_get(facts, "hazards");

    for (size_t k = 0; k < json_array_size(all); k++) {
        const char *const text = json_string_value(json_array_get(all, k));

        if (text != NULL && strcmp(text, id) == 0)
            return true;
    }
    return false;
}

static bool fact_is(const json_t *facts, const char *key, const char *value)
{
    const char *const text = json_string_value(json_object_get(facts, key));

    return text != NULL && strcmp(text, value) == 0;
}

static cf_err start_words(const json_t *facts, cf_buf *ret, cf_error *e)
{
    const int64_t chunk_size = json_integer_value(json_object_get(facts, "chunk_size"));

    CF_TRY(cf_buf_append_str(
        ret,
        "How to start this node:\n"
        "1. The files must belong to the user the server runs as (--owner does it).\n",
        e));
    if (chunk_size == 256 * 1024 * 1024)
        CF_TRY(cf_buf_append_str(
            ret, "2. ChunkSize must be the default, 268435456: do not set it.\n", e));
    else
        CF_TRY(cf_buf_printf(ret, e,
                             "2. The server's ChunkSize must be %" PRId64
                             ", or it reads the log at the wrong places.\n",
                             chunk_size));
    return cf_buf_append_str(ret,
                             "3. Start it. From 24.6 on the first start cuts the log at "
                             "chaser.chk, says 'Truncation successful. Shutting "
                             "down.' and\n"
                             "   exits with code 0. That is right, and it proves nothing: systemd "
                             "with Restart=on-failure does not start it "
                             "again.\n"
                             "4. Start it a second time. It is restored when /health/live answers "
                             "204 and still does after the check of all "
                             "chunk\n"
                             "   checksums, which goes on in the background for minutes and stops "
                             "the server when a chunk is damaged. "
                             "Leave\n"
                             "   SkipDbVerify off for it.\n"
                             "5. In a cluster: start a restored node twice, until it is live, "
                             "before you start any empty node; empty nodes "
                             "that meet\n"
                             "   each other first make a new database, and the restored node then "
                             "truncates itself to theirs. Restore "
                             "several nodes\n"
                             "   from one snapshot, or each from its own; never put files of two "
                             "snapshots into one directory.\n"
                             "6. A scavenge that was stopped for the backup is not resumed by "
                             "itself: start it again, and if auto-scavenge "
                             "was\n"
                             "   paused, POST /auto-scavenge/resume.\n",
                             e);
}

cf_err cf_kdb_closing_words(const json_t *facts, cf_buf *ret, cf_error *e)
{
    CF_TRY(start_words(facts, ret, e));
    if (fact_is(facts, "secondary_indexes", "left-out"))
        CF_TRY(cf_buf_append_str(
            ret,
            "Left out: secondary indexes (kurrent.ddb). The node rebuilds them from the log in "
            "the background; that the schema\n"
            "   registry in the same file comes back too is not proven.\n",
            e));
    if (fact_is(facts, "existence_filter", "absent"))
        CF_TRY(cf_buf_append_str(
            ret,
            "Left out: the stream existence filter. The node rebuilds it before it is ready.\n",
            e));
    if (fact_is(facts, "scavenge_db", "left-out"))
        CF_TRY(cf_buf_append_str(
            ret, "Left out: the scavenge database. The next scavenge starts from the beginning.\n",
            e));
    if (json_is_null(json_object_get(facts, "index")))
        CF_TRY(cf_buf_append_str(
            ret, "Left out: the index; there was none. The node builds it from the log.\n", e));
    if (has_hazard(facts, "encrypted"))
        CF_TRY(cf_buf_append_str(
            ret,
            "Not in the backup: the master keys of encryption at rest. Put them where the "
            "server's configuration says first.\n",
            e));
    if (has_hazard(facts, "archiving"))
        CF_TRY(cf_buf_append_str(
            ret,
            "Not in the backup: the archive. Configure the same archive before the first start; "
            "an archiver node is restored\n"
            "   only from its own backup.\n",
            e));
    return CF_OK;
}
