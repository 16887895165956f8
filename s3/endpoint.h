/* SPDX-License-Identifier: Apache-2.0
 *
 * Endpoint: where a bucket lives, as a URL base and a Host header. Pure: no I/O, no environment.
 *
 * Invariant: http only when the endpoint says http; the Host that is signed is the Host that is
 * sent (default ports dropped, lower case, IPv6 in brackets).
 */
#ifndef S3_ENDPOINT_H
#define S3_ENDPOINT_H

#include <stdbool.h>

#include "s3/err.h"
#include "s3/s3.h"

enum {
    S3_HOST_LEN_MAX = 320,      /* bucket (63), dot, name (253) */
    S3_BASE_PATH_LEN_MAX = 640, /* an endpoint's own prefix and the bucket */
    S3_REGION_LEN_MAX = 63,     /* a DNS label: it becomes part of a host name */
    S3_BUCKET_LEN_MAX = 255,    /* AWS: 63; Ceph's relaxed names: 255 */
};

typedef struct s3_endpoint_opts {
    const char *endpoint; /* NULL or "": AWS for the region. "http[s]://host[:port][/prefix]" */
    const char *region;   /* NULL or "": from an AWS host name, else us-east-1 */
    const char *bucket;
    s3_addressing addressing;
} s3_endpoint_opts;

/* A plain value. */
typedef struct s3_endpoint {
    bool https;
    bool aws; /* host follows from the region: may be built again when the region is corrected */
    bool virtual_host;
    char host[S3_HOST_LEN_MAX +
              16]; /* Host header: with the bucket (virtual), with a port that is not the default */
    char path[S3_BASE_PATH_LEN_MAX +
              1]; /* "" or "/prefix" and/or "/bucket"; percent-encoded, no slash at the end */
    char region[S3_REGION_LEN_MAX + 1]; /* signing region */
} s3_endpoint;

/* CF_ERR_USAGE: scheme, user or password in the URL, query, fragment, bad port, bad host, bad
 * bucket name, bad region, virtual addressing of a bucket that no host name can carry. *ret
 * untouched then. Source: AWS S3 user guide "Virtual hosting of buckets"; s3proto.md 4.8. */
CF_NODISCARD cf_err s3_endpoint_resolve(const s3_endpoint_opts *opts, s3_endpoint *ret,
                                        cf_error *e);

/* One DNS label: may become part of a host name. */
bool s3_region_valid(cf_slice region);

#endif
