/* SPDX-License-Identifier: Apache-2.0
 *
 * The parser of AWS's shared files: one line at a time, a state of three values.
 */
#include "s3/ini.h"

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/secret.h"

typedef struct parser {
    s3_ini ini; /* owned until it is handed over */
    s3_ini_form form;
    size_t line;
    bool in_section;  /* a section has begun, also a skipped one */
    bool in_property; /* the line above was, or continued, a property */
    bool skip;        /* that property is not kept */
    bool block;       /* its value was empty: lines below are sub-properties */
} parser;

static void parser_deinit(parser *p)
{
    s3_ini_deinit(&p->ini);
}

void s3_ini_deinit(s3_ini *ini)
{
    cf_wipe(ini->text.data, ini->text.cap);
    cf_buf_deinit(&ini->text);
    cf_free(ini->sections);
    cf_free(ini->rows);
    *ini = (s3_ini){0};
}

/* ---- text ---- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static cf_slice trim(cf_slice s)
{
    while (s.len > 0 && is_blank(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

static bool is_comment_mark(uint8_t c)
{
    return c == '#' || c == ';';
}

/* Up to a comment; need_blank: only a mark behind a blank begins one. */
static cf_slice cut_comment(cf_slice s, bool need_blank)
{
    for (size_t i = 0; i < s.len; i++)
        if (is_comment_mark(s.ptr[i]) && (!need_blank || (i > 0 && is_blank(s.ptr[i - 1]))))
            return cf_slice_of(s.ptr, i);
    return s;
}

static bool name_valid(cf_slice s)
{
    if (s.len == 0 || s.len > S3_INI_NAME_LEN_MAX)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        const uint8_t c = s.ptr[i];
        const bool alnum =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && (c == '\0' || strchr("-/.%@_:+", c) == NULL))
            return false;
    }
    return true;
}

/* Copy behind the text that is kept, with a NUL. The text never moves: all of it was reserved, and
 * each copy takes fewer bytes than the source had (the brackets, '=' and line ends pay for the
 * NULs). */
