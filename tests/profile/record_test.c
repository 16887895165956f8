/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames, epoch records, the walk.
 */
#include "node_builder.h"

#include "profile/kurrentdb/checkpoint.h"
#include "profile/kurrentdb/record.h"

typedef struct log_of {
    uint8_t bytes[4096];
    uint64_t first, len;
} log_of;

static cf_err log_read(void *impl, uint64_t position, void *ret, uint32_t len, cf_error *e)
{
    const log_of *const l = impl;

    CF_ENSURE(position >= l->first && position - l->first + len <= l->len, e, CF_ERR_PARSE,
              "outside");
    memcpy(ret, l->bytes + (position - l->first), len);
    return CF_OK;
}

static void walk(void **state)
{
    log_of l = {.first = 8192};
    cf_error e = {0};

    (void)state;
    for (int i = 0; i < 3; i++)
        l.len += nb_record(l.bytes + l.len, l.first + l.len, 100, NULL, 0);
    assert_int_equal(cf_kdb_record_walk(log_read, &l, 8192, 8492, &e), CF_OK);
    assert_int_equal(cf_kdb_record_walk(log_read, &l, 8292, 8292, &e), CF_OK);
    assert_int_equal(cf_kdb_record_walk(log_read, &l, 8192, 8491, &e), CF_ERR_PARSE);
    assert_non_null(strstr(e.message, "the record of 92 bytes at 8392 goes over 8491"));
    assert_int_equal(cf_kdb_record_walk(log_read, &l, 8193, 8492, &e), CF_ERR_PARSE);
    assert_int_equal(cf_kdb_record_walk(log_read, &l, 8192, 8392 + 17, &e), CF_ERR_PARSE);
    assert_non_null(strstr(e.message, "17 bytes at 8392 are no record"));
    for (uint64_t at = 8192; at <= 8492; at++)
        assert_int_equal(cf_kdb_record_check_end(log_read, &l, 8192, at, &e),
                         (at - 8192) % 100 == 0 ? CF_OK : CF_ERR_PARSE);
    l.bytes[100 + 96] ^= 1;
    assert_int_equal(cf_kdb_record_walk(log_read, &l, 8192, 8492, &e), CF_ERR_PARSE);
    assert_non_null(strstr(e.message, "record length 92 before and 93 behind at 8292"));
    l.bytes[100 + 96] ^= 1;
    l.bytes[100 + 6] ^= 1;
    assert_int_equal(cf_kdb_record_walk(log_read, &l, 8192, 8492, &e), CF_ERR_PARSE);
    assert_non_null(strstr(e.message, "the record at 8292 says it stands at 8293"));
}

static void epoch(void **state)
{
    uint8_t bytes[512] = {0};
    cf_kdb_epoch epoch = {0};
    cf_error e = {0};
    const size_t len = nb_record(bytes, 777, 0, "4F309F89-0AD7-4B1F-A815-BC1258D9E81E", 3);

    (void)state;
    assert_int_equal(cf_kdb_epoch_parse(cf_slice_of(bytes, sizeof(bytes)), &epoch, &e), CF_OK);
    assert_int_equal(epoch.position, 777);
    assert_int_equal(epoch.number, 3);
    assert_string_equal(epoch.id, "4f309f89-0ad7-4b1f-a815-bc1258d9e81e");
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(cf_kdb_epoch_parse(cf_slice_of(bytes, cut), &epoch, &e), CF_ERR_PARSE);
    bytes[4] = 0;
    assert_int_equal(cf_kdb_epoch_parse(cf_slice_of(bytes, len), &epoch, &e), CF_ERR_PARSE);
    assert_string_equal(e.message, "record type 0 is not that of an epoch record");
    bytes[4] = 2;
    bytes[4 + 18] = 0;
    assert_int_equal(cf_kdb_epoch_parse(cf_slice_of(bytes, len), &epoch, &e), CF_ERR_PARSE);
    assert_string_equal(e.message, "system record of kind 0");
    (void)nb_record(bytes, 0, 0, "no guid", 0);
    assert_int_equal(cf_kdb_epoch_parse(cf_slice_of(bytes, sizeof(bytes)), &epoch, &e),
                     CF_ERR_PARSE);
    assert_string_equal(e.message, "the epoch record has no epochId");
}

static void checkpoints(void **state)
{
    uint8_t bytes[9] = {0};
    int64_t value = 0;
    cf_error e = {0};

    (void)state;
    cf_kdb_checkpoint_render(-1, bytes);
    assert_int_equal(bytes[7], 0xff);
    assert_int_equal(cf_kdb_checkpoint_parse(cf_slice_of(bytes, 8), &value, &e), CF_OK);
    assert_int_equal(value, -1);
    assert_int_equal(cf_kdb_checkpoint_parse(cf_slice_of(bytes, 7), &value, &e), CF_ERR_PARSE);
    assert_int_equal(cf_kdb_checkpoint_parse(cf_slice_of(bytes, 9), &value, &e), CF_ERR_PARSE);
    assert_string_equal(e.message, "9 bytes, a checkpoint has 8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(walk), cmocka_unit_test(epoch),
                                       cmocka_unit_test(checkpoints)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
