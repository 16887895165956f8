/* SPDX-License-Identifier: Apache-2.0
 *
 * Limits of a control group: the texts of both versions, and the files in a scratch folder.
 */
#include "tests/pipe/kit.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipe/cgroup.h"

static void test_cpu_max(void **state)
{
    static const struct {
        const char *text;
        uint64_t milli;
    } rows[] = {
        {"max 100000\n", 0},
        {"50000 100000\n", 500},
        {"150000 100000\n", 1500},
        {"100000 100000", 1000},
        {"1 100000\n", 1}, /* the least there is: not none */
        {"", 0},
        {"max", 0},
        {"100000", 0},
        {"100000 0\n", 0},
        {"0 100000\n", 0},
        {"-1 100000\n", 0},
        {"99999999999999999999 1\n", 0},
        {"18446744073709551615 1\n", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (cf_cgroup_cpu_max(cf_slice_str(rows[i].text)) != rows[i].milli)
            fail_msg("'%s'", rows[i].text);
    assert_int_equal(cf_cgroup_cpu_quota(cf_slice_str("-1\n"), cf_slice_str("100000\n")), 0);
    assert_int_equal(cf_cgroup_cpu_quota(cf_slice_str("250000\n"), cf_slice_str("100000\n")), 2500);
}

static void test_memory(void **state)
{
    (void)state;
    assert_int_equal(cf_cgroup_memory(cf_slice_str("max\n")), 0);
    assert_int_equal(cf_cgroup_memory(cf_slice_str("134217728\n")), 128 << 20);
    assert_int_equal(cf_cgroup_memory(cf_slice_str("9223372036854771712\n")), 0); /* version 1 */
    assert_int_equal(cf_cgroup_memory(cf_slice_str("many\n")), 0);
    assert_int_equal(cf_cgroup_memory(cf_slice_str("")), 0);
}

static void check_path(const char *const self, const char *const controller,
                       const char *const expected)
{
    cf_slice found = cf_slice_str("untouched");

    if (expected == NULL) {
        assert_false(cf_cgroup_path(cf_slice_str(self), controller, &found));
        return;
    }
    assert_true(cf_cgroup_path(cf_slice_str(self), controller, &found));
    assert_true(cf_slice_eq(found, cf_slice_str(expected)));
}

static void test_path(void **state)
{
    static const char v2[] = "0::/system.slice/chunkferry.service\n";
    static const char v1[] =
        "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/x:y\n1:name=systemd:/a\n";
    (void)state;
    check_path(v2, NULL, "/system.slice/chunkferry.service");
    check_path(v2, "cpu", NULL);
    check_path(v1, "cpu", "/docker/x:y");
    check_path(v1, "memory", "/docker/abc");
    check_path(v1, NULL, NULL);
    check_path("3:cpuset:/a\n", "cpu", NULL);
    check_path("0::", NULL, NULL);
    check_path("0:", NULL, NULL);
    check_path("", NULL, NULL);
    check_path("0::/", NULL, "/");
}

static void test_decisions(void **state)
{
    (void)state;
    assert_int_equal(cf_cgroup_cores(&(cf_cgroup){0}, 8), 8);
    assert_int_equal(cf_cgroup_cores(&(cf_cgroup){.cpu_milli = 1500}, 8), 2);
    assert_int_equal(cf_cgroup_cores(&(cf_cgroup){.cpu_milli = 2000}, 8), 2);
    assert_int_equal(cf_cgroup_cores(&(cf_cgroup){.cpu_milli = 100}, 8), 1);
    assert_int_equal(cf_cgroup_cores(&(cf_cgroup){.cpu_milli = 64000}, 8), 8);
    assert_int_equal(cf_cgroup_cores(&(cf_cgroup){0}, 0), 1);

    const uint64_t mib = 1 << 20;
    assert_int_equal(cf_cgroup_memory_default(&(cf_cgroup){0}), 128 * mib);
    assert_int_equal(cf_cgroup_memory_default(&(cf_cgroup){.memory_bytes = 4096 * mib}), 128 * mib);
    assert_int_equal(cf_cgroup_memory_default(&(cf_cgroup){.memory_bytes = 256 * mib}), 128 * mib);
    assert_int_equal(cf_cgroup_memory_default(&(cf_cgroup){.memory_bytes = 200 * mib}), 100 * mib);
    assert_int_equal(cf_cgroup_memory_default(&(cf_cgroup){.memory_bytes = 64 * mib}), 48 * mib);
}

/* ---- files ---- */

static char scratch[] = "/tmp/chunkferry-cgroup.XXXXXX";

static void put(const char *const path, const char *const text)
{
    char full[512];
    (void)snprintf(full, sizeof(full), "%s/%s", scratch, path);
    for (char *at = full + strlen(scratch) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(full, 0755);
        *at = '/';
    }
    FILE *const f = fopen(full, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int remove_all(void **state)
{
    char command[600];
    (void)state;
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", scratch);
    return system(command);
}

static int make(void **state)
{
    (void)state;
    (void)snprintf(scratch, sizeof(scratch), "/tmp/chunkferry-cgroup.XXXXXX");
    return mkdtemp(scratch) == NULL;
}

static void check_look(const uint64_t cpu_milli, const uint64_t memory_mib)
{
    cf_cgroup found = {77, 77};
    cf_cgroup_look(cf_fs_real(), scratch, &found);
    assert_int_equal(found.cpu_milli, cpu_milli);
    assert_int_equal(found.memory_bytes, memory_mib << 20);
}

static void test_nothing(void **state)
{
    (void)state;
    check_look(0, 0);
    put("proc/self/cgroup", "0::/gone\n");
    check_look(0, 0);
}

static void test_v2(void **state)
{
    (void)state;
    put("proc/self/cgroup", "0::/a.slice/b.service\n");
    put("sys/fs/cgroup/a.slice/b.service/cpu.max", "300000 100000\n");
    put("sys/fs/cgroup/a.slice/b.service/memory.max", "max\n");
    check_look(3000, 0);
    put("sys/fs/cgroup/a.slice/cpu.max", "150000 100000\n"); /* above, and tighter */
    put("sys/fs/cgroup/a.slice/memory.max", "104857600\n");
    check_look(1500, 100);
    put("sys/fs/cgroup/a.slice/b.service/memory.max", "209715200\n");
    check_look(1500, 100);
}

/* A container sees the host's path, and its own group at the top. */
static void test_v2_container(void **state)
{
    (void)state;
    put("proc/self/cgroup", "0::/kubepods/pod1/c\n");
    put("sys/fs/cgroup/cpu.max", "50000 100000\n");
    put("sys/fs/cgroup/memory.max", "67108864\n");
    check_look(500, 64);
}

static void test_v1(void **state)
{
    (void)state;
    put("proc/self/cgroup",
        "4:cpu,cpuacct:/docker/x\n3:memory:/docker/x\n1:name=systemd:/\n0::/\n");
    put("sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us", "200000\n");
    put("sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "83886080\n");
    check_look(2000, 80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpu_max),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_decisions),
        cmocka_unit_test_setup_teardown(test_nothing, make, remove_all),
        cmocka_unit_test_setup_teardown(test_v2, make, remove_all),
        cmocka_unit_test_setup_teardown(test_v2_container, make, remove_all),
        cmocka_unit_test_setup_teardown(test_v1, make, remove_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
