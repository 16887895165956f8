/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of codes. A code whose class is "final" and whose status already says so needs no row;
 * rows that are final stand here because the cf_err differs from what the status alone would give.
 */
#include "s3/codes.h"

/* Sorted by bytes: a test holds it to that. */
static const s3_code code_rows[] = {
    {"503 SlowDown", CF_ERR_THROTTLED, S3_CODE_THROTTLE},
    {"AccessDenied", CF_ERR_DENIED, S3_CODE_FINAL},
    {"AccountProblem", CF_ERR_AUTH, S3_CODE_FINAL},
    {"AllAccessDisabled", CF_ERR_DENIED, S3_CODE_FINAL},
    {"AuthFailure", CF_ERR_AUTH, S3_CODE_SKEW_MAYBE},
    {"AuthorizationHeaderMalformed", CF_ERR_REGION, S3_CODE_REGION},
    {"BadDigest", CF_ERR_PROTOCOL, S3_CODE_INTEGRITY},
    {"BandwidthLimitExceeded", CF_ERR_THROTTLED, S3_CODE_THROTTLE},
    {"BucketAlreadyExists", CF_ERR_EXISTS, S3_CODE_FINAL},
    {"BucketAlreadyOwnedByYou", CF_ERR_EXISTS, S3_CODE_FINAL},
    {"BucketNotEmpty", CF_ERR_REQUEST, S3_CODE_FINAL},
    {"ClientTokenConflict", CF_ERR_REQUEST, S3_CODE_FINAL},
    {"ConditionalRequestConflict", CF_ERR_CONFLICT, S3_CODE_CONFLICT},
    {"EC2ThrottledException", CF_ERR_THROTTLED, S3_CODE_THROTTLE},
    {"EntityTooLarge", CF_ERR_TOO_LARGE, S3_CODE_FINAL},
    {"ExpiredToken", CF_ERR_AUTH, S3_CODE_CREDENTIALS},
    {"ExpiredTokenException", CF_ERR_AUTH, S3_CODE_CREDENTIALS},
    {"IllegalLocationConstraintException", CF_ERR_REGION, S3_CODE_REGION},
    {"IncompleteBody", CF_ERR_NETWORK, S3_CODE_INTEGRITY},
    {"IncorrectEndpoint", CF_ERR_REGION, S3_CODE_REGION},
    {"InternalError", CF_ERR_SERVER, S3_CODE_TRANSIENT},
    {"InternalErrors", CF_ERR_SERVER, S3_CODE_TRANSIENT},
    {"InternalFailure", CF_ERR_SERVER, S3_CODE_TRANSIENT},
    {"InvalidAccessKeyId", CF_ERR_AUTH, S3_CODE_FINAL},
    {"InvalidBucketState", CF_ERR_REQUEST, S3_CODE_FINAL},
    {"InvalidObjectState", CF_ERR_REQUEST, S3_CODE_FINAL},
    {"InvalidRegion", CF_ERR_REGION, S3_CODE_REGION},
    {"InvalidSecurity", CF_ERR_AUTH, S3_CODE_FINAL},
    {"InvalidSignatureException", CF_ERR_AUTH, S3_CODE_SKEW_MAYBE},
    {"InvalidToken", CF_ERR_AUTH, S3_CODE_CREDENTIALS},
    {"LimitExceededException", CF_ERR_THROTTLED, S3_CODE_THROTTLE},
    {"MissingAuthenticationToken", CF_ERR_AUTH, S3_CODE_FINAL},
    {"NoSuchBucket", CF_ERR_NO_BUCKET, S3_CODE_FINAL},
    {"NoSuchKey", CF_ERR_NOT_FOUND, S3_CODE_FINAL},
    {"NoSuchUpload", CF_ERR_NOT_FOUND, S3_CODE_FINAL},
    {"NotImplemented", CF_ERR_UNSUPPORTED, S3_CODE_FINAL},
    {"NotSignedUp", CF_ERR_AUTH, S3_CODE_FINAL},
    {"OperationAborted", CF_ERR_CONFLICT, S3_CODE_TRANSIENT},
    {"PermanentRedirect", CF_ERR_REGION, S3_CODE_REGION},
    {"PermanentRedirectControlError", CF_ERR_REGION, S3_CODE_REGION},
    {"PreconditionFailed", CF_ERR_PRECONDITION, S3_CODE_FINAL},
    {"PriorRequestNotComplete", CF_ERR_THROTTLED, S3_CODE_THROTTLE},
    {"ProvisionedThroughputExceededException", CF_ERR_THROTTLED, S3_CODE_THROTTLE},
    {"QuotaExceeded", CF_ERR_NO_SPACE, S3_CODE_FINAL}, /* Ceph, with 403 */
    {"Redirect", CF_ERR_REGION, S3_CODE_REGION},
    {"RequestExpired", CF_ERR_SKEW, S3_CODE_SKEW},
    {"RequestInTheFuture", CF_ERR_SKEW, S3_CODE_SKEW},
    {"RequestLimitExceeded", CF_ERR_THROTTLED, S3_CODE_THROTTLE},
    {"RequestThrottled", CF_ERR_THROTTLED, S3_CODE_THROTTLE},
    {"RequestThrottledException", CF_ERR_THROTTLED, S3_CODE_THROTTLE},
    {"RequestTimeTooSkewed", CF_ERR_SKEW, S3_CODE_SKEW},
    {"RequestTimeout", CF_ERR_TIMEOUT, S3_CODE_TRANSIENT},
    {"RequestTimeoutException", CF_ERR_TIMEOUT, S3_CODE_TRANSIENT},
    {"ResponseInterrupted", CF_ERR_SERVER, S3_CODE_TRANSIENT},
    {"RestoreAlreadyInProgress", CF_ERR_REQUEST, S3_CODE_FINAL},
    {"ServiceUnavailable", CF_ERR_SERVER, S3_CODE_TRANSIENT},
    {"SignatureDoesNotMatch", CF_ERR_AUTH, S3_CODE_SKEW_MAYBE},
    {"SlowDown", CF_ERR_THROTTLED, S3_CODE_THROTTLE},
    {"SlowDownRead", CF_ERR_THROTTLED, S3_CODE_THROTTLE},
    {"SlowDownWrite", CF_ERR_THROTTLED, S3_CODE_THROTTLE},
    {"TemporaryRedirect", CF_ERR_REGION, S3_CODE_REGION},
    {"ThrottledException", CF_ERR_THROTTLED, S3_CODE_THROTTLE},
    {"Throttling", CF_ERR_THROTTLED, S3_CODE_THROTTLE},
    {"ThrottlingException", CF_ERR_THROTTLED, S3_CODE_THROTTLE},
    {"TokenRefreshRequired", CF_ERR_AUTH, S3_CODE_CREDENTIALS},
    {"TooManyRequestsException", CF_ERR_THROTTLED, S3_CODE_THROTTLE},
    {"TransactionInProgressException", CF_ERR_THROTTLED, S3_CODE_THROTTLE},
    {"XAmzContentSHA256Mismatch", CF_ERR_PROTOCOL, S3_CODE_INTEGRITY},
    {"XMinioAdminBucketQuotaExceeded", CF_ERR_NO_SPACE, S3_CODE_FINAL},
    {"XMinioStorageFull", CF_ERR_NO_SPACE, S3_CODE_FINAL},
};

