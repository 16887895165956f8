/* SPDX-License-Identifier: Apache-2.0
 *
 * A lease's few facts. Whoever finds it locked shows them to a person; prune reads `uses`.
 */
#include "repo/lease_body.h"

#include "repo/json.h"
#include "repo/lease.h"
#include "repo/root.h"
#include "s3/base/cleanup.h"

static cf_err put_word(cf_buf *const b, const char *const before, const char *const word,
                       cf_error *const e)
{
    const cf_slice s = cf_slice_str(word);
    CF_TRY(cf_buf_append_str(b, before, e));
    return cf_json_put_str(b, cf_utf8_valid(s) ? s : cf_slice_str(""), e);
}

cf_err cf_lease_body_render(const cf_lease_body *const b, cf_buf *const ret, cf_error *const e)
{
    char since[CF_TIME_MS_SIZE] = "";
    cf_time_render_ms(b->since_utc_ms, since);
    CF_TRY(cf_buf_printf(ret, e, "{\"format\":%d,\"requires\":[],\"%s\":\"%s\",\"state\":\"%s\"",
                         CF_FORMAT, b->is_read ? "snapshot" : "run", b->run.text,
                         b->ended ? "ended" : "held"));
    if (!b->is_read) {
        CF_TRY(cf_buf_append_str(ret, ",\"uses\":[", e));
        for (size_t i = 0; i < b->uses_total; i++)
            CF_TRY(cf_buf_printf(ret, e, "%s\"%s\"", i == 0 ? "" : ",", b->uses[i].text));
        CF_TRY(cf_buf_append_char(ret, ']', e));
    }
    CF_TRY(cf_buf_printf(ret, e, ",\"since\":\"%s\",\"ttl_s\":%u", since, (unsigned)b->ttl_s));
    CF_TRY(put_word(ret, ",\"owner\":{\"host\":", b->owner.host, e));
    CF_TRY(put_word(ret, ",\"machine\":", b->owner.machine, e));
    CF_TRY(put_word(ret, ",\"boot\":", b->owner.boot, e));
    CF_TRY(put_word(ret, ",\"pid_ns\":", b->owner.pid_ns, e));
    return cf_buf_printf(ret, e, ",\"pid\":%u,\"start_ticks\":%llu}}\n", (unsigned)b->owner.pid,
                         (unsigned long long)b->owner.start_ticks);
}

static cf_err take_owner(const json_t *const o, cf_lease_owner *const ret, cf_error *const e)
{
    uint64_t pid = 0;
    CF_ENSURE(json_is_object(o), e, CF_ERR_DAMAGE, "'owner' is missing or not an object");
    CF_TRY(cf_json_get_word(o, "host", 0, CF_OWNER_WORD_LEN_MAX, ret->host, e));
    CF_TRY(cf_json_get_word(o, "machine", 0, CF_OWNER_WORD_LEN_MAX, ret->machine, e));
    CF_TRY(cf_json_get_word(o, "boot", 0, CF_OWNER_WORD_LEN_MAX, ret->boot, e));
    CF_TRY(cf_json_get_word(o, "pid_ns", 0, CF_OWNER_WORD_LEN_MAX, ret->pid_ns, e));
    CF_TRY(cf_json_get_u64(o, "pid", 0, UINT32_MAX, &pid, e));
    ret->pid = (uint32_t)pid;
    return cf_json_get_u64(o, "start_ticks", 0, CF_NUMBER_MAX, &ret->start_ticks, e);
}

static cf_err take_uses(const json_t *const o, cf_lease_body *const b, cf_error *const e)
{
    const json_t *const uses = json_object_get(o, "uses");
    CF_ENSURE(json_is_array(uses), e, CF_ERR_DAMAGE, "'uses' is missing or not a list");
    CF_ENSURE(json_array_size(uses) <= CF_LEASE_USES_MAX, e, CF_ERR_DAMAGE,
              "'uses' names %zu runs, more than %d", json_array_size(uses), CF_LEASE_USES_MAX);
    for (size_t i = 0; i < json_array_size(uses); i++) {
        const json_t *const item = json_array_get(uses, i);
        CF_ENSURE(json_is_string(item) && cf_run_id_parse(cf_slice_of(json_string_value(item),
                                                                      json_string_length(item)),
                                                          &b->uses[i]),
                  e, CF_ERR_DAMAGE, "'uses' holds something that is not a run's id");
        b->uses_total++;
    }
    return CF_OK;
}

static cf_err body_take(const json_t *const o, cf_lease_body *const b, cf_error *const e)
{
    cf_slice state = {NULL, 0};
    uint64_t ttl_s = 0;
    CF_TRY(cf_json_check_format(o, "lease", e));
    b->is_read = json_object_get(o, "snapshot") != NULL;
    CF_TRY(cf_json_get_run_id(o, b->is_read ? "snapshot" : "run", &b->run, e));
    CF_TRY(cf_json_get_str(o, "state", 1, 16, &state, e));
    b->ended = cf_slice_eq(state, cf_slice_str("ended"));
    CF_ENSURE(b->ended || cf_slice_eq(state, cf_slice_str("held")), e, CF_ERR_DAMAGE,
              "'state' is '%.*s', not held or ended", CF_SLICE_FMT(state));
    CF_TRY(cf_json_get_time_ms(o, "since", &b->since_utc_ms, e));
    CF_TRY(cf_json_get_u64(o, "ttl_s", 1, CF_LEASE_TTL_MAX_S, &ttl_s, e));
    b->ttl_s = (uint32_t)ttl_s;
    CF_TRY(take_owner(json_object_get(o, "owner"), &b->owner, e));
    return b->is_read ? CF_OK : take_uses(o, b, e);
}

cf_err cf_lease_body_parse(const cf_slice json, cf_lease_body *const ret, cf_error *const e)
{
    CF_CLEANUP(json_decrefp) json_t *o = NULL;
    cf_lease_body b = {0};
    CF_ENSURE(json.len <= CF_LEASE_LEN_MAX, e, CF_ERR_DAMAGE, "a lease of %zu bytes, more than %d",
              json.len, CF_LEASE_LEN_MAX);
    CF_TRY(cf_json_load(json, &o, e));
    CF_TRY(body_take(o, &b, e));
    *ret = b;
    return CF_OK;
}
