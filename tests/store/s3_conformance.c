/* SPDX-License-Identifier: Apache-2.0
 *
 * The suite over an S3 server given by the environment: AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID,
 * AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_CA_BUNDLE; bucket CHUNKFERRY_TEST_BUCKET (default
 * "chunkferry-conformance"), made when it is not there; CHUNKFERRY_TEST_NO_RACES for a server that
 * lets several creates at once win: init's probe finds those out (store/probe.c). What it writes lies under a random prefix
 * and stays. Exit 77 without an endpoint. Not a *_test.c: wrappers start a server and run it
 * (s3_fake_test.py, tests/real/).
 */
#include <stdio.h>
#include <stdlib.h>

#include "s3/base/hash.h"
#include "s3/s3.h"
#include "tests/store/conformance.h"

typedef struct place {
    const char *endpoint, *bucket;
    char prefix[64];
} place;

static cf_store *open_at(const place *p, const char *bucket, const char *prefix, bool create)
{
    const s3_client_opts opts = {
        .bucket = bucket,
        .endpoint = p->endpoint,
        .addressing = S3_ADDRESSING_PATH,
        .part_bytes = S3_PART_BYTES_MIN,
        .connections_max = 16,
    };
    cf_error e = {0};
    cf_store *s = NULL;
    cf_err err = cf_store_s3_new(&opts, prefix, &s, &e);
    if (err == CF_OK && create)
        err = s->ops->create(s, &e);
    if (err == CF_OK)
        return s;
    (void)fprintf(stderr, "s3 store at '%s': %s: %s\n", p->endpoint, cf_err_name(err), e.message);
    cf_store_free(s);
    return NULL;
}

static cf_store *open_place(void *impl, unsigned n)
{
    const place *const p = impl;
    char prefix[CF_STORE_PREFIX_LEN_MAX + 1];
    /* The longest prefix there is, now and then: prefix and key together must fit. */
    const int pad = n % 4 == 3 ? (int)(CF_STORE_PREFIX_LEN_MAX - 4 - strlen(p->prefix)) : 1;
    (void)snprintf(prefix, sizeof(prefix), "%s/%0*u", p->prefix, pad, n);
    return open_at(p, p->bucket, prefix, true);
}

static cf_store *open_absent(void *impl)
{
    const place *const p = impl;
    char bucket[80];
    (void)snprintf(bucket, sizeof(bucket), "absent-%s", p->prefix);
    return open_at(p, bucket, "x", false);
}

int main(void)
{
    const char *const bucket = getenv("CHUNKFERRY_TEST_BUCKET");
    uint8_t random[8];
    place p = {
        .endpoint = getenv("AWS_ENDPOINT_URL_S3"),
        .bucket = bucket != NULL ? bucket : "chunkferry-conformance",
    };
    if (p.endpoint == NULL || p.endpoint[0] == '\0') {
        (void)puts("skipped: no endpoint given (AWS_ENDPOINT_URL_S3)");
        return 77;
    }
    cf_world_real()->random(NULL, random, sizeof(random));
    cf_hex_render(cf_slice_of(random, sizeof(random)), p.prefix);
    const conformance c = {
        .name = "s3",
        .open = open_place,
        .open_absent = open_absent,
        .part_bytes = S3_PART_BYTES_MIN,
        .absent_head = CF_ERR_NOT_FOUND,
        .ghost_folders = getenv("CHUNKFERRY_TEST_GHOST_FOLDERS") != NULL,
        .race_rounds = getenv("CHUNKFERRY_TEST_NO_RACES") != NULL ? 0 : 10,
        .impl = &p,
    };
    return conformance_run(&c);
}
