/* SPDX-License-Identifier: Apache-2.0
 *
 * Options: parsing by table.
 */
#include "cli/options.h"

#include <string.h>

#define ON(command) (1u << (command))
#define ALL         (ON(CF_CMD_COUNT) - 1u)
#define REMOTE      (ALL & ~(ON(CF_CMD_INSPECT) | ON(CF_CMD_VERSION)))
#define MANY        (1u << 31) /* may be given more than once */
#define SOURCE      (ON(CF_CMD_BACKUP) | ON(CF_CMD_INSPECT))
#define MOVES       (ON(CF_CMD_BACKUP) | ON(CF_CMD_RESTORE) | ON(CF_CMD_VERIFY) | ON(CF_CMD_COPY))
#define WRITES      (ON(CF_CMD_BACKUP) | ON(CF_CMD_PRUNE) | ON(CF_CMD_COPY))
#define LONG        (MOVES | ON(CF_CMD_PRUNE) | ON(CF_CMD_DUMP) | ON(CF_CMD_BENCH))

static const cf_option table[CF_OPT_COUNT] = {
    [CF_OPT_REPO] = {"repo",
                     'r',
                     "URL",
                     {"CHUNKFERRY_REPO", NULL},
                     REMOTE,
                     "repository: s3://bucket/prefix or file:///path"},
    [CF_OPT_ENDPOINT] =
        {"endpoint",
         0,
         "URL",
         {"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"},
         REMOTE,
         "S3 server other than AWS: https://host[:port]; plain http only when the URL says so"},
    [CF_OPT_REGION] = {"region",
                       0,
                       "NAME",
                       {NULL, NULL},
                       REMOTE,
                       "region to sign for; else AWS_REGION, the profile, us-east-1"},
    [CF_OPT_ADDRESSING] = {"addressing",
                           0,
                           "HOW",
                           {NULL, NULL},
                           REMOTE,
                           "path, virtual or auto: where the bucket's name goes; auto is virtual "
                           "for AWS, path for an endpoint"},
    [CF_OPT_CA_BUNDLE] = {"ca-bundle",
                          0,
                          "FILE",
                          {"AWS_CA_BUNDLE", NULL},
                          REMOTE,
                          "certificates to trust for https instead of the system's"},
    [CF_OPT_AWS_PROFILE] =
        {"aws-profile",
         0,
         "NAME",
         {NULL, NULL},
         REMOTE,
         "section of ~/.aws/credentials and ~/.aws/config; beats keys in the environment"},
    [CF_OPT_NODE] =
        {"node",
         'n',
         "NAME",
         {"CHUNKFERRY_NODE", NULL},
         REMOTE & ~(ON(CF_CMD_INIT) | ON(CF_CMD_BENCH)),
         "name of the node in the repository: lower-case letters, digits, '.', '_', '-'"},
    [CF_OPT_PROFILE] = {"profile",
                        0,
                        "NAME",
                        {NULL, NULL},
                        SOURCE,
                        "kind of node: kurrentdb (the default) or directory"},
    [CF_OPT_DB] = {"db",
                   0,
                   "DIR",
                   {NULL, NULL},
                   SOURCE | ON(CF_CMD_BENCH),
                   "the node's database directory; bench reads a sample of its files"},
    [CF_OPT_INDEX] = {"index",
                      0,
                      "DIR",
                      {NULL, NULL},
                      SOURCE,
                      "the node's index directory; <db>/index when not given"},
    [CF_OPT_SOURCE] = {"source",
                       0,
                       "STATE",
                       {NULL, NULL},
                       SOURCE,
                       "live (default) or stopped; stopped is proven by the server's file locks, "
                       "and kurrent.ddb then belongs to the backup"},
    [CF_OPT_MODE] = {"mode",
                     0,
                     "MODE",
                     {NULL, NULL},
                     ON(CF_CMD_BACKUP),
                     "differential (default) or full: the same order, nothing reused"},
    [CF_OPT_WITHOUT_SECONDARY_INDEXES] =
        {"without-secondary-indexes",
         0,
         NULL,
         {NULL, NULL},
         SOURCE,
         "leave out kurrent.ddb of a live node; the restored node rebuilds it from the log"},
    [CF_OPT_WITHOUT_EXISTENCE_FILTER] =
        {"without-existence-filter",
         0,
         NULL,
         {NULL, NULL},
         SOURCE,
         "leave out the stream existence filter; the restored node rebuilds it from its index"},
    [CF_OPT_ARCHIVE] = {"archive",
                        0,
                        NULL,
                        {NULL, NULL},
                        SOURCE,
                        "the node archives: chunks may be missing at the low end"},
    [CF_OPT_MAX_TRUNCATION] = {"max-truncation",
                               0,
                               "SIZE",
                               {NULL, NULL},
                               SOURCE,
                               "the node's MaxTruncation (256MiB): a chaser further behind the "
                               "writer is refused, the restored node would not start"},
    [CF_OPT_COMPRESSION] = {"compression",
                            0,
                            "LEVEL",
                            {NULL, NULL},
                            ON(CF_CMD_BACKUP) | ON(CF_CMD_BENCH),
                            "zstd level, 1 to 19 (3), or off; above 9 it takes more --memory, or "
                            "leaves fewer threads"},
    [CF_OPT_ADAPTIVE] = {"adaptive",
                         0,
                         NULL,
                         {NULL, NULL},
                         ON(CF_CMD_BACKUP),
                         "let the level rise while the network is what is slow, and fall while "
                         "the cores are; --memory bounds it"},
    [CF_OPT_NO_VERIFY_SOURCE] = {"no-verify-source",
                                 0,
                                 NULL,
                                 {NULL, NULL},
                                 ON(CF_CMD_BACKUP) | ON(CF_CMD_RESTORE),
                                 "do not hold chunks and index tables against their own MD5: a "
                                 "damaged one is stored as it is, and given back as it was stored"},
    [CF_OPT_TO_REPO] = {"to-repo",
                        0,
                        "URL",
                        {NULL, NULL},
                        ON(CF_CMD_COPY),
                        "repository to copy into: s3://bucket/prefix or file:///path"},
    [CF_OPT_TO_ENDPOINT] = {"to-endpoint",
                            0,
                            "URL",
                            {"CHUNKFERRY_TO_ENDPOINT", NULL},
                            ON(CF_CMD_COPY),
                            "S3 server of --to-repo; that of --endpoint when not given"},
    [CF_OPT_TO_REGION] = {"to-region",
                          0,
                          "NAME",
                          {NULL, NULL},
                          ON(CF_CMD_COPY),
                          "region of --to-repo; else as --region"},
    [CF_OPT_TO_ADDRESSING] = {"to-addressing",
                              0,
                              "HOW",
                              {NULL, NULL},
                              ON(CF_CMD_COPY),
                              "as --addressing, for --to-repo"},
    [CF_OPT_TO_CA_BUNDLE] =
        {"to-ca-bundle", 0, "FILE", {NULL, NULL}, ON(CF_CMD_COPY), "as --ca-bundle, for --to-repo"},
    [CF_OPT_TO_AWS_PROFILE] = {"to-aws-profile",
                               0,
                               "NAME",
                               {NULL, NULL},
                               ON(CF_CMD_COPY),
                               "section of ~/.aws for --to-repo; else as --aws-profile"},
    [CF_OPT_OTHER_REPO] =
        {"other-repo",
         0,
         "URL",
         {NULL, NULL},
         ON(CF_CMD_VERIFY),
         "a copy of this repository: where damage is found, says whether it has a good copy"},
    [CF_OPT_DIR] = {"dir",
                    0,
                    "DIR",
                    {NULL, NULL},
                    ON(CF_CMD_BACKUP) | ON(CF_CMD_BENCH),
                    "directory to back up, with --profile directory; bench reads a sample"},
    [CF_OPT_EXCLUDE] = {.name = "exclude",
                        .arg = "PATTERN",
                        .commands = MANY | ON(CF_CMD_BACKUP),
                        .help =
                            "leave out what matches (directory): a name, or a path from the top "
                            "when it holds a '/'; *, ? and [] as in a shell, ** for any depth"},
    [CF_OPT_ONE_FILE_SYSTEM] = {"one-file-system",
                                0,
                                NULL,
                                {NULL, NULL},
                                ON(CF_CMD_BACKUP),
                                "do not go into other file systems (directory)"},
    [CF_OPT_STRICT] = {"strict",
                       0,
                       NULL,
                       {NULL, NULL},
                       ON(CF_CMD_BACKUP),
                       "exit with 3 when a file changed while it was read; the snapshot stands all "
                       "the same (directory)"},
    [CF_OPT_TAG] = {.name = "tag",
                    .arg = "T",
                    .commands = MANY | ON(CF_CMD_BACKUP),
                    .help = "tag of the new snapshot; 'keep' pins it"},
    [CF_OPT_ADD] = {.name = "add",
                    .arg = "T",
                    .commands = MANY | ON(CF_CMD_TAG),
                    .help = "tag to add; 'keep' pins the snapshot"},
    [CF_OPT_REMOVE] = {.name = "remove",
                       .arg = "T",
                       .commands = MANY | ON(CF_CMD_TAG),
                       .help = "tag to take away"},
    [CF_OPT_KEEP_LAST] = {"keep-last", 0, "N", {NULL, NULL}, ON(CF_CMD_PRUNE), "keep the newest N"},
    [CF_OPT_KEEP_HOURLY] = {"keep-hourly",
                            0,
                            "N",
                            {NULL, NULL},
                            ON(CF_CMD_PRUNE),
                            "keep the newest of each of the last N hours that have one"},
    [CF_OPT_KEEP_DAILY] =
        {"keep-daily", 0, "N", {NULL, NULL}, ON(CF_CMD_PRUNE), "keep the same for days (UTC)"},
    [CF_OPT_KEEP_WEEKLY] =
        {"keep-weekly", 0, "N", {NULL, NULL}, ON(CF_CMD_PRUNE), "keep the same for ISO weeks"},
    [CF_OPT_KEEP_MONTHLY] =
        {"keep-monthly", 0, "N", {NULL, NULL}, ON(CF_CMD_PRUNE), "keep the same for months"},
    [CF_OPT_KEEP_YEARLY] =
        {"keep-yearly", 0, "N", {NULL, NULL}, ON(CF_CMD_PRUNE), "keep the same for years"},
    [CF_OPT_KEEP_WITHIN] =
        {"keep-within",
         0,
         "DURATION",
         {NULL, NULL},
         ON(CF_CMD_PRUNE),
         "keep what is younger than this, counted from the newest: 1y6m2w3d12h (m: months)"},
    [CF_OPT_KEEP_TAG] = {.name = "keep-tag",
                         .arg = "T",
                         .commands = MANY | ON(CF_CMD_PRUNE),
                         .help = "keep snapshots with this tag"},
    [CF_OPT_MAX_DELETE] =
        {"max-delete",
         0,
         "N",
         {NULL, NULL},
         ON(CF_CMD_PRUNE),
         "refuse, before anything is changed, when more than N snapshots of a node would go"},
    [CF_OPT_DROP_DAMAGED] =
        {.name = "drop-damaged",
         .arg = "RUN",
         .commands = MANY | ON(CF_CMD_PRUNE),
         .help = "give up this snapshot whose root or segments cannot be read, and go on"},
    [CF_OPT_DELETE_VERSIONS] = {"delete-versions",
                                0,
                                NULL,
                                {NULL, NULL},
                                ON(CF_CMD_PRUNE),
                                "in a versioned bucket delete all versions of what goes; else the "
                                "lifecycle rule of the bucket frees the space"},
    [CF_OPT_READ_DATA] = {"read-data",
                          0,
                          NULL,
                          {NULL, NULL},
                          ON(CF_CMD_VERIFY),
                          "read and check every byte; found whole, that is recorded"},
    [CF_OPT_RECHECK] =
        {"recheck",
         0,
         NULL,
         {NULL, NULL},
         ON(CF_CMD_RESTORE),
         "read each file back from the disk, and check chunks' and tables' own MD5 again, not "
         "only the SHA-256 of the bytes it was checked of"},
    [CF_OPT_READ_DATA_SUBSET] =
        {"read-data-subset",
         0,
         "PART",
         {NULL, NULL},
         ON(CF_CMD_VERIFY),
         "read a part: 5%, 10G (another one each time), or 3/12, the third of twelve"},
    [CF_OPT_MAX_AGE] = {"max-age",
                        0,
                        "DURATION",
                        {NULL, NULL},
                        ON(CF_CMD_STATUS),
                        "exit with 5 when the newest snapshot of a node is older: 26h"},
    [CF_OPT_FORCE] =
        {"force",
         0,
         NULL,
         {NULL, NULL},
         ON(CF_CMD_BACKUP) | ON(CF_CMD_UNLOCK),
         "backup of a directory: read unchanged files too; unlock: also while the lease is live"},
    [CF_OPT_WAIT_LOCK] = {"wait-lock",
                          0,
                          "DURATION",
                          {NULL, NULL},
                          WRITES,
                          "wait so long for a node that is busy: 10m; else exit with 11 at once"},
    [CF_OPT_MAX_DURATION] =
        {"max-duration",
         0,
         "DURATION",
         {NULL, NULL},
         WRITES | ON(CF_CMD_VERIFY),
         "stop after this time, as if interrupted; the next run goes on from there"},
    [CF_OPT_LIMIT_UPLOAD] =
        {"limit-upload", 0, "SIZE", {NULL, NULL}, LONG, "bytes a second to send at most: 10MiB"},
    [CF_OPT_LIMIT_DOWNLOAD] =
        {"limit-download", 0, "SIZE", {NULL, NULL}, LONG, "bytes a second to receive at most"},
    [CF_OPT_TARGET] =
        {"target",
         't',
         "DIR",
         {NULL, NULL},
         ON(CF_CMD_RESTORE),
         "directory to restore the database into: empty or missing"},
    [CF_OPT_INDEX_TARGET] = {"index-target",
                             0,
                             "DIR",
                             {NULL, NULL},
                             ON(CF_CMD_RESTORE),
                             "directory for the index; <target>/index when not given"},
    [CF_OPT_OWNER] = {"owner",
                      0,
                      "USER[:GROUP]",
                      {NULL, NULL},
                      ON(CF_CMD_RESTORE),
                      "owner of the restored files; as root and without it, the recorded numbers"},
    [CF_OPT_SIZE] = {"size",
                     0,
                     "SIZE",
                     {NULL, NULL},
                     ON(CF_CMD_BENCH),
                     "bytes to send, to receive and to read of the source, each at most (256MiB); "
                     "more makes the figures of a fast store steadier, less makes it shorter"},
    [CF_OPT_MEMORY] = {"memory",
                       0,
                       "SIZE",
                       {NULL, NULL},
                       MOVES | ON(CF_CMD_BENCH),
                       "ceiling for memory, 48MiB at least (128MiB)"},
    [CF_OPT_JOBS] =
        {"jobs",
         'j',
         "N",
         {NULL, NULL},
         MOVES | ON(CF_CMD_BENCH),
         "threads that compress or fetch, 1 to 64 (the cores)"},
    [CF_OPT_CONNECTIONS] = {"connections",
                            0,
                            "N",
                            {NULL, NULL},
                            MOVES | ON(CF_CMD_BENCH),
                            "connections to an S3 server at once, 1 to 64 at most (from --memory "
                            "and --jobs); bench measures 1, 2, 4 ... up to so many, or 'max' (16, "
                            "fewer when more bring nothing)"},
    [CF_OPT_NICE] = {"nice",
                     0,
                     "N",
                     {NULL, NULL},
                     MOVES | ON(CF_CMD_PRUNE),
                     "priority of the process, 1 to 19 (as it was started): the node goes first; "
                     "never raised"},
    [CF_OPT_IO_IDLE] = {"io-idle",
                        0,
                        NULL,
                        {NULL, NULL},
                        MOVES | ON(CF_CMD_PRUNE),
                        "use the disks only while nobody else does, where the I/O scheduler knows "
                        "classes (bfq)"},
    [CF_OPT_DRY_RUN] = {"dry-run",
                        0,
                        NULL,
                        {NULL, NULL},
                        ON(CF_CMD_BACKUP) | ON(CF_CMD_RESTORE) | ON(CF_CMD_PRUNE) | ON(CF_CMD_COPY),
                        "go through all checks and say what would be done; writes nothing"},
    [CF_OPT_JSON] = {"json", 0, NULL, {NULL, NULL}, ALL, "one JSON object a line, a summary last"},
    [CF_OPT_VERBOSE] =
        {"verbose", 'v', NULL, {NULL, NULL}, ALL, "one line a file; twice: one line a request"},
    [CF_OPT_HELP] = {"help", 'h', NULL, {NULL, NULL}, ALL, "this text"},
};

