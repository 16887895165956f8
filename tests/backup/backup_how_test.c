/* SPDX-License-Identifier: Apache-2.0
 *
 * How an entry goes through the pipeline, and where parts end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "backup/backup.h"

#define PARTS_MAX ((uint64_t)CF_PARTS_TOTAL_MAX * CF_FRAME_BYTES)

static void test_how(void **state)
{
    (void)state;
    static const struct {
        const char *title;
        cf_entry_how how;
        uint64_t read_bytes;
        cf_upload_how expected;
    } rows[] = {
        {"reused: nothing is read", CF_ENTRY_REUSE, 0, CF_UPLOAD_READY},
        {"inline: nothing is read", CF_ENTRY_INLINE, 8, CF_UPLOAD_READY},
        {"whole", CF_ENTRY_WHOLE, 1, CF_UPLOAD_WHOLE},
        {"whole, however long", CF_ENTRY_WHOLE, PARTS_MAX + 1, CF_UPLOAD_WHOLE},
        {"parts, none", CF_ENTRY_PARTS, 0, CF_UPLOAD_PARTS},
        {"parts, the most", CF_ENTRY_PARTS, PARTS_MAX, CF_UPLOAD_PARTS},
        {"parts, a byte more than a line should name", CF_ENTRY_PARTS, PARTS_MAX + 1,
         CF_UPLOAD_WHOLE},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const cf_entry entry = {.how = rows[i].how, .read_bytes = rows[i].read_bytes};
        if (cf_backup_how(&entry) != rows[i].expected)
            fail_msg("%s: %d", rows[i].title, (int)cf_backup_how(&entry));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_how)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
