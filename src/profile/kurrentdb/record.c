/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/kurrentdb/record.h"

#include <jansson.h>

#include "repo/json.h"
#include "s3/base/num.h"

enum {
    TYPE_SYSTEM = 2, /* prepare 0, commit 1, system 2 */
    SYSTEM_EPOCH = 1,
    BODY_MIN = 10, /* type, version, position */
    /* Offsets in the body of a system record. */
    SYSTEM_KIND = 18,
    SYSTEM_DATA_LEN = 28,
    SYSTEM_DATA = 32,
};

static void json_freep(json_t **j)
{
    json_decref(*j);
}

static cf_err epoch_json_parse(cf_slice text, cf_kdb_epoch *ret, cf_error *e)
{
    __attribute__((cleanup(json_freep))) json_t *j = NULL;
    const cf_err err = cf_json_load(text, &j, /* e= */ NULL);
    const char *const id = json_string_value(json_object_get(j, "epochId"));
    const json_t *const number = json_object_get(j, "epochNumber");

    CF_ENSURE(err != CF_ERR_NO_MEMORY, e, err, "parse the epoch record");
    CF_ENSURE(err == CF_OK, e, CF_ERR_PARSE, "the epoch record holds no JSON object");
    CF_ENSURE(id != NULL && strlen(id) == CF_KDB_GUID_LEN, e, CF_ERR_PARSE,
              "the epoch record has no epochId");
    for (size_t i = 0; i < CF_KDB_GUID_LEN; i++)
        ret->id[i] = (char)(id[i] >= 'A' && id[i] <= 'F' ? id[i] - 'A' + 'a' : id[i]);
    ret->id[CF_KDB_GUID_LEN] = '\0';
    CF_ENSURE(cf_kdb_guid_is(cf_slice_str(ret->id)), e, CF_ERR_PARSE, "epochId is no GUID");
    if (json_is_integer(number) && json_integer_value(number) >= 0 &&
        json_integer_value(number) <= INT32_MAX)
        ret->number = (uint32_t)json_integer_value(number);
    return CF_OK;
}

cf_err cf_kdb_epoch_parse(cf_slice bytes, cf_kdb_epoch *ret, cf_error *e)
{
    cf_kdb_epoch epoch = {0};

    CF_ENSURE(bytes.len >= 4, e, CF_ERR_PARSE, "%zu bytes are no record", bytes.len);
    const uint32_t len = cf_le32(bytes.ptr);

    CF_ENSURE(len >= SYSTEM_DATA && len <= CF_KDB_EPOCH_FRAME_MAX - CF_KDB_RECORD_FRAME_LEN, e,
              CF_ERR_PARSE, "a record of %u bytes is no epoch record", len);
    CF_ENSURE(bytes.len >= (size_t)len + CF_KDB_RECORD_FRAME_LEN, e, CF_ERR_PARSE,
              "a record of %u bytes in %zu", len, bytes.len);
    const uint8_t *const body = bytes.ptr + 4;

    CF_ENSURE(cf_le32(body + len) == len, e, CF_ERR_PARSE, "record length %u before and %u behind",
              len, cf_le32(body + len));
    CF_ENSURE(body[0] == TYPE_SYSTEM, e, CF_ERR_PARSE,
              "record type %u is not that of an epoch record", body[0]);
    CF_ENSURE(body[SYSTEM_KIND] == SYSTEM_EPOCH, e, CF_ERR_PARSE, "system record of kind %u",
              body[SYSTEM_KIND]);
    epoch.position = (int64_t)cf_le64(body + 2);
    const uint32_t data_len = cf_le32(body + SYSTEM_DATA_LEN);

    CF_ENSURE(data_len <= len - SYSTEM_DATA, e, CF_ERR_PARSE, "%u bytes of data in a record of %u",
              data_len, len);
    CF_TRY(epoch_json_parse(cf_slice_of(body + SYSTEM_DATA, data_len), &epoch, e));
    *ret = epoch;
    return CF_OK;
}

/* The frame at `position` that must end at or before `limit`; its whole length. */
static cf_err frame_check(cf_kdb_log_read read, void *impl, uint64_t position, uint64_t limit,
                          uint64_t *ret_len, cf_error *e)
{
    uint8_t head[CF_KDB_RECORD_HEAD_LEN];
    uint8_t suffix[4];

    CF_ENSURE(limit - position >= CF_KDB_RECORD_HEAD_LEN + sizeof(suffix), e, CF_ERR_PARSE,
              "%llu bytes at %llu are no record", (unsigned long long)(limit - position),
              (unsigned long long)position);
    CF_TRY(read(impl, position, head, sizeof(head), e));
    const uint32_t len = cf_le32(head);

    CF_ENSURE(len >= BODY_MIN && len <= CF_KDB_RECORD_LEN_MAX, e, CF_ERR_PARSE,
              "record length %u at %llu is not in %d..%d", len, (unsigned long long)position,
              BODY_MIN, CF_KDB_RECORD_LEN_MAX);
    CF_ENSURE((uint64_t)len + CF_KDB_RECORD_FRAME_LEN <= limit - position, e, CF_ERR_PARSE,
              "the record of %u bytes at %llu goes over %llu", len, (unsigned long long)position,
              (unsigned long long)limit);
    CF_TRY(read(impl, position + 4 + len, suffix, sizeof(suffix), e));
    CF_ENSURE(cf_le32(suffix) == len, e, CF_ERR_PARSE,
              "record length %u before and %u behind at %llu", len, cf_le32(suffix),
              (unsigned long long)position);
    if (head[4] <= TYPE_SYSTEM)
        CF_ENSURE(cf_le64(head + 6) == position, e, CF_ERR_PARSE,
                  "the record at %llu says it stands at %llu", (unsigned long long)position,
                  (unsigned long long)cf_le64(head + 6));
    *ret_len = (uint64_t)len + CF_KDB_RECORD_FRAME_LEN;
    return CF_OK;
}

cf_err cf_kdb_record_check_end(cf_kdb_log_read read, void *impl, uint64_t first, uint64_t position,
                               cf_error *e)
{
    uint8_t suffix[4];
    uint64_t len = 0;

    if (position == first)
        return CF_OK;
    CF_ENSURE(position >= first + CF_KDB_RECORD_FRAME_LEN, e, CF_ERR_PARSE,
              "%llu bytes before it are no record", (unsigned long long)(position - first));
    CF_TRY(read(impl, position - sizeof(suffix), suffix, sizeof(suffix), e));
    const uint64_t whole = (uint64_t)cf_le32(suffix) + CF_KDB_RECORD_FRAME_LEN;

    CF_ENSURE(whole <= position - first, e, CF_ERR_PARSE, "no record of %u bytes ends there",
              cf_le32(suffix));
    return frame_check(read, impl, position - whole, position, &len, e);
}

cf_err cf_kdb_record_walk(cf_kdb_log_read read, void *impl, uint64_t from, uint64_t to, cf_error *e)
{
    while (from < to) {
        uint64_t len = 0;

        CF_TRY(frame_check(read, impl, from, to, &len, e));
        from += len;
    }
    return CF_OK;
}
