/* SPDX-License-Identifier: Apache-2.0
 *
 * ListObjectsV2, page by page. A page is checked before any of it is shown: order, prefix,
 * progress.
 */
#include <stdio.h>
#include <stdlib.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/call.h"
#include "s3/client.h"
#include "s3/xml.h"

enum {
    PAGE_KEYS_MAX = 1000,
    EMPTY_PAGES_MAX = 10000 /* ours, in a row: servers skip deleted keys by the thousand a page */
};

typedef struct listing {
    const s3_list_opts *opts;
    s3_list_fn fn;
    void *fn_impl;
    s3_xml_page page;     /* of the last answer */
    cf_buf token;         /* of the next page; empty: the first */
    cf_buf last;          /* greatest key or prefix shown; start_after before */
    uint32_t empty_total; /* pages without an entry since the last entry */
    bool last_set;
    bool stopped;
} listing;

static void listing_deinit(listing *l)
{
    s3_xml_page_deinit(&l->page);
    cf_buf_deinit(&l->token);
    cf_buf_deinit(&l->last);
}

static cf_slice start_after(const listing *l)
{
    return cf_slice_str(l->opts->start_after);
}

/* Each sequence rises, starts behind what was shown, and keeps to the prefix. */
static cf_err entry_check(const listing *l, const s3_list_entry *entry, const s3_list_entry *before,
                          cf_error *e)
{
    const cf_slice prefix = cf_slice_str(l->opts->prefix);

    CF_ENSURE(cf_slice_starts_with(entry->key, prefix), e, CF_ERR_PROTOCOL,
              "the page has '%.*s', which is not under '%.*s'", CF_SLICE_FMT(entry->key),
              CF_SLICE_FMT(prefix));
    if (before != NULL && before->is_prefix == entry->is_prefix)
        CF_ENSURE(cf_slice_cmp(before->key, entry->key) < 0, e, CF_ERR_PROTOCOL,
                  "the page has '%.*s' behind '%.*s'", CF_SLICE_FMT(entry->key),
                  CF_SLICE_FMT(before->key));
    /* A prefix may contain start_after: "a/" with start_after "a/b". */
    const cf_slice last = cf_buf_slice(&l->last);
    const bool holds_start = entry->is_prefix && cf_slice_starts_with(start_after(l), entry->key);
    if (l->last_set && !(holds_start && cf_slice_eq(last, start_after(l))))
        CF_ENSURE(cf_slice_cmp(last, entry->key) < 0, e, CF_ERR_PROTOCOL,
                  "the page has '%.*s', which should have come before '%.*s'",
                  CF_SLICE_FMT(entry->key), CF_SLICE_FMT(last));
    return CF_OK;
}

static cf_err page_check(const listing *l, const s3_xml_page *page, cf_error *e)
{
    for (size_t i = 0; i < page->entry_total; i++)
        CF_TRY(entry_check(l, &page->entries[i], i == 0 ? NULL : &page->entries[i - 1], e));
    CF_ENSURE(!page->truncated || page->next_token.len > 0, e, CF_ERR_PROTOCOL,
              "the page is truncated and has no token");
    CF_ENSURE(!page->truncated || !cf_slice_eq(page->next_token, cf_buf_slice(&l->token)), e,
              CF_ERR_PROTOCOL, "the page gives the token that led to it");
    /* Else a page without IsTruncated would pass for the last one. */
    CF_ENSURE(page->truncated || page->next_token.len == 0, e, CF_ERR_PROTOCOL,
              "the page has a token and does not say that it is truncated");
    return CF_OK;
}

/* Objects and prefixes are two rising sequences; AWS gives the objects first, Ceph the prefixes. */
static int entry_order(const void *a, const void *b)
{
    return cf_slice_cmp(((const s3_list_entry *)a)->key, ((const s3_list_entry *)b)->key);
}