const cf_option *cf_option_at(const cf_option_id id)
{
    return &table[id];
}

unsigned cf_word_distance(const cf_slice typed, const char *const known)
{
    enum { LEN_MAX = 40 };
    unsigned row[LEN_MAX + 1];
    const uint8_t *const a = typed.ptr;
    const char *const b = known;
    const size_t a_len = typed.len, b_len = strlen(known);

    if (a_len > LEN_MAX || b_len > LEN_MAX)
        return LEN_MAX;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        unsigned before = row[0];

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            const unsigned change = before + (a[i - 1] != (uint8_t)b[j - 1]);
            const unsigned move = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;

            before = row[j];
            row[j] = change < move ? change : move;
        }
    }
    return row[b_len];
}

static cf_err unknown_option(const cf_command_id command, const char *const word,
                             const cf_slice name, cf_error *const e)
{
    const char *best = NULL;
    unsigned best_distance = CF_WORD_DISTANCE_MAX + 1;

    for (size_t i = 0; i < CF_OPT_COUNT; i++) {
        if ((table[i].commands & ON(command)) == 0)
            continue;
        const unsigned d = cf_word_distance(name, table[i].name);
        if (d < best_distance) {
            best_distance = d;
            best = table[i].name;
        }
    }
    if (best != NULL)
        CF_FAIL(e, CF_ERR_USAGE, "unknown option '%s'\nHINT: did you mean '--%s'?", word, best);
    CF_FAIL(e, CF_ERR_USAGE, "unknown option '%s'\nHINT: --help lists the options of this command",
            word);
}

