/* SPDX-License-Identifier: Apache-2.0
 *
 * The program: which command, its words, its exit code.
 */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/advice.h"
#include "cli/limits.h"
#include "cli/manners.h"
#include "s3/base/cleanup.h"
#include "s3/base/fs.h"
#include "s3/base/num.h"

static const cf_command table[CF_CMD_COUNT] = {
    [CF_CMD_INIT] = {"init", "make a repository", "",
                     "Makes the bucket or directory when it is missing, checks that the store "
                     "creates objects conditionally, and writes the "
                     "descriptor. A repository that is there is left alone.",
                     "chunkferry init --repo s3://backups/prod --endpoint http://127.0.0.1:7480",
                     "summary: repository, url, requests", 0, 0, cf_cli_init},
    [CF_CMD_BACKUP] =
        {"backup", "back up a node, or any directory", "--db DIR | --profile directory --dir DIR",
         "Reads the node's files in the order that lets a copy start: index before log, chaser "
         "before writer, chunks only up to the "
         "writer's position. A completed chunk whose header, footer and size are those of the "
         "parent snapshot's chunk of the same "
         "name is referenced and not read; every other one is read, checked against its own MD5, "
         "compressed and sent. The snapshot "
         "appears in one step, last.\n\n"
         "The node may run. What cannot be restored is refused with exit code 3 before anything is "
         "sent, with the reason.\n\n"
         "With --profile directory any tree is stored, in the order of its names. Files that are "
         "as they were, by size, times and inode, are not read. What cannot be read is left out "
         "with a warning, what changes while it is read is read again, then stored as it was read "
         "with a warning; with --strict either makes the exit code 3, and the snapshot stands. "
         "Patterns of --exclude without a '/' are held against names at any depth ('*.tmp'), "
         "others "
         "against the path from the top ('var/cache', '**/node_modules'); '/' at the end means "
         "directories only.",
         "chunkferry backup --repo s3://backups/prod --node kdb-1 --db /var/lib/kurrentdb",
         "file (with -v), warning, and summary: snapshot, node, parent, dry_run, files_total, "
         "files_new, files_reused, bytes_source, bytes_read, "
         "bytes_changed, bytes_uploaded, packs_new, requests, files_left_out, files_changed, "
         "duration_s, frames_new, level_min, level_max, level_mean, "
         "source_verified",
         0, 0, cf_cli_backup},
    [CF_CMD_LIST] = {"list", "list snapshots", "",
                     "Lists the snapshots of one node, or of all nodes of the repository, oldest "
                     "first. Reads one small object a snapshot.",
                     "chunkferry list --repo s3://backups/prod --node kdb-1",
                     "snapshot: snapshot, node, time, profile, version, parent, files_total, "
                     "files_new, files_reused, bytes_source, bytes_read, "
                     "bytes_uploaded, packs_total, bytes_stored, writer, tags (of a copy "
                     "origin and origin_repository too); warning; and summary: snapshots, nodes",
                     0, 0, cf_cli_list},
    [CF_CMD_SHOW] = {"show", "show one snapshot", "latest|RUN",
                     "Shows what a snapshot holds: the node as it was, its checkpoints and "
                     "hazards, totals and marks. With -v also its files.",
                     "chunkferry show --repo s3://backups/prod --node kdb-1 latest",
                     "file (with -v): path (path_b64 when it is no UTF-8), kind, class, bytes, "
                     "sha256, step; and summary: snapshot, "
                     "node, time, profile, version, parent, files_total, "
                     "files_new, files_reused, bytes_source, bytes_read, bytes_uploaded, "
                     "packs_total, bytes_stored, writer, facts, marks, tags (of a copy "
                     "origin and origin_repository too)",
                     1, 1, cf_cli_show},
    [CF_CMD_RESTORE] =
        {"restore", "restore a node", "latest|RUN --target DIR",
         "Writes a snapshot into an empty directory: chaser.chk first, writer.chk and truncate.chk "
         "last, so that a server that is started "
         "too early touches nothing. Every file is verified by its SHA-256 and, where it has one, "
         "its own MD5, before it gets its "
         "name. A restore that was interrupted is run again with the same words and goes on.\n\n"
         "Any node's snapshot may be restored to any machine, as often as wanted. At the end it "
         "says how to start the node.",
         "chunkferry restore --repo s3://backups/prod --node kdb-1 latest --target "
         "/var/lib/kurrentdb --owner kurrent:kurrent",
         "file (with -v), warning, and summary: snapshot, node, target, dry_run, files_total, "
         "files_restored, files_kept, bytes_target, "
         "bytes_written, bytes_downloaded, requests, duration_s, closing_words",
         1, 1, cf_cli_restore},
    [CF_CMD_DIFF] =
        {"diff", "show what changed between two snapshots", "RUN RUN",
         "Compares the manifests of two snapshots of a node: files that came (+), went (-) or "
         "changed "
         "(M), with their sizes; with -v also those of which only mode, owner or time changed (m). "
         "At the end the bytes, and what the change takes in the repository. Reads no file data.",
         "chunkferry diff --repo s3://backups/prod --node kdb-1 20261120T153012Z-89abcdef latest",
         "file: path, change (added, removed, changed, metadata), bytes_before, bytes_after; and "
         "summary: node, from, to, added, removed, changed, metadata, bytes_added, bytes_removed, "
         "packs_new, bytes_stored_new",
         2, 2, cf_cli_diff},
    [CF_CMD_DUMP] =
        {"dump", "write one file of a snapshot to standard output", "latest|RUN PATH",
         "Writes the content of one file, named as 'chunkferry show -v' names it, to "
         "standard output. No byte is written before the checksum of its frame was "
         "checked; at the end the whole is checked by its SHA-256. When that fails, the "
         "exit code is 4, and what was written is not to be trusted.",
         "chunkferry dump --repo s3://backups/prod --node kdb-1 latest "
         "db/chaser.chk > chaser.chk",
         "nothing: standard output is the file, also with --json", 2, 2, cf_cli_dump},
    [CF_CMD_VERIFY] =
        {"verify", "check that snapshots can be restored", "[latest|RUN|all]",
         "Without flags: the descriptor, roots and their chain, segments and every line of them, "
         "and "
         "that every pack is there with its length. With --read-data every byte is read and "
         "checked: "
         "frames, the SHA-256 of each file, the MD5 that chunks and tables end with, certificates, "
         "and the digest of each pack that is read whole; nothing is written to disk. "
         "--read-data-subset reads some of the packs: n/t the same ones each time, so that t runs "
         "cover all of them exactly once; a share or a size other ones each time. Of a file that "
         "lies in several packs the parts are checked then, not the whole.\n\n"
         "With 'all' what snapshots share is read once: files that grow are checked as a whole in "
         "the newest snapshot, in older ones by those parts that differ.\n\n"
         "What looks damaged is read again before it is told. Damage is recorded: the next backup "
         "sends those files again. A snapshot of which --read-data read everything and found it "
         "whole gets a proof, which status shows and prune keeps. Exit code 4 when there is "
         "damage.",
         "chunkferry verify --repo s3://backups/prod --node kdb-1 --read-data-subset 1/12",
         "damage: node, kind (pack, segment, root), object, reason, files, files_total, snapshots, "
         "snapshots_total, other_copy (with --other-repo; null: none); warning; and summary: "
         "complete, covered, nodes, snapshots, packs, packs_read, packs_digested, files, "
         "files_whole, files_part, bytes_stored, bytes_read, damaged_packs, damaged_segments, "
         "damaged_roots, damaged_files, proved, requests, duration_s",
         0, 1, cf_cli_verify},
    [CF_CMD_PRUNE] = {"prune", "delete old snapshots by retention", "--keep-daily N ...",
                      "Decides by the given --keep rules which snapshots of each node stay, "
                      "says why, and deletes the others and every object that no remaining "
                      "snapshot and no running backup needs. A counted rule keeps the newest "
                      "snapshot of each of the last N hours, days, ISO weeks, months or years "
                      "(UTC) that have one, and the oldest of all while counts are left; "
                      "--keep-within counts back from the newest. The newest snapshot, the newest "
                      "that verify --read-data proved, and those tagged 'keep' always stay.\n\n"
                      "May run while backups run: what a run that has not ended builds on stays, "
                      "however long it takes. What a dead run left is deleted a day after its "
                      "last write. Interrupted anywhere, the next prune finishes. --dry-run goes "
                      "the same way and changes nothing.",
                      "chunkferry prune --repo s3://backups/prod --keep-daily 7 --keep-weekly "
                      "5 --keep-monthly 12",
                      "snapshot: node, snapshot, time, keep, reasons, lost (of a damaged one that "
                      "is given up); warning; and summary: dry_run, nodes, nodes_failed, "
                      "snapshots_kept, snapshots_deleted, objects_deleted, bytes_freed, "
                      "objects_locked, locked_until, objects_marked, uploads_aborted, fenced, "
                      "requests, duration_s",
                      0, 0, cf_cli_prune},
    [CF_CMD_TAG] = {"tag", "add or remove tags of a snapshot", "RUN|latest --add T",
                    "Tags are facts that are only ever added, nothing is overwritten. A "
                    "snapshot tagged 'keep' is never pruned. Fails when a prune took the snapshot "
                    "before the tag was there, and with exit code 11 when one is running that may "
                    "not have seen it.",
                    "chunkferry tag --repo s3://backups/prod --node kdb-1 latest --add keep "
                    "--add before-upgrade",
                    "summary: node, snapshot, tags", 1, 1, cf_cli_tag},
    [CF_CMD_COPY] = {"copy", "copy snapshots to another repository",
                     "--to-repo URL [RUN|latest|all]",
                     "Copies snapshots into another repository, bucket to bucket or to and "
                     "from a directory: the newest of each node, one, or all, oldest first. "
                     "Packs are streamed as they are and verified on the way; what an "
                     "earlier copy brought is not sent again, also when that one was "
                     "killed. Tags go along. The target is a full repository of its own: "
                     "list, restore, verify, backup and prune work on it.\n\n"
                     "A snapshot that is damaged, or of a newer chunkferry, is named and left "
                     "out; the others are copied, and the exit code tells. What is not said "
                     "of --to-repo (endpoint, region, credentials) is as for --repo.",
                     "chunkferry copy --repo s3://backups/prod --node kdb-1 latest --to-repo "
                     "file:///mnt/usb/backups",
                     "copied: node, snapshot, origin, packs_copied, packs_reused, bytes_copied; "
                     "error (of a snapshot left out), warning; and summary: dry_run, "
                     "snapshots_copied, snapshots_skipped, snapshots_failed, packs_copied, "
                     "packs_reused, bytes_copied, requests, duration_s",
                     0, 1, cf_cli_copy},
    [CF_CMD_STATUS] =
        {"status", "say how each node stands", "",
         "Per node: the newest snapshot and its age by the store's clock, what it holds, on how "
         "many "
         "runs it rests, when a snapshot of the node was last proved by verify --read-data, the "
         "run "
         "that is under way, and what dead runs left behind. With --max-age exit code 5 tells "
         "monitoring that a node is late, or has no snapshot.\n\n"
         "A node costs about ten small requests, and one more for each 1,000 snapshots, so it may "
         "run "
         "every few minutes.",
         "chunkferry status --repo s3://backups/prod --max-age 26h",
         "node: node, snapshots, bytes_source, bytes_stored, packs, runs, damage_marks (of the "
         "newest "
         "snapshot), lease (null, or number, state, run, host, pid, since), leftovers (runs, "
         "bytes, "
         "measured: false when there are more bytes), late; with a snapshot also snapshot, time, "
         "age_s; with a proof also proved, proved_snapshot, proved_age_s; warning; and summary: "
         "nodes, late",
         0, 0, cf_cli_status},
    [CF_CMD_UNLOCK] = {"unlock", "end a run that is stuck", "",
                       "Shows the leases of a node's runs that are not finished, and who holds "
                       "them. With --force their runs are fenced: they can never commit, and "
                       "what they uploaded is left to prune. A run that is alive goes on, and "
                       "fails at its commit. Nothing is deleted.\n\n"
                       "It is seldom needed: a lease runs out 5 minutes after its last renewal, "
                       "at once when this machine sees that its process is gone, and then the "
                       "next backup takes over by itself and goes on from what was uploaded. "
                       "Exit code 11 says that a lease is held.",
                       "chunkferry unlock --repo s3://backups/prod --node kdb-1",
                       "lease: node, lease, run, state, host, pid, since, renewed, runs_out, "
                       "fenced; and summary: node, leases, fenced",
                       0, 0, cf_cli_unlock},
    [CF_CMD_INSPECT] = {"inspect",
                        "say what a node's directory is, and whether it could be backed up",
                        "--db DIR",
                        "Looks at a directory with the eyes of backup: versions, checkpoints and "
                        "how they relate, chunks, index tables, the cluster's epoch, "
                        "hazards. Writes nothing, needs no repository. Exits with 3 when a backup "
                        "now would be refused.",
                        "chunkferry inspect --db /var/lib/kurrentdb",
                        "warning, and summary: db, fit, facts (with refusals)", 0, 0,
                        cf_cli_inspect},
    [CF_CMD_BENCH] =
        {"bench", "measure this machine and a store, and say what a backup waits for", "",
         "Measures what a backup and a restore are made of, each for a few seconds: reading the "
         "node's files (with --db or --dir, a sample, read-only), SHA-256 and MD5, zstd at "
         "levels on the node's own data (else on made-up events), decompression, small requests, "
         "and objects sent and received through 1, 2, 4 ... connections. Then says how fast a "
         "first backup and a restore will be, which stage they wait for, and what to change.\n\n"
         "A bucket or a directory is enough, a repository is not needed. Objects are written "
         "below bench/ and 32 random digits of the prefix, which nothing else reads, and are "
         "deleted at the end, also after a failure or an interrupt; what could not be deleted is "
         "named. The limits --limit-upload, --memory and --jobs count as in a backup. MB are "
         "1,000,000 bytes. What was just written may come out of the server's cache, and files "
         "read lately out of this machine's: a first backup of cold files can be slower.",
         "chunkferry bench --repo s3://backups/prod --db /var/lib/kurrentdb",
         "machine: cores, cores_effective, memory_bytes, workers, part_bytes, "
         "upload_connections, download_connections; source (with --db, --dir): files, "
         "bytes_total, bytes_read, bytes_per_s, cpu_s_per_gib; cpu: sha256_bytes_per_s, "
         "md5_bytes_per_s, both_bytes_per_s, decompress_bytes_per_s, each of one core; level: "
         "level (0: off), bytes_per_s (one core), ratio, workers (0: does not fit --memory), "
         "backup_bytes_per_s, bound; latency: op, total, median_ms, worst_ms; step: op (put or "
         "get), connections, object_bytes, bytes, duration_s, bytes_per_s, cpu_s_per_gib; "
         "estimate: flow (backup or restore), level, connections, bytes_per_s (of source), bound "
         "(source, hashing, compression, decompression, processors, upload, download, latency), "
         "limits (bytes_per_s of each stage alone); advice: flag, value, memory_bytes (that it "
         "takes), before_bytes_per_s, "
         "after_bytes_per_s, text; and summary: prefix, objects, objects_left, left, requests, "
         "bytes_sent, bytes_received, backup_bytes_per_s, backup_bound, restore_bytes_per_s, "
         "restore_bound",
         0, 0, cf_cli_bench},
    [CF_CMD_VERSION] = {"version", "print versions", "",
                        "Prints the version of chunkferry, of its repository format and of the "
                        "libraries it runs with.",
                        "chunkferry version", "summary: version, format, libraries", 0, 0,
                        cf_cli_version},
};

