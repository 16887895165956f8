/* SPDX-License-Identifier: Apache-2.0
 *
 * What the directory is: facts for programs, a report for people.
 *
 * Facts, one object; keys are stable, unknown ones are to be ignored:
 *   kind                    "kurrentdb"
 *   chunk_size              bytes, what the restored server's ChunkSize must be
 *   chunk_versions          array: header versions seen (0..4; 3 and below: before 24.6)
 *   table_versions          array
 *   transforms              array: 0 none, 1 AES-GCM
 *   checkpoints             {chaser, epoch, writer, proposal, truncate}; absent ones are missing
 *   chunks                  {first, last, files, completed, ongoing, scavenged, merged, excess};
 *                           last: the writer's
 *   index                   null, or {tables, prepare, commit, by_level: {"<level>": tables}}
 *   epoch                   null, or {id, position, number, last_id}; id names the cluster and is
 *                           missing when unreadable
 *   existence_filter        "absent" | "stored"
 *   secondary_indexes       "absent" | "left-out" | "stored"
 *   scavenge_db             "absent" | "left-out" | "stored"
 *   source                  "live" | "stopped"
 *   hazards                 array of ids: encrypted, archiving, scavenge-running,
 *                           secondary-indexes, unknown-checkpoint, existence-filter-damaged,
 *                           no-index
 *   warnings                array of texts
 *   refusals                array of texts; empty but for inspect
 */
#include "profile/kurrentdb/source.h"

#include <inttypes.h>
#include <stdio.h>

#include "s3/base/cleanup.h"
#include "s3/base/num.h"

static void json_freep(json_t **j)
{
    json_decref(*j);
}

/* Takes the value; false without memory. */
static bool put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static json_t *bits_new(uint32_t bits)
{
    json_t *const array = json_array();

    for (unsigned n = 0; n < 32; n++) {
        if ((bits & 1u << n) != 0)
            (void)json_array_append_new(array, json_integer((json_int_t)n));
    }
    return array;
}

static json_t *checkpoints_new(const cf_source *s)
{
    const struct {
        const char *name;
        cf_kdb_checkpoint c;
    } all[] = {{"chaser", s->values.chaser},
               {"epoch", s->values.epoch},
               {"writer", s->values.writer},
               {"proposal", s->values.proposal},
               {"truncate", {s->truncate.present, s->truncate.value}}};
    json_t *const object = json_object();

    for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
        if (all[k].c.present)
            (void)put(object, all[k].name, json_integer(all[k].c.value));
    }
    return object;
}

typedef struct chunk_counts {
    uint32_t completed, ongoing, scavenged, merged;
} chunk_counts;

static chunk_counts chunks_count(const cf_source *s)
{
    chunk_counts c = {0};

    for (uint32_t k = 0; k < s->chunks.total; k++) {
        const cf_kdb_row *const row = &s->chunks.rows[k];
        const bool completed = (row->flags & CF_KDB_ROW_COMPLETED) != 0;

        c.completed += completed;
        c.ongoing += !completed;
        c.scavenged += (row->flags & CF_KDB_ROW_SCAVENGED) != 0;
        c.merged += row->end > row->start;
    }
    return c;
}

static json_t *chunks_new(const cf_source *s)
{
    const chunk_counts c = chunks_count(s);
    const uint32_t total = s->chunks.total;

    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "first",
                     (json_int_t)(total == 0 ? 0 : s->chunks.rows[0].start), "last",
                     (json_int_t)(total == 0 ? 0 : s->chunks.rows[total - 1].end), "files",
                     (json_int_t)total, "completed", (json_int_t)c.completed, "ongoing",
                     (json_int_t)c.ongoing, "scavenged", (json_int_t)c.scavenged, "merged",
                     (json_int_t)c.merged, "excess", (json_int_t)s->chunks.excess_total);
}

/* Tables of one level; tables are sorted by name, so count. */
static uint32_t level_count(const cf_source *s, uint32_t level)
{
    uint32_t n = 0;

    for (uint32_t k = 0; k < s->map.table_total; k++)
        n += s->map.tables[k].level == level;
    return n;
}

/* The lowest level that is >= from; false: none. */
static bool level_next(const cf_source *s, uint64_t from, uint32_t *ret)
{
    bool found = false;

    for (uint32_t k = 0; k < s->map.table_total; k++) {
        const uint32_t level = s->map.tables[k].level;

        if (level >= from && (!found || level < *ret)) {
            *ret = level;
            found = true;
        }
    }
    return found;
}

