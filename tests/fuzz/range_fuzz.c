/* SPDX-License-Identifier: Apache-2.0
 *
 * Content-Range of a server's answer: what is accepted lies inside the object, and says the same
 * when it is written again.
 */
#include <inttypes.h>
#include <stdio.h>

#include "s3/object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    s3_content_range r = {0};
    s3_content_range again = {0};
    char text[128];

    if (!s3_content_range_parse(cf_slice_of(data, size), &r))
        return 0;
    if (r.first > r.last || r.last >= r.total)
        __builtin_trap();
    (void)snprintf(text, sizeof(text), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, r.first, r.last,
                   r.total);
    if (!s3_content_range_parse(cf_slice_str(text), &again) || again.first != r.first ||
        again.last != r.last || again.total != r.total)
        __builtin_trap();
    return 0;
}