const cf_command *cf_command_at(const cf_command_id id)
{
    return &table[id];
}

static bool command_find(const char *const name, cf_command_id *const ret)
{
    for (size_t i = 0; i < CF_CMD_COUNT; i++) {
        if (strcmp(table[i].name, name) == 0) {
            *ret = (cf_command_id)i;
            return true;
        }
    }
    return false;
}

static cf_err unknown_command(const char *const word, cf_error *const e)
{
    const char *best = NULL;
    unsigned best_distance = CF_WORD_DISTANCE_MAX + 1;

    for (size_t i = 0; i < CF_CMD_COUNT; i++) {
        const unsigned d = cf_word_distance(cf_slice_str(word), table[i].name);
        if (d < best_distance) {
            best_distance = d;
            best = table[i].name;
        }
    }
    if (best != NULL)
        CF_FAIL(e, CF_ERR_USAGE, "'%s' is no command of chunkferry\nHINT: did you mean '%s'?", word,
                best);
    CF_FAIL(e, CF_ERR_USAGE, "'%s' is no command of chunkferry\nHINT: chunkferry --help lists them",
            word);
}

static cf_err command_parse(const int argc, char *const *const argv, cf_cli *const c,
                            cf_command_id *const ret, cf_error *const e)
{
    cf_command_id id = CF_CMD_COUNT;

    if (!command_find(argv[1], &id))
        return unknown_command(argv[1], e);
    *ret = id;
    CF_TRY(cf_values_parse(id, argc - 2, argv + 2, c->env, c->env_impl, &c->values, e));
    if (cf_values_on(&c->values, CF_OPT_HELP))
        return CF_OK;
    CF_ENSURE(c->values.arg_total >= table[id].args_min, e, CF_ERR_USAGE,
              "a word is missing: chunkferry %s %s", table[id].name, table[id].words);
    CF_ENSURE(c->values.arg_total <= table[id].args_max, e, CF_ERR_USAGE,
              "'%s' is one word too many\nHINT: chunkferry %s %s",
              c->values.arg[table[id].args_max], table[id].name, table[id].words);
    return CF_OK;
}

