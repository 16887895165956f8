/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/kurrentdb/indexmap.h"

#include <stdbool.h>
#include <stdlib.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/hash.h"
#include "s3/base/num.h"

enum { HASH_TEXT_LEN = 32 };

/* Takes the next line, without its end; false at the end of the text. */
static bool line_take(cf_slice *text, cf_slice *ret)
{
    if (text->len == 0)
        return false;
    const uint8_t *const end = memchr(text->ptr, '\n', text->len);
    const size_t len = end == NULL ? text->len : (size_t)(end - text->ptr);
    const size_t taken = end == NULL ? len : len + 1;

    *ret = cf_slice_of(text->ptr, len > 0 && text->ptr[len - 1] == '\r' ? len - 1 : len);
    *text = cf_slice_of(text->ptr + taken, text->len - taken);
    return true;
}

/* Takes what stands before `separator`; false when there is none. */
static bool field_take(cf_slice *text, char separator, cf_slice *ret)
{
    const uint8_t *const end = text->len == 0 ? NULL : memchr(text->ptr, separator, text->len);

    if (end == NULL)
        return false;
    *ret = cf_slice_of(text->ptr, (size_t)(end - text->ptr));
    *text = cf_slice_of(end + 1, text->len - ret->len - 1);
    return true;
}

static bool u32_parse(cf_slice text, uint32_t *ret)
{
    uint64_t value = 0;

    if (!cf_u64_parse(text, &value) || value > UINT32_MAX)
        return false;
    *ret = (uint32_t)value;
    return true;
}

static cf_err hash_check(cf_slice text, cf_error *e)
{
    uint8_t expected[CF_MD5_LEN];
    uint8_t found[CF_MD5_LEN];
    char found_hex[CF_MD5_HEX_SIZE];

    CF_ENSURE(text.len > HASH_TEXT_LEN, e, CF_ERR_PARSE, "%zu bytes are too few", text.len);
    CF_ENSURE(cf_hex_parse(cf_slice_of(text.ptr, HASH_TEXT_LEN), expected, sizeof(expected)), e,
              CF_ERR_PARSE, "its first line is no MD5");
    CF_TRY(cf_md5(cf_slice_of(text.ptr + HASH_TEXT_LEN, text.len - HASH_TEXT_LEN), found, e));
    cf_hex_render(cf_slice_of(found, sizeof(found)), found_hex);
    CF_ENSURE(memcmp(expected, found, sizeof(found)) == 0, e, CF_ERR_PARSE,
              "its MD5 is '%.32s', its content gives '%s'", (const char *)text.ptr, found_hex);
    return CF_OK;
}

static cf_err head_parse(cf_slice *text, cf_kdb_indexmap *ret, cf_error *e)
{
    cf_slice line = {0};
    cf_slice prepare = {0};

    CF_ENSURE(line_take(text, &line) && line.len == HASH_TEXT_LEN, e, CF_ERR_PARSE,
              "its first line is no MD5");
    CF_ENSURE(line_take(text, &line) && u32_parse(line, &ret->version), e, CF_ERR_PARSE,
              "no version");
    CF_ENSURE(ret->version == 1 || ret->version == 2, e, CF_ERR_UNSUPPORTED,
              "version %u is not 1 or 2", ret->version);
    CF_ENSURE(line_take(text, &line) && field_take(&line, '/', &prepare), e, CF_ERR_PARSE,
              "no checkpoints");
    CF_ENSURE(cf_i64_parse(prepare, &ret->prepare) && ret->prepare >= -1, e, CF_ERR_PARSE,
              "prepare checkpoint '%.*s'", CF_SLICE_FMT(prepare));
    CF_ENSURE(cf_i64_parse(line, &ret->commit) && ret->commit >= -1, e, CF_ERR_PARSE,
              "commit checkpoint '%.*s'", CF_SLICE_FMT(line));
    if (ret->version >= 2)
        CF_ENSURE(line_take(text, &line), e, CF_ERR_PARSE, "no highest level");
    return CF_OK;
}

