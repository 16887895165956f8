/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/advice.h"

#include <stdio.h>
#include <string.h>

static const char *advice_of(const cf_err code)
{
    static const struct {
        cf_err code;
        const char *advice;
    } table[] = {
        {CF_ERR_DAMAGE, "'chunkferry verify --read-data' names all that is damaged; another "
                        "snapshot, or a copy of this repository, may be whole"},
        {CF_ERR_SOURCE, "is it the right directory, whole and readable? Nothing was committed"},
        {CF_ERR_NOT_FOUND, "check the names given; 'chunkferry list' shows the nodes and their "
                           "snapshots"},
        {CF_ERR_TARGET, "give another --target, or empty this one"},
        {CF_ERR_NO_BUCKET, "check the address, and of a disk whether it is mounted; 'chunkferry "
                           "init' makes a new repository"},
        {CF_ERR_CREDENTIALS, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile "
                             "of ~/.aws/credentials with --aws-profile"},
        {CF_ERR_AUTH, "check the access key, its secret and the region"},
        {CF_ERR_DENIED, "allow this access key the operation named, on this bucket and prefix"},
        {CF_ERR_NETWORK, "check --endpoint, the network and proxies; then run the same command "
                         "again"},
        {CF_ERR_TIMEOUT, "check --endpoint and the network; then run the same command again"},
        {CF_ERR_TLS, "is the server's authority known here? --ca-bundle FILE, or AWS_CA_BUNDLE"},
        {CF_ERR_THROTTLED, "run the same command again when the server has less to do; "
                           "--limit-upload and --limit-download spare it"},
        {CF_ERR_SERVER, "the server's own log says more; run the same command again later"},
        {CF_ERR_SKEW, "set this machine's clock"},
        {CF_ERR_REGION, "give the bucket's region: --region"},
        {CF_ERR_PROTOCOL, "is it an S3 server, and nothing between that changes answers? Check "
                          "--endpoint and proxies"},
        {CF_ERR_FORMAT, "use a newer chunkferry"},
        {CF_ERR_ACCESS, "run it as a user who has the right to it"},
        {CF_ERR_NO_SPACE, "free space there"},
        {CF_ERR_NO_MEMORY, "give the machine or its container more memory, or lower --memory"},
        {CF_ERR_IO, "look at the disk it names, and at dmesg"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].code == code)
            return table[i].advice;
    }
    return NULL;
}

void cf_advice_add(const cf_err code, const char *const command, cf_error *const e)
{
    const char *const advice = advice_of(code);
    const size_t len = strlen(e->message);
    const size_t left = sizeof(e->message) - len;
    char hint[256];

    if (strstr(e->message, "\nHINT: ") != NULL || (advice == NULL && code != CF_ERR_USAGE))
        return;
    const int n = code == CF_ERR_USAGE
                      ? snprintf(hint, sizeof(hint), "\nHINT: chunkferry %.40s --help", command)
                      : snprintf(hint, sizeof(hint), "\nHINT: %s", advice);
    if (n > 0 && (size_t)n < sizeof(hint) && (size_t)n < left)
        memcpy(e->message + len, hint, (size_t)n + 1);
}