/* chunkferry, chunkferry --help, chunkferry help [COMMAND], chunkferry --version, chunkferry manual
 * [COMMAND]: no command of the table. */
static bool word_handle(const int argc, char *const *const argv, FILE *const out)
{
    static const char *const helps[] = {"--help", "-h", "help", NULL};
    cf_command_id id = CF_CMD_COUNT;
    const bool named = argc > 2 && command_find(argv[2], &id);

    for (size_t i = 0; helps[i] != NULL; i++) {
        if (strcmp(argv[1], helps[i]) == 0) {
            if (named)
                cf_manual_help(out, id);
            else
                cf_manual_overview(out);
            return true;
        }
    }
    if (strcmp(argv[1], "manual") == 0) {
        if (argc > 2 && !named)
            return false;
        cf_manual_roff(out, id);
        return true;
    }
    return false;
}

/* How far it came, and what to do: the story of an interruption is the same wherever it was
 * noticed. What was noticed stays, where it says more than the word. */
static void interruption_tell(const cf_cli *const c, const cf_command_id id,
                              const cf_limits *const limits, cf_error *const e)
{
    static const cf_command_id resumable[] = {CF_CMD_BACKUP, CF_CMD_RESTORE, CF_CMD_COPY,
                                              CF_CMD_PRUNE};
    const cf_progress *const p = &c->output->last;
    const bool over = cf_limits_time_is_over(limits);
    char far[160] = "", done[CF_SIZE_TEXT_SIZE], total[CF_SIZE_TEXT_SIZE];
    char noticed[512] = "";
    bool goes_on = false;

    for (size_t i = 0; i < sizeof(resumable) / sizeof(resumable[0]); i++)
        goes_on = goes_on || resumable[i] == id;
    if (p->phase != NULL && p->total_bytes > 0)
        (void)snprintf(far, sizeof(far), " while %s: %s of %s, %llu of %llu files", p->phase,
                       cf_size_render(p->done_bytes, done), cf_size_render(p->total_bytes, total),
                       (unsigned long long)p->done_files, (unsigned long long)p->total_files);
    else if (p->phase != NULL)
        (void)snprintf(far, sizeof(far), " while %s: %s, %llu files", p->phase,
                       cf_size_render(p->done_bytes, done), (unsigned long long)p->done_files);
    if (strcmp(e->message, "interrupted") != 0)
        (void)snprintf(noticed, sizeof(noticed), "\n  %.*s", (int)strcspn(e->message, "\n"),
                       e->message);
    (void)cf_error_set(e, CF_ERR_INTERRUPTED, __FILE__, __LINE__, "%s%s%.500s\nHINT: %s",
                       over ? "stopped, the time of --max-duration is over" : "interrupted", far,
                       noticed,
                       goes_on ? "run the same command again: it goes on from what is done"
                               : "nothing was harmed; run the same command again");
}

