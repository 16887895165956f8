/* SPDX-License-Identifier: Apache-2.0
 *
 * Credentials: the published cases of the file format (../shared/vectors/creds, when there) and our
 * own for the chain.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/cred.h"

static void json_freep(json_t **json)
{
    json_decref(*json);
}

/* ---- published cases ---- */

typedef struct message_row {
    const char *theirs, *ours;
} message_row;

/* The cases name the kind of an error in the words of their own parser. */
static const message_row message_rows[] = {
    {"Profile definition must end with ']'", "a section does not end with ']'"},
    {"Expected a profile definition", "before the first section"},
    {"Property did not have a name", "a property has no name"},
    {"Expected an '=' sign defining a property", "a property has no '='"},
    {"Expected a property definition", "an indented line continues no property"},
    {"Expected a property definition, found continuation",
     "an indented line continues no property"},
    {"Expected an '=' sign defining a sub-property", "a sub-property has no '='"},
    {"Sub-property did not have a name", "a sub-property has no name"},
};

static const char *our_message(const char *theirs)
{
    for (size_t i = 0; i < sizeof(message_rows) / sizeof(message_rows[0]); i++)
        if (strcmp(message_rows[i].theirs, theirs) == 0)
            return message_rows[i].ours;
    return "(no such row)";
}

/* Distinct visible sections and keys of one kind, of both files. */
static json_t *merged(const s3_ini *config, const s3_ini *credentials, s3_ini_kind kind)
{
    json_t *const all = json_object();
    const s3_ini *const files[] = {config, credentials};
    for (size_t f = 0; f < 2; f++) {
        for (size_t i = 0; i < files[f]->section_total; i++) {
            const s3_ini_section *const s = &files[f]->sections[i];
            if (s->kind == kind && s3_ini_visible(files[f], i) &&
                json_object_get(all, s->name) == NULL)
                (void)json_object_set_new(all, s->name, json_object());
        }
        for (size_t i = 0; i < files[f]->row_total; i++) {
            const s3_ini_row *const row = &files[f]->rows[i];
            const s3_ini_section *const s = &files[f]->sections[row->section];
            if (s->kind == kind && s3_ini_visible(files[f], row->section))
                (void)json_object_set_new(
                    json_object_get(all, s->name), row->key,
                    json_string(s3_ini_get(files[f], kind, s->name, row->key)));
        }
    }
    return all;
}

static bool parser_case(const json_t *test)
{
    CF_CLEANUP(s3_ini_deinit) s3_ini config = {0};
    CF_CLEANUP(s3_ini_deinit) s3_ini credentials = {0};
    cf_error e = {0};
    const json_t *const input = json_object_get(test, "input");
    const json_t *const output = json_object_get(test, "output");
    const char *const wrong = json_string_value(json_object_get(output, "errorContaining"));
    cf_err err = s3_ini_parse(cf_slice_str(json_string_value(json_object_get(input, "configFile"))),
                              S3_INI_CONFIG, &config, &e);
    if (err == CF_OK)
        err =
            s3_ini_parse(cf_slice_str(json_string_value(json_object_get(input, "credentialsFile"))),
                         S3_INI_CREDENTIALS, &credentials, &e);
    if (wrong != NULL)
        return err == CF_ERR_PARSE && strstr(e.message, our_message(wrong)) != NULL;
    CF_CLEANUP(json_freep) json_t *profiles = merged(&config, &credentials, S3_INI_PROFILE);
    CF_CLEANUP(json_freep) json_t *sso = merged(&config, &credentials, S3_INI_SSO_SESSION);
    const json_t *const expected = json_object_get(output, "config");
    const json_t *const expected_sso = json_object_get(expected, "sso_sessions");
    return err == CF_OK && json_equal(profiles, json_object_get(expected, "profiles")) &&
           (expected_sso == NULL || json_equal(sso, expected_sso));
}

