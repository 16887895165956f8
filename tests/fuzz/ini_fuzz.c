/* SPDX-License-Identifier: Apache-2.0
 *
 * The parser of AWS's files in both forms, and every question about what came out. The first byte
 * chooses the form.
 */
#include <stdlib.h>

#include "s3/base/cleanup.h"
#include "s3/ini.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CF_CLEANUP(s3_ini_deinit) s3_ini ini = {0};
    cf_error e = {0};
    if (size == 0)
        return 0;
    const s3_ini_form form = data[0] % 2 == 0 ? S3_INI_CONFIG : S3_INI_CREDENTIALS;
    if (s3_ini_parse(cf_slice_of(data + 1, size - 1), form, &ini, &e) != CF_OK)
        return 0;
    for (size_t i = 0; i < ini.row_total; i++) {
        const s3_ini_section *const section = &ini.sections[ini.rows[i].section];
        const char *const value = s3_ini_get(&ini, section->kind, section->name, ini.rows[i].key);
        if (section->kind == S3_INI_SKIPPED ||
            (value == NULL && s3_ini_visible(&ini, ini.rows[i].section)))
            abort();
        (void)s3_ini_block_get(ini.rows[i].value, "endpoint_url");
    }
    return 0;
}