static cf_err command_run(cf_cli *const c, const int argc, char *const *const argv, FILE *const out,
                          cf_error *const e)
{
    CF_CLEANUP(cf_limits_deinit) cf_limits limits = {0};
    cf_command_id id = CF_CMD_COUNT;
    cf_output *const o = c->output;
    cf_ctx limited = *c->ctx;

    /* --json counts before the words are parsed, so that a usage error is JSON too. */
    if (strcmp(argv[1], "manual") == 0) /* of a command that is none */
        return unknown_command(argv[2], e);
    for (int i = 2; i < argc; i++)
        o->json = o->json || strcmp(argv[i], "--json") == 0;
    CF_TRY(command_parse(argc, argv, c, &id, e));
    o->json = cf_values_on(&c->values, CF_OPT_JSON);
    o->verbose = c->values.times[CF_OPT_VERBOSE];
    if (cf_values_on(&c->values, CF_OPT_HELP)) {
        cf_manual_help(out, id);
        return CF_OK;
    }
    CF_TRY(cf_manners_apply(&c->values, e)); /* before any thread is started */
    CF_TRY(cf_limits_init(&limits, &c->values, &limited, e));
    c->ctx = &limited;
    const cf_err err = table[id].run(c, e);
    if (err == CF_ERR_INTERRUPTED) {
        interruption_tell(c, id, &limits, e);
    } else if (err == CF_ERR_UNKNOWN && limited.world->stopping(limited.world->impl)) {
        cf_error_prefix(e, "interrupted"); /* the rest of the story says what to do */
        return CF_ERR_INTERRUPTED;
    }
    CF_TRY(err);
    return cf_output_close(o, e);
}

