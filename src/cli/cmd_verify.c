/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry verify
 */
#include <stdio.h>

#include "cli/cli.h"
#include "s3/base/num.h"

static const char *const part_rule = "a share such as 5%, a size such as 10G, or 3/12, the third "
                                     "of twelve parts";

/* "5%", "2.5%": to a tenth. */
static bool percent_parse(const cf_slice text, uint64_t *const ret_permille)
{
    const uint8_t *const dot = memchr(text.ptr, '.', text.len);
    const size_t whole_len = dot == NULL ? text.len : (size_t)(dot - text.ptr);
    uint64_t whole = 0, tenth = 0;

    if (!cf_u64_parse(cf_slice_of(text.ptr, whole_len), &whole) || whole > 100)
        return false;
    if (dot != NULL &&
        (text.len != whole_len + 2 || !cf_u64_parse(cf_slice_of(dot + 1, 1), &tenth)))
        return false;
    *ret_permille = whole * 10 + tenth;
    return *ret_permille >= 1 && *ret_permille <= 1000;
}

static bool part_parse(const cf_slice text, cf_verify_opts *const o)
{
    enum { PARTS_MAX = 10000 };
    const uint8_t *const slash = memchr(text.ptr, '/', text.len);

    if (slash != NULL) {
        const size_t len = (size_t)(slash - text.ptr);
        o->how = CF_VERIFY_PART;
        return cf_u64_parse(cf_slice_of(text.ptr, len), &o->part) &&
               cf_u64_parse(cf_slice_of(slash + 1, text.len - len - 1), &o->parts) &&
               o->parts <= PARTS_MAX && o->part >= 1 && o->part <= o->parts;
    }
    if (text.len > 1 && text.ptr[text.len - 1] == '%') {
        o->how = CF_VERIFY_PERCENT;
        return percent_parse(cf_slice_of(text.ptr, text.len - 1), &o->permille);
    }
    o->how = CF_VERIFY_BYTES;
    return cf_size_parse(text, &o->bytes) && o->bytes > 0;
}

static cf_err how_take(const cf_values *const v, cf_verify_opts *const o, cf_error *const e)
{
    const char *const part = v->text[CF_OPT_READ_DATA_SUBSET];

    o->how = cf_values_on(v, CF_OPT_READ_DATA) ? CF_VERIFY_DATA : CF_VERIFY_LOOK;
    if (part == NULL)
        return CF_OK;
    CF_ENSURE(o->how == CF_VERIFY_LOOK, e, CF_ERR_USAGE,
              "--read-data reads all, --read-data-subset a part\nHINT: give one of them");
    CF_ENSURE(part_parse(cf_slice_str(part), o), e, CF_ERR_USAGE,
              "--read-data-subset '%.100s' is not %s", part, part_rule);
    return CF_OK;
}

/* ---- damage ---- */

static void strings_print(cf_output *const out, const char *const title,
                          const char *const *const text, const size_t shown, const uint64_t total)
{
    for (size_t i = 0; i < shown; i++)
        cf_output_text(out, "    %-9s %s\n", i == 0 ? title : "", text[i]);
    if (total > shown)
        cf_output_text(out, "    %-9s and %llu more\n", "", (unsigned long long)(total - shown));
}

static json_t *strings_json(const char *const *const text, const size_t total)
{
    json_t *const array = json_array();

    for (size_t i = 0; i < total; i++)
        (void)json_array_append_new(array, cf_output_json(text[i], strlen(text[i])));
    return array;
}

static void damage_print(void *const impl, const cf_verify_damage *const d)
{
    cf_output *const out = impl;
    json_t *const other = d->other_copy == NULL || d->other_copy[0] == '\0'
                              ? json_null()
                              : json_string(d->other_copy);

    cf_output_text(out, "damaged %s of node %s: %s\n    %-9s %s\n", d->kind, d->node, d->object,
                   "reason", d->reason);
    strings_print(out, "files", d->files, d->files_shown, d->files_total);
    strings_print(out, "snapshots", d->snapshots, d->snapshots_shown, d->snapshots_total);
    if (d->other_copy != NULL)
        cf_output_text(out, "    %-9s %s\n", "other",
                       d->other_copy[0] != '\0' ? d->other_copy : "has no good copy");
    json_t *const object = json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:o, s:I}", "type", "damage", "node", d->node, "kind",
        d->kind, "object", d->object, "reason", cf_output_json(d->reason, strlen(d->reason)),
        "files", strings_json(d->files, d->files_shown), "files_total", (json_int_t)d->files_total,
        "snapshots", strings_json(d->snapshots, d->snapshots_shown), "snapshots_total",
        (json_int_t)d->snapshots_total);
    if (d->other_copy != NULL)
        (void)json_object_set(object, "other_copy", other);
    json_decref(other);
    cf_output_object(out, object);
}

/* ---- the summary ---- */