static void test_parser_published(void **state)
{
    (void)state;
    CF_CLEANUP(json_freep)
    json_t *file = json_load_file("../shared/vectors/creds/profile-parser-tests.json", 0, NULL);
    if (file == NULL) {
        print_message("skipped: ../shared/vectors not present\n");
        skip();
    }
    unsigned passed = 0;
    size_t i = 0;
    const json_t *test = NULL;
    json_array_foreach(json_object_get(file, "tests"), i, test)
    {
        if (parser_case(test))
            passed++;
        else
            print_error("failed: %s\n", json_string_value(json_object_get(test, "name")));
    }
    print_message("profile parser: %u of %zu cases\n", passed, i);
    assert_int_equal(passed, 65);
}

/* env is a JSON object here. */
static const char *json_env(void *impl, const char *name)
{
    return json_string_value(json_object_get(impl, name));
}

static void test_location_published(void **state)
{
    (void)state;
    CF_CLEANUP(json_freep)
    json_t *file = json_load_file("../shared/vectors/creds/file-location-tests.json", 0, NULL);
    if (file == NULL) {
        print_message("skipped: ../shared/vectors not present\n");
        skip();
    }
    unsigned passed = 0;
    unsigned windows = 0;
    size_t i = 0;
    const json_t *test = NULL;
    json_array_foreach(json_object_get(file, "tests"), i, test)
    {
        CF_CLEANUP(s3_profile_deinit) s3_profile p = {0};
        const s3_cred_env env = {.env = json_env, .env_impl = json_object_get(test, "environment")};
        const char *const profile = json_string_value(json_object_get(test, "profile"));
        if (strcmp(json_string_value(json_object_get(test, "platform")), "linux") != 0) {
            windows++; /* chunkferry runs on Linux only */
            continue;
        }
        assert_int_equal(s3_profile_locate(&env, &p, NULL), CF_OK);
        assert_string_equal(p.name, profile == NULL ? "default" : profile);
        assert_string_equal(p.config_path,
                            json_string_value(json_object_get(test, "configLocation")));
        assert_string_equal(p.credentials_path,
                            json_string_value(json_object_get(test, "credentialsLocation")));
        passed++;
    }
    print_message("file location: %u cases, not applicable: %u (windows)\n", passed, windows);
    assert_int_equal(passed + windows, 9);
    assert_true(passed >= 4);
}

/* ---- our own: the chain ---- */

enum { ENV_MAX = 6 };

typedef struct chain_case {
    const char *title;
    const char *env[ENV_MAX][2];
    const char *config, *credentials; /* NULL: no such file */
    const char *profile;
    cf_err err;
    const char *expected; /* access key, or a part of the message */
} chain_case;

#define KEYS(id) "aws_access_key_id = " id "\naws_secret_access_key = s-" id "\n"

