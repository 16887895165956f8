/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "repo/lease.h"
#include "repo/lease_body.h"
#include "repo/owner.h"

static const char key_1[] = "nodes/n/leases/0000000001";

static cf_err acquire(fixture *f, const cf_run *run, cf_lease **ret, cf_error *e)
{
    return cf_lease_acquire(&f->repo, &(cf_lease_opts){.run = run}, ret, e);
}

static cf_lease_body read_body(fixture *f, const char *key)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    cf_lease_body b = {0};
    cf_buf_init(&text, CF_LEASE_LEN_MAX);
    assert_ok(cf_store_get_small(f->store, key, &text, &e));
    assert_ok(cf_lease_body_parse(cf_buf_slice(&text), &b, &e));
    return b;
}

static void put_body(fixture *f, const char *key, const cf_lease_body *b)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    cf_buf_init(&text, CF_LEASE_LEN_MAX);
    assert_ok(cf_lease_body_render(b, &text, &e));
    put_object(f, key, cf_buf_slice(&text));
}

/* Held by a process of another machine. */
static cf_lease_body foreign_body(void)
{
    cf_lease_body b = {.ttl_s = CF_LEASE_TTL_S, .since_utc_ms = (int64_t)FIXTURE_UTC_S * 1000};
    cf_run_id_floor((int64_t)FIXTURE_UTC_S * 1000, &b.run);
    b.owner = (cf_lease_owner){.host = "elsewhere",
                               .machine = "m",
                               .boot = "b",
                               .pid_ns = "p",
                               .pid = 4711,
                               .start_ticks = 9};
    return b;
}

/* Counts puts of leases, fails them on demand. */
typedef struct watch {
    atomic_int puts, lists;
    atomic_bool fail;
} watch;

static cf_err watch_before(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    watch *const w = impl;
    (void)key;
    if (op == CF_STORE_OP_PUT)
        (void)atomic_fetch_add(&w->puts, 1);
    if (op == CF_STORE_OP_LIST)
        (void)atomic_fetch_add(&w->lists, 1);
    if (atomic_load(&w->fail))
        CF_FAIL(e, CF_ERR_NETWORK, "cut");
    return CF_OK;
}

static void test_life(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    cf_run_id parent = {""};
    cf_run_id_floor(0, &parent);
    cf_lease *l = NULL;
    watch w = {0};
    cf_store_memory_set_hooks(f.store,
                              &(cf_store_memory_hooks){.before = watch_before, .impl = &w});
    assert_ok(cf_lease_acquire(
        &f.repo, &(cf_lease_opts){.run = &run, .uses = &parent, .uses_total = 1}, &l, &e));
    assert_int_equal(atomic_load(&w.lists), 1);
    assert_int_equal(atomic_load(&w.puts), 1);
    cf_store_memory_set_hooks(f.store, NULL);
    assert_int_equal(cf_lease_number(l), 1);
    cf_lease_body b = read_body(&f, key_1);
    assert_false(b.ended);
    assert_int_equal(b.uses_total, 1);
    assert_string_equal(b.uses[0].text, parent.text);
    assert_string_equal(b.run.text, run.id.text);
    assert_int_equal(b.owner.pid, getpid());
    assert_ok(cf_lease_check(l, &e));

    cf_lease *other = NULL;
    assert_refused(acquire(&f, &run, &other, &e), CF_ERR_LOCKED, "holds lease 1");
    assert_refused(acquire(&f, &run, &other, &e), CF_ERR_LOCKED,
                   "runs out at 2026-11-21T14:36:00Z (in 300 s)");
    assert_null(other);

    assert_ok(cf_lease_release(l, &e));
    b = read_body(&f, key_1);
    assert_true(b.ended);
    assert_int_equal(b.uses_total, 1); /* an ended lease protects what it uses */
    assert_ok(acquire(&f, &run, &other, &e));
    assert_int_equal(cf_lease_number(other), 2);
    cf_lease_abandon(other);
    assert_true(read_body(&f, "nodes/n/leases/0000000002").ended);
    cf_lease_abandon(NULL);
    fixture_deinit(&f);
}