/* The row that name (len bytes, or a letter) is, among those of the command. */
static bool option_find(const cf_command_id command, const char *const name, const size_t len,
                        const char letter, cf_option_id *const ret)
{
    for (size_t i = 0; i < CF_OPT_COUNT; i++) {
        if ((table[i].commands & ON(command)) == 0)
            continue;
        if (letter != 0 ? table[i].letter == letter
                        : strlen(table[i].name) == len && strncmp(table[i].name, name, len) == 0) {
            *ret = (cf_option_id)i;
            return true;
        }
    }
    return false;
}

static cf_err value_set(cf_values *const v, const cf_option_id id, const char *const text,
                        cf_error *const e)
{
    if ((table[id].commands & MANY) != 0) {
        CF_ENSURE(v->many_total < CF_MANY_MAX, e, CF_ERR_USAGE,
                  "more than %d options like '--%s' are given", CF_MANY_MAX, table[id].name);
        v->many[v->many_total].id = id;
        v->many[v->many_total++].text = text;
    }
    CF_ENSURE(table[id].arg == NULL || (table[id].commands & MANY) != 0 || v->times[id] == 0, e,
              CF_ERR_USAGE, "option '--%s' is given twice", table[id].name);
    v->text[id] = text;
    v->times[id]++;
    return CF_OK;
}