static const chain_case chain_cases[] = {
    {"environment",
     {{"AWS_ACCESS_KEY_ID", "E"}, {"AWS_SECRET_ACCESS_KEY", "s"}},
     NULL,
     NULL,
     NULL,
     CF_OK,
     "E"},
    {"environment beats the default profile",
     {{"AWS_ACCESS_KEY_ID", "E"}, {"AWS_SECRET_ACCESS_KEY", "s"}},
     NULL,
     "[default]\n" KEYS("P"),
     NULL,
     CF_OK,
     "E"},
    {"environment beats AWS_PROFILE",
     {{"AWS_ACCESS_KEY_ID", "E"}, {"AWS_SECRET_ACCESS_KEY", "s"}, {"AWS_PROFILE", "x"}},
     NULL,
     "[x]\n" KEYS("P"),
     NULL,
     CF_OK,
     "E"},
    {"a named profile beats the environment",
     {{"AWS_ACCESS_KEY_ID", "E"}, {"AWS_SECRET_ACCESS_KEY", "s"}},
     NULL,
     "[x]\n" KEYS("P"),
     "x",
     CF_OK,
     "P"},
    {"blank environment is unset",
     {{"AWS_ACCESS_KEY_ID", " "}, {"AWS_SECRET_ACCESS_KEY", ""}},
     NULL,
     "[default]\n" KEYS("P"),
     NULL,
     CF_OK,
     "P"},
    {"AWS_PROFILE chooses",
     {{"AWS_PROFILE", "x"}},
     NULL,
     "[default]\n" KEYS("D") "[x]\n" KEYS("P"),
     NULL,
     CF_OK,
     "P"},
    {"the credentials file wins",
     {{NULL}},
     "[default]\n" KEYS("C"),
     "[default]\n" KEYS("P"),
     NULL,
     CF_OK,
     "P"},
    {"the config file alone", {{NULL}}, "[profile x]\n" KEYS("C"), NULL, "x", CF_OK, "C"},
    {"keys beat a process beside them",
     {{NULL}},
     "[default]\ncredential_process = /bin/x\n" KEYS("C"),
     NULL,
     NULL,
     CF_OK,
     "C"},
    {"nothing anywhere",
     {{NULL}},
     NULL,
     NULL,
     NULL,
     CF_ERR_CREDENTIALS,
     "no credentials found in the environment"},
    {"half a pair in the environment",
     {{"AWS_ACCESS_KEY_ID", "E"}},
     NULL,
     "[default]\n" KEYS("P"),
     NULL,
     CF_ERR_CREDENTIALS,
     "the environment has an access key id, but no secret access key"},
    {"the other half",
     {{"AWS_SECRET_ACCESS_KEY", "E"}},
     NULL,
     NULL,
     NULL,
     CF_ERR_CREDENTIALS,
     "the environment has a secret access key, but no access key id"},
    {"half a pair in a profile",
     {{NULL}},
     NULL,
     "[default]\naws_access_key_id = A\n",
     NULL,
     CF_ERR_CREDENTIALS,
     "profile 'default' has an access key id, but no secret access key"},
    {"a named profile that is not there",
     {{NULL}},
     NULL,
     "[x]\n" KEYS("P"),
     "y",
     CF_ERR_CREDENTIALS,
     "profile 'y' is neither in '"},
    {"AWS_PROFILE that is not there",
     {{"AWS_PROFILE", "y"}},
     NULL,
     "[x]\n" KEYS("P"),
     NULL,
     CF_ERR_CREDENTIALS,
     "profile 'y' is neither in '"},
    {"a profile without keys",
     {{NULL}},
     "[profile x]\nregion = r\n",
     NULL,
     "x",
     CF_ERR_CREDENTIALS,
     "profile 'x' has no aws_access_key_id"},
    {"a role beats keys, so it is refused",
     {{NULL}},
     "[default]\nrole_arn = arn:x\n" KEYS("C"),
     NULL,
     NULL,
     CF_ERR_CREDENTIALS,
     "config' uses 'role_arn', which is not supported\nHINT: "},
    {"a process",
     {{NULL}},
     NULL,
     "[default]\ncredential_process = /bin/x\n",
     NULL,
     CF_ERR_CREDENTIALS,
     "credentials' uses 'credential_process'"},
    {"SSO",
     {{NULL}},
     "[default]\nsso_session = a\n",
     NULL,
     NULL,
     CF_ERR_CREDENTIALS,
     "uses 'sso_session'"},
    {"web identity",
     {{NULL}},
     "[default]\nweb_identity_token_file = /t\n",
     NULL,
     NULL,
     CF_ERR_CREDENTIALS,
     "uses 'web_identity_token_file'"},
    {"a container's endpoint",
     {{"AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.2/x"}},
     NULL,
     NULL,
     NULL,
     CF_ERR_CREDENTIALS,
     "AWS_CONTAINER_CREDENTIALS_FULL_URI is set, but this source is not supported"},
    {"a malformed file",
     {{NULL}},
     "[default\n",
     NULL,
     NULL,
     CF_ERR_PARSE,
     "line 1: a section does not end with ']'"},
    {"a line break in a token",
     {{"AWS_ACCESS_KEY_ID", "E"}, {"AWS_SECRET_ACCESS_KEY", "s"}, {"AWS_SESSION_TOKEN", "a\nb"}},
     NULL,
     NULL,
     NULL,
     CF_ERR_CREDENTIALS,
     "the session token of the environment has a blank"},
    {"a blank in a key",
     {{"AWS_ACCESS_KEY_ID", "E E"}, {"AWS_SECRET_ACCESS_KEY", "s"}},
     NULL,
     NULL,
     NULL,
     CF_ERR_CREDENTIALS,
     "the access key id of the environment has a blank"},
};

typedef struct world {
    const chain_case *c;
    char home[64], dir[80], config[96], credentials[96];
} world;