static void test_runs_out_by_store_time(void **state)
{
    (void)state;
    static const struct {
        const char *title;
        int64_t age_s;
        uint32_t ttl_s;
        bool locked;
    } cases[] = {
        {"fresh", 0, CF_LEASE_TTL_S, true},
        {"exactly its time to live", CF_LEASE_TTL_S, CF_LEASE_TTL_S, true},
        {"one second more", CF_LEASE_TTL_S + 1, CF_LEASE_TTL_S, false},
        {"a longer time to live counts", CF_LEASE_TTL_S + 1, CF_LEASE_TTL_S * 2, true},
        {"a shorter one too", 61, 60, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fixture f;
        fixture_init(&f);
        cf_run run = make_run("n", FIXTURE_UTC_S, 1);
        cf_lease *l = NULL;
        cf_lease_body b = foreign_body();
        b.ttl_s = cases[i].ttl_s;
        put_body(&f, key_1, &b);
        pass_s(&f, cases[i].age_s);
        cf_error e = {0};
        const cf_err err = acquire(&f, &run, &l, &e);
        if ((err == CF_ERR_LOCKED) != cases[i].locked || (err != CF_OK && err != CF_ERR_LOCKED))
            fail_msg("%s: %s", cases[i].title, e.message);
        cf_lease_abandon(l);
        fixture_deinit(&f);
    }
}

/* The machine's clock is a year ahead: the store's time decides. */
static int64_t far_ahead(void *impl)
{
    return fake_now(impl) + INT64_C(365) * 24 * 3600 * 1000;
}

static void test_wrong_local_clock(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_world wrong = f.world;
    cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    cf_lease *l = NULL;
    cf_lease_body b = foreign_body();
    wrong.now_utc_ms = far_ahead;
    f.repo.world = &wrong;
    put_body(&f, key_1, &b);
    assert_refused(acquire(&f, &run, &l, &e), CF_ERR_LOCKED, "process 4711 on 'elsewhere'");
    pass_s(&f, CF_LEASE_TTL_S + 1);
    assert_ok(acquire(&f, &run, &l, &e));
    assert_true(read_body(&f, "nodes/n/leases/0000000002").since_utc_ms <
                far_ahead(&f.clock) - 1000);
    cf_lease_abandon(l);
    fixture_deinit(&f);
}

static void test_dead_process(void **state)
{
    (void)state;
    int pipe_fd[2];
    assert_int_equal(pipe(pipe_fd), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        cf_lease_owner self = {0};
        cf_owner_self(&self);
        (void)!write(pipe_fd[1], &self, sizeof(self));
        for (;;)
            (void)pause();
    }
    cf_lease_owner self = {0};
    cf_lease_body b = foreign_body();
    assert_int_equal(read(pipe_fd[0], &b.owner, sizeof(b.owner)), sizeof(b.owner));
    cf_owner_self(&self);
    if (self.machine[0] == '\0' ||
        self.boot[0] == '\0') { /* the rules need both: give both sides the same */
        (void)snprintf(self.machine, sizeof(self.machine), "m");
        (void)snprintf(self.boot, sizeof(self.boot), "b");
        (void)snprintf(b.owner.machine, sizeof(b.owner.machine), "m");
        (void)snprintf(b.owner.boot, sizeof(b.owner.boot), "b");
    }
    assert_int_equal(b.owner.pid, child);
    assert_false(cf_owner_is_dead(&b.owner, &self));
    cf_lease_owner later = b.owner;
    later.start_ticks++;
    assert_true(cf_owner_is_dead(&later, &self)); /* its number belongs to another process now */
    (void)kill(child, SIGKILL);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    assert_true(cf_owner_is_dead(&b.owner, &self)); /* a zombie */
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(cf_owner_is_dead(&b.owner, &self));
    static const struct {
        const char *title;
        size_t offset;
    } others[] = {
        {"another machine", offsetof(cf_lease_owner, machine)},
        {"another boot", offsetof(cf_lease_owner, boot)},
        {"another container", offsetof(cf_lease_owner, pid_ns)},
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        cf_lease_owner o = b.owner;
        memcpy((char *)&o + others[i].offset, "other", 6);
        if (cf_owner_is_dead(&o, &self))
            fail_msg("%s", others[i].title);
        memcpy((char *)&o + others[i].offset, "", 1);
        cf_lease_owner unknown = self;
        memcpy((char *)&unknown + others[i].offset, "", 1);
        if (cf_owner_is_dead(&o, &unknown))
            fail_msg("%s: unknown on both sides", others[i].title);
    }
    (void)close(pipe_fd[0]);
    (void)close(pipe_fd[1]);
}

static void test_dead_process_is_taken_over(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_lease_body b = foreign_body();
    cf_owner_self(&b.owner);
    if (b.owner.machine[0] == '\0' || b.owner.boot[0] == '\0' || b.owner.pid_ns[0] == '\0')
        skip();
    cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    cf_lease *l = NULL;
    put_body(&f, key_1, &b);
    assert_refused(acquire(&f, &run, &l, &e), CF_ERR_LOCKED,
                   "holds lease 1"); /* ourselves: alive */
    b.owner.start_ticks++;
    put_body(&f, key_1, &b);
    assert_ok(acquire(&f, &run, &l, &e));
    assert_int_equal(cf_lease_number(l), 2);
    cf_lease_abandon(l);
    fixture_deinit(&f);
}

typedef struct racer {
    fixture *f;
    cf_run run;
    cf_lease *lease;
    cf_err err;
} racer;

static void *race(void *impl)
{
    racer *const r = impl;
    r->err = acquire(r->f, &r->run, &r->lease, NULL);
    return NULL;
}

static void test_race(void **state)
{
    (void)state;
    enum { RACERS = 8, ROUNDS = 50 };
    for (int round = 0; round < ROUNDS; round++) {
        fixture f;
        fixture_init(&f);
        racer racers[RACERS];
        pthread_t threads[RACERS];
        for (uint32_t i = 0; i < RACERS; i++) {
            racers[i] = (racer){.f = &f, .run = make_run("n", FIXTURE_UTC_S, i)};
            assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
        }
        int winners = 0;
        for (int i = 0; i < RACERS; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            winners += racers[i].err == CF_OK;
            assert_true(racers[i].err == CF_OK || racers[i].err == CF_ERR_LOCKED);
        }
        assert_int_equal(winners, 1);
        assert_int_equal(count_objects(&f, "nodes/n/leases/"), 1);
        for (int i = 0; i < RACERS; i++)
            cf_lease_abandon(racers[i].lease);
        fixture_deinit(&f);
    }
}

static void wait_until(atomic_int *count, int least)
{
    for (int i = 0; i < 5000 && atomic_load(count) < least; i++)
        (void)usleep(1000);
    assert_true(atomic_load(count) >= least);
}

static void test_renewal(void **state)
{
    (void)state;
    fixture f;
    watch w = {0};
    fixture_init(&f);
    cf_store_memory_set_hooks(f.store,
                              &(cf_store_memory_hooks){.before = watch_before, .impl = &w});
    cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    cf_lease *l = NULL;
    assert_ok(cf_lease_acquire(&f.repo, &(cf_lease_opts){.run = &run, .renew_ms = 5}, &l, &e));
    wait_until(&w.puts, 4);
    pass_s(&f, CF_LEASE_TTL_S * 3);
    const int puts = atomic_load(&w.puts);
    wait_until(&w.puts, puts + 2);
    assert_ok(cf_lease_check(l, &e)); /* renewed since */
    assert_int_equal(count_objects(&f, "nodes/n/leases/"), 1);

    atomic_store(&w.fail, true);
    wait_until(&w.lists, atomic_load(&w.lists) + 2);
    assert_ok(cf_lease_check(l, &e)); /* not for long enough */
    pass_s(&f, CF_LEASE_TTL_S + 1);
    assert_refused(cf_lease_check(l, &e), CF_ERR_LOCKED, "no renewal got through for 301 s");
    atomic_store(&w.fail, false);
    wait_until(&w.puts, atomic_load(&w.puts) + 2);
    assert_ok(cf_lease_check(l, &e)); /* nobody took it meanwhile: it is ours again */
    assert_ok(cf_lease_release(l, &e));
    fixture_deinit(&f);
}

static void test_lost(void **state)
{
    (void)state;
    fixture f;
    watch w = {0};
    fixture_init(&f);
    cf_store_memory_set_hooks(f.store,
                              &(cf_store_memory_hooks){.before = watch_before, .impl = &w});
    cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    cf_lease *l = NULL;
    assert_ok(cf_lease_acquire(&f.repo, &(cf_lease_opts){.run = &run, .renew_ms = 5}, &l, &e));
    cf_lease_body b = foreign_body();
    put_body(&f, "nodes/n/leases/0000000002", &b);
    for (int i = 0; i < 5000 && cf_lease_check(l, NULL) == CF_OK; i++)
        (void)usleep(1000);
    assert_refused(cf_lease_check(l, &e), CF_ERR_LOCKED, "somebody took lease 2, above our 1");
    assert_refused(cf_lease_move(l, NULL, 0, &e), CF_ERR_LOCKED, "is lost");
    assert_ok(cf_lease_release(l, &e));
    assert_true(read_body(&f, key_1).ended);
    assert_false(read_body(&f, "nodes/n/leases/0000000002").ended);
    fixture_deinit(&f);
}

static void test_move(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    cf_run_id parent = {""};
    cf_run_id_floor(0, &parent);
    cf_lease *l = NULL;
    assert_ok(acquire(&f, &run, &l, &e));
    assert_ok(cf_lease_move(l, &parent, 1, &e));
    assert_int_equal(cf_lease_number(l), 2);
    const cf_lease_body old = read_body(&f, key_1);
    assert_true(old.ended);
    assert_int_equal(old.uses_total, 0); /* `uses` never changes within a number */
    const cf_lease_body new = read_body(&f, "nodes/n/leases/0000000002");
    assert_false(new.ended);
    assert_string_equal(new.uses[0].text, parent.text);
    const cf_lease_body b = foreign_body();
    put_body(&f, "nodes/n/leases/0000000003", &b);
    assert_refused(cf_lease_move(l, NULL, 0, &e), CF_ERR_LOCKED, "somebody took lease 3");
    assert_refused(cf_lease_check(l, &e), CF_ERR_LOCKED, "is lost");
    cf_lease_abandon(l);
    fixture_deinit(&f);
}

static void test_release_stops_at_once(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    cf_lease *l = NULL;
    assert_ok(acquire(&f, &run, &l, &e)); /* renews every 60 s: the test ends sooner */
    watch w = {.fail = true};
    cf_store_memory_set_hooks(f.store,
                              &(cf_store_memory_hooks){.before = watch_before, .impl = &w});
    assert_refused(cf_lease_release(l, &e), CF_ERR_NETWORK,
                   "release the lease (it runs out by itself)");
    cf_store_memory_set_hooks(f.store, NULL);
    fixture_deinit(&f);
}

/* Another machine takes the number between our LIST and our PUT. */
typedef struct thief {
    fixture *f;
    int times;
} thief;

static cf_err thief_before(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    thief *const t = impl;
    (void)e;
    if (op != CF_STORE_OP_PUT || strstr(key, "/leases/") == NULL || t->times == 0)
        return CF_OK;
    t->times--;
    cf_lease_body b = foreign_body();
    b.ended = true;
    cf_store_memory_set_hooks(t->f->store, NULL);
    put_body(t->f, key, &b);
    cf_store_memory_set_hooks(t->f->store,
                              &(cf_store_memory_hooks){.before = thief_before, .impl = t});
    return CF_OK;
}

static void test_faster_others(void **state)
{
    (void)state;
    fixture f;
    cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    cf_lease *l = NULL;
    fixture_init(&f);
    thief t = {&f, 3};
    cf_store_memory_set_hooks(f.store,
                              &(cf_store_memory_hooks){.before = thief_before, .impl = &t});
    assert_ok(acquire(&f, &run, &l, &e));
    assert_int_equal(cf_lease_number(l), 4);
    cf_lease_abandon(l);
    t.times = 1000;
    assert_refused(acquire(&f, &run, &l, &e), CF_ERR_LOCKED,
                   "others took the lease of 'n' 8 times");
    cf_store_memory_set_hooks(f.store, NULL);
    fixture_deinit(&f);
}

/* Remembers what was listed. */
static cf_err list_before(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    (void)e;
    if (op == CF_STORE_OP_LIST)
        (void)snprintf(impl, 64, "%s", key);
    return CF_OK;
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *title;
        uint64_t after;
        const char *there; /* ended lease */
        uint64_t expected; /* 0: refused */
    } cases[] = {
        {"the newest root's lease is the highest", 7, "0000000007", 8},
        {"one above it is", 7, "0000000009", 10},
        {"the root's lease is gone (a copied repository)", 7, NULL, 8},
        {"lower numbers do not matter", 7, "0000000003", 8},
        {"the last but one number", 9999999998, "9999999998", 9999999999},
        {"the last number is used", 9999999999, "9999999999", 0},
        {"a key of another shape is not a number", 0, "0000000009-20261121T143100Z-00000001", 1},
        {"nor is a longer one", 0, "00000000012", 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fixture f;
        fixture_init(&f);
        cf_run run = make_run("n", FIXTURE_UTC_S, 1);
        cf_lease_body b = foreign_body();
        cf_lease *l = NULL;
        cf_error e = {0};
        char key[CF_KEY_LEN_MAX + 1];
        char listed[64] = "";
        b.ended = true;
        (void)snprintf(key, sizeof(key), "nodes/n/leases/%s",
                       cases[i].there == NULL ? "" : cases[i].there);
        if (cases[i].there != NULL)
            put_body(&f, key, &b);
        cf_store_memory_set_hooks(f.store,
                                  &(cf_store_memory_hooks){.before = list_before, .impl = listed});
        const cf_err err = cf_lease_acquire(
            &f.repo, &(cf_lease_opts){.run = &run, .after = cases[i].after}, &l, &e);
        assert_string_equal(listed, "nodes/n/leases/");
        if (cases[i].expected == 0) {
            assert_int_equal(err, CF_ERR_DAMAGE);
            assert_non_null(strstr(e.message, "used up"));
        } else {
            if (err != CF_OK || cf_lease_number(l) != cases[i].expected)
                fail_msg("%s: %s", cases[i].title, e.message);
        }
        cf_lease_abandon(l);
        fixture_deinit(&f);
    }
}

/* A run that is decided never changes its mind: nobody waits for its lease. */
static void test_decided(void **state)
{
    (void)state;
    static const struct {
        const char *title, *body;
    } cases[] = {{"committed", "{}"}, {"fenced", ""}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fixture f;
        fixture_init(&f);
        cf_run run = make_run("n", FIXTURE_UTC_S, 1);
        cf_lease *l = NULL;
        const cf_lease_body b = foreign_body();
        char key[CF_KEY_LEN_MAX + 1];
        bool decided = true;
        put_body(&f, key_1, &b);
        assert_refused(acquire(&f, &run, &l, &e), CF_ERR_LOCKED, "node 'n' is busy");
        assert_refused(acquire(&f, &run, &l, &e), CF_ERR_LOCKED, "chunkferry unlock");
        assert_ok(cf_run_is_decided(&f.repo, "n", &b.run, &decided, &e));
        assert_false(decided);
        cf_key_root(key, "n", &b.run);
        put_object(&f, key, cf_slice_str(cases[i].body));
        assert_ok(cf_run_is_decided(&f.repo, "n", &b.run, &decided, &e));
        assert_true(decided);
        cf_error e = {0};
        if (acquire(&f, &run, &l, &e) != CF_OK || cf_lease_number(l) != 2)
            fail_msg("%s: %s", cases[i].title, e.message);
        cf_lease_abandon(l);
        fixture_deinit(&f);
    }
}

static void test_uses(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    cf_run_id uses[CF_LEASE_USES_MAX];
    cf_lease *l = NULL;
    for (size_t i = 0; i < CF_LEASE_USES_MAX; i++)
        cf_run_id_floor((int64_t)i * 1000, &uses[i]);
    const cf_lease_opts opts = {.run = &run, .uses = uses, .uses_total = CF_LEASE_USES_MAX};
    assert_ok(cf_lease_acquire(&f.repo, &opts, &l, &e));
    const cf_lease_body b = read_body(&f, key_1);
    assert_int_equal(b.uses_total, CF_LEASE_USES_MAX);
    for (size_t i = 0; i < CF_LEASE_USES_MAX; i++)
        assert_string_equal(b.uses[i].text, uses[i].text);
    cf_lease_abandon(l);
    fixture_deinit(&f);
}

/* A prune's: another folder, so that no backup waits for it; two prunes exclude each other. */
static void test_prune_folder(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    cf_lease *prune = NULL;
    cf_lease *other = NULL;
    cf_lease *backup = NULL;
    const cf_lease_opts opts = {.run = &run, .folder = "prunes"};
    assert_ok(cf_lease_acquire(&f.repo, &opts, &prune, &e));
    assert_int_equal(count_objects(&f, "nodes/n/prunes/0000000001"), 1);
    assert_refused(cf_lease_acquire(&f.repo, &opts, &other, &e), CF_ERR_LOCKED, "prune '");
    assert_ok(acquire(&f, &run, &backup, &e));
    cf_lease_abandon(backup);
    cf_lease_abandon(prune);
    assert_ok(cf_lease_acquire(&f.repo, &opts, &other, &e));
    assert_int_equal(cf_lease_number(other), 2);
    cf_lease_abandon(other);
    fixture_deinit(&f);
}

typedef struct seen_list {
    cf_lease_seen seen[8];
    size_t total;
} seen_list;

static cf_err seen_add(void *impl, const cf_lease_seen *s, cf_error *e)
{
    seen_list *const l = impl;
    (void)e;
    assert_true(l->total < ARRAY_LEN(l->seen));
    l->seen[l->total++] = *s;
    return CF_OK;
}

static void test_each(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_lease_body b = foreign_body();
    cf_run_id snapshot = {""};
    cf_read_lease *reader = NULL;
    seen_list l = {0};
    put_body(&f, "nodes/n/leases/0000000001", &b);
    pass_s(&f, CF_LEASE_TTL_S + 1);
    put_body(&f, "nodes/n/leases/0000000002", &b);
    b.ended = true;
    put_body(&f, "nodes/n/leases/0000000003", &b);
    put_object(&f, "nodes/n/leases/0000000004", cf_slice_str("?"));
    put_object(&f, "nodes/n/leases/foreign", cf_slice_str("?"));
    put_body(&f, "nodes/m/leases/0000000005", &b);
    assert_ok(cf_lease_each(&f.repo, "n", "leases", 0, seen_add, &l, &e));
    assert_int_equal(l.total, 4);
    const cf_lease_state states[] = {CF_LEASE_RAN_OUT, CF_LEASE_LIVE, CF_LEASE_ENDED,
                                     CF_LEASE_LIVE};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(l.seen[i].number, i + 1);
        assert_int_equal(l.seen[i].state, states[i]);
        assert_int_equal(l.seen[i].readable, i != 3);
    }
    assert_string_equal(l.seen[0].key, "nodes/n/leases/0000000001");
    assert_string_equal(l.seen[2].body.run.text, b.run.text);
    l.total = 0;
    assert_ok(cf_lease_each(&f.repo, "n", "leases", 3, seen_add, &l, &e));
    assert_int_equal(l.total, 1);
    cf_run_id_floor(0, &snapshot);
    assert_ok(cf_read_lease_acquire(&f.repo, "n", &snapshot, &reader, &e));
    l.total = 0;
    assert_ok(cf_lease_each(&f.repo, "n", "reads", 0, seen_add, &l, &e));
    assert_int_equal(l.total, 1);
    assert_true(l.seen[0].body.is_read);
    assert_string_equal(l.seen[0].body.run.text, snapshot.text);
    cf_read_lease_abandon(reader);
    fixture_deinit(&f);
}

