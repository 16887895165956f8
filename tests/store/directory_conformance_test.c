/* SPDX-License-Identifier: Apache-2.0
 *
 * The suite over a directory, on the filesystem of $TMPDIR.
 */
#include <stdio.h>

#include "s3/base/fs.h"
#include "tests/store/conformance.h"
#include "tests/store/tmp.h"

static cf_store *open_place(void *impl, unsigned n)
{
    char path[TMP_PATH_SIZE + 32];
    cf_store *s = NULL;
    (void)snprintf(path, sizeof(path), "%s/%u/repo", (const char *)impl, n);
    if (cf_store_directory_new(/* fs= */ NULL, /* world= */ NULL, path, &s, NULL) != CF_OK)
        return NULL;
    if (s->ops->create(s, NULL) == CF_OK)
        return s;
    cf_store_free(s);
    return NULL;
}

static cf_store *open_absent(void *impl)
{
    char path[TMP_PATH_SIZE + 32];
    cf_store *s = NULL;
    (void)snprintf(path, sizeof(path), "%s/absent", (const char *)impl);
    return cf_store_directory_new(NULL, NULL, path, &s, NULL) == CF_OK ? s : NULL;
}

int main(void)
{
    char path[TMP_PATH_SIZE];
    if (!tmp_make(path))
        return 1;
    const conformance c = {
        .name = "directory",
        .open = open_place,
        .open_absent = open_absent,
        .part_bytes = 1 << 20,
        .absent_head = CF_ERR_NO_BUCKET,
        .race_rounds = 20,
        .impl = path,
    };
    const int failed = conformance_run(&c);
    tmp_remove(path);
    return failed;
}