static json_t *index_new(const cf_source *s)
{
    json_t *const levels = json_object();
    uint32_t level = 0;

    if (!s->has_index) {
        json_decref(levels);
        return json_null();
    }
    for (uint64_t from = 0; level_next(s, from, &level); from = (uint64_t)level + 1) {
        char key[16];

        (void)snprintf(key, sizeof(key), "%u", level);
        (void)put(levels, key, json_integer((json_int_t)level_count(s, level)));
    }
    return json_pack("{s:I, s:I, s:I, s:o}", "tables", (json_int_t)s->map.table_total, "prepare",
                     (json_int_t)s->map.prepare, "commit", (json_int_t)s->map.commit, "by_level",
                     levels);
}

static json_t *epoch_new(const cf_source *s)
{
    json_t *const object = json_object();

    if (s->has_first_epoch)
        (void)put(object, "id", json_string(s->first_epoch.id));
    if (s->values.epoch.present)
        (void)put(object, "position", json_integer(s->values.epoch.value));
    if (s->has_last_epoch) {
        (void)put(object, "number", json_integer((json_int_t)s->last_epoch.number));
        (void)put(object, "last_id", json_string(s->last_epoch.id));
    }
    return object;
}

static bool has_item(const cf_source *s, uint16_t step)
{
    for (size_t k = 0; k < s->items.total; k++) {
        if (s->items.at[k].step == step && !s->items.at[k].left_out)
            return true;
    }
    return false;
}

static bool has_hazard(const cf_source *s, const char *id)
{
    for (size_t k = 0; k < json_array_size(s->hazards); k++) {
        if (strcmp(json_string_value(json_array_get(s->hazards, k)), id) == 0)
            return true;
    }
    return false;
}

static const char *scavenge_db_fact(const cf_source *s)
{
    if (has_item(s, CF_KDB_STEP_SCAVENGE))
        return "stored";
    return has_hazard(s, "scavenge-running") ? "left-out" : "absent";
}

cf_err cf_kdb_facts(const cf_source *s, json_t **ret, cf_error *e)
{
    CF_CLEANUP(json_freep) json_t *f = json_object();
    const struct {
        const char *key;
        json_t *value; /* given away */
    } all[] = {
        {"kind", json_string("kurrentdb")},
        {"chunk_size", json_integer((json_int_t)s->chunks.chunk_size)},
        {"chunk_versions", bits_new(s->chunks.versions_seen)},
        {"table_versions", bits_new(s->table_versions_seen)},
        {"transforms", bits_new(s->chunks.transforms_seen)},
        {"checkpoints", checkpoints_new(s)},
        {"chunks", chunks_new(s)},
        {"index", index_new(s)},
        {"epoch", epoch_new(s)},
        {"existence_filter", json_string(s->has_filter ? "stored" : "absent")},
        {"secondary_indexes", json_string(s->secondary)},
        {"scavenge_db", json_string(scavenge_db_fact(s))},
        {"source", json_string(s->opts.stopped ? "stopped" : "live")},
        {"hazards", json_deep_copy(s->hazards)},
        {"warnings", json_deep_copy(s->warnings)},
        {"refusals", json_deep_copy(s->refusals)},
    };
    bool ok = f != NULL;

    for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++)
        ok = put(f, all[k].key, all[k].value) && ok;
    CF_ENSURE(ok, e, CF_ERR_NO_MEMORY, "allocate facts");
    *ret = CF_STEAL(f);
    return CF_OK;
}

static cf_err chunks_render(const cf_source *s, cf_buf *ret, cf_error *e)
{
    const chunk_counts c = chunks_count(s);
    char size[CF_SIZE_TEXT_SIZE];
    uint64_t bytes = 0;

    for (uint32_t k = 0; k < s->chunks.total; k++)
        bytes += s->chunks.rows[k].size_bytes;
    if (s->chunks.total == 0)
        return cf_buf_append_str(ret, "chunks        none\n", e);
    CF_TRY(cf_buf_printf(ret, e, "chunks        %u..%u in %u files, %s; chunk size %u\n",
                         s->chunks.rows[0].start, s->chunks.rows[s->chunks.total - 1].end,
                         s->chunks.total, cf_size_render(bytes, size), s->chunks.chunk_size));
    CF_TRY(cf_buf_printf(ret, e, "              %u completed, %u ongoing, %u scavenged, %u merged",
                         c.completed, c.ongoing, c.scavenged, c.merged));
    if (s->chunks.excess_total > 0)
        CF_TRY(cf_buf_printf(ret, e, ", %u behind writer.chk (never backed up)",
                             s->chunks.excess_total));
    CF_TRY(cf_buf_append_str(ret, "\nversions      chunk headers", e));
    for (unsigned n = 0; n < 32; n++) {
        if ((s->chunks.versions_seen & 1u << n) != 0)
            CF_TRY(cf_buf_printf(ret, e, " %u", n));
    }
    if (s->chunks.transforms_seen > 1)
        CF_TRY(cf_buf_append_str(ret, " (encrypted)", e));
    return cf_buf_append_char(ret, '\n', e);
}