/* More leases above than are looked at: the newest count. */
static void test_look_many(void **state)
{
    (void)state;
    enum { MANY = CF_LEASE_LOOK_MAX + 40 };
    fixture f;
    fixture_init(&f);
    cf_lease_body b = foreign_body();
    cf_lease_view v = {0};
    b.ended = true;
    for (int i = 1; i <= MANY; i++) {
        char key[CF_KEY_LEN_MAX + 1];
        cf_key_lease(key, "n", (uint64_t)i);
        put_body(&f, key, &b);
    }
    assert_ok(cf_lease_look(&f.repo, "n", "leases", 0, &v, &e));
    assert_int_equal(v.highest, MANY);
    assert_int_equal(v.total, CF_LEASE_LOOK_MAX);
    for (size_t i = 0; i < v.total; i++)
        assert_int_equal(v.newest[i].number, MANY - CF_LEASE_LOOK_MAX + 1 + i);
    fixture_deinit(&f);
}

/* --- a store without conditional create: one key a run, the lower run has the number --- */

static void test_unconditional(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_store_memory_set_features(f.store, 0);
    f.repo.conditional = false;
    cf_run low = make_run("n", FIXTURE_UTC_S, 1);
    cf_run high = make_run("n", FIXTURE_UTC_S, 2);
    cf_lease *l = NULL;
    cf_lease *second = NULL;
    cf_lease_view view = {0};
    assert_ok(cf_lease_look(&f.repo, "n", "leases", 0, &view, &e)); /* both look, then both take */
    assert_ok(cf_lease_take(&f.repo, &(cf_lease_opts){.run = &low}, &view, &l, &e));
    char key[CF_KEY_LEN_MAX + 1];
    cf_key_claim(key, "n", "leases", 1, &low.id);
    assert_false(read_body(&f, key).ended);
    assert_refused(cf_lease_take(&f.repo, &(cf_lease_opts){.run = &high}, &view, &second, &e),
                   CF_ERR_EXISTS, "took lease 1");
    cf_key_claim(key, "n", "leases", 1, &high.id);
    assert_true(read_body(&f, key).ended);
    assert_refused(acquire(&f, &high, &second, &e), CF_ERR_LOCKED, "holds lease 1");
    cf_lease_abandon(l);
    assert_ok(acquire(&f, &high, &second, &e));
    assert_int_equal(cf_lease_number(second), 2);
    cf_lease_abandon(second);
    fixture_deinit(&f);
}