int cf_cli_main(const int argc, char *const *const argv, const cf_ctx *const ctx,
                const char *(*const env)(void *, const char *), void *const env_impl,
                FILE *const out, FILE *const err)
{
    cf_ctx full = *ctx;
    cf_output output = {.out = out, .err = err, .terminal = isatty(fileno(err)) == 1};
    cf_cli c = {.ctx = &full, .output = &output, .env = env, .env_impl = env_impl};
    cf_error e = {0};

    full.world = ctx->world != NULL ? ctx->world : cf_world_real();
    full.fs = ctx->fs != NULL ? ctx->fs : cf_fs_real();
    full.log = cf_output_log;
    full.progress = cf_output_progress;
    full.impl = &output;
    output.world = full.world;
    if (argc < 2) {
        cf_manual_overview(err);
        return cf_err_exit_code(CF_ERR_USAGE);
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)fprintf(out, "chunkferry %s\n", CF_VERSION);
        return 0;
    }
    if (word_handle(argc, argv, out))
        return 0;
    const cf_err code = command_run(&c, argc, argv, out, &e);
    if (code != CF_OK) {
        e.code = code;
        cf_advice_add(code, argv[1], &e);
        cf_output_error(&output, &e);
    }
    return cf_err_exit_code(code);
}

cf_err cf_cli_remote(const cf_cli *const c, cf_remote *const ret, cf_error *const e)
{
    const cf_values *const v = &c->values;
    uint64_t jobs = 0;
    cf_remote r = {
        .url = v->text[CF_OPT_REPO],
        .endpoint = v->text[CF_OPT_ENDPOINT],
        .region = v->text[CF_OPT_REGION],
        .addressing = v->text[CF_OPT_ADDRESSING],
        .ca_bundle = v->text[CF_OPT_CA_BUNDLE],
        .aws_profile = v->text[CF_OPT_AWS_PROFILE],
    };

    CF_TRY(cf_manners_memory(v, c->ctx, &r.memory_bytes, e));
    CF_TRY(cf_values_number(v, CF_OPT_JOBS, 1, 64, &jobs, e));
    r.jobs = (uint32_t)jobs;
    *ret = r;
    return CF_OK;
}

cf_err cf_cli_mover(const cf_cli *const c, cf_remote *const ret, cf_error *const e)
{
    uint64_t connections = 0;

    CF_TRY(cf_values_number(&c->values, CF_OPT_CONNECTIONS, 1, 64, &connections, e));
    CF_TRY(cf_cli_remote(c, ret, e));
    ret->connections = (uint32_t)connections;
    return CF_OK;
}