static cf_err checkpoints_render(const cf_source *s, cf_buf *ret, cf_error *e)
{
    const cf_kdb_checkpoints *const v = &s->values;

    CF_TRY(cf_buf_printf(ret, e,
                         "checkpoints   chaser %" PRId64 " %s writer %" PRId64 "; %" PRId64
                         " bytes lie between and would be lost by a restore\n",
                         v->chaser.value, v->chaser.value <= v->writer.value ? "<=" : "OVER",
                         v->writer.value, v->writer.value - v->chaser.value));
    CF_TRY(cf_buf_printf(ret, e, "              epoch %" PRId64 " %s writer; truncate %" PRId64,
                         v->epoch.value, v->epoch.value <= v->writer.value ? "<=" : "OVER",
                         s->truncate.value));
    if (v->proposal.present)
        CF_TRY(cf_buf_printf(ret, e, "; proposal %" PRId64, v->proposal.value));
    return cf_buf_append_char(ret, '\n', e);
}

static cf_err index_render(const cf_source *s, cf_buf *ret, cf_error *e)
{
    uint32_t level = 0;

    if (!s->has_index)
        return cf_buf_append_str(ret, "index         none yet\n", e);
    CF_TRY(cf_buf_printf(ret, e, "index         %u tables, committed up to %" PRId64 "; by level",
                         s->map.table_total, s->map.commit));
    for (uint64_t from = 0; level_next(s, from, &level); from = (uint64_t)level + 1)
        CF_TRY(cf_buf_printf(ret, e, " %u:%u", level, level_count(s, level)));
    return cf_buf_append_char(ret, '\n', e);
}

/* Texts with their second and later lines set under the first. */
static cf_err text_render(cf_buf *ret, const char *label, const char *text, cf_error *e)
{
    CF_TRY(cf_buf_printf(ret, e, "%-14s", label));
    for (const char *p = text; *p != '\0'; p++) {
        CF_TRY(cf_buf_append_char(ret, *p, e));
        if (*p == '\n')
            CF_TRY(cf_buf_append_str(ret, "              ", e));
    }
    return cf_buf_append_char(ret, '\n', e);
}

static cf_err verdict_render(const cf_source *s, cf_buf *ret, cf_error *e)
{
    const size_t total = json_array_size(s->refusals);

    if (total == 0)
        return cf_buf_append_str(ret, "a backup now would: succeed\n", e);
    CF_TRY(cf_buf_append_str(ret, "a backup now would: be refused because\n", e));
    for (size_t k = 0; k < total; k++)
        CF_TRY(text_render(ret, "", json_string_value(json_array_get(s->refusals, k)), e));
    return CF_OK;
}

cf_err cf_kdb_report(const cf_source *s, cf_buf *ret, cf_error *e)
{
    CF_TRY(cf_buf_printf(ret, e, "node          KurrentDB or EventStoreDB in '%s'\n", s->opts.db));
    if (s->has_first_epoch)
        CF_TRY(cf_buf_printf(ret, e, "cluster       %s", s->first_epoch.id));
    else
        CF_TRY(cf_buf_append_str(ret, "cluster       unknown: the first record cannot be read", e));
    if (s->has_last_epoch)
        CF_TRY(cf_buf_printf(ret, e, ", epoch %u since %" PRId64, s->last_epoch.number,
                             s->values.epoch.value));
    CF_TRY(cf_buf_append_char(ret, '\n', e));
    CF_TRY(checkpoints_render(s, ret, e));
    CF_TRY(chunks_render(s, ret, e));
    CF_TRY(index_render(s, ret, e));
    CF_TRY(cf_buf_printf(
        ret, e, "beside        existence filter %s, scavenge database %s, secondary indexes %s\n",
        s->has_filter ? "there" : "absent",
        has_item(s, CF_KDB_STEP_SCAVENGE) ? "there" : "absent or in use",
        strcmp(s->secondary, "absent") == 0 ? "absent" : "there"));
    for (size_t k = 0; k < json_array_size(s->warnings); k++)
        CF_TRY(text_render(ret, "hazard", json_string_value(json_array_get(s->warnings, k)), e));
    return verdict_render(s, ret, e);
}