/* The lower run comes after the other's second look: the other notices at its next renewal. */
static void test_unconditional_late(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_store_memory_set_features(f.store, 0);
    f.repo.conditional = false;
    cf_run high = make_run("n", FIXTURE_UTC_S, 2);
    cf_lease *l = NULL;
    assert_ok(cf_lease_acquire(&f.repo, &(cf_lease_opts){.run = &high, .renew_ms = 5}, &l, &e));
    const cf_run low = make_run("n", FIXTURE_UTC_S, 1);
    cf_lease_body b = foreign_body();
    char key[CF_KEY_LEN_MAX + 1];
    b.run = low.id;
    cf_key_claim(key, "n", "leases", 1, &low.id);
    put_body(&f, key, &b);
    for (int i = 0; i < 5000 && cf_lease_check(l, NULL) == CF_OK; i++)
        (void)usleep(1000);
    assert_refused(cf_lease_check(l, &e), CF_ERR_LOCKED, "somebody took lease 1");
    cf_lease_abandon(l);
    fixture_deinit(&f);
}

static void test_unreadable(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    cf_lease *l = NULL;
    put_object(&f, key_1, cf_slice_str("{\"state\":"));
    assert_refused(acquire(&f, &run, &l, &e), CF_ERR_LOCKED, "run 'unknown' holds lease 1");
    pass_s(&f, CF_LEASE_TTL_S + 1);
    assert_ok(acquire(&f, &run, &l, &e));
    assert_int_equal(cf_lease_number(l), 2);
    cf_lease_abandon(l);
    fixture_deinit(&f);
}