static cf_err table_parse(cf_slice line, cf_kdb_indexmap_table *ret, cf_error *e)
{
    cf_slice level = {0};
    cf_slice position = {0};
    cf_slice rest = line;

    CF_ENSURE(field_take(&rest, ',', &level) && field_take(&rest, ',', &position), e, CF_ERR_PARSE,
              "line '%.*s' is not level,position,file", (int)(line.len < 80 ? line.len : 80),
              (const char *)line.ptr);
    CF_ENSURE(u32_parse(level, &ret->level), e, CF_ERR_PARSE, "level '%.*s'",
              (int)(level.len < 40 ? level.len : 40), (const char *)level.ptr);
    CF_ENSURE(u32_parse(position, &ret->position), e, CF_ERR_PARSE, "position '%.*s'",
              (int)(position.len < 40 ? position.len : 40), (const char *)position.ptr);
    CF_ENSURE(cf_kdb_guid_is(rest), e, CF_ERR_PARSE, "table name '%.*s' is no GUID",
              (int)(rest.len < 80 ? rest.len : 80), (const char *)rest.ptr);
    memcpy(ret->name, rest.ptr, CF_KDB_GUID_LEN);
    ret->name[CF_KDB_GUID_LEN] = '\0';
    return CF_OK;
}

static int table_cmp(const void *a, const void *b)
{
    return memcmp(((const cf_kdb_indexmap_table *)a)->name,
                  ((const cf_kdb_indexmap_table *)b)->name, CF_KDB_GUID_LEN);
}

static cf_err tables_parse(cf_slice text, cf_kdb_indexmap *ret, cf_error *e)
{
    size_t lines = 0;
    cf_slice line = {0};

    for (size_t i = 0; i < text.len; i++)
        lines += text.ptr[i] == '\n';
    lines += 1; /* the last may have no end */
    CF_ENSURE(lines <= CF_KDB_TABLE_TOTAL_MAX, e, CF_ERR_PARSE,
              "%zu lines are over the limit of %d", lines, CF_KDB_TABLE_TOTAL_MAX);
    ret->tables = cf_alloc(lines, sizeof(*ret->tables));
    CF_ENSURE(ret->tables != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu tables", lines);
    while (line_take(&text, &line)) {
        if (line.len == 0)
            continue;
        CF_TRY(table_parse(line, &ret->tables[ret->table_total], e));
        ret->table_total++;
    }
    qsort(ret->tables, ret->table_total, sizeof(*ret->tables), table_cmp);
    for (uint32_t i = 1; i < ret->table_total; i++)
        CF_ENSURE(table_cmp(&ret->tables[i - 1], &ret->tables[i]) != 0, e, CF_ERR_PARSE,
                  "table '%s' is there twice", ret->tables[i].name);
    return CF_OK;
}

cf_err cf_kdb_indexmap_parse(cf_slice text, cf_kdb_indexmap *ret, cf_error *e)
{
    CF_CLEANUP(cf_kdb_indexmap_deinit) cf_kdb_indexmap m = {0};

    CF_ENSURE(text.len <= CF_KDB_INDEXMAP_LEN_MAX, e, CF_ERR_PARSE,
              "%zu bytes are over the limit of %d", text.len, CF_KDB_INDEXMAP_LEN_MAX);
    CF_TRY(hash_check(text, e));
    CF_TRY(head_parse(&text, &m, e));
    CF_TRY(tables_parse(text, &m, e));
    CF_ENSURE(m.table_total == 0 || m.commit >= 0, e, CF_ERR_PARSE,
              "%u tables without a commit checkpoint", m.table_total);
    *ret = m;
    m.tables = NULL;
    return CF_OK;
}

void cf_kdb_indexmap_deinit(cf_kdb_indexmap *m)
{
    cf_free(m->tables);
    *m = (cf_kdb_indexmap){0};
}
