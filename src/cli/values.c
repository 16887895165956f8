/* SPDX-License-Identifier: Apache-2.0
 *
 * Values: what was given on the command line, as sizes, numbers, times and choices.
 */
#include <string.h>

#include "chunkferry/chunkferry.h"
#include "cli/options.h"
#include "s3/base/num.h"

static const char *name_of(const cf_option_id id)
{
    return cf_option_at(id)->name;
}

cf_err cf_values_size(const cf_values *const v, const cf_option_id id, uint64_t *const ret_bytes,
                      cf_error *const e)
{
    uint64_t bytes = 0;

    if (v->text[id] == NULL)
        return CF_OK;
    CF_ENSURE(cf_size_parse(cf_slice_str(v->text[id]), &bytes), e, CF_ERR_USAGE,
              "'--%s %s' is no size\nHINT: for example --%s 256MiB", name_of(id), v->text[id],
              name_of(id));
    CF_ENSURE(bytes > 0, e, CF_ERR_USAGE, "'--%s %s' is no size: 1 byte is the least", name_of(id),
              v->text[id]); /* 0: not given */
    *ret_bytes = bytes;
    return CF_OK;
}

cf_err cf_values_number(const cf_values *const v, const cf_option_id id, const uint64_t min,
                        const uint64_t max, uint64_t *const ret, cf_error *const e)
{
    uint64_t n = 0;

    if (v->text[id] == NULL)
        return CF_OK;
    CF_ENSURE(cf_u64_parse(cf_slice_str(v->text[id]), &n), e, CF_ERR_USAGE,
              "'--%s %s' is no number", name_of(id), v->text[id]);
    CF_ENSURE(n >= min && n <= max, e, CF_ERR_USAGE, "'--%s %s' is outside %llu to %llu",
              name_of(id), v->text[id], (unsigned long long)min, (unsigned long long)max);
    *ret = n;
    return CF_OK;
}

static uint64_t duration_unit_ms(const char letter)
{
    static const struct {
        char letter;
        uint64_t s;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (units[i].letter == letter)
            return units[i].s * 1000;
    }
    return 0;
}

cf_err cf_values_level(const cf_values *const v, const cf_option_id id, int *const ret,
                       cf_error *const e)
{
    uint64_t level = 0;

    if (v->text[id] != NULL && strcmp(v->text[id], "off") == 0) {
        *ret = CF_LEVEL_OFF;
        return CF_OK;
    }
    CF_TRY(cf_values_number(v, id, 1, CF_LEVEL_MAX, &level, e));
    *ret = (int)level;
    return CF_OK;
}

/* 0: it is none. Units go down: "1d12h", never "12h1d", which is more likely a slip. */
static uint64_t duration_parse(const char *text)
{
    const uint64_t max_ms = UINT64_C(100) * 366 * 86400 * 1000; /* ours: a century */
    uint64_t sum_ms = 0, last_unit_ms = UINT64_MAX;

    while (*text != '\0') {
        const size_t digits = strspn(text, "0123456789");
        uint64_t n = 0;

        if (digits == 0 || !cf_u64_parse(cf_slice_of(text, digits), &n))
            return 0;
        const uint64_t unit_ms = duration_unit_ms(text[digits]);
        if (unit_ms == 0 || unit_ms >= last_unit_ms || n > max_ms / unit_ms)
            return 0;
        sum_ms += n * unit_ms;
        if (sum_ms > max_ms)
            return 0;
        last_unit_ms = unit_ms;
        text += digits + 1;
    }
    return sum_ms;
}

cf_err cf_values_duration(const cf_values *const v, const cf_option_id id, uint64_t *const ret_ms,
                          cf_error *const e)
{
    if (v->text[id] == NULL)
        return CF_OK;
    const uint64_t ms = duration_parse(v->text[id]);
    CF_ENSURE(ms > 0, e, CF_ERR_USAGE,
              "'--%s %s' is no time\nHINT: a number with s, m, h, d or w behind it: --%s 90m",
              name_of(id), v->text[id], name_of(id));
    *ret_ms = ms;
    return CF_OK;
}

unsigned cf_values_each(const cf_values *const v, const cf_option_id id, const char **const ret)
{
    unsigned total = 0;

    for (unsigned i = 0; i < v->many_total; i++) {
        if (v->many[i].id == id)
            ret[total++] = v->many[i].text;
    }
    return total;
}

cf_err cf_values_choice(const cf_values *const v, const cf_option_id id,
                        const char *const *const words, unsigned *const ret, cf_error *const e)
{
    if (v->text[id] == NULL)
        return CF_OK;
    for (unsigned i = 0; words[i] != NULL; i++) {
        if (strcmp(v->text[id], words[i]) == 0) {
            *ret = i;
            return CF_OK;
        }
    }
    CF_FAIL(e, CF_ERR_USAGE, "'--%s %s' is neither '%s' nor '%s'", name_of(id), v->text[id],
            words[0], words[1]);
}