static void test_body_refused(void **state)
{
    (void)state;
    static const char good[] =
        "{\"format\":1,\"requires\":[],\"run\":\"20261121T143100Z-00000001\",\"state\":\"held\","
        "\"uses\":[],\"since\":\"2026-11-21T14:31:00Z\","
        "\"ttl_s\":1800,\"owner\":{\"host\":\"h\",\"machine\":\"\",\"boot\":\"\",\"pid_ns\":\"\","
        "\"pid\":1,\"start_ticks\":2},\"new\":1}";
    static const struct {
        const char *from, *to;
        cf_err code;
        const char *part;
    } cases[] = {
        {"\"format\":1", "\"format\":2", CF_ERR_FORMAT, "the lease has format 2"},
        {"\"requires\":[]", "\"requires\":[\"x\"]", CF_ERR_FORMAT, "the lease requires 'x'"},
        {"\"held\"", "\"gone\"", CF_ERR_DAMAGE, "'state' is 'gone'"},
        {"1800", "0", CF_ERR_DAMAGE, "'ttl_s' is 0"},
        {"1800", "604801", CF_ERR_DAMAGE, "'ttl_s' is 604801"},
        {"143100Z-", "143160Z-", CF_ERR_DAMAGE, "not a run's id"},
        {"\"uses\":[]", "\"uses\":[1]", CF_ERR_DAMAGE, "'uses' holds something"},
        {"\"uses\"", "\"used\"", CF_ERR_DAMAGE, "'uses' is missing"},
        {"\"uses\":[]", "\"uses\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", CF_ERR_DAMAGE,
         "'uses' names 17 runs, more than 16"},
        {"\"pid\":1", "\"pid\":-1", CF_ERR_DAMAGE, "'pid' is -1"},
        {"\"owner\"", "\"owned\"", CF_ERR_DAMAGE, "'owner' is missing"},
        {"}", "", CF_ERR_DAMAGE, "malformed JSON"},
    };
    cf_lease_body b = {0};
    assert_ok(cf_lease_body_parse(cf_slice_str(good), &b, &e));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[1024];
        const char *const at = strstr(good, cases[i].from);
        assert_non_null(at);
        (void)snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - good), good, cases[i].to,
                       at + strlen(cases[i].from));
        assert_refused(cf_lease_body_parse(cf_slice_str(text), &b, &e), cases[i].code,
                       cases[i].part);
    }
}

