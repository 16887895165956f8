/* SPDX-License-Identifier: Apache-2.0
 *
 * A root and a lease from the store. What is accepted must render to something that is accepted.
 */
#include "repo/root.h"

#include "repo/lease_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CF_CLEANUP(cf_root_freep) cf_root *root = NULL;
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    cf_lease_body body = {0};
    const cf_slice input = cf_slice_of(data, size);
    cf_buf_init(&text, 2 * CF_ROOT_LEN_MAX);
    if (cf_root_parse(input, &root, NULL) == CF_OK) {
        const cf_err err = cf_root_render(root, &text, NULL);
        CF_CHECK(err == CF_OK ||
                 err == CF_ERR_TOO_LARGE); /* escapes can take more room than they came in */
    }
    cf_buf_clear(&text);
    if (cf_lease_body_parse(input, &body, NULL) == CF_OK) {
        CF_CHECK(cf_lease_body_render(&body, &text, NULL) == CF_OK);
        CF_CHECK(cf_lease_body_parse(cf_buf_slice(&text), &body, NULL) == CF_OK);
    }
    return 0;
}
