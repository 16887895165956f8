/* SPDX-License-Identifier: Apache-2.0
 *
 * Ids, sequence numbers and keys. Everything here is text: no store, no clock.
 */
#include "repo/run.h"

#include <assert.h>
#include <stdio.h>

#include "s3/base/cleanup.h"
#include "s3/base/num.h"

enum {
    RUN_TIME_LEN = 16, /* 20261121T143100Z */
    RUN_RANDOM_LEN = 8,
    SEQ_LEN = 10,
};

static const int64_t time_utc_ms_max =
    253402300799000; /* 9999-12-31T23:59:59Z: four digits for the year */

static bool hex_lower(const uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool name_byte(const uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-';
}

bool cf_run_id_parse(const cf_slice text, cf_run_id *const ret)
{
    int64_t ignored = 0;
    if (text.len != CF_RUN_ID_LEN || text.ptr[RUN_TIME_LEN] != '-' ||
        !cf_time_parse_basic(cf_slice_of(text.ptr, RUN_TIME_LEN), &ignored))
        return false;
    for (size_t i = RUN_TIME_LEN + 1; i < CF_RUN_ID_LEN; i++) {
        if (!hex_lower(text.ptr[i]))
            return false;
    }
    memcpy(ret->text, text.ptr, CF_RUN_ID_LEN);
    ret->text[CF_RUN_ID_LEN] = '\0';
    return true;
}

static void id_render(int64_t utc_ms, const uint32_t random, cf_run_id *const ret)
{
    if (utc_ms > time_utc_ms_max)
        utc_ms = time_utc_ms_max;
    if (utc_ms < 0)
        utc_ms = 0;
    char time[CF_TIME_SIZE] = "";
    cf_time_render_basic(utc_ms, time);
    const int len = snprintf(ret->text, sizeof(ret->text), "%.16s-%08x", time, (unsigned)random);
    CF_CHECK(len == CF_RUN_ID_LEN);
}

void cf_run_id_make(const int64_t store_utc_ms, const cf_run_id *const newest,
                    const uint32_t random, cf_run_id *const ret)
{
    int64_t utc_ms = store_utc_ms;
    int64_t newest_utc_ms = 0;
    if (newest != NULL && newest->text[0] != '\0' &&
        cf_time_parse_basic(cf_slice_of(newest->text, RUN_TIME_LEN), &newest_utc_ms) &&
        newest_utc_ms + 1000 > utc_ms)
        utc_ms = newest_utc_ms + 1000;
    id_render(utc_ms, random, ret);
}

void cf_run_id_floor(const int64_t utc_ms, cf_run_id *const ret)
{
    id_render(utc_ms, /* random= */ 0, ret);
}

cf_err cf_node_name_check(const char *const node, cf_error *const e)
{
    static const char rule[] =
        "HINT: 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit";
    const size_t len = strnlen(node, CF_NODE_NAME_LEN_MAX + 1);
    CF_ENSURE(len > 0, e, CF_ERR_USAGE, "the node's name is empty\n%s", rule);
    CF_ENSURE(len <= CF_NODE_NAME_LEN_MAX, e, CF_ERR_USAGE,
              "the node's name '%.*s...' is longer than %d bytes\n%s", CF_NODE_NAME_LEN_MAX, node,
              CF_NODE_NAME_LEN_MAX, rule);
    for (size_t i = 0; i < len; i++) {
        const char c = node[i];
        const bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        CF_ENSURE(
            alnum || (i > 0 && (c == '.' || c == '_' || c == '-')), e, CF_ERR_USAGE,
            "the node's name '%s' has a byte 0x%02x at position %zu that is not allowed there\n%s",
            node, (unsigned)(unsigned char)c, i + 1, rule);
    }
    return CF_OK;
}

uint32_t cf_run_next_seq(cf_run *const r)
{
    const unsigned seq = atomic_fetch_add_explicit(&r->seq, 1, memory_order_relaxed) + 1;
    CF_CHECK(seq >= 1 && seq <= CF_SEQ_MAX);
    return seq;
}

/* Our own names are far below the limit; a longer one is a bug of the caller, and a cut key would
 * be another object. */
static void key_check(const int len)
{
    CF_CHECK(len > 0 && len <= CF_KEY_LEN_MAX);
}

void cf_key_descriptor(char *const ret)
{
    key_check(snprintf(ret, CF_KEY_LEN_MAX + 1, "chunkferry.json"));
}

void cf_key_root(char *const ret, const char *const node, const cf_run_id *const run)
{
    key_check(snprintf(ret, CF_KEY_LEN_MAX + 1, "nodes/%s/snapshots/%s", node, run->text));
}

void cf_key_lease(char *const ret, const char *const node, const uint64_t n)
{
    key_check(
        snprintf(ret, CF_KEY_LEN_MAX + 1, "nodes/%s/leases/%010llu", node, (unsigned long long)n));
}

void cf_key_claim(char *const ret, const char *const node, const char *const folder,
                  const uint64_t n, const cf_run_id *const run)
{
    key_check(snprintf(ret, CF_KEY_LEN_MAX + 1, "nodes/%s/%s/%010llu%s%s", node, folder,
                       (unsigned long long)n, run != NULL ? "-" : "",
                       run != NULL ? run->text : ""));
}

void cf_key_read(char *const ret, const char *const node, const char *const id)
{
    key_check(snprintf(ret, CF_KEY_LEN_MAX + 1, "nodes/%s/reads/%s", node, id));
}

void cf_key_journal(char *const ret, const char *const node, const cf_run_id *const run,
                    const uint32_t seq)
{
    key_check(snprintf(ret, CF_KEY_LEN_MAX + 1, "nodes/%s/runs/%s/%010u-journal.jsonl.zst", node,
                       run->text, (unsigned)seq));
}

void cf_key_folder(char *const ret, const char *const node, const char *const folder)
{
    key_check(snprintf(ret, CF_KEY_LEN_MAX + 1, "nodes/%s/%s/", node, folder));
}

void cf_key_run_object(char *const ret, const cf_run *const r, const uint32_t seq,
                       const char *const kind, const char *const hint, const char *const suffix)
{
    char clean[CF_HINT_LEN_MAX + 1] = "";
    const size_t hint_len = strnlen(hint, CF_HINT_LEN_MAX);
    for (size_t i = 0; i < hint_len; i++)
        clean[i] = name_byte((uint8_t)hint[i]) ? hint[i] : '_';
    const char *const dash = hint_len > 0 ? "-" : "";
    const char *const dot = suffix[0] != '\0' && suffix[0] != '.' ? "." : "";
    key_check(snprintf(ret, CF_KEY_LEN_MAX + 1, "nodes/%s/runs/%s/%010u-%s%s%s%s%s", r->node,
                       r->id.text, (unsigned)seq, kind, dash, clean, dot, suffix));
    assert(cf_object_name_parse(cf_slice_str(cf_key_object_name(ret)), NULL, NULL, NULL));
}

void cf_key_of_object(char *const ret, const char *const node, const char *const name)
{
    key_check(snprintf(ret, CF_KEY_LEN_MAX + 1, "nodes/%s/runs/%s", node, name));
}

const char *cf_key_object_name(const char *const key)
{
    static const char nodes[] = "nodes/";
    static const char runs[] = "/runs/";
    if (strncmp(key, nodes, sizeof(nodes) - 1) != 0)
        return NULL;
    const char *const slash = strchr(key + sizeof(nodes) - 1, '/');
    if (slash == NULL || strncmp(slash, runs, sizeof(runs) - 1) != 0)
        return NULL;
    return slash + sizeof(runs) - 1;
}

bool cf_object_name_parse(const cf_slice name, cf_run_id *const ret_run, uint32_t *const ret_seq,
                          cf_slice *const ret_kind)
{
    const size_t head = CF_RUN_ID_LEN + 1 + SEQ_LEN + 1; /* "<run>/<seq>-" */
    cf_run_id run = {""};
    uint64_t seq = 0;
    if (name.len <= head || name.len > CF_RUN_OBJECT_LEN_MAX || name.ptr[CF_RUN_ID_LEN] != '/' ||
        name.ptr[head - 1] != '-')
        return false;
    if (!cf_run_id_parse(cf_slice_of(name.ptr, CF_RUN_ID_LEN), &run) ||
        !cf_u64_parse(cf_slice_of(name.ptr + CF_RUN_ID_LEN + 1, SEQ_LEN), &seq) || seq < 1 ||
        seq > CF_SEQ_MAX)
        return false;
    size_t kind_len = 0;
    for (size_t i = head; i < name.len; i++) {
        if (!name_byte(name.ptr[i]))
            return false;
        if (kind_len == i - head && name.ptr[i] >= 'a' && name.ptr[i] <= 'z')
            kind_len++;
    }
    if (kind_len == 0)
        return false;
    if (ret_run != NULL)
        *ret_run = run;
    if (ret_seq != NULL)
        *ret_seq = (uint32_t)seq;
    if (ret_kind != NULL)
        *ret_kind = cf_slice_of(name.ptr + head, kind_len);
    return true;
}