static void test_read_lease(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_run_id snapshot = {""};
    cf_read_lease *l = NULL;
    cf_run_id_floor(0, &snapshot);
    assert_refused(cf_read_lease_acquire(&f.repo, "N", &snapshot, &l, &e), CF_ERR_USAGE,
                   "node's name");
    assert_ok(cf_read_lease_acquire(&f.repo, "n", &snapshot, &l, &e));
    assert_int_equal(count_objects(&f, "nodes/n/reads/"), 1);
    assert_ok(cf_read_lease_release(l, &e));
    assert_int_equal(count_objects(&f, "nodes/n/reads/"), 1); /* written as ended */
    cf_read_lease_abandon(NULL);
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_runs_out_by_store_time),
        cmocka_unit_test(test_wrong_local_clock),
        cmocka_unit_test(test_dead_process),
        cmocka_unit_test(test_dead_process_is_taken_over),
        cmocka_unit_test(test_race),
        cmocka_unit_test(test_renewal),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_move),
        cmocka_unit_test(test_release_stops_at_once),
        cmocka_unit_test(test_faster_others),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_decided),
        cmocka_unit_test(test_uses),
        cmocka_unit_test(test_prune_folder),
        cmocka_unit_test(test_each),
        cmocka_unit_test(test_look_many),
        cmocka_unit_test(test_unconditional),
        cmocka_unit_test(test_unconditional_late),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_body_refused),
        cmocka_unit_test(test_read_lease),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