static cf_err list_check(void *impl, s3_call *call, s3_reply *reply, cf_error *e)
{
    listing *l = impl;

    (void)call;
    s3_xml_page_deinit(&l->page);
    l->page = (s3_xml_page){0};
    CF_TRY(s3_xml_parse_list(cf_buf_slice(&reply->body), &l->page, e));
    CF_TRY(page_check(l, &l->page, e));
    if (l->page.entry_total > 1)
        qsort(l->page.entries, l->page.entry_total, sizeof(*l->page.entries), entry_order);
    return CF_OK;
}

static cf_err page_get(s3_client *c, listing *l, cf_error *e)
{
    CF_CLEANUP(s3_reply_deinit) s3_reply reply = {0};
    const s3_list_opts *o = l->opts;
    const char *token = NULL;
    char max_keys[16];
    s3_call call = {.operation = "ListObjectsV2",
                    .method = "GET",
                    .answer_max = S3_XML_BODY_MAX,
                    .check = list_check,
                    .impl = l};

    (void)snprintf(max_keys, sizeof(max_keys), "%u",
                   o->page_keys_max == 0 ? (unsigned)PAGE_KEYS_MAX : o->page_keys_max);
    s3_call_param(&call, "list-type", "2");
    s3_call_param(&call, "encoding-type", "url");
    s3_call_param(&call, "max-keys", max_keys);
    if (o->prefix != NULL && o->prefix[0] != '\0')
        s3_call_param(&call, "prefix", o->prefix);
    if (o->delimiter != NULL && o->delimiter[0] != '\0')
        s3_call_param(&call, "delimiter", o->delimiter);
    if (l->token.len > 0) {
        CF_TRY(cf_buf_get_str(&l->token, &token, e));
        s3_call_param(&call, "continuation-token", token);
    } else if (o->start_after != NULL && o->start_after[0] != '\0') {
        s3_call_param(&call, "start-after", o->start_after);
    }
    return s3_call_run(c, &call, &reply, e);
}

static cf_err page_show(listing *l, cf_error *e)
{
    for (size_t i = 0; i < l->page.entry_total && !l->stopped; i++) {
        CF_TRY(l->fn(l->fn_impl, &l->page.entries[i], &l->stopped, e));
        cf_buf_clear(&l->last);
        CF_TRY(cf_buf_append(&l->last, l->page.entries[i].key, e));
        l->last_set = true;
    }
    return CF_OK;
}

cf_err s3_list(s3_client *c, const s3_list_opts *opts, s3_list_fn fn, void *impl, cf_error *e)
{
    static const s3_list_opts all = {0};
    CF_CLEANUP(listing_deinit)
    listing l = {.opts = opts == NULL ? &all : opts, .fn = fn, .fn_impl = impl};

    CF_ENSURE(l.opts->page_keys_max <= PAGE_KEYS_MAX, e, CF_ERR_USAGE,
              "%u keys a page are asked for, 1 to %d are allowed", l.opts->page_keys_max,
              PAGE_KEYS_MAX);
    cf_buf_init(&l.token, S3_XML_TOKEN_LEN_MAX + 1);
    cf_buf_init(&l.last, 2 * S3_KEY_LEN_MAX);
    CF_TRY(cf_buf_append(&l.last, start_after(&l), e));
    l.last_set = l.last.len > 0;
    do {
        CF_TRY(page_get(c, &l, e));
        l.empty_total = l.page.entry_total > 0 ? 0 : l.empty_total + 1;
        CF_ENSURE(
            l.empty_total <= EMPTY_PAGES_MAX, e, CF_ERR_PROTOCOL,
            "ListObjectsV2 bucket '%s': %d pages in a row were empty, and each said that more "
            "would come",
            c->bucket, EMPTY_PAGES_MAX);
        CF_TRY(page_show(&l, e));
        cf_buf_clear(&l.token);
        CF_TRY(cf_buf_append(&l.token, l.page.next_token, e));
    } while (l.page.truncated && !l.stopped);
    return CF_OK;
}