/* "--name", "--name=value", "--name value"; moves *i over a value of its own word. */
static cf_err long_parse(const cf_command_id command, const int argc, char *const *const argv,
                         int *const i, cf_values *const v, cf_error *const e)
{
    const char *const name = argv[*i] + 2;
    const size_t len = strcspn(name, "=");
    cf_option_id id = CF_OPT_COUNT;

    if (!option_find(command, name, len, 0, &id))
        return unknown_option(command, argv[*i], cf_slice_of(name, len), e);
    if (table[id].arg == NULL) {
        CF_ENSURE(name[len] == '\0', e, CF_ERR_USAGE, "option '--%s' takes no value",
                  table[id].name);
        return value_set(v, id, "", e);
    }
    if (name[len] == '=')
        return value_set(v, id, name + len + 1, e);
    CF_ENSURE(*i + 1 < argc, e, CF_ERR_USAGE, "option '--%s' needs a value: --%s %s",
              table[id].name, table[id].name, table[id].arg);
    *i += 1;
    return value_set(v, id, argv[*i], e);
}

/* "-v", "-vv", "-n NAME", "-nNAME". */
static cf_err short_parse(const cf_command_id command, const int argc, char *const *const argv,
                          int *const i, cf_values *const v, cf_error *const e)
{
    const char *const word = argv[*i];

    for (const char *at = word + 1; *at != '\0'; at++) {
        cf_option_id id = CF_OPT_COUNT;

        CF_ENSURE(option_find(command, NULL, 0, *at, &id), e, CF_ERR_USAGE,
                  "unknown option '%s'\nHINT: --help lists the options of this command", word);
        if (table[id].arg == NULL) {
            CF_TRY(value_set(v, id, "", e));
            continue;
        }
        if (at[1] != '\0')
            return value_set(v, id, at + 1, e);
        CF_ENSURE(*i + 1 < argc, e, CF_ERR_USAGE, "option '-%c' needs a value: -%c %s", *at, *at,
                  table[id].arg);
        *i += 1;
        return value_set(v, id, argv[*i], e);
    }
    return CF_OK;
}