static const char *world_env(void *impl, const char *name)
{
    const world *const w = impl;
    if (strcmp(name, "HOME") == 0)
        return w->home;
    for (size_t i = 0; i < ENV_MAX && w->c->env[i][0] != NULL; i++)
        if (strcmp(w->c->env[i][0], name) == 0)
            return w->c->env[i][1];
    return NULL;
}

static void write_file(const char *path, const char *text)
{
    if (text == NULL)
        return;
    FILE *const f = fopen(path, "w");
    assert_non_null(f);
    (void)fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void world_deinit(world *w)
{
    (void)unlink(w->config);
    (void)unlink(w->credentials);
    (void)rmdir(w->dir);
    (void)rmdir(w->home);
}

static void world_init(world *w, const chain_case *c)
{
    *w = (world){.c = c, .home = "/tmp/cf-cred-XXXXXX"};
    assert_non_null(mkdtemp(w->home));
    (void)snprintf(w->dir, sizeof(w->dir), "%s/.aws", w->home);
    (void)snprintf(w->config, sizeof(w->config), "%s/config", w->dir);
    (void)snprintf(w->credentials, sizeof(w->credentials), "%s/credentials", w->dir);
    const cf_fs *const fs = cf_fs_real();
    assert_int_equal(fs->ops->mkdir_at(fs, CF_FS_CWD, w->dir, 0700, NULL), CF_OK);
    write_file(w->config, c->config);
    write_file(w->credentials, c->credentials);
}

static void test_chain(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(chain_cases) / sizeof(chain_cases[0]); i++) {
        const chain_case *const c = &chain_cases[i];
        CF_CLEANUP(world_deinit) world w;
        CF_CLEANUP(s3_credentials_deinit) s3_credentials found = {0};
        cf_error e = {0};
        world_init(&w, c);
        const s3_cred_env env = {.env = world_env, .env_impl = &w, .profile = c->profile};
        const cf_err err = s3_cred_load(&env, &found, &e);
        if (err != c->err ||
            strstr(err == CF_OK ? found.access_key : e.message, c->expected) == NULL)
            fail_msg("%s: %s %s", c->title, cf_err_name(err),
                     err == CF_OK ? found.access_key : e.message);
        if (err != CF_OK)
            assert_false(cf_secret_is_set(&found.secret_key));
    }
}

/* No message may show what stands in a line: it may be a secret in the wrong place. */
static void test_no_secret_told(void **state)
{
    (void)state;
    static const chain_case c = {.config = "[default]\naws_secret_access_key SECRETSECRET\n"};
    CF_CLEANUP(world_deinit) world w;
    CF_CLEANUP(s3_credentials_deinit) s3_credentials found = {0};
    cf_error e = {0};
    world_init(&w, &c);
    const s3_cred_env env = {.env = world_env, .env_impl = &w};
    assert_int_equal(s3_cred_load(&env, &found, &e), CF_ERR_PARSE);
    assert_null(strstr(e.message, "SECRET"));
    assert_non_null(strstr(e.message, w.config));
}

static void test_settings(void **state)
{
    (void)state;
    static const chain_case c = {.config = "[default]\nregion = eu-west-1\nca_bundle = "
                                           "/ca\nservices = mine\nendpoint_url = https://all\n"
                                           "[services mine]\ns3 =\n  endpoint_url = https://s3 # "
                                           "no\n  endpoint_url = https://own:9000\n"
                                           "[profile p]\nendpoint_url = https://p\n"};
    static const chain_case over = {.env = {{"AWS_DEFAULT_REGION", "r2"},
                                            {"AWS_REGION", "r1"},
                                            {"AWS_ENDPOINT_URL", "http://e"},
                                            {"AWS_CA_BUNDLE", "/ca2"}}};
    CF_CLEANUP(world_deinit) world w;
    s3_settings s = {0};
    world_init(&w, &c);
    s3_cred_env env = {.env = world_env, .env_impl = &w};
    assert_int_equal(s3_settings_load(&env, &s, NULL), CF_OK);
    assert_string_equal(s.region, "eu-west-1");
    assert_string_equal(s.ca_bundle, "/ca");
    assert_string_equal(s.endpoint, "https://own:9000");
    env.profile = "p";
    assert_int_equal(s3_settings_load(&env, &s, NULL), CF_OK);
    assert_string_equal(s.endpoint, "https://p");
    assert_string_equal(s.region, "");
    w.c = &over;
    env.profile = NULL;
    assert_int_equal(s3_settings_load(&env, &s, NULL), CF_OK);
    assert_string_equal(s.region, "r1");
    assert_string_equal(s.endpoint, "http://e");
    assert_string_equal(s.ca_bundle, "/ca2");
}

