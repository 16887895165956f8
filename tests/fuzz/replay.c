/* SPDX-License-Identifier: Apache-2.0
 *
 * Gives every file of a folder to a fuzz target, once: the corpus is tested on machines without a
 * fuzzer too.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *folder, const char *name)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *const f = fopen(path, "rb");
    if (f == NULL)
        return 0;
    fseek(f, 0, SEEK_END);
    const long size = ftell(f);
    rewind(f);
    uint8_t *const data = size > 0 ? malloc((size_t)size) : NULL;
    if (size > 0 && fread(data, 1, (size_t)size, f) != (size_t)size)
        exit(1);
    fclose(f);
    LLVMFuzzerTestOneInput(data, size > 0 ? (size_t)size : 0);
    free(data);
    return 1;
}

int main(int argc, char **argv)
{
    int total = 0;
    DIR *const folder = argc == 2 ? opendir(argv[1]) : NULL;

    if (folder == NULL) {
        fprintf(stderr, "usage: %s FOLDER: no such folder\n", argv[0]);
        return 2;
    }
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] != '.')
            total += replay(argv[1], entry->d_name);
    }
    closedir(folder);
    printf("%d files\n", total);
    return total > 0 ? 0 : 1;
}