static void env_fill(const cf_command_id command, const char *(*const env)(void *, const char *),
                     void *const env_impl, cf_values *const v)
{
    for (size_t i = 0; i < CF_OPT_COUNT; i++) {
        for (size_t k = 0; k < 2 && v->text[i] == NULL && (table[i].commands & ON(command)) != 0;
             k++) {
            const char *const text =
                table[i].env[k] != NULL ? env(env_impl, table[i].env[k]) : NULL;

            if (text != NULL && text[strspn(text, " \t")] != '\0')
                v->text[i] = text;
        }
    }
}

cf_err cf_values_parse(const cf_command_id command, const int argc, char *const *const argv,
                       const char *(*const env)(void *, const char *), void *const env_impl,
                       cf_values *const ret, cf_error *const e)
{
    cf_values v = {0};
    bool only_words = false;

    for (int i = 0; i < argc; i++) {
        const char *const word = argv[i];

        if (!only_words && strcmp(word, "--") == 0) {
            only_words = true;
        } else if (!only_words && strncmp(word, "--", 2) == 0) {
            CF_TRY(long_parse(command, argc, argv, &i, &v, e));
        } else if (!only_words && word[0] == '-' && word[1] != '\0') {
            CF_TRY(short_parse(command, argc, argv, &i, &v, e));
        } else {
            CF_ENSURE(v.arg_total < CF_ARGS_MAX, e, CF_ERR_USAGE, "too many words: '%s'", word);
            v.arg[v.arg_total++] = word;
        }
    }
    env_fill(command, env, env_impl, &v);
    *ret = v;
    return CF_OK;
}