/* The file itself may be a link (dotfiles, mounted secrets); a circle is refused. */
static void test_links(void **state)
{
    (void)state;
    static const chain_case c = {.config = "[default]\n" KEYS("L")};
    CF_CLEANUP(world_deinit) world w;
    CF_CLEANUP(s3_credentials_deinit) s3_credentials found = {0};
    cf_error e = {0};
    char real[128];
    world_init(&w, &c);
    const s3_cred_env env = {.env = world_env, .env_impl = &w};
    (void)snprintf(real, sizeof(real), "%s/real", w.dir);
    assert_int_equal(rename(w.config, real), 0);
    assert_int_equal(symlink("real", w.config), 0);
    assert_int_equal(s3_cred_load(&env, &found, &e), CF_OK);
    assert_string_equal(found.access_key, "L");
    assert_int_equal(unlink(real), 0);
    assert_int_equal(symlink("config", real), 0);
    assert_int_equal(s3_cred_load(&env, &found, &e), CF_ERR_CREDENTIALS);
    assert_non_null(strstr(e.message, "more than 8 links in a row"));
    assert_int_equal(unlink(real), 0);
}

static void test_limits(void **state)
{
    (void)state;
    CF_CLEANUP(s3_ini_deinit) s3_ini ini = {0};
    CF_CLEANUP(cf_freep) char *text = cf_alloc(S3_INI_TEXT_MAX + 2, 1);
    cf_error e = {0};
    memset(text, '\n', S3_INI_TEXT_MAX + 1);
    assert_int_equal(s3_ini_parse(cf_slice_of(text, S3_INI_TEXT_MAX), S3_INI_CONFIG, &ini, &e),
                     CF_OK);
    assert_int_equal(s3_ini_parse(cf_slice_of(text, S3_INI_TEXT_MAX + 1), S3_INI_CONFIG, &ini, &e),
                     CF_ERR_TOO_LARGE);
    assert_int_equal(s3_ini_parse(cf_slice_of("[a]\0", 4), S3_INI_CONFIG, &ini, &e), CF_ERR_PARSE);
    for (size_t i = 0; i < (S3_INI_ROW_TOTAL_MAX + 1) * 4; i += 4)
        memcpy(text + i, "[a]\n", 4);
    assert_int_equal(
        s3_ini_parse(cf_slice_of(text, S3_INI_ROW_TOTAL_MAX * 4), S3_INI_CREDENTIALS, &ini, &e),
        CF_OK);
    assert_int_equal(s3_ini_parse(cf_slice_of(text, (S3_INI_ROW_TOTAL_MAX + 1) * 4),
                                  S3_INI_CREDENTIALS, &ini, &e),
                     CF_ERR_TOO_LARGE);
}

static void test_no_memory(void **state)
{
    (void)state;
    static const chain_case c = {.config = "[default]\n" KEYS("A") "aws_session_token = t\n",
                                 .credentials = "[default]\n"};
    cf_err err = CF_ERR_NO_MEMORY;
    unsigned long n = 0;
    CF_CLEANUP(world_deinit) world w;
    world_init(&w, &c);
    const s3_cred_env env = {.env = world_env, .env_impl = &w};
    while (err == CF_ERR_NO_MEMORY) {
        CF_CLEANUP(s3_credentials_deinit) s3_credentials found = {0};
        cf_alloc_fail_at(++n);
        err = s3_cred_load(&env, &found, NULL);
        cf_alloc_fail_at(0);
    }
    assert_int_equal(err, CF_OK);
    assert_true(n > 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parser_published),
        cmocka_unit_test(test_location_published),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_no_secret_told),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
