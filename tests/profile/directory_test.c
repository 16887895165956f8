/* SPDX-License-Identifier: Apache-2.0
 *
 * The profile directory below its command: which names a pattern leaves out, and in which order a
 * tree is walked.
 */
#include "profile/directory/exclude.h"
#include "profile/profile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "s3/base/alloc.h"
#include "s3/world.h"

typedef struct row {
    const char *pattern, *path;
    bool is_dir, matches;
} row;

static const row rows[] = {
    {"*.tmp", "a.tmp", false, true},
    {"*.tmp", "x/y/a.tmp", false, true},
    {"*.tmp", "a.tmp/b", false,
     false}, /* a.tmp itself is left out, nothing asks for what is below */
    {"a", "b/a", true, true},
    {"/a", "b/a", true, false},
    {"/a", "a", true, true},
    {"a/", "a", false, false},
    {"a/", "a", true, true},
    {"/a/", "a", true, true},
    {"a/b", "a/b", false, true},
    {"a/b", "x/a/b", false, false},
    {"a/*", "a/b", false, true},
    {"a/*", "a/b/c", false, false},
    {"a/**", "a", true, false},
    {"a/**", "a/b", false, true},
    {"a/**", "a/b/c", false, true},
    {"**/c", "c", false, true},
    {"**/c", "a/b/c", false, true},
    {"a/**/c", "a/c", false, true},
    {"a/**/c", "a/x/y/c", false, true},
    {"a/**/c", "a/x/y/d", false, false},
    {"a/**/c/**/d", "a/c/x/c/d", false, true},
    {"a/**/c/**/d", "a/x/d", false, false},
    {"**/**/x", "x", false, true},
    {"**", "anything", false, true}, /* as a name it is a '*' */
    {"[a-c]?", "b7", false, true},
    {"[!a-c]", "d", false, true},
    {"[!a-c]", "a", false, false},
    {"\\*", "*", false, true},
    {"\\*", "a", false, false},
    {"*", ".hidden", false, true},
    {"\xff*", "\xff\xfe", false, true},
    {"?", "\xc3\xa9", false, false}, /* bytes count */
};

static void test_exclude(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CF_CLEANUP(cf_exclude_freep) cf_exclude *x = NULL;

        assert_int_equal(cf_exclude_new(&rows[i].pattern, 1, &x, NULL), CF_OK);
        if (cf_exclude_matches(x, rows[i].path, rows[i].is_dir) != rows[i].matches)
            fail_msg("'%s' against '%s': expected %d", rows[i].pattern, rows[i].path,
                     rows[i].matches);
    }
}

static void test_exclude_refused(void **state)
{
    static const struct {
        const char *pattern, *part;
    } bad[] = {{"", "names nothing"},
               {"/", "names nothing"},
               {"//a", "empty component"},
               {"a//b", "empty component"},
               {"a//", "empty component"},
               {"./a", "the component '.'"},
               {"a/../b", "the component '..'"},
               {"..", "the component '..'"}};
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CF_CLEANUP(cf_exclude_freep) cf_exclude *x = NULL;
        cf_error e = {0};

        assert_int_equal(cf_exclude_new(&bad[i].pattern, 1, &x, &e), CF_ERR_USAGE);
        if (strstr(e.message, bad[i].part) == NULL)
            fail_msg("'%s': %s", bad[i].pattern, e.message);
    }
}

/* A pattern that would take for ever if every '**' were tried against every depth. */
static void test_exclude_is_not_exponential(void **state)
{
    static const char *const pattern = "**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/b";
    char path[4001] = "";
    CF_CLEANUP(cf_exclude_freep) cf_exclude *x = NULL;

    (void)state;
    for (size_t i = 0; i + 2 < sizeof(path); i += 2)
        memcpy(path + i, "a/", 3);
    path[sizeof(path) - 2] = 'c';
    assert_int_equal(cf_exclude_new(&pattern, 1, &x, NULL), CF_OK);
    assert_false(cf_exclude_matches(x, path, false));
}

typedef struct box {
    char path[64];
    char warned[2048];
} box;

static void warn_keep(void *impl, const char *text)
{
    box *const b = impl;

    (void)snprintf(b->warned + strlen(b->warned), sizeof(b->warned) - strlen(b->warned), "%s\n",
                   text);
}

