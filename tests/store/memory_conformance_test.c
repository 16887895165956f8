/* SPDX-License-Identifier: Apache-2.0
 *
 * The suite over the store in memory, with the digests of multipart uploads on.
 */
#include "store/memory.h"
#include "tests/store/conformance.h"

enum { PART_BYTES = 1 << 20 };

static cf_store *open_place(void *impl, unsigned n)
{
    cf_store *s = NULL;
    (void)impl;
    (void)n;
    if (cf_store_memory_new(/* world= */ NULL, &s, NULL) == CF_OK)
        cf_store_memory_set_part_bytes(s, PART_BYTES);
    return s;
}

static cf_store *open_absent(void *impl)
{
    cf_store *const s = open_place(impl, 0);
    if (s != NULL)
        cf_store_memory_set_there(s, false);
    return s;
}

int main(void)
{
    const conformance c = {
        .name = "memory",
        .open = open_place,
        .open_absent = open_absent,
        .part_bytes = PART_BYTES,
        .absent_head = CF_ERR_NO_BUCKET,
        .race_rounds = 50,
    };
    return conformance_run(&c);
}
