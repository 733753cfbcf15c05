/* Stands in for libFuzzer where it is not linked: runs the fuzz target once on each file of a
 * folder. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REPLAY_FILE_BYTES_MAX (16u << 20)

static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(REPLAY_FILE_BYTES_MAX);
    size_t size;

    if (file == NULL || data == NULL) {
        fprintf(stderr, "fuzz_replay: cannot read %s\n", path);
        exit(1);
    }
    size = fread(data, 1, REPLAY_FILE_BYTES_MAX, file);
    fclose(file);
    /* An exact allocation, so that the address sanitizer sees the first byte read past the end. */
    data = realloc(data, size > 0 ? size : 1);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    int file_count = 0;

    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        struct dirent *entry;
        char path[4096];

        if (dir == NULL) {
            fprintf(stderr, "fuzz_replay: no corpus folder %s\n", argv[i]);
            return 1;
        }
        while ((entry = readdir(dir)) != NULL) {
            if (entry->d_name[0] == '.')
                continue;
            snprintf(path, sizeof(path), "%s/%s", argv[i], entry->d_name);
            replay(path);
            file_count++;
        }
        closedir(dir);
    }
    if (file_count == 0) {
        fprintf(stderr, "fuzz_replay: the corpus is empty\n");
        return 1;
    }
    printf("fuzz_replay: %d inputs\n", file_count);
    return 0;
}