static const char *how_render(const cf_verify_opts *const o, char ret[64])
{
    char size[CF_SIZE_TEXT_SIZE];

    switch (o->how) {
    case CF_VERIFY_LOOK:
        return "no data";
    case CF_VERIFY_DATA:
        return "all data";
    case CF_VERIFY_PART:
        (void)snprintf(ret, 64, "part %llu of %llu", (unsigned long long)o->part,
                       (unsigned long long)o->parts);
        return ret;
    case CF_VERIFY_PERCENT:
        (void)snprintf(ret, 64, "%llu.%llu %% of the data", (unsigned long long)o->permille / 10,
                       (unsigned long long)o->permille % 10);
        return ret;
    case CF_VERIFY_BYTES:
        (void)snprintf(ret, 64, "about %s of the data", cf_size_render(o->bytes, size));
        return ret;
    }
    return "";
}

static void text_print(cf_output *const out, const cf_verify_opts *const o,
                       const cf_verify_result *const r, const cf_err outcome)
{
    char packs[CF_SIZE_TEXT_SIZE], read[CF_SIZE_TEXT_SIZE], how[64];
    const bool reads = o->how != CF_VERIFY_LOOK;

    cf_output_text(out, "%s: %llu snapshot%s of %llu node%s\n",
                   outcome == CF_OK           ? "fine"
                   : outcome == CF_ERR_DAMAGE ? "damage found"
                                              : "broken off",
                   (unsigned long long)r->snapshots_total, r->snapshots_total == 1 ? "" : "s",
                   (unsigned long long)r->nodes_total, r->nodes_total == 1 ? "" : "s");
    cf_output_text(out, "  packs   %llu, %s; files %llu\n", (unsigned long long)r->packs_total,
                   cf_size_render(r->packs_bytes, packs), (unsigned long long)r->files_total);
    if (reads)
        cf_output_text(out,
                       "  read    %s: %s in %llu packs, %llu of them as a whole; %llu files whole, "
                       "%llu in part\n",
                       how_render(o, how), cf_size_render(r->bytes_read, read),
                       (unsigned long long)r->packs_read, (unsigned long long)r->packs_digested,
                       (unsigned long long)r->files_whole, (unsigned long long)r->files_part);
    if (r->healed > 0)
        cf_output_text(out, "  again   %llu were wrong once and right the second time\n",
                       (unsigned long long)r->healed);
    if (r->proved_total > 0)
        cf_output_text(out, "  proved  %llu snapshot%s, which is recorded\n",
                       (unsigned long long)r->proved_total, r->proved_total == 1 ? "" : "s");
    cf_output_text(
        out, "  time    %llu.%llu s, %llu requests\n", (unsigned long long)(r->duration_ms / 1000),
        (unsigned long long)(r->duration_ms % 1000 / 100), (unsigned long long)r->requests_total);
}

static json_t *summary_json(const cf_verify_opts *const o, const cf_verify_result *const r,
                            const cf_err outcome)
{
    char how[64];

    return json_pack(
        "{s:s, s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
        "s:I, "
        "s:I, s:f}",
        "type", "summary", "complete", (int)(outcome == CF_OK || outcome == CF_ERR_DAMAGE),
        "covered", how_render(o, how), "nodes", (json_int_t)r->nodes_total, "snapshots",
        (json_int_t)r->snapshots_total, "packs", (json_int_t)r->packs_total, "packs_read",
        (json_int_t)r->packs_read, "packs_digested", (json_int_t)r->packs_digested, "files",
        (json_int_t)r->files_total, "files_whole", (json_int_t)r->files_whole, "files_part",
        (json_int_t)r->files_part, "bytes_stored", (json_int_t)r->packs_bytes, "bytes_read",
        (json_int_t)r->bytes_read, "damaged_packs", (json_int_t)r->damaged_packs,
        "damaged_segments", (json_int_t)r->damaged_segments, "damaged_roots",
        (json_int_t)r->damaged_roots, "damaged_files", (json_int_t)r->damaged_files, "proved",
        (json_int_t)r->proved_total, "requests", (json_int_t)r->requests_total, "duration_s",
        (double)r->duration_ms / 1000.0);
}

cf_err cf_cli_verify(cf_cli *const c, cf_error *const e)
{
    const cf_values *const v = &c->values;
    cf_verify_opts o = {
        .node = v->text[CF_OPT_NODE],
        .snapshot = v->arg_total > 0 ? v->arg[0] : NULL,
        .on_damage = damage_print,
        .impl = c->output,
    };
    cf_verify_result r = {0};
    cf_remote other = {0};

    CF_TRY(cf_cli_mover(c, &o.remote, e));
    CF_TRY(how_take(v, &o, e));
    other = o.remote;
    other.url = v->text[CF_OPT_OTHER_REPO];
    if (other.url != NULL)
        o.other = &other;
    const cf_err err = cf_verify_run(c->ctx, &o, &r, e);
    if (r.requests_total == 0 || err == CF_ERR_USAGE || err == CF_ERR_NOT_FOUND)
        return err; /* nothing was looked at */
    text_print(c->output, &o, &r, err);
    cf_output_object(c->output, summary_json(&o, &r, err));
    return err;
}