typedef struct status_row {
    int status;
    cf_err err;
    s3_code_class code_class;
} status_row;

static const status_row status_rows[] = {
    {301, CF_ERR_REGION, S3_CODE_REGION},      {302, CF_ERR_REGION, S3_CODE_REGION},
    {307, CF_ERR_REGION, S3_CODE_REGION},      {308, CF_ERR_REGION, S3_CODE_REGION},
    {304, CF_ERR_PRECONDITION, S3_CODE_FINAL}, {401, CF_ERR_AUTH, S3_CODE_FINAL},
    {403, CF_ERR_DENIED, S3_CODE_FINAL},       {404, CF_ERR_NOT_FOUND, S3_CODE_FINAL},
    {408, CF_ERR_TIMEOUT, S3_CODE_TRANSIENT},  {409, CF_ERR_CONFLICT, S3_CODE_CONFLICT},
    {412, CF_ERR_PRECONDITION, S3_CODE_FINAL}, {413, CF_ERR_TOO_LARGE, S3_CODE_FINAL},
    {429, CF_ERR_THROTTLED, S3_CODE_THROTTLE}, {499, CF_ERR_SERVER, S3_CODE_TRANSIENT},
    {501, CF_ERR_UNSUPPORTED, S3_CODE_FINAL},  {503, CF_ERR_THROTTLED, S3_CODE_THROTTLE},
    {505, CF_ERR_UNSUPPORTED, S3_CODE_FINAL},  {507, CF_ERR_NO_SPACE, S3_CODE_FINAL},
    {509, CF_ERR_THROTTLED, S3_CODE_THROTTLE},
};

const s3_code *s3_code_find(cf_slice name)
{
    for (size_t i = 0; i < sizeof(code_rows) / sizeof(code_rows[0]); i++)
        if (cf_slice_eq(name, cf_slice_str(code_rows[i].name)))
            return &code_rows[i];
    return NULL;
}

s3_code s3_code_classify(cf_slice name, int http_status)
{
    const s3_code *const known = s3_code_find(name);
    if (known != NULL)
        return *known;
    for (size_t i = 0; i < sizeof(status_rows) / sizeof(status_rows[0]); i++)
        if (status_rows[i].status == http_status)
            return (s3_code){.err = status_rows[i].err, .code_class = status_rows[i].code_class};
    if (http_status >= 500 && http_status <= 599)
        return (s3_code){.err = CF_ERR_SERVER, .code_class = S3_CODE_TRANSIENT};
    if (http_status >= 400 && http_status <= 499)
        return (s3_code){.err = CF_ERR_REQUEST, .code_class = S3_CODE_FINAL};
    /* Else an error body under a status that is none: "200 with an error" of a code we do not know.
     * Worth a try, as the SDKs do. */
    return (s3_code){.err = CF_ERR_SERVER, .code_class = S3_CODE_TRANSIENT};
}

const s3_code *s3_code_rows(size_t *ret_total)
{
    *ret_total = sizeof(code_rows) / sizeof(code_rows[0]);
    return code_rows;
}