static const char *keep(parser *p, cf_slice s, bool lower)
{
    cf_buf *const text = &p->ini.text;
    CF_CHECK(s.len + 1 <= text->cap - text->len);
    char *const at = (char *)text->data + text->len;
    for (size_t i = 0; i < s.len; i++) {
        const uint8_t c = s.ptr[i];
        at[i] = (char)(lower && c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
    at[s.len] = '\0';
    text->len += s.len + 1;
    return at;
}

static cf_err rows_grow(void **rows, size_t total, size_t size, cf_error *e)
{
    CF_ENSURE(total < S3_INI_ROW_TOTAL_MAX, e, CF_ERR_TOO_LARGE,
              "more than the %d sections or properties allowed", S3_INI_ROW_TOTAL_MAX);
    if (total != 0 && (total < 16 || (total & (total - 1)) != 0))
        return CF_OK;
    const size_t cap = total == 0 ? 16 : total * 2;
    void *const grown = cf_realloc(*rows, cap, size);
    CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu rows", cap);
    *rows = grown;
    return CF_OK;
}

/* ---- lines ---- */

/* "word name" -> name when s begins with word and a blank. */
static bool strip_word(cf_slice s, const char *word, cf_slice *ret)
{
    const size_t len = strlen(word);
    if (!cf_slice_starts_with(s, cf_slice_str(word)) || s.len == len || !is_blank(s.ptr[len]))
        return false;
    *ret = trim(cf_slice_of(s.ptr + len, s.len - len));
    return true;
}

typedef struct prefix_row {
    const char *word;
    s3_ini_kind kind;
} prefix_row;

static const prefix_row prefix_rows[] = {
    {"profile", S3_INI_PROFILE},
    {"sso-session", S3_INI_SSO_SESSION},
    {"services", S3_INI_SERVICES},
};

static s3_ini_section section_of(s3_ini_form form, cf_slice inner, cf_slice *ret_name)
{
    *ret_name = inner;
    if (form == S3_INI_CREDENTIALS)
        return (s3_ini_section){.kind = name_valid(inner) ? S3_INI_PROFILE : S3_INI_SKIPPED};
    for (size_t i = 0; i < sizeof(prefix_rows) / sizeof(prefix_rows[0]); i++)
        if (strip_word(inner, prefix_rows[i].word, ret_name))
            return (s3_ini_section){.kind = name_valid(*ret_name) ? prefix_rows[i].kind
                                                                  : S3_INI_SKIPPED,
                                    .prefixed = true};
    /* In config only the default profile needs no prefix. */
    return (s3_ini_section){.kind = cf_slice_eq(inner, cf_slice_str("default")) ? S3_INI_PROFILE
                                                                                : S3_INI_SKIPPED};
}

static cf_err parse_section(parser *p, cf_slice line, cf_error *e)
{
    const cf_slice s = trim(cut_comment(line, /* need_blank= */ false));
    CF_ENSURE(s.len >= 2 && s.ptr[s.len - 1] == ']', e, CF_ERR_PARSE,
              "line %zu: a section does not end with ']'", p->line);
    cf_slice name = {0};
    s3_ini_section section = section_of(p->form, trim(cf_slice_of(s.ptr + 1, s.len - 2)), &name);
    section.name = section.kind == S3_INI_SKIPPED ? "" : keep(p, name, /* lower= */ false);
    void *rows = p->ini.sections;
    CF_TRY(rows_grow(&rows, p->ini.section_total, sizeof(section), e));
    p->ini.sections = rows;
    p->ini.sections[p->ini.section_total++] = section;
    p->in_section = true;
    p->in_property = false;
    return CF_OK;
}

/* Splits at the first '='; ptr NULL when there is none. */
static cf_slice split_name(cf_slice s, cf_slice *ret_value)
{
    const uint8_t *const at = s.len == 0 ? NULL : memchr(s.ptr, '=', s.len);
    if (at == NULL)
        return (cf_slice){0};
    const size_t len = (size_t)(at - s.ptr);
    *ret_value = trim(cf_slice_of(at + 1, s.len - len - 1));
    return trim(cf_slice_of(s.ptr, len));
}

static cf_err parse_property(parser *p, cf_slice line, cf_error *e)
{
    CF_ENSURE(p->in_section, e, CF_ERR_PARSE,
              "line %zu: a property stands before the first section", p->line);
    cf_slice value = {0};
    const cf_slice name = split_name(trim(cut_comment(line, /* need_blank= */ true)), &value);
    CF_ENSURE(name.ptr != NULL, e, CF_ERR_PARSE, "line %zu: a property has no '='", p->line);
    CF_ENSURE(name.len > 0, e, CF_ERR_PARSE, "line %zu: a property has no name", p->line);
    p->in_property = true;
    p->block = value.len == 0;
    const size_t section = p->ini.section_total - 1;
    p->skip = !name_valid(name) || p->ini.sections[section].kind == S3_INI_SKIPPED;
    if (p->skip)
        return CF_OK;
    void *rows = p->ini.rows;
    CF_TRY(rows_grow(&rows, p->ini.row_total, sizeof(*p->ini.rows), e));
    p->ini.rows = rows;
    const char *const key = keep(p, name, /* lower= */ true);
    p->ini.rows[p->ini.row_total++] =
        (s3_ini_row){.section = section, .key = key, .value = keep(p, value, /* lower= */ false)};
    return CF_OK;
}

static cf_err parse_continuation(parser *p, cf_slice line, cf_error *e)
{
    CF_ENSURE(p->in_section, e, CF_ERR_PARSE,
              "line %zu: an indented line stands before the first section", p->line);
    CF_ENSURE(p->in_property, e, CF_ERR_PARSE, "line %zu: an indented line continues no property",
              p->line);
    const cf_slice s = trim(line);
    if (p->block) {
        cf_slice value = {0};
        const cf_slice name = split_name(s, &value);
        CF_ENSURE(name.ptr != NULL, e, CF_ERR_PARSE, "line %zu: a sub-property has no '='",
                  p->line);
        CF_ENSURE(name.len > 0, e, CF_ERR_PARSE, "line %zu: a sub-property has no name", p->line);
    }
    if (p->skip)
        return CF_OK;
    /* The value is the last text kept: its NUL becomes the line break. */
    p->ini.text.data[p->ini.text.len - 1] = '\n';
    (void)keep(p, s, /* lower= */ false);
    return CF_OK;
}

static cf_err parse_line(parser *p, cf_slice line, cf_error *e)
{
    const cf_slice s = trim(line);
    /* An indented comment is a comment too: people comment out lines below a section. */
    if (s.len == 0 || is_comment_mark(s.ptr[0]))
        return CF_OK;
    if (s.ptr[0] == '[' && !(p->in_property && is_blank(line.ptr[0])))
        return parse_section(p, s, e);
    if (is_blank(line.ptr[0]))
        return parse_continuation(p, line, e);
    return parse_property(p, line, e);
}

cf_err s3_ini_parse(cf_slice text, s3_ini_form form, s3_ini *ret, cf_error *e)
{
    CF_ENSURE(text.len <= S3_INI_TEXT_MAX, e, CF_ERR_TOO_LARGE, "%zu bytes, %d are allowed",
              text.len, S3_INI_TEXT_MAX);
    CF_ENSURE(text.len == 0 || memchr(text.ptr, '\0', text.len) == NULL, e, CF_ERR_PARSE,
              "there is a NUL in the text");
    CF_CLEANUP(parser_deinit) parser p = {.form = form};
    cf_buf_init(&p.ini.text, text.len + 2);
    CF_TRY(cf_buf_reserve(&p.ini.text, text.len + 2, e));
    for (size_t i = 0; i < text.len;) {
        const uint8_t *const end = memchr(text.ptr + i, '\n', text.len - i);
        const size_t len = end == NULL ? text.len - i : (size_t)(end - (text.ptr + i));
        p.line++;
        CF_TRY(parse_line(&p, cf_slice_of(text.ptr + i, len), e));
        i += len + 1;
    }
    s3_ini_deinit(ret);
    *ret = p.ini;
    p.ini = (s3_ini){0};
    return CF_OK;
}

/* ---- questions ---- */

bool s3_ini_visible(const s3_ini *ini, size_t section)
{
    const s3_ini_section *const s = &ini->sections[section];
    if (s->kind == S3_INI_SKIPPED)
        return false;
    if (s->kind != S3_INI_PROFILE || s->prefixed || strcmp(s->name, "default") != 0)
        return true;
    for (size_t i = 0; i < ini->section_total; i++)
        if (ini->sections[i].kind == S3_INI_PROFILE && ini->sections[i].prefixed &&
            strcmp(ini->sections[i].name, "default") == 0)
            return false;
    return true;
}

static bool section_is(const s3_ini *ini, size_t section, s3_ini_kind kind, const char *name)
{
    return ini->sections[section].kind == kind && strcmp(ini->sections[section].name, name) == 0 &&
           s3_ini_visible(ini, section);
}

bool s3_ini_has(const s3_ini *ini, s3_ini_kind kind, const char *name)
{
    for (size_t i = 0; i < ini->section_total; i++)
        if (section_is(ini, i, kind, name))
            return true;
    return false;
}

const char *s3_ini_get(const s3_ini *ini, s3_ini_kind kind, const char *name, const char *key)
{
    for (size_t i = ini->row_total; i > 0; i--) {
        const s3_ini_row *const row = &ini->rows[i - 1];
        if (strcmp(row->key, key) == 0 && section_is(ini, row->section, kind, name))
            return row->value;
    }
    return NULL;
}

cf_slice s3_ini_block_get(const char *block, const char *key)
{
    cf_slice rest = cf_slice_str(block);
    cf_slice found = {0};
    while (rest.len > 0) {
        const uint8_t *const end = memchr(rest.ptr, '\n', rest.len);
        const size_t len = end == NULL ? rest.len : (size_t)(end - rest.ptr);
        cf_slice value = {0};
        const cf_slice name =
            split_name(cut_comment(cf_slice_of(rest.ptr, len), /* need_blank= */ true), &value);
        if (name.len > 0 && cf_slice_eq(name, cf_slice_str(key)))
            found = value; /* the last one wins, as everywhere */
        const size_t step = end == NULL ? len : len + 1;
        rest = cf_slice_of(rest.ptr + step, rest.len - step);
    }
    return found;
}
