/* tidemark: every role in one process. */
#include "config.h"
#include "run.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char usage_text[] =
    "tidemark: a durable time-series store that Prometheus writes to and PromQL reads from\n"
    "\n"
    "Usage:\n"
    "  tidemark run [--data-dir DIR] [--http-listen HOST:PORT] [options]\n"
    "      Runs all roles in this process until SIGTERM or SIGINT.\n"
    "  tidemark check-config FILE\n"
    "      Checks a configuration file and exits: 0 if it is good.\n"
    "  tidemark --help | --version\n"
    "\n"
    "Options of run:\n"
    "  --config FILE            YAML; docs/tidemark.yaml shows every key and its default\n"
    "  --data-dir DIR           where everything is kept (default: data)\n"
    "  --http-listen HOST:PORT  address of the HTTP API (default: :9009, all addresses)\n"
    "  --retention DURATION     older samples are refused and dropped, such as 90d (default: 0, "
    "kept for ever)\n"
    "  --log-level LEVEL        debug, info, warn or error (default: info)\n"
    "  --log-format FORMAT      logfmt or json (default: logfmt)\n"
    "What the command line says goes before what the file says.\n";

static int usage_error(const char *format, const char *what)
{
    fprintf(stderr, format, what);
    fprintf(stderr, "\ntidemark --help tells more.\n");
    return 2;
}

static int check_config(const char *path)
{
    const struct config_flags flags = {.config_path = path};
    struct tide_diag diag = {{0}};
    struct config config;
    enum tide_err err = config_load(&flags, &config, &diag);

    if (err != TIDE_OK) {
        fprintf(stderr, "tidemark: %s\n", diag.text[0] != '\0' ? diag.text : tide_err_text(err));
        return 1;
    }
    config_deinit(&config);
    printf("%s is good\n", path);
    return 0;
}

static int run_with_flags(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"data-dir", required_argument, NULL, 'd'},
                                            {"http-listen", required_argument, NULL, 'l'},
                                            {"retention", required_argument, NULL, 'r'},
                                            {"log-level", required_argument, NULL, 'v'},
                                            {"log-format", required_argument, NULL, 'f'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct config_flags flags = {0};
    struct tide_diag diag = {{0}};
    struct config config;
    enum tide_err err;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            flags.config_path = optarg;
            break;
        case 'd':
            flags.data_dir = optarg;
            break;
        case 'l':
            flags.http_listen = optarg;
            break;
        case 'r':
            flags.retention = optarg;
            break;
        case 'v':
            flags.log_level = optarg;
            break;
        case 'f':
            flags.log_format = optarg;
            break;
        case 'h':
            fputs(usage_text, stdout);
            return 0;
        default:
            return usage_error("%s", "tidemark run: see above.");
        }
    }
    if (optind < argc)
        return usage_error("tidemark run: \"%s\" is no option.", argv[optind]);
    err = config_load(&flags, &config, &diag);
    if (err != TIDE_OK) {
        fprintf(stderr, "tidemark: %s\n", diag.text[0] != '\0' ? diag.text : tide_err_text(err));
        return 1;
    }
    err = run(&config, &diag);
    config_deinit(&config);
    if (err != TIDE_OK) {
        fprintf(stderr, "tidemark: %s\n", diag.text[0] != '\0' ? diag.text : tide_err_text(err));
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";

    if (strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0 ||
        strcmp(command, "help") == 0) {
        fputs(usage_text, stdout);
        return 0;
    }
    if (strcmp(command, "--version") == 0) {
        printf("tidemark %s\n", TIDE_VERSION);
        return 0;
    }
    if (strcmp(command, "run") == 0)
        return run_with_flags(argc - 1, argv + 1);
    if (strcmp(command, "check-config") == 0) {
        if (argc != 3)
            return usage_error("%s", "tidemark check-config: name one file.");
        return check_config(argv[2]);
    }
    if (argc == 1) {
        fputs(usage_text, stderr);
        return 2;
    }
    return usage_error("tidemark: \"%s\" is no command.", command);
}