static void put(const box *b, const char *name, bool dir)
{
    char path[512];

    (void)snprintf(path, sizeof(path), "%s/%s", b->path, name);
    if (dir) {
        assert_int_equal(mkdir(path, 0755), 0);
        return;
    }
    const int fd = open(path, O_CREAT | O_WRONLY, 0644);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
}

/* Paths by bytes: "a-" and "a.b" come between "a" and what is in it, at every depth. */
static void test_order(void **state)
{
    static const struct {
        const char *name;
        bool dir;
    } made[] = {{"a", true},     {"a/z", false},    {"a-", true},     {"a-/k", false},
                {"a-b", true},   {"a-b/x", false},  {"a.b", false},   {"a/a", true},
                {"a/a!", true},  {"a/a!/1", false}, {"a/a/0", false}, {"ab", false},
                {"a0", true},    {"a0/q", false},   {"a\x01", true},  {"a\x01/q", false},
                {"\xff", false}, {"a/empty", true}};
    box b = {.path = "/tmp/cf-tree-XXXXXX"};
    const cf_source_opts opts = {
        .fs = cf_fs_real(), .world = cf_world_real(), .dir = b.path, .warn = warn_keep, .impl = &b};
    const cf_profile *const p = &cf_profile_directory;
    cf_source *s = NULL;
    cf_entry *entry = NULL;
    cf_error e = {0};
    char last[512] = "", command[128];
    size_t total = 0;

    (void)state;
    assert_non_null(mkdtemp(b.path));
    for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++)
        put(&b, made[i].name, made[i].dir);
    assert_int_equal(p->open(&opts, &s, &e), CF_OK);
    assert_int_equal(p->plan(s, NULL, NULL, NULL, &e), CF_OK);
    for (;; total++) {
        assert_int_equal(p->next(s, &entry, &e), CF_OK);
        if (entry == NULL)
            break;
        if (strcmp(last, entry->path) >= 0)
            fail_msg("'%s' comes behind '%s'", entry->path, last);
        (void)snprintf(last, sizeof(last), "%s", entry->path);
        assert_int_equal(p->read_done(s, entry, NULL, &e), CF_OK);
    }
    assert_int_equal(total, 1 + sizeof(made) / sizeof(made[0]));
    assert_false(p->more(s));
    assert_string_equal(b.warned, "");
    p->close(s);
    (void)snprintf(command, sizeof(command), "rm -rf %s", b.path);
    assert_int_equal(system(command), 0);
}

/* The whole way with the nth allocation failing: told as that, never passed over as a file. */
static cf_err go_through(box *b, cf_error *e)
{
    static const char *const patterns[] = {"*.x", "p/**"};
    const cf_source_opts opts = {.fs = cf_fs_real(),
                                 .world = cf_world_real(),
                                 .dir = b->path,
                                 .exclude = patterns,
                                 .exclude_total = 2,
                                 .warn = warn_keep,
                                 .impl = b};
    const cf_profile *const p = &cf_profile_directory;
    cf_source *s = NULL;
    cf_entry *entry = NULL;
    cf_err err = p->open(&opts, &s, e);

    while (err == CF_OK) {
        err = p->next(s, &entry, e);
        if (err != CF_OK || entry == NULL)
            break;
        err = p->read_done(s, entry, NULL, e);
    }
    if (s != NULL)
        p->close(s);
    return err;
}

static void test_allocations(void **state)
{
    box b = {.path = "/tmp/cf-tree-XXXXXX"};
    char command[128];
    cf_err err = CF_ERR_NO_MEMORY;
    unsigned long n = 0;

    (void)state;
    assert_non_null(mkdtemp(b.path));
    put(&b, "a", true);
    put(&b, "a/f", false);
    put(&b, "a-", true);
    put(&b, "\xff", false);
    (void)snprintf(command, sizeof(command), "ln -s nowhere %s/l", b.path);
    assert_int_equal(system(command), 0);
    while (err != CF_OK) {
        cf_error e = {0};

        cf_alloc_fail_at(++n);
        err = go_through(&b, &e);
        cf_alloc_fail_at(0);
        if (err != CF_OK && err != CF_ERR_NO_MEMORY)
            fail_msg("allocation %lu: %s", n, e.message);
    }
    assert_true(n > 15);
    assert_string_equal(b.warned, "");
    (void)snprintf(command, sizeof(command), "rm -rf %s", b.path);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exclude),
        cmocka_unit_test(test_exclude_refused),
        cmocka_unit_test(test_exclude_is_not_exponential),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
